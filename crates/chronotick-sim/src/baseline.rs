//! What simpler clocks make of the same measurements: the yardsticks that an estimator has to beat.

use chronotick_core::{Measurement, RawInstant, SourceId, Span, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// A simple way to tell the time from measurements.
pub(crate) trait Baseline {
    /// The word used in tables.
    fn name(&self) -> &'static str;
    /// Takes in a measurement.
    fn observe(&mut self, measurement: &Measurement);
    /// True time at a raw instant, as far as it knows.
    fn utc(&self, raw: RawInstant) -> Option<Timestamp>;
    /// The raw clock was disturbed: everything is to be forgotten.
    fn forget(&mut self);
}

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Baseline>> {
    vec![Box::new(HoldLast::default()), Box::new(LowDelayMedian::default()), Box::new(Regression::default())]
}

/// Believes the newest measurement until the next.
#[derive(Default)]
struct HoldLast {
    last: Option<Measurement>,
}

impl Baseline for HoldLast {
    fn name(&self) -> &'static str {
        "hold-last"
    }
    fn observe(&mut self, measurement: &Measurement) {
        self.last = Some(*measurement);
    }
    fn utc(&self, raw: RawInstant) -> Option<Timestamp> {
        self.last.map(|m| m.utc + (raw - m.at))
    }
    fn forget(&mut self) {
        self.last = None;
    }
}

/// The newest measurements of each source.
#[derive(Default)]
struct Windows {
    sources: BTreeMap<SourceId, VecDeque<Measurement>>,
}

impl Windows {
    fn push(&mut self, measurement: &Measurement, length: usize) {
        let window = self.sources.entry(measurement.source).or_default();
        if window.len() == length {
            window.pop_front();
        }
        window.push_back(*measurement);
    }
}

/// Of each source the fastest of the last eight measurements (RFC 5905 §10); of those the median.
#[derive(Default)]
struct LowDelayMedian {
    windows: Windows,
}

impl Baseline for LowDelayMedian {
    fn name(&self) -> &'static str {
        "low-delay median"
    }
    fn observe(&mut self, measurement: &Measurement) {
        self.windows.push(measurement, 8);
    }
    fn utc(&self, raw: RawInstant) -> Option<Timestamp> {
        let best =
            |w: &VecDeque<Measurement>| w.iter().rev().min_by_key(|m| m.delay).map(|m| m.utc + (raw - m.at));
        let mut said: Vec<Timestamp> = self.windows.sources.values().filter_map(best).collect();
        said.sort_unstable();
        let n = said.len();
        let (low, high) = (*said.get(n.wrapping_sub(1) / 2)?, *said.get(n / 2)?);
        Some(low + (high - low).half())
    }
    fn forget(&mut self) {
        self.windows.sources.clear();
    }
}

/// A straight line through the faster half of the last 32 measurements of each source.
#[derive(Default)]
struct Regression {
    windows: Windows,
    line: Option<Line>,
}

/// True time as a line over the raw clock.
struct Line {
    at: RawInstant,
    utc: Timestamp,
    slope: f64,
}

impl Regression {
    fn fit(&self) -> Option<Line> {
        let mut fast = Vec::new();
        for window in self.windows.sources.values() {
            let mut sorted: Vec<&Measurement> = window.iter().collect();
            sorted.sort_by_key(|m| m.delay);
            fast.extend_from_slice(&sorted[..window.len().div_ceil(2)]);
        }
        let origin = fast.first()?;
        let points = fast.iter().map(|m| {
            let x = m.at - origin.at;
            (x.as_secs_f64(), ((m.utc - origin.utc) - x).as_secs_f64())
        });
        let n = fast.len() as f64;
        let (sx, sy) = points.clone().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
        let (mx, my) = (sx / n, sy / n);
        let (sxx, sxy) = points
            .fold((0.0, 0.0), |(sxx, sxy), (x, y)| (sxx + (x - mx) * (x - mx), sxy + (x - mx) * (y - my)));
        // A line needs points that are apart.
        let slope = if n >= 4.0 && sxx > 1.0 { sxy / sxx } else { 0.0 };
        let middle = Span::from_secs_f64(mx);
        Some(Line { at: origin.at + middle, utc: origin.utc + middle + Span::from_secs_f64(my), slope })
    }
}

impl Baseline for Regression {
    fn name(&self) -> &'static str {
        "regression"
    }
    fn observe(&mut self, measurement: &Measurement) {
        self.windows.push(measurement, 32);
        self.line = self.fit();
    }
    fn utc(&self, raw: RawInstant) -> Option<Timestamp> {
        let line = self.line.as_ref()?;
        let since = raw - line.at;
        Some(line.utc + since + Span::from_secs_f64(line.slope * since.as_secs_f64()))
    }
    fn forget(&mut self) {
        self.windows.sources.clear();
        self.line = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::exchange;

    /// A clock that loses 10 ppm, asked by two sources with different delays; every third packet is slow one way.
    fn measurements() -> Vec<Measurement> {
        (0..60)
            .map(|i: i64| {
                let t = Span::from_secs(16 * i);
                let raw = |t: Span| t - Span::from_nanos(t.as_nanos() / 100_000);
                let up = Span::from_millis(if i % 3 == 0 { 50 } else { 10 });
                let stamps = [raw(t), t + up, t + up, raw(t + up + Span::from_millis(10))];
                exchange(stamps, SourceId(i as u32 % 2), 1, Span::ZERO, Span::ZERO)
            })
            .collect()
    }

    #[test]
    fn a_line_follows_the_drift_and_the_others_hold() {
        let mut clocks = all();
        let measured = measurements();
        for clock in &mut clocks {
            measured.iter().for_each(|m| clock.observe(m));
        }
        let raw = measured.last().unwrap().received;
        let since_start = raw - RawInstant::from_nanos(0);
        let truth = crate::trace::EPOCH + since_start + Span::from_nanos(since_start.as_nanos() / 99_999);
        let error = |name: &str| {
            let clock = clocks.iter().find(|c| c.name() == name).unwrap();
            (clock.utc(raw).unwrap() - truth).abs()
        };
        assert!(error("regression") < Span::from_micros(2), "{}", error("regression"));
        assert!(error("low-delay median") < Span::from_millis(1));
        assert!(error("hold-last") < Span::from_millis(1), "the last packet was fast");
        clocks.iter_mut().for_each(|c| c.forget());
        assert!(clocks.iter().all(|c| c.utc(raw).is_none()));
    }
}
