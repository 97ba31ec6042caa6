//! What the engine knows of its sources, for those who ask why.

use crate::{Measurement, Role, SourceId, Span, Timestamp, bound::Edge};
use std::fmt;

/// What selection makes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It has not answered yet.
    Unmeasured,
    /// It agrees with the majority; its measurements go into the estimate.
    Trusted,
    /// A majority agrees on a time that this source excludes.
    Falseticker,
    /// It has answered, but no majority agrees.
    NoMajority,
    /// It has answered, and was configured to have no say.
    Unselected,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Unmeasured => "unmeasured",
            Verdict::Trusted => "trusted",
            Verdict::Falseticker => "falseticker",
            Verdict::NoMajority => "no majority",
            Verdict::Unselected => "unselected",
        })
    }
}

/// Where true time can be according to one source, and what each edge is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explanation {
    /// True time is not before this.
    pub earliest: Timestamp,
    /// True time is not after this.
    pub latest: Timestamp,
    /// What the earlier edge is made of.
    pub low: Edge,
    /// What the later edge is made of.
    pub high: Edge,
}

/// One source as the engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStatus {
    /// Its identity within the engine.
    pub id: SourceId,
    /// The name under which it was added.
    pub name: String,
    /// What its word counts for.
    pub role: Role,
    /// Whether it is believed.
    pub verdict: Verdict,
    /// How many measurements it has given.
    pub measurements: u64,
    /// How often it contradicted its own earlier measurements.
    pub contradictions: u64,
    /// The newest measurement.
    pub newest: Option<Measurement>,
    /// Corrected time according to the newest measurement alone, minus corrected time.
    pub newest_error: Option<Span>,
    /// What it says of true time, if it has been measured since the last disruption.
    pub bound: Option<Explanation>,
}
