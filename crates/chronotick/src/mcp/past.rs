//! `correct_timestamp`: what true time was when the system clock read so and so, with the interval that held then.

use super::arguments::Mend;
use super::time::{Present, seconds};
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{Offset, Span, State, Timestamp};
use chronotick_record::{How, NotKnown, PastOffset};
use schemars::JsonSchema;
use serde::Serialize;

/// So far back the clock page tells alone what the history does not tell yet.
const RECENT: Span = Span::from_secs(30);
/// The fastest that a time service slews the system clock, in parts per million (`adjtimex(2)`).
const SLEW_PPM: i64 = 500;

/// The answer of `correct_timestamp`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Corrected {
    // whether anything is known of that instant
    known: bool,
    /// true time then
    time: Option<String>,
    // what to make of it, in one sentence
    advice: String,
    // true time then, s since 1970 UTC
    corrected_time: Option<f64>,
    // what was asked about, s since 1970
    system_time: f64,
    // true - system then, s; positive: the system clock was behind
    offset_correction: Option<f64>,
    // standard deviation of corrected_time, s
    time_uncertainty: Option<f64>,
    // bound that held then
    earliest_ns: Option<String>,
    latest_ns: Option<String>,
    max_error_seconds: Option<f64>,
    corrected_time_ns: Option<String>,
    system_time_ns: String,
    // how long ago, by the system clock
    age_seconds: f64,
    // state of corrected time then
    state: Option<&'static str>,
    /// clock_page (the last seconds), history, or nothing
    evidence: &'static str,
}

/// What is known of a past reading of the system clock.
struct Past {
    offset: Offset,
    sigma: Span,
    early: Span,
    late: Span,
    state: State,
    advice: String,
    evidence: &'static str,
}

impl Corrected {
    pub(super) fn read(door: &Door, system: Timestamp) -> Result<Corrected, Mend> {
        let present = Present::read(door);
        let age = present.pair.system - system;
        if age < -Span::from_secs(1) {
            let (now, mend) = (rfc3339(present.pair.system), "get_time_with_future_uncertainty looks ahead");
            return Err(Mend::Refused(format!(
                "timestamp is in the future of this system clock, which reads {now}; {mend}"
            )));
        }
        let past = match door.system_offset_at(system) {
            Some(Ok(past)) => {
                let recorded = Past::recorded(&past);
                // The newest sample is seconds old; the page may know better what was since.
                let recent = Past::recent(&present, system, age)
                    .filter(|_| past.how == How::Edge && past.step.is_none());
                Ok(recent.filter(|recent| recent.max_error() < recorded.max_error()).unwrap_or(recorded))
            }
            Some(Err(why @ (NotKnown::Gap { .. } | NotKnown::SteppedOver { .. }))) => Err(why.to_string()),
            other => Past::recent(&present, system, age).ok_or_else(|| match other {
                Some(Err(why)) => why.to_string(),
                _ => "no history is kept".into(),
            }),
        };
        Ok(Corrected::of(past, system, age))
    }

    fn of(past: Result<Past, String>, system: Timestamp, age: Span) -> Corrected {
        let (past, advice) = match past {
            Ok(past) => (Some(past), String::new()),
            Err(why) => (
                None,
                format!("Nothing is known of the system clock at that time: {why}. Keep it as unverified."),
            ),
        };
        let known = past.as_ref();
        let time = known.map(|p| system + p.offset.correction());
        let secs = |at: Timestamp| seconds(at - Timestamp::from_nanos(0));
        let nanos = |at: Timestamp| at.as_nanos().to_string();
        Corrected {
            known: known.is_some(),
            time: time.map(rfc3339),
            advice: known.map_or(advice, |p| p.advice.clone()),
            corrected_time: time.map(secs),
            system_time: secs(system),
            offset_correction: known.map(|p| seconds(p.offset.correction())),
            time_uncertainty: known.map(|p| seconds(p.sigma)),
            earliest_ns: known.zip(time).map(|(p, time)| nanos(time - p.early)),
            latest_ns: known.zip(time).map(|(p, time)| nanos(time + p.late)),
            max_error_seconds: known.map(|p| seconds(p.max_error())),
            corrected_time_ns: time.map(nanos),
            system_time_ns: nanos(system),
            age_seconds: seconds(age),
            state: known.map(|p| p.state.name()),
            evidence: known.map_or("nothing", |p| p.evidence),
        }
    }
}

impl Past {
    fn max_error(&self) -> Span {
        self.early.max(self.late)
    }

    fn recorded(past: &PastOffset) -> Past {
        let mut advice =
            format!("True time was within {} of corrected_time ({}).", past.max_error(), past.how.name());
        if past.times > 1 {
            advice += &format!(
                " The clock showed that reading {} times: the interval covers all of them.",
                past.times
            );
        }
        if let Some(step) = past.step {
            advice += &format!(" It was stepped by {step} nearby.");
        }
        let PastOffset { offset, sigma, early, late, state, .. } = *past;
        Past { offset, sigma, early, late, state, advice, evidence: "history" }
    }

    /// By the page alone. The raw instant is found by the system clock, which somebody may have been slewing meanwhile.
    fn recent(present: &Present, system: Timestamp, age: Span) -> Option<Past> {
        let reading = present.reading(-age).filter(|_| age <= RECENT)?;
        let slewed = Span::from_nanos(age.abs().as_nanos() / 1_000_000 * SLEW_PPM);
        let (early, late) =
            (reading.estimate - reading.earliest + slewed, reading.latest - reading.estimate + slewed);
        let error = early.max(late);
        let advice = format!(
            "True time was within {error} of corrected_time, if the system clock was not stepped in the last {age}."
        );
        let (offset, sigma, state) = (reading.offset_of(system), reading.sigma + slewed, reading.state);
        Some(Past { offset, sigma, early, late, state, advice, evidence: "clock_page" })
    }
}
