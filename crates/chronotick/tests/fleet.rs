//! A fleet as a person runs it: the real program, and an `ssh` of our own on the path that runs each command in a folder
//! named after the host.

mod time_server;

use chronotick_clock::Span;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use time_server::time_server;

/// Runs what it is told where a real one would log in; a host called `down` is not reached, and `odd` says strange things.
const SSH: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done
echo "$2" >>"$HOSTS/calls"
case $2 in
    down) echo "ssh: connect to host down: No route to host" >&2; exit 255;;
    odd) printf 'digest\nfault \033[2Jbroken\n'; exit 0;;
    endless) exec yes;;
esac
mkdir -p "$HOSTS/$2" && cd "$HOSTS/$2" && exec sh -c "$3"
"#;

fn prepare(dir: &Path, hosts: &str, more: &str) {
    fs::write(dir.join("ssh"), SSH).unwrap();
    fs::set_permissions(dir.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let server = time_server(Span::ZERO);
    let config = format!(
        "preset: minimal\nclock_measurement:\n  ntp:\n    servers: [\"{server}\"]\n\
         history:\n  enabled: false\naudit:\n  enabled: false\n"
    );
    fs::write(dir.join("config.yaml"), config).unwrap();
    let program = env!("CARGO_BIN_EXE_chronotick");
    let inventory =
        format!("binary: {program}\nconfig: config.yaml\ndirectory: a folder\nhosts: {hosts}\n{more}");
    fs::write(dir.join("fleet.yaml"), inventory).unwrap();
}

fn fleet(dir: &Path, arguments: &[&str]) -> Output {
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
    command.arg("fleet").args(arguments).arg(dir.join("fleet.yaml"));
    command.env("PATH", path).env("HOSTS", dir.join("hosts")).current_dir(dir);
    fs::create_dir_all(dir.join("hosts")).unwrap();
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_command_compares_two_nodes_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let experiment = format!(
        "experiment:\n  name: relay\n  duration: 6s\n  sample_interval: 0.2\n  ntp_interval: 1\n  ntp_server: [\"{}\", \"{}\"]\n",
        time_server(Span::ZERO),
        time_server(Span::ZERO)
    );
    prepare(dir.path(), "[comp-11, comp-12]", &experiment);
    let run = fleet(dir.path(), &["run"]);
    let (said, told) = (text(&run.stdout), text(&run.stderr));
    assert!(run.status.success(), "{told}\n{said}");
    assert!(said.contains("comp-11") && said.contains("comp-12") && said.contains("fix1"), "{said}");
    assert!(
        told.contains("chronotick copied") && told.contains("2 processes have ended")
            || told.contains("1 process"),
        "{told}"
    );
    for host in ["comp-11", "comp-12"] {
        let table = fs::read(dir.path().join(format!("results/{host}/relay/{host}.csv"))).unwrap();
        let there = dir.path().join(format!("hosts/{host}/a folder/{host}/relay/{host}.csv"));
        assert_eq!(table, fs::read(there).unwrap());
        assert!(table.iter().filter(|b| **b == b'\n').count() > 10, "{host}");
    }
    assert!(dir.path().join("results/relay.html").exists());

    // Nothing is done twice: the files are there, the experiment is finished, the tables are here.
    let again = fleet(dir.path(), &["run"]);
    let told = text(&again.stderr);
    assert!(again.status.success(), "{told}");
    for word in ["chronotick was there, config.yaml was there", "the experiment is finished", "daemon.log +"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!told.contains(".csv"), "{told}");
    let status = fleet(dir.path(), &["status"]);
    assert!(text(&status.stdout).contains("ended 0"), "{}", text(&status.stdout));
}

#[test]
fn what_a_host_began_before_it_failed_is_stopped_unless_it_serves_another() {
    let dir = tempfile::tempdir().unwrap();
    let experiment = |length: &str| {
        let server = time_server(Span::ZERO);
        format!("experiment:\n  name: relay\n  duration: {length}\n  ntp_server: [\"{server}\"]\n")
    };
    // Where its folder should be is a file: the daemon begins, and the experiment cannot.
    let there = dir.path().join("hosts/full/a folder/full");
    fs::create_dir_all(&there).unwrap();
    fs::write(there.join("relay"), "").unwrap();
    prepare(dir.path(), "[full]", &experiment("90s"));
    let run = fleet(dir.path(), &["run"]);
    let told = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{told}");
    assert!(told.contains("the experiment has ended") && told.contains("1 process has ended"), "{told}");

    prepare(dir.path(), "[busy]", &experiment("90s"));
    for step in ["deploy", "start"] {
        let begun = fleet(dir.path(), &[step]);
        assert!(begun.status.success(), "{begun:?}");
    }
    let inventory = fs::read_to_string(dir.path().join("fleet.yaml")).unwrap();
    fs::write(dir.path().join("fleet.yaml"), inventory.replace("90s", "80s")).unwrap();
    let run = fleet(dir.path(), &["run"]);
    let stopped = fleet(dir.path(), &["stop"]);
    assert!(text(&run.stderr).contains("other settings"), "{run:?}");
    assert!(text(&stopped.stdout).contains("2 processes have ended"), "{stopped:?}");
}

#[test]
fn who_fails_is_counted_and_said_in_plain_text() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), "[up, down, odd, endless]", "");
    let status = fleet(dir.path(), &["status"]);
    let said = text(&status.stdout);
    assert_eq!(status.status.code(), Some(3), "{said}");
    assert!(said.contains("No route to host") && said.contains("\\u{1b}[2Jbroken"), "{said}");
    assert!(said.contains("more than") && !said.contains('\u{1b}'), "{said}");
    let started = fleet(dir.path(), &["start"]);
    assert_eq!(started.status.code(), Some(4), "{started:?}");
    assert!(text(&started.stdout).contains("deploy first"), "{started:?}");
}

#[test]
fn a_dry_run_reaches_nobody() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), "[{name: a, address: \"me@[::1]\"}]", "experiment:\n  duration: 90s\n");
    let plan = fleet(dir.path(), &["run", "--dry-run"]);
    let said = text(&plan.stdout);
    assert!(plan.status.success(), "{plan:?}");
    for word in [
        "BatchMode=yes",
        "'me@[::1]' 'exec sh -s'",
        "a folder/a/chronotick.new",
        "duration='90s'",
        "kill -TERM",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!dir.path().join("hosts/calls").exists());
}

#[test]
fn a_wrong_inventory_begins_nothing() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path(), "[\"a b\", \"$(id)\"]", "");
    let refused = fleet(dir.path(), &["deploy"]);
    assert_eq!(refused.status.code(), Some(125), "{refused:?}");
    assert_eq!(text(&refused.stderr).matches("hosts.name is").count(), 2, "{refused:?}");
}
