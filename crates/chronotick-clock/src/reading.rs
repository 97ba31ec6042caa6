//! What a reader gets: one instant with its bound, its spread, and whether it may be trusted.

use crate::{Levels, Offset, Span, Timestamp};
use std::fmt;
use std::num::NonZeroU8;

/// How far corrected time can be relied on, from best to worst by name, each with a [`Reason`] beside it.
///
/// Unknown is never healthy: every state but [`Synced`](State::Synced) says that something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Measuring has begun; no majority of the sources stands behind the estimate yet.
    Warmup = 0,
    /// A strict majority of the sources agrees, recently, and the bound is acceptable.
    Synced = 1,
    /// It was synced; new evidence is missing and the bound grows, but is still acceptable.
    Holdover = 2,
    /// No claim can be made that would be acceptable: the bound is too wide or nothing backs it.
    Unsynced = 3,
    /// The engine itself is broken; the reason says how.
    Error = 4,
}

impl State {
    const ALL: [State; 5] = [State::Warmup, State::Synced, State::Holdover, State::Unsynced, State::Error];

    /// The state with this number; a number from a future version is an [`Error`](State::Error).
    pub fn from_code(code: u8) -> State {
        State::ALL.get(usize::from(code)).copied().unwrap_or(State::Error)
    }
    /// The word used in every view and interface: `warmup`, `synced`, `holdover`, `unsynced`, `error`.
    pub fn name(self) -> &'static str {
        ["warmup", "synced", "holdover", "unsynced", "error"][self as usize]
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why the [`State`] is what it is, in words ([`Display`](fmt::Display)).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            const ALL: &'static [Reason] = &[$(Reason::$name,)*];
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Reason::$name => $text,)* })
            }
        }
    };
}

reasons! {
    /// A strict majority of at least two sources agrees.
    Agreement = "a majority of the sources agrees",
    /// There is but one source: nothing could contradict it.
    SingleSource = "the only source is trusted, nothing can contradict it",
    /// Nothing has been measured yet.
    NoMeasurement = "no source has answered yet",
    /// Sources have answered, but not often enough for a majority.
    Gathering = "the sources are being measured for the first time",
    /// The sources contradict each other and no strict majority agrees.
    NoMajority = "no majority of the sources agrees",
    /// The sources have fallen silent.
    SourcesSilent = "the sources have stopped answering",
    /// The bound has grown beyond what the configuration accepts.
    BoundTooWide = "the bound is wider than the configured limit",
    /// The raw clock was disturbed (suspend, migration, counter jump); the estimate starts anew.
    Disrupted = "the machine's clock was disrupted and is being measured anew",
    /// The daemon has not published for a while: the solution is carried on.
    PublisherSilent = "the daemon has stopped publishing",
    /// The daemon has not published for so long that nothing can be claimed.
    PublisherDead = "the daemon has been silent for too long",
    /// The daemon was stopped.
    Stopped = "the daemon has been stopped",
    /// The page was written before the last boot, or in another time namespace: its raw clock is not this one.
    Rebooted = "the clock page is from before the last boot or from another time namespace",
    /// The system was suspended and the daemon has not yet noticed.
    Suspended = "the machine was suspended since the last publication",
    /// No sources are configured or all were removed.
    NoSources = "there is no source to measure",
    /// The engine stopped on an internal error.
    EngineFailed = "the engine has failed",
    /// The page holds no complete solution.
    Unreadable = "the clock page holds no complete solution",
    /// Sources are configured as required, and none of them is believed and answers.
    RequiredSilent = "no required source is believed and answers",
    /// The page was written by a newer version and cannot be understood in full.
    Unknown = "the reason is not known to this version",
}

impl Reason {
    /// The reason with this number; one from a future version is [`Unknown`](Reason::Unknown).
    pub fn from_code(code: u8) -> Reason {
        Reason::ALL.get(usize::from(code)).copied().unwrap_or(Reason::Unknown)
    }
}

/// What a narrow bound takes for granted, beside what the bound does; in words by [`Display`](fmt::Display).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Assumption(NonZeroU8);

impl Assumption {
    /// That the fastest round trips to most sources, and on from there to a reference clock, took as long one way as the
    /// other but for so many thousandths of the round trip and 50 µs, and that this clock's frequency does not jump.
    /// `None` for 0, which no path keeps to.
    pub fn symmetry_within(thousandths: u8) -> Option<Assumption> {
        NonZeroU8::new(thousandths).map(Assumption)
    }

    /// How much longer one way may take than the other, in thousandths of the round trip. As much as was configured, or
    /// four times what the sources differ by where that is more.
    pub fn asymmetry(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, tenths) = (self.0.get() / 10, self.0.get() % 10);
        let fraction = if tenths > 0 { format!(".{tenths}") } else { String::new() };
        write!(
            f,
            "the fastest round trips to most sources took as long one way as the other, to within \
             {percent}{fraction} % and 50 µs, and this clock's frequency does not jump"
        )
    }
}

/// Where true time is if an assumption holds, at the instant of a [`Reading`]: never outside the bound, and usually far
/// inside of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NarrowBound {
    /// True time is not before this, if the assumption holds.
    pub earliest: Timestamp,
    /// True time is not after this, if the assumption holds.
    pub latest: Timestamp,
    /// What is assumed.
    pub assumes: Assumption,
}

/// Corrected time at one instant: a bound, an estimate, its spread, and whether to trust them.
///
/// The *bound* `earliest..=latest` contains true time unless half of the sources or more lie. The *spread* `sigma`
/// is of the calibrated interval: truth lies within ±1.96 `sigma` of `estimate` in 95 of 100 readings, and that
/// share is measured all the time. The two are never mixed: the spread may be far smaller than the bound. Beside them
/// stands a *narrow bound*, which is as certain as its assumption.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// True time is not before this.
    pub earliest: Timestamp,
    /// True time is not after this.
    pub latest: Timestamp,
    /// A bound that says what it assumes; `None` where there is none that says more than the bound does.
    pub narrow: Option<NarrowBound>,
    /// The best estimate of true time (UTC).
    pub estimate: Timestamp,
    /// Half-width of the calibrated 95 % interval divided by 1.96.
    pub sigma: Span,
    /// Shape of the calibrated interval at other levels.
    pub levels: Levels,
    /// How far this can be relied on.
    pub state: State,
    /// Why the state is what it is.
    pub reason: Reason,
}

impl Reading {
    /// Half the width of the bound, rounded up: `estimate` is wrong by no more than the larger side, see
    /// [`max_error`](Reading::max_error).
    pub fn half_width(&self) -> Span {
        (self.latest - self.earliest).half()
    }

    /// The furthest that true time can be from `estimate`.
    pub fn max_error(&self) -> Span {
        (self.latest - self.estimate).max(self.estimate - self.earliest)
    }

    /// The same for an instant that is only known to within `by`: bounds are that much wider.
    pub fn blurred(self, by: Span) -> Reading {
        let narrow = |n: NarrowBound| NarrowBound { earliest: n.earliest - by, latest: n.latest + by, ..n };
        Reading {
            earliest: self.earliest - by,
            latest: self.latest + by,
            narrow: self.narrow.map(narrow),
            ..self
        }
    }

    /// Half-width of the calibrated interval around `estimate` that holds truth with probability `level` (0–1).
    pub fn interval(&self, level: f64) -> Span {
        Span::from_nanos((self.sigma.as_nanos() as f64 * self.levels.multiplier(level)).ceil() as i64)
    }

    /// Probability, under the calibrated distribution, that truth lies within `limit` of `estimate`: the inverse of
    /// [`interval`](Reading::interval). It is 0 unless the state is [`Synced`](State::Synced) or
    /// [`Holdover`](State::Holdover), because nothing stands behind the spread in the others.
    ///
    /// ```
    /// # let writer = chronotick_clock::Writer::in_memory()?;
    /// # let clock = chronotick_clock::Clock::of(&writer);
    /// use chronotick_clock::{Span, State};
    /// let reading = clock.now();
    /// let good_to_a_millisecond = reading.confidence_within(Span::from_millis(1));
    /// # assert_eq!((reading.state, good_to_a_millisecond), (State::Warmup, 0.0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn confidence_within(&self, limit: Span) -> f64 {
        match self.state {
            State::Synced | State::Holdover => {
                self.levels.probability(limit.as_nanos() as f64 / self.sigma.as_nanos() as f64)
            }
            _ => 0.0,
        }
    }

    /// Whether `estimate` rests on any measurement: without one the bound is as wide as can be written.
    pub fn is_known(&self) -> bool {
        self.max_error() < Span::MAX.half()
    }

    /// Whether to rely on it within its uncertainty: it rests on measurements, and is synced or in holdover.
    pub fn is_trustworthy(&self) -> bool {
        self.is_known() && matches!(self.state, State::Synced | State::Holdover)
    }

    /// How far a clock that reads `local` at the same instant is off. Positive: that clock is behind.
    pub fn offset_of(&self, local: Timestamp) -> Offset {
        Offset::between(self.estimate, local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RawInstant, Solution, raw_now};

    fn reading(state: State, sigma: Span) -> Reading {
        let at = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let levels = Levels::NORMAL;
        let reason = Reason::Agreement;
        Reading {
            earliest: at - sigma,
            latest: at + sigma,
            narrow: None,
            estimate: at,
            sigma,
            levels,
            state,
            reason,
        }
    }

    #[test]
    fn confidence_falls_with_the_spread_and_is_nothing_without_backing() {
        let limit = Span::from_millis(10);
        let of = |state, sigma| reading(state, sigma).confidence_within(limit);
        let (fresh, old, lost) = (Span::from_micros(50), Span::from_micros(51), limit.times(1_000));
        assert!(of(State::Synced, fresh) < 1.0 && of(State::Synced, fresh) > 0.999_99);
        assert!(of(State::Holdover, old) < of(State::Synced, fresh));
        assert!((of(State::Holdover, Span::from_nanos(5_102_041)) - 0.95).abs() < 1e-3);
        assert!(of(State::Holdover, lost) < 0.001);
        for state in [State::Warmup, State::Unsynced, State::Error] {
            assert_eq!(of(state, fresh), 0.0);
        }
    }

    #[test]
    fn an_assumption_says_what_it_is() {
        let said = |thousandths| Assumption::symmetry_within(thousandths).unwrap().to_string();
        assert!(said(10).contains("to within 1 % and 50 µs"), "{}", said(10));
        assert!(said(125).contains("to within 12.5 % and"), "{}", said(125));
        assert_eq!(Assumption::symmetry_within(0), None);
    }

    #[test]
    fn what_was_never_measured_is_not_known() {
        assert!(reading(State::Synced, Span::from_millis(1)).is_known());
        for at in [RawInstant::from_nanos(0), raw_now()] {
            let unknown = Solution::unknown(at, State::Warmup, Reason::NoMeasurement);
            assert!(!unknown.reading(at).is_known());
            let system = Solution { utc: Timestamp::from_nanos(1_800_000_000_000_000_000), ..unknown };
            assert!(!system.reading(at + Span::from_secs(3_600)).is_known());
        }
    }

    #[test]
    fn codes_survive_a_round_trip_and_unknown_ones_are_never_healthy() {
        for code in 0..=255u8 {
            let (state, reason) = (State::from_code(code), Reason::from_code(code));
            assert!(state as u8 == code || state == State::Error);
            assert!(reason as u8 == code || reason == Reason::Unknown);
        }
    }
}
