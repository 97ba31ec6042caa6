//! `chronotick train`: a model of our own, from simulated clocks to weights, and the table that judges it.

use super::args::Train;
use super::{Failure, say};
use chronotick_train::{EXPECTED, Progress, Recipe, SCENARIOS};
use chronotick_tsfm::Forecaster;
use std::path::Path;
use std::process::ExitCode;

/// Seeds of the worlds that judge begin here, if not told otherwise.
const FIRST_SEED: u64 = 31;

pub(super) fn execute(options: &Train) -> Result<ExitCode, Failure> {
    if let Some(folder) = &options.evaluate {
        let (model, expected) = match folder.to_str() {
            Some("embedded") => (chronotick_train::embedded()?, &EXPECTED[..]),
            _ => (Forecaster::open(folder)?, &[][..]),
        };
        let named: Vec<&str> = options.scenarios.iter().map(String::as_str).collect();
        let scenarios = if named.is_empty() { &SCENARIOS[..] } else { &named };
        let first = options.seed.unwrap_or(FIRST_SEED);
        let seeds: Vec<u64> = (first..first.saturating_add(options.seeds)).collect();
        say(&chronotick_train::evaluate(&model, expected, scenarios, &seeds)?.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (Some(recipe), Some(out)) = (&options.recipe, &options.out) else {
        return Err("train needs --recipe FILE and --out DIR, or --evaluate DIR".into());
    };
    let mut recipe = Recipe::load(recipe)?;
    recipe.steps = options.steps.unwrap_or(recipe.steps);
    recipe.seed = options.seed.unwrap_or(recipe.seed);
    let progress = chronotick_train::train(&recipe, out, options.resume)?;
    say(&summary(&progress, out))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(progress: &Progress, out: &Path) -> String {
    let best = progress.losses.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    let best = best.map_or("no weights were judged".to_owned(), |(step, _, loss)| {
        format!("the best weights are of step {step}, loss {loss:.4} on worlds that were not learned from")
    });
    format!("{} steps; {best}\nwrote {}\n", progress.steps, out.join("model.safetensors").display())
}
