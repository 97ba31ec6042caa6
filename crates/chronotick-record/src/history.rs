//! The history as everybody else sees it: read-only, from any process, while the daemon writes or when none runs.

use crate::lookup::{Mark, PastOffset, resolve};
use crate::row::{Correction, Event, Gap, Run, Sample};
use crate::schema;
use crate::store::FILE;
use chronotick_clock::{Offset, Rate, RawInstant, Span, State, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why the history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is none.
    #[error(
        "there is no history: {path} does not exist; a running daemon writes it unless history.enabled is false"
    )]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The file is of a version that this program cannot read.
    #[error(
        "{path} is of version {found}, this program reads version {known}: let the newest daemon open it once, or use a newer program"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version that is known.
        known: i64,
    },
    /// The database says no.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
}

/// Why the offset at a reading of the system clock is not known.
#[derive(Debug, thiserror::Error)]
pub enum NotKnown {
    /// Nothing has been recorded at all.
    #[error("nothing has been recorded yet")]
    Empty,
    /// The reading is from before the record begins.
    #[error("the record begins only later, {after} after that reading")]
    Before {
        /// By so much.
        after: Span,
    },
    /// The reading is from after the newest sample.
    #[error("the record ends before, {before} before that reading")]
    After {
        /// By so much.
        before: Span,
    },
    /// Nothing was recorded around it.
    #[error("nothing was recorded between {from_ns} and {until_ns} ns since 1970 of the system clock{}", why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Gap {
        /// The last reading before the gap.
        from_ns: i64,
        /// The first after it.
        until_ns: i64,
        /// Why, if that was noted.
        why: Option<String>,
    },
    /// The system clock never showed that time.
    #[error("the system clock never showed that time: it was stepped over it, by {by}")]
    SteppedOver {
        /// How far it was set ahead.
        by: Span,
    },
    /// The history cannot be read.
    #[error(transparent)]
    Unreadable(#[from] HistoryError),
}

/// A history, to be read.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Connection,
    /// Whether it sees what is written meanwhile.
    live: bool,
}

/// A history that is asked again and again: opened once, which takes far longer than a question, and again where another file has
/// come in its place.
#[derive(Debug)]
pub struct HistoryReader {
    dir: PathBuf,
    open: Mutex<Option<((u64, u64), History)>>,
}

impl HistoryReader {
    /// The history in the daemon's state directory, whether there is one yet or not.
    pub fn new(dir: PathBuf) -> HistoryReader {
        HistoryReader { dir, open: Mutex::new(None) }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// As [`History::system_offset_at`].
    ///
    /// # Errors
    /// Why it is not known.
    pub fn system_offset_at(&self, reading: Timestamp) -> Result<PastOffset, NotKnown> {
        let found = std::fs::metadata(self.dir.join(FILE)).ok().map(|file| (file.dev(), file.ino()));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = open.take().filter(|(file, _)| Some(*file) == found).map(|(_, history)| history);
        let history = kept.map_or_else(|| History::open_read_only(&self.dir), Ok)?;
        let answer = history.system_offset_at(reading);
        let broken = matches!(answer, Err(NotKnown::Unreadable(_)));
        *open = found.filter(|_| history.live && !broken).map(|file| (file, history));
        answer
    }
}

impl History {
    /// The history in the daemon's state directory.
    ///
    /// ```no_run
    /// use chronotick_record::History;
    /// use chronotick_clock::Timestamp;
    /// let history = History::open_read_only("/var/lib/chronotick".as_ref())?;
    /// let past = history.system_offset_at(Timestamp::from_nanos(1_790_000_000_000_000_000))?;
    /// println!("{} (−{} +{})", past.offset, past.early, past.late);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If there is none, it is of another version, or it cannot be read.
    pub fn open_read_only(dir: &Path) -> Result<History, HistoryError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(HistoryError::Missing { path });
        }
        let failed = |source| HistoryError::Database { path: path.clone(), source };
        let ((connection, found), live) = match connect(&path) {
            // Without a writer and without the right to make its index, the file is all there is: nobody changes it.
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                (connect_unchanging(&path).map_err(failed)?, false)
            }
            other => (other.map_err(failed)?, true),
        };
        if found != schema::VERSION {
            return Err(HistoryError::Version { path, found, known: schema::VERSION });
        }
        Ok(History { path, connection, live })
    }

    /// What the system clock lacked when it read `reading`, by all that is known now: measurements from both sides
    /// confine it. The interval contains truth wherever the bound did. Where the clock was stepped near, or showed the
    /// reading more than once, the interval is the hull of all that can be meant, and says so.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn system_offset_at(&self, reading: Timestamp) -> Result<PastOffset, NotKnown> {
        let marks = self.marks(reading)?;
        match resolve(&marks, reading) {
            Err(NotKnown::Gap { from_ns, until_ns, .. }) => {
                Err(NotKnown::Gap { from_ns, until_ns, why: self.why(from_ns, until_ns)? })
            }
            Err(NotKnown::Empty | NotKnown::Before { .. } | NotKnown::After { .. }) => {
                Err(self.beyond(reading)?)
            }
            other => other,
        }
    }

    /// The samples whose reading of the system clock is in `from..until`, as taken, in the order in which they were;
    /// of what is old one a minute.
    ///
    /// # Errors
    /// Those of the database.
    pub fn samples(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Sample>, HistoryError> {
        self.samples_where(WITHIN, from, until)
    }

    /// The same by corrected time as it was known then, whatever the system clock showed; of one that was off by more
    /// than two days nothing is found.
    ///
    /// # Errors
    /// Those of the database.
    pub fn samples_by_utc(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Sample>, HistoryError> {
        self.samples_where(WITHIN_UTC, from, until)
    }

    fn samples_where(
        &self,
        within: &str,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Sample>, HistoryError> {
        let sql = format!(
            "SELECT * FROM ({COLUMNS} FROM samples {within} UNION ALL {COLUMNS} FROM minutes {within}) ORDER BY id"
        );
        self.collect(&sql, from, until, |row| {
            let system = Timestamp::from_nanos(row.get(4)?);
            Ok(Sample {
                system,
                raw: RawInstant::from_nanos(row.get(5)?),
                offset: Offset::between(system + span(row, 6)?, system),
                sigma: span(row, 7)?,
                early: span(row, 8)?,
                late: span(row, 9)?,
                rate: Rate::from_bits(row.get(10)?),
                growth: Rate::from_bits(row.get(11)?),
                state: State::from_code(row.get(12)?),
                source: row.get(13)?,
                epoch: row.get(2)?,
                stepped: row.get(3)?,
            })
        })
    }

    /// What happened in `from..until`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn events(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Event>, HistoryError> {
        let sql =
            "SELECT utc_ns, kind, source, text FROM events WHERE utc_ns >= ?1 AND utc_ns < ?2 ORDER BY id";
        self.collect(sql, from, until, |row| {
            let utc = Timestamp::from_nanos(row.get(0)?);
            Ok(Event { utc, kind: row.get(1)?, source: row.get(2)?, text: row.get(3)? })
        })
    }

    /// What was done to the system clock in `from..until`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn corrections(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Correction>, HistoryError> {
        let sql = "SELECT utc_ns, action, amount_ns, frequency, reason FROM corrections
                   WHERE utc_ns >= ?1 AND utc_ns < ?2 ORDER BY id";
        self.collect(sql, from, until, |row| {
            Ok(Correction {
                utc: Timestamp::from_nanos(row.get(0)?),
                action: row.get(1)?,
                amount: span(row, 2)?,
                frequency: Rate::from_bits(row.get(3)?),
                reason: row.get(4)?,
            })
        })
    }

    /// The times of which nothing is known though a daemon lived, as far as they reach into `from..until`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn gaps(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Gap>, HistoryError> {
        let sql =
            "SELECT from_ns, until_ns, why, lost FROM gaps WHERE until_ns >= ?1 AND from_ns < ?2 ORDER BY id";
        self.collect(sql, from, until, |row| {
            Ok(Gap {
                from: Timestamp::from_nanos(row.get(0)?),
                until: Timestamp::from_nanos(row.get(1)?),
                why: row.get(2)?,
                lost: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })
    }

    /// The lives of daemons that reach into `from..until`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn runs(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Run>, HistoryError> {
        let sql = "SELECT began_ns, ended_ns, boot, version, configuration FROM runs
                   WHERE ended_ns >= ?1 AND began_ns < ?2 ORDER BY id";
        self.collect(sql, from, until, |row| {
            Ok(Run {
                began: Timestamp::from_nanos(row.get(0)?),
                ended: Timestamp::from_nanos(row.get(1)?),
                boot: row.get::<_, i64>(2)?.cast_unsigned(),
                version: row.get(3)?,
                configuration: row.get(4)?,
            })
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn failed(&self, source: rusqlite::Error) -> HistoryError {
        HistoryError::Database { path: self.path.clone(), source }
    }

    fn collect<T>(
        &self,
        sql: &str,
        from: Timestamp,
        until: Timestamp,
        make: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, HistoryError> {
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut query = self.connection.prepare_cached(sql)?;
            query.query_map(params![from.as_nanos(), until.as_nanos()], |row| make(row))?.collect()
        };
        read().map_err(|e| self.failed(e))
    }

    /// The samples whose reading is not far from `reading`, in the order in which they were taken.
    fn marks(&self, reading: Timestamp) -> Result<Vec<Mark>, HistoryError> {
        let sql = format!(
            "SELECT * FROM ({COLUMNS}, offset_ns AS least, offset_ns AS most FROM samples {WITHIN}
             UNION ALL {COLUMNS}, least_offset_ns, most_offset_ns FROM minutes {WITHIN}) ORDER BY id"
        );
        let (from, until) = (reading - Mark::NEAR, reading + Mark::NEAR);
        self.collect(&sql, from, until, |row| {
            let later = (row.get::<_, Option<i64>>(14)?, row.get(15)?, row.get(16)?, row.get(17)?);
            let (offset, sigma, early, late, settled) = match later {
                (Some(offset), Some(sigma), Some(early), Some(late)) => (offset, sigma, early, late, true),
                _ => (row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?, false),
            };
            let [offset, sigma, early, late] = [offset, sigma, early, late].map(Span::from_nanos);
            let (least, most) = (span(row, 21)?, span(row, 22)?);
            Ok(Mark {
                boot: row.get(20)?,
                life: (row.get(1)?, row.get(2)?),
                stepped: row.get(3)?,
                system: Timestamp::from_nanos(row.get(4)?),
                raw: RawInstant::from_nanos(row.get(5)?),
                offset,
                sigma,
                early,
                late,
                rate: Rate::from_bits(row.get(18)?),
                growth: Rate::from_bits(row.get(19)?),
                state: State::from_code(row.get(12)?),
                settled,
                spread: most - least,
            })
        })
    }

    /// Why there is nothing near a reading.
    fn beyond(&self, reading: Timestamp) -> Result<NotKnown, HistoryError> {
        let sql = "SELECT max(CASE WHEN system_ns <= ?1 THEN system_ns END), min(CASE WHEN system_ns >= ?1 THEN system_ns END)
                   FROM (SELECT system_ns FROM samples UNION ALL SELECT system_ns FROM minutes)";
        let around =
            self.connection.query_row(sql, params![reading.as_nanos()], |row| Ok((row.get(0)?, row.get(1)?)));
        let span = |a: i64, b: i64| Timestamp::from_nanos(a) - Timestamp::from_nanos(b);
        Ok(match around.map_err(|e| self.failed(e))? {
            (None::<i64>, None::<i64>) => NotKnown::Empty,
            (None, Some(first)) => NotKnown::Before { after: span(first, reading.as_nanos()) },
            (Some(last), None) => NotKnown::After { before: span(reading.as_nanos(), last) },
            (Some(from_ns), Some(until_ns)) => {
                NotKnown::Gap { from_ns, until_ns, why: self.why(from_ns, until_ns)? }
            }
        })
    }

    fn why(&self, from_ns: i64, until_ns: i64) -> Result<Option<String>, HistoryError> {
        let (from, until) = (Timestamp::from_nanos(from_ns), Timestamp::from_nanos(until_ns));
        Ok(self.gaps(from, until)?.pop().map(|gap| gap.why))
    }
}

const COLUMNS: &str = "SELECT id, run, epoch, stepped, system_ns, raw_ns, offset_ns, sigma_ns, early_ns, late_ns, rate, growth,
    state, source, later_offset_ns, later_sigma_ns, later_early_ns, later_late_ns,
    coalesce(later_rate, rate), coalesce(later_growth, growth), (SELECT boot FROM runs WHERE runs.id = run) AS boot";
const WITHIN: &str = "WHERE system_ns >= ?1 AND system_ns < ?2";
// The index is of readings: around them it finds what is to be looked at.
const WITHIN_UTC: &str = "WHERE system_ns >= ?1 - 172800000000000 AND system_ns < ?2 + 172800000000000
    AND system_ns + offset_ns >= ?1 AND system_ns + offset_ns < ?2";

fn span(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Span> {
    row.get(column).map(Span::from_nanos)
}

fn connect(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    // A confined process may write nowhere else.
    connection.pragma_update(None, "temp_store", "memory")?;
    let version = schema::version(&connection)?;
    Ok((connection, version))
}

fn connect_unchanging(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let escaped: String = path.to_string_lossy().chars().flat_map(escape).collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    let version = schema::version(&connection)?;
    Ok((connection, version))
}

fn escape(c: char) -> Vec<char> {
    match c {
        '%' => "%25".chars().collect(),
        '?' => "%3f".chars().collect(),
        '#' => "%23".chars().collect(),
        c => vec![c],
    }
}
