//! The monitor: samples in, events out. It remembers the level, the alerts that stand, and how much of the time it has seen.

use crate::trend::{Foretold, History};
use crate::{Alert, Backing, Event, Judgement, Profile, Sample, What};
use chronotick_clock::{RawInstant, Span};

/// When an alert is raised and cleared: not by a single sample, and not at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hysteresis {
    /// So many samples in a row are wrong before an alert is raised. Default 2.
    pub raise_after: u32,
    /// So many samples in a row are right before it is cleared. Default 3.
    pub clear_after: u32,
    /// Right is at most so many percent of the alert limit. Default 80.
    pub clear_percent: u32,
}

impl Default for Hysteresis {
    fn default() -> Hysteresis {
        Hysteresis { raise_after: 2, clear_after: 3, clear_percent: 80 }
    }
}

/// What a sample says about one kind of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wrong,
    /// Neither wrong enough to raise an alert nor right enough to clear one.
    Between,
    Right,
}

/// One kind of alert over time.
#[derive(Clone, Copy, Debug, Default)]
struct Latch {
    in_a_row: u32,
    since: Option<RawInstant>,
    peak: Option<Span>,
}

enum Turn {
    Raised,
    Cleared { stood: Span, peak: Option<Span> },
}

impl Latch {
    fn take(
        &mut self,
        verdict: Verdict,
        value: Option<Span>,
        at: RawInstant,
        rule: &Hysteresis,
    ) -> Option<Turn> {
        let counts = if self.since.is_some() { Verdict::Right } else { Verdict::Wrong };
        self.in_a_row = if verdict == counts { self.in_a_row + 1 } else { 0 };
        if self.since.is_some() {
            self.peak = self.peak.max(value);
        }
        match self.since {
            None if self.in_a_row >= rule.raise_after.max(1) => {
                *self = Latch { in_a_row: 0, since: Some(at), peak: value };
                Some(Turn::Raised)
            }
            Some(since) if self.in_a_row >= rule.clear_after.max(1) => {
                let turn = Turn::Cleared { stood: at - since, peak: self.peak };
                *self = Latch::default();
                Some(turn)
            }
            _ => None,
        }
    }
}

/// Judges one clock over time.
///
/// ```
/// use chronotick_clock::{RawInstant, Span, Timestamp};
/// use chronotick_monitor::{Backing, ClockError, Monitor, Profile, Sample, What};
/// let mut monitor = Monitor::new(Profile::named("leadville").unwrap());
/// let behind_by = |ms, seconds| Sample {
///     at: RawInstant::from_nanos(0) + Span::from_secs(seconds),
///     utc: Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(seconds),
///     state: Backing::Synced,
///     error: Some(ClockError { offset: Span::from_millis(ms), early: Span::ZERO, late: Span::ZERO }),
///     agreeing: 4,
/// };
/// monitor.take(&behind_by(30, 0));
/// let events = monitor.take(&behind_by(30, 60));
/// assert!(events.iter().any(|event| matches!(event.what, What::AlertRaised { .. })));
/// ```
#[derive(Clone, Debug)]
pub struct Monitor {
    profile: Profile,
    hysteresis: Hysteresis,
    simulation: bool,
    level: Option<Judgement>,
    limit: Latch,
    state: Latch,
    trend: Latch,
    history: History,
    begun: Option<RawInstant>,
    newest: Option<Sample>,
    last_synced: Option<Sample>,
    known: Span,
}

impl Monitor {
    /// No sample stands for more time than this: what is not sampled is not known.
    pub const LONGEST_SAMPLE: Span = Span::from_secs(300);

    /// A monitor that has seen nothing.
    pub fn new(profile: Profile) -> Monitor {
        Monitor {
            profile,
            hysteresis: Hysteresis::default(),
            simulation: false,
            level: None,
            limit: Latch::default(),
            state: Latch::default(),
            trend: Latch::default(),
            history: History::default(),
            begun: None,
            newest: None,
            last_synced: None,
            known: Span::ZERO,
        }
    }

    /// The same with another rule for alerts.
    pub fn with_hysteresis(self, hysteresis: Hysteresis) -> Monitor {
        Monitor { hysteresis, ..self }
    }

    /// The same for a simulated clock: every event says so.
    pub fn of_simulation(self, simulation: bool) -> Monitor {
        Monitor { simulation, ..self }
    }

    /// What is expected of the clock.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The newest judgement; none before the first sample.
    pub fn judgement(&self) -> Option<&Judgement> {
        self.level.as_ref()
    }

    /// The newest sample.
    pub fn newest(&self) -> Option<&Sample> {
        self.newest.as_ref()
    }

    /// The newest sample that was backed by a majority.
    pub fn last_synced(&self) -> Option<&Sample> {
        self.last_synced.as_ref()
    }

    /// The alerts that stand.
    pub fn alerts(&self) -> Vec<Alert> {
        let each = [(Alert::Limit, &self.limit), (Alert::State, &self.state), (Alert::Trend, &self.trend)];
        each.into_iter().filter(|(_, latch)| latch.since.is_some()).map(|(alert, _)| alert).collect()
    }

    /// Share of the time since the first sample in which the clock's error was known, 0–1; none before the second.
    pub fn coverage(&self) -> Option<f64> {
        let all = self.newest?.at - self.begun?;
        (all > Span::ZERO).then(|| self.known.as_secs_f64() / all.as_secs_f64())
    }

    /// Takes in a sample and gives what follows, the sample first. Samples come in ascending order of their instants.
    pub fn take(&mut self, sample: &Sample) -> Vec<Event> {
        let judged = Judgement::of(sample, &self.profile);
        let mut found = vec![What::Sample {
            state: sample.state,
            offset_ns: sample.error.map(|error| error.offset.as_nanos()),
            bound_ns: sample.error.map(|error| error.bound().as_nanos()),
            quality: judged.quality,
        }];
        if let Some(before) = &self.level
            && (before.state, before.quality) != (judged.state, judged.quality)
        {
            found.push(What::LevelChanged {
                from_state: before.state,
                to_state: judged.state,
                from: before.quality,
                to: judged.quality,
            });
        }
        found.extend(self.judge_limit(sample));
        found.extend(self.judge_state(sample, &judged));
        found.extend(self.judge_trend(sample));
        self.count(sample);
        self.level = Some(judged);
        let utc_ns = sample.utc.as_nanos();
        found.into_iter().map(|what| Event { utc_ns, simulation: self.simulation, what }).collect()
    }

    fn count(&mut self, sample: &Sample) {
        if let Some(before) = self.newest
            && before.error.is_some()
        {
            self.known += (sample.at - before.at).max(Span::ZERO).min(Monitor::LONGEST_SAMPLE);
        }
        self.begun.get_or_insert(sample.at);
        self.newest = Some(*sample);
        if sample.state == Backing::Synced {
            self.last_synced = Some(*sample);
        }
    }

    /// Only what is strictly beyond the limit is wrong; what is not known neither raises nor clears.
    fn judge_limit(&mut self, sample: &Sample) -> Option<What> {
        let (limit, metric) = (self.profile.alert, self.profile.metric_of(sample));
        let clear = Span::from_nanos(limit.as_nanos() / 100 * i64::from(self.hysteresis.clear_percent));
        let verdict = match metric {
            Some(metric) if metric > limit => Verdict::Wrong,
            Some(metric) if metric <= clear => Verdict::Right,
            _ => Verdict::Between,
        };
        let turn = self.limit.take(verdict, metric, sample.at, &self.hysteresis)?;
        let value = metric.unwrap_or_default();
        let why = format!("the {} of {value} is beyond {limit}", self.profile.metric);
        Some(said(Alert::Limit, turn, why, metric))
    }

    fn judge_state(&mut self, sample: &Sample, judged: &Judgement) -> Option<What> {
        let verdict = match sample.state {
            Backing::Synced => Verdict::Right,
            Backing::Warmup => Verdict::Between,
            Backing::Holdover | Backing::Unsynced | Backing::Error | Backing::NoData => Verdict::Wrong,
        };
        let turn = self.state.take(verdict, None, sample.at, &self.hysteresis)?;
        Some(said(Alert::State, turn, judged.reasons.first().cloned().unwrap_or_default(), None))
    }

    fn judge_trend(&mut self, sample: &Sample) -> Option<What> {
        let offset = sample.error?.offset;
        let (verdict, why) = match self.history.take(sample.at, offset)? {
            Foretold::Beyond { expected, margin } => {
                let why = format!(
                    "an offset of {offset} is beyond the {expected} ± {margin} that its history predicts"
                );
                (Verdict::Wrong, why)
            }
            Foretold::Within => (Verdict::Right, String::new()),
        };
        let turn = self.trend.take(verdict, Some(offset.abs()), sample.at, &self.hysteresis)?;
        Some(said(Alert::Trend, turn, why, Some(offset)))
    }
}

fn said(alert: Alert, turn: Turn, why: String, value: Option<Span>) -> What {
    match turn {
        Turn::Raised => What::AlertRaised { alert, why, value_ns: value.map(Span::as_nanos) },
        Turn::Cleared { stood, peak } => {
            What::AlertCleared { alert, stood_ns: stood.as_nanos(), peak_ns: peak.map(Span::as_nanos) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;
    use crate::judge::tests::sample;
    use proptest::prelude::*;

    fn names(events: &[Event]) -> Vec<&'static str> {
        events.iter().map(|event| event.what.name()).collect()
    }

    fn leadville() -> Monitor {
        Monitor::new(Profile::named("leadville").unwrap())
    }

    #[test]
    fn an_alert_is_raised_after_two_samples_and_cleared_after_three_below_four_fifths() {
        let mut monitor = leadville();
        let offsets = [21.0, 19.9, 21.0, 22.0, 30.0, 17.0, 15.0, 15.0, 17.0, 15.0, 15.0, 15.0];
        let turns: Vec<_> = (0..)
            .zip(offsets)
            .flat_map(|(i, offset)| monitor.take(&sample(i * 60, offset)))
            .filter(|event| matches!(event.what, What::AlertRaised { .. } | What::AlertCleared { .. }))
            .collect();
        assert_eq!(names(&turns), ["alert_raised", "alert_cleared"]);
        let What::AlertCleared { stood_ns, peak_ns, .. } = turns[1].what else { panic!() };
        assert_eq!(stood_ns, Span::from_secs(8 * 60).as_nanos());
        assert_eq!(peak_ns, Some(30_001_000));
    }

    #[test]
    fn exactly_the_limit_never_alerts() {
        let mut profile = Profile::named("leadville").unwrap();
        profile.metric = crate::Metric::Offset;
        let mut monitor = Monitor::new(profile);
        for i in 0..10 {
            assert!(!names(&monitor.take(&sample(i, 20.0))).contains(&"alert_raised"));
        }
        assert_eq!(monitor.alerts(), []);
    }

    #[test]
    fn a_changed_level_is_said_once() {
        let mut monitor = leadville();
        assert_eq!(names(&monitor.take(&sample(0, 0.0))), ["sample"]);
        assert_eq!(names(&monitor.take(&sample(1, 7.0))), ["sample", "level_changed"]);
        assert_eq!(names(&monitor.take(&sample(2, 7.0))), ["sample"]);
        assert_eq!(monitor.judgement().unwrap().quality, Some(Level::Good));
    }

    #[test]
    fn lost_time_is_an_alert_even_where_no_offset_is_known() {
        let mut monitor = leadville();
        monitor.take(&sample(0, 0.0));
        let lost = |i| Sample { state: Backing::NoData, error: None, ..sample(i, 0.0) };
        assert_eq!(names(&monitor.take(&lost(60))), ["sample", "level_changed"]);
        assert_eq!(names(&monitor.take(&lost(120))), ["sample", "alert_raised"]);
        assert_eq!(monitor.alerts(), [Alert::State]);
        assert_eq!(monitor.last_synced().unwrap().at, sample(0, 0.0).at);
    }

    #[test]
    fn coverage_is_the_share_of_time_in_which_the_error_was_known() {
        let mut monitor = leadville();
        assert_eq!(monitor.coverage(), None);
        monitor.take(&sample(0, 0.0));
        monitor.take(&sample(100, 0.0));
        assert_eq!(monitor.coverage(), Some(1.0));
        monitor.take(&Sample { error: None, ..sample(200, 0.0) });
        monitor.take(&sample(400, 0.0));
        assert_eq!(monitor.coverage(), Some(0.5));
        // An hour without a sample is an hour unknown, but for five minutes.
        monitor.take(&sample(4_000, 0.0));
        assert_eq!(monitor.coverage(), Some(500.0 / 4_000.0));
    }

    proptest! {
        /// Raising and clearing take turns, whatever comes.
        #[test]
        fn alerts_come_in_pairs(offsets in prop::collection::vec(0f64..40.0, 0..80)) {
            let mut monitor = leadville();
            let mut stands = false;
            for (i, offset) in offsets.into_iter().enumerate() {
                for event in monitor.take(&sample(i as i64, offset)) {
                    match event.what {
                        What::AlertRaised { alert: Alert::Limit, .. } => {
                            prop_assert!(!stands);
                            stands = true;
                        }
                        What::AlertCleared { alert: Alert::Limit, .. } => {
                            prop_assert!(stands);
                            stands = false;
                        }
                        _ => {}
                    }
                }
            }
            prop_assert_eq!(stands, monitor.alerts().contains(&Alert::Limit));
        }
    }
}
