//! Worlds with a known truth: simulation, replay of exchanges through the ChronoTick engine, and its scores.
//!
//! * A [`Scenario`] describes a world as a file: oscillator, temperature, sources, paths, episodes of trouble.
//! * A [`World`] is what a seed makes of it; a [`Client`] lives through it and is told the truth.
//! * A [`Trial`] puts the engine and simpler yardsticks through a world; [`report`] shows what came of it.
//! * [`recording`] writes a world as a [`trace`]; [`score`] says how good an estimator is on one.
//! * [`logged`] judges by recordings of real machines, where nobody knew the truth.
//! * [`allan`] has the Allan deviation.
//!
//! ```
//! use chronotick_sim::{Scenario, Trial, report};
//! let scenario = Scenario::built_in("liar-1-of-3")?;
//! let trials: Vec<Trial> = (1..=2).map(|seed| Trial::simulate(&scenario, seed)).collect();
//! println!("{}", report::table(&trials));
//! assert!(report::html(&trials).contains("One of three sources is 4 ms wrong"));
//! # Ok::<(), chronotick_sim::ScenarioError>(())
//! ```
//!
//! All worlds are reproducible to the bit: random numbers come from a generator written here, and their transforms use
//! `libm` and the exact operations of IEEE 754 only, never the platform's mathematics.

#![forbid(unsafe_code)]

pub mod allan;
mod baseline;
mod check;
mod distribution;
mod episode;
pub mod logged;
mod machine;
mod network;
mod oscillator;
pub mod plot;
mod quantity;
mod random;
pub mod recording;
pub mod report;
mod scenario;
pub mod score;
mod ticks;
pub mod trace;
mod trial;
mod world;

pub use network::Reply;
pub use scenario::{Scenario, ScenarioError};
pub use ticks::{Tick, ticks};
pub use trial::{Forecast, Row, Trial, Yardstick};
pub use world::{Client, Happening, Moment, Passage, World};
