//! Replays the traces of a folder and prints how wrong the estimator is, beside chrony on the same packets:
//! `cargo run --release -p chronotick-sim --example score -- DIR [NAME…]`
//!
//! Columns, in µs: RMS, 95th and 99th percentile, maximum of the error after 600 s; coverage and median half-width of
//! the 95 % interval; the RMS as a share of chrony's; the coverage of the other levels; the median of the first six
//! answers, RMS to 600 s, within holdovers and at their ends; coverage by regime; the cost of a measurement with its
//! share of the answers.

use chronotick_core::estimate::Estimator;
use chronotick_sim::score::{Answer, Regime, Score, chrony, replay};
use chronotick_sim::trace::{Trace, TraceError};
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: score DIR [NAME…]")?);
    let names: Vec<String> = arguments.collect();
    let names = if names.is_empty() { Trace::names(&folder)? } else { names };
    println!(
        "{:16} {:>8} {:>8} {:>8} {:>8}  {:>5} {:>8} {:>7} | cover 50/90/99   | {:>37} | steady change holdov recov | µs each",
        "trace",
        "rms",
        "p95",
        "p99",
        "max",
        "cov95",
        "half95",
        "/chrony",
        "at 10-60 s, to 600 s, holdover, end"
    );
    let half = names.len().div_ceil(2).max(1);
    let work = |part: &[String]| part.iter().map(|n| line(&folder, n)).collect::<Vec<_>>();
    let parts = std::thread::scope(|scope| {
        let running: Vec<_> = names.chunks(half).map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().flat_map(|t| t.join().expect("no replay panics")).collect::<Vec<_>>()
    });
    let (mut ratios, mut errors, mut widths, mut missed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let (text, score, ratio) = part?;
        println!("{text}");
        ratios.extend(ratio);
        errors.push(score.rms * 1e6);
        widths.push(score.half_width[2] * 1e6);
        missed.push((score.coverage[2] - 0.95).abs());
    }
    println!("geometric means: RMS {:.1}, half-width {:.1}", mean_of_logs(&errors), mean_of_logs(&widths));
    println!(
        "mean distance of the coverage from 0.95: {:.4}",
        missed.iter().sum::<f64>() / missed.len() as f64
    );
    if !ratios.is_empty() {
        println!("geometric mean of RMS / chrony's RMS: {:.3}", mean_of_logs(&ratios));
    }
    Ok(())
}

fn mean_of_logs(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

fn line(folder: &std::path::Path, name: &str) -> Result<(String, Score, Option<f64>), TraceError> {
    let trace = Trace::load(folder, name)?;
    let mut estimator = Estimator::default();
    let begun = Instant::now();
    let answers = replay(&trace, &mut estimator);
    let each = begun.elapsed().as_secs_f64() * 1e6 / trace.measurements.len().max(1) as f64;
    let settled = |a: &&Answer| a.regime != Regime::Start;
    let score = Score::of(answers.iter().filter(settled));
    let rival = Score::of(chrony(&trace).iter().filter(settled));
    let ratio = (rival.count > 0).then(|| score.rms / rival.rms);
    let by = |regime| Score::of(answers.iter().filter(|a| a.regime == regime));
    let covered: Vec<String> = Regime::ALL[1..]
        .iter()
        .map(|r| by(*r))
        .map(|s| if s.count == 0 { "    -".into() } else { format!("{:5.3}", s.coverage[2]) })
        .collect();
    let (early, late) = (Score::of(answers.iter().take(6)), by(Regime::Start));
    let pairs = answers.windows(2);
    let ends =
        pairs.filter(|w| w[0].regime == Regime::Holdover && w[1].regime != Regime::Holdover).map(|w| &w[0]);
    let [c50, c90, _, c99] = score.coverage;
    let text = format!(
        "{name:16} {score} {:7.3} | {c50:.3} {c90:.3} {c99:.3} | {:8.1} {:8.1} {:8.1} {:8.1}   | {} | {each:.1}",
        ratio.unwrap_or(f64::NAN),
        early.p50 * 1e6,
        late.rms * 1e6,
        by(Regime::Holdover).rms * 1e6,
        Score::of(ends).rms * 1e6,
        covered.join("  ")
    );
    Ok((text, score, ratio))
}
