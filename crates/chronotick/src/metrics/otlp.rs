//! Families as an OTLP request (OpenTelemetry protocol 1.x, `ExportMetricsServiceRequest`) in its JSON form: 64-bit
//! integers are decimal strings, enumerations are numbers. The names are those that Prometheus sees, so that the same
//! dashboards and rules read both.

use super::family::{Family, Kind, Sample};
use chronotick_clock::Timestamp;
use serde_json::{Value, json};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: counters count from the start.
const CUMULATIVE: u8 = 2;

/// Whose numbers they are, and when they were true.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// This machine's name.
    pub host: &'a str,
    /// The time of the samples.
    pub now: Timestamp,
    /// Since when the daemon has counted; the same in each request, or a collector takes the counters to have begun anew.
    pub start: Timestamp,
}

/// A request with all families; those without a sample are left out.
pub fn request(families: &[Family], origin: Origin<'_>) -> Value {
    let metrics: Vec<Value> = families
        .iter()
        .filter(|family| !family.samples.is_empty())
        .map(|family| metric(family, origin))
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    let resource = [("service.name", "chronotick"), ("service.version", version), ("host.name", origin.host)];
    let scope = json!({"name": "chronotick", "version": version});
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{"scope": scope, "metrics": metrics}],
    }]})
}

fn metric(family: &Family, origin: Origin<'_>) -> Value {
    let now = origin.now.as_nanos().max(0).to_string();
    let start = origin.start.min(origin.now).as_nanos().max(0).to_string();
    let point = |sample: &Sample| {
        let labels = sample.labels.iter().map(|(name, text)| (*name, text.as_str()));
        json!({"attributes": attributes(labels), "startTimeUnixNano": start, "timeUnixNano": now, "asDouble": sample.value})
    };
    let points: Vec<Value> =
        family.samples.iter().filter(|sample| sample.value.is_finite()).map(point).collect();
    // UCUM, as the conventions for metrics want it.
    let unit = match family.unit() {
        "seconds" => "s",
        "bytes" => "By",
        "celsius" => "Cel",
        _ => "1",
    };
    let mut metric = json!({"name": family.name, "description": family.help, "unit": unit});
    let (kind, data) = match family.kind {
        Kind::Gauge => ("gauge", json!({"dataPoints": points})),
        Kind::Counter => {
            ("sum", json!({"aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points}))
        }
    };
    metric[kind] = data;
    metric
}

fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    pairs.into_iter().map(|(key, text)| json!({"key": key, "value": {"stringValue": text}})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_form_of_the_protocol() {
        let families = [
            Family::counter("x_polls_total", "Requests.").at(&[("server", "a")], 3.0),
            Family::gauge("x_offset_seconds", "Offset.").is(-0.5),
            Family::gauge("x_unknown_seconds", "Nothing.").is(None),
        ];
        let now = Timestamp::from_nanos(1_800_000_000_000_000_001);
        let start = now - chronotick_clock::Span::from_secs(2);
        let request = request(&families, Origin { host: "h", now, start });
        let scoped = &request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(
            *scoped,
            json!([
                {"name": "x_polls_total", "description": "Requests.", "unit": "1", "sum": {
                    "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{
                        "attributes": [{"key": "server", "value": {"stringValue": "a"}}],
                        "startTimeUnixNano": "1799999998000000001", "timeUnixNano": "1800000000000000001",
                        "asDouble": 3.0}]}},
                {"name": "x_offset_seconds", "description": "Offset.", "unit": "s", "gauge": {"dataPoints": [{
                    "attributes": [], "startTimeUnixNano": "1799999998000000001",
                    "timeUnixNano": "1800000000000000001", "asDouble": -0.5}]}},
            ])
        );
        let host = &request["resourceMetrics"][0]["resource"]["attributes"][2];
        assert_eq!(*host, json!({"key": "host.name", "value": {"stringValue": "h"}}));
    }
}
