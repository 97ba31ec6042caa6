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
    assert!(object.to_string().contains("a.1"), "{object}");
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
}
