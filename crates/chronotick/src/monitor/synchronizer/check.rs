//! What a synchronizer tells: checks, status, summary and statistics; and the simulated clock that it may watch instead.

use super::super::exchange::{Heard, Silent};
use crate::utc::rfc3339;
use chronotick_clock::{Leap, Span, Timestamp};
use chronotick_monitor::{
    Answer, Backing, ClockError, Consensus, Judgement, Level, NoConsensus, Sample, Status,
};
use serde::Serialize;
use std::collections::VecDeque;

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// When, by the system clock.
    pub time: String,
    /// What the system clock lacked; none where nobody could say.
    pub offset_ns: Option<i64>,
    /// What corrected time lacked after the check.
    pub residual_ns: Option<i64>,
    /// The furthest that corrected time could be from true time.
    pub bound_ns: Option<i64>,
    /// What was added to the correction.
    pub corrected_ns: i64,
    /// How good corrected time was.
    pub quality: Option<Level>,
    /// Whether the clock was simulated.
    pub simulation: bool,
}

impl Check {
    pub(super) fn of(status: &SyncStatus, system: Timestamp, corrected: Span) -> Check {
        Check {
            time: rfc3339(system),
            offset_ns: status.offset_ns,
            residual_ns: status.residual_ns,
            bound_ns: status.bound_ns,
            corrected_ns: corrected.as_nanos(),
            quality: status.quality,
            simulation: status.simulation,
        }
    }
}

/// How the clock is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SyncStatus {
    /// When a majority last answered.
    pub last_sync: Option<String>,
    /// What the system clock lacks; none where nobody could say at the newest check.
    pub offset_ns: Option<i64>,
    /// What corrected time lacks.
    pub residual_ns: Option<i64>,
    /// The furthest that corrected time can be from true time.
    pub bound_ns: Option<i64>,
    /// What is added to the system clock's reading.
    pub applied_ns: i64,
    /// Checks so far.
    pub checks: u64,
    /// Whether evidence backs it.
    pub state: Backing,
    /// How good corrected time is.
    pub quality: Option<Level>,
    /// What follows from both.
    pub status: Status,
    /// Why it is not better.
    pub reasons: Vec<String>,
    /// Whether servers are asked at all.
    pub ntp_enabled: bool,
    /// What the servers said.
    pub ntp: NtpSummary,
    /// Whether checks are made at the interval.
    pub running: bool,
    /// Whether clock and servers are simulated.
    pub simulation: bool,
}

/// What the servers said at the newest check.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NtpSummary {
    /// Addresses asked.
    pub asked: usize,
    /// Those that answered with the time.
    pub answered: usize,
    /// Those that agree.
    pub agreeing: Vec<String>,
    /// Those that contradict the majority.
    pub falsetickers: Vec<String>,
    /// Those without an answer, with the reason.
    pub silent: Vec<Silent>,
    /// Round trip to the one that confines the offset most.
    pub delay_ns: Option<i64>,
    /// Its distance from a reference clock.
    pub stratum: Option<u8>,
}

impl SyncStatus {
    pub(super) fn fresh(ntp_enabled: bool, simulation: bool) -> SyncStatus {
        SyncStatus {
            last_sync: None,
            offset_ns: None,
            residual_ns: None,
            bound_ns: None,
            applied_ns: 0,
            checks: 0,
            state: Backing::NoData,
            quality: None,
            status: Status::Unknown,
            reasons: vec!["nothing has been checked yet".into()],
            ntp_enabled,
            ntp: NtpSummary::default(),
            running: false,
            simulation,
        }
    }

    pub(super) fn update(
        &mut self,
        sample: &Sample,
        system: Option<ClockError>,
        applied: Span,
        heard: &Heard,
        consensus: Result<Consensus, NoConsensus>,
        judged: Option<Judgement>,
    ) {
        self.checks += 1;
        self.offset_ns = system.map(|error| error.offset.as_nanos());
        self.residual_ns = sample.error.map(|error| error.offset.as_nanos());
        self.bound_ns = sample.error.map(|error| error.bound().as_nanos());
        self.applied_ns = applied.as_nanos();
        self.state = sample.state;
        if consensus.is_ok() {
            self.last_sync = Some(rfc3339(sample.utc));
        }
        if let Some(judged) = judged {
            self.quality = judged.quality;
            self.status = judged.status;
            self.reasons = judged.reasons;
        }
        let found = consensus.ok();
        let mut servers: Vec<&str> = heard.answers.iter().map(|a| a.server.as_str()).collect();
        servers.sort_unstable();
        servers.dedup();
        self.ntp = NtpSummary {
            asked: heard.asked,
            answered: servers.len(),
            silent: heard.silent.clone(),
            delay_ns: found.as_ref().map(|c| c.delay.as_nanos()),
            stratum: found.as_ref().map(|c| c.stratum),
            agreeing: found.as_ref().map(|c| c.agreeing.clone()).unwrap_or_default(),
            falsetickers: found.map(|c| c.falsetickers).unwrap_or_default(),
        };
    }
}

/// Settings, status and statistics.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SyncSummary {
    /// Whether it may be started.
    pub enabled: bool,
    /// From one check to the next.
    pub sync_interval_ns: i64,
    /// What is not corrected.
    pub drift_threshold_ns: i64,
    /// Whether answers are corrected.
    pub correction_enabled: bool,
    /// What the levels are.
    pub profile: String,
    /// How the clock is.
    pub status: SyncStatus,
    /// How it was.
    pub statistics: Statistics,
    /// Whether clock and servers are simulated.
    pub simulation: bool,
}

/// The newest hundred checks in numbers; of the offset of the system clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// Checks kept.
    pub checks: usize,
    /// Those of them with an offset.
    pub known: usize,
    /// Mean offset with its sign.
    pub mean_ns: Option<i64>,
    /// Mean size of the offset.
    pub mean_abs_ns: Option<i64>,
    /// The largest size.
    pub max_abs_ns: Option<i64>,
    /// Standard deviation of the offset.
    pub stdev_ns: Option<i64>,
    /// Whether clock and servers are simulated.
    pub simulation: bool,
}

impl Statistics {
    pub(super) fn of(history: &VecDeque<Check>) -> Statistics {
        let offsets: Vec<i128> = history.iter().filter_map(|c| c.offset_ns.map(i128::from)).collect();
        let n = offsets.len() as i128;
        // What lies between numbers of this size is one.
        let narrow = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
        let mean =
            |values: &mut dyn Iterator<Item = i128>| (n > 0).then(|| narrow(values.sum::<i128>() / n.max(1)));
        let mean_ns = mean(&mut offsets.iter().copied());
        let square = |offset: &i128| ((offset - i128::from(mean_ns.unwrap_or(0))) as f64).powi(2);
        Statistics {
            checks: history.len(),
            known: offsets.len(),
            mean_ns,
            mean_abs_ns: mean(&mut offsets.iter().map(|o| o.abs())),
            max_abs_ns: offsets.iter().map(|o| narrow(o.abs())).max(),
            stdev_ns: (n > 1)
                .then(|| (offsets.iter().map(square).sum::<f64>() / (n - 1) as f64).sqrt() as i64),
            simulation: history.iter().any(|c| c.simulation),
        }
    }
}

/// A simulated system clock, with three servers that know how it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    /// What it lacks at the beginning.
    pub offset: Span,
    /// How fast it falls behind, in parts per million.
    pub drift_ppm: f64,
}

impl Simulated {
    /// What the servers say after so much time: each is a little wrong, and says by how much at most.
    pub(super) fn heard(&self, since: Span) -> Heard {
        let truth = self.offset + Span::from_secs_f64(since.as_secs_f64() * self.drift_ppm * 1e-6);
        let answer = |(i, wrong): (usize, i64)| Answer {
            server: format!("simulated server {}", i + 1),
            offset: truth + Span::from_micros(wrong),
            max_error: Span::from_micros(500),
            delay: Span::from_micros(900),
            stratum: 1,
            leap: Leap::None,
        };
        let answers: Vec<Answer> = [40, -70, 20].into_iter().enumerate().map(answer).collect();
        Heard { asked: answers.len(), answers, silent: Vec::new() }
    }
}
