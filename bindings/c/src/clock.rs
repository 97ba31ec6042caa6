//! The clock as an opaque handle: opening, reading, closing.

use crate::reading::chronotick_reading;
use crate::status::{CHRONOTICK_ABI, chronotick_status, failed};
use ::chronotick_clock::{Clock, RawInstant, raw_now};
use std::ffi::{CStr, OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Corrected time from a clock page. Open one and keep it: opening costs system calls, reading does not. Any number of
/// threads may read it at once; a child process after fork() may go on reading it.
pub struct chronotick_clock(Clock);

/// Opens the clock page of this machine, or the one in a file.
///
/// abi: CHRONOTICK_ABI, so that a program does not run with a library it was not compiled for.
/// path: a clock page (clock.page in the daemon's runtime directory), or NULL for the first with a living daemon in
/// /run/chronotick, $XDG_RUNTIME_DIR/chronotick and chronotick-UID in $TMPDIR or /tmp, or in $CHRONOTICK_RUNTIME_DIR
/// alone if that is set.
/// clock: where to put the handle; NULL is put there on failure. Give it to chronotick_close() in the end.
///
/// A page whose daemon has died opens well: its readings say so. A daemon that is started later is found by the open
/// clock, within a second. On failure chronotick_error_message() says what is wrong with which file.
///
/// # Safety
///
/// path is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chronotick_open(
    abi: u32,
    path: *const c_char,
    clock: Option<&mut MaybeUninit<*mut chronotick_clock>>,
) -> chronotick_status {
    let Some(clock) = clock else {
        return failed(
            chronotick_status::InvalidArgument,
            "chronotick_open: the place for the clock is null",
        );
    };
    clock.write(std::ptr::null_mut());
    if abi != CHRONOTICK_ABI {
        let words = format!(
            "this program was compiled for version {abi} of the binary interface, libchronotick {} has version \
             {CHRONOTICK_ABI}; compile it with the header of this library",
            env!("CARGO_PKG_VERSION")
        );
        return failed(chronotick_status::Abi, &words);
    }
    let opened = if path.is_null() {
        Clock::open()
    } else {
        // SAFETY: the caller gives a string that ends with NUL and lives during the call.
        let path = unsafe { CStr::from_ptr(path) }.to_bytes();
        if path.is_empty() {
            return failed(
                chronotick_status::InvalidArgument,
                "chronotick_open: the path is empty; give the file of a clock page, or NULL to search for one",
            );
        }
        Clock::open_at(Path::new(OsStr::from_bytes(path)))
    };
    match opened {
        Ok(opened) => {
            clock.write(Box::into_raw(Box::new(chronotick_clock(opened))));
            chronotick_status::Ok
        }
        Err(error) => failed((&error).into(), &error.to_string()),
    }
}

/// Gives a clock back. NULL is allowed. No other thread may be reading it.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_close(clock: Option<Box<chronotick_clock>>) {
    drop(clock);
}

/// Corrected time now, for about what one clock_gettime() costs. Fails only if a pointer is NULL.
///
/// After a suspend of the machine it takes the daemon up to a second to notice: chronotick_now_checked() does at once.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_now(
    clock: Option<&chronotick_clock>,
    reading: Option<&mut MaybeUninit<chronotick_reading>>,
) -> chronotick_status {
    put(clock, reading, |clock| clock.now().into())
}

/// As chronotick_now(), but after a suspend that the daemon has not noticed yet the state is unsynced. Costs two more
/// clock reads.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_now_checked(
    clock: Option<&chronotick_clock>,
    reading: Option<&mut MaybeUninit<chronotick_reading>>,
) -> chronotick_status {
    put(clock, reading, |clock| clock.now_checked().into())
}

/// Corrected time and the system clock (CLOCK_REALTIME, ns since 1970) at the same instant; the bound includes how exactly
/// that could be hit. The offset of the system clock is estimate - system: positive if the system clock is behind.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_now_and_system(
    clock: Option<&chronotick_clock>,
    reading: Option<&mut MaybeUninit<chronotick_reading>>,
    system: Option<&mut MaybeUninit<i64>>,
) -> chronotick_status {
    let Some(system) = system else { return chronotick_status::InvalidArgument };
    put(clock, reading, |clock| {
        let (reading, now) = clock.now_and_system();
        system.write(now.as_nanos());
        reading.into()
    })
}

/// The raw clock now, in ns of CLOCK_MONOTONIC_RAW since the machine started: take it when something happens, ask
/// chronotick_at() later.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_raw() -> i64 {
    raw_now().as_nanos()
}

/// Corrected time when the raw clock read, or will read, so many ns (chronotick_raw()), as far as is known now.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_at(
    clock: Option<&chronotick_clock>,
    raw: i64,
    reading: Option<&mut MaybeUninit<chronotick_reading>>,
) -> chronotick_status {
    put(clock, reading, |clock| clock.at(RawInstant::from_nanos(raw)).into())
}

fn put(
    clock: Option<&chronotick_clock>,
    reading: Option<&mut MaybeUninit<chronotick_reading>>,
    read: impl FnOnce(&Clock) -> chronotick_reading,
) -> chronotick_status {
    let (Some(clock), Some(reading)) = (clock, reading) else { return chronotick_status::InvalidArgument };
    reading.write(read(&clock.0));
    chronotick_status::Ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{chronotick_interval, chronotick_is_trustworthy, chronotick_max_error};
    use ::chronotick_clock::{Reading, Reason, Solution, Span, State, Writer};

    fn synced() -> Solution {
        let (at, wide) = (raw_now(), Span::from_millis(1));
        let later = at + Span::from_secs(3_600);
        let unknown = Solution::unknown(at, State::Synced, Reason::Agreement);
        Solution { early: wide, late: wide, holdover_at: later, unsynced_at: later, ..unknown }
    }

    #[test]
    fn reading_allocates_nothing() {
        let mut writer = Writer::in_memory().unwrap();
        writer.publish(&synced());
        let clock = chronotick_clock(Clock::of(&writer));
        let counted = allocation_counter::measure(|| {
            for _ in 0..10_000 {
                let (mut reading, mut system) = (MaybeUninit::uninit(), MaybeUninit::uninit());
                let ended = [
                    chronotick_now_checked(Some(&clock), Some(&mut reading)),
                    chronotick_at(Some(&clock), chronotick_raw(), Some(&mut reading)),
                    chronotick_now_and_system(Some(&clock), Some(&mut reading), Some(&mut system)),
                    chronotick_now(Some(&clock), Some(&mut reading)),
                ];
                assert_eq!(ended, [chronotick_status::Ok; 4]);
                // SAFETY: a call that ends with Ok has written it.
                let reading = unsafe { reading.assume_init_ref() };
                assert!(chronotick_is_trustworthy(Some(reading)));
                assert!(chronotick_max_error(Some(reading)) < 2_000_000);
                std::hint::black_box(chronotick_interval(Some(reading), 0.95));
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    }

    #[test]
    fn a_reading_survives_the_way_to_c_and_back() {
        let mut writer = Writer::in_memory().unwrap();
        let clock = Clock::of(&writer);
        for solution in [synced(), Solution::unknown(raw_now(), State::Error, Reason::EngineFailed)] {
            writer.publish(&solution);
            let reading = clock.now();
            assert_eq!(Reading::from(&chronotick_reading::from(reading)), reading);
        }
    }
}
