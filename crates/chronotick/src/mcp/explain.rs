//! `explain_time`: why corrected time is what it is and no better: which sources were believed, what confines the
//! bound, and who forecasts. Names and words of servers come from the network and are made harmless.

use super::arguments::{Mend, printable};
use super::status::because;
use super::time::{Present, seconds};
use crate::door::Door;
use crate::snapshot::{BoundView, EdgeView, Snapshot, SourceView};
use chronotick_clock::Span;
use schemars::JsonSchema;
use serde::Serialize;

/// An agent needs no longer list.
const MOST_SOURCES: usize = 16;

/// The answer of `explain_time`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Explained {
    // the whole story in sentences
    explanation: Vec<String>,
    state: &'static str,
    reason: String,
    // what corrected time is made of
    source: String,
    // bound before and after corrected_time
    bound_early_seconds: Option<f64>,
    bound_late_seconds: Option<f64>,
    // standard deviation, s
    time_uncertainty: Option<f64>,
    // without measurements
    bound_growth_ppm: Option<f64>,
    // best first
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    sources: Vec<Source>,
    sources_left_out: usize,
}

/// One time source; `docs/mcp.md` defines the fields.
#[derive(Serialize)]
struct Source {
    name: String,
    address: String,
    /// trusted, falseticker, no majority, unmeasured
    verdict: String,
    confines_bound: bool,
    stratum: Option<u8>,
    offset_seconds: Option<f64>,
    delay_seconds: Option<f64>,
    earliest_seconds: Option<f64>,
    latest_seconds: Option<f64>,
    early_edge: Option<String>,
    late_edge: Option<String>,
    trouble: Option<String>,
}

impl Source {
    fn of(view: &SourceView) -> Source {
        let secs = |ns: i64| ns as f64 / 1e9;
        let bound = view.bound.as_ref();
        Source {
            name: printable(&view.server),
            address: printable(&view.address),
            verdict: printable(&view.verdict),
            confines_bound: view.best,
            stratum: view.stratum,
            offset_seconds: view.offset_ns.map(secs),
            delay_seconds: view.delay_ns.map(secs),
            earliest_seconds: bound.map(|b| secs(b.earliest_ns)),
            latest_seconds: bound.map(|b| secs(b.latest_ns)),
            early_edge: bound.map(|b| terms(&b.low)),
            late_edge: bound.map(|b| terms(&b.high)),
            trouble: view.trouble.as_deref().map(printable),
        }
    }
}

fn terms(edge: &EdgeView) -> String {
    let span = |ns: i64| Span::from_nanos(ns).to_string();
    format!(
        "half the round trip {} + half its root delay {} + dispersion {} + ageing {} (measured {:.0} s ago)",
        span(edge.half_delay_ns),
        span(edge.half_root_delay_ns),
        span(edge.root_dispersion_ns),
        span(edge.ageing_ns),
        edge.age_seconds
    )
}

impl Explained {
    pub(super) fn read(door: &Door) -> Result<Explained, Mend> {
        let snapshot = door
            .snapshot()
            .map_err(|e| Mend::Refused(format!("{e}; start a daemon with `chronotick run`")))?;
        let present = Present::read(door);
        let reading = present.reading(Span::ZERO);
        let (early, late) =
            (reading.map(|r| r.estimate - r.earliest), reading.map(|r| r.latest - r.estimate));
        let mut views: Vec<&SourceView> = snapshot.sources.iter().collect();
        let rank =
            |s: &SourceView| (!s.best, !s.is_trusted(), s.bound.as_ref().map_or(i64::MAX, BoundView::width));
        views.sort_by_key(|s| rank(s));
        let basis = door.basis(present.state, present.reason, present.known).name();
        let mut explanation = vec![format!("State {}: {}.", present.state, present.reason)];
        if let (Some(reading), Some(early), Some(late)) = (reading, early, late) {
            explanation.push(format!(
                "True time is between {early} before and {late} after corrected_time, unless half of the sources or more lie; in 95 of \
                 100 answers it is within {}.",
                reading.interval(0.95)
            ));
        }
        explanation.extend(selection(&snapshot));
        explanation.extend(confining(&views));
        explanation.extend(growth(&snapshot));
        explanation.push(format!("Corrected time is made by: {basis}."));
        explanation.extend(forecasters(&snapshot));
        explanation.extend(snapshot.simulation.then(|| "All of this is a simulation, not real time.".into()));
        Ok(Explained {
            explanation,
            state: present.state.name(),
            reason: present.reason.to_string(),
            source: basis.to_owned(),
            bound_early_seconds: early.map(seconds),
            bound_late_seconds: late.map(seconds),
            time_uncertainty: reading.map(|r| seconds(r.sigma)),
            bound_growth_ppm: snapshot.clock.as_ref().map(|clock| clock.bound_growth_ppm),
            sources_left_out: views.len().saturating_sub(MOST_SOURCES),
            sources: views.into_iter().take(MOST_SOURCES).map(Source::of).collect(),
        })
    }
}

impl BoundView {
    fn width(&self) -> i64 {
        self.latest_ns.saturating_sub(self.earliest_ns)
    }
}

fn selection(snapshot: &Snapshot) -> Option<String> {
    let measured = snapshot.sources.iter().filter(|s| s.bound.is_some()).count();
    let count = |verdict: &str| snapshot.sources.iter().filter(|s| s.verdict == verdict).count();
    let (trusted, liars) = (count("trusted"), count("falseticker"));
    (measured > 0).then(|| {
        format!(
            "Of {} sources {measured} are measured, {trusted} trusted and {liars} called falsetickers; the bound spans every instant that \
             at least {} of the measured ones allow. {}",
            snapshot.sources.len(),
            measured / 2 + 1,
            snapshot.bound_then().unwrap_or_default()
        )
    })
}

fn confining(views: &[&SourceView]) -> Option<String> {
    let best = views.first().filter(|s| s.best)?;
    let bound = best.bound.as_ref()?;
    Some(format!(
        "{} confines the bound most: early edge {}; late edge {}.",
        printable(&best.server),
        terms(&bound.low),
        terms(&bound.high)
    ))
}

fn growth(snapshot: &Snapshot) -> Option<String> {
    let clock = snapshot.clock.as_ref()?;
    let last =
        clock.last_measurement_seconds.map_or(String::new(), |s| format!("; the newest is {s:.0} s old"));
    Some(format!(
        "Without measurements both sides grow by {:.1} ppm, of which 4 x {:.3} ppm are for the estimated rate{last}.",
        clock.bound_growth_ppm, clock.rate_sigma_ppm
    ))
}

fn forecasters(snapshot: &Snapshot) -> Vec<String> {
    let line = |model: &crate::snapshot::ModelView| {
        let name = printable(&model.member);
        match model.weight > 0.0 {
            true => format!("{name} has a weight of {:.2}: {}.", model.weight, printable(&model.standing)),
            false => {
                let why = model.reason.as_deref().map(|why| because(&model.model, why));
                let why = why.unwrap_or_else(|| printable(&model.standing));
                format!("{name} has no weight: {why}.")
            }
        }
    };
    snapshot.models.iter().filter(|model| model.state != "off").map(line).collect()
}
