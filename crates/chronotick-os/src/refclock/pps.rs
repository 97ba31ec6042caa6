//! Pulses that the kernel stamps (`/dev/ppsN`, RFC 2783; `linux/pps.h` gives structures and numbers). A pulse says where a
//! second begins, not which: somebody else numbers it.

use super::{Correlation, Driver, Sample, Trouble};
use chronotick_core::{RawInstant, Span, Timestamp};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Which edge of the pulse begins the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// The rising one, by the usual wiring.
    #[default]
    Assert,
    /// The falling one.
    Clear,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Edge::Assert => "assert",
            Edge::Clear => "clear",
        })
    }
}

/// An edge that was captured: its number, and the system clock then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Counts from 1; 0 before the first.
    pub sequence: u32,
    /// The system clock by the kernel's stamp.
    pub system: Timestamp,
}

/// What a kernel offers for one source of pulses; a test stands in for it.
pub trait Pulses: Send {
    /// What the source can do, as bits of RFC 2783.
    ///
    /// # Errors
    /// As `ioctl(2)`.
    fn capabilities(&self) -> io::Result<i32>;
    /// Asks for an edge to be captured.
    ///
    /// # Errors
    /// As `ioctl(2)`; `PermissionDenied` where only an administrator may.
    fn capture(&self, edge: Edge) -> io::Result<()>;
    /// Whether the edge is captured already.
    ///
    /// # Errors
    /// As `ioctl(2)`.
    fn captures(&self, edge: Edge) -> io::Result<bool>;
    /// The newest edge, once there is a new one or the time is up.
    ///
    /// # Errors
    /// `TimedOut` if there is none; otherwise as `ioctl(2)`.
    fn fetch(&self, edge: Edge, timeout: Span) -> io::Result<Captured>;
}

const CAPTURE_ASSERT: i32 = 0x01;
const CAPTURE_CLEAR: i32 = 0x02;
const CAN_WAIT: i32 = 0x100;
const TIME_IS_TIMESPEC: i32 = 0x1000;

const fn bit(edge: Edge) -> i32 {
    match edge {
        Edge::Assert => CAPTURE_ASSERT,
        Edge::Clear => CAPTURE_CLEAR,
    }
}

/// The number of a request: its size field has the size of a *pointer* to the structure.
const fn request(reads: bool, writes: bool, number: u32) -> libc::Ioctl {
    let direction = (reads as u32) << 31 | (writes as u32) << 30;
    let size = (size_of::<*const u8>() as u32) << 16;
    (direction | size | (b'p' as u32) << 8 | number) as libc::Ioctl
}

const GET_PARAMETERS: libc::Ioctl = request(true, false, 0xa1);
const SET_PARAMETERS: libc::Ioctl = request(false, true, 0xa2);
const GET_CAPABILITIES: libc::Ioctl = request(true, false, 0xa3);
const FETCH: libc::Ioctl = request(true, true, 0xa4);

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    seconds: i64,
    nanos: i32,
    /// Bit 0: there is no time here.
    flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Info {
    assert_sequence: u32,
    clear_sequence: u32,
    assert: Time,
    clear: Time,
    mode: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Fetch {
    info: Info,
    timeout: Time,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    version: i32,
    mode: i32,
    assert_offset: Time,
    clear_offset: Time,
}

/// A source of pulses of this kernel.
#[derive(Debug)]
struct Device(File);

impl Device {
    fn ask<T>(&self, request: libc::Ioctl, what: &mut T) -> io::Result<()> {
        // SAFETY: each request above reads or writes exactly the structure with which it is used here, which outlives the
        // call.
        let rc = unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(what)) };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn parameters(&self) -> io::Result<Parameters> {
        let mut parameters = Parameters::default();
        self.ask(GET_PARAMETERS, &mut parameters)?;
        Ok(parameters)
    }
}

impl Pulses for Device {
    fn capabilities(&self) -> io::Result<i32> {
        let mut bits: libc::c_int = 0;
        self.ask(GET_CAPABILITIES, &mut bits)?;
        Ok(bits)
    }

    fn capture(&self, edge: Edge) -> io::Result<()> {
        let mut parameters = self.parameters()?;
        parameters.version = 1;
        parameters.mode |= bit(edge) | TIME_IS_TIMESPEC;
        self.ask(SET_PARAMETERS, &mut parameters)
    }

    fn captures(&self, edge: Edge) -> io::Result<bool> {
        Ok(self.parameters()?.mode & bit(edge) != 0)
    }

    fn fetch(&self, edge: Edge, timeout: Span) -> io::Result<Captured> {
        let mut fetch = Fetch::default();
        let nanos = timeout.as_nanos().max(0);
        fetch.timeout =
            Time { seconds: nanos / 1_000_000_000, nanos: (nanos % 1_000_000_000) as i32, flags: 0 };
        self.ask(FETCH, &mut fetch)?;
        let (sequence, time) = match edge {
            Edge::Assert => (fetch.info.assert_sequence, fetch.info.assert),
            Edge::Clear => (fetch.info.clear_sequence, fetch.info.clear),
        };
        let nanos = time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanos.into());
        Ok(Captured { sequence, system: Timestamp::from_nanos(nanos) })
    }
}

/// A source of pulses.
pub struct Pps {
    pulses: Box<dyn Pulses>,
    edge: Edge,
    waits: bool,
    newest: u32,
    /// The newest pulse that came a whole number of seconds after the one before it.
    regular: Option<RawInstant>,
    irregular: u32,
    correlation: Correlation,
}

impl fmt::Debug for Pps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pps").field("edge", &self.edge).field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl Pps {
    /// A pulse that is further from a whole second after the last one is the other edge, or noise.
    const REGULAR: i64 = 100_000_000;
    /// After so many of them it was the last one that was wrong.
    const STUBBORN: u32 = 3;
    const SECOND: i64 = 1_000_000_000;

    /// Opens a device.
    ///
    /// # Errors
    /// If it cannot be opened, is no source of pulses, or captures no such edge and this user may not change that.
    pub fn open(path: &Path, edge: Edge) -> io::Result<Pps> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(named)?;
        Pps::of(Box::new(Device(file)), edge).map_err(named)
    }

    /// A source of pulses, whoever offers it.
    ///
    /// # Errors
    /// As [`open`](Pps::open).
    pub fn of(pulses: Box<dyn Pulses>, edge: Edge) -> io::Result<Pps> {
        let can = pulses.capabilities().map_err(|e| match e.raw_os_error() {
            Some(libc::ENOTTY) => {
                io::Error::new(io::ErrorKind::InvalidInput, "it is no source of pulses (PPS)")
            }
            _ => e,
        })?;
        if can & bit(edge) == 0 {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("it does not capture the {edge} edge"),
            ));
        }
        if let Err(e) = pulses.capture(edge)
            && !pulses.captures(edge)?
        {
            return Err(io::Error::new(
                e.kind(),
                format!("the {edge} edge is not captured, and may not be asked for: {e}"),
            ));
        }
        // What is there already may be of any age.
        let newest = pulses.fetch(edge, Span::ZERO).map_or(0, |captured| captured.sequence);
        let mut correlation = Correlation::default();
        correlation.renew();
        let waits = can & CAN_WAIT != 0;
        Ok(Pps { pulses, edge, waits, newest, regular: None, irregular: 0, correlation })
    }

    fn fetch(&self, patience: Span) -> io::Result<Captured> {
        if self.waits {
            return self.pulses.fetch(self.edge, patience);
        }
        let pause = Span::from_millis(100).min(patience);
        std::thread::sleep(std::time::Duration::from_nanos(pause.as_nanos().max(0) as u64));
        self.pulses.fetch(self.edge, Span::ZERO)
    }

    /// Whether a pulse comes a whole number of seconds after the one before it.
    fn is_regular(&mut self, at: RawInstant) -> bool {
        let Some(before) = self.regular else {
            self.regular = Some(at);
            return true;
        };
        let apart = (at - before).as_nanos();
        let beside = (apart + Pps::SECOND / 2).rem_euclid(Pps::SECOND) - Pps::SECOND / 2;
        let regular = beside.abs() <= Pps::REGULAR && apart > Pps::SECOND / 2;
        if regular || self.irregular == Pps::STUBBORN {
            (self.regular, self.irregular) = (Some(at), 0);
        } else {
            self.irregular += 1;
        }
        regular
    }
}

impl Driver for Pps {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        let fetched = self.fetch(patience);
        self.correlation.renew();
        let captured = match fetched {
            Ok(captured) => captured,
            Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(e) => return Err(Trouble::Lost(e.to_string())),
        };
        if captured.sequence == self.newest || captured.sequence == 0 {
            return Ok(None);
        }
        self.newest = captured.sequence;
        let (at, error) = self
            .correlation
            .raw_of(captured.system, Span::from_secs(2))
            .map_err(|why| Trouble::Rejected(why.to_string()))?;
        if !self.is_regular(at) {
            return Err(Trouble::Rejected(
                "a pulse came between two seconds: noise, or the other edge".into(),
            ));
        }
        Ok(Some(Sample {
            at,
            utc: Timestamp::from_nanos(0),
            precision: Span::ZERO,
            error,
            is_pulse: true,
            leap: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockPair;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// A kernel that says what the test wrote down.
    struct Script {
        can: i32,
        may: bool,
        captures: bool,
        says: Mutex<VecDeque<Result<Captured, i32>>>,
    }

    impl Pulses for Script {
        fn capabilities(&self) -> io::Result<i32> {
            Ok(self.can)
        }
        fn capture(&self, _: Edge) -> io::Result<()> {
            if self.may { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
        }
        fn captures(&self, _: Edge) -> io::Result<bool> {
            Ok(self.captures)
        }
        fn fetch(&self, _: Edge, _: Span) -> io::Result<Captured> {
            let said = self.says.lock().unwrap().pop_front().unwrap_or(Err(libc::ETIMEDOUT));
            said.map_err(io::Error::from_raw_os_error)
        }
    }

    fn script(says: Vec<Result<Captured, i32>>) -> Box<Script> {
        let first = Err(libc::ETIMEDOUT);
        let says = Mutex::new(std::iter::once(first).chain(says).collect());
        Box::new(Script { can: CAPTURE_ASSERT | CAN_WAIT, may: true, captures: false, says })
    }

    /// A pulse so many milliseconds ago.
    fn pulse(sequence: u32, ago_ms: i64) -> Result<Captured, i32> {
        Ok(Captured { sequence, system: ClockPair::now().system - Span::from_millis(ago_ms) })
    }

    #[test]
    fn the_numbers_of_the_kernel_are_these() {
        let requests = [GET_PARAMETERS, SET_PARAMETERS, GET_CAPABILITIES, FETCH].map(|r| r as u32);
        if cfg!(target_pointer_width = "64") {
            assert_eq!(requests, [0x8008_70a1, 0x4008_70a2, 0x8008_70a3, 0xc008_70a4]);
        }
        assert_eq!((size_of::<Info>(), size_of::<Fetch>(), size_of::<Parameters>()), (48, 64, 40));
        assert_eq!(std::mem::offset_of!(Fetch, timeout), 48);
        assert_eq!(std::mem::offset_of!(Info, clear), 24);
    }

    #[test]
    fn pulses_are_taken_once_and_missing_ones_are_missing() {
        let says = vec![pulse(7, 1_000), pulse(7, 1_000), Err(libc::ETIMEDOUT), pulse(9, 0)];
        let mut pps = Pps::of(script(says), Edge::Assert).unwrap();
        let first = pps.next(Span::ZERO).unwrap().expect("a pulse");
        assert!(first.is_pulse && first.error < Span::from_millis(20));
        assert_eq!(pps.next(Span::ZERO), Ok(None), "the same sequence");
        assert_eq!(pps.next(Span::ZERO), Ok(None), "no pulse in time");
        let sample = pps.next(Span::ZERO).unwrap().expect("a second later");
        assert!(sample.at - first.at >= Span::from_millis(800));
    }

    #[test]
    fn the_other_edge_is_noise_unless_it_persists() {
        let mut pps = Pps::of(script(vec![]), Edge::Assert).unwrap();
        let mut regular = |ms: i64| pps.is_regular(RawInstant::from_nanos(ms * 1_000_000));
        assert!(regular(0) && !regular(200) && regular(1_000) && regular(3_000));
        // From now on 200 ms later: after a while the others were wrong.
        assert!(!regular(4_200) && !regular(5_200) && !regular(6_200) && !regular(7_200) && regular(8_200));
    }

    #[test]
    fn jitter_passes_and_stale_pulses_do_not() {
        let says = vec![pulse(1, 5), pulse(2, 30_000)];
        let mut pps = Pps::of(script(says), Edge::Assert).unwrap();
        assert!(pps.next(Span::ZERO).unwrap().is_some());
        assert!(matches!(pps.next(Span::ZERO), Err(Trouble::Rejected(why)) if why.contains("old")));
    }

    #[test]
    fn a_device_that_goes_is_lost() {
        let mut pps = Pps::of(script(vec![Err(libc::ENODEV)]), Edge::Assert).unwrap();
        assert!(matches!(pps.next(Span::ZERO), Err(Trouble::Lost(_))));
    }

    #[test]
    fn edges_that_cannot_be_had_are_refused_and_permission_is_not_needed_for_what_is_on() {
        let why = Pps::of(script(vec![]), Edge::Clear).unwrap_err().to_string();
        assert!(why.contains("does not capture the clear edge"), "{why}");
        let denied = |captures| {
            let script = Script { may: false, captures, ..*script(vec![]) };
            Pps::of(Box::new(script), Edge::Assert).map(drop)
        };
        assert!(denied(true).is_ok());
        assert!(denied(false).unwrap_err().to_string().contains("may not be asked for"));
    }

    #[test]
    fn what_is_no_source_of_pulses_says_so() {
        let why = Pps::open(Path::new("/dev/null"), Edge::Assert).unwrap_err().to_string();
        assert_eq!(why, "/dev/null: it is no source of pulses (PPS)");
    }
}
