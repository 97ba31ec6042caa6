//! `tracking`, `ntpdata` and what `waitsync` waits for, in chrony's fields and signs.

use super::sources::Manner;
use super::units::{csv, name, secs};
use crate::snapshot::{ClockView, Snapshot, SourceView};
use chronotick_clock::Timestamp;
use chronotick_ntp::ReferenceId;
use std::fmt::Write;
use std::net::SocketAddr;

/// How wrong a system clock may be that is `system` off the daemon's own estimate, by the root delay and root dispersion of
/// that estimate, all in ns: chrony's bound (`|system| + dispersion + delay/2`).
pub(super) fn system_bound(system: i64, root_delay: i64, root_dispersion: i64) -> i64 {
    system.saturating_abs().saturating_add(root_dispersion).saturating_add(root_delay / 2)
}

/// The tracked clock, in chrony's terms.
struct Tracked<'a> {
    id: ReferenceId,
    name: &'a str,
    stratum: u8,
    reference_ns: i64,
    clock: &'a ClockView,
    /// Corrected time ahead of the best source.
    last_offset_ns: i64,
    root_delay_ns: i64,
    root_dispersion_ns: i64,
    update_seconds: f64,
    residual_ppm: f64,
}

impl<'a> Tracked<'a> {
    fn of(snapshot: &'a Snapshot, manner: Manner) -> Option<Tracked<'a>> {
        let clock = snapshot.clock.as_ref()?;
        let best = snapshot.sources.iter().find(|s| s.best);
        let half =
            |s: &SourceView| s.bound.as_ref().map_or(0, |b| b.low.half_delay_ns + b.low.half_root_delay_ns);
        let root_delay_ns = 2 * best.map_or(0, half);
        let half_width = (clock.early_ns / 2).saturating_add(clock.late_ns / 2);
        let age = (clock.last_measurement_seconds.unwrap_or(0.0) * 1e9) as i64;
        Some(Tracked {
            id: best.map_or(ReferenceId([0; 4]), reference_id),
            name: best.map_or("", |best| name(best, &snapshot.sources, manner.numeric)),
            stratum: best.and_then(|s| s.stratum).map_or(0, |s| s.saturating_add(1)),
            reference_ns: clock.system_ns.saturating_add(clock.system_offset_ns).saturating_sub(age),
            clock,
            last_offset_ns: best.and_then(|s| s.offset_ns).map_or(0, |o| -o),
            root_delay_ns,
            root_dispersion_ns: (half_width - root_delay_ns / 2).max(0),
            update_seconds: best.map_or(0.0, |s| s.poll_seconds),
            residual_ppm: best.and_then(|s| s.statistics.as_ref()).map_or(0.0, |s| s.frequency_ppm),
        })
    }
}

/// That of an upstream server's address, or a reference clock's name.
fn reference_id(source: &SourceView) -> ReferenceId {
    match source.address.parse::<SocketAddr>() {
        Ok(address) => ReferenceId::of(address.ip()),
        Err(_) => ReferenceId::named(&source.address),
    }
}

fn leap(snapshot: &Snapshot) -> &'static str {
    let announced = snapshot.clock.as_ref().map_or("", |clock| clock.leap.as_str());
    match (snapshot.state.as_str(), announced) {
        ("synced" | "holdover", "insert") => "Insert second",
        ("synced" | "holdover", "delete") => "Delete second",
        ("synced" | "holdover", _) => "Normal",
        _ => "Not synchronised",
    }
}

/// The clock, as `chronyc tracking` shows it. There is no single reference: the source named is the one that confines the
/// bound most.
pub(crate) fn tracking(snapshot: &Snapshot, manner: Manner) -> String {
    let Some(t) = Tracked::of(snapshot, manner) else {
        return if manner.csv {
            csv(&[&["00000000", "", "0"][..], &["0.000000000"; 10], &["Not synchronised"]]
                .concat()
                .into_iter()
                .map(Into::into)
                .collect::<Vec<String>>())
        } else {
            "Reference ID    : 00000000 ()\nLeap status     : Not synchronised\n".into()
        };
    };
    let hex: String = t.id.0.iter().map(|byte| format!("{byte:02X}")).collect();
    let clock = t.clock;
    if manner.csv {
        return csv(&[
            hex,
            t.name.into(),
            t.stratum.to_string(),
            secs(t.reference_ns),
            // chrony's machine format: positive if the system clock is slow.
            secs(clock.system_offset_ns),
            secs(t.last_offset_ns),
            secs(clock.rms_offset_ns),
            format!("{:.3}", -clock.rate_ppm),
            format!("{:.3}", t.residual_ppm),
            format!("{:.3}", clock.rate_sigma_ppm),
            secs(t.root_delay_ns),
            secs(t.root_dispersion_ns),
            format!("{:.1}", t.update_seconds),
            leap(snapshot).into(),
        ]);
    }
    let mut out = String::new();
    let mut line =
        |name: &str, text: String| writeln!(out, "{name:<16}: {text}").expect("a String takes all");
    let seconds = |ns: i64| format!("{} seconds", secs(ns));
    line("Reference ID", format!("{hex} ({})", t.name));
    line("Stratum", t.stratum.to_string());
    line("Ref time (UTC)", calendar(t.reference_ns));
    let speed = if clock.system_offset_ns < 0 { "fast" } else { "slow" };
    line("System time", format!("{} {speed} of corrected time", seconds(clock.system_offset_ns.abs())));
    line("Last offset", format!("{:+.9} seconds", t.last_offset_ns as f64 * 1e-9));
    line("RMS offset", seconds(clock.rms_offset_ns));
    let speed = if clock.rate_ppm < 0.0 { "fast" } else { "slow" };
    line("Frequency", format!("{:.3} ppm {speed}", clock.rate_ppm.abs()));
    line("Residual freq", format!("{:+.3} ppm", t.residual_ppm));
    line("Skew", format!("{:.3} ppm", clock.rate_sigma_ppm));
    line("Root delay", seconds(t.root_delay_ns));
    line("Root dispersion", seconds(t.root_dispersion_ns));
    line("Update interval", format!("{:.1} seconds", t.update_seconds));
    line("Leap status", leap(snapshot).into());
    let bound = system_bound(clock.system_offset_ns, t.root_delay_ns, t.root_dispersion_ns);
    line("System bound", format!("{} (system time + dispersion + delay/2)", seconds(bound)));
    out
}

/// As chrony prints a date.
fn calendar(ns: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(ns));
    time.map_or_else(
        |_| crate::utc::rfc3339(Timestamp::from_nanos(ns)),
        |t| t.strftime("%a %b %d %H:%M:%S %Y").to_string(),
    )
}

/// What the newest answer of each server said, as `chronyc ntpdata` shows it.
pub(crate) fn ntpdata(snapshot: &Snapshot, manner: Manner) -> String {
    let mut out = String::new();
    for source in &snapshot.sources {
        let Some(ntp) = &source.ntp else { continue };
        let (address, port) = match source.address.parse::<SocketAddr>() {
            Ok(address) => (address.ip().to_string(), address.port().to_string()),
            Err(_) => (source.address.clone(), String::new()),
        };
        let id = |address: &str| {
            let id = address.parse().map_or(ReferenceId::default(), ReferenceId::of);
            id.0.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        let leap = match source.leap.as_deref() {
            Some("insert") => "Insert second",
            Some("delete") => "Delete second",
            Some(_) => "Normal",
            None => "Not synchronised",
        };
        let stamps = match source.stamps.as_deref() {
            Some("kernel") => "Kernel",
            Some(_) => "Daemon",
            None => "Invalid",
        };
        let root = (source.root_delay_ns.unwrap_or(0), source.root_dispersion_ns.unwrap_or(0));
        let (delay, offset) = (source.delay_ns.unwrap_or(0), source.offset_ns.unwrap_or(0));
        let stratum = source.stratum.unwrap_or(0);
        let named = ReferenceId(ntp.reference_id.to_be_bytes());
        let named = if stratum == 1 && named.is_text() { named.to_string() } else { String::new() };
        let tests = tests(ntp.rejected.as_deref());
        let said = |yes: bool| if yes { "Yes" } else { "No" }.to_owned();
        let (power, exact) = (|n: i8| f64::from(n).exp2(), |ns: i64| format!("{} seconds", secs(ns)));
        // Each line's name, its text, and its fields as chronyc -c has them.
        let lines: Vec<(&str, String, Vec<String>)> = vec![
            with_id("Remote address", &address, id(&address)),
            same("Remote port", port),
            with_id("Local address", &ntp.local, id(&ntp.local)),
            same("Leap status", leap.into()),
            same("Version", ntp.version.to_string()),
            same("Mode", "Server".into()),
            same("Stratum", stratum.to_string()),
            (
                "Poll interval",
                format!("{} ({:.0} seconds)", ntp.poll, power(ntp.poll)),
                vec![ntp.poll.to_string(), format!("{:.0}", power(ntp.poll))],
            ),
            (
                "Precision",
                format!("{} ({:.9} seconds)", ntp.precision, power(ntp.precision)),
                vec![ntp.precision.to_string(), format!("{:.9}", power(ntp.precision))],
            ),
            ("Root delay", exact(root.0), vec![secs(root.0)]),
            ("Root dispersion", exact(root.1), vec![secs(root.1)]),
            (
                "Reference ID",
                format!("{:08X} ({named})", ntp.reference_id),
                vec![format!("{:08X}", ntp.reference_id), named],
            ),
            (
                "Reference time",
                ntp.reference_ns.map_or("unknown".into(), calendar),
                vec![secs(ntp.reference_ns.unwrap_or(0))],
            ),
            ("Offset", format!("{:+.9} seconds", offset as f64 * 1e-9), vec![secs(offset)]),
            ("Peer delay", exact(delay), vec![secs(delay)]),
            ("Response time", exact(ntp.held_ns), vec![secs(ntp.held_ns)]),
            ("NTP tests", tests.join(" "), tests.to_vec()),
            same("Interleaved", said(ntp.interleaved)),
            same("Authenticated", said(source.proof.is_some())),
            same("TX timestamping", stamps.into()),
            same("RX timestamping", stamps.into()),
            same("Total TX", source.sent.to_string()),
            same("Total RX", ntp.received.to_string()),
            same("Total valid RX", source.answers.to_string()),
            same("Total good RX", source.answers.to_string()),
        ];
        if manner.csv {
            let fields = lines.into_iter().flat_map(|(name, _, mut fields)| {
                // chrony knows these of each sample and we do not: the dispersion is in that of the root, no jitter's
                // asymmetry is estimated.
                if name == "Peer delay" {
                    fields.push(secs(0));
                } else if name == "Response time" {
                    fields.push("0.00".into());
                }
                fields
            });
            out.push_str(&csv(&fields.collect::<Vec<_>>()));
        } else {
            for (name, text, _) in lines {
                let _ = writeln!(out, "{name:<16}: {text}");
            }
            let trouble = source.trouble.as_deref().unwrap_or("none");
            let _ = writeln!(out, "{:<16}: {trouble}\n", "Last trouble");
        }
    }
    out
}

/// A line that is one field.
fn same(name: &'static str, text: String) -> (&'static str, String, Vec<String>) {
    (name, text.clone(), vec![text])
}

/// An address with what it is called as a reference.
fn with_id(name: &'static str, address: &str, id: String) -> (&'static str, String, Vec<String>) {
    (name, format!("{address} ({id})"), vec![address.to_owned(), id])
}

/// The tests of chrony that the newest reply has passed, as ones: of the packet (1, 2, 3), of the server (5, 6, 7), and of the
/// sample (A to D).
fn tests(rejected: Option<&str>) -> [String; 3] {
    let failed = match rejected {
        Some("duplicate") => (0, 0),
        Some("not_asked" | "late") => (0, 1),
        Some("zero_timestamp") => (0, 2),
        Some("not_authentic" | "nak") => (1, 0),
        Some("unsynchronised" | "stratum" | "kiss") => (1, 1),
        Some("root_distance") => (1, 2),
        Some("backwards" | "negative_delay") => (2, 0),
        _ => (3, 0),
    };
    let bits = |group, count| (0..count).map(|i| if (group, i) == failed { '0' } else { '1' }).collect();
    [bits(0, 3), bits(1, 3), bits(2, 4)]
}

/// One look of `waitsync`: chrony's line, and whether the clock is good enough; a limit of zero is none.
pub(crate) fn wait(snapshot: &Snapshot, attempt: u32, correction: f64, skew: f64) -> (String, bool) {
    let tracked = Tracked::of(snapshot, Manner::default());
    let (id, off, skews) = tracked.map_or((ReferenceId([0; 4]), 0.0, 0.0), |t| {
        (t.id, (t.clock.system_offset_ns as f64 * 1e-9).abs(), t.clock.rate_sigma_ppm)
    });
    let hex: String = id.0.iter().map(|byte| format!("{byte:02X}")).collect();
    let within = |value: f64, limit: f64| limit <= 0.0 || value <= limit;
    let enough = snapshot.state == "synced" && within(off, correction) && within(skews, skew);
    (format!("try: {attempt}, refid: {hex}, correction: {off:.9}, skew: {skews:.3}\n"), enough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{BoundView, EdgeView, NtpView};

    /// From what two machines showed: a receiver's, and its client. Both look perfect by their offsets.
    #[test]
    fn the_bounds_of_clockpi_and_analyticspi() {
        let micros = |ns: i64| (ns as f64 / 100.0).round() / 10.0;
        assert_eq!(micros(system_bound(2_105, 1, 15_331)), 17.4);
        assert_eq!(micros(system_bound(517, 195_510, 59_909)), 158.2);
        assert_eq!(system_bound(-517, 195_510, 59_909), system_bound(517, 195_510, 59_909));
    }

    fn snapshot() -> Snapshot {
        let edge = EdgeView {
            age_seconds: 1.0,
            half_delay_ns: 1,
            half_root_delay_ns: 0,
            root_dispersion_ns: 600,
            ageing_ns: 14_730,
        };
        let bound = BoundView { earliest_ns: -15_331, latest_ns: 15_331, low: edge.clone(), high: edge };
        let pps = SourceView {
            mode: "refclock".into(),
            address: "PPS".into(),
            verdict: "trusted".into(),
            best: true,
            stratum: Some(0),
            poll_seconds: 16.0,
            offset_ns: Some(-3_065),
            bound: Some(bound),
            ..SourceView::default()
        };
        let clock = ClockView {
            system_ns: 1_744_182_740_500_000_000,
            system_offset_ns: -2_105,
            rate_ppm: 1.916,
            rate_sigma_ppm: 0.036,
            early_ns: 15_331,
            late_ns: 15_331,
            rms_offset_ns: 1_946,
            leap: "none".into(),
            last_measurement_seconds: Some(0.0),
            ..ClockView::default()
        };
        Snapshot { state: "synced".into(), sources: vec![pps], clock: Some(clock), ..Snapshot::default() }
    }

    #[test]
    fn a_receivers_machine_is_shown_as_chrony_shows_it() {
        let out = tracking(&snapshot(), Manner::default());
        for line in [
            "Reference ID    : 50505300 (PPS)",
            "Stratum         : 1",
            "Ref time (UTC)  : Wed Apr 09 07:12:20 2025",
            "System time     : 0.000002105 seconds fast of corrected time",
            "Last offset     : +0.000003065 seconds",
            "Frequency       : 1.916 ppm slow",
            "Root delay      : 0.000000002 seconds",
            "Root dispersion : 0.000015329 seconds",
            "Leap status     : Normal",
            "System bound    : 0.000017435 seconds",
        ] {
            assert!(out.contains(line), "{line}: {out}");
        }
        let fields = tracking(&snapshot(), Manner { csv: true, ..Manner::default() });
        assert_eq!(fields.split(',').count(), 14, "{fields}");
        assert!(fields.contains(",-0.000002105,0.000003065,"), "{fields}");
        let unknown = tracking(&Snapshot::default(), Manner { csv: true, ..Manner::default() });
        assert_eq!(unknown.split(',').count(), 14, "{unknown}");
    }

    /// The number of fields, and where they stand, are those of `chronyc -c ntpdata` 4.3.
    #[test]
    fn a_servers_newest_answer_has_chronys_fields() {
        let ntp = NtpView {
            version: 4,
            poll: 10,
            precision: -24,
            local: "203.0.113.74".into(),
            reference_id: u32::from_be_bytes(*b"GPS\0"),
            reference_ns: Some(1_480_087_332_000_000_000),
            held_ns: 53_050,
            interleaved: true,
            received: 25,
            ..NtpView::default()
        };
        let source = SourceView {
            address: "203.0.113.15:123".into(),
            stratum: Some(1),
            ntp: Some(ntp),
            leap: Some("none".into()),
            stamps: Some("kernel".into()),
            sent: 24,
            answers: 24,
            ..SourceView::default()
        };
        let snapshot = Snapshot { sources: vec![source], ..Snapshot::default() };
        let shown = ntpdata(&snapshot, Manner::default());
        for line in [
            "Remote address  : 203.0.113.15 (CB00710F)",
            "Local address   : 203.0.113.74 (CB00714A)",
            "Reference ID    : 47505300 (GPS)",
            "Reference time  : Fri Nov 25 15:22:12 2016",
            "Response time   : 0.000053050 seconds",
            "NTP tests       : 111 111 1111",
            "Interleaved     : Yes",
            "Authenticated   : No",
            "Total RX        : 25",
        ] {
            assert!(shown.contains(line), "{line}: {shown}");
        }
        let fields = ntpdata(&snapshot, Manner { csv: true, ..Manner::default() });
        let fields: Vec<&str> = fields.trim_end().split(',').collect();
        assert_eq!(fields.len(), 34, "{fields:?}");
        assert_eq!(fields[15..17], ["47505300", "GPS"]);
        assert_eq!(fields[21..28], ["0.000053050", "0.00", "111", "111", "1111", "Yes", "No"]);
        assert_eq!(tests(Some("root_distance")), ["111", "110", "1111"]);
    }

    #[test]
    fn waiting_ends_when_clock_and_frequency_are_good_enough() {
        let enough = |correction, skew| wait(&snapshot(), 1, correction, skew).1;
        assert!(enough(0.0, 0.0) && enough(1e-5, 0.1));
        assert!(!enough(1e-6, 0.0) && !enough(0.0, 0.01));
        let (line, enough) = wait(&Snapshot::default(), 3, 0.0, 0.0);
        assert_eq!(
            (line.as_str(), enough),
            ("try: 3, refid: 00000000, correction: 0.000000000, skew: 0.000\n", false)
        );
    }
}
