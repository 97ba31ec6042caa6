//! `monitor health`.

use super::args::Judged;
use super::profile;
use crate::cli::{Arguments, Failure, load, runtime_dir, say};
use crate::door::Door;
use crate::monitor::machine::Machine;
use crate::monitor::{Remembered, facts};
use chronotick_clock::Span;
use chronotick_monitor::Health;
use chronotick_monitor::health::RtcHealth;
use std::fmt::Write as _;
use std::process::ExitCode;

pub(super) fn execute(arguments: &Arguments, options: &Judged) -> Result<ExitCode, Failure> {
    let profile = profile(&load(arguments)?, options.profile.as_deref());
    let (door, machine) = (Door::open(runtime_dir(arguments).as_deref()), Machine::default());
    machine.look(door.as_ref().ok());
    let mut health = match &door {
        Ok(door) => {
            let remembered = door.folder().and_then(|dir| Remembered::read(&dir)).unwrap_or_default();
            facts::health(door, &profile, &remembered)
        }
        Err(why) => facts::nobody(&profile, &why.to_string()),
    };
    machine.complete(&mut health);
    let text = if options.json { format!("{}\n", serde_json::to_string(&health)?) } else { words(&health) };
    say(&text)?;
    Ok(ExitCode::from(health.status.exit_code()))
}

fn words(health: &Health) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<11} {text}").expect("a String takes all");
    if health.simulation {
        line("SIMULATION", "nothing here is about real time".into());
    }
    let span = |ns: Option<i64>| ns.map_or("unknown".into(), |ns| Span::from_nanos(ns).to_string());
    line("Status", health.status.to_string());
    for why in &health.reasons {
        line("", why.clone());
    }
    let quality = health.quality.map_or("unknown", chronotick_monitor::Level::name);
    line("State", health.state.to_string());
    line("Quality", format!("{quality} (profile {})", health.profile));
    line("Offset", format!("{} (true time - system clock)", span(health.offset_ns)));
    line(
        "Bound",
        format!("{} system clock, {} corrected", span(health.bound_ns), span(health.corrected_bound_ns)),
    );
    let sources = &health.sources;
    let (agree, reach, all) = (sources.agreeing, sources.reachable, sources.configured);
    line("Sources", format!("{agree} agree, {reach} of {all} answer"));
    if !sources.falsetickers.is_empty() {
        line("", format!("wrong: {}", sources.falsetickers.join(", ")));
    }
    if let Some(reference) = &health.reference {
        line("Reference", format!("{} ({})", reference.name, reference.id));
    }
    if let Some(update) = &health.last_update {
        line("Updated", format!("{:.1} s ago", update.age_s));
    }
    if let Some(step) = &health.last_step {
        line("Last step", format!("{} at {} by {}", span(Some(step.delta_ns)), step.utc, step.by));
    }
    if let Some(service) = &health.service {
        line("Service", format!("{} answers", service.name));
    }
    if let Some(RtcHealth { offset_s: Some(offset), timescale: Some(scale), .. }) = &health.rtc {
        line("RTC", format!("{offset:.1} s behind, keeps {scale} time"));
    }
    let coverage = health
        .compliance
        .coverage
        .map_or(String::new(), |c| format!(", {:.2} % of the time known", c * 100.0));
    line(
        "Limit",
        format!(
            "{} the configured {}{coverage}",
            health.compliance.verdict,
            span(health.compliance.limit_ns)
        ),
    );
    out
}
