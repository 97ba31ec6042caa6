//! The training: examples of simulated worlds, gradients, and the weights that judged best.

use crate::examples::{CONTEXT, Examples, HORIZON, STEP};
use crate::network::{self, Weights};
use crate::{Recipe, TrainError, worlds};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use chronotick_tsfm::foresight::{Question, Shape};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::num::NonZero;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Between two judgements and checkpoints, in steps.
const JUDGE_EVERY: usize = 200;
/// Every so many examples of the validation worlds are used.
const JUDGED: usize = 4;
/// Errors of more standard deviations than this count as this.
const FAR: f64 = 20.0;
/// Decay of the moments of AdamW (Loshchilov and Hutter 2019), and what keeps its quotient finite.
const MOMENTS: [f64; 2] = [0.9, 0.98];
const EPSILON: f64 = 1e-8;
/// Gradients are scaled down to at most this length.
const LONGEST_GRADIENT: f64 = 1.0;

/// How the training went, as `progress.json` keeps it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub steps: usize,
    /// Step, mean training loss since the last one, and the loss on the worlds that judge.
    pub losses: Vec<(usize, f64, f64)>,
}

/// Trains by a recipe into a folder: `config.json` and `model.safetensors` of the best weights so far, the checkpoint to
/// resume from, the losses as `progress.json` and `loss.svg`, and the examples under `worlds`.
///
/// # Errors
/// If the folder cannot be written, or holds a checkpoint of another network.
pub fn train(recipe: &Recipe, out: &Path, resume: bool) -> Result<Progress, TrainError> {
    let worlds = out.join("worlds");
    std::fs::create_dir_all(&worlds).map_err(|cause| TrainError::file(&worlds, cause))?;
    let shape = recipe.shape();
    let device = Device::cuda_if_available(0)?;
    let examples = gather(&worlds, recipe.learned_from(), 1)?;
    let judges = gather(&worlds, recipe.judged_by(), JUDGED)?;
    let mut state = match resume {
        true => State::load(out, &shape, &device)?,
        false => State::begin(&shape, recipe.seed, &device)?,
    };
    write(&out.join("config.json"), serde_json::to_string_pretty(&shape)?)?;
    let bar = bar(recipe.steps as u64, "training");
    let (mut sum, mut count) = (0.0, 0);
    while state.progress.steps < recipe.steps {
        let step = state.progress.steps;
        bar.set_position(step as u64);
        let (features, truth) = batch(recipe, &shape, &examples, step, &device)?;
        let loss = network::loss(&shape, &network::forward(&shape, &state.weights, &features)?, &truth)?;
        state.correct(&loss.backward()?, rate(recipe, step), recipe.decay)?;
        sum += f64::from(loss.to_scalar::<f32>()?);
        count += 1;
        state.progress.steps += 1;
        if state.progress.steps % JUDGE_EVERY == 0 || state.progress.steps == recipe.steps {
            let judged = judge(&shape, &state.weights, &judges, &device)?;
            let mean = sum / f64::from(count);
            (sum, count) = (0.0, 0);
            bar.set_message(format!("loss {mean:.4}, on other worlds {judged:.4}"));
            let best = state.progress.losses.iter().all(|(_, _, before)| judged < *before);
            state.progress.losses.push((state.progress.steps, mean, judged));
            if best {
                save_half(&out.join("model.safetensors"), &state.weights)?;
            }
            state.save(out)?;
            write(&out.join("loss.svg"), picture(&state.progress))?;
        }
    }
    bar.finish();
    Ok(state.progress)
}

/// The examples of these worlds, every so many of them; worlds that are not there yet are lived through, one on each
/// processor at a time.
fn gather(folder: &Path, numbers: Range<u64>, every: usize) -> Result<Examples, TrainError> {
    let path = |number: u64| folder.join(format!("{number}.safetensors"));
    let missing: Vec<u64> = numbers.clone().filter(|number| !path(*number).exists()).collect();
    let bar = bar(missing.len() as u64, "worlds");
    let next = AtomicUsize::new(0);
    let live = || -> Result<(), TrainError> {
        while let Some(number) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            Examples::of(&worlds::scenario(*number), *number).save(&path(*number))?;
            bar.inc(1);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(live)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))
    })?;
    bar.finish();
    let mut all = Examples::default();
    for number in numbers {
        all.extend(&Examples::load(&path(number))?.every(every));
    }
    Ok(all)
}

fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {bar:30} {pos}/{len} {eta} {msg}");
    ProgressBar::new(length)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(what)
}

fn rate(recipe: &Recipe, step: usize) -> f64 {
    let warm = ((step + 1) as f64 / recipe.warmup.max(1) as f64).min(1.0);
    let along = step as f64 / recipe.steps as f64;
    recipe.rate * warm * 0.5 * (1.0 + (std::f64::consts::PI * along).cos())
}

/// The examples of a step, varied: each may be turned upside down, cut short, or not show the base forecast. Which
/// they are is decided by the recipe's seed and the step alone, so that a resumed training goes on as it would have.
fn batch(
    recipe: &Recipe,
    shape: &Shape,
    examples: &Examples,
    step: usize,
    device: &Device,
) -> candle_core::Result<(Tensor, Tensor)> {
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed);
    random.set_stream(1 + step as u64);
    let (mut features, mut truth) = (Vec::new(), Vec::new());
    for _ in 0..recipe.batch {
        let index = random.random_range(0..examples.len());
        let turned = random.random_bool(0.5);
        let kept = match random.random_bool(recipe.truncated) {
            true => (24.0 * (CONTEXT as f64 / 24.0).powf(random.random::<f64>())) as usize,
            false => CONTEXT,
        };
        let blind = random.random_bool(recipe.blind);
        let (mut seen, wanted) = numbers(shape, examples, index, if turned { -1.0 } else { 1.0 }, kept);
        if blind {
            let shown = seen.len() - shape.base_inputs();
            seen[shown..].fill(0.0);
        }
        features.extend(seen);
        truth.extend(wanted);
    }
    tensors(shape, features, truth, device)
}

fn tensors(
    shape: &Shape,
    features: Vec<f32>,
    truth: Vec<f32>,
    device: &Device,
) -> candle_core::Result<(Tensor, Tensor)> {
    let rows = truth.len() / shape.prediction_length;
    Ok((
        Tensor::from_vec(features, (rows, shape.inputs()), device)?,
        Tensor::from_vec(truth, (rows, shape.prediction_length), device)?,
    ))
}

/// What the network sees of an example, and how many standard deviations truth was beyond the bank's forecast.
fn numbers(shape: &Shape, examples: &Examples, index: usize, sign: f64, kept: usize) -> (Vec<f32>, Vec<f32>) {
    let row = |values: &[f32], width: usize, factor: f64| -> Vec<f64> {
        values[index * width..][..width].iter().map(|v| f64::from(*v) * factor).collect()
    };
    // Offsets as sums over the grid, as the family has them.
    let per_step = 1.0 / STEP.as_secs_f64();
    let (values, sigmas) = (row(&examples.rates, CONTEXT, sign), row(&examples.rate_sigmas, CONTEXT, 1.0));
    let (base, base_sigmas) =
        (row(&examples.bank, HORIZON, sign * per_step), row(&examples.bank_sigmas, HORIZON, per_step));
    let truth = row(&examples.truth, HORIZON, sign * per_step);
    let newest = CONTEXT - kept;
    let question = Question {
        values: &values[newest..],
        sigmas: &sigmas[newest..],
        base: &base,
        base_sigmas: &base_sigmas,
    };
    let beyond = truth.iter().zip(&base).zip(&base_sigmas);
    let wanted = beyond.map(|((truth, base), sigma)| ((truth - base) / sigma).clamp(-FAR, FAR) as f32);
    (shape.features(&question), wanted.collect())
}

fn judge(shape: &Shape, weights: &Weights, judges: &Examples, device: &Device) -> candle_core::Result<f64> {
    let (mut sum, mut rows) = (0.0, 0);
    for first in (0..judges.len()).step_by(512) {
        let last = (first + 512).min(judges.len());
        let (mut features, mut truth) = (Vec::new(), Vec::new());
        for index in first..last {
            let (seen, wanted) = numbers(shape, judges, index, 1.0, CONTEXT);
            features.extend(seen);
            truth.extend(wanted);
        }
        let (features, truth) = tensors(shape, features, truth, device)?;
        let loss = network::loss(shape, &network::forward(shape, weights, &features)?, &truth)?;
        sum += f64::from(loss.to_scalar::<f32>()?) * (last - first) as f64;
        rows += last - first;
    }
    Ok(sum / rows as f64)
}

/// All that a training needs to go on.
struct State {
    weights: Weights,
    /// Means of the gradients and of their squares.
    moments: [Weights; 2],
    progress: Progress,
}

impl State {
    fn begin(shape: &Shape, seed: u64, device: &Device) -> candle_core::Result<State> {
        let weights = network::begin(shape, seed, device)?;
        let zeros = || -> candle_core::Result<Weights> {
            weights
                .iter()
                .map(|(name, var)| Ok((name.clone(), Var::from_tensor(&var.zeros_like()?)?)))
                .collect()
        };
        Ok(State { moments: [zeros()?, zeros()?], weights, progress: Progress::default() })
    }

    /// One step of AdamW.
    fn correct(&mut self, gradients: &GradStore, rate: f64, decay: f64) -> candle_core::Result<()> {
        let mut squares = 0.0;
        for var in self.weights.values() {
            if let Some(gradient) = gradients.get(var) {
                squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        let shrink = (LONGEST_GRADIENT / squares.sqrt().max(LONGEST_GRADIENT)).min(1.0);
        let step = self.progress.steps as i32 + 1;
        let [whole, whole_square] = MOMENTS.map(|keep| 1.0 - keep.powi(step));
        for (name, var) in &self.weights {
            let Some(gradient) = gradients.get(var) else { continue };
            let gradient = (gradient * shrink)?;
            let (mean, square) = (&self.moments[0][name], &self.moments[1][name]);
            mean.set(&((mean.as_tensor() * MOMENTS[0])? + (&gradient * (1.0 - MOMENTS[0]))?)?)?;
            square.set(&((square.as_tensor() * MOMENTS[1])? + (gradient.sqr()? * (1.0 - MOMENTS[1]))?)?)?;
            let root = ((square.as_tensor() / whole_square)?.sqrt()? + EPSILON)?;
            let by = ((mean.as_tensor() / whole)? / root)?;
            var.set(&((var.as_tensor() * (1.0 - rate * decay))? - (by * rate)?)?)?;
        }
        Ok(())
    }

    fn tensors(&self) -> HashMap<String, Tensor> {
        let named = |prefix: &'static str, vars: &Weights| {
            vars.iter()
                .map(|(name, var)| (format!("{prefix}{name}"), var.as_tensor().clone()))
                .collect::<Vec<_>>()
        };
        let all = [("", &self.weights), ("mean.", &self.moments[0]), ("square.", &self.moments[1])];
        all.into_iter().flat_map(|(prefix, vars)| named(prefix, vars)).collect()
    }

    fn save(&self, out: &Path) -> Result<(), TrainError> {
        candle_core::safetensors::save(&self.tensors(), out.join("checkpoint.partial"))?;
        let to = out.join("checkpoint.safetensors");
        std::fs::rename(out.join("checkpoint.partial"), &to).map_err(|cause| TrainError::file(&to, cause))?;
        write(&out.join("progress.json"), serde_json::to_string(&self.progress)?)
    }

    fn load(out: &Path, shape: &Shape, device: &Device) -> Result<State, TrainError> {
        let path = out.join("progress.json");
        let text = std::fs::read_to_string(&path).map_err(|cause| TrainError::file(&path, cause))?;
        let mut state = State::begin(shape, 0, device)?;
        state.progress = serde_json::from_str(&text)?;
        let saved = candle_core::safetensors::load(out.join("checkpoint.safetensors"), device)?;
        let parts = [("", &state.weights), ("mean.", &state.moments[0]), ("square.", &state.moments[1])];
        for (prefix, vars) in parts {
            for (name, var) in vars {
                match saved.get(&format!("{prefix}{name}")) {
                    Some(tensor) if tensor.shape() == var.shape() => var.set(tensor)?,
                    _ => return Err(TrainError::Other { checkpoint: out.to_owned(), name: name.clone() }),
                }
            }
        }
        Ok(state)
    }
}

/// Weights for use: 16 bits each.
fn save_half(path: &Path, weights: &Weights) -> candle_core::Result<()> {
    let half = |(name, var): (&String, &Var)| Ok((name.clone(), var.as_tensor().to_dtype(DType::F16)?));
    let tensors = weights.iter().map(half).collect::<candle_core::Result<HashMap<_, _>>>()?;
    candle_core::safetensors::save(&tensors, path)
}

fn picture(progress: &Progress) -> String {
    let line = |of: fn(&(usize, f64, f64)) -> f64| -> Vec<(f64, f64)> {
        progress.losses.iter().map(|at| (at.0 as f64, of(at))).collect()
    };
    chronotick_sim::report::lines(
        "Pinball loss, in standard deviations of the bank's forecast",
        ["step", "loss"],
        &[("training", line(|at| at.1)), ("on other worlds", line(|at| at.2))],
    )
}

fn write(path: &Path, text: String) -> Result<(), TrainError> {
    std::fs::write(path, text).map_err(|cause| TrainError::file(path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_tsfm::{Covariate, Forecaster, Task};

    fn recipe() -> Recipe {
        let text = include_str!("../recipes/foresight.toml");
        let recipe = Recipe::parse(text).unwrap();
        Recipe { worlds: 2, validation_worlds: 1, steps: 30, batch: 16, warmup: 5, ..recipe }
    }

    #[test]
    fn a_training_learns_resumes_where_it_stood_and_is_opened_as_it_was_trained() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, halves) = (folder.path().join("whole"), folder.path().join("halves"));
        let recipe = recipe();
        let progress = train(&recipe, &whole, false).unwrap();
        assert_eq!(progress.steps, 30);
        std::fs::create_dir_all(&halves).unwrap();
        std::fs::rename(whole.join("worlds"), halves.join("worlds")).unwrap();
        train(&Recipe { steps: 30, ..recipe.clone() }, &halves, false).unwrap();
        let read = |path: &Path| std::fs::read(path.join("model.safetensors")).unwrap();
        assert_eq!(read(&whole), read(&halves), "the same recipe gives the same weights");
        let resumed = train(&Recipe { steps: 40, ..recipe.clone() }, &halves, true).unwrap();
        assert_eq!(resumed.losses.len(), 2);

        // The forecaster says what the network says, but for the rounding of the weights.
        let shape = recipe.shape();
        let model = Forecaster::open(&whole).unwrap();
        let examples = gather(&halves.join("worlds"), recipe.judged_by(), 1).unwrap();
        let weights: Weights = candle_core::safetensors::load(whole.join("model.safetensors"), &Device::Cpu)
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (name, Var::from_tensor(&tensor.to_dtype(DType::F32).unwrap()).unwrap()))
            .collect();
        for index in [0, examples.len() / 2] {
            let (features, truth) = numbers(&shape, &examples, index, 1.0, CONTEXT);
            let (features, _) = tensors(&shape, features, truth, &Device::Cpu).unwrap();
            let wanted = network::forward(&shape, &weights, &features).unwrap();
            let wanted = wanted.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
            let row = |values: &[f32], width: usize| -> Vec<f64> {
                values[index * width..][..width].iter().map(|v| f64::from(*v)).collect()
            };
            let sums = |values: &[f32]| row(values, HORIZON).iter().map(|v| v / 30.0).collect::<Vec<f64>>();
            let (base, sigmas) = (sums(&examples.bank), sums(&examples.bank_sigmas));
            let task = Task {
                targets: vec![row(&examples.rates, CONTEXT)],
                covariates: vec![
                    Covariate { past: vec![0.0; CONTEXT], future: Some(base.clone()) },
                    Covariate { past: row(&examples.rate_sigmas, CONTEXT), future: Some(sigmas.clone()) },
                ],
            };
            let found = model.forecast(&[task], HORIZON, &shape.quantiles).unwrap();
            for (step, (found, wanted)) in found[0][0].quantiles.iter().zip(&wanted).enumerate() {
                for (found, wanted) in found.iter().zip(wanted) {
                    let z = (found - base[step]) / sigmas[step];
                    assert!((z - f64::from(*wanted)).abs() < 2e-3, "step {step}: {z} {wanted}");
                }
            }
        }
    }
}
