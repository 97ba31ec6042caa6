//! An experiment from its begin to its comparison, as a person runs it: the real binary, its own engine, and servers of
//! our own on loopback.

mod time_server;

use chronotick_clock::Span;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use time_server::time_server;

fn chronotick(dir: &Path, arguments: &[&str]) -> Output {
    let servers: Vec<String> = (0..3).map(|_| time_server(Span::ZERO).to_string()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
    command.args(arguments).current_dir(dir).env_clear().env("XDG_CONFIG_HOME", dir);
    command.env("CHRONOTICK_RUNTIME_DIR", dir.join("run")).env("CHRONOTICK_STATE_DIR", dir.join("state"));
    command.env("CHRONOTICK_NTP_SERVERS", servers.join(",")).output().unwrap()
}

fn validate(dir: &Path, more: &[&str]) -> Output {
    let servers: Vec<String> = (0..3).map(|_| time_server(Span::ZERO).to_string()).collect();
    let servers = servers.join(",");
    let fixed = [
        "validate",
        "--ntp-server",
        &servers,
        "--sample-interval",
        "0.2",
        "--ntp-interval",
        "1",
        "--out",
        "seen.csv",
    ];
    chronotick(dir, &[&fixed[..], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_experiment_is_observed_gone_on_with_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let first = validate(dir.path(), &["--duration", "8s"]);
    assert!(first.status.success(), "{first:?}");
    let said = text(&first.stdout);
    assert!(said.contains("NTP: offset=") && said.contains("(combined 3/3, MAD="), "{said}");
    assert!(said.contains("Fix1 vs NTP:") && said.contains("system clock"), "{said}");
    let rows = || std::fs::read_to_string(dir.path().join("seen.csv")).unwrap().lines().count();
    let before = rows();

    let again = validate(dir.path(), &["--duration", "8s"]);
    assert!(!again.status.success() && text(&again.stderr).contains("--resume"), "{again:?}");
    assert_eq!(rows(), before);
    let resumed = validate(dir.path(), &["--duration", "120s", "--columns", "minimal", "--resume"]);
    assert!(text(&resumed.stderr).contains("--columns full"), "{resumed:?}");
    let resumed = validate(dir.path(), &["--duration", "14s", "--resume"]);
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(rows() > before);

    let compared = chronotick(
        dir.path(),
        &["compare", "seen.csv", "--json", "--report", "page.html", "--plots", "plots"],
    );
    assert!(compared.status.success(), "{compared:?}");
    let scores: Value = serde_json::from_slice(&compared.stdout).unwrap();
    let ways: Vec<&str> =
        scores["scores"].as_array().unwrap().iter().map(|s| s["way"].as_str().unwrap()).collect();
    assert_eq!(ways[..3], ["system clock", "fix1", "fix2"]);
    for name in ["series", "distribution", "drift", "improvement"] {
        let picture = std::fs::read_to_string(dir.path().join("plots").join(format!("{name}.svg"))).unwrap();
        assert!(picture.starts_with("<svg"), "{name}");
    }
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(
        page.contains("<title>") && !page.contains("http://") || page.contains("xmlns"),
        "it needs nothing else"
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("other.csv"), "a,b\n1,2\n").unwrap();
    let refused = chronotick(dir.path(), &["compare", "other.csv"]);
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("other.csv: it has no column"),
        "{refused:?}"
    );
}
