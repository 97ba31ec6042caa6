//! Cases of Chronos-2: tasks with covariates by name, the caller's context length, learning across tasks.

use std::collections::BTreeMap;
use std::num::NonZero;

use serde::Deserialize;

use super::{Case, CheckError, Series, Verdict, all_values};
use crate::models::chronos2::{Chronos2, Options};
use crate::{Covariate, Task};

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Input>,
    prediction_length: usize,
    quantile_levels: Vec<f64>,
    context_length: Option<NonZero<usize>>,
    #[serde(default)]
    cross_learning: bool,
    loc: Vec<Vec<f64>>,
    unit: Vec<Vec<f64>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Input {
    target: Vec<Series>,
    #[serde(default)]
    past_covariates: BTreeMap<String, Series>,
    #[serde(default)]
    future_covariates: BTreeMap<String, Option<Series>>,
}

#[derive(Deserialize)]
struct Expected {
    quantiles: Vec<Vec<Vec<Vec<f64>>>>,
    mean: Vec<Vec<Vec<f64>>>,
}

impl Input {
    fn task(&self, case: &Case) -> Result<Task, CheckError> {
        if let Some(name) =
            self.future_covariates.keys().find(|name| !self.past_covariates.contains_key(*name))
        {
            return Err(case.bad(format!("future covariate {name} has no past")));
        }
        let covariate = |(name, past): (&String, &Series)| Covariate {
            past: past.values(),
            future: self.future_covariates.get(name).and_then(|future| Some(future.as_ref()?.values())),
        };
        let covariates = self.past_covariates.iter().map(covariate).collect();
        Ok(Task { targets: all_values(&self.target), covariates })
    }
}

pub(super) fn replay(model: &Chronos2, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let tasks = recorded.inputs.iter().map(|input| input.task(case)).collect::<Result<Vec<_>, _>>()?;
    for (what, found) in [
        ("loc", recorded.loc.len()),
        ("unit", recorded.unit.len()),
        ("expected.quantiles", recorded.expected.quantiles.len()),
        ("expected.mean", recorded.expected.mean.len()),
    ] {
        case.same_length(what, found, tasks.len())?;
    }
    let options = Options {
        context_length: recorded.context_length.map(NonZero::get),
        cross_learning: recorded.cross_learning,
    };
    let predict = |levels: &[f64]| {
        case.forecast(&tasks, recorded.prediction_length, || {
            Ok(model.predict(&tasks, recorded.prediction_length, levels, &options)?)
        })
    };
    let (tables, medians) = (predict(&recorded.quantile_levels)?, predict(&[0.5])?);
    for (i, task) in tasks.iter().enumerate() {
        let count = task.targets.len();
        let (quantiles, means) = (&recorded.expected.quantiles[i], &recorded.expected.mean[i]);
        case.same_length("expected.quantiles of a task", quantiles.len(), count)?;
        case.same_length("expected.mean of a task", means.len(), count)?;
        for (j, scale) in case.scales(&recorded.loc[i], &recorded.unit[i], count)?.into_iter().enumerate() {
            let at = format!("task {i}, target {j}");
            verdict.compare_table(&format!("quantiles of {at}"), &tables[i][j], &quantiles[j], scale);
            verdict.compare(&format!("mean of {at}"), &medians[i][j].concat(), &means[j], scale);
        }
    }
    Ok(())
}
