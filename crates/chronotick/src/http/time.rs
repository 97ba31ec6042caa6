//! `/v1/time`: corrected time from the clock page.

use super::Shared;
use crate::utc::rfc3339;
use axum::Json;
use axum::extract::State;
use chronotick_clock::{ClockPair, Reading, Span, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

/// Corrected time now, and how wrong it may be. Instants are decimal strings of ns since 1970 UTC, beside them RFC 3339;
/// spans are ns. What is not known is null.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Time {
    /// the best estimate of true time (RFC 3339, UTC)
    time: Option<String>,
    estimate_ns: Option<String>,
    /// bound: true time is not before this, unless half of the sources or more lie
    earliest: Option<String>,
    earliest_ns: Option<String>,
    /// bound: true time is not after this
    latest: Option<String>,
    latest_ns: Option<String>,
    /// the further of both from the estimate
    max_error_ns: Option<i64>,
    /// a bound that is as certain as its assumption
    narrow: Option<Narrow>,
    /// standard deviation of the calibrated interval
    sigma_ns: Option<i64>,
    /// half-widths of the calibrated interval around the estimate, by the share of readings that contain true time
    intervals_ns: Option<Intervals>,
    /// the system clock at the same instant (RFC 3339, UTC)
    system_time: String,
    system_time_ns: String,
    /// true time - system clock; positive: the system clock is behind
    system_offset_ns: Option<i64>,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    /// why the state is what it is
    reason: String,
    /// what the estimate is made of: ntp, bank, short_term, long_term, fusion, holdover, system
    source: &'static str,
    /// the clock and its servers are simulated, this is not real time; null if not known
    simulation: Option<bool>,
}

/// A bound and what it takes for granted.
#[derive(Debug, Serialize, JsonSchema)]
struct Narrow {
    earliest: String,
    earliest_ns: String,
    latest: String,
    latest_ns: String,
    /// what must hold
    assumes: String,
}

/// Half-widths in ns.
#[derive(Debug, Serialize, JsonSchema)]
struct Intervals {
    #[serde(rename = "50")]
    half: i64,
    #[serde(rename = "90")]
    ninety: i64,
    #[serde(rename = "95")]
    ninety_five: i64,
    #[serde(rename = "99")]
    ninety_nine: i64,
}

fn number(instant: Timestamp) -> String {
    instant.as_nanos().to_string()
}

fn furthest(reading: &Reading) -> i64 {
    reading.max_error().as_nanos()
}

pub(super) async fn time(State(served): State<Shared>) -> Json<Time> {
    let door = &served.subject.door;
    let (reading, ClockPair { system, .. }) = door.now_and_system();
    let known = Some(reading).filter(Reading::is_known);
    let words = |of: fn(&Reading) -> Timestamp| known.as_ref().map(|r| rfc3339(of(r)));
    let digits = |of: fn(&Reading) -> Timestamp| known.as_ref().map(|r| number(of(r)));
    let span = |span: Span| span.as_nanos();
    let narrow = known.and_then(|r| r.narrow).map(|n| Narrow {
        earliest: rfc3339(n.earliest),
        earliest_ns: number(n.earliest),
        latest: rfc3339(n.latest),
        latest_ns: number(n.latest),
        assumes: n.assumes.to_string(),
    });
    Json(Time {
        time: words(|r| r.estimate),
        estimate_ns: digits(|r| r.estimate),
        earliest: words(|r| r.earliest),
        earliest_ns: digits(|r| r.earliest),
        latest: words(|r| r.latest),
        latest_ns: digits(|r| r.latest),
        max_error_ns: known.as_ref().map(furthest),
        narrow,
        sigma_ns: known.map(|r| span(r.sigma)),
        intervals_ns: known.map(|r| Intervals {
            half: span(r.interval(0.5)),
            ninety: span(r.interval(0.9)),
            ninety_five: span(r.interval(0.95)),
            ninety_nine: span(r.interval(0.99)),
        }),
        system_time: rfc3339(system),
        system_time_ns: number(system),
        system_offset_ns: known.map(|r| span(r.offset_of(system).correction())),
        state: reading.state.name(),
        reason: reading.reason.to_string(),
        source: door.basis(reading.state, reading.reason, known.is_some()).name(),
        simulation: door.snapshot().ok().map(|snapshot| snapshot.simulation),
    })
}
