//! Levels of quality, what they are judged by, and the status that follows.

use chronotick_clock::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How good a declared metric is, best first. What is not known has no level at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Below the first edge.
    Excellent,
    /// Below the second.
    Good,
    /// Below the third; some systems call it acceptable.
    #[serde(alias = "acceptable")]
    Fair,
    /// Below the fourth.
    Poor,
    /// At the fourth edge or beyond.
    Critical,
}

impl Level {
    /// Best first.
    pub const ALL: [Level; 5] = [Level::Excellent, Level::Good, Level::Fair, Level::Poor, Level::Critical];

    /// The word of every view and interface.
    pub fn name(self) -> &'static str {
        ["excellent", "good", "fair", "poor", "critical"][self as usize]
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a level is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The furthest that the clock can be from true time: a limit on divergence includes what the path and the reference
    /// may be wrong.
    #[default]
    Bound,
    /// The distance to the best estimate of true time, as older tools judge it.
    Offset,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Metric::Bound => "bound",
            Metric::Offset => "offset",
        })
    }
}

/// Whether time is backed by evidence: the states of the engine, and that there is no engine to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Measuring has begun.
    Warmup,
    /// A majority of the sources agrees, recently.
    Synced,
    /// The sources are lost; the bound grows.
    Holdover,
    /// Nothing backs a claim that would be acceptable.
    Unsynced,
    /// The engine is broken.
    Error,
    /// Nobody measures, or nobody answers.
    NoData,
}

impl Backing {
    /// The word of every view and interface.
    pub fn name(self) -> &'static str {
        ["warmup", "synced", "holdover", "unsynced", "error", "no_data"][self as usize]
    }
}

impl From<State> for Backing {
    fn from(state: State) -> Backing {
        match state {
            State::Warmup => Backing::Warmup,
            State::Synced => Backing::Synced,
            State::Holdover => Backing::Holdover,
            State::Unsynced => Backing::Unsynced,
            State::Error => Backing::Error,
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an operator has to know first; of several components the worst counts, which is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Backed and good.
    Healthy,
    /// Somebody should look.
    Warning,
    /// It cannot be said yet, which is not healthy.
    Unknown,
    /// It must not be relied on.
    Critical,
}

impl Status {
    /// The word of every view and interface.
    pub fn name(self) -> &'static str {
        ["healthy", "warning", "unknown", "critical"][self as usize]
    }

    /// The exit code of a check as monitoring systems read it: 0 healthy, 1 warning, 2 critical, 3 unknown.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Healthy => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        }
    }

    /// The HTTP status code of a health page: 200 as long as time may be relied on, else 503; with `strict` a warning is
    /// 503 as well.
    pub fn http_code(self, strict: bool) -> u16 {
        match self {
            Status::Healthy => 200,
            Status::Warning if !strict => 200,
            Status::Warning | Status::Critical | Status::Unknown => 503,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_component_counts_and_unknown_is_never_healthy() {
        assert!(Status::Healthy < Status::Warning && Status::Warning < Status::Unknown);
        assert!(Status::Unknown < Status::Critical);
        for status in [Status::Unknown, Status::Critical] {
            assert_ne!(status.exit_code(), 0);
            assert_eq!((status.http_code(false), status.http_code(true)), (503, 503));
        }
        assert_eq!((Status::Warning.http_code(false), Status::Warning.http_code(true)), (200, 503));
    }

    #[test]
    fn words_are_the_same_in_every_interface() {
        for level in Level::ALL {
            assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
        }
        assert_eq!(serde_json::from_str::<Level>("\"acceptable\"").unwrap(), Level::Fair);
        assert_eq!(serde_json::to_string(&Backing::NoData).unwrap(), "\"no_data\"");
        assert_eq!(serde_json::to_string(&Status::Critical).unwrap(), "\"critical\"");
    }
}
