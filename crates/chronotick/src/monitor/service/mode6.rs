//! NTP control messages (RFC 9327), as ntpd and ntpsec answer them: one request for the system's variables, a status word
//! and text in return.

use super::{PATIENCE, Word, harmless, nonsense};
use chronotick_clock::Span;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Version 2 is answered by every implementation.
const FIRST_BYTE: u8 = 2 << 3 | 6;
const READ_VARIABLES: u8 = 2;
const VARIABLES: &str = "leap,stratum,refid,offset,rootdelay,rootdisp";
const HEADER: usize = 12;

/// What the daemon at `place` says of itself.
///
/// # Errors
/// `ConnectionRefused` if nobody listens there, `TimedOut` or `WouldBlock` if nobody answers (`restrict noquery` does that),
/// `InvalidData` if something else answers.
pub fn ask(place: SocketAddr) -> io::Result<Word> {
    let any = if place.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(place)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let sequence = chronotick_os::random_u64() as u16;
    socket.send(&request(sequence))?;
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer)?;
    word(&buffer[..len], sequence)
}

fn request(sequence: u16) -> Vec<u8> {
    let mut request = vec![FIRST_BYTE, READ_VARIABLES];
    request.extend(sequence.to_be_bytes());
    // Status, association 0 (the system), offset.
    request.extend([0; 6]);
    request.extend((VARIABLES.len() as u16).to_be_bytes());
    request.extend(VARIABLES.bytes());
    request.resize(request.len().next_multiple_of(4), 0);
    request
}

/// Reads an answer (RFC 9327 §2 and §3.1: leap in the two highest bits of the status word, the source in the next six).
pub(crate) fn word(answer: &[u8], sequence: u16) -> io::Result<Word> {
    let (header, data) =
        answer.split_at_checked(HEADER).ok_or_else(|| nonsense("its answer is too short"))?;
    let is_answer = header[0] & 7 == 6 && header[1] & 0x9f == 0x80 | READ_VARIABLES;
    if !is_answer || header[2..4] != sequence.to_be_bytes() {
        return Err(nonsense("what answered is no NTP control message to this question"));
    }
    if header[1] & 0x40 != 0 {
        return Err(nonsense("it refuses the question"));
    }
    let status = u16::from_be_bytes([header[4], header[5]]);
    let count = usize::from(u16::from_be_bytes([header[10], header[11]])).min(data.len());
    let text = String::from_utf8_lossy(&data[..count]).into_owned();
    let of = |name: &str| {
        let mut pairs = text.split([',', '\r', '\n']).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
    };
    let millis = |name: &str| {
        let value: f64 = of(name)?.parse().ok()?;
        value.is_finite().then(|| Span::from_secs_f64(value / 1e3))
    };
    let stratum: Option<u8> = of("stratum").and_then(|s| s.parse().ok());
    let (leap, source) = (status >> 14, (status >> 8) & 0x3f);
    let synchronised = leap < 3 && source != 0 && stratum.is_some_and(|s| (1..16).contains(&s));
    let error =
        millis("rootdelay").zip(millis("rootdisp")).map(|(delay, dispersion)| delay.half() + dispersion);
    let reference = of("refid").map(|id| harmless(&id));
    Ok(Word {
        name: "ntpd",
        synchronised,
        reason: match (&reference, synchronised) {
            (Some(reference), true) => format!("it follows {reference}"),
            _ => "it says that it is not synchronised".into(),
        },
        offset_ns: millis("offset").filter(|_| synchronised).map(Span::as_nanos),
        error_ns: error.filter(|_| synchronised).map(Span::as_nanos),
        stratum,
        reference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(status: u16, text: &str) -> Vec<u8> {
        let mut answer = vec![FIRST_BYTE, 0x80 | READ_VARIABLES, 0, 7];
        answer.extend(status.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend((text.len() as u16).to_be_bytes());
        answer.extend(text.bytes());
        answer
    }

    #[test]
    fn the_request_is_as_the_standard_has_it() {
        let sent = request(0x0102);
        assert_eq!(&sent[..4], [0x16, 2, 1, 2]);
        assert_eq!((sent.len() % 4, usize::from(sent[11])), (0, VARIABLES.len()));
    }

    #[test]
    fn a_synchronised_daemon_is_read_with_its_numbers() {
        let text = "leap=00, stratum=2, refid=192.0.2.1, offset=-0.250,\r\nrootdelay=4.000, rootdisp=1.500";
        let found = word(&answer(0x0615, text), 7).unwrap();
        assert!(found.synchronised, "{found:?}");
        assert_eq!((found.offset_ns, found.error_ns), (Some(-250_000), Some(3_500_000)));
        assert_eq!((found.stratum, found.reference.as_deref()), (Some(2), Some("192.0.2.1")));
    }

    #[test]
    fn leap_three_no_source_or_stratum_sixteen_is_not_synchronised() {
        for (status, text) in
            [(0xc615, "stratum=2,offset=0"), (0x0015, "stratum=2,offset=0"), (0x0615, "stratum=16,offset=0")]
        {
            let found = word(&answer(status, text), 7).unwrap();
            assert_eq!((found.synchronised, found.offset_ns), (false, None), "{text}");
        }
    }

    #[test]
    fn an_answer_to_somebody_else_or_an_error_is_none() {
        assert!(word(&answer(0x0615, "stratum=2"), 8).is_err());
        let mut refused = answer(0, "");
        refused[1] |= 0x40;
        assert!(word(&refused, 7).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
            let _ = word(&answer, 7);
            let _ = word(&super::tests::answer(0x0615, &text), 7);
        }
    }
}
