//! The numbers of the time sources.

use super::clock::nanos;
use super::family::Family;
use crate::snapshot::SourceView;

const VERDICTS: [&str; 5] = ["trusted", "falseticker", "no majority", "unmeasured", "unselected"];

type Value = fn(&SourceView) -> Option<f64>;

const GAUGES: [(&str, &str, Value); 10] = [
    ("chronotick_source_offset_seconds", "Time by the source's newest answer minus corrected time.", |s| {
        s.offset_ns.map(nanos)
    }),
    ("chronotick_source_delay_seconds", "Round trip of the newest answer.", |s| s.delay_ns.map(nanos)),
    ("chronotick_source_root_delay_seconds", "The source's own round trip to its reference.", |s| {
        s.root_delay_ns.map(nanos)
    }),
    (
        "chronotick_source_root_dispersion_seconds",
        "The source's own dispersion, with both clocks' precision.",
        |s| s.root_dispersion_ns.map(nanos),
    ),
    ("chronotick_source_stratum", "The source's distance from a reference clock.", |s| {
        s.stratum.map(f64::from)
    }),
    ("chronotick_source_reach_ratio", "Share of the last eight polls that were answered.", |s| {
        Some(f64::from(s.reach.count_ones()) / 8.0)
    }),
    ("chronotick_source_poll_interval_seconds", "Current interval between two polls.", |s| {
        Some(s.poll_seconds)
    }),
    ("chronotick_source_answer_age_seconds", "Since the newest answer.", |s| s.last_answer_seconds),
    ("chronotick_source_trusted", "1 if the source agrees with the majority.", |s| {
        Some(f64::from(s.is_trusted()))
    }),
    ("chronotick_source_weight_ratio", "The source's weight in the consensus.", |s| {
        s.path.as_ref().map(|path| path.weight)
    }),
];

const COUNTERS: [(&str, &str, Value); 3] = [
    ("chronotick_source_polls_total", "Requests sent to the source.", |s| Some(s.sent as f64)),
    ("chronotick_source_answers_total", "Its replies that were accepted.", |s| Some(s.answers as f64)),
    ("chronotick_source_contradictions_total", "How often it contradicted its own earlier answers.", |s| {
        Some(s.contradictions as f64)
    }),
];

pub(super) fn of(sources: &[SourceView]) -> Vec<Family> {
    let mut verdicts =
        Family::gauge("chronotick_sources", "Source addresses in use, by what is thought of them.");
    for verdict in VERDICTS {
        let count = sources.iter().filter(|s| s.verdict == verdict).count();
        verdicts.add(&[("verdict", verdict)], count as f64);
    }
    let fill = |mut family: Family, value: Value| {
        for source in sources {
            let labels = [("server", source.server.as_str()), ("address", source.address.as_str())];
            family.add(&labels, value(source));
        }
        family
    };
    let gauges = GAUGES.iter().map(|&(name, help, value)| fill(Family::gauge(name, help), value));
    let counters = COUNTERS.iter().map(|&(name, help, value)| fill(Family::counter(name, help), value));
    [verdicts].into_iter().chain(gauges).chain(counters).collect()
}
