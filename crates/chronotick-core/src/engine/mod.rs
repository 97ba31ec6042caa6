//! The engine: believes the majority of the sources, feeds the estimator with what they measure, and says what time it
//! is, how wrong that may be, and whether to trust it.
//!
//! Measurements, silences, disruptions and instants come in; a [`Solution`], poll intervals and [`Event`]s go out. The
//! engine reads no clock: "now" is always an argument, and never earlier than the newest measurement.

mod belief;
mod forecast;

use crate::bound::{Doubt, Envelope, RateLimits, SourceBound, Wander};
use crate::estimate::{Estimate, Estimator, Saved};
use crate::fusion::Fusion;
use crate::select::{Interval, Role};
use crate::status::{Explanation, SourceStatus, Verdict};
use crate::symmetry::Symmetry;
use crate::{
    Disruption, Event, Levels, Measurement, Past, Predictions, Rate, RawInstant, Reason, Settings, Solution,
    SourceId, Span, State, Timestamp, Variance,
};
use belief::sides;
use std::collections::{BTreeMap, VecDeque};

/// Learned from measurements of the sources, in their order: where corrected time is, and how wrong it may be.
///
/// ```
/// use chronotick_core::*;
/// let start = RawInstant::from_nanos(0);
/// let mut engine = Engine::new(Settings::default(), start);
/// let source = engine.add_source("192.0.2.1:123");
/// for second in 1..10 {
///     let at = start + Span::from_secs(second);
///     engine.measure(&Measurement {
///         source, at, received: at + Span::from_millis(5),
///         utc: Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(second),
///         delay: Span::from_millis(10), root_delay: Span::ZERO, root_dispersion: Span::from_micros(1),
///         stratum: 1, leap: Leap::None, stamps: Stamps::Kernel,
///     });
/// }
/// let reading = engine.solution(start + Span::from_secs(10)).reading(start + Span::from_secs(10));
/// assert_eq!(reading.state, State::Synced);
/// assert!(reading.max_error() < Span::from_millis(7));
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    started: RawInstant,
    /// Nominal time: true time was about `origin_utc` at `origin_raw`; positions are what truth is beyond that.
    origin: Option<(RawInstant, Timestamp)>,
    sources: BTreeMap<SourceId, Source>,
    next_id: u32,
    estimator: Asked,
    past: Past,
    wander: Wander,
    /// While the rate is learned from the first packets.
    learning: Option<RateLimits>,
    /// To when all sources' [`Symmetry`] has been carried.
    carried: RawInstant,
    fusion: Fusion,
    /// Where the newest majority saw true time, and when.
    majority: Option<(RawInstant, Interval)>,
    last_trusted: Option<RawInstant>,
    trusted_count: u64,
    predictions: Predictions,
    /// Polls are at their shortest until then, and grow afterwards.
    eager_until: RawInstant,
    ever_synced: bool,
    state: (State, Reason),
    disruptions: u32,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug)]
struct Source {
    name: String,
    role: Role,
    bound: Option<SourceBound>,
    doubt: Option<Doubt>,
    symmetry: Symmetry,
    newest: Option<Measurement>,
    verdict: Verdict,
    measurements: u64,
    contradictions: u64,
    /// How often it is polled, where that is less often than the engine wishes.
    interval: Span,
}

impl Source {
    /// Takes in what a measurement says, and tells whether that contradicts what was said before. The word of one of
    /// several sources is its newest; of the only one there are two then, until the next.
    fn hear(
        &mut self,
        said: SourceBound,
        envelope: &Envelope,
        alone: bool,
        likely: Option<Interval>,
    ) -> bool {
        let known = self.bound.map(|b| b.carried_to(said.at, envelope));
        let doubt = self.doubt.take().filter(|_| alone);
        let credible = |both: &SourceBound| likely.is_none_or(|likely| both.interval.overlaps(&likely));
        let (bound, contradiction) = match (doubt, known.map(|k| (k, k.and(&said).filter(credible)))) {
            (Some(doubt), _) => {
                let (bound, left) = doubt.settled(&said, envelope);
                self.doubt = left;
                (bound, false)
            }
            (None, Some((_, Some(both)))) => (both, false),
            (None, Some((known, None))) if alone => {
                let doubt = Doubt::new(known, said);
                self.doubt = Some(doubt);
                (doubt.bound(), true)
            }
            (None, known) => (said, known.is_some()),
        };
        self.bound = Some(bound);
        contradiction
    }

    /// Whether it has a say.
    fn asked(&self) -> bool {
        !self.role.noselect
    }
}

impl Engine {
    /// Events kept for a caller that does not fetch them.
    const EVENTS: usize = 256;
    /// Trusted measurements before the first synced reading: one burst.
    const FIRST_MEASUREMENTS: u64 = 4;
    /// So many standard deviations from the estimate surprise it.
    const SURPRISE: i64 = 6;
    /// How long sources that have never answered can keep the others waiting.
    const GATHERING: Span = Span::from_secs(8);

    /// An engine that has measured nothing yet, at raw instant `now`.
    pub fn new(settings: Settings, now: RawInstant) -> Engine {
        Engine {
            eager_until: now + settings.warmup,
            fusion: Fusion::new(settings.forecast_threshold),
            settings,
            started: now,
            origin: None,
            sources: BTreeMap::new(),
            next_id: 0,
            estimator: Asked::default(),
            past: Past::default(),
            wander: Wander::new(),
            learning: Some(RateLimits::new()),
            carried: now,
            majority: None,
            last_trusted: None,
            trusted_count: 0,
            predictions: Predictions::default(),
            ever_synced: false,
            state: (State::Warmup, Reason::NoMeasurement),
            disruptions: 0,
            events: VecDeque::new(),
        }
    }

    /// Makes a source known; from now on it counts towards the majority as soon as it has answered.
    pub fn add_source(&mut self, name: impl Into<String>) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id += 1;
        let source = Source {
            name: name.into(),
            role: Role::default(),
            bound: None,
            doubt: None,
            symmetry: Symmetry::default(),
            newest: None,
            verdict: Verdict::Unmeasured,
            measurements: 0,
            contradictions: 0,
            interval: Span::ZERO,
        };
        self.sources.insert(id, source);
        id
    }

    /// Says what the word of a source counts for; to be called before the source's first measurement.
    pub fn set_role(&mut self, id: SourceId, role: Role) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.role = role;
            self.estimator.change().prefer(id, role.prefer);
        }
    }

    /// Tells how often a source is polled in fact: a server may ask for fewer requests than
    /// [`poll_interval`](Engine::poll_interval) wishes, and is not silent for that.
    pub fn polled_every(&mut self, id: SourceId, interval: Span) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.interval = interval;
        }
    }

    /// Forgets a source and everything it said.
    pub fn remove_source(&mut self, id: SourceId) {
        if self.sources.remove(&id).is_some() {
            self.estimator.change().forget_source(id);
        }
    }

    /// Takes in a measurement. One of an unknown source, or older than the source's newest, is ignored.
    pub fn measure(&mut self, m: &Measurement) {
        let envelope = self.envelope(m.received);
        self.carry(m.received);
        let alone = self.sources.iter().all(|(id, s)| *id == m.source || !s.asked() || s.bound.is_none());
        let likely = self.likely(m.received).filter(|_| alone);
        let Some(source) = self.sources.get_mut(&m.source) else { return };
        let (origin_raw, origin_utc) = *self.origin.get_or_insert((m.at, m.utc));
        if source.newest.is_some_and(|newest| m.received < newest.received) {
            return;
        }
        let position = (m.utc - origin_utc) - (m.at - origin_raw);
        let said = SourceBound::of(m, position).carried_to(m.received, &envelope);
        if self.settings.asymmetry > 0 {
            source.symmetry.observe(m, said, self.settings.asymmetry);
        }
        let contradiction = source.hear(said, &envelope, alone, likely);
        let doubtful = contradiction && source.doubt.is_some();
        source.newest = Some(*m);
        source.measurements += 1;
        if contradiction {
            source.contradictions += 1;
            let stepped = Event::SourceStepped { source: m.source, name: source.name.clone() };
            self.push_event(stepped);
        }
        self.select(m.received);
        if doubtful {
            self.poll_eagerly(m.received);
        } else if self.sources[&m.source].verdict == Verdict::Trusted && self.teaches(m.source) {
            if let Some((utc, variance)) = self.estimator.estimator.without_path(m) {
                self.fusion.judge(m.at, utc, variance * 1e18, m.received);
                self.compare(m, utc);
            }
            self.estimator.change().observe(m);
            self.learn_limits(m);
            let learned = &self.estimator.estimator;
            if let (Some((utc, _)), Some((own, common))) = (learned.without_path(m), learned.variances(m)) {
                self.past.observe(m.at, utc, own, common);
            }
            self.last_trusted = Some(m.received);
            self.look_out(m.received);
            self.trusted_count += 1;
            if let Some(estimate) = self.estimator.estimate(m.received)
                && estimate.rate_sigma < Rate::from_ppm(0.5)
            {
                self.wander.observe(m.received, estimate.rate);
            }
        }
        self.advance(m.received);
    }

    /// Where the estimate says that truth is at `now`, on the nominal scale, if a measurement is not to surprise it.
    fn likely(&mut self, now: RawInstant) -> Option<Interval> {
        let (origin_raw, origin_utc) = self.origin?;
        let estimate = self.estimator.estimate(now)?;
        let position = (estimate.utc - origin_utc) - (now - origin_raw);
        let far = estimate.variance.sigma(Span::ZERO).times(Engine::SURPRISE);
        Some(Interval { lo: position - far, hi: position + far })
    }

    /// Lets a measurement limit the rate, until the estimator's is known so well.
    fn learn_limits(&mut self, m: &Measurement) {
        let Some(limits) = &mut self.learning else { return };
        limits.observe(m);
        if self.estimator.estimate(m.received).is_some_and(|learned| limits.have_served(learned.rate)) {
            self.learning = None;
        }
    }

    /// Counts whether a measurement is where it was foretold; `utc` is what it says once its path's offset is taken off.
    fn compare(&mut self, m: &Measurement, utc: Timestamp) {
        let Some(estimate) = self.estimator.estimate(m.received) else { return };
        let Some((noise, _)) = self.estimator.estimator.variances(m) else { return };
        let fused = self.correction(m.received);
        let back = m.received - m.at;
        let foretold = estimate.utc - back - estimate.rate.over(back);
        let error = (utc - foretold).as_nanos() as f64 - fused.offset;
        let variance = estimate.variance.0[0] * fused.remains + noise * 1e18;
        self.predictions.count(error / variance.sqrt(), estimate.levels);
    }

    /// The machine's clock was disturbed. What the raw clock no longer vouches for is forgotten.
    pub fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.push_event(Event::Disrupted(disruption));
        if !disruption.disturbs_raw_clock() {
            return;
        }
        if disruption == Disruption::Migrated {
            // Another oscillator: what was learned of the old one would be a lie.
            self.forget_rate();
            self.fusion.begin_anew();
        }
        self.forget_time(now);
        self.advance(now);
    }

    /// Lets time pass: the state may fall without any measurement. Called by [`Engine::solution`] too.
    pub fn advance(&mut self, now: RawInstant) {
        let state = self.judge(now);
        if state != self.state {
            if state.0 == State::Synced && self.state.0 == State::Holdover {
                self.poll_eagerly(now);
            }
            self.push_event(Event::StateChanged { from: self.state.0, to: state.0, reason: state.1 });
            self.ever_synced |= state.0 == State::Synced;
            self.state = state;
        }
    }

    /// True time as a function of the raw clock, as known at `now`.
    pub fn solution(&mut self, now: RawInstant) -> Solution {
        self.advance(now);
        let (state, reason) = self.state;
        let holdover_at = now + self.settings.publish_interval.times(4);
        let unsynced_at = now + self.settings.publish_interval.times(30);
        let disruptions = self.disruptions;
        let (Some(region), Some((origin_raw, origin_utc))) = (self.region(now), self.origin) else {
            let unknown = Solution::unknown(now, state, reason);
            return Solution { holdover_at, unsynced_at, disruptions, ..unknown };
        };
        let nominal = origin_utc + (now - origin_raw);
        let (earliest, latest) = (nominal + region.preferred.lo, nominal + region.preferred.hi);
        let mut estimate = self.estimator.estimate(now).unwrap_or_else(|| middle_of(earliest, latest, now));
        let growth = self.envelope_of(&estimate).tolerance;
        let fused = self.correction(now);
        estimate.utc = estimate.utc + Span::from_nanos(fused.offset.round() as i64);
        estimate.rate = Rate::from_f64(estimate.rate.as_f64() + fused.rate * 1e-9);
        estimate.variance.0[0] *= fused.remains;
        // What lies outside the bound is wrong for certain, by at least the distance.
        let utc = estimate.utc.clamp(earliest, latest);
        let shift = (utc - estimate.utc).as_nanos() as f64;
        let mut variance = estimate.variance;
        variance.0[0] += shift * shift;
        Solution {
            at: now,
            utc,
            rate: estimate.rate,
            early: utc - earliest,
            late: latest - utc,
            narrow: self
                .narrow(now)
                .map(|narrow| sides(narrow, utc - nominal, [utc - earliest, latest - utc])),
            // The bound is the bank's: it runs at the bank's rate, however the answer runs inside of it.
            bound_growth: Rate::from_f64(growth.as_f64() + fused.rate.abs() * 1e-9),
            variance,
            levels: estimate.levels,
            state,
            reason,
            holdover_at,
            unsynced_at,
            disruptions,
            leap: self.leap(),
        }
    }

    /// How long to wait between two polls of a source: shortest in warm-up and after disturbances, then growing with
    /// the quiet time until the longest is reached.
    pub fn poll_interval(&self, now: RawInstant) -> Span {
        let quiet = (now - self.eager_until).max(Span::ZERO);
        Span::from_nanos(quiet.as_nanos() / 8).min(self.settings.max_poll).max(self.settings.min_poll)
    }

    /// The oldest event that was not fetched yet. Beyond 256 the oldest are dropped.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The state of the newest [`advance`](Engine::advance), with its reason.
    pub fn state(&self) -> (State, Reason) {
        self.state
    }

    /// Share of the warm-up that has passed, 0–1: until then polls are frequent and the drift is being learned.
    pub fn warmup_progress(&self, now: RawInstant) -> f64 {
        let whole = self.settings.warmup.as_secs_f64();
        if whole <= 0.0 { 1.0 } else { ((now - self.started).as_secs_f64() / whole).clamp(0.0, 1.0) }
    }

    /// Measurements that went into the estimate so far.
    pub fn trusted_measurements(&self) -> u64 {
        self.trusted_count
    }

    /// How often the calibrated interval held what was measured later.
    pub fn predictions(&self) -> Predictions {
        self.predictions
    }

    /// The newest measurement that went into the estimate.
    pub fn last_trusted(&self) -> Option<RawInstant> {
        self.last_trusted
    }

    /// The estimator behind the solution, for its frequency and what it learned of the paths.
    pub fn estimator(&self) -> &Estimator {
        &self.estimator.estimator
    }

    /// What was measured in the last hours, since the last disruption.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Takes over what an earlier run had learned; to be called before the first measurement.
    pub fn restore(&mut self, saved: &Saved) {
        self.replace_estimator(Estimator::restore(saved));
        self.learning = None;
    }

    /// Tells the smallest round trip that a source's path had in an earlier run; before the source's first measurement.
    pub fn expect_floor(&mut self, source: SourceId, floor: Span, now: RawInstant) {
        self.estimator.change().expect_floor(source, floor, now);
    }

    /// Standard deviation of the estimated rate; `None` before the first trusted measurement.
    pub fn rate_sigma(&mut self, now: RawInstant) -> Option<Rate> {
        self.estimator.estimate(now).map(|estimate| estimate.rate_sigma)
    }

    /// Every source with what is known of it at `now`, in the order in which they were added.
    pub fn sources(&mut self, now: RawInstant) -> Vec<SourceStatus> {
        let nominal = self.origin.map(|(raw, utc)| utc + (now - raw));
        let utc = self.estimator.estimate(now).map(|e| e.utc);
        let envelope = self.envelope(now);
        self.sources
            .iter()
            .map(|(&id, source)| {
                let bound = source.bound.map(|b| b.carried_to(now, &envelope));
                let explanation = bound.zip(nominal).map(|(b, nominal)| Explanation {
                    earliest: nominal + b.interval.lo,
                    latest: nominal + b.interval.hi,
                    low: b.low,
                    high: b.high,
                });
                let newest = source.newest;
                // One from before a disruption says nothing of time now.
                let comparable = newest.filter(|_| bound.is_some());
                SourceStatus {
                    id,
                    name: source.name.clone(),
                    role: source.role,
                    verdict: source.verdict,
                    measurements: source.measurements,
                    contradictions: source.contradictions,
                    newest,
                    newest_error: comparable
                        .zip(utc)
                        .map(|(m, utc)| m.utc + (now - m.at) + envelope.rate.over(now - m.at) - utc),
                    bound: explanation,
                }
            })
            .collect()
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() == Engine::EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Another estimator, which knows nothing of what the old one had learned, but whom to prefer.
    fn replace_estimator(&mut self, estimator: Estimator) {
        *self.estimator.change() = estimator;
        for (&id, source) in &self.sources {
            self.estimator.estimator.prefer(id, source.role.prefer);
        }
    }

    /// Time must be measured anew; the frequency and the paths may be as before.
    fn forget_time(&mut self, now: RawInstant) {
        self.estimate_anew(now);
        self.origin = None;
        self.majority = None;
        self.last_trusted = None;
        for source in self.sources.values_mut() {
            (source.bound, source.doubt) = (None, None);
            source.symmetry.forget_time();
            source.verdict = Verdict::Unmeasured;
        }
    }

    /// Nothing that was learned of the oscillator holds.
    fn forget_rate(&mut self) {
        self.replace_estimator(Estimator::default());
        self.wander = Wander::new();
        self.learning = Some(RateLimits::new());
    }

    /// What the estimator says of time is void, and readings across this instant do not compare.
    fn estimate_anew(&mut self, now: RawInstant) {
        self.disruptions += 1;
        // No earlier measurement compares with a later one.
        self.learning = self.learning.map(|_| RateLimits::new());
        self.trusted_count = 0;
        self.estimator.change().disrupted();
        self.fusion.forget_forecasts(now);
        self.past.forget();
        self.poll_eagerly(now);
    }

    /// Polls at the shortest interval for a while: there is something to catch up with.
    fn poll_eagerly(&mut self, now: RawInstant) {
        self.eager_until = self.eager_until.max(now + self.settings.warmup.min(Span::from_secs(60)));
    }
}

/// The estimator with its newest answer: each measurement and each solution asks it several times about one instant.
#[derive(Clone, Debug, Default)]
struct Asked {
    estimator: Estimator,
    newest: Option<(RawInstant, Option<Estimate>)>,
}

impl Asked {
    fn estimate(&mut self, at: RawInstant) -> Option<Estimate> {
        match self.newest {
            Some((asked, answer)) if asked == at => answer,
            _ => self.newest.insert((at, self.estimator.estimate(at))).1,
        }
    }

    /// The estimator itself, to teach it; its answers will be others.
    fn change(&mut self) -> &mut Estimator {
        self.newest = None;
        &mut self.estimator
    }
}

/// What is known without any trusted measurement: the middle of the bound, anything inside being equally likely.
fn middle_of(earliest: Timestamp, latest: Timestamp, at: RawInstant) -> Estimate {
    let width = (latest - earliest).as_nanos() as f64;
    Estimate {
        at,
        utc: earliest + (latest - earliest).half(),
        rate: Rate::ZERO,
        rate_sigma: Rate::from_ppm(500.0),
        variance: Variance([width * width / 12.0, 0.0, 500e3 * 500e3, 0.0]),
        levels: Levels::NORMAL,
    }
}
