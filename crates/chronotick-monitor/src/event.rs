//! What happens to a clock, as typed events.

use crate::{Backing, Level};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened, and when by the best that was known of true time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub utc_ns: i64,
    /// Whether clock and sources are simulated: then it is not about real time.
    pub simulation: bool,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Offsets are true − local, amounts are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The clock was sampled.
    Sample {
        /// Whether evidence backs it.
        state: Backing,
        /// True time minus the clock.
        offset_ns: Option<i64>,
        /// The furthest that the clock can be from true time.
        bound_ns: Option<i64>,
        /// How good the profile's metric is.
        quality: Option<Level>,
    },
    /// State or quality are others than before.
    LevelChanged {
        /// The state before.
        from_state: Backing,
        /// The state now.
        to_state: Backing,
        /// The quality before.
        from: Option<Level>,
        /// The quality now.
        to: Option<Level>,
    },
    /// Something is wrong and has been for long enough.
    AlertRaised {
        /// What.
        alert: Alert,
        /// In words.
        why: String,
        /// The metric, where it is about one.
        value_ns: Option<i64>,
    },
    /// It has been right again for long enough.
    AlertCleared {
        /// What was wrong.
        alert: Alert,
        /// How long the alert stood.
        stood_ns: i64,
        /// The largest metric meanwhile.
        peak_ns: Option<i64>,
    },
    /// A clock was corrected.
    Correction {
        /// `slew`, `step`, or `software` where only answers are corrected.
        kind: String,
        /// What was added to the clock.
        by_ns: i64,
    },
    /// A source is not believed or not heard any more.
    SourceLost {
        /// Its name.
        source: String,
        /// Why.
        why: String,
    },
    /// Somebody stepped the system clock.
    Step {
        /// By how much; positive: it was set forward.
        by_ns: i64,
    },
    /// A leap second is announced, or no longer.
    Leap {
        /// `none`, `insert` or `delete`.
        announced: String,
    },
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alert {
    /// The metric is beyond the alert limit.
    Limit,
    /// Time is not backed by evidence.
    State,
    /// The clock's drift grows beyond what its history predicts.
    Trend,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Alert::Limit => "limit",
            Alert::State => "state",
            Alert::Trend => "trend",
        })
    }
}

impl What {
    /// Whether it is worth waking somebody for; samples and changes of level are not.
    pub fn is_grave(&self) -> bool {
        matches!(self, What::AlertRaised { .. } | What::Step { .. } | What::SourceLost { .. })
    }

    /// The event's name, as in `event` of its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            What::Sample { .. } => "sample",
            What::LevelChanged { .. } => "level_changed",
            What::AlertRaised { .. } => "alert_raised",
            What::AlertCleared { .. } => "alert_cleared",
            What::Correction { .. } => "correction",
            What::SourceLost { .. } => "source_lost",
            What::Step { .. } => "step",
            What::Leap { .. } => "leap",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = if self.simulation { "SIMULATION: " } else { "" };
        write!(f, "{label}{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = chronotick_clock::Span::from_nanos;
        let level = |level: &Option<Level>| level.map_or("unknown", Level::name);
        match self {
            What::Sample { state, offset_ns, bound_ns, quality } => {
                let known = |ns: &Option<i64>| ns.map_or("unknown".into(), |ns| span(ns).to_string());
                let (offset, bound) = (known(offset_ns), known(bound_ns));
                write!(f, "{state}, {}: offset {offset}, bound {bound}", level(quality))
            }
            What::LevelChanged { from_state, to_state, from, to } => {
                write!(f, "{from_state}, {} -> {to_state}, {}", level(from), level(to))
            }
            What::AlertRaised { alert, why, .. } => write!(f, "ALERT ({alert}): {why}"),
            What::AlertCleared { alert, stood_ns, .. } => {
                write!(f, "alert ({alert}) is over after {}", span(*stood_ns))
            }
            What::Correction { kind, by_ns } => write!(f, "corrected by {} ({kind})", span(*by_ns)),
            What::SourceLost { source, why } => write!(f, "{source} is lost: {why}"),
            What::Step { by_ns } => write!(f, "the system clock was stepped by {}", span(*by_ns)),
            What::Leap { announced } => write!(f, "leap second: {announced}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_with_its_name() {
        let event = Event { utc_ns: 5, simulation: false, what: What::Step { by_ns: -7 } };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"utc_ns":5,"simulation":false,"event":"step","by_ns":-7}"#);
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        assert_eq!(event.what.name(), "step");
    }
}
