//! One sample of a clock, and what is made of it: state and quality apart, and the status that follows from both.

use crate::{Backing, Level, Profile, Status};
use chronotick_clock::{RawInstant, Span, Timestamp};
use serde::Serialize;

/// How wrong a clock is, and how wrong that may be. Offsets are true − local: positive means that the clock is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockError {
    /// The best estimate of true time minus the clock.
    pub offset: Span,
    /// True time is no more than this before the estimate; never negative.
    pub early: Span,
    /// True time is no more than this after the estimate; never negative.
    pub late: Span,
}

impl ClockError {
    /// The furthest that the clock can be from true time.
    pub fn bound(self) -> Span {
        (self.offset - self.early).abs().max((self.offset + self.late).abs())
    }
}

/// The clock at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The raw instant: intervals are measured with it, because nobody steps it.
    pub at: RawInstant,
    /// The best that is known of true time then.
    pub utc: Timestamp,
    /// Whether evidence backs it.
    pub state: Backing,
    /// The clock's error; none where nothing is known.
    pub error: Option<ClockError>,
    /// How many sources agree.
    pub agreeing: u32,
}

/// What is made of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// Whether evidence backs it.
    pub state: Backing,
    /// How good the metric is; none where it is not known.
    pub quality: Option<Level>,
    /// What follows from both.
    pub status: Status,
    /// Why the status is not better, worst first; empty if it is healthy.
    pub reasons: Vec<String>,
}

impl Judgement {
    /// Judges a sample.
    ///
    /// A good level never makes up for a bad state, nor the other way round: the worse of the two counts. That time is in
    /// holdover is a warning until the metric says worse; that nothing is known is never healthy.
    pub fn of(sample: &Sample, profile: &Profile) -> Judgement {
        let metric = profile.metric_of(sample);
        let quality = metric.map(|metric| profile.level(metric));
        let mut found = vec![by_state(sample.state)];
        if let (Some(metric), Some(level)) = (metric, quality) {
            // What nobody measures any more may be beyond every edge, and need not be.
            found.extend((sample.state != Backing::NoData).then(|| by_level(level, metric, profile)));
        } else if sample.state == Backing::Synced {
            found.push(Some((Status::Unknown, "the error of the clock is not known".into())));
        }
        if sample.state == Backing::Synced && sample.agreeing < profile.min_agreeing {
            let (agreeing, wanted) = (sample.agreeing, profile.min_agreeing);
            let why = format!("{agreeing} of at least {wanted} sources agree: a liar could not be told");
            found.push(Some((Status::Warning, why)));
        }
        let mut found: Vec<(Status, String)> = found.into_iter().flatten().collect();
        found.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
        let status = found.first().map_or(Status::Healthy, |(status, _)| *status);
        let reasons = found.into_iter().map(|(_, why)| why).collect();
        Judgement { state: sample.state, quality, status, reasons }
    }
}

fn by_state(state: Backing) -> Option<(Status, String)> {
    let (status, why) = match state {
        Backing::Synced => return None,
        Backing::Holdover => (Status::Warning, "the sources are lost and the bound grows"),
        Backing::Warmup => (Status::Unknown, "the sources are being measured for the first time"),
        Backing::Unsynced => (Status::Critical, "nothing backs an acceptable claim about time"),
        Backing::Error => (Status::Critical, "the engine has failed"),
        Backing::NoData => (Status::Unknown, "nobody measures time, or no source answers"),
    };
    Some((status, why.into()))
}

fn by_level(level: Level, metric: Span, profile: &Profile) -> Option<(Status, String)> {
    let status = match level {
        Level::Excellent | Level::Good => return None,
        Level::Fair | Level::Poor => Status::Warning,
        Level::Critical => Status::Critical,
    };
    let edge = profile.edges[level as usize - 1];
    let Profile { metric: judged, name, .. } = profile;
    Some((status, format!("the {judged} of {metric} is {level}: not below {edge} (profile {name})")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Metric;
    use proptest::prelude::*;

    /// A sample at so many seconds whose clock is so many ms behind, known to ±1 µs, with four sources that agree.
    pub(crate) fn sample(seconds: i64, offset_ms: f64) -> Sample {
        let (at, early) = (RawInstant::from_nanos(0) + Span::from_secs(seconds), Span::from_micros(1));
        let error = ClockError { offset: Span::from_secs_f64(offset_ms / 1e3), early, late: early };
        let utc = Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(seconds);
        Sample { at, utc, state: Backing::Synced, error: Some(error), agreeing: 4 }
    }

    #[test]
    fn the_bound_is_the_furthest_that_truth_can_be() {
        let span = Span::from_micros;
        let error =
            |offset, early, late| ClockError { offset: span(offset), early: span(early), late: span(late) };
        assert_eq!(error(10, 3, 5).bound(), span(15));
        assert_eq!(error(-10, 3, 5).bound(), span(13));
        assert_eq!(error(0, 7, 5).bound(), span(7));
    }

    #[test]
    fn state_and_quality_stay_apart_and_the_worse_one_counts() {
        let judged = |state, offset| {
            let sample = Sample { state, ..sample(0, offset) };
            let judged = Judgement::of(&sample, &Profile::default());
            (judged.quality.unwrap(), judged.status)
        };
        assert_eq!(judged(Backing::Synced, 0.5), (Level::Excellent, Status::Healthy));
        assert_eq!(judged(Backing::Synced, 10.0), (Level::Fair, Status::Warning));
        assert_eq!(judged(Backing::Synced, 60.0), (Level::Critical, Status::Critical));
        assert_eq!(judged(Backing::Holdover, 0.5), (Level::Excellent, Status::Warning));
        assert_eq!(judged(Backing::Holdover, 60.0), (Level::Critical, Status::Critical));
        assert_eq!(judged(Backing::Warmup, 0.5), (Level::Excellent, Status::Unknown));
        assert_eq!(judged(Backing::NoData, 0.5), (Level::Excellent, Status::Unknown));
        assert_eq!(judged(Backing::NoData, 60.0), (Level::Critical, Status::Unknown));
        for state in [Backing::Unsynced, Backing::Error] {
            assert_eq!(judged(state, 0.5), (Level::Excellent, Status::Critical));
        }
    }

    #[test]
    fn what_is_not_known_has_no_level_and_is_not_healthy() {
        let unknown = Sample { error: None, ..sample(0, 0.0) };
        let judged = Judgement::of(&unknown, &Profile::default());
        assert_eq!((judged.quality, judged.status), (None, Status::Unknown));
        assert_eq!(judged.reasons.len(), 1);
    }

    #[test]
    fn a_single_source_is_a_warning_that_says_so() {
        let alone = Sample { agreeing: 1, ..sample(0, 0.0) };
        let judged = Judgement::of(&alone, &Profile::default());
        assert_eq!(judged.status, Status::Warning);
        assert!(judged.reasons[0].starts_with("1 of at least 2 sources"), "{:?}", judged.reasons);
        let content = Profile { min_agreeing: 1, ..Profile::default() };
        assert_eq!(Judgement::of(&alone, &content).status, Status::Healthy);
    }

    #[test]
    fn the_metric_is_the_declared_one() {
        let mut wide = sample(0, 0.5);
        wide.error.as_mut().unwrap().late = Span::from_millis(60);
        let by_offset = Profile { metric: Metric::Offset, ..Profile::default() };
        assert_eq!(Judgement::of(&wide, &by_offset).quality, Some(Level::Excellent));
        assert_eq!(Judgement::of(&wide, &Profile::default()).quality, Some(Level::Critical));
    }

    proptest! {
        #[test]
        fn only_what_is_synced_and_known_and_good_is_healthy(
            state in 0usize..6, known: bool, offset in -100f64..100.0, agreeing in 0u32..5,
        ) {
            use Backing::*;
            let state = [Warmup, Synced, Holdover, Unsynced, Error, NoData][state];
            let mut sample = Sample { state, agreeing, ..sample(0, offset) };
            if !known {
                sample.error = None;
            }
            let judged = Judgement::of(&sample, &Profile::default());
            let healthy = judged.status == Status::Healthy;
            let good = judged.quality.is_some_and(|level| level <= Level::Good);
            prop_assert_eq!(healthy, state == Synced && good && agreeing >= 2);
            prop_assert_eq!(healthy, judged.reasons.is_empty());
        }
    }
}
