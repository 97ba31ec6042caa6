//! Distributions of delays: what queues, radio links and detours add to a packet's journey.

use crate::quantity::Seconds;
use crate::random::Random;
use serde::Deserialize;

/// A distribution of a non-negative time.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Distribution {
    /// Always the same.
    Constant(Seconds),
    /// Anything between two values, equally likely.
    Uniform { from: Seconds, to: Seconds },
    /// A queue that empties at random.
    Exponential { mean: Seconds },
    /// Heavy-tailed (Pareto of the second kind), cut off at `max`; without a mean where `shape` is 1 or less.
    Lomax { shape: f64, scale: Seconds, max: Seconds },
    /// A radio link: no sharp floor. `sigma` is the standard deviation of the logarithm.
    Lognormal { median: Seconds, sigma: f64 },
    /// Only in this share of the draws, otherwise zero.
    Sometimes { chance: f64, of: Box<Distribution> },
}

impl Distribution {
    /// One draw, in seconds.
    pub(crate) fn draw(&self, random: &mut Random) -> f64 {
        match self {
            Distribution::Constant(value) => value.0,
            Distribution::Uniform { from, to } => from.0 + (to.0 - from.0) * random.uniform(),
            Distribution::Exponential { mean } => mean.0 * random.exponential(),
            Distribution::Lomax { shape, scale, max } => {
                (scale.0 * (libm::pow(1.0 - random.uniform(), -1.0 / shape) - 1.0)).min(max.0)
            }
            Distribution::Lognormal { median, sigma } => median.0 * libm::exp(sigma * random.normal()),
            Distribution::Sometimes { chance, of } => {
                if random.chance(*chance) {
                    of.draw(random)
                } else {
                    0.0
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(d: &Distribution) -> Vec<f64> {
        let mut random = Random::new(5, "distribution");
        let mut x: Vec<f64> = (0..100_000).map(|_| d.draw(&mut random)).collect();
        x.sort_by(f64::total_cmp);
        x
    }

    /// Against the inverse of the distribution function: the share of draws below its value at p must be p.
    fn follows(d: Distribution, quantile: impl Fn(f64) -> f64) {
        let x = sorted(&d);
        for p in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999] {
            let below = x.partition_point(|&v| v <= quantile(p)) as f64 / x.len() as f64;
            let four_sigma = 4.0 * (p * (1.0 - p) / x.len() as f64).sqrt();
            assert!((below - p).abs() < four_sigma, "{d:?}: {below} at {p}");
        }
    }

    fn ms(x: f64) -> Seconds {
        Seconds(x * 1e-3)
    }

    #[test]
    fn each_follows_its_distribution_function() {
        follows(Distribution::Uniform { from: ms(1.0), to: ms(3.0) }, |p| 1e-3 * (1.0 + 2.0 * p));
        follows(Distribution::Exponential { mean: ms(0.3) }, |p| -0.3e-3 * (1.0 - p).ln());
        let (shape, max) = (1.6, ms(1000.0));
        follows(Distribution::Lomax { shape, scale: ms(2.0), max }, |p| {
            2e-3 * ((1.0 - p).powf(-1.0 / shape) - 1.0)
        });
        // Quantiles of the standard normal at the same probabilities, from tables.
        let z = |p: f64| -> f64 {
            match (p * 1000.0).round() as i64 {
                10 => -2.326348,
                100 => -1.281552,
                250 => -0.674490,
                500 => 0.0,
                750 => 0.674490,
                900 => 1.281552,
                990 => 2.326348,
                _ => 3.090232,
            }
        };
        follows(Distribution::Lognormal { median: ms(1.5), sigma: 0.8 }, |p| 1.5e-3 * (0.8 * z(p)).exp());
    }

    #[test]
    fn means_are_the_analytic_ones() {
        let mean = |d: Distribution| {
            let x = sorted(&d);
            x.iter().sum::<f64>() / x.len() as f64
        };
        let exponential = Distribution::Exponential { mean: ms(0.3) };
        assert!((mean(exponential.clone()) / 0.3e-3 - 1.0).abs() < 0.02);
        let rare = Distribution::Sometimes { chance: 0.2, of: Box::new(exponential) };
        assert!((mean(rare) / 0.06e-3 - 1.0).abs() < 0.05);
        let lomax = Distribution::Lomax { shape: 3.0, scale: ms(2.0), max: Seconds(100.0) };
        assert!((mean(lomax) / 1e-3 - 1.0).abs() < 0.03, "scale / (shape - 1)");
        let lognormal = Distribution::Lognormal { median: ms(1.5), sigma: 0.8 };
        assert!((mean(lognormal) / (1.5e-3 * (0.32f64).exp()) - 1.0).abs() < 0.02);
    }

    #[test]
    fn the_tail_is_cut() {
        let d = Distribution::Lomax { shape: 0.5, scale: ms(2.0), max: ms(50.0) };
        assert_eq!(*sorted(&d).last().unwrap(), 0.05);
    }
}
