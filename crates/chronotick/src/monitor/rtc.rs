//! The battery-backed clock as the kernel shows it (`/sys/class/rtc`), what `/etc/adjtime` says of it, and the memory of
//! earlier looks, from which its drift is known.

use crate::replace::replace;
use chronotick_clock::{ClockPair, Span, Timestamp};
use chronotick_monitor::RtcReading;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One look at the battery-backed clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What it read as UTC, in whole seconds.
    pub reads: i64,
    /// The clocks of the machine then.
    pub pair: ClockPair,
    /// True time was so much after the second began, at most.
    pub slack: Span,
}

/// What is written about it in `/etc/adjtime` (hwclock(8)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adjtime {
    /// `UTC` or `LOCAL`.
    pub timescale: Option<String>,
    /// When it was last set, seconds since 1970.
    pub last_set: Option<i64>,
}

/// Where the machine's own files are.
#[derive(Clone, Debug)]
pub struct Rtc {
    root: PathBuf,
}

impl Rtc {
    /// The clock of the machine whose `/sys` and `/etc` are below `root`.
    pub fn below(root: &Path) -> Rtc {
        Rtc { root: root.to_owned() }
    }

    /// Reads the clock when it turns to the next second; that takes up to a second. A clock that does not turn within that
    /// time is read as it is.
    ///
    /// # Errors
    /// `NotFound` if the machine has none; otherwise those of reading, and `InvalidData` for what is no number.
    pub fn look(&self) -> io::Result<Look> {
        let begun = Instant::now();
        let first = self.seconds()?;
        let mut before = ClockPair::now();
        while begun.elapsed() < Duration::from_millis(1_200) {
            let (now, pair) = (self.seconds()?, ClockPair::now());
            if now != first {
                return Ok(Look { reads: now, pair, slack: pair.raw - before.raw });
            }
            before = pair;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(Look { reads: self.seconds()?, pair: ClockPair::now(), slack: Span::from_secs(1) })
    }

    fn seconds(&self) -> io::Result<i64> {
        let path = self.root.join("sys/class/rtc/rtc0/since_epoch");
        let text = fs::read_to_string(&path)?;
        let number = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: no number", path.display()));
        text.trim().parse().map_err(|_| number())
    }

    /// What `/etc/adjtime` says; nothing where it is missing or says nothing that can be understood.
    pub fn adjtime(&self) -> Adjtime {
        let text = fs::read_to_string(self.root.join("etc/adjtime")).unwrap_or_default();
        let mut lines = text.lines();
        let last_set = lines.next().and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let timescale = lines.nth(1).map(str::trim).filter(|word| matches!(*word, "UTC" | "LOCAL"));
        Adjtime { timescale: timescale.map(str::to_owned), last_set: last_set.filter(|at| *at > 0) }
    }
}

/// A look as it is remembered.
#[derive(Serialize, Deserialize)]
struct Line {
    utc_secs: i64,
    offset_ns: i64,
}

const FILE: &str = "rtc.jsonl";
/// More than a year of daily looks.
const KEPT: usize = 400;

/// The earlier looks, oldest first; lines that cannot be read are left out.
pub fn remembered(dir: &Path) -> Vec<RtcReading> {
    let text = fs::read_to_string(dir.join(FILE)).unwrap_or_default();
    let read = |line: &str| {
        let Line { utc_secs, offset_ns } = serde_json::from_str(line).ok()?;
        Some(RtcReading { utc_secs, offset: Span::from_nanos(offset_ns) })
    };
    let mut all: Vec<RtcReading> = text.lines().filter_map(read).collect();
    all.sort_by_key(|reading| reading.utc_secs);
    all
}

/// Remembers a look beside the earlier ones, of which the newest are kept.
///
/// # Errors
/// Those of writing and renaming a file in `dir`.
pub fn remember(dir: &Path, earlier: &[RtcReading], newest: RtcReading) -> io::Result<()> {
    let kept = &earlier[earlier.len().saturating_sub(KEPT - 1)..];
    let mut lines = String::new();
    for reading in kept.iter().chain([&newest]) {
        let line = Line { utc_secs: reading.utc_secs, offset_ns: reading.offset.as_nanos() };
        lines += &serde_json::to_string(&line)?;
        lines.push('\n');
    }
    replace(&dir.join(FILE), lines.as_bytes())
}

/// What true time minus the clock's reading is, when `offset` is true time minus the system clock.
pub fn reading(look: Look, offset: Span) -> RtcReading {
    let truth = look.pair.system + offset;
    // The second began at most `slack` ago: in the middle of that, on average.
    let reads = Timestamp::from_nanos(look.reads.saturating_mul(1_000_000_000)) + look.slack.half();
    RtcReading { utc_secs: truth.as_nanos().div_euclid(1_000_000_000), offset: truth - reads }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose clock reads `seconds`, for ever.
    fn machine(seconds: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/class/rtc/rtc0")).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("sys/class/rtc/rtc0/since_epoch"), seconds).unwrap();
        root
    }

    #[test]
    fn a_machine_without_one_is_told_from_one_that_cannot_be_read() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Rtc::below(empty.path()).look().unwrap_err().kind(), io::ErrorKind::NotFound);
        let garbage = machine("soon\n");
        assert_eq!(Rtc::below(garbage.path()).look().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn it_is_read_and_compared_to_the_second() {
        let system = ClockPair::now().system.as_nanos() / 1_000_000_000;
        let root = machine(&format!("{}\n", system - 17 * 3_600));
        let found = reading(Rtc::below(root.path()).look().unwrap(), Span::ZERO);
        assert!((found.offset - Span::from_secs(17 * 3_600)).abs() < Span::from_secs(5), "{found:?}");
    }

    #[test]
    fn adjtime_is_read_where_it_can_be() {
        let root = machine("0");
        let rtc = Rtc::below(root.path());
        assert_eq!(rtc.adjtime(), Adjtime::default());
        fs::write(root.path().join("etc/adjtime"), "0.000000 1700000000 0.000000\n1700000000\nLOCAL\n")
            .unwrap();
        let found = Adjtime { timescale: Some("LOCAL".into()), last_set: Some(1_700_000_000) };
        assert_eq!(rtc.adjtime(), found);
        fs::write(root.path().join("etc/adjtime"), "\u{0}garbage").unwrap();
        assert_eq!(rtc.adjtime(), Adjtime::default());
    }

    #[test]
    fn looks_are_remembered_in_order_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..KEPT as i64 + 10 {
            let newest = RtcReading { utc_secs: i, offset: Span::from_nanos(i) };
            remember(dir.path(), &remembered(dir.path()), newest).unwrap();
        }
        let all = remembered(dir.path());
        assert_eq!((all.len(), all[0].utc_secs), (KEPT, 10));
        fs::write(dir.path().join(FILE), "{}\nnonsense\n").unwrap();
        assert_eq!(remembered(dir.path()), []);
    }
}
