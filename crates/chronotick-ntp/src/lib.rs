//! NTPv4 on the wire (RFC 5905), without I/O: it opens no socket, reads no clock and draws no random numbers.
//!
//! * [`Packet`], [`NtpTimestamp`], [`NtpShort`]: the 48 bytes of a header and the number formats in it.
//! * [`Association`]: the client's side of talking to one server. It says when to send what, judges every reply, and
//!   turns the good ones into a [`Measurement`](chronotick_core::Measurement).
//! * [`Responder`]: the server's side, one reply for one request; [`Service`]: who may ask it ([`Access`]) and how
//!   often ([`Rate`]).
//!
//! * [`nts`]: both sides of Network Time Security.
//!
//! A client's life, with a server that stands beside it:
//!
//! ```
//! use chronotick_core::{Exchange, Leap, RawInstant, SourceId, Span, Stamps, Timestamp};
//! use chronotick_ntp::{Association, Responder, Settings};
//!
//! let utc = Timestamp::from_nanos(1_700_000_000_000_000_000);
//! let start = RawInstant::from_nanos(0);
//! let mut association = Association::new(SourceId(0), Settings::default(), start);
//!
//! let request = association.poll(start, || 0x5eed).expect("the first request is due at once");
//! let server = Responder { leap: Some(Leap::None), stratum: 1, ..Responder::default() };
//! let reply = server.answer(&request, utc).expect("a client's request").leaving_at(utc);
//!
//! let arrived = start + Span::from_millis(10);
//! let exchange = Exchange {
//!     departed: start,
//!     arrived,
//!     stamps: Stamps::User,
//!     uncertainty: Span::from_micros(1),
//!     received: arrived,
//!     about: utc,
//! };
//! let measurement = association.receive(&reply, &exchange).unwrap();
//! assert_eq!(measurement.at, start + Span::from_millis(5));
//! assert_eq!(measurement.delay, Span::from_millis(10));
//! ```

#![forbid(unsafe_code)]

mod access;
mod client;
mod extension;
mod interleave;
mod keys;
mod limit;
pub mod nts;
mod packet;
mod rejection;
mod schedule;
mod server;
mod service;
mod timestamp;

pub use access::{Access, InvalidNetwork, Network, Permission};
pub use client::{Association, Counters, Protection, Settings};
pub use keys::{Algorithm, InvalidKeys, KeyRing, SymmetricKey};
pub use limit::{Limiter, Pace, Rate};
pub use packet::{Mode, Packet, ReferenceId};
pub use rejection::{Kiss, Rejected};
pub use server::{Reply, Responder};
pub use service::{Draft, Ignored, Service};
pub use timestamp::{NtpShort, NtpTimestamp, precision};
