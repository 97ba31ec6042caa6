//! A receiver on a serial line that speaks NMEA 0183: `RMC` and `ZDA` say date and time, and the second begins some
//! constant while before the sentence does. Only coarse: the begin of a sentence wanders by 0.1 s.

use super::{Driver, Sample, Trouble};
use crate::{raw_now, wait};
use chronotick_core::{RawInstant, Span, Timestamp};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why a sentence tells no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is another sentence.
    Other,
    /// The check sum is wrong or missing.
    Checksum,
    /// The receiver has no fix.
    Void,
    /// Date or time are missing or none.
    Time,
    /// A leap second, which has no number of its own in UTC as computers count it.
    LeapSecond,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unusable::Other => "another sentence",
            Unusable::Checksum => "a sentence has a wrong check sum",
            Unusable::Void => "the receiver has no fix",
            Unusable::Time => "a sentence has a date or a time that is none",
            Unusable::LeapSecond => "a leap second has no number",
        })
    }
}

/// No receiver is older than this program: a date before that has rolled over (1024 weeks of GPS).
const EARLIEST: i64 = days(2026, 1, 1);
const ROLLOVER: i64 = 1024 * 7;

/// The time that a sentence tells: `$..RMC` or `$..ZDA` with its check sum, without the end of line.
///
/// # Errors
/// Why it tells none.
pub fn read(sentence: &[u8]) -> Result<Timestamp, Unusable> {
    let body = sentence.strip_prefix(b"$").ok_or(Unusable::Other)?;
    let star = body.iter().rposition(|&b| b == b'*').ok_or(Unusable::Checksum)?;
    let written = std::str::from_utf8(&body[star + 1..]).ok().filter(|hex| hex.len() == 2);
    let written = written.and_then(|hex| u8::from_str_radix(hex, 16).ok());
    if written != Some(body[..star].iter().fold(0, |sum, &b| sum ^ b)) {
        return Err(Unusable::Checksum);
    }
    let text = std::str::from_utf8(&body[..star]).map_err(|_| Unusable::Time)?;
    let fields: Vec<&str> = text.split(',').collect();
    let field = |i: usize| fields.get(i).copied().unwrap_or_default();
    let number =
        |text: &str| -> Option<i64> { text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())? };
    match fields[0].get(2..) {
        Some("RMC") if fields[0].len() == 5 => {
            if field(2) != "A" || field(12) == "N" {
                return Err(Unusable::Void);
            }
            let date = field(9);
            let part = |range| date.get(range).filter(|_| date.len() == 6).and_then(number);
            let (day, month, year) = (part(0..2), part(2..4), part(4..6).map(|year| 2000 + year));
            at(field(1), year, month, day)
        }
        Some("ZDA") if fields[0].len() == 5 => {
            at(field(1), number(field(4)), number(field(3)), number(field(2)))
        }
        _ => Err(Unusable::Other),
    }
}

fn at(time: &str, year: Option<i64>, month: Option<i64>, day: Option<i64>) -> Result<Timestamp, Unusable> {
    let (Some(year), Some(month), Some(day)) = (year, month, day) else {
        return Err(if time.is_empty() { Unusable::Void } else { Unusable::Time });
    };
    let digits = |range: std::ops::Range<usize>| {
        let text = time.get(range)?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i64>().ok())?
    };
    let (hour, minute, second) = (digits(0..2), digits(2..4), digits(4..6));
    let (Some(hour @ 0..24), Some(minute @ 0..60), Some(second @ 0..=60)) = (hour, minute, second) else {
        return Err(Unusable::Time);
    };
    let fraction = match time.get(6..) {
        Some("") => 0,
        Some(rest) => {
            let digits = rest
                .strip_prefix('.')
                .filter(|d| (1..=9).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
            let digits = digits.ok_or(Unusable::Time)?;
            digits.parse::<i64>().map_err(|_| Unusable::Time)? * 10_i64.pow(9 - digits.len() as u32)
        }
        None => return Err(Unusable::Time),
    };
    if !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || !(1980..2200).contains(&year)
    {
        return Err(Unusable::Time);
    }
    if second == 60 {
        return Err(Unusable::LeapSecond);
    }
    let mut day = days(year, month, day);
    while day < EARLIEST {
        day += ROLLOVER;
    }
    let seconds = day * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(Timestamp::from_nanos(seconds * 1_000_000_000 + fraction))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar: years are counted from March, so that the leap day is the last
/// of its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let years = if month <= 2 { year - 1 } else { year };
    let months = (month + 9) % 12;
    let of_year = (153 * months + 2) / 5 + day - 1;
    let leaps = years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400);
    365 * years + leaps + of_year - 719_468
}

const fn days_in(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days(next_year, next, 1) - days(year, month, 1)
}

/// A receiver on a serial line.
#[derive(Debug)]
pub struct Nmea {
    line: File,
    sentence: Vec<u8>,
    /// When the first byte of the sentence was there.
    begun: RawInstant,
    ready: Vec<(RawInstant, Vec<u8>)>,
}

impl Nmea {
    /// A sentence has at most 82 characters; receivers that break that rule stay below this.
    const LONGEST: usize = 200;

    /// Opens a serial line at this speed, in raw mode.
    ///
    /// # Errors
    /// If it cannot be opened, is no terminal, or does not know the speed.
    pub fn open(path: &Path, baud: u32) -> io::Result<Nmea> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK;
        let line = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(named)?;
        raw_mode(&line, baud).map_err(named)?;
        Ok(Nmea { line, sentence: Vec::new(), begun: raw_now(), ready: Vec::new() })
    }

    /// Sorts what was read at an instant into sentences.
    fn take(&mut self, bytes: &[u8], at: RawInstant) {
        for &byte in bytes {
            match byte {
                b'$' => {
                    self.sentence.clear();
                    self.begun = at;
                    self.sentence.push(byte);
                }
                b'\r' | b'\n' if self.sentence.is_empty() => {}
                b'\r' | b'\n' => self.ready.push((self.begun, std::mem::take(&mut self.sentence))),
                // Noise before a sentence, or one that has no end.
                _ if self.sentence.is_empty() || self.sentence.len() == Nmea::LONGEST => {
                    self.sentence.clear()
                }
                _ => self.sentence.push(byte),
            }
        }
    }

    /// What the sentences say that are whole: the first time among them, else why there was none.
    fn said(&mut self) -> Result<Option<Sample>, Trouble> {
        let mut trouble = None;
        for (at, sentence) in std::mem::take(&mut self.ready) {
            match read(&sentence) {
                Ok(utc) => {
                    let (precision, error) = (Span::ZERO, Span::ZERO);
                    return Ok(Some(Sample { at, utc, precision, error, is_pulse: false, leap: None }));
                }
                Err(Unusable::Other) => {}
                Err(why) => trouble = Some(why),
            }
        }
        trouble.map_or(Ok(None), |why| Err(Trouble::Rejected(why.to_string())))
    }
}

impl Driver for Nmea {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        let lost = |e: io::Error| Trouble::Lost(format!("the serial line: {e}"));
        wait(&[self.line.as_fd()], Some(patience)).map_err(lost)?;
        let at = raw_now();
        let mut bytes = [0; 512];
        match self.line.read(&mut bytes) {
            Ok(0) => return Err(Trouble::Lost("the serial line was closed".into())),
            Ok(length) => self.take(&bytes[..length], at),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(e) => return Err(lost(e)),
        }
        self.said()
    }
}

/// No line editing, no echo, no flow control, eight bits, at a speed.
fn raw_mode(line: &File, baud: u32) -> io::Result<()> {
    let speed = match baud {
        4_800 => libc::B4800,
        9_600 => libc::B9600,
        19_200 => libc::B19200,
        38_400 => libc::B38400,
        57_600 => libc::B57600,
        115_200 => libc::B115200,
        230_400 => libc::B230400,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{baud} is no usual speed of a serial line"),
            ));
        }
    };
    let fd = line.as_raw_fd();
    // SAFETY: a structure of integers, for which zero is a value.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the structure outlives each call, and the descriptor is open.
    let rc = unsafe {
        if libc::tcgetattr(fd, &mut settings) < 0 {
            -1
        } else {
            libc::cfmakeraw(&mut settings);
            settings.c_cflag |= libc::CLOCAL | libc::CREAD;
            libc::cfsetspeed(&mut settings, speed);
            libc::tcsetattr(fd, libc::TCSANOW, &settings)
        }
    };
    match io::Error::last_os_error() {
        _ if rc == 0 => Ok(()),
        e if e.raw_os_error() == Some(libc::ENOTTY) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no serial line"))
        }
        e => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::CStr;
    use std::io::Write;
    use std::os::fd::FromRawFd;

    fn with_sum(body: &str) -> Vec<u8> {
        format!("${body}*{:02X}", body.bytes().fold(0, |sum, b| sum ^ b)).into_bytes()
    }

    fn seconds(sentence: &str) -> Result<i64, Unusable> {
        read(&with_sum(sentence)).map(|t| t.as_nanos() / 1_000_000_000)
    }

    // date -u -d '2026-11-21 12:34:56' +%s
    const THEN: i64 = 1_795_264_496;

    #[test]
    fn both_sentences_say_the_same() {
        assert_eq!(seconds("GPRMC,123456,A,4807.038,N,01131.000,E,022.4,084.4,211126,003.1,W"), Ok(THEN));
        assert_eq!(seconds("GNRMC,123456.00,A,4807.038,N,01131.000,E,,,211126,,,A"), Ok(THEN));
        assert_eq!(seconds("GPZDA,123456.00,21,11,2026,00,00"), Ok(THEN));
        let tenth = read(&with_sum("GPZDA,123456.1,21,11,2026,00,00")).unwrap();
        assert_eq!(tenth.as_nanos(), THEN * 1_000_000_000 + 100_000_000);
    }

    #[test]
    fn a_receiver_whose_weeks_have_rolled_over_is_put_right() {
        // 1024 weeks before 2026-11-21.
        assert_eq!(seconds("GPZDA,123456,07,04,2007,00,00"), Ok(THEN));
        assert_eq!(seconds("GPRMC,123456,A,,,,,,,070407,,,A"), Ok(THEN));
    }

    #[test]
    fn what_tells_no_time_says_why() {
        assert_eq!(read(b"$GPZDA,123456,21,11,2026,00,00*00"), Err(Unusable::Checksum));
        assert_eq!(read(b"$GPZDA,123456,21,11,2026,00,00"), Err(Unusable::Checksum));
        assert_eq!(read(b""), Err(Unusable::Other));
        assert_eq!(seconds("GPRMC,123456,V,,,,,,,211126,,,N"), Err(Unusable::Void));
        assert_eq!(seconds("GPRMC,123456,A,,,,,,,211126,,,N"), Err(Unusable::Void));
        assert_eq!(seconds("GPZDA,,,,,,"), Err(Unusable::Void));
        assert_eq!(seconds("GPZDA,235960,31,12,2026,00,00"), Err(Unusable::LeapSecond));
        for wrong in ["246060", "1234", "12:34:56", "123456.", "123456.x", "12345é"] {
            assert!(seconds(&format!("GPZDA,{wrong},21,11,2026,00,00")).is_err(), "{wrong}");
        }
        assert_eq!(seconds("GPZDA,123456,29,02,2027,00,00"), Err(Unusable::Time));
        assert_eq!(seconds("GPZDA,123456,00,11,2026,00,00"), Err(Unusable::Time));
        assert_eq!(seconds("GPZDA,123456,21,11,9999,00,00"), Err(Unusable::Time));
        assert_eq!(
            seconds("GPGGA,123456,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"),
            Err(Unusable::Other)
        );
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), days(2026, 11, 21)), (0, 11_017, THEN / 86_400));
        assert_eq!((days_in(2028, 2), days_in(2100, 2), days_in(2026, 12)), (29, 28, 31));
    }

    /// A serial line of which the test holds the other end.
    fn terminal() -> (File, Nmea) {
        // SAFETY: no pointers.
        let fd = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) };
        assert!(fd >= 0);
        // SAFETY: the descriptor is ours, and the name is copied before anybody else asks for one.
        let (master, path) = unsafe {
            assert!(libc::grantpt(fd) == 0 && libc::unlockpt(fd) == 0);
            let mut name = [0; 128];
            assert_eq!(libc::ptsname_r(fd, name.as_mut_ptr(), name.len()), 0);
            let path = CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned();
            (File::from_raw_fd(fd), path)
        };
        (master, Nmea::open(Path::new(&path), 9_600).unwrap())
    }

    /// The next sentence, in as many parts as the line brings it.
    fn sentence(nmea: &mut Nmea) -> Sample {
        (0..100).find_map(|_| nmea.next(Span::from_secs(5)).unwrap()).expect("a sentence")
    }

    #[test]
    fn partial_and_merged_lines_noise_and_ten_a_second() {
        let (mut line, mut nmea) = terminal();
        let zda = |tenths: i64| {
            let body = format!("GPZDA,123456.{tenths},21,11,2026,00,00");
            [with_sum(&body), b"\r\n".to_vec()].concat()
        };
        line.write_all(b"\xff\x00noise\r\n").unwrap();
        let before = raw_now();
        line.write_all(&zda(0)[..9]).unwrap();
        while nmea.sentence.is_empty() {
            assert_eq!(nmea.next(Span::from_secs(5)), Ok(None));
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        line.write_all(&zda(0)[9..]).unwrap();
        let sample = sentence(&mut nmea);
        assert_eq!(sample.utc.as_nanos(), THEN * 1_000_000_000);
        // It is about when it began, not about when it was whole.
        assert!(before <= sample.at && raw_now() - sample.at >= Span::from_millis(30));
        for tenth in 1..10 {
            line.write_all(&zda(tenth)).unwrap();
            let sample = sentence(&mut nmea);
            assert_eq!(sample.utc.as_nanos() % 1_000_000_000, tenth * 100_000_000);
        }
        let merged = [b"$GPGSV,1*7A\r\n".to_vec(), zda(0), zda(1)].concat();
        line.write_all(&merged).unwrap();
        sentence(&mut nmea);
        line.write_all(&[b'$'; 1].repeat(3)).unwrap();
        line.write_all(&[b'A'; 900]).unwrap();
        assert!(nmea.next(Span::from_secs(5)).is_ok());
        assert!(nmea.sentence.len() <= Nmea::LONGEST);
    }

    #[test]
    fn what_is_no_serial_line_says_so() {
        let why = |path, baud| Nmea::open(Path::new(path), baud).unwrap_err().to_string();
        assert_eq!(why("/dev/null", 9_600), "/dev/null: it is no serial line");
        assert!(why("/dev/null", 12).contains("no usual speed"));
        assert!(why("/nowhere", 9_600).starts_with("/nowhere: "));
    }

    proptest! {
        #[test]
        fn no_sentence_panics(body in "(GPRMC|GNZDA)(,[0-9A-Z.]{0,9}){0,14}|\\PC{0,40}") {
            let _ = read(&with_sum(&body));
            let _ = read(body.as_bytes());
        }
    }
}
