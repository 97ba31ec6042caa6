//! What a reading costs: medians over many batches, beside the raw clock that it is made from.
//!
//! `cargo bench -p chronotick-clock` prints nanoseconds for one `clock_gettime(CLOCK_MONOTONIC_RAW)`, for
//! [`Clock::now`] and the other ways to read, and for `now` beside a publisher at 1 kHz and one that never pauses. The
//! 99.9th percentile is of single calls and includes the two clock reads around each.

use chronotick_clock::{
    Assumption, Clock, Leap, Levels, Narrow, Rate, Reason, Solution, Span, State, Timestamp, Variance,
    Writer, raw_now,
};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CALLS: i64 = 1_000;
const BATCHES: usize = 2_001;

fn main() {
    let mut writer = Writer::in_memory().expect("anonymous memory is available");
    let clock = Clock::of(&writer);
    println!("{:<34}{:>8}{:>8}{:>9}", "ns", "median", "ratio", "p99.9");
    publish(&mut writer);
    let raw = report("clock_gettime(CLOCK_MONOTONIC_RAW)", None, || {
        clock_gettime();
    });
    let base = Some(raw);
    report("raw_now()", base, || {
        black_box(raw_now());
    });
    publish(&mut writer);
    report("now()", base, || {
        black_box(&clock.now());
    });
    publish(&mut writer);
    report("now_checked()", base, || {
        black_box(&clock.now_checked());
    });
    publish(&mut writer);
    report("now_and_system()", base, || {
        black_box(&clock.now_and_system());
    });
    for (name, pause) in [
        ("now(), publisher at 1 kHz", Some(Duration::from_millis(1))),
        ("now(), publisher without pause", None),
    ] {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    publish(&mut writer);
                    if let Some(pause) = pause {
                        std::thread::sleep(pause);
                    }
                }
            });
            report(name, base, || {
                black_box(&clock.now());
            });
            done.store(true, Ordering::Relaxed);
        });
    }
}

fn clock_gettime() {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_RAW, &mut time) };
    black_box(&time);
}

fn publish(writer: &mut Writer) {
    let at = raw_now();
    writer.publish(&Solution {
        at,
        utc: Timestamp::from_nanos(1_790_000_000_000_000_000),
        rate: Rate::from_ppm(12.3),
        early: Span::from_micros(800),
        late: Span::from_micros(900),
        narrow: Assumption::symmetry_within(10).map(|assumes| Narrow {
            early: Span::from_micros(90),
            late: Span::from_micros(80),
            assumes,
        }),
        bound_growth: Rate::from_ppm(1.5),
        variance: Variance([4e8, 100.0, 900.0, 10.0]),
        levels: Levels::NORMAL,
        state: State::Synced,
        reason: Reason::Agreement,
        holdover_at: at + Span::from_secs(10),
        unsynced_at: at + Span::from_secs(600),
        disruptions: 0,
        leap: Leap::None,
    });
}

/// Prints the median of the mean over batches, its ratio to `base`, and the 99.9th percentile of single calls.
fn report(name: &str, base: Option<f64>, mut call: impl FnMut()) -> f64 {
    let mut time = |calls: i64| {
        let start = raw_now();
        (0..calls).for_each(|_| call());
        (raw_now() - start).as_nanos() as f64 / calls as f64
    };
    let mut batches: Vec<f64> = (0..BATCHES).map(|_| time(CALLS)).collect();
    let mut singles: Vec<f64> = (0..100_000).map(|_| time(1)).collect();
    batches.sort_by(f64::total_cmp);
    singles.sort_by(f64::total_cmp);
    let (median, tail) = (batches[BATCHES / 2], singles[singles.len() * 999 / 1000]);
    println!("{name:<34}{median:>8.1}{:>8.2}{tail:>9.0}", median / base.unwrap_or(median));
    median
}
