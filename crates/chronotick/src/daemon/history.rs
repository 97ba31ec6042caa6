//! The newest hours of the machine's conditions, for models that take covariates.

use chronotick_core::{CHANNELS, Conditions, RawInstant, Span};
use std::collections::VecDeque;

/// Readings that are kept: at one each 10 s more than five hours, which is what a long context covers.
const KEPT: usize = 2048;
/// A reading holds for so long.
const FRESH: Span = Span::from_secs(60);

/// Conditions in the order of their instants.
#[derive(Default)]
pub(super) struct History {
    kept: VecDeque<Conditions>,
}

impl History {
    /// Keeps a reading.
    pub(super) fn keep(&mut self, reading: Conditions) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(reading);
    }

    /// Each condition at the points of a grid that ends at `at`, the newest last; NaN where it was not measured.
    pub(super) fn on_grid(&self, at: RawInstant, step: Span, points: usize) -> Vec<Vec<f64>> {
        let reading = |instant: RawInstant| {
            let after = self.kept.partition_point(|c| c.at <= instant);
            self.kept.get(after.checked_sub(1)?).filter(|c| instant - c.at < FRESH.max(step))
        };
        let grid: Vec<Option<&Conditions>> =
            (0..points as i64).rev().map(|back| reading(at - step.times(back))).collect();
        let channel =
            |i: usize| grid.iter().map(|c| c.and_then(|c| c.values[i]).unwrap_or(f64::NAN)).collect();
        (0..CHANNELS).map(channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_hold_on_a_grid_until_they_are_old() {
        let mut history = History::default();
        let at = |seconds| RawInstant::from_nanos(0) + Span::from_secs(seconds);
        for (seconds, temperature) in [(0, 40.0), (10, 41.0), (20, 42.0)] {
            let values = [None, Some(temperature), None, None, None];
            history.keep(Conditions { at: at(seconds), values });
        }
        let grid = history.on_grid(at(95), Span::from_secs(10), 11);
        let known = [f64::NAN, 40.0, 41.0, 42.0, 42.0, 42.0, 42.0, 42.0, 42.0, f64::NAN, f64::NAN];
        assert!(grid[1].iter().zip(known).all(|(a, b)| *a == b || a.is_nan() && b.is_nan()), "{grid:?}");
        assert!(grid[0].iter().all(|x| x.is_nan()));
    }
}
