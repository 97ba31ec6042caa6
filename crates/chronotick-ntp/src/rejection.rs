//! Why a datagram that came from a server was not believed: one reason each, in words and as a label for counting.

use chronotick_core::Span;

use crate::{Mode, ReferenceId};

/// Why a datagram gave no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Shorter than a header.
    #[error(
        "{len} bytes are too few for an NTP header of 48; something else than an NTP server answers there"
    )]
    TooShort {
        /// Its bytes.
        len: usize,
    },
    /// Another version of the protocol.
    #[error("NTP version {0} is neither 3 nor 4")]
    Version(u8),
    /// Not a server's reply.
    #[error("mode {0:?} is not that of a server")]
    Mode(Mode),
    /// It does not echo the nonce of the request that is open: a forgery, or an answer after the deadline.
    #[error("it answers no request that is open: a forgery, or too late")]
    NotAsked,
    /// It echoes a nonce that was answered before.
    #[error("the request was answered before: a duplicate or a replay")]
    Duplicate,
    /// It echoes the right nonce after the deadline.
    #[error("it came {after} after the request, and the deadline is {deadline}")]
    Late {
        /// From request to reply.
        after: Span,
        /// What was granted.
        deadline: Span,
    },
    /// It carries no proof that the server sent it, where that is required: a forgery, or it was changed on its way.
    #[error("it does not prove that the server sent it: it is forged, or was changed on its way")]
    NotAuthentic,
    /// The server says that it does not know the cookie (RFC 8915 §5.7).
    #[error("the server does not know our cookie any more (NTS NAK): keys are established anew")]
    Nak,
    /// A kiss of death (RFC 5905 §7.4).
    #[error(transparent)]
    Kiss(#[from] Kiss),
    /// The server says that it does not know the time (leap indicator 3).
    #[error("the server is not synchronised")]
    Unsynchronised,
    /// Stratum 0 or above 15: no way to a reference clock.
    #[error("stratum {0} has no way to a reference clock; 1 to 15 have")]
    Stratum(u8),
    /// The receive or transmit timestamp is missing.
    #[error("a timestamp of the reply is zero")]
    ZeroTimestamp,
    /// The reply left before the request arrived, by more than the server's precision.
    #[error(
        "the reply left {by} before the request arrived: the server's clock was stepped, or it is broken"
    )]
    Backwards {
        /// How long before.
        by: Span,
    },
    /// The server claims to have held the request for longer than the exchange took.
    #[error(
        "the server claims {held} for an exchange of {elapsed}: its timestamps are wrong, or a clock was stepped"
    )]
    NegativeDelay {
        /// From the server's receive to its transmit timestamp.
        held: Span,
        /// From request to reply on the raw clock.
        elapsed: Span,
    },
    /// Interleaved mode begins, with an exchange that was measured without it.
    #[error("the exchange that it tells of was measured before")]
    Measured,
    /// It may be wrong by more than is of use (RFC 5905 §11.2.1).
    #[error("it may be wrong by {distance}, and the limit is {limit}")]
    RootDistance {
        /// Half of all round trips plus dispersion.
        distance: Span,
        /// The setting.
        limit: Span,
    },
}

impl Rejected {
    /// A label for counting: one word per reason.
    pub fn label(&self) -> &'static str {
        match self {
            Rejected::TooShort { .. } => "too_short",
            Rejected::Version(_) => "version",
            Rejected::Mode(_) => "mode",
            Rejected::NotAsked => "not_asked",
            Rejected::Duplicate => "duplicate",
            Rejected::Measured => "measured",
            Rejected::Late { .. } => "late",
            Rejected::NotAuthentic => "not_authentic",
            Rejected::Nak => "nak",
            Rejected::Kiss(_) => "kiss",
            Rejected::Unsynchronised => "unsynchronised",
            Rejected::Stratum(_) => "stratum",
            Rejected::ZeroTimestamp => "zero_timestamp",
            Rejected::Backwards { .. } => "backwards",
            Rejected::NegativeDelay { .. } => "negative_delay",
            Rejected::RootDistance { .. } => "root_distance",
        }
    }
}

/// What a server asks for instead of giving the time (RFC 5905 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kiss {
    /// Fewer requests. They are, from now on.
    #[error("the server asks for fewer requests (RATE): the interval is now {interval}")]
    Rate {
        /// The interval that will not be undercut any more.
        interval: Span,
    },
    /// No requests at all. There will be none.
    #[error("the server refuses service ({0}): it is not asked again; remove it or ask its operator")]
    Denied(ReferenceId),
    /// Anything else: noted, without consequences.
    #[error("the server sends kiss code {0} instead of the time")]
    Other(ReferenceId),
}
