//! Chronos-Bolt: a T5 encoder over patches of the normalised series, one decoder token that attends to it, and a head
//! that gives nine quantiles of the next 64 steps at once. Longer horizons continue along each quantile.

use candle_core::{Device, Result, Tensor};
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, Linear, MASKED, ResidualBlock, RmsNorm};
use crate::scaling::{self, Instance};
use crate::{Abilities, Forecast, ForecastError, Levels, OpenError, Point, Task};

/// Rows computed at once: enough to keep the processor busy, few enough to bound the memory.
const BATCH: usize = 32;
/// Most numbers of a position bias, one for each head and pair of tokens: a thousand times what a published model has.
const MOST_SCORES: usize = 1 << 28;

#[derive(Deserialize)]
struct Config {
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    num_layers: usize,
    num_decoder_layers: Option<usize>,
    num_heads: usize,
    #[serde(default = "super::t5_epsilon")]
    layer_norm_epsilon: f64,
    relative_attention_num_buckets: usize,
    relative_attention_max_distance: usize,
    decoder_start_token_id: Option<usize>,
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
    prediction_length: usize,
    quantiles: Vec<f64>,
    #[serde(default)]
    use_reg_token: bool,
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
            ("relative_attention_num_buckets", config.relative_attention_num_buckets),
            ("relative_attention_max_distance", config.relative_attention_max_distance),
            ("chronos_config.context_length", chronos.context_length),
            ("chronos_config.input_patch_size", chronos.input_patch_size),
            ("chronos_config.prediction_length", chronos.prediction_length),
        ])?;
        super::check_levels(checkpoint, "chronos_config.quantiles", &chronos.quantiles)?;
        if chronos.input_patch_stride != chronos.input_patch_size {
            return Err(checkpoint.unsupported("Chronos-Bolt with overlapping patches"));
        }
        if config.is_gated_act || config.dense_act_fn.as_deref().is_some_and(|name| name != "relu") {
            return Err(checkpoint.unsupported("Chronos-Bolt with a gated or non-ReLU feed-forward layer"));
        }
        let (buckets, distance) =
            (config.relative_attention_num_buckets, config.relative_attention_max_distance);
        if !buckets.is_multiple_of(4) || distance <= buckets / 4 {
            return Err(checkpoint.bad_config(format!(
                "relative_attention_num_buckets is {buckets} and relative_attention_max_distance {distance}; \
                 wanted are a multiple of 4 and more than a quarter of it"
            )));
        }
        let (heads, context, patch) = (config.num_heads, chronos.context_length, chronos.input_patch_size);
        let tokens = context.div_ceil(patch) + 1;
        if tokens.saturating_mul(tokens).saturating_mul(heads) > MOST_SCORES {
            return Err(checkpoint.bad_config(format!(
                "num_heads is {heads}, chronos_config.context_length {context} and input_patch_size {patch}; \
                 wanted are at most {MOST_SCORES} pairs of patches in all heads"
            )));
        }
        Ok(config)
    }
}

/// A loaded Chronos-Bolt model.
pub(crate) struct ChronosBolt {
    config: ChronosConfig,
    embedding: ResidualBlock,
    /// `[1, 1, d_model]`, where the model has one.
    reg_token: Option<Tensor>,
    encoder: Vec<EncoderLayer>,
    encoder_norm: RmsNorm,
    position_bias: PositionBias,
    /// `[1, 1, d_model]`.
    start_token: Tensor,
    decoder: Vec<DecoderLayer>,
    decoder_norm: RmsNorm,
    head: ResidualBlock,
}

struct EncoderLayer {
    norm: RmsNorm,
    /// Queries, keys and values in one product.
    qkv: Linear,
    o: Linear,
    feed_forward: FeedForward,
}

/// The decoder has a single token, so its attention to itself is its value: queries and keys play no part.
struct DecoderLayer {
    norm: RmsNorm,
    v: Linear,
    o: Linear,
    cross_norm: RmsNorm,
    cross_q: Linear,
    cross_kv: Linear,
    cross_o: Linear,
    feed_forward: FeedForward,
}

struct FeedForward {
    norm: RmsNorm,
    wi: Linear,
    wo: Linear,
}

impl ChronosBolt {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config = Config::read(checkpoint)?;
        let (d, heads) = (config.d_model, config.num_heads);
        let chronos = &config.chronos_config;
        let norm = |name: &str| RmsNorm::load(checkpoint, name, d, config.layer_norm_epsilon);
        let token = |id| super::shared_token(checkpoint, id, d);
        let block = |name: &str, inputs, outputs| {
            ResidualBlock::load(checkpoint, name, [inputs, config.d_ff, outputs], Activation::Relu)
        };
        let decoder_layers = config.num_decoder_layers.unwrap_or(config.num_layers);
        let outputs = chronos.quantiles.len() * chronos.prediction_length;
        Ok(Self {
            embedding: block("input_patch_embedding", 2 * chronos.input_patch_size, d)?,
            reg_token: match chronos.use_reg_token {
                true => Some(token(config.reg_token_id.unwrap_or(1))?),
                false => None,
            },
            encoder: (0..config.num_layers)
                .map(|i| EncoderLayer::load(checkpoint, &config, &format!("encoder.block.{i}")))
                .collect::<std::result::Result<_, _>>()?,
            encoder_norm: norm("encoder.final_layer_norm.weight")?,
            position_bias: PositionBias {
                table: checkpoint.values(
                    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                    &[config.relative_attention_num_buckets, heads],
                )?,
                heads,
                buckets: config.relative_attention_num_buckets,
                max_distance: config.relative_attention_max_distance,
            },
            start_token: token(config.decoder_start_token_id.unwrap_or(0))?,
            decoder: (0..decoder_layers)
                .map(|i| DecoderLayer::load(checkpoint, &config, &format!("decoder.block.{i}")))
                .collect::<std::result::Result<_, _>>()?,
            decoder_norm: norm("decoder.final_layer_norm.weight")?,
            head: block("output_patch_embedding", d, outputs)?,
            config: config.chronos_config,
        })
    }

    /// Quantiles at any levels, `[series][step][level]`.
    pub(crate) fn predict(
        &self,
        series: &[Vec<f64>],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Vec<f64>>>> {
        let contexts: Vec<_> =
            series.iter().map(|values| scaling::newest(values, self.config.context_length)).collect();
        let mut blocks = self.pass(&contexts)?;
        let mut paths: Vec<Vec<f32>> = Vec::new();
        while blocks.first().is_some_and(|quantiles| quantiles[0].len() < horizon) {
            if paths.is_empty() {
                paths =
                    contexts.iter().flat_map(|c| self.config.quantiles.iter().map(|_| c.clone())).collect();
            }
            self.continue_paths(&mut paths, &mut blocks)?;
        }
        Ok(blocks
            .iter()
            .map(|paths| (0..horizon).map(|step| self.read_levels(paths, step, levels)).collect())
            .collect())
    }

    /// The quantiles of one step: the trained ones as they are, or all interpolated between the sorted trained ones.
    fn read_levels(&self, paths: &[Vec<f32>], step: usize, levels: &[f64]) -> Vec<f64> {
        let trained = &self.config.quantiles;
        let value = |path: &Vec<f32>| f64::from(path[step]);
        let column = |level: &f64| trained.iter().position(|known| known == level);
        if let Some(columns) = levels.iter().map(column).collect::<Option<Vec<usize>>>() {
            return columns.into_iter().map(|column| value(&paths[column])).collect();
        }
        let mut knots: Vec<f64> =
            paths.first().into_iter().chain(paths).chain(paths.last()).map(value).collect();
        knots.sort_by(f64::total_cmp);
        let last = (knots.len() - 1) as f64;
        levels.iter().map(|level| scaling::at_rank(&knots, level * last)).collect()
    }

    /// One more block of steps: every quantile's newest block is appended to its own context, and the quantiles of
    /// what the model makes of each are pooled.
    fn continue_paths(&self, paths: &mut [Vec<f32>], blocks: &mut [Vec<Vec<f32>>]) -> Result<()> {
        let (levels, length) = (&self.config.quantiles, self.config.prediction_length);
        let newest = |path: &Vec<f32>| path[path.len() - length..].to_vec();
        for (path, forecast) in paths.iter_mut().zip(blocks.iter().flatten()) {
            path.extend(newest(forecast));
            path.drain(..path.len().saturating_sub(self.config.context_length));
        }
        let passes = self.pass(paths)?;
        for (pool, quantiles) in passes.chunks(levels.len()).zip(blocks) {
            for step in 0..length {
                let mut values: Vec<f64> = pool.iter().flatten().map(|path| f64::from(path[step])).collect();
                values.sort_by(f64::total_cmp);
                for (level, path) in levels.iter().zip(quantiles.iter_mut()) {
                    path.push(scaling::at_rank(&values, level * (values.len() - 1) as f64) as f32);
                }
            }
        }
        Ok(())
    }

    /// The trained quantiles of the next `prediction_length` steps, `[row][level][step]`.
    fn pass(&self, contexts: &[Vec<f32>]) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut all = Vec::with_capacity(contexts.len());
        for batch in contexts.chunks(BATCH) {
            let norms: Vec<_> = batch.iter().map(|context| Instance::of(context)).collect();
            let heads = layers::rows(&self.network(batch, &norms)?)?;
            all.extend(heads.iter().zip(&norms).map(|(row, norm)| {
                let steps = row.chunks(self.config.prediction_length);
                steps.map(|path| path.iter().map(|z| norm.undo(*z)).collect()).collect::<Vec<Vec<f32>>>()
            }));
        }
        Ok(all)
    }

    /// The network: contexts to normalised quantiles, `[row, level · step]`.
    fn network(&self, contexts: &[Vec<f32>], norms: &[Instance]) -> Result<Tensor> {
        let (tokens, mask) = self.tokens(contexts, norms)?;
        let bias = self.position_bias.tensor(tokens.dim(1)?, tokens.device())?;
        let scores = match &mask {
            Some(mask) => bias.broadcast_add(mask)?,
            None => bias,
        };
        let mut h = tokens;
        for layer in &self.encoder {
            h = layer.forward(&h, &scores, self.position_bias.heads)?;
        }
        let encoded = self.encoder_norm.forward(&h)?;
        let (rows, _, d) = encoded.dims3()?;
        let mut h = self.start_token.broadcast_as((rows, 1, d))?.contiguous()?;
        for layer in &self.decoder {
            h = layer.forward(&h, &encoded, mask.as_ref(), self.position_bias.heads)?;
        }
        self.head.forward(&self.decoder_norm.forward(&h)?.squeeze(1)?)
    }

    /// Patches as tokens, the \[REG\] token last, and the mask of those without an observation, if there are any.
    fn tokens(&self, contexts: &[Vec<f32>], norms: &[Instance]) -> Result<(Tensor, Option<Tensor>)> {
        let patch = self.config.input_patch_size;
        let longest = contexts.iter().map(Vec::len).max().unwrap_or(0);
        let patches = longest.div_ceil(patch);
        let tokens = patches + usize::from(self.reg_token.is_some());
        let mut features = vec![0.0; contexts.len() * patches * 2 * patch];
        let mut mask = vec![MASKED; contexts.len() * tokens];
        for (row, (context, norm)) in contexts.iter().zip(norms).enumerate() {
            let missing = patches * patch - context.len();
            for (i, value) in context.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
                let (token, offset) = ((missing + i) / patch, (missing + i) % patch);
                let features = &mut features[(row * patches + token) * 2 * patch..];
                features[offset] = norm.apply(*value);
                features[patch + offset] = 1.0;
                mask[row * tokens + token] = 0.0;
            }
            mask[row * tokens + patches..(row + 1) * tokens].fill(0.0);
        }
        let device = self.start_token.device();
        let features = Tensor::from_vec(features, (contexts.len(), patches, 2 * patch), device)?;
        let mut h = self.embedding.forward(&features)?;
        if let Some(reg) = &self.reg_token {
            h = Tensor::cat(&[&h, &reg.broadcast_as((contexts.len(), 1, h.dim(2)?))?], 1)?;
        }
        let masked = mask.contains(&MASKED);
        let mask = Tensor::from_vec(mask, (contexts.len(), 1, 1, tokens), device)?;
        Ok((h, masked.then_some(mask)))
    }
}

impl EncoderLayer {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, inner) = (config.d_model, config.num_heads * config.d_kv);
        let attention = format!("{name}.layer.0.SelfAttention");
        Ok(Self {
            norm: RmsNorm::load(
                checkpoint,
                &format!("{name}.layer.0.layer_norm.weight"),
                d,
                config.layer_norm_epsilon,
            )?,
            qkv: Linear::load_stacked(checkpoint, &attention, &["q", "k", "v"], d, inner)?,
            o: Linear::load_unbiased(checkpoint, &format!("{attention}.o"), inner, d)?,
            feed_forward: FeedForward::load(checkpoint, config, &format!("{name}.layer.1"))?,
        })
    }

    fn forward(&self, h: &Tensor, scores: &Tensor, heads: usize) -> Result<Tensor> {
        let [q, k, v] = layers::split_stacked(&self.qkv.forward(&self.norm.forward(h)?)?, heads)?;
        let mixed = layers::attention(&q, &k, &v, Some(scores))?;
        let h = self.o.forward_onto(h, &layers::join_heads(&mixed)?)?;
        self.feed_forward.forward(&h)
    }
}

impl DecoderLayer {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, inner) = (config.d_model, config.num_heads * config.d_kv);
        let (own, cross) =
            (format!("{name}.layer.0.SelfAttention"), format!("{name}.layer.1.EncDecAttention"));
        let norm = |layer: usize| {
            let name = format!("{name}.layer.{layer}.layer_norm.weight");
            RmsNorm::load(checkpoint, &name, d, config.layer_norm_epsilon)
        };
        Ok(Self {
            norm: norm(0)?,
            v: Linear::load_unbiased(checkpoint, &format!("{own}.v"), d, inner)?,
            o: Linear::load_unbiased(checkpoint, &format!("{own}.o"), inner, d)?,
            cross_norm: norm(1)?,
            cross_q: Linear::load_unbiased(checkpoint, &format!("{cross}.q"), d, inner)?,
            cross_kv: Linear::load_stacked(checkpoint, &cross, &["k", "v"], d, inner)?,
            cross_o: Linear::load_unbiased(checkpoint, &format!("{cross}.o"), inner, d)?,
            feed_forward: FeedForward::load(checkpoint, config, &format!("{name}.layer.2"))?,
        })
    }

    fn forward(&self, h: &Tensor, encoded: &Tensor, mask: Option<&Tensor>, heads: usize) -> Result<Tensor> {
        let h = self.o.forward_onto(h, &self.v.forward(&self.norm.forward(h)?)?)?;
        let q = layers::split_heads(&self.cross_q.forward(&self.cross_norm.forward(&h)?)?, heads)?;
        let [k, v] = layers::split_stacked(&self.cross_kv.forward(encoded)?, heads)?;
        let mixed = layers::attention(&q, &k, &v, mask)?;
        let h = self.cross_o.forward_onto(&h, &layers::join_heads(&mixed)?)?;
        self.feed_forward.forward(&h)
    }
}

impl FeedForward {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, dense) = (config.d_model, format!("{name}.DenseReluDense"));
        let norm = format!("{name}.layer_norm.weight");
        Ok(Self {
            norm: RmsNorm::load(checkpoint, &norm, d, config.layer_norm_epsilon)?,
            wi: Linear::load_unbiased(checkpoint, &format!("{dense}.wi"), d, config.d_ff)?,
            wo: Linear::load_unbiased(checkpoint, &format!("{dense}.wo"), config.d_ff, d)?,
        })
    }

    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        let inner = self.wi.forward_then(&self.norm.forward(h)?, Activation::Relu)?;
        self.wo.forward_onto(h, &inner)
    }
}

/// T5's relative position bias: one number per head and bucket of distances, the same in every encoder layer.
struct PositionBias {
    /// `[bucket][head]`.
    table: Vec<f32>,
    heads: usize,
    buckets: usize,
    max_distance: usize,
}

impl PositionBias {
    /// `[1, heads, query, key]`.
    fn tensor(&self, tokens: usize, device: &Device) -> Result<Tensor> {
        let buckets: Vec<usize> = (0..2 * tokens).map(|i| self.bucket(i as i64 - tokens as i64)).collect();
        let scores = (0..self.heads).flat_map(|head| {
            let buckets = &buckets;
            (0..tokens).flat_map(move |query| {
                (0..tokens).map(move |key| self.table[buckets[tokens + key - query] * self.heads + head])
            })
        });
        Tensor::from_vec(scores.collect::<Vec<f32>>(), (1, self.heads, tokens, tokens), device)
    }

    /// The bucket of key minus query: exact for small distances, logarithmic up to the largest, half for each sign.
    fn bucket(&self, distance: i64) -> usize {
        let half = self.buckets / 2;
        let exact = half / 2;
        let side = if distance > 0 { half } else { 0 };
        let distance = distance.unsigned_abs() as usize;
        if distance < exact {
            return side + distance;
        }
        // In `f32` and in this order, as in T5: where a bucket begins depends on the last bit.
        let reach = (self.max_distance as f64 / exact as f64).ln() as f32;
        let step = (distance as f32 / exact as f32).ln() / reach * (half - exact) as f32;
        side + (exact + step as usize).min(half - 1)
    }
}

impl Model for ChronosBolt {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(self.config.context_length),
            horizon: self.config.prediction_length,
            point: Point::Median,
            levels: Levels::Between(self.config.quantiles.clone()),
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
        let tables = self.predict(&series, horizon, &super::with_median(levels))?;
        Ok(super::by_task(tasks, tables.into_iter().map(super::split_median)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_where_t5_begins_them() {
        let bias = PositionBias { table: Vec::new(), heads: 1, buckets: 32, max_distance: 128 };
        let starts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        for (bucket, start) in starts.into_iter().enumerate() {
            assert_eq!(bias.bucket(-start), bucket);
            if start > 0 {
                assert_eq!(bias.bucket(1 - start), bucket - 1);
                assert_eq!(bias.bucket(start), bucket + 16);
            }
        }
        assert_eq!(bias.bucket(-100_000), 15);
    }
}
