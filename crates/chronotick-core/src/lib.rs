//! The engine of ChronoTick: measurements and instants in; corrected time with its uncertainty, poll intervals and
//! events out. The entry point is the [`Engine`].
//!
//! It does no I/O, reads no clock and draws no random numbers: the same input gives the same output on every machine,
//! so that what the simulator and a replay measure is what the daemon ships.
//!
//! * A [`Measurement`] compares the raw clock with a source; [`Engine::measure`] takes it in.
//! * Selection believes a strict majority of the sources, and the bound contains truth as long as fewer than half lie.
//! * The [`estimate`] room learns how true time runs against the raw clock from what trusted sources measure.
//! * A [`Forecast`] by a model is used as far as earlier ones of the same [`Member`] proved better than the engine's own.
//! * A [`Solution`] carries the answer to every reader, [`Event`]s and [`SourceStatus`] carry the why.
//!
//! The vocabulary of time ([`Timestamp`], [`RawInstant`], [`Span`], …) is that of `chronotick-clock`, re-exported here.

#![forbid(unsafe_code)]

mod bound;
mod disruption;
mod engine;
pub mod estimate;
mod event;
mod exchange;
mod fusion;
mod kernel;
mod measurement;
mod past;
mod predictions;
mod select;
mod settings;
mod status;
mod symmetry;

pub use bound::Edge;
pub use chronotick_clock::{
    Assumption, Leap, Levels, Narrow, Offset, Rate, RawInstant, Reading, Reason, Solution, Span, State,
    Timestamp, Variance,
};
pub use disruption::Disruption;
pub use engine::Engine;
pub use event::Event;
pub use exchange::Exchange;
pub use fusion::{
    Ahead, Basis, CHANNELS, Conditions, Expected, Forecast, HorizonStatus, Implausible, Member, MemberStatus,
    Outlook, Standing,
};
pub use kernel::{Claim, Course, KernelClock};
pub use measurement::{Measurement, SourceId, Stamps};
pub use past::{Past, Prospect, Series, Smoothed};
pub use predictions::Predictions;
pub use select::{Interval, Role};
pub use settings::Settings;
pub use status::{Explanation, SourceStatus, Verdict};
