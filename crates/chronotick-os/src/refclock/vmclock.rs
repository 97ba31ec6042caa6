//! The clock that a hypervisor shares with its guests (`linux/vmclock-abi.h`): the kernel makes a device like that of a
//! network card of it, and the page beside it says how good it is and what time it was when the hypervisor last wrote. Time
//! is read through the device, as of any other; nothing here reads a cycle counter.
//!
//! Some kernels' device keeps UTC, later ones' TAI. The page tells which: it is never from the future, nor older than the 37 s
//! between the two, or it is of no use.

use super::phc::{CLASS, Phc};
use super::{Driver, Sample, Trouble};
use chronotick_core::{Leap, Span, Timestamp};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What the page says of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// UTC when the hypervisor last wrote.
    pub written: Timestamp,
    /// How much TAI is ahead of UTC.
    pub tai: Span,
    /// The largest error by the hypervisor's word; `None` if it gives none.
    pub error: Option<Span>,
    /// What is announced.
    pub leap: Leap,
}

/// Why the clock is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// It is no such page.
    Foreign,
    /// The hypervisor is writing.
    Busy,
    /// The hypervisor says that its clock is not synchronised; with its status.
    Status(u8),
    /// The time scale is none that can be brought to UTC; with its number.
    Scale(u8),
    /// It was written too long ago to tell UTC from TAI, or after the device was read.
    Old(Span),
}

impl fmt::Display for Useless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Useless::Foreign => f.write_str("it is no page of a vmclock"),
            Useless::Busy => f.write_str("the hypervisor is at it"),
            Useless::Status(status) => {
                write!(f, "the hypervisor says that its clock is not synchronised (status {status})")
            }
            Useless::Scale(scale) => write!(f, "its time scale ({scale}) cannot be brought to UTC"),
            Useless::Old(age) => {
                write!(f, "the hypervisor wrote its page {age} before the time of its own clock")
            }
        }
    }
}

impl Page {
    /// Bytes up to where this version's fields end.
    pub const SIZE: usize = 104;
    const MAGIC: &[u8] = b"VCLK";
    const SYNCHRONIZED: u8 = 2;
    const FREERUNNING: u8 = 3;
    const TAI_OFFSET_VALID: u64 = 1 << 0;
    const TIME_MAXERROR_VALID: u64 = 1 << 6;

    /// Reads a page, which is little-endian.
    ///
    /// # Errors
    /// Why it is of no use.
    pub fn parse(bytes: &[u8]) -> Result<Page, Useless> {
        let bytes: &[u8; Page::SIZE] = bytes.first_chunk().ok_or(Useless::Foreign)?;
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if &bytes[..4] != Page::MAGIC {
            return Err(Useless::Foreign);
        }
        if bytes[12] & 1 != 0 {
            return Err(Useless::Busy);
        }
        let (flags, scale, status) = (long(24), bytes[11], bytes[34]);
        if !(Page::SYNCHRONIZED..=Page::FREERUNNING).contains(&status) {
            return Err(Useless::Status(status));
        }
        // The field has what UTC is ahead of TAI, which is negative.
        let tai = -i64::from(i16::from_le_bytes([bytes[36], bytes[37]]));
        let tai = if flags & Page::TAI_OFFSET_VALID == 0 || tai <= 0 {
            return Err(Useless::Scale(scale));
        } else {
            tai
        };
        let seconds = i64::try_from(long(72)).unwrap_or(i64::MAX);
        let seconds = match scale {
            0 => seconds,
            1 => seconds.saturating_sub(tai),
            scale => return Err(Useless::Scale(scale)),
        };
        let error = (flags & Page::TIME_MAXERROR_VALID != 0).then(|| long(96));
        let leap = match bytes[38] {
            1 => Leap::Insert,
            2 => Leap::Delete,
            _ => Leap::None,
        };
        Ok(Page {
            written: Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)),
            tai: Span::from_secs(tai),
            error: error.map(|nanos| Span::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))),
            leap,
        })
    }

    /// How much a device that reads `device` is ahead of UTC: nothing, or as much as TAI is.
    ///
    /// # Errors
    /// If the page is too old to tell.
    pub fn ahead(&self, device: Timestamp) -> Result<Span, Useless> {
        let age = device - self.written;
        // The part of a second in the page is left out.
        let slack = Span::from_secs(1);
        if age + slack < Span::ZERO || age >= self.tai.times(2) {
            return Err(Useless::Old(age));
        }
        Ok(if age < self.tai { Span::ZERO } else { self.tai })
    }
}

/// The clock of a hypervisor.
#[derive(Debug)]
pub struct Vmclock {
    page: PathBuf,
    clock: Phc,
}

impl Vmclock {
    /// Opens the page, usually `/dev/vmclock0`, and the kernel's clock that belongs to it.
    ///
    /// # Errors
    /// If there is no such page, it is of no use, or the kernel has made no clock of it.
    pub fn open(page: &Path, every: Span) -> io::Result<Vmclock> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", page.display()));
        read(page).map_err(named)?.map_err(|why| named(io::Error::other(why.to_string())))?;
        let device = device().ok_or_else(|| {
            named(io::Error::new(io::ErrorKind::NotFound, "the kernel has made no clock (/dev/ptpN) of it"))
        })?;
        Ok(Vmclock { page: page.to_owned(), clock: Phc::open(&device, Span::ZERO, every)? })
    }
}

fn read(page: &Path) -> io::Result<Result<Page, Useless>> {
    let mut bytes = [0; Page::SIZE];
    File::open(page)?.read_exact(&mut bytes)?;
    Ok(Page::parse(&bytes))
}

/// The device of the clock that the kernel has made of the page, if it has.
pub fn device() -> Option<PathBuf> {
    device_named("vmclock", Path::new(CLASS))
}

/// The device of the kernel's clock of this name, below a folder like [`CLASS`].
fn device_named(name: &str, class: &Path) -> Option<PathBuf> {
    let is_it =
        |dir: &Path| fs::read_to_string(dir.join("clock_name")).is_ok_and(|found| found.trim() == name);
    let found = fs::read_dir(class).ok()?.flatten().map(|entry| entry.path()).find(|dir| is_it(dir))?;
    Some(Path::new("/dev").join(found.file_name()?))
}

impl Driver for Vmclock {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        let Some(sample) = self.clock.next(patience)? else { return Ok(None) };
        let page = read(&self.page).map_err(|e| Trouble::Lost(format!("{}: {e}", self.page.display())))?;
        let rejected = |why: Useless| Trouble::Rejected(why.to_string());
        let page = page.map_err(rejected)?;
        let ahead = page.ahead(sample.utc).map_err(rejected)?;
        let Some(precision) = page.error else {
            return Err(Trouble::Rejected("the hypervisor does not say how wrong its clock may be".into()));
        };
        Ok(Some(Sample { utc: sample.utc - ahead, precision, leap: Some(page.leap), ..sample }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a time scale and a status, written at 1000 s, with -37 s and 1500 ns where they belong.
    fn page(scale: u8, status: u8, flags: u64) -> [u8; Page::SIZE] {
        let mut bytes = [0; Page::SIZE];
        bytes[..4].copy_from_slice(b"VCLK");
        (bytes[11], bytes[34], bytes[38]) = (scale, status, 1);
        bytes[24..32].copy_from_slice(&flags.to_le_bytes());
        bytes[36..38].copy_from_slice(&(-37i16).to_le_bytes());
        bytes[72..80].copy_from_slice(&1_000u64.to_le_bytes());
        bytes[96..104].copy_from_slice(&1_500u64.to_le_bytes());
        bytes
    }

    const ALL: u64 = u64::MAX;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_page_is_read_and_the_error_is_the_hypervisors() {
        let utc = Page::parse(&page(0, 2, ALL)).unwrap();
        assert_eq!(
            (utc.written, utc.error, utc.leap),
            (at(1_000), Some(Span::from_nanos(1_500)), Leap::Insert)
        );
        let tai = Page::parse(&page(1, 2, ALL)).unwrap();
        assert_eq!((tai.written, tai.tai), (at(963), Span::from_secs(37)));
        let no_error = Page::TAI_OFFSET_VALID;
        assert_eq!(Page::parse(&page(0, 2, no_error)).unwrap().error, None);
    }

    #[test]
    fn a_device_on_tai_is_told_from_one_on_utc() {
        let page = Page::parse(&page(0, 2, ALL)).unwrap();
        let ahead = |seconds| page.ahead(at(seconds));
        assert_eq!((ahead(1_000), ahead(1_036)), (Ok(Span::ZERO), Ok(Span::ZERO)));
        assert_eq!((ahead(1_037), ahead(1_073)), (Ok(Span::from_secs(37)), Ok(Span::from_secs(37))));
        assert_eq!(ahead(1_074), Err(Useless::Old(Span::from_secs(74))));
        assert_eq!(ahead(990), Err(Useless::Old(Span::from_secs(-10))));
    }

    #[test]
    fn what_is_of_no_use_says_why() {
        assert_eq!(Page::parse(b"VCLK"), Err(Useless::Foreign));
        assert_eq!(Page::parse(&[0; 200]), Err(Useless::Foreign));
        assert_eq!(Page::parse(&page(0, 0, ALL)), Err(Useless::Status(0)));
        assert_eq!(Page::parse(&page(0, 4, ALL)), Err(Useless::Status(4)));
        assert_eq!(Page::parse(&page(1, 2, 0)), Err(Useless::Scale(1)));
        assert_eq!(Page::parse(&page(2, 2, ALL)), Err(Useless::Scale(2)));
        let mut busy = page(0, 2, ALL);
        busy[12] = 7;
        assert_eq!(Page::parse(&busy), Err(Useless::Busy));
    }

    #[test]
    fn the_kernels_clock_is_found_by_its_name() {
        let class = std::env::temp_dir().join(format!("chronotick-ptp-{}", std::process::id()));
        for (device, name) in [("ptp0", "ena"), ("ptp3", "vmclock\n")] {
            fs::create_dir_all(class.join(device)).unwrap();
            fs::write(class.join(device).join("clock_name"), name).unwrap();
        }
        assert_eq!(device_named("vmclock", &class), Some(PathBuf::from("/dev/ptp3")));
        assert_eq!(device_named("gnss", &class), None);
        fs::remove_dir_all(&class).unwrap();
    }

    #[test]
    fn a_machine_without_one_says_so() {
        let why = Vmclock::open(Path::new("/dev/null"), Span::ZERO).unwrap_err().to_string();
        assert!(why.starts_with("/dev/null: "), "{why}");
    }
}
