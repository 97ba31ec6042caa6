//! How good the members are at one horizon, and what share follows from that.
//!
//! With e what the bank's forecast fell short by and d what a member's differed from it, the share that makes the mean
//! square of e − w·d least is Σed/Σd². That is fusion by inverse variance with the correlation of the errors: the noise
//! of the judging measurements is in both forecasts' errors and drops out of their difference. Forecasts overlap, so
//! evidence is counted in stretches of time twice as long as the horizon; what is certain of the share is what remains after
//! several of its standard errors, and recent stretches have to agree.
//!
//! Of a member that was made to correct the bank, and judged in worlds whose truth is known, there is a prior. It counts
//! until there is evidence, against which it is weighed like any other.

use super::MEMBERS;
use crate::RawInstant;
use std::collections::VecDeque;

/// Stretches without which nothing is earned.
pub(super) const ENOUGH: usize = 4;
/// Stretches that are remembered.
const REMEMBERED: usize = 32;
/// Stretches that have to speak for a blend by themselves.
const RECENT: usize = 3;
/// So many stretches overrule what was expected of a member, if it did harm in the newest of them and in all.
const OVERRULING: usize = 8;
/// The shortest stretch, s: errors of the bank last for some measurements.
const SHORTEST: f64 = 120.0;
/// Errors and differences beyond so many times the usual are cut.
const GATE: f64 = 3.0;

/// One member at one measurement: (e, d) in ns.
pub(super) type Sample = Option<(f64, f64)>;

/// Sums over one stretch, each sample weighted by the inverse of its variance.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    begun: RawInstant,
    weight: [f64; MEMBERS],
    /// Σ e².
    short: [f64; MEMBERS],
    /// Σ of the measurements' own variances.
    noise: [f64; MEMBERS],
    /// Σ e·d.
    with: [f64; MEMBERS],
    /// Σ d·d'.
    between: [[f64; MEMBERS]; MEMBERS],
}

/// What was known of a member before its first forecast: the share that was best elsewhere, and how much that differed
/// from place to place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    pub(super) share: f64,
    pub(super) spread: f64,
}

/// What is known of the members at one horizon, but for the stretches there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) priors: [Option<Prior>; MEMBERS],
    /// The largest correction by a member that was expected to be good, ns.
    pub(super) limit: f64,
}

/// How the members did at one horizon.
#[derive(Clone, Debug)]
pub(super) struct Skill {
    length: f64,
    priors: [Option<Prior>; MEMBERS],
    /// Newest last.
    stretches: VecDeque<Stretch>,
    /// The bank's usual squared error, ns².
    usual: f64,
}

/// How much each member counts, beside the bank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blend {
    pub(super) weights: [f64; MEMBERS],
    /// The largest correction that has been proven, ns.
    limit: f64,
    /// The share of the bank's variance that remains.
    pub(super) remains: f64,
}

impl Blend {
    const NOTHING: Blend = Blend { weights: [0.0; MEMBERS], limit: 0.0, remains: 1.0 };

    pub(super) fn is_nothing(&self) -> bool {
        self.weights == [0.0; MEMBERS]
    }

    pub(super) fn faded(&self, share: f64) -> Blend {
        Blend::NOTHING.towards(self, share)
    }

    pub(super) fn towards(&self, other: &Blend, share: f64) -> Blend {
        let mix = |a: f64, b: f64| a + share * (b - a);
        Blend {
            weights: std::array::from_fn(|i| mix(self.weights[i], other.weights[i])),
            limit: mix(self.limit, other.limit),
            remains: mix(self.remains, other.remains),
        }
    }

    /// The members' parts in a correction that stays within what has been proven, and how far it was cut.
    pub(super) fn apply(&self, deviations: &[Option<f64>; MEMBERS]) -> ([f64; MEMBERS], f64) {
        let parts: [f64; MEMBERS] = std::array::from_fn(|i| self.weights[i] * deviations[i].unwrap_or(0.0));
        let sum = parts.iter().sum::<f64>().abs();
        let scale = if sum > self.limit { self.limit / sum } else { 1.0 };
        (parts.map(|p| p * scale), scale)
    }
}

impl Skill {
    pub(super) fn new(horizon: f64) -> Skill {
        let length = (2.0 * horizon).max(SHORTEST);
        Skill { length, priors: [None; MEMBERS], stretches: VecDeque::new(), usual: 0.0 }
    }

    pub(super) fn expect(&mut self, member: usize, prior: Prior) {
        self.priors[member] = Some(prior);
    }

    /// What was known of a member before its first forecast.
    pub(super) fn expected(&self, member: usize) -> Option<Prior> {
        self.priors[member]
    }

    /// Knows before its first measurement what another did.
    pub(super) fn expect_as(&mut self, other: &Skill) {
        self.priors = other.priors;
    }

    /// Takes in what every member said about a measurement with this variance (ns²).
    pub(super) fn observe(&mut self, samples: &[Sample; MEMBERS], variance: f64, now: RawInstant) {
        let Some((e, _)) = samples.iter().flatten().next() else { return };
        if self.usual == 0.0 {
            self.usual = e * e;
        }
        self.usual += ((e * e).min(GATE * GATE * (self.usual + variance)) - self.usual) / 32.0;
        let fresh = |s: &Stretch| (now - s.begun).as_secs_f64() < self.length;
        if !self.stretches.back().is_some_and(fresh) {
            if self.stretches.len() == REMEMBERED {
                self.stretches.pop_front();
            }
            self.stretches.push_back(Stretch::new(now));
        }
        let Some(stretch) = self.stretches.back_mut() else { return };
        let weight = 1.0 / (variance + self.usual).max(1.0);
        let cut = GATE * (variance + self.usual).sqrt();
        let cut = samples.map(|s| s.map(|(e, d)| (e.clamp(-cut, cut), d)));
        for (i, sample) in cut.iter().enumerate() {
            let Some((e, d)) = sample else { continue };
            stretch.weight[i] += weight;
            stretch.short[i] += weight * e * e;
            stretch.noise[i] += weight * variance;
            stretch.with[i] += weight * e * d;
            for (k, other) in cut.iter().enumerate() {
                stretch.between[i][k] += other.map_or(0.0, |(_, other)| weight * d * other);
            }
        }
    }

    /// Skill, root mean square error (ns) and judged stretches of a member; `None` before the first.
    pub(super) fn record(&self, member: usize) -> Option<(f64, f64, usize)> {
        let total = self.total();
        (total.weight[member] > 0.0).then(|| {
            let (bank, error) = (total.short[member], total.error(member));
            let judged = self.stretches.iter().filter(|s| s.weight[member] > 0.0).count();
            (1.0 - error / bank.max(f64::MIN_POSITIVE), (error / total.weight[member]).sqrt(), judged)
        })
    }

    fn total(&self) -> Stretch {
        let mut total = Stretch::new(RawInstant::default());
        self.stretches.iter().for_each(|s| total.add(s));
        total
    }

    /// The best blend of those members that are alive and certain enough: of all sets of them, the one with which the
    /// bank's error has certainly become smallest.
    pub(super) fn blend(&self, live: [bool; MEMBERS], threshold: f64, known: &Known) -> Blend {
        let total = self.total();
        let eligible = |i: usize| {
            let sigma = (total.error(i) / total.weight[i]).sqrt();
            live[i]
                && (total.weight[i] > 0.0 && sigma <= threshold
                    || self.stretches.is_empty() && threshold > 0.0)
        };
        let mut best = (0.0, Blend::NOTHING);
        for set in 1u8..1 << MEMBERS {
            let members: [bool; MEMBERS] = std::array::from_fn(|i| set >> i & 1 == 1);
            if members.iter().enumerate().any(|(i, member)| *member && !eligible(i)) {
                continue;
            }
            let alone = (0..MEMBERS).find(|i| set == 1 << i);
            let found = match alone.and_then(|i| Some((i, known.priors[i]?))) {
                Some((i, prior)) => self.believed(&total, i, prior, known.limit),
                None => self.proven(&total, members),
            };
            if let Some((gain, blend)) = found
                && gain > best.0
            {
                best = (gain, blend);
            }
        }
        best.1
    }

    /// The share of a member of which something was known before: the mean of that and of what the stretches say, weighted
    /// by the inverse of their variances.
    pub(super) fn share(&self, member: usize, prior: Prior) -> f64 {
        let (n, with, square) = self.sums(member);
        if n == 0.0 {
            return prior.share;
        }
        let ratio = with / square;
        // A few stretches that happen to agree do not make it certain.
        let spread = self.scores(member).map(|(w, s)| (w - ratio * s).powi(2)).sum::<f64>()
            + PRESUMED * (square / n).powi(2);
        let variance = spread / square.powi(2) * n / (n + PRESUMED);
        let known = prior.spread.powi(-2);
        ((prior.share * known + ratio / variance) / (known + 1.0 / variance)).clamp(0.0, 1.0)
    }

    /// The blend with such a member, and its gain.
    fn believed(&self, total: &Stretch, member: usize, prior: Prior, limit: f64) -> Option<(f64, Blend)> {
        let weights = |share: f64| std::array::from_fn(|i| if i == member { share } else { 0.0 });
        let share = self.share(member, prior);
        let (n, with, square) = self.sums(member);
        if n == 0.0 {
            return Some((f64::MIN_POSITIVE, Blend { weights: weights(share), limit, remains: 1.0 }));
        }
        let gained = 2.0 * share * with - share * share * square;
        let recent = self.stretches.iter().rev().take(OVERRULING);
        let recent = recent.map(|s| (s.with[member], s.between[member][member]));
        let lately: f64 = recent.map(|(w, s)| 2.0 * share * w - share * share * s).sum();
        if share <= 0.0 || n >= OVERRULING as f64 && gained <= 0.0 && lately <= 0.0 {
            return None;
        }
        let gain = (gained / total.weight[member]).max(0.0);
        let remains = remains(total, member, gain * n / (n + PRESUMED));
        Some((gain.max(f64::MIN_POSITIVE), Blend { weights: weights(share), limit, remains }))
    }

    /// Of every stretch in which a member forecast: Σ e·d and Σ d².
    fn scores(&self, member: usize) -> impl Iterator<Item = (f64, f64)> + '_ {
        let scores = self.stretches.iter().map(move |s| (s.with[member], s.between[member][member]));
        scores.filter(|(_, square)| *square > 0.0)
    }

    /// How many these are, and the sums of both.
    fn sums(&self, member: usize) -> (f64, f64, f64) {
        self.scores(member).fold((0.0, 0.0, 0.0), |sum, (w, s)| (sum.0 + 1.0, sum.1 + w, sum.2 + s))
    }

    /// What is certain of the gain of a set of members, as a share of the bank's squared error, and its blend.
    fn proven(&self, total: &Stretch, members: [bool; MEMBERS]) -> Option<(f64, Blend)> {
        let shares = least_squares(total, members)?;
        let scores = || self.stretches.iter().map(|s| s.scores(&shares)).filter(|(_, square)| *square > 0.0);
        let n = scores().count();
        let (with, square) = scores().fold((0.0, 0.0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
        if n < ENOUGH || square <= 0.0 {
            return None;
        }
        // Standard error of the ratio with/square, from how much the stretches differ.
        let ratio = with / square;
        let spread: f64 = scores().map(|(w, s)| (w - ratio * s).powi(2)).sum();
        let error = (spread * n as f64 / (n - 1) as f64).sqrt() / square;
        let certain = (ratio - certainty(n) * error).min(1.0);
        let recent = self.stretches.iter().rev().take(RECENT).map(|s| s.scores(&shares));
        let lately: f64 = recent.map(|(w, s)| 2.0 * certain * w - certain * certain * s).sum();
        if certain <= 0.0 || lately <= 0.0 {
            return None;
        }
        let first = members.iter().position(|m| *m)?;
        let gain = (2.0 * certain * with - certain * certain * square) / total.weight[first];
        let remains = remains(total, first, gain);
        let limit = GATE * certain * (square / total.weight[first]).sqrt();
        Some((gain, Blend { weights: shares.map(|s| s * certain), limit, remains }))
    }
}

/// For so many stretches counts what is presumed of their spread: that the best share differs by 1 between them.
const PRESUMED: f64 = 3.0;

/// What a gain (ns²) leaves of the bank's variance.
fn remains(total: &Stretch, member: usize, gain: f64) -> f64 {
    let error = (total.short[member] - total.noise[member]) / total.weight[member];
    if error > gain { (1.0 - gain / error).clamp(LEAST, 1.0) } else { LEAST }
}

/// No blend makes the bank's variance smaller than this share of it.
const LEAST: f64 = 0.25;

/// By how many standard errors a share is cut: more where few stretches speak.
fn certainty(stretches: usize) -> f64 {
    2.0 + 4.0 / stretches as f64
}

impl Stretch {
    fn new(begun: RawInstant) -> Stretch {
        let zero = [0.0; MEMBERS];
        Stretch { begun, weight: zero, short: zero, noise: zero, with: zero, between: [zero; MEMBERS] }
    }

    fn add(&mut self, other: &Stretch) {
        for i in 0..MEMBERS {
            self.weight[i] += other.weight[i];
            self.short[i] += other.short[i];
            self.noise[i] += other.noise[i];
            self.with[i] += other.with[i];
            for k in 0..MEMBERS {
                self.between[i][k] += other.between[i][k];
            }
        }
    }

    /// Sum of the member's own squared errors, (e − d)².
    fn error(&self, member: usize) -> f64 {
        (self.short[member] - 2.0 * self.with[member] + self.between[member][member]).max(0.0)
    }

    /// Σ e·D and Σ D² for D = Σ share·d.
    fn scores(&self, shares: &[f64; MEMBERS]) -> (f64, f64) {
        let with = shares.iter().zip(&self.with).map(|(s, w)| s * w).sum();
        let row = |row: &[f64; MEMBERS]| shares.iter().zip(row).map(|(s, b)| s * b).sum::<f64>();
        let square = shares.iter().zip(&self.between).map(|(s, between)| s * row(between)).sum::<f64>();
        (with, square)
    }
}

/// The shares of a set of members, each between 0 and 1; `None` if one of them would be negative.
fn least_squares(total: &Stretch, members: [bool; MEMBERS]) -> Option<[f64; MEMBERS]> {
    let mut a = total.between;
    let mut b = total.with;
    for i in 0..MEMBERS {
        if !members[i] {
            (a[i], b[i]) = ([0.0; MEMBERS], 0.0);
            a.iter_mut().for_each(|row| row[i] = 0.0);
        }
        a[i][i] = if members[i] { a[i][i] * (1.0 + 1e-6) } else { 1.0 };
    }
    solve(&mut a, &mut b)?;
    (0..MEMBERS).all(|i| members[i] == (b[i] > 0.0)).then(|| b.map(|share| share.min(1.0)))
}

/// Solves a·x = b for a positive definite matrix, by elimination without exchange; `b` becomes x.
pub(super) fn solve<const N: usize>(a: &mut [[f64; N]; N], b: &mut [f64; N]) -> Option<()> {
    for i in 0..N {
        if a[i][i] <= 0.0 {
            return None;
        }
        let pivot = a[i];
        for k in i + 1..N {
            let factor = a[k][i] / pivot[i];
            a[k].iter_mut().zip(pivot).for_each(|(x, y)| *x -= factor * y);
            b[k] -= factor * b[i];
        }
    }
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / a[i][i];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    /// Feeds hours of samples: e is what the first member knows, times `truth`, and something that it does not know.
    fn fed(truth: f64, own: f64, hours: i64) -> Skill {
        let mut skill = Skill::new(600.0);
        let mut noise = 1u64;
        let mut random = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let mut d = 0.0;
        for second in (0..hours * 3600).step_by(16) {
            if second % 608 == 0 {
                d = 1e5 * random();
            }
            let e = truth * d + own * 1e5 * random();
            let now = RawInstant::from_nanos(second * 1_000_000_000);
            skill.observe(&[Some((e, d)), Some((e, 2.0 * d)), None], 1e6, now);
        }
        skill
    }

    const FIRST: [bool; MEMBERS] = [true, false, false];
    const NOTHING: Known = Known { priors: [None; MEMBERS], limit: 0.0 };

    #[test]
    fn a_share_is_what_the_errors_say_and_less_while_little_is_known() {
        let share = |hours| fed(0.5, 0.1, hours).blend(FIRST, 1e9, &NOTHING).weights[0];
        assert_eq!(share(0), 0.0);
        assert!(share(1) < share(5) && (0.45..0.5).contains(&share(5)), "{} {}", share(1), share(5));
    }

    #[test]
    fn one_who_knows_nothing_has_no_share_and_one_who_is_contrary_neither() {
        assert!(fed(0.0, 1.0, 5).blend(FIRST, 1e9, &NOTHING).weights[0] < 0.05);
        assert!(fed(-1.0, 0.1, 5).blend(FIRST, 1e9, &NOTHING).is_nothing());
    }

    #[test]
    fn two_who_say_the_same_share_one_correction() {
        let both = fed(0.5, 0.1, 5).blend([true, true, false], 1e9, &NOTHING).weights;
        assert!((both[0] + 2.0 * both[1] - 0.5).abs() < 0.05, "{both:?}");
    }

    const GOOD: Prior = Prior { share: 0.8, spread: 0.2 };
    const EXPECTED: Known = Known { priors: [Some(GOOD), None, None], limit: 5e4 };

    fn expected(truth: f64, own: f64, hours: i64) -> f64 {
        fed(truth, own, hours).blend(FIRST, 1e9, &EXPECTED).weights[0]
    }

    #[test]
    fn what_was_known_before_counts_until_evidence_says_otherwise() {
        let fresh = Skill::new(600.0);
        assert_eq!(fresh.blend(FIRST, 1e9, &EXPECTED).weights[0], 0.8);
        assert_eq!(fresh.blend([false; MEMBERS], 1e9, &EXPECTED), Blend::NOTHING);
        assert!((0.45..0.6).contains(&expected(0.5, 0.1, 10)), "{}", expected(0.5, 0.1, 10));
        assert_eq!(expected(-1.0, 0.1, 3), 0.0);
        assert_eq!(expected(0.0, 0.1, 3), 0.0);
    }

    #[test]
    fn what_was_known_before_moves_the_answer_no_further_than_allowed() {
        for skill in [Skill::new(600.0), fed(0.5, 0.1, 5)] {
            let blend = skill.blend(FIRST, 1e9, &EXPECTED);
            assert_eq!(blend.apply(&[Some(1e6), None, None]).0[0].round(), 5e4);
        }
    }

    #[test]
    fn one_who_is_less_certain_than_allowed_is_left_out() {
        assert!(fed(0.5, 0.1, 5).blend(FIRST, 1e3, &NOTHING).is_nothing());
    }

    #[test]
    fn a_correction_stays_within_what_was_proven() {
        let blend = fed(0.5, 0.1, 5).blend(FIRST, 1e9, &NOTHING);
        let (parts, scale) = blend.apply(&[Some(1e9), None, None]);
        assert!(parts[0] < 1e6 && scale < 1e-2, "{parts:?}");
        assert_eq!(blend.apply(&[Some(1e4), None, None]).1, 1.0);
    }

    #[test]
    fn what_lies_long_back_is_forgotten() {
        let mut skill = fed(0.5, 0.1, 5);
        let later = RawInstant::from_nanos(0) + Span::from_secs(400_000);
        for i in 0..40 {
            skill.observe(&[Some((0.0, 1e5)), None, None], 1e6, later + Span::from_secs(600 * i));
        }
        assert!(skill.blend(FIRST, 1e9, &NOTHING).is_nothing());
    }
}
