//! Nodes that measure each other directly: what one node's corrected time says against another's, with a bound of its own.
//!
//! Two nodes that both follow servers far away differ from UTC by the errors of those paths, and say so by their bounds; but
//! from each other they differ by far less, and an exchange between them shows by how much. A round trip of length `d` tells
//! the difference within ± d/2 for certain, whatever either node knows of UTC.

use chronotick_clock::{Order, Rate, Span, Timestamp};

/// A neighbour's corrected time against ours.
///
/// ```
/// use chronotick::peers::Pairwise;
/// use chronotick_clock::{Order, Rate, Span, Timestamp};
/// let pair = Pairwise {
///     measured: Timestamp::from_nanos(0),
///     offset: Span::from_micros(40),
///     half_width: Span::from_micros(100),
///     growth: Rate::ZERO,
/// };
/// // 200 us later by the neighbour's clock, which is 40 us ahead: certainly after.
/// let (ours, theirs) = (Timestamp::from_nanos(0), Timestamp::from_nanos(240_001));
/// assert_eq!(pair.order(ours, theirs), Order::Before);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairwise {
    /// When the neighbour was measured, by our corrected time.
    pub measured: Timestamp,
    /// Their corrected time minus ours then.
    pub offset: Span,
    /// The offset was within this of that, on either side, for certain.
    pub half_width: Span,
    /// How fast the two may have come apart since, or before.
    pub growth: Rate,
}

impl Pairwise {
    /// Their corrected time minus ours at an instant of ours, and how far from that it may be.
    pub fn at(&self, ours: Timestamp) -> (Span, Span) {
        (self.offset, self.half_width + self.growth.over((ours - self.measured).abs()))
    }

    /// Which of two events came first: one at `ours` by our corrected time, or one at `theirs` by the neighbour's.
    pub fn order(&self, ours: Timestamp, theirs: Timestamp) -> Order {
        let (offset, half_width) = self.at(ours);
        let later = (theirs - offset) - ours;
        if later > half_width {
            Order::Before
        } else if later < -half_width {
            Order::After
        } else {
            Order::Indistinguishable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bound_grows_with_the_time_since_it_was_measured() {
        let pair = Pairwise {
            measured: Timestamp::from_nanos(0),
            offset: Span::from_micros(-40),
            half_width: Span::from_micros(100),
            growth: Rate::from_ppm(10.0),
        };
        let (offset, half) = pair.at(Timestamp::from_nanos(10_000_000_000));
        assert_eq!((offset, half), (Span::from_micros(-40), Span::from_micros(200)));
        assert_eq!(pair.at(Timestamp::from_nanos(-10_000_000_000)).1, half);
    }

    proptest! {
        /// Whatever the true offset within the bound: an order that is told is the true one.
        #[test]
        fn an_order_that_is_told_is_true(
            offset in -1_000i64..1_000, half in 0i64..1_000, share in -1.0f64..=1.0, ours in -5_000i64..5_000, gap in -5_000i64..5_000,
        ) {
            let pair = Pairwise {
                measured: Timestamp::from_nanos(0),
                offset: Span::from_nanos(offset),
                half_width: Span::from_nanos(half),
                growth: Rate::ZERO,
            };
            let truth = offset + (half as f64 * share) as i64;
            // The second event comes `gap` after the first, and the neighbour reads that much plus the true offset.
            let order = pair.order(Timestamp::from_nanos(ours), Timestamp::from_nanos(ours + gap + truth));
            match order {
                Order::Before => prop_assert!(gap > 0),
                Order::After => prop_assert!(gap < 0),
                Order::Indistinguishable => prop_assert!(gap.abs() <= 2 * half),
            }
        }
    }
}
