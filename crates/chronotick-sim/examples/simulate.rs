//! Lets the engine live through worlds and prints how wrong it was:
//! `cargo run --release -p chronotick-sim --example simulate -- [SCENARIO[.toml]…] [--seeds N] [--report FILE.html] [--plots FOLDER]`

use chronotick_sim::{Scenario, ScenarioError, Trial, report};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut names, mut seeds, mut page, mut plots) = (Vec::new(), 1, None, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = args.next().ok_or("--seeds needs a number")?.parse()?,
            "--report" => page = Some(args.next().ok_or("--report needs a file name")?),
            "--plots" => plots = Some(args.next().ok_or("--plots needs a folder")?),
            _ => names.push(arg),
        }
    }
    if names.is_empty() {
        names = Scenario::BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    let scenarios = names.iter().map(|name| open(name)).collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let mut trials = Vec::new();
    for scenario in &scenarios {
        for seed in 1..=seeds {
            trials.push(Trial::simulate(scenario, seed));
        }
    }
    print!("{}", report::table(&trials));
    let lived: f64 =
        trials.iter().filter_map(|t| Some(t.rows.last()?.answer.raw.as_nanos() as f64 * 1e-9)).sum();
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{} worlds, {:.0} h, in {took:.1} s: {:.0} times faster than life",
        trials.len(),
        lived / 3600.0,
        lived / took
    );
    if let Some(page) = page {
        std::fs::write(&page, report::html(&trials))?;
    }
    for (name, svg) in plots.iter().flat_map(|_| report::plots(&trials)) {
        std::fs::write(Path::new(plots.as_deref().unwrap_or(".")).join(name), svg)?;
    }
    Ok(())
}

fn open(name: &str) -> Result<Scenario, ScenarioError> {
    if Path::new(name).exists() { Scenario::load(name) } else { Scenario::built_in(name) }
}
