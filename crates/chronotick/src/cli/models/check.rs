//! `chronotick models check`: a checkpoint by recorded outputs of its reference, an address by the contract.

use super::super::{Failure, say};
use crate::models::{Endpoint, Model, Reference};
use chronotick_tsfm::check::{self, Verdict};
use chronotick_tsfm::{Covariate, Levels, Task};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What came of one folder or address.
struct Judged {
    family: String,
    cases: Vec<Verdict>,
}

/// Judges each model as it comes; one that cannot be judged fails, and the others are judged all the same.
pub(super) fn execute(models: &[String], json: bool) -> Result<ExitCode, Failure> {
    let mut passed = true;
    let mut judged = Vec::new();
    for model in models {
        let outcome = judge(model);
        passed &= outcome.as_ref().is_ok_and(Judged::passes);
        match (outcome, json) {
            (Ok(outcome), true) => judged.push(outcome.document(model)),
            (Err(e), true) => {
                judged.push(json!({ "folder": model, "passes": false, "error": e.to_string() }))
            }
            (Ok(outcome), false) => say(&outcome.table(model))?,
            (Err(e), false) => eprintln!("chronotick: {e}"),
        }
    }
    if json {
        say(&format!("{}\n", json!({ "passes": passed, "folders": judged })))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judge(model: &str) -> Result<Judged, Failure> {
    // A folder is what is asked for here, whatever else its name may mean.
    let reference = match Path::new(model).exists() {
        true => Reference::Folder(PathBuf::from(model)),
        false => model.parse()?,
    };
    let folder = match reference {
        Reference::Endpoint(address) => {
            let endpoint = Endpoint::open(&address)?;
            let family = endpoint.name().to_owned();
            return Ok(Judged { family, cases: put_to_the_test(Model::Endpoint(Box::new(endpoint))) });
        }
        Reference::Hub(repository) => repository.find()?.folder,
        Reference::Folder(folder) => folder,
    };
    let report = check::run(&folder)?;
    Ok(Judged { family: report.family.to_string(), cases: report.cases })
}

/// Asks what the daemon asks, and what a server is likely to have forgotten.
fn put_to_the_test(model: Model) -> Vec<Verdict> {
    let abilities = model.abilities();
    let levels = match &abilities.levels {
        Levels::None => Vec::new(),
        Levels::Trained(these) => these.clone(),
        Levels::Between(_) | Levels::Any => vec![0.1, 0.5, 0.9],
    };
    let series = |length: usize| super::bench::series(length);
    let gaps = |every: usize| -> Vec<f64> {
        series(100).into_iter().enumerate().map(|(i, v)| if i % every == 0 { f64::NAN } else { v }).collect()
    };
    let together = Task { targets: vec![series(100), gaps(7)], covariates: Vec::new() };
    let informed = Task {
        covariates: vec![
            Covariate { past: gaps(5), future: Some(series(5)) },
            Covariate { past: series(100), future: None },
        ],
        ..Task::from(series(100))
    };
    let far = series(100).iter().map(|v| v * 1e-6 + 1e6).collect::<Vec<f64>>();
    let mut cases: Vec<(&str, Vec<Task>, usize, &[f64])> = vec![
        ("short model's question", vec![series(100).into()], 5, &levels),
        ("long model's question", vec![series(300).into()], 60, &levels),
        ("no levels", vec![series(100).into()], 5, &[]),
        ("gaps", vec![gaps(3).into()], 5, &levels),
        ("a single point", vec![vec![1.0].into()], 1, &levels),
        ("a constant", vec![vec![2.0; 50].into()], 5, &levels),
        ("small and far from zero", vec![far.into()], 5, &levels),
        ("two tasks of unequal length", vec![series(40).into(), series(100).into()], 5, &levels),
        ("two targets", vec![together], 5, &levels),
    ];
    if abilities.covariates {
        cases.push(("covariates", vec![informed], 5, &levels));
    }
    let ask = |(name, tasks, horizon, levels): (&str, Vec<Task>, usize, &[f64])| {
        let outcome = model.forecast(&tasks, horizon, levels);
        let deviation = if outcome.is_ok() { 0.0 } else { f64::INFINITY };
        Verdict {
            name: name.to_owned(),
            deviation,
            at: outcome.err().map_or_else(String::new, |e| e.to_string()),
        }
    };
    cases.into_iter().map(ask).collect()
}

impl Judged {
    fn passes(&self) -> bool {
        !self.cases.is_empty() && self.cases.iter().all(Verdict::passes)
    }

    /// The worst deviation of every case, as a share of its tolerance; where it is, if it is beyond.
    fn table(&self, model: &str) -> String {
        let Self { family, cases } = self;
        let width = cases.iter().map(|case| case.name.chars().count()).max().unwrap_or(0);
        let line = |case: &Verdict| match case.passes() {
            true => format!("  passes  {:width$}  {:.3}\n", case.name, case.deviation),
            false => format!("  FAILS   {:width$}  {:.3} at {}\n", case.name, case.deviation, case.at),
        };
        let lines: String = cases.iter().map(line).collect();
        let failing = cases.iter().filter(|case| !case.passes()).count();
        let verdict = match (cases.len(), failing) {
            (0, _) => "FAILS: cases.json holds no case".to_owned(),
            (cases, 0) => format!("{cases} cases, all within tolerance"),
            (cases, failing) => format!("{failing} of {cases} cases beyond tolerance"),
        };
        let worst = cases.iter().map(|case| case.deviation).fold(0.0, f64::max);
        format!(
            "{model} ({family}), worst deviation of each case in units of its tolerance:\n{lines}  {verdict}; worst {worst:.3}\n"
        )
    }

    fn document(&self, model: &str) -> Value {
        // JSON has no infinity: a case that cannot be compared has no deviation.
        let case = |case: &Verdict| {
            let deviation = Some(case.deviation).filter(|deviation| deviation.is_finite());
            json!({ "name": case.name, "passes": case.passes(), "deviation": deviation, "at": case.at })
        };
        let cases: Vec<Value> = self.cases.iter().map(case).collect();
        json!({ "folder": model, "family": self.family, "passes": self.passes(), "cases": cases })
    }
}
