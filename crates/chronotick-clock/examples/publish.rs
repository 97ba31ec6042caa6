//! Publishes made-up time, for programs that want to be tested with every state a clock page can have.
//!
//! `cargo run -p chronotick-clock --example publish -- FILE` takes the system clock for true time, ± 1 ms with a sigma
//! of 100 µs, and publishes it in FILE once a second. A line on standard input with the name of a state changes the
//! state; at the end of the input it stops, as a daemon does. It prints the state when it has been published.

use chronotick_clock::{
    Assumption, ClockPair, Narrow, Rate, Reason, Solution, Span, State, Variance, Writer,
};
use std::io::BufRead;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("usage: publish FILE")?;
    let mut writer = Writer::create(file.as_ref())?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut state = State::Synced;
    writer.publish(&solution(state));
    println!("{state}");
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(name) => {
                state = (0..5).map(State::from_code).find(|s| s.name() == name).ok_or("no such state")?;
                writer.publish(&solution(state));
                println!("{state}");
            }
            Err(RecvTimeoutError::Timeout) => writer.publish(&solution(state)),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn solution(state: State) -> Solution {
    let pair = ClockPair::now();
    let (reason, known) = match state {
        State::Warmup => (Reason::NoMeasurement, false),
        State::Synced => (Reason::Agreement, true),
        State::Holdover => (Reason::SourcesSilent, true),
        State::Unsynced => (Reason::NoMajority, true),
        State::Error => (Reason::EngineFailed, false),
    };
    let unknown = Solution {
        holdover_at: pair.raw + Span::from_secs(4),
        unsynced_at: pair.raw + Span::from_secs(60),
        ..Solution::unknown(pair.raw, state, reason)
    };
    let narrow = |assumes| Narrow { early: Span::from_micros(300), late: Span::from_micros(300), assumes };
    let measured = Solution {
        utc: pair.system,
        early: Span::from_millis(1),
        late: Span::from_millis(1),
        narrow: Assumption::symmetry_within(10).map(narrow),
        bound_growth: Rate::from_ppm(10.0),
        variance: Variance([1e10, 0.0, 0.0, 0.0]),
        ..unknown
    };
    if known { measured } else { unknown }
}
