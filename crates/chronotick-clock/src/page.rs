//! The clock page: what lies where in the shared memory, and how a [`Solution`] is written in words.
//!
//! The page is a file of 3200 bytes made of native 64-bit words. The first 64 bytes say what it is and never change:
//!
//! | word | content |
//! |---|---|
//! | 0 | magic, the bytes `CHRTICK1` |
//! | 1 | version of this layout and of the numbers of states and reasons: 2 |
//! | 2 | boot: a hash of the boot id and the time namespace in which the raw clock is read, 0 if unknown |
//! | 3 | process id of the publisher, as it sees itself |
//! | 4–7 | 0 |
//!
//! The next 64 bytes begin with the sequence (word 8): how many publications there have been. From word 16 on there
//! are 16 slots of 24 words; publication *n* is in slot *n* mod 16, and `ring.rs` says how to read one. In a slot:
//!
//! | word | content |
//! |---|---|
//! | 0 | `at`: raw nanoseconds |
//! | 1 | near: for so many nanoseconds from `at` on, words 0–12 are all that a reading needs; 0 for never |
//! | 2 | `utc`: nanoseconds since 1970 |
//! | 3 | `rate`, units of 2⁻⁴⁸ |
//! | 4, 5 | `early`, `late`: nanoseconds |
//! | 6 | `bound_growth`, units of 2⁻⁴⁸ |
//! | 7 | bits 0–7 `state`, 8–15 `reason`, 16–23 `leap`, 24–31 assumed asymmetry in thousandths, 32–63 `disruptions` |
//! | 8, 9 | sigma at `at` in nanoseconds, and its growth in units of 2⁻⁴⁸: the chord of the curve over the near range |
//! | 10 | `levels`: four times 16 bits |
//! | 11, 12 | `narrow.early`, `narrow.late`: nanoseconds; there is no narrow bound where the assumed asymmetry is 0 |
//! | 13–16 | `variance`: four f64 |
//! | 17, 18 | `holdover_at`, `unsynced_at`: raw nanoseconds |
//! | 19 | suspend marker: nanoseconds that the host had slept (`CLOCK_BOOTTIME` − `CLOCK_MONOTONIC`) when the engine last knew |
//! | 20–23 | 0 |
//!
//! So a reading now touches three cache lines: the sequence and the first two of a slot.

use crate::atomic::{AtomicU64, Ordering};
use crate::ring::Ring;
use crate::{
    Assumption, ClockPair, Leap, Levels, Narrow, NarrowBound, Rate, RawInstant, Reading, Reason, Solution,
    Span, State, Timestamp, Variance, host,
};

pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"CHRTICK1");
pub(crate) const VERSION: u64 = 2;

const SLOTS: usize = 16;
const WORDS: usize = 24;
/// A reader that is overtaken this often in a row gives up; each time the publisher must have made 15 publications
/// within the copying of a few words.
const ATTEMPTS: usize = 64;
/// The near range ends here at the latest, so that a reader soon finds out that its publisher is gone.
const NEAR_LIMIT: Span = Span::from_secs(4);

/// Less than the shortest suspend, and more than the least that the daemon's own watch takes for one, so that the
/// two never disagree for long.
const SLEPT_TOLERANCE: Span = Span::from_millis(10);

/// The words of the page, as they lie in shared memory. All zero, it is a page without a publication.
#[repr(C, align(64))]
pub(crate) struct Page {
    magic: AtomicU64,
    version: AtomicU64,
    boot: AtomicU64,
    pid: AtomicU64,
    _line: [AtomicU64; 4],
    ring: Ring<SLOTS, WORDS>,
}

const _: () = assert!(size_of::<Page>() == 3200);

/// A solution as published, with the time that the host had slept when the engine last knew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Publication {
    pub(crate) solution: Solution,
    pub(crate) slept: Span,
}

impl Page {
    /// Says what the page is: the words that never change. Readers come later.
    pub(crate) fn initialise(&self, boot: u64, pid: u32) {
        self.magic.store(MAGIC, Ordering::Relaxed);
        self.version.store(VERSION, Ordering::Relaxed);
        self.boot.store(boot, Ordering::Relaxed);
        self.pid.store(pid.into(), Ordering::Relaxed);
    }

    pub(crate) fn boot(&self) -> u64 {
        self.boot.load(Ordering::Relaxed)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed) as u32
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.ring.sequence()
    }

    /// Makes this publication `number`. There must be but one publisher; it counts from 1 without a gap.
    pub(crate) fn publish(&self, number: u64, publication: &Publication) {
        self.ring.publish(number, &publication.to_words());
    }

    /// The reading at `raw`, if the newest publication answers it by its near words alone.
    #[inline]
    pub(crate) fn near_reading(&self, raw: RawInstant) -> Option<Reading> {
        near_reading(&self.ring.read()?, raw)
    }

    /// The newest publication; `None` if there is none or the publisher overtakes every attempt.
    pub(crate) fn newest(&self) -> Option<Publication> {
        (0..ATTEMPTS).find_map(|_| self.ring.read()).map(|words| Publication::from_words(&words))
    }
}

/// The same as [`Solution::reading`] in a few nanoseconds: no square root, no division, no saturation.
///
/// A product of a rate and an age fits into 64 bits because the page's [`near_range`] is shorter than 2³³ ns and its
/// rates are below 2³⁹ units of 2⁻⁴⁸; on a page that does not keep to this the result is wrong, not undefined. Leaving
/// out the last 8 bits of a rate changes no result by more than 2⁻⁷ ns.
#[inline]
fn near_reading(words: &[u64; 13], raw: RawInstant) -> Option<Reading> {
    let [at, near, utc, rate, early, late, growth, codes, sigma, slope, levels, narrow_early, narrow_late] =
        *words;
    let age = (raw.as_nanos() as u64).wrapping_sub(at);
    if age >= near {
        return None;
    }
    let over = |rate: u64| ((rate as i64 >> 8).wrapping_mul(age as i64).wrapping_add(1 << 39) >> 40) as u64;
    let nanos = |n: u64| Timestamp::from_nanos(n as i64);
    let estimate = utc.wrapping_add(age).wrapping_add(over(rate));
    let growth = over(growth).wrapping_add(1);
    Some(Reading {
        earliest: nanos(estimate.wrapping_sub(early).wrapping_sub(growth)),
        latest: nanos(estimate.wrapping_add(late).wrapping_add(growth)),
        narrow: Assumption::symmetry_within((codes >> 24) as u8).map(|assumes| NarrowBound {
            earliest: nanos(estimate.wrapping_sub(narrow_early).wrapping_sub(growth)),
            latest: nanos(estimate.wrapping_add(narrow_late).wrapping_add(growth)),
            assumes,
        }),
        estimate: nanos(estimate),
        sigma: Span::from_nanos(sigma.wrapping_add(over(slope)) as i64),
        levels: Levels::from_bits(levels),
        state: State::from_code(codes as u8),
        reason: Reason::from_code((codes >> 8) as u8),
    })
}

/// How long from `at` on [`near_reading`] agrees with [`Solution::reading`], and the chord of sigma over that range.
///
/// It ends before the state falls, and where the chord would leave the curve by more than one part in 64.
fn near_range(s: &Solution) -> (Span, Rate) {
    let never = (Span::ZERO, Rate::ZERO);
    let narrow = s.narrow.map_or((Span::ZERO, Span::ZERO), |n| (n.early, n.late));
    let spans = [s.early, s.late, narrow.0, narrow.1, s.variance.sigma(Span::ZERO)];
    let summands = [s.utc.as_nanos()].into_iter().chain(spans.map(Span::as_nanos));
    let fits = |rate: Rate| rate.to_bits().unsigned_abs() < 1 << 38;
    if summands.map(|n| i128::from(n).abs()).sum::<i128>() > i128::from(i64::MAX / 2)
        || !fits(s.rate)
        || !fits(s.bound_growth)
    {
        return never;
    }
    let mut near = NEAR_LIMIT.min(s.holdover_at - s.at);
    while near > Span::from_millis(50) {
        let sigma =
            |quarters: i64| s.variance.sigma(Span::from_nanos(near.as_nanos() / 4 * quarters)).as_nanos();
        let (first, last) = (sigma(0), sigma(4));
        let straight = |quarters: i64| {
            let chord = first + (last - first) / 4 * quarters;
            (chord - sigma(quarters)).abs() <= 1 + sigma(quarters) / 64
        };
        let slope = Rate::from_f64((last - first) as f64 / near.as_nanos() as f64);
        if (1..4).all(straight) && fits(slope) {
            return (near, slope);
        }
        near = Span::from_nanos(near.as_nanos() / 2);
    }
    never
}

impl Publication {
    /// What can be said before anything is known: the system clock's time, with no bound.
    pub(crate) fn unknown(state: State, reason: Reason) -> Publication {
        let pair = ClockPair::now();
        let solution = Solution { utc: pair.system, ..Solution::unknown(pair.raw, state, reason) };
        Publication { solution, slept: host::slept() }
    }

    /// What remains of it for one who knows that the host has slept for `slept` by now: if that is more than the
    /// engine knew, the solution is late by the difference and nothing bounds how exactly that is known. Who sees what is
    /// left with the same sleep, or nearly, adds nothing more.
    pub(crate) fn seen_after(self, slept: Span) -> Publication {
        let missed = slept - self.slept;
        if missed <= SLEPT_TOLERANCE {
            return self;
        }
        let solution = Solution {
            utc: self.solution.utc + missed,
            early: Span::MAX,
            late: Span::MAX,
            narrow: None,
            state: State::Unsynced,
            reason: Reason::Suspended,
            ..self.solution
        };
        Publication { solution, slept }
    }

    fn to_words(self) -> [u64; WORDS] {
        let s = &self.solution;
        let (near, slope) = near_range(s);
        let asymmetry = s.narrow.map_or(0, |n| n.assumes.asymmetry());
        let (narrow_early, narrow_late) = s.narrow.map_or((Span::ZERO, Span::ZERO), |n| (n.early, n.late));
        let codes = s.state as u64
            | (s.reason as u64) << 8
            | (s.leap as u64) << 16
            | u64::from(asymmetry) << 24
            | u64::from(s.disruptions) << 32;
        let [a, b, c, d] = s.variance.0.map(f64::to_bits);
        let mut words = [0; WORDS];
        words[..20].copy_from_slice(&[
            s.at.as_nanos() as u64,
            near.as_nanos() as u64,
            s.utc.as_nanos() as u64,
            s.rate.to_bits() as u64,
            s.early.as_nanos() as u64,
            s.late.as_nanos() as u64,
            s.bound_growth.to_bits() as u64,
            codes,
            s.variance.sigma(Span::ZERO).as_nanos() as u64,
            slope.to_bits() as u64,
            s.levels.to_bits(),
            narrow_early.as_nanos() as u64,
            narrow_late.as_nanos() as u64,
            a,
            b,
            c,
            d,
            s.holdover_at.as_nanos() as u64,
            s.unsynced_at.as_nanos() as u64,
            self.slept.as_nanos() as u64,
        ]);
        words
    }

    fn from_words(words: &[u64; WORDS]) -> Publication {
        let instant = |i: usize| RawInstant::from_nanos(words[i] as i64);
        let span = |i: usize| Span::from_nanos(words[i] as i64);
        let rate = |i: usize| Rate::from_bits(words[i] as i64);
        let code = |byte: usize| words[7].to_le_bytes()[byte];
        let solution = Solution {
            at: instant(0),
            utc: Timestamp::from_nanos(words[2] as i64),
            rate: rate(3),
            early: span(4),
            late: span(5),
            narrow: Assumption::symmetry_within(code(3)).map(|assumes| Narrow {
                early: span(11),
                late: span(12),
                assumes,
            }),
            bound_growth: rate(6),
            variance: Variance(std::array::from_fn(|i| f64::from_bits(words[13 + i]))),
            levels: Levels::from_bits(words[10]),
            state: State::from_code(code(0)),
            reason: Reason::from_code(code(1)),
            holdover_at: instant(17),
            unsynced_at: instant(18),
            disruptions: (words[7] >> 32) as u32,
            leap: Leap::from_code(code(2)),
        };
        Publication { solution, slept: span(19) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes() -> impl Strategy<Value = (State, Reason, Leap)> {
        (0u8..5, 0u8..20, 0u8..3)
            .prop_map(|(s, r, l)| (State::from_code(s), Reason::from_code(r), Leap::from_code(l)))
    }

    prop_compose! {
        /// Anything that can be written, sensible or not.
        fn any_publication()(
            n: [i64; 11],
            asymmetry: u8,
            variance: [f64; 4],
            (state, reason, leap) in codes(),
            levels: u64,
            disruptions: u32,
        ) -> Publication {
            let instant = RawInstant::from_nanos;
            let solution = Solution {
                at: instant(n[0]),
                utc: Timestamp::from_nanos(n[1]),
                rate: Rate::from_bits(n[2]),
                early: Span::from_nanos(n[3]),
                late: Span::from_nanos(n[4]),
                narrow: Assumption::symmetry_within(asymmetry).map(|assumes| Narrow {
                    early: Span::from_nanos(n[9]),
                    late: Span::from_nanos(n[10]),
                    assumes,
                }),
                bound_growth: Rate::from_bits(n[5]),
                variance: Variance(variance),
                levels: Levels::from_bits(levels),
                holdover_at: instant(n[6]),
                unsynced_at: instant(n[7]),
                state,
                reason,
                disruptions,
                leap,
            };
            Publication { solution, slept: Span::from_nanos(n[8]) }
        }
    }

    prop_compose! {
        /// What an engine might publish.
        fn likely_solution()(
            at in 0i64..1 << 60,
            utc in 0i64..1 << 61,
            ppm in -500.0f64..500.0,
            growth in 0.0f64..500.0,
            bounds in [0i64..10_000_000_000, 0i64..10_000_000_000],
            (asymmetry, share) in (0u8..40, 0.0f64..1.0),
            noise in [0.0f64..1e16, -1e6f64..1e6, 0.0f64..1e12, 0.0f64..1e4],
            holdover in 0i64..20_000_000_000,
        ) -> Solution {
            let at = RawInstant::from_nanos(at);
            Solution {
                utc: Timestamp::from_nanos(utc),
                rate: Rate::from_ppm(ppm),
                early: Span::from_nanos(bounds[0]),
                late: Span::from_nanos(bounds[1]),
                narrow: Assumption::symmetry_within(asymmetry).map(|assumes| Narrow {
                    early: Span::from_nanos((bounds[0] as f64 * share) as i64),
                    late: Span::from_nanos((bounds[1] as f64 * share) as i64),
                    assumes,
                }),
                bound_growth: Rate::from_ppm(growth),
                variance: Variance(noise),
                holdover_at: at + Span::from_nanos(holdover),
                unsynced_at: at + Span::from_nanos(holdover + 1),
                ..Solution::unknown(at, State::Synced, Reason::Agreement)
            }
        }
    }

    fn near_words(solution: Solution) -> [u64; 13] {
        let words = Publication { solution, slept: Span::ZERO }.to_words();
        std::array::from_fn(|i| words[i])
    }

    proptest! {
        #[test]
        fn publications_survive_a_round_trip(publication in any_publication()) {
            let words = publication.to_words();
            // Not by `==`: a variance may be NaN.
            prop_assert_eq!(Publication::from_words(&words).to_words(), words);
            let (a, b) = (publication.solution, Publication::from_words(&words).solution);
            prop_assert_eq!(Solution { variance: Variance([0.0; 4]), ..a }, Solution { variance: Variance([0.0; 4]), ..b });
        }

        #[test]
        fn no_content_of_a_page_makes_a_reading_panic(words: [u64; WORDS], raw: i64) {
            let raw = RawInstant::from_nanos(raw);
            near_reading(&std::array::from_fn(|i| words[i]), raw);
            let at_once = std::array::from_fn(|i| if i == 1 { u64::MAX } else { words[i] });
            near_reading(&at_once, raw);
            Publication::from_words(&words).solution.reading(raw);
        }

        #[test]
        fn the_near_reading_is_the_reading(solution in likely_solution(), share in 0.0f64..1.0) {
            let words = near_words(solution);
            let raw = solution.at + Span::from_nanos((words[1] as f64 * share) as i64);
            if let Some(near) = near_reading(&words, raw) {
                let full = solution.reading(raw);
                let close = |a: Timestamp, b: Timestamp| (a - b).abs() <= Span::from_nanos(1);
                prop_assert!(close(near.estimate, full.estimate), "{near:?} {full:?}");
                prop_assert!(close(near.earliest, full.earliest) && close(near.latest, full.latest), "{near:?} {full:?}");
                prop_assert_eq!(near.narrow.map(|n| n.assumes), full.narrow.map(|n| n.assumes));
                for (near, full) in near.narrow.into_iter().zip(full.narrow) {
                    prop_assert!(close(near.earliest, full.earliest) && close(near.latest, full.latest));
                }
                let sigma = full.sigma.as_nanos();
                prop_assert!((near.sigma.as_nanos() - sigma).abs() <= 2 + sigma / 40, "{near:?} {full:?}");
                prop_assert_eq!((near.state, near.reason, near.levels), (full.state, full.reason, full.levels));
            }
        }
    }

    #[test]
    fn an_ordinary_solution_is_near_for_seconds_and_not_beyond_holdover() {
        let at = RawInstant::from_nanos(5_000_000_000);
        let ordinary = Solution {
            utc: Timestamp::from_nanos(1_790_000_000_000_000_000),
            early: Span::from_micros(300),
            late: Span::from_micros(300),
            variance: Variance([1e10, 1e3, 1e4, 10.0]),
            holdover_at: at + Span::from_secs(10),
            ..Solution::unknown(at, State::Synced, Reason::Agreement)
        };
        assert_eq!(near_range(&ordinary).0, NEAR_LIMIT);
        let short = Solution { holdover_at: at + Span::from_secs(1), ..ordinary };
        assert_eq!(near_range(&short).0, Span::from_secs(1));
        assert!(near_reading(&near_words(short), at + Span::from_millis(999)).is_some());
        assert!(near_reading(&near_words(short), at + Span::from_secs(1)).is_none());
        assert!(near_reading(&near_words(short), at - Span::from_nanos(1)).is_none());
    }

    #[test]
    fn an_empty_page_has_nothing_to_read_and_then_always_the_newest() {
        let ring = Ring::<SLOTS, WORDS>::new();
        assert_eq!(ring.read::<1>(), None);
        for number in 1..100 {
            ring.publish(number, &[number; WORDS]);
            assert_eq!(ring.read(), Some([number; WORDS]));
        }
    }

    #[test]
    fn a_suspend_that_the_engine_missed_makes_it_unsynced_and_boundless() {
        let solution = Solution {
            utc: Timestamp::from_nanos(1_790_000_000_000_000_000),
            early: Span::ZERO,
            late: Span::ZERO,
            ..Solution::unknown(RawInstant::from_nanos(0), State::Synced, Reason::Agreement)
        };
        let publication = Publication { solution, slept: Span::from_secs(7) };
        assert_eq!(publication.seen_after(Span::from_secs(7)), publication);
        let seen = publication.seen_after(Span::from_secs(67));
        assert_eq!(seen.seen_after(Span::from_secs(67)), seen);
        let late = seen.solution;
        assert_eq!((late.state, late.reason), (State::Unsynced, Reason::Suspended));
        assert_eq!(
            (late.utc - solution.utc, late.early, late.late),
            (Span::from_secs(60), Span::MAX, Span::MAX)
        );
    }
}
