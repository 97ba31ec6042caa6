//! What happened inside the engine that someone may want to know.

use crate::{Disruption, Reason, SourceId, Span, State, status::Verdict};

/// Something that happened, in the order in which it did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The state, or the reason for it, is another one.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// A source is believed or not believed from now on.
    VerdictChanged {
        /// Which source.
        source: SourceId,
        /// Its name.
        name: String,
        /// What it is from now on.
        verdict: Verdict,
    },
    /// A source contradicts what it said before: it stepped, or the raw clock did.
    SourceStepped {
        /// Which source.
        source: SourceId,
        /// Its name.
        name: String,
    },
    /// The majority of the sources now agrees on a time that the earlier majority had excluded.
    MajorityMoved {
        /// How far, true time against the raw clock.
        by: Span,
    },
    /// The machine's clock was disturbed.
    Disrupted(Disruption),
}
