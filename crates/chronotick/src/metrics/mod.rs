//! The numbers that monitoring follows, by the conventions of Prometheus: base units, counters that end in `_total`,
//! one family a meaning. They are collected from the clock page and the newest status when they are asked for.
//!
//! * [`Family`] is one metric with its help, and its samples by label.
//! * [`of`] collects what there is of a [`Subject`]; [`text`] writes them down as Prometheus or OpenMetrics has it, [`otlp`] as OpenTelemetry has.
//! * [`Export`] sends them to a collector (feature `otlp`).

mod clock;
#[cfg_attr(not(feature = "otlp"), path = "no_export.rs")]
mod export;
mod family;
mod health;
mod models;
pub mod otlp;
mod server;
mod sources;
mod subject;
mod text;

pub use clock::events;
pub use export::Export;
pub use family::{Family, Kind, Sample};
pub use subject::Subject;
pub use text::{Dialect, text};

/// What a clock's page, its newest status and its health say now.
pub fn of(subject: &Subject) -> Vec<Family> {
    let mut families = clock::of(&subject.door);
    families.extend(health::of(&subject.health()));
    families
}
