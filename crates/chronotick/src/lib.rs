//! The program around the engine: thin doors over the other crates, as a library so that they can be tested alone.
//!
//! * [`daemon`] measures and publishes; [`config`] tells it what.
//! * [`peers`] are other nodes, and what one's corrected time says against another's.
//! * [`feed`] is what the daemon tells whoever follows it, on threads of their own.
//! * [`door`] is what every answer is made from: the clock page and the [`snapshot`] beside it.
//! * [`cli`] answers people, [`watch`] shows them live, [`mcp`] answers agents, [`http`] answers machines.
//! * `models` (feature `models`) are the forecasters, as checkpoints here or behind an address.
//! * [`metrics`] are the numbers for monitoring.
//! * [`serve`] tells other machines the time by NTP, [`relay`] passes on what others tell.
//! * [`service`] installs the daemon as a service, and tells its service manager how it is.
//! * [`record`] keeps the history and the audit log.
//! * [`discipline`] corrects the system clock, where that is asked for.
//! * [`trace`] writes down what went into the engine and proves that it gives the same answers again.
//! * [`monitor`] judges the clock and tells whoever wants to know.
//! * [`experiment`] observes with servers of its own, and compares what was observed.
//! * [`fleet`] does the same on many hosts over ssh.
//! * [`demo`] runs all of it against a simulated clock.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod discipline;
pub mod door;
pub mod experiment;
pub mod feed;
pub mod fleet;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod keys;
pub mod mcp;
pub mod metrics;
#[cfg(feature = "models")]
pub mod models;
pub mod monitor;
pub mod peers;
pub mod record;
pub mod relay;
mod replace;
pub mod serve;
pub mod service;
pub mod snapshot;
pub mod trace;
mod utc;
pub mod watch;

pub use monitor::synchronizer::TimeSynchronizer;
