//! What surrounds the network: a task's series in the order of the model's channels, standardised, padded to the
//! context, and the forecasts back in the series' units.

use super::{Past, Ttm};
use crate::models::{self, Model};
use crate::{Abilities, Family, Forecast, ForecastError, Levels, Point, Task};

/// The frequency token of a series whose sampling interval is none of those that have a token: seconds, for one.
const OTHER_FREQUENCY: usize = 0;

impl Model for Ttm {
    fn abilities(&self) -> Abilities {
        let c = &self.config;
        Abilities {
            context: Some(c.context_length),
            horizon: c.steps(),
            point: match c.loss.as_deref() {
                Some("mse") => Point::Mean,
                Some("mae") => Point::Median,
                _ => Point::Robust,
            },
            levels: Levels::None,
            joint: c.fixed_channels(),
            covariates: c.fixed_channels() && c.predicted().len() < c.num_input_channels,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        _levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ForecastError> {
        let mut forecasts = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            forecasts.extend(self.forecast_task(index, task, horizon)?);
        }
        Ok(models::by_task(tasks, forecasts))
    }
}

impl Ttm {
    /// Every channel is standardised first, as the model's card demands; what is missing counts as its mean.
    fn forecast_task(
        &self,
        index: usize,
        task: &Task,
        horizon: usize,
    ) -> Result<Vec<Forecast>, ForecastError> {
        let (channels, targets) = self.channels(task, horizon)?;
        let length = self.config.context_length;
        let mut past = Past { values: Vec::new(), observed: Vec::new() };
        let mut scales = Vec::new();
        for channel in &channels {
            let newest = &channel.past[channel.past.len().saturating_sub(length)..];
            let scale = Standard::of(newest);
            let padding = std::iter::repeat_n(f64::NAN, length - newest.len());
            let padded: Vec<f64> = padding.chain(newest.iter().copied()).collect();
            past.observed.push(padded.iter().map(|value| !value.is_nan()).collect());
            past.values.push(padded.iter().map(|value| scale.apply(*value)).collect());
            scales.push(scale);
        }
        if let Some(target) = targets.iter().position(|&i| !past.observed[i].contains(&true)) {
            let series = format!("target {target}");
            return Err(ForecastError::NothingObserved { task: index, series, family: Family::Ttm });
        }
        let known = channels.iter().zip(&scales).filter_map(|(channel, scale)| {
            Some(channel.future?.iter().map(|value| scale.apply(*value)).collect())
        });
        let forecast = self.predict(past, OTHER_FREQUENCY, &known.collect::<Vec<_>>(), horizon)?;
        Ok(forecast
            .iter()
            .zip(targets)
            .map(|(path, target)| Forecast {
                point: path.iter().map(|z| scales[target].undo(*z)).collect(),
                mean: None,
                quantiles: vec![Vec::new(); horizon],
            })
            .collect())
    }

    /// The task's series in the order of the model's channels, and which channels are its targets.
    fn channels<'a>(
        &self,
        task: &'a Task,
        horizon: usize,
    ) -> Result<(Vec<Channel<'a>>, Vec<usize>), ForecastError> {
        let mut targets = task.targets.iter().map(|past| Channel { past, future: None });
        if !self.config.fixed_channels() {
            return Ok((targets.collect(), (0..task.targets.len()).collect()));
        }
        let (c, predicted, exogenous) = (&self.config, self.config.predicted(), self.config.exogenous());
        let unsuited = |reason| Err(ForecastError::Unsuited { family: Family::Ttm, reason });
        let covariates = c.num_input_channels - predicted.len();
        if task.targets.len() != predicted.len() || task.covariates.len() != covariates {
            return unsuited(format!(
                "this checkpoint takes {} targets and {covariates} covariates, not {} and {}",
                predicted.len(),
                task.targets.len(),
                task.covariates.len()
            ));
        }
        if !exogenous.is_empty() && horizon != c.steps() {
            let steps = c.steps();
            return unsuited(format!("this checkpoint wants covariates over {steps} steps; ask for as many"));
        }
        let mut others = task.covariates.iter();
        let mut channels = Vec::with_capacity(c.num_input_channels);
        for i in 0..c.num_input_channels {
            if predicted.contains(&i) {
                channels.extend(targets.next());
            } else if let Some(covariate) = others.next() {
                let future = covariate.future.as_deref();
                if future.is_some() != exogenous.contains(&i) {
                    let wants = if future.is_some() { "has no use for" } else { "needs" };
                    let number = task.covariates.len() - others.len() - 1;
                    return unsuited(format!("this checkpoint {wants} the future of covariate {number}"));
                }
                channels.push(Channel { past: &covariate.past, future });
            }
        }
        Ok((channels, predicted))
    }
}

/// One channel of the input.
struct Channel<'a> {
    past: &'a [f64],
    future: Option<&'a [f64]>,
}

/// Mean and population deviation of what was observed, a deviation of 1 where there is none but rounding.
pub(crate) struct Standard {
    pub(crate) mean: f64,
    pub(crate) deviation: f64,
}

impl Standard {
    pub(crate) fn of(values: &[f64]) -> Self {
        let observed = || values.iter().copied().filter(|value| !value.is_nan());
        let count = observed().count().max(1) as f64;
        let mean = observed().sum::<f64>() / count;
        let variance = observed().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let rounding = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
        Self { mean, deviation: if variance <= rounding { 1.0 } else { variance.sqrt() } }
    }

    /// A missing value counts as the mean.
    fn apply(&self, value: f64) -> f64 {
        if value.is_nan() { 0.0 } else { (value - self.mean) / self.deviation }
    }

    pub(crate) fn undo(&self, z: f64) -> f64 {
        z * self.deviation + self.mean
    }
}
