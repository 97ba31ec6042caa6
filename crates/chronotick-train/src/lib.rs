//! Trains ChronoTick's own forecasting model on simulated clocks, and judges it on others.
//!
//! Everything that is learned is seen through the real engine: the context is what it measured, the base forecast is the
//! filter bank's, and truth is the simulator's. A [`Recipe`] decides all of it; [`train`] follows one, and [`evaluate()`]
//! compares what came of it with the bank, in worlds that were not learned from.
//!
//! Feature `cuda` trains on an NVIDIA processor; nobody has tried that yet.

#![forbid(unsafe_code)]

mod evaluate;
mod examples;
mod network;
mod recipe;
mod training;
mod worlds;

pub use evaluate::{Judgement, Line, SCENARIOS, evaluate, foresee, prospect};
pub use recipe::{Network, Recipe};
pub use training::{Progress, train};

use chronotick_core::{Expected, Span};
use chronotick_tsfm::{Forecaster, OpenError};
use std::path::{Path, PathBuf};

/// The model that comes with the program, trained by `recipes/foresight.toml`; `models/foresight/README.md` says how
/// good it is.
///
/// # Errors
/// If the tensor library has no device to compute on.
pub fn embedded() -> Result<Forecaster, OpenError> {
    let config = include_str!("../models/foresight/config.json");
    Forecaster::of_bytes(
        "the embedded model",
        config,
        include_bytes!("../models/foresight/model.safetensors"),
    )
}

/// What the share of the [`embedded`] model was in worlds that it was not trained on, where it was sure of what it said and the
/// clock did not oscillate as far as the bank could see; and how much that is taken to differ between them: half of that was
/// no worse anywhere, and lets a world be that has few stretches yet. Below five minutes there is nothing to know.
pub const EXPECTED: [Expected; 4] = [
    Expected { horizon: Span::from_secs(300), share: 0.9, spread: 0.08 },
    Expected { horizon: Span::from_secs(600), share: 1.0, spread: 0.08 },
    Expected { horizon: Span::from_secs(1200), share: 1.0, spread: 0.08 },
    Expected { horizon: Span::from_secs(1800), share: 1.0, spread: 0.08 },
];

/// Why a training or a judgement came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The recipe is not TOML, or has a key that recipes do not have.
    #[error("recipe: {0}")]
    Malformed(#[from] toml::de::Error),
    /// A number of the recipe is out of its range.
    #[error("recipe: {0}")]
    Recipe(String),
    /// The checkpoint to resume from is of another network.
    #[error("{}: its checkpoint has no tensor {name} of the recipe's size; train into another folder", checkpoint.display())]
    Other {
        /// The folder.
        checkpoint: PathBuf,
        /// The first tensor that is missing.
        name: String,
    },
    /// What was written about the progress cannot be read.
    #[error("progress.json: {0}; train anew, without --resume")]
    Progress(#[from] serde_json::Error),
    /// The arithmetic failed.
    #[error("training: {0}")]
    Compute(#[from] candle_core::Error),
    /// There is no such scenario.
    #[error(transparent)]
    Scenario(#[from] chronotick_sim::ScenarioError),
    /// The model cannot be used.
    #[error(transparent)]
    Forecast(#[from] chronotick_tsfm::ForecastError),
}

impl TrainError {
    fn file(path: &Path, cause: std::io::Error) -> TrainError {
        TrainError::File { path: path.to_owned(), cause }
    }
}
