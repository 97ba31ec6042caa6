//! Forecasts as often as it is told: `latency FOLDER CONTEXT HORIZON` opens a checkpoint, forecasts once and says `ready`;
//! for each number on a line of its input it then forecasts so many times and prints what each took, in nanoseconds.
//! `benches/inference` runs it beside the reference implementation.

use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use chronotick_tsfm::{Forecaster, Levels, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, context, horizon] = &arguments[..] else {
        return Err("usage: latency FOLDER CONTEXT HORIZON".into());
    };
    let horizon = horizon.parse()?;
    let model = Forecaster::open(Path::new(folder))?;
    let levels = match model.abilities().levels {
        Levels::None => Vec::new(),
        _ => vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    };
    let length: usize = context.parse()?;
    let tasks =
        [Task::from((0..length).map(|i| (i as f64 * 0.1).sin() + i as f64 * 0.01).collect::<Vec<f64>>())];
    model.forecast(&tasks, horizon, &levels)?;
    println!("ready");
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
