//! The table that an observer writes, a row a sample: the columns of the original system's third experiment, in its
//! order, so that its scripts read ours.
//!
//! Times are seconds since 1970 with nine digits, drifts s/s, offsets true − system. What is not known is empty. On a row
//! with `has_ntp` the times walked from an anchor still start from the *previous* query, so that they can be judged by
//! this one; `time_since_ntp_s` is the time since the query that they start from.

use super::fixes::{Answer, Fixes};
use super::panel::Panel;
use crate::utc::rfc3339;
use chronotick_clock::{Rate, Span, Timestamp};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Which columns are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Columns {
    /// All.
    #[default]
    Full,
    /// Those that show the two main fixes, without the observer's own queries.
    Minimal,
}

const FULL: [&str; 33] = [
    "sample_number",
    "elapsed_seconds",
    "datetime",
    "system_time",
    "chronotick_time_fix1",
    "chronotick_time_fix2",
    "chronotick_time_fix3",
    "chronotick_time_fix4",
    "chronotick_time_fix5",
    "chronotick_time_fix6",
    "chronotick_time_fix7",
    "chronotick_time_fix11",
    "chronotick_offset_ms",
    "chronotick_drift_rate",
    "chronotick_drift_uncertainty",
    "chronotick_drift_source",
    "chronotick_prediction_time",
    "chronotick_uncertainty_ms",
    "chronotick_raw_uncertainty_ms",
    "chronotick_calibration_multiplier",
    "chronotick_confidence",
    "chronotick_source",
    "time_since_ntp_s",
    "system_clock_drift_rate",
    "ntp_time",
    "ntp_offset_ms",
    "ntp_uncertainty_ms",
    "ntp_mad_ms",
    "ntp_n_combined",
    "ntp_n_total",
    "ntp_n_rejected",
    "ntp_rejected_servers",
    "has_ntp",
];

const MINIMAL: [&str; 10] = [
    "sample_number",
    "elapsed_seconds",
    "datetime",
    "system_time",
    "chronotick_time_fix1",
    "chronotick_time_fix2",
    "chronotick_offset_ms",
    "chronotick_drift_rate",
    "chronotick_prediction_time",
    "time_since_ntp_s",
];

impl Columns {
    /// How the columns of a file differ from these, and what to do.
    fn unlike(self, names: &[&str]) -> String {
        use clap::ValueEnum;
        let same = Columns::value_variants().iter().find(|other| other.names() == names);
        if let Some(set) = same.and_then(Columns::to_possible_value) {
            return format!("it was begun with --columns {}, and is gone on with by that", set.get_name());
        }
        let few = |all: Vec<&str>| match all.len() {
            0 => "none".to_owned(),
            n @ 4.. => format!("{} and {} more", all[..3].join(", "), n - 3),
            _ => all.join(", "),
        };
        let lacking = self.names().iter().filter(|name| !names.contains(name)).copied().collect();
        let strange = names.iter().filter(|name| !self.names().contains(name)).copied().collect();
        let (lacking, strange) = (few(lacking), crate::watch::clean(&few(strange)));
        format!("it is without {lacking} and with {strange}; name another file with --out")
    }

    /// Their names, in order.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Columns::Full => &FULL,
            Columns::Minimal => &MINIMAL,
        }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// From 1.
    pub number: u64,
    /// Since the first sample.
    pub elapsed: Span,
    /// The system clock.
    pub system: Timestamp,
    /// What was answered; absent while nothing is known.
    pub answer: Option<Told>,
    /// Since the query that the anchored times start from.
    pub since_ntp: Option<Span>,
    /// What true time gained on the system clock over the observer's last queries.
    pub system_drift: Option<Rate>,
    /// A query of the observer's own servers, if one has just ended: true time then, and what they say together.
    pub ntp: Option<(Timestamp, Panel)>,
}

/// An answer of the clock, as it goes into the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The answer.
    pub answer: Answer,
    /// What follows from it.
    pub fixes: Fixes,
    /// Standard deviation when it was made.
    pub made_sigma: Span,
    /// The factor by which calibration widens a standard normal distribution at 95 %.
    pub multiplier: f64,
    /// Probability that it is within 10 ms.
    pub confidence: f64,
    /// What it is made of.
    pub source: String,
}

/// Nanoseconds as a number with a decimal point, shifted by `digits`.
fn decimal(nanos: i64, digits: u32) -> String {
    let unit = 10u64.pow(digits);
    let (sign, size) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    format!("{sign}{}.{:0width$}", size / unit, size % unit, width = digits as usize)
}

fn seconds(time: Timestamp) -> String {
    decimal(time.as_nanos(), 9)
}

fn millis(span: Span) -> String {
    decimal(span.as_nanos(), 6)
}

fn rate(rate: Rate) -> String {
    format!("{:e}", rate.as_f64())
}

impl Row {
    /// The cell of a column; empty if it is not known.
    fn cell(&self, column: &str) -> String {
        match column {
            "sample_number" => self.number.to_string(),
            "elapsed_seconds" => decimal(self.elapsed.as_nanos(), 9),
            "datetime" => rfc3339(self.system),
            "system_time" => seconds(self.system),
            "time_since_ntp_s" => self.since_ntp.map(|s| decimal(s.as_nanos(), 9)).unwrap_or_default(),
            "system_clock_drift_rate" => self.system_drift.map(rate).unwrap_or_default(),
            "has_ntp" => if self.ntp.is_some() { "True" } else { "False" }.into(),
            ntp if ntp.starts_with("ntp_") => {
                self.ntp.as_ref().map(|(utc, panel)| of_panel(ntp, *utc, panel)).unwrap_or_default()
            }
            told => self.answer.as_ref().map(|t| t.cell(told)).unwrap_or_default(),
        }
    }
}

impl Told {
    fn cell(&self, column: &str) -> String {
        let Fixes { fix1, fix2, fix3, fix4, fix5, fix6, fix7, fix11 } = self.fixes;
        let known = |time: Option<Timestamp>| time.map(seconds).unwrap_or_default();
        match column {
            "chronotick_time_fix1" => seconds(fix1),
            "chronotick_time_fix2" => known(fix2),
            "chronotick_time_fix3" => seconds(fix3),
            "chronotick_time_fix4" => seconds(fix4),
            "chronotick_time_fix5" => seconds(fix5),
            "chronotick_time_fix6" => known(fix6),
            "chronotick_time_fix7" => known(fix7),
            "chronotick_time_fix11" => known(fix11),
            "chronotick_offset_ms" => millis(self.answer.offset),
            "chronotick_drift_rate" => rate(self.answer.drift),
            "chronotick_drift_uncertainty" => rate(self.answer.drift_sigma),
            "chronotick_drift_source" | "chronotick_source" => self.source.clone(),
            "chronotick_prediction_time" => seconds(self.answer.system - self.answer.age),
            "chronotick_uncertainty_ms" => millis(self.answer.sigma),
            "chronotick_raw_uncertainty_ms" => millis(self.made_sigma),
            "chronotick_calibration_multiplier" => format!("{:.3}", self.multiplier),
            "chronotick_confidence" => format!("{:.4}", self.confidence),
            other => unreachable!("{other} is no column"),
        }
    }
}

fn of_panel(column: &str, utc: Timestamp, panel: &Panel) -> String {
    match column {
        "ntp_time" => seconds(utc),
        "ntp_offset_ms" => millis(panel.offset),
        "ntp_uncertainty_ms" => millis(panel.uncertainty),
        "ntp_mad_ms" => millis(panel.mad),
        "ntp_n_combined" => panel.combined.to_string(),
        "ntp_n_total" => panel.total.to_string(),
        "ntp_n_rejected" => panel.rejected.len().to_string(),
        "ntp_rejected_servers" => {
            let each: Vec<String> = panel.rejected.iter().map(|(who, why)| format!("{who}: {why}")).collect();
            each.join("; ")
        }
        other => unreachable!("{other} is no column"),
    }
}

/// Why a table cannot be written on.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The operating system says no.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// There is a table already.
    #[error("{} is there already: add --resume to go on with it if it is such a table, or name another file with --out", .0.display())]
    Exists(PathBuf),
    /// It has other columns.
    #[error("{} does not have the columns that are to be written: {differ}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Which differ, and what to do.
        differ: String,
    },
    /// There is nothing in it to go on from.
    #[error("{} has no line to go on from: its last one cannot be read", .0.display())]
    Spoilt(PathBuf),
}

/// Where an earlier run of the observer ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Earlier {
    /// Its last sample's number.
    pub number: u64,
    /// When that was, since the first one.
    pub elapsed: Span,
    /// The system clock then.
    pub system: Timestamp,
}

/// A table that is being written. Every row is in the file when [`write`](Table::write) returns.
pub struct Table {
    path: PathBuf,
    columns: Columns,
    out: csv::Writer<File>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Table {
    /// A new table.
    ///
    /// # Errors
    /// If there is such a file already, or it cannot be written.
    pub fn create(path: &Path, columns: Columns) -> Result<Table, TableError> {
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => TableError::Exists(path.into()),
                _ => TableError::Io { path: path.into(), cause: e },
            })?;
        Table::begin(path, columns, file)
    }

    fn begin(path: &Path, columns: Columns, file: File) -> Result<Table, TableError> {
        let mut table = Table { path: path.into(), columns, out: writer(file) };
        table.record(columns.names().iter().map(|name| (*name).to_owned()))?;
        Ok(table)
    }

    /// A table that an earlier run began; a last line that was cut short is taken away. A file that is not there, or
    /// has nothing in it but its names or not even these, is begun.
    ///
    /// # Errors
    /// If it has other columns, or cannot be read and written.
    pub fn resume(path: &Path, columns: Columns) -> Result<(Table, Option<Earlier>), TableError> {
        let failed = |cause| TableError::Io { path: path.into(), cause };
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok((Table::create(path, columns)?, None));
            }
            Err(e) => return Err(failed(e)),
        };
        let (whole, last) = last_line(&mut file).map_err(failed)?;
        let mut first = String::new();
        file.rewind().map_err(failed)?;
        BufReader::new(&file).read_line(&mut first).map_err(failed)?;
        if first.is_empty() && whole == 0 && file.metadata().map_err(failed)?.len() == 0 {
            return Ok((Table::begin(path, columns, file)?, None));
        }
        let names: Vec<&str> = first.trim_end().split(',').collect();
        if names != columns.names() {
            return Err(TableError::Other { path: path.into(), differ: columns.unlike(&names) });
        }
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let earlier = if last == first {
            None
        } else {
            Some(Earlier::of(&last).ok_or_else(|| TableError::Spoilt(path.into()))?)
        };
        Ok((Table { path: path.into(), columns, out: writer(file) }, earlier))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, row: &Row) -> Result<(), TableError> {
        let cells: Vec<String> = self.columns.names().iter().map(|name| row.cell(name)).collect();
        self.record(cells.into_iter())
    }

    fn record(&mut self, cells: impl Iterator<Item = String>) -> Result<(), TableError> {
        let written = self.out.write_record(cells.collect::<Vec<_>>()).map_err(io::Error::from);
        let flushed = written.and_then(|()| self.out.flush());
        flushed.map_err(|cause| TableError::Io { path: self.path.clone(), cause })
    }
}

fn writer(file: File) -> csv::Writer<File> {
    csv::Writer::from_writer(file)
}

/// The length of the file without a line that was cut short, and the last whole line.
fn last_line(file: &mut File) -> io::Result<(u64, String)> {
    const LONGEST: u64 = 64 * 1024;
    let len = file.seek(SeekFrom::End(0))?;
    let from = len.saturating_sub(LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(LONGEST).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let begin = tail[..end.saturating_sub(1)].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    Ok((from + end as u64, String::from_utf8_lossy(&tail[begin..end]).into_owned()))
}

impl Earlier {
    /// The first columns are the same in every set.
    fn of(line: &str) -> Option<Earlier> {
        let mut cells = line.split(',');
        let number = cells.next()?.parse().ok()?;
        let elapsed = nanos(cells.next()?)?;
        let system = nanos(cells.nth(1)?)?;
        Some(Earlier { number, elapsed: Span::from_nanos(elapsed), system: Timestamp::from_nanos(system) })
    }
}

/// A number of seconds as nanoseconds, without a rounding of its own; `None` if it is none.
pub(super) fn nanos(text: &str) -> Option<i64> {
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let is_number = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (negative, digits) = whole.strip_prefix('-').map_or((false, whole), |rest| (true, rest));
    if digits.is_empty() || !is_number(digits) || !is_number(part) {
        return None;
    }
    let fraction: i64 = format!("{part:0<9.9}").parse().ok()?;
    let size = digits.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some(if negative { -size } else { size })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::fixes::Anchor;
    use super::*;

    pub(in super::super) fn row(number: u64) -> Row {
        let system = Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(number as i64);
        let answer = Answer {
            system,
            offset: Span::from_micros(-2_500),
            drift: Rate::from_ppm(3.0),
            drift_sigma: Rate::from_ppm(0.1),
            age: Span::from_millis(400),
            sigma: Span::from_micros(90),
        };
        let anchor =
            Anchor { utc: system - Span::from_secs(30), offset: answer.offset, elapsed: Span::from_secs(30) };
        let told = Told {
            answer,
            fixes: Fixes::of(&answer, Some(&anchor)),
            made_sigma: Span::from_micros(80),
            multiplier: 1.96,
            confidence: 1.0,
            source: "bank".into(),
        };
        let panel = Panel {
            offset: Span::from_micros(-2_400),
            uncertainty: Span::from_micros(850),
            mad: Span::from_micros(230),
            combined: 4,
            total: 5,
            rejected: vec![("one, of five".into(), "no \"answer\"".into())],
        };
        Row {
            number,
            elapsed: Span::from_secs(number as i64 - 1),
            system,
            answer: Some(told),
            since_ntp: Some(anchor.elapsed),
            system_drift: None,
            ntp: number.is_multiple_of(2).then_some((system, panel)),
        }
    }

    #[test]
    fn the_columns_are_the_originals_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut table = Table::create(&path, Columns::Full).unwrap();
        table.write(&row(1)).unwrap();
        table.write(&row(2)).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(header, FULL);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let cell =
            |row: usize, name: &str| rows[row][FULL.iter().position(|c| *c == name).unwrap()].to_owned();
        assert_eq!(cell(0, "system_time"), "1700000001.000000000");
        assert_eq!(cell(0, "chronotick_time_fix3"), "1700000000.997500000");
        assert_eq!(cell(0, "chronotick_prediction_time"), "1700000000.600000000");
        assert_eq!(cell(0, "chronotick_offset_ms"), "-2.500000");
        assert_eq!(cell(0, "chronotick_drift_rate").parse::<f64>().unwrap(), Rate::from_ppm(3.0).as_f64());
        assert_eq!((cell(0, "has_ntp"), cell(1, "has_ntp")), ("False".into(), "True".into()));
        assert_eq!((cell(0, "ntp_offset_ms"), cell(1, "ntp_offset_ms")), (String::new(), "-2.400000".into()));
        assert_eq!(cell(1, "ntp_rejected_servers"), "one, of five: no \"answer\"");
        assert!(matches!(Table::create(&path, Columns::Full), Err(TableError::Exists(_))));
    }

    #[test]
    fn an_interrupted_table_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let (mut table, none) = Table::resume(&path, Columns::Minimal).unwrap();
        assert_eq!(none, None);
        table.write(&row(1)).unwrap();
        table.write(&row(2)).unwrap();
        drop(table);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}3,2.0,20")).unwrap();
        assert!(
            matches!(Table::resume(&path, Columns::Full), Err(TableError::Other { differ, .. }) if differ.contains("--columns minimal"))
        );
        let (_, earlier) = Table::resume(&path, Columns::Minimal).unwrap();
        let earlier = earlier.unwrap();
        assert_eq!((earlier.number, earlier.elapsed, earlier.system), (2, Span::from_secs(1), row(2).system));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn an_empty_file_is_begun_and_a_strangers_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, foreign) = (dir.path().join("empty.csv"), dir.path().join("foreign.csv"));
        std::fs::write(&empty, "").unwrap();
        assert_eq!(Table::resume(&empty, Columns::Minimal).unwrap().1, None);
        assert!(std::fs::read_to_string(&empty).unwrap().starts_with("sample_number,"));
        std::fs::write(&foreign, "sample_number,weight\n1,2\n").unwrap();
        let said = Table::resume(&foreign, Columns::Minimal).unwrap_err().to_string();
        assert!(said.contains("without elapsed_seconds, ") && said.contains("with weight"), "{said}");
        assert!(said.ends_with("name another file with --out"), "{said}");
        assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "sample_number,weight\n1,2\n");
    }

    #[test]
    fn numbers_lose_nothing() {
        for (text, value) in [("1.5", 1_500_000_000), ("-0.000000001", -1), ("7", 7_000_000_000)] {
            assert_eq!(nanos(text), Some(value), "{text}");
        }
        for text in ["", "-", "1.2.3", "nan", "1e9", "99999999999999"] {
            assert_eq!(nanos(text), None, "{text}");
        }
        assert_eq!(decimal(-1, 9), "-0.000000001");
    }
}
