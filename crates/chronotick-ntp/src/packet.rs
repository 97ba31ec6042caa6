//! The 48-byte header of NTP, versions 3 and 4 alike (RFC 5905 §7.3): bytes in, fields out, and back.
//!
//! Extension fields and a message authentication code may follow a header; both are left where they are.

use std::fmt;
use std::net::IpAddr;

use chronotick_core::Leap;
use md5::{Digest, Md5};

use crate::{NtpShort, NtpTimestamp};

/// Who speaks to whom (RFC 5905 §7.3, figure 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the standard's own names")]
pub enum Mode {
    Reserved = 0,
    SymmetricActive = 1,
    SymmetricPassive = 2,
    Client = 3,
    Server = 4,
    Broadcast = 5,
    Control = 6,
    Private = 7,
}

impl Mode {
    const ALL: [Mode; 8] = [
        Mode::Reserved,
        Mode::SymmetricActive,
        Mode::SymmetricPassive,
        Mode::Client,
        Mode::Server,
        Mode::Broadcast,
        Mode::Control,
        Mode::Private,
    ];
}

/// What a server follows: an IPv4 address, the hash of an IPv6 address, the name of a reference clock, or a kiss code
/// (RFC 5905 §7.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReferenceId(pub [u8; 4]);

impl ReferenceId {
    /// That of a server at this address: the four bytes of an IPv4 address, or the first four of the MD5 of an IPv6
    /// address (RFC 5905 §7.3).
    ///
    /// ```
    /// use chronotick_ntp::ReferenceId;
    /// assert_eq!(ReferenceId::of("192.168.1.140".parse().unwrap()).to_string(), "C0A8018C");
    /// assert_eq!(ReferenceId::of("::1".parse().unwrap()).to_string(), "CF404DC8");
    /// ```
    pub fn of(address: IpAddr) -> ReferenceId {
        match address.to_canonical() {
            IpAddr::V4(v4) => ReferenceId(v4.octets()),
            IpAddr::V6(v6) => {
                let hash: [u8; 16] = Md5::digest(v6.octets()).into();
                ReferenceId([hash[0], hash[1], hash[2], hash[3]])
            }
        }
    }

    /// That of a reference clock: the first four printable characters of its name.
    pub fn named(name: &str) -> ReferenceId {
        let mut id = [0; 4];
        for (place, letter) in id.iter_mut().zip(name.bytes().filter(u8::is_ascii_graphic)) {
            *place = letter;
        }
        ReferenceId(id)
    }

    /// Whether it is a word, as the names of reference clocks and kiss codes are.
    pub fn is_text(self) -> bool {
        self.text().is_some()
    }

    /// The characters before the padding.
    fn text(&self) -> Option<&str> {
        let end = self.0.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        let text = &self.0[..end];
        let word = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(text).ok().filter(|_| word)
    }
}

/// As text if it is text (`PPS`, `RATE`), otherwise as hexadecimal digits (`C0A8018C`).
///
/// ```
/// use chronotick_ntp::ReferenceId;
/// assert_eq!(ReferenceId(*b"PPS\0").to_string(), "PPS");
/// assert_eq!(ReferenceId([192, 168, 1, 140]).to_string(), "C0A8018C");
/// ```
impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.pad(text),
            None => write!(f, "{:08X}", u32::from_be_bytes(self.0)),
        }
    }
}

/// An NTP header (RFC 5905 §7.3, figure 8).
///
/// ```
/// use chronotick_ntp::Packet;
/// let packet = Packet::parse(&[0x24; 48]).unwrap();
/// assert_eq!(packet.version, 4);
/// assert_eq!(packet.to_bytes(), [0x24; 48]);
/// assert_eq!(Packet::parse(&[0x24; 47]), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The announced leap second; `None` while the server itself does not know the time.
    pub leap: Option<Leap>,
    /// Version of the protocol, 0 to 7; this one is 4.
    pub version: u8,
    /// Who speaks.
    pub mode: Mode,
    /// Steps to a reference clock: 1 has one, 0 is a kiss, 16 does not know the time.
    pub stratum: u8,
    /// Interval between the sender's polls, log₂ of seconds.
    pub poll: i8,
    /// Precision of the sender's clock, log₂ of seconds.
    pub precision: i8,
    /// Round trip from the sender to the reference clock.
    pub root_delay: NtpShort,
    /// What the sender says that it may be wrong beside that.
    pub root_dispersion: NtpShort,
    /// What the sender follows.
    pub reference_id: ReferenceId,
    /// When the sender's clock was last set or corrected.
    pub reference: NtpTimestamp,
    /// The transmit timestamp of the request that is answered.
    pub origin: NtpTimestamp,
    /// When that request arrived.
    pub receive: NtpTimestamp,
    /// When this packet left.
    pub transmit: NtpTimestamp,
}

impl Packet {
    /// Bytes of a header.
    pub const LEN: usize = 48;

    /// Reads the header at the start of a datagram; `None` if there are fewer than 48 bytes.
    pub fn parse(datagram: &[u8]) -> Option<Packet> {
        let bytes: &[u8; Packet::LEN] = datagram.first_chunk()?;
        let word = |i: usize| u32::from_be_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let stamp = |i: usize| NtpTimestamp::from_bits(u64::from(word(i)) << 32 | u64::from(word(i + 4)));
        Some(Packet {
            leap: (bytes[0] >> 6 != 3).then(|| Leap::from_code(bytes[0] >> 6)),
            version: bytes[0] >> 3 & 7,
            mode: Mode::ALL[usize::from(bytes[0] & 7)],
            stratum: bytes[1],
            poll: bytes[2] as i8,
            precision: bytes[3] as i8,
            root_delay: NtpShort::from_bits(word(4)),
            root_dispersion: NtpShort::from_bits(word(8)),
            reference_id: ReferenceId(word(12).to_be_bytes()),
            reference: stamp(16),
            origin: stamp(24),
            receive: stamp(32),
            transmit: stamp(40),
        })
    }

    /// The header as it goes onto the wire. Of `version`, the low three bits are used.
    pub fn to_bytes(&self) -> [u8; Packet::LEN] {
        let leap = self.leap.map_or(3, |leap| leap as u8);
        let mut bytes = [0; Packet::LEN];
        bytes[0] = leap << 6 | (self.version & 7) << 3 | self.mode as u8;
        bytes[1] = self.stratum;
        bytes[2] = self.poll as u8;
        bytes[3] = self.precision as u8;
        bytes[4..8].copy_from_slice(&self.root_delay.to_bits().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.root_dispersion.to_bits().to_be_bytes());
        bytes[12..16].copy_from_slice(&self.reference_id.0);
        let stamps = [self.reference, self.origin, self.receive, self.transmit];
        for (place, stamp) in bytes[16..].chunks_exact_mut(8).zip(stamps) {
            place.copy_from_slice(&stamp.to_bits().to_be_bytes());
        }
        bytes
    }

    /// A client's request that gives nothing away: all that a server needs is the mode and a nonce to echo. No local
    /// time leaves the machine, and who has not seen the request cannot answer it.
    pub fn request(nonce: NtpTimestamp) -> Packet {
        Packet {
            leap: Some(Leap::None),
            version: 4,
            mode: Mode::Client,
            stratum: 0,
            poll: 0,
            precision: 0,
            root_delay: NtpShort::default(),
            root_dispersion: NtpShort::default(),
            reference_id: ReferenceId::default(),
            reference: NtpTimestamp::ZERO,
            origin: NtpTimestamp::ZERO,
            receive: NtpTimestamp::ZERO,
            transmit: nonce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_where_the_standard_puts_them() {
        let mut bytes: [u8; 48] = std::array::from_fn(|i| i as u8);
        bytes[0] = 0b01_100_100;
        let p = Packet::parse(&bytes).unwrap();
        assert_eq!((p.leap, p.version, p.mode), (Some(Leap::Insert), 4, Mode::Server));
        assert_eq!((p.stratum, p.poll, p.precision), (1, 2, 3));
        assert_eq!((p.root_delay.to_bits(), p.root_dispersion.to_bits()), (0x0405_0607, 0x0809_0a0b));
        assert_eq!(p.reference_id, ReferenceId([12, 13, 14, 15]));
        assert_eq!(p.reference.to_bits(), 0x1011_1213_1415_1617);
        assert_eq!(p.transmit.to_bits(), 0x2829_2a2b_2c2d_2e2f);
        bytes[0] = 0b11_100_100;
        assert_eq!(Packet::parse(&bytes).unwrap().leap, None);
    }

    #[test]
    fn a_request_shows_nothing_but_its_nonce() {
        let bytes = Packet::request(NtpTimestamp::from_bits(0xfeed)).to_bytes();
        assert_eq!(bytes[0], 0x23);
        assert!(bytes[1..46].iter().all(|&b| b == 0));
        assert_eq!(bytes[46..], [0xfe, 0xed]);
    }

    #[test]
    fn unprintable_reference_ids_show_as_digits() {
        assert_eq!(ReferenceId([0; 4]).to_string(), "00000000");
        assert_eq!(ReferenceId(*b"A\0B\0").to_string(), "41004200");
        assert_eq!(ReferenceId(*b"GPS\x1b").to_string(), "4750531B");
    }

    proptest! {
        #[test]
        fn any_header_survives_a_round_trip(bytes in proptest::array::uniform32(any::<u8>()), rest: [u8; 16]) {
            let header: Vec<u8> = bytes.iter().chain(&rest).copied().collect();
            prop_assert_eq!(&Packet::parse(&header).unwrap().to_bytes()[..], &header[..]);
        }

        #[test]
        fn any_datagram_is_parsed_or_refused(datagram in proptest::collection::vec(any::<u8>(), 0..128)) {
            let parsed = Packet::parse(&datagram);
            prop_assert_eq!(parsed.is_some(), datagram.len() >= Packet::LEN);
            // What follows the header changes nothing.
            prop_assert_eq!(parsed, datagram.get(..Packet::LEN).and_then(Packet::parse));
        }
    }
}
