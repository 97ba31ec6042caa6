//! What can be recorded.

use chronotick_clock::{Offset, Rate, RawInstant, Span, State, Timestamp};

/// One thing to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// The status, every ten seconds.
    Sample(Sample),
    /// An answer of a source.
    Measurement(Measurement),
    /// Something that happened.
    Event(Event),
    /// Something that was done to the system clock.
    Correction(Correction),
    /// How much a forecaster counted.
    Weight(Weight),
}

/// What was known of the system clock at one instant. Truth is within `offset − early ..= offset + late`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What the system clock read.
    pub system: Timestamp,
    /// What the raw clock read.
    pub raw: RawInstant,
    /// What the system clock lacked.
    pub offset: Offset,
    /// Standard deviation of that.
    pub sigma: Span,
    /// True time was no more than this before the estimate.
    pub early: Span,
    /// True time was no more than this after the estimate.
    pub late: Span,
    /// How much faster true time ran than the raw clock.
    pub rate: Rate,
    /// How fast the bound grew without measurements.
    pub growth: Rate,
    /// The state.
    pub state: State,
    /// What corrected time was made of.
    pub source: String,
    /// How often the raw clock had been disrupted in this run: samples of different epochs share no time base.
    pub epoch: u32,
    /// Whether the system clock was stepped since the sample before.
    pub stepped: bool,
}

/// One answer of a source, believed or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// True time according to the source.
    pub utc: Timestamp,
    /// The source as configured.
    pub server: String,
    /// Its address.
    pub address: String,
    /// What the system clock lacked according to the source.
    pub system_offset: Span,
    /// What corrected time lacked according to the source; none before the first solution.
    pub corrected_offset: Option<Span>,
    /// Round trip.
    pub delay: Span,
    /// The source's own round trip to its reference.
    pub root_delay: Span,
    /// The source's own dispersion.
    pub root_dispersion: Span,
    /// Distance from a reference clock.
    pub stratum: u8,
    /// Who took the local time stamps.
    pub stamps: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub utc: Timestamp,
    /// What kind of thing, in one word.
    pub kind: String,
    /// The source that it is about, if it is about one.
    pub source: Option<String>,
    /// What, in words.
    pub text: String,
}

/// Something that was done to the system clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// When.
    pub utc: Timestamp,
    /// What: `step`, `slew`, …
    pub action: String,
    /// By how much it was set ahead, or is to be.
    pub amount: Span,
    /// How much faster it runs since than the raw clock.
    pub frequency: Rate,
    /// Why, in words.
    pub reason: String,
}

/// How much a forecaster counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// When.
    pub utc: Timestamp,
    /// Its place: `short_term`, `long_term`, `environment`.
    pub member: String,
    /// The model.
    pub model: String,
    /// Its share, 0–1.
    pub weight: f64,
    /// What that changed in corrected time.
    pub correction: Span,
}

/// One life of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub began: Timestamp,
    /// Until when it is known to have lived.
    pub ended: Timestamp,
    /// Which boot of the machine it was ([`chronotick_clock::boot`]).
    pub boot: u64,
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the configuration in effect.
    pub configuration: String,
}

/// A time of which the history knows nothing, though a daemon lived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Why.
    pub why: String,
    /// So many rows could not be written.
    pub lost: u64,
}
