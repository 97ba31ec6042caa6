//! What can happen to a machine's clocks beside drifting.

use crate::Span;
use std::fmt;

/// A disturbance of the machine's clocks, as the operating system shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption {
    /// The machine slept; the raw clock stood still meanwhile.
    Suspended {
        /// For how long.
        lasted: Span,
    },
    /// The raw clock itself jumped against the other clocks: a restored snapshot, a broken counter.
    RawJump {
        /// How far it went ahead.
        by: Span,
    },
    /// The machine runs on other hardware than before, or on another clock source; its frequency may be another.
    Migrated,
    /// Somebody set the system clock. The raw clock, and so corrected time, is not concerned.
    SystemStep {
        /// How far ahead it was set.
        by: Span,
    },
}

impl Disruption {
    /// Whether the raw clock is another one than before, so that time has to be measured anew.
    pub fn disturbs_raw_clock(self) -> bool {
        !matches!(self, Disruption::SystemStep { .. })
    }
}

impl fmt::Display for Disruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Disruption::Suspended { lasted } => write!(f, "the machine was suspended for {lasted}"),
            Disruption::RawJump { by } => write!(f, "the raw clock jumped by {by}"),
            Disruption::Migrated => f.write_str("the machine or its clock source was exchanged"),
            Disruption::SystemStep { by } => write!(f, "the system clock was stepped by {by}"),
        }
    }
}
