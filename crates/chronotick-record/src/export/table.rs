//! The tables as others see them: names, units and types of the columns, and the query behind each.

use std::fmt;
use std::str::FromStr;

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The offset of the system clock with its interval, as known then and as known now, each ten seconds.
    Samples,
    /// The same of what is older, one a minute.
    Minutes,
    /// Each answer of a source.
    Measurements,
    /// The same of what is older, one a minute and source.
    MeasurementMinutes,
    /// What happened.
    Events,
    /// What was done to the system clock.
    Corrections,
    /// How much forecasters counted.
    Weights,
    /// Times of which nothing is known.
    Gaps,
    /// Lives of daemons.
    Runs,
}

/// What kind of values a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nanoseconds since 1970, shown as RFC 3339 where text is written.
    Time,
    Integer,
    Real,
    Text,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    sql: &'static str,
    pub(super) kind: Kind,
}

const fn column(name: &'static str, sql: &'static str, kind: Kind) -> Column {
    Column { name, sql, kind }
}

const fn integer(name: &'static str) -> Column {
    column(name, name, Kind::Integer)
}

const fn text(name: &'static str) -> Column {
    column(name, name, Kind::Text)
}

const UTC: Column = column("time", "utc_ns", Kind::Time);
const STATE: &str =
    "CASE state WHEN 0 THEN 'warmup' WHEN 1 THEN 'synced' WHEN 2 THEN 'holdover' WHEN 3 THEN 'unsynced'
    ELSE 'error' END";
/// Rates are kept in units of 2⁻⁴⁸.
const RATE_PPM: &str = "rate * 1e6 / 281474976710656.0";
const GROWTH_PPM: &str = "growth * 1e6 / 281474976710656.0";

macro_rules! samples {
    ($($more:expr),*) => {
        &[
            column("time", "system_ns + coalesce(later_offset_ns, offset_ns)", Kind::Time),
            integer("system_ns"),
            integer("raw_ns"),
            integer("offset_ns"),
            integer("sigma_ns"),
            integer("early_ns"),
            integer("late_ns"),
            integer("later_offset_ns"),
            integer("later_sigma_ns"),
            integer("later_early_ns"),
            integer("later_late_ns"),
            column("rate_ppm", RATE_PPM, Kind::Real),
            column("bound_growth_ppm", GROWTH_PPM, Kind::Real),
            column("state", STATE, Kind::Text),
            text("source"),
            integer("run"),
            integer("epoch"),
            integer("stepped"),
            $($more),*
        ]
    };
}

static SAMPLES: &[Column] = samples!();
static MINUTES: &[Column] =
    samples!(integer("samples"), integer("least_offset_ns"), integer("most_offset_ns"), integer("worst_ns"));
static MEASUREMENTS: &[Column] = &[
    UTC,
    text("server"),
    text("address"),
    integer("system_offset_ns"),
    integer("corrected_offset_ns"),
    integer("delay_ns"),
    integer("root_delay_ns"),
    integer("root_dispersion_ns"),
    integer("stratum"),
    text("stamps"),
    integer("run"),
];
static MEASUREMENT_MINUTES: &[Column] = &[
    UTC,
    text("server"),
    text("address"),
    integer("answers"),
    integer("mean_system_offset_ns"),
    integer("least_system_offset_ns"),
    integer("most_system_offset_ns"),
    integer("least_delay_ns"),
    integer("most_delay_ns"),
];
static EVENTS: &[Column] = &[UTC, text("kind"), text("source"), text("text"), integer("run")];
static CORRECTIONS: &[Column] = &[
    UTC,
    text("action"),
    integer("amount_ns"),
    column("frequency_ppm", "frequency * 1e6 / 281474976710656.0", Kind::Real),
    text("reason"),
    integer("run"),
];
static WEIGHTS: &[Column] = &[
    UTC,
    text("member"),
    text("model"),
    column("weight", "weight", Kind::Real),
    integer("correction_ns"),
    integer("run"),
];
static GAPS: &[Column] = &[
    column("time", "from_ns", Kind::Time),
    column("until", "until_ns", Kind::Time),
    text("why"),
    integer("lost"),
];
static RUNS: &[Column] = &[
    column("time", "began_ns", Kind::Time),
    column("ended", "ended_ns", Kind::Time),
    column("boot", "printf('%016x', boot)", Kind::Text),
    text("version"),
    text("configuration"),
];

impl Table {
    /// Every table.
    pub const ALL: [Table; 9] = [
        Table::Samples,
        Table::Minutes,
        Table::Measurements,
        Table::MeasurementMinutes,
        Table::Events,
        Table::Corrections,
        Table::Weights,
        Table::Gaps,
        Table::Runs,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Table::Samples => "samples",
            Table::Minutes => "minutes",
            Table::Measurements => "measurements",
            Table::MeasurementMinutes => "measurement_minutes",
            Table::Events => "events",
            Table::Corrections => "corrections",
            Table::Weights => "weights",
            Table::Gaps => "gaps",
            Table::Runs => "runs",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Table::Samples => SAMPLES,
            Table::Minutes => MINUTES,
            Table::Measurements => MEASUREMENTS,
            Table::MeasurementMinutes => MEASUREMENT_MINUTES,
            Table::Events => EVENTS,
            Table::Corrections => CORRECTIONS,
            Table::Weights => WEIGHTS,
            Table::Gaps => GAPS,
            Table::Runs => RUNS,
        }
    }

    /// The rows whose time is in `?1 .. ?2`, or reaches into it where they last.
    pub(super) fn query(self) -> String {
        let columns: Vec<&str> = self.columns().iter().map(|column| column.sql).collect();
        let (from, until) = match self {
            Table::Samples | Table::Minutes => ("system_ns", "system_ns"),
            Table::Gaps => ("until_ns", "from_ns"),
            Table::Runs => ("ended_ns", "began_ns"),
            _ => ("utc_ns", "utc_ns"),
        };
        let (columns, name) = (columns.join(", "), self.name());
        format!("SELECT {columns} FROM {name} WHERE {from} >= ?1 AND {until} < ?2 ORDER BY id")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Table, String> {
        let names: Vec<&str> = Table::ALL.iter().map(|table| table.name()).collect();
        let found = Table::ALL.into_iter().find(|table| table.name() == text);
        found.ok_or_else(|| format!("there is no table {text:?}; there are {}", names.join(", ")))
    }
}
