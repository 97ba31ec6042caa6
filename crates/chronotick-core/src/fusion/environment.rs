//! The regression of the frequency on the machine's conditions: temperature, load and the like.
//!
//! A condition x that moves the frequency by b per unit moves the time by b·∫(x − x₀) against the engine's line from an
//! outlook at which it was x₀. So what that line fell short by is regressed on these integrals, over the conditions
//! themselves and what a slow mass would have of them, beside what the bank foresaw. Conditions go on to be measured
//! while the sources are silent; that is when this knows what the bank cannot.

use super::{Outlook, is_about};
use crate::{Rate, RawInstant, Timestamp};
use std::collections::VecDeque;

/// How many conditions there are.
pub const CHANNELS: usize = 5;
/// Each condition, and what a slow mass has of it.
const PARTS: usize = 2 * CHANNELS;
/// The integrals of both, and what the bank foresees.
const FEATURES: usize = PARTS + 1;
/// Where that is.
const BANK: usize = PARTS;
/// What the slow mass needs to follow, s.
const LAG: f64 = 300.0;
/// Outlooks are this far apart, s, and kept for the longest horizon.
const EVERY: f64 = 30.0;
const KEPT: usize = 96;
/// What is learned is learned over these ages, s.
const LEARNED: [f64; 2] = [300.0, 600.0];
/// Evidence is forgotten after about so long, s.
const MEMORY: f64 = 86_400.0;
/// Evidence without which nothing is foreseen, s.
const LEAST: f64 = 3600.0;
/// Keeps conditions that say the same from cancelling each other, relative to their own evidence.
const RIDGE: f64 = 0.02;
/// Conditions older than this are not known, s.
const FRESH: f64 = 120.0;

/// The machine's conditions at an instant: they hold until the next. What is not measured is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// When.
    pub at: RawInstant,
    /// Share of the processors that is busy (0–1), temperature (°C), mean frequency of the processors (GHz), memory
    /// pressure (0–1), traffic of the network interface (MB/s).
    pub values: [Option<f64>; CHANNELS],
}

/// Conditions and their integrals at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Passage {
    at: RawInstant,
    value: [f64; PARTS],
    integral: [f64; PARTS],
}

/// An outlook with the conditions then, and what was known of their influence.
#[derive(Clone, Debug)]
struct Kept {
    outlook: Outlook,
    then: Passage,
    influence: Option<[f64; FEATURES]>,
}

/// The regression.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    now: Option<Passage>,
    /// At the newest measurement, with the engine's line.
    measured: Option<(Passage, Outlook)>,
    outlooks: VecDeque<Kept>,
    /// ns per s and unit of each feature.
    influence: Option<[f64; FEATURES]>,
    evidence: Evidence,
}

/// Sums of the regression.
#[derive(Clone, Debug, Default)]
struct Evidence {
    square: [[f64; FEATURES]; FEATURES],
    with: [f64; FEATURES],
    /// The bank's usual squared shortfall, ns².
    usual: f64,
    newest: Option<RawInstant>,
    /// Seconds of evidence, forgotten with it.
    length: f64,
}

impl Environment {
    pub(super) fn sense(&mut self, conditions: &Conditions) {
        let finite = |i: usize| conditions.values[i].filter(|v| v.is_finite());
        let Some(before) = self.now.filter(|p| p.at <= conditions.at) else {
            let value = std::array::from_fn(|i| finite(i % CHANNELS).unwrap_or(0.0));
            self.now = Some(Passage { at: conditions.at, value, integral: [0.0; PARTS] });
            return;
        };
        let mut now = before.carried_to(conditions.at);
        let share = ((conditions.at - before.at).as_secs_f64() / LAG).min(1.0);
        for i in 0..CHANNELS {
            let value = finite(i).unwrap_or(now.value[i]);
            now.value[i + CHANNELS] += share * (value - now.value[i + CHANNELS]);
            now.value[i] = value;
        }
        self.now = Some(now);
    }

    pub(super) fn forget_outlooks(&mut self) {
        self.outlooks.clear();
        self.measured = None;
    }

    pub(super) fn wants_outlook(&self, now: RawInstant) -> bool {
        let due = self.outlooks.back().is_none_or(|k| (now - k.outlook.at).as_secs_f64() >= EVERY);
        due && self.at(now).is_some()
    }

    pub(super) fn look_out(&mut self, outlook: Outlook) {
        let Some(then) = self.at(outlook.at) else { return };
        if self.outlooks.len() == KEPT {
            self.outlooks.pop_front();
        }
        self.influence = self.evidence.influence();
        self.outlooks.push_back(Kept { outlook, then, influence: self.influence });
    }

    /// A measurement became known; the engine's line through it.
    pub(super) fn measured(&mut self, line: Outlook) {
        self.measured = self.at(line.at).map(|then| (then, line));
    }

    /// Whether it knows the influence of anything.
    pub(super) fn knows(&self) -> bool {
        self.influence.is_some()
    }

    pub(super) fn newest(&self) -> Option<RawInstant> {
        self.influence.and(self.outlooks.back()).map(|k| k.outlook.at)
    }

    /// Learns from a measurement of variance `variance` (ns²).
    pub(super) fn learn(&mut self, at: RawInstant, utc: Timestamp, variance: f64) {
        let Some(now) = self.at(at) else { return };
        for horizon in LEARNED {
            if let Some(kept) = self.about(at, horizon) {
                let (short, bank) = kept.short(at, utc);
                let changes = now.changes(&kept.then, bank);
                self.evidence.observe(at, short, &changes, variance);
            }
        }
    }

    /// By how much the bank's forecast fell short at about a horizon, and what this had foreseen of that.
    pub(super) fn judged(&self, at: RawInstant, utc: Timestamp, horizon: f64) -> Option<(f64, f64)> {
        let now = self.at(at)?;
        let kept = self.about(at, horizon)?;
        let (short, bank) = kept.short(at, utc);
        Some((short - bank, dot(&kept.influence?, &now.changes(&kept.then, bank)) - bank))
    }

    /// How far this departs from the bank by now, ns, and how fast, ns/s; `bank` is what that foresees.
    pub(super) fn deviation(&self, now: RawInstant, bank: (Timestamp, Rate)) -> Option<(f64, f64)> {
        let (influence, (then, line), now) = (self.influence?, self.measured.as_ref()?, self.at(now)?);
        let beyond = (bank.0 - line.line(now.at - line.at)).as_nanos() as f64;
        let faster = (bank.1.as_f64() - line.rate.as_f64()) * 1e9;
        let offset = dot(&influence, &now.changes(then, beyond)) - beyond;
        Some((offset, dot(&influence, &now.growth(then, faster)) - faster))
    }

    fn at(&self, at: RawInstant) -> Option<Passage> {
        self.now.filter(|p| (at - p.at).as_secs_f64().abs() < FRESH).map(|p| p.carried_to(at))
    }

    /// The outlook whose age is nearest to a horizon.
    fn about(&self, at: RawInstant, horizon: f64) -> Option<&Kept> {
        let age = |k: &Kept| (at - k.outlook.at).as_secs_f64();
        let distance = |k: &Kept| (age(k) - horizon).abs();
        let near = self.outlooks.iter().filter(|k| is_about(age(k), horizon));
        near.min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

impl Passage {
    fn carried_to(&self, at: RawInstant) -> Passage {
        let dt = (at - self.at).as_secs_f64();
        let integral = std::array::from_fn(|i| self.integral[i] + dt * self.value[i]);
        Passage { at, value: self.value, integral }
    }

    /// ∫(x − x₀) since then, and what the bank says meanwhile, ns.
    fn changes(&self, then: &Passage, bank: f64) -> [f64; FEATURES] {
        let age = (self.at - then.at).as_secs_f64();
        let integral = |i: usize| self.integral[i] - then.integral[i] - age * then.value[i];
        std::array::from_fn(|i| if i == BANK { bank } else { integral(i) })
    }

    /// How fast these grow, if the bank's part grows by `bank` ns/s.
    fn growth(&self, then: &Passage, bank: f64) -> [f64; FEATURES] {
        std::array::from_fn(|i| if i == BANK { bank } else { self.value[i] - then.value[i] })
    }
}

impl Kept {
    /// At an instant, ns: by how much the line falls short of true time, and the bank beyond the line.
    fn short(&self, at: RawInstant, utc: Timestamp) -> (f64, f64) {
        let age = at - self.outlook.at;
        let short = (utc - self.outlook.line(age)).as_nanos() as f64;
        (short, self.outlook.bank_at(age.as_secs_f64()))
    }
}

impl Evidence {
    fn observe(&mut self, at: RawInstant, short: f64, changes: &[f64; FEATURES], variance: f64) {
        let passed = self.newest.map_or(0.0, |newest| (at - newest).as_secs_f64().clamp(0.0, 600.0));
        self.newest = Some(at);
        let keep = 1.0 - passed / MEMORY;
        self.length = self.length * keep + passed;
        self.usual = if self.usual == 0.0 {
            short * short
        } else {
            self.usual + ((short * short).min(9.0 * (self.usual + variance)) - self.usual) / 64.0
        };
        let cut = 3.0 * (self.usual + variance).sqrt();
        let (short, weight) = (short.clamp(-cut, cut), 1.0 / (self.usual + variance).max(1.0));
        for i in 0..FEATURES {
            self.with[i] = keep * self.with[i] + weight * short * changes[i];
            for k in 0..FEATURES {
                self.square[i][k] = keep * self.square[i][k] + weight * changes[i] * changes[k];
            }
        }
    }

    /// The influence of every feature by ridge regression; features that never changed have none.
    fn influence(&self) -> Option<[f64; FEATURES]> {
        if self.length < LEAST {
            return None;
        }
        let scale: [f64; FEATURES] = std::array::from_fn(|i| self.square[i][i].sqrt());
        let changed = |i: usize| scale[i] > 0.0;
        let mut a = [[0.0; FEATURES]; FEATURES];
        let mut b = [0.0; FEATURES];
        for i in 0..FEATURES {
            for k in (0..FEATURES).filter(|&k| changed(i) && changed(k)) {
                a[i][k] = self.square[i][k] / (scale[i] * scale[k]);
            }
            a[i][i] = 1.0 + RIDGE;
            b[i] = if changed(i) { self.with[i] / scale[i] } else { 0.0 };
        }
        super::skill::solve(&mut a, &mut b)?;
        let influence = std::array::from_fn(|i| if changed(i) { b[i] / scale[i] } else { 0.0 });
        influence.iter().any(|x| *x != 0.0).then_some(influence)
    }
}

fn dot(a: &[f64; FEATURES], b: &[f64; FEATURES]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
