//! The answer of `get_daemon_status`: from the status snapshot, judged by the clock page, which alone can tell that
//! the daemon is dead.

use super::arguments::printable;
use super::time::seconds;
use crate::door::Door;
use crate::snapshot::{ModelView, Snapshot};
use chronotick_clock::{Reason, Span, State, raw_now};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A daemon publishes once a second; one that has not for this long is taken for dead.
const DEAD_AFTER: Span = Span::from_secs(5);

/// How the daemon is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Status {
    /// ready (= synced), or the state
    status: &'static str,
    // whether it publishes
    alive: bool,
    // how it is, in one sentence
    summary: String,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    // why the state is what it is
    reason: String,
    // 0-1
    warmup_progress: Option<f64>,
    warmup_remaining_seconds: Option<f64>,
    // solutions published
    total_corrections: Option<u64>,
    /// share of polls answered, 0-1
    success_rate: Option<f64>,
    // of tool calls
    average_latency_ms: f64,
    // resident memory of the daemon
    memory_usage_mb: Option<f64>,
    // when last heard of
    uptime_seconds: Option<f64>,
    // time sources that agree with the majority
    sources_trusted: Option<usize>,
    sources_total: Option<usize>,
    // who forecasts beside the statistical engine
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    models: Option<BTreeMap<String, Forecaster>>,
    // newest trouble with a source or with the daemon
    last_error: Option<String>,
    /// since the daemon last published
    silent_seconds: Option<f64>,
    // since the daemon wrote what is told here
    snapshot_age_seconds: Option<f64>,
    // of the daemon
    version: Option<String>,
    // the clock and its servers are simulated; null if not known
    simulation: Option<bool>,
}

/// One who forecasts beside the statistical engine; `docs/mcp.md` defines the fields.
#[derive(Serialize)]
struct Forecaster {
    model: Option<String>,
    state: String,
    reason: Option<String>,
    standing: String,
    weight: f64,
    skill: Option<f64>,
    skill_horizon_seconds: Option<f64>,
    last_inference_seconds: Option<f64>,
}

impl Forecaster {
    /// By the name of the member.
    fn of(view: &ModelView) -> (String, Forecaster) {
        let telling = view.telling();
        let forecaster = Forecaster {
            model: Some(printable(&view.model)).filter(|name| !name.is_empty()),
            state: printable(&view.state),
            // An endpoint's own words come from the network.
            reason: view.reason.as_deref().map(printable),
            standing: printable(&view.standing),
            weight: view.weight,
            skill: telling.map(|h| h.skill),
            skill_horizon_seconds: telling.map(|h| h.horizon_seconds),
            last_inference_seconds: view.last_inference_seconds,
        };
        (printable(&view.member), forecaster)
    }
}

/// The word of `daemon_status` and `status`: what earlier systems called ready is called synced in every other place.
pub(super) fn daemon_status(state: State) -> &'static str {
    if state == State::Synced { "ready" } else { state.name() }
}

impl Status {
    pub(super) fn read(door: &Door, average_latency_ms: f64) -> Status {
        let (reading, page) = (door.clock.now_checked(), door.clock.page_status());
        let (state, reason) = (reading.state, reading.reason);
        // Raw instants of another boot cannot be compared with ours.
        let of_this_boot = reason != Reason::Rebooted;
        let alive = of_this_boot && page.age < DEAD_AFTER && reason != Reason::Stopped;
        let age = |span: Span| of_this_boot.then(|| seconds(span.max(Span::ZERO)));
        let (snapshot, failure) = match door.snapshot() {
            Ok(snapshot) => (Some(snapshot), None),
            Err(e) => (None, Some(e.to_string())),
        };
        let known = snapshot.as_deref();
        Status {
            status: daemon_status(state),
            alive,
            summary: summary(state, reason, alive, age(page.age)),
            state: state.name(),
            reason: reason.to_string(),
            warmup_progress: known.map(|s| s.warmup_progress),
            warmup_remaining_seconds: known.map(|s| s.warmup_seconds * (1.0 - s.warmup_progress)),
            total_corrections: known.map(|s| s.traffic.published),
            success_rate: known.filter(|s| s.traffic.polls > 0).map(Snapshot::success_rate),
            average_latency_ms,
            memory_usage_mb: known.filter(|s| s.memory_bytes > 0).map(|s| s.memory_bytes as f64 / 1e6),
            uptime_seconds: known.map(|s| s.uptime_seconds),
            sources_trusted: known.map(|s| s.sources.iter().filter(|x| x.verdict == "trusted").count()),
            sources_total: known.map(|s| s.sources.len()),
            models: known.map(|s| s.models.iter().map(Forecaster::of).collect()),
            last_error: failure.or_else(|| known.and_then(trouble)),
            silent_seconds: age(page.age),
            snapshot_age_seconds: known.and_then(|s| age(s.age(raw_now()))),
            version: known.map(|s| printable(&s.version)),
            simulation: known.map(|s| s.simulation),
        }
    }
}

fn summary(state: State, reason: Reason, alive: bool, silent: Option<f64>) -> String {
    match (alive, silent) {
        (true, _) => format!("The daemon is running and {state}: {reason}."),
        (false, Some(silent)) => {
            format!(
                "The daemon has been silent for {silent:.0} s ({reason}): start it with `chronotick run`."
            )
        }
        (false, None) => format!("No daemon is running: {reason}; start one with `chronotick run`."),
    }
}

/// A name that does not resolve, or what a server last did wrong. What a server says of itself comes from the network.
fn trouble(snapshot: &Snapshot) -> Option<String> {
    let refused = snapshot
        .sources
        .iter()
        .filter_map(|source| Some(format!("{}: {}", source.address, source.trouble.as_ref()?)));
    let troubles = snapshot.unresolved.iter().cloned().chain(refused);
    troubles.map(|text| format!("\"{}\"", printable(&text))).next()
}
