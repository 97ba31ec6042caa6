//! Lets the engine live through worlds and prints how wrong it was:
//! `cargo run --release -p chronotick-sim --example simulate -- [SCENARIO[.toml]…] [--seeds N] [--report FILE.html]`

use chronotick_sim::{Scenario, ScenarioError, Trial, report};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut names, mut seeds, mut page) = (Vec::new(), 1, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = args.next().ok_or("--seeds needs a number")?.parse()?,
            "--report" => page = Some(args.next().ok_or("--report needs a file name")?),
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
    println!("{} worlds in {:.1} s", trials.len(), begun.elapsed().as_secs_f64());
    if let Some(page) = page {
        std::fs::write(&page, report::html(&trials))?;
    }
    Ok(())
}

fn open(name: &str) -> Result<Scenario, ScenarioError> {
    if Path::new(name).exists() { Scenario::load(name) } else { Scenario::built_in(name) }
}
