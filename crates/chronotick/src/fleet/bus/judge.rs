//! Who contradicts whom. Each node's words become a claim about truth on the watcher's own raw clock, and two claims that
//! share no instant cannot both be right.
//!
//! A reading was taken before it arrived: true time at its arrival is not before its `earliest`. A reading that repeats a
//! number that the watcher drew was taken after that was sent: true time at that sending is not after its `latest`. Both
//! move on with the raw clock, which is taken to run within `DRIFT_PPM` of true time. Nothing else is assumed: not how
//! long a message was on its way, and not that the watcher knows the time.

use chronotick_clock::RawInstant;

/// How far the watcher's raw clock may run from true time: beyond what any crystal or hypervisor does (the kernel
/// disciplines no clock by more).
const DRIFT_PPM: i64 = 500;

/// What one node says true time was, at instants of the watcher's raw clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// At this raw instant it was not before so many ns since 1970.
    pub low: Option<(RawInstant, i64)>,
    /// At this raw instant it was not after so many.
    pub high: Option<(RawInstant, i64)>,
}

/// The claim at one raw instant: an interval whose ends may be open.
type Interval = (Option<i128>, Option<i128>);

impl Claim {
    /// The claim as of a raw instant at or after both of its own.
    fn at(&self, now: RawInstant) -> Interval {
        let moved = |(raw, utc): (RawInstant, i64), sign: i128| {
            let age = i128::from((now - raw).as_nanos());
            i128::from(utc) + age + sign * (age.abs() * i128::from(DRIFT_PPM) / 1_000_000 + 1)
        };
        (self.low.map(|low| moved(low, -1)), self.high.map(|high| moved(high, 1)))
    }
}

/// What becomes of one claim among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many of the others it contradicts.
    pub contradicts: usize,
    /// By how much it misses what a majority agrees on, if it is outvoted, else the furthest that it contradicts; ns. Of two
    /// that miss each other by so much, one is wrong by at least half of that.
    pub by_ns: i64,
    /// It shares no instant with what a strict majority agrees on.
    pub outvoted: bool,
}

/// Claims of many nodes at one raw instant.
#[derive(Clone, Debug)]
pub struct Claims {
    intervals: Vec<Interval>,
    lows: Vec<i128>,
    highs: Vec<i128>,
    majority: Option<Interval>,
}

impl Claims {
    /// The claims as of `now`.
    pub fn at(now: RawInstant, claims: impl Iterator<Item = Claim>) -> Claims {
        let intervals: Vec<Interval> = claims.map(|claim| claim.at(now)).collect();
        let (lows, highs) = ends(intervals.iter());
        let majority = majority(&intervals);
        Claims { intervals, lows, highs, majority }
    }

    /// Whether a strict majority of the claims has instants in common.
    pub fn has_majority(&self) -> bool {
        self.majority.is_some()
    }

    /// The verdict on the claim at this index.
    pub fn verdict(&self, index: usize) -> Verdict {
        let (low, high) = self.intervals[index];
        let before = low.map_or(0, |low| self.highs.partition_point(|high| *high < low));
        let after = high.map_or(0, |high| self.lows.len() - self.lows.partition_point(|low| *low <= high));
        // A node that contradicts itself counts as one that contradicts one other.
        let crossed = is_crossed(&(low, high));
        let outvoted = self.majority.is_some_and(|majority| apart((low, high), majority) || crossed);
        let furthest = (self.lows.last().copied(), self.highs.first().copied());
        let missed = if outvoted { self.majority.unwrap_or(furthest) } else { furthest };
        Verdict {
            contradicts: before + after - usize::from(crossed),
            by_ns: gap((low, high), missed).clamp(0, i64::MAX.into()) as i64,
            outvoted,
        }
    }

    /// Whether two claims share no instant.
    pub fn contradict(&self, one: usize, other: usize) -> bool {
        apart(self.intervals[one], self.intervals[other])
    }
}

fn apart(one: Interval, other: Interval) -> bool {
    gap(one, other) > 0
}

/// From the end of the one to the begin of the other; not positive where they touch.
fn gap((low, high): Interval, (other_low, other_high): Interval) -> i128 {
    let between = |low: Option<i128>, high: Option<i128>| low.zip(high).map_or(0, |(low, high)| low - high);
    between(low, other_high).max(between(other_low, high))
}

/// Whether the claim contradicts itself, so that it contains no instant.
fn is_crossed((low, high): &Interval) -> bool {
    low.zip(*high).is_some_and(|(low, high)| low > high)
}

/// Where intervals begin and where they end, each in order.
fn ends<'a>(intervals: impl Iterator<Item = &'a Interval>) -> (Vec<i128>, Vec<i128>) {
    let (lows, highs): (Vec<_>, Vec<_>) = intervals.copied().unzip();
    let [mut lows, mut highs] = [lows, highs].map(|ends| ends.into_iter().flatten().collect::<Vec<i128>>());
    lows.sort_unstable();
    highs.sort_unstable();
    (lows, highs)
}

/// From the first to the last instant that more than half of the claims contain.
fn majority(intervals: &[Interval]) -> Option<Interval> {
    // One that contains nothing counts among all, and ends nothing that it has not begun.
    let (lows, highs) = ends(intervals.iter().filter(|interval| !is_crossed(interval)));
    let open = intervals.iter().filter(|(low, _)| low.is_none()).count();
    // How many contain an instant: those that have begun by then, less those that have ended before it.
    let containing =
        |at: i128| open + lows.partition_point(|low| *low <= at) - highs.partition_point(|high| *high < at);
    let many = |at: &&i128| containing(**at) * 2 > intervals.len();
    let many_outside = |open: usize| open * 2 > intervals.len();
    // What is contained in most begins where one of them begins, and ends where one of them ends.
    let from = if many_outside(open) { None } else { Some(*lows.iter().find(many)?) };
    let endless = intervals.iter().filter(|(_, high)| high.is_none()).count();
    let to = if many_outside(endless) { None } else { Some(*highs.iter().rev().find(many)?) };
    (intervals.len() >= 2).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn raw(ns: i64) -> RawInstant {
        RawInstant::from_nanos(ns)
    }

    fn around(utc: i64, half: i64) -> Claim {
        Claim { low: Some((raw(0), utc - half)), high: Some((raw(0), utc + half)) }
    }

    fn judged(claims: &[Claim]) -> (Claims, Vec<Verdict>) {
        let all = Claims::at(raw(0), claims.iter().copied());
        let verdicts = (0..claims.len()).map(|i| all.verdict(i)).collect();
        (all, verdicts)
    }

    #[test]
    fn a_majority_names_the_one_that_lies() {
        let ms = SECOND / 1000;
        let claims = [around(0, ms), around(ms / 2, ms), around(SECOND, ms)];
        let (all, verdicts) = judged(&claims);
        assert!(all.has_majority());
        assert_eq!(verdicts.iter().map(|v| v.contradicts).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!(verdicts.iter().map(|v| v.outvoted).collect::<Vec<_>>(), [false, false, true]);
        assert!((verdicts[2].by_ns - (SECOND - 2 * ms)).abs() <= 2, "{verdicts:?}");
        assert!(all.contradict(0, 2) && !all.contradict(0, 1));
    }

    #[test]
    fn two_that_contradict_each_other_have_no_judge() {
        let (all, verdicts) = judged(&[around(0, 10), around(SECOND, 10)]);
        assert!(!all.has_majority());
        assert!(verdicts.iter().all(|v| v.contradicts == 1 && !v.outvoted));
    }

    #[test]
    fn a_message_of_any_age_accuses_nobody_of_being_late() {
        // It says a time long past, and has not been asked: it may have been on its way since then.
        let old = Claim { low: Some((raw(0), -100 * SECOND)), high: None };
        let (_, verdicts) = judged(&[around(0, 10), around(1, 10), old]);
        assert!(verdicts.iter().all(|v| v.contradicts == 0 && !v.outvoted), "{verdicts:?}");
        // But a time that has not come yet when it arrives was never right.
        let early = Claim { low: Some((raw(0), SECOND)), high: None };
        let (_, verdicts) = judged(&[around(0, 10), around(1, 10), early]);
        assert!(verdicts[2].outvoted && verdicts[2].contradicts == 2);
    }

    #[test]
    fn a_claim_that_contradicts_itself_makes_no_majority_and_breaks_none() {
        let crossed = |low: i64, high: i64| Claim { low: Some((raw(0), low)), high: Some((raw(0), high)) };
        // The first ends before anything begins.
        let (all, verdicts) = judged(&[crossed(SECOND, -SECOND), around(0, 10), around(5, 10)]);
        assert!(all.has_majority());
        assert_eq!(verdicts.iter().map(|v| v.outvoted).collect::<Vec<_>>(), [true, false, false]);
        let (all, _) = judged(&[crossed(SECOND, -SECOND), around(0, 10)]);
        assert!(!all.has_majority());
        // More have ended than have begun.
        let (all, _) = judged(&[crossed(0, -SECOND), crossed(SECOND, -SECOND)]);
        assert!(!all.has_majority());
    }

    #[test]
    fn claims_age_by_what_a_raw_clock_may_drift() {
        let then = Claim { low: Some((raw(0), 0)), high: Some((raw(0), 0)) };
        let (low, high) = then.at(raw(10 * SECOND));
        let drift = i128::from(10 * SECOND * DRIFT_PPM / 1_000_000);
        assert_eq!(
            (low.unwrap(), high.unwrap()),
            (i128::from(10 * SECOND) - drift - 1, i128::from(10 * SECOND) + drift + 1)
        );
    }

    proptest! {
        /// Honest nodes, whatever their bounds, the raw clock's drift, delays, and losses: nobody is accused.
        #[test]
        fn truth_is_never_accused(
            nodes in proptest::collection::vec((0i64..SECOND, 0i64..SECOND, 0i64..SECOND, 0i64..5 * SECOND, any::<bool>()), 1..12),
            ppm in -DRIFT_PPM..=DRIFT_PPM,
        ) {
            // True time is t; the watcher's raw clock reads t·(1 + ppm).
            let clock = |t: i64| raw(t + (i128::from(t) * i128::from(ppm) / 1_000_100) as i64);
            let claims = nodes.iter().map(|&(early, late, delay, taken, answers)| Claim {
                low: Some((clock(taken + delay), taken - early)),
                high: answers.then(|| (clock(taken - taken.min(delay)), taken + late)),
            });
            let all = Claims::at(clock(7 * SECOND), claims);
            for i in 0..nodes.len() {
                let verdict = all.verdict(i);
                prop_assert_eq!((verdict.contradicts, verdict.outvoted), (0, false));
            }
        }

        /// The counts are those that asking each pair would give.
        #[test]
        fn counting_is_comparing_each_pair(ends in proptest::collection::vec((0i64..40, 0i64..20, 0u8..4), 2..20)) {
            let claims: Vec<Claim> = ends.iter().map(|&(low, width, open)| Claim {
                low: (open != 1).then(|| (raw(0), low * 100)),
                high: (open != 2).then(|| (raw(0), (low + width) * 100)),
            }).collect();
            let all = Claims::at(raw(0), claims.iter().copied());
            let contains = |i: usize, at: i128| {
                let (low, high) = all.intervals[i];
                low.is_none_or(|low| low <= at) && high.is_none_or(|high| at <= high)
            };
            let most = (-200..8_000).filter(|at| (0..ends.len()).filter(|i| contains(*i, *at)).count() * 2 > ends.len());
            let most: Vec<i128> = most.collect();
            prop_assert_eq!(all.has_majority(), !most.is_empty());
            for i in 0..ends.len() {
                let each = (0..ends.len()).filter(|j| *j != i && all.contradict(i, *j)).count();
                prop_assert_eq!(all.verdict(i).contradicts, each);
                let hull = most.first().zip(most.last());
                let outside = hull.is_some_and(|(first, last)| {
                    let (low, high) = all.intervals[i];
                    low.is_some_and(|low| low > *last) || high.is_some_and(|high| high < *first)
                });
                // Beyond the range that was tried an open end goes on.
                if !most.contains(&-200) && !most.contains(&7_999) {
                    prop_assert_eq!(all.verdict(i).outvoted, outside);
                }
            }
        }
    }
}
