//! Foresight: this project's own family. It corrects a base forecast that comes with the question: how much further, or
//! less far, the running sum of the series will get, in standard deviations of that base.
//!
//! A dense encoder and decoder, after the finding that these suffice for long horizons (Das et al. 2023,
//! arXiv:2304.08424). It sees the newest values one by one and older ones as means, gaps as such. Everything that it
//! sees is relative, so that the unit of the series does not matter.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::kernels::Activation;
use crate::layers::{self, Linear};
use crate::{Abilities, Covariate, Family, Forecast, ForecastError, Levels, OpenError, Point, Task};

/// What `config.json` says of a Foresight model.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
pub struct Shape {
    /// Always `foresight`.
    pub model_type: String,
    /// How many of the newest values it looks at.
    pub context_length: usize,
    /// So many of these it sees one by one.
    pub fine: usize,
    /// Older values it sees as means of so many.
    pub pool: usize,
    /// Steps that it forecasts.
    pub prediction_length: usize,
    /// Features of its layers.
    pub width: usize,
    /// Layers with a residual connection between encoder and decoder.
    pub blocks: usize,
    /// Levels of the quantiles, ascending; the middle one is 0.5.
    pub quantiles: Vec<f64>,
}

/// One question as numbers.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The series, centred: oldest first, NaN for what is missing; at most the context is looked at.
    pub values: &'a [f64],
    /// Their standard deviations.
    pub sigmas: &'a [f64],
    /// The base forecast of the running sum at each step.
    pub base: &'a [f64],
    /// Its standard deviations, positive.
    pub base_sigmas: &'a [f64],
}

/// Channels of each point of the context: against the spread, against the noise, the noise, and how much is known.
const CHANNELS: usize = 4;
/// Numbers that describe the whole context.
const SCALARS: usize = 6;

impl Shape {
    /// How many numbers the network sees.
    pub fn inputs(&self) -> usize {
        CHANNELS * self.points() + SCALARS + self.base_inputs()
    }

    /// How many of the last of these describe the base forecast.
    pub fn base_inputs(&self) -> usize {
        2 * self.prediction_length
    }

    /// How many numbers the network gives: a level's for each step.
    pub fn outputs(&self) -> usize {
        self.prediction_length * self.quantiles.len()
    }

    /// Index of the median among the quantiles.
    pub fn middle(&self) -> usize {
        self.quantiles.len() / 2
    }

    fn points(&self) -> usize {
        self.fine + (self.context_length - self.fine) / self.pool
    }

    /// What the network sees of a question: [`inputs`](Shape::inputs) numbers.
    ///
    /// # Panics
    /// If the base forecast has another length than the horizon.
    pub fn features(&self, question: &Question<'_>) -> Vec<f32> {
        let Question { values, sigmas, base, base_sigmas } = *question;
        assert!(base.len() == self.prediction_length && base_sigmas.len() == self.prediction_length);
        let from = values.len().saturating_sub(self.context_length);
        let (values, sigmas) = (&values[from..], &sigmas[from..]);
        let known = || values.iter().zip(sigmas).filter(|(v, s)| v.is_finite() && s.is_finite());
        let count = known().count().max(1) as f64;
        let mean = known().map(|(v, _)| v).sum::<f64>() / count;
        let variance = known().map(|(v, _)| (v - mean).powi(2)).sum::<f64>() / count;
        let noise = known().next_back().map_or(1.0, |(_, s)| *s).max(1e-12);
        let spread = variance.sqrt().hypot(noise);
        let mut features = vec![0.0; self.inputs()];
        let older = self.points() - self.fine;
        let mut point = |index: usize, range: std::ops::Range<usize>| {
            let size = range.len() as f64;
            let inside = range.filter_map(|i| {
                // The newest value is the last of the context.
                let i = (i + values.len()).checked_sub(self.context_length)?;
                (values[i].is_finite() && sigmas[i].is_finite()).then(|| (values[i], sigmas[i]))
            });
            let (n, sum, sigma) =
                inside.fold((0.0, 0.0, 0.0), |(n, v, s), (value, sigma)| (n + 1.0, v + value, s + sigma));
            if n > 0.0 {
                let (value, sigma) = (sum / n, sigma / n);
                let out = &mut features[CHANNELS * index..][..CHANNELS];
                out[0] = (value / spread).clamp(-8.0, 8.0) as f32;
                out[1] = ((value / (2.0 * noise)).asinh() / 4.0) as f32;
                out[2] = ((sigma.max(1e-12) / spread).ln() / 3.0) as f32;
                out[3] = (n / size) as f32;
            }
        };
        for i in 0..older {
            point(i, i * self.pool..(i + 1) * self.pool);
        }
        let begin = self.context_length - self.fine;
        for i in 0..self.fine {
            point(older + i, begin + i..begin + i + 1);
        }
        let steps = self.prediction_length as f64;
        let last = base_sigmas.len() - 1;
        let scalars = [
            (spread / noise).ln() / 3.0,
            mean / spread,
            count / self.context_length as f64,
            (base_sigmas[last] / (steps * spread)).ln() / 3.0,
            (base_sigmas[0] / spread).ln() / 3.0,
            1.0,
        ];
        let rest = &mut features[CHANNELS * self.points()..];
        for (to, from) in rest.iter_mut().zip(scalars) {
            *to = from as f32;
        }
        for (i, (base, sigma)) in base.iter().zip(base_sigmas).enumerate() {
            rest[SCALARS + i] = ((base / sigma).clamp(-20.0, 20.0) / 2.0) as f32;
            let far = (i + 1) as f64 * spread;
            rest[SCALARS + self.prediction_length + i] = (base / far).clamp(-4.0, 4.0) as f32;
        }
        features
    }
}

/// A loaded Foresight model.
pub(crate) struct Foresight {
    shape: Shape,
    encoder: Linear,
    blocks: Vec<(Linear, Linear)>,
    decoder: Linear,
    device: Device,
}

impl Foresight {
    pub(crate) fn load(checkpoint: &Checkpoint) -> Result<Self, OpenError> {
        let shape: Shape = checkpoint.config()?;
        checkpoint.check_sizes(&[
            ("context_length", shape.context_length),
            ("fine", shape.fine),
            ("pool", shape.pool),
            ("prediction_length", shape.prediction_length),
            ("width", shape.width),
            ("blocks", shape.blocks),
        ])?;
        super::check_levels(checkpoint, "quantiles", &shape.quantiles)?;
        let whole = shape.fine <= shape.context_length
            && (shape.context_length - shape.fine).is_multiple_of(shape.pool);
        if !whole || shape.quantiles[shape.middle()] != 0.5 {
            let reason =
                "context_length − fine is a multiple of pool, and the middle one of the quantiles is 0.5";
            return Err(checkpoint.bad_config(reason));
        }
        let linear = |name: &str, inputs, outputs| Linear::load(checkpoint, name, inputs, outputs);
        let block = |i: usize| {
            let part = |part: &str| linear(&format!("blocks.{i}.{part}"), shape.width, shape.width);
            Ok((part("hidden")?, part("output")?))
        };
        Ok(Self {
            encoder: linear("encoder", shape.inputs(), shape.width)?,
            blocks: (0..shape.blocks).map(block).collect::<Result<_, OpenError>>()?,
            decoder: linear("decoder", shape.width, shape.outputs())?,
            device: checkpoint.device().clone(),
            shape,
        })
    }

    /// The network: features to what makes the quantiles, `[row, step · level]`.
    fn network(&self, features: Vec<f32>) -> candle_core::Result<Vec<Vec<f32>>> {
        let rows = features.len() / self.shape.inputs();
        let x = Tensor::from_vec(features, (rows, self.shape.inputs()), &self.device)?;
        let mut h = self.encoder.forward_then(&x, Activation::Gelu)?;
        for (hidden, output) in &self.blocks {
            h = output.forward_onto(&h, &hidden.forward_then(&h, Activation::Gelu)?)?;
        }
        layers::rows(&self.decoder.forward(&h)?)
    }

    /// All trained quantiles of one step, in standard deviations of the base.
    fn quantiles(&self, raw: &[f32]) -> Vec<f64> {
        let softplus = |x: f32| f64::from(x.max(0.0)) + f64::from((-x.abs()).exp()).ln_1p();
        let middle = self.shape.middle();
        let mut quantiles = vec![f64::from(raw[middle]); raw.len()];
        for i in middle + 1..raw.len() {
            quantiles[i] = quantiles[i - 1] + softplus(raw[i]);
        }
        for i in (0..middle).rev() {
            quantiles[i] = quantiles[i + 1] - softplus(raw[i]);
        }
        quantiles
    }
}

impl Model for Foresight {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(self.shape.context_length),
            horizon: self.shape.prediction_length,
            point: Point::Median,
            levels: Levels::Trained(self.shape.quantiles.clone()),
            joint: false,
            covariates: true,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ForecastError> {
        let unsuited = |reason| Err(ForecastError::Unsuited { family: Family::Foresight, reason });
        let steps = self.shape.prediction_length;
        if horizon != steps {
            return unsuited(format!(
                "{horizon} steps were asked for; it gives {steps}, as many as it corrects"
            ));
        }
        let mut features = Vec::with_capacity(tasks.len() * self.shape.inputs());
        for (index, task) in tasks.iter().enumerate() {
            let ([values], [base, sigmas]) = (&task.targets[..], &task.covariates[..]) else {
                return unsuited(format!(
                    "task {index} has {} targets and {} covariates; wanted are one target and two covariates: the \
                     base forecast of its running sum, and standard deviations",
                    task.targets.len(),
                    task.covariates.len()
                ));
            };
            let (Some(base), Covariate { past, future: Some(ahead) }) = (&base.future, sigmas) else {
                return unsuited(format!("task {index}: both covariates need their values over the horizon"));
            };
            if !base.iter().all(|v| v.is_finite()) || !ahead.iter().all(|s| *s > 0.0) {
                return unsuited(format!(
                    "task {index}: the base forecast has gaps, or a deviation that is not positive"
                ));
            }
            let question = Question { values, sigmas: past, base, base_sigmas: ahead };
            features.extend(self.shape.features(&question));
        }
        let column = |level: &f64| self.shape.quantiles.iter().position(|known| known == level);
        let columns: Vec<usize> = levels.iter().filter_map(column).collect();
        let rows = self.network(features)?;
        let forecasts = rows.iter().zip(tasks).map(|(row, task)| {
            let [base, sigmas] = [0, 1].map(|i| task.covariates[i].future.as_deref().unwrap_or_default());
            let steps: Vec<Vec<f64>> = row
                .chunks(self.shape.quantiles.len())
                .zip(base.iter().zip(sigmas))
                .map(|(raw, (base, sigma))| {
                    self.quantiles(raw).into_iter().map(|z| base + sigma * z).collect()
                })
                .collect();
            Forecast {
                point: steps.iter().map(|step| step[self.shape.middle()]).collect(),
                mean: None,
                quantiles: steps
                    .iter()
                    .map(|step| columns.iter().map(|column| step[*column]).collect())
                    .collect(),
            }
        });
        Ok(super::by_task(tasks, forecasts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            model_type: "foresight".into(),
            context_length: 16,
            fine: 8,
            pool: 4,
            prediction_length: 3,
            width: 4,
            blocks: 1,
            quantiles: vec![0.1, 0.5, 0.9],
        }
    }

    #[test]
    fn features_do_not_depend_on_the_unit() {
        let values: Vec<f64> = (0..12).map(|i| if i == 5 { f64::NAN } else { f64::from(i).sin() }).collect();
        let (sigmas, base, ahead) = ([0.1; 12], [0.5, 1.0, 1.5], [0.2, 0.4, 0.9]);
        let of = |unit: f64| {
            let scaled = |numbers: &[f64]| numbers.iter().map(|v| v * unit).collect::<Vec<f64>>();
            let (values, sigmas, base, ahead) =
                (scaled(&values), scaled(&sigmas), scaled(&base), scaled(&ahead));
            shape().features(&Question { values: &values, sigmas: &sigmas, base: &base, base_sigmas: &ahead })
        };
        let (one, other) = (of(1.0), of(1024.0));
        assert_eq!(one.len(), shape().inputs());
        assert_eq!(one, other);
        // The context is four values short: the oldest mean knows nothing.
        assert_eq!(&one[..CHANNELS], [0.0; CHANNELS]);
        assert_eq!(one[CHANNELS + 3], 1.0);
    }
}
