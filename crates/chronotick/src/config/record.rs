//! The settings of the record: what is kept of the past, and for how long.

use super::read::{count, switch};
use super::settings::{Setting, setting};
use chronotick_clock::Span;
use chronotick_record::Keep;

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

pub(super) static SETTINGS: [Setting; 3] = [
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
];
