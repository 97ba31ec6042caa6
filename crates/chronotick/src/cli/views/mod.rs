//! The views for people, as text made of a snapshot: status and explain here; those that follow chrony's, with its columns,
//! units and signs, in [`sources`], [`tracking`] and [`authentication`], which convert them and nowhere else.

pub(super) mod authentication;
pub(super) mod sources;
pub(super) mod tracking;
mod units;

pub(crate) use sources::{mark, mode};
use units::{short, signed};

use crate::snapshot::{BoundView, EdgeView, HorizonView, ModelView, Snapshot, Traffic};
use crate::utc::since;
use chronotick_clock::{NarrowBound, Reading, Span};
use std::fmt::Write;

/// What an operator looks at first.
pub(super) fn status(snapshot: &Snapshot, reading: &Reading) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<15} {text}").expect("a String takes all");
    line("State", format!("{}: {}", reading.state, reading.reason));
    line("Source", snapshot.source.clone());
    line("Time (UTC)", crate::utc::rfc3339(reading.estimate));
    line("Bound", format!("-{} +{}", reading.estimate - reading.earliest, reading.latest - reading.estimate));
    line(
        "Narrow bound",
        reading.narrow.map_or_else(
            || "none (`chronotick explain` says why)".into(),
            |narrow| {
                let (early, late) = (reading.estimate - narrow.earliest, narrow.latest - reading.estimate);
                format!("-{early} +{late}, if {}", narrow.assumes)
            },
        ),
    );
    line("95 % interval", format!("±{}", reading.interval(0.95)));
    if let Some(clock) = &snapshot.clock {
        let offset = Span::from_nanos(clock.system_offset_ns);
        line(
            "System clock",
            format!("{} {}", offset.abs(), if offset < Span::ZERO { "ahead" } else { "behind" }),
        );
        let speed = if clock.rate_ppm < 0.0 { "fast" } else { "slow" };
        let (rate, sigma) = (clock.rate_ppm.abs(), clock.rate_sigma_ppm);
        line("Raw clock", format!("{rate:.3} ppm {speed} ± {sigma:.3}"));
        line("Bound grows", format!("{:.1} ppm without measurements", clock.bound_growth_ppm));
        if clock.leap != "none" {
            line("Leap second", format!("{} announced", clock.leap));
        }
    }
    let trusted = snapshot.sources.iter().filter(|s| s.is_trusted()).count();
    line("Sources", format!("{trusted} of {} trusted", snapshot.sources.len()));
    for name in &snapshot.unresolved {
        line("", format!("not resolved: {name}"));
    }
    for model in &snapshot.models {
        line(if model.member == "short_term" { "Models" } else { "" }, in_short(model));
    }
    line("Answers", format!("{} of {} polls", snapshot.traffic.answers, snapshot.traffic.polls));
    let Traffic { compared, worse, .. } = snapshot.traffic;
    line("Harm", format!("worse than the system clock in {worse} of {compared} telling measurements"));
    let foretold = &snapshot.predictions;
    if foretold.counted > 0 {
        let share = foretold.covered_95 as f64 / foretold.counted as f64 * 100.0;
        line(
            "Coverage",
            format!("{share:.1} % of {} later measurements were inside the 95 % interval", foretold.counted),
        );
    }
    line("Time stamps", snapshot.traffic.stamps.clone());
    line("Warm-up", format!("{:.0} %", snapshot.warmup_progress * 100.0));
    line(
        "Daemon",
        format!("{}, process {}, up {}", snapshot.version, snapshot.pid, since(snapshot.uptime_seconds)),
    );
    for event in snapshot.events.iter().rev().take(5).rev() {
        line("Event", format!("{} {}", event.time, event.text));
    }
    out
}

/// Why the bound is what it is: which sources confine it, and each term of their edges.
pub(super) fn explain(snapshot: &Snapshot, reading: &Reading) -> String {
    let mut out = String::new();
    let (early, late) = (reading.estimate - reading.earliest, reading.latest - reading.estimate);
    let _ = writeln!(out, "State {}: {}.", reading.state, reading.reason);
    let _ = writeln!(
        out,
        "True time is between -{early} and +{late} of corrected time, unless half of the sources lie;"
    );
    let _ = writeln!(
        out,
        "in 95 of 100 readings it is within ±{} (the calibrated interval).",
        reading.interval(0.95)
    );
    out.push_str(&match reading.narrow {
        Some(NarrowBound { earliest, latest, assumes }) => format!(
            "If {assumes},\nit is between -{} and +{} (the narrow bound). The share is what is configured, or four times what the\n\
             sources differ by.\n",
            reading.estimate - earliest,
            latest - reading.estimate
        ),
        None => "There is no narrow bound: too few sources have shown their fastest round trips, or the sources differ by\n\
                 more than asymmetric paths explain, or none is configured.\n"
            .into(),
    });
    let measured = snapshot.sources.iter().filter(|s| s.bound.is_some()).count();
    let needed = measured / 2 + 1;
    let _ = writeln!(
        out,
        "The bound spans every instant that at least {needed} of the {measured} measured sources allow. {}",
        snapshot.bound_then().unwrap_or_default()
    );
    for source in &snapshot.sources {
        let Some(bound) = &source.bound else {
            let _ = writeln!(out, "\n{} ({}): {}", source.address, source.server, source.verdict);
            continue;
        };
        let BoundView { earliest_ns, latest_ns, low, high } = bound;
        let (earliest, latest) = (signed(*earliest_ns), signed(*latest_ns));
        let mark = if source.best { ", confines the bound most" } else { "" };
        let _ = writeln!(
            out,
            "\n{} ({}): {}{mark}\n  allows {earliest} to {latest}",
            source.address, source.server, source.verdict
        );
        let _ = writeln!(out, "  early edge: {}", terms(low));
        let _ = writeln!(out, "  late edge:  {}", terms(high));
        if let Some(trouble) = &source.trouble {
            let _ = writeln!(out, "  last trouble: {trouble}");
        }
    }
    if let Some(clock) = &snapshot.clock {
        let _ =
            writeln!(out, "\nWithout new measurements both sides grow by {:.1} ppm:", clock.bound_growth_ppm);
        let sigma = clock.rate_sigma_ppm;
        let _ = writeln!(
            out,
            "  4 x {sigma:.3} ppm of the estimated rate, the rest for what the oscillator may wander."
        );
    }
    let _ = writeln!(
        out,
        "\nSource of corrected time: {}. Forecasts beside the bank, by what later measurements made of them:",
        snapshot.source
    );
    snapshot.models.iter().for_each(|model| out.push_str(&at_length(model)));
    out
}

/// One line on who forecasts beside the bank.
fn in_short(model: &ModelView) -> String {
    let ModelView { member, weight, standing, state, .. } = model;
    let name = match (model.model.as_str(), &model.family) {
        ("", _) => String::new(),
        (model, Some(family)) => format!(" {model} ({family})"),
        (model, None) => format!(" {model}"),
    };
    let why = match &model.reason {
        Some(reason) => format!("{state}: {reason}"),
        None if state == "ready" => standing.clone(),
        None => state.clone(),
    };
    let skill = model
        .telling()
        .map_or(String::new(), |h| format!(", skill {:+.3} at {:.0} s", h.skill, h.horizon_seconds));
    let last =
        model.last_inference_seconds.map_or(String::new(), |s| format!(", last inference {s:.0} s ago"));
    format!("{member}{name}: weight {weight:.2}{skill}{last}; {why}")
}

/// Everything on who forecasts beside the bank.
fn at_length(model: &ModelView) -> String {
    let mut out = format!("\n{}\n", in_short(model));
    let ModelView { asked, answered, late, cached, put_off, .. } = model;
    if *asked > 0 {
        let took = model.inference_ms.map_or(String::new(), |ms| format!(", the newest took {ms:.1} ms"));
        let _ = writeln!(
            out,
            "  asked {asked} times, answered {answered}{took}; {late} too late, {cached} still held, {put_off} put off"
        );
    }
    if let Some(busy) = model.busy_seconds {
        let _ = writeln!(out, "  has owed an answer for {busy:.1} s");
    }
    if model.correction_ns != 0 {
        let _ = writeln!(out, "  changes corrected time by {} now", signed(model.correction_ns));
    }
    for h in &model.horizons {
        let HorizonView { horizon_seconds, weight, skill, error_ns, stretches } = h;
        let error = short(*error_ns);
        let _ = writeln!(
            out,
            "  {horizon_seconds:>5.0} s: weight {weight:.2}, skill {skill:+.3}, rms {error} against {stretches} stretches of measurements"
        );
    }
    out
}

fn terms(edge: &EdgeView) -> String {
    let EdgeView { age_seconds, half_delay_ns, half_root_delay_ns, root_dispersion_ns, ageing_ns } = edge;
    format!(
        "half the round trip {} + half its root delay {} + dispersion {} + ageing {} (measured {age_seconds:.0} s ago)",
        short(*half_delay_ns),
        short(*half_root_delay_ns),
        short(*root_dispersion_ns),
        short(*ageing_ns)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ClockView;
    use chronotick_clock::{RawInstant, Reason, Solution, State};

    #[test]
    fn the_terms_come_with_the_bound_that_they_add_up_to() {
        let clock = ClockView { early_ns: 2_000, late_ns: 3_000, ..ClockView::default() };
        let snapshot =
            Snapshot { written: "2026-11-21T00:00:00Z".into(), clock: Some(clock), ..Snapshot::default() };
        let at = RawInstant::from_nanos(0);
        let reading = Solution::unknown(at, State::Synced, Reason::Agreement).reading(at);
        let told = explain(&snapshot, &reading);
        assert!(
            told.contains("At 2026-11-21T00:00:00Z") && told.contains("it was -2.000 µs +3.000 µs"),
            "{told}"
        );
    }
}
