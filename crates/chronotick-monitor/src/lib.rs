//! Judging a clock: how good it is, since when, and what to tell whom.
//!
//! Samples go in, judgements and events come out; nothing here reads a clock or a file.
//!
//! * A [`Profile`] says what is expected; a [`Judgement`] keeps state ([`Backing`]) and quality ([`Level`]) apart and gives the
//!   [`Status`] that follows.
//! * The [`Monitor`] follows a clock: levels, alerts with hysteresis, trends, as [`Event`]s.
//! * [`Health`] is the document that every door shows; a [`Report`] says what a stretch of time was like.
//! * [`Consensus`] is what a majority of servers says of one clock, once; [`Policy`] what may be done about it.
//! * [`Steering`] says what to do to the system clock from second to second, by the same policy.
//! * [`RtcDiagnosis`] says what ails the battery-backed clock, [`DeviceClocks`] follows the clocks of devices.
//!
//! Offset = true − local, everywhere.

#![forbid(unsafe_code)]

mod consensus;
mod device;
mod event;
pub mod health;
mod judge;
mod level;
mod monitor;
mod policy;
mod profile;
mod report;
mod rtc;
mod steering;
mod trend;

pub use consensus::{Answer, Consensus, NoConsensus};
pub use device::{DeviceClock, DeviceClocks, DeviceReading, InvalidPair, Pair};
pub use event::{Alert, Event, What};
pub use health::Health;
pub use judge::{ClockError, Judgement, Sample};
pub use level::{Backing, Level, Metric, Status};
pub use monitor::{Hysteresis, Monitor};
pub use policy::{Decision, Policy, Refusal};
pub use profile::Profile;
pub use report::{Excursion, Point, Report, ServiceLevel};
pub use rtc::{Battery, RtcDiagnosis, RtcReading, Timescale};
pub use steering::{Known, Manner, Order, Reluctance, Steering, Terms, leap_tonight};
pub use trend::Trend;
