//! The client's side of NTS in NTP packets (RFC 8915 §5.7): one cookie goes with each request, one or more come back.

use std::collections::VecDeque;
use std::fmt;

use super::seal::{NONCE, authenticated, fill, open_authenticator, put_authenticator};
use super::{COOKIES, Keys};
use crate::extension::{Field, Fields, Kind, put};
use crate::{Packet, ReferenceId};

/// Keys and cookies for one server. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    keys: Keys,
    cookies: VecDeque<Vec<u8>>,
    /// The unique identifier of the request that waits for its reply.
    open: Option<[u8; UNIQUE]>,
    refused: bool,
}

const UNIQUE: usize = 32;
/// The longest cookie that is kept; those in use have about a hundred bytes.
const LONGEST: usize = 512;
/// No request is longer than this: a packet that has to be cut on its way is a packet that is lost.
const REQUEST: usize = 1_200;

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The server sent it, and nobody changed it.
    Authentic,
    /// The server, or whoever sees our requests, says that it does not know our cookie any more.
    Refused,
    /// Anybody may have sent it.
    NotAuthentic,
}

impl Session {
    /// A session with what the key establishment brought. Of the cookies at most [`COOKIES`] are kept, and none that is
    /// longer than 512 bytes.
    pub fn new(keys: Keys, cookies: Vec<Vec<u8>>) -> Session {
        let mut session = Session { keys, cookies: VecDeque::new(), open: None, refused: false };
        cookies.into_iter().for_each(|cookie| session.keep(cookie));
        session
    }

    /// How many requests can be made before the server has to answer one.
    pub fn cookies(&self) -> usize {
        self.cookies.len()
    }

    /// Bytes of the cookie that is used next; 0 without one.
    pub fn cookie_len(&self) -> usize {
        self.cookies.front().map_or(0, Vec::len)
    }

    /// Whether the server says that it does not know the cookies any more.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether keys have to be established anew: there is no cookie left, or the server refuses ours.
    pub(crate) fn is_spent(&self) -> bool {
        self.cookies.is_empty() || self.refused
    }

    fn keep(&mut self, cookie: Vec<u8>) {
        if (1..=LONGEST).contains(&cookie.len()) && self.cookies.len() < COOKIES {
            self.cookies.push_back(cookie);
        }
    }

    /// The request with this header; none without a cookie. A placeholder is asked to come back as a cookie for each
    /// that is lacking.
    pub(crate) fn request(&mut self, header: &Packet, mut random: impl FnMut() -> u64) -> Option<Vec<u8>> {
        let (mut unique, mut nonce) = ([0; UNIQUE], [0; NONCE]);
        fill(&mut unique, &mut random);
        fill(&mut nonce, &mut random);
        let cookie = self.cookies.pop_front()?;
        let mut datagram = header.to_bytes().to_vec();
        put(&mut datagram, Kind::UNIQUE_IDENTIFIER, &unique);
        put(&mut datagram, Kind::COOKIE, &cookie);
        let authenticator = 4 + 4 + NONCE + 16;
        for _ in self.cookies.len() + 1..COOKIES {
            if datagram.len() + 4 + cookie.len() + authenticator <= REQUEST {
                put(&mut datagram, Kind::COOKIE_PLACEHOLDER, &vec![0; cookie.len()]);
            }
        }
        put_authenticator(&mut datagram, &self.keys.client, &nonce, &[]);
        self.open = Some(unique);
        Some(datagram)
    }

    /// Whether a reply is the server's, to the request that is open. The cookies of one that is are kept.
    pub(crate) fn judge(&mut self, datagram: &[u8], header: &Packet) -> Answered {
        let Some(unique) = self.open else { return Answered::NotAuthentic };
        let echoes = |fields: &[Field<'_>]| {
            fields.iter().any(|f| f.kind == Kind::UNIQUE_IDENTIFIER && f.body == unique)
        };
        let Some((fields, authenticator)) = authenticated(datagram) else {
            let fields: Vec<Field<'_>> = Fields::behind_header(datagram).collect();
            if header.stratum == 0 && header.reference_id == ReferenceId(*b"NTSN") && echoes(&fields) {
                self.refused = true;
                return Answered::Refused;
            }
            return Answered::NotAuthentic;
        };
        let opened =
            open_authenticator(datagram, &authenticator, &self.keys.server).filter(|_| echoes(&fields));
        let Some(text) = opened else { return Answered::NotAuthentic };
        self.open = None;
        self.refused = false;
        let cookies = Fields::of(&text).filter(|field| field.kind == Kind::COOKIE);
        cookies.for_each(|field| self.keep(field.body.to_vec()));
        Answered::Authentic
    }
}

/// Neither keys nor cookies.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session {{ cookies: {} }}", self.cookies.len())
    }
}
