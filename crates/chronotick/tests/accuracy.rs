//! `simulate`, `replay` and `score` by the real binary, on a trace that the simulator wrote.

use chronotick_sim::recording::Recording;
use chronotick_sim::{Scenario, World};
use serde_json::Value;
use std::process::{Command, Output};

fn chronotick(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chronotick")).args(arguments).output().unwrap()
}

#[test]
fn packets_alone_are_enough_for_ticks_and_the_truth_beside_them_for_scores() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(&Scenario::built_in("a").unwrap(), 1);
    Recording::of(&world).write(dir.path()).unwrap();
    let (trace, ticks) = (dir.path().join("a.1"), dir.path().join("ticks.csv"));
    let (trace, out) = (trace.display().to_string(), ticks.display().to_string());

    let scored = chronotick(&["replay", &trace, "--json", "--ticks", &out]);
    let object: Value = serde_json::from_slice(&scored.stdout).unwrap_or_else(|e| panic!("{e}: {scored:?}"));
    assert_eq!(object["scores"][0]["name"], "a.1", "{object}");
    let with_truth = std::fs::read_to_string(&ticks).unwrap();
    assert_eq!(with_truth.lines().next(), Some("raw,correction,sd"));
    assert!(with_truth.lines().count() > 2_000);

    for end in ["csv", "csv.gz"] {
        let _ = std::fs::remove_file(dir.path().join(format!("a.1.truth.{end}")));
    }
    let blind = chronotick(&["replay", &trace, "--ticks", &out]);
    assert!(blind.status.success() && blind.stdout.is_empty(), "{blind:?}");
    assert!(String::from_utf8_lossy(&blind.stderr).contains("no truth"), "{blind:?}");
    assert_eq!(std::fs::read_to_string(&ticks).unwrap(), with_truth, "the truth changes no answer");
}

#[test]
fn a_world_gives_a_table_a_page_and_plots() {
    let dir = tempfile::tempdir().unwrap();
    let (page, plots) = (dir.path().join("page.html"), dir.path().join("plots"));
    let [page_arg, plots_arg] = [&page, &plots].map(|path| path.display().to_string());
    let output = chronotick(&["simulate", "a", "--report", &page_arg, "--plots", &plots_arg]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("rms"), "{output:?}");
    assert!(std::fs::read_to_string(page).unwrap().contains("<svg"));
    assert_eq!(std::fs::read_dir(plots).unwrap().count(), 4);
}

#[test]
fn what_is_missing_is_named() {
    let missing = chronotick(&["replay", "no/such/trace"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/trace"), "{missing:?}");
    let unknown = chronotick(&["simulate", "nowhere"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("built in are"), "{unknown:?}");
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let bare = chronotick(&["score", &folder]);
    assert!(String::from_utf8_lossy(&bare.stderr).contains("no trace in it"), "{bare:?}");
    let packets = dir.path().join("x.packets.csv");
    std::fs::write(&packets, "").unwrap();
    let empty = chronotick(&["replay", &packets.display().to_string()]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&empty.stderr).contains("nothing after the header"), "{empty:?}");
}

/// A recording of the original's form: a query a minute, of a clock that is right.
#[test]
fn a_recording_is_judged_as_a_table_and_as_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let recording = |name: &str, queries: u32| {
        let rows = (0..queries).map(|i| format!("{}.0,0.{},0.0\n", 1_790_000_000 + 60 * i, i % 7));
        let text = "timestamp,ntp_offset_ms,chronotick_offset_ms\n".to_owned() + &rows.collect::<String>();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (long, short) = (recording("long.csv", 60), recording("short.csv", 5));
    let judged = chronotick(&["replay", &long, "--json"]);
    let object: Value = serde_json::from_slice(&judged.stdout).unwrap_or_else(|e| panic!("{e}: {judged:?}"));
    assert!(object["recordings"][0]["points"].as_u64() > Some(20), "{object}");
    let too_few = chronotick(&["replay", &short]);
    assert!(String::from_utf8_lossy(&too_few.stderr).contains("too short"), "{too_few:?}");
    let drawn = chronotick(&["replay", &long, "--report", "page.html"]);
    assert!(!drawn.status.success() && !std::path::Path::new("page.html").exists(), "{drawn:?}");
}
