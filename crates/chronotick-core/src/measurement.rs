//! One comparison of the raw clock with a source of time, whatever kind of source it is.

use crate::{Leap, RawInstant, Span, Timestamp};

/// Names a source within one engine; never used again for another source of the same engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Who took the local timestamps of a measurement: how much of the delay is the machine's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stamps {
    /// The kernel stamped both departure and arrival.
    Kernel,
    /// At least one was taken by the program itself, before or after a wait for the processor.
    User,
}

/// One comparison of the raw clock with a source: "when the raw clock read `at`, the source says it was `utc`".
///
/// An NTP exchange with the four timestamps T1…T4 (RFC 5905 §8) gives `at` = (T1 + T4) / 2 on the raw clock,
/// `utc` = (T2 + T3) / 2 and `delay` = (T4 − T1) − (T3 − T2). A reference clock gives its pulse and a delay of zero.
///
/// True time at `at` differs from `utc` by no more than [`max_error`](Measurement::max_error), if the source is honest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Which source.
    pub source: SourceId,
    /// The raw instant that is compared.
    pub at: RawInstant,
    /// When the measurement became known: not before `at`, and in ascending order between measurements.
    pub received: RawInstant,
    /// True time at `at` according to the source.
    pub utc: Timestamp,
    /// Round trip to the source; negative only by the noise of the source's timestamps.
    pub delay: Span,
    /// Round trip from the source to its primary reference.
    pub root_delay: Span,
    /// What the source says that it may be wrong beside that, with the precision of both clocks.
    pub root_dispersion: Span,
    /// How many steps the source is away from a reference clock: 1 for a server with one, 0 for the clock itself.
    pub stratum: u8,
    /// What the source announces.
    pub leap: Leap,
    /// Who took the local timestamps.
    pub stamps: Stamps,
}

impl Measurement {
    /// Half of all round trips plus dispersion: the root distance of this one measurement (RFC 5905 §11.2, Λ), at
    /// `received`, without the ageing since.
    pub fn max_error(&self) -> Span {
        let round_trips = self.delay.max(Span::ZERO) + self.root_delay.max(Span::ZERO);
        round_trips.half() + self.root_dispersion.max(Span::ZERO)
    }
}
