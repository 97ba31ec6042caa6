//! How good an estimator is on a trace: error against the truth, and whether its intervals hold what they claim.
//!
//! The replay is causal: the answer for a raw instant uses only measurements received by then.

use crate::trace::Trace;
use chronotick_core::estimate::Estimator;
use chronotick_core::{Levels, RawInstant, Span};
use std::fmt;

/// One answer beside the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// When.
    pub raw: RawInstant,
    /// Estimate minus truth, in seconds.
    pub error: f64,
    /// The stated standard deviation, in seconds.
    pub sigma: f64,
    /// The stated shape of the interval.
    pub levels: Levels,
    /// Under which circumstances.
    pub regime: Regime,
}

/// The circumstances under which an answer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Within the first 600 s.
    Start,
    /// None of the others.
    Steady,
    /// The clock's true frequency is not what it was ten minutes ago, by more than 0.5 ppm.
    Changing,
    /// Nothing has been measured for 300 s or eight times the usual interval.
    Holdover,
    /// Within the first 600 s after a holdover.
    Recovery,
}

impl Regime {
    /// All of them.
    pub const ALL: [Regime; 5] =
        [Regime::Start, Regime::Steady, Regime::Changing, Regime::Holdover, Regime::Recovery];
}

/// Replays a trace: one answer per row of the truth from the first measurement on.
pub fn replay(trace: &Trace, estimator: &mut Estimator) -> Vec<Answer> {
    let mut coming = trace.measurements.iter().peekable();
    let regimes = regimes(trace);
    let mut answers = Vec::with_capacity(trace.truth.len());
    for (truth, regime) in trace.truth.iter().zip(regimes) {
        while let Some(m) = coming.next_if(|m| m.received <= truth.raw) {
            estimator.observe(m);
        }
        if let Some(e) = estimator.estimate(truth.raw) {
            let error = (e.utc - truth.utc).as_nanos() as f64 * 1e-9;
            let sigma = e.variance.sigma(Span::ZERO).as_secs_f64();
            answers.push(Answer { raw: truth.raw, error, sigma, levels: e.levels, regime });
        }
    }
    answers
}

/// chrony's answers on the same packets, where the trace has them.
pub fn chrony(trace: &Trace) -> Vec<Answer> {
    let rival = |(truth, regime): (&crate::trace::Truth, Regime)| {
        let chrony = truth.chrony?;
        let error = (chrony.utc - truth.utc).as_nanos() as f64 * 1e-9;
        Some(Answer {
            raw: truth.raw,
            error,
            sigma: chrony.sigma.as_secs_f64(),
            levels: Levels::NORMAL,
            regime,
        })
    };
    trace.truth.iter().zip(regimes(trace)).filter_map(rival).collect()
}

/// Under which circumstances each row of the truth is, as far as the trace shows them.
pub fn regimes(trace: &Trace) -> Vec<Regime> {
    let mut gaps: Vec<Span> = trace.measurements.windows(2).map(|w| w[1].received - w[0].received).collect();
    gaps.sort_unstable();
    let usual = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    let silence = usual.times(8).max(Span::from_secs(300));
    let start = trace.truth.first().map_or(RawInstant::default(), |t| t.raw);
    let mut received = trace.measurements.iter().map(|m| m.received).peekable();
    let (mut last, mut recovered) = (None, None);
    let mut all = Vec::with_capacity(trace.truth.len());
    for (i, truth) in trace.truth.iter().enumerate() {
        while let Some(now) = received.next_if(|r| *r <= truth.raw) {
            if last.is_some_and(|l| now - l > silence) {
                recovered = Some(now);
            }
            last = Some(now);
        }
        let rate = |i: usize| {
            let (a, b) = (trace.truth[i.saturating_sub(6)], trace.truth[i]);
            ((b.utc - a.utc) - (b.raw - a.raw)).as_secs_f64() / (b.raw - a.raw).as_secs_f64().max(1.0)
        };
        let before = trace.truth[..=i].partition_point(|t| truth.raw - t.raw > Span::from_secs(600));
        all.push(if truth.raw - start < Span::from_secs(590) {
            Regime::Start
        } else if last.is_some_and(|l| truth.raw - l > silence) {
            Regime::Holdover
        } else if recovered.is_some_and(|r| truth.raw - r < Span::from_secs(600)) {
            Regime::Recovery
        } else if (rate(i) - rate(before)).abs() > 0.5e-6 {
            Regime::Changing
        } else {
            Regime::Steady
        });
    }
    all
}

/// The score of a set of answers; times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// How many answers.
    pub count: usize,
    /// Root of the mean squared error.
    pub rms: f64,
    /// Mean absolute error.
    pub mean: f64,
    /// Median absolute error.
    pub p50: f64,
    /// 95 % of the absolute errors are below.
    pub p95: f64,
    /// 99 % of the absolute errors are below.
    pub p99: f64,
    /// The largest absolute error.
    pub max: f64,
    /// The share of errors inside the intervals of [`Levels::PROBABILITIES`].
    pub coverage: [f64; 4],
    /// The median half-widths of those intervals.
    pub half_width: [f64; 4],
}

impl Score {
    /// Scores some answers; all zero if there are none.
    pub fn of<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> Score {
        let answers: Vec<&Answer> = answers.into_iter().collect();
        if answers.is_empty() {
            return Score::default();
        }
        let count = answers.len();
        let mean_of = |f: &dyn Fn(&Answer) -> f64| answers.iter().map(|a| f(a)).sum::<f64>() / count as f64;
        let errors = sorted(answers.iter().map(|a| a.error.abs()));
        let width = |a: &Answer, i: usize| a.sigma * a.levels.multiplier(Levels::PROBABILITIES[i]);
        Score {
            count,
            rms: mean_of(&|a| a.error * a.error).sqrt(),
            mean: mean_of(&|a| a.error.abs()),
            p50: quantile(&errors, 0.50),
            p95: quantile(&errors, 0.95),
            p99: quantile(&errors, 0.99),
            max: errors[count - 1],
            coverage: std::array::from_fn(|i| mean_of(&|a| f64::from(a.error.abs() <= width(a, i)))),
            half_width: std::array::from_fn(|i| quantile(&sorted(answers.iter().map(|a| width(a, i))), 0.50)),
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all
}

/// By linear interpolation between the order statistics.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// RMS, 95th, 99th percentile and maximum in µs; coverage and half-width of the 95 % interval.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rms, p95, p99, max, width] =
            [self.rms, self.p95, self.p99, self.max, self.half_width[2]].map(|s| s * 1e6);
        write!(f, "{rms:8.1} {p95:8.1} {p99:8.1} {max:8.1}  {:5.3} {width:8.1}", self.coverage[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_counts_what_the_intervals_hold() {
        let answer = |error: f64| Answer {
            raw: RawInstant::default(),
            error,
            sigma: 1e-6,
            levels: Levels::NORMAL,
            regime: Regime::Steady,
        };
        let answers: Vec<Answer> = (0..=100).map(|i| answer(f64::from(i) * 3e-8 - 1e-6)).collect();
        let score = Score::of(&answers);
        assert!((score.coverage[2] - 98.0 / 101.0).abs() < 0.011, "{:?}", score.coverage);
        assert!((score.max - 2e-6).abs() < 1e-12 && (score.half_width[2] - 1.96e-6).abs() < 1e-8);
        assert_eq!(Score::of([]), Score::default());
    }
}
