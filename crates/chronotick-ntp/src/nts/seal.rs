//! AEAD_AES_SIV_CMAC_256 (RFC 5297) over a packet: the authenticator field (RFC 8915 §5.6), and the keys.

use std::fmt;

use aes_siv::KeyInit;
use aes_siv::siv::Aes128Siv;

use crate::extension::{Field, Fields, Kind, put};

/// A key of AEAD_AES_SIV_CMAC_256. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; SecretKey::LEN]);

impl SecretKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// From the bytes of an exporter or of a generator.
    pub const fn new(bytes: [u8; SecretKey::LEN]) -> SecretKey {
        SecretKey(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; SecretKey::LEN] {
        &self.0
    }

    /// Seals a text: 16 bytes longer than it was.
    pub(crate) fn seal(&self, associated: &[u8], nonce: &[u8], text: &[u8]) -> Vec<u8> {
        let sealed = Aes128Siv::new(&self.0.into()).encrypt([associated, nonce], text);
        sealed.expect("two headers are fewer than SIV can take")
    }

    /// Opens what was sealed with this key, and with the same bytes associated.
    pub(crate) fn open(&self, associated: &[u8], nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        Aes128Siv::new(&self.0.into()).decrypt([associated, nonce], sealed).ok()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// What client and server share after the key establishment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Seals what the client sends.
    pub client: SecretKey,
    /// Seals what the server sends.
    pub server: SecretKey,
}

/// Bytes of a nonce: SIV takes any number, and 16 is what servers have to accept (RFC 8915 §5.6).
pub(crate) const NONCE: usize = 16;

/// Fills bytes with random bits.
pub(super) fn fill(bytes: &mut [u8], mut random: impl FnMut() -> u64) {
    bytes.chunks_mut(8).for_each(|part| part.copy_from_slice(&random().to_be_bytes()[..part.len()]));
}

/// Appends the authenticator of everything before it, with `text` sealed in it.
pub(crate) fn put_authenticator(datagram: &mut Vec<u8>, key: &SecretKey, nonce: &[u8; NONCE], text: &[u8]) {
    let sealed = key.seal(datagram, nonce, text);
    let mut body = Vec::with_capacity(4 + NONCE + sealed.len());
    body.extend_from_slice(&(NONCE as u16).to_be_bytes());
    body.extend_from_slice(&(sealed.len() as u16).to_be_bytes());
    body.extend_from_slice(nonce);
    body.extend_from_slice(&sealed);
    put(datagram, Kind::AUTHENTICATOR, &body);
}

/// Whether a reply with a nonce of 16 bytes is no longer than a request with this authenticator: where the client's nonce is
/// shorter it has to be padded, or the request dropped (RFC 8915 §5.6).
pub(crate) fn has_room_for_a_nonce(field: &Field<'_>) -> bool {
    let Some(sealed_len) = field.body.get(2..4) else { return false };
    let sealed_len = usize::from(u16::from_be_bytes([sealed_len[0], sealed_len[1]]));
    field.body.len() >= 4 + NONCE + sealed_len.next_multiple_of(4)
}

/// Checks an authenticator against everything before it, and gives the text that was sealed in it.
pub(crate) fn open_authenticator(datagram: &[u8], field: &Field<'_>, key: &SecretKey) -> Option<Vec<u8>> {
    let (head, rest) = field.body.split_first_chunk::<4>()?;
    let nonce_len = usize::from(u16::from_be_bytes([head[0], head[1]]));
    let sealed_len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let nonce = rest.get(..nonce_len)?;
    let sealed = rest.get(nonce_len.next_multiple_of(4)..)?.get(..sealed_len)?;
    key.open(datagram.get(..field.start)?, nonce, sealed)
}

/// The fields of a packet up to its authenticator, and the authenticator; what stands behind it is not authentic and
/// not looked at (RFC 8915 §5.6).
pub(crate) fn authenticated(datagram: &[u8]) -> Option<(Vec<Field<'_>>, Field<'_>)> {
    let mut before = Vec::new();
    for field in Fields::behind_header(datagram) {
        if field.kind == Kind::AUTHENTICATOR {
            return Some((before, field));
        }
        before.push(field);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_that_of_the_standard() {
        // RFC 5297, appendix A.1: one header, no nonce.
        let key: [u8; 32] =
            std::array::from_fn(|i| if i < 16 { 0xff - i as u8 } else { 0xf0 + (i as u8 - 16) });
        let associated: Vec<u8> = (0x10..0x28).collect();
        let plain: Vec<u8> = (1..=14u8).map(|i| i << 4 | i).collect();
        let sealed = Aes128Siv::new(&key.into()).encrypt([&associated], &plain).unwrap();
        assert_eq!(
            sealed[..16],
            [0x85, 0x63, 0x2d, 0x07, 0xc6, 0xe8, 0xf3, 0x7f, 0x95, 0x0a, 0xcd, 0x32, 0x0a, 0x2e, 0xcc, 0x93]
        );
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = Keys { client: SecretKey::new([0x41; 32]), server: SecretKey::new([0x42; 32]) };
        let shown = format!("{keys:?}");
        assert!(!shown.contains("41") && !shown.contains("65") && !shown.contains('A'), "{shown}");
    }
}
