//! What this crate asks of the host: its raw clock, its system clock, how long it slept, and which boot this is.
//!
//! Everything goes through `clock_gettime`, which the vDSO answers without a system call; no code here reads a cycle
//! counter itself, so virtual machines, migrations and unstable counters stay the kernel's business.

use crate::{RawInstant, Span, Timestamp};

#[inline]
fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call; nothing else is touched.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) } != 0;
    // A clock that cannot be read stands at the end of time: whatever is compared with it is stale, never fresh.
    if failed { i64::MAX } else { time.tv_sec * 1_000_000_000 + time.tv_nsec }
}

/// The raw clock now: `CLOCK_MONOTONIC_RAW`, which on macOS is the continuous time of the kernel.
#[inline]
pub fn raw_now() -> RawInstant {
    RawInstant::from_nanos(read(libc::CLOCK_MONOTONIC_RAW))
}

/// The raw clock and the system clock at one instant, as nearly as they can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockPair {
    /// The middle of the two raw readings around the system clock's.
    pub raw: RawInstant,
    /// The system clock (`CLOCK_REALTIME`).
    pub system: Timestamp,
    /// The system clock was read within this of `raw`, on either side.
    pub slack: Span,
}

impl ClockPair {
    /// The tightest of three attempts, so that one preemption between two reads does not count.
    ///
    /// ```
    /// let pair = chronotick_clock::ClockPair::now();
    /// assert!(pair.raw <= chronotick_clock::raw_now() + pair.slack);
    /// ```
    pub fn now() -> ClockPair {
        let attempt = |_| {
            let before = raw_now();
            let system = Timestamp::from_nanos(read(libc::CLOCK_REALTIME));
            let slack = (raw_now() - before).half();
            ClockPair { raw: before + slack, system, slack }
        };
        [0; 3].map(attempt).into_iter().min_by_key(|pair| pair.slack).expect("three attempts were made")
    }
}

/// How long the host has slept since boot without the raw clock counting it.
///
/// On Linux the raw clock stands still in suspend and `CLOCK_BOOTTIME` does not; the difference from
/// `CLOCK_MONOTONIC` is exactly the time slept. Less than that comes out if the thread is preempted between the two
/// reads, never more. On macOS the raw clock runs through sleep and misses nothing.
#[cfg(target_os = "linux")]
pub(crate) fn slept() -> Span {
    let boottime = read(libc::CLOCK_BOOTTIME);
    Span::from_nanos(boottime) - Span::from_nanos(read(libc::CLOCK_MONOTONIC))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn slept() -> Span {
    Span::ZERO
}

/// A number that is the same for all processes whose raw clocks agree, and for no others.
///
/// It changes with every boot, and differs between time namespaces, which shift the raw clock. Zero if the host does
/// not tell.
pub fn boot() -> u64 {
    match boot_id() {
        Some(id) => fnv1a(&[id, time_namespace()].concat()),
        None => 0,
    }
}

#[cfg(target_os = "linux")]
fn boot_id() -> Option<Vec<u8>> {
    std::fs::read("/proc/sys/kernel/random/boot_id").ok()
}

#[cfg(target_os = "macos")]
fn boot_id() -> Option<Vec<u8>> {
    let mut id = vec![0u8; 64];
    let mut len = id.len();
    // SAFETY: the name ends with NUL, the buffer has `len` bytes, and nothing is set.
    let rc = unsafe {
        libc::sysctlbyname(
            c"kern.bootsessionuuid".as_ptr(),
            id.as_mut_ptr().cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    (rc == 0).then(|| id[..len.min(64)].to_vec())
}

fn time_namespace() -> Vec<u8> {
    use std::os::unix::ffi::OsStringExt;
    // Absent before Linux 5.6 and elsewhere: there is but one then.
    std::fs::read_link("/proc/self/ns/time").map(|link| link.into_os_string().into_vec()).unwrap_or_default()
}

/// FNV-1a with 64 bits, never zero.
fn fnv1a(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_clock_ascends_and_pairs_lie_on_it() {
        let before = raw_now();
        let pair = ClockPair::now();
        assert!(before <= pair.raw && pair.raw <= raw_now());
        assert!(pair.slack >= Span::ZERO);
    }

    #[test]
    fn a_clock_that_cannot_be_read_stands_at_the_end_of_time() {
        assert_eq!(read(-1), i64::MAX);
    }

    #[test]
    fn the_host_has_not_slept_less_than_nothing() {
        assert!(slept() >= Span::from_secs(-1) && slept() < Span::from_nanos(read(libc::CLOCK_REALTIME)));
    }

    #[test]
    fn one_boot_has_one_number() {
        assert_eq!(boot(), boot());
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
