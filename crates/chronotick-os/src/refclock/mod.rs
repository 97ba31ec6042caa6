//! Reference clocks of this machine: what each says the time is, at an instant of the raw clock.
//!
//! A [`Driver`] waits on a thread of its own and hands out [`Sample`]s; whoever filters, numbers and believes them lives
//! elsewhere. Layouts and texts are parsed by safe code; `unsafe` is for the system calls only.
//!
//! | module | clock | speaks to |
//! |---|---|---|
//! | [`shm`] | a segment of shared memory that another program writes (NTP's driver 28) | gpsd, ntpd's helpers |
//! | [`sock`] | datagrams on a Unix socket (chrony's SOCK) | gpsd, chrony's helpers |
//! | [`gpsd`] | gpsd's reports over TCP | gpsd |
//! | [`nmea`] | sentences of a receiver on a serial line | the receiver |
//! | `pps` (Linux) | pulses that the kernel stamps | `/dev/ppsN` |
//! | `phc` (Linux) | the clock of a network card or a hypervisor | `/dev/ptpN` |
//! | `vmclock` (Linux) | the same, with what the hypervisor says of it | `/dev/vmclock0` |

mod correlation;
pub mod gpsd;
pub mod nmea;
#[cfg(target_os = "linux")]
pub mod phc;
#[cfg(target_os = "linux")]
pub mod pps;
pub mod shm;
pub mod sock;
#[cfg(target_os = "linux")]
pub mod vmclock;

pub use correlation::Correlation;

use chronotick_core::{Leap, RawInstant, Span, Timestamp};
use std::fmt;

/// What a reference clock said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The instant that it is about.
    pub at: RawInstant,
    /// True time then. Of a [pulse](Sample::is_pulse) only the part of a second counts.
    pub utc: Timestamp,
    /// How wrong `utc` may be by the clock's own word.
    pub precision: Span,
    /// How wrong `at` may be, by the way that the clock's time stamp came to the raw clock.
    pub error: Span,
    /// Whether the clock told only where in a second it was, not in which.
    pub is_pulse: bool,
    /// What it announces; `None` if it announces nothing, as most do.
    pub leap: Option<Leap>,
}

/// Why a clock gave no sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// What came is no sample, and the next may be one.
    Rejected(String),
    /// The clock is gone; it has to be opened anew.
    Lost(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trouble::Rejected(why) | Trouble::Lost(why)) = self;
        f.write_str(why)
    }
}

/// A reference clock that has been opened.
pub trait Driver: Send {
    /// Waits up to `patience` for the next sample; `None` if there was none.
    ///
    /// # Errors
    /// If what came is refused, or the clock is gone.
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble>;
}
