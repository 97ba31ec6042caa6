//! What can go wrong: a folder that is not a usable checkpoint ([`OpenError`]) and a question that a model cannot
//! answer ([`ForecastError`]). Each message names the thing and the mend.

use std::path::PathBuf;

use crate::Family;
use crate::hub::{Absent, Repository};

/// Why a folder could not be opened as a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A repository of a hub is not in the cache.
    #[error(transparent)]
    Absent(Box<Absent>),
    /// A repository of a hub is asked for, and there is no cache to look in.
    #[error("there is no home directory to keep {0} in; set HF_HOME, or name a folder")]
    NoCache(Repository),
    /// A file of the checkpoint is missing, or cannot be read.
    #[error("{}: {source}; a checkpoint folder holds config.json and model.safetensors (or its index and shards)", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is there but is not what it should be: cut short, not JSON, too large.
    #[error("{}: {reason}; fetch the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// `config.json` lacks a key, or gives it a value that no model of this family has.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key, its value and what is wanted.
        reason: String,
    },
    /// The folder holds a model of another kind, or a variant of a known family that is another network.
    #[error("{}: {found} is not supported; supported are {supported}", path.display())]
    Unsupported {
        /// The folder.
        path: PathBuf,
        /// What was found there.
        found: String,
        /// What could be opened instead.
        supported: String,
    },
    /// The weights lack a tensor.
    #[error("{}: tensor {name} is missing; the file does not belong to this config.json, or was saved under other names", path.display())]
    MissingTensor {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: tensor {name} has shape {found:?}, but {wanted:?} is wanted; config.json and weights do not belong together", path.display())]
    Shape {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        wanted: Vec<usize>,
    },
    /// A tensor that tells the model's sizes has another number of axes, or an axis that is empty or absurd.
    #[error("{}: tensor {name} has shape {found:?}, but {axes} sound sizes are wanted; fetch the file again", path.display())]
    Axes {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// How many sizes it should have.
        axes: usize,
    },
    /// A tensor is stored in a type that is not a floating-point number of 16, 32 or 64 bits.
    #[error("{}: tensor {name} is stored as {dtype:?}; supported are F32, BF16, F16 and F64: use an unquantised checkpoint", path.display())]
    Dtype {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The type in the file.
        dtype: String,
    },
    /// The tensor library failed while the weights were prepared.
    #[error("preparing the weights: {0}")]
    Compute(#[from] candle_core::Error),
}

/// Why a model gave no forecast.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// The horizon is 0, or beyond all sense.
    #[error("the horizon is {horizon} steps; ask for 1 to {}", crate::forecaster::LONGEST)]
    Horizon {
        /// The steps asked for.
        horizon: usize,
    },
    /// A task has no series.
    #[error("task {task} has no target series; give at least one")]
    NoTarget {
        /// Index of the task.
        task: usize,
    },
    /// A series is empty, or has another length than the first series of its task, or than the horizon.
    #[error("task {task}: {series} has {found} values, but {wanted} are wanted")]
    Length {
        /// Index of the task.
        task: usize,
        /// Which series: `target 0`, `covariate 1`, `future of covariate 1`.
        series: String,
        /// How many values it has.
        found: usize,
        /// How many it should have.
        wanted: String,
    },
    /// A value is infinite, or too large for 32-bit floating point.
    #[error(
        "task {task}: {series} is {value} at index {index}, beyond what the model computes with; use NaN for a missing value, or rescale"
    )]
    Infinite {
        /// Index of the task.
        task: usize,
        /// Which series.
        series: String,
        /// Where in it.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A task holds nothing but NaN, and the family has no answer to that.
    #[error("task {task}: {series} has no observed value; {family} needs at least one")]
    NothingObserved {
        /// Index of the task.
        task: usize,
        /// Which series.
        series: String,
        /// The family.
        family: Family,
    },
    /// Covariates were given to a family that has no input for them.
    #[error("{family} takes no covariates; leave them out, or use {}", Family::Chronos2)]
    Covariates {
        /// The family.
        family: Family,
    },
    /// A quantile level that this model does not give.
    #[error("{family} gives no quantile at level {level}: {offered}")]
    Level {
        /// The family.
        family: Family,
        /// The level asked for.
        level: f64,
        /// What could be asked instead.
        offered: String,
    },
    /// An option, or a number of series, that this checkpoint cannot work with.
    #[error("{family}: {reason}")]
    Unsuited {
        /// The family.
        family: Family,
        /// What does not fit, and what would.
        reason: String,
    },
    /// The answer contains a value that is not a number, or infinite.
    #[error(
        "{family} answered with a value that is no number; rescale the series, and if that does not help fetch the checkpoint again"
    )]
    NotFinite {
        /// The family.
        family: Family,
    },
    /// The tensor library failed.
    #[error("computing the forecast: {0}")]
    Compute(#[from] candle_core::Error),
}
