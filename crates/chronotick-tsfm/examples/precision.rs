//! What it costs to keep weights in fewer bits: `precision FOLDER..` forecasts a few series with the weights as they are
//! stored, in 16 and in 8 bits, and prints how far the point forecasts move, as a share of what the series moves itself.

use std::path::Path;

use chronotick_tsfm::{Forecaster, Precision, Task};

const LENGTH: usize = 512;
const HORIZON: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "| checkpoint | 16 bits: root mean square, largest | 8 bits: root mean square, largest |\n|---|---|---|"
    );
    for folder in std::env::args().skip(1) {
        let folder = Path::new(&folder);
        let stored = points(folder, Precision::Stored)?;
        let [half, eight] = [Precision::Half, Precision::Eight].map(|precision| {
            let moved = points(folder, precision)?
                .iter()
                .zip(&stored)
                .map(|(a, b)| (a - b).abs())
                .collect::<Vec<f64>>();
            let largest = moved.iter().copied().fold(0.0, f64::max);
            let mean = moved.iter().map(|x| x * x).sum::<f64>() / moved.len() as f64;
            Ok::<_, Box<dyn std::error::Error>>(format!("{:.5}, {largest:.5}", mean.sqrt()))
        });
        println!("| {} | {} | {} |", folder.file_name().unwrap_or_default().display(), half?, eight?);
    }
    Ok(())
}

/// Point forecasts of series of unit deviation: oscillations, a random walk, noise.
fn points(folder: &Path, precision: Precision) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let model = Forecaster::open_with(folder, precision)?;
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let waves = (0..LENGTH).map(|i| (i as f64 * 0.1).sin() + (i as f64 * 0.37).cos()).collect();
    let noise = (0..LENGTH).map(|_| random()).collect();
    let mut level = 0.0;
    let walk = std::iter::repeat_with(|| {
        level += random();
        level
    });
    let walk = walk.take(LENGTH).collect();
    let tasks = [waves, noise, walk].map(|series: Vec<f64>| {
        let mean = series.iter().sum::<f64>() / LENGTH as f64;
        let deviation = (series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / LENGTH as f64).sqrt();
        Task::from(series.iter().map(|x| (x - mean) / deviation).collect::<Vec<f64>>())
    });
    let forecasts = model.forecast(&tasks, HORIZON, &[])?;
    Ok(forecasts.into_iter().flatten().flat_map(|forecast| forecast.point).collect())
}
