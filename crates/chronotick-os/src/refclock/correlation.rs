//! From the system clock, by which other programs stamp, to the raw clock, by which everything is measured.

use crate::ClockPair;
use chronotick_core::{Rate, RawInstant, Span, Timestamp};
use std::collections::VecDeque;

/// The newest pairs of both clocks, to convert what was stamped between them.
#[derive(Clone, Debug, Default)]
pub struct Correlation {
    pairs: VecDeque<ClockPair>,
}

/// A stamp cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconvertible {
    /// The system clock has not got there yet, by so much.
    Future(Span),
    /// It lies so long before the oldest pair.
    Old(Span),
    /// The system clock was stepped around that instant.
    Stepped,
}

impl std::fmt::Display for Inconvertible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Inconvertible::Future(by) => write!(f, "its time stamp is {by} ahead of the system clock"),
            Inconvertible::Old(by) => write!(f, "its time stamp is {by} old"),
            Inconvertible::Stepped => f.write_str("the system clock was stepped around its time stamp"),
        }
    }
}

impl Correlation {
    /// So many pairs are kept: with one from each wake-up that is some seconds.
    const KEPT: usize = 16;
    /// The most that the kernel slews the system clock by (`adjtimex(2)`), and the oscillators beside that.
    const SLEW: f64 = 600e-6;

    /// Takes both clocks now.
    pub fn renew(&mut self) {
        self.add(ClockPair::now());
    }

    /// Takes a pair that was read after all others.
    pub fn add(&mut self, pair: ClockPair) {
        if self.pairs.len() == Correlation::KEPT {
            self.pairs.pop_front();
        }
        self.pairs.push_back(pair);
    }

    /// The raw instant at which the system clock read `stamp`, and how wrong that may be: no stamp later than the newest
    /// pair, nor more than `oldest` before it.
    ///
    /// # Errors
    /// If the stamp is not within these limits, or the system clock was stepped there.
    pub fn raw_of(&self, stamp: Timestamp, oldest: Span) -> Result<(RawInstant, Span), Inconvertible> {
        let newest = self.pairs.back().ok_or(Inconvertible::Stepped)?;
        if stamp > newest.system + newest.slack {
            return Err(Inconvertible::Future(stamp - newest.system));
        }
        if newest.system - stamp > oldest {
            return Err(Inconvertible::Old(newest.system - stamp));
        }
        let (first, second) = self.around(stamp);
        let at = first.raw + (stamp - first.system);
        let slack = first.slack.max(second.slack);
        // How far the clocks came apart between the pairs; the stamp may be anywhere on the way.
        let apart = (second.system - first.system) - (second.raw - first.raw);
        let between = second.raw - first.raw;
        if apart.abs() > Rate::from_f64(Correlation::SLEW).over(between) + slack + slack {
            return Err(Inconvertible::Stepped);
        }
        if stamp < first.system {
            // Before the oldest pair: the slew may have been any.
            let unseen = Rate::from_f64(Correlation::SLEW).over(first.system - stamp);
            return Ok((at, slack + unseen));
        }
        let whole = (second.system - first.system).as_secs_f64().max(1e-9);
        let share = (stamp - first.system).as_secs_f64() / whole;
        let drifted = Span::from_nanos((apart.as_nanos() as f64 * share.clamp(0.0, 1.0)).round() as i64);
        Ok((at - drifted, slack + apart.abs()))
    }

    /// The pairs on either side of a stamp; the oldest two for one before all, which may be the same.
    fn around(&self, stamp: Timestamp) -> (ClockPair, ClockPair) {
        let later = self.pairs.iter().position(|pair| pair.system >= stamp).unwrap_or(self.pairs.len() - 1);
        (self.pairs[later.saturating_sub(1)], self.pairs[later])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(raw_ms: i64, system_us: i64) -> ClockPair {
        ClockPair {
            raw: RawInstant::from_nanos(raw_ms * 1_000_000),
            system: Timestamp::from_nanos(system_us * 1_000),
            slack: Span::from_nanos(50),
        }
    }

    fn between(pairs: &[ClockPair], system_us: i64) -> Result<(i64, i64), Inconvertible> {
        let mut correlation = Correlation::default();
        pairs.iter().for_each(|p| correlation.add(*p));
        let (at, error) = correlation.raw_of(Timestamp::from_nanos(system_us * 1_000), Span::from_secs(4))?;
        Ok((at.as_nanos(), error.as_nanos()))
    }

    #[test]
    fn a_slew_between_two_pairs_is_shared_out() {
        // The system clock runs 100 ppm fast: 100 us more in a second.
        let pairs = [pair(0, 5_000_000), pair(1_000, 6_000_100)];
        assert_eq!(between(&pairs, 5_500_050), Ok((500_000_000, 100_050)));
        assert_eq!(between(&pairs, 6_000_100), Ok((1_000_000_000, 100_050)));
    }

    #[test]
    fn a_stamp_before_all_pairs_may_have_been_slewed_by_any_rate() {
        assert_eq!(between(&[pair(1_000, 5_000_000)], 4_900_000), Ok((900_000_000, 60_050)));
    }

    #[test]
    fn what_cannot_be_converted_says_why() {
        let pairs = [pair(0, 5_000_000), pair(1_000, 9_000_000)];
        assert_eq!(between(&pairs, 7_000_000), Err(Inconvertible::Stepped));
        assert_eq!(between(&pairs, 9_000_100), Err(Inconvertible::Future(Span::from_micros(100))));
        assert_eq!(between(&pairs, 4_000_000), Err(Inconvertible::Old(Span::from_secs(5))));
        assert_eq!(between(&[], 0), Err(Inconvertible::Stepped));
    }

    #[test]
    fn this_machine_agrees_with_itself() {
        let mut correlation = Correlation::default();
        correlation.renew();
        let middle = ClockPair::now();
        correlation.renew();
        let (at, error) = correlation.raw_of(middle.system, Span::from_secs(1)).unwrap();
        assert!((at - middle.raw).abs() <= error + middle.slack + Span::from_micros(1), "{at:?} {middle:?}");
    }
}
