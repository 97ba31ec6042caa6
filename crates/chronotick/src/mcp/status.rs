//! The answer of `get_daemon_status`: from the status snapshot, judged by the clock page, which alone can tell that
//! the daemon is dead.

use super::arguments::printable;
use super::time::seconds;
use crate::door::{Door, Nobody};
use crate::snapshot::{ModelView, Snapshot};
use crate::watch::clean;
use chronotick_clock::{Clock, Reason, Span, State, raw_now};
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
            reason: view.reason.as_deref().map(|why| because(&view.model, why)),
            standing: printable(&view.standing),
            weight: view.weight,
            skill: telling.map(|h| h.skill),
            skill_horizon_seconds: telling.map(|h| h.horizon_seconds),
            last_inference_seconds: view.last_inference_seconds,
        };
        (printable(&view.member), forecaster)
    }
}

/// Why a forecaster is as it is. An endpoint's own words come from the network; the others are the program's.
pub(super) fn because(model: &str, reason: &str) -> String {
    if model.contains("://") { printable(reason) } else { clean(reason) }
}

/// The word of `daemon_status` and `status`: what earlier systems called ready is called synced in every other place.
pub(super) fn daemon_status(state: State) -> &'static str {
    if state == State::Synced { "ready" } else { state.name() }
}

impl Status {
    pub(super) fn read(door: &Door, average_latency_ms: f64) -> Status {
        let reading = door.clock.now_checked();
        let (state, reason) = (reading.state, reading.reason);
        let (alive, silent) = match door.nobody() {
            None => life(&door.clock),
            Some(Nobody { left }) => left.as_ref().map_or((false, None), life),
        };
        let (snapshot, failure) = match door.snapshot() {
            Ok(snapshot) => (Some(snapshot), None),
            Err(e) => (None, Some(e.to_string())),
        };
        let known = snapshot.as_deref();
        Status {
            status: daemon_status(state),
            alive,
            summary: match door.nobody() {
                None => summary(state, reason, alive, silent),
                Some(_) => own_summary(state, reason, alive, silent),
            },
            state: state.name(),
            reason: reason.to_string(),
            warmup_progress: known.map(|s| s.warmup_progress),
            warmup_remaining_seconds: known.map(|s| s.warmup_seconds * (1.0 - s.warmup_progress)),
            total_corrections: known.map(|s| s.traffic.published),
            success_rate: known.filter(|s| s.traffic.polls > 0).map(Snapshot::success_rate),
            average_latency_ms,
            memory_usage_mb: known.filter(|s| s.memory_bytes > 0).map(|s| s.memory_bytes as f64 / 1e6),
            uptime_seconds: known.map(|s| s.uptime_seconds),
            sources_trusted: known.map(|s| s.sources.iter().filter(|x| x.is_trusted()).count()),
            sources_total: known.map(|s| s.sources.len()),
            models: known.map(|s| s.models.iter().map(Forecaster::of).collect()),
            last_error: failure.or_else(|| known.and_then(trouble)),
            silent_seconds: silent,
            snapshot_age_seconds: known.and_then(|s| age(reason, s.age(raw_now()))),
            version: known.map(|s| printable(&s.version)),
            simulation: known.map(|s| s.simulation),
        }
    }
}

/// A span by raw instants, which those of another boot cannot be compared with.
fn age(reason: Reason, span: Span) -> Option<f64> {
    (reason != Reason::Rebooted).then(|| seconds(span.max(Span::ZERO)))
}

/// Whether a daemon publishes on this page, and for how long none has.
fn life(clock: &Clock) -> (bool, Option<f64>) {
    let (reason, page) = (clock.now_checked().reason, clock.page_status());
    let silent = age(reason, page.age);
    (silent.is_some() && page.age < DEAD_AFTER && reason != Reason::Stopped, silent)
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

/// The same where this process measures because no daemon did when it began.
fn own_summary(state: State, reason: Reason, alive: bool, silent: Option<f64>) -> String {
    let (daemon, mend) = match (alive, silent) {
        (true, _) => ("A daemon is running by now".into(), "start this one again to ask the daemon"),
        (false, Some(silent)) => {
            (format!("The daemon has been silent for {silent:.0} s"), "start it with `chronotick run`")
        }
        (false, None) => ("No daemon is running".into(), "start one with `chronotick run`"),
    };
    format!("{daemon}: this process measures by itself and is {state}: {reason}; {mend}.")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use chronotick_clock::{Solution, Writer};

    #[test]
    fn what_the_program_says_of_a_model_is_left_as_it_is() {
        let own = format!("it is not in {}; `chronotick models pull o/n` brings it", "/a/cache".repeat(20));
        assert_eq!(because("chronos", &own), own);
        let foreign = because("https://m.example/f", "it said \u{202e}`rm`");
        assert_eq!((foreign.as_str(), because("chronos", "a\nb").as_str()), ("it said ??rm?", "a\\u{a}b"));
    }

    #[test]
    fn an_engine_of_its_own_is_no_daemon() {
        let page = |age: i64| {
            let mut writer = Writer::in_memory().expect("there is memory");
            let at = raw_now() - Span::from_secs(age);
            writer.publish(&Solution::unknown(at, State::Warmup, Reason::NoMeasurement));
            writer
        };
        let (own, left, fresh) = (page(0), page(300), page(0));
        let status = |left: Option<&Writer>| {
            let door = Door::within(Clock::of(&own), Feed::default());
            Status::read(&door.for_want_of_a_daemon(left.map(Clock::of)), 0.0)
        };
        let (none, dead, later) = (status(None), status(Some(&left)), status(Some(&fresh)));
        assert_eq!((none.alive, none.silent_seconds), (false, None));
        assert!(none.summary.starts_with("No daemon is running: this process"), "{}", none.summary);
        assert!(!dead.alive && dead.silent_seconds >= Some(300.0));
        assert!(dead.summary.starts_with("The daemon has been silent for 30"), "{}", dead.summary);
        assert!(
            later.alive && later.summary.contains("this process measures by itself"),
            "{}",
            later.summary
        );
    }
}
