//! `compare_times`: which of two events came first, as far as their uncertainties tell, and what lay between them.

use super::arguments::{AN_INSTANT, Arguments, Mend, instant, wrong};
use super::time::{Present, seconds};
use crate::door::Door;
use crate::utc::rfc3339;
use chronotick_clock::{Levels, Order, Reading, Reason, Span, State, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Where there are no bounds, an order must be at least this probable: further out no calibration has measured.
const DECISIVE: f64 = 0.99;

const AN_EVENT: &str = "\"now\", an instant (RFC 3339 with an offset, seconds since 1970, or nanoseconds as text), or an object: \
    the answer of get_time, or {\"time\": …, \"time_uncertainty\": σ in s, \"earliest_ns\": …, \"latest_ns\": …}";

/// One of the two events.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Now,
    Known {
        estimate: Timestamp,
        sigma: Option<Span>,
        bound: Option<(Timestamp, Timestamp)>,
        /// Whether the answer that it comes from stood behind its numbers.
        backed: bool,
    },
}

impl Event {
    pub(super) fn parse(arguments: &mut Arguments, name: &'static str) -> Result<Event, Mend> {
        let value = arguments.needed(name, AN_EVENT)?;
        match &value {
            Value::String(text) if text == "now" => Ok(Event::Now),
            Value::Object(fields) => Event::of_answer(name, fields, &value),
            // Somebody's deadline: as exact as it is written.
            other => {
                let estimate = instant(other).ok_or_else(|| wrong(name, other, AN_EVENT))?;
                Ok(Event::Known {
                    estimate,
                    sigma: Some(Span::ZERO),
                    bound: Some((estimate, estimate)),
                    backed: true,
                })
            }
        }
    }

    /// What `get_time` answered, on this machine or on another, or as much of it.
    fn of_answer(name: &'static str, fields: &Map<String, Value>, whole: &Value) -> Result<Event, Mend> {
        let field =
            |keys: &[&str]| keys.iter().find_map(|key| fields.get(*key).filter(|value| !value.is_null()));
        let at = |keys: &[&str]| {
            field(keys).map(|v| instant(v).ok_or_else(|| wrong(name, v, AN_INSTANT))).transpose()
        };
        let estimate = at(&["corrected_time_ns", "time", "corrected_time"])?;
        let estimate = estimate.ok_or_else(|| wrong(name, whole, AN_EVENT))?;
        let sigma = match field(&["time_uncertainty"]) {
            None => None,
            Some(value) => {
                let found = value.as_f64().filter(|s| (0.0..1e9).contains(s));
                Some(Span::from_secs_f64(
                    found.ok_or_else(|| wrong(name, value, "an uncertainty in seconds, 0 or more"))?,
                ))
            }
        };
        let bound = match (at(&["earliest_ns"])?, at(&["latest_ns"])?) {
            (Some(earliest), Some(latest)) if earliest <= latest => Some((earliest, latest)),
            (None, None) => None,
            _ => {
                return Err(wrong(
                    name,
                    whole,
                    "an event whose earliest_ns is not after its latest_ns, with both or neither",
                ));
            }
        };
        let state = fields.get("state").and_then(Value::as_str);
        let backed = state.is_none_or(|state| matches!(state, "synced" | "holdover"));
        Ok(Event::Known { estimate, sigma, bound, backed })
    }

    fn reading(&self, door: &Door) -> Result<(Reading, bool, bool), Mend> {
        match self {
            Event::Now => {
                let present = Present::read(door);
                let reading = present.reading(Span::ZERO).ok_or_else(|| present.unknown())?;
                Ok((reading, true, true))
            }
            Event::Known { estimate, sigma, bound, backed } => {
                let (earliest, latest) = bound.unwrap_or((*estimate, *estimate));
                let calibrated = *backed && sigma.is_some();
                let (state, reason) = match calibrated {
                    true => (State::Synced, Reason::Agreement),
                    false => (State::Unsynced, Reason::Unknown),
                };
                let sigma = sigma.unwrap_or(Span::ZERO);
                let reading = Reading {
                    earliest,
                    latest,
                    narrow: None,
                    estimate: *estimate,
                    sigma,
                    levels: Levels::NORMAL,
                    state,
                    reason,
                };
                Ok((reading, bound.is_some(), calibrated))
            }
        }
    }
}

/// The answer of `compare_times`.
#[derive(Serialize, JsonSchema)]
pub(super) struct Compared {
    /// the first event is before, after, or indistinguishable from the second
    relation: &'static str,
    /// in one sentence
    summary: String,
    /// that the first came before the second, 0-1; null where an uncertainty is not known
    probability_before: Option<f64>,
    /// bounds (certain unless half of the time sources lie), probability, or nothing
    decided_by: &'static str,
    /// second - first, s
    elapsed_seconds: f64,
    /// standard deviation of that, s
    elapsed_uncertainty: Option<f64>,
    /// by the bounds, s
    elapsed_least_seconds: Option<f64>,
    elapsed_most_seconds: Option<f64>,
    elapsed_ns: String,
    /// in words (RFC 3339, UTC)
    first: String,
    second: String,
}

impl Compared {
    pub(super) fn read(door: &Door, first: &Event, second: &Event) -> Result<Compared, Mend> {
        let (a, a_bound, a_spread) = first.reading(door)?;
        let (b, b_bound, b_spread) = second.reading(door)?;
        let comparison = a.compare(&b);
        let (bounded, spread) = (a_bound && b_bound, a_spread && b_spread);
        let probability = comparison.probability_before.filter(|_| spread);
        let (order, decided_by) = match (comparison.order, probability) {
            (order @ (Order::Before | Order::After), _) if bounded => (order, "bounds"),
            (_, Some(p)) if !bounded && p >= DECISIVE => (Order::Before, "probability"),
            (_, Some(p)) if !bounded && p <= 1.0 - DECISIVE => (Order::After, "probability"),
            _ => (Order::Indistinguishable, "nothing"),
        };
        let elapsed = b.estimate - a.estimate;
        let sigma = (a.sigma.as_nanos() as f64).hypot(b.sigma.as_nanos() as f64) / 1e9;
        Ok(Compared {
            relation: order.name(),
            summary: summary(order, decided_by, elapsed, probability),
            probability_before: probability,
            decided_by,
            elapsed_seconds: seconds(elapsed),
            elapsed_uncertainty: spread.then_some(sigma),
            elapsed_least_seconds: bounded.then(|| seconds(b.earliest - a.latest)),
            elapsed_most_seconds: bounded.then(|| seconds(b.latest - a.earliest)),
            elapsed_ns: elapsed.as_nanos().to_string(),
            first: rfc3339(a.estimate),
            second: rfc3339(b.estimate),
        })
    }
}

fn summary(order: Order, decided_by: &str, elapsed: Span, probability: Option<f64>) -> String {
    let how = match decided_by {
        "bounds" => "their bounds do not touch".to_owned(),
        _ => probability.map_or("an uncertainty is not known".into(), |p| {
            format!("the first is earlier with probability {p:.4}")
        }),
    };
    match order {
        Order::Before => {
            format!("The first event came before the second, by about {}: {how}.", elapsed.abs())
        }
        Order::After => format!("The first event came after the second, by about {}: {how}.", elapsed.abs()),
        Order::Indistinguishable => {
            format!("Which came first cannot be told: they are about {} apart, and {how}.", elapsed.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::{Clock, Writer};
    use serde_json::json;

    fn compare(first: Value, second: Value) -> Result<Compared, String> {
        let door = Door::within(Clock::of(&Writer::in_memory().unwrap()), crate::feed::Feed::default());
        let Value::Object(given) = json!({"first": first, "second": second}) else { unreachable!() };
        let mut arguments = Arguments::new("compare_times", given);
        let events = Event::parse(&mut arguments, "first")
            .and_then(|a| Ok((a, Event::parse(&mut arguments, "second")?)));
        events.and_then(|(a, b)| Compared::read(&door, &a, &b)).map_err(|mend| mend.to_string())
    }

    fn event(nanos: i64, half_width: i64, sigma: f64) -> Value {
        json!({"time": nanos.to_string(), "time_uncertainty": sigma,
            "earliest_ns": (nanos - half_width).to_string(), "latest_ns": (nanos + half_width).to_string()})
    }

    const AT: i64 = 1_790_000_000_000_000_000;

    #[test]
    fn bounds_decide_and_where_they_touch_nothing_does() {
        let answer = |apart| compare(event(AT, 1_000_000, 1e-5), event(AT + apart, 1_000_000, 1e-5)).unwrap();
        let (near, far, back) = (answer(1_000_000), answer(2_000_001), answer(-3_000_000));
        assert_eq!((near.relation, near.decided_by), ("indistinguishable", "nothing"));
        assert!(near.probability_before > Some(0.999), "they are 70 standard deviations apart");
        assert_eq!((far.relation, far.decided_by, back.relation), ("before", "bounds", "after"));
        assert_eq!((near.elapsed_least_seconds, near.elapsed_most_seconds), (Some(-0.001), Some(0.003)));
    }

    #[test]
    fn without_bounds_the_probability_decides_and_without_that_nothing() {
        let loose = |nanos: i64, sigma| json!({"time": nanos.to_string(), "time_uncertainty": sigma});
        let answer = compare(loose(AT, json!(0.001)), loose(AT + 10_000_000, json!(0.001))).unwrap();
        assert_eq!((answer.relation, answer.decided_by), ("before", "probability"));
        let answer = compare(loose(AT, json!(0.001)), loose(AT + 1_000_000, json!(0.001))).unwrap();
        assert_eq!(
            (answer.relation, answer.probability_before.map(|p| p > 0.7)),
            ("indistinguishable", Some(true))
        );
        let answer = compare(loose(AT, Value::Null), loose(AT + 1_000_000_000, json!(0.001))).unwrap();
        assert_eq!((answer.relation, answer.probability_before), ("indistinguishable", None));
        let mut unsynced = event(AT, 10, 1e-9);
        unsynced["state"] = json!("unsynced");
        assert_eq!(compare(unsynced, event(AT, 10, 1e-9)).unwrap().probability_before, None);
    }

    #[test]
    fn a_bare_instant_is_exact_and_now_must_be_known() {
        let answer = compare(json!("2026-11-21T00:00:00Z"), json!("2026-11-21T00:00:00.000000001Z")).unwrap();
        assert_eq!((answer.relation, answer.elapsed_ns.as_str()), ("before", "1"));
        assert!(
            compare(json!("now"), json!(0)).is_err_and(|mend| mend.contains("corrected time is not known"))
        );
        for bad in [
            json!("yesterday"),
            json!({}),
            json!({"time": 0, "earliest_ns": "5", "latest_ns": "4"}),
            json!(true),
        ] {
            let mend = compare(bad.clone(), json!(0)).err().unwrap_or_else(|| panic!("{bad}"));
            assert!(mend.starts_with("first is "), "{mend}");
        }
    }
}
