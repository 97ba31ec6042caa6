//! The judgement: bank, model, and the answer that the engine makes of both, against truth in worlds of the built-in
//! scenarios, none of which was learned from.

use crate::TrainError;
use crate::examples::{self, CONTEXT, HORIZON, POLL, STEP, Truth};
use chronotick_core::{
    Ahead, Disruption, Engine, Expected, Forecast, Member, Prospect, RawInstant, Span, Timestamp,
};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};
use chronotick_tsfm::{Covariate, Forecaster, Task};
use indicatif::ProgressBar;
use std::fmt;

/// How far ahead is judged, s.
const AHEAD: [i64; 4] = [5, 60, 600, 1800];
/// Between two forecasts, s.
const EVERY: i64 = 120;
/// Nothing is judged before, s.
const BEGINNING: i64 = 1800;
/// A silence of the sources that counts as an outage.
const OUTAGE: Span = Span::from_secs(1500);
/// Quantiles between which nine of ten truths are to be.
const LEVELS: [f64; 2] = [0.05, 0.95];

/// The scenarios that are judged by if no others are named.
pub const SCENARIOS: [&str; 18] = [
    "a",
    "b",
    "b2",
    "c",
    "d",
    "e1",
    "e2",
    "e4",
    "e5",
    "f",
    "g",
    "g2",
    "g3",
    "w",
    "campus",
    "cheap-crystal",
    "long-outage",
    "quiet-oven",
];

/// What the embedded model is to be asked now; `None` before anything was measured.
pub fn prospect(engine: &mut Engine) -> Option<Prospect> {
    engine.prospect(STEP, CONTEXT, HORIZON)
}

/// What a model foresees: the engine's question put to it, its answer on the engine's line.
///
/// # Errors
/// If the model is not of the Foresight family, or does not forecast as many steps as are asked for.
pub fn foresee(model: &Forecaster, prospect: &Prospect) -> Result<Forecast, TrainError> {
    let beyond = quantiles(model, prospect, &[0.1, 0.5, 0.9])?;
    let ahead = prospect.outlook.bank.iter().zip(&beyond).map(|((age, _), q)| Ahead {
        age: *age,
        offset: Span::from_nanos(q[1].round() as i64),
        // A normal distribution has its outer tenths 1.28 standard deviations from the middle.
        sigma: Some(Span::from_nanos(((q[2] - q[0]) / 2.563_103_131).round() as i64)),
    });
    Ok(Forecast { member: Member::LongTerm, outlook: prospect.outlook.clone(), ahead: ahead.collect() })
}

/// Quantiles at each step of the prospect, in ns beyond the line.
fn quantiles(model: &Forecaster, prospect: &Prospect, levels: &[f64]) -> Result<Vec<Vec<f64>>, TrainError> {
    let bank = &prospect.outlook.bank;
    // The family forecasts running sums over the grid: ns over the seconds of a step.
    let step = bank.first().map_or(STEP, |(age, _)| *age).as_secs_f64();
    let base = bank.iter().map(|(_, offset)| offset.as_nanos() as f64 / step).collect();
    let sigmas = prospect.bank_sigmas.iter().map(|sigma| sigma / step).collect();
    let task = Task {
        targets: vec![prospect.rates.clone()],
        covariates: vec![
            Covariate { past: vec![0.0; prospect.rates.len()], future: Some(base) },
            Covariate { past: prospect.rate_sigmas.clone(), future: Some(sigmas) },
        ],
    };
    let mut forecasts = model.forecast(&[task], bank.len(), levels)?;
    let mut quantiles = forecasts.remove(0).remove(0).quantiles;
    quantiles.iter_mut().flatten().for_each(|q| *q *= step);
    Ok(quantiles)
}

/// What came of a judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// One of each scenario and horizon.
    pub lines: Vec<Line>,
}

/// RMS errors in seconds, of all worlds of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The scenario; with `, outages` where only forecasts into a silence of the sources count.
    pub scenario: String,
    /// How far ahead.
    pub horizon: Span,
    /// Forecasts.
    pub count: usize,
    /// Error of the filter bank alone.
    pub bank: f64,
    /// Error of the model's median.
    pub model: f64,
    /// Error of what the engine would answer.
    pub fused: f64,
    /// Share of truths between the model's quantiles at 0.05 and 0.95.
    pub inside: f64,
}

/// Lets the model forecast in worlds of these scenarios, with these seeds; `expected` is what is known of it beforehand.
///
/// # Errors
/// If there is no such scenario, or the model cannot be asked.
pub fn evaluate(
    model: &Forecaster,
    expected: &[Expected],
    scenarios: &[&str],
    seeds: &[u64],
) -> Result<Judgement, TrainError> {
    let bar = ProgressBar::new((scenarios.len() * seeds.len()) as u64);
    let mut lines = Vec::new();
    for name in scenarios {
        let scenario = Scenario::built_in(name)?;
        let mut samples = Vec::new();
        for seed in seeds {
            samples.extend(live(model, expected, &scenario, *seed)?);
            bar.inc(1);
        }
        for horizon in AHEAD.map(Span::from_secs) {
            lines.extend(Line::of(name.to_string(), horizon, samples.iter()));
        }
        let into_silence = samples.iter().filter(|sample| sample.silent);
        lines.extend(Line::of(format!("{name}, outages"), Span::from_secs(1800), into_silence));
    }
    bar.finish_and_clear();
    Ok(Judgement { lines })
}

/// One forecast at one horizon, errors in seconds.
struct Sample {
    horizon: Span,
    bank: f64,
    model: f64,
    fused: f64,
    inside: bool,
    /// Whether the sources fell silent right after it.
    silent: bool,
}

fn live(
    model: &Forecaster,
    expected: &[Expected],
    scenario: &Scenario,
    seed: u64,
) -> Result<Vec<Sample>, TrainError> {
    let mut engine = examples::engine(scenario, POLL);
    engine.expect(Member::LongTerm, expected);
    let mut judge = Judge { engine, model, truth: Truth::default(), asked: Vec::new(), failed: None };
    World::new(scenario, seed).run(Span::from_secs(10), &mut judge);
    if let Some(error) = judge.failed {
        return Err(error);
    }
    let mut samples = Vec::new();
    for (i, asked) in judge.asked.iter().enumerate() {
        let silent = judge.asked.get(i + 1).is_some_and(|next| next.at - asked.at >= OUTAGE);
        for said in &asked.said {
            let Some(truth) = judge.truth.at(asked.at + said.horizon) else { continue };
            let error = |utc: Timestamp| (utc - truth).as_secs_f64();
            samples.push(Sample {
                horizon: said.horizon,
                bank: error(said.bank),
                model: error(said.model[1]),
                fused: error(said.fused),
                inside: (said.model[0]..=said.model[2]).contains(&truth),
                silent,
            });
        }
    }
    Ok(samples)
}

/// What was said from one instant on.
struct Asked {
    at: RawInstant,
    said: Vec<Said>,
}

struct Said {
    horizon: Span,
    bank: Timestamp,
    /// Lower quantile, median, upper quantile.
    model: [Timestamp; 3],
    fused: Timestamp,
}

struct Judge<'a> {
    engine: Engine,
    model: &'a Forecaster,
    truth: Truth,
    asked: Vec<Asked>,
    failed: Option<TrainError>,
}

impl Judge<'_> {
    fn ask(&mut self, count: bool) -> Result<(), TrainError> {
        let Some(prospect) = prospect(&mut self.engine) else { return Ok(()) };
        if !prospect.rates.iter().any(|rate| rate.is_finite()) {
            return Ok(());
        }
        let forecast = foresee(self.model, &prospect)?;
        // The engine may refuse it, as it would in earnest.
        let _ = self.engine.foresee(&forecast);
        if !count {
            return Ok(());
        }
        let beyond = quantiles(self.model, &prospect, &[LEVELS[0], 0.5, LEVELS[1]])?;
        let at = prospect.outlook.at;
        let mut said = Vec::new();
        for horizon in AHEAD.map(Span::from_secs) {
            let Some(bank) = self.engine.estimator().estimate(at + horizon) else { continue };
            let steps = (horizon.as_nanos() / STEP.as_nanos()).max(1) as usize;
            // Within the first step, in proportion.
            let share = (horizon.as_secs_f64() / STEP.times(steps as i64).as_secs_f64()).min(1.0);
            let ahead = prospect.outlook.bank[steps - 1].1.as_nanos() as f64;
            // The spread grows as the bank's does.
            let widths = (bank.variance.0[0].sqrt() / prospect.bank_sigmas[steps - 1]).min(1.0);
            let middle = beyond[steps - 1][1];
            let model = [0, 1, 2].map(|i| {
                let off = share * (middle - ahead) + widths * (beyond[steps - 1][i] - middle);
                bank.utc + Span::from_nanos(off.round() as i64)
            });
            // What the engine would say if the sources were silent until then.
            let fused = self.engine.clone().solution(at + horizon).utc;
            said.push(Said { horizon, bank: bank.utc, model, fused });
        }
        self.asked.push(Asked { at, said });
        Ok(())
    }
}

impl Client for Judge<'_> {
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
        let known = self.asked.last().map(|asked| asked.at);
        if self.failed.is_none() && seconds >= 600 && seconds % EVERY == 0 && newest > known {
            self.failed = self.ask(seconds >= BEGINNING).err();
        }
    }
}

impl Line {
    fn of<'a>(scenario: String, horizon: Span, samples: impl Iterator<Item = &'a Sample>) -> Option<Line> {
        let at: Vec<&Sample> = samples.filter(|sample| sample.horizon == horizon).collect();
        let rms = |of: fn(&Sample) -> f64| {
            (at.iter().map(|sample| of(sample).powi(2)).sum::<f64>() / at.len() as f64).sqrt()
        };
        (!at.is_empty()).then(|| Line {
            scenario,
            horizon,
            count: at.len(),
            bank: rms(|s| s.bank),
            model: rms(|s| s.model),
            fused: rms(|s| s.fused),
            inside: at.iter().filter(|s| s.inside).count() as f64 / at.len() as f64,
        })
    }
}

impl Judgement {
    /// Of a horizon: geometric means over the scenarios of the model's and of the fused error, as parts of the bank's,
    /// the worst of the latter, and the mean share inside.
    pub fn summary(&self, horizon: Span) -> Option<[f64; 4]> {
        let whole = |line: &&Line| line.horizon == horizon && !line.scenario.contains(',');
        let lines: Vec<&Line> = self.lines.iter().filter(whole).collect();
        let count = lines.len() as f64;
        let geometric = |of: fn(&Line) -> f64| {
            (lines.iter().map(|line| (of(line) / line.bank).ln()).sum::<f64>() / count).exp()
        };
        (!lines.is_empty()).then(|| {
            [
                geometric(|line| line.model),
                geometric(|line| line.fused),
                lines.iter().map(|line| line.fused / line.bank).fold(0.0, f64::max),
                lines.iter().map(|line| line.inside).sum::<f64>() / count,
            ]
        })
    }
}

impl fmt::Display for Judgement {
    /// The tables, in Markdown; errors in µs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | ahead | bank | model | fused | fused / bank | inside 90 % | forecasts |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for line in &self.lines {
            let Line { scenario, horizon, count, bank, model, fused, inside } = line;
            writeln!(
                f,
                "| {scenario} | {} s | {:.1} | {:.1} | {:.1} | {:.3} | {inside:.3} | {count} |",
                horizon.as_nanos() / 1_000_000_000,
                bank * 1e6,
                model * 1e6,
                fused * 1e6,
                fused / bank
            )?;
        }
        writeln!(
            f,
            "\n| ahead | model / bank | fused / bank | at worst | inside 90 % |\n|---|---|---|---|---|"
        )?;
        for ahead in AHEAD {
            if let Some([model, fused, worst, inside]) = self.summary(Span::from_secs(ahead)) {
                writeln!(f, "| {ahead} s | {model:.3} | {fused:.3} | {worst:.3} | {inside:.3} |")?;
            }
        }
        Ok(())
    }
}
