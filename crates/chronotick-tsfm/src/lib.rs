//! Time-series foundation models, native: numbers in, quantiles out, from the checkpoints as they are published.
//!
//! The entry is [`Forecaster::open`]: it recognises the family of a checkpoint, in a folder or by its name on a [`hub`].
//! [`Task`]s are the question,
//! [`Forecast`]s the answer, [`Abilities`] say what a model can and cannot do; nothing is made up for it.
//! [`check`] judges an opened model by recorded outputs of its reference implementation.
//!
//! ```
//! use chronotick_tsfm::{Forecaster, Task};
//!
//! let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chronos-bolt");
//! let model = Forecaster::open(&folder)?;
//! let history = (0..100).map(|i| (i as f64 * 0.3).sin()).collect::<Vec<f64>>();
//! let forecasts = model.forecast(&[Task::from(history)], 5, &[0.1, 0.5, 0.9])?;
//! let [low, median, high] = forecasts[0][0].quantiles[4][..] else { unreachable!("three levels were asked for") };
//! assert_eq!(median, forecasts[0][0].point[4]);
//! # let _ = (low, high);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate knows nothing of clocks. Values are plain numbers on a regular grid, in whatever unit the caller chose.
//! Features `cuda` and `metal` move the computing to an accelerator; the default is the CPU.

#![deny(unsafe_code)]

pub mod check;
mod checkpoint;
mod error;
mod family;
mod forecaster;
pub mod hub;
mod kernels;
mod layers;
mod models;
mod scaling;
mod task;

pub use error::{ForecastError, OpenError};
pub use family::Family;
pub use forecaster::{Forecaster, Precision, check_question};
pub use models::foresight;
pub use task::{Abilities, Covariate, Forecast, Levels, Point, Task};
