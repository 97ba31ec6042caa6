//! The tables, and how an older file becomes one of this version.

use rusqlite::{Connection, Transaction};

/// One entry per version: what leads to it from the version before. Only ever appended to.
const MIGRATIONS: &[&str] = &[r"
CREATE TABLE runs(
    id INTEGER PRIMARY KEY, began_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, boot INTEGER NOT NULL,
    version TEXT NOT NULL, configuration TEXT NOT NULL) STRICT;
CREATE TABLE samples(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, epoch INTEGER NOT NULL, stepped INTEGER NOT NULL,
    system_ns INTEGER NOT NULL, raw_ns INTEGER NOT NULL,
    offset_ns INTEGER NOT NULL, sigma_ns INTEGER NOT NULL, early_ns INTEGER NOT NULL, late_ns INTEGER NOT NULL,
    rate INTEGER NOT NULL, growth INTEGER NOT NULL, state INTEGER NOT NULL, source TEXT NOT NULL,
    later_offset_ns INTEGER, later_sigma_ns INTEGER, later_early_ns INTEGER, later_late_ns INTEGER,
    later_rate INTEGER, later_growth INTEGER) STRICT;
CREATE INDEX samples_by_reading ON samples(system_ns);
CREATE TABLE minutes(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, epoch INTEGER NOT NULL, stepped INTEGER NOT NULL,
    system_ns INTEGER NOT NULL, raw_ns INTEGER NOT NULL,
    offset_ns INTEGER NOT NULL, sigma_ns INTEGER NOT NULL, early_ns INTEGER NOT NULL, late_ns INTEGER NOT NULL,
    rate INTEGER NOT NULL, growth INTEGER NOT NULL, state INTEGER NOT NULL, source TEXT NOT NULL,
    later_offset_ns INTEGER, later_sigma_ns INTEGER, later_early_ns INTEGER, later_late_ns INTEGER,
    later_rate INTEGER, later_growth INTEGER,
    samples INTEGER NOT NULL, least_offset_ns INTEGER NOT NULL, most_offset_ns INTEGER NOT NULL,
    worst_ns INTEGER NOT NULL) STRICT;
CREATE INDEX minutes_by_reading ON minutes(system_ns);
CREATE TABLE measurements(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, utc_ns INTEGER NOT NULL, server TEXT NOT NULL, address TEXT NOT NULL,
    system_offset_ns INTEGER NOT NULL, corrected_offset_ns INTEGER, delay_ns INTEGER NOT NULL,
    root_delay_ns INTEGER NOT NULL, root_dispersion_ns INTEGER NOT NULL, stratum INTEGER NOT NULL,
    stamps TEXT NOT NULL) STRICT;
CREATE INDEX measurements_by_time ON measurements(utc_ns);
CREATE TABLE measurement_minutes(
    id INTEGER PRIMARY KEY, utc_ns INTEGER NOT NULL, server TEXT NOT NULL, address TEXT NOT NULL, answers INTEGER NOT NULL,
    mean_system_offset_ns INTEGER NOT NULL, least_system_offset_ns INTEGER NOT NULL,
    most_system_offset_ns INTEGER NOT NULL, least_delay_ns INTEGER NOT NULL, most_delay_ns INTEGER NOT NULL) STRICT;
CREATE INDEX measurement_minutes_by_time ON measurement_minutes(utc_ns);
CREATE TABLE events(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, utc_ns INTEGER NOT NULL, kind TEXT NOT NULL, source TEXT,
    text TEXT NOT NULL) STRICT;
CREATE INDEX events_by_time ON events(utc_ns);
CREATE TABLE corrections(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, utc_ns INTEGER NOT NULL, action TEXT NOT NULL,
    amount_ns INTEGER NOT NULL, frequency INTEGER NOT NULL, reason TEXT NOT NULL) STRICT;
CREATE INDEX corrections_by_time ON corrections(utc_ns);
CREATE TABLE weights(
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, utc_ns INTEGER NOT NULL, member TEXT NOT NULL, model TEXT NOT NULL,
    weight REAL NOT NULL, correction_ns INTEGER NOT NULL) STRICT;
CREATE INDEX weights_by_time ON weights(utc_ns);
CREATE TABLE gaps(
    id INTEGER PRIMARY KEY, from_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL, why TEXT NOT NULL,
    lost INTEGER NOT NULL) STRICT;
"];

/// The version that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings a file up to this version, all or nothing.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    step_up(&transaction)?;
    transaction.commit()
}

fn step_up(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let version = version(transaction)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(migration)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(())
}

/// The version of a file; 0 for an empty one.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing_and_keeps_the_rows() {
        let mut file = Connection::open_in_memory().expect("memory");
        migrate(&mut file).expect("migrates");
        file.execute("INSERT INTO gaps VALUES(1, 2, 3, 'full', 4)", []).expect("a gap");
        migrate(&mut file).expect("migrates");
        let gaps: i64 = file.query_row("SELECT count(*) FROM gaps", [], |row| row.get(0)).expect("counts");
        assert_eq!((version(&file).expect("has one"), gaps), (VERSION, 1));
    }
}
