//! The estimator: how true time runs against the raw clock, learned from measurements only.
//!
//! A bank of filters follows the clock and one constant offset per path; a packet counts by its delay above the path's
//! floor; paths are weighed by robust consensus; and how wrong predictions turned out to be scales the interval.
//! `docs/accuracy.md` tells what this reaches, and what was tried.

mod bank;
mod calibrate;
mod consensus;
mod filter;
mod floor;
mod noise;
mod route;
#[cfg(test)]
mod tests;

use crate::fusion::Uncertainty;
use crate::{Levels, Measurement, Rate, RawInstant, SourceId, Span, Timestamp, Variance};
use bank::{Bank, PATH_WALK};
use calibrate::{Slowness, Whiteness};
use consensus::{Opinion, consensus};
use filter::{PATHS, Sight};
use floor::Excess;
use noise::Noise;
use route::{Change, Remembered, Routes};

/// True time as a line through one raw instant, with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The raw instant to which it refers.
    pub at: RawInstant,
    /// True time then.
    pub utc: Timestamp,
    /// How much faster true time runs than the raw clock.
    pub rate: Rate,
    /// Standard deviation of `rate`.
    pub rate_sigma: Rate,
    /// Variance of the time as it ages; calibrated.
    pub variance: Variance,
    /// Shape of the calibrated interval.
    pub levels: Levels,
}

/// What is known of the path to one source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Path {
    /// How much later than the consensus of all paths its measurements say it is.
    pub offset: Span,
    /// The smallest round trip that it can have.
    pub floor: Span,
    /// The share of this path in the consensus, in thousandths.
    pub weight: u16,
    /// The usual error of one measurement.
    pub jitter: Span,
}

/// What is worth keeping over a restart: the oscillator's frequency stays, its phase does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// How much faster true time runs than the raw clock, in units of 2⁻⁴⁸ s/s.
    pub rate: i64,
    /// Standard deviation of that, in the same unit.
    pub rate_sigma: i64,
}

/// Learns how true time runs against the raw clock.
///
/// ```
/// use chronotick_core::estimate::Estimator;
/// use chronotick_core::RawInstant;
/// let mut estimator = Estimator::default();
/// assert!(estimator.estimate(RawInstant::from_nanos(0)).is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    running: Option<Running>,
    /// Rate and its standard deviation from before a disruption or a restart.
    frequency: Option<(f64, f64)>,
    paths: [Option<PathState>; PATHS],
    /// Sources of which an operator says that they know the time best.
    preferred: Vec<SourceId>,
}

/// What follows the clock from the first measurement on.
#[derive(Clone, Debug)]
struct Running {
    /// Where zero correction is.
    origin: (RawInstant, Timestamp),
    /// The instant to which the filters have been moved.
    now: RawInstant,
    bank: Bank,
    weights: [f64; PATHS],
    /// What the paths add that are not on the route on which they were weighed, s.
    constant: f64,
    disagreement: f64,
    empty: bool,
    whiteness: Whiteness,
    slowness: Slowness,
}

#[derive(Clone, Debug)]
struct PathState {
    source: SourceId,
    routes: Routes,
    /// Whether the filters know the path.
    known: bool,
    /// Measurements since then.
    seen: u32,
    /// Measurements in a row that fitted nothing, but one another.
    rejected: u32,
    /// How far off the newest of them was, s.
    astray: f64,
    noise: Noise,
    /// Usual variance of a measurement, s².
    usual: f64,
    newest: RawInstant,
}

/// A local clock is within this of its nominal frequency before anything was measured.
const FREQUENCY_SIGMA: f64 = 50e-6;
/// The frequency may have changed this much over a restart or a disruption.
const RESTART_SIGMA: f64 = 2e-7;
/// Error of a timestamp without any queue, s.
const STAMP_SIGMA: f64 = 2e-6;
/// A measurement further off than so many standard deviations is not evidence by itself.
const GATE: f64 = 6.0;
/// Errors have heavier tails than the normal distribution: half-widths at 50, 90, 95 and 99 %, in standard deviations,
/// as found in simulated worlds.
const MULTIPLIERS: [f64; 4] = [0.58, 1.6, 1.96, 3.0];
/// After so many measurements the floor of a path is known well enough to follow its changes.
const SETTLED: u32 = 16;
/// A path that was silent for longer makes room for another. Displacing any sooner, more sources than can be followed would
/// displace each other in turn, and none would ever be known.
const SILENT: Span = Span::from_secs(3600);
/// A round trip that took longer says nothing of the time.
const LONGEST_DELAY: Span = Span::from_secs(16);
/// Between two measurements further apart than this the clock is followed anew.
const LONGEST_GAP: Span = Span::from_secs(7 * 86_400);

impl Estimator {
    /// An estimator that knows the frequency from before, but for what may have become of it since.
    pub fn restore(saved: &Saved) -> Estimator {
        let rate = Rate::from_bits(saved.rate).as_f64();
        let sigma = Rate::from_bits(saved.rate_sigma.saturating_abs()).as_f64();
        let plausible = rate.abs() < 0.1;
        Estimator {
            frequency: plausible.then_some((rate, sigma.hypot(RESTART_SIGMA))),
            ..Estimator::default()
        }
    }

    /// How likely the bank takes it to be that the clock does not oscillate, 0–1.
    pub(crate) fn steady(&self) -> f64 {
        self.running.as_ref().map_or(1.0, |running| running.bank.steady())
    }

    /// What to keep for the next start; `None` until the frequency is known to some parts per million.
    pub fn saved(&self) -> Option<Saved> {
        let (rate, sigma) = self.frequency()?;
        (sigma < 5e-6).then(|| Saved {
            rate: Rate::from_f64(rate).to_bits(),
            rate_sigma: Rate::from_f64(sigma).to_bits(),
        })
    }

    /// Takes in a measurement of a source that selection trusts.
    ///
    /// Measurements come in the order of `received`; one that is older than the newest, or took longer than
    /// 16 s, is ignored. So is one of a ninth source, unless it is a [preferred](Estimator::prefer) one or one of the eight
    /// that are followed has been silent for an hour.
    pub fn observe(&mut self, measurement: &Measurement) {
        let now = measurement.received;
        if self.running.as_ref().is_some_and(|r| now - r.now > LONGEST_GAP) {
            self.disrupted();
        }
        let absurd = measurement.at > now || measurement.delay.abs() > LONGEST_DELAY;
        if absurd || self.running.as_ref().is_some_and(|r| now < r.now) {
            return;
        }
        let delay = measurement.delay.as_secs_f64();
        let Some(slot) = self.slot(measurement.source, now) else { return };
        let shared = self.others_are_raised(slot);
        let path =
            self.paths[slot].get_or_insert_with(|| PathState::new(measurement.source, delay.abs(), now));
        path.newest = now;
        let (rate, rate_sigma) = self.frequency.unwrap_or((0.0, FREQUENCY_SIGMA));
        let running = self.running.get_or_insert_with(|| Running {
            origin: (measurement.at, measurement.utc),
            now,
            bank: Bank::new(0.5 * delay.abs() + 10.0 * STAMP_SIGMA, rate, rate_sigma),
            weights: [0.0; PATHS],
            constant: 0.0,
            disagreement: 0.0,
            empty: true,
            whiteness: Whiteness::default(),
            slowness: Slowness::default(),
        });
        running.bank.advance((now - running.now).as_secs_f64());
        running.now = now;
        let excess = running.follow_route(slot, delay, path, shared);
        running.take(measurement, slot, &excess, &mut self.paths);
        running.weigh(&self.paths, &self.preferred);
    }

    /// Whether a source is preferred: where any is that has been measured, the consensus is theirs alone, and the offsets of
    /// the other paths are measured against it.
    pub fn prefer(&mut self, source: SourceId, preferred: bool) {
        self.preferred.retain(|other| *other != source);
        if preferred {
            self.preferred.push(source);
        }
    }

    /// Forgets what was learned of one source's path: it was removed, replaced or has stepped.
    pub fn forget_source(&mut self, source: SourceId) {
        for path in &mut self.paths {
            if path.as_ref().is_some_and(|p| p.source == source) {
                *path = None;
            }
        }
        if let Some(running) = &mut self.running {
            running.weigh(&self.paths, &self.preferred);
        }
    }

    /// The raw clock was disturbed: time must be measured anew, the frequency may be kept.
    pub fn disrupted(&mut self) {
        self.frequency = self.frequency().map(|(rate, sigma)| (rate, sigma.hypot(RESTART_SIGMA)));
        self.running = None;
        for path in self.paths.iter_mut().flatten() {
            path.forget_offset();
        }
    }

    /// The estimate at an instant not before the newest measurement's `received`; `None` before the first measurement.
    pub fn estimate(&self, at: RawInstant) -> Option<Estimate> {
        let running = self.running.as_ref()?;
        let age = (at - running.now).max(Span::ZERO).as_secs_f64();
        let f = running.bank.forecast(age, &running.weights);
        let (raw, utc) = running.origin;
        Some(Estimate {
            at,
            utc: utc + (at - raw) + Span::from_secs_f64(f.c + running.constant),
            rate: Rate::from_f64(f.f),
            rate_sigma: Rate::from_f64(f.ff.sqrt()),
            variance: Variance(
                [
                    f.cc * running.whiteness.factor() + running.disagreement + running.excess() + 1e-18,
                    2.0 * f.cf,
                    f.ff,
                    f.walk / 3.0,
                ]
                .map(|v| v * 1e18),
            ),
            levels: Levels::from_multipliers(MULTIPLIERS),
        })
    }

    /// What the estimate for an instant may be wrong; infinite before the first measurement.
    pub(crate) fn uncertainty(&self, at: RawInstant) -> Uncertainty {
        let all = self.estimate(at).map_or(f64::INFINITY, |estimate| estimate.variance.0[0]);
        Uncertainty { all, paths: self.running.as_ref().map_or(0.0, |r| r.disagreement * 1e18) }
    }

    /// What a measurement says of true time at its instant once its path's own offset is taken off, and to which side queues
    /// lean; and the variance of that in s². `None` while the path is not known well enough to judge anything by it.
    pub(crate) fn without_path(&self, m: &Measurement) -> Option<(Timestamp, f64)> {
        let running = self.running.as_ref()?;
        let (slot, path) = self.known_path(m.source).filter(|(_, p)| p.known && p.seen >= 8)?;
        let (floor, delay) = (path.routes.floor(), m.delay.as_secs_f64());
        let lean = running.bank.lean() * floor.judge(delay).most;
        let offset = running.bank.path(slot) - running.consensus() - running.constant;
        let excess = 0.5 * (delay - floor.least()).max(0.0);
        Some((m.utc - Span::from_secs_f64(offset + lean), path.usual.max(excess * excess / 3.0)))
    }

    /// The variances (s²) of a measurement once its path's offset is taken off: its own, and the one that it shares
    /// with all measurements of the time.
    pub(crate) fn variances(&self, m: &Measurement) -> Option<(f64, f64)> {
        let running = self.running.as_ref()?;
        let (_, path) = self.known_path(m.source)?;
        let excess = path.routes.floor().judge(m.delay.as_secs_f64());
        Some((path.noise.variance(&excess), running.disagreement + running.excess()))
    }

    /// What is known of the path to a source.
    pub fn path(&self, source: SourceId) -> Option<Path> {
        let running = self.running.as_ref()?;
        let (slot, path) = self.known_path(source)?;
        Some(Path {
            offset: Span::from_secs_f64(running.bank.path(slot) - running.consensus()),
            floor: Span::from_secs_f64(path.routes.floor().least()),
            weight: (running.weights[slot] * 1e3).round() as u16,
            jitter: Span::from_secs_f64(path.usual.sqrt()),
        })
    }

    fn frequency(&self) -> Option<(f64, f64)> {
        let now = self.running.as_ref().map(|r| r.bank.forecast(0.0, &r.weights));
        now.map(|f| (f.f, f.ff.sqrt())).filter(|(_, sigma)| *sigma < FREQUENCY_SIGMA).or(self.frequency)
    }

    /// Tells the smallest round trip that a source's path was known to have before a restart, so that the first packets
    /// are judged by it; to be called before the source's first measurement. A floor below zero is none.
    pub fn expect_floor(&mut self, source: SourceId, floor: Span, now: RawInstant) {
        if floor < Span::ZERO {
            return;
        }
        let Some(slot) = self.slot(source, now) else { return };
        let path = self.paths[slot].get_or_insert_with(|| PathState::new(source, floor.as_secs_f64(), now));
        path.routes.expect(floor.as_secs_f64(), now);
    }

    /// Whether most of the other paths are slow at the moment, as this one may be: what delays all of them is a queue
    /// before the first fork, not another route.
    fn others_are_raised(&self, slot: usize) -> bool {
        let (mut raised, mut all) = (0, 0);
        for (_, path) in self.followed().filter(|(other, _)| *other != slot) {
            raised += usize::from(path.routes.raised());
            all += 1;
        }
        all > 0 && 2 * raised >= all
    }

    /// The paths that are followed, each with its slot.
    fn followed(&self) -> impl Iterator<Item = (usize, &PathState)> {
        self.paths.iter().enumerate().filter_map(|(slot, path)| Some((slot, path.as_ref()?)))
    }

    /// The path to a source, with its slot.
    fn known_path(&self, source: SourceId) -> Option<(usize, &PathState)> {
        self.followed().find(|(_, path)| path.source == source)
    }

    /// The slot of a source, or a free one; if all are taken, that of the path which has been silent for longest, if that
    /// is long. A preferred source need not wait for that.
    fn slot(&mut self, source: SourceId, now: RawInstant) -> Option<usize> {
        let mine = self.known_path(source).map(|(slot, _)| slot);
        if let Some(slot) = mine.or(self.paths.iter().position(Option::is_none)) {
            return Some(slot);
        }
        let preferred = self.preferred.contains(&source);
        let goes = |path: &PathState| {
            now - path.newest > SILENT || preferred && !self.preferred.contains(&path.source)
        };
        let (slot, _) = self.followed().filter(|(_, path)| goes(path)).min_by_key(|(_, path)| path.newest)?;
        self.paths[slot] = None;
        Some(slot)
    }
}

impl Running {
    /// The mean of the paths' offsets by their weights, s.
    fn consensus(&self) -> f64 {
        (0..PATHS).map(|slot| self.weights[slot] * self.bank.path(slot)).sum()
    }

    /// The variance of the estimate beyond what the filters and the paths' disagreement say, s².
    fn excess(&self) -> f64 {
        self.whiteness.excess() + self.slowness.variance()
    }

    /// Takes in a delay; on another route the path's offset is another.
    fn follow_route(&mut self, slot: usize, delay: f64, path: &mut PathState, shared: bool) -> Excess {
        let offset = Remembered {
            offset: self.bank.path(slot),
            variance: self.bank.path_variance(slot),
            at: self.now,
        };
        let base = path.routes.floor().base();
        let (excess, change) = path.routes.observe(delay, offset, shared);
        if path.seen >= SETTLED && !matches!(change, Some(Change::Back(_))) {
            self.bank.raise_floor(slot, 0.5 * (path.routes.floor().base() - base));
        }
        if change.is_some() {
            self.bank.straighten();
        }
        match change {
            Some(Change::New { shift }) => self.bank.widen_path(slot, (0.5 * shift).powi(2)),
            Some(Change::Back(then)) => {
                let since = (self.now - then.at).as_secs_f64();
                self.bank.reset_path(slot, then.offset, 2.0 * then.variance + PATH_WALK.powi(2) * since);
            }
            None => {}
        }
        excess
    }

    fn take(
        &mut self,
        m: &Measurement,
        slot: usize,
        excess: &Excess,
        paths: &mut [Option<PathState>; PATHS],
    ) {
        let back = (self.now - m.at).as_secs_f64();
        let y = ((m.utc - self.origin.1) - (m.at - self.origin.0)).as_secs_f64();
        let delay = m.delay.as_secs_f64().abs();
        let Some(path) = &mut paths[slot] else { return };
        let r = path.noise.variance(excess);
        let sight = Sight { y, path: slot, back, excess: excess.most, r };
        let mut judged = None;
        if !path.known {
            path.known = true;
            // The first path is where zero is; the others are measured against it.
            let variance = if self.empty { 0.0 } else { (0.25 * delay).powi(2) + STAMP_SIGMA.powi(2) };
            self.empty = false;
            self.bank.reset_path(slot, 0.0, variance);
        } else {
            let expected = self.bank.expect(&sight);
            judged = Some(expected);
            if expected.e.abs() > GATE * (expected.v + r).sqrt() + excess.most {
                // A clock that stepped shows the same error again; what scatters is noise that the delay does not explain.
                let again = path.rejected == 0 || (expected.e - path.astray).abs() < 0.5 * path.astray.abs();
                path.astray = expected.e;
                path.rejected = if again { path.rejected + 1 } else { 1 };
                if !again {
                    path.noise.judge(excess, expected.e, expected.v);
                }
                self.contradicted(slot, expected.e, paths);
                return;
            }
        }
        path.rejected = 0;
        path.seen += 1;
        path.usual += (r - path.usual) / f64::from(path.seen.min(64));
        let (e, v) = self.bank.correct(&sight);
        if let Some(expected) = judged {
            path.noise.judge(excess, expected.e, expected.v);
            self.slowness.observe(excess, expected.gain(r, &self.weights));
        }
        path.noise.learn(excess, e, v);
        self.whiteness.observe(e, v + r);
    }

    /// Either a path or the clock is not where it was: the clock if most of the paths say so.
    fn contradicted(&mut self, slot: usize, e: f64, paths: &mut [Option<PathState>; PATHS]) {
        let alive = paths.iter().flatten().count();
        let against = paths.iter().flatten().filter(|p| p.rejected >= 2).count();
        let Some(rejected) = paths[slot].as_ref().map(|p| p.rejected) else { return };
        if if alive == 1 { rejected >= 4 } else { against * 2 > alive } {
            self.bank.shift(e, (e * e).min(1.0), (e / 64.0).powi(2).min(25e-10));
            paths.iter_mut().flatten().for_each(|p| p.rejected = 0);
        } else if rejected >= 6 {
            self.bank.reset_path(slot, self.bank.path(slot) + e, (e * e).min(1.0));
            paths.iter_mut().flatten().for_each(|p| p.rejected = 0);
        }
    }

    fn weigh(&mut self, paths: &[Option<PathState>; PATHS], preferred: &[SourceId]) {
        let is_preferred = |p: &PathState| preferred.contains(&p.source);
        let preference = paths.iter().flatten().any(|p| p.seen >= 4 && is_preferred(p));
        let settled = paths.iter().flatten().any(|p| p.seen >= 4);
        let opinions = std::array::from_fn(|slot| {
            let path = paths[slot].as_ref().filter(|p| p.known && (p.seen >= 4 || !settled))?;
            if preference && !is_preferred(path) {
                return None;
            }
            let offset = path.routes.first().unwrap_or_else(|| self.bank.path(slot));
            let variance = self.bank.path_variance(slot);
            Some(Opinion { offset, variance, blur: path.routes.floor().gap() * 0.3 })
        });
        (self.weights, self.disagreement) = consensus(&opinions);
        self.constant = 0.0;
        for (weight, path) in self.weights.iter_mut().zip(paths) {
            if let Some(first) = path.as_ref().and_then(|p| p.routes.first()) {
                self.constant += *weight * first;
                *weight = 0.0;
            }
        }
    }
}

impl PathState {
    fn new(source: SourceId, delay: f64, now: RawInstant) -> PathState {
        PathState {
            source,
            routes: Routes::new(),
            known: false,
            seen: 0,
            rejected: 0,
            astray: 0.0,
            noise: Noise::new(delay),
            usual: 0.0,
            newest: now,
        }
    }

    fn forget_offset(&mut self) {
        (self.known, self.seen, self.rejected) = (false, 0, 0);
    }
}
