//! A hybrid logical clock: stamps that respect cause and effect between machines and stay close to true time.
//!
//! S. Kulkarni, M. Demirbas, D. Madappa, B. Avva, M. Leone, "Logical Physical Clocks and Consistent Snapshots in
//! Globally Distributed Databases", OPODIS 2014, figure 5. As in its section 6.2, time takes the upper 48 bits of a
//! word and the counter the lower 16, so that a stamp is one integer and the whole algorithm is "one more than the
//! largest known, or the time if that is larger".

use crate::{Reading, Span, Timestamp};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use thiserror::Error;

/// A hybrid logical stamp: if one event may have caused another, its stamp is the smaller one.
///
/// As text it has 16 hexadecimal digits, which sort like the stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HlcStamp(u64);

impl HlcStamp {
    const COUNTER: u64 = 0xffff;

    /// The stamp with this packed form.
    pub const fn from_bits(bits: u64) -> HlcStamp {
        HlcStamp(bits)
    }
    /// The packed form: nanoseconds since 1970 with the lower 16 bits replaced by the counter.
    pub const fn to_bits(self) -> u64 {
        self.0
    }
    /// The time in it, in steps of 65.536 µs.
    pub fn time(self) -> Timestamp {
        Timestamp::from_nanos(i64::try_from(self.0 & !HlcStamp::COUNTER).unwrap_or(i64::MAX))
    }
    /// How many events with this time came before it.
    pub const fn counter(self) -> u16 {
        (self.0 & HlcStamp::COUNTER) as u16
    }

    fn of(reading: &Reading) -> HlcStamp {
        HlcStamp(u64::try_from(reading.estimate.as_nanos()).unwrap_or(0) & !HlcStamp::COUNTER)
    }
    /// More than 65 536 events in one step of time carry over into the next step.
    fn next(self) -> HlcStamp {
        HlcStamp(self.0.saturating_add(1))
    }
}

impl fmt::Display for HlcStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A text that is not a stamp.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a hybrid logical stamp: it has 16 hexadecimal digits, such as 18d76a3f5c2e0001")]
pub struct ParseHlcStampError;

impl FromStr for HlcStamp {
    type Err = ParseHlcStampError;
    fn from_str(text: &str) -> Result<HlcStamp, ParseHlcStampError> {
        // `from_str_radix` alone would take a sign.
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| digits).map(HlcStamp).ok_or(ParseHlcStampError)
    }
}

/// A stamp from another machine that this one does not believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the stamp {stamp} is {ahead} ahead of this clock, more than the {max_ahead} allowed: that clock is ahead or this \
     one, which is known to {known}, is behind; synchronise the one that is wrong"
)]
pub struct TooFarAhead {
    /// The stamp.
    pub stamp: HlcStamp,
    /// How far its time is ahead of this clock's estimate.
    pub ahead: Span,
    /// How far it may be.
    pub max_ahead: Span,
    /// How far this clock may itself be from true time.
    pub known: Span,
}

/// A hybrid logical clock, shared by all threads of a process.
///
/// ```
/// use chronotick_clock::{Clock, Hlc, Span, Writer};
/// let writer = Writer::in_memory()?;
/// let clock = Clock::of(&writer);
/// let hlc = Hlc::new(Span::from_millis(500));
/// let sent = hlc.now(&clock.now());
/// // On the machine that receives it:
/// let received = hlc.merge(sent, &clock.now())?;
/// assert!(sent < received);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Hlc {
    last: AtomicU64,
    max_ahead: Span,
}

impl Hlc {
    /// A clock that believes others as long as they are not further ahead than this.
    ///
    /// One machine far in the future would otherwise drag all others along. Choose more than any two of the clocks
    /// may differ; a database commonly allows 500 ms.
    pub fn new(max_ahead: Span) -> Hlc {
        Hlc { last: AtomicU64::new(0), max_ahead }
    }

    /// The stamp of an event on this machine, or of a message that it sends.
    pub fn now(&self, reading: &Reading) -> HlcStamp {
        self.after(HlcStamp::default(), reading)
    }

    /// The stamp of the arrival of a message that was stamped `remote`.
    ///
    /// A process that starts anew goes on from the last stamp it has kept by merging it.
    ///
    /// # Errors
    /// [`TooFarAhead`]; the clock is then as before.
    pub fn merge(&self, remote: HlcStamp, reading: &Reading) -> Result<HlcStamp, TooFarAhead> {
        let (ahead, max_ahead) = (remote.time() - reading.estimate, self.max_ahead);
        if ahead > max_ahead {
            return Err(TooFarAhead { stamp: remote, ahead, max_ahead, known: reading.max_error() });
        }
        Ok(self.after(remote, reading))
    }

    fn after(&self, cause: HlcStamp, reading: &Reading) -> HlcStamp {
        let time = HlcStamp::of(reading);
        let stamp = |last: u64| HlcStamp(last).max(cause).next().max(time);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(stamp(last).0));
        stamp(last.unwrap_or_else(|last| last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RawInstant, Reason, Solution, State};
    use proptest::prelude::*;

    const START: i64 = 1_790_000_000_000_000_000;

    fn reading(nanos: i64) -> Reading {
        let unknown = Solution::unknown(RawInstant::default(), State::Synced, Reason::Agreement);
        Solution { utc: Timestamp::from_nanos(nanos), ..unknown }.reading(RawInstant::default())
    }

    #[test]
    fn a_clock_far_ahead_is_refused_and_leaves_no_trace() {
        let (mine, other) = (Hlc::new(Span::from_millis(500)), Hlc::new(Span::ZERO));
        let before = mine.now(&reading(START));
        let future = other.now(&reading(START + 600_000_000));
        let error = mine.merge(future, &reading(START)).unwrap_err();
        assert_eq!((error.stamp, error.max_ahead), (future, Span::from_millis(500)));
        assert!(error.ahead > Span::from_millis(599));
        assert_eq!(mine.now(&reading(START)), before.next());
        assert!(mine.merge(HlcStamp::from_bits(u64::MAX), &reading(START)).is_err());
    }

    #[test]
    fn events_within_one_step_of_time_are_counted() {
        let hlc = Hlc::new(Span::ZERO);
        let stamps: Vec<_> = (0..70_000).map(|_| hlc.now(&reading(START))).collect();
        assert!(stamps.is_sorted_by(|a, b| a < b));
        assert_eq!((stamps[0].counter(), stamps[7].counter()), (0, 7));
        assert_eq!(stamps[65_536].time() - stamps[0].time(), Span::from_nanos(65_536));
    }

    #[test]
    fn a_time_before_1970_counts_from_there() {
        assert_eq!(Hlc::new(Span::ZERO).now(&reading(-5)).to_bits(), 1);
    }

    #[test]
    fn threads_share_one_clock() {
        let hlc = Hlc::new(Span::ZERO);
        let stamp_many = || (0..10_000).map(|_| hlc.now(&reading(START))).collect::<Vec<_>>();
        let mut stamps = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(stamp_many));
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        stamps.sort();
        assert!(stamps.is_sorted_by(|a, b| a < b), "no stamp is given twice");
    }

    /// One step of a history: a machine does something by itself or hears of an earlier event.
    #[derive(Clone, Debug)]
    struct Step {
        machine: usize,
        hears: Option<usize>,
        elapsed: i64,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = (0usize..4, proptest::option::of(0usize..1000), 0i64..100_000)
            .prop_map(|(machine, hears, elapsed)| Step { machine, hears, elapsed });
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Theorems 1 and 3 of the paper: causes have smaller stamps, and no stamp is further from the true time than the
        /// clocks are from each other.
        #[test]
        fn causes_come_first_and_stamps_stay_near_the_time(steps in steps(), skews in proptest::array::uniform4(0i64..1_000_000)) {
            let clocks = skews.map(|_| Hlc::new(Span::from_millis(2)));
            let mut stamps: Vec<HlcStamp> = Vec::new();
            let mut latest = [HlcStamp::default(); 4];
            let mut now = START;
            for Step { machine, hears, elapsed } in steps {
                now += elapsed;
                let here = reading(now + skews[machine]);
                let cause = hears.filter(|_| !stamps.is_empty()).map(|event| stamps[event % stamps.len()]);
                let stamp = match cause {
                    Some(cause) => clocks[machine].merge(cause, &here).unwrap(),
                    None => clocks[machine].now(&here),
                };
                prop_assert!(stamp > latest[machine], "a later event on one machine");
                prop_assert!(cause.is_none_or(|cause| stamp > cause), "a message after its sending");
                prop_assert!(stamp.time() <= Timestamp::from_nanos(now + 1_000_000), "not ahead of the fastest clock");
                prop_assert!(stamp.time() > here.estimate - Span::from_nanos(65_536), "not behind the own clock");
                latest[machine] = stamp;
                stamps.push(stamp);
            }
        }

        #[test]
        fn stamps_survive_both_forms_and_text_sorts_like_them(a: u64, b: u64) {
            let (x, y) = (HlcStamp::from_bits(a), HlcStamp::from_bits(b));
            prop_assert_eq!(HlcStamp::from_bits(x.to_bits()), x);
            prop_assert_eq!(x.to_string().parse::<HlcStamp>(), Ok(x));
            prop_assert_eq!(x.to_string().cmp(&y.to_string()), x.cmp(&y));
        }

        #[test]
        fn other_text_is_refused(text in "\\PC{0,20}") {
            let valid = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<HlcStamp>().is_ok(), valid);
        }
    }
}
