//! The drift of the system clock, found in two independent ways: by own exchanges with the servers, and by the daemon if one
//! runs. The daemon knows better, and is not believed where the exchanges contradict it.

use super::exchange::{Heard, Silent};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Leap, Span};
use chronotick_core::Interval;
use chronotick_monitor::{
    Backing, ClockError, Consensus, Judgement, Level, Metric, NoConsensus, Profile, Sample, Status,
};
use serde::Serialize;

/// What was found. Offsets are true − local: positive means that the system clock is behind.
#[derive(Clone, Debug, Serialize)]
pub struct Drift {
    /// When, by the best that is known.
    pub time: String,
    /// What follows.
    pub status: Status,
    /// Whether evidence backs it.
    pub state: Backing,
    /// How good the profile's metric is.
    pub quality: Option<Level>,
    /// The profile.
    pub profile: String,
    /// What the profile judges by.
    pub metric: Metric,
    /// True time minus the system clock.
    pub offset_ns: Option<i64>,
    /// The furthest that the system clock can be from true time.
    pub bound_ns: Option<i64>,
    /// True time is no more than this before the estimate.
    pub early_ns: Option<i64>,
    /// True time is no more than this after the estimate.
    pub late_ns: Option<i64>,
    /// `behind`, `ahead` or `exact`.
    pub direction: Option<&'static str>,
    /// Why the status is not better, worst first.
    pub reasons: Vec<String>,
    /// What the numbers are from: `daemon`, `servers` or `nobody`.
    pub answered_by: &'static str,
    /// Round trip to the server that confines the error most; it is taken out of the offset.
    pub delay_ns: Option<i64>,
    /// The leap second that is announced.
    pub leap: Option<&'static str>,
    /// Addresses asked.
    pub asked: usize,
    /// Servers that agree.
    pub agreeing: Vec<String>,
    /// Servers that contradict the majority.
    pub falsetickers: Vec<String>,
    /// Servers without an answer.
    pub silent: Vec<Silent>,
    /// Every good answer.
    pub answers: Vec<Told>,
    /// The daemon's own word, if one runs.
    pub daemon: Option<DaemonWord>,
    /// Whether anything of it is simulated.
    pub simulation: bool,
}

/// One good answer.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Who.
    pub server: String,
    /// Its time minus the system clock.
    pub offset_ns: i64,
    /// How wrong that may be if it is honest.
    pub max_error_ns: i64,
    /// The round trip.
    pub delay_ns: i64,
    /// Distance from a reference clock.
    pub stratum: u8,
}

/// The daemon's own word.
#[derive(Clone, Debug, Serialize)]
pub struct DaemonWord {
    /// Its state.
    pub state: Backing,
    /// Why.
    pub reason: String,
    /// True time minus the system clock.
    pub offset_ns: Option<i64>,
    /// The furthest that the system clock can be from true time.
    pub bound_ns: Option<i64>,
    /// Sources that it trusts.
    pub agreeing: u32,
    /// Whether its world is simulated.
    pub simulation: bool,
}

/// What a daemon says, in the monitor's terms.
#[derive(Clone, Debug)]
pub struct DaemonSays {
    /// Its sample.
    pub sample: Sample,
    /// Its reason.
    pub reason: String,
    /// Whether its world is simulated.
    pub simulation: bool,
}

fn interval(error: ClockError) -> Interval {
    Interval { lo: error.offset - error.early, hi: error.offset + error.late }
}

impl Drift {
    /// Puts together what the servers and the daemon said.
    pub fn of(heard: Heard, daemon: Option<DaemonSays>, profile: &Profile, pair: ClockPair) -> Drift {
        let consensus = Consensus::of(&heard.answers);
        let usable = daemon
            .as_ref()
            .filter(|d| matches!(d.sample.state, Backing::Synced | Backing::Holdover) && !d.simulation);
        let (sample, answered_by) = match (&consensus, usable) {
            (_, Some(says)) => (says.sample, "daemon"),
            (Ok(found), None) => (by_servers(found, pair), "servers"),
            (Err(why), None) => (without(why, pair), "nobody"),
        };
        let mut judged = Judgement::of(&sample, profile);
        if let Err(why) = &consensus {
            match usable {
                Some(_) => add(&mut judged, Status::Warning, format!("only the daemon says so: {why}")),
                None => add(&mut judged, Status::Warning, why.to_string()),
            }
        }
        if let (Ok(found), Some(says)) = (&consensus, usable)
            && let Some(error) = says.sample.error
            && !interval(error).overlaps(&interval(found.error))
        {
            let why =
                format!("the servers contradict the daemon: {} against {}", found.error.offset, error.offset);
            add(&mut judged, Status::Critical, why);
        }
        if let Ok(found) = &consensus
            && !found.falsetickers.is_empty()
        {
            add(
                &mut judged,
                Status::Warning,
                format!("{} contradicts the majority", found.falsetickers.join(", ")),
            );
        }
        Drift::told(heard, daemon, consensus.ok(), &sample, judged, profile, answered_by)
    }

    fn told(
        heard: Heard,
        daemon: Option<DaemonSays>,
        consensus: Option<Consensus>,
        sample: &Sample,
        judged: Judgement,
        profile: &Profile,
        answered_by: &'static str,
    ) -> Drift {
        let error = sample.error;
        let ns = |of: &dyn Fn(ClockError) -> Span| error.map(|error| of(error).as_nanos());
        Drift {
            time: rfc3339(sample.utc),
            status: judged.status,
            state: judged.state,
            quality: judged.quality,
            profile: profile.name.clone(),
            metric: profile.metric,
            offset_ns: ns(&|e| e.offset),
            bound_ns: ns(&|e| e.bound()),
            early_ns: ns(&|e| e.early),
            late_ns: ns(&|e| e.late),
            direction: error.map(|e| match e.offset.as_nanos() {
                0 => "exact",
                1.. => "behind",
                _ => "ahead",
            }),
            reasons: judged.reasons,
            answered_by,
            delay_ns: consensus.as_ref().map(|c| c.delay.as_nanos()),
            leap: consensus.as_ref().map(|c| match c.leap {
                Leap::None => "none",
                Leap::Insert => "insert",
                Leap::Delete => "delete",
            }),
            asked: heard.asked,
            answers: heard.answers.iter().map(told).collect(),
            silent: heard.silent,
            simulation: daemon.as_ref().is_some_and(|d| d.simulation),
            daemon: daemon.map(|d| DaemonWord {
                state: d.sample.state,
                reason: d.reason,
                offset_ns: d.sample.error.map(|e| e.offset.as_nanos()),
                bound_ns: d.sample.error.map(|e| e.bound().as_nanos()),
                agreeing: d.sample.agreeing,
                simulation: d.simulation,
            }),
            agreeing: consensus.as_ref().map(|c| c.agreeing.clone()).unwrap_or_default(),
            falsetickers: consensus.map(|c| c.falsetickers).unwrap_or_default(),
        }
    }
}

fn told(answer: &chronotick_monitor::Answer) -> Told {
    Told {
        server: answer.server.clone(),
        offset_ns: answer.offset.as_nanos(),
        max_error_ns: answer.max_error.as_nanos(),
        delay_ns: answer.delay.as_nanos(),
        stratum: answer.stratum,
    }
}

fn add(judged: &mut Judgement, status: Status, why: String) {
    let place = if status > judged.status { 0 } else { judged.reasons.len() };
    judged.reasons.insert(place, why);
    judged.status = judged.status.max(status);
}

/// What own exchanges say: synced where a majority agrees, however many servers that is.
pub fn by_servers(found: &Consensus, pair: ClockPair) -> Sample {
    Sample {
        at: pair.raw,
        utc: pair.system + found.error.offset,
        state: Backing::Synced,
        error: Some(found.error),
        agreeing: u32::try_from(found.agreeing.len()).unwrap_or(u32::MAX),
    }
}

fn without(why: &NoConsensus, pair: ClockPair) -> Sample {
    let state = match why {
        NoConsensus::NoAnswer => Backing::NoData,
        NoConsensus::NoMajority(_) => Backing::Unsynced,
    };
    Sample { at: pair.raw, utc: pair.system, state, error: None, agreeing: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::{RawInstant, Timestamp};
    use chronotick_monitor::Answer;

    fn heard(offsets_us: &[i64]) -> Heard {
        let answer = |(i, &offset): (usize, &i64)| Answer {
            server: format!("s{i}"),
            offset: Span::from_micros(offset),
            max_error: Span::from_micros(200),
            delay: Span::from_micros(300),
            stratum: 1,
            leap: Leap::None,
        };
        let answers: Vec<_> = offsets_us.iter().enumerate().map(answer).collect();
        Heard { asked: answers.len(), answers, silent: vec![] }
    }

    fn pair() -> ClockPair {
        ClockPair {
            raw: RawInstant::from_nanos(0),
            system: Timestamp::from_nanos(1_700_000_000_000_000_000),
            slack: Span::ZERO,
        }
    }

    fn daemon(offset_us: i64) -> DaemonSays {
        let (early, offset) = (Span::from_micros(20), Span::from_micros(offset_us));
        let error = Some(ClockError { offset, early, late: early });
        let sample =
            Sample { at: pair().raw, utc: pair().system, state: Backing::Synced, error, agreeing: 3 };
        DaemonSays { sample, reason: "agreement".into(), simulation: false }
    }

    fn drift(heard: Heard, daemon: Option<DaemonSays>) -> Drift {
        Drift::of(heard, daemon, &Profile::default(), pair())
    }

    #[test]
    fn two_servers_that_agree_are_enough_and_one_is_a_warning() {
        let two = drift(heard(&[100, 50]), None);
        assert_eq!(
            (two.status, two.answered_by, two.direction),
            (Status::Healthy, "servers", Some("behind"))
        );
        let one = drift(heard(&[100]), None);
        assert_eq!((one.status, one.state), (Status::Warning, Backing::Synced));
    }

    #[test]
    fn nobody_is_unknown_and_a_split_is_critical() {
        let nobody = drift(heard(&[]), None);
        assert_eq!((nobody.status, nobody.offset_ns, nobody.answered_by), (Status::Unknown, None, "nobody"));
        let split = drift(heard(&[0, 900_000]), None);
        assert_eq!((split.status, split.state), (Status::Critical, Backing::Unsynced));
    }

    #[test]
    fn the_daemon_knows_better_unless_the_servers_contradict_it() {
        let agreed = drift(heard(&[100, 50]), Some(daemon(80)));
        assert_eq!((agreed.status, agreed.offset_ns), (Status::Healthy, Some(80_000)));
        let contradicted = drift(heard(&[100, 50]), Some(daemon(50_000)));
        assert_eq!(contradicted.status, Status::Critical);
        assert!(contradicted.reasons.iter().any(|r| r.contains("contradict the daemon")), "{contradicted:?}");
        let alone = drift(heard(&[]), Some(daemon(80)));
        assert_eq!((alone.status, alone.answered_by), (Status::Warning, "daemon"));
    }

    #[test]
    fn a_simulated_daemon_says_nothing_about_this_clock() {
        let simulated = DaemonSays { simulation: true, ..daemon(5) };
        let found = drift(heard(&[100, 50]), Some(simulated));
        assert_eq!((found.answered_by, found.simulation), ("servers", true));
    }
}
