//! The numbers that monitoring follows, by the conventions of Prometheus: base units, counters that end in `_total`,
//! one family a meaning. They are collected from the clock page and the newest status when they are asked for.
//!
//! * [`Family`] is one metric with its help, and its samples by label.
//! * [`of_clock`] collects; [`text`] writes them down as Prometheus or OpenMetrics has it.

mod clock;
mod family;
mod models;
mod sources;
mod text;

pub use clock::{events, of_clock};
pub use family::{Family, Kind, Sample};
pub use text::{Dialect, text};
