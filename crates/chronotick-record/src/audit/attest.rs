//! What a stretch of time was like, by the audit log alone: for which share of it the clock was within a limit, and for which
//! share anybody looked. It says nothing of the law.

use super::line::Record;
use super::verify::{Verdict, verify};
use chronotick_clock::{Span, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Which clock is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The system clock: what programs read that do not ask ChronoTick.
    System,
    /// Corrected time.
    Corrected,
}

impl Clock {
    fn field(self) -> &'static str {
        match self {
            Clock::System => "worst_system_ns",
            Clock::Corrected => "worst_corrected_ns",
        }
    }
}

/// What a stretch of time was like. A minute counts as within the limit if at every second of it the clock cannot have
/// been further from true time, by the bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attestation {
    /// Begin of the stretch, ns since 1970.
    pub since_ns: i64,
    /// Its end.
    pub until_ns: i64,
    /// Which clock.
    pub clock: Clock,
    /// The limit.
    pub limit_ns: i64,
    /// Seconds of the stretch.
    pub period_seconds: u64,
    /// Seconds of it for which it is known how wrong the clock can have been.
    pub monitored_seconds: u64,
    /// Seconds of these for which it was within the limit.
    pub within_seconds: u64,
    /// The share of the stretch that was monitored, in percent, rounded down.
    pub monitored_percent: f64,
    /// The share of the monitored time within the limit, in percent, rounded down; none if nothing was monitored.
    pub within_percent: Option<f64>,
    /// The furthest that the clock can have been from true time.
    pub worst_ns: Option<i64>,
    /// When it was beyond the limit.
    pub breaches: Vec<Breach>,
    /// Starts of daemons in it.
    pub starts: u64,
    /// Gaps that were noted in it.
    pub gaps: u64,
    /// Versions of the program.
    pub versions: BTreeSet<String>,
    /// Digests of the configurations.
    pub configurations: BTreeSet<String>,
    /// Whether the log is as it was written.
    pub log: Verdict,
}

/// A time in which the clock was, or can have been, beyond the limit, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Its begin, ns since 1970.
    pub from_ns: i64,
    /// Its end.
    pub until_ns: i64,
    /// The furthest that the clock can have been from true time.
    pub peak_ns: i64,
}

/// What the log says of `since..until`. The limit is not exceeded by a clock that is exactly as far off.
///
/// # Errors
/// Those of reading the files.
pub fn attest(
    folder: &Path,
    (since, until): (Timestamp, Timestamp),
    clock: Clock,
    limit: Span,
) -> io::Result<Attestation> {
    let mut minutes = Vec::new();
    let (mut starts, mut gaps) = (0, 0);
    let (mut versions, mut configurations) = (BTreeSet::new(), BTreeSet::new());
    let log = verify(folder, None, &mut |record| {
        // Which program wrote what follows is said at its start, which may be before the stretch.
        if record.kind == "began" && record.time < until {
            if record.time < since {
                versions.clear();
                configurations.clear();
            }
            versions.extend(text(record, "version"));
            configurations.extend(text(record, "configuration"));
        }
        let minute = Minute::of(record, clock);
        let from = minute.as_ref().map_or(record.time.as_nanos(), |minute| minute.from);
        if from < since.as_nanos() || from >= until.as_nanos() {
            return;
        }
        starts += u64::from(record.kind == "began");
        gaps += u64::from(record.kind == "gap" || record.kind == "torn");
        minutes.extend(minute);
    })?;
    let period_seconds = ((until - since).as_nanos() / 1_000_000_000).max(0).cast_unsigned();
    let monitored = minutes.iter().map(|m| m.seconds).sum::<u64>().min(period_seconds);
    let beyond: u64 = minutes.iter().filter(|m| m.worst > limit.as_nanos()).map(|m| m.seconds).sum();
    let within = monitored.saturating_sub(beyond);
    Ok(Attestation {
        since_ns: since.as_nanos(),
        until_ns: until.as_nanos(),
        clock,
        limit_ns: limit.as_nanos(),
        period_seconds,
        monitored_seconds: monitored,
        within_seconds: within,
        monitored_percent: percent(monitored, period_seconds).unwrap_or(0.0),
        within_percent: percent(within, monitored),
        worst_ns: minutes.iter().map(|m| m.worst).max(),
        breaches: breaches(&minutes, limit.as_nanos()),
        starts,
        gaps,
        versions,
        configurations,
        log,
    })
}

/// Rounded down to a thousandth of a percent: nothing that lacks a second is said to be whole.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (u128::from(part) * 100_000 / u128::from(whole)) as f64 / 1e3)
}

fn text(record: &Record, key: &str) -> Option<String> {
    Some(record.fields.get(key)?.as_str()?.to_owned())
}

struct Minute {
    from: i64,
    seconds: u64,
    worst: i64,
}

impl Minute {
    fn of(record: &Record, clock: Clock) -> Option<Minute> {
        let number = |key: &str| record.fields.get(key)?.as_i64();
        let known = record.kind == "minute";
        let seconds = number("seconds").filter(|_| known)?.clamp(0, 60).cast_unsigned();
        Some(Minute { from: number("from_ns")?, seconds, worst: number(clock.field())? })
    }
}

fn breaches(minutes: &[Minute], limit: i64) -> Vec<Breach> {
    let mut breaches: Vec<Breach> = Vec::new();
    for minute in minutes.iter().filter(|minute| minute.worst > limit) {
        let until_ns = minute.from.saturating_add(60_000_000_000);
        match breaches.last_mut().filter(|last| minute.from <= last.until_ns) {
            Some(last) => {
                (last.until_ns, last.peak_ns) = (until_ns, last.peak_ns.max(minute.worst));
            }
            None => breaches.push(Breach { from_ns: minute.from, until_ns, peak_ns: minute.worst }),
        }
    }
    breaches
}
