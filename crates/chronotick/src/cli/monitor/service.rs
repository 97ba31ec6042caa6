//! `monitor service`.

use super::args::Service as Options;
use super::{drift, profile, question};
use crate::cli::{Arguments, Failure, say};
use crate::config::Config;
use crate::monitor::drift::Drift;
use crate::monitor::exchange::{self, Heard, Question};
use crate::monitor::service::{Word, chrony, mode6, timesyncd};
use chronotick_clock::{ClockPair, Span};
use chronotick_monitor::Status;
use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

/// A service is restarted no more often than this.
const RESTART_EVERY: Duration = Duration::from_secs(3_600);

pub(super) fn execute(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let (config, question) = question(arguments, 2)?;
    let mut refused = Vec::new();
    let word = find(options, &mut refused);
    let measured = if options.no_measurement { None } else { Some(measure(arguments, &config, &question)?) };
    let (status, reasons) = judge(word.as_ref(), measured.as_ref(), &refused);
    let restarted = match (&word, &options.restart) {
        // Only what is dead is restarted: a service that answers and has not chosen a source yet is left to it.
        (None, Some(unit)) => Some(restart(unit, &config)),
        _ => None,
    };
    show(options, word.as_ref(), measured.as_ref(), status, &reasons, restarted.as_ref())?;
    Ok(ExitCode::from(status.exit_code()))
}

/// The first service that answers; what was refused is noted, since that is not the same as that there is none.
fn find(options: &Options, refused: &mut Vec<String>) -> Option<Word> {
    let named = |path: &std::path::PathBuf| vec![chrony::Place::Socket(path.clone())];
    let places = options.chrony_socket.as_ref().map_or_else(chrony::Place::usual, named);
    let chronyd = places.into_iter().map(|place| ("chronyd", chrony::ask(&place)));
    let ntpd = std::iter::once_with(|| ("ntpd", mode6::ask(options.ntpd)));
    let timesyncd = std::iter::once_with(|| ("timesyncd", timesyncd::ask(&options.bus)));
    for (name, answer) in chronyd.chain(ntpd).chain(timesyncd) {
        match answer {
            Ok(word) => return Some(word),
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData) => {
                refused.push(format!("{name}: {e}"));
            }
            Err(e) => log::debug!("{name}: {e}"),
        }
    }
    None
}

fn measure(arguments: &Arguments, config: &Config, question: &Question) -> Result<Drift, Failure> {
    let heard: Heard = exchange::ask(question)?;
    Ok(Drift::of(heard, drift::daemon(arguments), &profile(config, None), ClockPair::now()))
}

/// A service has to run, to say that it is synchronised, and to be right by our own measurement.
fn judge(word: Option<&Word>, measured: Option<&Drift>, refused: &[String]) -> (Status, Vec<String>) {
    let mut found: Vec<(Status, String)> = Vec::new();
    match word {
        None => found.push((Status::Critical, "no time service answers".into())),
        Some(word) if !word.synchronised => {
            found.push((Status::Critical, format!("{}: {}", word.name, word.reason)))
        }
        Some(_) => {}
    }
    if word.is_none() {
        found.extend(refused.iter().map(|why| (Status::Unknown, why.clone())));
    }
    if let Some(drift) = measured {
        found.extend(drift.reasons.iter().map(|why| (drift.status, format!("by measurement: {why}"))));
        if let Some((word, contradiction)) = word.and_then(|word| Some((word, contradiction(word, drift)?))) {
            found.push((
                Status::Critical,
                format!("{} contradicts the measurement: {contradiction}", word.name),
            ));
        }
    }
    found.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let status = found.first().map_or(Status::Healthy, |(status, _)| *status);
    (status, found.into_iter().map(|(_, why)| why).collect())
}

/// Where what the service says of the clock, with its own margin, cannot be true by our measurement.
fn contradiction(word: &Word, drift: &Drift) -> Option<String> {
    let (said, margin) = (Span::from_nanos(word.offset_ns?), Span::from_nanos(word.error_ns?));
    let (offset, early, late) = (drift.offset_ns?, drift.early_ns?, drift.late_ns?);
    let [offset, early, late] = [offset, early, late].map(Span::from_nanos);
    // It has had up to a poll since its own measurement; a millisecond is what a crystal makes of a minute.
    let slack = Span::from_millis(1);
    let apart = said + margin + slack < offset - early || said - margin - slack > offset + late;
    apart.then(|| format!("it says {said} ± {margin}, and we find {offset} (-{early} +{late})"))
}

/// Restarts a dead unit with `systemctl`, at most once an hour.
fn restart(unit: &str, config: &Config) -> Result<String, String> {
    let stamp = config.state_dir.join("restarted");
    let since = std::fs::metadata(&stamp).and_then(|meta| meta.modified()).ok();
    let recent =
        since.and_then(|at| SystemTime::now().duration_since(at).ok()).filter(|age| *age < RESTART_EVERY);
    if let Some(age) = recent {
        return Err(format!(
            "{unit} is not restarted: that was done {} s ago; at most once an hour",
            age.as_secs()
        ));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@._-:".contains(&b);
    if unit.is_empty() || unit.starts_with('-') || !unit.bytes().all(plain) {
        return Err(format!("{unit:?} is no name of a unit"));
    }
    // Without the stamp nothing would hold back the next restart.
    std::fs::write(&stamp, unit).map_err(|e| format!("{unit} is not restarted: {}: {e}", stamp.display()))?;
    let ran = Command::new("systemctl").args(["restart", unit]).status();
    match ran {
        Ok(status) if status.success() => Ok(format!("{unit} was restarted")),
        Ok(status) => Err(format!("systemctl restart {unit} ended with {status}")),
        Err(e) => Err(format!("systemctl cannot be run: {e}")),
    }
}

fn show(
    options: &Options,
    word: Option<&Word>,
    measured: Option<&Drift>,
    status: Status,
    reasons: &[String],
    restarted: Option<&Result<String, String>>,
) -> Result<(), Failure> {
    let restarted_in_words = restarted.map(|done| match done {
        Ok(what) => what.clone(),
        Err(why) => why.clone(),
    });
    if options.json {
        let object = json!({
            "status": status,
            "reasons": reasons,
            "service": word,
            "measurement": measured.map(|drift| json!({
                "status": drift.status,
                "offset_ns": drift.offset_ns,
                "bound_ns": drift.bound_ns,
                "answered_by": drift.answered_by,
            })),
            "restart": restarted_in_words,
            "restarted": matches!(restarted, Some(Ok(_))),
            "simulation": false,
        });
        return say(&format!("{object}\n"));
    }
    let mut out = String::new();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<11} {text}").expect("a String takes all");
    line("Status", status.to_string());
    for why in reasons {
        line("", why.clone());
    }
    match word {
        Some(word) => {
            let yes = if word.synchronised { "synchronised" } else { "not synchronised" };
            line("Service", format!("{}: {yes} by its own word: {}", word.name, word.reason));
            if let (Some(offset), Some(error)) = (word.offset_ns, word.error_ns) {
                line("", format!("offset {} ± {}", Span::from_nanos(offset), Span::from_nanos(error)));
            }
        }
        None => line("Service", "none answers (chronyd, ntpd, timesyncd)".into()),
    }
    if let Some(drift) = measured {
        let known = |ns: Option<i64>| ns.map_or("unknown".into(), |ns| Span::from_nanos(ns).to_string());
        let (offset, bound) = (known(drift.offset_ns), known(drift.bound_ns));
        line(
            "Measured",
            format!("{}: offset {offset}, bound {bound}, by {}", drift.status, drift.answered_by),
        );
    }
    if let Some(text) = restarted_in_words {
        line("Restart", text);
    }
    say(&out)
}
