//! `monitor sync-time`: what is to be done about the system clock, by the one policy, from measurements made now.

use super::args::SyncTime;
use super::question;
use crate::cli::{Arguments, Failure, say};
use crate::config::Discipline;
use crate::monitor::exchange;
use chronotick_clock::{Span, raw_now};
use chronotick_monitor::{Consensus, Decision, Status};
use serde_json::json;
use std::process::ExitCode;

pub(super) fn execute(arguments: &Arguments, options: &SyncTime) -> Result<ExitCode, Failure> {
    let (config, question) = question(arguments, options.samples)?;
    let heard = exchange::ask(&question)?;
    let policy = config.correction.policy();
    let consensus = Consensus::of(&heard.answers);
    let found = consensus.as_ref().ok();
    let agreeing = found.map_or(0, |c| c.agreeing.len() as u32);
    let decision = policy.decide(found.map(|c| c.error), agreeing, None, raw_now());
    let acts = matches!(decision, Decision::Slew { .. } | Decision::Step { .. });
    let refused = match (&decision, acts && !options.dry_run) {
        (Decision::Refuse(why), _) => Some(why.to_string()),
        (_, true) if config.discipline == Discipline::Off => Some(
            "nothing was done: correcting the system clock is off (discipline: off); --dry-run only says what would be done"
                .to_owned(),
        ),
        (_, true) => Some(format!(
            "nothing was done: the daemon corrects the system clock (discipline: {}), and two would fight",
            config.discipline
        )),
        _ => None,
    };
    let status = match (&decision, &refused) {
        (Decision::Refuse(_), _) => Status::Critical,
        (_, Some(_)) => Status::Warning,
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
            "done": false,
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
