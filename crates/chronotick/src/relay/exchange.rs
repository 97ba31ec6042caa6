//! What a relay does to a request and its reply, without I/O.
//!
//! A plain request goes on with a nonce of the relay's own, and its reply comes back with the client's. What is behind a
//! header authenticates it, so such a request goes on as it is: the client's own nonce has to do.

use chronotick_ntp::{Mode, NtpTimestamp, Packet};

/// The longest datagram that is passed on.
pub(super) const LONGEST: usize = 2048;

/// A request that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What the reply has to echo.
    nonce: NtpTimestamp,
    /// What may stand in its place in interleaved mode (RFC 9769 §2).
    other: Option<NtpTimestamp>,
    /// What the client wants to have echoed, if the nonce is ours.
    client: Option<NtpTimestamp>,
    len: usize,
}

/// What becomes of a datagram from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// It is no reply to the request.
    Nothing,
    /// There will be no reply.
    Refused,
    /// It goes to the client like this.
    Reply(Vec<u8>),
}

impl Request {
    /// Reads a client's request, and gives what to send on; none for what is no request.
    pub(crate) fn read(datagram: &[u8], nonce: u64) -> Option<(Request, Vec<u8>)> {
        let packet = Packet::parse(datagram)?;
        if packet.mode != Mode::Client || !(1..=4).contains(&packet.version) {
            return None;
        }
        let len = datagram.len();
        if len > Packet::LEN {
            let request = Request {
                nonce: packet.transmit,
                other: Some(packet.receive).filter(|stamp| *stamp != NtpTimestamp::ZERO),
                client: None,
                len,
            };
            return (packet.transmit != NtpTimestamp::ZERO).then(|| (request, datagram.to_vec()));
        }
        let nonce = NtpTimestamp::from_bits(nonce);
        let outgoing = Packet { version: packet.version, poll: packet.poll, ..Packet::request(nonce) };
        let request = Request { nonce, other: None, client: Some(packet.transmit), len };
        Some((request, outgoing.to_bytes().to_vec()))
    }

    /// What becomes of a datagram that came from the upstream.
    pub(crate) fn reply(&self, datagram: &[u8]) -> Forwarded {
        let Some(packet) = Packet::parse(datagram) else { return Forwarded::Nothing };
        let echoed = packet.origin == self.nonce || self.other == Some(packet.origin);
        // Never more than was asked: a relay is of no use to who wants to flood others.
        if packet.mode != Mode::Server || !echoed || datagram.len() > self.len {
            return Forwarded::Nothing;
        }
        let mut reply = datagram.to_vec();
        if let Some(client) = self.client {
            let header = Packet { origin: client, ..packet };
            reply[..Packet::LEN].copy_from_slice(&header.to_bytes());
        }
        Forwarded::Reply(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::{Leap, Timestamp};
    use chronotick_ntp::Responder;
    use proptest::prelude::*;

    fn answered(request: &[u8]) -> Vec<u8> {
        let server = Responder { leap: Some(Leap::None), stratum: 1, ..Responder::default() };
        let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let mut reply = server.answer(request, now).unwrap().leaving_at(now).to_vec();
        reply.extend_from_slice(request.get(Packet::LEN..).unwrap_or_default());
        reply
    }

    #[test]
    fn a_client_sees_its_own_nonce_and_the_upstream_never_does() {
        // The original system's clients all sent the same bytes, without a nonce.
        for theirs in [0, 7, u64::MAX] {
            let mut asked = Packet::request(NtpTimestamp::from_bits(theirs));
            (asked.version, asked.reference, asked.origin) =
                (3, NtpTimestamp::from_bits(5), NtpTimestamp::from_bits(6));
            let (request, outgoing) = Request::read(&asked.to_bytes(), 0xfeed).unwrap();
            let sent = Packet::parse(&outgoing).unwrap();
            assert_eq!((sent.version, sent.transmit.to_bits(), sent.origin), (3, 0xfeed, NtpTimestamp::ZERO));
            let Forwarded::Reply(reply) = request.reply(&answered(&outgoing)) else { panic!("a reply") };
            let reply = Packet::parse(&reply).unwrap();
            assert_eq!((reply.origin.to_bits(), reply.stratum, reply.version), (theirs, 1, 3));
        }
    }

    #[test]
    fn what_is_authenticated_goes_on_as_it_is() {
        let mut asked = Packet::request(NtpTimestamp::from_bits(7)).to_bytes().to_vec();
        asked.extend_from_slice(&[9; 24]);
        let (request, outgoing) = Request::read(&asked, 0xfeed).unwrap();
        assert_eq!(outgoing, asked);
        let reply = answered(&asked);
        assert_eq!(request.reply(&reply), Forwarded::Reply(reply.clone()));
        asked[40..48].fill(0);
        assert_eq!(Request::read(&asked, 1), None, "without a nonce anybody could answer");
    }

    #[test]
    fn what_is_no_request_or_no_reply_goes_nowhere() {
        for mode in [0, 1, 2, 4, 5, 6, 7] {
            let mut asked = Packet::request(NtpTimestamp::from_bits(7)).to_bytes();
            asked[0] = 4 << 3 | mode;
            assert_eq!(Request::read(&asked, 1), None);
        }
        let (request, outgoing) = Request::read(&Packet::request(NtpTimestamp::ZERO).to_bytes(), 1).unwrap();
        assert_eq!(request.reply(&outgoing), Forwarded::Nothing, "not a server's");
        let longer = [answered(&outgoing), vec![0; 4]].concat();
        assert_eq!(request.reply(&longer), Forwarded::Nothing, "more than was asked");
    }

    proptest! {
        #[test]
        fn only_the_nonce_opens_the_way_back(nonce: u64, guess: u64, theirs: u64) {
            prop_assume!(nonce != guess);
            let asked = Packet::request(NtpTimestamp::from_bits(theirs)).to_bytes();
            let (request, _) = Request::read(&asked, nonce).unwrap();
            let forged = answered(&Packet::request(NtpTimestamp::from_bits(guess)).to_bytes());
            prop_assert_eq!(request.reply(&forged), Forwarded::Nothing);
        }

        #[test]
        fn no_bytes_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200), reply in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some((request, outgoing)) = Request::read(&datagram, 1) {
                prop_assert_eq!(outgoing.len(), datagram.len());
                let _ = request.reply(&reply);
            }
        }
    }
}
