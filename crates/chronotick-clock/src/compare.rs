//! Which of two events came first, as far as two readings can tell.

use crate::{Reading, State, normal};
use std::fmt;

/// What the bounds of two readings say about their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The first event came before the second: their bounds do not touch.
    Before,
    /// The first event came after the second: their bounds do not touch.
    After,
    /// The bounds overlap: either may have come first.
    Indistinguishable,
}

impl Order {
    /// The word used in every view and interface: `before`, `after`, `indistinguishable`.
    pub fn name(self) -> &'static str {
        match self {
            Order::Before => "before",
            Order::After => "after",
            Order::Indistinguishable => "indistinguishable",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The order of two readings, once by their bounds and once by their spreads; the two are never mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// By the bounds: certain, unless half of the sources or more lie.
    pub order: Order,
    /// By the spreads: the probability (0–1) that the first event came before the second. None if one of the readings
    /// is neither synced nor in holdover: its spread was measured by nobody.
    pub probability_before: Option<f64>,
}

impl Reading {
    /// Which came first, the event of this reading or that of another, taken on this machine or on any other.
    ///
    /// The probability takes the errors of the two readings to be independent and normal. On one machine they are
    /// nearly the same error, and the true answer is more certain than the one given; there, compare raw instants.
    ///
    /// ```
    /// use chronotick_clock::{Clock, Order, Writer};
    /// let writer = Writer::in_memory()?;
    /// let clock = Clock::of(&writer);
    /// let (first, second) = (clock.now(), clock.now());
    /// // Nothing has been measured yet, so nothing can be said.
    /// assert_eq!(first.compare(&second).order, Order::Indistinguishable);
    /// assert_eq!(first.compare(&second).probability_before, None);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn compare(&self, other: &Reading) -> Comparison {
        let order = if self.latest < other.earliest {
            Order::Before
        } else if other.latest < self.earliest {
            Order::After
        } else {
            Order::Indistinguishable
        };
        let calibrated = |reading: &Reading| matches!(reading.state, State::Synced | State::Holdover);
        let probability_before =
            (calibrated(self) && calibrated(other)).then(|| self.probability_before(other));
        Comparison { order, probability_before }
    }

    fn probability_before(&self, other: &Reading) -> f64 {
        let lead = (other.estimate - self.estimate).as_nanos() as f64;
        let spread = (self.sigma.as_nanos() as f64).hypot(other.sigma.as_nanos() as f64);
        // Two exact readings: the quotient is infinite, or undefined if they are equal.
        let quotient = lead / spread;
        if quotient.is_nan() { 0.5 } else { normal::cdf(quotient) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Levels, Reason, Span, Timestamp};
    use proptest::prelude::*;

    fn reading(estimate: i64, half_width: i64, sigma: i64) -> Reading {
        let estimate = Timestamp::from_nanos(estimate);
        Reading {
            earliest: estimate - Span::from_nanos(half_width),
            latest: estimate + Span::from_nanos(half_width),
            narrow: None,
            estimate,
            sigma: Span::from_nanos(sigma),
            levels: Levels::NORMAL,
            state: State::Synced,
            reason: Reason::Agreement,
        }
    }

    #[test]
    fn touching_bounds_decide_nothing() {
        let order = |b| reading(0, 10, 1).compare(&reading(b, 10, 1)).order;
        assert_eq!((order(20), order(21)), (Order::Indistinguishable, Order::Before));
        assert_eq!((order(-20), order(-21)), (Order::Indistinguishable, Order::After));
    }

    #[test]
    fn the_probability_is_that_of_the_difference() {
        let before = |a: Reading, b| a.compare(&b).probability_before.unwrap();
        // 5 ns apart with a combined spread of 5 ns: one standard deviation.
        assert!((before(reading(0, 10, 3), reading(5, 10, 4)) - 0.841345).abs() < 1e-6);
        assert_eq!(before(reading(0, 0, 0), reading(1, 0, 0)), 1.0);
        assert_eq!(before(reading(1, 0, 0), reading(0, 0, 0)), 0.0);
        assert_eq!(before(reading(1, 0, 0), reading(1, 0, 0)), 0.5);
    }

    #[test]
    fn without_calibration_there_is_no_probability() {
        let unsynced = Reading { state: State::Unsynced, reason: Reason::Stopped, ..reading(0, 10, 1) };
        let comparison = unsynced.compare(&reading(100, 10, 1));
        assert_eq!(comparison, Comparison { order: Order::Before, probability_before: None });
    }

    proptest! {
        #[test]
        fn the_other_way_round_it_is_the_opposite(
            a in -1000i64..1000, b in -1000i64..1000, widths in [0i64..500, 0i64..500], sigmas in [0i64..500, 0i64..500],
        ) {
            let (x, y) = (reading(a, widths[0], sigmas[0]), reading(b, widths[1], sigmas[1]));
            let (there, back) = (x.compare(&y), y.compare(&x));
            let opposite = match there.order {
                Order::Before => Order::After,
                Order::After => Order::Before,
                same => same,
            };
            prop_assert_eq!(back.order, opposite);
            let sum = there.probability_before.unwrap() + back.probability_before.unwrap();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        }
    }
}
