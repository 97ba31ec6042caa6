//! The key establishment (RFC 8915 §4): the records that client and server exchange within TLS 1.3, once each.
//!
//! ```
//! use chronotick_ntp::nts::ke::{self, Offer, Reader};
//! let mut server = Reader::default();
//! server.take(&ke::request());
//! let answer = ke::answer(server.finished().unwrap(), Some(1123), || vec![0xc0; 100]);
//! let mut client = Reader::default();
//! client.take(&answer);
//! let Offer { cookies, port, .. } = ke::offer(client.finished().unwrap())?;
//! assert_eq!((cookies.len(), port), (8, Some(1123)));
//! # Ok::<(), ke::Refused>(())
//! ```

use super::COOKIES;

/// The port of the key establishment (RFC 8915 §7.1).
pub const PORT: u16 = 4460;
/// The name of the protocol within TLS (RFC 8915 §7.2).
pub const ALPN: &[u8] = b"ntske/1";
/// A message may have so many bytes; those in use have less than a thousand.
pub const LONGEST: usize = 16 * 1024;

const END: u16 = 0;
const NEXT_PROTOCOL: u16 = 1;
const ERROR: u16 = 2;
const WARNING: u16 = 3;
const AEAD: u16 = 4;
const COOKIE: u16 = 5;
const SERVER: u16 = 6;
const PORT_NUMBER: u16 = 7;
const CRITICAL: u16 = 1 << 15;

/// NTPv4 among the protocols (RFC 8915 §7.7).
const NTPV4: u16 = 0;
/// AEAD_AES_SIV_CMAC_256 among the algorithms (RFC 5297 §6).
pub const AES_SIV_CMAC_256: u16 = 15;

/// One record (RFC 8915 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    critical: bool,
    kind: u16,
    body: Vec<u8>,
}

impl Record {
    /// The body as numbers of 16 bits.
    fn numbers(&self) -> impl Iterator<Item = u16> {
        self.body.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn number(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.body.as_slice().try_into().ok()?))
    }
}

/// A message as it comes in, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    records: Vec<Record>,
    ended: bool,
}

impl Reader {
    /// Takes in some bytes. Those behind the end of the message do not count, nor any beyond [`LONGEST`].
    pub fn take(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        while !self.ended {
            let Some(record) = self.next() else { return };
            self.ended = record.kind == END;
            self.records.push(record);
        }
    }

    /// The records, once the message is complete.
    pub fn finished(&self) -> Option<&[Record]> {
        self.ended.then_some(&self.records)
    }

    /// Whether it cannot become complete any more: it is too long.
    pub fn is_too_long(&self) -> bool {
        !self.ended && self.bytes.len() >= LONGEST
    }

    fn next(&mut self) -> Option<Record> {
        let rest = &self.bytes[self.at..];
        let head = rest.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let body = rest.get(4..4 + len)?.to_vec();
        let kind = u16::from_be_bytes([head[0], head[1]]);
        self.at += 4 + len;
        Some(Record { critical: kind & CRITICAL != 0, kind: kind & !CRITICAL, body })
    }
}

fn put(message: &mut Vec<u8>, kind: u16, body: &[u8]) {
    let len = u16::try_from(body.len()).expect("a record of ours is short");
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&len.to_be_bytes());
    message.extend_from_slice(body);
}

/// What a client asks: NTPv4 with AEAD_AES_SIV_CMAC_256.
pub fn request() -> Vec<u8> {
    let mut message = Vec::new();
    put(&mut message, NEXT_PROTOCOL | CRITICAL, &NTPV4.to_be_bytes());
    put(&mut message, AEAD | CRITICAL, &AES_SIV_CMAC_256.to_be_bytes());
    put(&mut message, END | CRITICAL, &[]);
    message
}

/// What a server offers its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The cookies, at least one.
    pub cookies: Vec<Vec<u8>>,
    /// The name or address of the NTP server, if it is not the one that was asked.
    pub server: Option<String>,
    /// Its port, if it is not the usual one.
    pub port: Option<u16>,
}

/// Why a server's answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It says so.
    #[error("the server answers with error {code} ({})", error_name(*code))]
    Error {
        /// Which (RFC 8915 §4.1.3).
        code: u16,
    },
    /// It says something that it should not.
    #[error("the server sends warning {0}, which has no meaning")]
    Warning(u16),
    /// It does not speak NTPv4.
    #[error("the server has no NTPv4 to offer")]
    NoProtocol,
    /// It does not speak the one algorithm that everybody has.
    #[error("the server does not take AEAD_AES_SIV_CMAC_256")]
    NoAlgorithm,
    /// There is no cookie.
    #[error("the server sends no cookie")]
    NoCookie,
    /// A critical record has no meaning here.
    #[error("the server sends a critical record of type {0}, which is not known here")]
    Unknown(u16),
    /// A record is not what it should be.
    #[error("the server sends a record of type {0} that cannot be understood")]
    Malformed(u16),
}

fn error_name(code: u16) -> &'static str {
    match code {
        0 => "it does not understand a critical record",
        1 => "it takes the request for a bad one",
        2 => "it failed by itself",
        _ => "not known here",
    }
}

/// What a server's answer offers.
///
/// # Errors
/// If nothing can be made of it.
pub fn offer(records: &[Record]) -> Result<Offer, Refused> {
    let mut offer = Offer { cookies: Vec::new(), server: None, port: None };
    let (mut protocol, mut algorithm) = (false, false);
    for record in records {
        let malformed = Refused::Malformed(record.kind);
        match record.kind {
            END => {}
            NEXT_PROTOCOL => protocol = record.numbers().eq([NTPV4]),
            AEAD => algorithm = record.numbers().eq([AES_SIV_CMAC_256]),
            ERROR => return Err(Refused::Error { code: record.number().ok_or(malformed)? }),
            WARNING => return Err(Refused::Warning(record.number().ok_or(malformed)?)),
            COOKIE => offer.cookies.push(record.body.clone()),
            SERVER => offer.server = Some(host(&record.body).ok_or(malformed)?),
            PORT_NUMBER => offer.port = Some(record.number().filter(|port| *port != 0).ok_or(malformed)?),
            kind if record.critical => return Err(Refused::Unknown(kind)),
            _ => {}
        }
    }
    match (protocol, algorithm, offer.cookies.is_empty()) {
        (false, ..) => Err(Refused::NoProtocol),
        (_, false, _) => Err(Refused::NoAlgorithm),
        (.., true) => Err(Refused::NoCookie),
        _ => Ok(offer),
    }
}

/// A host name or an address in ASCII.
fn host(body: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    let text = std::str::from_utf8(body).ok()?;
    (!text.is_empty() && text.len() <= 255 && body.iter().all(plain)).then(|| text.to_owned())
}

/// The server's answer to a request: cookies if it can be served, otherwise why not. `port` is where NTP is, if not at
/// its usual port; `cookie` makes one.
pub fn answer(request: &[Record], port: Option<u16>, cookie: impl FnMut() -> Vec<u8>) -> Vec<u8> {
    let mut message = Vec::new();
    let of = |kind| request.iter().filter(move |record| record.kind == kind);
    let known = |record: &&Record| matches!(record.kind, END..=PORT_NUMBER) || !record.critical;
    let only_known = request.iter().all(|record| known(&record));
    let (protocols, algorithms) = (of(NEXT_PROTOCOL), of(AEAD));
    let (asked, named) = (protocols.clone().count(), algorithms.clone().count());
    let error = if !only_known {
        Some(0u16)
    } else if asked != 1 || named > 1 || of(ERROR).chain(of(WARNING)).next().is_some() {
        Some(1)
    } else {
        None
    };
    if let Some(code) = error {
        put(&mut message, ERROR | CRITICAL, &code.to_be_bytes());
        put(&mut message, END | CRITICAL, &[]);
        return message;
    }
    let speaks = protocols.flat_map(Record::numbers).any(|number| number == NTPV4);
    let takes = algorithms.flat_map(Record::numbers).any(|number| number == AES_SIV_CMAC_256);
    put(&mut message, NEXT_PROTOCOL | CRITICAL, if speaks { &[0, 0] } else { &[] });
    if speaks {
        put(&mut message, AEAD | CRITICAL, if takes { &[0, AES_SIV_CMAC_256 as u8] } else { &[] });
    }
    if speaks && takes {
        if let Some(port) = port {
            put(&mut message, PORT_NUMBER | CRITICAL, &port.to_be_bytes());
        }
        std::iter::repeat_with(cookie).take(COOKIES).for_each(|cookie| put(&mut message, COOKIE, &cookie));
    }
    put(&mut message, END | CRITICAL, &[]);
    message
}

/// Whether a request can be served: only then the keys of the connection are of any use.
pub fn is_served(request: &[Record]) -> bool {
    let mut reader = Reader::default();
    reader.take(&answer(request, None, || vec![0]));
    reader.finished().is_some_and(|records| offer(records).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(message: &[u8]) -> Vec<Record> {
        let mut reader = Reader::default();
        reader.take(message);
        reader.finished().expect("it has an end").to_vec()
    }

    fn message(records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        records.iter().for_each(|(kind, body)| put(&mut message, *kind, body));
        put(&mut message, END | CRITICAL, &[]);
        message
    }

    fn offered(records: &[(u16, &[u8])]) -> Result<Offer, Refused> {
        offer(&read(&message(records)))
    }

    const GOOD: [(u16, &[u8]); 3] = [(0x8001, &[0, 0]), (0x8004, &[0, 15]), (5, b"cookie")];

    #[test]
    fn an_answer_comes_in_pieces() {
        let whole = answer(&read(&request()), None, || vec![7; 100]);
        let mut reader = Reader::default();
        for byte in &whole {
            assert!(reader.finished().is_none());
            reader.take(&[*byte]);
        }
        let offer = offer(reader.finished().unwrap()).unwrap();
        assert_eq!(offer, Offer { cookies: vec![vec![7; 100]; 8], server: None, port: None });
    }

    #[test]
    fn another_server_and_port_are_understood() {
        let offer = offered(&[GOOD[0], GOOD[1], GOOD[2], (6, b"ntp.example"), (0x8007, &[4, 99])]).unwrap();
        assert_eq!((offer.server.as_deref(), offer.port), (Some("ntp.example"), Some(1123)));
    }

    #[test]
    fn what_is_of_no_use_is_named() {
        assert_eq!(offered(&[]), Err(Refused::NoProtocol));
        assert_eq!(offered(&GOOD[..1]), Err(Refused::NoAlgorithm));
        assert_eq!(offered(&GOOD[..2]), Err(Refused::NoCookie));
        assert_eq!(offered(&[GOOD[0], (0x8004, &[0, 30]), GOOD[2]]), Err(Refused::NoAlgorithm));
        assert_eq!(offered(&[(0x8002, &[0, 1])]), Err(Refused::Error { code: 1 }));
        assert_eq!(offered(&[(0x8003, &[0, 9])]), Err(Refused::Warning(9)));
        assert_eq!(offered(&[GOOD[0], GOOD[1], GOOD[2], (0xc000, &[])]), Err(Refused::Unknown(0x4000)));
        assert!(offered(&[GOOD[0], GOOD[1], GOOD[2], (0x4000, &[])]).is_ok());
        for server in [&b""[..], b"two words", b"\xff", &[b'a'; 256]] {
            assert_eq!(offered(&[GOOD[0], GOOD[1], GOOD[2], (6, server)]), Err(Refused::Malformed(6)));
        }
        for port in [&[0, 0][..], &[1], &[1, 2, 3]] {
            assert_eq!(offered(&[GOOD[0], GOOD[1], GOOD[2], (7, port)]), Err(Refused::Malformed(7)));
        }
    }

    #[test]
    fn a_request_that_cannot_be_served_is_told_why() {
        let told =
            |records: &[(u16, &[u8])]| offer(&read(&answer(&read(&message(records)), None, || vec![1])));
        assert_eq!(told(&[GOOD[1]]), Err(Refused::Error { code: 1 }));
        assert_eq!(told(&[GOOD[0], GOOD[0], GOOD[1]]), Err(Refused::Error { code: 1 }));
        assert_eq!(told(&[GOOD[0], GOOD[1], (0xc000, &[])]), Err(Refused::Error { code: 0 }));
        assert_eq!(told(&[(0x8001, &[0, 9]), GOOD[1]]), Err(Refused::NoProtocol));
        assert_eq!(told(&[GOOD[0], (0x8004, &[0, 30])]), Err(Refused::NoAlgorithm));
        assert!(told(&[(0x8001, &[0, 9, 0, 0]), (0x8004, &[0, 30, 0, 15])]).is_ok());
        assert!(!is_served(&read(&message(&[GOOD[0]]))) && is_served(&read(&request())));
    }

    #[test]
    fn a_message_without_end_ends() {
        let mut reader = Reader::default();
        for _ in 0..10_000 {
            reader.take(&[0x40, 0, 0, 0, 0x40, 0]);
        }
        assert!(reader.is_too_long() && reader.finished().is_none());
        assert!(reader.bytes.len() <= LONGEST);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = Reader::default();
            reader.take(&bytes);
            reader.take(&[0x80, 0, 0, 0]);
            if let Some(records) = reader.finished() {
                let _ = offer(records);
                let mut again = Reader::default();
                again.take(&answer(records, Some(1), || vec![0; 100]));
                prop_assert!(again.finished().is_some());
            }
        }
    }
}
