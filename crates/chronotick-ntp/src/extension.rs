//! Extension fields behind a header (RFC 7822): bytes in, types and bodies out, and back.

use crate::Packet;

/// The type of an extension field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind(pub(crate) u16);

impl Kind {
    /// RFC 8915 §7.5.
    pub(crate) const UNIQUE_IDENTIFIER: Kind = Kind(0x0104);
    pub(crate) const COOKIE: Kind = Kind(0x0204);
    pub(crate) const COOKIE_PLACEHOLDER: Kind = Kind(0x0304);
    pub(crate) const AUTHENTICATOR: Kind = Kind(0x0404);
}

/// An extension field of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) kind: Kind,
    /// What is behind type and length, padding included.
    pub(crate) body: &'a [u8],
    /// Where it begins within what was read.
    pub(crate) start: usize,
}

/// Bytes of a field's type and length.
const HEAD: usize = 4;

/// Reads one field after the other; ends at the first that is not whole.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    broken: bool,
}

impl<'a> Fields<'a> {
    /// The fields behind the header of a datagram.
    pub(crate) fn behind_header(datagram: &'a [u8]) -> Fields<'a> {
        Fields { bytes: datagram, at: Packet::LEN.min(datagram.len()), broken: false }
    }

    /// The fields that these bytes are.
    pub(crate) fn of(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0, broken: false }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() || self.broken {
            return None;
        }
        let field = rest.first_chunk::<HEAD>().and_then(|head| {
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let body = rest.get(HEAD..len).filter(|_| len % 4 == 0)?;
            Some(Field { kind: Kind(u16::from_be_bytes([head[0], head[1]])), body, start: self.at })
        });
        match field {
            Some(field) => self.at += HEAD + field.body.len(),
            None => self.broken = true,
        }
        field
    }
}

/// Appends a field, with zeros up to a multiple of four bytes.
pub(crate) fn put(datagram: &mut Vec<u8>, kind: Kind, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let len = u16::try_from(HEAD + padded).expect("what is put here is no longer than a datagram");
    datagram.extend_from_slice(&kind.0.to_be_bytes());
    datagram.extend_from_slice(&len.to_be_bytes());
    datagram.extend_from_slice(body);
    datagram.resize(datagram.len() + padded - body.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_whole_ends_the_fields() {
        for bytes in [&[1, 4, 0][..], &[1, 4, 0, 3], &[1, 4, 0, 8, 0, 0], &[1, 4, 0, 6, 0, 0], &[1, 4, 0, 0]]
        {
            let mut fields = Fields::of(bytes);
            assert_eq!(fields.next(), None, "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
    }

    proptest! {
        #[test]
        fn fields_survive_a_round_trip(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8)) {
            let mut datagram = vec![0; Packet::LEN];
            for (i, body) in bodies.iter().enumerate() {
                put(&mut datagram, Kind(i as u16), body);
            }
            let mut fields = Fields::behind_header(&datagram);
            for (i, body) in bodies.iter().enumerate() {
                let field = fields.next().unwrap();
                prop_assert_eq!(field.kind, Kind(i as u16));
                prop_assert_eq!(&field.body[..body.len()], &body[..]);
            }
            prop_assert!(fields.next().is_none());
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Fields::behind_header(&bytes).count() <= bytes.len() / 4);
        }
    }
}
