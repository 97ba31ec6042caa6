//! True time as a function of the raw clock, as the engine publishes it and every reader evaluates it.

use crate::{Assumption, NarrowBound, Rate, RawInstant, Reading, Reason, Span, State, Timestamp};

/// What the sources announce about the end of the current month (RFC 5905 §7.3, leap indicator).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Leap {
    /// No leap second is announced.
    #[default]
    None = 0,
    /// The last minute has 61 seconds.
    Insert = 1,
    /// The last minute has 59 seconds.
    Delete = 2,
}

impl Leap {
    /// The announcement with this number; others mean that none is known.
    pub fn from_code(code: u8) -> Leap {
        [Leap::None, Leap::Insert, Leap::Delete].get(usize::from(code)).copied().unwrap_or_default()
    }
}

/// How the calibrated interval's half-width follows from sigma at several levels, in units of 1/256 sigma.
///
/// A normal distribution has 0.674, 1.645, 1.960 and 2.576 at 50, 90, 95 and 99 %; measured errors have heavier
/// tails, and calibration writes here what it found. The 95 % entry is always 1.960: it defines sigma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels([u16; 4]);

impl Levels {
    /// The probabilities for which a multiplier is kept.
    pub const PROBABILITIES: [f64; 4] = [0.50, 0.90, 0.95, 0.99];
    /// Those of a normal distribution.
    pub const NORMAL: Levels = Levels([173, 421, 502, 659]);

    /// From measured multipliers of sigma at [`PROBABILITIES`](Levels::PROBABILITIES), rounded up to 1/256.
    ///
    /// They are made to ascend: a wider interval never claims less.
    pub fn from_multipliers(multipliers: [f64; 4]) -> Levels {
        let mut least = 0;
        Levels(multipliers.map(|m| {
            least = ((m * 256.0).ceil() as u16).max(least);
            least
        }))
    }

    /// The multiplier of sigma for any probability between 0 and 1.
    ///
    /// Between the kept levels the normal distribution's own multipliers are stretched linearly. Beyond 99 % nothing
    /// has been measured: there the tail falls with the square of the distance, the slowest fall that still has a
    /// variance, so that certainty (1) needs an infinite width.
    pub fn multiplier(self, probability: f64) -> f64 {
        let (normal, mine) = (Levels::NORMAL.widths(), self.widths());
        if probability >= Levels::OUTERMOST {
            return mine[3] * ((1.0 - Levels::OUTERMOST) / (1.0 - probability).max(0.0)).sqrt();
        }
        stretch(crate::normal::half_width(probability), normal, mine)
    }

    /// The probability that truth is within so many sigma: the inverse of [`multiplier`](Levels::multiplier).
    ///
    /// ```
    /// # use chronotick_clock::Levels;
    /// assert!((Levels::NORMAL.probability(1.96) - 0.95).abs() < 1e-3);
    /// ```
    pub fn probability(self, multiplier: f64) -> f64 {
        let (normal, mine) = (Levels::NORMAL.widths(), self.widths());
        // Levels of zero are no calibration, and what is not a positive width holds nothing.
        if multiplier.is_nan() || multiplier <= 0.0 || mine[3] == 0.0 {
            return 0.0;
        }
        if multiplier >= mine[3] {
            return 1.0 - (1.0 - Levels::OUTERMOST) * (mine[3] / multiplier).powi(2);
        }
        2.0 * crate::normal::cdf(stretch(multiplier, mine, normal)) - 1.0
    }

    const OUTERMOST: f64 = Levels::PROBABILITIES[3];

    fn widths(self) -> [f64; 4] {
        self.0.map(|m| f64::from(m) / 256.0)
    }

    /// As one word, for the page.
    pub fn to_bits(self) -> u64 {
        self.0.iter().rev().fold(0, |word, &m| word << 16 | u64::from(m))
    }
    /// From the word of [`to_bits`](Levels::to_bits).
    pub fn from_bits(bits: u64) -> Levels {
        Levels(std::array::from_fn(|i| (bits >> (16 * i)) as u16))
    }
}

/// What `x` on the scale `from` is on the scale `to`: linear between the marks and from zero to the first.
fn stretch(x: f64, from: [f64; 4], to: [f64; 4]) -> f64 {
    if x <= from[0] {
        return x * to[0] / from[0];
    }
    let i = (0..3).find(|&i| x <= from[i + 1]).unwrap_or(2);
    let share = ((x - from[i]) / (from[i + 1] - from[i])).min(1.0);
    to[i] + share * (to[i + 1] - to[i])
}

/// The variance of the estimate as a cubic in the time since the solution: ns², ns²/s, ns²/s², ns²/s³.
///
/// The four terms are what is not known now, its correlation with the rate, the rate, and the rate's random walk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variance(pub [f64; 4]);

impl Variance {
    /// Standard deviation after `age` (of either sign: the past is no better known by this alone than the future).
    /// What is no variance, negative or not a number, is unknown: [`Span::MAX`].
    #[inline]
    pub fn sigma(&self, age: Span) -> Span {
        let t = age.abs().as_secs_f64();
        let [a, b, c, d] = self.0;
        let variance = a + t * (b + t * (c + t * d));
        // A negative correlation may make the cubic dip: what is unknown now does not become known by waiting.
        let sigma = variance.max(a).sqrt().ceil();
        if sigma.is_nan() { Span::MAX } else { Span::from_nanos(sigma as i64) }
    }
}

/// Both sides of a narrow bound, as [`Solution::early`] and [`Solution::late`]; never negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Narrow {
    /// True time at `at` is no more than this before `utc`, if the assumption holds.
    pub early: Span,
    /// True time at `at` is no more than this after `utc`, if the assumption holds.
    pub late: Span,
    /// What is assumed.
    pub assumes: Assumption,
}

/// True time as a function of the raw clock: what the engine publishes and every reader evaluates.
///
/// A solution needs no successor to stay honest: its bound and its spread grow with the time since `at`, and after
/// `holdover_at` and `unsynced_at` its state falls by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solution {
    /// The raw instant of publication, to which everything else refers.
    pub at: RawInstant,
    /// Estimated true time at `at`.
    pub utc: Timestamp,
    /// How much faster true time runs than the raw clock.
    pub rate: Rate,
    /// True time at `at` is no more than this before `utc`.
    pub early: Span,
    /// True time at `at` is no more than this after `utc`.
    pub late: Span,
    /// A bound that says what it assumes.
    pub narrow: Option<Narrow>,
    /// How fast both sides of the bounds grow with the distance from `at`.
    pub bound_growth: Rate,
    /// Spread of the calibrated interval.
    pub variance: Variance,
    /// Shape of the calibrated interval.
    pub levels: Levels,
    /// How far the engine relies on this.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// From this instant on a solution that has not been replaced is at best in holdover.
    pub holdover_at: RawInstant,
    /// From this instant on a solution that has not been replaced is unsynced.
    pub unsynced_at: RawInstant,
    /// Counts the disruptions (suspend, migration, step of the raw clock): readings across a change do not compare.
    pub disruptions: u32,
    /// The announced leap second.
    pub leap: Leap,
}

impl Solution {
    /// A solution that knows nothing: the bound is as wide as can be written.
    pub fn unknown(at: RawInstant, state: State, reason: Reason) -> Solution {
        Solution {
            at,
            utc: Timestamp::from_nanos(0),
            rate: Rate::ZERO,
            early: Span::MAX,
            late: Span::MAX,
            narrow: None,
            bound_growth: Rate::ZERO,
            variance: Variance([f64::from(i32::MAX).powi(4), 0.0, 0.0, 0.0]),
            levels: Levels::NORMAL,
            state,
            reason,
            holdover_at: at,
            unsynced_at: at,
            disruptions: 0,
            leap: Leap::None,
        }
    }

    /// Estimated true time at a raw instant, past or future.
    #[inline]
    pub fn utc_at(&self, raw: RawInstant) -> Timestamp {
        let age = raw - self.at;
        self.utc + age + self.rate.over(age)
    }

    /// The full answer at a raw instant, past or future.
    #[inline]
    pub fn reading(&self, raw: RawInstant) -> Reading {
        let age = raw - self.at;
        let estimate = self.utc + age + self.rate.over(age);
        // `over` rounds to the nearest; a bound rounds up.
        let growth = self.bound_growth.over(age.abs()) + Span::from_nanos(1);
        let (state, reason) = self.state_at(raw);
        Reading {
            earliest: estimate - (self.early + growth),
            latest: estimate + (self.late + growth),
            narrow: self.narrow.map(|narrow| NarrowBound {
                earliest: estimate - (narrow.early + growth),
                latest: estimate + (narrow.late + growth),
                assumes: narrow.assumes,
            }),
            estimate,
            sigma: self.variance.sigma(age),
            levels: self.levels,
            state,
            reason,
        }
    }

    #[inline]
    fn state_at(&self, raw: RawInstant) -> (State, Reason) {
        if raw < self.holdover_at {
            return (self.state, self.reason);
        }
        self.state_when_stale(raw)
    }

    #[cold]
    fn state_when_stale(&self, raw: RawInstant) -> (State, Reason) {
        match self.state {
            State::Synced | State::Holdover | State::Warmup if raw >= self.unsynced_at => {
                (State::Unsynced, Reason::PublisherDead)
            }
            State::Synced => (State::Holdover, Reason::PublisherSilent),
            state => (state, self.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solution() -> Solution {
        Solution {
            at: RawInstant::from_nanos(1_000_000_000),
            utc: Timestamp::from_nanos(1_700_000_000_000_000_000),
            rate: Rate::from_ppm(10.0),
            early: Span::from_micros(100),
            late: Span::from_micros(300),
            narrow: Assumption::symmetry_within(10).map(|assumes| Narrow {
                early: Span::from_micros(10),
                late: Span::from_micros(30),
                assumes,
            }),
            bound_growth: Rate::from_ppm(1.0),
            variance: Variance([1e6, 0.0, 1e4, 0.0]),
            levels: Levels::NORMAL,
            state: State::Synced,
            reason: Reason::Agreement,
            holdover_at: RawInstant::from_nanos(5_000_000_000),
            unsynced_at: RawInstant::from_nanos(60_000_000_000),
            disruptions: 0,
            leap: Leap::None,
        }
    }

    #[test]
    fn it_is_carried_on_along_its_rate() {
        let s = solution();
        let after_100_s = s.at + Span::from_secs(100);
        assert_eq!(s.utc_at(after_100_s) - s.utc, Span::from_secs(100) + Span::from_millis(1));
        let reading = s.reading(after_100_s);
        assert_eq!(reading.latest - reading.estimate, Span::from_micros(400) + Span::from_nanos(1));
        let narrow = reading.narrow.unwrap();
        assert_eq!(reading.estimate - narrow.earliest, Span::from_micros(110) + Span::from_nanos(1));
        assert_eq!(narrow.assumes.asymmetry(), 10);
    }

    #[test]
    fn without_a_successor_the_state_falls_and_never_recovers() {
        let s = solution();
        let at = |secs: i64| s.reading(RawInstant::from_nanos(secs * 1_000_000_000));
        assert_eq!(at(2).state, State::Synced);
        assert_eq!((at(10).state, at(10).reason), (State::Holdover, Reason::PublisherSilent));
        assert_eq!((at(70).state, at(70).reason), (State::Unsynced, Reason::PublisherDead));
    }

    #[test]
    fn a_variance_that_is_none_is_unknown_and_not_exact() {
        for nonsense in [f64::NAN, -1.0, f64::INFINITY] {
            assert_eq!(Variance([nonsense, 0.0, 0.0, 0.0]).sigma(Span::from_secs(1)), Span::MAX);
        }
    }

    #[test]
    fn levels_keep_their_anchors_and_stretch_between_them() {
        assert!((Levels::NORMAL.multiplier(0.95) - 1.96).abs() < 0.005);
        let heavy = Levels::from_multipliers([0.5, 1.6, 1.96, 4.0]);
        assert!((heavy.multiplier(0.99) - 4.0).abs() < 0.02);
        assert!(heavy.multiplier(0.97) > 1.96 && heavy.multiplier(0.97) < 4.0);
        assert_eq!(Levels::from_bits(heavy.to_bits()), heavy);
    }

    #[test]
    fn beyond_what_was_measured_the_tail_is_heavy() {
        assert!((Levels::NORMAL.multiplier(0.9999) - 10.0 * Levels::NORMAL.multiplier(0.99)).abs() < 1e-6);
        assert_eq!(Levels::NORMAL.multiplier(1.0), f64::INFINITY);
        assert_eq!(Levels::NORMAL.probability(f64::INFINITY), 1.0);
        assert_eq!(Levels::from_bits(0).probability(3.0), 0.0);
        for nothing in [0.0, -1.0, f64::NAN] {
            assert_eq!(Levels::NORMAL.probability(nothing), 0.0);
        }
    }

    proptest! {
        #[test]
        fn probability_is_the_inverse_of_multiplier(p in 0.0f64..0.99999, m in [0.1f64..1.0, 1.0..2.0, 2.0..3.0, 3.0..9.0]) {
            let levels = Levels::from_multipliers(m);
            prop_assert!((levels.probability(levels.multiplier(p)) - p).abs() < 1e-4);
            prop_assert!(levels.probability(levels.multiplier(p) * 1.01 + 1e-6) >= levels.probability(levels.multiplier(p)));
        }

        #[test]
        fn the_bound_contains_the_estimate_and_only_grows(a in 0i64..7_200, b in 0i64..7_200) {
            let s = solution();
            let (near, far) = (a.min(b), a.max(b));
            for sign in [1, -1] {
                let r = |secs: i64| s.reading(s.at + Span::from_secs(sign * secs));
                prop_assert!(r(near).earliest <= r(near).estimate && r(near).estimate <= r(near).latest);
                prop_assert!(r(near).half_width() <= r(far).half_width());
                prop_assert!(r(near).sigma <= r(far).sigma);
            }
        }

        #[test]
        fn no_instant_panics(at: i64, utc: i64, raw: i64, rate: i64) {
            let s = Solution {
                at: RawInstant::from_nanos(at),
                utc: Timestamp::from_nanos(utc),
                rate: Rate::from_bits(rate),
                ..solution()
            };
            let _ = s.reading(RawInstant::from_nanos(raw));
        }
    }
}
