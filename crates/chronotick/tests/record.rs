//! The record, end to end: what the daemon measured is in the history afterwards, for other processes too.

mod time_server;

use chronotick_clock::{Span, Timestamp};
use chronotick_peers::{Daemon, eventually};
use chronotick_record::History;
use std::path::Path;
use time_server::time_server;

/// Waits until the history has so many samples, and returns their extent.
fn wait_for_samples(state: &Path, count: usize) -> (Timestamp, Timestamp) {
    let found = eventually("has samples", || {
        let history = History::open_read_only(state).ok()?;
        let (all, end) = (Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MAX));
        let samples = history.samples(all, end).expect("can be read");
        (samples.len() >= count).then(|| (samples[0].system, samples[samples.len() - 1].system))
    });
    found.unwrap_or_else(|| panic!("no {count} samples"))
}

#[test]
fn what_was_measured_is_known_afterwards() {
    let servers: Vec<String> = (0..3).map(|_| format!("\"{}\"", time_server(Span::ZERO))).collect();
    let yaml = format!("clock_measurement:\n  ntp:\n    servers: [{}]\n", servers.join(", "));
    let mut daemon = Daemon::start(env!("CARGO_BIN_EXE_chronotick"), &yaml, &[]);
    let state = daemon.folder().join("state");
    let (first, last) = wait_for_samples(&state, 2);
    let history = History::open_read_only(&state).expect("opens while the daemon writes");
    let between = first + (last - first).half();
    let past = history.system_offset_at(between).expect("is known");
    // The servers serve this very clock.
    assert!(past.offset.correction() - past.early <= Span::ZERO, "{past:?}");
    assert!(past.offset.correction() + past.late >= Span::ZERO, "{past:?}");
    assert!(daemon.stop().success());
    let end = Timestamp::from_nanos(i64::MAX);
    assert!(
        history.events(first - Span::from_secs(60), end).expect("read").iter().any(|e| e.kind == "state")
    );
    let runs = history.runs(first, end).expect("read");
    assert_eq!((runs.len(), runs[0].configuration.len()), (1, 64));
    // One is true time, the other a reading of the system clock.
    assert!(runs[0].ended >= last - Span::from_secs(1), "{runs:?} {last:?}");
    what_people_ask(&daemon, between, first);
}

/// The same by the command line: the history, an export, the audit log.
fn what_people_ask(daemon: &Daemon, reading: Timestamp, first: Timestamp) {
    let ask = |arguments: &[&str]| daemon.ask(arguments);
    let object = |arguments: &[&str]| daemon.json(arguments);
    let seconds = format!("{}.{:09}", reading.as_nanos() / 1_000_000_000, reading.as_nanos() % 1_000_000_000);
    let at = object(&["history", "at", &seconds, "--json"]);
    assert_eq!((&at["known"], &at["times_shown"]), (&true.into(), &1.into()), "{at}");
    let before = format!("{}", first.as_nanos() / 1_000_000_000 - 86_400);
    let never = ask(&["history", "at", &before]);
    let complaint = String::from_utf8_lossy(&never.stderr).into_owned();
    assert!(!never.status.success() && complaint.contains("the record begins only later"), "{complaint}");
    let query = object(&["history", "query", "--since", "1h", "--json"]);
    assert!(
        query["samples_found"].as_u64() >= Some(2) && !query["events"].as_array().expect("a list").is_empty()
    );
    let csv = ask(&["history", "export", "--format", "csv", "--table", "measurements"]);
    assert!(String::from_utf8_lossy(&csv.stdout).starts_with("time,server,address,system_offset_ns,"));

    let verdict = object(&["audit", "verify", "--json"]);
    assert_eq!(
        (&verdict["ended"], &verdict["broken"]),
        (&true.into(), &serde_json::Value::Null),
        "{verdict}"
    );
    let attested = object(&["audit", "attest", "--since", "1h", "--limit", "1s", "--json"]);
    assert_eq!(attested["within_percent"], 100.0, "{attested}");
    assert!(attested["monitored_seconds"].as_u64() >= Some(5), "{attested}");
    let folder = daemon.folder().join("state/audit");
    let file =
        std::fs::read_dir(&folder).expect("a folder").next().expect("a file").expect("an entry").path();
    let text = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, text.replacen("\"began\"", "\"begun\"", 1)).expect("written");
    let broken = ask(&["audit", "verify"]);
    assert!(!broken.status.success() && String::from_utf8_lossy(&broken.stdout).contains("line 1: its hash"));
}
