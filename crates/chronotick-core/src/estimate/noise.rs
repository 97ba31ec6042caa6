//! How wrong a packet is, given its excess delay: learned per path from how predictions turned out.
//!
//! Where each way's waits are alike the error is spread evenly over ± the excess, of variance excess²/3. Real paths
//! differ: a radio link has no sharp floor, a long queue stands on one side only. A factor on that law is learned
//! for each size of excess, relative to what is usual on the path.

use super::floor::Excess;

/// Sizes of excess that are told apart: below 1/2, 1/√2, 1, √2, 2, 4 of the usual, and beyond.
const EDGES: [f64; 6] = [0.5, 0.7, 1.0, 1.4, 2.0, 4.0];
const SIZES: usize = EDGES.len() + 1;
/// The law counts as so many measurements.
const PRIOR: f64 = 12.0;
/// So many measurements are remembered for each size.
const MEMORY: f64 = 150.0;
/// A measurement that is off by more than was thought possible is thought to be off by this share of it usually.
const WIDE: f64 = 0.3;
/// Error of a timestamp without any queue, s.
const STAMP: f64 = 2e-6;

/// What is known of the errors on one path.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    factor: [f64; SIZES],
    weight: [f64; SIZES],
}

impl Noise {
    pub(super) fn new() -> Noise {
        Noise { factor: [1.0; SIZES], weight: [PRIOR; SIZES] }
    }

    /// Variance of a measurement with this excess, s².
    pub(super) fn variance(&self, excess: &Excess) -> f64 {
        self.factor[size(excess)] * law(excess)
    }

    /// Learns from a measurement that was off by `e` from a prediction of variance `v`.
    pub(super) fn learn(&mut self, excess: &Excess, e: f64, v: f64) {
        let (k, law) = (size(excess), law(excess));
        let r = self.factor[k] * law;
        // One that the prediction drowns says little of its own noise; one far out says no more than at three sigma.
        let telling = (r / (r + v)).powi(2);
        let seen = (e * e).min(9.0 * (v + r)) - v;
        self.weight[k] = (self.weight[k] + telling).min(MEMORY);
        self.factor[k] += telling / self.weight[k] * (seen / law - self.factor[k]);
        self.factor[k] = self.factor[k].max(0.05);
    }

    /// Learns that a measurement was off by `e` (s), far more than was thought possible.
    pub(super) fn widen(&mut self, excess: &Excess, e: f64) {
        let (k, law) = (size(excess), law(excess));
        self.factor[k] = self.factor[k].max(WIDE.powi(2) * e * e / law);
    }
}

fn size(excess: &Excess) -> usize {
    let relative = excess.most / (excess.usual + STAMP);
    EDGES.partition_point(|edge| *edge <= relative)
}

/// The waits of the two ways are each positive, so the error is within the excess; far above the calm excess the
/// packets of all sources err together (a full queue) and must not average out.
fn law(excess: &Excess) -> f64 {
    let crowded = excess.most / (4.0 * excess.calm + STAMP);
    STAMP.powi(2) + excess.most.powi(2) / 3.0 * (1.0 + crowded * crowded)
}
