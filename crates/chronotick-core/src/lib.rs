//! The engine of ChronoTick: measurements and instants in; corrected time with its uncertainty, poll requests and
//! events out.
//!
//! It does no I/O, reads no clock and draws no random numbers: the same input gives the same output on every machine,
//! so that what the simulator and a replay measure is what the daemon ships.
//!
//! The vocabulary of time ([`Timestamp`], [`RawInstant`], [`Span`], …) and the [`Solution`] it produces are those of
//! `chronotick-clock` and are re-exported here.

#![forbid(unsafe_code)]

pub mod estimate;
mod measurement;

pub use chronotick_clock::{
    Leap, Levels, Offset, Rate, RawInstant, Reading, Reason, Solution, Span, State, Timestamp, Variance,
};
pub use measurement::{Measurement, SourceId, Stamps};
