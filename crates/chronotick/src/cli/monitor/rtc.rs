//! `monitor rtc`.

use super::args::Rtc as Options;
use super::{drift, profile, question};
use crate::cli::{Arguments, Failure, say};
use crate::config::Config;
use crate::monitor::drift::Drift;
use crate::monitor::exchange;
use crate::monitor::rtc::{self, Adjtime, Rtc};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Span, Timestamp};
use chronotick_monitor::{Backing, Battery, RtcDiagnosis, RtcReading, Status, Timescale};
use serde_json::json;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

/// What was found.
struct Found {
    reading: RtcReading,
    diagnosis: RtcDiagnosis,
    adjtime: Adjtime,
    truth: Drift,
}

pub(super) fn execute(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let (config, question) = question(arguments, 2)?;
    let clock = Rtc::below(&options.root);
    let look = match clock.look() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            absent(options)?;
            return Ok(ExitCode::from(Status::Unknown.exit_code()));
        }
        look => look?,
    };
    let heard = exchange::ask(&question)?;
    let truth = Drift::of(heard, drift::daemon(arguments), &profile(&config, None), ClockPair::now());
    // Where nobody knows better, the system clock has to do, and the answer says so.
    let offset = Span::from_nanos(truth.offset_ns.unwrap_or(0));
    let reading = rtc::reading(look, offset);
    let past = rtc::remembered(&config.state_dir);
    let diagnosis = RtcDiagnosis::of(reading, &past);
    if truth.offset_ns.is_some()
        && let Err(e) = rtc::remember(&config.state_dir, &past, reading)
    {
        eprintln!("chronotick: this look cannot be remembered in {}: {e}", config.state_dir.display());
    }
    let found = Found { reading, diagnosis, adjtime: clock.adjtime(), truth };
    let (status, reasons) = judge(&found);
    let set = options.set.then(|| set(&found, &config));
    show(options, &found, status, &reasons, set.as_ref())?;
    let failed = matches!(set, Some(Err(_)));
    Ok(ExitCode::from(if failed { status.max(Status::Critical) } else { status }.exit_code()))
}

fn absent(options: &Options) -> Result<(), Failure> {
    if options.json {
        let object = json!({"status": Status::Unknown, "present": false, "reasons": ["this machine has no battery-backed clock"], "simulation": false});
        return say(&format!("{object}\n"));
    }
    say("Status      unknown: this machine has no battery-backed clock (/sys/class/rtc/rtc0)\n")
}

fn judge(found: &Found) -> (Status, Vec<String>) {
    let mut reasons = Vec::new();
    let offset = found.reading.offset;
    match found.diagnosis.timescale {
        Timescale::Utc => {}
        Timescale::Local { zone_minutes, days } => {
            let (sign, minutes) = (if zone_minutes < 0 { '-' } else { '+' }, zone_minutes.abs());
            let date = if days == 0 { String::new() } else { format!(", and its date is {days:+} day off") };
            let zone = format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            reasons.push((
                Status::Critical,
                format!("it keeps local time ({zone}{date}) where UTC is expected: after a boot everything is off by {offset}"),
            ));
        }
        Timescale::Wrong => reasons.push((Status::Critical, format!("it is off by {offset}"))),
    }
    if found.adjtime.timescale.as_deref() == Some("LOCAL") {
        reasons.push((Status::Warning, "/etc/adjtime says that it keeps local time".into()));
    }
    match found.diagnosis.battery {
        Battery::Weak => {
            reasons
                .push((Status::Warning, "it jumps or drifts as no crystal does: replace its battery".into()));
        }
        Battery::Dead => reasons.push((Status::Critical, "it lost the date: replace its battery".into())),
        Battery::Good | Battery::Unknown => {}
    }
    if found.truth.offset_ns.is_none() {
        reasons.push((
            Status::Unknown,
            "nobody knows true time now: it is compared with the system clock alone".into(),
        ));
    }
    reasons.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let status = reasons.first().map_or(Status::Healthy, |(status, _)| *status);
    (status, reasons.into_iter().map(|(_, why)| why).collect())
}

/// Sets it with `hwclock`, if the system clock is right and the two differ by more than it should.
fn set(found: &Found, config: &Config) -> Result<&'static str, String> {
    if found.diagnosis.timescale == Timescale::Utc {
        return Ok("not set: it is right to within 10 s");
    }
    let truth = &found.truth;
    let wanted = config.monitor.min_agreeing_sources as usize;
    let agreeing = truth.agreeing.len().max(truth.daemon.as_ref().map_or(0, |d| d.agreeing as usize));
    if truth.state != Backing::Synced || truth.status >= Status::Unknown || agreeing < wanted {
        let why =
            truth.reasons.first().cloned().unwrap_or_else(|| format!("{agreeing} of {wanted} sources agree"));
        return Err(format!("not set, because the system clock is not known to be right: {why}"));
    }
    let ran = Command::new("hwclock").args(["--systohc", "--utc"]).output();
    match ran {
        Ok(output) if output.status.success() => Ok("set to the system clock, as UTC"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            Err(format!("not set: hwclock --systohc --utc: {said} ({})", output.status))
        }
        Err(e) => Err(format!("not set: hwclock cannot be run: {e}; it is part of util-linux")),
    }
}

fn show(
    options: &Options,
    found: &Found,
    status: Status,
    reasons: &[String],
    set: Option<&Result<&'static str, String>>,
) -> Result<(), Failure> {
    let Found { reading, diagnosis, adjtime, truth } = found;
    let last_set =
        adjtime.last_set.map(|at| rfc3339(Timestamp::from_nanos(at.saturating_mul(1_000_000_000))));
    if options.json {
        let zone = match diagnosis.timescale {
            Timescale::Local { zone_minutes, .. } => Some(zone_minutes),
            Timescale::Utc | Timescale::Wrong => None,
        };
        let object = json!({
            "status": status,
            "reasons": reasons,
            "present": true,
            "offset_ns": reading.offset.as_nanos(),
            "timescale": diagnosis.timescale.to_string(),
            "zone_minutes": zone,
            "residual_ns": diagnosis.residual.as_nanos(),
            "drift": diagnosis.drift,
            "battery": diagnosis.battery,
            "adjtime": adjtime.timescale,
            "last_set": last_set,
            "true_time_by": truth.answered_by,
            "set": set.map(|done| match done {
                Ok(what) => *what,
                Err(why) => why.as_str(),
            }),
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
    line(
        "Offset",
        format!("{} (true time - what it reads as UTC; true time by {})", reading.offset, truth.answered_by),
    );
    line(
        "Timescale",
        format!(
            "{}; /etc/adjtime says {}",
            diagnosis.timescale,
            adjtime.timescale.as_deref().unwrap_or("nothing")
        ),
    );
    line(
        "Drift",
        diagnosis.drift.map_or("unknown: it takes five looks over a day".into(), |drift| {
            format!("{:.2} ppm slow ({:.2} to {:.2})", drift.slope_ppm, drift.low_ppm, drift.high_ppm)
        }),
    );
    line("Battery", diagnosis.battery.to_string());
    if let Some(last_set) = last_set {
        line("Last set", last_set);
    }
    match set {
        Some(Ok(what)) => line("Set", (*what).to_owned()),
        Some(Err(why)) => line("Set", why.clone()),
        None => {}
    }
    say(&out)
}
