//! The server's side of NTP: one reply for one request, no memory of its clients.
//!
//! It never says more than it was asked: only clients' requests are answered, and a reply is never longer than its
//! request, so that it cannot be used to flood a third party.

use chronotick_core::{Leap, Span, Timestamp};

use crate::{Mode, NtpShort, NtpTimestamp, Packet, ReferenceId};

/// What a server says of its clock.
///
/// ```
/// use chronotick_core::Timestamp;
/// use chronotick_ntp::{Mode, NtpTimestamp, Packet, Responder};
/// let (received, leaving) = (Timestamp::from_nanos(1_000), Timestamp::from_nanos(3_000));
/// let request = Packet::request(NtpTimestamp::from_bits(7)).to_bytes();
/// let reply = Responder::default().answer(&request, received).unwrap().leaving_at(leaving);
/// let reply = Packet::parse(&reply).unwrap();
/// assert_eq!((reply.mode, reply.origin.to_bits()), (Mode::Server, 7));
/// assert_eq!(reply.leap, None, "the default knows no time and says so");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Responder {
    /// The announced leap second; `None` while the time is not known.
    pub leap: Option<Leap>,
    /// Steps to a reference clock; 16 while the time is not known.
    pub stratum: u8,
    /// Precision of the clock, log₂ of seconds.
    pub precision: i8,
    /// Round trip to the reference clock.
    pub root_delay: Span,
    /// What the time may be wrong by beside half of that.
    pub root_dispersion: Span,
    /// What the clock follows.
    pub reference_id: ReferenceId,
    /// When the clock was last corrected.
    pub reference: Timestamp,
}

/// A server that does not know the time, to a nanosecond: it answers, and no client believes it.
impl Default for Responder {
    fn default() -> Responder {
        Responder {
            leap: None,
            stratum: 16,
            precision: -30,
            root_delay: Span::ZERO,
            root_dispersion: Span::ZERO,
            reference_id: ReferenceId::default(),
            reference: Timestamp::from_nanos(0),
        }
    }
}

/// A reply that lacks only the time at which it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply(Packet);

impl Responder {
    /// Answers a request that arrived at `received`; `None` for what is no client's request of version 1 to 4.
    pub fn answer(&self, request: &[u8], received: Timestamp) -> Option<Reply> {
        let request = Packet::parse(request)?;
        if request.mode != Mode::Client || !(1..=4).contains(&request.version) {
            return None;
        }
        Some(Reply(Packet {
            leap: self.leap,
            version: request.version,
            mode: Mode::Server,
            stratum: self.stratum,
            poll: request.poll,
            precision: self.precision,
            root_delay: NtpShort::from_span(self.root_delay),
            root_dispersion: NtpShort::from_span(self.root_dispersion),
            reference_id: self.reference_id,
            reference: NtpTimestamp::from_utc(self.reference),
            origin: request.transmit,
            receive: NtpTimestamp::from_utc(received),
            transmit: NtpTimestamp::ZERO,
        }))
    }
}

impl Reply {
    /// A kiss of death (RFC 5905 §7.4): it tells no time, only why not, and echoes the request so that its client
    /// believes it.
    pub(crate) fn kiss_of_death(request: &Packet, code: ReferenceId) -> Reply {
        Reply(Packet {
            leap: None,
            version: request.version,
            mode: Mode::Server,
            stratum: 0,
            poll: request.poll,
            precision: 0,
            reference_id: code,
            origin: request.transmit,
            // Clients that check for timestamps before they look at the code find the echo of their own.
            receive: request.transmit,
            transmit: request.transmit,
            ..Packet::request(NtpTimestamp::ZERO)
        })
    }

    /// The kiss of death for who asks more often than every `interval`: its poll field says what would do.
    pub(crate) fn too_often(request: &Packet, interval: Span) -> Reply {
        let enough = interval.as_secs_f64().log2().ceil() as i8;
        Reply(Packet {
            poll: request.poll.max(enough),
            ..Reply::kiss_of_death(request, ReferenceId(*b"RATE")).0
        })
    }

    /// When its request arrived, as it is told.
    pub(crate) fn received(&self) -> NtpTimestamp {
        self.0.receive
    }

    /// The same in interleaved mode (RFC 9769 §2): it echoes the request's receive timestamp, and tells when the reply
    /// before it left.
    pub(crate) fn interleaved(self, request: &Packet, before: NtpTimestamp) -> Vec<u8> {
        Packet { origin: request.receive, transmit: before, ..self.0 }.to_bytes().to_vec()
    }

    /// The code, if it is a kiss of death.
    pub fn kiss(&self) -> Option<ReferenceId> {
        (self.0.stratum == 0 && self.0.reference_id.is_text()).then_some(self.0.reference_id)
    }

    /// The datagram, for a departure at `transmit`: read the clock last, send at once.
    ///
    /// A kiss tells no time, so it echoes the client's.
    pub fn leaving_at(self, transmit: Timestamp) -> [u8; Packet::LEN] {
        if self.kiss().is_some() {
            return self.0.to_bytes();
        }
        Packet { transmit: NtpTimestamp::from_utc(transmit), ..self.0 }.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> Timestamp {
        Timestamp::from_nanos(1_700_000_000_000_000_000)
    }

    #[test]
    fn only_clients_are_answered_in_their_version() {
        for version in 0..8 {
            for mode in 0..8 {
                let mut request = Packet::request(NtpTimestamp::from_bits(9)).to_bytes();
                request[0] = version << 3 | mode;
                let reply = Responder::default().answer(&request, now());
                assert_eq!(reply.is_some(), mode == 3 && (1..=4).contains(&version), "{version} {mode}");
                assert!(reply.is_none_or(|r| r.0.version == version));
            }
        }
    }

    #[test]
    fn who_asks_too_often_is_told_what_interval_would_do() {
        for (millis, poll, told) in
            [(1_000, 0, 0), (4_000, 0, 2), (4_001, 0, 3), (4_000, 6, 6), (250, -4, -2)]
        {
            let request = Packet { poll, ..Packet::request(NtpTimestamp::from_bits(9)) };
            let kiss = Reply::too_often(&request, Span::from_millis(millis));
            assert_eq!((kiss.0.poll, kiss.0.origin), (told, request.transmit), "{millis} {poll}");
        }
    }

    proptest! {
        #[test]
        fn no_request_is_answered_with_more(datagram in proptest::collection::vec(any::<u8>(), 0..96)) {
            if let Some(reply) = Responder::default().answer(&datagram, now()) {
                prop_assert!(reply.leaving_at(now()).len() <= datagram.len());
            }
        }
    }
}
