//! A reading as a plain structure, and what can be asked of it without the clock that it came from.

use crate::status::chronotick_status;
use crate::words;
use chronotick_clock::{
    Assumption, Comparison, Levels, NarrowBound, Order, Reading, Reason, Span, State, Timestamp,
};
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// How far corrected time can be relied on. Unknown is never healthy: a number that is not listed here is an error.
#[repr(u8)]
pub enum chronotick_state {
    /// Measuring has begun; no majority of the sources stands behind the estimate yet.
    Warmup = 0,
    /// A strict majority of the sources agrees, recently, and the bound is acceptable.
    Synced = 1,
    /// It was synced; new evidence is missing and the bound grows, but is still acceptable.
    Holdover = 2,
    /// No claim can be made that would be acceptable.
    Unsynced = 3,
    /// The engine itself is broken.
    Error = 4,
}

/// Corrected time at one instant: a bound, an estimate, its spread, and whether to trust them.
///
/// The bound, earliest to latest, contains true time unless half of the sources or more lie. The spread sigma is that
/// of the calibrated interval: truth is within 1.96 sigma of the estimate in 95 of 100 readings. The two are never
/// mixed. A reading is plain data: copy it, send it, compare it on another machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct chronotick_reading {
    /// True time is not before this, ns since 1970.
    pub earliest: i64,
    /// True time is not after this, ns since 1970.
    pub latest: i64,
    /// The best estimate of true time, ns since 1970.
    pub estimate: i64,
    /// Half-width of the calibrated 95 % interval divided by 1.96, ns; INT64_MAX if unknown.
    pub sigma: i64,
    /// True time is not before this, ns since 1970, if what the narrow bound assumes is true (chronotick_narrow_text()).
    /// Without a narrow bound (narrow_assumes is 0) the same as earliest.
    pub narrow_earliest: i64,
    /// True time is not after this, ns since 1970, if what the narrow bound assumes is true; else the same as latest.
    pub narrow_latest: i64,
    /// The shape of the calibrated interval, for chronotick_interval().
    pub levels: u64,
    /// A chronotick_state.
    pub state: u8,
    /// Why the state is what it is: chronotick_reason_text() has the words.
    pub reason: u8,
    /// By how many thousandths of the round trip the narrow bound lets one way take longer than the other; 0 if there
    /// is no narrow bound.
    pub narrow_assumes: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

const _: () = assert!(size_of::<chronotick_reading>() == 64, "programs were compiled with this size");

impl From<Reading> for chronotick_reading {
    fn from(reading: Reading) -> chronotick_reading {
        let narrow = reading.narrow;
        chronotick_reading {
            earliest: reading.earliest.as_nanos(),
            latest: reading.latest.as_nanos(),
            estimate: reading.estimate.as_nanos(),
            sigma: reading.sigma.as_nanos(),
            narrow_earliest: narrow.map_or(reading.earliest, |n| n.earliest).as_nanos(),
            narrow_latest: narrow.map_or(reading.latest, |n| n.latest).as_nanos(),
            levels: reading.levels.to_bits(),
            state: reading.state as u8,
            reason: reading.reason as u8,
            narrow_assumes: narrow.map_or(0, |n| n.assumes.asymmetry()),
            reserved: [0; 5],
        }
    }
}

impl From<&chronotick_reading> for Reading {
    fn from(reading: &chronotick_reading) -> Reading {
        let narrow = |assumes| NarrowBound {
            earliest: Timestamp::from_nanos(reading.narrow_earliest),
            latest: Timestamp::from_nanos(reading.narrow_latest),
            assumes,
        };
        Reading {
            earliest: Timestamp::from_nanos(reading.earliest),
            latest: Timestamp::from_nanos(reading.latest),
            narrow: Assumption::symmetry_within(reading.narrow_assumes).map(narrow),
            estimate: Timestamp::from_nanos(reading.estimate),
            sigma: Span::from_nanos(reading.sigma),
            levels: Levels::from_bits(reading.levels),
            state: State::from_code(reading.state),
            reason: Reason::from_code(reading.reason),
        }
    }
}

/// What the bounds of two readings say about their order.
#[repr(u8)]
pub enum chronotick_order {
    /// The bounds overlap: either may have come first.
    Indistinguishable = 0,
    /// The first came before the second: their bounds do not touch.
    Before = 1,
    /// The first came after the second: their bounds do not touch.
    After = 2,
}

/// The order of two readings, once by their bounds and once by their spreads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct chronotick_comparison {
    /// By the spreads, taken to be independent and normal: the probability, 0 to 1, that the first came before the
    /// second. NaN if one of the readings is neither synced nor in holdover: nobody measured its spread.
    pub probability_before: f64,
    /// By the bounds, a chronotick_order: certain, unless half of the sources or more lie.
    pub order: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

impl From<Comparison> for chronotick_comparison {
    fn from(comparison: Comparison) -> chronotick_comparison {
        let order = match comparison.order {
            Order::Indistinguishable => chronotick_order::Indistinguishable,
            Order::Before => chronotick_order::Before,
            Order::After => chronotick_order::After,
        };
        let probability_before = comparison.probability_before.unwrap_or(f64::NAN);
        chronotick_comparison { probability_before, order: order as u8, reserved: [0; 7] }
    }
}

/// Which of two events came first, this machine's or others': what their readings can tell.
///
/// On one machine the errors of two readings are nearly the same, and the true answer is more certain than this one;
/// there, compare what chronotick_raw() said.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_compare(
    first: Option<&chronotick_reading>,
    second: Option<&chronotick_reading>,
    comparison: Option<&mut MaybeUninit<chronotick_comparison>>,
) -> chronotick_status {
    let (Some(first), Some(second), Some(comparison)) = (first, second, comparison) else {
        return chronotick_status::InvalidArgument;
    };
    comparison.write(Reading::from(first).compare(&second.into()).into());
    chronotick_status::Ok
}

/// Half-width, in ns, of the interval around the estimate that holds truth in this share of readings: 0.95 for 95 of
/// 100. INT64_MAX for 1 and beyond, for what is not a number, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_interval(reading: Option<&chronotick_reading>, level: f64) -> i64 {
    match reading {
        Some(reading) if (0.0..1.0).contains(&level) => Reading::from(reading).interval(level).as_nanos(),
        _ => i64::MAX,
    }
}

/// Probability, 0 to 1, that truth is within so many ns of the estimate: the inverse of chronotick_interval(). 0 unless
/// the state is synced or holdover, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_confidence_within(reading: Option<&chronotick_reading>, limit: i64) -> f64 {
    reading.map_or(0.0, |reading| Reading::from(reading).confidence_within(Span::from_nanos(limit)))
}

/// The furthest, in ns, that true time can be from the estimate: the longer side of the bound. INT64_MAX for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_max_error(reading: Option<&chronotick_reading>) -> i64 {
    reading.map_or(i64::MAX, |reading| Reading::from(reading).max_error().as_nanos())
}

/// Whether to rely on a reading within its uncertainty: it rests on measurements, and its state is synced or holdover.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_is_trustworthy(reading: Option<&chronotick_reading>) -> bool {
    reading.is_some_and(|reading| Reading::from(reading).is_trustworthy())
}

/// The word for a state, such as "synced", for as long as the program runs; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_state_text(state: u8) -> *const c_char {
    static WORDS: LazyLock<Vec<CString>> = LazyLock::new(|| words(|code| State::from_code(code).to_string()));
    WORDS[usize::from(state)].as_ptr()
}

/// The words for a reason, for as long as the program runs; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_reason_text(reason: u8) -> *const c_char {
    static WORDS: LazyLock<Vec<CString>> =
        LazyLock::new(|| words(|code| Reason::from_code(code).to_string()));
    WORDS[usize::from(reason)].as_ptr()
}

/// What a narrow bound takes for granted (narrow_assumes), for as long as the program runs; never NULL, and empty for 0.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_narrow_text(narrow_assumes: u8) -> *const c_char {
    static WORDS: LazyLock<Vec<CString>> = LazyLock::new(|| {
        words(|code| Assumption::symmetry_within(code).map(|a| a.to_string()).unwrap_or_default())
    });
    WORDS[usize::from(narrow_assumes)].as_ptr()
}
