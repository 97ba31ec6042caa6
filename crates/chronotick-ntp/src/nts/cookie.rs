//! The server's side of NTS in NTP packets: cookies that only this server can open, under keys that change.
//!
//! A cookie is the number of its key, a nonce, and both keys of the client sealed with it (RFC 8915 §6). The server
//! remembers nobody.

use std::fmt;

use chronotick_core::Timestamp;

use super::seal::{NONCE, authenticated, fill, has_room_for_a_nonce, open_authenticator, put_authenticator};
use super::{COOKIES, Keys, SecretKey};
use crate::extension::{Kind, put};
use crate::{Packet, ReferenceId};

/// The keys under which cookies are sealed: the newest, and some before it, so that cookies live on for a while.
pub struct CookieJar {
    /// The newest last, each with its number.
    keys: Vec<(u32, SecretKey)>,
}

/// Bytes of a cookie: 4 of the key's number, the nonce, and 64 sealed, which are 80.
const COOKIE: usize = 4 + NONCE + 80;
/// How many keys are kept: with one a day a client that is asleep for a day comes back without new keys.
const KEPT: usize = 3;

impl CookieJar {
    /// A jar with one key.
    pub fn new(mut random: impl FnMut() -> u64) -> CookieJar {
        let mut jar = CookieJar { keys: Vec::new() };
        jar.rotate(&mut random);
        jar
    }

    /// Seals with a new key from now on, and forgets the oldest.
    pub fn rotate(&mut self, mut random: impl FnMut() -> u64) {
        let mut bytes = [0; SecretKey::LEN];
        fill(&mut bytes, &mut random);
        // A number that nothing follows from: how long a server has been running is nobody's business.
        self.keys.push((random() as u32, SecretKey::new(bytes)));
        if self.keys.len() > KEPT {
            self.keys.remove(0);
        }
    }

    /// A cookie for a client with these keys.
    pub fn seal(&self, keys: &Keys, mut random: impl FnMut() -> u64) -> Vec<u8> {
        let (number, key) = self.keys.last().expect("a jar has a key from the beginning");
        let mut nonce = [0; NONCE];
        fill(&mut nonce, &mut random);
        let text = [*keys.client.bytes(), *keys.server.bytes()].concat();
        let mut cookie = number.to_be_bytes().to_vec();
        cookie.extend_from_slice(&nonce);
        cookie.extend_from_slice(&key.seal(&number.to_be_bytes(), &nonce, &text));
        cookie
    }

    /// The keys in a cookie, if it is one of ours and not too old.
    pub fn open(&self, cookie: &[u8]) -> Option<Keys> {
        let (number, rest) = cookie.split_first_chunk::<4>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let same = |(known, _): &&(u32, SecretKey)| known.to_be_bytes() == *number;
        let text = self.keys.iter().filter(same).find_map(|(_, key)| key.open(number, nonce, sealed))?;
        let (client, server) = text.split_first_chunk::<{ SecretKey::LEN }>()?;
        Some(Keys { client: SecretKey::new(*client), server: SecretKey::new(server.try_into().ok()?) })
    }

    /// What a request asks for; `None` if it is not NTS at all, an error if it cannot be authentic.
    pub(crate) fn read(&self, datagram: &[u8]) -> Option<Result<Asked, Refusal>> {
        let (fields, authenticator) = authenticated(datagram)?;
        let of = |kind| fields.iter().filter(move |field| field.kind == kind);
        let (Some(unique), Some(cookie)) = (of(Kind::UNIQUE_IDENTIFIER).next(), of(Kind::COOKIE).next())
        else {
            return Some(Err(Refusal::Broken));
        };
        if !(32..=64).contains(&unique.body.len()) || !has_room_for_a_nonce(&authenticator) {
            return Some(Err(Refusal::Broken));
        }
        let refused = Refusal::Cookie { unique: unique.body.to_vec() };
        let Some(keys) = self.open(cookie.body) else { return Some(Err(refused)) };
        if open_authenticator(datagram, &authenticator, &keys.client).is_none() {
            return Some(Err(refused));
        }
        // A placeholder that is shorter than a cookie cannot be answered with one: replies are not longer than requests.
        let placeholders = of(Kind::COOKIE_PLACEHOLDER).filter(|field| field.body.len() >= COOKIE).count();
        let cookies = (1 + placeholders).min(COOKIES);
        Some(Ok(Asked { keys, unique: unique.body.to_vec(), cookies }))
    }

    /// The reply with this header to what was asked.
    pub(crate) fn reply(&self, header: &Packet, asked: &Asked, mut random: impl FnMut() -> u64) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..asked.cookies {
            put(&mut text, Kind::COOKIE, &self.seal(&asked.keys, &mut random));
        }
        let mut nonce = [0; NONCE];
        fill(&mut nonce, &mut random);
        let mut datagram = header.to_bytes().to_vec();
        put(&mut datagram, Kind::UNIQUE_IDENTIFIER, &asked.unique);
        put_authenticator(&mut datagram, &asked.keys.server, &nonce, &text);
        datagram
    }
}

/// No key is shown.
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieJar {{ keys: {} }}", self.keys.len())
    }
}

/// What an authentic request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    keys: Keys,
    unique: Vec<u8>,
    cookies: usize,
}

/// Why a request with an authenticator is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its fields are not those of a request.
    Broken,
    /// Its cookie cannot be opened, or the rest was not sealed with what is in it: NTS NAK (RFC 8915 §5.7).
    Cookie { unique: Vec<u8> },
}

/// The NTS NAK that answers a request: a kiss with the request's own identifier, and nothing else.
pub(crate) fn nak(request: &Packet, unique: &[u8]) -> Vec<u8> {
    let kiss = crate::Reply::kiss_of_death(request, ReferenceId(*b"NTSN"));
    let mut datagram = kiss.leaving_at(Timestamp::from_nanos(0)).to_vec();
    put(&mut datagram, Kind::UNIQUE_IDENTIFIER, unique);
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NtpTimestamp;
    use crate::extension::Fields;
    use crate::nts::{Answered, Session};
    use chronotick_core::Leap;
    use proptest::prelude::*;

    /// Numbers that are all different, which is all that the protocol needs of them here.
    fn counter() -> impl FnMut() -> u64 {
        let mut n = 0x9e37_79b9_7f4a_7c15u64;
        move || {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            n
        }
    }

    fn keys() -> Keys {
        Keys { client: SecretKey::new([1; 32]), server: SecretKey::new([2; 32]) }
    }

    fn session(jar: &CookieJar, cookies: usize) -> Session {
        let mut random = counter();
        Session::new(keys(), (0..cookies).map(|_| jar.seal(&keys(), &mut random)).collect())
    }

    fn header() -> Packet {
        Packet::request(NtpTimestamp::from_bits(7))
    }

    fn served() -> Packet {
        Packet { mode: crate::Mode::Server, stratum: 1, leap: Some(Leap::None), ..header() }
    }

    #[test]
    fn cookies_are_replenished_whatever_was_lost() {
        let jar = CookieJar::new(counter());
        let (mut random, mut client) = (counter(), session(&jar, COOKIES));
        for lost in [0, 3, 6, 0] {
            for _ in 0..lost {
                client.request(&header(), &mut random).unwrap();
            }
            let request = client.request(&header(), &mut random).unwrap();
            let asked = jar.read(&request).unwrap().unwrap();
            assert_eq!(asked.cookies, lost + 1);
            let reply = jar.reply(&served(), &asked, &mut random);
            assert!(reply.len() <= request.len(), "{} for {}", reply.len(), request.len());
            assert_eq!(client.judge(&reply, &served()), Answered::Authentic);
            assert_eq!(client.cookies(), COOKIES);
            assert_eq!(client.judge(&reply, &served()), Answered::NotAuthentic, "a replay");
        }
    }

    #[test]
    fn no_cookie_is_used_twice_and_without_one_there_is_no_request() {
        let jar = CookieJar::new(counter());
        let (mut random, mut client) = (counter(), session(&jar, 3));
        let mut seen = Vec::new();
        while let Some(request) = client.request(&header(), &mut random) {
            let fields: Vec<_> = Fields::behind_header(&request).filter(|f| f.kind == Kind::COOKIE).collect();
            seen.push(fields[0].body.to_vec());
        }
        assert_eq!(seen.len(), 3);
        seen.dedup();
        assert_eq!(seen.len(), 3);
        assert!(client.is_spent());
    }

    #[test]
    fn a_forgotten_cookie_is_told_with_a_nak_and_the_nak_needs_the_identifier() {
        let mut jar = CookieJar::new(counter());
        let (mut random, mut client) = (counter(), session(&jar, 8));
        let mut others = 1 << 40;
        (0..KEPT - 1).for_each(|_| {
            jar.rotate(|| {
                others += 1;
                others
            })
        });
        let request = client.request(&header(), &mut random).unwrap();
        assert!(jar.read(&request).unwrap().is_ok(), "the oldest key still opens");
        jar.rotate(|| {
            others += 1;
            others
        });
        let Some(Err(Refusal::Cookie { unique })) = jar.read(&request) else {
            panic!("the cookie is too old")
        };
        let nak = nak(&header(), &unique);
        assert!(nak.len() <= request.len());
        let kiss = Packet::parse(&nak).unwrap();
        let mut forged = nak.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(client.judge(&forged, &kiss), Answered::NotAuthentic);
        assert!(!client.is_spent());
        assert_eq!(client.judge(&nak, &kiss), Answered::Refused);
        assert!(client.is_spent());
    }

    #[test]
    fn a_request_with_too_short_a_nonce_is_dropped_unless_it_is_padded() {
        let jar = CookieJar::new(counter());
        let ask = |nonce: usize, padding: usize| {
            let mut datagram = header().to_bytes().to_vec();
            put(&mut datagram, Kind::UNIQUE_IDENTIFIER, &[7; 32]);
            put(&mut datagram, Kind::COOKIE, &jar.seal(&keys(), counter()));
            let nonce = vec![5; nonce];
            let sealed = keys().client.seal(&datagram, &nonce, &[]);
            let mut body = [(nonce.len() as u16).to_be_bytes(), (sealed.len() as u16).to_be_bytes()].concat();
            body.extend_from_slice(&nonce);
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend_from_slice(&sealed);
            body.resize(body.len() + padding, 0);
            put(&mut datagram, Kind::AUTHENTICATOR, &body);
            let asked = jar.read(&datagram).unwrap()?;
            let reply = jar.reply(&served(), &asked, counter());
            assert!(reply.len() <= datagram.len(), "{} for {}", reply.len(), datagram.len());
            Ok(())
        };
        for (nonce, padding) in [(16, 0), (13, 0), (12, 4), (8, 8), (1, 12), (24, 0)] {
            assert_eq!(ask(nonce, padding), Ok(()), "{nonce} {padding}");
        }
        for (nonce, padding) in [(12, 0), (8, 4), (1, 8), (0, 0)] {
            assert_eq!(ask(nonce, padding), Err(Refusal::Broken), "{nonce} {padding}");
        }
    }

    proptest! {
        #[test]
        fn not_a_bit_of_a_reply_can_be_changed(place: u16, bit in 0u8..8) {
            let jar = CookieJar::new(counter());
            let (mut random, mut client) = (counter(), session(&jar, 4));
            let request = client.request(&header(), &mut random).unwrap();
            let mut reply = jar.reply(&served(), &jar.read(&request).unwrap().unwrap(), &mut random);
            let place = usize::from(place) % reply.len();
            reply[place] ^= 1 << bit;
            let header = Packet::parse(&reply).unwrap();
            prop_assert_eq!(client.judge(&reply, &header), Answered::NotAuthentic);
            prop_assert_eq!(client.cookies(), 3);
        }

        #[test]
        fn not_a_bit_of_a_request_can_be_changed(place: u16, bit in 0u8..8) {
            let jar = CookieJar::new(counter());
            let mut request = session(&jar, 4).request(&header(), counter()).unwrap();
            let place = usize::from(place) % request.len();
            request[place] ^= 1 << bit;
            prop_assert!(!matches!(jar.read(&request), Some(Ok(_))));
        }

        #[test]
        fn a_truncated_packet_is_not_authentic(cut in 1usize..400) {
            let jar = CookieJar::new(counter());
            let (mut random, mut client) = (counter(), session(&jar, 8));
            let request = client.request(&header(), &mut random).unwrap();
            let short = &request[..request.len().saturating_sub(cut)];
            prop_assert!(!matches!(jar.read(short), Some(Ok(_))));
            let reply = jar.reply(&served(), &jar.read(&request).unwrap().unwrap(), &mut random);
            let short = &reply[..reply.len().saturating_sub(cut)];
            prop_assert_eq!(client.judge(short, &served()), Answered::NotAuthentic);
        }

        #[test]
        fn no_bytes_are_a_cookie(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(CookieJar::new(counter()).open(&bytes), None);
        }
    }
}
