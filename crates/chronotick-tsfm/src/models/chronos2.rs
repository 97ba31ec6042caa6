//! Chronos-2: an encoder over the patches of the past, a \[REG\] token and the patches to forecast, which attends in turn
//! along time within a row and across the rows of a group. Every target and every covariate is a row; a head reads
//! 21 quantiles off the last patches. Longer horizons continue along nine of the quantiles.

use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, Linear, MASKED, ResidualBlock, RmsNorm, Rotation};
use crate::scaling::{self, Instance};
use crate::{Abilities, Forecast, ForecastError, Levels, OpenError, Point, Task};

/// Rows computed at once where groups allow it, to bound the memory.
const BATCH: usize = 16;
/// Rows that learn from each other at most, as in the reference's pipeline.
const CROSS_BATCH: usize = 256;
/// The quantiles along which a long forecast continues.
const PATHS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

#[derive(Deserialize)]
struct Config {
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_heads: usize,
    #[serde(default = "super::t5_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "rope_theta")]
    rope_theta: f64,
    reg_token_id: Option<usize>,
    dense_act_fn: Option<String>,
    #[serde(default)]
    is_gated_act: bool,
    chronos_config: ChronosConfig,
}

#[derive(Deserialize)]
struct ChronosConfig {
    context_length: usize,
    input_patch_size: usize,
    input_patch_stride: usize,
    output_patch_size: usize,
    max_output_patches: usize,
    quantiles: Vec<f64>,
    time_encoding_scale: Option<usize>,
    #[serde(default)]
    use_arcsinh: bool,
    #[serde(default)]
    use_reg_token: bool,
}

fn rope_theta() -> f64 {
    10_000.0
}

impl Config {
    fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config: Self = checkpoint.config()?;
        let chronos = &config.chronos_config;
        checkpoint.check_sizes(&[
            ("d_model", config.d_model),
            ("d_kv", config.d_kv),
            ("d_ff", config.d_ff),
            ("num_layers", config.num_layers),
            ("num_heads", config.num_heads),
            ("chronos_config.context_length", chronos.context_length),
            ("chronos_config.input_patch_size", chronos.input_patch_size),
            ("chronos_config.max_output_patches", chronos.max_output_patches),
            ("chronos_config.time_encoding_scale", chronos.time_encoding_scale.unwrap_or(1)),
        ])?;
        super::check_levels(checkpoint, "chronos_config.quantiles", &chronos.quantiles)?;
        if !config.d_kv.is_multiple_of(2) {
            return Err(checkpoint.bad_config(format!("d_kv is {}; wanted is an even number", config.d_kv)));
        }
        let patch = chronos.input_patch_size;
        if chronos.input_patch_stride != patch || chronos.output_patch_size != patch {
            return Err(checkpoint.unsupported("Chronos-2 with overlapping patches, or patches of two sizes"));
        }
        if config.is_gated_act || config.dense_act_fn.as_deref().is_some_and(|name| name != "relu") {
            return Err(checkpoint.unsupported("Chronos-2 with a gated or non-ReLU feed-forward layer"));
        }
        Ok(config)
    }
}

/// A loaded Chronos-2 model.
pub(crate) struct Chronos2 {
    config: Config,
    embedding: ResidualBlock,
    /// `[1, 1, d_model]`, where the model has one.
    reg_token: Option<Tensor>,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: ResidualBlock,
}

struct Block {
    time_norm: RmsNorm,
    /// Queries, keys and values in one product.
    time_qkv: Linear,
    time_o: Linear,
    group_norm: RmsNorm,
    group_qk: Linear,
    group_v: Linear,
    group_o: Linear,
    ff_norm: RmsNorm,
    wi: Linear,
    wo: Linear,
}

/// How a caller may depart from the pipeline's defaults.
#[derive(Default)]
pub(crate) struct Options {
    /// Look at fewer of the newest values than the model could.
    pub(crate) context_length: Option<usize>,
    /// Let all tasks learn from each other.
    pub(crate) cross_learning: bool,
}

/// One series, target or covariate, in one pass.
#[derive(Clone)]
struct Row {
    context: Vec<f32>,
    /// What is known of the steps to forecast; it may be shorter than the horizon.
    future: Vec<f32>,
    /// Rows of the same group see each other. Groups are contiguous.
    group: usize,
}

/// What all blocks of one pass share.
struct Attend {
    heads: usize,
    rotation: Rotation,
    /// `[row, 1, 1, token]`, where a token is masked.
    time: Option<Tensor>,
    /// `[token, 1, row, row]`, where a group has more than one row.
    group: Option<Tensor>,
}

impl Chronos2 {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config = Config::read(checkpoint)?;
        let (d, chronos) = (config.d_model, &config.chronos_config);
        let patch = chronos.input_patch_size;
        let block = |name: &str, inputs, outputs| {
            ResidualBlock::load(checkpoint, name, [inputs, config.d_ff, outputs], Activation::Relu)
        };
        Ok(Self {
            embedding: block("input_patch_embedding", 3 * patch, d)?,
            reg_token: match chronos.use_reg_token {
                true => Some(super::shared_token(checkpoint, config.reg_token_id.unwrap_or(1), d)?),
                false => None,
            },
            blocks: (0..config.num_layers)
                .map(|i| Block::load(checkpoint, &config, &format!("encoder.block.{i}")))
                .collect::<std::result::Result<_, _>>()?,
            norm: RmsNorm::load(checkpoint, "encoder.final_layer_norm.weight", d, config.layer_norm_epsilon)?,
            head: block("output_patch_embedding", d, chronos.quantiles.len() * patch)?,
            config,
        })
    }

    /// Quantiles at any levels, `[task][target][step][level]`.
    pub(crate) fn predict(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
        options: &Options,
    ) -> Result<Vec<Vec<Vec<Vec<f64>>>>> {
        let trained = &self.config.chronos_config.quantiles;
        let at_step = |paths: &[Vec<f32>], step: usize| -> Vec<f64> {
            let values: Vec<f64> = paths.iter().map(|path| f64::from(path[step])).collect();
            levels.iter().map(|level| scaling::interpolate(trained, &values, *level)).collect()
        };
        let mut tables = Vec::with_capacity(tasks.len());
        for batch in batches(tasks, if options.cross_learning { CROSS_BATCH } else { BATCH }) {
            let mut forecasts = self.unroll(&self.rows(batch, options), horizon)?.into_iter();
            for task in batch {
                let targets = forecasts.by_ref().take(task.targets.len());
                tables.push(
                    targets.map(|paths| (0..horizon).map(|step| at_step(&paths, step)).collect()).collect(),
                );
                forecasts.by_ref().take(task.covariates.len()).for_each(drop);
            }
        }
        Ok(tables)
    }

    fn rows(&self, tasks: &[Task], options: &Options) -> Vec<Row> {
        let limit = self.config.chronos_config.context_length;
        let length = options.context_length.map_or(limit, |length| length.min(limit));
        let mut rows = Vec::new();
        for (index, task) in tasks.iter().enumerate() {
            let group = if options.cross_learning { 0 } else { index };
            let row = |past: &[f64], future: &[f64]| Row {
                context: scaling::newest(past, length),
                future: scaling::newest(future, future.len()),
                group,
            };
            rows.extend(task.targets.iter().map(|target| row(target, &[])));
            rows.extend(
                task.covariates.iter().map(|known| row(&known.past, known.future.as_deref().unwrap_or(&[]))),
            );
        }
        rows
    }

    /// The trained quantiles of at least `horizon` steps, `[row][level][step]`.
    fn unroll(&self, rows: &[Row], horizon: usize) -> Result<Vec<Vec<Vec<f32>>>> {
        let chronos = &self.config.chronos_config;
        let patches = |steps: usize| steps.div_ceil(chronos.input_patch_size).min(chronos.max_output_patches);
        let mut forecasts = self.pass(rows, patches(horizon))?;
        let mut done = patches(horizon) * chronos.input_patch_size;
        if done >= horizon {
            return Ok(forecasts);
        }
        // Groups of a path must not mix with those of another.
        let groups = rows.iter().map(|row| row.group + 1).max().unwrap_or(0);
        let mut paths: Vec<Vec<Row>> = (0..PATHS.len())
            .map(|path| {
                rows.iter().map(|row| Row { group: path * groups + row.group, ..row.clone() }).collect()
            })
            .collect();
        let mut block = done;
        while done < horizon {
            for (path, level) in paths.iter_mut().zip(PATHS) {
                for (row, forecast) in path.iter_mut().zip(&forecasts) {
                    self.advance(row, forecast, done - block, level);
                }
            }
            let next = patches(horizon - done);
            let passes = self.pass(&paths.concat(), next)?;
            block = next * chronos.input_patch_size;
            for (index, forecast) in forecasts.iter_mut().enumerate() {
                let pool: Vec<&Vec<Vec<f32>>> = passes.iter().skip(index).step_by(rows.len()).collect();
                self.pool(&pool, block, forecast);
            }
            done += block;
        }
        Ok(forecasts)
    }

    /// Appends the newest block of a forecast, at one level, to a row's context; what is known of it takes its place.
    fn advance(&self, row: &mut Row, forecast: &[Vec<f32>], from: usize, level: f64) {
        let chronos = &self.config.chronos_config;
        let block = from..forecast[0].len();
        for (i, step) in block.clone().enumerate() {
            let values: Vec<f64> = forecast.iter().map(|path| f64::from(path[step])).collect();
            let known = row.future.get(i).copied().filter(|value| !value.is_nan());
            let path = || scaling::interpolate(&chronos.quantiles, &values, level) as f32;
            row.context.push(known.unwrap_or_else(path));
        }
        row.future.drain(..row.future.len().min(block.len()));
        row.context.drain(..row.context.len().saturating_sub(chronos.context_length));
    }

    /// Extends a forecast by the quantiles of what the model made of each path, weighted by what each level stands for.
    fn pool(&self, passes: &[&Vec<Vec<f32>>], steps: usize, forecast: &mut [Vec<f32>]) {
        let trained = &self.config.chronos_config.quantiles;
        let (outer, inner) = (level_weights(&PATHS), level_weights(trained));
        let total = outer.iter().sum::<f64>() * inner.iter().sum::<f64>();
        for step in 0..steps {
            let weighted = |(pass, outer): (&&Vec<Vec<f32>>, &f64)| {
                let weights = inner.iter().map(|inner| outer * inner / total).collect::<Vec<f64>>();
                pass.iter().map(|path| f64::from(path[step])).zip(weights).collect::<Vec<(f64, f64)>>()
            };
            let mut samples: Vec<(f64, f64)> = passes.iter().zip(&outer).flat_map(weighted).collect();
            samples.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut sum = 0.0;
            let (mut cumulative, mut values) = (Vec::new(), Vec::new());
            for (value, weight) in samples {
                sum += weight;
                cumulative.push(f64::min(sum, 1.0));
                values.push(value);
            }
            for (path, level) in forecast.iter_mut().zip(trained) {
                path.push(scaling::interpolate(&cumulative, &values, *level) as f32);
            }
        }
    }

    /// The trained quantiles of the next `patches` patches, `[row][level][step]`.
    fn pass(&self, rows: &[Row], patches: usize) -> Result<Vec<Vec<Vec<f32>>>> {
        let (size, levels) =
            (self.config.chronos_config.input_patch_size, self.config.chronos_config.quantiles.len());
        let mut all = Vec::with_capacity(rows.len());
        let mut rest = rows;
        while let Some(first) = rest.first() {
            // As many whole groups as fit, and at least one.
            let fits = |end: &usize| rest.get(*end).is_none_or(|row| row.group != rest[*end - 1].group);
            let own = rest.iter().take_while(|row| row.group == first.group).count();
            let end = (own..=rest.len().min(BATCH)).rev().find(fits).unwrap_or(own);
            let (batch, after) = rest.split_at(end);
            rest = after;
            let norms: Vec<_> = batch.iter().map(|row| Instance::of(&row.context)).collect();
            let heads = layers::rows(&self.network(batch, &norms, patches)?)?;
            for (heads, norm) in heads.chunks(patches).zip(norms) {
                let level = |level: usize| -> Vec<f32> {
                    heads
                        .iter()
                        .flat_map(|head| &head[level * size..(level + 1) * size])
                        .map(|y| self.undo(norm, *y))
                        .collect()
                };
                all.push((0..levels).map(level).collect());
            }
        }
        Ok(all)
    }

    /// The network: rows to normalised quantiles, `[row, patch, level · step]`.
    fn network(&self, rows: &[Row], norms: &[Instance], patches: usize) -> Result<Tensor> {
        let (mut h, attend) = self.tokens(rows, norms, patches)?;
        for block in &self.blocks {
            h = block.forward(&h, &attend)?;
        }
        let last = h.narrow(1, h.dim(1)? - patches, patches)?;
        self.head.forward(&self.norm.forward(&last)?)
    }

    /// The patches of the past, \[REG\] and the patches to forecast as tokens, and who may attend to whom.
    fn tokens(&self, rows: &[Row], norms: &[Instance], patches: usize) -> Result<(Tensor, Attend)> {
        let chronos = &self.config.chronos_config;
        let size = chronos.input_patch_size;
        let scale = chronos.time_encoding_scale.unwrap_or(chronos.context_length) as f32;
        let past = rows.iter().map(|row| row.context.len()).max().unwrap_or(0).div_ceil(size);
        let steps = (past + patches) * size;
        let mut features = vec![0.0; rows.len() * steps * 3];
        let mut observed = vec![false; rows.len() * past];
        for (index, (row, norm)) in rows.iter().zip(norms).enumerate() {
            let features = &mut features[index * steps * 3..][..steps * 3];
            let missing = past * size - row.context.len();
            for step in 0..steps {
                let at = step / size * 3 * size + step % size;
                features[at] = (step as f32 - (past * size) as f32) / scale;
                let value = match step.checked_sub(past * size) {
                    Some(ahead) => row.future.get(ahead),
                    None => step.checked_sub(missing).map(|i| &row.context[i]),
                };
                if let Some(value) = value.filter(|value| !value.is_nan()) {
                    features[at + size] = self.apply(*norm, *value);
                    features[at + 2 * size] = 1.0;
                    if step < past * size {
                        observed[index * past + step / size] = true;
                    }
                }
            }
        }
        let device = self.norm.device();
        let h = Tensor::from_vec(features, (rows.len(), past + patches, 3 * size), device)?;
        let mut h = self.embedding.forward(&h)?;
        if let Some(reg) = &self.reg_token {
            let reg = reg.broadcast_as((rows.len(), 1, h.dim(2)?))?;
            h = Tensor::cat(&[&h.narrow(1, 0, past)?, &reg, &h.narrow(1, past, patches)?], 1)?;
        }
        let tokens = h.dim(1)?;
        let hidden = |row: usize, token: usize| token < past && !observed[row * past + token];
        let attend = Attend {
            heads: self.config.num_heads,
            rotation: Rotation::new(0..tokens, self.config.d_kv, self.config.rope_theta, device)?,
            time: time_mask(rows.len(), tokens, hidden, device)?,
            group: group_mask(rows, tokens, hidden, device)?,
        };
        Ok((h, attend))
    }

    fn apply(&self, norm: Instance, value: f32) -> f32 {
        let z = norm.apply(value);
        if self.config.chronos_config.use_arcsinh { z.asinh() } else { z }
    }

    fn undo(&self, norm: Instance, y: f32) -> f32 {
        norm.undo(if self.config.chronos_config.use_arcsinh { y.sinh() } else { y })
    }
}

impl Block {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, inner) = (config.d_model, config.num_heads * config.d_kv);
        let norm = |layer: usize| {
            let name = format!("{name}.layer.{layer}.layer_norm.weight");
            RmsNorm::load(checkpoint, &name, d, config.layer_norm_epsilon)
        };
        let linear = |part: &str, inputs, outputs| {
            Linear::load_unbiased(checkpoint, &format!("{name}.layer.{part}"), inputs, outputs)
        };
        let (time, group) =
            (format!("{name}.layer.0.self_attention"), format!("{name}.layer.1.self_attention"));
        Ok(Self {
            time_norm: norm(0)?,
            time_qkv: Linear::load_stacked(checkpoint, &time, &["q", "k", "v"], d, inner)?,
            time_o: linear("0.self_attention.o", inner, d)?,
            group_norm: norm(1)?,
            group_qk: Linear::load_stacked(checkpoint, &group, &["q", "k"], d, inner)?,
            group_v: linear("1.self_attention.v", d, inner)?,
            group_o: linear("1.self_attention.o", inner, d)?,
            ff_norm: norm(2)?,
            wi: linear("2.mlp.wi", d, config.d_ff)?,
            wo: linear("2.mlp.wo", config.d_ff, d)?,
        })
    }

    fn forward(&self, h: &Tensor, attend: &Attend) -> Result<Tensor> {
        let h = (h + self.time(&self.time_norm.forward(h)?, attend)?)?;
        let h = (&h + self.group(&self.group_norm.forward(&h)?, attend)?)?;
        let inner = self.wi.forward_then(&self.ff_norm.forward(&h)?, Activation::Relu)?;
        self.wo.forward_onto(&h, &inner)
    }

    /// Attention along each row.
    fn time(&self, x: &Tensor, attend: &Attend) -> Result<Tensor> {
        let [q, k, v] = layers::split_stacked(&self.time_qkv.forward(x)?, attend.heads)?;
        let (q, k) = (attend.rotation.forward(&q)?, attend.rotation.forward(&k)?);
        let mixed = layers::attention(&q, &k, &v, attend.time.as_ref())?;
        self.time_o.forward(&layers::join_heads(&mixed)?)
    }

    /// Attention across the rows of a group, at each token by itself. A row alone attends to itself: its value stays.
    fn group(&self, x: &Tensor, attend: &Attend) -> Result<Tensor> {
        let Some(mask) = &attend.group else {
            return self.group_o.forward(&self.group_v.forward(x)?);
        };
        let x = x.transpose(0, 1)?.contiguous()?;
        let [q, k] = layers::split_stacked(&self.group_qk.forward(&x)?, attend.heads)?;
        let v = layers::split_heads(&self.group_v.forward(&x)?, attend.heads)?;
        let mixed = layers::attention(&q, &k, &v, Some(mask))?;
        self.group_o.forward(&layers::join_heads(&mixed)?)?.transpose(0, 1)?.contiguous()
    }
}

/// Hides patches without an observation from their own row; nothing if there are none.
fn time_mask(
    rows: usize,
    tokens: usize,
    hidden: impl Fn(usize, usize) -> bool,
    device: &Device,
) -> Result<Option<Tensor>> {
    let hidden = &hidden;
    let score = |row, token| if hidden(row, token) { MASKED } else { 0.0 };
    let scores: Vec<f32> =
        (0..rows).flat_map(|row| (0..tokens).map(move |token| score(row, token))).collect();
    if !scores.contains(&MASKED) {
        return Ok(None);
    }
    Ok(Some(Tensor::from_vec(scores, (rows, 1, 1, tokens), device)?))
}

/// Hides other groups' rows, and at each token the rows whose patch has no observation; nothing if all rows are alone.
fn group_mask(
    rows: &[Row],
    tokens: usize,
    hidden: impl Fn(usize, usize) -> bool,
    device: &Device,
) -> Result<Option<Tensor>> {
    if rows.windows(2).all(|pair| pair[0].group != pair[1].group) {
        return Ok(None);
    }
    let mut scores = Vec::with_capacity(tokens * rows.len() * rows.len());
    for token in 0..tokens {
        for row in rows {
            let seen = |(other, its): (usize, &Row)| its.group == row.group && !hidden(other, token);
            scores.extend(rows.iter().enumerate().map(|other| if seen(other) { 0.0 } else { MASKED }));
        }
    }
    Ok(Some(Tensor::from_vec(scores, (tokens, 1, rows.len(), rows.len()), device)?))
}

/// Consecutive tasks, together at least `rows` rows except for the last: the batches of the reference's pipeline.
fn batches(tasks: &[Task], rows: usize) -> Vec<&[Task]> {
    let mut filled = rows;
    let mut begins = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        if filled >= rows {
            begins.push(index);
            filled = 0;
        }
        filled += task.targets.len() + task.covariates.len();
    }
    let ends = begins.iter().skip(1).copied().chain([tasks.len()]);
    begins.iter().zip(ends).map(|(begin, end)| &tasks[*begin..end]).collect()
}

/// What share of a distribution each level of an ascending list stands for: half the way to both neighbours.
fn level_weights(levels: &[f64]) -> Vec<f64> {
    let padded: Vec<f64> = [0.0].into_iter().chain(levels.iter().copied()).chain([1.0]).collect();
    padded.windows(3).map(|three| (three[2] - three[0]) / 2.0).collect()
}

impl Model for Chronos2 {
    fn abilities(&self) -> Abilities {
        let chronos = &self.config.chronos_config;
        Abilities {
            context: Some(chronos.context_length),
            horizon: chronos.max_output_patches * chronos.output_patch_size,
            point: Point::Median,
            levels: Levels::Between(chronos.quantiles.clone()),
            joint: true,
            covariates: true,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> std::result::Result<Vec<Vec<Forecast>>, ForecastError> {
        let tables = self.predict(tasks, horizon, &super::with_median(levels), &Options::default())?;
        Ok(tables.into_iter().map(|task| task.into_iter().map(super::split_median).collect()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_up_with_whole_tasks() {
        let tasks = vec![Task { targets: vec![vec![0.0]; 3], covariates: Vec::new() }; 5];
        let sizes = |rows| batches(&tasks, rows).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(sizes(1), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(4), [2, 2, 1]);
        assert_eq!(sizes(256), [5]);
        assert!(batches(&[], 1).is_empty());
    }

    #[test]
    fn levels_share_the_distribution() {
        let weights = level_weights(&[0.1, 0.5, 0.9]);
        assert!(weights.iter().zip([0.25, 0.4, 0.25]).all(|(got, want)| (got - want).abs() < 1e-12));
    }
}
