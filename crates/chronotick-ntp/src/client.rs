//! The client's side of one association: sends requests, judges what comes back, and counts both (RFC 5905 §9.2, §13).
//!
//! Instants and random bits are arguments. Whatever arrives, only a reply that echoes the 64 random bits of the open
//! request has any effect beyond a counter: who cannot see the requests can neither lie nor silence a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronotick_core::{Exchange, Measurement, Rate, RawInstant, SourceId, Span};

use crate::nts::{Answered, Session};
use crate::schedule::Schedule;
use crate::{Kiss, Mode, NtpTimestamp, Packet, ReferenceId, Rejected, SymmetricKey, precision};

/// How an association behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The shortest interval between requests after the first burst.
    pub min_poll: Span,
    /// The longest interval that may be wished for.
    pub max_poll: Span,
    /// Answers that are fetched quickly at the start.
    pub burst: u8,
    /// The interval between requests of the burst.
    pub burst_interval: Span,
    /// How long a reply is waited for; never longer than the interval.
    pub deadline: Span,
    /// How far the interval may grow while nothing is answered, if it was not longer before.
    pub max_backoff: Span,
    /// What may be wrong by more than this is rejected (RFC 5905 §11.2.1, MAXDIST).
    pub max_distance: Span,
}

/// A request each 16 to 1024 s, after a burst of 8 answers at 2 s.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            min_poll: Span::from_secs(16),
            max_poll: Span::from_secs(1024),
            burst: 8,
            burst_interval: Span::from_secs(2),
            deadline: Span::from_secs(2),
            max_backoff: Span::from_secs(64),
            max_distance: Span::from_secs(1),
        }
    }
}

/// What was counted since the association began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests handed out.
    pub sent: u64,
    /// Replies that gave a measurement.
    pub accepted: u64,
    /// Requests whose deadline passed.
    pub unanswered: u64,
    /// Datagrams that gave none, by [`Rejected::label`].
    pub rejected: BTreeMap<&'static str, u64>,
}

impl Counters {
    /// Datagrams that have come, whatever became of them.
    pub fn received(&self) -> u64 {
        self.accepted + self.rejected.values().sum::<u64>()
    }
}

/// How replies are told from forgeries, beside the nonce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Protection {
    /// By the nonce alone: whoever sees the requests can forge replies.
    #[default]
    Nonce,
    /// By a key that the server has too.
    Key(Arc<SymmetricKey>),
    /// By NTS; the session is spent at times, and then nothing is sent.
    Nts(Session),
}

/// The random bits in a request that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// What a reply echoes.
    nonce: NtpTimestamp,
    /// What a reply echoes in interleaved mode, if that was asked for.
    interleaved: Option<NtpTimestamp>,
}

/// The exchange before, of which a reply in interleaved mode tells when its reply left (RFC 9769 §2).
#[derive(Clone, Copy, Debug)]
struct Before {
    reply: Packet,
    exchange: Exchange,
    /// Whether it was measured by what the reply itself said.
    measured: bool,
}

/// Talking to one server.
///
/// The caller reads everything that has arrived into [`receive`](Association::receive) before it lets time pass with
/// [`poll`](Association::poll), and does so no later than [`next_event`](Association::next_event).
#[derive(Clone, Debug)]
pub struct Association {
    source: SourceId,
    max_distance: Span,
    schedule: Schedule,
    /// The request that waits for its reply.
    open: Option<Open>,
    interleave: bool,
    before: Option<Before>,
    /// The nonce answered last.
    answered: Option<NtpTimestamp>,
    denied: Option<ReferenceId>,
    protection: Protection,
    /// One bit for each request, the newest lowest, with that of the open one.
    reach: u16,
    server: Option<Packet>,
    /// How long the server held the request of the newest measurement, and whether that came in interleaved mode.
    held: Span,
    interleaved: bool,
    rejected: Option<&'static str>,
    counters: Counters,
}

impl Association {
    /// How far two clocks may drift apart within one exchange (RFC 5905 §7.2, PHI).
    const TOLERANCE: Rate = Rate::from_bits(4_222_124_651); // 15e-6 × 2⁴⁸, rounded up

    /// An association with a server, whose first request is due at `first`.
    pub fn new(source: SourceId, settings: Settings, first: RawInstant) -> Association {
        Association {
            source,
            max_distance: settings.max_distance,
            schedule: Schedule::new(settings, first),
            open: None,
            interleave: false,
            before: None,
            answered: None,
            denied: None,
            protection: Protection::Nonce,
            reach: 0,
            server: None,
            held: Span::ZERO,
            interleaved: false,
            rejected: None,
            counters: Counters::default(),
        }
    }

    /// Lets time pass up to `now` and gives the request to send, if one is due.
    ///
    /// `random` gives 64 random bits at each call: the server has to echo some of them.
    pub fn poll(&mut self, now: RawInstant, mut random: impl FnMut() -> u64) -> Option<Vec<u8>> {
        if self.next_event()? > now {
            return None;
        }
        if self.open.take().is_some() {
            self.counters.unanswered += 1;
            self.before = None;
            self.schedule.unanswered(random());
            if self.schedule.due() > now {
                return None;
            }
        }
        let nonce = NtpTimestamp::from_bits(random());
        let mut header = Packet::request(nonce);
        let interleaved = self.before.filter(|_| self.interleave).map(|before| {
            header.origin = before.reply.receive;
            header.receive = NtpTimestamp::from_bits(random());
            header.receive
        });
        let request = match &mut self.protection {
            Protection::Nonce => header.to_bytes().to_vec(),
            Protection::Key(key) => key.sign(&header),
            Protection::Nts(session) if session.is_spent() => return None,
            Protection::Nts(session) => session.request(&header, random)?,
        };
        self.open = Some(Open { nonce, interleaved });
        self.schedule.sent(now);
        self.reach <<= 1;
        self.counters.sent += 1;
        Some(request)
    }

    /// From now on only what is authentic by this counts.
    pub fn protect(&mut self, protection: Protection) {
        self.open = None;
        self.protection = protection;
    }

    /// How replies are told from forgeries.
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// Asks the server for interleaved mode (RFC 9769): its replies then tell when the one before left, which a server
    /// knows better afterwards. One that does not have it answers as ever.
    pub fn interleave(&mut self) {
        self.interleave = true;
    }

    /// Whether nothing can be sent before keys are established anew and handed to [`protect`](Association::protect): the
    /// cookies are used up, or the server does not know them any more.
    pub fn needs_keys(&self) -> bool {
        matches!(&self.protection, Protection::Nts(session) if self.open.is_none() && session.is_spent())
    }

    /// When [`poll`](Association::poll) has something to do: a request is due, or one has to be given up. `None` once
    /// the server has refused service, and while it [needs keys](Association::needs_keys).
    pub fn next_event(&self) -> Option<RawInstant> {
        if self.needs_keys() {
            return None;
        }
        match (self.denied, self.open) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(self.schedule.expiry()),
            (None, None) => Some(self.schedule.due()),
        }
    }

    /// Judges a datagram that came from the server's address.
    ///
    /// # Errors
    /// The reason why it gives no measurement. A server's reply with the right nonce ends the exchange, whatever else
    /// is wrong with it; anything else changes nothing but a counter.
    pub fn receive(&mut self, datagram: &[u8], exchange: &Exchange) -> Result<Measurement, Rejected> {
        let judged = self.judge(datagram, exchange);
        match &judged {
            Ok(_) => {
                self.reach |= 1;
                self.rejected = None;
                self.counters.accepted += 1;
            }
            Err(reason) => {
                self.reach |= u16::from(*reason == Rejected::Measured);
                self.rejected = Some(reason.label());
                *self.counters.rejected.entry(reason.label()).or_default() += 1;
            }
        }
        judged
    }

    /// The interval that the engine wants, within the limits of the settings and of what the server asked for.
    pub fn set_interval(&mut self, wish: Span) {
        self.schedule.set_wish(wish);
    }

    /// Begins anew with a burst, at `now`: the raw clock was disturbed, or the network came back. An open exchange is
    /// abandoned. A server that once asked for fewer requests gets no burst.
    pub fn restart(&mut self, now: RawInstant) {
        (self.open, self.before) = (None, None);
        self.schedule.restart(now);
    }

    /// The interval between requests, bursts and back-off apart.
    pub fn interval(&self) -> Span {
        self.schedule.interval()
    }

    /// One bit for each of the last eight requests whose fate is known, the newest lowest: set if it brought a measurement.
    pub fn reach(&self) -> u8 {
        (self.reach >> u8::from(self.open.is_some())) as u8
    }

    /// How many requests in a row were not answered at all.
    pub fn missed(&self) -> u32 {
        self.schedule.missed()
    }

    /// The newest header with the right nonce, believed or not.
    pub fn server(&self) -> Option<&Packet> {
        self.server.as_ref()
    }

    /// How long it held the request of the newest measurement.
    pub fn held(&self) -> Span {
        self.held
    }

    /// Whether the newest measurement came in interleaved mode.
    pub fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// Why the newest datagram gave no measurement, by [`Rejected::label`]; `None` if it gave one.
    pub fn rejected(&self) -> Option<&'static str> {
        self.rejected
    }

    /// The kiss code with which the server has refused service, if it has.
    pub fn denied(&self) -> Option<ReferenceId> {
        self.denied
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn judge(&mut self, datagram: &[u8], exchange: &Exchange) -> Result<Measurement, Rejected> {
        let reply = Packet::parse(datagram).ok_or(Rejected::TooShort { len: datagram.len() })?;
        if !matches!(reply.version, 3 | 4) {
            return Err(Rejected::Version(reply.version));
        }
        if reply.mode != Mode::Server {
            return Err(Rejected::Mode(reply.mode));
        }
        let echoes = |open: &Open| open.nonce == reply.origin || open.interleaved == Some(reply.origin);
        let Some(open) = self.open.filter(echoes) else {
            let seen = self.answered == Some(reply.origin);
            return Err(if seen { Rejected::Duplicate } else { Rejected::NotAsked });
        };
        if let Protection::Key(key) = &self.protection
            && !key.signed(datagram)
        {
            return Err(Rejected::NotAuthentic);
        }
        if let Protection::Nts(session) = &mut self.protection {
            // Anybody who sees the request can answer it: the exchange goes on until the server does.
            match session.judge(datagram, &reply) {
                Answered::Authentic => {}
                Answered::Refused => return Err(Rejected::Nak),
                Answered::NotAuthentic => return Err(Rejected::NotAuthentic),
            }
        }
        self.open = None;
        self.answered = Some(reply.origin);
        self.server = Some(reply);
        let (after, deadline) = (exchange.arrived - exchange.departed, self.schedule.deadline());
        self.schedule.answered();
        if reply.stratum == 0 && reply.reference_id.is_text() {
            return Err(self.kissed(reply.reference_id).into());
        }
        if after > deadline {
            return Err(Rejected::Late { after, deadline });
        }
        let is_time = reply.receive != NtpTimestamp::ZERO && reply.leap.is_some();
        let before = self.before.take().filter(|_| is_time);
        let interleaved = before.filter(|_| open.interleaved == Some(reply.origin));
        let measured = interleaved.is_none();
        self.before = is_time.then_some(Before { reply, exchange: *exchange, measured });
        if interleaved.is_some_and(|before| before.measured) {
            // Twice the same exchange would count as two.
            return Err(Rejected::Measured);
        }
        let (told, exchange) = match interleaved {
            // What the reply before said of the server, with the better timestamp of its departure.
            Some(Before { reply: earlier, exchange: old, .. }) => (
                Packet { transmit: reply.transmit, ..earlier },
                Exchange { received: exchange.received, about: exchange.about, ..old },
            ),
            None => (reply, *exchange),
        };
        let measurement = self.measure(&told, &exchange)?;
        (self.held, self.interleaved) = (told.transmit.since(told.receive), interleaved.is_some());
        Ok(measurement)
    }

    /// RFC 5905 §7.4.
    fn kissed(&mut self, code: ReferenceId) -> Kiss {
        match &code.0 {
            b"RATE" => {
                self.schedule.slow_down();
                Kiss::Rate { interval: self.interval() }
            }
            b"DENY" | b"RSTR" => {
                self.denied = Some(code);
                Kiss::Denied(code)
            }
            _ => Kiss::Other(code),
        }
    }

    /// The four timestamps' meaning (RFC 5905 §8), and whether they can be true.
    fn measure(&self, reply: &Packet, exchange: &Exchange) -> Result<Measurement, Rejected> {
        let leap = reply.leap.ok_or(Rejected::Unsynchronised)?;
        if !(1..=15).contains(&reply.stratum) {
            return Err(Rejected::Stratum(reply.stratum));
        }
        if [reply.receive, reply.transmit].contains(&NtpTimestamp::ZERO) {
            return Err(Rejected::ZeroTimestamp);
        }
        let elapsed = exchange.arrived - exchange.departed;
        let held = reply.transmit.since(reply.receive);
        let fuzz = precision(reply.precision);
        // Servers fill the digits below their precision at random: each timestamp is off by up to as much.
        let noise = fuzz.times(2);
        if held + noise < Span::ZERO {
            return Err(Rejected::Backwards { by: -held });
        }
        let delay = elapsed - held;
        if delay + noise + exchange.uncertainty < Span::ZERO {
            return Err(Rejected::NegativeDelay { held, elapsed });
        }
        let drift = Association::TOLERANCE.over(elapsed.abs());
        let measurement = Measurement {
            source: self.source,
            at: exchange.departed + elapsed.half(),
            received: exchange.received,
            utc: reply.receive.near(exchange.about) + held.half(),
            delay,
            root_delay: reply.root_delay.to_span(),
            root_dispersion: reply.root_dispersion.to_span() + fuzz + exchange.uncertainty + drift,
            stratum: reply.stratum,
            leap,
            stamps: exchange.stamps,
        };
        let (distance, limit) = (measurement.max_error(), self.max_distance);
        if distance > limit {
            return Err(Rejected::RootDistance { distance, limit });
        }
        Ok(measurement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NtpShort, Responder};
    use chronotick_core::{Leap, Stamps, Timestamp};
    use proptest::prelude::*;

    const UTC: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

    fn raw(millis: i64) -> RawInstant {
        RawInstant::from_nanos(0) + Span::from_millis(millis)
    }

    fn association() -> Association {
        Association::new(SourceId(3), Settings::default(), raw(0))
    }

    fn exchange(departed: RawInstant, arrived: RawInstant) -> Exchange {
        let uncertainty = Span::from_nanos(50);
        Exchange { departed, arrived, stamps: Stamps::Kernel, uncertainty, received: arrived, about: UTC }
    }

    fn good() -> Responder {
        Responder { leap: Some(Leap::None), stratum: 2, precision: -23, ..Responder::default() }
    }

    /// The reply to a request that took 4 ms there, 2 ms in the server and 4 ms back, after a change.
    fn reply(request: &[u8], change: impl Fn(&mut Packet)) -> Vec<u8> {
        let bytes = good().answer(request, UTC).unwrap().leaving_at(UTC + Span::from_millis(2));
        let mut packet = Packet::parse(&bytes).unwrap();
        change(&mut packet);
        packet.to_bytes().to_vec()
    }

    /// Sends a request at 0 and judges the changed reply at 10 ms.
    fn judged(change: impl Fn(&mut Packet)) -> (Association, Result<Measurement, Rejected>) {
        let mut a = association();
        let request = a.poll(raw(0), || 0xabcdef).unwrap();
        let result = a.receive(&reply(&request, change), &exchange(raw(0), raw(10)));
        (a, result)
    }

    #[test]
    fn an_exchange_gives_the_midpoints_and_the_delay() {
        let (a, result) = judged(|_| ());
        let m = result.unwrap();
        assert_eq!((m.source, m.at, m.received), (SourceId(3), raw(5), raw(10)));
        assert_eq!(m.utc, UTC + Span::from_millis(1));
        assert_eq!((m.delay, m.root_delay), (Span::from_millis(8), Span::ZERO));
        // Precision 120 ns, stamps 50 ns, 15 ppm of 10 ms 150 ns.
        assert_eq!(m.root_dispersion, Span::from_nanos(120 + 50 + 150));
        assert_eq!((m.stratum, m.leap, m.stamps), (2, Leap::None, Stamps::Kernel));
        assert_eq!((a.reach(), a.counters().accepted), (1, 1));
    }

    #[test]
    fn what_cannot_be_true_is_rejected_with_its_reason() {
        let later = |p: &mut Packet, by| p.transmit = NtpTimestamp::from_utc(UTC + by);
        let reason = |change: &dyn Fn(&mut Packet)| judged(change).1.unwrap_err().label();
        assert_eq!(reason(&|p| p.version = 2), "version");
        assert_eq!(reason(&|p| p.mode = Mode::Client), "mode");
        assert_eq!(reason(&|p| p.mode = Mode::Broadcast), "mode");
        assert_eq!(reason(&|p| p.origin = NtpTimestamp::ZERO), "not_asked");
        assert_eq!(reason(&|p| p.leap = None), "unsynchronised");
        assert_eq!(reason(&|p| (p.stratum, p.reference_id) = (0, ReferenceId(*b"STEP"))), "kiss");
        assert_eq!(reason(&|p| p.stratum = 0), "stratum");
        assert_eq!(reason(&|p| p.stratum = 16), "stratum");
        assert_eq!(reason(&|p| p.receive = NtpTimestamp::ZERO), "zero_timestamp");
        assert_eq!(reason(&|p| p.transmit = NtpTimestamp::ZERO), "zero_timestamp");
        assert_eq!(reason(&|p| later(p, Span::from_micros(-1))), "backwards");
        assert_eq!(reason(&|p| later(p, Span::from_millis(11))), "negative_delay");
        assert_eq!(reason(&|p| p.root_delay = NtpShort::from_bits(2 << 16)), "root_distance");
        assert_eq!(reason(&|p| p.root_dispersion = NtpShort::from_bits(1 << 16)), "root_distance");
        assert_eq!(reason(&|p| p.precision = i8::MAX), "root_distance");
    }

    #[test]
    fn timestamps_may_be_off_by_the_precision_of_the_server() {
        let fuzzy = |by: i64| judged(|p| p.transmit = NtpTimestamp::from_utc(UTC + Span::from_nanos(by))).1;
        assert!(fuzzy(-200).is_ok());
        assert!(fuzzy(10_000_200).is_ok_and(|m| m.delay < Span::ZERO));
    }

    fn key(text: &str) -> Arc<SymmetricKey> {
        text.parse::<crate::KeyRing>().unwrap().get(7).unwrap()
    }

    #[test]
    fn with_a_key_only_what_it_signed_counts() {
        let (ours, theirs) = (key("7 SHA256 ours"), key("7 SHA256 theirs"));
        let mut a = association();
        a.protect(Protection::Key(ours.clone()));
        let request = a.poll(raw(0), || 77).unwrap();
        assert!(ours.signed(&request));
        let plain = reply(&request, |_| ());
        let header = Packet::parse(&plain).unwrap();
        let denied = Packet { stratum: 0, reference_id: ReferenceId(*b"DENY"), ..header };
        // The last is what RFC 5905 §9.2 calls a crypto-NAK.
        let forged =
            [plain.clone(), theirs.sign(&header), denied.to_bytes().to_vec(), [&plain[..], &[0; 4]].concat()];
        for datagram in forged {
            let judged = a.receive(&datagram, &exchange(raw(0), raw(10)));
            assert_eq!(judged, Err(Rejected::NotAuthentic));
        }
        assert_eq!(a.denied(), None, "who has no key silences nobody");
        assert!(a.receive(&ours.sign(&header), &exchange(raw(0), raw(10))).is_ok());
    }

    /// A server whose replies leave 1 ms later than it tells at first: in interleaved mode the client learns of it.
    #[test]
    fn in_interleaved_mode_a_reply_corrects_the_one_before() {
        let mut nonces = (1u64..).map(|n| n << 32);
        let mut a = association();
        a.interleave();
        let mut before: Option<(NtpTimestamp, Timestamp)> = None;
        let mut delays = Vec::new();
        for i in 0..4 {
            let (now, utc) = (raw(i * 2_000), UTC + Span::from_secs(2 * i));
            let request = Packet::parse(&a.poll(now, || nonces.next().unwrap()).unwrap()).unwrap();
            let told = reply(&request.to_bytes(), |p| {
                p.receive = NtpTimestamp::from_utc(utc);
                p.transmit = NtpTimestamp::from_utc(utc + Span::from_millis(1));
                if let Some((received, left)) = before.filter(|(received, _)| *received == request.origin) {
                    assert_ne!((received, request.receive), (NtpTimestamp::ZERO, request.transmit));
                    (p.origin, p.transmit) = (request.receive, NtpTimestamp::from_utc(left));
                }
            });
            before = Some((NtpTimestamp::from_utc(utc), utc + Span::from_millis(2)));
            let exchange = Exchange { about: utc, ..exchange(now, now + Span::from_millis(10)) };
            let judged = a.receive(&told, &exchange);
            if i == 1 {
                assert_eq!(judged, Err(Rejected::Measured), "the first exchange was measured before");
                continue;
            }
            let m = judged.unwrap();
            delays.push(m.delay);
            // The exchange before is what is told of, and it is known now.
            let at = raw(i.max(1) * 2_000 - 2_000 + 5);
            assert_eq!((m.at, m.received), (at, exchange.received));
        }
        let (basic, better) = (Span::from_millis(9), Span::from_millis(8));
        assert_eq!(delays, [basic, better, better]);
        assert_eq!((a.reach(), a.is_interleaved(), a.held()), (0b1111, true, Span::from_millis(2)));
    }

    #[test]
    fn after_a_lost_reply_interleaved_mode_begins_anew() {
        let mut nonces = (1u64..).map(|n| n << 32);
        let mut a = association();
        a.interleave();
        let mut random = || nonces.next().unwrap();
        let request = a.poll(raw(0), &mut random).unwrap();
        a.receive(&reply(&request, |_| ()), &exchange(raw(0), raw(10))).unwrap();
        let asks = |request: &[u8]| Packet::parse(request).unwrap().origin != NtpTimestamp::ZERO;
        let now = a.next_event().unwrap();
        assert!(asks(&a.poll(now, &mut random).unwrap()));
        let again = loop {
            let now = a.next_event().unwrap();
            if let Some(request) = a.poll(now, &mut random) {
                break request;
            }
        };
        assert!(!asks(&again), "nothing is known of the reply before");
    }

    #[test]
    fn a_nonce_is_good_for_one_reply() {
        let mut a = association();
        let request = a.poll(raw(0), || 77).unwrap();
        let datagram = reply(&request, |_| ());
        assert!(a.receive(&datagram, &exchange(raw(0), raw(10))).is_ok());
        assert_eq!(a.receive(&datagram, &exchange(raw(0), raw(11))), Err(Rejected::Duplicate));
        a.poll(raw(2_000), || 78).unwrap();
        assert_eq!(a.receive(&datagram, &exchange(raw(0), raw(2_010))), Err(Rejected::Duplicate));
        assert_eq!(a.counters().rejected["duplicate"], 2);
    }

    #[test]
    fn a_reply_after_the_deadline_is_too_late() {
        let mut a = association();
        let request = a.poll(raw(0), || 77).unwrap();
        let late = a.receive(&reply(&request, |_| ()), &exchange(raw(0), raw(2_001)));
        assert!(matches!(late, Err(Rejected::Late { .. })), "{late:?}");

        let mut a = association();
        let request = a.poll(raw(0), || 77).unwrap();
        assert_eq!(a.next_event(), Some(raw(2_000)));
        assert_eq!(a.poll(raw(2_000), || u64::MAX), None);
        assert_eq!((a.missed(), a.counters().unanswered), (1, 1));
        assert_eq!(a.receive(&reply(&request, |_| ()), &exchange(raw(0), raw(10))), Err(Rejected::NotAsked));
    }

    #[test]
    fn a_request_on_its_way_has_not_missed() {
        let mut a = association();
        for _ in 0..9 {
            let now = a.next_event().unwrap();
            let request = a.poll(now, || now.as_nanos() as u64).unwrap();
            let exchange = exchange(now, now + Span::from_millis(10));
            a.receive(&reply(&request, |_| ()), &exchange).unwrap();
        }
        a.poll(a.next_event().unwrap(), || 7).unwrap();
        assert_eq!(a.reach(), 0o377);
        a.poll(a.next_event().unwrap(), || u64::MAX);
        assert_eq!((a.missed(), a.reach()), (1, 0o376));
    }

    #[test]
    fn rate_slows_down_and_says_so() {
        let kiss = |p: &mut Packet| (p.stratum, p.leap, p.reference_id) = (0, None, ReferenceId(*b"RATE"));
        let (mut a, result) = judged(kiss);
        assert_eq!(result, Err(Rejected::Kiss(Kiss::Rate { interval: Span::from_secs(32) })));
        assert_eq!((a.next_event(), a.reach()), (Some(raw(32_000)), 0));
        let request = a.poll(raw(32_000), || 9).unwrap();
        let again = a.receive(&reply(&request, kiss), &exchange(raw(32_000), raw(32_010)));
        assert_eq!(again, Err(Rejected::Kiss(Kiss::Rate { interval: Span::from_secs(64) })));
    }

    #[test]
    fn a_refusal_of_service_ends_the_association() {
        for code in [*b"DENY", *b"RSTR"] {
            let (mut a, result) = judged(|p| (p.stratum, p.reference_id) = (0, ReferenceId(code)));
            assert_eq!(result, Err(Rejected::Kiss(Kiss::Denied(ReferenceId(code)))));
            assert_eq!((a.next_event(), a.denied()), (None, Some(ReferenceId(code))));
            assert_eq!(a.poll(raw(1_000_000), || 5), None);
        }
        let (a, result) = judged(|p| (p.stratum, p.reference_id) = (0, ReferenceId(*b"INIT")));
        assert_eq!(result, Err(Rejected::Kiss(Kiss::Other(ReferenceId(*b"INIT")))));
        assert!(a.next_event().is_some());
    }

    #[test]
    fn a_kiss_without_the_nonce_is_not_felt() {
        for code in [*b"RATE", *b"DENY", *b"RSTR"] {
            let forged = |p: &mut Packet| {
                (p.stratum, p.reference_id) = (0, ReferenceId(code));
                p.origin = NtpTimestamp::from_bits(0xabcdee);
            };
            let (a, result) = judged(forged);
            assert_eq!(result, Err(Rejected::NotAsked));
            assert_eq!((a.denied(), a.interval()), (None, Span::from_secs(16)));
        }
    }

    #[test]
    fn a_restart_forgets_the_open_exchange() {
        let mut a = association();
        let request = a.poll(raw(0), || 5).unwrap();
        // The raw clock may even have gone back.
        a.restart(raw(-1_000));
        assert_eq!(a.receive(&reply(&request, |_| ()), &exchange(raw(0), raw(10))), Err(Rejected::NotAsked));
        assert_eq!(a.next_event(), Some(raw(-1_000)));
    }

    #[test]
    fn a_reply_that_crosses_an_era_is_understood() {
        // 2036-02-07T06:28:16Z less a millisecond: T2 in era 0, T3 in era 1.
        let end = Timestamp::from_nanos(2_085_978_496_000_000_000 - 1_000_000);
        let mut a = association();
        let request = a.poll(raw(0), || 7).unwrap();
        let datagram = good().answer(&request, end).unwrap().leaving_at(end + Span::from_millis(2));
        let exchange = Exchange { about: end + Span::from_secs(3600), ..exchange(raw(0), raw(10)) };
        let m = a.receive(&datagram, &exchange).unwrap();
        assert_eq!((m.utc, m.delay), (end + Span::from_millis(1), Span::from_millis(8)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u16),
        Answer,
        Forge(Vec<u8>),
        Flip(u8, u8),
        Wish(i64),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<u16>().prop_map(Step::Wait),
            3 => Just(Step::Answer),
            1 => proptest::collection::vec(any::<u8>(), 0..100).prop_map(Step::Forge),
            2 => (0u8..48, any::<u8>()).prop_map(|(place, bits)| Step::Flip(place, bits)),
            1 => any::<i64>().prop_map(Step::Wish),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn guesses_are_never_believed(
            datagram in proptest::collection::vec(any::<u8>(), 48..80), guess: u64, nonce: u64,
        ) {
            prop_assume!(guess != nonce);
            let mut a = association();
            a.poll(raw(0), || nonce).unwrap();
            let mut datagram = datagram;
            datagram[24..32].copy_from_slice(&guess.to_be_bytes());
            let before = a.next_event();
            prop_assert!(a.receive(&datagram, &exchange(raw(0), raw(1))).is_err());
            prop_assert_eq!(a.next_event(), before);
            prop_assert!(a.open.is_some());
        }

        #[test]
        fn whatever_happens_requests_keep_their_distance_and_counts_add_up(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut a = association();
            let mut now = raw(0);
            let mut last: Option<(RawInstant, Vec<u8>)> = None;
            for (nonce, step) in (1..).step_by(2).zip(steps) {
                let (departed, request) = last.clone().unwrap_or((now, Packet::request(NtpTimestamp::ZERO).to_bytes().to_vec()));
                let exchange = exchange(departed, now);
                match step {
                    Step::Wait(millis) => now = now + Span::from_millis(i64::from(millis)),
                    Step::Answer => drop(a.receive(&reply(&request, |_| ()), &exchange)),
                    Step::Forge(datagram) => prop_assert!(a.receive(&datagram, &exchange).is_err()),
                    Step::Flip(place, bits) => {
                        let mut datagram = reply(&request, |_| ());
                        datagram[usize::from(place)] ^= bits;
                        if let Ok(m) = a.receive(&datagram, &exchange) {
                            prop_assert!(m.max_error() <= Settings::default().max_distance);
                            prop_assert!((1..=15).contains(&m.stratum));
                        }
                    }
                    Step::Wish(nanos) => a.set_interval(Span::from_nanos(nanos)),
                    Step::Restart => {
                        a.restart(now);
                        last = None;
                    }
                }
                if let Some(request) = a.poll(now, || nonce) {
                    prop_assert!(last.is_none_or(|(sent, _)| now - sent >= Settings::default().burst_interval));
                    prop_assert!(a.poll(now, || nonce + 1).is_none());
                    last = Some((now, request));
                }
                prop_assert!(a.counters().accepted + a.counters().unanswered <= a.counters().sent);
                prop_assert!(a.denied().is_some() || a.next_event().is_some());
            }
        }
    }
}
