//! The thread's own end: it opens the models, asks them, and makes forecasts of what they answer.

use super::{Forecasts, Series, Term};
use chronotick_core::{Ahead, Forecast, Member, Outlook, Prospect, Span};
use chronotick_os::raw_now;
use chronotick_tsfm::{Covariate, Levels, Task};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

/// What a series is scaled to: families add constants to variances, and treat tiny spreads as none.
const SPREAD: f64 = 100.0;
/// A series with fewer known points says nothing.
const POINTS: usize = 16;
/// Quantiles asked for, and how many standard deviations of a normal distribution lie between them.
const QUANTILES: [f64; 2] = [0.1, 0.9];
pub(super) const BETWEEN: f64 = 2.563_103_131;

/// A question to a model.
pub(super) struct Question {
    pub(super) member: Member,
    pub(super) outlook: Outlook,
    pub(super) step: Span,
    pub(super) steps: usize,
    pub(super) series: Series,
    /// What a model that corrects the bank's forecast sees instead.
    pub(super) prospect: Option<Prospect>,
}

/// What came of a question.
pub(super) struct Answer {
    pub(super) member: Member,
    pub(super) took: Span,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    Opened {
        family: String,
        covariates: bool,
        corrects: bool,
    },
    Forecast(Forecast),
    /// There is nothing to forecast in this series.
    Nothing,
    Missing(String),
    Failed(String),
    Panicked(String),
}

/// The models, each opened when it is first needed and asked when a question comes.
pub(super) struct Worker {
    pub(super) slots: Vec<Slot>,
    pub(super) answering: SyncSender<Answer>,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
}

pub(super) struct Slot {
    term: Term,
    model: Option<Box<dyn Forecasts>>,
    broken: bool,
}

impl Slot {
    pub(super) fn new(term: Term) -> Slot {
        Slot { term, model: None, broken: false }
    }

    /// Opens the model if it is not open yet; what there is to report of that.
    fn open(&mut self) -> Result<Option<Outcome>, Outcome> {
        if self.broken {
            return Err(Outcome::Panicked("it has panicked before".into()));
        }
        if self.model.is_some() {
            return Ok(None);
        }
        match caught(|| (self.term.open)()) {
            Ok(Ok(model)) => {
                let opened = Outcome::Opened {
                    family: model.name(),
                    covariates: model.abilities().covariates,
                    corrects: model.corrects(),
                };
                self.model = Some(model);
                Ok(Some(opened))
            }
            Ok(Err(why)) => Err(Outcome::Missing(why)),
            Err(panic) => {
                self.broken = true;
                Err(Outcome::Panicked(panic))
            }
        }
    }

    fn answer(&mut self, question: Question) -> Outcome {
        let Some(model) = &self.model else { return Outcome::Nothing };
        let answered = match &question.prospect {
            Some(prospect) => caught(|| {
                let foreseen = model.foresee(prospect)?;
                Ok(Some(Forecast { member: question.member, ..foreseen }))
            }),
            None => caught(|| ask(&**model, question)),
        };
        match answered {
            Ok(Ok(Some(forecast))) => Outcome::Forecast(forecast),
            Ok(Ok(None)) => Outcome::Nothing,
            Ok(Err(why)) => Outcome::Failed(why),
            Err(panic) => {
                (self.model, self.broken) = (None, true);
                Outcome::Panicked(panic)
            }
        }
    }
}

impl Worker {
    pub(super) fn run(&mut self, asked: &Receiver<Question>) {
        for i in 0..self.slots.len() {
            let report = self.slots[i].open().unwrap_or_else(Some);
            self.say(i, Span::ZERO, report);
        }
        while let Ok(question) = asked.recv() {
            let Some(i) = self.slots.iter().position(|s| s.term.member == question.member) else { continue };
            let begun = raw_now();
            match self.slots[i].open() {
                Err(failure) => self.say(i, raw_now() - begun, Some(failure)),
                Ok(opened) => {
                    self.say(i, Span::ZERO, opened);
                    let outcome = self.slots[i].answer(question);
                    self.say(i, raw_now() - begun, Some(outcome));
                }
            }
        }
    }

    /// There is room for every answer; if nobody listens any more the next question will not come either.
    fn say(&self, slot: usize, took: Span, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            let _ = self.answering.try_send(Answer { member: self.slots[slot].term.member, took, outcome });
            (self.wake)();
        }
    }
}

/// What panicked, in words.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("it panicked: {}", text.as_deref().unwrap_or("without a word"))
    })
}

/// Asks a model about a series of frequencies and integrates what it answers; `None` where there is nothing to forecast.
fn ask(model: &dyn Forecasts, question: Question) -> Result<Option<Forecast>, String> {
    let Question { member, outlook, step, steps, series, .. } = question;
    let Some(scaled) = Scaled::of(&series.frequency) else { return Ok(None) };
    let abilities = model.abilities();
    let levels: &[f64] = match &abilities.levels {
        Levels::None => &[],
        Levels::Trained(these) if !QUANTILES.iter().all(|q| these.contains(q)) => &[],
        _ => &QUANTILES,
    };
    let covariates =
        if abilities.covariates { covariates(&series, &scaled, &outlook, step, steps) } else { vec![] };
    let task = Task { targets: vec![scaled.values.clone()], covariates };
    let answer = model.forecast(task, steps, levels)?;
    let complete = answer.point.len() == steps && (levels.is_empty() || answer.quantiles.len() == steps);
    let all = || answer.point.iter().chain(answer.quantiles.iter().flatten());
    if !complete || !all().all(|value| value.is_finite()) {
        return Err("its forecast is not as many numbers as were asked for".into());
    }
    let seconds = step.as_secs_f64() * scaled.unit;
    let (mut offset, mut sigma) = (0.0, 0.0);
    let ahead = (0..steps).map(|k| {
        offset += answer.point[k] * seconds;
        // Errors of neighbouring steps are nearly one: their deviations add up.
        // Of a model without these quantiles each row is empty, and so its forecast has no deviation.
        let row = answer.quantiles.get(k);
        let width = row.and_then(|q| Some((q.get(1)? - q.first()?).max(0.0) / BETWEEN));
        sigma += width.unwrap_or(0.0) * seconds;
        Ahead {
            age: step.times(k as i64 + 1),
            offset: Span::from_secs_f64(offset),
            sigma: width.map(|_| Span::from_secs_f64(sigma)),
        }
    });
    let ahead = ahead.collect();
    Ok(Some(Forecast { member, outlook, ahead }))
}

/// A series against its newest value, of spread [`SPREAD`].
struct Scaled {
    values: Vec<f64>,
    /// What one of it is, s/s.
    unit: f64,
}

impl Scaled {
    /// `None` of a series that says nothing: too few points, or all the same.
    fn of(series: &[f64]) -> Option<Scaled> {
        let known = || series.iter().copied().filter(|x| x.is_finite());
        let newest = known().next_back()?;
        let n = known().count();
        let mean = known().map(|x| x - newest).sum::<f64>() / n as f64;
        let spread = (known().map(|x| (x - newest - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        let unit = spread / SPREAD;
        (n >= POINTS && unit > 0.0).then(|| Scaled {
            values: series
                .iter()
                .map(|x| if x.is_finite() { (x - newest) / unit } else { f64::NAN })
                .collect(),
            unit,
        })
    }
}

/// What a model is told beside the frequency: the machine's conditions, and what the bank makes of the future.
fn covariates(
    series: &Series,
    scaled: &Scaled,
    outlook: &Outlook,
    step: Span,
    steps: usize,
) -> Vec<Covariate> {
    let bank = outlook.bank.iter().take(steps).map(|(_, offset)| offset.as_secs_f64());
    let before = std::iter::once(0.0).chain(bank.clone());
    let rates: Vec<f64> =
        bank.zip(before).map(|(x, before)| (x - before) / step.as_secs_f64() / scaled.unit).collect();
    let known = rates.len() == steps && rates.iter().all(|x| x.is_finite());
    let foreseen = known.then(|| Covariate { past: scaled.values.clone(), future: Some(rates) });
    let conditions = series.conditions.iter().filter_map(|values| {
        let scaled = Scaled::of(values)?;
        Some(Covariate { past: scaled.values, future: None })
    });
    foreseen.into_iter().chain(conditions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_without_anything_in_it_is_not_forecast() {
        for series in [vec![1e-6; 50], vec![f64::NAN; 50], (0..10).map(f64::from).collect(), vec![]] {
            assert!(Scaled::of(&series).is_none(), "{series:?}");
        }
        let gaps: Vec<f64> =
            (0..40).map(|i| if i % 2 == 0 { f64::NAN } else { f64::from(i) * 1e-12 }).collect();
        let scaled = Scaled::of(&gaps).expect("half of it is known");
        assert_eq!((scaled.values[39], scaled.values[0].is_nan()), (0.0, true));
    }
}
