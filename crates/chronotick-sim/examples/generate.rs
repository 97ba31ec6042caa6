//! Writes what a world looks like to a client as a trace:
//! `cargo run --release -p chronotick-sim --example generate -- SCENARIO[.toml] [--seed N] [--out FOLDER]`

use chronotick_sim::{Scenario, World, recording::Recording};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut scenario, mut seed, mut out) = (None, 1, String::from("."));
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => seed = args.next().ok_or("--seed needs a number")?.parse()?,
            "--out" => out = args.next().ok_or("--out needs a folder")?,
            _ => scenario = Some(arg),
        }
    }
    let scenario = scenario.ok_or("usage: generate SCENARIO[.toml] [--seed N] [--out FOLDER]")?;
    let scenario = if Path::new(&scenario).exists() {
        Scenario::load(&scenario)?
    } else {
        Scenario::built_in(&scenario)?
    };
    let begun = std::time::Instant::now();
    let recording = Recording::of(&World::new(&scenario, seed));
    let simulated = begun.elapsed();
    recording.write(Path::new(&out))?;
    let passage = recording.passage;
    println!("{}.{seed}: {passage:?}, simulated in {simulated:?}", scenario.name());
    Ok(())
}
