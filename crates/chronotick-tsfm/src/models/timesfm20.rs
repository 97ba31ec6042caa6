//! TimesFM 2.0: a decoder over patches of a series that one early patch normalises. The last patch gives mean and
//! nine quantiles of a block of steps; longer horizons append the mean and start anew. The layout is that of the
//! transformers library, `config.json` beside `model.safetensors`.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, LayerNorm, Linear, ResidualBlock, RmsNorm};
use crate::{Abilities, Family, Forecast, ForecastError, Levels, OpenError, Point, Task, scaling};

/// Rows computed at once, to bound the memory.
const BATCH: usize = 16;
/// A patch with fewer values than this does not normalise the series.
const FEW: usize = 3;

#[derive(Deserialize)]
struct Config {
    context_length: usize,
    freq_size: usize,
    head_dim: usize,
    hidden_size: usize,
    horizon_length: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    patch_length: usize,
    quantiles: Vec<f64>,
    #[serde(default = "small")]
    rms_norm_eps: f64,
    /// A spread below this counts as none.
    #[serde(default = "small")]
    tolerance: f64,
    #[serde(default)]
    use_positional_embedding: bool,
}

fn small() -> f64 {
    1e-6
}

impl Config {
    fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config: Self = checkpoint.config()?;
        checkpoint.check_sizes(&[
            ("context_length", config.context_length),
            ("freq_size", config.freq_size),
            ("head_dim", config.head_dim),
            ("hidden_size", config.hidden_size),
            ("horizon_length", config.horizon_length),
            ("intermediate_size", config.intermediate_size),
            ("num_attention_heads", config.num_attention_heads),
            ("num_hidden_layers", config.num_hidden_layers),
            ("patch_length", config.patch_length),
        ])?;
        super::check_levels(checkpoint, "quantiles", &config.quantiles)?;
        if !config.quantiles.contains(&0.5) {
            return Err(checkpoint.bad_config(format!("quantiles is {:?}; 0.5 is wanted", config.quantiles)));
        }
        if !config.context_length.is_multiple_of(config.patch_length) {
            let (context, patch) = (config.context_length, config.patch_length);
            return Err(checkpoint.bad_config(format!(
                "context_length is {context}; wanted is a multiple of patch_length {patch}"
            )));
        }
        if config.use_positional_embedding {
            return Err(checkpoint.unsupported("TimesFM 1.0 (use_positional_embedding)"));
        }
        Ok(config)
    }
}

/// A loaded TimesFM 2.0 model.
pub(crate) struct TimesFm20 {
    config: Config,
    embedding: ResidualBlock,
    /// `[frequency class, hidden]`.
    frequencies: Tensor,
    layers: Vec<Layer>,
    head: ResidualBlock,
}

struct Layer {
    norm: RmsNorm,
    /// Queries, keys and values in one product.
    qkv: Linear,
    /// What a query is multiplied with, `[d]`.
    scale: Tensor,
    o: Linear,
    mlp_norm: LayerNorm,
    gate: Linear,
    down: Linear,
}

impl TimesFm20 {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config = Config::read(checkpoint)?;
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let block = |name: &str, inputs, outputs| {
            let linear =
                |part: &str, from, to| Linear::load(checkpoint, &format!("{name}.{part}_layer"), from, to);
            Ok::<_, OpenError>(ResidualBlock {
                hidden: linear("input", inputs, inner)?,
                output: linear("output", inner, outputs)?,
                residual: linear("residual", inputs, outputs)?,
                activation: Activation::Silu,
            })
        };
        Ok(Self {
            embedding: block("decoder.input_ff_layer", 2 * config.patch_length, d)?,
            frequencies: checkpoint.tensor("decoder.freq_emb.weight", &[config.freq_size, d])?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(checkpoint, &config, &format!("decoder.layers.{i}")))
                .collect::<std::result::Result<_, _>>()?,
            head: block("horizon_ff_layer", d, config.horizon_length * (config.quantiles.len() + 1))?,
            config,
        })
    }

    /// The column of the median in a row of outputs; the mean is column 0.
    pub(crate) fn median(&self) -> usize {
        1 + self.config.quantiles.iter().position(|level| *level == 0.5).unwrap_or(0)
    }

    /// Mean and trained quantiles, `[series][step][output]`; one frequency class (0 is the highest) per series.
    pub(crate) fn predict(
        &self,
        series: &[Vec<f64>],
        frequencies: &[usize],
        horizon: usize,
    ) -> std::result::Result<Vec<Vec<Vec<f64>>>, ForecastError> {
        if let Some(class) = frequencies.iter().find(|class| **class >= self.config.freq_size) {
            let reason = format!("frequency class {class}; there are {}", self.config.freq_size);
            return Err(ForecastError::Unsuited { family: Family::TimesFm20, reason });
        }
        let prepare = |(task, values): (usize, &Vec<f64>)| {
            let filled = scaling::fill_gaps(values).ok_or_else(|| ForecastError::NothingObserved {
                task,
                series: "target".into(),
                family: Family::TimesFm20,
            })?;
            Ok(scaling::newest(&filled, self.config.context_length))
        };
        let mut contexts =
            series.iter().enumerate().map(prepare).collect::<std::result::Result<Vec<_>, ForecastError>>()?;
        let mut tables = vec![Vec::new(); series.len()];
        while tables.first().is_some_and(|table| table.len() < horizon) {
            let patches = |context: &Vec<f32>| context.len().div_ceil(self.config.patch_length);
            for rows in super::of_one_length(&contexts.iter().map(patches).collect::<Vec<_>>(), BATCH) {
                for (row, block) in rows.iter().zip(self.pass(&contexts, frequencies, &rows)?) {
                    let context = &mut contexts[*row];
                    context.extend(block.iter().map(|step| step[0] as f32));
                    context.drain(..context.len().saturating_sub(self.config.context_length));
                    tables[*row].extend(block);
                }
            }
        }
        tables.iter_mut().for_each(|table| table.truncate(horizon));
        Ok(tables)
    }

    /// One block of steps for rows that have the same number of patches, `[row][step][output]`.
    fn pass(
        &self,
        contexts: &[Vec<f32>],
        frequencies: &[usize],
        rows: &[usize],
    ) -> Result<Vec<Vec<Vec<f64>>>> {
        let size = self.config.patch_length;
        let patches = contexts[rows[0]].len().div_ceil(size);
        let mut features = Vec::with_capacity(rows.len() * patches * 2 * size);
        let mut statistics = Vec::with_capacity(rows.len());
        for row in rows {
            let context = &contexts[*row];
            let missing = patches * size - context.len();
            let (mean, deviation) = self.statistics(context, size - missing);
            let z = context.iter().map(|value| ((f64::from(*value) - mean) / deviation) as f32);
            let z: Vec<f32> = std::iter::repeat_n(0.0, missing).chain(z).collect();
            for (index, patch) in z.chunks(size).enumerate() {
                features.extend(patch);
                features.extend((0..size).map(|i| if index * size + i < missing { 1.0 } else { 0.0 }));
            }
            statistics.push((mean, deviation));
        }
        let device = self.frequencies.device();
        let features = Tensor::from_vec(features, (rows.len(), patches, 2 * size), device)?;
        let classes: Vec<u32> = rows.iter().map(|row| frequencies[*row] as u32).collect();
        let outputs = layers::rows(&self.network(&features, &Tensor::new(classes, device)?)?)?;
        let undo = |(row, (mean, deviation)): (Vec<f32>, (f64, f64))| {
            let steps = row.chunks(self.config.quantiles.len() + 1);
            steps.map(|step| step.iter().map(|y| f64::from(*y) * deviation + mean).collect()).collect()
        };
        Ok(outputs.into_iter().zip(statistics).map(undo).collect())
    }

    /// Mean and population deviation of the first patch that is not nearly empty; `first` values lie in the first one.
    fn statistics(&self, context: &[f32], first: usize) -> (f64, f64) {
        let (start, rest) = context.split_at(first.min(context.len()));
        let patch = match rest.chunks(self.config.patch_length).next() {
            Some(second) if start.len() < FEW => second,
            _ => start,
        };
        let count = patch.len() as f64;
        let mean = patch.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let variance = patch.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        (mean, if deviation < self.config.tolerance { 1.0 } else { deviation })
    }

    /// The network: `[row, patch, values and padding]` to the last patch's outputs `[row, step · output]`.
    fn network(&self, features: &Tensor, classes: &Tensor) -> Result<Tensor> {
        let frequency = self.frequencies.index_select(classes, 0)?.unsqueeze(1)?;
        let mut h = self.embedding.forward(features)?.broadcast_add(&frequency)?;
        let tokens = h.dim(1)?;
        let mask = layers::causal_mask(tokens, tokens, h.device())?;
        for layer in &self.layers {
            h = layer.forward(&h, &mask, self.config.num_attention_heads)?;
        }
        self.head.forward(&layers::last_token(&h)?)
    }
}

impl Layer {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, inner) = (config.hidden_size, config.num_attention_heads * config.head_dim);
        let linear = |part: &str, inputs, outputs| {
            Linear::load(checkpoint, &format!("{name}.{part}"), inputs, outputs)
        };
        let epsilon = config.rms_norm_eps;
        let (attention, parts) = (format!("{name}.self_attn"), ["q_proj", "k_proj", "v_proj"]);
        let scale = super::query_scale(checkpoint, &format!("{name}.self_attn.scaling"), config.head_dim)?;
        Ok(Self {
            norm: RmsNorm::load(checkpoint, &format!("{name}.input_layernorm.weight"), d, epsilon)?,
            qkv: Linear::load_stacked_biased(checkpoint, &attention, &parts, d, inner)?,
            scale: Tensor::new(scale, checkpoint.device())?,
            o: linear("self_attn.o_proj", inner, d)?,
            mlp_norm: LayerNorm::load(checkpoint, &format!("{name}.mlp.layer_norm"), d, 1e-6)?,
            gate: linear("mlp.gate_proj", d, config.intermediate_size)?,
            down: linear("mlp.down_proj", config.intermediate_size, d)?,
        })
    }

    fn forward(&self, h: &Tensor, mask: &Tensor, heads: usize) -> Result<Tensor> {
        let [q, k, v] = layers::split_stacked(&self.qkv.forward(&self.norm.forward(h)?)?, heads)?;
        let mixed = layers::attention(&q.broadcast_mul(&self.scale)?, &k, &v, Some(mask))?;
        let h = self.o.forward_onto(h, &layers::join_heads(&mixed)?)?;
        let inner = self.gate.forward_then(&self.mlp_norm.forward(&h)?, Activation::Relu)?;
        self.down.forward_onto(&h, &inner)
    }
}

impl Model for TimesFm20 {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(self.config.context_length),
            horizon: self.config.horizon_length,
            point: Point::Median,
            levels: Levels::Trained(self.config.quantiles.clone()),
            joint: false,
            covariates: false,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> std::result::Result<Vec<Vec<Forecast>>, ForecastError> {
        let series: Vec<Vec<f64>> = tasks.iter().flat_map(|task| task.targets.iter().cloned()).collect();
        let tables = self.predict(&series, &vec![0; series.len()], horizon)?;
        let read = |table: &Vec<Vec<f64>>| super::timesfm_forecast(table, &self.config.quantiles, levels);
        Ok(super::by_task(tasks, tables.iter().map(read)))
    }
}
