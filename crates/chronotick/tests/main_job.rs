//! The main job, end to end: the real binary against real servers on loopback. Skipped where there is no chronyd.

mod time_server;

use chronotick_core::Span;
use chronotick_os::ClockPair;
use chronotick_peers::{Chronyd, Daemon, command};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use time_server::time_server;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chronotick");

/// A daemon that asks these servers, with these further arguments.
fn start_with(servers: &[SocketAddr], arguments: &[&str]) -> Daemon {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{server}\"")).collect();
    let yaml = format!("clock_measurement:\n  ntp:\n    servers: [{}]\n", servers.join(", "));
    Daemon::start(PROGRAM, &yaml, arguments)
}

fn start(servers: &[SocketAddr]) -> Daemon {
    start_with(servers, &[])
}

/// An agent: `chronotick mcp` on pipes, as its hosts start it.
struct Agent {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Agent {
    fn start(daemon: &Daemon) -> Agent {
        let mut command = daemon.command(&["mcp"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut agent = Agent { child, input, output };
        let client = json!({"name": "test", "version": "1"});
        agent.request(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
            {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}}));
        writeln!(agent.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .unwrap();
        agent
    }

    fn request(&mut self, request: Value) -> Value {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    fn call(&mut self, tool: &str) -> Value {
        let params = json!({"name": tool, "arguments": {}});
        let answer =
            self.request(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}));
        answer["result"]["structuredContent"].clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers everything with rubbish of every length; it ends with the process.
fn garbage() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            for length in [0, 1, 47, 48, 68, 400] {
                let rubbish: Vec<u8> =
                    (0..length).map(|i| buffer[i % len.max(1)].wrapping_mul(167)).collect();
                let _ = socket.send_to(&rubbish, client);
            }
        }
    });
    address
}

fn ns(value: &Value) -> i128 {
    value.as_str().expect("a decimal string").parse().expect("an integer")
}

/// The system clock is the truth here, because the chronyds serve it.
fn assert_truth_inside(daemon: &Daemon) {
    let before = ClockPair::now().system.as_nanos();
    let now = daemon.json(&["now", "--json"]);
    let after = ClockPair::now().system.as_nanos();
    assert!(ns(&now["earliest_ns"]) <= i128::from(after), "{now}");
    assert!(ns(&now["latest_ns"]) >= i128::from(before), "{now}");
    assert!(now["system_offset_ns"].as_i64().unwrap().abs() < 50_000_000, "{now}");
}

#[test]
fn from_the_first_packet_to_every_door_and_through_the_death_of_all() {
    let Some(mut server) = Chronyd::start("local stratum 1") else { return };
    let mut daemon = start(&[server.address()]);
    daemon.wait_for_state("synced");
    assert_truth_inside(&daemon);
    assert_eq!(daemon.ask(&["now"]).status.code(), Some(0));
    let future = daemon.json(&["now", "--json", "--future", "3600"]);
    assert!(future["bound_late_ns"].as_i64() > Some(1_000_000), "{future}");
    let status = daemon.json(&["status", "--json"]);
    assert_eq!(status["sources"][0]["verdict"], "trusted");
    for view in ["status", "sources", "tracking", "explain"] {
        let output = daemon.ask(&[view]);
        assert!(output.status.success() && output.stdout.len() > 100, "{view}: {output:?}");
    }
    assert!(!daemon.ask(&["run"]).status.success(), "a second daemon on the same page must be refused");

    let mut agent = Agent::start(&daemon);
    let time = agent.call("get_time");
    assert_eq!((&time["trustworthy"], &time["daemon_status"]), (&true.into(), &"ready".into()), "{time}");
    assert!(time["offset_correction"].as_f64().unwrap().abs() < 0.05, "{time}");

    server.kill();
    let early = daemon.wait_for_state("holdover");
    let wider = |now: &Value| now["bound_late_ns"].as_i64() > early["bound_late_ns"].as_i64();
    let late = daemon.wait_for(&["now", "--json"], "in a wider holdover", wider);
    assert_eq!(late["state"], "holdover");
    assert_eq!(daemon.ask(&["now"]).status.code(), Some(3));

    server.restart();
    daemon.wait_for_state("synced");
    assert_truth_inside(&daemon);

    daemon.kill();
    let dead = daemon.wait_for_state("holdover");
    assert!(dead["reason"].as_str().unwrap().contains("daemon"), "{dead}");
    let dead = daemon.wait_for_state("unsynced");
    assert!(dead["reason"].as_str().unwrap().contains("daemon"), "{dead}");
    let time = agent.call("get_time");
    assert_eq!((&time["trustworthy"], &time["state"]), (&false.into(), &"unsynced".into()), "{time}");
    assert_eq!(agent.call("get_daemon_status")["alive"], false);
    let view = daemon.ask(&["status"]);
    assert_eq!(view.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&view.stderr).contains("silent"), "{view:?}");

    daemon.restart();
    daemon.wait_for_state("synced");
}

#[test]
fn one_liar_among_three_changes_nothing() {
    let (Some(one), Some(two)) = (Chronyd::start("local stratum 1"), Chronyd::start("local stratum 1"))
    else {
        return;
    };
    let liar = time_server(Span::from_millis(400));
    let daemon = start(&[liar, one.address(), two.address()]);
    daemon.wait_for(&["now", "--json"], "synced with a falseticker", |now| {
        let status = daemon.ask(&["sources"]);
        now["state"] == "synced" && String::from_utf8_lossy(&status.stdout).contains(&format!("^x {liar}"))
    });
    for _ in 0..20 {
        assert_truth_inside(&daemon);
    }
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let Some(server) = Chronyd::start("local stratum 1") else { return };
    let garbage = garbage();
    let daemon = start(&[garbage, server.address()]);
    daemon.wait_for_state("synced");
    daemon.wait_for(&["status", "--json"], "told of the trouble", |status| {
        let rubbish = &status["sources"][0];
        assert_eq!(
            (&rubbish["address"], &rubbish["answers"]),
            (&garbage.to_string().into(), &0.into()),
            "{status}"
        );
        rubbish["trouble"].is_string()
    });
    assert_truth_inside(&daemon);
}

#[cfg(feature = "models")]
const CHECKPOINT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../chronotick-tsfm/tests/fixtures/chronos-bolt");

#[cfg(feature = "models")]
#[test]
fn a_model_forecasts_beside_the_bank_and_a_missing_one_is_named() {
    let Some(server) = Chronyd::start("local stratum 1") else { return };
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.jsonl").display().to_string();
    let flags = ["--model", CHECKPOINT, "--debug-trace", "--debug-log-file", &trace];
    let mut daemon = start_with(&[server.address()], &flags);
    daemon.wait_for_state("synced");
    daemon.wait_for(&["now", "--json"], "with a forecast", |now| {
        let status = daemon.json(&["status", "--json"]);
        let short = &status["models"][0];
        now["state"] == "synced" && short["state"] == "ready" && short["answered"].as_u64() > Some(1)
    });
    let status = daemon.json(&["status", "--json"]);
    let names: Vec<&str> = (0..3).map(|i| status["models"][i]["member"].as_str().unwrap()).collect();
    assert_eq!(names, ["short_term", "long_term", "environment"]);
    let short = &status["models"][0];
    assert_eq!((&short["model"], &short["family"]), (&CHECKPOINT.into(), &"Chronos-Bolt".into()));
    assert_eq!(short["weight"], 0.0, "{short}");
    assert!(short["inference_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{short}");
    assert!(["ntp", "bank"].contains(&status["source"].as_str().unwrap()), "{status}");
    assert_truth_inside(&daemon);
    let explained = daemon.ask(&["explain"]);
    assert!(String::from_utf8_lossy(&explained.stdout).contains("short_term"), "{explained:?}");

    // What the daemon was told gives what it answered, forecasts and all.
    assert!(daemon.stop().success());
    let replayed = daemon.json(&["replay", &trace, "--json"]);
    let replayed = &replayed["traces"][0]["replayed"];
    assert_eq!((&replayed["different"], &replayed["dropped"]), (&0.into(), &0.into()), "{replayed}");
    for counted in ["measurements", "forecasts", "solutions"] {
        assert!(replayed[counted].as_u64() > Some(1), "{replayed}");
    }
    let text = std::fs::read_to_string(&trace).unwrap();
    for event in ["question", "forecast", "fusion", "model", "conditions", "solution"] {
        assert!(text.contains(&format!("{{\"event\":\"{event}\"")), "no {event}");
    }

    let daemon = start_with(&[server.address()], &["--model", "/nowhere/model"]);
    let now = daemon.wait_for_state("synced");
    assert!(["ntp", "bank"].contains(&now["source"].as_str().unwrap()), "{now}");
    let status = daemon.json(&["status", "--json"]);
    assert_eq!(status["models"][0]["state"], "missing");
    assert!(status["models"][0]["reason"].as_str().unwrap().contains("/nowhere/model"), "{status}");
}

#[test]
fn a_stopped_daemon_leaves_what_it_learned_and_says_that_it_is_gone() {
    let Some(server) = Chronyd::start("local stratum 1") else { return };
    let mut daemon = start(&[server.address()]);
    daemon.wait_for_state("synced");
    assert!(daemon.stop().success());
    let status = daemon.json(&["status", "--json"]);
    assert_eq!(status["state"], "unsynced");
    assert!(status["reason"].as_str().unwrap().contains("stopped"), "{status}");
    assert!(daemon.folder().join("state/learned.json").exists());
}

#[test]
fn without_a_daemon_now_measures_once_and_says_so() {
    let Some(server) = Chronyd::start("local stratum 1") else { return };
    let dirs = tempfile::tempdir().unwrap();
    let servers = server.address().to_string();
    let output =
        command(PROGRAM, dirs.path()).args(["now", "--json", "--ntp-servers", &servers]).output().unwrap();
    let now: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(
        (now["state"].as_str(), now["answered_by"].as_str()),
        (Some("synced"), Some("measured once")),
        "{now}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("no daemon"), "{output:?}");
}

#[test]
fn without_any_server_nothing_is_claimed() {
    let dirs = tempfile::tempdir().unwrap();
    let nobody = chronotick_peers::free_address().to_string();
    let output =
        command(PROGRAM, dirs.path()).args(["now", "--json", "--ntp-servers", &nobody]).output().unwrap();
    let now: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!((now["state"].as_str(), &now["estimate_ns"]), (Some("warmup"), &Value::Null), "{now}");
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn the_demonstration_keeps_truth_inside_and_finds_the_liar() {
    let dirs = tempfile::tempdir().unwrap();
    let output = command(PROGRAM, dirs.path()).args(["demo", "--seconds", "6", "--json"]).output().unwrap();
    let lines: Vec<Value> =
        output.stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), 6, "{output:?}");
    for line in &lines {
        assert_eq!(
            (&line["simulation"], &line["truth_inside_bound"]),
            (&true.into(), &true.into()),
            "{line}"
        );
    }
    assert!(lines[5]["compared"].as_u64() > Some(0), "{}", lines[5]);
    assert_eq!(lines[5]["worse"], 0, "the simulated system clock is 37 ms off: {}", lines[5]);
    let verdicts = lines[5]["sources"].as_array().unwrap();
    assert_eq!(verdicts.iter().filter(|s| s["verdict"] == "falseticker").count(), 1, "{verdicts:?}");
}
