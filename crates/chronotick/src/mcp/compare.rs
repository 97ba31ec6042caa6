//! `compare_times`: which of two events came first, as far as their uncertainties tell, and what lay between them.
//!
//! Where one of them was read on another node that the daemon measures as a peer, the two clocks are known against each other far
//! better than either against UTC: then that bound is used, if it is the narrower one.

use super::arguments::{AN_INSTANT, Arguments, Mend, instant, printable, wrong};
use super::time::{Present, seconds};
use crate::door::Door;
use crate::peers::Pairwise;
use crate::utc::rfc3339;
use chronotick_clock::{Levels, Order, Reading, Reason, Span, State, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Where there are no bounds, an order must be at least this probable: further out no calibration has measured.
const DECISIVE: f64 = 0.99;

const AN_EVENT: &str = "\"now\", an instant (RFC 3339 with an offset, seconds since 1970, or nanoseconds as text), or an object: \
    the answer of get_time, or {\"time\": …, \"time_uncertainty\": σ in s, \"earliest_ns\": …, \"latest_ns\": …}; with \"node\" if it \
    was read on a peer";

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
        /// The peer on which it was read.
        node: Option<String>,
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
                let estimate = instant(name, other, AN_EVENT)?;
                Ok(Event::Known {
                    estimate,
                    sigma: Some(Span::ZERO),
                    bound: Some((estimate, estimate)),
                    backed: true,
                    node: None,
                })
            }
        }
    }

    /// What `get_time` answered, on this machine or on another, or as much of it.
    fn of_answer(name: &'static str, fields: &Map<String, Value>, whole: &Value) -> Result<Event, Mend> {
        let field =
            |keys: &[&str]| keys.iter().find_map(|key| fields.get(*key).filter(|value| !value.is_null()));
        let at = |keys: &[&str]| field(keys).map(|v| instant(name, v, AN_INSTANT)).transpose();
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
        let node = match field(&["node"]) {
            None => None,
            Some(Value::String(node)) => Some(node.clone()),
            Some(other) => return Err(wrong(name, other, "the name of a peer as node")),
        };
        Ok(Event::Known { estimate, sigma, bound, backed, node })
    }

    fn node(&self) -> Option<&str> {
        match self {
            Event::Known { node, .. } => node.as_deref(),
            Event::Now => None,
        }
    }

    /// Whether a clock was read, rather than an exact instant named.
    fn is_read(&self) -> bool {
        !matches!(self, Event::Known { sigma: Some(Span::ZERO), bound: Some((a, b)), .. } if a == b)
    }

    fn reading(&self, door: &Door) -> Result<(Reading, bool, bool), Mend> {
        match self {
            Event::Now => {
                let present = Present::read(door);
                let reading = present.reading(Span::ZERO).ok_or_else(|| present.unknown())?;
                Ok((reading, true, true))
            }
            Event::Known { estimate, sigma, bound, backed, .. } => {
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
    /// first is before, after, or indistinguishable from second
    relation: &'static str,
    // in one sentence
    summary: String,
    // that the first came before the second, 0-1; null where an uncertainty is not known
    probability_before: Option<f64>,
    /// bounds, probability, nothing
    decided_by: &'static str,
    /// second - first, s
    elapsed_seconds: f64,
    // standard deviation
    elapsed_uncertainty: Option<f64>,
    /// for certain
    elapsed_least_seconds: Option<f64>,
    elapsed_most_seconds: Option<f64>,
    /// utc: each event's own; pairwise: measured between the nodes
    bound_used: Option<&'static str>,
    elapsed_ns: String,
    // RFC 3339, UTC
    first: String,
    second: String,
}

impl Compared {
    pub(super) fn read(door: &Door, first: &Event, second: &Event) -> Result<Compared, Mend> {
        let (a, a_bound, a_spread) = first.reading(door)?;
        let (b, b_bound, b_spread) = second.reading(door)?;
        let comparison = a.compare(&b);
        let (bounded, spread) = (a_bound && b_bound, a_spread && b_spread);
        let by_utc = bounded.then(|| (b.earliest - a.latest, b.latest - a.earliest));
        if let Some(between) = between(door, (first, a.estimate), (second, b.estimate))?
            && by_utc.is_none_or(|(least, most)| between.half_width + between.half_width < most - least)
        {
            return Ok(between.answer(a.estimate, b.estimate));
        }
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
            elapsed_least_seconds: by_utc.map(|(least, _)| seconds(least)),
            elapsed_most_seconds: by_utc.map(|(_, most)| seconds(most)),
            bound_used: by_utc.map(|_| "utc"),
            elapsed_ns: elapsed.as_nanos().to_string(),
            first: rfc3339(a.estimate),
            second: rfc3339(b.estimate),
        })
    }
}

/// What lay between two events by an exchange between the nodes on which they were read.
struct Between {
    order: Order,
    elapsed: Span,
    half_width: Span,
}

/// The same, if one event was read on a peer that was measured, and the other here.
fn between(
    door: &Door,
    (first, a): (&Event, Timestamp),
    (second, b): (&Event, Timestamp),
) -> Result<Option<Between>, Mend> {
    let (name, ours, theirs) = match (first.node(), second.node()) {
        (None, None) => return Ok(None),
        (Some(name), None) => (name, b, a),
        (None, Some(name)) => (name, a, b),
        (Some(_), Some(_)) => {
            return Err(Mend::Refused(
                "both events name a node: give none to the one read on this machine".into(),
            ));
        }
    };
    let pair = pairwise(door, name)?.filter(|_| first.is_read() && second.is_read());
    Ok(pair.map(|pair| {
        let (offset, half_width) = pair.at(ours);
        let (order, later) = (pair.order(ours, theirs), (theirs - offset) - ours);
        let swapped = first.node().is_some();
        let (order, elapsed) = match (swapped, order) {
            (false, order) => (order, later),
            (true, Order::Before) => (Order::After, -later),
            (true, Order::After) => (Order::Before, -later),
            (true, Order::Indistinguishable) => (order, -later),
        };
        Between { order, elapsed, half_width }
    }))
}

/// The peer of this name against us; none before the first exchange.
fn pairwise(door: &Door, name: &str) -> Result<Option<Pairwise>, Mend> {
    let snapshot = door.snapshot().map_err(|e| Mend::Refused(format!("no peer is known: {e}")))?;
    let peer = snapshot.peers.iter().find(|peer| peer.name == name || peer.address == name);
    let known = || {
        let names: Vec<String> = snapshot.peers.iter().map(|peer| printable(&peer.name)).collect();
        if names.is_empty() { "there are none (clock_measurement.peers)".into() } else { names.join(", ") }
    };
    let unknown =
        || Mend::Refused(format!("{} is no peer of this daemon; its peers: {}", printable(name), known()));
    Ok(peer.ok_or_else(unknown)?.pairwise(snapshot.written_at()))
}

impl Between {
    fn answer(&self, first: Timestamp, second: Timestamp) -> Compared {
        let (order, elapsed) = (self.order, self.elapsed);
        let decided_by = if order == Order::Indistinguishable { "nothing" } else { "bounds" };
        let how = format!("the two nodes are known against each other to within {}", self.half_width);
        Compared {
            relation: order.name(),
            summary: sentence(order, elapsed, &how),
            probability_before: None,
            decided_by,
            elapsed_seconds: seconds(elapsed),
            elapsed_uncertainty: None,
            elapsed_least_seconds: Some(seconds(elapsed - self.half_width)),
            elapsed_most_seconds: Some(seconds(elapsed + self.half_width)),
            bound_used: Some("pairwise"),
            elapsed_ns: elapsed.as_nanos().to_string(),
            first: rfc3339(first),
            second: rfc3339(second),
        }
    }
}

fn summary(order: Order, decided_by: &str, elapsed: Span, probability: Option<f64>) -> String {
    let how = match decided_by {
        "bounds" => "their bounds do not touch".to_owned(),
        _ => probability.map_or("an uncertainty is not known".into(), |p| {
            format!("the first is earlier with probability {p:.4}")
        }),
    };
    sentence(order, elapsed, &how)
}

fn sentence(order: Order, elapsed: Span, how: &str) -> String {
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
    fn what_was_read_on_a_peer_is_ordered_by_the_exchange_with_it() {
        use crate::feed::{Feed, News};
        use crate::snapshot::{PeerView, Snapshot};
        let feed = Feed::default();
        let peer = PeerView {
            name: "node-b".into(),
            offset_ns: Some(40_000),
            bound_ns: Some(100_000),
            ..PeerView::default()
        };
        let silent = PeerView { name: "node-c".into(), ..PeerView::default() };
        let written = rfc3339(Timestamp::from_nanos(AT));
        let peers = vec![peer, silent];
        feed.tell(News::Status(std::sync::Arc::new(Snapshot { written, peers, ..Snapshot::default() })));
        let door = Door::within(Clock::of(&Writer::in_memory().unwrap()), feed);
        let compare = |first: Value, second: Value| {
            let Value::Object(given) = json!({"first": first, "second": second}) else { unreachable!() };
            let mut arguments = Arguments::new("compare_times", given);
            let (a, b) = (Event::parse(&mut arguments, "first")?, Event::parse(&mut arguments, "second")?);
            Compared::read(&door, &a, &b)
        };
        let on = |node: &str, nanos| {
            let mut event = event(nanos, 1_000_000, 1e-5);
            event["node"] = json!(node);
            event
        };
        // Their clock is 40 us ahead of ours, for certain within 100 us; either is within a millisecond of UTC.
        let after = compare(event(AT, 1_000_000, 1e-5), on("node-b", AT + 240_001)).unwrap();
        assert_eq!(
            (after.relation, after.decided_by, after.bound_used),
            ("before", "bounds", Some("pairwise"))
        );
        assert_eq!((after.elapsed_ns.as_str(), after.elapsed_least_seconds), ("200001", Some(0.000_100_001)));
        let swapped = compare(on("node-b", AT + 240_001), event(AT, 1_000_000, 1e-5)).unwrap();
        assert_eq!((swapped.relation, swapped.elapsed_ns.as_str()), ("after", "-200001"));
        let near = compare(event(AT, 1_000_000, 1e-5), on("node-b", AT + 140_000)).unwrap();
        assert_eq!((near.relation, near.bound_used), ("indistinguishable", Some("pairwise")));
        // Without an exchange, or where each knows more by itself, it is as without peers.
        let unheard = compare(event(AT, 1_000_000, 1e-5), on("node-c", AT + 240_001)).unwrap();
        assert_eq!((unheard.relation, unheard.bound_used), ("indistinguishable", Some("utc")));
        let exact = compare(json!((AT + 1).to_string()), on("node-b", AT)).unwrap();
        assert_eq!(exact.bound_used, Some("utc"));
        let stranger = compare(event(AT, 1, 1e-5), on("node-x", AT)).err().unwrap();
        assert!(stranger.to_string().contains("its peers: node-b, node-c"), "{stranger}");
        assert!(compare(on("node-b", AT), on("node-b", AT)).is_err());
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
