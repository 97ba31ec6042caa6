//! A trial: the engine, with yardsticks beside it, lives through a world or a recorded trace, and everything it said is
//! kept beside the truth.

use crate::baseline::{self, Baseline};
use crate::network::Reply;
use crate::scenario::Scenario;
use crate::score::{self, Answer, Regime};
use crate::ticks;
use crate::trace::{Trace, Truth};
use crate::world::{Client, Moment, World};
use chronotick_core::{
    Disruption, Engine, Event, Levels, Measurement, Predictions, RawInstant, Reading, Solution, SourceId,
    Span, State,
};
use std::collections::{BTreeMap, VecDeque};

/// Everything that the engine and the yardsticks said in a world, beside the truth.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Name of the scenario or trace.
    pub name: String,
    /// The seed of a simulated world.
    pub seed: Option<u64>,
    /// What happens in it, in words.
    pub what: String,
    /// What the engine said, at every row of the truth; simulated, every ten seconds.
    pub rows: Vec<Row>,
    /// What the yardsticks said at the same instants.
    pub yardsticks: Vec<Yardstick>,
    /// Half the widths of the bounds that chrony guaranteed on the same packets, in seconds; none where not recorded.
    pub chrony_bounds: Vec<f64>,
    /// Errors of predictions, by how far they looked ahead.
    pub forecasts: Vec<Forecast>,
    /// The first raw instants at which the bound was narrower, to either side, than these spans.
    pub useful: Vec<(Span, Option<Span>)>,
    /// How often the interval held what was measured later.
    pub predictions: Predictions,
    /// What the engine noticed, and when at the latest.
    pub events: Vec<(RawInstant, Event)>,
}

/// One answer of the engine, beside the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Error and interval.
    pub answer: Answer,
    /// Whether the bound contained truth.
    pub bounded: bool,
    /// Half the width of the bound, in seconds.
    pub bound: f64,
    /// Whether the narrow bound contained truth, and half its width in seconds, where there was one.
    pub narrow: Option<(bool, f64)>,
    /// In which state.
    pub state: State,
    /// System clock − truth, in seconds, where there is one.
    pub system_error: Option<f64>,
    /// Truth − raw clock, in seconds.
    pub correction: f64,
}

/// What a yardstick said.
#[derive(Clone, Debug)]
pub struct Yardstick {
    /// Which.
    pub name: &'static str,
    /// Its answers; it states no interval, their sigma is zero.
    pub answers: Vec<Answer>,
}

/// Errors of predictions that looked this far ahead, after the first 600 s.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// How far ahead.
    pub horizon: Span,
    /// Prediction − truth, in seconds.
    pub errors: Vec<f64>,
    /// How many were inside the 95 % interval which the prediction had stated.
    pub covered: usize,
    /// Half-widths of those intervals, in seconds.
    pub half_widths: Vec<f64>,
}

/// How far ahead predictions are judged, in seconds.
const HORIZONS: [i64; 6] = [10, 60, 300, 600, 1200, 1800];
/// Predictions are made this often, in seconds.
const FORECAST_EVERY: i64 = 60;
/// After a change the regime is another one for so long.
const UNSETTLED: Span = Span::from_secs(900);
const START: i64 = 600;

impl Trial {
    /// Lets the engine live through the world that a seed gives to a scenario.
    ///
    /// ```
    /// use chronotick_sim::{Scenario, Trial, score::Score};
    /// let trial = Trial::simulate(&Scenario::built_in("a")?, 1);
    /// let score = Score::of(trial.settled());
    /// assert!(score.rms < 30e-6 && trial.rows.iter().all(|row| row.bounded));
    /// # Ok::<(), chronotick_sim::ScenarioError>(())
    /// ```
    pub fn simulate(scenario: &Scenario, seed: u64) -> Trial {
        let world = World::new(scenario, seed);
        let poll = scenario.poll.map(|p| Span::from_secs_f64(p.0));
        let mut engine = Engine::new(ticks::polled_each(poll), RawInstant::from_nanos(0));
        let sources = (0..scenario.source_count() as u32)
            .map(|i| (SourceId(i), engine.add_source(format!("source {i}"))))
            .collect();
        let mut contest = Contest::new(engine, sources);
        world.run(Span::from_secs(1), &mut contest);
        let (rows, yardsticks) = contest.labelled(&world.changes());
        Trial {
            name: scenario.name().into(),
            seed: Some(seed),
            what: scenario.what().into(),
            rows,
            yardsticks,
            chrony_bounds: Vec::new(),
            forecasts: contest.forecasts,
            useful: contest.useful,
            predictions: contest.engine.predictions(),
            events: contest.events,
        }
    }

    /// Replays a recorded trace through the engine. When paths or sources changed is not known: the regimes know the
    /// clock's own changes only.
    pub fn replay(trace: &Trace) -> Trial {
        let (engine, sources) = ticks::engine(trace, RawInstant::from_nanos(0));
        let mut contest = Contest::new(engine, sources);
        let mut coming = trace.measurements.iter().peekable();
        for truth in &trace.truth {
            while let Some(m) = coming.next_if(|m| m.received <= truth.raw) {
                contest.measure(m);
            }
            contest.judge(*truth, None);
        }
        let (rows, mut yardsticks) = contest.labelled(&[]);
        let chrony = score::chrony(trace);
        if !chrony.is_empty() {
            yardsticks.push(Yardstick { name: "chrony", answers: chrony });
        }
        Trial {
            name: trace.name.clone(),
            seed: None,
            what: "recorded".into(),
            rows,
            yardsticks,
            chrony_bounds: trace.truth.iter().filter_map(|t| Some(t.chrony?.bound.as_secs_f64())).collect(),
            forecasts: contest.forecasts,
            useful: contest.useful,
            predictions: contest.engine.predictions(),
            events: contest.events,
        }
    }

    /// The answers after the first 600 s.
    pub fn settled(&self) -> impl Iterator<Item = &Answer> {
        self.rows.iter().map(|row| &row.answer).filter(|answer| answer.regime != Regime::Start)
    }
}

/// The engine and the yardsticks as they live through a world.
struct Contest {
    engine: Engine,
    sources: BTreeMap<SourceId, SourceId>,
    baselines: Vec<Box<dyn Baseline>>,
    trace: Trace,
    /// Index into the truth, row.
    rows: Vec<(usize, Row)>,
    yardsticks: Vec<Vec<(usize, Answer)>>,
    /// Recent predictions, oldest first.
    predictions: VecDeque<Solution>,
    forecasts: Vec<Forecast>,
    useful: Vec<(Span, Option<Span>)>,
    events: Vec<(RawInstant, Event)>,
}

impl Client for Contest {
    fn interval(&mut self, _source: u32, now: RawInstant) -> Span {
        self.engine.poll_interval(now)
    }

    fn receive(&mut self, reply: &Reply) {
        self.measure(&reply.measurement());
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
        if disruption.disturbs_raw_clock() {
            self.baselines.iter_mut().for_each(|b| b.forget());
        }
    }

    fn compare(&mut self, moment: &Moment) {
        let truth = Truth { raw: moment.raw, utc: moment.utc, chrony: None };
        self.judge(truth, Some((moment.system - moment.utc).as_secs_f64()));
    }
}

impl Contest {
    fn new(engine: Engine, sources: BTreeMap<SourceId, SourceId>) -> Contest {
        let baselines = baseline::all();
        let forecast = |secs| Forecast {
            horizon: Span::from_secs(secs),
            errors: Vec::new(),
            covered: 0,
            half_widths: Vec::new(),
        };
        Contest {
            engine,
            sources,
            yardsticks: vec![Vec::new(); baselines.len()],
            baselines,
            trace: Trace { name: String::new(), measurements: Vec::new(), truth: Vec::new() },
            rows: Vec::new(),
            predictions: VecDeque::new(),
            forecasts: HORIZONS.map(forecast).into(),
            useful: [50, 5].map(|ms| (Span::from_millis(ms), None)).into(),
            events: Vec::new(),
        }
    }

    fn measure(&mut self, measurement: &Measurement) {
        let Some(&source) = self.sources.get(&measurement.source) else { return };
        let measurement = Measurement { source, ..*measurement };
        self.engine.measure(&measurement);
        self.baselines.iter_mut().for_each(|b| b.observe(&measurement));
        self.trace.measurements.push(measurement);
    }

    fn judge(&mut self, truth: Truth, system_error: Option<f64>) {
        let solution = self.engine.solution(truth.raw);
        self.events.extend(std::iter::from_fn(|| self.engine.next_event()).map(|event| (truth.raw, event)));
        let since_start = truth.raw - RawInstant::from_nanos(0);
        let reading = solution.reading(truth.raw);
        for (width, first) in &mut self.useful {
            if first.is_none() && reading.half_width() < *width {
                *first = Some(since_start);
            }
        }
        let seconds = since_start.as_nanos() / 1_000_000_000;
        if seconds % 10 != 0 {
            return;
        }
        let index = self.trace.truth.len();
        self.trace.truth.push(truth);
        for (baseline, answers) in self.baselines.iter().zip(&mut self.yardsticks) {
            if let Some(utc) = baseline.utc(truth.raw) {
                let error = (utc - truth.utc).as_secs_f64();
                answers.push((index, answer(truth.raw, error, Span::ZERO, Levels::NORMAL)));
            }
        }
        // Before the first measurement it does not know the century.
        if solution.early == Span::MAX {
            return;
        }
        self.rows.push((index, row(truth, &reading, system_error)));
        if seconds > START {
            self.look_back(truth, &solution);
            if seconds % FORECAST_EVERY == 0 {
                self.predictions.push_back(solution);
            }
        }
    }

    /// What was predicted for this instant?
    fn look_back(&mut self, truth: Truth, now: &Solution) {
        let longest = Span::from_secs(HORIZONS[HORIZONS.len() - 1]);
        while self.predictions.front().is_some_and(|p| truth.raw - p.at > longest) {
            self.predictions.pop_front();
        }
        for forecast in &mut self.forecasts {
            let made = truth.raw - forecast.horizon;
            // Nobody can predict across a disruption.
            let comparable = |p: &&Solution| p.at == made && p.disruptions == now.disruptions;
            let at = self.predictions.partition_point(|p| p.at < made);
            if let Some(prediction) = self.predictions.get(at).filter(comparable) {
                let reading = prediction.reading(truth.raw);
                let (error, half_width) = (reading.estimate - truth.utc, reading.interval(0.95));
                forecast.errors.push(error.as_secs_f64());
                forecast.half_widths.push(half_width.as_secs_f64());
                forecast.covered += usize::from(error.abs() <= half_width);
            }
        }
    }

    /// All answers, each with its regime.
    fn labelled(&self, changes: &[RawInstant]) -> (Vec<Row>, Vec<Yardstick>) {
        let regimes = regimes(&self.trace, changes);
        let label = |&(index, a): &(usize, Answer)| Answer { regime: regimes[index], ..a };
        let row = |(index, row): &(usize, Row)| Row { answer: label(&(*index, row.answer)), ..*row };
        let yardsticks = self.baselines.iter().zip(&self.yardsticks).map(|(baseline, answers)| Yardstick {
            name: baseline.name(),
            answers: answers.iter().map(label).collect(),
        });
        (self.rows.iter().map(row).collect(), yardsticks.collect())
    }
}

/// The regimes that the trace itself shows, and those after changes of paths and sources, which it does not.
fn regimes(trace: &Trace, changes: &[RawInstant]) -> Vec<Regime> {
    let mut regimes = score::regimes(trace);
    for (regime, truth) in regimes.iter_mut().zip(&trace.truth) {
        let before = changes.partition_point(|at| *at <= truth.raw);
        let recent = changes[..before].last().is_some_and(|at| truth.raw - *at < UNSETTLED);
        if recent && *regime == Regime::Steady {
            *regime = Regime::Changing;
        }
    }
    regimes
}

fn row(truth: Truth, reading: &Reading, system_error: Option<f64>) -> Row {
    let error = (reading.estimate - truth.utc).as_secs_f64();
    Row {
        answer: answer(truth.raw, error, reading.sigma, reading.levels),
        bounded: (reading.earliest..=reading.latest).contains(&truth.utc),
        bound: reading.half_width().as_secs_f64(),
        narrow: reading.narrow.map(|narrow| {
            let half_width = (narrow.latest - narrow.earliest).half();
            ((narrow.earliest..=narrow.latest).contains(&truth.utc), half_width.as_secs_f64())
        }),
        state: reading.state,
        system_error,
        correction: ((truth.utc - crate::trace::EPOCH) - (truth.raw - RawInstant::from_nanos(0)))
            .as_secs_f64(),
    }
}

fn answer(raw: RawInstant, error: f64, sigma: Span, levels: Levels) -> Answer {
    Answer { raw, error, sigma: sigma.as_secs_f64(), levels, regime: Regime::Steady }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Recording;

    fn scenario() -> Scenario {
        let text = "name = 'x'\nwhat = 'y'\nduration = '2 h'\npoll = '16 s'\n\
                    [[sources]]\ndelays = ['5 ms', '9 ms', '12 ms']\njitter = [{ exponential = { mean = '1 ms' } }]\n\
                    [[episodes]]\nwhat = 'outage'\nloss = 1\n\
                    when = { fixed = { at = ['1 h'], lasts = '20 min' } }";
        Scenario::parse(text).unwrap()
    }

    #[test]
    fn a_recording_replayed_gives_what_the_world_gave() {
        let lived = Trial::simulate(&scenario(), 5);
        let recording = Recording::of(&World::new(&scenario(), 5));
        let trace = Trace {
            name: "x".into(),
            measurements: recording.replies.iter().map(Reply::measurement).collect(),
            truth: recording.moments.iter().map(|m| Truth { raw: m.raw, utc: m.utc, chrony: None }).collect(),
        };
        let replayed = Trial::replay(&trace);
        assert_eq!(lived.rows.len(), replayed.rows.len());
        for (a, b) in lived.rows.iter().zip(&replayed.rows) {
            assert_eq!((a.answer, a.bounded, a.bound, a.narrow), (b.answer, b.bounded, b.bound, b.narrow));
        }
        for (a, b) in lived.yardsticks.iter().zip(&replayed.yardsticks) {
            assert_eq!((a.name, &a.answers), (b.name, &b.answers));
        }
    }

    #[test]
    fn predictions_are_judged_at_every_horizon_and_get_worse_with_it() {
        let trial = Trial::simulate(&scenario(), 6);
        // After ten minutes one is made every minute until the end, and judged if it came true by then.
        for forecast in &trial.forecasts {
            let possible = (7200 - START - forecast.horizon.as_nanos() / 1_000_000_000) / FORECAST_EVERY;
            assert!((forecast.errors.len() as i64 - possible).abs() <= 1, "{:?}", forecast.horizon);
        }
        let median = |f: &Forecast| {
            let mut widths = f.half_widths.clone();
            widths.sort_by(f64::total_cmp);
            widths[widths.len() / 2]
        };
        assert!(trial.forecasts.windows(2).all(|w| median(&w[0]) <= median(&w[1])));
    }

    #[test]
    fn the_outage_is_a_holdover_and_what_follows_a_recovery() {
        let trial = Trial::simulate(&scenario(), 7);
        let at =
            |s: i64| trial.rows.iter().find(|r| r.answer.raw.as_nanos() >= s * 1_000_000_000).unwrap().answer;
        assert_eq!(at(300).regime, Regime::Start);
        assert_eq!(at(4500).regime, Regime::Holdover);
        assert_eq!(at(5000).regime, Regime::Recovery);
    }
}
