//! The settings of the record: what is kept of the past, and for how long.

use super::read::{count, seconds, switch};
use super::settings::{Setting, setting};
use chronotick_clock::Span;
use chronotick_record::Keep;
use chronotick_record::audit::Rotation;

/// What is kept of the past (`history`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether anything is.
    pub enabled: bool,
    /// Days for which every measurement and every sample is kept.
    pub keep_days: u32,
    /// Days for which a summary of each minute, events and corrections are kept.
    pub keep_summaries_days: u32,
}

impl Default for History {
    fn default() -> History {
        History { enabled: true, keep_days: 7, keep_summaries_days: 400 }
    }
}

impl History {
    /// The same as the history's own terms.
    pub fn keep(&self) -> Keep {
        let days = |days: u32| Span::from_secs(86_400).times(days.into());
        Keep { everything: days(self.keep_days), summaries: days(self.keep_summaries_days) }
    }
}

/// The audit log (`audit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Whether it is kept.
    pub enabled: bool,
    /// A system clock that can be further from true time than this is an excursion.
    pub limit: Span,
    /// A file is not continued once it has so many megabytes.
    pub rotate_megabytes: u32,
    /// Whether each line waits for the disk.
    pub fsync: bool,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit { enabled: true, limit: Span::from_millis(50), rotate_megabytes: 16, fsync: true }
    }
}

impl Audit {
    /// The same as the log's own terms: besides, a new file is begun each day.
    pub fn rotation(&self) -> Rotation {
        Rotation { bytes: u64::from(self.rotate_megabytes) << 20, daily: true, fsync: self.fsync }
    }
}

pub(super) static SETTINGS: [Setting; 7] = [
    setting!(
        "history.enabled",
        None,
        history.enabled,
        switch,
        "Whether measurements, corrections and events are kept in history.sqlite in the state directory."
    ),
    setting!(
        "history.keep_days",
        None,
        history.keep_days,
        |node| count(node, 1..=36_500),
        "For so many days every measurement is kept, and the offset every ten seconds."
    ),
    setting!(
        "history.keep_summaries_days",
        None,
        history.keep_summaries_days,
        |node| count(node, 1..=36_500),
        "For so many days a summary of each minute is kept, and events and corrections."
    ),
    setting!(
        "audit.enabled",
        None,
        audit.enabled,
        switch,
        "Whether every correction, decision, excursion, gap and restart goes to the audit log in the state directory."
    ),
    setting!(
        "audit.limit",
        None,
        audit.limit,
        |node| seconds(node, Span::from_micros(1)..=Span::from_secs(86_400)),
        "A system clock that can be further from true time than so many seconds, by the bound, is an excursion."
    ),
    setting!(
        "audit.rotate_megabytes",
        None,
        audit.rotate_megabytes,
        |node| count(node, 1..=4_096),
        "A file of the audit log is not continued once it has so many megabytes; each day has a new one anyway."
    ),
    setting!(
        "audit.fsync",
        None,
        audit.fsync,
        switch,
        "Whether each line of the audit log is on the disk before the next is written."
    ),
];
