//! A line through what a source's newest answers differed from corrected time, for those who ask how it drifts and scatters.

use crate::snapshot::StatisticsView;
use chronotick_core::RawInstant;
use std::collections::VecDeque;

/// The newest answers of one source.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    /// When, and the source minus corrected time, ns.
    points: VecDeque<(RawInstant, i64)>,
    /// The source minus the system clock at the newest, ns.
    pub(super) system_offset_ns: Option<i64>,
}

impl Statistics {
    /// chrony's largest number of samples.
    const KEPT: usize = 64;

    pub(super) fn add(&mut self, at: RawInstant, residual_ns: i64) {
        if self.points.len() == Statistics::KEPT {
            self.points.pop_front();
        }
        self.points.push_back((at, residual_ns));
    }

    /// The line by least squares; none below three points.
    pub(super) fn view(&self) -> Option<StatisticsView> {
        let (newest, _) = *self.points.back().filter(|_| self.points.len() >= 3)?;
        let points: Vec<(f64, f64)> =
            self.points.iter().map(|&(at, ns)| ((at - newest).as_secs_f64(), ns as f64)).collect();
        let n = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (x, y) = (mean(&|p| p.0), mean(&|p| p.1));
        let (sxx, sxy) = (n * mean(&|p| (p.0 - x).powi(2)), n * mean(&|p| (p.0 - x) * (p.1 - y)));
        let slope = if sxx > 0.0 { sxy / sxx } else { 0.0 };
        let residuals: Vec<f64> = points.iter().map(|p| p.1 - y - slope * (p.0 - x)).collect();
        let variance = residuals.iter().map(|r| r * r).sum::<f64>() / (n - 2.0);
        let runs = 1 + residuals.windows(2).filter(|r| (r[0] < 0.0) != (r[1] < 0.0)).count();
        Some(StatisticsView {
            samples: points.len() as u32,
            runs: runs as u32,
            span_seconds: -points[0].0,
            frequency_ppm: slope * 1e-3,
            skew_ppm: if sxx > 0.0 { (variance / sxx).sqrt() * 1e-3 } else { 0.0 },
            offset_ns: (y - slope * x).round() as i64,
            deviation_ns: variance.sqrt().round() as i64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_source_shows_its_drift() {
        let mut statistics = Statistics::default();
        for second in 0..100 {
            assert_eq!(statistics.view().is_some(), second >= 3);
            let noise = if second % 2 == 0 { 100 } else { -100 };
            statistics.add(RawInstant::from_nanos(second * 1_000_000_000), 5_000 + 2_000 * second + noise);
        }
        let view = statistics.view().unwrap();
        assert_eq!((view.samples, view.runs, view.span_seconds.round()), (64, 64, 63.0));
        assert!((view.frequency_ppm - 2.0).abs() < 0.01 && view.skew_ppm < 0.01, "{view:?}");
        assert!((view.offset_ns - 203_000).abs() < 60 && (view.deviation_ns - 101).abs() < 3, "{view:?}");
    }
}
