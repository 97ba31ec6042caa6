//! The answers of `get_time`, `get_time_with_future_uncertainty` and `get_time_with_confidence_interval`. The comment of a
//! field is its description in the tool's schema; `docs/mcp.md` defines each number.

use super::arguments::Mend;
use super::status::{Status, daemon_status};
use super::zones::Local;
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Reading, Reason, Solution, Span, State, Timestamp};
use chronotick_core::Basis;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;

/// What `confidence` is the probability of: that corrected time is within this of true time. The original accepted no
/// measurement that was less certain.
const CONFIDENCE_LIMIT: Span = Span::from_millis(10);

/// Corrected time now.
#[derive(Serialize, JsonSchema)]
pub(super) struct Time {
    /// RFC 3339, UTC
    time: String,
    /// whether to rely on it, within its uncertainty
    trustworthy: bool,
    /// what to do
    advice: String,
    /// best estimate, s since 1970 UTC
    corrected_time: f64,
    /// the host's own clock
    system_time: f64,
    /// true - system, s; positive: the system clock is behind
    offset_correction: Option<f64>,
    /// s/s that true time gains on the host's raw clock
    drift_rate: Option<f64>,
    // standard deviation of the correction when last published, s
    offset_uncertainty: Option<f64>,
    // standard deviation of drift_rate, s/s
    drift_uncertainty: Option<f64>,
    /// standard deviation, s; 95 % of errors are within 1.96 of it
    time_uncertainty: Option<f64>,
    /// probability that it is within confidence_limit_seconds of true time
    confidence: f64,
    confidence_limit_seconds: f64,
    source: Source,
    // ready (= synced), or the state
    daemon_status: &'static str,
    /// warmup, synced, holdover, unsynced, error
    state: &'static str,
    // why the state is what it is
    reason: String,
    corrected_time_ns: String,
    system_time_ns: String,
    /// bound: holds unless half of the sources or more lie
    earliest_ns: Option<String>,
    latest_ns: Option<String>,
    /// a bound that holds if narrow_assumes does
    narrow_earliest_ns: Option<String>,
    narrow_latest_ns: Option<String>,
    // what the narrow bound takes for granted; null where there is none
    narrow_assumes: Option<String>,
    /// by the bound
    max_error_seconds: Option<f64>,
    /// true: this is not real time
    simulation: Option<bool>,
}

/// bank: statistical engine; short_term, long_term, fusion: with models; holdover: without measurements; system: nothing known
#[derive(Serialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Source {
    Ntp,
    Bank,
    ShortTerm,
    LongTerm,
    Fusion,
    Holdover,
    System,
}

impl From<Basis> for Source {
    fn from(basis: Basis) -> Source {
        match basis {
            Basis::Ntp => Source::Ntp,
            Basis::Bank => Source::Bank,
            Basis::ShortTerm => Source::ShortTerm,
            Basis::LongTerm => Source::LongTerm,
            Basis::Fusion => Source::Fusion,
            Basis::Holdover => Source::Holdover,
            Basis::System => Source::System,
        }
    }
}

/// The answer of `get_time`.
#[derive(Serialize, JsonSchema)]
pub(super) struct WithStats {
    #[serde(flatten)]
    time: Time,
    #[serde(flatten)]
    local: Option<Local>,
    /// the answer of get_daemon_status
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    detailed_stats: Option<Status>,
}

impl WithStats {
    pub(super) fn read(door: &Door, zone: Option<&TimeZone>, detailed_stats: Option<Status>) -> WithStats {
        let present = Present::read(door);
        let corrected = present.reading(Span::ZERO).map_or(present.pair.system, |r| r.estimate);
        let local = zone.and_then(|zone| Local::of(corrected, zone));
        WithStats { time: Time::of(&present, door), local, detailed_stats }
    }
}

/// The answer of `get_time_with_future_uncertainty`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Future {
    future_seconds: f64,
    projected_time: f64,
    projected_uncertainty: Option<f64>,
    /// confidence then / confidence now
    confidence_decay: Option<f64>,
    projected_confidence: f64,
    projected_time_ns: String,
    projected_earliest_ns: Option<String>,
    projected_latest_ns: Option<String>,
    projected_max_error_seconds: Option<f64>,
    #[serde(flatten)]
    now: Time,
}

/// The calibrated interval at one level.
#[derive(Serialize, JsonSchema)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
    range: f64,
    /// true - system at either end, s
    offset_lower: f64,
    offset_upper: f64,
    lower_ns: String,
    upper_ns: String,
}

/// The answer of `get_time_with_confidence_interval`.
#[derive(Serialize, JsonSchema)]
pub(super) struct WithInterval {
    confidence_level: f64,
    /// true time is inside with that probability; null where nothing stands behind it
    confidence_interval: Option<Interval>,
    /// how far the level is backed by measurements
    note: &'static str,
    #[serde(flatten)]
    now: Time,
    /// the answer of get_daemon_status
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    detailed_stats: Option<Status>,
}

/// The clocks of one instant, and the line that corrected time is read from.
pub(super) struct Present {
    pub(super) pair: ClockPair,
    solution: Solution,
    pub(super) state: State,
    pub(super) reason: Reason,
    pub(super) known: bool,
}

impl Present {
    pub(super) fn read(door: &Door) -> Present {
        let pair = ClockPair::now();
        let solution = door.clock.solution();
        // After a suspend that the daemon has not noticed only this one knows.
        let checked = door.clock.now_checked();
        let known = checked.is_known() && solution.reading(pair.raw).is_known();
        Present { pair, solution, state: checked.state, reason: checked.reason, known }
    }

    /// What is known now of the instant `ahead` from now; the state is the present one, which waiting does not mend.
    pub(super) fn reading(&self, ahead: Span) -> Option<Reading> {
        let reading = self.solution.reading(self.pair.raw + ahead);
        // The two clocks were read within this of each other, anywhere within being as likely.
        let slack = self.pair.slack;
        let sigma = (reading.sigma.as_nanos() as f64).hypot(slack.as_nanos() as f64 / 3f64.sqrt());
        self.known.then(|| Reading {
            sigma: Span::from_nanos(sigma.ceil() as i64),
            state: self.state,
            reason: self.reason,
            ..reading.blurred(slack)
        })
    }

    /// Why there is no corrected time, for those who can do nothing without it.
    pub(super) fn unknown(&self) -> Mend {
        Mend::Refused(format!(
            "corrected time is not known: {}; {}",
            self.reason,
            mend(self.state, self.reason)
        ))
    }
}

impl Time {
    fn of(present: &Present, door: &Door) -> Time {
        let Present { pair, solution, state, reason, known } = *present;
        let reading = present.reading(Span::ZERO);
        let narrow = reading.and_then(|r| r.narrow);
        let corrected = reading.map_or(pair.system, |r| r.estimate);
        let simulation = door.snapshot().ok().map(|snapshot| snapshot.simulation);
        let trustworthy =
            known && matches!(state, State::Synced | State::Holdover) && simulation != Some(true);
        Time {
            time: rfc3339(corrected),
            trustworthy,
            advice: advice(state, reason, reading.as_ref(), simulation),
            corrected_time: since_1970(corrected),
            system_time: since_1970(pair.system),
            offset_correction: reading.map(|r| seconds(r.offset_of(pair.system).correction())),
            drift_rate: known.then(|| solution.rate.as_f64()),
            offset_uncertainty: known.then(|| seconds(solution.variance.sigma(Span::ZERO))),
            drift_uncertainty: known.then(|| solution.variance.0[2].sqrt() * 1e-9),
            time_uncertainty: reading.map(|r| seconds(r.sigma)),
            confidence: reading.map_or(0.0, |r| r.confidence_within(CONFIDENCE_LIMIT)),
            confidence_limit_seconds: seconds(CONFIDENCE_LIMIT),
            source: door.basis(state, reason, known).into(),
            daemon_status: daemon_status(state),
            state: state.name(),
            reason: reason.to_string(),
            corrected_time_ns: corrected.as_nanos().to_string(),
            system_time_ns: pair.system.as_nanos().to_string(),
            earliest_ns: reading.map(|r| r.earliest.as_nanos().to_string()),
            latest_ns: reading.map(|r| r.latest.as_nanos().to_string()),
            narrow_earliest_ns: narrow.map(|n| n.earliest.as_nanos().to_string()),
            narrow_latest_ns: narrow.map(|n| n.latest.as_nanos().to_string()),
            narrow_assumes: narrow.map(|n| n.assumes.to_string()),
            max_error_seconds: reading.map(|r| seconds(r.max_error())),
            simulation,
        }
    }
}

impl Future {
    pub(super) fn read(door: &Door, ahead: Span) -> Future {
        let present = Present::read(door);
        let then = present.reading(ahead);
        let now = Time::of(&present, door);
        let projected = then.map_or(present.pair.system + ahead, |r| r.estimate);
        let projected_confidence = then.map_or(0.0, |r| r.confidence_within(CONFIDENCE_LIMIT));
        Future {
            future_seconds: seconds(ahead),
            projected_time: since_1970(projected),
            projected_uncertainty: then.map(|r| seconds(r.sigma)),
            confidence_decay: (now.confidence > 0.0).then(|| projected_confidence / now.confidence),
            projected_confidence,
            projected_time_ns: projected.as_nanos().to_string(),
            projected_earliest_ns: then.map(|r| r.earliest.as_nanos().to_string()),
            projected_latest_ns: then.map(|r| r.latest.as_nanos().to_string()),
            projected_max_error_seconds: then.map(|r| seconds(r.max_error())),
            now,
        }
    }
}

impl WithInterval {
    pub(super) fn read(door: &Door, level: f64, detailed_stats: Option<Status>) -> WithInterval {
        let present = Present::read(door);
        let backed = matches!(present.state, State::Synced | State::Holdover);
        let interval = present.reading(Span::ZERO).filter(|_| backed).map(|reading| {
            let half = reading.interval(level);
            let (lower, upper) = (reading.estimate - half, reading.estimate + half);
            let offset = |at: Timestamp| seconds(at - present.pair.system);
            Interval {
                lower_bound: since_1970(lower),
                upper_bound: since_1970(upper),
                range: seconds(upper - lower),
                offset_lower: offset(lower),
                offset_upper: offset(upper),
                lower_ns: lower.as_nanos().to_string(),
                upper_ns: upper.as_nanos().to_string(),
            }
        });
        let note = match (&interval, level) {
            (None, _) => "nothing stands behind an interval in this state",
            (_, 0.0..=0.99) => "calibrated: the share of answers that hold truth is measured",
            _ => "beyond 0.99 nothing is measured: a heavy tail is assumed",
        };
        let now = Time::of(&present, door);
        WithInterval { confidence_level: level, confidence_interval: interval, note, now, detailed_stats }
    }
}

/// One sentence that an agent can act on without knowing anything about clocks.
fn advice(state: State, reason: Reason, reading: Option<&Reading>, simulation: Option<bool>) -> String {
    if simulation == Some(true) {
        return "Do not use this as real time: the clock and its servers are simulated.".into();
    }
    let Some(reading) = reading else {
        let mend = mend(state, reason);
        return format!("Do not rely on this: {reason}, so it is the system clock unchecked; {mend}.");
    };
    let error = reading.max_error();
    match state {
        State::Synced if reason == Reason::SingleSource => {
            format!(
                "Rely on it to within {error} if you trust the one source there is: nothing could contradict it."
            )
        }
        State::Synced => format!("Rely on it: true time is within {error} of corrected_time."),
        State::Holdover => {
            format!("Rely on it to within {error}, and ask again before long: {reason}, and the bound grows.")
        }
        _ => format!("Do not rely on this: {reason}; {}.", mend(state, reason)),
    }
}

/// What would help where corrected time cannot be relied on.
fn mend(state: State, reason: Reason) -> &'static str {
    match (state, reason) {
        (State::Warmup, _) => "ask again in a few seconds",
        (_, Reason::PublisherDead | Reason::PublisherSilent | Reason::Stopped | Reason::Rebooted) => {
            "start the daemon with `chronotick run`"
        }
        (_, Reason::Suspended | Reason::Disrupted) => "ask again in a few seconds",
        _ => "get_daemon_status and `chronotick sources` say what is wrong",
    }
}

/// Division rounds correctly where multiplying by 1e-9 would make 0.00003 into 0.000030000000000000004.
pub(super) fn seconds(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e9
}

fn since_1970(instant: Timestamp) -> f64 {
    instant.as_nanos() as f64 / 1e9
}
