//! gpsd's JSON over TCP (gpsd_json(5)): `TOFF` compares the receiver's serial time with the system clock, `PPS` its pulse.
//! Times are read as integers; a float of 32 bits would round this century's seconds to minutes.

use super::{Correlation, Driver, Sample, Trouble};
use crate::wait;
use chronotick_core::{Span, Timestamp};
use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

/// Which of gpsd's reports are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// `TOFF`: when the first sentence of a second came.
    Serial,
    /// `PPS`: when the pulse came.
    Pulse,
}

/// One line, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    class: String,
    device: Option<String>,
    /// `TPV`: 2 and more with a fix.
    mode: Option<i64>,
    /// `DEVICE`: 0 where it was closed.
    activated: Option<serde_json::Value>,
    real_sec: Option<i64>,
    real_nsec: Option<i64>,
    clock_sec: Option<i64>,
    clock_nsec: Option<i64>,
    /// `PPS`: log2 s.
    precision: Option<i32>,
    message: Option<String>,
}

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The receiver's time and the system clock at the same instant.
    Time {
        /// The receiver's.
        real: Timestamp,
        /// The system clock's.
        clock: Timestamp,
        /// How wrong the receiver's may be by its own word.
        precision: Span,
    },
    /// Whether the receiver has a fix.
    Fix(bool),
    /// The receiver was closed.
    Closed,
    /// Nothing of use.
    Nothing,
}

/// Reads a line, of `device` if one is named.
///
/// # Errors
/// If it is no JSON object of gpsd's, or has times that are none.
pub fn read(line: &[u8], report: Report, device: Option<&str>) -> Result<Said, String> {
    let line: Line = serde_json::from_slice(line).map_err(|e| format!("gpsd sent what is no report: {e}"))?;
    let other = device.is_some_and(|wanted| line.device.as_deref().is_some_and(|found| found != wanted));
    match (line.class.as_str(), report) {
        ("ERROR", _) => Err(format!("gpsd says: {}", line.message.unwrap_or_default().escape_default())),
        _ if other => Ok(Said::Nothing),
        ("TPV", _) => Ok(Said::Fix(line.mode.is_some_and(|mode| mode >= 2))),
        ("DEVICE", _) => {
            let closed = line.activated.is_some_and(|when| when == 0 || when == 0.0);
            Ok(if closed { Said::Closed } else { Said::Nothing })
        }
        ("TOFF", Report::Serial) | ("PPS", Report::Pulse) => {
            let time = |sec: Option<i64>, nsec: Option<i64>| {
                let (sec, nsec) = (sec?, nsec?);
                let possible = (0..9_000_000_000).contains(&sec) && (0..1_000_000_000).contains(&nsec);
                possible.then(|| Timestamp::from_nanos(sec * 1_000_000_000 + nsec))
            };
            let real = time(line.real_sec, line.real_nsec).ok_or("gpsd sent a real time that is none")?;
            let clock = time(line.clock_sec, line.clock_nsec).ok_or("gpsd sent a clock time that is none")?;
            let stated = |log2: i32| Span::from_secs_f64(f64::from(log2.clamp(-30, 8)).exp2());
            Ok(Said::Time { real, clock, precision: line.precision.map_or(Span::ZERO, stated) })
        }
        _ => Ok(Said::Nothing),
    }
}

/// A connection to gpsd.
#[derive(Debug)]
pub struct Gpsd {
    stream: TcpStream,
    report: Report,
    device: Option<String>,
    buffer: Vec<u8>,
    has_fix: bool,
    correlation: Correlation,
}

impl Gpsd {
    /// A line is never longer than this; gpsd's own are below 11 kB.
    const LONGEST: usize = 64 * 1024;
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Connects to `host:port` and asks for reports; of one receiver, if `device` names it.
    ///
    /// # Errors
    /// If nobody listens there.
    pub fn connect(address: &str, report: Report, device: Option<&str>) -> io::Result<Gpsd> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("gpsd at {address}: {e}"));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in address.to_socket_addrs().map_err(named)? {
            match TcpStream::connect_timeout(&address, Gpsd::PATIENCE) {
                Ok(stream) => return Gpsd::watch(stream, report, device).map_err(named),
                Err(e) => last = e,
            }
        }
        Err(named(last))
    }

    fn watch(mut stream: TcpStream, report: Report, device: Option<&str>) -> io::Result<Gpsd> {
        stream.set_write_timeout(Some(Gpsd::PATIENCE))?;
        stream.write_all(b"?WATCH={\"enable\":true,\"json\":true,\"pps\":true};\n")?;
        stream.set_nonblocking(true)?;
        let mut correlation = Correlation::default();
        correlation.renew();
        let device = device.map(ToOwned::to_owned);
        Ok(Gpsd { stream, report, device, buffer: Vec::new(), has_fix: true, correlation })
    }

    /// The next whole line, if there is one.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|&b| b == b'\n')?;
        Some(self.buffer.drain(..=end).collect())
    }

    fn take(&mut self, line: &[u8]) -> Result<Option<Sample>, Trouble> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let (real, clock, precision) =
            match read(line, self.report, self.device.as_deref()).map_err(Trouble::Rejected)? {
                Said::Nothing => return Ok(None),
                Said::Closed => return Err(Trouble::Rejected("gpsd has closed the receiver".into())),
                Said::Fix(fix) => {
                    self.has_fix = fix;
                    return Ok(None);
                }
                Said::Time { .. } if !self.has_fix => {
                    return Err(Trouble::Rejected("the receiver has no fix".into()));
                }
                Said::Time { real, clock, precision } => (real, clock, precision),
            };
        let (at, error) = self
            .correlation
            .raw_of(clock, Span::from_secs(2))
            .map_err(|why| Trouble::Rejected(why.to_string()))?;
        Ok(Some(Sample { at, utc: real, precision, error, is_pulse: false, leap: None }))
    }
}

impl Driver for Gpsd {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        if let Some(line) = self.line() {
            return self.take(&line);
        }
        let lost = |e: io::Error| Trouble::Lost(format!("gpsd: {e}"));
        wait(&[self.stream.as_fd()], Some(patience)).map_err(lost)?;
        self.correlation.renew();
        let mut part = [0; 4096];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(Trouble::Lost("gpsd has closed the connection".into())),
            Ok(length) => self.buffer.extend(&part[..length]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) => return Err(lost(e)),
        }
        if self.buffer.len() > Gpsd::LONGEST && !self.buffer.contains(&b'\n') {
            return Err(Trouble::Lost("what is there sends lines without end: no gpsd".into()));
        }
        self.line().map_or(Ok(None), |line| self.take(&line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockPair;
    use proptest::prelude::*;
    use std::net::{Shutdown, TcpListener};

    const TOFF: &str = r#"{"class":"TOFF","device":"/dev/ttyS0","real_sec":1744182740,"real_nsec":0,"clock_sec":1744182740,"clock_nsec":40000123,"precision":-2,"shm":"NTP0"}"#;

    #[test]
    fn seconds_of_this_century_survive() {
        let said = read(TOFF.as_bytes(), Report::Serial, None).unwrap();
        let Said::Time { real, clock, precision } = said else { panic!("{said:?}") };
        assert_eq!(real.as_nanos(), 1_744_182_740_000_000_000);
        assert_eq!(clock - real, Span::from_nanos(40_000_123));
        assert_eq!(precision, Span::from_millis(250));
        assert_eq!(read(TOFF.as_bytes(), Report::Pulse, None), Ok(Said::Nothing));
        assert_eq!(read(TOFF.as_bytes(), Report::Serial, Some("/dev/ttyS1")), Ok(Said::Nothing));
    }

    #[test]
    fn other_lines_are_told_apart() {
        let said = |line: &str| read(line.as_bytes(), Report::Serial, None);
        assert_eq!(said(r#"{"class":"VERSION","release":"3.22"}"#), Ok(Said::Nothing));
        assert_eq!(said(r#"{"class":"TPV","mode":1}"#), Ok(Said::Fix(false)));
        assert_eq!(said(r#"{"class":"TPV","mode":3}"#), Ok(Said::Fix(true)));
        assert_eq!(said(r#"{"class":"DEVICE","path":"/dev/ttyS0","activated":0}"#), Ok(Said::Closed));
        assert!(said(r#"{"class":"ERROR","message":"Unrecognized"}"#).unwrap_err().contains("Unrecognized"));
        assert!(said("$GPRMC,").unwrap_err().contains("no report"));
        assert!(said(r#"{"class":"TOFF","real_sec":1.5}"#).is_err());
        assert!(
            said(r#"{"class":"TOFF","real_sec":1,"real_nsec":2000000000,"clock_sec":1,"clock_nsec":0}"#)
                .is_err()
        );
        assert!(
            said(r#"{"class":"TOFF","real_sec":-1,"real_nsec":0,"clock_sec":1,"clock_nsec":0}"#).is_err()
        );
    }

    /// A gpsd of the test's, which hears the request and sends what it is told, in these parts.
    fn serve(parts: Vec<String>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let length = stream.read(&mut request).unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = stream.shutdown(Shutdown::Both);
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, served)
    }

    #[test]
    fn split_writes_garbage_and_a_disconnect() {
        let pair = ClockPair::now();
        let (sec, nsec) = (pair.system.as_nanos() / 1_000_000_000, pair.system.as_nanos() % 1_000_000_000);
        let report = format!(
            "{{\"class\":\"PPS\",\"device\":\"/dev/ttyS0\",\"real_sec\":{},\"real_nsec\":{nsec},\"clock_sec\":{sec},\"clock_nsec\":{nsec},\"precision\":-20}}\r\n",
            sec + 3
        );
        let (first, second) = report.split_at(40);
        let parts = vec!["{\"class\":\"VERSION\"}\r\nnonsense\r\n".into(), first.into(), second.into()];
        let (address, served) = serve(parts);
        let mut gpsd = Gpsd::connect(&address, Report::Pulse, None).unwrap();
        let (mut samples, mut refused) = (Vec::new(), 0);
        let lost = loop {
            match gpsd.next(Span::from_secs(5)) {
                Ok(sample) => samples.extend(sample),
                Err(Trouble::Rejected(_)) => refused += 1,
                Err(Trouble::Lost(why)) => break why,
            }
        };
        assert_eq!((samples.len(), refused), (1, 1));
        let offset = (samples[0].utc - pair.system) - (samples[0].at - pair.raw);
        assert!((offset - Span::from_secs(3)).abs() < Span::from_millis(20), "{offset}");
        assert!(!samples[0].is_pulse, "gpsd numbers its pulses itself");
        assert!(lost.contains("closed the connection"), "{lost}");
        assert!(served.join().unwrap().contains("\"pps\":true"));
    }

    #[test]
    fn without_a_fix_there_is_no_time() {
        let (address, _served) = serve(vec![]);
        let mut gpsd = Gpsd::connect(&address, Report::Serial, None).unwrap();
        assert_eq!(gpsd.take(b"{\"class\":\"TPV\",\"mode\":1}"), Ok(None));
        assert_eq!(gpsd.take(TOFF.as_bytes()), Err(Trouble::Rejected("the receiver has no fix".into())));
    }

    #[test]
    fn nobody_there_is_an_error_with_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let why = Gpsd::connect(&address, Report::Serial, None).unwrap_err().to_string();
        assert!(why.contains(&address), "{why}");
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,80}|\\{\"class\":\"(TOFF|PPS|TPV)\",\"(real_sec|mode)\":-?[0-9]{1,25}\\}") {
            let _ = read(line.as_bytes(), Report::Serial, None);
            let _ = read(line.as_bytes(), Report::Pulse, Some("x"));
        }
    }
}
