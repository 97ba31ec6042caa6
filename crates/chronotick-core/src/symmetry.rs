//! The narrow bound: where true time can be if the fastest round trips took about as long one way as the other.
//!
//! A round trip of length `d` confines truth to ± d/2 around what it says, because all of it may have been spent on one
//! way. If an empty path takes `f`, and no more than a share `a` of that longer one way than the other, it is only
//! `(d − f) + a·f` that can have been. So the narrow interval is the plain one with `(1 − a)·f/2` taken off both ends,
//! and stays right when `f` is found to be smaller. It is carried more closely than the plain one
//! ([`Wander::gradual`](crate::bound::Wander::gradual)), or it would not stay narrow for long.
//!
//! Sources that differ show how large `a` must be at least. Then four times that is assumed: what they differ by is
//! seldom all that they are wrong by.

use crate::bound::{Envelope, SourceBound};
use crate::select::Interval;
use crate::{Measurement, RawInstant, Span};

/// What the machine and its network card take longer one way than the other.
const MACHINE: Span = Span::from_micros(50);
/// So many times what the sources were seen to differ by is assumed.
const CAUTION: i32 = 4;

/// What one source's measurements say, for the narrow bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symmetry {
    fastest: Fastest,
    /// As wide as the plain bound of the source, but closely carried.
    known: Option<SourceBound>,
}

impl Symmetry {
    /// Takes in a measurement, and what it says at `received`; all that was known has been carried there.
    pub(crate) fn observe(&mut self, m: &Measurement, said: SourceBound, asymmetry: u8) {
        // The source's way to its own reference is taken to be as symmetric as the way to the source.
        self.fastest.observe(m.delay.max(Span::ZERO) + m.root_delay.max(Span::ZERO), m.received);
        let both = self.known.and_then(|known| known.and(&said));
        // Contradictions mean that the rate or the floor was not what it seemed: only the newest packet is left.
        let possible = |both: &SourceBound| {
            self.fastest.floor().is_none_or(|f| narrowed(both.interval, f, asymmetry).is_some())
        };
        self.known = Some(both.filter(possible).unwrap_or(said));
    }

    /// Lets time pass until `now`.
    pub(crate) fn carry(&mut self, now: RawInstant, closely: &Envelope) {
        self.known = self.known.map(|known| known.carried_to(now, closely));
    }

    /// Time is measured anew; the path is as before.
    pub(crate) fn forget_time(&mut self) {
        self.known = None;
    }

    /// What to judge the source by at `now`, where its plain bound is `plain`.
    pub(crate) fn testimony(&self, now: RawInstant, closely: &Envelope, plain: Interval) -> Testimony {
        let known = self.known.map(|known| known.carried_to(now, closely).interval);
        Testimony { plain, close: known.zip(self.fastest.floor()) }
    }
}

/// Where true time is at one instant according to one source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Testimony {
    plain: Interval,
    /// The closely carried interval and the path's floor; `None` until that is known.
    close: Option<(Interval, Span)>,
}

impl Testimony {
    /// The interval if the path is symmetric to so many thousandths: never outside the plain one.
    fn within(&self, asymmetry: u8) -> Interval {
        self.close
            .and_then(|(interval, floor)| narrowed(interval, floor, asymmetry)?.and(&self.plain))
            .unwrap_or(self.plain)
    }

    /// Where true time is according to a strict majority, if the paths are symmetric to so many thousandths, which are
    /// not less than `least`; `None` if no such assumption explains what the sources say.
    pub(crate) fn majority(all: &[Testimony], least: u8) -> Option<(Interval, u8)> {
        let mut intervals = Vec::with_capacity(all.len());
        let mut region = |asymmetry| {
            intervals.clear();
            intervals.extend(all.iter().map(|t| t.within(asymmetry)));
            Interval::majority(&intervals).map(|(region, _)| region)
        };
        // The wider the intervals, the more overlap: the least with a majority lies above `without`, not above `with`.
        let (mut without, mut with) = (-1, i32::from(u8::MAX));
        while with - without > 1 {
            let middle = (without + with) / 2;
            *(if region(middle as u8).is_some() { &mut with } else { &mut without }) = middle;
        }
        let asymmetry = u8::try_from(CAUTION * with).ok()?.max(least);
        region(asymmetry).map(|region| (region, asymmetry))
    }
}

/// `None` where nothing is left.
fn narrowed(interval: Interval, floor: Span, asymmetry: u8) -> Option<Interval> {
    let asymmetric = floor.as_nanos() / 1000 * i64::from(asymmetry) + MACHINE.as_nanos();
    let by = Span::from_nanos((floor.as_nanos() - asymmetric).div_euclid(2));
    let narrowed = Interval { lo: interval.lo + by, hi: interval.hi - by };
    (narrowed.lo <= narrowed.hi).then_some(narrowed)
}

/// The fastest round trips of the last twelve to twenty-four hours.
///
/// That is longer than most detours last: packets on a detour are judged by the way that was taken before. Only what
/// stays the same for a day is the path's own length.
#[derive(Clone, Debug, Default)]
struct Fastest {
    newer: Half,
    older: Half,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    begun: RawInstant,
    seen: u32,
    /// In ascending order.
    delays: [Span; KEPT],
}

const HALF: Span = Span::from_secs(12 * 3600);
const KEPT: usize = 4;
/// Fewer packets do not show a path's length.
const FIRST: u32 = 8;

impl Default for Half {
    fn default() -> Half {
        Half { begun: RawInstant::from_nanos(0), seen: 0, delays: [Span::MAX; KEPT] }
    }
}

impl Half {
    fn insert(&mut self, delay: Span) {
        let place = self.delays.partition_point(|d| *d <= delay);
        if place < KEPT {
            self.delays[place..].rotate_right(1);
            self.delays[place] = delay;
        }
    }
}

impl Fastest {
    fn observe(&mut self, delay: Span, now: RawInstant) {
        if self.newer.seen == 0 || now - self.newer.begun > HALF {
            self.older = std::mem::replace(&mut self.newer, Half { begun: now, ..Half::default() });
        }
        self.newer.seen = self.newer.seen.saturating_add(1);
        self.newer.insert(delay);
    }

    /// The length of the empty path: below the fastest, by as much as the fastest few differ.
    fn floor(&self) -> Option<Span> {
        let mut all = self.newer;
        self.older.delays.iter().for_each(|d| all.insert(*d));
        let [fastest, .., last] = all.delays;
        let enough = self.newer.seen.saturating_add(self.older.seen) >= FIRST;
        enough.then(|| (fastest - (last - fastest)).max(Span::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Leap, Rate, SourceId, Stamps, Timestamp};
    use proptest::prelude::*;

    const STILL: Envelope = Envelope { rate: Rate::ZERO, tolerance: Rate::ZERO };

    /// A path of so many nanoseconds each way, and what its packets said; truth is at 0.
    struct Path {
        ways: (i64, i64),
        symmetry: Symmetry,
        plain: Option<SourceBound>,
    }

    impl Path {
        fn new(up: i64, down: i64) -> Path {
            Path { ways: (up, down), symmetry: Symmetry::default(), plain: None }
        }

        /// A packet that waited so long on either way.
        fn packet(&mut self, up: i64, down: i64, asymmetry: u8) {
            let (up, down) = (self.ways.0 + up, self.ways.1 + down);
            let m = Measurement {
                source: SourceId(0),
                at: RawInstant::from_nanos(0),
                received: RawInstant::from_nanos(0),
                utc: Timestamp::from_nanos(0),
                delay: Span::from_nanos(up + down),
                root_delay: Span::ZERO,
                root_dispersion: Span::ZERO,
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            };
            let said = SourceBound::of(&m, Span::from_nanos((up - down) / 2));
            self.symmetry.observe(&m, said, asymmetry);
            self.plain = Some(self.plain.map_or(said, |plain| plain.and(&said).expect("truth is in both")));
        }

        fn testimony(&self) -> Testimony {
            let plain = self.plain.expect("it was measured").interval;
            self.symmetry.testimony(RawInstant::from_nanos(0), &STILL, plain)
        }
    }

    fn holds_truth(interval: Interval) -> bool {
        // What is written in whole nanoseconds may be off by one.
        interval.lo <= Span::from_nanos(1) && interval.hi >= Span::from_nanos(-1)
    }

    #[test]
    fn the_plain_bound_stands_until_the_path_is_known() {
        let mut path = Path::new(10_000_000, 10_000_000);
        (1..FIRST).for_each(|_| path.packet(0, 0, 10));
        assert_eq!(path.testimony().within(10), path.testimony().plain);
        path.packet(0, 0, 10);
        // Carrying rounds up.
        let half = 10_000_000 / 100 + MACHINE.as_nanos() / 2 + 1;
        assert_eq!(path.testimony().within(10).hi, Span::from_nanos(half));
    }

    #[test]
    fn a_detour_is_judged_by_the_way_that_was_taken_before() {
        let mut path = Path::new(10_000_000, 10_000_000);
        (0..20).for_each(|i| path.packet(1_000 * i, 500 * i, 10));
        path.symmetry.forget_time();
        path.ways.0 += 8_000_000;
        path.plain = None;
        (0..20).for_each(|i| path.packet(1_000 * i, 500 * i, 10));
        let detour = path.testimony().within(10);
        assert!(holds_truth(detour) && detour.hi - detour.lo > Span::from_millis(8), "{detour:?}");
    }

    #[test]
    fn sources_that_differ_prove_more_asymmetry_than_was_assumed() {
        let paths = [0, 600_000, -500_000].map(|later| {
            let mut path = Path::new(10_000_000 - later, 10_000_000 + later);
            (0..20).for_each(|i| path.packet(1_000 * i, 500 * i, 10));
            path.testimony()
        });
        let (region, asymmetry) = Testimony::majority(&paths, 10).unwrap();
        assert!(asymmetry > 50 && holds_truth(region), "{asymmetry}: {region:?}");
        let alike = [paths[0]; 3];
        assert_eq!(Testimony::majority(&alike, 10).unwrap().1, 10);
    }

    proptest! {
        /// Whatever the queues: truth is inside for as much asymmetry as is assumed.
        #[test]
        fn truth_is_inside_where_the_assumption_holds(
            floor in 100_000i64..300_000_000,
            asymmetry in 1u8..,
            share in -1.0f64..1.0,
            queues in prop::collection::vec((0i64..50_000_000, 0i64..50_000_000), 8..40),
            free in 0usize..40,
        ) {
            let most = floor / 1000 * i64::from(asymmetry) + MACHINE.as_nanos();
            let longer = (most as f64 * share) as i64 / 2;
            let mut path = Path::new(floor / 2 - longer, floor / 2 + longer);
            prop_assume!(path.ways.0 >= 0 && path.ways.1 >= 0);
            let free = free % queues.len();
            for (i, (up, down)) in queues.into_iter().enumerate() {
                // One of them found the path empty.
                let waited = if i == free { (0, 0) } else { (up, down) };
                path.packet(waited.0, waited.1, asymmetry);
            }
            let interval = path.testimony().within(asymmetry);
            let plain = path.testimony().plain;
            prop_assert!(holds_truth(interval), "{interval:?}");
            prop_assert!(plain.lo <= interval.lo && interval.hi <= plain.hi);
        }
    }
}
