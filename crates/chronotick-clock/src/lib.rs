//! Corrected time with its uncertainty, read from shared memory.
//!
//! The entry point of this crate is [`Clock`]: it reads the clock page that the ChronoTick daemon publishes, for little
//! more than what reading the system clock costs, without a lock, a system call, or a connection.
//!
//! ```no_run
//! let clock = chronotick_clock::Clock::open()?;
//! let reading = clock.now();
//! println!("{} ns since 1970, at most {} wrong", reading.estimate.as_nanos(), reading.max_error());
//! println!("95 of 100 such readings are within ±{}", reading.interval(0.95));
//! println!("{}: {}", reading.state, reading.reason);
//! # Ok::<(), chronotick_clock::OpenError>(())
//! ```
//!
//! # Reading
//!
//! * [`Reading`]: one answer to "what time is it, and how wrong may that be?", with a [`State`] and the [`Reason`] for it.
//!   Beside its bound stands a [`NarrowBound`], which says what it assumes. A reader needs nothing but the page to know that the daemon has died: the bound grows and the state falls.
//! * [`Reading::compare`]: which of two events came first, on one machine or on two ([`Comparison`], [`Order`]).
//! * [`Hlc`]: a hybrid logical clock, whose [`HlcStamp`]s respect cause and effect between machines.
//! * [`raw_now`] and [`ClockPair`]: the raw clock, to take an instant now and ask [`Clock::at`] later.
//!
//! # Publishing
//!
//! * [`Solution`]: true time as a function of the raw clock, with everything that says how wrong it may be. The
//!   engine makes one every second; it stays usable, ever less precise, when no newer one comes.
//! * [`Writer`]: the only publisher of a page, in a file ([`runtime_dir`], [`page_path`]) or in memory.
//!
//! # Quantities
//!
//! * [`Timestamp`], [`RawInstant`], [`Span`], [`Offset`], [`Rate`]: integer nanoseconds in named types.
//!
//! Linux and macOS are supported, on processors with 64-bit atomics.

mod clock;
mod compare;
mod hlc;
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
pub use compare::{Comparison, Order};
pub use hlc::{Hlc, HlcStamp, ParseHlcStampError, TooFarAhead};
pub use host::{ClockPair, boot, raw_now};
pub use place::{CreateError, OpenError, page_path, runtime_dir};
pub use reading::{Assumption, NarrowBound, Reading, Reason, State};
pub use solution::{Leap, Levels, Narrow, Solution, Variance};
pub use time::{Offset, Rate, RawInstant, Span, Timestamp};
pub use writer::Writer;
