//! The local half of an exchange with a server: what the operating system knows and the protocol does not.

use crate::{RawInstant, Span, Stamps, Timestamp};

/// When a request left this machine and its reply came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// T1: the request left.
    pub departed: RawInstant,
    /// T4: the reply arrived.
    pub arrived: RawInstant,
    /// Who took both.
    pub stamps: Stamps,
    /// How wrong either may be by its conversion to the raw clock and by that clock's resolution.
    pub uncertainty: Span,
    /// When the reply was read: not before `arrived`.
    pub received: RawInstant,
    /// The system clock then. Only good for telling one 136-year era of NTP from another (RFC 5905 §6).
    pub about: Timestamp,
}
