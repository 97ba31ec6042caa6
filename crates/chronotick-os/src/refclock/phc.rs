//! Clocks of network cards and hypervisors (`/dev/ptpN`): the kernel reads the system clock, the device and the system
//! clock again (`PTP_SYS_OFFSET_EXTENDED` of `linux/ptp_clock.h`).

use super::{Correlation, Driver, Sample, Trouble};
use chronotick_core::{Span, Timestamp};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The device's clock between two readings of the system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The system clock before.
    pub before: Timestamp,
    /// The device's clock.
    pub device: Timestamp,
    /// The system clock afterwards.
    pub after: Timestamp,
}

/// What a kernel offers for one such clock; a test stands in for it.
pub trait Compare: Send {
    /// Some comparisons, one after the other.
    ///
    /// # Errors
    /// As `ioctl(2)`.
    fn compare(&self) -> io::Result<Vec<Comparison>>;
}

/// A clock of this kernel.
#[derive(Debug)]
struct Device(File);

impl Device {
    /// So many comparisons at a time: the tightest counts.
    const READINGS: u32 = 8;
}

impl Compare for Device {
    fn compare(&self) -> io::Result<Vec<Comparison>> {
        // SAFETY: a structure of integers, for which zero is a value.
        let mut offset: libc::ptp_sys_offset_extended = unsafe { std::mem::zeroed() };
        offset.n_samples = Device::READINGS;
        // SAFETY: the request reads and writes exactly this structure, which outlives the call.
        let rc = unsafe {
            libc::ioctl(self.0.as_raw_fd(), libc::PTP_SYS_OFFSET_EXTENDED as libc::Ioctl, &raw mut offset)
        };
        if rc < 0 {
            return Err(io::Error::last_os_error());
        }
        let time = |t: &libc::ptp_clock_time| {
            Timestamp::from_nanos(t.sec.saturating_mul(1_000_000_000).saturating_add(t.nsec.into()))
        };
        let read = offset.ts.iter().take(Device::READINGS as usize);
        Ok(read
            .map(|ts| Comparison { before: time(&ts[0]), device: time(&ts[1]), after: time(&ts[2]) })
            .collect())
    }
}

/// A clock of a network card or a hypervisor.
pub struct Phc {
    clock: Box<dyn Compare>,
    /// What the device says that it may be wrong, where it does.
    stated: Option<PathBuf>,
    /// How much the device's time scale is ahead of UTC.
    ahead: Span,
    every: Span,
    correlation: Correlation,
}

impl fmt::Debug for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phc").field("ahead", &self.ahead).finish_non_exhaustive()
    }
}

impl Phc {
    /// Opens a device; its clock is `ahead` of UTC by so much (37 s if it keeps TAI today), and read at most once in
    /// `every`.
    ///
    /// # Errors
    /// If it cannot be opened or is no such clock.
    pub fn open(path: &Path, ahead: Span, every: Span) -> io::Result<Phc> {
        let named = |e: io::Error| {
            let why = match e.raw_os_error() {
                Some(libc::ENOTTY) => "it is no clock of a device (PTP)".into(),
                _ => e.to_string(),
            };
            io::Error::new(e.kind(), format!("{}: {why}", path.display()))
        };
        let device = Device(File::open(path).map_err(named)?);
        device.compare().map_err(named)?;
        let stated = stated(path, Path::new(CLASS));
        Ok(Phc { stated, ..Phc::of(Box::new(device), ahead, every) })
    }

    /// A clock, whoever offers it.
    pub fn of(clock: Box<dyn Compare>, ahead: Span, every: Span) -> Phc {
        let mut correlation = Correlation::default();
        correlation.renew();
        Phc { clock, stated: None, ahead, every, correlation }
    }

    /// What the device says of its own error; one that cannot be read is no reason to claim none.
    fn precision(&self) -> Result<Span, Trouble> {
        let Some(path) = &self.stated else { return Ok(Span::ZERO) };
        let nanos = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        nanos
            .map(Span::from_nanos)
            .ok_or_else(|| Trouble::Rejected(format!("{} tells no error", path.display())))
    }
}

/// Where the kernel tells of such clocks.
pub(super) const CLASS: &str = "/sys/class/ptp";

/// The file with the error of a device's clock, in ns, which Amazon's driver has; `class` is a folder like [`CLASS`]. It goes
/// by the device's own name, whatever links lead to it.
fn stated(device: &Path, class: &Path) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    let file = class.join(device.file_name()?).join("device/phc_error_bound");
    file.exists().then_some(file)
}

impl Driver for Phc {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        std::thread::sleep(
            std::time::Duration::from_nanos(patience.min(self.every).as_nanos().max(0) as u64),
        );
        self.correlation.renew();
        let compared = self.clock.compare();
        self.correlation.renew();
        let all = compared.map_err(|e| Trouble::Lost(e.to_string()))?;
        let sane = all.into_iter().filter(|c| c.before <= c.after);
        let Some(best) = sane.min_by_key(|c| c.after - c.before) else {
            return Err(Trouble::Rejected("the system clock was stepped around every reading".into()));
        };
        let half = (best.after - best.before).half();
        let (at, error) = self
            .correlation
            .raw_of(best.before + half, Span::from_secs(1))
            .map_err(|why| Trouble::Rejected(why.to_string()))?;
        Ok(Some(Sample {
            at,
            utc: best.device - self.ahead,
            precision: self.precision()?,
            error: error + half,
            is_pulse: false,
            leap: None,
        }))
    }
}

/// How much TAI is ahead of UTC by the kernel's own word; `None` if nobody has told it (`adjtimex(2)`).
pub fn kernel_tai() -> Option<Span> {
    // SAFETY: a structure of integers, for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set (`modes` is zero), and the structure outlives the call.
    let rc = unsafe { libc::adjtimex(&mut state) };
    (rc >= 0 && state.tai != 0).then(|| Span::from_secs(state.tai.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockPair;

    /// A clock that is so far ahead of the system clock, and slow to answer all but once.
    struct Ahead(Span);

    impl Compare for Ahead {
        fn compare(&self) -> io::Result<Vec<Comparison>> {
            let now = ClockPair::now().system;
            let reading = |width: i64, off: i64| Comparison {
                before: now - Span::from_nanos(width),
                device: now + self.0 + Span::from_nanos(off),
                after: now,
            };
            Ok(vec![reading(900_000, 400_000), reading(200, -100), reading(700_000, 3)])
        }
    }

    #[test]
    fn the_tightest_comparison_counts_and_tai_is_taken_off() {
        let (tai, behind) = (Span::from_secs(37), Span::from_millis(3));
        let mut phc = Phc::of(Box::new(Ahead(tai + behind)), tai, Span::from_millis(10));
        let before = ClockPair::now();
        let sample = phc.next(Span::from_secs(1)).unwrap().expect("a reading");
        let offset = (sample.utc - before.system) - (sample.at - before.raw);
        assert!((offset - behind).abs() < Span::from_micros(50), "{offset}");
        assert!(sample.error < Span::from_micros(50), "{}", sample.error);
    }

    #[test]
    fn a_device_that_goes_is_lost_and_none_says_so() {
        struct Gone;
        impl Compare for Gone {
            fn compare(&self) -> io::Result<Vec<Comparison>> {
                Err(io::Error::from_raw_os_error(libc::ENODEV))
            }
        }
        let mut phc = Phc::of(Box::new(Gone), Span::ZERO, Span::ZERO);
        assert!(matches!(phc.next(Span::ZERO), Err(Trouble::Lost(_))));
        let why = Phc::open(Path::new("/dev/null"), Span::ZERO, Span::ZERO).unwrap_err().to_string();
        assert_eq!(why, "/dev/null: it is no clock of a device (PTP)");
    }

    #[test]
    fn the_error_that_a_device_states_is_found_through_links() {
        let dir = std::env::temp_dir().join(format!("chronotick-phc-{}", std::process::id()));
        let bound = dir.join("class/ptp1/device/phc_error_bound");
        fs::create_dir_all(bound.parent().unwrap()).unwrap();
        fs::write(&bound, "21000\n").unwrap();
        for device in ["ptp0", "ptp1"] {
            fs::write(dir.join(device), "").unwrap();
        }
        std::os::unix::fs::symlink("ptp1", dir.join("ptp_ena")).unwrap();
        let found = |device: &str| stated(&dir.join(device), &dir.join("class"));
        assert_eq!((found("ptp_ena"), found("ptp1")), (Some(bound.clone()), Some(bound.clone())));
        assert_eq!((found("ptp0"), found("ptp2")), (None, None));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_number_of_the_kernel_is_this() {
        assert_eq!(size_of::<libc::ptp_sys_offset_extended>(), 4 + 12 + 25 * 3 * 16);
        assert_eq!(libc::PTP_SYS_OFFSET_EXTENDED as u32, 0xc4c0_3d09);
    }
}
