//! chrony's SOCK protocol: another program sends a datagram per sample to a Unix socket that we own (chrony's
//! `refclock_sock.c` and gpsd's `timehint.c` define the layout).
//!
//! A sample has the system clock's reading and `offset` = true time − system clock, seconds as a double: the sign of this
//! house, and the opposite of what the `sources` view shows.

use super::{Correlation, Driver, Sample, Trouble};
use crate::wait;
use chronotick_core::{Leap, Span, Timestamp};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// One datagram, as sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datagram {
    /// The system clock when the sample was taken.
    pub system: Timestamp,
    /// True time − system clock then.
    pub offset: Span,
    /// Whether only the part of a second counts.
    pub is_pulse: bool,
    /// What is announced.
    pub leap: Leap,
}

/// Why a datagram is no sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Malformed {
    /// It has neither 40 bytes, nor the 32 of a sender with 32-bit time.
    Length(usize),
    /// It does not end with the magic number.
    Magic(u32),
    /// Its offset is no number, or larger than a clock can be off.
    Offset(f64),
    /// Its leap is none of 0, 1 and 2.
    Leap(i32),
    /// Its time stamp is none.
    Stamp,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Length(bytes) => write!(f, "a datagram has {bytes} bytes instead of 40 or 32"),
            Malformed::Magic(found) => {
                write!(f, "a datagram ends with {found:#010x} instead of SOCK's magic")
            }
            Malformed::Offset(offset) => write!(f, "an offset of {offset} s is none"),
            Malformed::Leap(leap) => write!(f, "a leap of {leap} is none of 0, 1 and 2"),
            Malformed::Stamp => {
                f.write_str("a time stamp has microseconds beyond a second, or a year beyond 2262")
            }
        }
    }
}

const MAGIC: u32 = 0x534f_434b;
/// No clock is further off than this, s: two centuries fit into a [`Span`].
const LARGEST_OFFSET: f64 = 4e9;

impl Datagram {
    /// Reads a datagram of a 64-bit sender (40 bytes) or of one whose `time_t` has 32 bits (32 bytes), in the machine's
    /// byte order.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Datagram, Malformed> {
        let word = |at: usize| bytes[at..at + 4].try_into().map(i32::from_ne_bytes).expect("four bytes");
        let long = |at: usize| bytes[at..at + 8].try_into().map(i64::from_ne_bytes).expect("eight bytes");
        let (seconds, micros, rest) = match bytes.len() {
            40 => (long(0), long(8), 16),
            32 => (i64::from(word(0)), i64::from(word(4)), 8),
            length => return Err(Malformed::Length(length)),
        };
        let magic = word(rest + 20) as u32;
        if magic != MAGIC {
            return Err(Malformed::Magic(magic));
        }
        let offset = f64::from_ne_bytes(bytes[rest..rest + 8].try_into().expect("eight bytes"));
        if offset.is_nan() || offset.abs() > LARGEST_OFFSET {
            return Err(Malformed::Offset(offset));
        }
        let leap = leap(word(rest + 12)).ok_or(Malformed::Leap(word(rest + 12)))?;
        if !(0..1_000_000).contains(&micros) || !(0..9_000_000_000).contains(&seconds) {
            return Err(Malformed::Stamp);
        }
        Ok(Datagram {
            system: Timestamp::from_nanos(seconds * 1_000_000_000 + micros * 1_000),
            offset: Span::from_secs_f64(offset),
            is_pulse: word(rest + 8) != 0,
            leap,
        })
    }
}

/// The leap indicator of SHM and SOCK: NTP's, without "not synchronised".
pub(super) fn leap(indicator: i32) -> Option<Leap> {
    [Leap::None, Leap::Insert, Leap::Delete].get(usize::try_from(indicator).ok()?).copied()
}

/// A socket to which another program sends samples.
#[derive(Debug)]
pub struct Sock {
    socket: UnixDatagram,
    path: PathBuf,
    oldest: Span,
    correlation: Correlation,
}

impl Sock {
    /// Binds the socket; a socket that an earlier run left there is replaced. Only this user may send (mode 0600).
    /// A sample older than `oldest` is refused.
    ///
    /// # Errors
    /// If the path is something else than a socket or somebody receives there, or the directory does not exist or may not be written.
    pub fn bind(path: &Path, oldest: Span) -> io::Result<Sock> {
        let taken = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {why}", path.display())));
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return taken("something else than a socket is there");
            }
            // Whoever answers to the name is alive.
            Ok(_) if UnixDatagram::unbound()?.connect(path).is_ok() => {
                return taken("another program receives there");
            }
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let socket = UnixDatagram::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.set_nonblocking(true)?;
        let mut correlation = Correlation::default();
        correlation.renew();
        Ok(Sock { socket, path: path.to_owned(), oldest, correlation })
    }

    fn sample(&self, datagram: &Datagram) -> Result<Sample, Trouble> {
        let (at, error) = self
            .correlation
            .raw_of(datagram.system, self.oldest)
            .map_err(|why| Trouble::Rejected(why.to_string()))?;
        Ok(Sample {
            at,
            utc: datagram.system + datagram.offset,
            // A datagram does not say.
            precision: Span::ZERO,
            // The stamp is cut to a microsecond; the offset was taken before that.
            error: error + Span::from_micros(1),
            is_pulse: datagram.is_pulse,
            leap: Some(datagram.leap),
        })
    }
}

impl Driver for Sock {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        // One byte more than the longest that is any: what is longer is not cut to fit.
        let mut buffer = [0; 41];
        let lost = |e: io::Error| Trouble::Lost(e.to_string());
        wait(&[self.socket.as_fd()], Some(patience)).map_err(lost)?;
        self.correlation.renew();
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(lost(e)),
        };
        let datagram =
            Datagram::parse(&buffer[..length]).map_err(|why| Trouble::Rejected(why.to_string()))?;
        self.sample(&datagram).map(Some)
    }
}

/// Whoever sends then hears that nobody is there.
impl Drop for Sock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockPair;
    use proptest::prelude::*;

    /// What a sender on a 64-bit machine sends.
    fn datagram(system: Timestamp, offset: f64, pulse: i32, leap: i32, magic: u32) -> Vec<u8> {
        let nanos = system.as_nanos();
        let mut bytes = (nanos / 1_000_000_000).to_ne_bytes().to_vec();
        bytes.extend((nanos % 1_000_000_000 / 1_000).to_ne_bytes());
        bytes.extend(offset.to_ne_bytes());
        bytes.extend(pulse.to_ne_bytes());
        bytes.extend(leap.to_ne_bytes());
        bytes.extend(0i32.to_ne_bytes());
        bytes.extend(magic.to_ne_bytes());
        bytes
    }

    const THEN: Timestamp = Timestamp::from_nanos(1_744_182_667_000_003_000);

    fn parse(offset: f64, pulse: i32, leap: i32, magic: u32) -> Result<Datagram, Malformed> {
        Datagram::parse(&datagram(THEN, offset, pulse, leap, magic))
    }

    #[test]
    fn both_layouts_say_the_same() {
        let wide = datagram(THEN, -0.25, 1, 2, MAGIC);
        let read = Datagram::parse(&wide).unwrap();
        let want =
            Datagram { system: THEN, offset: Span::from_millis(-250), is_pulse: true, leap: Leap::Delete };
        assert_eq!(read, want);
        let nanos = THEN.as_nanos();
        let mut narrow = ((nanos / 1_000_000_000) as i32).to_ne_bytes().to_vec();
        narrow.extend(3i32.to_ne_bytes());
        narrow.extend(&wide[16..]);
        assert_eq!((narrow.len(), Datagram::parse(&narrow)), (32, Ok(want)));
    }

    #[test]
    fn every_fault_has_its_own_words() {
        assert_eq!(parse(0.1, 0, 3, MAGIC), Err(Malformed::Leap(3)));
        assert_eq!(parse(0.1, 0, -1, MAGIC), Err(Malformed::Leap(-1)));
        assert_eq!(parse(0.1, 0, 0, 0x1234), Err(Malformed::Magic(0x1234)));
        for offset in [f64::INFINITY, f64::NEG_INFINITY, 1e12] {
            assert_eq!(parse(offset, 0, 0, MAGIC), Err(Malformed::Offset(offset)));
        }
        assert!(matches!(parse(f64::NAN, 0, 0, MAGIC), Err(Malformed::Offset(_))));
        let whole = datagram(THEN, 0.0, 0, 0, MAGIC);
        for length in [0, 1, 31, 33, 39] {
            assert_eq!(Datagram::parse(&whole[..length]), Err(Malformed::Length(length)));
        }
        assert_eq!(Datagram::parse(&[whole, vec![0; 8]].concat()), Err(Malformed::Length(48)));
    }

    #[test]
    fn a_positive_offset_means_that_the_system_clock_is_behind() {
        let folder = Folder::new("sign");
        let mut sock = Sock::bind(&folder.path(), Span::from_secs(2)).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let pair = ClockPair::now();
        sender.send_to(&datagram(pair.system, 0.25, 0, 0, MAGIC), folder.path()).unwrap();
        let sample = sock.next(Span::from_secs(5)).unwrap().expect("a datagram waits");
        let offset = (sample.utc - pair.system) - (sample.at - pair.raw);
        assert!((offset - Span::from_millis(250)).abs() < Span::from_millis(20), "{offset}");
        assert!(!sample.is_pulse && sample.leap == Some(Leap::None));
    }

    #[test]
    fn what_is_old_or_not_yet_is_refused_and_the_next_is_taken() {
        let folder = Folder::new("old");
        let mut sock = Sock::bind(&folder.path(), Span::from_secs(2)).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let now = ClockPair::now().system;
        for (when, refused) in [(now - Span::from_secs(9), "old"), (now + Span::from_secs(9), "ahead")] {
            sender.send_to(&datagram(when, 0.0, 0, 0, MAGIC), folder.path()).unwrap();
            let Err(Trouble::Rejected(why)) = sock.next(Span::from_secs(5)) else { panic!("{refused}") };
            assert!(why.contains(refused), "{why}");
        }
        sender.send_to(&[0; 300], folder.path()).unwrap();
        assert!(matches!(sock.next(Span::from_secs(5)), Err(Trouble::Rejected(_))));
        sender.send_to(&datagram(now, 0.0, 0, 0, MAGIC), folder.path()).unwrap();
        assert!(sock.next(Span::from_secs(5)).unwrap().is_some());
        assert_eq!(sock.next(Span::ZERO), Ok(None));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let folder = Folder::new("stale");
        drop(UnixDatagram::bind(folder.path()).unwrap());
        let sock = Sock::bind(&folder.path(), Span::from_secs(2)).unwrap();
        assert!(Sock::bind(&folder.path(), Span::from_secs(2)).is_err(), "two receivers on one path");
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(sock);
        assert!(!folder.path().exists());
        fs::write(folder.path(), "a letter").unwrap();
        assert!(Sock::bind(&folder.path(), Span::from_secs(2)).is_err());
        assert!(folder.path().exists());
    }

    /// A folder of its own, gone with the test.
    struct Folder(PathBuf);
    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("chronotick-sock-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }
        fn path(&self) -> PathBuf {
            self.0.join("clock.sock")
        }
    }
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Datagram::parse(&bytes);
        }

        #[test]
        fn no_fields_panic(seconds: i64, micros: i64, offset: f64, pulse: i32, leap: i32) {
            let mut bytes = seconds.to_ne_bytes().to_vec();
            bytes.extend(micros.to_ne_bytes());
            bytes.extend(offset.to_ne_bytes());
            bytes.extend([pulse, leap, 0, MAGIC as i32].map(i32::to_ne_bytes).concat());
            let _ = Datagram::parse(&bytes);
        }
    }
}
