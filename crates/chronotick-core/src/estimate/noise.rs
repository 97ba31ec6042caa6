//! How wrong a packet is, given its excess delay: learned per path from how predictions turned out.
//!
//! Where each way's waits are alike the error is spread evenly over ± the excess, of variance excess²/3. Real paths
//! differ. Behind one name stand several servers that disagree, or the round trips were never measured: then no packet
//! is better than some floor, which all packets of the path tell of at once. A radio link has no sharp floor of delays, a
//! long queue stands on one side only: a factor is learned for each size of excess, relative to what is usual on the path.

use super::floor::Excess;

/// Sizes of excess that are told apart: below 1/2, 1/√2, 1, √2, 2, 4 of the usual, and beyond.
const EDGES: [f64; 6] = [0.5, 0.7, 1.0, 1.4, 2.0, 4.0];
const SIZES: usize = EDGES.len() + 1;
/// What all packets tell counts as so many measurements of each size.
const PRIOR: f64 = 5.0;
/// So many measurements are remembered for each size.
const MEMORY: f64 = 150.0;

/// Floors that are thought possible: none, and up to this share of a round trip by octaves.
const HIGHEST: f64 = 0.25;
const FLOORS: usize = 11;
/// The same for a round trip that takes no time, s.
const SHORTEST: f64 = 1e-3;
/// By how much a floor is less likely than the next smaller one before anything was measured, as a logarithm.
const OCTAVE: f64 = 1.5;
/// Over how many measurements the evidence for a floor is forgotten.
const FORGOTTEN: f64 = 200.0;
/// Errors have tails as Student's distribution of so many degrees of freedom has: one wild packet shows no floor.
const FREEDOM: f64 = 8.0;

/// Error of a timestamp without any queue, s.
const STAMP: f64 = 2e-6;

/// What is known of the errors on one path.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    /// The floors that are thought possible, as variances (s²), and how well each foretold the errors, as a logarithm.
    floors: [f64; FLOORS],
    evidence: [f64; FLOORS],
    /// Their mean by that, s².
    floor: f64,
    factor: [f64; SIZES],
    weight: [f64; SIZES],
}

impl Noise {
    /// Of a path with about this round trip, s.
    pub(super) fn new(delay: f64) -> Noise {
        let highest = HIGHEST * delay.max(SHORTEST);
        let floors = std::array::from_fn(|i| match i {
            0 => 0.0,
            _ => (highest * 0.5f64.powi((FLOORS - 1 - i) as i32)).powi(2),
        });
        let evidence = std::array::from_fn(prior);
        let mut noise = Noise { floors, evidence, floor: 0.0, factor: [1.0; SIZES], weight: [PRIOR; SIZES] };
        noise.weigh();
        noise
    }

    /// Variance of a measurement with this excess, s².
    pub(super) fn variance(&self, excess: &Excess) -> f64 {
        self.factor[size(excess)] * self.law(excess)
    }

    /// Judges the floors by a measurement that was off by `e` from a prediction of variance `v`.
    pub(super) fn judge(&mut self, excess: &Excess, e: f64, v: f64) {
        let rest = law(excess) + v;
        let keep = 1.0 - 1.0 / FORGOTTEN;
        for (i, (evidence, floor)) in self.evidence.iter_mut().zip(&self.floors).enumerate() {
            let s = floor + rest;
            let surprise = s.ln() + (FREEDOM + 1.0) * (e * e / (s * FREEDOM)).ln_1p();
            *evidence = keep * *evidence + (1.0 - keep) * prior(i) - 0.5 * surprise;
        }
        self.weigh();
    }

    /// Learns from a measurement that was off by `e` from a prediction of variance `v`.
    pub(super) fn learn(&mut self, excess: &Excess, e: f64, v: f64) {
        let (k, law) = (size(excess), self.law(excess));
        let r = self.factor[k] * law;
        // One that the prediction drowns says little of its own noise; one far out says no more than at three sigma.
        let telling = (r / (r + v)).powi(2);
        let seen = (e * e).min(9.0 * (v + r)) - v;
        self.weight[k] = (self.weight[k] + telling).min(MEMORY);
        self.factor[k] += telling / self.weight[k] * (seen / law - self.factor[k]);
        self.factor[k] = self.factor[k].max(0.05);
    }

    fn weigh(&mut self) {
        let most = self.evidence.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut floor) = (0.0, 0.0);
        for (evidence, variance) in self.evidence.iter_mut().zip(&self.floors) {
            *evidence -= most;
            sum += evidence.exp();
            floor += evidence.exp() * variance;
        }
        self.floor = floor / sum;
    }

    /// The variance that is expected of a measurement before its size of excess has been heard of, s².
    fn law(&self, excess: &Excess) -> f64 {
        self.floor + law(excess)
    }
}

/// How likely a floor is before anything was measured, as a logarithm.
fn prior(floor: usize) -> f64 {
    -OCTAVE * floor as f64
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

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Excess = Excess { most: 1e-4, usual: 1e-4, calm: 1e-4 };

    /// The standard deviation that a measurement is given after errors of this size either way.
    fn after(errors: impl Iterator<Item = f64>) -> f64 {
        let mut noise = Noise::new(0.03);
        for e in errors {
            noise.judge(&QUEUE, e, 1e-10);
            noise.learn(&QUEUE, e, 1e-10);
        }
        noise.variance(&QUEUE).sqrt()
    }

    #[test]
    fn a_floor_is_learned_within_a_few_packets() {
        let sigma = after([3e-3, -3e-3].into_iter().cycle().take(6));
        assert!((2e-3..4e-3).contains(&sigma), "{sigma}");
    }

    #[test]
    fn where_delays_explain_the_errors_there_is_none_and_one_wild_packet_shows_none() {
        let quiet = || [5e-5, -5e-5].into_iter().cycle();
        let sigma = after(quiet().take(60));
        assert!(sigma < 7e-5, "{sigma}");
        let sigma = after(quiet().take(60).chain([0.02]).chain(quiet().take(10)));
        assert!(sigma < 1.5e-4, "{sigma}");
    }
}
