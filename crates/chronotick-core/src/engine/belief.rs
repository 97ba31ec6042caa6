//! Which sources are believed, where they put true time, and whether that is to be trusted.

use super::{Engine, Source};
use crate::bound::Envelope;
use crate::estimate::Estimate;
use crate::select::{Interval, Region, Witness};
use crate::status::Verdict;
use crate::symmetry::Testimony;
use crate::{Assumption, Event, Leap, Narrow, Rate, RawInstant, Reason, SourceId, Span, State};

impl Engine {
    pub(super) fn envelope(&mut self, now: RawInstant) -> Envelope {
        match self.estimator.estimate(now) {
            Some(estimate) => self.envelope_of(&estimate),
            None => Envelope { rate: Rate::ZERO, tolerance: self.settings.frequency_tolerance },
        }
    }

    pub(super) fn envelope_of(&self, estimate: &Estimate) -> Envelope {
        let statistical = 4.0 * estimate.rate_sigma.as_f64() + self.wander.tolerance();
        let unlearned = self.learning.map_or(0.0, |limits| limits.distance(estimate.rate));
        let tolerance = Rate::from_f64(statistical.max(unlearned));
        if tolerance < self.settings.frequency_tolerance {
            Envelope { rate: estimate.rate, tolerance }
        } else {
            Envelope { rate: Rate::ZERO, tolerance: self.settings.frequency_tolerance }
        }
    }

    /// As [`envelope`](Engine::envelope), for a clock whose frequency does not jump.
    pub(super) fn closely(&mut self, now: RawInstant) -> Envelope {
        let plain = self.envelope(now);
        let (Some(estimate), Some(last)) = (self.estimator.estimate(now), self.last_trusted) else {
            return plain;
        };
        // Halfway between then and now: what has come about grows with the time.
        let idle = ((self.carried - last).max(Span::ZERO) + (now - last)).half();
        let tolerance = Rate::from_f64(4.0 * estimate.rate_sigma.as_f64() + self.wander.gradual(idle));
        if tolerance < plain.tolerance { Envelope { rate: estimate.rate, tolerance } } else { plain }
    }

    pub(super) fn carry(&mut self, now: RawInstant) {
        let closely = self.closely(now);
        self.sources.values_mut().for_each(|s| s.symmetry.carry(now, &closely));
        self.carried = now;
    }

    /// Where true time is at `now` on the nominal scale if the paths are symmetric; `None` where that says no more than
    /// the bound does.
    pub(super) fn narrow(&mut self, now: RawInstant) -> Option<(Interval, Assumption)> {
        if self.settings.asymmetry == 0 {
            return None;
        }
        let region = self.region(now)?.preferred;
        let (envelope, closely) = (self.envelope(now), self.closely(now));
        let testimony = |s: &Source| {
            let plain = s.bound?.carried_to(now, &envelope).interval;
            Some(s.symmetry.testimony(now, &closely, plain))
        };
        let asked = self.sources.iter().filter(|(id, s)| s.asked() && self.teaches(**id));
        let all: Vec<Testimony> = asked.filter_map(|(_, s)| testimony(s)).collect();
        let (narrow, asymmetry) = Testimony::majority(&all, self.settings.asymmetry)?;
        // Where a preferred source says more than symmetry does, both hold; where they contradict each other, neither.
        let narrow = narrow.and(&region)?;
        (narrow != region).then_some((narrow, Assumption::symmetry_within(asymmetry)?))
    }

    /// What the sources say at `now`.
    pub(super) fn witnesses(&self, now: RawInstant, envelope: &Envelope) -> Vec<(SourceId, Witness)> {
        let witness = |s: &Source| {
            let interval = s.bound?.carried_to(now, envelope).interval;
            Some(Witness { interval, role: s.role })
        };
        self.sources.iter().filter_map(|(&id, s)| Some((id, witness(s)?))).collect()
    }

    /// Where true time is at `now` on the nominal scale.
    pub(super) fn region(&mut self, now: RawInstant) -> Option<Region> {
        let envelope = self.envelope(now);
        let witnesses: Vec<Witness> = self.witnesses(now, &envelope).into_iter().map(|(_, w)| w).collect();
        Region::of(&witnesses)
    }

    /// Renews every source's verdict. A majority that has moved to where it cannot have been means that the clock
    /// jumped under us.
    pub(super) fn select(&mut self, now: RawInstant) {
        let region = self.region(now);
        let majority = region.is_some_and(|region| region.majority);
        let envelope = self.envelope(now);
        // By what the majority agrees on: a preferred source that comes or goes is no jump.
        let doubtful = self.sources.values().any(|s| s.doubt.is_some());
        if let Some(region) = region.filter(|r| r.majority && !doubtful).map(|r| r.agreed)
            && let Some((then, before)) = self.majority.replace((now, region))
        {
            let (moved, widened) = (envelope.rate.over(now - then), envelope.tolerance.over(now - then));
            let before = Interval { lo: before.lo + moved - widened, hi: before.hi + moved + widened };
            if !region.overlaps(&before) {
                let by = Span::from_nanos(((region.lo + region.hi) - (before.lo + before.hi)).as_nanos() / 2);
                self.push_event(Event::MajorityMoved { by });
                // A rate that was learned wrong explains a small one as well as a step, and would bring the next.
                if by.abs() <= self.settings.frequency_tolerance.over(now - then) {
                    self.forget_rate();
                }
                self.estimate_anew(now);
            }
        }
        for (id, Witness { interval, role }) in self.witnesses(now, &envelope) {
            let agrees = region.is_some_and(|region| interval.overlaps(&region.agreed));
            let verdict = match (majority, agrees) {
                _ if role.noselect => Verdict::Unselected,
                (false, _) => Verdict::NoMajority,
                (true, true) => Verdict::Trusted,
                (true, false) => Verdict::Falseticker,
            };
            let source = self.sources.get_mut(&id).expect("intervals come from the sources");
            if source.verdict != verdict {
                let name = source.name.clone();
                source.verdict = verdict;
                self.push_event(Event::VerdictChanged { source: id, name, verdict });
            }
        }
    }

    pub(super) fn judge(&mut self, now: RawInstant) -> (State, Reason) {
        let Some(Region { preferred: region, majority, .. }) = self.region(now) else {
            let disrupted = self.disruptions > 0;
            let waited = now - self.started >= self.settings.warmup || self.ever_synced;
            let reason = match (self.sources.is_empty(), disrupted) {
                (true, _) => Reason::NoSources,
                (false, true) => Reason::Disrupted,
                (false, false) => Reason::NoMeasurement,
            };
            return (if waited || disrupted { State::Unsynced } else { State::Warmup }, reason);
        };
        if !majority {
            return (State::Unsynced, Reason::NoMajority);
        }
        if (region.hi - region.lo).half() > self.settings.max_bound {
            return (State::Unsynced, Reason::BoundTooWide);
        }
        let Some(last) = self.last_trusted else { return (State::Warmup, Reason::Gathering) };
        if self.lacks_required(now) {
            return (State::Unsynced, Reason::RequiredSilent);
        }
        let measured = self.sources.values().filter(|s| s.asked() && s.bound.is_some());
        let interval = measured.map(|s| s.interval).min().unwrap_or_default().max(self.poll_interval(now));
        let silent = now - last > interval.times(4) + self.settings.timeout;
        let heard = self.sources.values().filter(|s| s.asked() && s.bound.is_some()).count();
        let gathered = heard == self.sources.values().filter(|s| s.asked()).count()
            || now - self.started > Engine::GATHERING;
        match (self.trusted_count >= Engine::FIRST_MEASUREMENTS && gathered, silent, heard) {
            (_, true, _) if self.ever_synced => (State::Holdover, Reason::SourcesSilent),
            (false, _, _) | (_, true, _) => (State::Warmup, Reason::Gathering),
            (true, false, 1) => (State::Synced, Reason::SingleSource),
            (true, false, _) => (State::Synced, Reason::Agreement),
        }
    }

    /// Whether the estimator learns from a source: where some are trusted the frequency is theirs as well, or a majority of
    /// others could take the bound away by drifting.
    pub(super) fn teaches(&self, id: SourceId) -> bool {
        self.sources[&id].role.trust || !self.sources.values().any(|s| s.asked() && s.role.trust)
    }

    /// Whether sources are required, and none of them is believed and answers.
    pub(super) fn lacks_required(&self, now: RawInstant) -> bool {
        let mut required = self.sources.values().filter(|s| s.role.require).peekable();
        let patience = |s: &Source| s.interval.max(self.poll_interval(now)).times(8) + self.settings.timeout;
        let answers = |s: &Source| s.newest.is_some_and(|newest| now - newest.received <= patience(s));
        required.peek().is_some() && !required.any(|s| s.verdict == Verdict::Trusted && answers(s))
    }

    pub(super) fn leap(&self) -> Leap {
        let trusted: Vec<Leap> = self
            .sources
            .values()
            .filter(|s| s.verdict == Verdict::Trusted)
            .filter_map(|s| s.newest.map(|m| m.leap))
            .collect();
        [Leap::Insert, Leap::Delete]
            .into_iter()
            .find(|leap| trusted.iter().filter(|l| *l == leap).count() * 2 > trusted.len())
            .unwrap_or(Leap::None)
    }
}

/// The sides of the narrow bound around an estimate, none beyond the bound's. Where the estimate lies outside, one of the two is
/// wrong, by at least the distance, and nobody knows which.
pub(super) fn sides(
    (region, assumes): (Interval, Assumption),
    estimate: Span,
    [early, late]: [Span; 2],
) -> Narrow {
    let outside = (region.lo - estimate).max(estimate - region.hi).max(Span::ZERO);
    Narrow {
        early: early.min(estimate - region.lo + outside),
        late: late.min(region.hi - estimate + outside),
        assumes,
    }
}
