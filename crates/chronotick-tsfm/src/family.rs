//! The families of models that can be opened, and how a folder is told to be one of them.

use std::fmt;
use std::path::Path;

use crate::OpenError;
use crate::checkpoint::Checkpoint;

/// What [`Family::of`] names when it refuses a folder.
pub(crate) const SUPPORTED: &str =
    "Chronos-Bolt, Chronos-2, TimesFM 2.5 and 2.0, TTM (r1, r2, r2.1), Toto 1.0, Time-MoE, Foresight";

/// A family of models: one architecture, checkpoints of several sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Chronos-Bolt (Amazon): encoder and decoder over patches, nine quantiles.
    ChronosBolt,
    /// Chronos-2 (Amazon): encoder with group attention, covariates, 21 quantiles.
    Chronos2,
    /// TimesFM 2.5 (Google): decoder over patches, mean and nine quantiles.
    TimesFm25,
    /// TimesFM 2.0 (Google): decoder over patches, mean and nine quantiles.
    TimesFm20,
    /// Tiny Time Mixers (IBM): mixing layers over patches, point forecasts.
    Ttm,
    /// Toto Open Base 1.0 (Datadog): time and space attention, mixtures of Student t.
    Toto,
    /// Time-MoE (Maple728): mixture of experts over points, point forecasts.
    TimeMoe,
    /// Foresight (ChronoTick): a dense network that corrects a base forecast of the running sum of a series, eleven
    /// quantiles. Its two covariates are needed: the base forecast (over the horizon; its past is not looked at), and
    /// the standard deviations of the series and of the base forecast. Its forecasts are of the running sum.
    Foresight,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChronosBolt => "Chronos-Bolt",
            Self::Chronos2 => "Chronos-2",
            Self::TimesFm25 => "TimesFM 2.5",
            Self::TimesFm20 => "TimesFM 2.0",
            Self::Ttm => "TTM",
            Self::Toto => "Toto",
            Self::TimeMoe => "Time-MoE",
            Self::Foresight => "Foresight",
        })
    }
}

impl Family {
    /// The family of the checkpoint in a folder, by its configuration and the headers of its weights alone.
    ///
    /// # Errors
    ///
    /// [`OpenError`], where the folder holds none, or one of another kind.
    pub fn at(folder: &Path) -> Result<Self, OpenError> {
        Self::of(&Checkpoint::open(folder)?)
    }

    /// Tells the family by `config.json`, and where that says nothing by the names of the tensors.
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self, OpenError> {
        let text = |key: &str| checkpoint.key(key).and_then(|value| value.as_str());
        let architecture = checkpoint.key("architectures").and_then(|list| list.get(0)?.as_str());
        // Both Chronos families say "t5" in model_type: their pipeline's class decides.
        let name = text("chronos_pipeline_class").or(architecture).or(text("model_type"));
        match name {
            Some("ChronosBoltPipeline" | "ChronosBoltModelForForecasting") => Ok(Self::ChronosBolt),
            Some("Chronos2Pipeline" | "Chronos2Model") => Ok(Self::Chronos2),
            Some("TimesFmModelForPrediction" | "timesfm") => Ok(Self::TimesFm20),
            Some("TinyTimeMixerForPrediction" | "tinytimemixer") => Ok(Self::Ttm),
            Some("TimeMoeForPrediction" | "time_moe") => Ok(Self::TimeMoe),
            Some("foresight") => Ok(Self::Foresight),
            _ if checkpoint.has("stacked_xf.0.pre_attn_ln.scale") => Ok(Self::TimesFm25),
            _ if checkpoint.has("model.patch_embed.projection.weight") => Ok(Self::Toto),
            Some(other) => Err(checkpoint.unsupported(format!("a model of kind {other:?}"))),
            None => Err(checkpoint.unsupported("a model that neither config.json nor its tensors name")),
        }
    }
}
