//! Which sources to believe: intersection of their intervals with a strict majority (Marzullo 1984; RFC 5905 §11.2.1).
//!
//! The result contains truth whenever fewer than half of the sources lie: truth is then inside more than half of the
//! intervals, and the result spans *every* point that is. Agreeing sources do not make it any smaller than that.

use crate::Span;

/// What an operator vouches for, or does without, in one source. [`Default`] is a source like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Role {
    /// It is measured and shown, and has no say: no vote, no part in the estimate or the bound.
    pub noselect: bool,
    /// Where it agrees with the majority, it alone says where within the majority's bound true time is. The bound then
    /// assumes that it is honest to its own distance; of several that are preferred a majority is.
    pub prefer: bool,
    /// Where any source has it, only those that do are asked for a majority; others must agree with them.
    pub trust: bool,
    /// Time is not called synced unless at least one source that has this is believed and answers.
    pub require: bool,
}

/// What one source says, and what its word counts for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    pub(crate) interval: Interval,
    pub(crate) role: Role,
}

/// Where true time is according to all witnesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Where a strict majority of those who are asked sees it; the hull of what they say where there is none.
    pub(crate) agreed: Interval,
    /// The part of that which preferred sources leave; all of it where none is preferred, or they do not agree.
    pub(crate) preferred: Interval,
    /// Whether there is a majority.
    pub(crate) majority: bool,
}

impl Region {
    /// `None` if nobody who has a say has said anything.
    pub(crate) fn of(witnesses: &[Witness]) -> Option<Region> {
        let said = |wanted: &dyn Fn(&Witness) -> bool| -> Vec<Interval> {
            witnesses.iter().filter(|w| !w.role.noselect && wanted(w)).map(|w| w.interval).collect()
        };
        let trusted = said(&|w| w.role.trust);
        let asked = if trusted.is_empty() { said(&|_| true) } else { trusted };
        let Some((agreed, _)) = Interval::majority(&asked) else {
            let hull = Interval::hull(&asked)?;
            return Some(Region { agreed: hull, preferred: hull, majority: false });
        };
        let preferred = said(&|w| w.role.prefer && w.interval.overlaps(&agreed));
        let within = Interval::majority(&preferred).and_then(|(theirs, _)| theirs.and(&agreed));
        Some(Region { agreed, preferred: within.unwrap_or(agreed), majority: true })
    }
}

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

    fn witness(centre: i64, half: i64, role: Role) -> Witness {
        Witness { interval: around(centre, half), role }
    }

    const PLAIN: Role = Role { noselect: false, prefer: false, trust: false, require: false };
    const PREFER: Role = Role { prefer: true, ..PLAIN };
    const TRUST: Role = Role { trust: true, ..PLAIN };
    const NOSELECT: Role = Role { noselect: true, ..PLAIN };

    #[test]
    fn who_has_no_say_is_not_heard() {
        assert_eq!(Region::of(&[witness(0, 10, NOSELECT)]), None);
        let all = [witness(0, 10, PLAIN), witness(500, 10, NOSELECT), witness(500, 10, NOSELECT)];
        assert_eq!(Region::of(&all).unwrap().preferred, around(0, 10));
    }

    #[test]
    fn a_preferred_source_narrows_what_the_majority_agrees_on_and_cannot_leave_it() {
        let servers = [witness(100, 5_000, PLAIN), witness(-300, 7_000, PLAIN), witness(0, 9_000, PLAIN)];
        let with = |w| Region::of(&[servers.as_slice(), &[w]].concat()).unwrap();
        assert_eq!(with(witness(7, 1, PREFER)).preferred, around(7, 1));
        let liar = with(witness(1_000_000, 1, PREFER));
        assert!(liar.majority && liar.preferred == liar.agreed && liar.agreed.hi < Span::from_nanos(10_000));
    }

    #[test]
    fn preferred_sources_that_contradict_each_other_are_none() {
        let all = [witness(0, 5_000, PLAIN), witness(0, 5_000, PLAIN), witness(0, 5_000, PLAIN)];
        let pair = [witness(100, 1, PREFER), witness(-100, 1, PREFER)];
        let region = Region::of(&[all.as_slice(), &pair].concat()).unwrap();
        assert_eq!(region.preferred, region.agreed);
    }

    #[test]
    fn where_some_are_trusted_the_others_cannot_outvote_them() {
        let liars = [witness(900, 10, PLAIN), witness(901, 10, PLAIN), witness(902, 10, PLAIN)];
        let region = Region::of(&[liars.as_slice(), &[witness(0, 10, TRUST)]].concat()).unwrap();
        assert_eq!((region.agreed, region.majority), (around(0, 10), true));
        let split = [witness(0, 10, TRUST), witness(500, 10, TRUST), witness(0, 10, PLAIN)];
        assert!(!Region::of(&split).unwrap().majority);
    }

    proptest! {
        /// Preference only ever narrows, and without any role the region is the majority's.
        #[test]
        fn roles_do_not_change_who_agrees(
            parts in prop::collection::vec((-1000i64..1000, 0i64..500, any::<bool>()), 1..9),
        ) {
            let role = |prefer| Role { prefer, ..PLAIN };
            let all: Vec<_> = parts.iter().map(|&(c, h, prefer)| witness(c, h, role(prefer))).collect();
            let plain: Vec<_> = parts.iter().map(|&(c, h, _)| around(c, h)).collect();
            let region = Region::of(&all).unwrap();
            prop_assert_eq!(region.majority, Interval::majority(&plain).is_some());
            prop_assert!(region.agreed.lo <= region.preferred.lo && region.preferred.lo <= region.preferred.hi);
            prop_assert!(region.preferred.hi <= region.agreed.hi);
        }

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
