//! The daemon's side of the history: one writer, batches in transactions, and no failure that would stop the daemon.
//!
//! What cannot be written (a full disk, a directory without permission) is dropped and counted, and the first batch that can be
//! written again is preceded by a [`Gap`] that says from when to when and why. A damaged file is set aside under another
//! name and a new one is begun.

use crate::retention::{self, Keep};
use crate::row::{Gap, Row, Run};
use crate::schema;
use crate::settle::{self, Smoothed};
use chronotick_clock::{Span, Timestamp};
use rusqlite::{Connection, ErrorCode, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the file within the state directory.
pub(crate) const FILE: &str = "history.sqlite";

/// Why nothing could be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database says no.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// The directory cannot be made, or a damaged file cannot be set aside.
    #[error("{path}: {source}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is from a newer version of the program.
    #[error(
        "{path} is of version {found}, this program knows up to {known}: use the newer program, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
}

/// The history, to be written.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    run: Run,
    keep: Keep,
    open: Option<Open>,
    lost: Option<Lost>,
    /// Set in tests, to have a full disk.
    most_pages: Option<u32>,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    run: i64,
}

#[derive(Debug)]
struct Lost {
    from: Timestamp,
    rows: u64,
    why: String,
}

impl Store {
    /// The history of `dir` for a run of the daemon. Nothing is opened before the first rows are written.
    pub fn new(dir: &Path, run: Run, keep: Keep) -> Store {
        Store { path: dir.join(FILE), run, keep, open: None, lost: None, most_pages: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes rows in one transaction, with `now` as the time up to which the run is known to have lived. If that
    /// fails they are lost and counted; the next success notes the gap.
    ///
    /// # Errors
    /// If they could not be written, when that is news: the same trouble is not reported twice.
    pub fn write(&mut self, rows: &[Row], now: Timestamp) -> Result<(), StoreError> {
        self.run.ended = now;
        let mut written = self.try_write(rows, now);
        if let Err(e) = &written
            && is_damaged(e)
        {
            written = self.set_aside(now).and_then(|()| self.try_write(rows, now));
        }
        match written {
            Ok(()) => {
                if let Some(lost) = self.lost.take() {
                    log::warn!("{} is written again; {} rows were lost", self.path.display(), lost.rows);
                }
                Ok(())
            }
            Err(e) => {
                // A connection that failed for want of space or rights is opened anew next time.
                self.open = None;
                let news = self.lost.is_none();
                let lost = self.lost.get_or_insert_with(|| Lost { from: now, rows: 0, why: e.to_string() });
                lost.rows += rows.len() as u64;
                if news { Err(e) } else { Ok(()) }
            }
        }
    }

    /// Rewrites what is known of the newest hour by what was measured since; how many samples. `smoothed` gives true time
    /// at each of some raw instants, which ascend, and its standard deviation, as far as the engine can tell.
    ///
    /// # Errors
    /// Those of the database.
    pub fn settle(&mut self, smoothed: &Smoothed<'_>) -> Result<usize, StoreError> {
        let Some(open) = &mut self.open else { return Ok(0) };
        settle::settle(&mut open.connection, open.run, smoothed).map_err(|e| database(&self.path, e))
    }

    /// Summarises what is old by `now` and forgets what is too old. `now` must be trustworthy.
    ///
    /// # Errors
    /// Those of the database.
    pub fn forget(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        retention::keep_to(&mut open.connection, self.keep, now).map_err(|e| database(&self.path, e))
    }

    /// Notes a time of which nothing is known, with the next rows.
    ///
    /// # Errors
    /// Those of writing.
    pub fn note_gap(&mut self, gap: &Gap) -> Result<(), StoreError> {
        self.opened()?;
        let Some(open) = &self.open else { return Ok(()) };
        insert_gap(&open.connection, gap).map_err(|e| database(&self.path, e))
    }

    fn try_write(&mut self, rows: &[Row], now: Timestamp) -> Result<(), StoreError> {
        self.opened()?;
        let Some(open) = &mut self.open else { return Ok(()) };
        let gap = self.lost.as_ref().map(|lost| Gap {
            from: lost.from,
            until: now,
            why: lost.why.clone(),
            lost: lost.rows,
        });
        write_all(open, rows, gap.as_ref(), now).map_err(|e| database(&self.path, e))
    }

    fn opened(&mut self) -> Result<(), StoreError> {
        if self.open.is_some() {
            return Ok(());
        }
        if let Some(dir) = self.path.parent() {
            let failed = |source| StoreError::Directory { path: dir.to_owned(), source };
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let opened = match self.connect() {
            Err(e) if is_damaged(&e) => {
                self.set_aside(self.run.ended)?;
                self.connect()?
            }
            other => other?,
        };
        self.open = Some(opened);
        Ok(())
    }

    fn connect(&self) -> Result<Open, StoreError> {
        let failed = |e| database(&self.path, e);
        let mut connection = Connection::open(&self.path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        let found = schema::version(&connection).map_err(failed)?;
        if found > schema::VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: schema::VERSION });
        }
        connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
        // A crash of the program loses nothing, one of the machine at most what was written since the last checkpoint.
        connection.pragma_update(None, "synchronous", "normal").map_err(failed)?;
        // A confined process may write nowhere else.
        connection.pragma_update(None, "temp_store", "memory").map_err(failed)?;
        if let Some(pages) = self.most_pages {
            connection.pragma_update(None, "max_page_count", pages).map_err(failed)?;
        }
        schema::migrate(&mut connection).map_err(failed)?;
        let run = &self.run;
        connection
            .execute(
                "INSERT INTO runs(began_ns, ended_ns, boot, version, configuration) VALUES(?1, ?2, ?3, ?4, ?5)",
                params![
                    run.began.as_nanos(),
                    run.ended.as_nanos(),
                    run.boot.cast_signed(),
                    run.version,
                    run.configuration
                ],
            )
            .map_err(failed)?;
        let id = connection.last_insert_rowid();
        Ok(Open { connection, run: id })
    }

    /// Renames a damaged file and what belongs to it. The new file will have a gap that ends now.
    fn set_aside(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.open = None;
        let aside =
            self.path.with_file_name(format!("history.damaged-{}.sqlite", now.as_nanos() / 1_000_000_000));
        let failed = |source| StoreError::Directory { path: aside.clone(), source };
        std::fs::rename(&self.path, &aside).map_err(failed)?;
        for suffix in ["-wal", "-shm"] {
            let beside = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            // They are there only if the last writer did not close the file.
            let _ = std::fs::rename(beside(&self.path), beside(&aside));
        }
        log::error!(
            "{} is damaged; it is kept as {} and a new history is begun",
            self.path.display(),
            aside.display()
        );
        let why = format!("the file was damaged and is kept as {}", aside.display());
        self.lost.get_or_insert(Lost { from: now, rows: 0, why });
        Ok(())
    }
}

fn database(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Database { path: path.to_owned(), source }
}

fn is_damaged(e: &StoreError) -> bool {
    let StoreError::Database { source, .. } = e else { return false };
    matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn insert_gap(connection: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO gaps(from_ns, until_ns, why, lost) VALUES(?1, ?2, ?3, ?4)",
        params![gap.from.as_nanos(), gap.until.as_nanos(), gap.why, gap.lost.cast_signed()],
    )?;
    Ok(())
}

fn write_all(open: &mut Open, rows: &[Row], gap: Option<&Gap>, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = open.connection.transaction()?;
    if let Some(gap) = gap {
        insert_gap(&transaction, gap)?;
    }
    for row in rows {
        insert(&transaction, open.run, row)?;
    }
    transaction.execute("UPDATE runs SET ended_ns = ?2 WHERE id = ?1", params![open.run, now.as_nanos()])?;
    transaction.commit()
}

fn insert(connection: &Connection, run: i64, row: &Row) -> rusqlite::Result<usize> {
    let cached = |sql| connection.prepare_cached(sql);
    match row {
        Row::Sample(s) => cached(
            // A minute has the number of one of its samples: no number is given twice, even when no sample is left.
            "INSERT INTO samples(id, run, epoch, stepped, system_ns, raw_ns, offset_ns, sigma_ns, early_ns, late_ns, rate,
             growth, state, source) SELECT 1 + max(coalesce((SELECT max(id) FROM samples), 0),
             coalesce((SELECT max(id) FROM minutes), 0)), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13",
        )?
        .execute(params![
            run,
            s.epoch,
            s.stepped,
            s.system.as_nanos(),
            s.raw.as_nanos(),
            s.offset.correction().as_nanos(),
            s.sigma.as_nanos(),
            s.early.as_nanos(),
            s.late.as_nanos(),
            s.rate.to_bits(),
            s.growth.to_bits(),
            s.state as u8,
            s.source
        ]),
        Row::Measurement(m) => cached(
            "INSERT INTO measurements(run, utc_ns, server, address, system_offset_ns, corrected_offset_ns, delay_ns,
             root_delay_ns, root_dispersion_ns, stratum, stamps) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            run,
            m.utc.as_nanos(),
            m.server,
            m.address,
            m.system_offset.as_nanos(),
            m.corrected_offset.map(Span::as_nanos),
            m.delay.as_nanos(),
            m.root_delay.as_nanos(),
            m.root_dispersion.as_nanos(),
            m.stratum,
            m.stamps
        ]),
        Row::Event(e) => cached("INSERT INTO events(run, utc_ns, kind, source, text) VALUES(?1, ?2, ?3, ?4, ?5)")?
            .execute(params![run, e.utc.as_nanos(), e.kind, e.source, e.text]),
        Row::Correction(c) => cached(
            "INSERT INTO corrections(run, utc_ns, action, amount_ns, frequency, reason) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            run,
            c.utc.as_nanos(),
            c.action,
            c.amount.as_nanos(),
            c.frequency.to_bits(),
            c.reason
        ]),
        Row::Weight(w) => cached(
            "INSERT INTO weights(run, utc_ns, member, model, weight, correction_ns) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![run, w.utc.as_nanos(), w.member, w.model, w.weight, w.correction.as_nanos()]),
    }
}

#[cfg(test)]
mod tests;
