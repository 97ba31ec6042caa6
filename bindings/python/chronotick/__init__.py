"""What time is it, and how wrong may that be?

Corrected time from the clock page of a running ChronoTick daemon, read from shared memory:

>>> import chronotick
>>> now = chronotick.now()
>>> now.earliest <= now.estimate <= now.latest     # ns since 1970, as time.time_ns()
True

``earliest`` and ``latest`` are the bound: true time is inside, unless half of the time servers or more lie.
``estimate`` and ``sigma`` are of the calibrated interval: ``now.interval(0.95)`` is its half-width for 95 of 100
readings. ``now.state`` says how far to rely on them, ``now.reason`` why, and ``now.trustworthy`` whether to.
"""

from ._chronotick import Clock, ClockError, Comparison, NarrowBound, Reading, __version__, now, raw_now

__all__ = ["Clock", "ClockError", "Comparison", "NarrowBound", "Reading", "__version__", "now", "raw_now"]
