//! Symmetric keys (RFC 5905 §7.3, RFC 8573): a message authentication code behind a packet proves that its sender has the
//! same key. The file of keys has chrony's format, so that one file serves both.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aes::{Aes128, Aes256};
use cmac::{Cmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::Packet;

/// How a key makes a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-2 of 256 bits over key and packet, cut to 20 bytes.
    Sha256,
    /// SHA-2 of 384 bits, cut to 20 bytes.
    Sha384,
    /// SHA-2 of 512 bits, cut to 20 bytes.
    Sha512,
    /// AES-CMAC with a key of 16 bytes (RFC 8573).
    Aes128,
    /// AES-CMAC with a key of 32 bytes.
    Aes256,
}

impl Algorithm {
    const ALL: [(&'static str, Algorithm); 5] = [
        ("SHA256", Algorithm::Sha256),
        ("SHA384", Algorithm::Sha384),
        ("SHA512", Algorithm::Sha512),
        ("AES128", Algorithm::Aes128),
        ("AES256", Algorithm::Aes256),
    ];

    /// Its number among chrony's, as `chronyc authdata` shows it.
    pub fn number(self) -> u8 {
        match self {
            Algorithm::Sha256 => 3,
            Algorithm::Sha384 => 4,
            Algorithm::Sha512 => 5,
            Algorithm::Aes128 => 13,
            Algorithm::Aes256 => 14,
        }
    }

    /// Bytes that a key must have, where it matters.
    fn key_len(self) -> Option<usize> {
        match self {
            Algorithm::Aes128 => Some(16),
            Algorithm::Aes256 => Some(32),
            _ => None,
        }
    }
}

/// A key that both sides have. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKey {
    number: u32,
    algorithm: Algorithm,
    secret: Vec<u8>,
}

impl SymmetricKey {
    /// The longest code behind a packet of NTPv4 (RFC 7822 §7.5.1.4): longer ones are cut. chronyd asks in version 3 with
    /// such a key, where it is not.
    const LONGEST: usize = 20;

    /// The number by which both sides call it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// How it makes its codes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many bits it has.
    pub fn bits(&self) -> usize {
        8 * self.secret.len()
    }

    fn code(&self, message: &[u8]) -> Vec<u8> {
        fn hash<D: Digest>(secret: &[u8], message: &[u8]) -> Vec<u8> {
            D::new().chain_update(secret).chain_update(message).finalize().to_vec()
        }
        fn cmac<M: Mac + KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
            let mac =
                <M as KeyInit>::new_from_slice(secret).expect("the length was checked when the key was read");
            mac.chain_update(message).finalize().into_bytes().to_vec()
        }
        let mut code = match self.algorithm {
            Algorithm::Sha256 => hash::<Sha256>(&self.secret, message),
            Algorithm::Sha384 => hash::<Sha384>(&self.secret, message),
            Algorithm::Sha512 => hash::<Sha512>(&self.secret, message),
            Algorithm::Aes128 => cmac::<Cmac<Aes128>>(&self.secret, message),
            Algorithm::Aes256 => cmac::<Cmac<Aes256>>(&self.secret, message),
        };
        if version(message) >= 4 {
            code.truncate(SymmetricKey::LONGEST);
        }
        code
    }

    /// The packet with its code behind it.
    pub(crate) fn sign(&self, header: &Packet) -> Vec<u8> {
        let mut datagram = header.to_bytes().to_vec();
        let code = self.code(&datagram);
        datagram.extend_from_slice(&self.number.to_be_bytes());
        datagram.extend_from_slice(&code);
        datagram
    }

    /// Whether what stands behind a datagram is this key's code of all that is before it.
    pub(crate) fn signed(&self, datagram: &[u8]) -> bool {
        let Some((message, number, code)) = parts(datagram) else { return false };
        let expected = self.code(message);
        // Every byte is compared, so that the time that this takes tells nothing.
        let differing = expected.iter().zip(code).fold(0, |sum, (a, b)| sum | (a ^ b));
        number == self.number && code.len() == expected.len() && differing == 0
    }
}

fn version(datagram: &[u8]) -> u8 {
    datagram.first().map_or(0, |first| first >> 3 & 7)
}

/// The header with the fields behind it, the number of a key, and the code; `None` without one. Before version 4 there are no
/// fields; since then what is left behind one and has no more than 24 bytes is a code (RFC 7822 §7.5.1.4).
fn parts(datagram: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut end = Packet::LEN;
    loop {
        let rest = datagram.get(end..)?;
        let (head, code) = rest.split_first_chunk::<4>()?;
        let is_code = if version(datagram) < 4 { code.len() >= 16 } else { matches!(code.len(), 16 | 20) };
        if is_code {
            return Some((&datagram[..end], u32::from_be_bytes(*head), code));
        }
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if version(datagram) < 4 || rest.len() < 28 || len < 4 {
            return None;
        }
        end += len;
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymmetricKey({} {:?} …)", self.number, self.algorithm)
    }
}

/// Keys by their numbers.
///
/// ```
/// use chronotick_ntp::KeyRing;
/// let ring: KeyRing = "# number type key\n7 AES128 HEX:000102030405060708090A0B0C0D0E0F\n".parse()?;
/// assert!(ring.get(7).is_some() && ring.get(8).is_none());
/// # Ok::<(), chronotick_ntp::InvalidKeys>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRing(BTreeMap<u32, Arc<SymmetricKey>>);

impl KeyRing {
    /// The key with this number.
    pub fn get(&self, number: u32) -> Option<Arc<SymmetricKey>> {
        self.0.get(&number).cloned()
    }

    /// What stands behind a header: nothing, a code of one of these keys, or a code that proves nothing.
    pub(crate) fn judge(&self, datagram: &[u8]) -> Signature {
        let Some((_, number, _)) = parts(datagram) else { return Signature::None };
        let key = self.get(number).filter(|key| key.signed(datagram));
        key.map_or(Signature::Wrong, Signature::Right)
    }
}

/// What a request's code is worth.
pub(crate) enum Signature {
    None,
    Right(Arc<SymmetricKey>),
    Wrong,
}

/// What is wrong with a file of keys: the line, and the mend. The keys themselves are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct InvalidKeys {
    /// Counted from 1.
    pub line: usize,
    /// What is the matter.
    pub why: &'static str,
}

impl std::str::FromStr for KeyRing {
    type Err = InvalidKeys;

    /// Reads lines of `NUMBER TYPE KEY`, the key as text or as `HEX:` digits; lines that begin with `#`, `!`, `;` or `%`
    /// are comments.
    fn from_str(text: &str) -> Result<KeyRing, InvalidKeys> {
        let mut ring = KeyRing::default();
        for (index, line) in text.lines().enumerate() {
            let line_is_empty = line.trim().is_empty() || line.trim_start().starts_with(['#', '!', ';', '%']);
            if line_is_empty {
                continue;
            }
            let invalid = |why| InvalidKeys { line: index + 1, why };
            let key = key(line).map_err(invalid)?;
            if ring.0.insert(key.number, Arc::new(key)).is_some() {
                return Err(invalid("this number was there before; each key needs its own"));
            }
        }
        Ok(ring)
    }
}

fn key(line: &str) -> Result<SymmetricKey, &'static str> {
    const SHAPE: &str = "write NUMBER TYPE KEY, with a type of SHA256, SHA384, SHA512, AES128 or AES256";
    let mut words = line.split_whitespace();
    let (Some(number), Some(kind), Some(secret), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SHAPE);
    };
    let number: u32 =
        number.parse().ok().filter(|n| *n != 0).ok_or("the number must be from 1 to 4294967295")?;
    let known = Algorithm::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind));
    let algorithm = known.map(|(_, algorithm)| *algorithm).ok_or(SHAPE)?;
    let secret = match secret.strip_prefix("HEX:") {
        Some(digits) => hex(digits).ok_or("behind HEX: there must be pairs of hexadecimal digits")?,
        None => secret.strip_prefix("ASCII:").unwrap_or(secret).as_bytes().to_vec(),
    };
    if algorithm.key_len().is_some_and(|len| len != secret.len()) {
        return Err("AES128 needs a key of 16 bytes, and AES256 one of 32");
    }
    if secret.is_empty() {
        return Err("the key is empty");
    }
    Ok(SymmetricKey { number, algorithm, secret })
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NtpTimestamp;
    use proptest::prelude::*;

    const FILE: &str = "\
# chrony's format
1 SHA256 HEX:0102030405060708
2 sha384 secret
3 SHA512 ASCII:secret
4 AES128 HEX:2B7E151628AED2A6ABF7158809CF4F3C
5 AES256 HEX:603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4
20 AES128 HEX:000102030405060708090A0B0C0D0E0F
";

    fn ring() -> KeyRing {
        FILE.parse().unwrap()
    }

    #[test]
    fn codes_are_those_of_the_standards() {
        // RFC 4493 §4, example 2, and NIST SP 800-38B, appendix D.3.
        let message =
            [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        assert_eq!(ring().get(4).unwrap().code(&message)[..4], [0x07, 0x0a, 0x16, 0xb4]);
        assert_eq!(ring().get(5).unwrap().code(&message)[..4], [0x28, 0xa7, 0x02, 0x3f]);
        let hash = Sha256::digest([&[1, 2, 3, 4, 5, 6, 7, 8][..], &message].concat());
        assert_eq!(ring().get(1).unwrap().code(&message), hash[..20]);
    }

    /// Requests of chronyd 4.3 with these keys: the first four bytes, and what follows 36 zeros.
    const CHRONYD: [(u32, &str, &str); 5] = [
        (
            1,
            "1b000620",
            "121c2e65291bdde60000000140d64290e6be7f83c20bbbc1268affbeb99dc26ee0706fd398c8400efa02a6ed",
        ),
        (
            2,
            "1b000620",
            "a514a17b6add9d2200000002ed55b88b3a8b2fa1834ee641e973cbfa829337e72219e302f2794557ec5ae42dff4d07da764314b87b7dcfdbde63d61e",
        ),
        (
            3,
            "1b000620",
            "9b8bbc7703742b6c00000003ca3550db73f4bfc51027dbe5c48a11e6cf704ca83fb35fd69cdb1f05c08c1c15883ab649d5bf381c6d8e2a0346c7b2ad8ee7c339af18ef7318716a7758684231",
        ),
        (4, "23000620", "d743c14fa3603b8b00000004c1ffea79d5e933af3aee8a78219d1eb6"),
        (5, "23000620", "d9cb682548077c79000000053ff1a5b95a096c09de2b4311927cf9f2"),
    ];

    #[test]
    fn codes_are_those_of_chronyd() {
        for (number, head, rest) in CHRONYD {
            let datagram = [hex(head).unwrap(), vec![0; 36], hex(rest).unwrap()].concat();
            let (message, _, code) = parts(&datagram).unwrap();
            assert_eq!(ring().get(number).unwrap().code(message), code, "{number}");
        }
    }

    #[test]
    fn a_code_stands_behind_the_last_field() {
        let key = ring().get(20).unwrap();
        let mut datagram = key.sign(&Packet::request(NtpTimestamp::from_bits(1)));
        assert!(
            matches!(ring().judge(&datagram), Signature::Right(_)),
            "a number like a field's length is none"
        );
        datagram.truncate(Packet::LEN);
        datagram.extend([0xf3, 0x23, 0, 28]);
        datagram.extend([0; 24]);
        assert!(matches!(ring().judge(&datagram), Signature::None));
        let code = key.code(&datagram);
        datagram.extend(20u32.to_be_bytes());
        datagram.extend(code);
        assert!(matches!(ring().judge(&datagram), Signature::Right(_)));
        datagram[60] ^= 1;
        assert!(matches!(ring().judge(&datagram), Signature::Wrong));
    }

    #[test]
    fn mistakes_are_named_and_secrets_are_not() {
        for (text, line) in [
            ("1 SHA256", 1),
            ("\n0 SHA256 x", 2),
            ("1 MD5 x", 1),
            ("1 SHA256 a b", 1),
            ("1 AES128 short", 1),
            ("1 SHA256 HEX:0", 1),
            ("1 SHA256 HEX:", 1),
            ("1 SHA256 x\n1 SHA256 y", 2),
        ] {
            assert_eq!(text.parse::<KeyRing>().unwrap_err().line, line, "{text}");
        }
        let shown = format!("{:?}", ring());
        assert!(!shown.contains("secret") && !shown.contains("2b"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_signed_cannot_be_changed(number in 1u32..=5, version in 3u8..=4, place: u16, bit in 0u8..8, nonce: u64) {
            let ring = ring();
            let key = ring.get(number).unwrap();
            let header = Packet { version, ..Packet::request(NtpTimestamp::from_bits(nonce)) };
            let mut datagram = key.sign(&header);
            prop_assert!(key.signed(&datagram));
            prop_assert!(matches!(ring.judge(&datagram), Signature::Right(_)));
            let place = usize::from(place) % datagram.len();
            datagram[place] ^= 1 << bit;
            prop_assert!(!key.signed(&datagram));
            prop_assert!(!matches!(ring.judge(&datagram), Signature::Right(_)));
        }

        #[test]
        fn no_datagram_panics(datagram in proptest::collection::vec(any::<u8>(), 0..160)) {
            prop_assert!(!matches!(ring().judge(&datagram), Signature::Right(_)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<KeyRing>();
        }
    }
}
