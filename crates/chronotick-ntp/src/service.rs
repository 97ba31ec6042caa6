//! What a server does with a datagram: who may ask, how often, and what the answer says. No I/O: instants, the clock's
//! own description and random bits are arguments.
//!
//! Only clients' requests are answered, each at most once, and never with more bytes than it has.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use chronotick_core::{RawInstant, Span, Timestamp};

use crate::interleave::Departures;
use crate::keys::{KeyRing, Signature, SymmetricKey};
use crate::limit::{Limiter, Pace, Rate};
use crate::nts::{Asked, CookieJar, Refusal, nak};
use crate::{Access, Mode, NtpTimestamp, Packet, Permission, ReferenceId, Reply, Responder};

/// Why a datagram gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ignored {
    /// It is no client's request of version 1 to 4.
    NotARequest,
    /// The client asks too often.
    TooOften,
    /// The client may not ask, and was told not long ago.
    Refused,
    /// It carries a code of a symmetric key that is not known, or that did not make it.
    NotAuthentic,
    /// The time is not known well enough to be told.
    NoTime,
}

impl Ignored {
    /// A label for counting: one word per reason.
    pub fn label(self) -> &'static str {
        match self {
            Ignored::NotARequest => "not_a_request",
            Ignored::TooOften => "too_often",
            Ignored::Refused => "refused",
            Ignored::NotAuthentic => "not_authentic",
            Ignored::NoTime => "no_time",
        }
    }
}

/// A reply that lacks only the time at which it leaves, and the proof of who sent it.
#[derive(Clone, Debug)]
pub struct Draft {
    reply: Reply,
    proof: Proof,
    /// In interleaved mode: the request, and when the reply before left.
    interleaved: Option<(Packet, NtpTimestamp)>,
}

#[derive(Clone, Debug)]
enum Proof {
    /// None: the request had none either.
    None,
    /// A code of the key that the request had one of.
    Key(Arc<SymmetricKey>),
    /// An authenticator, and as many cookies as were asked for.
    Nts(Asked),
    /// The kiss that says that a cookie is not known, with the identifier of its request.
    Nak { request: Packet, unique: Vec<u8> },
}

impl Draft {
    /// Seals it for a departure at `transmit` and gives the datagram: read the clock last, send at once. `jar` is the one
    /// that the request was received with.
    pub fn leaving_at(
        self,
        transmit: Timestamp,
        jar: Option<&CookieJar>,
        random: impl FnMut() -> u64,
    ) -> Vec<u8> {
        let header = match &self.interleaved {
            Some((request, before)) => self.reply.interleaved(request, *before),
            None => self.reply.leaving_at(transmit).to_vec(),
        };
        match (self.proof, jar, Packet::parse(&header)) {
            (Proof::Nts(asked), Some(jar), Some(header)) => jar.reply(&header, &asked, random),
            (Proof::Key(key), _, Some(header)) => key.sign(&header),
            (Proof::Nak { request, unique }, ..) => nak(&request, &unique),
            _ => header,
        }
    }

    /// When its request arrived: what [`Service::left`] wants to know it by. None for a kiss.
    pub fn received(&self) -> Option<NtpTimestamp> {
        self.reply.kiss().is_none().then(|| self.reply.received())
    }

    /// What it is, for counting.
    fn label(&self) -> &'static str {
        let code = self.reply.kiss().map(|code| code.0);
        match (&self.proof, code.as_ref()) {
            (Proof::Nak { .. }, _) => "nts_nak",
            (_, Some(b"RATE")) => "kiss_rate",
            (_, Some(b"DENY")) => "kiss_deny",
            (_, Some(_)) => "kiss_rstr",
            (Proof::Nts(_), None) => "answered_nts",
            (Proof::Key(_), None) => "answered_key",
            (Proof::None, None) => "answered",
        }
    }
}

/// A server: its policy and what it remembers of its clients.
#[derive(Debug)]
pub struct Service<S> {
    access: Access,
    requests: Limiter<S>,
    /// Those who may not ask are told rarely.
    refusals: Limiter<S>,
    keys: KeyRing,
    departures: Departures<S>,
    interleaved: u64,
    counters: BTreeMap<&'static str, u64>,
}

impl<S: BuildHasher + Clone> Service<S> {
    /// A service for whom `access` names, at `rate`, that remembers so many `clients`, and has these `keys` in common with
    /// some of them.
    pub fn new(access: Access, rate: Rate, keys: KeyRing, clients: usize, hasher: S) -> Service<S> {
        let seldom = Rate { interval: Span::from_secs(16), burst: 1 };
        Service {
            access,
            requests: Limiter::new(rate, clients, hasher.clone()),
            refusals: Limiter::new(seldom, clients.min(1024), hasher.clone()),
            keys,
            departures: Departures::new(hasher),
            interleaved: 0,
            counters: BTreeMap::new(),
        }
    }

    /// Answers a datagram that came from `client` at `received`. `clock` is what the server says of its clock, if it may
    /// say anything; `jar` opens the cookies of NTS, where it is served.
    ///
    /// # Errors
    /// Why it gets no answer.
    pub fn receive(
        &mut self,
        datagram: &[u8],
        client: IpAddr,
        received: (RawInstant, Timestamp),
        clock: Option<&Responder>,
        jar: Option<&CookieJar>,
    ) -> Result<Draft, Ignored> {
        let judged = self.judge(datagram, client, received, clock, jar);
        let label = judged.as_ref().map_or_else(|reason| reason.label(), Draft::label);
        *self.counters.entry(label).or_default() += 1;
        judged
    }

    /// The reply to a request of `client` that arrived at `received` left at `transmit`, as far as is known by now: a
    /// client in interleaved mode is told so with its next reply.
    pub fn left(&mut self, client: IpAddr, received: NtpTimestamp, transmit: Timestamp) {
        self.departures.note(client, received, NtpTimestamp::from_utc(transmit));
    }

    /// How many of the answers were in interleaved mode.
    pub fn interleaved(&self) -> u64 {
        self.interleaved
    }

    /// What became of all datagrams so far, by [`Ignored::label`], `answered`, `answered_nts`, `answered_key`, `nts_nak`
    /// and `kiss_…`.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn judge(
        &mut self,
        datagram: &[u8],
        client: IpAddr,
        (now, received): (RawInstant, Timestamp),
        clock: Option<&Responder>,
        jar: Option<&CookieJar>,
    ) -> Result<Draft, Ignored> {
        let request = Packet::parse(datagram).ok_or(Ignored::NotARequest)?;
        if request.mode != Mode::Client || !(1..=4).contains(&request.version) {
            return Err(Ignored::NotARequest);
        }
        let kiss = |code| Reply::kiss_of_death(&request, ReferenceId(code));
        let plain = |reply| Ok(Draft { reply, proof: Proof::None, interleaved: None });
        let code = match self.access.of(client) {
            Permission::Allowed => None,
            Permission::Restricted => Some(*b"RSTR"),
            Permission::Denied => Some(*b"DENY"),
        };
        if let Some(code) = code {
            return match self.refusals.take(client, now) {
                Pace::Fine => plain(kiss(code)),
                _ => Err(Ignored::Refused),
            };
        }
        match self.requests.take(client, now) {
            Pace::Fine => {}
            Pace::Told => return plain(Reply::too_often(&request, self.requests.interval())),
            Pace::Dropped => return Err(Ignored::TooOften),
        }
        let proof = match jar.and_then(|jar| jar.read(datagram)) {
            None => match self.keys.judge(datagram) {
                Signature::None => Proof::None,
                Signature::Right(key) => Proof::Key(key),
                Signature::Wrong => return Err(Ignored::NotAuthentic),
            },
            Some(Ok(asked)) => Proof::Nts(asked),
            Some(Err(Refusal::Broken)) => return Err(Ignored::NotARequest),
            Some(Err(Refusal::Cookie { unique })) => {
                let proof = Proof::Nak { request, unique };
                return Ok(Draft { reply: kiss(*b"NTSN"), proof, interleaved: None });
            }
        };
        let reply = clock.and_then(|clock| clock.answer(datagram, received)).ok_or(Ignored::NoTime)?;
        // The client says what it got last, and that it can tell the two kinds of reply apart.
        let asks = request.origin != NtpTimestamp::ZERO && request.receive != request.transmit;
        let before = asks.then(|| self.departures.of(client, request.origin)).flatten();
        self.interleaved += u64::from(before.is_some());
        Ok(Draft { reply, proof, interleaved: before.map(|before| (request, before)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NtpTimestamp;
    use chronotick_core::Leap;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    type Plain = BuildHasherDefault<DefaultHasher>;

    const UTC: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

    fn service(interval: Span) -> Service<Plain> {
        let access = Access::new(vec!["10.0.0.0/8".parse().unwrap()], vec!["10.66.0.0/16".parse().unwrap()]);
        Service::new(access, Rate { interval, burst: 2 }, KeyRing::default(), 64, Plain::default())
    }

    fn ask(service: &mut Service<Plain>, client: &str, clock: Option<&Responder>) -> Result<Packet, Ignored> {
        let request = Packet::request(NtpTimestamp::from_bits(0xfeed)).to_bytes();
        let at = (RawInstant::from_nanos(5), UTC);
        let draft = service.receive(&request, client.parse().unwrap(), at, clock, None)?;
        Ok(Packet::parse(&draft.leaving_at(UTC, None, || 0)).unwrap())
    }

    const CLOCK: Responder = Responder {
        leap: Some(Leap::Insert),
        stratum: 3,
        precision: -20,
        root_delay: Span::ZERO,
        root_dispersion: Span::ZERO,
        reference_id: ReferenceId([10, 0, 0, 1]),
        reference: UTC,
    };

    #[test]
    fn the_time_is_told_to_whom_it_is_served() {
        let mut service = service(Span::ZERO);
        let reply = ask(&mut service, "10.1.1.1", Some(&CLOCK)).unwrap();
        assert_eq!((reply.leap, reply.stratum, reply.origin.to_bits()), (Some(Leap::Insert), 3, 0xfeed));
        assert_eq!(ask(&mut service, "10.1.1.1", None), Err(Ignored::NoTime));
    }

    #[test]
    fn others_are_told_why_not_and_then_nothing() {
        for (client, code) in [("11.0.0.1", *b"RSTR"), ("10.66.0.1", *b"DENY")] {
            let mut service = service(Span::ZERO);
            let kiss = ask(&mut service, client, Some(&CLOCK)).unwrap();
            assert_eq!((kiss.stratum, kiss.leap, kiss.reference_id), (0, None, ReferenceId(code)));
            assert_eq!((kiss.origin.to_bits(), kiss.transmit.to_bits()), (0xfeed, 0xfeed), "no time is told");
            assert_eq!(ask(&mut service, client, Some(&CLOCK)), Err(Ignored::Refused));
        }
    }

    fn ring() -> KeyRing {
        "1 SHA512 secret\n2 AES256 HEX:603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4"
            .parse()
            .unwrap()
    }

    #[test]
    fn a_request_with_a_code_is_answered_with_one_of_the_same_key_or_not_at_all() {
        let mut service = service(Span::ZERO);
        service.keys = ring();
        let client = "10.1.1.1".parse().unwrap();
        let at = (RawInstant::from_nanos(5), UTC);
        let mut ask = |datagram: &[u8]| service.receive(datagram, client, at, Some(&CLOCK), None);
        for number in [1, 2] {
            let key = ring().get(number).unwrap();
            let request = key.sign(&Packet::request(NtpTimestamp::from_bits(9)));
            let reply = ask(&request).unwrap().leaving_at(UTC, None, || 0);
            assert!(key.signed(&reply) && reply.len() == request.len());
            let other = ring().get(3 - number).unwrap();
            assert!(!other.signed(&reply));
            let mut changed = request.clone();
            changed[47] ^= 1;
            assert_eq!(ask(&changed).unwrap_err(), Ignored::NotAuthentic);
            assert_eq!(ask(&request[..Packet::LEN]).unwrap().leaving_at(UTC, None, || 0).len(), Packet::LEN);
        }
        let stranger: KeyRing = "7 SHA512 secret".parse().unwrap();
        let request = stranger.get(7).unwrap().sign(&Packet::request(NtpTimestamp::from_bits(9)));
        assert_eq!(ask(&request).unwrap_err(), Ignored::NotAuthentic);
        assert_eq!((service.counters()["answered_key"], service.counters()["not_authentic"]), (2, 3));
    }

    #[test]
    fn only_who_knows_when_its_request_arrived_is_told_when_the_reply_left() {
        let mut service = service(Span::ZERO);
        let [client, other]: [IpAddr; 2] = ["10.1.1.1", "10.1.1.2"].map(|text| text.parse().unwrap());
        let at = (RawInstant::from_nanos(5), UTC);
        let bits = NtpTimestamp::from_bits;
        let ask = |service: &mut Service<Plain>, client, origin, receive| {
            let request = Packet { origin, receive, ..Packet::request(bits(9)) }.to_bytes();
            let draft = service.receive(&request, client, at, Some(&CLOCK), None).unwrap();
            Packet::parse(&draft.leaving_at(UTC, None, || 0)).unwrap()
        };
        let first = ask(&mut service, client, NtpTimestamp::ZERO, NtpTimestamp::ZERO);
        let left = UTC + Span::from_nanos(30_000);
        service.left(client, first.receive, left);
        let reply = ask(&mut service, client, first.receive, bits(8));
        assert_eq!((reply.origin, reply.transmit), (bits(8), NtpTimestamp::from_utc(left)));
        for (client, origin, receive) in
            [(other, first.receive, bits(8)), (client, bits(1), bits(8)), (client, first.receive, bits(9))]
        {
            let reply = ask(&mut service, client, origin, receive);
            assert_eq!((reply.origin, reply.transmit), (bits(9), NtpTimestamp::from_utc(UTC)));
        }
        assert_eq!(service.interleaved(), 1);
    }

    #[test]
    fn who_asks_too_often_is_told_so_and_then_nothing() {
        let mut service = service(Span::from_secs(5));
        (0..2).for_each(|_| assert_eq!(ask(&mut service, "10.1.1.1", Some(&CLOCK)).unwrap().stratum, 3));
        let kiss = ask(&mut service, "10.1.1.1", Some(&CLOCK)).unwrap();
        assert_eq!((kiss.stratum, kiss.reference_id, kiss.poll), (0, ReferenceId(*b"RATE"), 3));
        assert_eq!(ask(&mut service, "10.1.1.1", Some(&CLOCK)), Err(Ignored::TooOften));
        assert_eq!(ask(&mut service, "10.1.1.2", Some(&CLOCK)).unwrap().stratum, 3);
        let counts: Vec<_> = service.counters().iter().map(|(label, n)| (*label, *n)).collect();
        assert_eq!(counts, [("answered", 3), ("kiss_rate", 1), ("too_often", 1)]);
    }
}
