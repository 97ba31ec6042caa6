//! What observers wrote down, judged by the queries of their own servers: tables of [`table`](super::table), and those of
//! the original system's experiments.
//!
//! The reference is a few packets, and wanders itself: on the original's recordings by one to five milliseconds. A
//! difference that is smaller than its bootstrap interval is none.

use super::table::nanos;
use crate::watch::clean;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// One way of making a time, in one file.
#[derive(Clone, Debug)]
pub struct Series {
    /// The file's name without its end.
    pub file: String,
    /// `system clock`, `fix1` …, or `answer` where there is one way only.
    pub way: String,
    /// At the queries: hours since the first sample, and error in ms, estimate − reference.
    pub errors: Vec<(f64, f64)>,
    /// Which of the file's samples each of these errors is of.
    pub samples: Vec<usize>,
    /// At every sample between two queries, by the line through these: seconds since the query that was known then, and
    /// the same error.
    pub between: Vec<(f64, f64)>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its ways of making a time; the system clock is the first.
    pub series: Vec<Series>,
    /// The answered drift over time: hours, µs/s.
    pub drift: Vec<(f64, f64)>,
}

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It has not what is needed.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is missing, and what to do.
        what: String,
    },
}

const TIME: &[&str] = &["system_time", "timestamp"];
const REFERENCE: &[&str] = &["ntp_offset_ms", "ntp_ground_truth_offset_ms"];
const ANSWER: &[&str] = &["chronotick_offset_ms", "client_offset_ms"];
const SOURCE: &[&str] = &["chronotick_source", "client_source"];
const FIX: &str = "chronotick_time_";
/// Fewer judged samples say nothing of a 95th percentile.
const FEWEST: usize = 3;

/// What a line of a file says; amounts in ms.
struct Line {
    hours: f64,
    reference: Option<f64>,
    /// Of each way, what it adds to the system clock.
    added: Vec<Option<f64>>,
    drift: Option<f64>,
}

impl Run {
    /// Reads several files. Those of one name are told apart by their folders.
    ///
    /// # Errors
    /// As of [`open`](Run::open).
    pub fn open_all(paths: &[PathBuf]) -> Result<Vec<Run>, CompareError> {
        let tail = |path: &Path, parts: usize| {
            let path = path.with_extension("");
            let all: Vec<_> =
                path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            all[all.len().saturating_sub(parts)..].join("/")
        };
        let longest = paths.iter().map(|path| path.components().count()).max().unwrap_or(1);
        let label = |path: &PathBuf| {
            let own =
                |parts: &usize| paths.iter().all(|p| p == path || tail(p, *parts) != tail(path, *parts));
            tail(path, (1..longest).find(own).unwrap_or(longest))
        };
        let open = |path: &PathBuf| {
            let mut run = Run::open(path)?;
            run.series.iter_mut().for_each(|series| series.file = clean(&label(path)));
            Ok(run)
        };
        paths.iter().map(open).collect()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it is missing, is no such table, or has no query to judge by.
    pub fn open(path: &Path) -> Result<Run, CompareError> {
        let malformed = |what: &str| CompareError::Malformed { path: path.into(), what: what.into() };
        let unreadable = |e: csv::Error| {
            let said = e.to_string();
            match e.into_kind() {
                csv::ErrorKind::Io(cause) => CompareError::Io { path: path.into(), cause },
                csv::ErrorKind::Utf8 { .. } => {
                    malformed("it is not text in UTF-8, so it is no table of an observer")
                }
                _ => malformed(&said),
            }
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).map_err(unreadable)?;
        let header = reader.headers().map_err(unreadable)?.clone();
        let column = |names: &[&str]| header.iter().position(|name| names.contains(&name.trim()));
        let time = column(TIME).ok_or_else(|| malformed("it has no column system_time or timestamp"))?;
        let reference = column(REFERENCE).ok_or_else(|| {
            malformed("it has no column ntp_offset_ms to judge by; observe with --columns full")
        })?;
        let (ways, cells) = ways(&header);
        if ways.is_empty() {
            return Err(malformed(
                "it has no answers: neither chronotick_time_fix1 nor chronotick_offset_ms",
            ));
        }
        let (source, elapsed) = (column(SOURCE), column(&["elapsed_seconds"]));
        let drift = column(&["chronotick_drift_rate"]).map(|i| (i, 1e6));
        let drift = drift.or(column(&["client_drift_us_per_s"]).map(|i| (i, 1.0)));
        let mut lines: Vec<Line> = Vec::new();
        let mut first = None;
        for record in reader.records() {
            let record = record.map_err(unreadable)?;
            let Some(system) = record.get(time).and_then(instant) else { continue };
            let begun = *first.get_or_insert(system);
            let since = elapsed.and_then(|i| number(record.get(i)?)).unwrap_or(span(begun, system) / 1e9);
            let failed = source.and_then(|i| record.get(i)).is_some_and(|s| s == "error");
            let added = cells.iter().map(|cell| cell.of(&record, system).filter(|_| !failed)).collect();
            let drift = drift.and_then(|(i, unit)| Some(number(record.get(i)?)? * unit));
            let reference = record.get(reference).and_then(number);
            lines.push(Line { hours: since / 3600.0, reference, added, drift });
        }
        if lines.iter().filter(|l| l.reference.is_some()).count() < FEWEST {
            return Err(malformed("it has fewer than three queries of time servers to judge by"));
        }
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let drift = lines.iter().filter_map(|l| Some((l.hours, l.drift?))).collect();
        Ok(Run { series: series(&file, &ways, &lines), drift })
    }
}

/// How a way's addition to the system clock is found in a line.
enum Cell {
    System,
    Millis(usize),
    Time(usize),
}

impl Cell {
    fn of(&self, record: &csv::StringRecord, system: i64) -> Option<f64> {
        match self {
            Cell::System => Some(0.0),
            Cell::Millis(i) => number(record.get(*i)?),
            Cell::Time(i) => Some(span(system, instant(record.get(*i)?)?) / 1e6),
        }
    }
}

/// The ways that a file has, and where they are; none if there is nothing but the system clock.
fn ways(header: &csv::StringRecord) -> (Vec<String>, Vec<Cell>) {
    let (mut names, mut cells) = (vec!["system clock".to_owned()], vec![Cell::System]);
    for (i, name) in header.iter().enumerate() {
        if let Some(fix) = name.trim().strip_prefix(FIX) {
            names.push(clean(fix));
            cells.push(Cell::Time(i));
        }
    }
    if names.len() == 1
        && let Some(i) = header.iter().position(|name| ANSWER.contains(&name.trim()))
    {
        names.push("answer".into());
        cells.push(Cell::Millis(i));
    }
    if names.len() == 1 { (Vec::new(), Vec::new()) } else { (names, cells) }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|x: &f64| x.is_finite())
}

/// ns since 1970 of a number of seconds; exactly, if it has no exponent.
fn instant(text: &str) -> Option<i64> {
    nanos(text).or_else(|| number(text).map(|s| (s * 1e9) as i64))
}

/// ns from one instant to another, which may be all of 584 years.
fn span(from: i64, to: i64) -> f64 {
    (i128::from(to) - i128::from(from)) as f64
}

fn series(file: &str, ways: &[String], lines: &[Line]) -> Vec<Series> {
    let queries: Vec<(f64, f64)> = lines.iter().filter_map(|l| Some((l.hours, l.reference?))).collect();
    let usual = usual_gap(&queries);
    let of = |(i, way): (usize, &String)| {
        let judged = |(n, l): (usize, &Line)| Some(((l.hours, l.added[i]? - l.reference?), n));
        let (errors, samples) = lines.iter().enumerate().filter_map(judged).unzip();
        let between = lines.iter().filter_map(|l| {
            // A query on this very line is not known yet to what is judged by it.
            let next = queries.partition_point(|(h, _)| *h < l.hours);
            let (before, after) = (queries[next.checked_sub(1)?], queries.get(next)?);
            let gap = after.0 - before.0;
            let share = (l.hours - before.0) / gap;
            let reference = before.1 + share * (after.1 - before.1);
            (gap <= 3.0 * usual).then_some(((l.hours - before.0) * 3600.0, l.added[i]? - reference))
        });
        let between = between.collect();
        Series { file: clean(file), way: way.clone(), errors, samples, between }
    };
    ways.iter().enumerate().map(of).filter(|s| s.errors.len() >= FEWEST).collect()
}

fn usual_gap(queries: &[(f64, f64)]) -> f64 {
    let mut gaps: Vec<f64> = queries.windows(2).map(|w| w[1].0 - w[0].0).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(f64::MAX)
}

/// How far off a way was, in ms, at the queries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Of which file.
    pub file: String,
    /// Which way.
    pub way: String,
    /// How many samples were judged.
    pub count: usize,
    /// Mean of the absolute errors.
    pub mean_absolute_ms: f64,
    /// Mean of the errors.
    pub mean_ms: f64,
    /// Standard deviation of the errors.
    pub sd_ms: f64,
    /// 95 % of the absolute errors are no larger.
    pub p95_ms: f64,
    /// 99 % of the absolute errors are no larger.
    pub p99_ms: f64,
    /// The largest absolute error.
    pub max_ms: f64,
    /// By how much its mean absolute error is smaller than the system clock's at the same samples of the same file.
    pub over_system: Option<Improvement>,
    /// By how much it is smaller than that of the first file's first way beside the system clock.
    pub over_first: Option<Improvement>,
    /// Mean absolute error by the time since the newest query, from the line through the queries.
    pub by_age: Vec<Aged>,
}

/// By how much a mean absolute error is smaller, in percent, with a 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Improvement {
    /// Percent.
    pub percent: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// The error at a time since the newest query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Aged {
    /// From so many seconds.
    pub from_s: f64,
    /// To so many.
    pub to_s: f64,
    /// Mean absolute error, ms.
    pub mean_absolute_ms: f64,
    /// How many samples.
    pub count: usize,
}

const RESAMPLES: usize = 1000;
/// The same files give the same intervals.
const SEED: u64 = 0xC0_FFEE;
/// Fewer queries have been drawn from too often for an interval that says anything.
const ENOUGH: usize = 10;
/// Steps of the time since the newest query.
const AGES: usize = 6;

/// Judges every way of every file.
pub fn scores(runs: &[Run]) -> Vec<Score> {
    let first = runs.first().and_then(|run| run.series.get(1).or(run.series.first()));
    let longest =
        runs.iter().flat_map(|r| &r.series).flat_map(|s| &s.between).map(|b| b.0).fold(0.0, f64::max);
    let of = |index: usize, s: &Series| {
        // Names tell nothing here: a file may be given twice, and a foreign one may name its ways as it likes.
        let over = |other: Option<&Series>, same_file: bool| {
            improvement(s, other.filter(|other| !std::ptr::eq(*other, s))?, same_file)
        };
        let system = runs[index].series.first();
        Score { over_system: over(system, true), over_first: over(first, index == 0), ..score(s, longest) }
    };
    runs.iter().enumerate().flat_map(|(i, run)| run.series.iter().map(move |s| of(i, s))).collect()
}

fn score(s: &Series, longest: f64) -> Score {
    let errors: Vec<f64> = s.errors.iter().map(|(_, e)| *e).collect();
    let n = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let mut sizes: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let quantile = |p: f64| sizes[((p * n).ceil() as usize).clamp(1, sizes.len()) - 1];
    let step = (longest / AGES as f64).max(f64::MIN_POSITIVE);
    let by_age = (0..AGES).filter_map(|i| {
        let (from_s, to_s) = (i as f64 * step, (i + 1) as f64 * step);
        let within = || s.between.iter().filter(|(age, _)| from_s < *age && *age <= to_s);
        let count = within().count();
        let mean_absolute_ms = within().map(|(_, e)| e.abs()).sum::<f64>() / count as f64;
        (count > 0).then_some(Aged { from_s, to_s, mean_absolute_ms, count })
    });
    Score {
        file: s.file.clone(),
        way: s.way.clone(),
        count: errors.len(),
        mean_absolute_ms: sizes.iter().sum::<f64>() / n,
        mean_ms: mean,
        sd_ms: (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt(),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        max_ms: sizes[sizes.len() - 1],
        over_system: None,
        over_first: None,
        by_age: by_age.collect(),
    }
}

/// By how much `better` is better than `worse`; of one file, at the samples that both have. Neighbouring errors resemble
/// each other, so that whole blocks are drawn; errors of the same samples are drawn together.
fn improvement(better: &Series, worse: &Series, same_file: bool) -> Option<Improvement> {
    let sizes = |s: &Series| s.errors.iter().map(|(_, e)| e.abs()).collect::<Vec<f64>>();
    let (mut a, mut b) = (sizes(better), sizes(worse));
    if same_file {
        let both =
            |(sample, size): (&usize, &f64)| Some((*size, b[worse.samples.binary_search(sample).ok()?]));
        (a, b) = better.samples.iter().zip(&a).filter_map(both).unzip();
    }
    if a.len() < FEWEST || b.len() < FEWEST {
        return None;
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let percent = |a: f64, b: f64| 100.0 * (1.0 - a / b);
    if mean(&b) == 0.0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut drawn: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let picks = blocks(a.len(), &mut random);
            let others = if same_file { picks.clone() } else { blocks(b.len(), &mut random) };
            let of = |all: &[f64], picks: &[usize]| {
                picks.iter().map(|i| all[*i]).sum::<f64>() / picks.len() as f64
            };
            percent(of(&a, &picks), of(&b, &others))
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |p: f64| drawn[(p * (RESAMPLES - 1) as f64).round() as usize];
    Some(Improvement { percent: percent(mean(&a), mean(&b)), low: at(0.025), high: at(0.975) })
}

/// Indices of as many samples, in blocks as long as the square root of their number.
fn blocks(n: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let length = (n as f64).sqrt().ceil() as usize;
    let mut picks = Vec::with_capacity(n + length);
    while picks.len() < n {
        let begin = random.random_range(0..n);
        picks.extend((begin..begin + length).map(|i| i % n));
    }
    picks.truncate(n);
    picks
}

/// The scores as a table for the terminal.
pub fn table(scores: &[Score]) -> String {
    let wide = |of: fn(&Score) -> &str| scores.iter().map(|s| of(s).chars().count()).max().unwrap_or(0);
    let (file, way) = (wide(|s| &s.file).max(4), wide(|s| &s.way).max(12));
    // A clock that is good to microseconds is not off by 0.000 ms.
    let least = scores.iter().map(|s| s.mean_absolute_ms).filter(|e| *e > 0.0).fold(f64::MAX, f64::min);
    let digits = if least < 0.1 { 6 } else { 3 };
    let cell = digits + 6;
    let mut out = format!(
        "{:<file$}  {:<way$} {:>6} {:>cell$} {:>cell$} {:>cell$} {:>cell$} {:>cell$} {:>cell$}  {:<26} {}\n",
        "file",
        "way",
        "n",
        "mean|e|",
        "mean",
        "sd",
        "p95",
        "p99",
        "max",
        "over the system clock",
        "over the first"
    );
    for s in scores {
        out += &format!(
            "{:<file$}  {:<way$} {:>6} {:>cell$.digits$} {:>+cell$.digits$} {:>cell$.digits$} {:>cell$.digits$} {:>cell$.digits$} {:>cell$.digits$}  {:<26} {}\n",
            s.file,
            s.way,
            s.count,
            s.mean_absolute_ms,
            s.mean_ms,
            s.sd_ms,
            s.p95_ms,
            s.p99_ms,
            s.max_ms,
            words(s.over_system),
            words(s.over_first)
        );
    }
    out += "Errors in ms against the observer's own servers; improvements of mean |e| with 95 % bootstrap intervals.\n";
    let few = scores.iter().map(|s| s.count).min().filter(|n| *n < ENOUGH);
    out + &few.map_or(String::new(), |n| {
        format!("CAUTION: {n} queries are too few for such an interval; observe until there are {ENOUGH} or more.\n")
    })
}

/// An improvement in words; a dash for none.
pub fn words(improvement: Option<Improvement>) -> String {
    improvement.map_or("-".into(), |i| format!("{:+.1} % ({:+.1} … {:+.1})", i.percent, i.low, i.high))
}

#[cfg(test)]
mod tests {
    use super::super::table::{Columns, Table, tests::row};
    use super::*;

    fn made(rows: u64) -> Run {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made.csv");
        let mut table = Table::create(&path, Columns::Full).unwrap();
        (1..=rows).for_each(|number| table.write(&row(number)).unwrap());
        Run::open(&path).unwrap()
    }

    #[test]
    fn our_own_tables_are_judged_by_their_queries() {
        let run = made(40);
        let ways: Vec<&str> = run.series.iter().map(|s| s.way.as_str()).collect();
        assert_eq!(ways, ["system clock", "fix1", "fix2", "fix3", "fix4", "fix5", "fix6", "fix7", "fix11"]);
        let scores = scores(&[run]);
        // The system clock is 2.4 ms ahead of the servers; fix 3 takes 2.5 ms off.
        assert_eq!((scores[0].count, scores[3].count), (20, 20));
        assert!((scores[0].mean_absolute_ms - 2.4).abs() < 1e-9 && (scores[3].mean_ms + 0.1).abs() < 1e-9);
        let over = scores[3].over_system.unwrap();
        assert!(
            (over.percent - 100.0 * (1.0 - 0.1 / 2.4)).abs() < 1e-6 && over.low <= over.percent,
            "{over:?}"
        );
        assert!(scores[0].over_system.is_none() && scores[1].over_first.is_none());
        assert!(table(&scores).contains("fix11"));
    }

    #[test]
    fn files_of_one_name_are_told_apart_and_few_queries_are_cautioned_of() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a/seen.csv", "b/seen.csv", "b/other.csv"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut table = Table::create(path, Columns::Full).unwrap();
            (1..=8).for_each(|number| table.write(&row(number)).unwrap());
        }
        let runs = Run::open_all(&paths).unwrap();
        let names: Vec<&str> = runs.iter().map(|run| run.series[0].file.as_str()).collect();
        assert_eq!(names, ["a/seen", "b/seen", "other"]);
        let shown = table(&scores(&runs));
        assert!(shown.contains("CAUTION: 4 queries are too few"), "{shown}");
        assert!(!table(&scores(&[made(40)])).contains("CAUTION"));
        let errors = (0..20).map(|i| (f64::from(i), 4e-6)).collect();
        let samples = (0..20).collect();
        let micros = Series { file: "f".into(), way: "w".into(), errors, samples, between: vec![] };
        let shown = table(&scores(&[Run { series: vec![micros], drift: vec![] }]));
        assert!(shown.contains(" 0.000004 "), "{shown}");
    }

    #[test]
    fn the_originals_files_are_read_and_failed_answers_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v1.csv");
        let mut text = "timestamp,elapsed_seconds,client_offset_ms,client_drift_us_per_s,client_source,\
             ntp_ground_truth_offset_ms\n"
            .to_owned();
        for i in 0..30 {
            let (truth, source) = (if i % 3 == 0 { "5.0" } else { "" }, if i == 6 { "error" } else { "cpu" });
            text += &format!("{}.5,{},4.0,1.5,{source},{truth}\n", 1_760_000_000 + 10 * i, 10 * i);
        }
        std::fs::write(&path, text).unwrap();
        let run = Run::open(&path).unwrap();
        assert_eq!((run.series[0].errors.len(), run.series[1].errors.len()), (9, 9));
        assert_eq!(run.drift[0], (0.0, 1.5));
        let scores = scores(&[run]);
        assert_eq!((scores[1].mean_ms, scores[1].max_ms, scores[1].sd_ms), (-1.0, 1.0, 0.0));
        assert!((scores[1].over_system.unwrap().percent - 80.0).abs() < 1e-9);
        assert!(!scores[1].by_age.is_empty());
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_the_mend() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.csv");
        for (text, mend) in [
            ("a,b\n1,2\n", "system_time"),
            ("system_time,chronotick_offset_ms\n1,2\n", "--columns full"),
            ("system_time,ntp_offset_ms\n1,2\n", "no answers"),
            ("system_time,ntp_offset_ms,chronotick_offset_ms\n1,2,3\n", "fewer than three"),
            ("system_time,\u{1}", "not text in UTF-8"),
        ] {
            // What stands for a byte that no text has.
            let bytes: Vec<u8> = text.bytes().map(|b| if b == 1 { 0xff } else { b }).collect();
            std::fs::write(&path, bytes).unwrap();
            let error = Run::open(&path).unwrap_err().to_string();
            assert!(error.contains(mend), "{error}");
        }
        assert!(matches!(Run::open(&dir.path().join("none")), Err(CompareError::Io { .. })));
    }

    #[test]
    fn a_difference_that_is_chance_has_zero_in_its_interval() {
        let noise = |seed: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (0..200).map(|i| (f64::from(i), random.random_range(-1.0..1.0))).collect::<Vec<_>>()
        };
        let series = |seed: u64| Series {
            file: seed.to_string(),
            way: "w".into(),
            errors: noise(seed),
            samples: (0..200).collect(),
            between: vec![],
        };
        let chance = improvement(&series(1), &series(2), false).unwrap();
        assert!(chance.low < 0.0 && chance.high > 0.0, "{chance:?}");
    }

    #[test]
    fn ways_of_one_file_are_compared_where_both_have_answers() {
        let series = |from: usize, worse: f64| {
            let size = |i: usize| (i as f64, worse * (1.0 + (i * i % 17) as f64));
            let samples: Vec<usize> = (from..40).collect();
            let errors = samples.iter().map(|i| size(*i)).collect();
            Series { file: "f".into(), way: "w".into(), errors, samples, between: vec![] }
        };
        // Half as much at each, of which only the first has none: there is nothing that chance could change.
        let half = improvement(&series(1, 0.5), &series(0, 1.0), true).unwrap();
        let all = [half.percent, half.low, half.high];
        assert!(all.iter().all(|percent| (percent - 50.0).abs() < 1e-9), "{half:?}");
        assert_eq!(improvement(&series(38, 0.5), &series(0, 1.0), true), None);
    }

    #[test]
    fn files_are_known_by_their_place_and_foreign_names_command_no_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x\u{1b}[2J.csv");
        let mut text = "system_time,ntp_offset_ms,chronotick_time_\u{1b}[31mfix\n".to_owned();
        for i in 0..20 {
            text += &format!("{i},{},{i}.001\n", i % 3 + 2);
        }
        std::fs::write(&path, text).unwrap();
        let runs = Run::open_all(&[path.clone(), path]).unwrap();
        let scores = scores(&runs);
        let shown = table(&scores);
        assert!(!shown.contains('\u{1b}') && shown.contains("\\u{1b}[31mfix"), "{shown}");
        // The second is compared with the first also where both are one file.
        let over: Vec<_> = scores.iter().map(|s| (s.over_system.is_some(), s.over_first.is_some())).collect();
        assert_eq!(over, [(false, true), (true, false), (false, true), (true, true)]);
    }
}
