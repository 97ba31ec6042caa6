//! chronyd's command and monitoring protocol, version 6: one datagram asks, one answers, on a Unix socket or on UDP port 323
//! of loopback. Three questions are asked: how it tracks, how many sources it has, and how each of them is.
//!
//! The layout was found by asking a chronyd 4.3 and is held by the tests; a request is padded to the length of its answer.

use super::{PATIENCE, Word, nonsense};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Span, Timestamp};
use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

pub(crate) const TRACKING: u16 = 33;
const N_SOURCES: u16 = 14;
const SOURCE_DATA: u16 = 15;
/// Length of a reply's header.
const HEADER: usize = 28;
/// The longest answer of the three.
const LONGEST: usize = HEADER + 76;
/// Nobody has more sources than this, and a liar shall not keep us asking.
const SOURCES: u32 = 64;

/// Where chronyd listens.
#[derive(Clone, Debug)]
pub enum Place {
    /// Its command socket.
    Socket(PathBuf),
    /// A port, on loopback.
    Port(SocketAddr),
}

impl Place {
    /// Where it usually is, the socket first; that needs the rights of root or of chronyd's user, the port does not.
    pub fn usual() -> Vec<Place> {
        let sockets = ["/run/chrony/chronyd.sock", "/var/run/chrony/chronyd.sock"];
        let port = Place::Port(SocketAddr::from((Ipv4Addr::LOCALHOST, 323)));
        sockets.iter().map(|path| Place::Socket(path.into())).chain([port]).collect()
    }
}

/// A connection; its own end of a Unix socket is a file, which goes with it.
enum Link {
    Unix { socket: UnixDatagram, _own: Own },
    Udp(UdpSocket),
}

/// The file of our end of a Unix socket; removed when dropped.
struct Own(PathBuf);

impl Drop for Own {
    fn drop(&mut self) {
        // Somebody may have cleaned up before us.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Link {
    fn open(place: &Place) -> io::Result<Link> {
        match place {
            Place::Socket(path) => Link::unix(path),
            Place::Port(address) => {
                let any = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Ok(Link::Udp(socket))
            }
        }
    }

    /// chronyd answers to the path that asked, so there must be one where it may write.
    fn unix(path: &Path) -> io::Result<Link> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let own = dir.join(format!("chronotick.{:x}.sock", chronotick_os::random_u64()));
        let socket = UnixDatagram::bind(&own)?;
        let own = Own(own);
        std::fs::set_permissions(&own.0, Permissions::from_mode(0o666))?;
        socket.connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Link::Unix { socket, _own: own })
    }

    fn ask(&self, command: u16, data: &[u8]) -> io::Result<Vec<u8>> {
        let sequence = chronotick_os::random_u64() as u32;
        let mut request = vec![6, 1, 0, 0];
        request.extend(command.to_be_bytes());
        request.extend([0; 2]);
        request.extend(sequence.to_be_bytes());
        request.extend([0; 8]);
        request.extend(data);
        request.resize(LONGEST, 0);
        let mut buffer = [0; 1024];
        let len = match self {
            Link::Unix { socket, _own } => {
                socket.send(&request)?;
                socket.recv(&mut buffer)?
            }
            Link::Udp(socket) => {
                socket.send(&request)?;
                socket.recv(&mut buffer)?
            }
        };
        body(&buffer[..len], command, sequence).map(<[u8]>::to_vec)
    }
}

/// What follows the header of an answer to this request.
pub(crate) fn body(answer: &[u8], command: u16, sequence: u32) -> io::Result<&[u8]> {
    let (header, body) =
        answer.split_at_checked(HEADER).ok_or_else(|| nonsense("its answer is too short"))?;
    let fits = header[0] == 6 && header[1] == 2 && header[4..6] == command.to_be_bytes();
    if !fits || header[16..20] != sequence.to_be_bytes() {
        return Err(nonsense("what answered is not chronyd, or one of another protocol version"));
    }
    match u16::from_be_bytes([header[8], header[9]]) {
        0 => Ok(body),
        2 => Err(io::Error::new(io::ErrorKind::PermissionDenied, "chronyd does not allow the question")),
        status => Err(nonsense(&format!("chronyd refused the question (status {status})"))),
    }
}

fn number<const N: usize>(body: &[u8], at: usize) -> io::Result<[u8; N]> {
    let bytes = body.get(at..at + N).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| nonsense("its answer is too short"))
}

/// A number of seconds: seven bits of exponent, 25 of mantissa, both signed.
fn seconds(body: &[u8], at: usize) -> io::Result<Span> {
    let bits = u32::from_be_bytes(number(body, at)?);
    let exponent = (bits as i32 >> 25) - 25;
    let mantissa = (bits << 7) as i32 >> 7;
    Ok(Span::from_secs_f64(f64::from(mantissa) * f64::from(exponent).exp2()))
}

fn address(body: &[u8], at: usize) -> io::Result<Option<String>> {
    let bytes: [u8; 16] = number(body, at)?;
    let v4 = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
    Ok(match u16::from_be_bytes(number(body, at + 16)?) {
        1 => Some(v4.to_string()),
        2 => Some(Ipv6Addr::from(bytes).to_string()),
        _ => None,
    })
}

/// What chronyd says of itself.
///
/// # Errors
/// `NotFound` or `ConnectionRefused` if there is none, `PermissionDenied` if it may not be asked, `TimedOut` or `WouldBlock`
/// if it does not answer, `InvalidData` if something else answers.
pub fn ask(place: &Place) -> io::Result<Word> {
    let link = Link::open(place)?;
    let tracking = link.ask(TRACKING, &[])?;
    let sources = u32::from_be_bytes(number(&link.ask(N_SOURCES, &[])?, 0)?).min(SOURCES);
    let mut reachable = 0;
    for i in 0..sources {
        let data = link.ask(SOURCE_DATA, &i.to_be_bytes())?;
        reachable += u32::from(u16::from_be_bytes(number(&data, 30)?) != 0);
    }
    word(&tracking, sources, reachable, ClockPair::now().system)
}

/// A tracking report and the sources' reach, put together. A stratum, a reference and a leap status are not enough: when all
/// sources are silent chronyd keeps showing them, so one of them must be heard, too.
pub(crate) fn word(tracking: &[u8], sources: u32, reachable: u32, now: Timestamp) -> io::Result<Word> {
    let reference_id = u32::from_be_bytes(number(tracking, 0)?);
    let stratum = u16::from_be_bytes(number(tracking, 24)?);
    let leap = u16::from_be_bytes(number(tracking, 26)?);
    let (high, low) = (u32::from_be_bytes(number(tracking, 28)?), u32::from_be_bytes(number(tracking, 32)?));
    let updated = (i64::from(high) << 32 | i64::from(low)).saturating_mul(1_000_000_000);
    let (error, delay, dispersion) = (seconds(tracking, 40)?, seconds(tracking, 64)?, seconds(tracking, 68)?);
    let age = now - Timestamp::from_nanos(updated);
    let local = reference_id == 0x7f7f_0101;
    let reason = if leap >= 3 || reference_id == 0 || stratum == 0 || stratum >= 16 {
        "it says that it is not synchronised".to_owned()
    } else if local {
        "it serves its own clock (local mode)".to_owned()
    } else if reachable == 0 {
        format!(
            "it names a source, but none of its {sources} sources answers; the newest update was {age} ago"
        )
    } else {
        format!(
            "{reachable} of {sources} sources answer; updated at {}",
            rfc3339(Timestamp::from_nanos(updated))
        )
    };
    let synchronised =
        !(leap >= 3 || reference_id == 0 || stratum == 0 || stratum >= 16 || local || reachable == 0);
    let id = reference_id.to_be_bytes();
    let named = || {
        let text = std::str::from_utf8(&id).ok()?.trim_end_matches('\0');
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        plain.then(|| text.to_owned())
    };
    Ok(Word {
        name: "chronyd",
        synchronised,
        reason,
        offset_ns: synchronised.then(|| error.as_nanos()),
        error_ns: synchronised.then(|| (delay.half() + dispersion).as_nanos()),
        stratum: u8::try_from(stratum).ok().filter(|s| *s > 0),
        reference: address(tracking, 4)?.or_else(named),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    }

    /// What a chronyd 4.3 answered on loopback, synchronised to 127.0.0.1 for some seconds.
    fn recorded() -> Vec<u8> {
        bytes(
            "7f 00 00 01 7f 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 02 00 00 00 00 00 00 \
             6b 01 c1 af 14 ec 5d 6e e4 f2 3e c2 db 5c 58 ae da a3 a7 52 f2 eb 83 43 b6 8a 92 80 0e a2 2f 0e \
             ea 92 73 93 e6 b4 4a b2 06 83 d7 5a",
        )
    }

    #[test]
    fn a_recorded_answer_is_understood() {
        let now = Timestamp::from_nanos(0x6b01_c1b9 * 1_000_000_000);
        let found = word(&recorded(), 1, 1, now).unwrap();
        assert!(found.synchronised, "{found:?}");
        assert_eq!((found.stratum, found.reference.as_deref()), (Some(2), Some("127.0.0.1")));
        let (offset, error) = (found.offset_ns.unwrap(), found.error_ns.unwrap());
        assert!(offset.abs() < 1_000_000 && (0..10_000_000).contains(&error), "{found:?}");
    }

    #[test]
    fn a_source_that_is_named_but_silent_is_no_synchronisation() {
        let now = Timestamp::from_nanos(0x6b01_c1b9 * 1_000_000_000);
        let found = word(&recorded(), 3, 0, now).unwrap();
        assert!(!found.synchronised && found.reason.contains("none of its 3 sources"), "{found:?}");
        assert_eq!(found.offset_ns, None);
    }

    #[test]
    fn a_chronyd_that_never_synchronised_is_not_excellent() {
        // Everything is zero but the leap status, 3: the offset of exactly zero means nothing.
        let mut never = vec![0; 76];
        never[27] = 3;
        let found = word(&never, 0, 0, Timestamp::from_nanos(0)).unwrap();
        assert_eq!((found.synchronised, found.offset_ns, found.stratum), (false, None, None));
    }

    #[test]
    fn a_reference_clock_has_a_name_only_if_it_is_plain_text() {
        for (id, name) in
            [(b"GPS\0", Some("GPS")), (b"PTP0", Some("PTP0")), (b"\0\"0\0", None), (b"G\0S\0", None)]
        {
            let mut tracking = recorded();
            tracking[..4].copy_from_slice(id);
            tracking[20..22].fill(0);
            let found = word(&tracking, 1, 1, Timestamp::from_nanos(0)).unwrap();
            assert_eq!(found.reference.as_deref(), name);
        }
    }

    #[test]
    fn numbers_are_read_in_their_own_format() {
        let read = |bits: u32| seconds(&bits.to_be_bytes(), 0).unwrap();
        // 1.0 is a mantissa of 2²³ at exponent 2, and −1.0 the same with the other sign.
        assert_eq!(read(2 << 25 | 1 << 23), Span::from_secs(1));
        assert_eq!(read(2 << 25 | (0x1ff_ffff & (!(1 << 23) + 1))), Span::from_secs(-1));
        assert_eq!(read(0), Span::ZERO);
    }

    proptest! {
        #[test]
        fn no_answer_panics(answer in prop::collection::vec(any::<u8>(), 0..200), command: u16, sequence: u32) {
            let _ = body(&answer, command, sequence);
            let _ = word(&answer, 1, 1, Timestamp::from_nanos(0));
        }
    }
}
