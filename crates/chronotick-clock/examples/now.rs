//! Asks the clock page what time it is and how wrong that may be.

use chronotick_clock::Clock;

fn main() {
    let clock = Clock::open().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    });
    let (reading, system) = clock.now_and_system();
    println!("{:.6} s since 1970, wrong by {} at most", reading.estimate.as_secs_f64(), reading.max_error());
    println!("95 of 100 such readings are within ±{}", reading.interval(0.95));
    println!("the system clock is off by {}", reading.offset_of(system));
    println!("{}: {}", reading.state, reading.reason);
}
