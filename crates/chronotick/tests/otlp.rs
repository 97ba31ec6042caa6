//! The export of metrics to an OpenTelemetry collector: a stub that refuses, is away, and takes them in the end.
#![cfg(feature = "otlp")]

use chronotick::config::{Config, Overrides};
use chronotick::daemon::Outlets;
use chronotick::metrics::{Export, Subject};
use chronotick_peers::http::{Reply, Request, Server};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long an export may take to come on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(endpoint: &str) -> Config {
    let overrides = Overrides { otlp_endpoint: Some(endpoint.into()), ..Overrides::default() };
    let mut config = Config::load(&overrides, &|_| None, None).expect("is valid").config;
    config.otlp.interval = chronotick_clock::Span::from_millis(50);
    config
}

#[test]
fn a_collector_gets_metrics_also_after_it_refused_and_a_last_time_at_the_end() {
    let (told, heard) = channel();
    let status = Arc::new(AtomicU16::new(503));
    let answer = status.clone();
    let collector = Server::start(move |request: &Request| {
        let _ = told.send(request.clone());
        Reply::new(answer.load(Ordering::Relaxed), "{}")
    });
    let (outlets, door) = Outlets::within().unwrap();
    let settings = config(&collector.url()).otlp;
    let export =
        Export::start(&settings, Subject::from(Arc::new(door)), outlets.feed.follow()).unwrap().unwrap();
    let refused = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!((refused.method.as_str(), refused.path.as_str()), ("POST", "/v1/metrics"));
    assert_eq!(refused.headers["content-type"], "application/json");
    status.store(200, Ordering::Relaxed);
    let taken = heard.recv_timeout(PATIENCE).unwrap();
    let start = |request: &Request| {
        let sent: Value = serde_json::from_slice(&request.body).unwrap();
        let metrics = sent["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap().clone();
        let events = metrics.into_iter().find(|metric| metric["name"] == "chronotick_events_total").unwrap();
        events["sum"]["dataPoints"][0]["startTimeUnixNano"].clone()
    };
    assert_eq!(start(&refused), start(&taken), "the counters have begun once");
    let taken: Value = serde_json::from_slice(&taken.body).unwrap();
    let metrics = taken["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
    let state = metrics.iter().find(|metric| metric["name"] == "chronotick_state").unwrap();
    assert_eq!(state["gauge"]["dataPoints"].as_array().unwrap().len(), 5, "{state}");
    // Nothing is measured here: what is not known is not there.
    assert!(!metrics.iter().any(|metric| metric["name"] == "chronotick_system_offset_seconds"));

    outlets.feed.end();
    export.join();
    assert!(heard.try_iter().count() >= 1, "the last numbers are sent at the end");
}

#[test]
fn without_a_collector_nothing_starts_and_one_that_is_away_hurts_nobody() {
    let (outlets, door) = Outlets::within().unwrap();
    let subject = Subject::from(Arc::new(door));
    assert!(Export::start(&config("off").otlp, subject.clone(), outlets.feed.follow()).unwrap().is_none());
    let nobody = format!("http://{}", chronotick_peers::free_address());
    let export = Export::start(&config(&nobody).otlp, subject, outlets.feed.follow()).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    outlets.feed.end();
    export.join();
}
