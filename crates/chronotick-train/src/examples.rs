//! Examples: what the engine could tell a model at an instant in a world, and where truth went from there.

use candle_core::{Device, Tensor};
use chronotick_core::{Disruption, Engine, Prospect, RawInstant, Settings, Span, Timestamp};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};
use std::collections::HashMap;
use std::path::Path;

/// Grid of context and horizon.
pub(crate) const STEP: Span = Span::from_secs(30);
/// Steps of the context.
pub(crate) const CONTEXT: usize = 512;
/// Steps of the horizon: half an hour.
pub(crate) const HORIZON: usize = 60;
/// Between two examples of one world.
const EVERY: i64 = 120;
/// Nothing is learned from the first minutes of a world.
const BEGINNING: i64 = 900;
/// Where the truth is told, s.
const MOMENTS: i64 = 10;

/// Examples by the row: rates and their sigmas in 10⁻⁹, the rest in ns beyond the engine's line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Examples {
    /// `[CONTEXT]` each; NaN where nothing was measured.
    pub(crate) rates: Vec<f32>,
    pub(crate) rate_sigmas: Vec<f32>,
    /// `[HORIZON]` each.
    pub(crate) bank: Vec<f32>,
    pub(crate) bank_sigmas: Vec<f32>,
    pub(crate) truth: Vec<f32>,
}

impl Examples {
    pub(crate) fn len(&self) -> usize {
        self.truth.len() / HORIZON
    }

    pub(crate) fn extend(&mut self, other: &Examples) {
        self.rates.extend(&other.rates);
        self.rate_sigmas.extend(&other.rate_sigmas);
        self.bank.extend(&other.bank);
        self.bank_sigmas.extend(&other.bank_sigmas);
        self.truth.extend(&other.truth);
    }

    /// Every so many of them.
    pub(crate) fn every(&self, step: usize) -> Examples {
        let rows = |values: &[f32], width: usize| -> Vec<f32> {
            values.chunks(width).step_by(step).flatten().copied().collect()
        };
        Examples {
            rates: rows(&self.rates, CONTEXT),
            rate_sigmas: rows(&self.rate_sigmas, CONTEXT),
            bank: rows(&self.bank, HORIZON),
            bank_sigmas: rows(&self.bank_sigmas, HORIZON),
            truth: rows(&self.truth, HORIZON),
        }
    }

    /// What a world of this scenario teaches.
    pub(crate) fn of(scenario: &Scenario, seed: u64) -> Examples {
        let mut student = Student::new(scenario);
        World::new(scenario, seed).run(Span::from_secs(MOMENTS), &mut student);
        let Student { truth, prospects, .. } = student;
        let mut examples = Examples::default();
        for prospect in &prospects {
            let beyond: Option<Vec<f32>> = prospect
                .outlook
                .bank
                .iter()
                .map(|&(age, _)| {
                    Some((truth.at(prospect.outlook.at + age)? - line(prospect, age)).as_nanos() as f32)
                })
                .collect();
            let bank = prospect.outlook.bank.iter().map(|(_, offset)| offset.as_nanos() as f32);
            let sound = prospect.bank_sigmas.iter().all(|sigma| *sigma > 0.0 && sigma.is_finite());
            if let Some(beyond) = beyond.filter(|_| sound) {
                examples.rates.extend(prospect.rates.iter().map(|v| *v as f32));
                examples.rate_sigmas.extend(prospect.rate_sigmas.iter().map(|v| *v as f32));
                examples.bank.extend(bank);
                examples.bank_sigmas.extend(prospect.bank_sigmas.iter().map(|v| *v as f32));
                examples.truth.extend(beyond);
            }
        }
        examples
    }

    pub(crate) fn save(&self, path: &Path) -> candle_core::Result<()> {
        let tensor = |values: &[f32], width: usize| {
            Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu)
        };
        let tensors = HashMap::from([
            ("rates", tensor(&self.rates, CONTEXT)?),
            ("rate_sigmas", tensor(&self.rate_sigmas, CONTEXT)?),
            ("bank", tensor(&self.bank, HORIZON)?),
            ("bank_sigmas", tensor(&self.bank_sigmas, HORIZON)?),
            ("truth", tensor(&self.truth, HORIZON)?),
        ]);
        // Written under another name first: a file of this name is whole.
        let partial = path.with_extension("partial");
        candle_core::safetensors::save(&tensors, &partial)?;
        Ok(std::fs::rename(&partial, path)?)
    }

    pub(crate) fn load(path: &Path) -> candle_core::Result<Examples> {
        let tensors = candle_core::safetensors::load(path, &Device::Cpu)?;
        let values = |name: &str, width: usize| match tensors.get(name) {
            Some(tensor) if tensor.rank() == 2 && tensor.dim(1)? == width => tensor.flatten_all()?.to_vec1(),
            _ => candle_core::bail!(
                "{}: no {name} of width {width}; delete the file to make it anew",
                path.display()
            ),
        };
        Ok(Examples {
            rates: values("rates", CONTEXT)?,
            rate_sigmas: values("rate_sigmas", CONTEXT)?,
            bank: values("bank", HORIZON)?,
            bank_sigmas: values("bank_sigmas", HORIZON)?,
            truth: values("truth", HORIZON)?,
        })
    }
}

/// Where the engine's line is at an age.
pub(crate) fn line(prospect: &Prospect, age: Span) -> Timestamp {
    prospect.outlook.utc + age + prospect.outlook.rate.over(age)
}

/// True time over the raw clock, on a grid.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    moments: Vec<(RawInstant, Timestamp)>,
}

impl Truth {
    pub(crate) fn push(&mut self, moment: &Moment) {
        self.moments.push((moment.raw, moment.utc));
    }

    /// Between two moments on the straight line.
    pub(crate) fn at(&self, raw: RawInstant) -> Option<Timestamp> {
        let after = self.moments.partition_point(|(at, _)| *at < raw);
        let (to, utc_to) = *self.moments.get(after)?;
        let (from, utc_from) = *self.moments.get(after.checked_sub(1)?)?;
        let share = (raw - from).as_secs_f64() / (to - from).as_secs_f64();
        let beyond = ((utc_to - utc_from) - (to - from)).as_secs_f64();
        Some(utc_from + (raw - from) + Span::from_secs_f64(share * beyond))
    }
}

/// An engine that expects the sources of a scenario, asked as often as it says.
pub(crate) fn engine(scenario: &Scenario, poll: Span) -> Engine {
    let settings = Settings { min_poll: poll, max_poll: poll, ..Settings::default() };
    let mut engine = Engine::new(settings, RawInstant::from_nanos(0));
    for source in 0..scenario.source_count() {
        engine.add_source(format!("source {source}"));
    }
    engine
}

/// Where a scenario leaves the pace to the client.
pub(crate) const POLL: Span = Span::from_secs(16);

struct Student {
    engine: Engine,
    truth: Truth,
    prospects: Vec<Prospect>,
}

impl Student {
    fn new(scenario: &Scenario) -> Student {
        Student { engine: engine(scenario, POLL), truth: Truth::default(), prospects: Vec::new() }
    }
}

impl Client for Student {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        POLL
    }

    fn receive(&mut self, reply: &Reply) {
        self.engine.measure(&reply.measurement());
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
    }

    fn compare(&mut self, moment: &Moment) {
        self.truth.push(moment);
        let seconds = (moment.raw - RawInstant::from_nanos(0)).as_nanos() / 1_000_000_000;
        let newest = self.engine.last_trusted();
        let known = self.prospects.last().map(|p| p.outlook.at);
        if seconds >= BEGINNING && seconds % EVERY == 0 && newest > known {
            self.prospects.extend(self.engine.prospect(STEP, CONTEXT, HORIZON));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds;

    #[test]
    fn examples_hold_the_truth_and_survive_a_file() {
        let examples = Examples::of(&worlds::scenario(3), 3);
        assert!(examples.len() > 60 && examples.rates.len() == examples.len() * CONTEXT);
        let within = examples.truth.iter().zip(&examples.bank).zip(&examples.bank_sigmas);
        let far = within.filter(|((truth, bank), sigma)| (*truth - *bank).abs() > 6.0 * *sigma).count();
        assert!(far * 20 < examples.truth.len(), "{far} of {}", examples.truth.len());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.safetensors");
        examples.save(&path).unwrap();
        let back = Examples::load(&path).unwrap();
        assert_eq!((back.truth, back.bank), (examples.truth, examples.bank));
    }
}
