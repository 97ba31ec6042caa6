//! Trends: how fast an offset grows, how certain that is, and whether it grows faster than its own past predicts.

use chronotick_clock::{RawInstant, Span};
use serde::Serialize;
use std::collections::VecDeque;

/// How fast a quantity grows, by the median of the slopes between all pairs of points, with a rank-based confidence
/// interval: outliers move neither (Sen 1968, doi:10.1080/01621459.1968.10480934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Growth per second, in parts per million.
    pub slope_ppm: f64,
    /// The lower end of its 95 % interval.
    pub low_ppm: f64,
    /// The upper end.
    pub high_ppm: f64,
    /// Of so many points.
    pub points: usize,
}

impl Trend {
    /// The most points between which slopes are taken; more are averaged in groups first.
    const POINTS: usize = 240;

    /// The trend of points (seconds, seconds); none of fewer than five, or of one instant.
    pub fn of(points: &[(f64, f64)]) -> Option<Trend> {
        let size = points.len().div_ceil(Trend::POINTS).max(1);
        let mean = |group: &[(f64, f64)]| {
            let n = group.len() as f64;
            (group.iter().map(|p| p.0).sum::<f64>() / n, group.iter().map(|p| p.1).sum::<f64>() / n)
        };
        let points: Vec<(f64, f64)> = points.chunks(size).map(mean).collect();
        let pairs = points.iter().enumerate().flat_map(|(i, a)| points[i + 1..].iter().map(move |b| (a, b)));
        let mut slopes: Vec<f64> =
            pairs.filter(|(a, b)| b.0 != a.0).map(|(a, b)| (b.1 - a.1) / (b.0 - a.0) * 1e6).collect();
        if points.len() < 5 || slopes.is_empty() {
            return None;
        }
        slopes.sort_by(f64::total_cmp);
        let (count, n) = (slopes.len(), points.len() as f64);
        // Standard deviation of Kendall's S under no trend.
        let sigma = (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
        let reach = (1.96 * sigma / 2.0).ceil() as usize;
        let middle = count / 2;
        Some(Trend {
            slope_ppm: median_of_sorted(&slopes),
            low_ppm: slopes[middle.saturating_sub(reach)],
            high_ppm: slopes[(middle + reach).min(count - 1)],
            points: points.len(),
        })
    }

    /// Whether the interval excludes that there is no growth.
    pub fn is_certain(&self) -> bool {
        self.low_ppm > 0.0 || self.high_ppm < 0.0
    }
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// The median; NaN of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { f64::NAN } else { median_of_sorted(&values) }
}

/// What the past says about a new offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foretold {
    Within,
    Beyond { expected: Span, margin: Span },
}

/// The offsets of the past in steps of equal length, each the median of its samples.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    steps: VecDeque<(f64, f64)>,
    begun: Option<RawInstant>,
    step: i64,
    waiting: Vec<f64>,
}

impl History {
    /// One step.
    const STEP: Span = Span::from_secs(300);
    /// Two days.
    const STEPS: usize = 576;
    /// Fewer steps predict nothing: two hours.
    const LEAST: usize = 24;
    /// The newest steps are what is judged, so they do not predict.
    const JUDGED: usize = 3;
    /// Beyond so many standard deviations of what the past scattered by. The trend is extrapolated, so more than usual.
    const SIGMAS: f64 = 6.0;

    /// Takes in an offset; a verdict at each new step once there is a past.
    pub(crate) fn take(&mut self, at: RawInstant, offset: Span) -> Option<Foretold> {
        let since = at - *self.begun.get_or_insert(at);
        let step = since.as_nanos().div_euclid(History::STEP.as_nanos());
        let verdict = if step != self.step && !self.waiting.is_empty() {
            let value = median(std::mem::take(&mut self.waiting));
            let time = (self.step as f64 + 0.5) * History::STEP.as_secs_f64();
            let verdict = self.judge(time, value);
            if self.steps.len() == History::STEPS {
                self.steps.pop_front();
            }
            self.steps.push_back((time, value));
            verdict
        } else {
            None
        };
        self.step = step;
        self.waiting.push(offset.as_secs_f64());
        verdict
    }

    fn judge(&self, time: f64, value: f64) -> Option<Foretold> {
        let past = self.steps.len().checked_sub(History::JUDGED).filter(|n| *n >= History::LEAST)?;
        let past: Vec<(f64, f64)> = self.steps.iter().take(past).copied().collect();
        let trend = Trend::of(&past)?;
        let rate = trend.slope_ppm * 1e-6;
        let centre = median(past.iter().map(|p| p.0).collect());
        let level = median(past.iter().map(|p| p.1 - rate * (p.0 - centre)).collect());
        let scatter = median(past.iter().map(|p| (p.1 - level - rate * (p.0 - centre)).abs()).collect());
        let ahead = time - centre;
        let expected = level + rate * ahead;
        let slope = (trend.high_ppm - trend.low_ppm) * 1e-6 / 2.0 * ahead.abs();
        // 1.4826 times the median deviation is the standard deviation of a normal distribution.
        let margin = History::SIGMAS * (1.482_6 * scatter).max(1e-9) + slope;
        // Nearer to zero than foretold is no harm.
        let beyond = (value - expected).abs() > margin && value.abs() > expected.abs();
        let (expected, margin) = (Span::from_secs_f64(expected), Span::from_secs_f64(margin));
        Some(if beyond { Foretold::Beyond { expected, margin } } else { Foretold::Within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Noise without a random number generator: well spread over ±1.
    fn noise(i: u32) -> f64 {
        f64::from(i.wrapping_mul(2_654_435_769) >> 8) / f64::from(1u32 << 23) - 1.0
    }

    #[test]
    fn a_line_with_outliers_keeps_its_slope() {
        let points: Vec<_> = (0..500u32)
            .map(|i| (f64::from(i) * 60.0, if i % 10 == 3 { 5.0 } else { f64::from(i) * 60.0 * 2e-6 }))
            .collect();
        let trend = Trend::of(&points).unwrap();
        assert!((trend.slope_ppm - 2.0).abs() < 0.5 && trend.is_certain(), "{trend:?}");
        assert!(trend.low_ppm <= trend.slope_ppm && trend.slope_ppm <= trend.high_ppm);
    }

    #[test]
    fn noise_has_no_certain_trend_and_few_points_have_none() {
        let points: Vec<_> = (0..200).map(|i| (f64::from(i), noise(i) * 1e-3)).collect();
        assert!(!Trend::of(&points).unwrap().is_certain());
        assert_eq!(Trend::of(&points[..4]), None);
        assert_eq!(Trend::of(&[(1.0, 2.0); 9]), None);
    }

    fn verdicts(offset_ms: impl Fn(u32) -> f64) -> Vec<(u32, bool)> {
        let mut history = History::default();
        let take = |minute: u32| {
            let at = RawInstant::from_nanos(0) + Span::from_secs(i64::from(minute) * 60);
            let verdict = history.take(at, Span::from_secs_f64(offset_ms(minute) / 1e3))?;
            Some((minute, verdict != Foretold::Within))
        };
        (0..1_440).filter_map(take).collect()
    }

    #[test]
    fn a_steady_drift_is_foretold_and_a_faster_one_is_noticed_within_the_hour() {
        let steady = |minute: u32| f64::from(minute) * 0.01 + noise(minute) * 0.2;
        assert!(verdicts(steady).iter().all(|(_, beyond)| !beyond));
        let faster = |minute: u32| steady(minute) + f64::from(minute.saturating_sub(700)) * 0.1;
        let found = verdicts(faster).into_iter().find(|(_, beyond)| *beyond).unwrap().0;
        assert!((700..760).contains(&found), "at minute {found}");
    }

    #[test]
    fn coming_nearer_to_true_time_is_no_alert() {
        let mended = |minute: u32| if minute < 700 { 10.0 + noise(minute) * 0.1 } else { 0.0 };
        assert!(verdicts(mended).iter().all(|(_, beyond)| !beyond));
    }

    proptest! {
        #[test]
        fn no_input_panics(points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..40)) {
            let _ = Trend::of(&points);
        }
    }
}
