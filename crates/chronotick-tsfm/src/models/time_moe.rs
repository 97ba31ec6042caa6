//! Time-MoE: a decoder with one token per value, whose feed-forward layers are mixtures of experts, and heads that give
//! 1, 8, 32 or 64 steps at once. Point forecasts of single series; what was forecast is fed back as it came.
//!
//! Shi et al. 2024, arXiv:2409.16040.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops;
use serde::Deserialize;

use super::Model;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, Cache, Linear, RmsNorm, Rotation};
use crate::{Abilities, Family, Forecast, ForecastError, Levels, OpenError, Point, Task, scaling};

/// Context and horizon together, as it was trained.
const LONGEST: usize = 4096;

/// Tokens of one pass: bounds the memory that attention over a long context takes, and changes no result.
const BLOCK: usize = 512;

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    num_experts: usize,
    num_experts_per_tok: usize,
    horizon_lengths: Vec<usize>,
    rms_norm_eps: f64,
    rope_theta: f64,
    hidden_act: String,
    #[serde(default = "one")]
    input_size: usize,
    #[serde(default)]
    use_dense: bool,
}

fn one() -> usize {
    1
}

impl Config {
    fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config: Self = checkpoint.config()?;
        let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
        let (experts, chosen) = (config.num_experts, config.num_experts_per_tok);
        checkpoint.check_sizes(&[
            ("hidden_size", hidden),
            ("intermediate_size", config.intermediate_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_experts", experts),
            ("num_experts_per_tok", chosen),
            ("the number of horizon_lengths", config.horizon_lengths.len()),
        ])?;
        for &length in &config.horizon_lengths {
            checkpoint.check_sizes(&[("a length in horizon_lengths", length)])?;
        }
        if config.use_dense || config.input_size != 1 || config.hidden_act != "silu" {
            return Err(checkpoint.unsupported("Time-MoE without experts, of several inputs, or not of SiLU"));
        }
        if config.num_key_value_heads.is_some_and(|n| n != heads) {
            return Err(checkpoint.unsupported("Time-MoE with fewer key heads than query heads"));
        }
        if hidden % (2 * heads) != 0 {
            let reason = format!("hidden_size {hidden} does not give {heads} heads of an even size");
            return Err(checkpoint.bad_config(reason));
        }
        if chosen > experts || !config.intermediate_size.is_multiple_of(chosen) {
            return Err(checkpoint.bad_config(format!(
                "num_experts_per_tok is {chosen}; wanted is a divisor of intermediate_size {} and at most {experts}",
                config.intermediate_size
            )));
        }
        Ok(config)
    }
}

/// A loaded Time-MoE model.
pub(crate) struct TimeMoe {
    config: Config,
    embedding: Linear,
    embedding_gate: Linear,
    layers: Vec<Layer>,
    norm: RmsNorm,
    heads: Vec<Linear>,
    device: Device,
}

impl TimeMoe {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let config = Config::read(checkpoint)?;
        let d = config.hidden_size;
        let unbiased = |name: &str, inputs, outputs| Linear::load_unbiased(checkpoint, name, inputs, outputs);
        let heads = config.horizon_lengths.iter().enumerate();
        Ok(Self {
            embedding: unbiased("model.embed_layer.emb_layer", 1, d)?,
            embedding_gate: unbiased("model.embed_layer.gate_layer", 1, d)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(checkpoint, &config, &format!("model.layers.{i}")))
                .collect::<std::result::Result<_, _>>()?,
            norm: RmsNorm::load(checkpoint, "model.norm.weight", d, config.rms_norm_eps)?,
            heads: heads
                .map(|(h, &length)| unbiased(&format!("lm_heads.{h}.out_layer"), d, length))
                .collect::<std::result::Result<_, _>>()?,
            device: checkpoint.device().clone(),
            config,
        })
    }

    /// Continues a normalised series by blocks of steps, one for each pass: the longest head that does not reach beyond
    /// the horizon gives the next block, which is then fed back whole.
    pub(crate) fn generate(&self, series: &[f32], horizon: usize) -> Result<Vec<Vec<f32>>> {
        let lengths = &self.config.horizon_lengths;
        let mut caches: Vec<Cache> = self.layers.iter().map(|_| Cache::default()).collect();
        let (mut seen, mut missing) = (0, horizon);
        let mut blocks: Vec<Vec<f32>> = Vec::new();
        while missing > 0 {
            let news = blocks.last().map_or(series, Vec::as_slice);
            let state = self.forward(news, seen, &mut caches)?;
            seen += news.len();
            let fitting = (0..lengths.len()).filter(|&h| lengths[h] <= missing);
            let head = fitting.max_by_key(|&h| lengths[h]).unwrap_or(0);
            let mut block = self.heads[head].forward(&state)?.squeeze(0)?.to_vec1()?;
            block.truncate(missing);
            missing -= block.len();
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// The state `[1, d]` behind the last of the new values, which follow `seen` older ones.
    fn forward(&self, values: &[f32], mut seen: usize, caches: &mut [Cache]) -> Result<Tensor> {
        let mut newest = Tensor::zeros((1, self.config.hidden_size), candle_core::DType::F32, &self.device)?;
        for block in values.chunks(BLOCK) {
            let positions = seen..seen + block.len();
            let head_size = self.config.hidden_size / self.config.num_attention_heads;
            let rotation = Rotation::new(positions.clone(), head_size, self.config.rope_theta, &self.device)?;
            let mask = layers::causal_mask(block.len(), positions.end, &self.device)?;
            let x = Tensor::new(block, &self.device)?.reshape((1, block.len(), 1))?;
            let mut h =
                (self.embedding_gate.forward_then(&x, Activation::Silu)? * self.embedding.forward(&x)?)?;
            for (i, (layer, cache)) in self.layers.iter().zip(&mut *caches).enumerate() {
                // Of the last layer only the newest token's answer is asked for.
                let answered = if i + 1 == self.layers.len() { 1 } else { block.len() };
                h = layer.forward(&h, answered, &rotation, &mask, cache)?;
            }
            newest = layers::last_token(&h)?;
            seen = positions.end;
        }
        self.norm.forward(&newest)
    }
}

struct Layer {
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    experts: Experts,
}

impl Layer {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let norm = |norm: &str| {
            let name = format!("{name}.{norm}.weight");
            RmsNorm::load(checkpoint, &name, config.hidden_size, config.rms_norm_eps)
        };
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention::load(checkpoint, config, &format!("{name}.self_attn"))?,
            post_attention_norm: norm("post_attention_layernorm")?,
            experts: Experts::load(checkpoint, config, &format!("{name}.ffn_layer"))?,
        })
    }

    /// The states of the newest `answered` tokens.
    fn forward(
        &self,
        h: &Tensor,
        answered: usize,
        rotation: &Rotation,
        mask: &Tensor,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let mixed = self.attention.forward(&self.input_norm.forward(h)?, answered, rotation, mask, cache)?;
        let h = (h.narrow(1, h.dim(1)? - answered, answered)? + mixed)?;
        &h + self.experts.forward(&self.post_attention_norm.forward(&h)?)?
    }
}

struct Attention {
    /// Queries, keys and values in one product.
    qkv: Linear,
    o: Linear,
    heads: usize,
}

impl Attention {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let d = config.hidden_size;
        let parts = ["q_proj", "k_proj", "v_proj"];
        Ok(Self {
            qkv: Linear::load_stacked_biased(checkpoint, name, &parts, d, d)?,
            o: Linear::load_unbiased(checkpoint, &format!("{name}.o_proj"), d, d)?,
            heads: config.num_attention_heads,
        })
    }

    /// `[1, tokens, d]` to `[1, answered, d]`; keys are kept rotated.
    fn forward(
        &self,
        x: &Tensor,
        answered: usize,
        rotation: &Rotation,
        mask: &Tensor,
        cache: &mut Cache,
    ) -> Result<Tensor> {
        let [q, k, v] = layers::split_stacked(&self.qkv.forward(x)?, self.heads)?;
        let (k, v) = cache.append(rotation.forward(&k)?, v)?;
        let (d, others) = (q.dim(3)?, q.dim(2)? - answered);
        let q = (rotation.forward(&q)?.narrow(2, others, answered)? / (d as f64).sqrt())?;
        let mixed = layers::attention(&q, &k, &v, Some(&mask.narrow(0, others, answered)?))?;
        self.o.forward(&layers::join_heads(&mixed)?)
    }
}

/// The experts that a router picks for each token, beside one that all tokens share.
struct Experts {
    router: Linear,
    experts: Vec<Expert>,
    chosen: usize,
    shared: Expert,
    shared_gate: Linear,
}

impl Experts {
    fn load(checkpoint: &Checkpoint, config: &Config, name: &str) -> std::result::Result<Self, OpenError> {
        let (d, width, chosen) = (config.hidden_size, config.intermediate_size, config.num_experts_per_tok);
        let expert = |part: &str, width| Expert::load(checkpoint, &format!("{name}.{part}"), d, width);
        Ok(Self {
            router: Linear::load_unbiased(checkpoint, &format!("{name}.gate"), d, config.num_experts)?,
            experts: (0..config.num_experts)
                .map(|e| expert(&format!("experts.{e}"), width / chosen))
                .collect::<std::result::Result<_, _>>()?,
            chosen,
            shared: expert("shared_expert", width)?,
            shared_gate: Linear::load_unbiased(checkpoint, &format!("{name}.shared_expert_gate"), d, 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape().clone();
        let x = x.squeeze(0)?;
        let share = ops::sigmoid(&self.shared_gate.forward(&x)?)?;
        let mut sum = self.shared.forward(&x)?.broadcast_mul(&share)?;
        let probabilities = layers::softmax(&self.router.forward(&x)?)?;
        for (expert, (tokens, weights)) in self.experts.iter().zip(self.route(&probabilities.to_vec2()?)) {
            if tokens.is_empty() {
                continue;
            }
            let weights = Tensor::new(weights, x.device())?.unsqueeze(1)?;
            let tokens = Tensor::new(tokens, x.device())?;
            let answer = expert.forward(&x.index_select(&tokens, 0)?)?.broadcast_mul(&weights)?;
            sum = sum.index_add(&tokens, &answer, 0)?;
        }
        sum.reshape(shape)
    }

    /// For each expert the tokens it was chosen for, and its probability there. The weights of a token are not brought
    /// to a sum of 1: that is how the model was trained.
    fn route(&self, probabilities: &[Vec<f32>]) -> Vec<(Vec<u32>, Vec<f32>)> {
        let mut routes = vec![(Vec::new(), Vec::new()); self.experts.len()];
        for (token, row) in (0..).zip(probabilities) {
            let mut likeliest: Vec<usize> = (0..row.len()).collect();
            likeliest.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            for &expert in &likeliest[..self.chosen] {
                routes[expert].0.push(token);
                routes[expert].1.push(row[expert]);
            }
        }
        routes
    }
}

/// `down(silu(gate x) · up x)`.
struct Expert {
    /// Gate and value, side by side.
    gated: Linear,
    down: Linear,
}

impl Expert {
    fn load(
        checkpoint: &Checkpoint,
        name: &str,
        d: usize,
        width: usize,
    ) -> std::result::Result<Self, OpenError> {
        Ok(Self {
            gated: Linear::load_stacked(checkpoint, name, &["gate_proj", "up_proj"], d, width)?,
            down: Linear::load_unbiased(checkpoint, &format!("{name}.down_proj"), width, d)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.down.forward(&layers::swiglu(&self.gated.forward(x)?)?)
    }
}

impl Model for TimeMoe {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(LONGEST - 1),
            horizon: self.config.horizon_lengths.iter().copied().max().unwrap_or(1),
            point: Point::Robust,
            levels: Levels::None,
            joint: false,
            covariates: false,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        _levels: &[f64],
    ) -> std::result::Result<Vec<Vec<Forecast>>, ForecastError> {
        let family = Family::TimeMoe;
        if horizon >= LONGEST {
            let reason =
                format!("the horizon is {horizon}; context and horizon together are at most {LONGEST}");
            return Err(ForecastError::Unsuited { family, reason });
        }
        let mut forecasts = Vec::new();
        for (task, question) in tasks.iter().enumerate() {
            for (index, target) in question.targets.iter().enumerate() {
                let newest = &target[target.len().saturating_sub(LONGEST - horizon)..];
                let window = Window::of(newest).ok_or_else(|| ForecastError::NothingObserved {
                    task,
                    series: format!("target {index}"),
                    family,
                })?;
                let z = self.generate(&window.z, horizon)?.concat();
                let point = z.iter().map(|z| f64::from(*z) * window.unit + window.location).collect();
                forecasts.push(Forecast { point, mean: None, quantiles: vec![Vec::new(); horizon] });
            }
        }
        Ok(super::by_task(tasks, forecasts))
    }
}

/// A series from its first observed value on, its gaps filled, normalised.
pub(crate) struct Window {
    pub(crate) z: Vec<f32>,
    pub(crate) location: f64,
    pub(crate) unit: f64,
}

impl Window {
    /// Mean and sample deviation (n − 1) of the observed values, a deviation of 1 where there is none but rounding;
    /// `None` of a series without any value.
    pub(crate) fn of(series: &[f64]) -> Option<Self> {
        let filled = scaling::fill_gaps(series)?;
        let observed = || series.iter().copied().filter(|value| !value.is_nan());
        let count = observed().count() as f64;
        let location = observed().sum::<f64>() / count;
        let squares: f64 = observed().map(|value| (value - location).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        let rounding = count * f64::EPSILON * location.abs();
        let unit = if deviation > rounding { deviation } else { 1.0 };
        Some(Self { z: filled.iter().map(|x| ((x - location) / unit) as f32).collect(), location, unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_starts_where_something_is_known_and_what_fills_its_gaps_is_no_observation() {
        let window = Window::of(&[f64::NAN, 1.0, f64::NAN, 3.0]).unwrap();
        assert_eq!((window.location, window.unit), (2.0, 2f64.sqrt()));
        assert_eq!(window.z, [-0.5f32.sqrt(), 0.0, 0.5f32.sqrt()]);
        assert!(Window::of(&[f64::NAN; 3]).is_none());
        assert_eq!(Window::of(&[7.0]).unwrap().unit, 1.0);
        assert_eq!(Window::of(&[0.1; 100]).unwrap().unit, 1.0);
    }
}
