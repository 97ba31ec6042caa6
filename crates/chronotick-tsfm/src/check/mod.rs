//! Judges a model by recorded cases: inputs, options and the outputs of the family's reference implementation.
//!
//! A folder is a checkpoint with a `cases.json` beside it. Element *i* of series *b* passes when
//! `|got − want| ≤ 10⁻⁴ · max(unit_b, |want − loc_b|) + 8 · 2⁻²³ · |want|`, where `loc` and `unit` are the series'
//! location and spread in the model's own normalisation, listed in the case: 10⁻⁴ in the model's units, plus the
//! rounding of the value itself.
//!
//! `cases.json` is `{"cases": [..]}`. A case has a `name`, `inputs` (`null` is a missing value), `loc` and `unit` per
//! series, what was `expected`, and:
//!
//! | family | inputs | options | expected |
//! |---|---|---|---|
//! | Chronos-Bolt | `[series][step]` | `prediction_length`, `quantile_levels` | `quantiles[series][step][level]`, `mean[series][step]` (the median) |
//! | Chronos-2 | `[task]`: `target[variate][step]`, `past_covariates` and `future_covariates` by name | the same, `context_length`, `cross_learning` | the same, by `[task][variate]` |
//! | TimesFM 2.5 | `[series][step]` | `horizon`, `forecast_config` as in the reference | `point[series][step]`, `quantiles[series][step]`: mean, then 0.1 to 0.9 |
//! | TimesFM 2.0 | `[series][step]` | `horizon`, `freq[series]` | the same |
//! | TTM, Time-MoE | `[channel][step]` | `prediction_length`; what the network itself was fed, and how it was scaled | `prediction[channel][step]` |
//! | Toto | `[variate][step]` | `prediction_length`, `id_mask`, `fill` | `mean`, the mixtures of every `step`, `quantiles_mean_path` |

mod chronos2;
mod chronos_bolt;
mod foresight;
mod time_moe;
mod timesfm;
mod toto;
mod ttm;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::forecaster::{Network, check_question};
use crate::{Family, ForecastError, Forecaster, OpenError, Task};

/// Opens the model in a folder and replays every case of the folder's `cases.json`.
///
/// ```
/// let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chronos-bolt");
/// let report = chronotick_tsfm::check::run(&folder)?;
/// assert!(report.passes(), "{report:?}");
/// # Ok::<(), chronotick_tsfm::check::CheckError>(())
/// ```
///
/// # Errors
///
/// [`CheckError`], where the model cannot be opened or `cases.json` is none. A case that departs too far, or that the
/// model refuses, is no error: see [`Report::passes`].
pub fn run(folder: &Path) -> Result<Report, CheckError> {
    let path = folder.join("cases.json");
    let text = std::fs::read(&path).map_err(|source| CheckError::File { path: path.clone(), source })?;
    let recorded: Recorded = serde_json::from_slice(&text)
        .map_err(|e| CheckError::Format { path: path.clone(), reason: e.to_string() })?;
    let forecaster = Forecaster::open(folder)?;
    let mut cases = Vec::with_capacity(recorded.cases.len());
    for (index, case) in recorded.cases.into_iter().enumerate() {
        let name = case.get("name").and_then(|name| name.as_str()).unwrap_or("").to_owned();
        let mut verdict = Verdict { name, deviation: 0.0, at: String::new() };
        let case = Case { path: &path, index, fields: case };
        if let Err(error) = replay(&forecaster, &case, &mut verdict) {
            (verdict.deviation, verdict.at) = (f64::INFINITY, error.to_string());
        }
        cases.push(verdict);
    }
    Ok(Report { family: forecaster.family(), cases })
}

fn replay(forecaster: &Forecaster, case: &Case, verdict: &mut Verdict) -> Result<(), CheckError> {
    match forecaster.network() {
        Network::ChronosBolt(model) => chronos_bolt::replay(model, case, verdict),
        Network::Chronos2(model) => chronos2::replay(model, case, verdict),
        Network::TimesFm25(model) => timesfm::replay_25(model, case, verdict),
        Network::TimesFm20(model) => timesfm::replay_20(model, case, verdict),
        Network::Ttm(model) => ttm::replay(model, case, verdict),
        Network::Toto(model) => toto::replay(model, case, verdict),
        Network::TimeMoe(model) => time_moe::replay(model, case, verdict),
        Network::Foresight(_) => foresight::replay(forecaster, case, verdict),
    }
}

/// What came of a folder's cases.
#[derive(Debug, Clone)]
pub struct Report {
    /// The family of the model in the folder.
    pub family: Family,
    /// One verdict per case, in the order of the file.
    pub cases: Vec<Verdict>,
}

impl Report {
    /// Whether there was a case and every case is within tolerance.
    pub fn passes(&self) -> bool {
        !self.cases.is_empty() && self.cases.iter().all(Verdict::passes)
    }
}

/// How far one case departs from its reference.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The case's name.
    pub name: String,
    /// The worst deviation of any element in units of its tolerance: 1 is just within, infinite is a value that is not
    /// a number, a series of the wrong length or a case that cannot be replayed.
    pub deviation: f64,
    /// Where that is: which output, series and element; or why the case cannot be replayed.
    pub at: String,
}

impl Verdict {
    /// Whether every element is within tolerance.
    pub fn passes(&self) -> bool {
        self.deviation <= 1.0
    }

    /// Takes in one series of outputs; `at` says which, `scale` is its location and unit.
    pub(crate) fn compare(&mut self, at: &str, got: &[f64], want: &[f64], scale: Scale) {
        if got.len() != want.len() {
            self.worsen(f64::INFINITY, || format!("{at}: {} values, {} wanted", got.len(), want.len()));
        }
        for (index, (got, want)) in got.iter().zip(want).enumerate() {
            let deviation = (got - want).abs() / scale.tolerance(*want);
            let deviation = if deviation.is_nan() { f64::INFINITY } else { deviation };
            self.worsen(deviation, || format!("{at}, element {index}: got {got}, want {want}"));
        }
    }

    /// Takes in a table of outputs, `[step][level]`.
    pub(crate) fn compare_table(&mut self, at: &str, got: &[Vec<f64>], want: &[Vec<f64>], scale: Scale) {
        let flat = |table: &[Vec<f64>]| table.concat();
        if got.len() != want.len() {
            self.worsen(f64::INFINITY, || format!("{at}: {} steps, {} wanted", got.len(), want.len()));
        }
        self.compare(at, &flat(got), &flat(want), scale);
    }

    fn worsen(&mut self, deviation: f64, at: impl FnOnce() -> String) {
        if deviation > self.deviation {
            self.deviation = deviation;
            self.at = at();
        }
    }
}

/// How much a series' outputs may depart.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) location: f64,
    pub(crate) unit: f64,
}

impl Scale {
    fn tolerance(self, want: f64) -> f64 {
        1e-4 * self.unit.max((want - self.location).abs()) + 8.0 * f64::from(f32::EPSILON) * want.abs()
    }
}

/// Why cases could not be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// `cases.json` is missing or unreadable.
    #[error("{}: {source}; a folder to check holds config.json, the weights and cases.json", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `cases.json` is not of the format.
    #[error("{}: {reason}; record the cases anew, in the format of the family's fixtures", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Which case and field.
        reason: String,
    },
    /// The model cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The model refuses a case.
    #[error("case {case}: {source}")]
    Forecast {
        /// The case.
        case: String,
        /// What the model said.
        source: ForecastError,
    },
}

/// `cases.json`, as far as every family has it.
#[derive(Deserialize)]
struct Recorded {
    cases: Vec<serde_json::Value>,
}

/// One recorded case, to be read as its family has it.
pub(crate) struct Case<'a> {
    path: &'a Path,
    index: usize,
    fields: serde_json::Value,
}

impl Case<'_> {
    /// The case as the family's own structure.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, CheckError> {
        T::deserialize(&self.fields).map_err(|e| self.bad(e.to_string()))
    }

    /// The error for a case whose parts do not fit together.
    pub(crate) fn bad(&self, reason: impl std::fmt::Display) -> CheckError {
        let reason = format!("cases[{}] {}: {reason}", self.index, self.name());
        CheckError::Format { path: self.path.to_owned(), reason }
    }

    /// Forecasts, once the case's tasks have passed what every question has to pass.
    pub(crate) fn forecast<T>(
        &self,
        tasks: &[Task],
        horizon: usize,
        predict: impl FnOnce() -> Result<T, ForecastError>,
    ) -> Result<T, CheckError> {
        let forecast = check_question(tasks, horizon).and_then(|()| predict());
        forecast.map_err(|source| CheckError::Forecast { case: self.name().to_owned(), source })
    }

    /// Pairs a case's `loc` and `unit`, one per series.
    pub(crate) fn scales(&self, loc: &[f64], unit: &[f64], series: usize) -> Result<Vec<Scale>, CheckError> {
        if loc.len() != series || unit.len() != series {
            return Err(self.bad(format!("{series} series, but {} loc and {} unit", loc.len(), unit.len())));
        }
        Ok(loc.iter().zip(unit).map(|(&location, &unit)| Scale { location, unit }).collect())
    }

    /// Refuses a part that does not have one entry per series.
    pub(crate) fn same_length(&self, what: &str, found: usize, wanted: usize) -> Result<(), CheckError> {
        if found == wanted {
            return Ok(());
        }
        Err(self.bad(format!("{what} has {found} entries, {wanted} wanted")))
    }

    fn name(&self) -> &str {
        self.fields.get("name").and_then(|name| name.as_str()).unwrap_or("")
    }
}

/// A recorded series: `null` is NaN.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Series(Vec<Option<f64>>);

impl Series {
    pub(crate) fn values(&self) -> Vec<f64> {
        self.0.iter().map(|value| value.unwrap_or(f64::NAN)).collect()
    }
}

pub(crate) fn all_values(series: &[Series]) -> Vec<Vec<f64>> {
    series.iter().map(Series::values).collect()
}

/// Each series as a task of its own.
pub(crate) fn tasks_of(series: &[Series]) -> Vec<Task> {
    series.iter().map(|series| Task::from(series.values())).collect()
}
