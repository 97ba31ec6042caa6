//! Fusion: what members beside the filter bank forecast, how good they turned out to be, and what of it is believed.
//!
//! In come [`Forecast`]s and, later, measurements that were not known when they were made. Both the member's forecast
//! and the bank's own from the same [`Outlook`] are judged by them, horizon by horizon. Out goes a correction of the
//! bank's answer, `weight · (member − bank)` at the age of the newest measurement, which is nothing at age zero, and
//! nothing for a member that has not been better than the bank. The bound is made without any of it.

mod environment;
mod skill;

use crate::{Rate, RawInstant, Span, Timestamp};
use environment::Environment;
pub use environment::{CHANNELS, Conditions};
use skill::{Blend, Known, Prior, Skill};
use std::collections::VecDeque;
use std::fmt;

/// Who forecasts beside the filter bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// The model for the next seconds.
    ShortTerm,
    /// The model for the next minutes.
    LongTerm,
    /// The regression of the frequency on the machine's [`Conditions`], which the engine makes by itself.
    Environment,
}

impl Member {
    /// All of them, in the order of every table.
    pub const ALL: [Member; MEMBERS] = [Member::ShortTerm, Member::LongTerm, Member::Environment];

    /// Its name in configuration and views.
    pub fn name(self) -> &'static str {
        match self {
            Member::ShortTerm => "short_term",
            Member::LongTerm => "long_term",
            Member::Environment => "environment",
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

const MEMBERS: usize = 3;

/// What corrected time is made of at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Nothing is known: the system clock as it is.
    System,
    /// The measurements alone: the drift is not known yet.
    Ntp,
    /// The filter bank.
    Bank,
    /// The filter bank with a share of the model for the next seconds.
    ShortTerm,
    /// The filter bank with a share of the model for the next minutes.
    LongTerm,
    /// The filter bank with shares of several members, or of the machine's conditions.
    Fusion,
    /// The filter bank, carried on while the sources are silent.
    Holdover,
}

impl Basis {
    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Basis::System => "system",
            Basis::Ntp => "ntp",
            Basis::Bank => "bank",
            Basis::ShortTerm => "short_term",
            Basis::LongTerm => "long_term",
            Basis::Fusion => "fusion",
            Basis::Holdover => "holdover",
        }
    }
}

impl Basis {
    /// The one with this name.
    pub fn named(name: &str) -> Option<Basis> {
        use Basis::{Bank, Fusion, Holdover, LongTerm, Ntp, ShortTerm, System};
        [System, Ntp, Bank, ShortTerm, LongTerm, Fusion, Holdover].into_iter().find(|b| b.name() == name)
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The engine's own line through the newest measurement, and what the bank foresees beyond it: what a forecast is
/// measured against.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// When the newest measurement became known: the origin of the line. Nothing after it is known.
    pub at: RawInstant,
    /// Corrected time then.
    pub utc: Timestamp,
    /// The rate of the line.
    pub rate: Rate,
    /// What the bank foresees beyond the line: ages in ascending order, each with how much further true time will be.
    pub bank: Vec<(Span, Span)>,
}

impl Outlook {
    pub(crate) fn line(&self, age: Span) -> Timestamp {
        self.utc + age + self.rate.over(age)
    }

    /// What the bank foresees beyond the line at an age in s, in ns.
    fn bank_at(&self, age: f64) -> f64 {
        let after = self.bank.partition_point(|(at, _)| at.as_secs_f64() < age);
        let near = self.bank[after.saturating_sub(1)..].iter().take(2).map(|&(at, offset)| point(at, offset));
        curve(&near.collect::<Vec<_>>(), age)
    }
}

/// What a member foresees at one age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Time since the outlook's origin.
    pub age: Span,
    /// How much further than the outlook's line true time will be then.
    pub offset: Span,
    /// The standard deviation that the member states; `None` from one that states none. The wider it is beside the
    /// bank's, the less is [expected](Expected) of the member.
    pub sigma: Option<Span>,
}

/// What a member foresees, from an outlook on. It is an input with an instant like a measurement, and never evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Who foresees it.
    pub member: Member,
    /// What it was made from.
    pub outlook: Outlook,
    /// At least one, in ascending order of age.
    pub ahead: Vec<Ahead>,
}

/// Why a forecast was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implausible {
    /// It says nothing, its ages do not ascend, or there are more than 1024.
    Ages,
    /// Its clock would be off by more than any clock is: see [`Settings::frequency_tolerance`](crate::Settings).
    Offset,
    /// Its origin is later than the newest measurement, or before the last disruption.
    Origin,
}

impl fmt::Display for Implausible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Implausible::Ages => "it has no ages, or they do not ascend",
            Implausible::Offset => "it departs from the engine's line faster than any clock does",
            Implausible::Origin => "it was made from another time than the engine's",
        })
    }
}

impl std::error::Error for Implausible {}

/// How a member stands, for those who ask why.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberStatus {
    /// Who.
    pub member: Member,
    /// Its share in the answer at this instant, 0–1.
    pub weight: f64,
    /// What it changed in the answer at this instant.
    pub correction: Span,
    /// Why the weights are what they are.
    pub standing: Standing,
    /// The origin of its newest forecast.
    pub newest: Option<RawInstant>,
    /// How good it is, at every horizon that has been judged.
    pub horizons: Vec<HorizonStatus>,
}

/// How good a member is at one horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HorizonStatus {
    /// Age of the newest measurement.
    pub horizon: Span,
    /// What would be its share then, 0–1.
    pub weight: f64,
    /// The share of the bank's mean square error that the member's forecasts lack: 1 is perfect, 0 is as good as the
    /// bank, negative is worse. The noise of the judging measurements is in both, and makes small of the difference.
    pub skill: f64,
    /// Root mean square of what its forecasts and the judging measurements differ.
    pub error: Span,
    /// How many stretches of time, each twice as long as the horizon or longer, were judged.
    pub stretches: usize,
}

/// What is known of a member before its first forecast here, from worlds whose truth was known: at one horizon its best
/// share where the bank sees no oscillation, and how much that differs from world to world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Age of the newest measurement: one of those at which members are judged, else it has no effect.
    pub horizon: Span,
    /// The share, 0–1.
    pub share: f64,
    /// Standard deviation of the best share over the worlds.
    pub spread: f64,
}

/// Why a member's weights are what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not forecast anything.
    Silent,
    /// Too little has been measured since its first forecast, but it was better than the bank elsewhere.
    Expected,
    /// Too little has been measured since its first forecast.
    Unproven,
    /// It has not been better than the bank at any horizon.
    NoBetter,
    /// It has been better than the bank at some horizon.
    Earned,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Standing::Silent => "no forecast yet",
            Standing::Expected => {
                "better than the bank in simulated worlds; too little has been measured here"
            }
            Standing::Unproven => "too little has been measured since its first forecasts",
            Standing::NoBetter => "no better than the bank, proven by later measurements, at any horizon",
            Standing::Earned => "better than the bank, proven by later measurements",
        })
    }
}

/// Ages of the newest measurement at which forecasts are judged, s.
const HORIZONS: [i64; 10] = [2, 5, 10, 30, 60, 150, 300, 600, 1200, 1800];
/// Forecasts kept of one member: half an hour of one each 15 s.
const KEPT: usize = 128;
/// Points of one forecast.
const POINTS: usize = 1024;
/// Where the bank is certain that the clock oscillates it has filters made for that, and a member that was made to
/// correct it has less to say: its expected share goes with this power of the chance that is left to all else.
const UNSTEADY: f64 = 0.35;
/// What is expected of a member falls from all to nothing while the standard deviation that it states grows from the first
/// to the second of these, in the bank's: it knows when it knows no more than the bank.
const SURE: [f64; 2] = [0.6, 1.4];
/// The least of that chance: evidence between filters is never taken to be worth more.
const DOUBT: f64 = 1e-12;
/// What the stretches of this horizon made of an expected share is known at the longer ones, whose stretches are few;
/// its place in [`HORIZONS`].
const TELLING: usize = 7;
/// A member that has only what was expected of it moves the answer by no more than so many of the bank's standard deviations.
const CREDIT: f64 = 1.5;

/// The forecasts and how they turned out.
#[derive(Clone, Debug)]
pub(crate) struct Fusion {
    kept: [VecDeque<Kept>; MEMBERS],
    /// The last disruption: outlooks from before are of another time.
    since: Option<RawInstant>,
    environment: Environment,
    skills: [Skill; HORIZONS.len()],
    /// A member whose calibrated standard deviation is larger has no say.
    threshold: f64,
}

/// A forecast as it is judged: all in nanoseconds over seconds of age.
#[derive(Clone, Debug)]
struct Kept {
    outlook: Outlook,
    deviations: Vec<(f64, f64)>,
    /// How much of an expected share is left at each of the [`HORIZONS`], 0–1.
    room: [f64; HORIZONS.len()],
}

/// The variances of the bank's answer at some age, ns².
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncertainty {
    pub(crate) all: f64,
    /// What the paths disagree, which no forecast of the clock can mend.
    pub(crate) paths: f64,
}

impl Uncertainty {
    /// How much of an expected share is left to a member that states this standard deviation, ns.
    fn room(&self, stated: Option<f64>) -> f64 {
        let [sure, unsure] = SURE;
        let certainty = stated.map_or(1.0, |sigma| (unsure - sigma / self.all.sqrt()) / (unsure - sure));
        certainty.clamp(0.0, 1.0) * (1.0 - self.paths / self.all).max(0.0)
    }
}

/// The bank's answer at an instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BankAnswer {
    pub(crate) utc: Timestamp,
    pub(crate) rate: Rate,
    /// Standard deviation, ns.
    pub(crate) sigma: f64,
    /// How likely the bank takes it to be that the clock does not oscillate, 0–1.
    pub(crate) steady: f64,
}

/// What is added to the bank's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Correction {
    /// ns.
    pub(crate) offset: f64,
    /// ns/s.
    pub(crate) rate: f64,
    /// The share of the bank's variance that remains, 0–1.
    pub(crate) remains: f64,
    /// ns, of each member.
    parts: [f64; MEMBERS],
    weights: [f64; MEMBERS],
}

impl Correction {
    pub(crate) const NONE: Correction =
        Correction { offset: 0.0, rate: 0.0, remains: 1.0, parts: [0.0; MEMBERS], weights: [0.0; MEMBERS] };

    /// Who has a share in it; `None` if nobody has.
    pub(crate) fn basis(&self) -> Option<Basis> {
        match self.weights.map(|w| w > 0.0) {
            [false, false, false] => None,
            [true, false, false] => Some(Basis::ShortTerm),
            [false, true, false] => Some(Basis::LongTerm),
            _ => Some(Basis::Fusion),
        }
    }
}

impl Fusion {
    pub(crate) fn new(threshold: Span) -> Fusion {
        Fusion {
            kept: std::array::from_fn(|_| VecDeque::new()),
            since: None,
            environment: Environment::default(),
            skills: HORIZONS.map(|h| Skill::new(h as f64)),
            threshold: threshold.as_nanos() as f64,
        }
    }

    /// The ages at which the bank's own forecast is needed to judge what the engine foresees by itself.
    pub(crate) fn horizons() -> impl Iterator<Item = Span> {
        HORIZONS.into_iter().map(Span::from_secs)
    }

    /// Nothing that was foreseen holds any more, nor what is still to come of earlier outlooks.
    pub(crate) fn forget_forecasts(&mut self, now: RawInstant) {
        self.since = Some(now);
        self.kept.iter_mut().for_each(VecDeque::clear);
        self.environment.forget_outlooks();
    }

    /// Believes so much of a member at these horizons until measurements say otherwise.
    pub(crate) fn expect(&mut self, member: Member, expected: &[Expected]) {
        for (skill, horizon) in self.skills.iter_mut().zip(HORIZONS) {
            if let Some(e) = expected.iter().find(|e| e.horizon == Span::from_secs(horizon)) {
                skill.expect(member as usize, Prior { share: e.share, spread: e.spread });
            }
        }
    }

    /// The clock is another one: nothing that was seen of the members holds, but what was known before does.
    pub(crate) fn begin_anew(&mut self) {
        let mut fresh = Fusion { threshold: self.threshold, ..Fusion::new(Span::ZERO) };
        for (skill, old) in fresh.skills.iter_mut().zip(&self.skills) {
            skill.expect_as(old);
        }
        *self = fresh;
    }

    /// Keeps a forecast to use it, and to judge it by measurements to come. `bank` says what the bank's answer may be
    /// wrong at an age of the forecast.
    pub(crate) fn foresee(
        &mut self,
        forecast: &Forecast,
        fastest: Rate,
        bank: impl Fn(Span) -> Uncertainty,
    ) -> Result<(), Implausible> {
        let Forecast { member, outlook, ahead } = forecast;
        let ages = || ahead.iter().map(|a| a.age);
        let ascend = ages().zip(ages().skip(1)).all(|(a, b)| a < b);
        if ahead.is_empty() || ahead.len() > POINTS || !ascend || ahead[0].age <= Span::ZERO {
            return Err(Implausible::Ages);
        }
        let departed = |(age, offset): (f64, f64)| (age, offset - outlook.bank_at(age));
        let deviations: Vec<(f64, f64)> = ahead.iter().map(|a| departed(point(a.age, a.offset))).collect();
        let fastest = fastest.as_f64() * 1e9;
        if deviations.iter().any(|(age, deviation)| deviation.abs() > fastest * age) {
            return Err(Implausible::Offset);
        }
        let kept = &mut self.kept[*member as usize];
        if self.since.is_some_and(|since| outlook.at < since) {
            return Err(Implausible::Origin);
        }
        if kept.back().is_some_and(|newest| newest.outlook.at > outlook.at) {
            return Err(Implausible::Origin);
        }
        // Of one origin the newest forecast is the member's word.
        if kept.back().is_some_and(|newest| newest.outlook.at == outlook.at) {
            kept.pop_back();
        }
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let sigmas = ahead.iter().map(|a| Some(point(a.age, a.sigma?))).collect::<Option<Vec<_>>>();
        let room = HORIZONS.map(|h| {
            let stated = sigmas.as_ref().map(|sigmas| curve(sigmas, h as f64));
            bank(Span::from_secs(h)).room(stated)
        });
        kept.push_back(Kept { outlook: outlook.clone(), deviations, room });
        Ok(())
    }

    /// Takes in the machine's conditions, which hold until the next.
    pub(crate) fn sense(&mut self, conditions: &Conditions) {
        self.environment.sense(conditions);
    }

    /// Whether the regression on the conditions wants an outlook, and with it the measured rate, at this instant.
    pub(crate) fn wants_outlook(&self, now: RawInstant) -> bool {
        self.environment.wants_outlook(now)
    }

    /// Gives the regression on the conditions what it asked for.
    pub(crate) fn look_out(&mut self, outlook: Outlook) {
        self.environment.look_out(outlook);
    }

    /// Judges what was foreseen by a measurement that has just become known: true time was `utc` at `at`, with a
    /// variance in ns². `now` orders the measurements.
    pub(crate) fn judge(&mut self, at: RawInstant, utc: Timestamp, variance: f64, now: RawInstant) {
        self.environment.learn(at, utc, variance);
        for (skill, horizon) in self.skills.iter_mut().zip(HORIZONS) {
            let horizon = horizon as f64;
            let mut samples = [None; MEMBERS];
            for (i, (kept, sample)) in self.kept.iter().zip(&mut samples).enumerate() {
                *sample = if i == Member::Environment as usize {
                    self.environment.judged(at, utc, horizon)
                } else {
                    judged(kept, at, utc, horizon)
                };
            }
            skill.observe(&samples, variance, now);
        }
    }

    /// Whether the engine's line is needed at every measurement.
    pub(crate) fn wants_lines(&self) -> bool {
        self.environment.knows()
    }

    /// A measurement went into the bank's estimate; the engine's line through it.
    pub(crate) fn measured(&mut self, line: Outlook) {
        self.environment.measured(line);
    }

    /// What the members add to the bank's answer and rate at `now`, the newest measurement being of `newest`.
    pub(crate) fn correction(&self, now: RawInstant, newest: RawInstant, bank: &BankAnswer) -> Correction {
        let deviate = |at: RawInstant| {
            let mut deviations = [None; MEMBERS];
            for (kept, deviation) in self.kept.iter().zip(&mut deviations) {
                *deviation = kept.back().and_then(|k| k.since(newest, at));
            }
            deviations
        };
        let mut deviations = deviate(now);
        let environment = self.environment.deviation(now, (bank.utc, bank.rate));
        deviations[Member::Environment as usize] = environment.map(|(offset, _)| offset);
        let live = deviations.map(|d| d.is_some());
        if !live.contains(&true) {
            return Correction::NONE;
        }
        let age = (now - newest).as_secs_f64();
        let Some(blend) = self.blend(age, live, bank) else { return Correction::NONE };
        let (parts, scale) = blend.apply(&deviations);
        // What it will be in a second: readers carry the answer on until the next is published.
        let second = now + Span::from_secs(1);
        let mut later = deviate(second);
        later[Member::Environment as usize] = environment.map(|(offset, rate)| offset + rate);
        let after = self.blend(age + 1.0, live, bank).map_or(0.0, |b| b.apply(&later).0.iter().sum());
        let offset = parts.iter().sum();
        let remains = 1.0 - scale * (1.0 - blend.remains);
        Correction { offset, rate: after - offset, remains, parts, weights: blend.weights }
    }

    /// How much each member counts at an age of the newest measurement: between the horizons, what lies between.
    fn blend(&self, age: f64, live: [bool; MEMBERS], bank: &BankAnswer) -> Option<Blend> {
        let above = HORIZONS.iter().position(|h| age < *h as f64).unwrap_or(HORIZONS.len());
        let at = |i: usize| self.skills[i].blend(live, self.threshold, &self.known(i, bank));
        let blend = if above == 0 {
            at(0).faded(age / HORIZONS[0] as f64)
        } else if above == HORIZONS.len() {
            at(above - 1)
        } else {
            let (low, high) = (HORIZONS[above - 1] as f64, HORIZONS[above] as f64);
            at(above - 1).towards(&at(above), (age - low) / (high - low))
        };
        (!blend.is_nothing()).then_some(blend)
    }

    /// What is known of the members at the horizon of this place, but for its own stretches.
    fn known(&self, place: usize, bank: &BankAnswer) -> Known {
        let unsteady = bank.steady.max(DOUBT).powf(UNSTEADY);
        let expected = |place: usize, member: usize| {
            let room = unsteady * self.kept[member].back().map_or(1.0, |kept| kept.room[place]);
            self.skills[place].expected(member).map(|p| Prior { share: room * p.share, ..p })
        };
        let told = |member: usize| {
            let prior = expected(TELLING, member).filter(|prior| prior.share > 0.0)?;
            Some((self.skills[TELLING].share(member, prior) / prior.share).clamp(0.0, 1.0))
        };
        let priors = std::array::from_fn(|member| {
            let prior = expected(place, member)?;
            let told = if place > TELLING { told(member).unwrap_or(1.0) } else { 1.0 };
            Some(Prior { share: told * prior.share, ..prior })
        });
        Known { priors, limit: CREDIT * bank.sigma }
    }

    /// How every member stands.
    pub(crate) fn members(&self, correction: &Correction, bank: Option<&BankAnswer>) -> Vec<MemberStatus> {
        Member::ALL
            .into_iter()
            .map(|member| {
                let i = member as usize;
                let alone = std::array::from_fn(|k| k == i);
                let horizons: Vec<HorizonStatus> = HORIZONS
                    .into_iter()
                    .zip(&self.skills)
                    .enumerate()
                    .filter_map(|(place, (horizon, skill))| {
                        let (skill_shown, error, stretches) = skill.record(i)?;
                        let known = self.known(place, bank?);
                        Some(HorizonStatus {
                            horizon: Span::from_secs(horizon),
                            weight: skill.blend(alone, self.threshold, &known).weights[i],
                            skill: skill_shown,
                            error: Span::from_nanos(error.round() as i64),
                            stretches,
                        })
                    })
                    .collect();
                let newest = match member {
                    Member::Environment => self.environment.newest(),
                    _ => self.kept[i].back().map(|kept| kept.outlook.at),
                };
                let judged = horizons.iter().any(|h| h.stretches >= skill::ENOUGH);
                let standing = if !judged && correction.weights[i] > 0.0 {
                    Standing::Expected
                } else if horizons.iter().any(|h| h.weight > 0.0) {
                    Standing::Earned
                } else if judged {
                    Standing::NoBetter
                } else if newest.is_some() || !horizons.is_empty() {
                    Standing::Unproven
                } else {
                    Standing::Silent
                };
                MemberStatus {
                    member,
                    weight: correction.weights[i],
                    correction: Span::from_nanos(correction.parts[i].round() as i64),
                    standing,
                    newest,
                    horizons,
                }
            })
            .collect()
    }
}

impl Kept {
    fn reach(&self) -> f64 {
        self.deviations.last().map_or(0.0, |(age, _)| *age)
    }

    /// Member − bank at an age; held beyond the last point.
    fn deviation(&self, age: f64) -> f64 {
        curve(&self.deviations, age)
    }

    /// How much member and bank have parted since the newest measurement; `None` if it was made too long before that.
    fn since(&self, newest: RawInstant, now: RawInstant) -> Option<f64> {
        let stale = (newest - self.outlook.at).as_secs_f64();
        let usable = (0.0..=0.5 * self.reach()).contains(&stale) && stale <= FRESH;
        usable.then(|| self.deviation((now - self.outlook.at).as_secs_f64()) - self.deviation(stale))
    }
}

/// A forecast that is older than the newest measurement by more than this, s, says nothing beside it.
const FRESH: f64 = 300.0;

/// By how much the bank's forecast fell short, and by how much the member's exceeded it, at the age nearest to a
/// horizon.
fn judged(kept: &VecDeque<Kept>, at: RawInstant, utc: Timestamp, horizon: f64) -> Option<(f64, f64)> {
    let age = |k: &Kept| (at - k.outlook.at).as_secs_f64();
    let later = kept.partition_point(|k| age(k) >= horizon);
    let near = [later.checked_sub(1), Some(later)].into_iter().flatten().filter_map(|i| kept.get(i));
    let best = near
        .filter(|k| is_about(age(k), horizon) && age(k) <= k.reach())
        .min_by(|a, b| (age(a) - horizon).abs().total_cmp(&(age(b) - horizon).abs()))?;
    let line = best.outlook.line(at - best.outlook.at);
    let short = (utc - line).as_nanos() as f64 - best.outlook.bank_at(age(best));
    Some((short, best.deviation(age(best))))
}

/// Whether an age is as good as the horizon.
fn is_about(age: f64, horizon: f64) -> bool {
    (0.7 * horizon..=1.4 * horizon).contains(&age)
}

fn point(age: Span, offset: Span) -> (f64, f64) {
    (age.as_secs_f64(), offset.as_nanos() as f64)
}

/// The line through zero and these points, held beyond the last.
fn curve(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|(at, _)| *at < x);
    let (x0, y0) = after.checked_sub(1).map_or((0.0, 0.0), |i| points[i]);
    match points.get(after) {
        Some((x1, y1)) if *x1 > x0 => y0 + (y1 - y0) * ((x - x0) / (x1 - x0)).clamp(0.0, 1.0),
        _ => y0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(ahead: &[(i64, i64)]) -> Forecast {
        let secs = Span::from_secs;
        let outlook = Outlook {
            at: RawInstant::from_nanos(0),
            utc: Timestamp::from_nanos(0),
            rate: Rate::ZERO,
            bank: vec![(secs(30), Span::from_micros(1)), (secs(60), Span::from_micros(3))],
        };
        let ahead = ahead.iter().map(|&(age, micros)| Ahead {
            age: secs(age),
            offset: Span::from_micros(micros),
            sigma: None,
        });
        Forecast { member: Member::LongTerm, outlook, ahead: ahead.collect() }
    }

    const BANK: BankAnswer =
        BankAnswer { utc: Timestamp::from_nanos(0), rate: Rate::ZERO, sigma: 1e6, steady: 1.0 };

    fn keep(fusion: &mut Fusion, forecast: &Forecast) -> Result<(), Implausible> {
        fusion.foresee(forecast, Rate::from_ppm(500.0), |_| Uncertainty { all: 1e12, paths: 0.0 })
    }

    fn foresee(forecast: &Forecast) -> Result<(), Implausible> {
        keep(&mut Fusion::new(Span::from_secs(1)), forecast)
    }

    #[test]
    fn what_is_no_forecast_is_refused() {
        assert_eq!(foresee(&forecast(&[(30, 1), (60, 2)])), Ok(()));
        assert_eq!(foresee(&forecast(&[])), Err(Implausible::Ages));
        assert_eq!(foresee(&forecast(&[(0, 0)])), Err(Implausible::Ages));
        assert_eq!(foresee(&forecast(&[(60, 1), (30, 1)])), Err(Implausible::Ages));
        assert_eq!(foresee(&forecast(&[(30, 30 * 501)])), Err(Implausible::Offset));
        let mut disrupted = Fusion::new(Span::from_secs(1));
        disrupted.forget_forecasts(RawInstant::from_nanos(1));
        assert_eq!(keep(&mut disrupted, &forecast(&[(30, 1)])), Err(Implausible::Origin));
    }

    #[test]
    fn a_forecast_is_kept_as_what_it_departs_from_the_bank() {
        let mut fusion = Fusion::new(Span::from_secs(1));
        keep(&mut fusion, &forecast(&[(30, 5), (60, 3)])).unwrap();
        let kept = &fusion.kept[1][0];
        let rounded = [0.0, 15.0, 30.0, 45.0, 60.0, 99.0].map(|age| kept.deviation(age).round());
        assert_eq!(rounded, [0.0, 2_000.0, 4_000.0, 2_000.0, 0.0, 0.0]);
    }

    #[test]
    fn of_one_origin_the_newest_forecast_counts() {
        let mut fusion = Fusion::new(Span::from_secs(1));
        for micros in [5, 7] {
            keep(&mut fusion, &forecast(&[(30, micros)])).unwrap();
        }
        assert_eq!((fusion.kept[1].len(), fusion.kept[1][0].deviation(30.0).round()), (1, 6_000.0));
    }

    #[test]
    fn what_is_expected_of_a_member_survives_a_new_clock() {
        let mut fusion = Fusion::new(Span::from_secs(1));
        let expected = Expected { horizon: Span::from_secs(1800), share: 0.5, spread: 0.1 };
        fusion.expect(Member::LongTerm, &[expected]);
        fusion.begin_anew();
        keep(&mut fusion, &forecast(&[(30, 5), (1800, 900)])).unwrap();
        let later = RawInstant::from_nanos(0) + Span::from_secs(1800);
        let correct = |sigma, steady| {
            fusion.correction(later, RawInstant::from_nanos(0), &BankAnswer { sigma, steady, ..BANK })
        };
        let correction = correct(1e6, 1.0);
        assert!((correction.offset - 0.5 * 897_000.0).abs() < 1.0, "{correction:?}");
        assert_eq!(fusion.members(&correction, Some(&BANK))[1].standing, Standing::Expected);
        assert_eq!(correct(1e5, 1.0).offset.round(), 1.5e5);
        // Where the bank knows an oscillation there is less room for another.
        assert!(correct(1e6, 1e-9).offset < 0.1 * correction.offset);
    }

    #[test]
    fn a_member_that_is_no_surer_than_the_bank_is_expected_to_know_less() {
        let bank = Uncertainty { all: 100.0, paths: 0.0 };
        let room = [None, Some(6.0), Some(10.0), Some(14.0)].map(|stated| (bank.room(stated) * 1e3).round());
        assert_eq!(room, [1e3, 1e3, 500.0, 0.0]);
        assert_eq!(Uncertainty { paths: 75.0, ..bank }.room(Some(1.0)), 0.25);
    }

    #[test]
    fn nobody_has_a_share_without_proof() {
        let mut fusion = Fusion::new(Span::from_secs(1));
        keep(&mut fusion, &forecast(&[(30, 5), (1800, 900)])).unwrap();
        let later = RawInstant::from_nanos(0) + Span::from_secs(600);
        assert_eq!(fusion.correction(later, RawInstant::from_nanos(0), &BANK), Correction::NONE);
    }
}
