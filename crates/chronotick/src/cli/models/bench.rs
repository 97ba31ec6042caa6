//! `chronotick models bench`: how long a forecast takes and how much memory the model.

use super::super::args::Bench;
use super::super::{Failure, say};
use crate::models::Model;
use chronotick_tsfm::{Covariate, Levels, Task};
use indicatif::DecimalBytes;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Context and horizon of the daemon's short and long model.
const ASKED: [(usize, usize); 2] = [(100, 5), (300, 60)];
/// Asked so often before it counts: caches are filled, threads started.
const WARM_UP: u32 = 3;

pub(super) fn execute(options: &Bench) -> Result<(), Failure> {
    let before = resident();
    let begun = Instant::now();
    let model = Model::open(&options.reference)?;
    let opening = begun.elapsed();
    let levels = match model.abilities().levels {
        Levels::None => Vec::new(),
        Levels::Trained(these) => these,
        Levels::Between(_) | Levels::Any => vec![0.1, 0.5, 0.9],
    };
    // One that corrects another's forecast does so for as many steps as it was trained for.
    let corrects = model.corrects();
    let given = |n: Option<u32>, otherwise| n.map_or(otherwise, |n| n as usize);
    let questions = match (options.context, options.horizon) {
        (context, horizon) if corrects => {
            vec![(given(context, ASKED[1].0), given(horizon, model.abilities().horizon))]
        }
        (None, None) => ASKED.to_vec(),
        (context, horizon) => vec![(given(context, ASKED[0].0), given(horizon, ASKED[0].1))],
    };
    let mut rows = Vec::with_capacity(questions.len());
    for (context, horizon) in questions {
        let mut task = Task::from(series(context));
        if corrects {
            let alike = |value| Covariate { past: vec![value; context], future: Some(vec![value; horizon]) };
            task.covariates = vec![alike(0.0), alike(1.0)];
        }
        let tasks = [task];
        let mut taken = Vec::with_capacity(options.runs as usize);
        for run in 0..WARM_UP + options.runs {
            let begun = Instant::now();
            model.forecast(&tasks, horizon, &levels)?;
            if run >= WARM_UP {
                taken.push(begun.elapsed());
            }
        }
        taken.sort_unstable();
        rows.push((context, horizon, quantile(&taken, 0.5), quantile(&taken, 0.95)));
    }
    let (after, highest) = (resident(), memory("VmHWM:"));
    let grown = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    let name = model.name();
    if options.json {
        let micros = |duration: Duration| duration.as_nanos() as f64 / 1e3;
        let row = |(context, horizon, p50, p95): &(usize, usize, Duration, Duration)| {
            json!({ "context": context, "horizon": horizon, "runs": options.runs,
                    "p50_us": micros(*p50), "p95_us": micros(*p95) })
        };
        let rows: Vec<Value> = rows.iter().map(row).collect();
        let object = json!({ "model": name, "open_us": micros(opening), "levels": levels.len(), "latency": rows,
                             "memory_bytes": grown, "process_peak_bytes": highest });
        return say(&format!("{object}\n"));
    }
    let millis = |duration: Duration| format!("{:.3} ms", duration.as_secs_f64() * 1e3);
    let mut text = format!("{name}, {} quantiles, {} runs\n", levels.len(), options.runs);
    let _ = writeln!(text, "{:>7}  {:>7}  {:>12}  {:>12}", "context", "horizon", "p50", "p95");
    for (context, horizon, p50, p95) in rows {
        let _ = writeln!(text, "{context:7}  {horizon:7}  {:>12}  {:>12}", millis(p50), millis(p95));
    }
    let bytes =
        |bytes: Option<u64>| bytes.map_or("not known here".to_owned(), |b| DecimalBytes(b).to_string());
    let _ = writeln!(
        text,
        "opened in {}; memory {}, of the whole process at most {}",
        millis(opening),
        bytes(grown),
        bytes(highest)
    );
    say(&text)
}

/// A series like a clock's frequency: waves, a trend, and what looks like noise.
pub(super) fn series(length: usize) -> Vec<f64> {
    let value = |i: usize| {
        let x = i as f64;
        (x / 9.0).sin() * 3.0 + (x / 41.0).cos() * 5.0 + x * 0.01 + ((x * 12.9898).sin() * 43_758.547).fract()
    };
    (0..length).map(value).collect()
}

/// The value below which such a share of a sorted list lies.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// What this process occupies, in bytes, where the system tells.
fn resident() -> Option<u64> {
    memory("VmRSS:")
}

/// A line of `/proc/self/status`, in bytes.
fn memory(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1_024)
}
