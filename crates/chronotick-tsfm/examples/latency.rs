//! Forecasts as often as it is told: `latency FOLDER CONTEXT HORIZON [half|eight]` opens a checkpoint, forecasts once and says
//! `ready` and the forecast, means where the model has them;
//! for each number on a line of its input it then forecasts so many times and prints what each took, in nanoseconds.
//! `benches/inference` runs it beside the reference implementation.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use chronotick_tsfm::{Forecaster, Levels, Precision, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (folder, context, horizon, precision) = match arguments[..] {
        [folder, context, horizon] => (folder, context, horizon, Precision::Stored),
        [folder, context, horizon, "half"] => (folder, context, horizon, Precision::Half),
        [folder, context, horizon, "eight"] => (folder, context, horizon, Precision::Eight),
        _ => return Err("usage: latency FOLDER CONTEXT HORIZON [half|eight]".into()),
    };
    let horizon = horizon.parse()?;
    let model = Forecaster::open_with(Path::new(folder), precision)?;
    let levels = match model.abilities().levels {
        Levels::None => Vec::new(),
        _ => vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    };
    let length: usize = context.parse()?;
    let tasks =
        [Task::from((0..length).map(|i| (i as f64 * 0.1).sin() + i as f64 * 0.01).collect::<Vec<f64>>())];
    let first = &model.forecast(&tasks, horizon, &levels)?[0][0];
    let values = first.mean.as_ref().unwrap_or(&first.point).iter().map(f64::to_string).collect::<Vec<_>>();
    println!("ready {}", values.join(" "));
    for line in std::io::stdin().lock().lines() {
        for _ in 0..line?.trim().parse()? {
            let start = Instant::now();
            std::hint::black_box(model.forecast(&tasks, horizon, &levels)?);
            print!("{} ", start.elapsed().as_nanos());
        }
        println!();
    }
    Ok(())
}
