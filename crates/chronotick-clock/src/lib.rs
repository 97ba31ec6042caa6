//! Corrected time with its uncertainty: the vocabulary of ChronoTick, and the clock page it is read from.
//!
//! * [`Timestamp`], [`RawInstant`], [`Span`], [`Offset`], [`Rate`]: integer nanoseconds in named types.
//! * [`Solution`]: true time as a function of the raw clock, with everything that says how wrong it may be. The
//!   engine makes one every second; it stays usable, ever less precise, when no newer one comes.
//! * [`Reading`]: one answer to "what time is it, and how wrong may that be?".

mod normal;
mod reading;
mod solution;
mod time;

pub use reading::{Reading, Reason, State};
pub use solution::{Leap, Levels, Solution, Variance};
pub use time::{Offset, Rate, RawInstant, Span, Timestamp};
