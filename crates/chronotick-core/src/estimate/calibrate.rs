//! What recent packets say about the filters' honesty.
//!
//! If the filters are right, innovations are white: their weighted mean over any stretch is as small as its own noise.
//! A mean that is larger says that the estimate lags behind, or that a queue misleads it, and by about how much. The
//! interval is widened by that until it has passed; where means have been smaller than that for hours, it is narrowed.
//!
//! A queue in which all packets stand alike, on one way, is not seen there: the estimate follows it. That every packet of
//! late was slow is seen.

use super::floor::Excess;

/// Stretches over which the mean is taken, in effective measurements.
const STRETCHES: [f64; 3] = [6.0, 24.0, 96.0];

/// A squared mean is not remarkable up to so many times its variance.
const USUAL: f64 = 2.5;
/// The rest counts so many times, because the mean lags behind what it shows.
const SHARE: f64 = 1.5;
/// What is remembered of a squared mean for long: at most so many times its variance, over so many measurements or ten
/// of its stretches.
const LARGEST: f64 = 6.0;
const HABIT: f64 = 300.0;
/// A lasting excess over the variance up to this is chance; the rest counts so many times, and a lack the same. The variance
/// stays at least this part of what the filters say.
const TOLERATED: f64 = 0.1;
const LASTING_SHARE: f64 = 1.25;
const SMALLEST: f64 = 0.3;

/// Packets are slow together if each of the last so many took longer than is usual in calm times.
const TOGETHER: usize = 16;
/// So many times what they all took longer is the error's standard deviation, since what is usual has its share of such times.
const SLOW_SHARE: f64 = 4.0;

/// Exponentially weighted means of innovations.
#[derive(Clone, Debug, Default)]
pub(super) struct Whiteness {
    stretches: [Stretch; STRETCHES.len()],
}

#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    /// Sum of innovations over their variances.
    sum: f64,
    /// Sum of the inverse variances.
    weight: f64,
    /// Variance of `sum`, if innovations are white.
    noise: f64,
    /// By how much the squared mean is larger than its variance, as a share of it, over the last hours.
    lasting: f64,
}

impl Whiteness {
    /// Takes in an innovation (s) and its variance (s²).
    pub(super) fn observe(&mut self, e: f64, s: f64) {
        let limit = 3.0 * s.sqrt();
        let e = e.clamp(-limit, limit);
        for (stretch, length) in self.stretches.iter_mut().zip(STRETCHES) {
            let keep = 1.0 - 1.0 / length;
            stretch.sum = stretch.sum * keep + e / s;
            stretch.weight = stretch.weight * keep + 1.0 / s;
            stretch.noise = stretch.noise * keep * keep + 1.0 / s;
            let share = (stretch.sum * stretch.sum / stretch.noise).min(LARGEST) - 1.0;
            stretch.lasting += (share - stretch.lasting) / (10.0 * length).max(HABIT);
        }
    }

    /// By how much the filters' variance is to be multiplied, because innovations have been less white, or smaller, than
    /// the filters say for long.
    pub(super) fn factor(&self) -> f64 {
        let most = self.stretches.iter().map(|s| s.lasting).fold(-1.0, f64::max);
        (1.0 + LASTING_SHARE * (most.min(0.0) + (most - TOLERATED).max(0.0))).max(SMALLEST)
    }

    /// The variance (s²) that the estimate has beyond what the filters say.
    pub(super) fn excess(&self) -> f64 {
        let beyond = |t: &Stretch| (t.sum * t.sum - USUAL * t.noise).max(0.0) / (t.weight * t.weight);
        SHARE * self.stretches.iter().filter(|t| t.weight > 0.0).map(beyond).fold(0.0, f64::max)
    }
}

/// What packets have in common that made all of them slow, as far as the estimate has followed it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slowness {
    /// By how much each of the newest was slower than in calm times, as the largest error that explains, s.
    newest: [f64; TOGETHER],
    observed: usize,
    /// Their smallest, as it went into the estimate, s.
    followed: f64,
}

impl Slowness {
    /// Takes in how slow a packet was, and the share of its innovation that the estimate followed.
    pub(super) fn observe(&mut self, excess: &Excess, gain: f64) {
        self.newest[self.observed % TOGETHER] = (excess.most - excess.calm).max(0.0);
        self.observed += 1;
        let all = self.newest.iter().copied().fold(f64::INFINITY, f64::min);
        self.followed += gain.clamp(0.0, 1.0) * (all - self.followed);
    }

    /// The variance (s²) that this adds.
    pub(super) fn variance(&self) -> f64 {
        (SLOW_SHARE * self.followed).powi(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innovations_smaller_than_their_variance_narrow_and_larger_ones_widen() {
        let factor = |size: f64| {
            let mut whiteness = Whiteness::default();
            // Of random signs, by a shift register.
            let mut bits = 0xace1u16;
            for _ in 0..4000 {
                bits = bits >> 1 ^ if bits & 1 == 1 { 0xb400 } else { 0 };
                whiteness.observe(if bits & 1 == 1 { size } else { -size }, 1.0);
            }
            whiteness.factor()
        };
        let [small, fair, large] = [0.5, 1.0, 2.0].map(factor);
        assert!(small < 0.8 && (0.8..1.3).contains(&fair) && large > 1.5, "{small} {fair} {large}");
    }

    #[test]
    fn one_quick_packet_in_sixteen_says_that_the_way_is_free() {
        let slow = Excess { most: 5e-3, usual: 5e-3, calm: 1e-3 };
        let mut slowness = Slowness::default();
        (0..15).for_each(|_| slowness.observe(&slow, 0.2));
        assert_eq!(slowness.variance(), 0.0);
        (0..40).for_each(|_| slowness.observe(&slow, 0.2));
        assert!((slowness.variance().sqrt() - 16e-3).abs() < 1e-4, "{}", slowness.variance().sqrt());
        slowness.observe(&Excess { most: 0.5e-3, ..slow }, 0.2);
        assert!(slowness.variance().sqrt() < 13e-3);
    }
}
