//! The models' own thread: questions about the clock's future go to it, forecasts come back, and the measuring thread
//! never waits for either.
//!
//! What a model sees is measured: the smoothed frequency on a uniform grid that ends at the newest measurement, its
//! newest value subtracted and its spread made 100 in `f64`. What it answers is integrated back onto the engine's line.
//! A model that is missing is looked for again every minute, one that fails is asked less and less often, one that
//! panics is never asked again; an answer that comes too late to be of use is dropped.

mod worker;

use self::worker::{Answer, Outcome, Question, Slot, Worker};
use super::history::History;
use crate::config::{self, Config};
use crate::models::{Model, Reference};
use crate::snapshot::ModelView;
use crate::trace::Line;
use chronotick_core::{Conditions, Forecast, Member, Outlook, Prospect, RawInstant, Span};
use chronotick_os::yield_to_others;
use chronotick_tsfm::{Abilities, Task};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Forecasts reach at least so far where the configuration asks for minutes: holdover is where they help.
const HOLDOVER: Span = Span::from_secs(1800);
/// The longest horizon, in steps.
const STEPS: usize = 512;
/// From one attempt with a model that is missing or fails to the next; for one that fails doubled up to [`RARELY`].
const RETRY: Span = Span::from_secs(60);
const RARELY: Span = Span::from_secs(1920);

/// Something that forecasts series.
pub(super) trait Forecasts: Send {
    fn name(&self) -> String;
    fn abilities(&self) -> Abilities;
    /// For one task with one target: the point forecast by steps and the quantiles by steps.
    fn forecast(&self, task: Task, steps: usize, levels: &[f64])
    -> Result<chronotick_tsfm::Forecast, String>;
    /// Whether it was made to correct the bank's forecast, and is asked by [`foresee`](Self::foresee).
    fn corrects(&self) -> bool {
        false
    }
    /// For one that was made to correct the bank's forecast: what it makes of that.
    fn foresee(&self, _prospect: &Prospect) -> Result<Forecast, String> {
        Err("it was not made to correct a forecast".into())
    }
}

impl Forecasts for Model {
    fn name(&self) -> String {
        Model::name(self)
    }
    fn abilities(&self) -> Abilities {
        Model::abilities(self)
    }
    fn forecast(
        &self,
        task: Task,
        steps: usize,
        levels: &[f64],
    ) -> Result<chronotick_tsfm::Forecast, String> {
        let answer = Model::forecast(self, &[task], steps, levels).map_err(|e| e.to_string())?;
        answer.into_iter().flatten().next().ok_or_else(|| "it answered nothing".into())
    }
    fn corrects(&self) -> bool {
        Model::corrects(self)
    }
    fn foresee(&self, prospect: &Prospect) -> Result<Forecast, String> {
        match self {
            Model::Local(model) => chronotick_train::foresee(model, prospect).map_err(|e| e.to_string()),
            Model::Endpoint(_) => Err("an endpoint corrects no forecast".into()),
        }
    }
}

/// Opens a model; asked again while it fails.
pub(super) type Opening = Box<dyn FnMut() -> Result<Box<dyn Forecasts>, String> + Send>;

/// One member that a model forecasts for, as it is configured.
pub(super) struct Term {
    pub(super) member: Member,
    /// What the configuration calls the model.
    pub(super) named: String,
    pub(super) open: Opening,
    /// From one forecast to the next, and from one point of the grid to the next.
    pub(super) interval: Span,
    /// How far beyond now a forecast is to reach.
    pub(super) horizon: Span,
    /// How far it is carried on beyond its origin.
    pub(super) reach: Span,
    /// Points of the past.
    pub(super) context: usize,
}

/// What has become of a model, for those who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    /// Its thread has not said anything of it.
    Opening,
    /// It is asked, and gives forecasts that the engine takes.
    Ready,
    /// It cannot be opened.
    Missing(String),
    /// It gave no forecast when asked the last time, or none that the engine takes.
    Failing(String),
    /// It panicked; it is never asked again.
    Broken(String),
}

/// What is counted of one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    asked: u64,
    answered: u64,
    /// Answers that came too late to be of use.
    late: u64,
    /// Times at which the newest forecast still held, because nothing had been measured since.
    cached: u64,
    /// Times at which a forecast was due and was put off to keep to the share of the processor.
    put_off: u64,
}

/// What the measuring thread knows of one member's model.
pub(super) struct Standing {
    member: Member,
    named: String,
    /// The family, or what an endpoint calls itself, once it is open.
    family: Option<String>,
    health: Health,
    counts: Counts,
    /// When the newest answer came, and how long it took.
    last: Option<(RawInstant, Span)>,
    covariates: bool,
    /// Whether it corrects the bank's forecast.
    corrects: bool,
    interval: Span,
    horizon: Span,
    reach: Span,
    context: usize,
    due: RawInstant,
    pending: Option<RawInstant>,
    /// When it was asked the last time.
    asked_at: Option<RawInstant>,
    /// The origin of the newest question.
    origin: Option<RawInstant>,
    not_before: RawInstant,
    retry: Span,
    /// What the trace was told of it.
    told: Option<(Health, Counts)>,
}

/// What a model is to forecast from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// Smoothed frequencies, s/s, at the ends of the grid's steps; NaN where nothing was measured. The newest is that of
    /// the outlook's origin.
    pub(super) frequency: Vec<f64>,
    /// What was measured beside it, each as long; NaN where nothing was.
    pub(super) conditions: Vec<Vec<f64>>,
}

impl Wanted {
    /// The line of the trace on such a question.
    pub(super) fn line(&self, origin: RawInstant, series: &Series) -> Line {
        let known = |values: &Vec<f64>| values.iter().map(|x| Some(*x).filter(|x| x.is_finite())).collect();
        Line::Question {
            member: self.member.name().into(),
            origin_ns: origin.as_nanos(),
            step_ns: self.step.as_nanos(),
            steps: self.steps,
            frequency: known(&series.frequency),
            conditions: series.conditions.iter().map(known).collect(),
        }
    }
}

/// What is wanted for a question, at this moment.
pub(super) struct Wanted {
    pub(super) member: Member,
    /// The distance of the grid's points, and their number.
    pub(super) step: Span,
    pub(super) points: usize,
    /// How many steps ahead.
    pub(super) steps: usize,
    /// Whether the model takes covariates.
    pub(super) covariates: bool,
    /// Whether the model corrects the bank's forecast.
    pub(super) corrects: bool,
}

impl Wanted {
    /// The ages at which the bank's own forecast is wanted.
    pub(super) fn ages(&self) -> impl Iterator<Item = Span> + use<> {
        let step = self.step;
        (1..=self.steps as i64).map(move |k| step.times(k))
    }
}

/// The measuring thread's end of the models' thread.
pub(super) struct Models {
    standings: Vec<Standing>,
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
    /// Of one processor.
    share: f64,
    rest_until: RawInstant,
    conditions: History,
}

impl Models {
    /// Starts the thread, if the configuration asks for any model. `wake` is called when an answer is there.
    pub(super) fn start(
        config: &Config,
        now: RawInstant,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Option<Models> {
        let term = |member, model: &config::Model, least: Span| Term {
            member,
            named: model.model_name.to_string(),
            open: opening(model),
            interval: model.inference_interval,
            horizon: model.prediction_horizon,
            reach: model.prediction_horizon.max(least),
            context: model.context_length as usize,
        };
        // A short forecast starts from the newest measurement, and has to last until the one after the next.
        let short = config.short_term.prediction_horizon + config.timing.max_interval;
        let terms = [
            config.short_term.enabled.then(|| term(Member::ShortTerm, &config.short_term, short)),
            config.long_term.enabled.then(|| term(Member::LongTerm, &config.long_term, HOLDOVER)),
        ];
        let terms: Vec<Term> = terms.into_iter().flatten().filter(|_| config.fusion.enabled).collect();
        let share = f64::from(config.inference.cpu_percent) / 100.0;
        (!terms.is_empty()).then(|| Models::of(terms, share, now, wake))
    }

    /// Whose model is the one that comes with the program, of which something is known beforehand.
    pub(super) fn embedded(&self) -> Vec<Member> {
        let is_embedded =
            |s: &&Standing| s.named.parse::<Reference>().is_ok_and(|reference| reference.is_embedded());
        self.standings.iter().filter(is_embedded).map(|s| s.member).collect()
    }

    /// Starts the thread with these terms.
    pub(super) fn of(
        terms: Vec<Term>,
        share: f64,
        now: RawInstant,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Models {
        let (questions, asked) = sync_channel(terms.len());
        // Beside an answer to each question there is one report of having been opened.
        let (answering, answers) = sync_channel(2 * terms.len());
        let standings = terms.iter().map(|term| Standing::new(term, now)).collect();
        let work = move || {
            if let Err(e) = yield_to_others() {
                log::debug!("the models' thread keeps the usual priority: {e}");
            }
            Worker { slots: terms.into_iter().map(Slot::new).collect(), answering, wake }.run(&asked);
        };
        if let Err(e) = thread::Builder::new().name("models".into()).spawn(work) {
            log::warn!("the models have no thread: {e}; the statistical engine serves alone");
        }
        Models { standings, questions, answers, share, rest_until: now, conditions: History::default() }
    }

    /// Keeps what was measured of the machine, for models that take covariates.
    pub(super) fn remember(&mut self, conditions: Conditions) {
        self.conditions.keep(conditions);
    }

    /// The conditions on the grid of a question, if its model takes them.
    pub(super) fn conditions(&self, wanted: &Wanted, at: RawInstant) -> Vec<Vec<f64>> {
        if wanted.covariates { self.conditions.on_grid(at, wanted.step, wanted.points) } else { Vec::new() }
    }

    /// What is to be asked now, if anything is: something has been measured at `newest` since the last question, the
    /// model is idle, and its share of the processor is not used up. Of several that are due it is the one that has
    /// waited longest, so that none uses up the share of another.
    pub(super) fn wanted(&mut self, now: RawInstant, newest: RawInstant) -> Option<Wanted> {
        let (pending, rest_until) = (self.standings.iter().any(|s| s.pending.is_some()), self.rest_until);
        let standing = self.standings.iter_mut().filter(|s| s.is_due(now)).min_by_key(|s| s.asked_at)?;
        if standing.origin == Some(newest) {
            standing.counts.cached += 1;
            standing.due = now + standing.interval;
            return None;
        }
        if pending {
            return None;
        }
        if now < rest_until {
            standing.counts.put_off += 1;
            standing.due = (now + standing.interval).min(rest_until);
            return None;
        }
        let reach = standing.reach.max(now - newest + standing.horizon);
        let steps = (reach.as_nanos() / standing.interval.as_nanos().max(1)).clamp(1, STEPS as i64);
        Some(Wanted {
            member: standing.member,
            step: standing.interval,
            points: standing.context,
            steps: steps as usize,
            covariates: standing.covariates,
            corrects: standing.corrects,
        })
    }

    /// How the models do that do otherwise than they did when this was asked the last time.
    pub(super) fn changes(&mut self) -> Vec<Line> {
        let changed = self.standings.iter_mut().filter_map(|s| {
            let now = (s.health.clone(), s.counts);
            (s.told.as_ref() != Some(&now)).then(|| {
                let Counts { asked, answered, late, cached, put_off } = s.counts;
                s.told = Some(now);
                Line::Model {
                    member: s.member.name().into(),
                    state: s.health.word().into(),
                    reason: s.health.reason().map(str::to_owned),
                    asked,
                    answered,
                    late,
                    cached,
                    put_off,
                }
            })
        });
        changed.collect()
    }

    /// What is known of a member's model.
    pub(super) fn standing(&self, member: Member) -> Option<&Standing> {
        self.standings.iter().find(|s| s.member == member)
    }

    /// Hands a question over.
    pub(super) fn ask(
        &mut self,
        wanted: &Wanted,
        outlook: Outlook,
        series: Series,
        prospect: Option<Prospect>,
        now: RawInstant,
    ) {
        let Some(standing) = self.standings.iter_mut().find(|s| s.member == wanted.member) else { return };
        standing.due = now + standing.interval;
        let origin = outlook.at;
        let Wanted { member, step, steps, .. } = *wanted;
        if self.questions.try_send(Question { member, outlook, step, steps, series, prospect }).is_ok() {
            standing.counts.asked += 1;
            standing.origin = Some(origin);
            (standing.pending, standing.asked_at) = (Some(now), Some(now));
        }
    }

    /// The next forecast that has come and is still of use; the engine judges it, and it is [`accepted`](Self::accepted)
    /// or [`refuse`](Self::refuse)d.
    pub(super) fn forecast(&mut self, now: RawInstant) -> Option<Forecast> {
        while let Ok(Answer { member, took, outcome }) = self.answers.try_recv() {
            let Some(standing) = self.standings.iter_mut().find(|s| s.member == member) else { continue };
            if let Outcome::Opened { family, covariates, corrects } = outcome {
                log::info!("{member}: {} is open ({family})", standing.named);
                standing.opened(family, covariates, corrects);
                continue;
            }
            let pause = took.as_secs_f64() * (1.0 / self.share - 1.0);
            self.rest_until = now + Span::from_secs_f64(pause.clamp(0.0, RARELY.as_secs_f64()));
            if let Some(forecast) = standing.take(outcome, took, now) {
                return Some(forecast);
            }
        }
        None
    }

    /// A forecast was taken by the engine.
    pub(super) fn accepted(&mut self, member: Member) {
        if let Some(standing) = self.standings.iter_mut().find(|s| s.member == member) {
            (standing.health, standing.retry) = (Health::Ready, RETRY);
        }
    }

    /// A forecast was not what a forecast of this clock can be.
    pub(super) fn refuse(&mut self, member: Member, why: String, now: RawInstant) {
        if let Some(standing) = self.standings.iter_mut().find(|s| s.member == member) {
            standing.fail(Health::Failing(why), now);
        }
    }
}

fn opening(model: &config::Model) -> Opening {
    let named = model.model_name.to_string();
    let device = model.device;
    Box::new(move || {
        if device != config::Device::Cpu {
            return Err(format!(
                "models are computed on the cpu only in this version, not on {device}; set device: cpu"
            ));
        }
        let reference: Reference = named.parse().map_err(|e| format!("{e}"))?;
        let model = Model::open(&reference).map_err(|e| e.to_string())?;
        Ok(Box::new(model) as Box<dyn Forecasts>)
    })
}

impl Standing {
    fn new(term: &Term, now: RawInstant) -> Standing {
        Standing {
            member: term.member,
            named: term.named.clone(),
            family: None,
            health: Health::Opening,
            counts: Counts::default(),
            last: None,
            covariates: false,
            corrects: false,
            interval: term.interval,
            horizon: term.horizon,
            reach: term.reach,
            context: term.context,
            due: now,
            pending: None,
            asked_at: None,
            origin: None,
            not_before: now,
            retry: RETRY,
            told: None,
        }
    }

    fn is_due(&self, now: RawInstant) -> bool {
        let askable = !matches!(self.health, Health::Opening | Health::Broken(_));
        askable && self.pending.is_none() && now >= self.due && now >= self.not_before
    }

    /// A view of its member, with what is known of the model.
    pub(super) fn shown(&self, view: ModelView, now: RawInstant) -> ModelView {
        let seconds = |since: RawInstant| (now - since).as_secs_f64();
        let Counts { asked, answered, late, cached, put_off } = self.counts;
        ModelView {
            model: self.named.clone(),
            family: self.family.clone(),
            state: self.health.word().into(),
            reason: self.health.reason().map(str::to_owned),
            last_inference_seconds: self.last.map(|(at, _)| seconds(at)),
            inference_ms: self.last.map(|(_, took)| took.as_secs_f64() * 1e3),
            busy_seconds: self.pending.map(seconds),
            asked,
            answered,
            late,
            cached,
            put_off,
            ..view
        }
    }

    fn opened(&mut self, family: String, covariates: bool, corrects: bool) {
        (self.covariates, self.corrects) = (covariates, corrects);
        (self.family, self.health) = (Some(family), Health::Ready);
    }

    fn take(&mut self, outcome: Outcome, took: Span, now: RawInstant) -> Option<Forecast> {
        let asked = self.pending.take();
        match outcome {
            Outcome::Forecast(forecast) => {
                self.last = Some((now, took));
                self.counts.answered += 1;
                if asked.is_some_and(|asked| now - asked <= self.horizon) {
                    return Some(forecast);
                }
                // Too late to be judged.
                self.health = Health::Ready;
                self.counts.late += 1;
            }
            Outcome::Opened { family, covariates, corrects } => self.opened(family, covariates, corrects),
            Outcome::Nothing => self.health = Health::Ready,
            Outcome::Missing(why) => self.fail(Health::Missing(why), now),
            Outcome::Failed(why) => self.fail(Health::Failing(why), now),
            Outcome::Panicked(why) => self.fail(Health::Broken(why), now),
        }
        None
    }

    fn fail(&mut self, health: Health, now: RawInstant) {
        if self.health != health {
            log::warn!("{}: {} {}", self.member, self.named, health.words());
        }
        // What failed once may be asked the same again.
        self.origin = None;
        if let Health::Missing(_) = health {
            self.not_before = now + RETRY;
        } else {
            self.not_before = now + self.retry;
            self.retry = self.retry.times(2).min(RARELY);
        }
        self.health = health;
    }
}

impl Health {
    /// One word for views.
    fn word(&self) -> &'static str {
        match self {
            Health::Opening => "opening",
            Health::Ready => "ready",
            Health::Missing(_) => "missing",
            Health::Failing(_) => "failing",
            Health::Broken(_) => "broken",
        }
    }

    /// Why it is not ready.
    fn reason(&self) -> Option<&str> {
        match self {
            Health::Opening | Health::Ready => None,
            Health::Missing(why) | Health::Failing(why) | Health::Broken(why) => Some(why),
        }
    }

    fn words(&self) -> String {
        format!("is {}: {}", self.word(), self.reason().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::worker::BETWEEN;
    use super::*;
    use chronotick_core::{Rate, Timestamp};
    use chronotick_tsfm::{Levels, Point};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    /// A model made of one function of the scaled series and the step, which takes covariates or does not.
    struct Fake<F>(F, bool, Levels);

    impl<F: Fn(&Task, usize) -> f64 + Send> Forecasts for Fake<F> {
        fn name(&self) -> String {
            "Fake".into()
        }
        fn abilities(&self) -> Abilities {
            Abilities {
                context: None,
                horizon: 64,
                point: Point::Median,
                levels: self.2.clone(),
                joint: false,
                covariates: self.1,
            }
        }
        fn forecast(
            &self,
            task: Task,
            steps: usize,
            levels: &[f64],
        ) -> Result<chronotick_tsfm::Forecast, String> {
            let point: Vec<f64> = (0..steps).map(|k| (self.0)(&task, k)).collect();
            let around = |p: &f64| levels.iter().map(|level| p + (level - 0.5) * BETWEEN / 0.8).collect();
            Ok(chronotick_tsfm::Forecast { quantiles: point.iter().map(around).collect(), point, mean: None })
        }
    }

    fn fake(f: impl Fn(&Task, usize) -> f64 + Send + Copy + 'static) -> Opening {
        Box::new(move || Ok(Box::new(Fake(f, true, Levels::Any))))
    }

    fn at(seconds: i64) -> RawInstant {
        RawInstant::from_nanos(0) + Span::from_secs(seconds)
    }

    fn outlook(seconds: i64, wanted: &Wanted) -> Outlook {
        let bank = wanted.ages().map(|age| (age, Span::ZERO)).collect();
        Outlook { at: at(seconds), utc: Timestamp::from_nanos(0), rate: Rate::ZERO, bank }
    }

    /// Models with one term, and what tells that an answer is there.
    struct Bench {
        models: Models,
        woken: std::sync::mpsc::Receiver<()>,
    }

    impl Bench {
        fn new(open: Opening, share: f64) -> Bench {
            Bench::of([(Member::LongTerm, open)], share)
        }

        fn of(openings: impl IntoIterator<Item = (Member, Opening)>, share: f64) -> Bench {
            let term = |(member, open)| Term {
                member,
                named: "fake".into(),
                open,
                interval: Span::from_secs(30),
                horizon: Span::from_secs(60),
                reach: Span::from_secs(120),
                context: 20,
            };
            let (sender, woken): (Sender<()>, _) = channel();
            let sender = std::sync::Mutex::new(sender);
            let wake = move || {
                let _ = sender.lock().unwrap().send(());
            };
            let terms = openings.into_iter().map(term).collect();
            Bench { models: Models::of(terms, share, at(0), Arc::new(wake)), woken }
        }

        /// Waits for the thread's next report and takes it in at this time; the engine takes every forecast.
        fn hear(&mut self, seconds: i64) -> Option<Forecast> {
            let forecast = self.hear_unjudged(seconds)?;
            self.models.accepted(forecast.member);
            Some(forecast)
        }

        fn hear_unjudged(&mut self, seconds: i64) -> Option<Forecast> {
            self.woken.recv().expect("the thread lives");
            self.models.forecast(at(seconds))
        }

        /// Asks about a ramp that ends at this time, if it is to be asked.
        fn ask(&mut self, seconds: i64) -> bool {
            let Some(wanted) = self.models.wanted(at(seconds), at(seconds)) else { return false };
            let frequency = (0..wanted.points).map(|i| 1e-6 + i as f64 * 1e-9).collect();
            let series = Series { frequency, conditions: vec![vec![40.0; wanted.points]] };
            let outlook = outlook(seconds, &wanted);
            self.models.ask(&wanted, outlook, series, None, at(seconds));
            true
        }

        fn health(&self) -> &Health {
            &self.models.standings[0].health
        }

        fn counts(&self) -> Counts {
            self.models.standings[0].counts
        }
    }

    #[test]
    fn a_forecast_is_integrated_onto_the_line() {
        // The next points of the ramp, in its own units.
        let ramp = |task: &Task, k: usize| {
            let past = &task.targets[0];
            let slope = past[past.len() - 1] - past[past.len() - 2];
            past[past.len() - 1] + slope * (k + 1) as f64
        };
        let mut bench = Bench::new(fake(ramp), 1.0);
        assert!(!bench.ask(0), "it is not open yet");
        assert_eq!(bench.hear(1), None);
        assert_eq!(bench.health(), &Health::Ready);
        assert!(bench.ask(2));
        let forecast = bench.hear(3).expect("a forecast");
        assert_eq!(
            (forecast.member, forecast.outlook.at, forecast.ahead.len()),
            (Member::LongTerm, at(2), 4)
        );
        // 1 ppb a step of 30 s: 30, 90, 180, 300 ns.
        let offsets: Vec<i64> = forecast.ahead.iter().map(|a| a.offset.as_nanos()).collect();
        assert_eq!(offsets, [30, 90, 180, 300]);
        let ages: Vec<i64> = forecast.ahead.iter().map(|a| a.age.as_nanos() / 1_000_000_000).collect();
        assert_eq!(ages, [30, 60, 90, 120]);
        assert!(forecast.ahead.iter().all(|a| a.sigma.is_some_and(|s| s > Span::ZERO)));
    }

    #[test]
    fn a_model_without_the_quantiles_forecasts_without_a_deviation() {
        for levels in [Levels::None, Levels::Trained(vec![0.5])] {
            let open: Opening =
                Box::new(move || Ok(Box::new(Fake(|_: &Task, _| 1.0, false, levels.clone()))));
            let mut bench = Bench::new(open, 1.0);
            bench.hear(1);
            assert!(bench.ask(2));
            let forecast = bench.hear(3);
            assert_eq!(bench.health(), &Health::Ready);
            let ahead = forecast.expect("a forecast").ahead;
            assert!(ahead.len() == 4 && ahead.iter().all(|a| a.sigma.is_none()), "{ahead:?}");
        }
    }

    #[test]
    fn covariates_are_told_where_they_vary_and_the_bank_always() {
        let count = |task: &Task, _| {
            assert_eq!(task.covariates.len(), 1, "a constant temperature says nothing");
            assert_eq!(task.covariates[0].future.as_ref().map(Vec::len), Some(4));
            0.0
        };
        let mut bench = Bench::new(fake(count), 1.0);
        bench.hear(1);
        assert!(bench.ask(2) && bench.hear(3).is_some(), "{:?}", bench.health());
    }

    #[test]
    fn nothing_new_is_not_asked_again() {
        let mut bench = Bench::new(fake(|_, _| 0.0), 1.0);
        bench.hear(1);
        assert!(bench.ask(2) && bench.hear(3).is_some());
        assert!(bench.models.wanted(at(40), at(2)).is_none());
        assert_eq!((bench.counts().cached, bench.counts().asked), (1, 1));
        assert!(bench.models.wanted(at(50), at(45)).is_none(), "not due");
        assert!(bench.models.wanted(at(71), at(45)).is_some());
    }

    #[test]
    fn a_slow_model_is_left_to_itself_and_comes_too_late() {
        let slow = |_: &Task, _| 0.0;
        let mut bench = Bench::new(fake(slow), 1.0);
        bench.hear(1);
        assert!(bench.ask(2));
        assert!(!bench.ask(50), "it owes an answer");
        assert_eq!(bench.hear(63), None, "61 s are more than the horizon");
        assert_eq!((bench.counts().late, bench.counts().answered), (1, 1));
        assert!(bench.ask(64), "and is asked again");
    }

    #[test]
    fn the_share_of_the_processor_is_kept() {
        let mut bench = Bench::new(fake(|_, _| 0.0), 0.01);
        bench.hear(1);
        assert!(bench.ask(2));
        bench.hear(3);
        // As if it had taken a second of the processor: 99 s without.
        bench.models.rest_until = at(3) + Span::from_secs(99);
        assert!(!bench.ask(50) && !bench.ask(90));
        assert_eq!(bench.counts().put_off, 2);
        assert!(bench.ask(103));
    }

    #[test]
    fn two_models_share_the_processor_by_turns() {
        let members = [Member::ShortTerm, Member::LongTerm];
        let mut bench = Bench::of(members.map(|member| (member, fake(|_, _| 0.0))), 0.01);
        for _ in members {
            bench.hear(1);
        }
        let asked = [0, 100, 200, 300].map(|second| {
            assert!(bench.ask(second + 2), "both are due");
            let asked = bench.hear(second + 3).map(|forecast| forecast.member);
            // As if it had taken most of a second: both are due again before the rest is over.
            bench.models.rest_until = at(second + 90);
            assert!(!bench.ask(second + 50));
            asked
        });
        let [short, long] = members.map(Some);
        assert_eq!(asked, [short, long, short, long]);
    }

    #[test]
    fn a_model_that_panics_is_never_asked_again() {
        let mut bench = Bench::new(fake(|_, _| panic!("a bug")), 1.0);
        bench.hear(1);
        assert!(bench.ask(2));
        assert_eq!(bench.hear(3), None);
        assert_eq!(bench.health(), &Health::Broken("it panicked: a bug".into()));
        assert!(!bench.ask(1_000_000));
    }

    #[test]
    fn what_is_not_a_number_is_no_forecast_and_is_asked_for_less_and_less() {
        let mut bench = Bench::new(fake(|_, k| if k == 2 { f64::NAN } else { 0.0 }), 1.0);
        bench.hear(1);
        assert!(bench.ask(2));
        assert_eq!(bench.hear(3), None);
        assert!(matches!(bench.health(), Health::Failing(_)), "{:?}", bench.health());
        assert!(!bench.ask(62) && bench.ask(63));
        bench.hear(64);
        assert!(!bench.ask(64 + 119) && bench.ask(64 + 120));
    }

    #[test]
    fn a_model_whose_forecasts_are_refused_is_asked_less_and_less() {
        let mut bench = Bench::new(fake(|_, _| 0.0), 1.0);
        bench.hear(1);
        assert!(bench.ask(2));
        let mut judged = 3;
        for wait in [60, 120, 240] {
            let forecast = bench.hear_unjudged(judged).expect("a forecast");
            bench.models.refuse(forecast.member, "far off".into(), at(judged));
            assert_eq!(bench.health(), &Health::Failing("far off".into()));
            assert!(!bench.ask(judged + wait - 1) && bench.ask(judged + wait));
            judged += wait;
        }
        assert!(bench.hear(judged).is_some());
        assert_eq!((bench.health(), bench.models.standings[0].retry), (&Health::Ready, RETRY));
    }

    #[test]
    fn a_missing_model_is_looked_for_again_every_minute() {
        let tries = Arc::new(AtomicUsize::new(0));
        let count = tries.clone();
        let open: Opening = Box::new(move || match count.fetch_add(1, Ordering::Relaxed) {
            0..3 => Err("not there; pull it".into()),
            _ => Ok(Box::new(Fake(|_: &Task, _| 0.0, false, Levels::Any))),
        });
        let mut bench = Bench::new(open, 1.0);
        bench.hear(1);
        assert_eq!(bench.health(), &Health::Missing("not there; pull it".into()));
        for minute in [61, 121] {
            assert!(!bench.ask(minute - 1) && bench.ask(minute));
            bench.hear(minute);
            assert!(matches!(bench.health(), Health::Missing(_)));
        }
        assert!(!bench.ask(180) && bench.ask(181));
        bench.hear(182);
        assert!(bench.hear(182).is_some() || bench.counts().answered == 1);
        assert_eq!((bench.health(), tries.load(Ordering::Relaxed)), (&Health::Ready, 4));
    }
}
