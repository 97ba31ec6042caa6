//! The settings of steering: whether the system clock is corrected at all, and within which limits.

use super::read::{Word, count, seconds, switch, word};
use super::settings::{Setting, setting};
use chronotick_clock::{Rate, Span};
use chronotick_monitor::{Manner, Policy, Terms};
use serde_json::Value;
use std::fmt;

/// Whether and how the system clock is steered (`discipline`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// Not at all.
    #[default]
    Off,
    /// By slewing.
    Slew,
    /// By steps where the offset is large, and by slewing.
    Step,
}

impl Word for Discipline {
    const WORDS: &'static [(&'static str, Discipline)] = &[
        ("off", Discipline::Off),
        ("slew", Discipline::Slew),
        ("step", Discipline::Step),
        ("false", Discipline::Off),
        ("no", Discipline::Off),
    ];
}

impl fmt::Display for Discipline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Within which limits the system clock is corrected (`correction`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// At least so many sources have to agree.
    pub min_sources: u32,
    /// How fast an offset is slewed at most, in parts per million.
    pub slew_rate_ppm: u32,
    /// A larger offset is stepped.
    pub step_threshold: Span,
    /// No step is larger.
    pub max_step: Span,
    /// A larger offset is not corrected at all.
    pub panic_threshold: Span,
    /// From one step to the next.
    pub cooldown: Span,
    /// Whether the clock is stepped only until it was once near.
    pub step_at_start_only: bool,
    /// Whether the clock may be set back.
    pub backwards: bool,
}

impl Default for Correction {
    fn default() -> Correction {
        let policy = Policy::default();
        Correction {
            min_sources: policy.min_agreeing,
            slew_rate_ppm: 500,
            step_threshold: policy.step_threshold,
            max_step: policy.max_step,
            panic_threshold: policy.panic,
            cooldown: policy.cooldown,
            step_at_start_only: true,
            backwards: policy.backwards,
        }
    }
}

impl Correction {
    /// The policy that they make.
    pub fn policy(&self) -> Policy {
        Policy {
            min_agreeing: self.min_sources,
            step_threshold: self.step_threshold,
            max_step: self.max_step,
            panic: self.panic_threshold,
            cooldown: self.cooldown,
            backwards: self.backwards,
            step_at_start_only: self.step_at_start_only,
        }
    }

    /// What steering keeps to; none if it is off.
    pub fn terms(&self, discipline: Discipline) -> Option<Terms> {
        let manner = match discipline {
            Discipline::Off => return None,
            Discipline::Slew => Manner::Slew,
            Discipline::Step => Manner::Step,
        };
        let slew_rate = Rate::from_ppm(f64::from(self.slew_rate_ppm));
        Some(Terms { manner, policy: self.policy(), slew_rate })
    }
}

pub(super) static SETTINGS: [Setting; 9] = [
    Setting {
        key: "discipline",
        doc: "Whether the system clock is corrected: off, slew, or step (docs/discipline.md). Needs the right to set the clock.",
        outside: None,
        set: |config, node| {
            config.discipline = word(node).map_err(|fault| super::finding::faults(fault, node.line))?;
            Ok(())
        },
        get: |config| Value::from(config.discipline.word()),
    },
    setting!(
        "correction.min_sources",
        None,
        correction.min_sources,
        |node| count(node, 1..=64),
        "At least so many sources have to agree before the clock is touched."
    ),
    setting!(
        "correction.slew_rate_ppm",
        None,
        correction.slew_rate_ppm,
        |node| count(node, 1..=100_000),
        "How fast an offset is slewed at most, in parts per million."
    ),
    setting!(
        "correction.step_threshold",
        None,
        correction.step_threshold,
        |node| seconds(node, Span::from_micros(1)..=Span::from_secs(1_000)),
        "A larger offset, in seconds, is stepped where `discipline` allows it."
    ),
    setting!(
        "correction.max_step",
        None,
        correction.max_step,
        |node| seconds(node, Span::from_micros(1)..=Span::from_secs(31_536_000)),
        "No step is larger than so many seconds; what remains waits for the next."
    ),
    setting!(
        "correction.panic_threshold",
        None,
        correction.panic_threshold,
        |node| seconds(node, Span::from_millis(1)..=Span::from_secs(31_536_000)),
        "An offset of more than so many seconds is not corrected at all."
    ),
    setting!(
        "correction.cooldown",
        None,
        correction.cooldown,
        |node| seconds(node, Span::ZERO..=Span::from_secs(86_400)),
        "Seconds from one step to the next."
    ),
    setting!(
        "correction.step_at_start_only",
        None,
        correction.step_at_start_only,
        switch,
        "Whether the clock is stepped only until its offset was once below the threshold."
    ),
    setting!(
        "correction.backwards",
        None,
        correction.backwards,
        switch,
        "Whether the clock may be set back; otherwise it is slewed until true time has caught up."
    ),
];
