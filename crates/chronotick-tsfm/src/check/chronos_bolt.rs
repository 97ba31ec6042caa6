//! Cases of Chronos-Bolt: independent series, quantiles at the levels asked for, the median as "mean".

use serde::Deserialize;

use super::{Case, CheckError, Series, Verdict, all_values, tasks_of};
use crate::models::chronos_bolt::ChronosBolt;

#[derive(Deserialize)]
struct Recorded {
    inputs: Vec<Series>,
    prediction_length: usize,
    quantile_levels: Vec<f64>,
    loc: Vec<f64>,
    unit: Vec<f64>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    quantiles: Vec<Vec<Vec<f64>>>,
    mean: Vec<Vec<f64>>,
}

pub(super) fn replay(model: &ChronosBolt, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    let recorded: Recorded = case.read()?;
    let count = recorded.inputs.len();
    let scales = case.scales(&recorded.loc, &recorded.unit, count)?;
    case.same_length("expected.quantiles", recorded.expected.quantiles.len(), count)?;
    case.same_length("expected.mean", recorded.expected.mean.len(), count)?;
    let (series, horizon) = (all_values(&recorded.inputs), recorded.prediction_length);
    let tasks = tasks_of(&recorded.inputs);
    let predict =
        |levels: &[f64]| case.forecast(&tasks, horizon, || Ok(model.predict(&series, horizon, levels)?));
    let (tables, medians) = (predict(&recorded.quantile_levels)?, predict(&[0.5])?);
    for (i, scale) in scales.into_iter().enumerate() {
        let (quantiles, mean) = (&recorded.expected.quantiles[i], &recorded.expected.mean[i]);
        verdict.compare_table(&format!("quantiles of series {i}"), &tables[i], quantiles, scale);
        verdict.compare(&format!("mean of series {i}"), &medians[i].concat(), mean, scale);
    }
    Ok(())
}
