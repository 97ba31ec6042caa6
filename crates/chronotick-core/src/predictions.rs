//! How often the calibrated interval held what came later: the one judgement of it that needs no truth.

use crate::Levels;

/// Measurements that could be foretold, and how many of them were where the interval had claimed, for each of
/// [`Levels::PROBABILITIES`]. What is claimed of a measurement is the interval of true time, widened by the noise of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Predictions {
    /// So many were foretold.
    pub counted: u64,
    /// So many of them were inside, by level.
    pub covered: [u64; Levels::PROBABILITIES.len()],
}

impl Predictions {
    /// Counts a measurement that is so many standard deviations from where it was expected.
    pub(crate) fn count(&mut self, deviations: f64, levels: Levels) {
        self.counted += 1;
        for (covered, level) in self.covered.iter_mut().zip(Levels::PROBABILITIES) {
            *covered += u64::from(deviations.abs() <= levels.multiplier(level));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_counted_by_its_own_width() {
        let mut predictions = Predictions::default();
        for deviations in [0.5, -1.0, 1.7, -2.1, 2.7, f64::NAN] {
            predictions.count(deviations, Levels::NORMAL);
        }
        assert_eq!(predictions, Predictions { counted: 6, covered: [1, 2, 3, 4] });
    }
}
