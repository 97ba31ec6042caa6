//! Steers the system clock for real, as the first process of a throw-away virtual machine: nothing else may run it. It says
//! what it found, line by line, and `PASSED` at the end. Whoever packs it into an initial RAM disk starts the machine with
//! `chronotick_throwaway_vm=1` on the kernel's command line.

use chronotick_core::{Claim, Course, Leap, Rate, Span};
use chronotick_os::{ClockPair, Steer, SystemClock};
use std::time::Duration;

fn lag() -> Span {
    let pair = ClockPair::now();
    Span::from_nanos(pair.system.as_nanos()) - Span::from_nanos(pair.raw.as_nanos())
}

fn course(ppm: f64, slew: Span, synchronised: bool) -> Course {
    let claim = Claim {
        max_error: Span::from_micros(1_500),
        estimated_error: Span::from_micros(20),
        synchronised,
        leap: Leap::None,
    };
    Course { frequency: Rate::from_ppm(ppm), slew, claim }
}

fn expect(what: &str, found: Span, wanted: Span, tolerance: Span) {
    println!("{what}: {found} (wanted {wanted}, within {tolerance})");
    assert!((found - wanted).abs() <= tolerance, "{what}");
}

fn wait(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

fn main() {
    let thrown_away = std::env::var("chronotick_throwaway_vm").is_ok_and(|value| value == "1");
    if std::process::id() != 1 || !thrown_away {
        eprintln!("this sets the clock: it runs as the first process of a throw-away virtual machine only");
        std::process::exit(1);
    }
    let mut clock = SystemClock::open().expect("the kernel tells of its clock");
    println!("at first: {:?}", clock.read().expect("read"));

    let before = lag();
    clock.step(Span::from_millis(1_500)).expect("steps ahead");
    expect("step ahead", lag() - before, Span::from_millis(1_500), Span::from_millis(5));
    let before = lag();
    clock.step(Span::from_millis(-700)).expect("steps back");
    expect("step back", lag() - before, Span::from_millis(-700), Span::from_millis(5));
    assert!(!clock.read().expect("read").synchronised, "a step leaves the clock unsynchronised");

    let kernel = clock.run(&course(0.0, Span::from_millis(2), true)).expect("runs");
    println!("told: {kernel:?}");
    assert!(kernel.synchronised && kernel.max_error >= Span::from_micros(1_500));
    let before = lag();
    wait(30);
    expect("slew by a quarter a second", lag() - before, Span::from_millis(2), Span::from_micros(200));
    assert_eq!(clock.read().expect("read").frequency, Rate::ZERO, "slewing leaves the frequency alone");
    let grown = clock.read().expect("read").max_error;
    println!("what is claimed has grown to {grown}");
    assert!(grown > Span::from_millis(10), "an error that nobody renews grows");

    clock.run(&course(200.0, Span::ZERO, true)).expect("runs");
    let before = lag();
    wait(20);
    expect("200 ppm for 20 s", lag() - before, Span::from_millis(4), Span::from_micros(200));

    let kernel = clock.run(&course(0.0, Span::ZERO, false)).expect("runs");
    assert!(!kernel.synchronised, "what is not synchronised is not claimed to be");
    println!("PASSED");
}
