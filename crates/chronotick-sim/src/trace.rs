//! Recorded exchanges with the true time known: what a client measured and, on a grid, what it should have answered.
//!
//! A trace is a pair of files, `NAME.packets.csv` and `NAME.truth.csv` (or both with `.gz`): the answers in the order
//! in which they came in, and the true correction of the raw clock every so many seconds. Times are decimal seconds
//! since the start of the trace and are read exactly, to the nanosecond.

use chronotick_core::{Leap, Measurement, RawInstant, SourceId, Span, Stamps, Timestamp};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Second zero of every trace, in UTC.
pub const EPOCH: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

/// What a client measured, and the truth.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The files' common name.
    pub name: String,
    /// The answers in the order of `received`.
    pub measurements: Vec<Measurement>,
    /// True corrections in the order of the raw clock.
    pub truth: Vec<Truth>,
}

/// The truth at one raw instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// The raw instant.
    pub raw: RawInstant,
    /// True time then.
    pub utc: Timestamp,
    /// What chronyd made of the same packets.
    pub chrony: Option<Rival>,
}

/// The answer of another clock at the same instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rival {
    /// Its estimate of true time.
    pub utc: Timestamp,
    /// The standard deviation it states.
    pub sigma: Span,
    /// Half the width of the bound that it guarantees.
    pub bound: Span,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// A file is missing or unreadable.
    #[error("trace file {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A line does not have the expected fields.
    #[error("trace file {file}, line {line}: {what}; expected the columns {columns}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What is wrong with it.
        what: String,
        /// The columns that it should have.
        columns: &'static str,
    },
}

const PACKETS: &str = "t1,t2,t3,t4,server,stratum,root_delay,root_dispersion";
const TRUTH: &str = "raw,correction[,chrony,chrony_sd,chrony_bound]";

impl Trace {
    /// Reads `NAME.packets.csv[.gz]` and `NAME.truth.csv[.gz]` in a folder.
    ///
    /// # Errors
    /// If either is missing or empty, or has a line that cannot be read.
    pub fn load(folder: &Path, name: &str) -> Result<Trace, TraceError> {
        let file = |kind: &str| {
            let plain = folder.join(format!("{name}.{kind}.csv"));
            if plain.exists() { plain } else { plain.with_extension("csv.gz") }
        };
        let (measurements, truth) = (packets(&file("packets"))?, truths(&file("truth"))?);
        Ok(Trace { name: name.into(), measurements, truth })
    }

    /// Reads a trace by the path of its packets file, or by that without `.packets.csv[.gz]`. The truth is read too if
    /// it lies beside the packets; without it there is nothing to score against, and `truth` is empty.
    ///
    /// # Errors
    /// If the packets are missing, either file is empty, or a line of one cannot be read.
    pub fn open(path: &Path) -> Result<Trace, TraceError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let csv = file.trim_end_matches(".gz");
        let name = csv.strip_suffix(".packets.csv").unwrap_or(csv.trim_end_matches(".csv"));
        let has_truth =
            ["csv", "csv.gz"].iter().any(|end| folder.join(format!("{name}.truth.{end}")).exists());
        match (has_truth, path.is_file()) {
            (true, _) => Trace::load(folder, name),
            (false, true) => Ok(Trace { name: name.into(), measurements: packets(path)?, truth: Vec::new() }),
            (false, false) => {
                let plain = folder.join(format!("{name}.packets.csv"));
                let file = if plain.exists() { plain } else { plain.with_extension("csv.gz") };
                Ok(Trace { name: name.into(), measurements: packets(&file)?, truth: Vec::new() })
            }
        }
    }

    /// The names of all traces in a folder, sorted.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn names(folder: &Path) -> Result<Vec<String>, TraceError> {
        let listed = std::fs::read_dir(folder).map_err(|e| TraceError::Io(folder.into(), e))?;
        let mut names: Vec<String> = listed
            .filter_map(|entry| {
                let file = entry.ok()?.file_name().into_string().ok()?;
                Some(file.trim_end_matches(".gz").strip_suffix(".packets.csv")?.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// The measurement that four timestamps make (RFC 5905 §8): T1 and T4 on the raw clock, T2 and T3 the server's, all
/// since the start of the trace.
pub fn exchange(
    [t1, t2, t3, t4]: [Span; 4],
    source: SourceId,
    stratum: u8,
    root_delay: Span,
    root_dispersion: Span,
) -> Measurement {
    let middle = |a: Span, b: Span| Span::from_nanos(a.as_nanos().midpoint(b.as_nanos()));
    Measurement {
        source,
        at: instant(middle(t1, t4)),
        received: instant(t4),
        utc: EPOCH + middle(t2, t3),
        delay: (t4 - t1) - (t3 - t2),
        root_delay,
        root_dispersion,
        stratum,
        leap: Leap::None,
        stamps: Stamps::Kernel,
    }
}

fn instant(since_start: Span) -> RawInstant {
    RawInstant::from_nanos(since_start.as_nanos())
}

/// The exchanges of a packets file, in the order in which they came in.
fn packets(file: &Path) -> Result<Vec<Measurement>, TraceError> {
    let mut all = rows(file, PACKETS, |f| {
        let server = f.get(4).and_then(|s| s.parse().ok()).ok_or("server is not a number")?;
        let stratum = f.get(5).and_then(|s| s.parse().ok()).ok_or("stratum is not a number")?;
        let [t1, t2, t3, t4] = [span(f, 0)?, span(f, 1)?, span(f, 2)?, span(f, 3)?];
        let (root_delay, root_dispersion) = (span(f, 6)?, span(f, 7)?);
        Ok(exchange([t1, t2, t3, t4], SourceId(server), stratum, root_delay, root_dispersion))
    })?;
    all.sort_by_key(|m| m.received);
    Ok(all)
}

fn truths(file: &Path) -> Result<Vec<Truth>, TraceError> {
    rows(file, TRUTH, |f| {
        let raw = span(f, 0)?;
        let chrony = match f.get(2) {
            None | Some(&"") | Some(&"nan") => None,
            Some(_) => Some(Rival { utc: EPOCH + raw + span(f, 2)?, sigma: span(f, 3)?, bound: span(f, 4)? }),
        };
        Ok(Truth { raw: instant(raw), utc: EPOCH + raw + span(f, 1)?, chrony })
    })
}

/// The lines of a CSV file after its header, packed with gzip or not.
fn rows<T>(
    file: &Path,
    columns: &'static str,
    row: impl Fn(&[&str]) -> Result<T, String>,
) -> Result<Vec<T>, TraceError> {
    let io = |e| TraceError::Io(file.to_path_buf(), e);
    let opened = File::open(file).map_err(io)?;
    let reader: Box<dyn Read> = match file.extension() {
        Some(end) if end == "gz" => Box::new(flate2::read::GzDecoder::new(opened)),
        _ => Box::new(opened),
    };
    let mut all = Vec::new();
    for (i, line) in BufReader::new(reader).lines().enumerate().skip(1) {
        let line = line.map_err(io)?;
        let fields: Vec<&str> = line.trim().split(',').collect();
        let malformed = |what| TraceError::Malformed { file: file.to_path_buf(), line: i + 1, what, columns };
        all.push(row(&fields).map_err(malformed)?);
    }
    if all.is_empty() {
        let what = "there is nothing after the header".into();
        return Err(TraceError::Malformed { file: file.to_path_buf(), line: 1, what, columns });
    }
    Ok(all)
}

/// A field of decimal seconds as exact nanoseconds.
fn span(fields: &[&str], index: usize) -> Result<Span, String> {
    let text = fields.get(index).ok_or_else(|| format!("field {} is missing", index + 1))?;
    let (digits, negative) = text.strip_prefix('-').map_or((*text, false), |rest| (rest, true));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |s: &str| s.parse::<i64>().map_err(|_| format!("{text:?} is not a number of seconds"));
    let nanos = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<9.9}"))? };
    let total = number(whole)?.checked_mul(1_000_000_000).and_then(|n| n.checked_add(nanos));
    let total = total.ok_or_else(|| format!("{text:?} is out of range"))?;
    Ok(Span::from_nanos(if negative { -total } else { total }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_to_the_nanosecond() {
        let read = |text| span(&[text], 0);
        assert_eq!(read("-0.014676917"), Ok(Span::from_nanos(-14_676_917)));
        assert_eq!(read("36000.5"), Ok(Span::from_nanos(36_000_500_000_000)));
        assert_eq!(read("10"), Ok(Span::from_secs(10)));
        assert!(read("soon").is_err() && read("99999999999").is_err());
    }

    #[test]
    fn an_exchange_measures_half_the_difference_of_its_two_ways() {
        let ms = Span::from_millis;
        let m = exchange([ms(0), ms(107), ms(108), ms(20)], SourceId(0), 1, Span::ZERO, Span::ZERO);
        assert_eq!(m.delay, ms(19));
        assert_eq!((m.utc - EPOCH) - Span::from_nanos(m.at.as_nanos()), Span::from_micros(97_500));
    }
}
