//! What recent innovations say about the filters' honesty.
//!
//! If the filters are right, innovations are white: their weighted mean over any stretch is as small as its own noise.
//! A mean that is larger says that the estimate lags behind, or that a queue misleads it, and by about how much. The
//! interval is widened by that until it has passed.

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
/// A lasting excess over the variance up to this is chance; the rest counts so many times.
const TOLERATED: f64 = 0.1;
const LASTING_SHARE: f64 = 1.25;

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

    /// By how much the filters' variance is to be multiplied, because innovations have not been white for long.
    pub(super) fn factor(&self) -> f64 {
        let most = self.stretches.iter().map(|s| s.lasting).fold(0.0, f64::max);
        1.0 + LASTING_SHARE * (most - TOLERATED).max(0.0)
    }

    /// The variance (s²) that the estimate has beyond what the filters say.
    pub(super) fn excess(&self) -> f64 {
        let beyond = |t: &Stretch| (t.sum * t.sum - USUAL * t.noise).max(0.0) / (t.weight * t.weight);
        SHARE * self.stretches.iter().filter(|t| t.weight > 0.0).map(beyond).fold(0.0, f64::max)
    }
}
