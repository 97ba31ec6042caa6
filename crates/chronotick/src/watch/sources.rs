//! The table of sources: its columns, their order of importance where the terminal is narrow, and what it is sorted by.

use super::words::{clean, short, short_signed};
use crate::cli::views::{mark, mode};
use crate::snapshot::{BoundView, SourceView};
use std::cmp::Ordering;

/// A column of the table of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Column {
    /// As configured.
    #[default]
    Name,
    /// Falsetickers first.
    Verdict,
    /// Largest first.
    Offset,
    /// Longest round trip first.
    Delay,
    /// Widest first.
    Interval,
    /// Least heard first.
    Reach,
    /// Longest first.
    Poll,
    /// Furthest from a reference clock first.
    Stratum,
    /// Longest silent first.
    Last,
}

impl Column {
    /// In the order in which they are shown and numbered.
    pub(super) const ALL: [Column; 9] = [
        Column::Name,
        Column::Verdict,
        Column::Offset,
        Column::Delay,
        Column::Interval,
        Column::Reach,
        Column::Poll,
        Column::Stratum,
        Column::Last,
    ];

    /// The columns that fit into `width` beside names of that length: the less room, the more of the last are left out.
    pub(super) fn fitting(width: u16, names: u16) -> Vec<Column> {
        use Column::{Delay, Interval, Last, Name, Offset, Poll, Reach, Stratum, Verdict};
        let important = [Name, Verdict, Offset, Interval, Delay, Reach, Stratum, Poll, Last];
        let mut left = width.saturating_sub(names.min(36).saturating_sub(Name.width()));
        let mut chosen = Vec::new();
        for column in important {
            let Some(rest) = left.checked_sub(column.width() + 1) else { break };
            left = rest;
            chosen.push(column);
        }
        Column::ALL.into_iter().filter(|column| chosen.contains(column)).collect()
    }

    /// Characters that it takes; the name takes what is left.
    pub(super) fn width(self) -> u16 {
        match self {
            Column::Name => 19,
            Column::Verdict => 11,
            Column::Offset => 10,
            Column::Delay => 9,
            Column::Interval => 19,
            Column::Reach => 5,
            Column::Poll => 6,
            Column::Stratum => 3,
            Column::Last => 6,
        }
    }

    pub(super) fn is_number(self) -> bool {
        !matches!(self, Column::Name | Column::Verdict)
    }

    pub(super) fn heading(self) -> &'static str {
        match self {
            Column::Name => "source",
            Column::Verdict => "verdict",
            Column::Offset => "offset",
            Column::Delay => "delay",
            Column::Interval => "interval",
            Column::Reach => "reach",
            Column::Poll => "poll",
            Column::Stratum => "str",
            Column::Last => "last",
        }
    }

    /// The next one to sort by.
    pub(super) fn next(self) -> Column {
        Column::ALL[(self as usize + 1) % Column::ALL.len()]
    }

    pub(super) fn text(self, source: &SourceView) -> String {
        let none = || "-".to_owned();
        let nanos = |ns: Option<i64>| ns.map(|ns| ns as f64);
        match self {
            Column::Name => format!("{}{} {}", mode(source), mark(source), name(source)),
            Column::Verdict => clean(&source.verdict),
            Column::Offset => nanos(source.offset_ns).map_or_else(none, short_signed),
            Column::Delay => nanos(source.delay_ns).map_or_else(none, short),
            Column::Interval => {
                source.bound.as_ref().map_or_else(none, |BoundView { earliest_ns, latest_ns, .. }| {
                    format!("{} {}", short_signed(*earliest_ns as f64), short_signed(*latest_ns as f64))
                })
            }
            Column::Reach => format!("{:o}", source.reach),
            Column::Poll => short(source.poll_seconds * 1e9).replace(".00", ""),
            Column::Stratum => source.stratum.map_or_else(none, |stratum| stratum.to_string()),
            Column::Last => source.last_answer_seconds.map_or_else(none, |s| format!("{s:.0} s")),
        }
    }

    fn compare(self, a: &SourceView, b: &SourceView) -> Ordering {
        let largest = |value: fn(&SourceView) -> Option<i64>| value(b).cmp(&value(a));
        match self {
            Column::Name => Ordering::Equal,
            Column::Verdict => badness(b).cmp(&badness(a)),
            Column::Offset => largest(|s| s.offset_ns.map(i64::saturating_abs)),
            Column::Delay => largest(|s| s.delay_ns),
            Column::Interval => largest(|s| width(s.bound.as_ref()?)),
            Column::Reach => a.reach.count_ones().cmp(&b.reach.count_ones()).then(a.reach.cmp(&b.reach)),
            Column::Poll => b.poll_seconds.total_cmp(&a.poll_seconds),
            Column::Stratum => largest(|s| s.stratum.map(i64::from)),
            Column::Last => {
                let age = |s: &SourceView| s.last_answer_seconds.unwrap_or(f64::INFINITY);
                age(b).total_cmp(&age(a))
            }
        }
    }
}

/// The sources in the order of a column; equal ones as configured.
pub(super) fn sorted(sources: &[SourceView], by: Column, reversed: bool) -> Vec<&SourceView> {
    let mut sources: Vec<&SourceView> = sources.iter().collect();
    sources.sort_by(|a, b| by.compare(a, b));
    if reversed {
        sources.reverse();
    }
    sources
}

/// The name with which a source was configured, and its address where that says more.
fn name(source: &SourceView) -> String {
    let (server, address) = (clean(&source.server), clean(&source.address));
    if address.starts_with(&server) { address } else { format!("{server} {address}") }
}

fn badness(source: &SourceView) -> u8 {
    match source.verdict.as_str() {
        "trusted" => 0,
        "falseticker" => 3,
        "no majority" => 2,
        _ => 1,
    }
}

fn width(bound: &BoundView) -> Option<i64> {
    bound.latest_ns.checked_sub(bound.earliest_ns)
}

/// Where true time can be according to a source, drawn to a scale of `±reach` ns around corrected time, in `cells`
/// characters: `──├──┼──┤──`. Edges beyond the scale are arrows.
pub(super) fn plot(bound: &BoundView, reach: f64, cells: usize) -> String {
    let middle = (cells / 2) as f64;
    let place = |ns: i64| (ns as f64 / reach * middle + middle).round();
    let (low, high) = (place(bound.earliest_ns), place(bound.latest_ns));
    let last = cells as f64 - 1.0;
    let cell = |i: usize| {
        let x = i as f64;
        if high < 0.0 && i == 0 || x == 0.0 && low < 0.0 && high >= 0.0 {
            '◀'
        } else if low > last && x == last || x == last && high > last && low <= last {
            '▶'
        } else if x == low || x == high {
            if x == low { '├' } else { '┤' }
        } else if i == cells / 2 {
            if low < x && x < high { '┼' } else { '│' }
        } else if low < x && x < high {
            '─'
        } else {
            ' '
        }
    };
    (0..cells).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::picture::tests::{bound, source};

    #[test]
    fn a_narrow_terminal_keeps_what_matters() {
        assert_eq!(Column::fitting(44, 10), [Column::Name, Column::Verdict, Column::Offset]);
        assert_eq!(Column::fitting(44, 25), [Column::Name, Column::Verdict]);
        assert_eq!(Column::fitting(200, 10), Column::ALL);
        assert!(Column::fitting(10, 10).is_empty());
    }

    #[test]
    fn every_column_sorts_the_worst_first_and_turns_round() {
        let fine = source("a", "trusted", Some(-1_000));
        let mut bad = source("b", "falseticker", Some(250_000_000));
        (bad.reach, bad.poll_seconds, bad.stratum) = (0o17, 64.0, Some(9));
        (bad.delay_ns, bad.last_answer_seconds) = (Some(1 << 40), None);
        bad.bound = Some(bound(-1, 1 << 50));
        let sources = [fine, bad];
        for column in &Column::ALL[1..] {
            assert_eq!(sorted(&sources, *column, false)[0].server, "b", "{column:?}");
            assert_eq!(sorted(&sources, *column, true)[0].server, "a", "{column:?}");
        }
        assert_eq!(sorted(&sources, Column::Name, false)[0].server, "a");
    }

    #[test]
    fn plots_are_to_scale() {
        let plot = |low, high| plot(&bound(low, high), 10.0, 11);
        assert_eq!(plot(-4, 4), "   ├─┼─┤   ");
        assert_eq!(plot(2, 40), "     │├───▶");
        assert_eq!(plot(-90, 90), "◀────┼────▶");
        assert_eq!(plot(50, 90), "     │    ▶");
        assert_eq!(plot(-90, -50), "◀    │     ");
    }

    #[test]
    fn a_name_says_what_was_configured_once() {
        let mut pool = source("pool.example", "trusted", None);
        pool.address = "192.0.2.1:123".into();
        assert_eq!(name(&pool), "pool.example 192.0.2.1:123");
        pool.server = "192.0.2.1".into();
        assert_eq!(name(&pool), "192.0.2.1:123");
    }
}
