//! The health document: everything that an operator, a load balancer or a dashboard asks of a clock, in fixed types.
//!
//! What is not known is null, never a number. Times are RFC 3339 in UTC, amounts are integers in nanoseconds unless the name
//! says otherwise, offsets are true − local. Fields are added with a new [`Health::SCHEMA`], never renamed.

use crate::{Backing, Judgement, Level, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The health of a clock.
///
/// ```
/// use chronotick_monitor::{Backing, Health, Judgement, Profile, Sample, Status};
/// use chronotick_clock::{RawInstant, Timestamp};
/// let nothing = Sample {
///     at: RawInstant::from_nanos(0),
///     utc: Timestamp::from_nanos(0),
///     state: Backing::NoData,
///     error: None,
///     agreeing: 0,
/// };
/// let profile = Profile::default();
/// let health = Health::new(Judgement::of(&nothing, &profile), &profile.name, false);
/// assert_eq!((health.status, health.offset_ns), (Status::Unknown, None));
/// assert_eq!(health.status.http_code(false), 503);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Version of this document's shape.
    pub schema_version: u32,
    /// The worst of all components.
    pub status: Status,
    /// Whether evidence backs time.
    pub state: Backing,
    /// How good the profile's metric is.
    pub quality: Option<Level>,
    /// The profile that it is judged by.
    pub profile: String,
    /// Why the status is not better, worst first.
    pub reasons: Vec<String>,
    /// Whether clock and sources are simulated: then nothing here is about real time.
    pub simulation: bool,
    /// When the document was made.
    pub time: Option<String>,
    /// True time minus the system clock.
    pub offset_ns: Option<i64>,
    /// The furthest that the system clock can be from true time.
    pub bound_ns: Option<i64>,
    /// The furthest that corrected time can be from true time.
    pub corrected_bound_ns: Option<i64>,
    /// What the kernel has yet to slew the system clock by.
    pub pending_slew_ns: Option<i64>,
    /// How much faster true time runs than the raw clock, in parts per million.
    pub frequency_ppm: Option<f64>,
    /// Standard deviation of that.
    pub skew_ppm: Option<f64>,
    /// Distance from a reference clock of this machine's time: one more than that of the best source.
    pub stratum: Option<u8>,
    /// The source that confines time most.
    pub reference: Option<Reference>,
    /// The announced leap second: `none`, `insert` or `delete`.
    pub leap: Option<String>,
    /// The newest measurement that counted.
    pub last_update: Option<LastUpdate>,
    /// The sources.
    pub sources: Sources,
    /// The time service of the system, if it was looked for.
    pub service: Option<Service>,
    /// The battery-backed clock, if it was looked at.
    pub rtc: Option<RtcHealth>,
    /// When time was last backed by a majority.
    pub last_sync_utc: Option<String>,
    /// The newest step of the system clock.
    pub last_step: Option<LastStep>,
    /// How the configured limit is kept.
    pub compliance: Compliance,
}

impl Health {
    /// The version of the document that this program writes.
    pub const SCHEMA: u32 = 1;

    /// A document that knows nothing yet but what was judged.
    pub fn new(judged: Judgement, profile: &str, simulation: bool) -> Health {
        Health {
            schema_version: Health::SCHEMA,
            status: judged.status,
            state: judged.state,
            quality: judged.quality,
            profile: profile.into(),
            reasons: judged.reasons,
            simulation,
            time: None,
            offset_ns: None,
            bound_ns: None,
            corrected_bound_ns: None,
            pending_slew_ns: None,
            frequency_ppm: None,
            skew_ppm: None,
            stratum: None,
            reference: None,
            leap: None,
            last_update: None,
            sources: Sources::default(),
            service: None,
            rtc: None,
            last_sync_utc: None,
            last_step: None,
            compliance: Compliance::default(),
        }
    }

    /// Takes in a component: the worst one counts, and its reason stands first.
    pub fn component(&mut self, status: Status, reason: impl Into<String>) {
        if status == Status::Healthy {
            return;
        }
        let place = if status > self.status { 0 } else { self.reasons.len() };
        self.reasons.insert(place, reason.into());
        self.status = self.status.max(status);
    }
}

/// The source that confines time most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reference {
    /// Address of a server, or what a reference clock calls itself.
    pub id: String,
    /// As configured.
    pub name: String,
    /// `ntp`, or `refclock` for a clock of this machine.
    pub kind: String,
}

/// The newest measurement that counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastUpdate {
    /// When.
    pub utc: String,
    /// How long ago, by the raw clock, in seconds.
    pub age_s: f64,
}

/// How many sources there are and what is thought of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sources {
    /// In use.
    pub configured: u32,
    /// Answered one of their last eight polls.
    pub reachable: u32,
    /// Agree with the majority.
    pub agreeing: u32,
    /// Those that contradict the majority, by name.
    pub falsetickers: Vec<String>,
}

/// The time service of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// `chronyd`, `ntpd`, `ntpsec`, `timesyncd`.
    pub name: String,
    /// Whether it answers.
    pub active: bool,
    /// How often it was restarted by the monitor.
    pub restarts: u32,
}

/// The battery-backed clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RtcHealth {
    /// Whether there is one.
    pub present: bool,
    /// True time minus what it reads as UTC, in seconds.
    pub offset_s: Option<f64>,
    /// `utc`, `local` or `wrong`.
    pub timescale: Option<String>,
    /// How much slower it runs than true time, in parts per million.
    pub drift_ppm: Option<f64>,
    /// When it was last set.
    pub last_set: Option<String>,
}

/// A step of the system clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastStep {
    /// When, by corrected time.
    pub utc: String,
    /// By how much; positive: it was set forward.
    pub delta_ns: i64,
    /// `chronotick`, or `another` where somebody else did it.
    pub by: String,
}

/// How the configured limit is kept: a statement about a configured number, never about a law.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compliance {
    /// The limit.
    pub limit_ns: Option<i64>,
    /// `within`, `beyond` or `unknown`.
    pub verdict: String,
    /// Share of the time since the start in which it was known, 0–1.
    pub coverage: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::sample;
    use crate::{Profile, Sample};

    fn health(offset_ms: f64) -> Health {
        let profile = Profile::default();
        Health::new(Judgement::of(&sample(0, offset_ms), &profile), &profile.name, false)
    }

    #[test]
    fn a_bad_component_is_the_status_and_the_first_reason() {
        let mut health = health(10.0);
        assert_eq!((health.status, health.reasons.len()), (Status::Warning, 1));
        health.component(Status::Healthy, "nothing");
        health.component(Status::Warning, "later");
        health.component(Status::Critical, "first");
        assert_eq!(health.status, Status::Critical);
        assert_eq!(health.reasons[0], "first");
        assert_eq!(health.reasons[2], "later");
    }

    #[test]
    fn what_is_unknown_is_null_and_of_the_same_type_once_known() {
        let mut health = health(0.0);
        let unknown = serde_json::to_value(&health).unwrap();
        for key in ["offset_ns", "bound_ns", "stratum", "reference", "rtc", "last_step", "quality"] {
            let null = unknown[key].is_null();
            assert_eq!(null, key != "quality", "{key}");
        }
        health.offset_ns = Some(-3);
        let text = serde_json::to_string(&health).unwrap();
        assert!(text.contains("\"offset_ns\":-3"), "{text}");
        assert_eq!(serde_json::from_str::<Health>(&text).unwrap(), health);
    }

    #[test]
    fn nobody_to_ask_is_unknown_to_a_check_and_unusable_to_a_balancer() {
        let profile = Profile::default();
        let nobody = Sample { state: Backing::NoData, error: None, ..sample(0, 0.0) };
        let health = Health::new(Judgement::of(&nobody, &profile), "default", false);
        assert_eq!((health.status.name(), health.status.exit_code()), ("unknown", 3));
        assert_eq!(health.status.http_code(false), 503);
    }
}
