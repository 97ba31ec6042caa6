//! `chronotick models`: judges checkpoints.

use super::args::ModelsCommand;
use super::{Failure, say};
use chronotick_tsfm::check::{self, Report, Verdict};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(super) fn execute(what: &ModelsCommand) -> Result<ExitCode, Failure> {
    match what {
        ModelsCommand::Check { folders, json } => check(folders, *json),
    }
}

/// Replays each folder's cases as it comes; a folder that cannot be judged fails, and the others are judged all the same.
fn check(folders: &[PathBuf], json: bool) -> Result<ExitCode, Failure> {
    let mut passed = true;
    let mut judged = Vec::new();
    for folder in folders {
        let outcome = check::run(folder);
        passed &= outcome.as_ref().is_ok_and(Report::passes);
        match (&outcome, json) {
            (_, true) => judged.push(match &outcome {
                Ok(report) => document(folder, report),
                Err(e) => json!({ "folder": folder, "passes": false, "error": e.to_string() }),
            }),
            (Ok(report), false) => say(&table(folder, report))?,
            (Err(e), false) => eprintln!("chronotick: {e}"),
        }
    }
    if json {
        say(&format!("{}\n", json!({ "passes": passed, "folders": judged })))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The worst deviation of every case, as a share of its tolerance; where it is, if it is beyond.
fn table(folder: &Path, report: &Report) -> String {
    let width = report.cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0);
    let line = |case: &Verdict| match case.passes() {
        true => format!("  passes  {:width$}  {:.3}\n", case.name, case.deviation),
        false => format!("  FAILS   {:width$}  {:.3} at {}\n", case.name, case.deviation, case.at),
    };
    let lines: String = report.cases.iter().map(line).collect();
    let failing = report.cases.iter().filter(|case| !case.passes()).count();
    let verdict = match (report.cases.len(), failing) {
        (0, _) => "FAILS: cases.json holds no case".to_owned(),
        (cases, 0) => format!("{cases} cases, all within tolerance"),
        (cases, failing) => format!("{failing} of {cases} cases beyond tolerance"),
    };
    let worst = report.cases.iter().map(|case| case.deviation).fold(0.0, f64::max);
    format!(
        "{} ({}), worst deviation of each case in units of its tolerance:\n{lines}  {verdict}; worst {worst:.3}\n",
        folder.display(),
        report.family
    )
}

fn document(folder: &Path, report: &Report) -> Value {
    // JSON has no infinity: a case that cannot be compared has no deviation.
    let case = |case: &Verdict| {
        let deviation = Some(case.deviation).filter(|deviation| deviation.is_finite());
        json!({ "name": case.name, "passes": case.passes(), "deviation": deviation, "at": case.at })
    };
    json!({
        "folder": folder,
        "family": report.family.to_string(),
        "passes": report.passes(),
        "cases": report.cases.iter().map(case).collect::<Vec<_>>(),
    })
}
