//! `monitor sync-time`: what is to be done about the system clock, by the one policy, from measurements made now; where
//! the configuration allows it, and nobody else steers, it is done.

use super::args::SyncTime;
use super::{drift, question};
use crate::cli::{Arguments, Failure, say};
use crate::config::{Config, Discipline};
use crate::discipline::once::{self, Correction, Denied};
use crate::monitor::exchange;
use chronotick_clock::{ClockPair, Rate, Span};
use chronotick_monitor::{Consensus, Decision, Status, leap_tonight};
use chronotick_os::SystemClock;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn execute(arguments: &Arguments, options: &SyncTime) -> Result<ExitCode, Failure> {
    let (config, question) = question(arguments, options.samples)?;
    let heard = exchange::ask(&question)?;
    let consensus = Consensus::of(&heard.answers);
    let found = consensus.as_ref().ok();
    let agreeing = found.map_or(0, |c| c.agreeing.len() as u32);
    let pair = ClockPair::now();
    let last = once::last(&config.state_dir);
    let decision = config.correction.policy().decide(found.map(|c| c.error), agreeing, last, pair.raw);
    let decision = match (decision, config.discipline) {
        (Decision::Step { by, remaining }, Discipline::Slew) => Decision::Slew { by, remaining },
        (decision, _) => decision,
    };
    let done = match (&decision, found) {
        (Decision::Slew { .. } | Decision::Step { .. }, Some(found)) if !options.dry_run => {
            Some(correct(arguments, &config, found, decision, pair))
        }
        _ => None,
    };
    let refused = match (&decision, &done) {
        (Decision::Refuse(why), _) => Some(why.to_string()),
        (_, Some(Err(why @ Denied::Halfway(_)))) => Some(why.to_string()),
        (_, Some(Err(why))) => Some(format!("nothing was done: {why}")),
        _ => None,
    };
    let status = match (&decision, &done) {
        (Decision::Refuse(_), _) => Status::Critical,
        (_, Some(Err(Denied::Off | Denied::Daemon | Denied::Rival(_) | Denied::Busy))) => Status::Warning,
        (_, Some(Err(_))) => Status::Critical,
        _ => Status::Healthy,
    };
    if options.json {
        let (action, by, remaining) = match decision {
            Decision::Leave { .. } => ("leave", None, None),
            Decision::Slew { by, remaining } => ("slew", Some(by), Some(remaining)),
            Decision::Step { by, remaining } => ("step", Some(by), Some(remaining)),
            Decision::Refuse(_) => ("refuse", None, None),
        };
        let object = json!({
            "status": status,
            "dry_run": options.dry_run,
            "action": action,
            "by_ns": by.map(Span::as_nanos),
            "remaining_ns": remaining.map(Span::as_nanos),
            "done": matches!(done, Some(Ok(()))),
            "refused": refused,
            "offset_ns": found.map(|c| c.error.offset.as_nanos()),
            "bound_ns": found.map(|c| c.error.bound().as_nanos()),
            "agreeing": found.map(|c| &c.agreeing),
            "falsetickers": found.map(|c| &c.falsetickers),
            "silent": heard.silent,
            "simulation": false,
        });
        say(&format!("{object}\n"))?;
    } else {
        let label = if options.dry_run { "would" } else { "decided to" };
        let mut text = match &decision {
            Decision::Refuse(_) => format!("{decision}\n"),
            _ if matches!(done, Some(Ok(()))) => format!("done: {decision}\n"),
            _ => format!("{label} {decision}\n"),
        };
        if let (Err(why), true) = (&consensus, matches!(decision, Decision::Refuse(_))) {
            text += &format!("{why}\n");
        }
        say(&text)?;
        if let (Some(refused), false) = (&refused, matches!(decision, Decision::Refuse(_))) {
            eprintln!("chronotick: {refused}");
        }
    }
    Ok(ExitCode::from(status.exit_code()))
}

/// Corrects the system clock. As long as it slews, somebody else may begin to steer: then it ends.
fn correct(
    arguments: &Arguments,
    config: &Config,
    found: &Consensus,
    decision: Decision,
    pair: ClockPair,
) -> Result<(), Denied> {
    let others = || {
        let daemon = drift::daemon(arguments).is_some_and(|daemon| !daemon.simulation);
        once::allowed(config.discipline, daemon, chronotick_os::rival(Path::new("/proc")))
    };
    others()?;
    let slew_rate = Rate::from_ppm(f64::from(config.correction.slew_rate_ppm));
    if let Decision::Slew { by, .. } = decision {
        let seconds = by.abs().as_secs_f64() / slew_rate.as_f64();
        eprintln!("chronotick: slewing takes about {seconds:.0} s");
    }
    let utc = pair.system + found.error.offset;
    let leap = leap_tonight(found.leap, utc);
    let correction = Correction { at: pair.raw, utc, error: found.error, decision, leap, slew_rate };
    let mut pause = || {
        std::thread::sleep(Duration::from_secs(1));
        others()
    };
    correction.make(&mut SystemClock::open()?, config, &mut pause)
}
