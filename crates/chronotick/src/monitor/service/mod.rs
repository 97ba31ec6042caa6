//! The time service of the system, by its own word: is one running, does it call itself synchronised, and by how much does it
//! say that the clock is off. Its word is compared with our own measurement elsewhere.
//!
//! * [`chrony`]: chronyd's command protocol, on its socket or on loopback.
//! * [`mode6`]: NTP control messages (RFC 9327), for ntpd and ntpsec.
//! * [`timesyncd`]: systemd-timesyncd's properties on the system bus.

pub mod chrony;
pub mod mode6;
pub mod timesyncd;

use serde::Serialize;
use std::io;
use std::time::Duration;

/// How long a service may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What a time service says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Word {
    /// `chronyd`, `ntpd` (which ntpsec calls itself, too) or `timesyncd`.
    pub name: &'static str,
    /// Whether it calls itself synchronised, to a source that it still hears.
    pub synchronised: bool,
    /// Why not, or to what.
    pub reason: String,
    /// True time minus the system clock, by its own word.
    pub offset_ns: Option<i64>,
    /// What it says that it may be wrong beside that.
    pub error_ns: Option<i64>,
    /// Distance from a reference clock.
    pub stratum: Option<u8>,
    /// Its source.
    pub reference: Option<String>,
}

/// Text of a stranger, as it may go to a terminal.
fn harmless(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
