//! The entry: opens a folder as whatever family it holds, checks each question once, and hands it to the model.

use std::fmt;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::hub;
use crate::models::Model;
use crate::models::chronos_bolt::ChronosBolt;
use crate::models::chronos2::Chronos2;
use crate::models::foresight::Foresight;
use crate::models::time_moe::TimeMoe;
use crate::models::timesfm20::TimesFm20;
use crate::models::timesfm25::TimesFm25;
use crate::models::toto::Toto;
use crate::models::ttm::Ttm;
use crate::{Abilities, Family, Forecast, ForecastError, Levels, OpenError, Task};

/// The longest horizon, in steps: forecasts that feed on forecasts say nothing long before.
pub(crate) const LONGEST: usize = 1 << 16;

/// How a model's weights are kept in memory. Computing is in 32 bits in any case.
///
/// A forecast's time is mostly that of reading the weights. What the narrower ones cost is in `docs/inference.md`: the
/// recorded cases of [`check`](crate::check) hold at [`Stored`](Self::Stored) only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// As the file has them: nothing is rounded.
    #[default]
    Stored,
    /// In 16 bits: half of the memory of 32.
    Half,
    /// In 8 bits, with one scale for each output and 64 inputs: a little more than a quarter.
    Eight,
}

/// A model, ready to forecast. It is immutable and can be shared between threads.
pub struct Forecaster {
    network: Network,
}

/// The opened model. The cases of [`check`](crate::check) reach into it for options that only one family has.
pub(crate) enum Network {
    ChronosBolt(ChronosBolt),
    Chronos2(Chronos2),
    TimesFm25(TimesFm25),
    TimesFm20(TimesFm20),
    Ttm(Box<Ttm>),
    Toto(Toto),
    TimeMoe(TimeMoe),
    Foresight(Foresight),
}

impl Forecaster {
    /// Opens a checkpoint as it is published: `config.json` beside `model.safetensors`, or beside
    /// `model.safetensors.index.json` and its shards. The family is recognised from these. Weights are
    /// kept as wide as the file has them.
    ///
    /// `model` is a folder, or where no such folder exists a [`Repository`](crate::hub::Repository) (`OWNER/NAME` or
    /// `OWNER/NAME@REVISION`), which is looked up in the [standard cache](crate::hub::Cache::standard); nothing is
    /// fetched.
    ///
    /// # Errors
    ///
    /// [`OpenError`], for a repository that is not in the cache, and for anything in the folder that is missing,
    /// damaged, or not what its configuration says.
    pub fn open<P: AsRef<Path> + ?Sized>(model: &P) -> Result<Self, OpenError> {
        Self::open_with(model, Precision::Stored)
    }

    /// As [`open`](Self::open), with the weights kept in memory at this precision. On an accelerator they always have 32
    /// bits.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_with<P: AsRef<Path> + ?Sized>(model: &P, precision: Precision) -> Result<Self, OpenError> {
        Self::load(&Checkpoint::open(&hub::folder(model.as_ref())?)?.packed_at(precision))
    }

    /// Opens a checkpoint that is in memory, as a program has it that embeds one: the text of `config.json` and the
    /// bytes of `model.safetensors`. Errors call it `name`.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as [`open`](Self::open).
    pub fn of_bytes(name: &str, config: &str, weights: &'static [u8]) -> Result<Self, OpenError> {
        Self::load(&Checkpoint::of_bytes(name, config, weights)?)
    }

    fn load(checkpoint: &Checkpoint) -> Result<Self, OpenError> {
        let network = match Family::of(checkpoint)? {
            Family::ChronosBolt => Network::ChronosBolt(ChronosBolt::load(checkpoint)?),
            Family::Chronos2 => Network::Chronos2(Chronos2::load(checkpoint)?),
            Family::TimesFm25 => Network::TimesFm25(TimesFm25::load(checkpoint)?),
            Family::TimesFm20 => Network::TimesFm20(TimesFm20::load(checkpoint)?),
            Family::Ttm => Network::Ttm(Box::new(Ttm::load(checkpoint)?)),
            Family::Toto => Network::Toto(Toto::load(checkpoint)?),
            Family::TimeMoe => Network::TimeMoe(TimeMoe::load(checkpoint)?),
            Family::Foresight => Network::Foresight(Foresight::load(checkpoint)?),
        };
        Ok(Self { network })
    }

    /// The family of the opened model.
    pub fn family(&self) -> Family {
        match self.network {
            Network::ChronosBolt(_) => Family::ChronosBolt,
            Network::Chronos2(_) => Family::Chronos2,
            Network::TimesFm25(_) => Family::TimesFm25,
            Network::TimesFm20(_) => Family::TimesFm20,
            Network::Ttm(_) => Family::Ttm,
            Network::Toto(_) => Family::Toto,
            Network::TimeMoe(_) => Family::TimeMoe,
            Network::Foresight(_) => Family::Foresight,
        }
    }

    /// What this model can do.
    pub fn abilities(&self) -> Abilities {
        self.model().abilities()
    }

    /// Forecasts every target of every task for the next `horizon` steps: `[task][target]`.
    ///
    /// Computing is in `f32` behind each family's own normalisation. Several families add a constant to a variance or
    /// treat a spread below 10⁻⁶ as none, so choose units in which the series spread over 1 to 1000, and subtract a
    /// large common level first.
    ///
    /// # Errors
    ///
    /// [`ForecastError`], where the question makes no sense (unequal lengths, infinite values, a horizon of 0 or beyond 65 536) or is
    /// beyond the model's [`abilities`](Self::abilities): no quantile and no use of a covariate is made up.
    pub fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ForecastError> {
        check_question(tasks, horizon)?;
        let abilities = self.abilities();
        for level in levels {
            self.check_level(*level, &abilities.levels)?;
        }
        if !abilities.covariates && tasks.iter().any(|task| !task.covariates.is_empty()) {
            return Err(ForecastError::Covariates { family: self.family() });
        }
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let forecasts = self.model().forecast(tasks, horizon, levels)?;
        match forecasts.iter().flatten().all(is_finite) {
            true => Ok(forecasts),
            false => Err(ForecastError::NotFinite { family: self.family() }),
        }
    }

    fn check_level(&self, level: f64, levels: &Levels) -> Result<(), ForecastError> {
        let offered = match levels {
            _ if !(level > 0.0 && level < 1.0) => "a level lies between 0 and 1".to_owned(),
            Levels::None => "it gives point forecasts only".to_owned(),
            Levels::Trained(trained) if !trained.contains(&level) => format!("it was trained on {trained:?}"),
            _ => return Ok(()),
        };
        Err(ForecastError::Level { family: self.family(), level, offered })
    }

    fn model(&self) -> &dyn Model {
        match &self.network {
            Network::ChronosBolt(model) => model,
            Network::Chronos2(model) => model,
            Network::TimesFm25(model) => model,
            Network::TimesFm20(model) => model,
            Network::Ttm(model) => model.as_ref(),
            Network::Toto(model) => model,
            Network::TimeMoe(model) => model,
            Network::Foresight(model) => model,
        }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }
}

impl fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forecaster").field("family", &self.family()).finish_non_exhaustive()
    }
}

fn is_finite(forecast: &Forecast) -> bool {
    let Forecast { point, mean, quantiles } = forecast;
    point.iter().chain(mean.iter().flatten()).chain(quantiles.iter().flatten()).all(|value| value.is_finite())
}

/// Refuses a question that makes no sense to any model: the first thing that [`Forecaster::forecast`] does.
///
/// # Errors
///
/// [`ForecastError`], where a series is missing, empty, infinite or of another length than the rest, or the horizon is
/// 0 or beyond 65 536.
pub fn check_question(tasks: &[Task], horizon: usize) -> Result<(), ForecastError> {
    if !(1..=LONGEST).contains(&horizon) {
        return Err(ForecastError::Horizon { horizon });
    }
    tasks.iter().enumerate().try_for_each(|(index, task)| check_task(index, task, horizon))
}

fn check_task(task: usize, question: &Task, horizon: usize) -> Result<(), ForecastError> {
    let length = question.targets.first().ok_or(ForecastError::NoTarget { task })?.len();
    let check = |series: String, values: &[f64], wanted: usize| {
        if values.len() != wanted || values.is_empty() {
            let wanted = if wanted == 0 { "at least 1".to_owned() } else { wanted.to_string() };
            return Err(ForecastError::Length { task, series, found: values.len(), wanted });
        }
        match values.iter().position(|value| (*value as f32).is_infinite()) {
            Some(index) => Err(ForecastError::Infinite { task, series, index, value: values[index] }),
            None => Ok(()),
        }
    };
    for (i, target) in question.targets.iter().enumerate() {
        check(format!("target {i}"), target, length)?;
    }
    for (i, covariate) in question.covariates.iter().enumerate() {
        check(format!("covariate {i}"), &covariate.past, length)?;
        if let Some(future) = &covariate.future {
            check(format!("future of covariate {i}"), future, horizon)?;
        }
    }
    Ok(())
}
