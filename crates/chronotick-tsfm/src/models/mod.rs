//! One file per family: its configuration as `config.json` has it, its weights under their published names, its
//! forward pass, and around that the pipeline of its reference. What does not fit in one file is in a folder beside it.

pub(crate) mod chronos2;
pub(crate) mod chronos_bolt;
pub mod foresight;
pub(crate) mod time_moe;
pub(crate) mod timesfm20;
pub(crate) mod timesfm25;
pub(crate) mod toto;
pub(crate) mod ttm;

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::checkpoint::Checkpoint;
use crate::{Abilities, Forecast, ForecastError, OpenError, Task};

/// What every family does once it is loaded.
pub(crate) trait Model: Send + Sync {
    fn abilities(&self) -> Abilities;

    /// Forecasts `[task][target]`. The question is sound and within the abilities: `Forecaster` has seen to that.
    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ForecastError>;
}

/// Hands the forecasts of all targets, in order, back to their tasks.
pub(crate) fn by_task(tasks: &[Task], forecasts: impl IntoIterator<Item = Forecast>) -> Vec<Vec<Forecast>> {
    let mut forecasts = forecasts.into_iter();
    tasks.iter().map(|task| forecasts.by_ref().take(task.targets.len()).collect()).collect()
}

/// The levels asked for, and after them the median, which is these families' point forecast.
fn with_median(levels: &[f64]) -> Vec<f64> {
    levels.iter().copied().chain([0.5]).collect()
}

/// A forecast of a table `[step][level]` whose last level is the median.
fn split_median(mut table: Vec<Vec<f64>>) -> Forecast {
    let point = table.iter_mut().filter_map(Vec::pop).collect();
    Forecast { point, mean: None, quantiles: table }
}

/// T5's `layer_norm_epsilon` where the configuration does not say it.
fn t5_epsilon() -> f64 {
    1e-6
}

/// Refuses trained levels that are not an ascending list between 0 and 1.
fn check_levels(checkpoint: &Checkpoint, key: &str, levels: &[f64]) -> Result<(), OpenError> {
    let ascending = levels.windows(2).all(|pair| pair[0] < pair[1]);
    if ascending && !levels.is_empty() && levels.len() < 1000 && levels.iter().all(|q| *q > 0.0 && *q < 1.0) {
        return Ok(());
    }
    Err(checkpoint.bad_config(format!("{key} is {levels:?}; wanted are ascending levels between 0 and 1")))
}

/// Row `id` of T5's `shared.weight`, as `[1, 1, width]`.
fn shared_token(checkpoint: &Checkpoint, id: usize, width: usize) -> Result<Tensor, OpenError> {
    let [rows, _] = checkpoint.sizes("shared.weight")?;
    if id >= rows {
        return Err(checkpoint.bad_config(format!("token id {id}, but shared.weight has {rows} rows")));
    }
    Ok(checkpoint.tensor("shared.weight", &[rows, width])?.narrow(0, id, 1)?.unsqueeze(0)?)
}

/// Indices of the rows that have the same number of tokens, at most `batch` together: such rows need no padding.
fn of_one_length(tokens: &[usize], batch: usize) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, count) in tokens.iter().enumerate() {
        groups.entry(*count).or_default().push(row);
    }
    groups.values().flat_map(|rows| rows.chunks(batch).map(<[usize]>::to_vec)).collect()
}

/// A TimesFM table `[step][mean, trained quantiles]` as a forecast; `levels` are among the trained ones.
fn timesfm_forecast(table: &[Vec<f64>], trained: &[f64], levels: &[f64]) -> Forecast {
    let column = |level: f64| trained.iter().position(|known| *known == level).map_or(0, |index| index + 1);
    let columns: Vec<usize> = levels.iter().map(|level| column(*level)).collect();
    Forecast {
        point: table.iter().map(|step| step[column(0.5)]).collect(),
        mean: Some(table.iter().map(|step| step[0]).collect()),
        quantiles: table.iter().map(|step| columns.iter().map(|column| step[*column]).collect()).collect(),
    }
}

/// What TimesFM multiplies a query with, per dimension: a learned scale, and the base of its softmax.
fn query_scale(checkpoint: &Checkpoint, name: &str, d: usize) -> Result<Vec<f32>, OpenError> {
    let base = std::f32::consts::LOG2_E / (d as f32).sqrt();
    let softplus = |x: f32| if x > 20.0 { x } else { x.exp().ln_1p() };
    Ok(checkpoint.values(name, &[d])?.into_iter().map(|x| softplus(x) * base).collect())
}
