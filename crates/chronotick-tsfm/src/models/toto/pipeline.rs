//! What surrounds the network: gaps filled, quantiles by the mixtures where one pass reaches, and by sampled paths
//! beyond, with random numbers that make every forecast repeatable.

use super::{Context, Decoding, Patch, Toto};
use crate::models::{self, Model};
use crate::{Abilities, Family, Forecast, ForecastError, Levels, Point, Task, scaling};

/// The longest context that it was trained on.
const LONGEST: usize = 4096;

/// Sampled paths, as many as in the reference's example.
const PATHS: usize = 256;

/// Paths computed at once: bounds the memory.
const BATCH: usize = 32;

impl Model for Toto {
    fn abilities(&self) -> Abilities {
        Abilities {
            context: Some(LONGEST),
            horizon: self.config.patch_size,
            point: Point::Median,
            levels: Levels::Any,
            joint: true,
            covariates: false,
        }
    }

    fn forecast(
        &self,
        tasks: &[Task],
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Vec<Forecast>>, ForecastError> {
        tasks.iter().enumerate().map(|(i, task)| self.forecast_task(i, task, horizon, levels)).collect()
    }
}

impl Toto {
    fn forecast_task(
        &self,
        index: usize,
        task: &Task,
        horizon: usize,
        levels: &[f64],
    ) -> Result<Vec<Forecast>, ForecastError> {
        let newest = |target: &Vec<f64>| target[target.len().saturating_sub(LONGEST)..].to_vec();
        let targets: Vec<Vec<f64>> = task.targets.iter().map(newest).collect();
        if let Some(target) = targets.iter().position(|target| target.iter().all(|value| value.is_nan())) {
            let series = format!("target {target}");
            return Err(ForecastError::NothingObserved { task: index, series, family: Family::Toto });
        }
        let context = Context {
            values: targets.iter().map(|target| scaling::fill_forward(target)).collect(),
            observed: targets.iter().map(|t| t.iter().map(|value| !value.is_nan()).collect()).collect(),
            groups: vec![0; targets.len()],
        };
        let (start, first) = Decoding::start(self, &context)?;
        let means = mean_path(&start, first.clone(), horizon)?;
        let samples = sample(&start, &first, horizon)?;
        let levels = models::with_median(levels);
        let quantiles = |series: usize, step: usize| match step.checked_sub(self.config.patch_size) {
            None => first[series].quantiles(step, &levels),
            Some(beyond) => {
                let sorted = &samples[series][beyond];
                levels
                    .iter()
                    .map(|level| scaling::at_rank(sorted, level * (sorted.len() - 1) as f64))
                    .collect()
            }
        };
        let forecast = |(series, blocks): (usize, Vec<Patch>)| {
            let table = (0..horizon).map(|step| quantiles(series, step)).collect();
            let mut mean: Vec<f64> = blocks.iter().flat_map(Patch::means).collect();
            mean.truncate(horizon);
            Forecast { mean: Some(mean), ..models::split_median(table) }
        };
        Ok(means.into_iter().enumerate().map(forecast).collect())
    }
}

/// Goes on by the means until the horizon is reached: `[series][block]`.
pub(crate) fn mean_path(
    start: &Decoding,
    first: Vec<Patch>,
    horizon: usize,
) -> candle_core::Result<Vec<Vec<Patch>>> {
    let mut decoding = start.fork(1);
    let mut blocks: Vec<Vec<Patch>> = first.into_iter().map(|patch| vec![patch]).collect();
    let newest = |blocks: &Vec<Patch>| blocks[blocks.len() - 1].means();
    while blocks[0].len() * blocks[0][0].mixtures.len() < horizon {
        let means: Vec<Vec<f64>> = blocks.iter().map(newest).collect();
        blocks.iter_mut().zip(decoding.append(&means)?).for_each(|(blocks, patch)| blocks.push(patch));
    }
    Ok(blocks)
}

/// Sampled values of the steps beyond the first patch, sorted: `[series][step][path]`.
fn sample(start: &Decoding, first: &[Patch], horizon: usize) -> candle_core::Result<Vec<Vec<Vec<f64>>>> {
    let patch = first[0].mixtures.len();
    let blocks = horizon.div_ceil(patch);
    let mut samples = vec![vec![Vec::with_capacity(PATHS); (blocks - 1) * patch]; first.len()];
    for batch in (0..PATHS).step_by(BATCH).filter(|_| blocks > 1) {
        let mut decoding = start.fork(BATCH);
        let mut patches: Vec<Patch> =
            first.iter().flat_map(|patch| std::iter::repeat_n(patch.clone(), BATCH)).collect();
        for block in 0..blocks {
            let draw = |(i, patch): (usize, &Patch)| -> Vec<f64> {
                let at = |step: usize| uniform([batch + i % BATCH, i / BATCH, block, step]);
                (0..patch.mixtures.len()).map(|step| patch.draw(step, at(step))).collect()
            };
            let drawn: Vec<Vec<f64>> = patches.iter().enumerate().map(draw).collect();
            for (i, values) in drawn.iter().enumerate().filter(|_| block > 0) {
                let steps = &mut samples[i / BATCH][(block - 1) * patch..];
                steps.iter_mut().zip(values).for_each(|(paths, value)| paths.push(*value));
            }
            if block + 1 < blocks {
                patches = decoding.append(&drawn)?;
            }
        }
    }
    samples.iter_mut().flatten().for_each(|paths| paths.sort_by(f64::total_cmp));
    Ok(samples)
}

/// Three uniform random numbers in (0, 1] for a path, series, block and step: a hash of these (SplitMix64's mixing
/// function), so that a forecast is the same every time, and no path depends on how many there are.
fn uniform(counter: [usize; 4]) -> [f64; 3] {
    let mix = |z: u64| {
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    let next = |z: u64| z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = counter.iter().fold(0, |key, part| mix(next(key) ^ *part as u64));
    let (first, second) = (next(key), next(next(key)));
    [first, second, next(second)].map(|z| ((mix(z) >> 11) + 1) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_uniform_and_unlike_their_neighbours() {
        let n = 30;
        let all: Vec<[f64; 3]> = (0..n * n * n).map(|i| uniform([i % n, 0, i / n % n, i / n / n])).collect();
        for k in 0..3 {
            let column = || all.iter().map(|draw| draw[k] - 0.5);
            let count = all.len() as f64;
            assert!(column().sum::<f64>().abs() / count < 0.01);
            assert!((column().map(|x| x * x).sum::<f64>() / count - 1.0 / 12.0).abs() < 0.002);
            let neighbours = column().zip(column().skip(1)).map(|(a, b)| a * b).sum::<f64>() / count;
            assert!(neighbours.abs() < 0.002, "{neighbours}");
        }
        assert!(all.iter().flatten().all(|x| *x > 0.0 && *x <= 1.0));
    }
}
