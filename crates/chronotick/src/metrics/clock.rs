//! The numbers of the clock and of the daemon.

use super::family::Family;
use super::{models, server, sources};
use crate::door::Door;
use crate::snapshot::{PredictionsView, Snapshot, Traffic};
use chronotick_clock::{Reading, Span, State, raw_now};
use std::collections::BTreeMap;

const STATES: [State; 5] = [State::Warmup, State::Synced, State::Holdover, State::Unsynced, State::Error];

/// What the clock page and the newest status say now.
pub(super) fn of(door: &Door) -> Vec<Family> {
    let (reading, pair) = door.now_and_system();
    let known = Some(reading).filter(Reading::is_known);
    let offset = known.map(|r| seconds(r.offset_of(pair.system).correction()));
    let mut families = vec![
        state(reading.state),
        Family::gauge("chronotick_system_offset_seconds", "True time minus the system clock.").is(offset),
        Family::gauge(
            "chronotick_publication_age_seconds",
            "Since the daemon last published on the clock page.",
        )
        .is(seconds(door.clock.page_status().age)),
    ];
    families.extend(uncertainty(known.as_ref()));
    if let Ok(snapshot) = door.snapshot() {
        families.extend(daemon(&snapshot));
        families.extend(frequency(&snapshot));
        families.extend(traffic(&snapshot.traffic));
        families.extend(predictions(&snapshot.predictions));
        families.extend(sources::of(&snapshot.sources));
        families.extend(snapshot.server.iter().flat_map(server::of));
        families.extend(models::of(&snapshot.models));
    }
    families
}

/// Events since the start, by kind.
pub fn events(happened: &BTreeMap<String, u64>) -> Family {
    let mut family = Family::counter("chronotick_events_total", "Events since the daemon's start, by kind.");
    for kind in ["state", "verdict", "source_step", "majority", "disruption", "system_step"] {
        family.add(&[("kind", kind)], happened.get(kind).copied().unwrap_or(0) as f64);
    }
    family
}

pub(super) fn seconds(span: Span) -> f64 {
    nanos(span.as_nanos())
}

/// Division rounds correctly where multiplying by 1e-9 would not.
pub(super) fn nanos(ns: i64) -> f64 {
    ns as f64 / 1e9
}

fn state(now: State) -> Family {
    let help = "1 for the state that corrected time is in, 0 for the others.";
    let mut family = Family::gauge("chronotick_state", help);
    for state in STATES {
        family.add(&[("state", state.name())], f64::from(state == now));
    }
    family
}

fn uncertainty(known: Option<&Reading>) -> Vec<Family> {
    let bound =
        "How far true time can be from the estimate, to each side, unless half of the sources or more lie.";
    let narrow = "The same, where the assumption of the narrow bound holds.";
    let level = "Half-width of the calibrated interval that holds true time in this share of readings.";
    let worst = "The further side of the bound.";
    let sigma = "Standard deviation of the calibrated interval.";
    let side = |family: Family, early: Option<Span>, late: Option<Span>| {
        let early = family.at(&[("side", "early")], early.map(seconds));
        early.at(&[("side", "late")], late.map(seconds))
    };
    let of = |f: &dyn Fn(&Reading) -> Span| known.map(f);
    let kept = known.and_then(|r| Some((r.estimate, r.narrow?)));
    let mut interval = Family::gauge("chronotick_interval_seconds", level);
    for (name, level) in [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99)] {
        interval.add(&[("level", name)], known.map(|r| seconds(r.interval(level))));
    }
    vec![
        side(
            Family::gauge("chronotick_bound_seconds", bound),
            of(&|r| r.estimate - r.earliest),
            of(&|r| r.latest - r.estimate),
        ),
        Family::gauge("chronotick_max_error_seconds", worst).is(known.map(|r| seconds(r.max_error()))),
        side(
            Family::gauge("chronotick_narrow_bound_seconds", narrow),
            kept.map(|(estimate, narrow)| estimate - narrow.earliest),
            kept.map(|(estimate, narrow)| narrow.latest - estimate),
        ),
        Family::gauge("chronotick_sigma_seconds", sigma).is(known.map(|r| seconds(r.sigma))),
        interval,
    ]
}

fn daemon(snapshot: &Snapshot) -> Vec<Family> {
    let memory = Some(snapshot.memory_bytes as f64).filter(|bytes| *bytes > 0.0);
    let simulated =
        "1 if the machine clock and the servers are simulated: then nothing here is about real time.";
    vec![
        Family::gauge("chronotick_build_info", "The running version, as a label.")
            .at(&[("version", &snapshot.version)], 1.0),
        Family::gauge("chronotick_simulation", simulated).is(f64::from(snapshot.simulation)),
        Family::gauge("chronotick_uptime_seconds", "Since the daemon's start.").is(snapshot.uptime_seconds),
        Family::gauge("chronotick_warmup_ratio", "Share of the warm-up that has passed.")
            .is(snapshot.warmup_progress),
        Family::gauge("chronotick_status_age_seconds", "Since the status behind these numbers was made.")
            .is(seconds(snapshot.age(raw_now()))),
        Family::gauge(
            "chronotick_temperature_celsius",
            "Temperature of the machine near its oscillator, as its sensors have it.",
        )
        .is(snapshot.temperature_celsius),
        Family::gauge("process_resident_memory_bytes", "Resident memory of the daemon.").is(memory),
    ]
}

fn frequency(snapshot: &Snapshot) -> Vec<Family> {
    let clock = snapshot.clock.as_ref();
    let rate = "How much faster true time runs than the raw clock, as a share; 1e-6 is 1 ppm.";
    let growth = "How fast the bound grows without measurements, as a share.";
    let rms = "Root mean square of what trusted sources differ from corrected time.";
    let leap = "1 if this kind of leap second is announced.";
    let ppm = |ppm: f64| ppm / 1e6;
    let announced = |kind: &str| clock.map(|c| f64::from(c.leap == kind));
    vec![
        Family::gauge("chronotick_frequency_ratio", rate).is(clock.map(|c| ppm(c.rate_ppm))),
        Family::gauge("chronotick_frequency_sigma_ratio", "Standard deviation of the frequency.")
            .is(clock.map(|c| ppm(c.rate_sigma_ppm))),
        Family::gauge("chronotick_bound_growth_ratio", growth).is(clock.map(|c| ppm(c.bound_growth_ppm))),
        Family::gauge("chronotick_rms_offset_seconds", rms).is(clock.map(|c| nanos(c.rms_offset_ns))),
        Family::gauge("chronotick_measurement_age_seconds", "Since the newest measurement that counted.")
            .is(clock.and_then(|c| c.last_measurement_seconds)),
        Family::gauge("chronotick_leap_pending", leap)
            .at(&[("kind", "insert")], announced("insert"))
            .at(&[("kind", "delete")], announced("delete")),
    ]
}

fn predictions(found: &PredictionsView) -> [Family; 2] {
    let counted = "Measurements that were foretold before they came.";
    let covered = "Those of them that were inside the calibrated interval of this level, widened by the noise of their path.";
    let levels = [
        ("0.5", found.covered_50),
        ("0.9", found.covered_90),
        ("0.95", found.covered_95),
        ("0.99", found.covered_99),
    ];
    let mut family = Family::counter("chronotick_predictions_covered_total", covered);
    for (level, count) in levels {
        family.add(&[("level", level)], count as f64);
    }
    [Family::counter("chronotick_predictions_total", counted).is(found.counted as f64), family]
}

fn traffic(traffic: &Traffic) -> Vec<Family> {
    let compared = "Measurements that could tell corrected time and the system clock apart.";
    let worse = "Those of them to which the system clock was nearer: where corrected time did harm.";
    let counted = [
        ("chronotick_polls_total", "Requests sent to time sources.", traffic.polls),
        ("chronotick_answers_total", "Replies that passed every check.", traffic.answers),
        (
            "chronotick_trusted_measurements_total",
            "Measurements that went into the estimate.",
            traffic.trusted,
        ),
        ("chronotick_publications_total", "Solutions published on the clock page.", traffic.published),
        ("chronotick_comparisons_total", compared, traffic.compared),
        ("chronotick_worse_comparisons_total", worse, traffic.worse),
    ];
    counted.map(|(name, help, count)| Family::counter(name, help).is(count as f64)).into()
}
