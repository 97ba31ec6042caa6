//! `monitor time-drift`.

use super::args::TimeDrift;
use super::{profile, question};
use crate::cli::{Arguments, Failure, runtime_dir, say};
use crate::door::Door;
use crate::monitor::drift::{DaemonSays, Drift};
use crate::monitor::{exchange, facts};
use chronotick_clock::{ClockPair, Reason, Span};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn execute(arguments: &Arguments, options: &TimeDrift) -> Result<ExitCode, Failure> {
    let (config, question) = question(arguments, options.samples)?;
    let profile = profile(&config, options.judged.profile.as_deref());
    loop {
        let heard = exchange::ask(&question)?;
        let drift = Drift::of(heard, daemon(arguments), &profile, ClockPair::now());
        let text =
            if options.judged.json { format!("{}\n", serde_json::to_string(&drift)?) } else { words(&drift) };
        say(&text)?;
        if options.watch && !options.judged.json {
            say("\n")?;
        }
        if !options.watch {
            return Ok(ExitCode::from(drift.status.exit_code()));
        }
        std::thread::sleep(Duration::from_secs(options.interval.into()));
    }
}

/// What a running daemon says; none where none runs.
pub(super) fn daemon(arguments: &Arguments) -> Option<DaemonSays> {
    says(&Door::open(runtime_dir(arguments).as_deref()).ok()?)
}

fn says(door: &Door) -> Option<DaemonSays> {
    // Before the snapshot: what it takes to read that would pass for an error of the clock.
    let (reading, pair) = door.now_and_system();
    if matches!(reading.reason, Reason::Stopped | Reason::PublisherDead | Reason::Rebooted) {
        return None;
    }
    let snapshot = door.snapshot().ok();
    Some(DaemonSays {
        sample: facts::sample(&reading, snapshot.as_deref(), pair),
        reason: reading.reason.to_string(),
        simulation: snapshot.is_some_and(|s| s.simulation),
    })
}

fn words(drift: &Drift) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<11} {text}").expect("a String takes all");
    let span = |ns: i64| Span::from_nanos(ns).to_string();
    if drift.simulation {
        line("SIMULATION", "the daemon that runs is a demonstration".into());
    }
    line("Time", drift.time.clone());
    match (drift.offset_ns, drift.bound_ns, drift.early_ns, drift.late_ns) {
        (Some(offset), Some(bound), Some(early), Some(late)) => {
            let direction = drift.direction.unwrap_or_default();
            line(
                "Offset",
                format!("{} {direction} (true time - system clock: {})", span(offset.abs()), span(offset)),
            );
            line("Bound", format!("-{} +{}: at most {} off", span(early), span(late), span(bound)));
        }
        _ => line("Offset", "unknown".into()),
    }
    let quality = drift.quality.map_or("unknown", chronotick_monitor::Level::name);
    line("Quality", format!("{quality} by {} (profile {})", drift.metric, drift.profile));
    line("State", format!("{}, by {}", drift.state, drift.answered_by));
    line("Status", drift.status.to_string());
    for why in &drift.reasons {
        line("", why.clone());
    }
    let answers = drift.answers.len();
    line("Servers", format!("{} of {} agree, {answers} answers", drift.agreeing.len(), drift.asked));
    for silent in &drift.silent {
        line("", format!("{}: {}", silent.server, silent.why));
    }
    if let Some(delay) = drift.delay_ns {
        line("Round trip", format!("{} to the best server, not part of the offset", span(delay)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::{Clock, Solution, State, Timestamp, Writer, raw_now};
    use chronotick_monitor::Backing;

    #[test]
    fn the_daemon_is_heard_at_the_instant_of_the_system_clock() {
        let mut writer = Writer::in_memory().expect("there is memory");
        let at = raw_now();
        let (early, late) = (Span::from_millis(1), Span::from_millis(1));
        let (holdover_at, unsynced_at) = (at + Span::from_secs(3_600), at + Span::from_secs(7_200));
        let utc = Timestamp::from_nanos(1_790_000_000_000_000_000);
        let unknown = Solution::unknown(at, State::Synced, Reason::Agreement);
        writer.publish(&Solution { utc, early, late, holdover_at, unsynced_at, ..unknown });
        let clock = Clock::of(&writer);
        let door = Door::within(Clock::of(&writer), crate::feed::Feed::default());
        let sample = says(&door).expect("it lives").sample;
        assert_eq!((sample.state, sample.utc), (Backing::Synced, clock.at(sample.at).estimate));
    }
}
