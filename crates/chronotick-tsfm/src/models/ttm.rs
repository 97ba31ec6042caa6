//! Tiny Time Mixers (TTM r1, r2, r2.1): MLPs that mix patches and features in turn, first at fine patches, then at
//! coarser ones, and one linear head for all steps. Point forecasts; fine-tuned models may also mix channels.
//!
//! Ekambaram et al. 2024, arXiv:2401.03955. The third release is another network under the same name and is refused.

mod config;
mod pipeline;

use candle_core::{Device, Result, Tensor};

use self::config::{Config, Mode};
pub(crate) use self::pipeline::Standard;
use crate::checkpoint::Checkpoint;
use crate::layers::{self, Activation, LayerNorm, Linear};
use crate::{Family, ForecastError, OpenError};

/// Added to the variance of a series.
const VARIANCE_FLOOR: f64 = 1e-5;

/// A loaded TTM model.
pub(crate) struct Ttm {
    config: Config,
    patcher: Linear,
    prefix: Option<Prefix>,
    encoder: Vec<Level>,
    adapter: Option<Linear>,
    raw_embedding: Option<Linear>,
    decoder: Vec<Layer>,
    head: Linear,
    forecast_mixing: Option<ForecastMixing>,
    device: Device,
}

impl Ttm {
    pub(crate) fn load(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let c = Config::read(checkpoint)?;
        let (tokens, d, decoder_d) = (c.tokens(), c.d_model, c.decoder_d_model);
        let linear = |name: &str, inputs, outputs| Linear::load(checkpoint, name, inputs, outputs);
        let optional = |wanted: bool, name: &str, inputs| {
            wanted.then(|| linear(&format!("decoder.{name}"), inputs, decoder_d)).transpose()
        };
        let decoder_layer = |k| {
            let name = format!("decoder.decoder_block.mixers.{k}");
            Layer::load(checkpoint, &c, &name, c.decoder_mode, tokens, decoder_d)
        };
        Ok(Self {
            patcher: linear("backbone.encoder.patcher", c.patch_length, d)?,
            prefix: c.resolution_prefix_tuning.then(|| Prefix::load(checkpoint, &c)).transpose()?,
            encoder: Level::load_all(checkpoint, &c)?,
            adapter: optional(decoder_d != d, "adapter", d)?,
            raw_embedding: optional(c.decoder_raw_residual, "decoder_raw_embedding", c.patch_length)?,
            decoder: (0..c.decoder_num_layers).map(decoder_layer).collect::<std::result::Result<_, _>>()?,
            head: linear("head.base_forecast_block", tokens * decoder_d, c.prediction_length)?,
            forecast_mixing: c
                .enable_forecast_channel_mixing
                .then(|| ForecastMixing::load(checkpoint, &c))
                .transpose()?,
            device: checkpoint.device().clone(),
            config: c,
        })
    }

    /// Which channels are known in advance.
    pub(crate) fn exogenous(&self) -> Vec<usize> {
        self.config.exogenous()
    }

    /// Forecasts the predicted channels, `[channel][step]`; beyond one pass, forecasts are fed back as if observed.
    /// `future` has the exogenous channels' values over the steps of one pass.
    pub(crate) fn predict(
        &self,
        mut past: Past,
        frequency: usize,
        future: &[Vec<f64>],
        horizon: usize,
    ) -> std::result::Result<Vec<Vec<f64>>, ForecastError> {
        let unsuited = |reason| ForecastError::Unsuited { family: Family::Ttm, reason };
        let (c, steps) = (&self.config, self.config.steps());
        if c.resolution_prefix_tuning && frequency >= c.frequency_token_vocab_size {
            let known = c.frequency_token_vocab_size;
            return Err(unsuited(format!("frequency token {frequency}; this checkpoint knows {known}")));
        }
        let (channels, length) = (past.values.len(), c.context_length);
        let short = past.values.iter().any(|values| values.len() < length);
        let ragged = past.observed.len() != channels
            || past.values.iter().zip(&past.observed).any(|(values, seen)| values.len() != seen.len());
        let many = c.fixed_channels() && channels != c.num_input_channels;
        let unknown = future.len() != c.exogenous().len() || future.iter().any(|values| values.len() < steps);
        if channels == 0 || short || ragged || many || unknown {
            let (inputs, known) = (c.num_input_channels, c.exogenous().len());
            return Err(unsuited(format!(
                "{channels} channels; wanted are {length} values in each of {inputs}, and {known} known {steps} steps ahead"
            )));
        }
        let mut forecast = self.pass(&past, frequency, future)?;
        while forecast[0].len() < horizon {
            if forecast.len() < past.values.len() {
                return Err(unsuited(format!(
                    "{horizon} steps, but this checkpoint gives {steps} and cannot go on from them, as it does not \
                     forecast all of its input channels; ask for at most {steps}"
                )));
            }
            for (channel, path) in forecast.iter().enumerate() {
                past.values[channel].extend_from_slice(&path[path.len() - steps..]);
                past.observed[channel].resize(past.values[channel].len(), true);
            }
            for (path, more) in forecast.iter_mut().zip(self.pass(&past, frequency, future)?) {
                path.extend(more);
            }
        }
        forecast.iter_mut().for_each(|path| path.truncate(horizon));
        Ok(forecast)
    }

    /// One pass over the newest values.
    fn pass(&self, past: &Past, frequency: usize, future: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
        let c = &self.config;
        let past = past.newest(c.context_length);
        let norms: Vec<Norm> =
            past.values.iter().zip(&past.observed).map(|(x, seen)| Norm::of(x, seen)).collect();
        let z: Vec<f32> =
            past.values.iter().zip(&norms).flat_map(|(x, norm)| x.iter().map(|x| norm.apply(*x))).collect();
        let z = Tensor::from_vec(z, (past.values.len(), c.context_length), &self.device)?;
        let predicted = if c.fixed_channels() { c.predicted() } else { (0..past.values.len()).collect() };
        let indices: Vec<u32> = predicted.iter().map(|&i| i as u32).collect();
        let y = self.network(&z, frequency)?.index_select(&Tensor::new(indices, &self.device)?, 0)?;
        let mut y = y.narrow(1, 0, c.steps())?;
        if let Some(mixing) = &self.forecast_mixing {
            let order = predicted.iter().chain(&c.exogenous()).copied().collect::<Vec<_>>();
            let before: Vec<&[f64]> = order.iter().map(|&i| past.values[i].as_slice()).collect();
            let future: Vec<&[f64]> = future.iter().map(Vec::as_slice).collect();
            y = mixing.forward(&y.t()?, &by_step(&before, &self.device)?, &future)?.t()?;
        }
        let rows = y.to_vec2::<f32>()?;
        let undo = |(row, i): (Vec<f32>, usize)| row.iter().map(|y| norms[i].undo(*y)).collect();
        Ok(rows.into_iter().zip(predicted).map(undo).collect())
    }

    /// Normalised contexts `[channel, step]` to normalised forecasts, of all channels and steps.
    fn network(&self, z: &Tensor, frequency: usize) -> Result<Tensor> {
        let c = &self.config;
        let used = c.patch_length + c.patch_stride * (c.patches() - 1);
        let z = z.narrow(1, c.context_length - used, used)?;
        let patch = |i| z.narrow(1, i * c.patch_stride, c.patch_length);
        let mut patches = Tensor::stack(&(0..c.patches()).map(patch).collect::<Result<Vec<_>>>()?, 1)?;
        let mut h = self.patcher.forward(&patches)?;
        if let Some(prefix) = &self.prefix {
            h = Tensor::cat(&[&prefix.forward(frequency, z.dim(0)?)?, &h], 1)?;
            patches = patches.pad_with_zeros(1, 1, 0)?;
        }
        for level in &self.encoder {
            h = level.forward(&h)?;
        }
        if let Some(adapter) = &self.adapter {
            h = adapter.forward(&h)?;
        }
        if let Some(raw) = &self.raw_embedding {
            h = (h + raw.forward(&patches)?)?;
        }
        for layer in &self.decoder {
            h = layer.forward(&h)?;
        }
        self.head.forward(&h.flatten_from(1)?)
    }
}

/// What the network sees of the past: `[channel][step]`, finite everywhere, and which of it was observed.
pub(crate) struct Past {
    pub(crate) values: Vec<Vec<f64>>,
    pub(crate) observed: Vec<Vec<bool>>,
}

impl Past {
    fn newest(&self, length: usize) -> Self {
        Self {
            values: self.values.iter().map(|x| x[x.len() - length..].to_vec()).collect(),
            observed: self.observed.iter().map(|x| x[x.len() - length..].to_vec()).collect(),
        }
    }
}

/// A channel's mean and deviation over what was observed.
struct Norm {
    location: f64,
    scale: f64,
}

impl Norm {
    fn of(values: &[f64], observed: &[bool]) -> Self {
        let seen = || values.iter().zip(observed).filter(|(_, seen)| **seen).map(|(value, _)| *value);
        let count = seen().count().max(1) as f64;
        let location = seen().sum::<f64>() / count;
        let variance = seen().map(|value| (value - location).powi(2)).sum::<f64>() / count;
        Self { location, scale: (variance + VARIANCE_FLOOR).sqrt() }
    }

    fn apply(&self, value: f64) -> f32 {
        ((value - self.location) / self.scale) as f32
    }

    fn undo(&self, z: f32) -> f64 {
        f64::from(z) * self.scale + self.location
    }
}

/// Makes a token of the sampling interval, to stand in front of the patches.
struct Prefix {
    embedding: Tensor,
    hidden: Linear,
    output: Linear,
}

impl Prefix {
    fn load(checkpoint: &Checkpoint, config: &Config) -> std::result::Result<Self, OpenError> {
        let name = |part: &str| format!("backbone.encoder.freq_mod.{part}");
        let (patch, d) = (config.patch_length, config.d_model);
        let middle = (patch + d) / 2;
        Ok(Self {
            embedding: checkpoint.tensor(&name("0.weight"), &[config.frequency_token_vocab_size, patch])?,
            hidden: Linear::load(checkpoint, &name("1"), patch, middle)?,
            output: Linear::load(checkpoint, &name("3"), middle, d)?,
        })
    }

    /// `[channels, 1, d]`.
    fn forward(&self, frequency: usize, channels: usize) -> Result<Tensor> {
        let embedded = self.embedding.narrow(0, frequency, 1)?;
        let token = self.output.forward(&self.hidden.forward_then(&embedded, Activation::Gelu)?)?;
        token.unsqueeze(0)?.broadcast_as((channels, 1, token.dim(1)?))
    }
}

/// Layers that see each token cut into `factor` finer ones.
struct Level {
    factor: usize,
    layers: Vec<Layer>,
}

impl Level {
    /// All levels, the finest first.
    fn load_all(checkpoint: &Checkpoint, config: &Config) -> std::result::Result<Vec<Self>, OpenError> {
        let levels = config.adaptive_patching_levels;
        let load = |level: usize, name: String| {
            let factor = config.factor(level);
            let (tokens, width) = (config.tokens() * factor, config.d_model / factor);
            let layer =
                |j| Layer::load(checkpoint, config, &format!("{name}.{j}"), config.mode, tokens, width);
            let layers = (0..config.num_layers).map(layer).collect::<std::result::Result<_, _>>()?;
            Ok(Self { factor, layers })
        };
        let mixers = "backbone.encoder.mlp_mixer_encoder.mixers";
        match levels {
            0 => Ok(vec![load(0, mixers.to_owned())?]),
            _ => (0..levels).map(|i| load(levels - 1 - i, format!("{mixers}.{i}.mixer_layers"))).collect(),
        }
    }

    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        let (channels, tokens, d) = h.dims3()?;
        let mut h = h.reshape((channels, tokens * self.factor, d / self.factor))?;
        for layer in &self.layers {
            h = layer.forward(&h)?;
        }
        h.reshape((channels, tokens, d))
    }
}

/// Mixes `[channels, tokens, features]` along one axis after the other.
struct Layer {
    channels: Option<Mixer>,
    patches: Option<Mixer>,
    features: Mixer,
}

impl Layer {
    fn load(
        checkpoint: &Checkpoint,
        config: &Config,
        name: &str,
        mode: Mode,
        tokens: usize,
        features: usize,
    ) -> std::result::Result<Self, OpenError> {
        let channels = (mode == Mode::MixChannel).then_some(config.num_input_channels);
        let mixer = |axis: &str, positions| {
            Mixer::load(checkpoint, config, &format!("{name}.{axis}"), positions, features)
        };
        Ok(Self {
            channels: channels.map(|n| mixer("channel_feature_mixer", n)).transpose()?,
            patches: (tokens > 1).then(|| mixer("patch_mixer", tokens)).transpose()?,
            features: mixer("feature_mixer", features)?,
        })
    }

    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        let mut h = h.clone();
        if let Some(mixer) = &self.channels {
            h = mixer.mix_channels(&h)?;
        }
        if let Some(mixer) = &self.patches {
            h = mixer.mix_patches(&h)?;
        }
        self.features.mix_features(&h)
    }
}

/// A residual, gated MLP along one axis. Its norm is over the features, whatever the axis.
struct Mixer {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    gate: Option<Gate>,
}

impl Mixer {
    fn load(
        checkpoint: &Checkpoint,
        config: &Config,
        name: &str,
        positions: usize,
        features: usize,
    ) -> std::result::Result<Self, OpenError> {
        let hidden = positions * config.expansion_factor;
        Ok(Self {
            norm: LayerNorm::load(checkpoint, &format!("{name}.norm.norm"), features, config.norm_eps)?,
            fc1: Linear::load(checkpoint, &format!("{name}.mlp.fc1"), positions, hidden)?,
            fc2: Linear::load(checkpoint, &format!("{name}.mlp.fc2"), hidden, positions)?,
            gate: config
                .gated_attn
                .then(|| Gate::load(checkpoint, &format!("{name}.gating_block"), positions))
                .transpose()?,
        })
    }

    fn mix_features(&self, x: &Tensor) -> Result<Tensor> {
        x + self.gated(self.mlp(&self.norm.forward(x)?)?)?
    }

    fn mix_patches(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.norm.forward(x)?.transpose(1, 2)?;
        x + self.gated(self.mlp(&h)?)?.transpose(1, 2)?
    }

    /// Here the gate stands before the MLP, not behind it.
    fn mix_channels(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.norm.forward(x)?.transpose(0, 2)?.contiguous()?;
        x + self.mlp(&self.gated(h)?)?.transpose(0, 2)?
    }

    fn mlp(&self, h: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward_then(h, Activation::Gelu)?)
    }

    fn gated(&self, h: Tensor) -> Result<Tensor> {
        match &self.gate {
            Some(gate) => gate.forward(&h),
            None => Ok(h),
        }
    }
}

/// `h · softmax(W h + b)`.
struct Gate(Linear);

impl Gate {
    fn load(checkpoint: &Checkpoint, name: &str, width: usize) -> std::result::Result<Self, OpenError> {
        Ok(Self(Linear::load(checkpoint, &format!("{name}.attn_layer"), width, width)?))
    }

    fn forward(&self, h: &Tensor) -> Result<Tensor> {
        h * layers::softmax(&self.0.forward(h)?)?
    }
}

/// Corrects each step of the forecast by all channels around that step, known future values among them.
struct ForecastMixing {
    /// Steps seen on either side.
    reach: usize,
    /// How many of the newest values are left out of the past, where it is seen at all.
    past_offset: Option<usize>,
    embedding: Option<Linear>,
    mixers: Vec<Layer>,
    gate: Option<Gate>,
    output: Linear,
}

impl ForecastMixing {
    fn load(checkpoint: &Checkpoint, config: &Config) -> std::result::Result<Self, OpenError> {
        let name = |part: &str| format!("head.fcm_block.{part}");
        let predicted = config.predicted().len();
        let channels = predicted + config.exogenous().len();
        let window = 2 * config.fcm_context_length + 1;
        let (width, layers) = match config.fcm_use_mixer {
            true => (2 * window, config.fcm_mix_layers),
            false => (window, 0),
        };
        let mixer = |k| {
            let name = name(&format!("exog_mixer.mixers.{k}"));
            Layer::load(checkpoint, config, &name, Mode::CommonChannel, channels, width)
        };
        let embedding = || Linear::load(checkpoint, &name("fcm_embedding"), window, width);
        let gate = || Gate::load(checkpoint, &name("fcm_gating_block"), channels * width);
        Ok(Self {
            reach: config.fcm_context_length,
            past_offset: config.fcm_prepend_past.then_some(config.fcm_prepend_past_offset.unwrap_or(0)),
            embedding: config.fcm_use_mixer.then(embedding).transpose()?,
            mixers: (0..layers).map(mixer).collect::<std::result::Result<_, _>>()?,
            gate: config.fcm_gated_attn.then(gate).transpose()?,
            output: Linear::load(checkpoint, &name("mlp"), channels * width, predicted)?,
        })
    }

    /// The forecast `[step, predicted]` is normalised; the past `[step, channel]` (predicted channels first) and the
    /// exogenous channels' future are not: the reference trains it so.
    fn forward(&self, y: &Tensor, past: &Tensor, future: &[&[f64]]) -> Result<Tensor> {
        let steps = y.dim(0)?;
        let mut base = y.clone();
        if !future.is_empty() {
            base = Tensor::cat(&[&base, &by_step(future, y.device())?.narrow(0, 0, steps)?], 1)?;
        }
        let edge = Tensor::zeros((self.reach, base.dim(1)?), y.dtype(), y.device())?;
        let before = match self.past_offset {
            Some(offset) => past.narrow(0, past.dim(0)? - offset - self.reach, self.reach)?,
            None => edge.clone(),
        };
        let rows = Tensor::cat(&[&before, &base, &edge], 0)?;
        let window = |step| rows.narrow(0, step, 2 * self.reach + 1)?.t();
        let mut h = Tensor::stack(&(0..steps).map(window).collect::<Result<Vec<_>>>()?, 0)?;
        if let Some(embedding) = &self.embedding {
            h = embedding.forward(&h)?;
        }
        for mixer in &self.mixers {
            h = mixer.forward(&h)?;
        }
        h = h.flatten_from(1)?;
        if let Some(gate) = &self.gate {
            h = gate.forward(&h)?;
        }
        y + self.output.forward(&h)?
    }
}

/// Channels of equal length as a tensor `[step, channel]`.
fn by_step(channels: &[&[f64]], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = channels.iter().flat_map(|x| x.iter().map(|x| *x as f32)).collect();
    Tensor::from_vec(values, (channels.len(), channels[0].len()), device)?.t()
}
