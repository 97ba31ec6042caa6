//! `chronotick now`: corrected time from the running daemon, or measured once by this very process.

use super::args::{Arguments, Now};
use super::{Failure, code, load, log as logging, runtime_dir, say};
use crate::config::LogLevel;
use crate::daemon::{Daemon, Host, Outlets, Stop};
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{OpenError, Reading, Reason, Span, State};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a measurement without a daemon may take before the best answer so far is given.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn execute(arguments: &Arguments, options: &Now) -> Result<ExitCode, Failure> {
    match Door::open(runtime_dir(arguments).as_deref()) {
        Ok(door) if door.clock.now().reason != Reason::Stopped => answer(&door, options, "daemon"),
        Ok(_) | Err(OpenError::Missing { .. }) => {
            eprintln!("chronotick: no daemon is running: measuring once (start one with `chronotick run`)");
            measure_once(arguments, options)
        }
        Err(e) => Err(e.into()),
    }
}

/// A short-lived daemon of our own, with a page in memory and no memory of the past.
fn measure_once(arguments: &Arguments, options: &Now) -> Result<ExitCode, Failure> {
    let mut config = load(arguments)?.shared();
    // Nothing could be proven within a moment.
    config.fusion.enabled = false;
    logging::start(LogLevel::Warning);
    let (outlets, door) = Outlets::within()?;
    let clock = &door.clock;
    let stop = Stop::new()?;
    let daemon = Daemon::new(&config, Box::new(Host), outlets, stop.clone(), None);
    let measuring = std::thread::spawn(move || daemon.run());
    let begun = Instant::now();
    while clock.now().state != State::Synced && begun.elapsed() < PATIENCE && !measuring.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let exit = answer(&door, options, "measured once");
    stop.ask();
    measuring.join().map_err(|_| "the measurement failed")??;
    exit
}

fn answer(door: &Door, options: &Now, answered_by: &str) -> Result<ExitCode, Failure> {
    let (text, state) = told(door, options, answered_by);
    say(&text)?;
    Ok(code(state))
}

fn told(door: &Door, options: &Now, answered_by: &str) -> (String, State) {
    let (present, pair) = door.now_and_system();
    let ahead = Span::from_secs_f64(options.future);
    // What the present forbids to trust, no other instant mends.
    let then = door.clock.at(pair.raw + ahead).blurred(pair.slack);
    let then = Reading { state: present.state, reason: present.reason, ..then };
    let reading = if present.is_known() { then } else { present };
    let known = reading.is_known();
    let text = if options.json {
        // What the system clock will read then nobody knows.
        let system = Some(pair.system).filter(|_| ahead == Span::ZERO);
        let offset = system.filter(|_| known).map(|system| reading.offset_of(system).correction());
        let number = |span: Span| json!(known.then(|| span.as_nanos()));
        let object = json!({
            "time": known.then(|| rfc3339(reading.estimate)),
            "estimate_ns": known.then(|| reading.estimate.as_nanos().to_string()),
            "earliest_ns": known.then(|| reading.earliest.as_nanos().to_string()),
            "latest_ns": known.then(|| reading.latest.as_nanos().to_string()),
            "bound_early_ns": number(reading.estimate - reading.earliest),
            "bound_late_ns": number(reading.latest - reading.estimate),
            "narrow": reading.narrow.filter(|_| known).map(|narrow| json!({
                "earliest_ns": narrow.earliest.as_nanos().to_string(),
                "latest_ns": narrow.latest.as_nanos().to_string(),
                "early_ns": (reading.estimate - narrow.earliest).as_nanos(),
                "late_ns": (narrow.latest - reading.estimate).as_nanos(),
                "assumes": narrow.assumes.to_string(),
            })),
            "sigma_ns": number(reading.sigma),
            "interval95_ns": number(reading.interval(0.95)),
            "system_time": system.map(rfc3339),
            "system_offset_ns": offset.map(Span::as_nanos),
            "future_seconds": options.future,
            "state": reading.state.name(),
            "reason": reading.reason.to_string(),
            "source": door.basis(reading.state, reading.reason, known).name(),
            "answered_by": answered_by,
        });
        format!("{object}\n")
    } else {
        let lines = if known {
            let (early, late) = (reading.estimate - reading.earliest, reading.latest - reading.estimate);
            let narrow = reading.narrow.map_or(String::new(), |narrow| {
                let (early, late) = (reading.estimate - narrow.earliest, narrow.latest - reading.estimate);
                format!("narrow  -{early} +{late} if {}\n", narrow.assumes)
            });
            let (time, half) = (rfc3339(reading.estimate), reading.interval(0.95));
            format!("{time}\nbound   -{early} +{late}\n{narrow}95 %    ±{half}")
        } else {
            "unknown".into()
        };
        format!("{lines}\nstate   {}: {}\n", reading.state, reading.reason)
    };
    (text, reading.state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use chronotick_clock::{Clock, Solution, Timestamp, Writer, raw_now};
    use serde_json::Value;

    #[test]
    fn the_future_has_no_system_clock() {
        let mut writer = Writer::in_memory().expect("there is memory");
        let at = raw_now();
        let (early, late) = (Span::from_millis(1), Span::from_millis(1));
        let utc = Timestamp::from_nanos(1_790_000_000_000_000_000);
        let unknown = Solution::unknown(at, State::Synced, Reason::Agreement);
        writer.publish(&Solution { utc, early, late, ..unknown });
        let door = Door::within(Clock::of(&writer), Feed::default());
        let object = |future| -> Value {
            let (text, _) = told(&door, &Now { json: true, future }, "daemon");
            serde_json::from_str(&text).expect("it is an object")
        };
        let (now, then) = (object(0.0), object(60.0));
        assert!(now["system_time"].is_string() && now["system_offset_ns"].is_i64(), "{now}");
        assert!(then["estimate_ns"].is_string() && then["future_seconds"] == 60.0, "{then}");
        assert!(then["system_time"].is_null() && then["system_offset_ns"].is_null(), "{then}");
    }
}
