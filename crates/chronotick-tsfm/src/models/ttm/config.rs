//! `config.json` of TTM, as far as the network depends on it; what is missing there has the reference's default.

use serde::Deserialize;

use crate::OpenError;
use crate::checkpoint::Checkpoint;

/// Keys of `config.json` that belong to the third release.
const THIRD_RELEASE: [&str; 4] = ["multi_scale", "register_tokens", "multi_quantile_head", "decompose"];

/// Keys that no published zero-shot checkpoint sets, each of which is another network.
const REFUSED: [&str; 4] =
    ["self_attn", "use_positional_encoding", "categorical_vocab_size_list", "masked_context_length"];

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) context_length: usize,
    pub(super) patch_length: usize,
    pub(super) patch_stride: usize,
    pub(super) prediction_length: usize,
    pub(super) prediction_filter_length: Option<usize>,
    pub(super) d_model: usize,
    pub(super) num_layers: usize,
    pub(super) expansion_factor: usize,
    pub(super) adaptive_patching_levels: usize,
    pub(super) gated_attn: bool,
    pub(super) mode: Mode,
    pub(super) use_decoder: bool,
    pub(super) decoder_d_model: usize,
    pub(super) decoder_num_layers: usize,
    pub(super) decoder_adaptive_patching_levels: usize,
    pub(super) decoder_mode: Mode,
    pub(super) decoder_raw_residual: bool,
    pub(super) resolution_prefix_tuning: bool,
    pub(super) frequency_token_vocab_size: usize,
    pub(super) scaling: serde_json::Value,
    pub(super) loss: Option<String>,
    pub(super) norm_mlp: String,
    pub(super) norm_eps: f64,
    pub(super) num_input_channels: usize,
    pub(super) prediction_channel_indices: Option<Vec<usize>>,
    pub(super) exogenous_channel_indices: Option<Vec<usize>>,
    pub(super) enable_forecast_channel_mixing: bool,
    pub(super) fcm_context_length: usize,
    pub(super) fcm_use_mixer: bool,
    pub(super) fcm_mix_layers: usize,
    pub(super) fcm_gated_attn: bool,
    pub(super) fcm_prepend_past: bool,
    pub(super) fcm_prepend_past_offset: Option<usize>,
}

/// Whether layers mix the channels too.
#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    CommonChannel,
    MixChannel,
}

/// Old files leave keys out.
impl Default for Config {
    fn default() -> Self {
        Self {
            context_length: 64,
            patch_length: 8,
            patch_stride: 8,
            prediction_length: 16,
            prediction_filter_length: None,
            d_model: 16,
            num_layers: 3,
            expansion_factor: 2,
            adaptive_patching_levels: 0,
            gated_attn: true,
            mode: Mode::CommonChannel,
            use_decoder: true,
            decoder_d_model: 8,
            decoder_num_layers: 8,
            decoder_adaptive_patching_levels: 0,
            decoder_mode: Mode::CommonChannel,
            decoder_raw_residual: false,
            resolution_prefix_tuning: false,
            frequency_token_vocab_size: 5,
            scaling: "std".into(),
            loss: Some("mse".into()),
            norm_mlp: "LayerNorm".into(),
            norm_eps: 1e-5,
            num_input_channels: 1,
            prediction_channel_indices: None,
            exogenous_channel_indices: None,
            enable_forecast_channel_mixing: false,
            fcm_context_length: 1,
            fcm_use_mixer: false,
            fcm_mix_layers: 2,
            fcm_gated_attn: true,
            fcm_prepend_past: true,
            fcm_prepend_past_offset: None,
        }
    }
}

impl Config {
    pub(super) fn read(checkpoint: &Checkpoint) -> std::result::Result<Self, OpenError> {
        let set = |key: &&&str| {
            let value = checkpoint.key(key);
            value.is_some_and(|v| *v != false && *v != 0 && v.as_array().is_none_or(|list| !list.is_empty()))
        };
        if let Some(key) = THIRD_RELEASE.iter().find(set) {
            return Err(checkpoint.unsupported(format!("TTM r3 (config.json sets {key})")));
        }
        if let Some(key) = REFUSED.iter().find(set) {
            return Err(checkpoint.unsupported(format!("TTM with {key}")));
        }
        let config: Self = checkpoint.config()?;
        let scaled = config.scaling == "std" || config.scaling == true;
        if !scaled || config.norm_mlp != "LayerNorm" || config.loss.as_deref() == Some("nll") {
            return Err(
                checkpoint.unsupported("TTM with other than std scaling, layer norms and a point forecast")
            );
        }
        if !config.use_decoder || config.decoder_adaptive_patching_levels != 0 {
            return Err(checkpoint.unsupported("TTM without a decoder, or with patching levels in it"));
        }
        config.check(checkpoint)?;
        Ok(config)
    }

    fn check(&self, checkpoint: &Checkpoint) -> std::result::Result<(), OpenError> {
        checkpoint.check_sizes(&[
            ("context_length", self.context_length),
            ("patch_length", self.patch_length),
            ("patch_stride", self.patch_stride),
            ("prediction_length", self.prediction_length),
            ("prediction_filter_length", self.steps()),
            ("d_model", self.d_model),
            ("num_layers", self.num_layers),
            ("expansion_factor", self.expansion_factor),
            ("decoder_d_model", self.decoder_d_model),
            ("decoder_num_layers", self.decoder_num_layers),
            ("frequency_token_vocab_size", self.frequency_token_vocab_size),
            ("num_input_channels", self.num_input_channels),
            ("fcm_context_length", self.fcm_context_length),
        ])?;
        let (context, patch) = (self.context_length, self.patch_length);
        if patch > context {
            return Err(
                checkpoint.bad_config(format!("patch_length {patch} exceeds context_length {context}"))
            );
        }
        if self.steps() > self.prediction_length {
            return Err(checkpoint.bad_config("prediction_filter_length exceeds prediction_length"));
        }
        let finest = self.adaptive_patching_levels.saturating_sub(1);
        if finest >= 20 || (0..finest + 1).any(|level| !self.d_model.is_multiple_of(self.factor(level))) {
            let (levels, d) = (self.adaptive_patching_levels, self.d_model);
            let reason =
                format!("d_model {d} cannot be halved for each of {levels} adaptive_patching_levels");
            return Err(checkpoint.bad_config(reason));
        }
        let (mut predicted, exogenous) = (self.predicted(), self.exogenous());
        if predicted.is_empty() {
            let reason =
                "prediction_channel_indices or exogenous_channel_indices leave no channel to forecast";
            return Err(checkpoint.bad_config(reason));
        }
        predicted.extend(exogenous);
        predicted.sort_unstable();
        let twice = predicted.windows(2).any(|pair| pair[0] == pair[1]);
        if twice || predicted.last().is_some_and(|&last| last >= self.num_input_channels) {
            return Err(checkpoint.bad_config(format!(
                "prediction_channel_indices and exogenous_channel_indices name a channel twice, or one that is not \
                 among num_input_channels {}",
                self.num_input_channels
            )));
        }
        let offset = self.fcm_prepend_past_offset.unwrap_or(0);
        if offset > context || self.fcm_context_length > context - offset {
            return Err(checkpoint.bad_config("fcm_context_length reaches back beyond context_length"));
        }
        Ok(())
    }

    pub(super) fn patches(&self) -> usize {
        (self.context_length - self.patch_length) / self.patch_stride + 1
    }

    /// Patches, and the prefix in front of them where there is one.
    pub(super) fn tokens(&self) -> usize {
        self.patches() + usize::from(self.resolution_prefix_tuning)
    }

    /// Into how many finer tokens a level cuts each; level 0 is the coarsest.
    pub(super) fn factor(&self, level: usize) -> usize {
        let factor = 1 << level;
        if self.d_model / factor <= 4 { 1 } else { factor }
    }

    /// Steps of one pass.
    pub(super) fn steps(&self) -> usize {
        self.prediction_filter_length.unwrap_or(self.prediction_length)
    }

    /// Channels known in advance, in order.
    pub(super) fn exogenous(&self) -> Vec<usize> {
        sorted(self.exogenous_channel_indices.clone().unwrap_or_default())
    }

    /// Channels that are forecast, in order.
    pub(super) fn predicted(&self) -> Vec<usize> {
        let exogenous = self.exogenous();
        let others =
            || (0..self.num_input_channels).filter(|i| exogenous.binary_search(i).is_err()).collect();
        sorted(self.prediction_channel_indices.clone().unwrap_or_else(others))
    }

    /// Whether it works on its own set of channels; the others take any number, each channel on its own.
    pub(super) fn fixed_channels(&self) -> bool {
        [self.mode, self.decoder_mode].contains(&Mode::MixChannel)
            || self.enable_forecast_channel_mixing
            || self.prediction_channel_indices.is_some()
            || self.exogenous_channel_indices.is_some()
    }
}

fn sorted(mut indices: Vec<usize>) -> Vec<usize> {
    indices.sort_unstable();
    indices
}
