//! The views for people: status, sources, tracking and explain, as text made of a snapshot. Where a view follows
//! chrony's (`sources`, `tracking`) it has chrony's columns and chrony's signs, and converts them here and nowhere else.

use crate::snapshot::{BoundView, EdgeView, HorizonView, ModelView, Snapshot, SourceView, Traffic};
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
    let trusted = snapshot.sources.iter().filter(|s| s.verdict == "trusted").count();
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

const LEGEND: &str = "  .- Mode   '^' = server, '=' = peer, '#' = reference clock
 / .- State '*' = confines the bound most, '+' = trusted, '-' = no majority, 'x' = falseticker, '?' = unmeasured
| /                                                    .- xxxx +/- zzzz
||      Reachability register (octal) -.               |  xxxx = corrected time ahead of the source (+) or behind (-)
||      Log2 (poll interval) --.       |               |  zzzz = root distance: how wrong this sample may be
||                              \\      |               |
";

/// The sources in chrony's columns and signs: a positive sample means that corrected time is ahead of the source.
pub(super) fn sources(snapshot: &Snapshot, verbose: bool) -> String {
    let mut out = String::new();
    if verbose {
        out.push_str(LEGEND);
    }
    let _ = writeln!(out, "{:<3}{:<30} Stratum Poll Reach LastRx Last sample", "MS", "Name/IP address");
    out.push_str(&"=".repeat(79));
    out.push('\n');
    for source in &snapshot.sources {
        let stratum = source.stratum.map_or("-".into(), |s| s.to_string());
        let poll = source.poll_seconds.max(1e-3).log2().round();
        let last = source.last_answer_seconds.map_or("-".into(), |s| format!("{s:.0}"));
        let sample = source.offset_ns.map_or(String::new(), |offset| {
            let distance =
                half(source.delay_ns) + half(source.root_delay_ns) + source.root_dispersion_ns.unwrap_or(0);
            format!("{} +/- {}", signed(-offset), short(distance))
        });
        let name = &source.address;
        let _ = writeln!(
            out,
            "{}{} {name:<30} {stratum:>7} {poll:>4} {:>5o} {last:>6} {sample}",
            mode(source),
            mark(source),
            source.reach
        );
        if verbose {
            for text in why(source) {
                let _ = writeln!(out, "     {text}");
            }
        }
    }
    for name in &snapshot.unresolved {
        let _ = writeln!(out, "^? {name}");
    }
    out
}

pub(crate) fn mode(source: &SourceView) -> char {
    match source.mode.as_str() {
        "refclock" => '#',
        "peer" => '=',
        _ => '^',
    }
}

pub(crate) fn mark(source: &SourceView) -> char {
    match source.verdict.as_str() {
        "trusted" if source.best => '*',
        "trusted" => '+',
        "falseticker" => 'x',
        "no majority" => '-',
        _ => '?',
    }
}

/// What chrony hides: why a source has its mark.
fn why(source: &SourceView) -> Vec<String> {
    let mut lines = vec![format!(
        "{}, {}: {} of {} polls answered, {} stamps",
        source.server,
        source.verdict,
        source.answers,
        source.sent,
        source.stamps.as_deref().unwrap_or("no")
    )];
    if let Some(bound) = &source.bound {
        let (low, high) = (signed(bound.earliest_ns), signed(bound.latest_ns));
        lines.push(format!("true time between {low} and {high} of corrected time"));
    }
    if let Some(path) = &source.path {
        let (offset, floor) = (signed(path.offset_ns), short(path.floor_ns));
        lines.push(format!("path: offset {offset}, least round trip {floor}, weight {:.2}", path.weight));
    }
    if source.contradictions > 0 {
        lines.push(format!("contradicted itself {} times", source.contradictions));
    }
    lines.extend(source.trouble.iter().map(|trouble| format!("last trouble: {trouble}")));
    lines
}

/// The clock in chrony's fields and signs. There is no single reference: the source named is the one that confines
/// the bound most.
pub(super) fn tracking(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let mut line =
        |name: &str, text: String| writeln!(out, "{name:<16}: {text}").expect("a String takes all");
    let best = snapshot.sources.iter().find(|s| s.best);
    let secs = |ns: i64| format!("{:.9} seconds", ns as f64 * 1e-9);
    let Some(clock) = &snapshot.clock else {
        line("Reference ID", "00000000 ()".into());
        line("Leap status", "Not synchronised".into());
        return out;
    };
    line("Reference ID", best.map_or("00000000 ()".into(), |s| format!("{} ({})", s.reference, s.address)));
    line("Stratum", best.and_then(|s| s.stratum).map_or("0".into(), |s| (s + 1).to_string()));
    line(
        "Last measurement",
        clock.last_measurement_seconds.map_or("never".into(), |s| format!("{s:.1} seconds ago")),
    );
    let system = secs(clock.system_offset_ns.abs());
    let speed = if clock.system_offset_ns < 0 { "fast" } else { "slow" };
    line("System time", format!("{system} {speed} of corrected time"));
    line(
        "Last offset",
        best.and_then(|s| s.offset_ns).map_or("-".into(), |o| format!("{:+.9} seconds", -o as f64 * 1e-9)),
    );
    line("RMS offset", secs(clock.rms_offset_ns));
    let speed = if clock.rate_ppm < 0.0 { "fast" } else { "slow" };
    line("Frequency", format!("{:.3} ppm {speed}", clock.rate_ppm.abs()));
    line("Skew", format!("{:.3} ppm", clock.rate_sigma_ppm));
    let half_width = (clock.early_ns / 2).saturating_add(clock.late_ns / 2);
    line("Root distance", secs(half_width));
    line("Update interval", best.map_or("-".into(), |s| format!("{:.1} seconds", s.poll_seconds)));
    let leap = match (snapshot.state.as_str(), clock.leap.as_str()) {
        ("synced" | "holdover", "insert") => "Insert second",
        ("synced" | "holdover", "delete") => "Delete second",
        ("synced" | "holdover", _) => "Normal",
        _ => "Not synchronised",
    };
    line("Leap status", leap.into());
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
        "The bound spans every instant that at least {needed} of the {measured} measured sources allow:"
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

fn half(ns: Option<i64>) -> i64 {
    ns.unwrap_or(0).max(0) / 2
}

/// Four characters of value and the unit, as chrony prints spans: `13us`, `2708us`, `11ms`.
fn short(ns: i64) -> String {
    let (value, unit) = match ns.unsigned_abs() {
        0..10_000 => (ns, "ns"),
        10_000..10_000_000 => (ns / 1_000, "us"),
        10_000_000..10_000_000_000 => (ns / 1_000_000, "ms"),
        _ => (ns / 1_000_000_000, "s"),
    };
    format!("{value}{unit}")
}

fn signed(ns: i64) -> String {
    format!("{}{}", if ns < 0 { "" } else { "+" }, short(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_as_chrony_does() {
        let shown = [653, 3_653, -13_000, -2_708_000, 9_895_000, 17_000_000, 11_000_000_000].map(signed);
        assert_eq!(shown, ["+653ns", "+3653ns", "-13us", "-2708us", "+9895us", "+17ms", "+11s"]);
    }
}
