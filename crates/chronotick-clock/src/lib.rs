//! Corrected time with its uncertainty: the vocabulary of ChronoTick, and the clock page it is read from.
//!
//! * [`Timestamp`], [`RawInstant`], [`Span`], [`Offset`], [`Rate`]: integer nanoseconds in named types.
//! * [`Solution`]: true time as a function of the raw clock, with everything that says how wrong it may be. The
//!   engine makes one every second; it stays usable, ever less precise, when no newer one comes.
//! * [`Reading`]: one answer to "what time is it, and how wrong may that be?".
//! * [`Clock`]: reads the page; [`Writer`]: publishes it.

mod clock;
mod host;
mod mapping;
mod normal;
mod page;
mod place;
mod reading;
mod ring;
mod solution;
mod time;
mod writer;

/// The atomics of `ring.rs`: its model test puts others here.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};
}

pub use clock::{Clock, PageStatus};
pub use host::{ClockPair, raw_now};
pub use place::{CreateError, OpenError, page_path, runtime_dir};
pub use reading::{Reading, Reason, State};
pub use solution::{Leap, Levels, Solution, Variance};
pub use time::{Offset, Rate, RawInstant, Span, Timestamp};
pub use writer::Writer;
