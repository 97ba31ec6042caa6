//! What differs between operating systems: UDP with kernel timestamps, waiting, disruptions of the clocks, randomness.
//!
//! * [`TimestampedSocket`]: a UDP socket to one server that knows on the raw clock when a request left and its reply
//!   arrived, by the kernel's own stamps where it has them.
//! * [`StampedListener`]: a UDP socket that many clients ask, with the kernel's stamps of arrivals and departures.
//! * [`wait`] and [`Waker`]: `poll(2)` over many sockets, and waking it from another thread.
//! * [`Watch`]: notices suspend, a jump of the raw clock, migration, and steps of the system clock.
//! * [`random_u64`] draws nonces.
//! * [`Sensors`]: load, temperature and the like, which may move an oscillator's frequency.
//! * [`yield_to_others`]: the lowest priority, for a thread that may wait.
//! * [`refclock`]: reference clocks of this machine, each a driver that waits on a thread of its own.
//! * [`Steer`]: a clock that can be steered, and [`SystemClock`], this machine's; [`rival`] names another program that does.
//! * [`Sandbox`]: no file but those that were named, no program, no needless system call.
//! * [`raw_now`] and [`ClockPair`] are those of `chronotick-clock`.
//!
//! | | Linux | elsewhere |
//! |---|---|---|
//! | packet stamps | `SO_TIMESTAMPING`, else `SO_TIMESTAMPNS`, else read around the system call | read around the system call |
//! | suspend | boot time against monotonic time | the raw clock runs through it: nothing to notice |
//! | steps of the system clock | exact: real time against boot time | above 1 ms and 500 ppm: real time against the raw clock |
//! | conditions | files below `/proc` and `/sys` | none |
//! | sandbox | Landlock and seccomp | none |
//! | migration | boot id, clock source, vmclock | not noticed |
//!
//! Everything goes through the C library, so that a simulator can stand in for the kernel.

mod disruption;
mod listener;
mod priority;
mod random;
pub mod refclock;
mod sandbox;
mod sensors;
mod socket;
mod stamping;
mod steer;
mod wait;

pub use chronotick_clock::{ClockPair, raw_now};
pub use disruption::Watch;
pub use listener::{Arrival, StampedListener};
pub use priority::yield_to_others;
pub use random::random_u64;
pub use sandbox::{Entered, Sandbox};
pub use sensors::Sensors;
pub use socket::TimestampedSocket;
pub use stamping::Stamping;
pub use steer::{Steer, SystemClock, rival};
pub use wait::{Waker, wait};
