//! The question and the answer: [`Task`]s go in, [`Forecast`]s come out. Values lie on a regular grid, oldest first,
//! and NaN stands for a missing one.

/// One thing to forecast: a series, or several on the same grid with what is known beside them.
///
/// ```
/// use chronotick_tsfm::{Covariate, Task};
///
/// let alone = Task::from(vec![1.0, f64::NAN, 3.0]);
/// let informed = Task {
///     targets: vec![vec![1.0, 2.0, 3.0]],
///     covariates: vec![Covariate { past: vec![20.0, 20.5, 21.0], future: Some(vec![21.5, 22.0]) }],
/// };
/// assert_eq!(alone.targets.len(), informed.targets.len());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Task {
    /// The series to forecast, all of the same length.
    pub targets: Vec<Vec<f64>>,
    /// Series that may explain the targets, as long as they are. Only some families can use them.
    pub covariates: Vec<Covariate>,
}

impl From<Vec<f64>> for Task {
    /// One series without covariates.
    fn from(series: Vec<f64>) -> Self {
        Self { targets: vec![series], covariates: Vec::new() }
    }
}

/// A series that is not forecast but may explain the targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariate {
    /// Its values at the times of the targets.
    pub past: Vec<f64>,
    /// Its values over the horizon, where they are known in advance.
    pub future: Option<Vec<f64>>,
}

/// What a model says about one target series, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The point forecast that the family's reference gives, `[step]`: the median of a family with quantiles, else
    /// what the model was trained to (see [`Abilities::point`]).
    pub point: Vec<f64>,
    /// The mean, `[step]`, where the model has one.
    pub mean: Option<Vec<f64>>,
    /// `[step][level]`, in the order in which the levels were asked for.
    ///
    /// They are the model's own: neighbouring quantiles may cross.
    pub quantiles: Vec<Vec<f64>>,
}

/// What an opened model can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Abilities {
    /// How many of the newest values it looks at; older ones are ignored. `None` where there is no limit.
    pub context: Option<usize>,
    /// How many steps one pass gives. A longer horizon feeds forecasts back, as the family's reference does.
    pub horizon: usize,
    /// What the point forecast is.
    pub point: Point,
    /// Which quantiles it gives.
    pub levels: Levels,
    /// Whether the targets of one task inform each other. Otherwise each is forecast on its own.
    pub joint: bool,
    /// Whether it can use covariates.
    pub covariates: bool,
}

/// What a family's point forecast is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The quantile at level 0.5.
    Median,
    /// The mean, by its training or of its distribution.
    Mean,
    /// A robust middle: the model was trained to a loss that is neither squared nor absolute.
    Robust,
}

/// Which quantile levels a model gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Levels {
    /// None: it gives point forecasts only.
    None,
    /// Those it was trained on, and no others.
    Trained(Vec<f64>),
    /// Any. Beyond the outermost of these trained levels the outermost quantile is repeated, as the family's reference
    /// does.
    Between(Vec<f64>),
    /// Any, from a distribution.
    Any,
}
