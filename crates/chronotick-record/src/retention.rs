//! How long what is kept: everything for days, a summary of each minute for longer.

use chronotick_clock::{Span, Timestamp};
use rusqlite::{Connection, params};

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Every measurement and every sample.
    pub everything: Span,
    /// A summary of each minute, events, corrections and all else; not below `everything`.
    pub summaries: Span,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { everything: Span::from_secs(7 * 86_400), summaries: Span::from_secs(400 * 86_400) }
    }
}

/// So much is summarised in one transaction, so that other writing is not held up.
const AT_ONCE: i64 = 6 * 3_600_000_000_000;
const MINUTE: i64 = 60_000_000_000;

/// Summarises what is old and forgets what is too old. A minute keeps its middle sample and the extremes of all.
pub(crate) fn keep_to(connection: &mut Connection, keep: Keep, now: Timestamp) -> rusqlite::Result<()> {
    let old = (now - keep.everything).as_nanos();
    while summarise(connection, old)? {}
    let too_old = (now - keep.summaries.max(keep.everything)).as_nanos();
    let transaction = connection.transaction()?;
    for (table, time) in [
        ("minutes", "system_ns + coalesce(later_offset_ns, offset_ns)"),
        ("measurement_minutes", "utc_ns"),
        ("events", "utc_ns"),
        ("corrections", "utc_ns"),
        ("weights", "utc_ns"),
        ("gaps", "until_ns"),
        ("runs", "ended_ns"),
    ] {
        transaction.execute(&format!("DELETE FROM {table} WHERE {time} < ?1"), params![too_old])?;
    }
    transaction.commit()
}

/// Summarises the oldest hours of what is before `old`; whether there was anything. Samples have the reading of a system clock
/// that may be weeks off: how far, the newest of them knows.
fn summarise(connection: &mut Connection, old: i64) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let first = |sql| transaction.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let offset = "SELECT max(id), coalesce(later_offset_ns, offset_ns) FROM samples";
    let offset = transaction.query_row(offset, [], |row| row.get::<_, Option<i64>>(1))?.unwrap_or(0);
    let oldest = [
        (first("SELECT min(system_ns) FROM samples")?, old.saturating_sub(offset), SAMPLES),
        (first("SELECT min(utc_ns) FROM measurements")?, old, MEASUREMENTS),
    ];
    let mut any = false;
    for (oldest, old, [summarised, forgotten]) in oldest {
        let old = old.div_euclid(MINUTE) * MINUTE;
        let Some(oldest) = oldest.filter(|oldest| *oldest < old) else { continue };
        let until = old.min(oldest.saturating_add(AT_ONCE).div_euclid(MINUTE) * MINUTE);
        transaction.execute(summarised, params![until])?;
        transaction.execute(forgotten, params![until])?;
        any = true;
    }
    transaction.commit()?;
    Ok(any)
}

/// How samples before an instant become minutes, and then go.
const SAMPLES: [&str; 2] = [
    r"
WITH old AS (
    SELECT *, min(id) OVER same AS first, max(id) OVER same AS last, count(*) OVER same AS n,
        min(coalesce(later_offset_ns, offset_ns)) OVER same AS least,
        max(coalesce(later_offset_ns, offset_ns)) OVER same AS most,
        max(max(abs(offset_ns - early_ns), abs(offset_ns + late_ns))) OVER same AS worst,
        max(stepped) OVER same AS any_step, row_number() OVER (same ORDER BY id) AS place
    FROM samples WHERE system_ns < ?1
    WINDOW same AS (PARTITION BY run, epoch, system_ns / 60000000000))
INSERT OR IGNORE INTO minutes
SELECT id, run, epoch, any_step, system_ns, raw_ns, offset_ns, sigma_ns, early_ns, late_ns, rate, growth, state, source,
    later_offset_ns, later_sigma_ns, later_early_ns, later_late_ns, later_rate, later_growth, n, least, most, worst
FROM old WHERE place = (n + 1) / 2",
    "DELETE FROM samples WHERE system_ns < ?1",
];

/// The same of measurements.
const MEASUREMENTS: [&str; 2] = [
    r"
INSERT INTO measurement_minutes(utc_ns, server, address, answers, mean_system_offset_ns, least_system_offset_ns,
    most_system_offset_ns, least_delay_ns, most_delay_ns)
SELECT utc_ns / 60000000000 * 60000000000, server, address, count(*), CAST(avg(system_offset_ns) AS INTEGER),
    min(system_offset_ns), max(system_offset_ns), min(delay_ns), max(delay_ns)
FROM measurements WHERE utc_ns < ?1
GROUP BY utc_ns / 60000000000, server, address",
    "DELETE FROM measurements WHERE utc_ns < ?1",
];
