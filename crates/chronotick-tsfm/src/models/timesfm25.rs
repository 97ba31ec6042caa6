//! TimesFM 2.5: a decoder over patches, each normalised by everything up to it. The last patch gives a block of steps
//! with mean and nine quantiles, and a second head their spread far ahead; longer horizons feed the median back as new
//! patches. `config.json` holds no sizes: all of them follow from the tensors.

use candle_core::{Result, Tensor};
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, Cache, Linear, ResidualBlock, RmsNorm, Rotation};
use crate::{Abilities, Family, Forecast, ForecastError, Levels, OpenError, Point, Task, scaling};

/// Rows computed at once, to bound the memory.
const BATCH: usize = 16;
/// What the heads give for every step: the mean, then the trained quantiles.
const OUTPUTS: usize = 10;
const QUANTILES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Context and horizon together, at most.
const LONGEST: usize = 16_384;
const EPSILON: f64 = 1e-6;
const ROPE_BASE: f64 = 10_000.0;

/// One step: mean and quantiles.
type Outputs = [f64; OUTPUTS];

/// The reference's `ForecastConfig`, with its defaults.
#[derive(Clone, Copy, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// How many of the newest values count, rounded up to whole patches; none is as many as each series has.
    pub(crate) max_context: Option<usize>,
    pub(crate) max_horizon: usize,
    /// Normalise the whole padded series first.
    pub(crate) normalize_inputs: bool,
    /// Take the quantiles' distance from the median from the head that looks far ahead.
    pub(crate) use_continuous_quantile_head: bool,
    /// Average with the mirrored forecast of the mirrored series.
    pub(crate) force_flip_invariance: bool,
    /// No forecast below 0 for a series that never was.
    pub(crate) infer_is_positive: bool,
    pub(crate) fix_quantile_crossing: bool,
    /// Put the model's view of the past in front of the forecast.
    pub(crate) return_backcast: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_context: None,
            max_horizon: 0,
            normalize_inputs: false,
            use_continuous_quantile_head: false,
            force_flip_invariance: true,
            infer_is_positive: true,
            fix_quantile_crossing: false,
            return_backcast: false,
        }
    }
}

/// The sizes of a checkpoint.
#[derive(Clone, Copy)]
struct Sizes {
    width: usize,
    heads: usize,
    head: usize,
    /// Values of an input patch.
    patch: usize,
    /// Steps of the point head, a multiple of `patch`.
    output: usize,
    /// Steps of the quantile head.
    spread: usize,
}

impl Sizes {
    fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let [_, inputs] = checkpoint.sizes("tokenizer.hidden_layer.weight")?;
        let [width, _] = checkpoint.sizes("tokenizer.output_layer.weight")?;
        let [head] = checkpoint.sizes("stacked_xf.0.attn.query_ln.scale")?;
        let [_, inner] = checkpoint.sizes("stacked_xf.0.attn.out.weight")?;
        let [point, _] = checkpoint.sizes("output_projection_point.output_layer.weight")?;
        let [spread, _] = checkpoint.sizes("output_projection_quantiles.output_layer.weight")?;
        let fits = |whole: usize, part: usize| part > 0 && whole >= part && whole.is_multiple_of(part);
        let patch = inputs / 2;
        let sound = fits(inputs, 2) && fits(inner, head) && fits(head, 2);
        if !(sound && fits(point, OUTPUTS) && fits(spread, OUTPUTS) && fits(point / OUTPUTS, patch)) {
            return Err(checkpoint.unsupported(format!(
                "TimesFM 2.5 with tensors for {inputs} inputs, {point} and {spread} outputs, and {inner} / {head} heads"
            )));
        }
        let (output, spread) = (point / OUTPUTS, spread / OUTPUTS);
        Ok(Self { width, heads: inner / head, head, patch, output, spread })
    }
}

/// A loaded TimesFM 2.5 model.
pub(crate) struct TimesFm25 {
    sizes: Sizes,
    tokenizer: ResidualBlock,
    layers: Vec<Layer>,
    point: ResidualBlock,
    spread: ResidualBlock,
}

struct Layer {
    pre_attention: RmsNorm,
    /// Queries, keys and values in one product.
    qkv: Linear,
    /// Its weight also carries what a query is multiplied with.
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    out: Linear,
    post_attention: RmsNorm,
    pre_feed_forward: RmsNorm,
    ff0: Linear,
    ff1: Linear,
    post_feed_forward: RmsNorm,
}

/// One series on its way into the network.
struct Prepared {
    values: Vec<f64>,
    /// Its length with the padding in front that the reference gives it.
    padded: usize,
    location: f64,
    scale: f64,
    positive: bool,
}

/// What the network says about one row, in the row's own units.
#[derive(Default)]
struct Decoded {
    backcast: Vec<Outputs>,
    forecast: Vec<Outputs>,
    spread: Vec<Outputs>,
}

impl TimesFm25 {
    /// The column of the median in a row of outputs; the mean is column 0.
    pub(crate) const MEDIAN: usize = 5;

    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let sizes = Sizes::read(checkpoint)?;
        let hidden =
            |name: &str| checkpoint.sizes(&format!("{name}.hidden_layer.weight")).map(|[rows, _]| rows);
        let head = |name: &str, steps: usize| {
            let (inner, outputs) = (hidden(name)?, steps * OUTPUTS);
            let linear = |part: &str, from, to| {
                Linear::load_unbiased(checkpoint, &format!("{name}.{part}_layer"), from, to)
            };
            Ok::<_, OpenError>(ResidualBlock {
                hidden: linear("hidden", sizes.width, inner)?,
                output: linear("output", inner, outputs)?,
                residual: linear("residual", sizes.width, outputs)?,
                activation: Activation::Silu,
            })
        };
        let widths = [2 * sizes.patch, hidden("tokenizer")?, sizes.width];
        let layers = (0..).map(|i| format!("stacked_xf.{i}"));
        Ok(Self {
            sizes,
            tokenizer: ResidualBlock::load(checkpoint, "tokenizer", widths, Activation::Silu)?,
            layers: layers
                .take_while(|name| checkpoint.has(&format!("{name}.pre_attn_ln.scale")))
                .map(|name| Layer::load(checkpoint, &sizes, &name))
                .collect::<std::result::Result<_, _>>()?,
            point: head("output_projection_point", sizes.output)?,
            spread: head("output_projection_quantiles", sizes.spread)?,
        })
    }

    /// Mean and quantiles of every step, `[series][step][output]`.
    pub(crate) fn predict(
        &self,
        series: &[Vec<f64>],
        horizon: usize,
        options: &Options,
    ) -> std::result::Result<Vec<Vec<Vec<f64>>>, ForecastError> {
        let context = self.context(horizon, options)?;
        let prepared = series
            .iter()
            .enumerate()
            .map(|(task, values)| self.prepare(task, values, context, options))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let tokens: Vec<usize> = prepared.iter().map(|p| p.values.len().div_ceil(self.sizes.patch)).collect();
        let mut tables = vec![Vec::new(); series.len()];
        for rows in super::of_one_length(&tokens, BATCH) {
            let values: Vec<Vec<f64>> = rows.iter().map(|row| prepared[*row].values.clone()).collect();
            for (row, decoded) in rows.iter().zip(self.decode(values, horizon, options)?) {
                tables[*row] = self.finish(decoded, &prepared[*row], horizon, options);
            }
        }
        Ok(tables)
    }

    /// How many of the newest values count.
    fn context(&self, horizon: usize, options: &Options) -> std::result::Result<usize, ForecastError> {
        let Sizes { patch, output, spread, .. } = self.sizes;
        let unsuited = |reason| Err(ForecastError::Unsuited { family: Family::TimesFm25, reason });
        // Sizes a little beyond the longest are refused as what they are, larger ones need not be told apart.
        let rounded = |size: usize, unit| size.min(2 * LONGEST).next_multiple_of(unit);
        let ahead = rounded(options.max_horizon.max(horizon), output);
        if options.use_continuous_quantile_head && ahead > spread {
            return unsuited(format!(
                "{ahead} steps with the continuous quantile head, which gives {spread}"
            ));
        }
        let room = LONGEST.saturating_sub(ahead) / patch * patch;
        match options.max_context.map(|context| rounded(context, patch)) {
            _ if room == 0 => unsuited(format!("{horizon} steps; context and horizon are at most {LONGEST}")),
            Some(0) => unsuited("max_context is 0; wanted is the number of values to look at".into()),
            Some(context) if context > room => {
                unsuited(format!("a context of {context} and {ahead} steps; together at most {LONGEST}"))
            }
            context => Ok(context.unwrap_or(room)),
        }
    }

    fn prepare(
        &self,
        task: usize,
        values: &[f64],
        context: usize,
        options: &Options,
    ) -> std::result::Result<Prepared, ForecastError> {
        let (series, family) = ("target".to_owned(), Family::TimesFm25);
        let filled =
            scaling::fill_gaps(values).ok_or(ForecastError::NothingObserved { task, series, family })?;
        let mut values: Vec<f64> = scaling::newest(&filled, context).into_iter().map(f64::from).collect();
        let own = values.len().next_multiple_of(self.sizes.patch);
        let padded = if options.max_context.is_some() { context } else { own };
        let positive = values.iter().all(|value| *value >= 0.0);
        let (mut location, mut scale) = (0.0, 1.0);
        if options.normalize_inputs {
            // The zeros in front count, as in the reference.
            location = values.iter().sum::<f64>() / padded as f64;
            let squares = values.iter().map(|value| (value - location).powi(2)).sum::<f64>();
            let zeros = (padded - values.len()) as f64 * location.powi(2);
            scale = ((squares + zeros) / (padded.max(2) - 1) as f64).sqrt();
            values.iter_mut().for_each(|value| *value = (*value - location) / divisor(scale));
        }
        Ok(Prepared { values, padded, location, scale, positive })
    }

    /// Backcast, forecast and spread of rows that have the same number of patches; each row on its own, or together
    /// with its mirror image.
    fn decode(&self, mut rows: Vec<Vec<f64>>, horizon: usize, options: &Options) -> Result<Vec<Decoded>> {
        if !options.force_flip_invariance {
            return self.decode_rows(&rows, horizon, options);
        }
        let mirrored: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().map(|value| -value).collect()).collect();
        rows.extend(mirrored);
        let mut decoded = self.decode_rows(&rows, horizon, options)?;
        let mirrors = decoded.split_off(rows.len() / 2);
        for (row, mirror) in decoded.iter_mut().zip(&mirrors) {
            average(&mut row.backcast, &mirror.backcast);
            average(&mut row.forecast, &mirror.forecast);
            average(&mut row.spread, &mirror.spread);
        }
        Ok(decoded)
    }

    fn decode_rows(&self, rows: &[Vec<f64>], horizon: usize, options: &Options) -> Result<Vec<Decoded>> {
        let mut decoded: Vec<Decoded> = rows.iter().map(|_| Decoded::default()).collect();
        let mut running = vec![Running::default(); rows.len()];
        let mut past = Past::new(self.layers.len());
        let mut patches: Vec<Vec<f64>> = rows.to_vec();
        let mut first = true;
        while first || decoded.iter().any(|row| row.forecast.len() < horizon) {
            let (features, statistics) = self.tokens(&patches, &mut running)?;
            let h = self.network(&features, &mut past)?;
            let last = layers::last_token(&h)?;
            let point = layers::rows(&self.point.forward(&last)?)?;
            for ((row, outputs), statistics) in decoded.iter_mut().zip(&point).zip(&statistics) {
                row.forecast.extend(denormalise(outputs, statistics[statistics.len() - 1]));
            }
            if first && options.use_continuous_quantile_head {
                let spread = layers::rows(&self.spread.forward(&last)?)?;
                for ((row, outputs), statistics) in decoded.iter_mut().zip(&spread).zip(&statistics) {
                    row.spread = denormalise(outputs, statistics[statistics.len() - 1]).collect();
                }
            }
            if first && options.return_backcast {
                self.backcast(&h, &statistics, &mut decoded)?;
            }
            let newest = |row: &Decoded| row.forecast[row.forecast.len() - self.sizes.output..].to_vec();
            patches = decoded
                .iter()
                .map(|row| newest(row).iter().map(|step| step[Self::MEDIAN]).collect())
                .collect();
            first = false;
        }
        Ok(decoded)
    }

    /// What every patch but the last says about the patch after it.
    fn backcast(&self, h: &Tensor, statistics: &[Vec<Running>], decoded: &mut [Decoded]) -> Result<()> {
        let outputs = layers::rows(&self.point.forward(h)?)?;
        for ((row, statistics), outputs) in decoded.iter_mut().zip(statistics).zip(outputs.chunks(h.dim(1)?))
        {
            for (patch, statistics) in outputs.iter().zip(&statistics[..statistics.len() - 1]) {
                row.backcast.extend(denormalise(patch, *statistics).take(self.sizes.patch));
            }
        }
        Ok(())
    }

    /// Cuts rows into patches, each normalised by all up to it: tokens, and `[row][patch]` what normalised them.
    fn tokens(&self, rows: &[Vec<f64>], running: &mut [Running]) -> Result<(Tensor, Vec<Vec<Running>>)> {
        let size = self.sizes.patch;
        let patches = rows[0].len().div_ceil(size);
        let mut features: Vec<f32> = Vec::with_capacity(rows.len() * patches * 2 * size);
        let mut statistics = Vec::with_capacity(rows.len());
        for (row, running) in rows.iter().zip(running) {
            let missing = patches * size - row.len();
            let (begin, rest) = row.split_at(size - missing);
            let mut of_row = Vec::with_capacity(patches);
            for patch in std::iter::once(begin).chain(rest.chunks(size)) {
                running.update(patch);
                let padding = size - patch.len();
                features.extend(std::iter::repeat_n(0.0, padding));
                features.extend(patch.iter().map(|value| running.normalise(*value)));
                features.extend((0..size).map(|i| if i < padding { 1.0 } else { 0.0 }));
                of_row.push(*running);
            }
            statistics.push(of_row);
        }
        let shape = (rows.len(), patches, 2 * size);
        Ok((Tensor::from_vec(features, shape, self.layers[0].pre_attention.device())?, statistics))
    }

    /// The network over new tokens, after those that `past` keeps.
    fn network(&self, features: &Tensor, past: &mut Past) -> Result<Tensor> {
        let mut h = self.tokenizer.forward(features)?;
        let (new, all) = (h.dim(1)?, past.tokens + h.dim(1)?);
        let rotation = Rotation::new(past.tokens..all, self.sizes.head, ROPE_BASE, h.device())?;
        let mask = layers::causal_mask(new, all, h.device())?;
        for (layer, cache) in self.layers.iter().zip(&mut past.caches) {
            h = layer.forward(&h, self.sizes.heads, &rotation, &mask, cache)?;
        }
        past.tokens = all;
        Ok(h)
    }

    /// From what the network said to what is returned: spread, backcast, order, units, sign.
    fn finish(
        &self,
        decoded: Decoded,
        prepared: &Prepared,
        horizon: usize,
        options: &Options,
    ) -> Vec<Vec<f64>> {
        let Decoded { backcast, mut forecast, spread } = decoded;
        for (step, spread) in forecast.iter_mut().zip(&spread) {
            for i in (1..OUTPUTS).filter(|i| *i != Self::MEDIAN) {
                step[i] = spread[i] - spread[Self::MEDIAN] + step[Self::MEDIAN];
            }
        }
        forecast.truncate(horizon);
        // The reference shows padding too: zeros before they are scaled back.
        let unseen =
            if options.return_backcast { prepared.padded - self.sizes.patch - backcast.len() } else { 0 };
        let steps = std::iter::repeat_n([0.0; OUTPUTS], unseen).chain(backcast).chain(forecast);
        let finish = |mut step: Outputs| {
            if options.fix_quantile_crossing {
                for i in (1..Self::MEDIAN).rev() {
                    step[i] = step[i].min(step[i + 1]);
                }
                for i in Self::MEDIAN + 1..OUTPUTS {
                    step[i] = step[i].max(step[i - 1]);
                }
            }
            let scaled = step.map(|y| y * prepared.scale + prepared.location);
            let clamp = options.infer_is_positive && prepared.positive;
            scaled.map(|y| if clamp { y.max(0.0) } else { y }).to_vec()
        };
        steps.map(finish).collect()
    }
}

/// A spread below a millionth counts as none, whatever the unit.
fn divisor(deviation: f64) -> f64 {
    if deviation < 1e-6 { 1.0 } else { deviation }
}

/// The mean of a forecast and the mirror image of that of the mirrored series, whose quantiles run the other way.
fn average(steps: &mut [Outputs], mirrors: &[Outputs]) {
    for (step, mirror) in steps.iter_mut().zip(mirrors) {
        step[0] = (step[0] - mirror[0]) / 2.0;
        for i in 1..OUTPUTS {
            step[i] = (step[i] - mirror[OUTPUTS - i]) / 2.0;
        }
    }
}

/// A head's outputs, `step · output`, in the units of the row.
fn denormalise(outputs: &[f32], by: Running) -> impl Iterator<Item = Outputs> {
    let undo = move |y: f32| f64::from(y) * by.deviation + by.mean;
    outputs.as_chunks().0.iter().map(move |step: &[f32; OUTPUTS]| step.map(undo))
}

/// Mean and population deviation of all values so far.
#[derive(Clone, Copy, Default)]
struct Running {
    count: f64,
    mean: f64,
    deviation: f64,
}

impl Running {
    fn update(&mut self, patch: &[f64]) {
        let count = patch.len() as f64;
        let mean = patch.iter().sum::<f64>() / count;
        let squares = patch.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let all = self.count + count;
        let moved = (self.count * self.mean + count * mean) / all;
        let old = self.count * (self.deviation.powi(2) + (self.mean - moved).powi(2));
        let new = squares + count * (mean - moved).powi(2);
        *self = Self { count: all, mean: moved, deviation: ((old + new) / all).sqrt() };
    }

    fn normalise(&self, value: f64) -> f32 {
        ((value - self.mean) / divisor(self.deviation)) as f32
    }
}

/// What the layers keep of the tokens that they have seen.
struct Past {
    tokens: usize,
    caches: Vec<Cache>,
}

impl Past {
    fn new(layers: usize) -> Self {
        Self { tokens: 0, caches: (0..layers).map(|_| Cache::default()).collect() }
    }
}

impl Layer {
    fn load(checkpoint: &Checkpoint, sizes: &Sizes, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, inner) = (sizes.width, sizes.heads * sizes.head);
        let norm =
            |part: &str, width| RmsNorm::load(checkpoint, &format!("{name}.{part}.scale"), width, EPSILON);
        let linear = |part: &str, inputs, outputs| {
            Linear::load_unbiased(checkpoint, &format!("{name}.{part}"), inputs, outputs)
        };
        let attention = format!("{name}.attn");
        let scale =
            super::query_scale(checkpoint, &format!("{attention}.per_dim_scale.per_dim_scale"), sizes.head)?;
        let query = checkpoint.tensor(&format!("{attention}.query_ln.scale"), &[sizes.head])?;
        let [feed_forward, _] = checkpoint.sizes(&format!("{name}.ff0.weight"))?;
        Ok(Self {
            pre_attention: norm("pre_attn_ln", d)?,
            // Revisions before October 2025 have three matrices.
            qkv: match checkpoint.has(&format!("{attention}.query.weight")) {
                true => Linear::load_stacked(checkpoint, &attention, &["query", "key", "value"], d, inner)?,
                false => linear("attn.qkv_proj", d, 3 * inner)?,
            },
            query_norm: RmsNorm::new((query * Tensor::new(scale, checkpoint.device())?)?, EPSILON)?,
            key_norm: norm("attn.key_ln", sizes.head)?,
            out: linear("attn.out", inner, d)?,
            post_attention: norm("post_attn_ln", d)?,
            pre_feed_forward: norm("pre_ff_ln", d)?,
            ff0: linear("ff0", d, feed_forward)?,
            ff1: linear("ff1", feed_forward, d)?,
            post_feed_forward: norm("post_ff_ln", d)?,
        })
    }

    fn forward(
        &self,
        h: &Tensor,
        heads: usize,
        rotation: &Rotation,
        mask: &Tensor,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let [q, k, v] = layers::split_stacked(&self.qkv.forward(&self.pre_attention.forward(h)?)?, heads)?;
        let q = self.query_norm.forward(&rotation.forward(&q)?)?;
        let (k, v) = cache.append(self.key_norm.forward(&rotation.forward(&k)?)?, v)?;
        let mixed = self.out.forward(&layers::join_heads(&layers::attention(&q, &k, &v, Some(mask))?)?)?;
        let h = (h + self.post_attention.forward(&mixed)?)?;
        let inner = self.ff0.forward_then(&self.pre_feed_forward.forward(&h)?, Activation::Silu)?;
        &h + self.post_feed_forward.forward(&self.ff1.forward(&inner)?)?
    }
}

impl Model for TimesFm25 {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(LONGEST - self.sizes.output),
            horizon: self.sizes.output,
            point: Point::Median,
            levels: Levels::Trained(QUANTILES.to_vec()),
            joint: false,
            covariates: false,
        }
    }

    /// With every refinement of the reference but the one that takes a series without a negative value for a quantity
    /// that cannot be negative.
    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> std::result::Result<Vec<Vec<Forecast>>, ForecastError> {
        let options = Options {
            max_context: None,
            max_horizon: horizon,
            normalize_inputs: true,
            use_continuous_quantile_head: horizon.next_multiple_of(self.sizes.output) <= self.sizes.spread,
            force_flip_invariance: true,
            infer_is_positive: false,
            fix_quantile_crossing: true,
            return_backcast: false,
        };
        let series: Vec<Vec<f64>> = tasks.iter().flat_map(|task| task.targets.iter().cloned()).collect();
        let tables = self.predict(&series, horizon, &options)?;
        let read = |table: &Vec<Vec<f64>>| super::timesfm_forecast(table, &QUANTILES, levels);
        Ok(super::by_task(tasks, tables.iter().map(read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_statistics_are_those_of_all_values_so_far() {
        let values = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0];
        let mut running = Running::default();
        values.chunks(3).for_each(|patch| running.update(patch));
        let mean = values.iter().sum::<f64>() / 7.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 7.0;
        assert!((running.mean - mean).abs() < 1e-12);
        assert!((running.deviation - variance.sqrt()).abs() < 1e-12);
    }
}
