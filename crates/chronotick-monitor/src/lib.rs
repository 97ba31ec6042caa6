//! Judging a clock: how good it is, since when, and what to tell whom.
//!
//! Samples go in, judgements and events come out; nothing here reads a clock or a file.
//!
//! * A [`Profile`] says what is expected; a [`Judgement`] keeps state ([`Backing`]) and quality ([`Level`]) apart and gives the
//!   [`Status`] that follows.
//! * The [`Monitor`] follows a clock: levels, alerts with hysteresis, trends, as [`Event`]s.
//! * [`Health`] is the document that every door shows.
//!
//! Offset = true − local, everywhere.

#![forbid(unsafe_code)]

mod event;
pub mod health;
mod judge;
mod level;
mod monitor;
mod profile;
mod trend;

pub use event::{Alert, Event, What};
pub use health::Health;
pub use judge::{ClockError, Judgement, Sample};
pub use level::{Backing, Level, Metric, Status};
pub use monitor::{Hysteresis, Monitor};
pub use profile::Profile;
pub use trend::Trend;
