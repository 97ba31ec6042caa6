//! `chronotick audit`: whether the audit log is as it was written, and what it says of a stretch of time.

use super::args::Arguments;
use super::history::Range;
use super::{Failure, NOT_SYNCED, load, say, when};
use crate::utc::rfc3339;
use chronotick_clock::{Span, Timestamp};
use chronotick_record::audit::{self, Attestation, Verdict, folder};
use clap::{Subcommand, ValueEnum};
use serde_json::Value;
use std::process::ExitCode;

/// What can be asked of the audit log.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Whether every line is as it was written; the first that is not is named, and the exit code is 1.
    Verify {
        /// A hash of a line that was kept elsewhere: it must still be there.
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// For which share of a stretch of time the clock was within a limit, and for which share anybody looked.
    ///
    /// Exit codes: 0 within the limit for all of the monitored time, 1 the log is broken, 3 not within it, or nothing was
    /// monitored. It says nothing of the law.
    Attest {
        /// The stretch.
        #[command(flatten)]
        range: Range,
        /// The limit, such as 100us, 1ms or 50ms.
        #[arg(long, value_name = "LENGTH", value_parser = when::length)]
        limit: Span,
        /// Which clock is judged.
        #[arg(long, value_enum, default_value = "system")]
        clock: Judged,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Which clock is judged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Judged {
    /// The system clock.
    System,
    /// Corrected time.
    Corrected,
}

pub(super) fn execute(arguments: &Arguments, what: &AuditCommand) -> Result<ExitCode, Failure> {
    let folder = folder(&load(arguments)?.state_dir);
    let failed = |e: std::io::Error| format!("there is no audit log to read in {}: {e}", folder.display());
    match what {
        AuditCommand::Verify { expect, json } => {
            let verdict = audit::verify(&folder, expect.as_deref(), &mut |_| {}).map_err(failed)?;
            say(&if *json { line(&serde_json::to_value(&verdict)?) } else { verdict_text(&verdict) })?;
            Ok(if verdict.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        AuditCommand::Attest { range, limit, clock, json } => {
            let period = range.resolve(Some(Span::from_secs(86_400)))?;
            let clock = match clock {
                Judged::System => audit::Clock::System,
                Judged::Corrected => audit::Clock::Corrected,
            };
            let attestation = audit::attest(&folder, period, clock, *limit).map_err(failed)?;
            let mut object = serde_json::to_value(&attestation)?;
            object["statement"] = statement(&attestation).into();
            say(&if *json { line(&object) } else { attestation_text(&attestation) })?;
            Ok(attestation_code(&attestation))
        }
    }
}

fn line(object: &Value) -> String {
    format!("{object}\n")
}

fn time(nanos: Option<i64>) -> String {
    nanos.map_or_else(|| "-".into(), |nanos| rfc3339(Timestamp::from_nanos(nanos)))
}

fn verdict_text(verdict: &Verdict) -> String {
    let mut text = match &verdict.broken {
        Some(broken) => format!("BROKEN: {} line {}: {}\n", broken.file.display(), broken.line, broken.why),
        None => "every line is as it was written\n".to_owned(),
    };
    text += &format!(
        "{} good lines in {} files, {} to {}\n",
        verdict.lines,
        verdict.files,
        time(verdict.first_ns),
        time(verdict.last_ns)
    );
    if let Some(first) = verdict.first_number.filter(|first| *first > 1) {
        text += &format!("begins with line {first}: older files are not here\n");
    }
    if let Some(torn) = &verdict.torn {
        let (file, bytes) = (torn.file.display(), torn.bytes);
        text += &format!("{file} ends within a line, after {bytes} bytes of it: a crash, no tampering\n");
    }
    if !verdict.ended {
        text += "the last record is not that of a daemon's end: one is running, has crashed, or lines are missing at the end\n";
    }
    match verdict.expected_found {
        Some(true) => text += "the expected hash is that of a line\n",
        Some(false) => text += "the expected hash is that of NO line: the log was cut or made anew\n",
        None => {}
    }
    text + &format!("newest hash {}\n", verdict.head.as_deref().unwrap_or("-"))
}

fn statement(a: &Attestation) -> String {
    let limit = Span::from_nanos(a.limit_ns);
    let clock = match a.clock {
        audit::Clock::System => "the system clock",
        audit::Clock::Corrected => "corrected time",
    };
    match a.within_percent {
        Some(within) => format!(
            "{clock} was within the configured limit of {limit} for {within} % of the monitored time; {} % of the stretch was monitored",
            a.monitored_percent
        ),
        None => format!("nothing was monitored: whether {clock} was within {limit} is not known"),
    }
}

fn attestation_text(a: &Attestation) -> String {
    let mut text = format!("{} to {}\n{}\n", time(Some(a.since_ns)), time(Some(a.until_ns)), statement(a));
    text += &format!(
        "monitored {} of {} s, within the limit {} s; furthest {}; {} starts, {} gaps\n",
        a.monitored_seconds,
        a.period_seconds,
        a.within_seconds,
        a.worst_ns.map_or_else(|| "-".into(), |worst| Span::from_nanos(worst).to_string()),
        a.starts,
        a.gaps
    );
    for breach in &a.breaches {
        let (from, until) = (time(Some(breach.from_ns)), time(Some(breach.until_ns)));
        text +=
            &format!("beyond the limit {from} to {until}, furthest {}\n", Span::from_nanos(breach.peak_ns));
    }
    for version in &a.versions {
        text += &format!("version {version}\n");
    }
    for configuration in &a.configurations {
        text += &format!("configuration {configuration}\n");
    }
    text += &match &a.log.broken {
        None => {
            format!("the log is as it was written; newest hash {}\n", a.log.head.as_deref().unwrap_or("-"))
        }
        Some(broken) => {
            format!("THE LOG IS BROKEN: {} line {}: {}\n", broken.file.display(), broken.line, broken.why)
        }
    };
    text + "This is what was measured, by the bound. It is no statement about compliance with any law.\n"
}

fn attestation_code(a: &Attestation) -> ExitCode {
    match (a.log.is_whole(), a.monitored_seconds) {
        (false, _) => ExitCode::FAILURE,
        (true, seconds) if seconds > 0 && a.within_seconds == seconds => ExitCode::SUCCESS,
        _ => ExitCode::from(NOT_SYNCED),
    }
}
