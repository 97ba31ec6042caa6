//! Which sources to believe: intersection of their intervals with a strict majority (Marzullo 1984; RFC 5905 §11.2.1).
//!
//! The result contains truth whenever fewer than half of the sources lie: truth is then inside more than half of the
//! intervals, and the result spans *every* point that is. Agreeing sources do not make it any smaller than that.

use crate::Span;

/// Where true time may be according to one source: both ends on one common scale, `lo <= hi`.
///
/// ```
/// use chronotick_core::{Interval, Span};
/// let around = |ms: i64| Interval { lo: Span::from_millis(ms - 2), hi: Span::from_millis(ms + 2) };
/// let (agreed, how_many) = Interval::majority(&[around(0), around(1), around(500)]).unwrap();
/// assert_eq!((agreed.lo, agreed.hi, how_many), (Span::from_millis(-1), Span::from_millis(2), 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The earlier end.
    pub lo: Span,
    /// The later end.
    pub hi: Span,
}

impl Interval {
    /// Whether there is a point that both contain.
    pub fn overlaps(&self, other: &Interval) -> bool {
        self.lo <= other.hi && other.lo <= self.hi
    }

    /// What both contain; `None` if they contradict each other.
    pub fn and(&self, other: &Interval) -> Option<Interval> {
        let both = Interval { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        (both.lo <= both.hi).then_some(both)
    }

    /// The smallest interval that contains all; `None` of nothing.
    pub fn hull(intervals: &[Interval]) -> Option<Interval> {
        intervals.iter().copied().reduce(|a, b| Interval { lo: a.lo.min(b.lo), hi: a.hi.max(b.hi) })
    }

    /// The smallest interval that contains every point inside a strict majority of the intervals, and how many
    /// intervals overlap where most do; `None` where no point is inside a majority.
    pub fn majority(intervals: &[Interval]) -> Option<(Interval, usize)> {
        let needed = intervals.len() / 2 + 1;
        // At equal positions starts come before ends: intervals that touch overlap.
        let mut ends: Vec<(Span, bool)> =
            intervals.iter().flat_map(|i| [(i.lo, false), (i.hi, true)]).collect();
        ends.sort_unstable();
        let (mut depth, mut deepest) = (0, 0);
        let mut found: Option<Interval> = None;
        for (position, is_end) in ends {
            if is_end {
                if depth >= needed
                    && let Some(span) = &mut found
                {
                    span.hi = position;
                }
                depth -= 1;
            } else {
                depth += 1;
                deepest = deepest.max(depth);
                if depth >= needed && found.is_none() {
                    found = Some(Interval { lo: position, hi: position });
                }
            }
        }
        found.map(|span| (span, deepest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn around(centre: i64, half: i64) -> Interval {
        Interval { lo: Span::from_nanos(centre - half), hi: Span::from_nanos(centre + half) }
    }

    #[test]
    fn a_tight_liar_does_not_win() {
        let honest = [around(0, 100), around(10, 120), around(-5, 90), around(3, 150)];
        let all = [honest.as_slice(), &[around(1_000_000, 1)]].concat();
        let (span, depth) = Interval::majority(&all).unwrap();
        assert_eq!(depth, 4);
        assert!(span.lo <= Span::ZERO && span.hi >= Span::ZERO && span.hi < Span::from_nanos(200));
    }

    #[test]
    fn exactly_half_is_no_majority() {
        let split = [around(0, 10), around(1, 10), around(500, 10), around(501, 10)];
        assert_eq!(Interval::majority(&split), None);
        assert_eq!(
            Interval::hull(&split).unwrap(),
            Interval { lo: Span::from_nanos(-10), hi: Span::from_nanos(511) }
        );
    }

    #[test]
    fn one_source_is_its_own_majority_and_none_is_nobodys() {
        assert_eq!(Interval::majority(&[around(7, 3)]), Some((around(7, 3), 1)));
        assert_eq!(Interval::majority(&[]), None);
    }

    proptest! {
        /// The promise: with fewer than half lying, truth (here 0) is inside, however the liars conspire.
        #[test]
        fn truth_is_inside_unless_half_lie(
            honest in prop::collection::vec((-1000i64..=1000, 0i64..1000), 1..8),
            liars in prop::collection::vec((-3000i64..3000, 0i64..2000), 0..7),
        ) {
            prop_assume!(liars.len() < honest.len());
            let honest = honest.iter().map(|&(c, extra)| around(c, c.abs() + extra));
            let all: Vec<_> = honest.chain(liars.iter().map(|&(c, h)| around(c, h))).collect();
            let (span, _) = Interval::majority(&all).expect("the honest overlap at truth");
            prop_assert!(span.lo <= Span::ZERO && Span::ZERO <= span.hi);
        }

        #[test]
        fn it_never_exceeds_the_hull(parts in prop::collection::vec((-1000i64..1000, 0i64..500), 1..9)) {
            let all: Vec<_> = parts.iter().map(|&(c, h)| around(c, h)).collect();
            let hull = Interval::hull(&all).unwrap();
            if let Some((span, depth)) = Interval::majority(&all) {
                prop_assert!(hull.lo <= span.lo && span.lo <= span.hi && span.hi <= hull.hi);
                prop_assert!(depth * 2 > all.len());
            }
        }
    }
}
