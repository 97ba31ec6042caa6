//! The engine: believes the majority of the sources, feeds the estimator with what they measure, and says what time it
//! is, how wrong that may be, and whether to trust it.
//!
//! Measurements, silences, disruptions and instants come in; a [`Solution`], poll intervals and [`Event`]s go out. The
//! engine reads no clock: "now" is always an argument, and never earlier than the newest measurement.

use crate::bound::{Doubt, Envelope, RateLimits, SourceBound, Wander};
use crate::estimate::{Estimate, Estimator, Saved};
use crate::fusion::{BankAnswer, Correction, Fusion};
use crate::select::{Interval, Region, Role, Witness};
use crate::status::{Explanation, SourceStatus, Verdict};
use crate::symmetry::{Symmetry, Testimony};
use crate::{
    Assumption, Basis, Conditions, Disruption, Event, Expected, Forecast, Implausible, Leap, Levels,
    Measurement, Member, MemberStatus, Narrow, Outlook, Past, Predictions, Prospect, Rate, RawInstant,
    Reason, Settings, Solution, SourceId, Span, State, Timestamp, Variance,
};
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
            narrow: self.narrow(now).map(|(region, assumes)| {
                let Narrow { early, late, .. } = sides(region, utc - nominal, assumes);
                Narrow { early: early.min(utc - earliest), late: late.min(latest - utc), assumes }
            }),
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

    /// What a forecast is to be made from, and is measured against: the engine's own line through the newest trusted
    /// measurement, and what the bank foresees at these ages, in ascending order. `None` before the first.
    pub fn outlook(&mut self, ages: impl IntoIterator<Item = Span>) -> Option<Outlook> {
        let at = self.last_trusted?;
        let origin = self.estimator.estimator.estimate(at)?;
        let mut outlook = Outlook { at, utc: origin.utc, rate: origin.rate, bank: Vec::new() };
        for age in ages {
            let then = self.estimator.estimator.estimate(at + age)?;
            outlook.bank.push((age, then.utc - outlook.line(age)));
        }
        Some(outlook)
    }

    /// What a model may see to forecast `horizon` steps from `context` of them. `None` before the first trusted
    /// measurement.
    ///
    /// # Panics
    /// If `step` is not positive.
    pub fn prospect(&mut self, step: Span, context: usize, horizon: usize) -> Option<Prospect> {
        let ages = (1..=horizon).map(|i| step.times(i as i64));
        let outlook = self.outlook(ages.clone())?;
        let (line, parts) = (outlook.rate.as_f64(), 1e9);
        let series = self.past.series(step, context, outlook.at);
        let stated = |age| self.estimator.estimator.estimate(outlook.at + age);
        let bank_sigmas = ages.map(|age| stated(age).map_or(f64::NAN, |e| e.variance.0[0].sqrt())).collect();
        Some(Prospect {
            rates: series.rates.iter().map(|rate| (rate - line) * parts).collect(),
            rate_sigmas: series.sigmas.iter().map(|sigma| sigma * parts).collect(),
            bank_sigmas,
            outlook,
        })
    }

    /// Takes in what a member forecasts. It has a share in the [`solution`](Engine::solution) as far as earlier
    /// forecasts of that member were better than the bank's, by measurements that came after them; the bound is made
    /// without it.
    ///
    /// # Errors
    /// If it is no forecast of this clock; then it is as if it had not been made.
    pub fn foresee(&mut self, forecast: &Forecast) -> Result<(), Implausible> {
        if self.last_trusted.is_none_or(|newest| forecast.outlook.at > newest) {
            return Err(Implausible::Origin);
        }
        let estimator = &self.estimator.estimator;
        let bank = |age| estimator.uncertainty(forecast.outlook.at + age);
        self.fusion.foresee(forecast, self.settings.frequency_tolerance, bank)
    }

    /// Believes so much of a member's forecasts until measurements that come after them say otherwise.
    pub fn expect(&mut self, member: Member, expected: &[Expected]) {
        self.fusion.expect(member, expected);
    }

    /// Takes in the machine's conditions; the frequency is regressed on them, as one more
    /// [`Member`](crate::Member).
    pub fn sense(&mut self, conditions: &Conditions) {
        self.fusion.sense(conditions);
    }

    /// What the answer at `now` is made of.
    pub fn basis(&mut self, now: RawInstant) -> Basis {
        if self.last_trusted.is_none() {
            return Basis::System;
        }
        let by_members = self.correction(now).basis();
        by_members.unwrap_or(match self.state.0 {
            State::Holdover => Basis::Holdover,
            _ if self.estimator.estimator.saved().is_none() => Basis::Ntp,
            _ => Basis::Bank,
        })
    }

    /// How every member stands that forecasts beside the bank.
    pub fn members(&mut self, now: RawInstant) -> Vec<MemberStatus> {
        let bank = self.bank(now);
        let correction = self.corrected(now, bank.as_ref());
        self.fusion.members(&correction, bank.as_ref())
    }

    fn correction(&mut self, now: RawInstant) -> Correction {
        let bank = self.bank(now);
        self.corrected(now, bank.as_ref())
    }

    fn corrected(&self, now: RawInstant, bank: Option<&BankAnswer>) -> Correction {
        match (self.last_trusted, bank) {
            (Some(newest), Some(bank)) => self.fusion.correction(now, newest, bank),
            _ => Correction::NONE,
        }
    }

    fn bank(&mut self, now: RawInstant) -> Option<BankAnswer> {
        let estimate = self.estimator.estimate(now)?;
        let steady = self.estimator.estimator.steady();
        let sigma = estimate.variance.0[0].sqrt();
        Some(BankAnswer { utc: estimate.utc, rate: estimate.rate, sigma, steady })
    }

    /// Tells the fusion where the engine stands, as often as it needs that.
    fn look_out(&mut self, now: RawInstant) {
        if self.fusion.wants_outlook(now)
            && let Some(outlook) = self.outlook(Fusion::horizons())
        {
            self.fusion.look_out(outlook);
        }
        if self.fusion.wants_lines()
            && let Some(line) = self.outlook([])
        {
            self.fusion.measured(line);
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

    fn envelope(&mut self, now: RawInstant) -> Envelope {
        match self.estimator.estimate(now) {
            Some(estimate) => self.envelope_of(&estimate),
            None => Envelope { rate: Rate::ZERO, tolerance: self.settings.frequency_tolerance },
        }
    }

    fn envelope_of(&self, estimate: &Estimate) -> Envelope {
        let statistical = 4.0 * estimate.rate_sigma.as_f64() + self.wander.tolerance();
        let unlearned = self.learning.map_or(0.0, |limits| limits.distance(estimate.rate));
        let tolerance = Rate::from_f64(statistical.max(unlearned));
        if tolerance < self.settings.frequency_tolerance {
            Envelope { rate: estimate.rate, tolerance }
        } else {
            Envelope { rate: Rate::ZERO, tolerance: self.settings.frequency_tolerance }
        }
    }

    /// As [`envelope`](Engine::envelope), for a clock whose frequency does not jump.
    fn closely(&mut self, now: RawInstant) -> Envelope {
        let plain = self.envelope(now);
        let (Some(estimate), Some(last)) = (self.estimator.estimate(now), self.last_trusted) else {
            return plain;
        };
        // Halfway between then and now: what has come about grows with the time.
        let idle = ((self.carried - last).max(Span::ZERO) + (now - last)).half();
        let tolerance = Rate::from_f64(4.0 * estimate.rate_sigma.as_f64() + self.wander.gradual(idle));
        if tolerance < plain.tolerance { Envelope { rate: estimate.rate, tolerance } } else { plain }
    }

    fn carry(&mut self, now: RawInstant) {
        let closely = self.closely(now);
        self.sources.values_mut().for_each(|s| s.symmetry.carry(now, &closely));
        self.carried = now;
    }

    /// Where true time is at `now` on the nominal scale if the paths are symmetric; `None` where that says no more than
    /// the bound does.
    fn narrow(&mut self, now: RawInstant) -> Option<(Interval, Assumption)> {
        if self.settings.asymmetry == 0 {
            return None;
        }
        let region = self.region(now)?.preferred;
        let (envelope, closely) = (self.envelope(now), self.closely(now));
        let testimony = |s: &Source| {
            let plain = s.bound?.carried_to(now, &envelope).interval;
            Some(s.symmetry.testimony(now, &closely, plain))
        };
        let asked = self.sources.iter().filter(|(id, s)| s.asked() && self.teaches(**id));
        let all: Vec<Testimony> = asked.filter_map(|(_, s)| testimony(s)).collect();
        let (narrow, asymmetry) = Testimony::majority(&all, self.settings.asymmetry)?;
        // Where a preferred source says more than symmetry does, both hold; where they contradict each other, neither.
        let narrow = narrow.and(&region)?;
        (narrow != region).then_some((narrow, Assumption::symmetry_within(asymmetry)?))
    }

    /// What the sources say at `now`.
    fn witnesses(&self, now: RawInstant, envelope: &Envelope) -> Vec<(SourceId, Witness)> {
        let witness = |s: &Source| {
            let interval = s.bound?.carried_to(now, envelope).interval;
            Some(Witness { interval, role: s.role })
        };
        self.sources.iter().filter_map(|(&id, s)| Some((id, witness(s)?))).collect()
    }

    /// Where true time is at `now` on the nominal scale.
    fn region(&mut self, now: RawInstant) -> Option<Region> {
        let envelope = self.envelope(now);
        let witnesses: Vec<Witness> = self.witnesses(now, &envelope).into_iter().map(|(_, w)| w).collect();
        Region::of(&witnesses)
    }

    /// Renews every source's verdict. A majority that has moved to where it cannot have been means that the clock
    /// jumped under us.
    fn select(&mut self, now: RawInstant) {
        let region = self.region(now);
        let majority = region.is_some_and(|region| region.majority);
        let envelope = self.envelope(now);
        // By what the majority agrees on: a preferred source that comes or goes is no jump.
        let doubtful = self.sources.values().any(|s| s.doubt.is_some());
        if let Some(region) = region.filter(|r| r.majority && !doubtful).map(|r| r.agreed)
            && let Some((then, before)) = self.majority.replace((now, region))
        {
            let (moved, widened) = (envelope.rate.over(now - then), envelope.tolerance.over(now - then));
            let before = Interval { lo: before.lo + moved - widened, hi: before.hi + moved + widened };
            if !region.overlaps(&before) {
                let by = Span::from_nanos(((region.lo + region.hi) - (before.lo + before.hi)).as_nanos() / 2);
                self.push_event(Event::MajorityMoved { by });
                // A rate that was learned wrong explains a small one as well as a step, and would bring the next.
                if by.abs() <= self.settings.frequency_tolerance.over(now - then) {
                    self.forget_rate();
                }
                self.estimate_anew(now);
            }
        }
        for (id, Witness { interval, role }) in self.witnesses(now, &envelope) {
            let agrees = region.is_some_and(|region| interval.overlaps(&region.agreed));
            let verdict = match (majority, agrees) {
                _ if role.noselect => Verdict::Unselected,
                (false, _) => Verdict::NoMajority,
                (true, true) => Verdict::Trusted,
                (true, false) => Verdict::Falseticker,
            };
            let source = self.sources.get_mut(&id).expect("intervals come from the sources");
            if source.verdict != verdict {
                let name = source.name.clone();
                source.verdict = verdict;
                self.push_event(Event::VerdictChanged { source: id, name, verdict });
            }
        }
    }

    fn judge(&mut self, now: RawInstant) -> (State, Reason) {
        let Some(Region { preferred: region, majority, .. }) = self.region(now) else {
            let disrupted = self.disruptions > 0;
            let waited = now - self.started >= self.settings.warmup || self.ever_synced;
            let reason = match (self.sources.is_empty(), disrupted) {
                (true, _) => Reason::NoSources,
                (false, true) => Reason::Disrupted,
                (false, false) => Reason::NoMeasurement,
            };
            return (if waited || disrupted { State::Unsynced } else { State::Warmup }, reason);
        };
        if !majority {
            return (State::Unsynced, Reason::NoMajority);
        }
        if (region.hi - region.lo).half() > self.settings.max_bound {
            return (State::Unsynced, Reason::BoundTooWide);
        }
        let Some(last) = self.last_trusted else { return (State::Warmup, Reason::Gathering) };
        if self.lacks_required(now) {
            return (State::Unsynced, Reason::RequiredSilent);
        }
        let measured = self.sources.values().filter(|s| s.asked() && s.bound.is_some());
        let interval = measured.map(|s| s.interval).min().unwrap_or_default().max(self.poll_interval(now));
        let silent = now - last > interval.times(4) + self.settings.timeout;
        let heard = self.sources.values().filter(|s| s.asked() && s.bound.is_some()).count();
        let gathered = heard == self.sources.values().filter(|s| s.asked()).count()
            || now - self.started > Engine::GATHERING;
        match (self.trusted_count >= Engine::FIRST_MEASUREMENTS && gathered, silent, heard) {
            (_, true, _) if self.ever_synced => (State::Holdover, Reason::SourcesSilent),
            (false, _, _) | (_, true, _) => (State::Warmup, Reason::Gathering),
            (true, false, 1) => (State::Synced, Reason::SingleSource),
            (true, false, _) => (State::Synced, Reason::Agreement),
        }
    }

    /// Whether the estimator learns from a source: where some are trusted the frequency is theirs as well, or a majority of
    /// others could take the bound away by drifting.
    fn teaches(&self, id: SourceId) -> bool {
        self.sources[&id].role.trust || !self.sources.values().any(|s| s.asked() && s.role.trust)
    }

    /// Whether sources are required, and none of them is believed and answers.
    fn lacks_required(&self, now: RawInstant) -> bool {
        let mut required = self.sources.values().filter(|s| s.role.require).peekable();
        let patience = |s: &Source| s.interval.max(self.poll_interval(now)).times(8) + self.settings.timeout;
        let answers = |s: &Source| s.newest.is_some_and(|newest| now - newest.received <= patience(s));
        required.peek().is_some() && !required.any(|s| s.verdict == Verdict::Trusted && answers(s))
    }

    fn leap(&self) -> Leap {
        let trusted: Vec<Leap> = self
            .sources
            .values()
            .filter(|s| s.verdict == Verdict::Trusted)
            .filter_map(|s| s.newest.map(|m| m.leap))
            .collect();
        [Leap::Insert, Leap::Delete]
            .into_iter()
            .find(|leap| trusted.iter().filter(|l| *l == leap).count() * 2 > trusted.len())
            .unwrap_or(Leap::None)
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

/// The sides of the narrow bound around an estimate. Where that lies outside, one of the two is wrong, by at least the
/// distance, and nobody knows which.
fn sides(region: Interval, estimate: Span, assumes: Assumption) -> Narrow {
    let outside = (region.lo - estimate).max(estimate - region.hi).max(Span::ZERO);
    Narrow { early: estimate - region.lo + outside, late: region.hi - estimate + outside, assumes }
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
