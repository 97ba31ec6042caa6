"""The part of the package that is written in Rust."""

import datetime as dt
from os import PathLike
from pathlib import Path
from typing import Literal, final

__all__ = ["Clock", "ClockError", "Comparison", "NarrowBound", "Reading", "__version__", "now", "raw_now"]

__version__: str

_State = Literal["warmup", "synced", "holdover", "unsynced", "error"]
_Order = Literal["before", "after", "indistinguishable"]

class ClockError(OSError):
    """No clock page could be read; the message says where it was looked for, and what to do."""

@final
class Reading:
    """Corrected time at one instant: a bound, an estimate, its spread, and whether to trust them.

    Immutable; equal if all numbers are equal. It can be pickled, sent to another machine, and compared there.
    """

    @property
    def earliest(self) -> int:
        """True time is not before this, ns since 1970, unless half of the time servers or more lie."""
    @property
    def latest(self) -> int:
        """True time is not after this, ns since 1970, unless half of the time servers or more lie."""
    @property
    def estimate(self) -> int:
        """The best estimate of true time, ns since 1970, as time.time_ns() counts."""
    @property
    def sigma(self) -> int:
        """Half-width of the calibrated 95 % interval divided by 1.96, ns; 2**63 - 1 if unknown."""
    @property
    def state(self) -> _State:
        """How far to rely on it: a majority of the sources agrees ("synced"), did until lately ("holdover"), does not yet
        ("warmup"), or nothing can be claimed ("unsynced", "error")."""
    @property
    def reason(self) -> str:
        """Why the state is what it is, in words."""
    @property
    def trustworthy(self) -> bool:
        """Whether to rely on it within its uncertainty: it rests on measurements, and is synced or in holdover."""
    @property
    def narrow(self) -> NarrowBound | None:
        """A tighter bound that says what it assumes, or None."""
    @property
    def max_error(self) -> int:
        """The furthest that true time can be from the estimate, ns: the longer side of the bound."""
    def interval(self, level: float = 0.95) -> int:
        """Half-width, in ns, of the interval around the estimate that holds truth in this share of readings.

        Raises ValueError unless 0 <= level < 1.
        """
    def confidence_within(self, limit: int) -> float:
        """Probability that truth is within so many ns of the estimate: the inverse of interval(). 0 unless synced or in
        holdover."""
    def compare(self, other: Reading) -> Comparison:
        """Which came first, the event of this reading or that of another, taken on this machine or on any other.

        On one machine the errors of two readings are nearly the same, and the true answer is more certain than this
        one; there, compare what raw_now() said.
        """
    @property
    def datetime(self) -> dt.datetime:
        """The estimate as an aware datetime in UTC, rounded down to its microseconds."""
    @property
    def earliest_datetime(self) -> dt.datetime:
        """The earliest true time as an aware datetime in UTC, rounded down to its microseconds."""
    @property
    def latest_datetime(self) -> dt.datetime:
        """The latest true time as an aware datetime in UTC, rounded up to its microseconds."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class NarrowBound:
    """Where true time is if an assumption holds: never outside of the bound, and usually far inside."""

    @property
    def earliest(self) -> int:
        """True time is not before this, ns since 1970, if the assumption holds."""
    @property
    def latest(self) -> int:
        """True time is not after this, ns since 1970, if the assumption holds."""
    @property
    def assumes(self) -> str:
        """What is assumed, in words."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

@final
class Comparison:
    """The order of two readings, once by their bounds and once by their spreads."""

    @property
    def order(self) -> _Order:
        """By the bounds, certain unless half of the time servers or more lie: "before" or "after" if they do not touch,
        "indistinguishable" if they overlap."""
    @property
    def probability_before(self) -> float | None:
        """By the spreads, taken to be independent and normal: the probability that the first came before the second.
        None if one of the readings is neither synced nor in holdover: nobody measured its spread."""

@final
class Clock:
    """The clock page of this machine, or the one in a file.

    Without a path it is the first page with a living daemon in /run/chronotick, $XDG_RUNTIME_DIR/chronotick and
    chronotick-UID in $TMPDIR or /tmp, or in $CHRONOTICK_RUNTIME_DIR alone if that is set. Make one and keep it: opening
    costs system calls, reading does not. Any number of threads may read it. A daemon that is started again is found
    within a second. Raises ClockError if there is no page.
    """

    def __new__(cls, path: str | PathLike[str] | None = None) -> Clock: ...
    def now(self) -> Reading:
        """Corrected time now."""
    def now_checked(self) -> Reading:
        """As now(), but after a suspend of the machine that the daemon has not noticed yet, which takes it up to a
        second, the state is "unsynced"."""
    def at(self, raw: int) -> Reading:
        """Corrected time when raw_now() said, or will say, this many ns, as far as is known now."""
    def now_and_system(self) -> tuple[Reading, int]:
        """Corrected time and the system clock, in ns since 1970, at the same instant.

        The offset of the system clock is estimate - system: positive if the system clock is behind.
        """
    @property
    def path(self) -> Path | None:
        """The file that is read."""

def now() -> Reading:
    """Corrected time now, by the clock page of this machine, which is opened on the first call.

    Raises ClockError if there is none.
    """

def raw_now() -> int:
    """The raw clock now, in ns of CLOCK_MONOTONIC_RAW since the machine started: take it when something happens, ask
    Clock.at() later."""
