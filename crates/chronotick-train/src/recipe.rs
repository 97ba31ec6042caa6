//! The recipe: all that decides what comes of a training.

use chronotick_tsfm::foresight::Shape;
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;

use crate::TrainError;

/// A training as a file describes it. The same recipe gives the same weights, to the bit, on the same machine.
///
/// ```
/// let text = include_str!("../recipes/foresight.toml");
/// let recipe = chronotick_train::Recipe::parse(text)?;
/// assert!(recipe.worlds > recipe.validation_worlds);
/// # Ok::<(), chronotick_train::TrainError>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where the weights and the order of examples begin.
    pub seed: u64,
    /// How many simulated worlds are learned from: numbers 0 and up.
    pub worlds: u64,
    /// How many others judge on the way which weights are best: numbers 1 000 000 and up.
    pub validation_worlds: u64,
    /// How often the weights are corrected.
    pub steps: usize,
    /// Examples at a time.
    pub batch: usize,
    /// Largest share of a correction, reached after `warmup` steps and falling to nothing as a cosine.
    pub rate: f64,
    /// Steps until then.
    pub warmup: usize,
    /// How much weights are pulled to zero.
    pub decay: f64,
    /// Share of the examples whose context is cut short.
    pub truncated: f64,
    /// Share of the examples that do not show the base forecast (it is corrected all the same).
    pub blind: f64,
    /// The network.
    pub network: Network,
}

/// Its sizes; context and horizon are those of the examples.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// So many of the newest values are seen one by one.
    pub fine: usize,
    /// Older values are seen as means of so many.
    pub pool: usize,
    /// Features of the layers.
    pub width: usize,
    /// Residual layers.
    pub blocks: usize,
    /// Levels of the quantiles.
    pub quantiles: Vec<f64>,
}

/// The first number of the worlds that judge on the way.
const VALIDATION: u64 = 1_000_000;

impl Recipe {
    /// Reads a recipe from a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is no recipe.
    pub fn load(path: &Path) -> Result<Recipe, TrainError> {
        let text = std::fs::read_to_string(path).map_err(|cause| TrainError::file(path, cause))?;
        Recipe::parse(&text)
    }

    /// Reads a recipe from the text of a file.
    ///
    /// # Errors
    /// If it is none, or a number in it is out of its range.
    pub fn parse(text: &str) -> Result<Recipe, TrainError> {
        let recipe: Recipe = toml::from_str(text)?;
        let n = &recipe.network;
        let wrong = |what: &str| Err(TrainError::Recipe(what.to_owned()));
        let context = crate::examples::CONTEXT;
        if recipe.worlds == 0 || recipe.validation_worlds == 0 || recipe.worlds > VALIDATION {
            return wrong("worlds and validation_worlds are at least 1, worlds at most 1000000");
        }
        if recipe.batch == 0 || recipe.steps == 0 || recipe.rate.is_nan() || recipe.rate <= 0.0 {
            return wrong("batch, steps and rate are positive");
        }
        if ![recipe.truncated, recipe.blind].iter().all(|share| (0.0..=1.0).contains(share)) {
            return wrong("truncated and blind are shares, between 0 and 1");
        }
        if n.pool == 0 || n.fine > context || !(context - n.fine).is_multiple_of(n.pool) {
            return wrong("network.pool divides what network.fine leaves of the context of 512");
        }
        let ascend = n.quantiles.windows(2).all(|q| q[0] < q[1]);
        let inside = n.quantiles.iter().all(|q| *q > 0.0 && *q < 1.0);
        if !ascend || !inside || n.quantiles.get(n.quantiles.len() / 2) != Some(&0.5) {
            return wrong("network.quantiles ascend between 0 and 1, and the middle one is 0.5");
        }
        if !(1..=4096).contains(&n.width) || !(1..=64).contains(&n.blocks) {
            return wrong("network.width is at most 4096 and network.blocks at most 64, both at least 1");
        }
        Ok(recipe)
    }

    /// The network's `config.json`.
    pub(crate) fn shape(&self) -> Shape {
        let Network { fine, pool, width, blocks, quantiles } = self.network.clone();
        Shape {
            model_type: "foresight".into(),
            context_length: crate::examples::CONTEXT,
            fine,
            pool,
            prediction_length: crate::examples::HORIZON,
            width,
            blocks,
            quantiles,
        }
    }

    pub(crate) fn learned_from(&self) -> Range<u64> {
        0..self.worlds
    }

    pub(crate) fn judged_by(&self) -> Range<u64> {
        VALIDATION..VALIDATION + self.validation_worlds
    }
}
