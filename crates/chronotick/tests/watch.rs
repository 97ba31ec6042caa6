//! `chronotick watch` without a terminal, as its users run it: on a page and a status that this test publishes itself.

use chronotick::snapshot::Snapshot;
use chronotick_clock::{Reason, Solution, State, Writer, page_path, raw_now};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A publisher of our own, which has never measured anything.
struct Published {
    _page: Writer,
    dir: TempDir,
}

impl Published {
    fn new(status: &Value) -> Published {
        let dir = tempfile::tempdir().unwrap();
        let mut page = Writer::create(&page_path(dir.path())).unwrap();
        page.publish(&Solution::unknown(raw_now(), State::Warmup, Reason::Gathering));
        let snapshot: Snapshot = serde_json::from_value(status.clone()).unwrap();
        snapshot.write(dir.path()).unwrap();
        Published { _page: page, dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
        command.arg("watch").args(arguments).env_clear().env("CHRONOTICK_RUNTIME_DIR", self.dir.path());
        command.env("XDG_CONFIG_HOME", self.dir.path());
        command
    }

    fn once(&self, arguments: &[&str]) -> (String, Output) {
        let output = self.command(&[&["--once"], arguments].concat()).output().unwrap();
        (String::from_utf8(output.stdout.clone()).unwrap(), output)
    }
}

fn source(server: &str, verdict: &str, offset_ns: i64) -> Value {
    json!({
        "mode": "server", "server": server, "address": "192.0.2.1:123", "options": [], "verdict": verdict, "best": false,
        "stratum": 1, "reference": "GPS", "poll_seconds": 16.0, "reach": 255, "last_answer_seconds": 1.5,
        "offset_ns": offset_ns, "delay_ns": 900_000, "root_delay_ns": 0, "root_dispersion_ns": 0, "stamps": "kernel",
        "sent": 8, "answers": 8, "trouble": null, "contradictions": 0, "path": null, "bound": null,
    })
}

fn status(simulation: bool) -> Value {
    json!({
        "version": "9.9.9", "pid": 4711, "simulation": simulation, "raw_ns": 0, "written": "", "uptime_seconds": 3.0,
        "warmup_progress": 0.25, "warmup_seconds": 180.0, "state": "warmup", "reason": "", "source": "ntp", "clock": null,
        "traffic": {"polls": 0, "answers": 0, "trusted": 0, "published": 0, "compared": 0, "worse": 0, "stamps": "none"},
        "sources": [source("near.example", "trusted", -20_000), source("far\u{1b}[31m.example", "falseticker", 250_000_000)],
        "models": [], "unresolved": ["lost.example: \u{202e}no such name"],
        "events": [{"time": "2026-01-31T12:00:00Z", "utc_ns": 0, "kind": "state", "source": null, "text": "bell\u{7}"}],
        "memory_bytes": 0, "temperature_celsius": null,
    })
}

#[test]
fn one_picture_holds_what_is_known_and_the_exit_code_tells_that_it_is_not_synced() {
    let published = Published::new(&status(false));
    let (text, output) = published.once(&[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for expected in [
        "ChronoTick 9.9.9",
        "UNSYNCED  the daemon has been silent",
        "not known yet",
        "25 %",
        "1 of 2 trusted",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    assert!(!text.contains("SIMULATION"), "{text}");
}

#[test]
fn text_from_the_network_cannot_command_the_terminal() {
    let (text, _) = Published::new(&status(false)).once(&[]);
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    for expected in ["far\\u{1b}[31m.example", "\\u{202e}no such", "bell\\u{7}"] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
}

#[test]
fn sources_are_sorted_as_asked() {
    let published = Published::new(&status(false));
    let order = |arguments: &[&str]| {
        let (text, _) = published.once(arguments);
        text.find("near").unwrap() < text.find("far").unwrap()
    };
    assert!(order(&[]) && !order(&["--sort", "offset"]) && !order(&["--sort", "verdict"]));
}

#[test]
fn a_simulation_says_so_in_every_form() {
    let published = Published::new(&status(true));
    assert!(published.once(&[]).0.contains("SIMULATION: not the real time"));
    let mut lines = Lines::start(published.command(&["-n", "0.1"]));
    assert!(lines.next().starts_with("time (UTC)"));
    assert!(lines.next().ends_with("(simulation)"));
}

#[test]
fn lines_go_on_with_each_event_once_until_the_pipe_is_closed() {
    let published = Published::new(&status(false));
    let mut lines = Lines::start(published.command(&["-n", "0.1"]));
    lines.next();
    assert!(lines.next().contains("unsynced"));
    let mut more = status(false);
    more["events"].as_array_mut().unwrap().push(json!(
        {"time": "2026-01-31T12:00:01Z", "utc_ns": 1, "kind": "state", "source": null, "text": "something new"}
    ));
    serde_json::from_value::<Snapshot>(more).unwrap().write(published.dir.path()).unwrap();
    let told = (0..600).map(|_| lines.next()).find(|line| line.contains("EVENT"));
    assert!(told.is_some_and(|line| line.ends_with("something new")));
    assert!((0..5).all(|_| !lines.next().contains("EVENT")));
    let Lines { mut child, out } = lines;
    drop(out);
    assert!(child.wait().unwrap().success());
}

#[test]
fn wrong_use_and_a_missing_daemon_say_the_mend() {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
    command.env_clear().env("XDG_CONFIG_HOME", empty.path()).env("CHRONOTICK_RUNTIME_DIR", empty.path());
    let missing = command.arg("watch").output().unwrap();
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(missing.status.code() == Some(1) && said.contains("chronotick run"), "{said}");
    for (arguments, mend) in [
        (["-n", "0"], "between 0.1 and 3600"),
        (["-n", "soon"], "a number of seconds"),
        (["--sort", "size"], "offset"),
    ] {
        let output = Published::new(&status(false)).command(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(mend), "{arguments:?}: {said}");
    }
}

/// What a running `watch` prints.
struct Lines {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Lines {
    fn start(mut command: Command) -> Lines {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Lines { child, out }
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it has ended");
        line.trim_end().to_owned()
    }
}
