//! The status snapshot: everything that explains the clock page, written by the daemon once a second as one JSON file
//! beside the page, and read by the doors that answer "why". It is replaced atomically and says when it was made, so
//! that a reader can tell an old one.

use crate::peers::Pairwise;
use chronotick_clock::{Rate, RawInstant, Span, Timestamp};
use chronotick_core::Predictions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What the daemon knows and does, at one raw instant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct Snapshot {
    /// Version of the program that wrote it.
    pub version: String,
    /// Process that wrote it.
    pub pid: u32,
    /// Whether the machine clock and the servers are simulated: then nothing here is about real time.
    pub simulation: bool,
    /// The raw instant that it is about, in ns.
    pub raw_ns: i64,
    /// Corrected time of writing, RFC 3339; the system clock's before the first measurement.
    pub written: String,
    /// How long the daemon has been running.
    pub uptime_seconds: f64,
    /// Share of the warm-up that has passed, 0–1.
    pub warmup_progress: f64,
    /// Length of the whole warm-up.
    pub warmup_seconds: f64,
    /// State and reason, in words.
    pub state: String,
    /// Why the state is what it is.
    pub reason: String,
    /// What corrected time is made of: `ntp`, `bank`, `short_term`, `long_term`, `fusion`, `holdover` or `system`.
    pub source: String,
    /// Corrected time against the system clock, with its uncertainties; absent before the first measurement.
    pub clock: Option<ClockView>,
    /// What was sent and received.
    pub traffic: Traffic,
    /// How often the calibrated interval held what was measured later.
    #[serde(default)]
    pub predictions: PredictionsView,
    /// Every server address in use.
    pub sources: Vec<SourceView>,
    /// Other nodes that are measured directly.
    #[serde(default)]
    pub peers: Vec<PeerView>,
    /// What is counted of those whom this node serves, if it serves anybody.
    #[serde(default)]
    pub server: Option<ServerView>,
    /// Everyone who forecasts beside the filter bank.
    pub models: Vec<ModelView>,
    /// Configured names that do not resolve, with the resolver's reason.
    pub unresolved: Vec<String>,
    /// The newest events, oldest first.
    pub events: Vec<EventView>,
    /// Resident memory of the daemon by the operating system's count.
    pub memory_bytes: u64,
    /// Temperature of the machine, °C, where there is a sensor and conditions are watched.
    pub temperature_celsius: Option<f64>,
}

/// Corrected time against the local clocks. Offsets are true − local: positive means the local clock is behind.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct ClockView {
    /// What the system clock read, ns since 1970, at the snapshot's raw instant.
    pub system_ns: i64,
    /// Offset of the system clock.
    pub system_offset_ns: i64,
    /// How much faster true time runs than the raw clock.
    pub rate_ppm: f64,
    /// Standard deviation of that.
    pub rate_sigma_ppm: f64,
    /// Standard deviation of the calibrated interval.
    pub sigma_ns: i64,
    /// True time is no more than this before the estimate.
    pub early_ns: i64,
    /// True time is no more than this after the estimate.
    pub late_ns: i64,
    /// How fast the bound grows without measurements.
    pub bound_growth_ppm: f64,
    /// Root mean square of what the believed sources' newest measurements differ from corrected time.
    pub rms_offset_ns: i64,
    /// The announced leap second: `none`, `insert`, `delete`.
    pub leap: String,
    /// Seconds since the newest measurement that counted.
    pub last_measurement_seconds: Option<f64>,
}

/// Counts since the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct Traffic {
    /// Requests sent.
    pub polls: u64,
    /// Replies that passed every check.
    pub answers: u64,
    /// Measurements that went into the estimate.
    pub trusted: u64,
    /// Solutions published.
    pub published: u64,
    /// Measurements that could tell corrected time and the system clock apart.
    pub compared: u64,
    /// Those of them to which the system clock was nearer: where corrected time did harm.
    pub worse: u64,
    /// Who took the time stamps of the measurements: `kernel`, `user`, `mixed`, or `none` yet.
    pub stamps: String,
}

/// How often the calibrated interval held what was measured later, with the noise of its path; counts since the start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct PredictionsView {
    /// Measurements that were foretold.
    pub counted: u64,
    /// Those of them that were inside the interval of 50 %.
    pub covered_50: u64,
    /// Of 90 %.
    pub covered_90: u64,
    /// Of 95 %.
    pub covered_95: u64,
    /// Of 99 %.
    pub covered_99: u64,
}

impl From<Predictions> for PredictionsView {
    fn from(found: Predictions) -> PredictionsView {
        let [covered_50, covered_90, covered_95, covered_99] = found.covered;
        PredictionsView { counted: found.counted, covered_50, covered_90, covered_95, covered_99 }
    }
}

/// One source: a server's address, a reference clock, a peer.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct SourceView {
    /// `server`, `refclock` or `peer`.
    pub mode: String,
    /// As configured.
    pub server: String,
    /// Address and port in use; the name of a reference clock.
    pub address: String,
    /// What its word counts for: `prefer`, `trust`, `require`, `noselect`, `last_resort`; usually none of these.
    pub options: Vec<String>,
    /// `trusted`, `falseticker`, `no majority`, `unmeasured`, `unselected`.
    pub verdict: String,
    /// Whether this is the source that confines the bound most.
    pub best: bool,
    /// Distance from a reference clock; absent before the first answer.
    pub stratum: Option<u8>,
    /// The server's own reference.
    pub reference: String,
    /// Current poll interval.
    pub poll_seconds: f64,
    /// The last eight polls, newest in the lowest bit.
    pub reach: u8,
    /// Seconds since the newest answer.
    pub last_answer_seconds: Option<f64>,
    /// Time according to the newest answer minus corrected time.
    pub offset_ns: Option<i64>,
    /// What the system clock lacked at the newest answer according to it.
    pub system_offset_ns: Option<i64>,
    /// What the newest answer announces: `none`, `insert`, `delete`.
    pub leap: Option<String>,
    /// Drift and scatter of the newest answers against corrected time; absent below three of them.
    pub statistics: Option<StatisticsView>,
    /// What only an NTP server says.
    pub ntp: Option<NtpView>,
    /// How its replies are told from forgeries; absent where nothing but the nonce does it.
    #[serde(default)]
    pub proof: Option<ProofView>,
    /// Round trip of the newest answer.
    pub delay_ns: Option<i64>,
    /// The server's own round trip to its reference.
    pub root_delay_ns: Option<i64>,
    /// The server's own dispersion, with the precision of both clocks.
    pub root_dispersion_ns: Option<i64>,
    /// Who took the local time stamps: `kernel` or `user`.
    pub stamps: Option<String>,
    /// Requests sent.
    pub sent: u64,
    /// Replies accepted.
    pub answers: u64,
    /// The newest reply that was refused, or the newest kiss code, and why.
    pub trouble: Option<String>,
    /// How often the source contradicted its own earlier answers.
    pub contradictions: u64,
    /// What the estimator learned of the path.
    pub path: Option<PathView>,
    /// Where true time can be according to this source alone, relative to corrected time.
    pub bound: Option<BoundView>,
}

/// A line through the newest answers of a source, against corrected time as it was when each came.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct StatisticsView {
    /// How many answers.
    pub samples: u32,
    /// How many runs of residuals with the same sign.
    pub runs: u32,
    /// From the oldest to the newest.
    pub span_seconds: f64,
    /// How much faster the source runs than corrected time.
    pub frequency_ppm: f64,
    /// Standard deviation of that.
    pub skew_ppm: f64,
    /// The line at the newest answer: the source minus corrected time.
    pub offset_ns: i64,
    /// Standard deviation of the answers around the line.
    pub deviation_ns: i64,
}

/// What only an NTP server says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct NtpView {
    /// Version of the protocol.
    pub version: u8,
    /// Its own poll interval, log2 s.
    pub poll: i8,
    /// Precision of its clock, log2 s.
    pub precision: i8,
    /// The address of this machine that it is asked from; empty where the system does not tell.
    #[serde(default)]
    pub local: String,
    /// What it follows, as it is on the wire.
    #[serde(default)]
    pub reference_id: u32,
    /// When its clock was last corrected, ns since 1970; absent where it does not say.
    #[serde(default)]
    pub reference_ns: Option<i64>,
    /// How long it held the newest request.
    #[serde(default)]
    pub held_ns: i64,
    /// Whether the newest answer came in interleaved mode.
    #[serde(default)]
    pub interleaved: bool,
    /// Why the newest reply that gave no measurement gave none, in one word; absent since one has given one.
    #[serde(default)]
    pub rejected: Option<String>,
    /// Datagrams that have come, whatever became of them.
    #[serde(default)]
    pub received: u64,
}

/// How the replies of an NTP server are told from forgeries. No key is in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct ProofView {
    /// `NTS` or `SK`, a symmetric key.
    pub mode: String,
    /// The number of the symmetric key; with NTS how many key establishments there were.
    pub key: u32,
    /// The algorithm by chrony's number; with NTS by that of RFC 5297.
    pub algorithm: u8,
    /// Length of the key.
    pub bits: usize,
    /// Since the newest key establishment.
    pub age_seconds: Option<f64>,
    /// Attempts at a key establishment since.
    pub attempts: u32,
    /// Replies since that said that the server does not know the cookies any more.
    pub naks: u32,
    /// How many cookies are left.
    pub cookies: usize,
    /// Bytes of a cookie.
    pub cookie_bytes: usize,
}

/// What is counted of those whom this node serves.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct ServerView {
    /// Datagrams, by what became of them: `answered`, `answered_key`, `answered_nts`, a kiss (`kiss_…`, `nts_nak`), or why there
    /// was no answer (`not_a_request`, `not_authentic`, `too_often`, `refused`, `no_time`).
    pub datagrams: BTreeMap<String, u64>,
    /// Answers in interleaved mode.
    pub interleaved: u64,
    /// Connections that asked for NTS keys.
    pub keys_asked: u64,
    /// Connections that were closed at once: from somewhere that is not served, or too many.
    pub keys_refused: u64,
}

/// Another node, measured directly: its corrected time against ours.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct PeerView {
    /// As configured.
    pub name: String,
    /// Address and port in use.
    pub address: String,
    /// The last eight polls, newest in the lowest bit.
    pub reach: u8,
    /// The peer's own distance from a reference clock; absent before the first answer.
    pub stratum: Option<u8>,
    /// The peer's corrected time minus ours.
    pub offset_ns: Option<i64>,
    /// The offset is within this of that, on either side, for certain.
    pub bound_ns: Option<i64>,
    /// How fast that bound grows until the next exchange.
    pub growth_ppm: f64,
    /// Round trip of the exchange that told.
    pub delay_ns: Option<i64>,
    /// How long ago that was.
    pub age_seconds: Option<f64>,
    /// Requests sent.
    pub sent: u64,
    /// Replies accepted.
    pub answers: u64,
    /// The newest reply that was refused, and why.
    pub trouble: Option<String>,
}

impl PeerView {
    /// The same for whoever orders readings of both nodes; `written` is our corrected time when this was told. `None` before
    /// the first exchange.
    pub fn pairwise(&self, written: Timestamp) -> Option<Pairwise> {
        Some(Pairwise {
            measured: written,
            offset: Span::from_nanos(self.offset_ns?),
            half_width: Span::from_nanos(self.bound_ns?),
            growth: Rate::from_ppm(self.growth_ppm),
        })
    }
}

/// Who forecasts beside the filter bank, and how that turned out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct ModelView {
    /// `short_term`, `long_term`, or `environment`: the regression on the machine's conditions.
    pub member: String,
    /// The model as configured; empty for the regression.
    pub model: String,
    /// Its family, or what an endpoint calls itself, once it is open.
    pub family: Option<String>,
    /// `off`, `opening`, `ready`, `missing`, `failing` or `broken`.
    pub state: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Why its weight is what it is.
    pub standing: String,
    /// Its share in corrected time now, 0–1.
    pub weight: f64,
    /// What that changes in corrected time now.
    pub correction_ns: i64,
    /// Seconds since it last answered.
    pub last_inference_seconds: Option<f64>,
    /// How long that answer took.
    pub inference_ms: Option<f64>,
    /// Since when it has owed an answer, in seconds.
    pub busy_seconds: Option<f64>,
    /// Questions asked.
    pub asked: u64,
    /// Forecasts that came back.
    pub answered: u64,
    /// Those of them that came too late to be of use.
    pub late: u64,
    /// Times at which the newest forecast still held, because nothing had been measured since.
    pub cached: u64,
    /// Times at which a forecast was put off to keep to the share of the processor.
    pub put_off: u64,
    /// How good it is at each horizon that has been judged.
    pub horizons: Vec<HorizonView>,
}

/// How good a forecaster is at one horizon.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct HorizonView {
    /// Age of the newest measurement.
    pub horizon_seconds: f64,
    /// Its share at that age, 0–1, were it alone.
    pub weight: f64,
    /// The share of the bank's mean square error that its forecasts lacked; negative if they were worse.
    pub skill: f64,
    /// Root mean square of what its forecasts and the judging measurements differed.
    pub error_ns: i64,
    /// How many stretches of time were judged.
    pub stretches: usize,
}

/// What the estimator learned of the path to a source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct PathView {
    /// Its constant error against the consensus of all sources.
    pub offset_ns: i64,
    /// The least round trip that the path can have.
    pub floor_ns: i64,
    /// Its weight in the consensus, 0–1.
    pub weight: f64,
}

/// The interval of one source, relative to corrected time, and what each edge is made of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct BoundView {
    /// The earlier edge; negative unless the source excludes corrected time.
    pub earliest_ns: i64,
    /// The later edge.
    pub latest_ns: i64,
    /// What the earlier edge is made of.
    pub low: EdgeView,
    /// What the later edge is made of.
    pub high: EdgeView,
}

/// The terms of one edge of a source's interval.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct EdgeView {
    /// Age of the measurement that set it.
    pub age_seconds: f64,
    /// Half of its round trip.
    pub half_delay_ns: i64,
    /// Half of the server's own round trip.
    pub half_root_delay_ns: i64,
    /// The server's dispersion and the clocks' precision.
    pub root_dispersion_ns: i64,
    /// Widening with age.
    pub ageing_ns: i64,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, PartialEq)]
pub struct EventView {
    /// When, RFC 3339 by corrected time (by the system clock before the first measurement).
    pub time: String,
    /// The same in ns since 1970.
    pub utc_ns: i64,
    /// What kind of thing: `state`, `verdict`, `source_step`, `majority`, `disruption`, `system_step`.
    pub kind: String,
    /// The source that it is about, if it is about one.
    pub source: Option<String>,
    /// What, in words.
    pub text: String,
}

impl SourceView {
    /// Whether it is one of the majority that agrees.
    pub fn is_trusted(&self) -> bool {
        self.verdict == "trusted"
    }
}

impl ModelView {
    /// The horizon that says most of it: where its weight is largest, else the longest.
    pub fn telling(&self) -> Option<&HorizonView> {
        let weightier = |a: &&HorizonView, b: &&HorizonView| a.weight.total_cmp(&b.weight);
        self.horizons.iter().max_by(weightier)
    }
}

impl Snapshot {
    const FILE: &str = "status.json";

    /// Where the snapshot lives within the runtime directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(Snapshot::FILE)
    }

    /// Replaces the snapshot of `dir`; readers see the old or the new one, whole.
    ///
    /// # Errors
    /// Those of writing and renaming a file in `dir`.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let fresh = dir.join(format!(".{}.{}", Snapshot::FILE, std::process::id()));
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        // As readable as the page, whatever the daemon's umask.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        fs::rename(&fresh, Snapshot::path(dir))
    }

    /// The snapshot of `dir`.
    ///
    /// # Errors
    /// Those of reading a file, and [`io::ErrorKind::InvalidData`] if it was written by another version.
    pub fn read(dir: &Path) -> io::Result<Snapshot> {
        Ok(serde_json::from_slice(&fs::read(Snapshot::path(dir))?)?)
    }

    /// How long ago it was written, by the raw clock of the same boot.
    pub fn age(&self, now: RawInstant) -> Span {
        now - RawInstant::from_nanos(self.raw_ns)
    }

    /// The bound of the same instant as the sources' terms, which add up to it; none before the first measurement.
    pub(crate) fn bound_then(&self) -> Option<String> {
        let ClockView { early_ns, late_ns, .. } = self.clock.as_ref()?;
        let (early, late) = (Span::from_nanos(*early_ns), Span::from_nanos(*late_ns));
        Some(format!("At {}, the instant of the terms that follow, it was -{early} +{late}.", self.written))
    }

    /// Corrected time of writing; the epoch if that cannot be read.
    pub fn written_at(&self) -> Timestamp {
        let parsed = self.written.parse::<jiff::Timestamp>().map(|t| t.as_nanosecond());
        Timestamp::from_nanos(parsed.ok().and_then(|ns| i64::try_from(ns).ok()).unwrap_or_default())
    }

    /// Share of the requests that were answered well, 0–1; 0 before the first.
    pub fn success_rate(&self) -> f64 {
        if self.traffic.polls == 0 { 0.0 } else { self.traffic.answers as f64 / self.traffic.polls as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::Verdict;

    #[test]
    fn the_engines_word_for_trusted_is_understood() {
        let source = |verdict: Verdict| SourceView { verdict: verdict.to_string(), ..SourceView::default() };
        assert!(source(Verdict::Trusted).is_trusted() && !source(Verdict::Falseticker).is_trusted());
    }
}
