//! The estimator: how true time runs against the raw clock, learned from measurements only.

use crate::{Levels, Measurement, Rate, RawInstant, SourceId, Timestamp, Variance};

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

/// Learns how true time runs against the raw clock.
#[derive(Debug, Default)]
pub struct Estimator {
    last: Option<Measurement>,
}

impl Estimator {
    /// Takes in a measurement of a source that selection trusts.
    ///
    /// Measurements come in the order of `received`; one that is older than the newest is ignored.
    pub fn observe(&mut self, measurement: &Measurement) {
        self.last = Some(*measurement);
    }

    /// Forgets what was learned of one source's path: it was removed, replaced or has stepped.
    pub fn forget_source(&mut self, _source: SourceId) {}

    /// The raw clock was disturbed: time must be measured anew, the frequency may be kept.
    pub fn disrupted(&mut self) {
        self.last = None;
    }

    /// The estimate at an instant not before the newest measurement's `received`; `None` before the first measurement.
    pub fn estimate(&mut self, at: RawInstant) -> Option<Estimate> {
        let m = self.last?;
        let sigma = m.max_error().as_nanos() as f64;
        Some(Estimate {
            at,
            utc: m.utc + (at - m.at),
            rate: Rate::ZERO,
            rate_sigma: Rate::from_ppm(50.0),
            variance: Variance([sigma * sigma, 0.0, 50e3 * 50e3, 0.0]),
            levels: Levels::NORMAL,
        })
    }
}
