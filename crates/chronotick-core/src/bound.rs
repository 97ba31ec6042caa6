//! The guaranteed bound of one source: everything its measurements say about true time, carried to any instant.
//!
//! Positions are on the engine's nominal scale: true time minus (origin + raw time since the origin). Each honest
//! measurement confines true time to ± its root distance; between measurements the interval moves with the estimated
//! rate and widens by what that rate may be wrong. Successive intervals of one source are intersected: the packet
//! with the least delay speaks for a long time.

use crate::select::Interval;
use crate::{Measurement, Rate, RawInstant, Span};

/// Between which rates true time may run against the raw clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) rate: Rate,
    pub(crate) tolerance: Rate,
}

impl Envelope {
    /// How far an edge moves and how much it widens over a span of either sign; widening is rounded up.
    fn over(&self, span: Span) -> (Span, Span) {
        (self.rate.over(span), self.tolerance.over(span.abs()) + Span::from_nanos(1))
    }
}

/// What one edge of an interval is made of, for those who ask why it is where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// When the measurement was made that set this edge.
    pub measured: RawInstant,
    /// Half of the measurement's round trip.
    pub half_delay: Span,
    /// Half of the source's own round trip to its reference.
    pub half_root_delay: Span,
    /// The source's own dispersion and the precision of the clocks.
    pub root_dispersion: Span,
    /// Widening since then, for what the rate may be wrong.
    pub ageing: Span,
}

impl Edge {
    /// All terms together: how far the edge is from what the source said.
    pub fn distance(&self) -> Span {
        self.half_delay + self.half_root_delay + self.root_dispersion + self.ageing
    }

    fn aged(self, by: Span) -> Edge {
        Edge { ageing: self.ageing + by, ..self }
    }
}

/// An interval at an instant, with the makings of its edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SourceBound {
    pub(crate) at: RawInstant,
    pub(crate) interval: Interval,
    pub(crate) low: Edge,
    pub(crate) high: Edge,
}

impl SourceBound {
    /// What one measurement says, at its own instant; `position` is its place on the nominal scale.
    pub(crate) fn of(m: &Measurement, position: Span) -> SourceBound {
        let edge = Edge {
            measured: m.at,
            half_delay: m.delay.max(Span::ZERO).half(),
            half_root_delay: m.root_delay.max(Span::ZERO).half(),
            root_dispersion: m.root_dispersion.max(Span::ZERO),
            ageing: Span::ZERO,
        };
        let distance = edge.distance();
        let interval = Interval { lo: position - distance, hi: position + distance };
        SourceBound { at: m.at, interval, low: edge, high: edge }
    }

    /// The same knowledge at another instant.
    pub(crate) fn carried_to(&self, at: RawInstant, envelope: &Envelope) -> SourceBound {
        let (moved, widened) = envelope.over(at - self.at);
        SourceBound {
            at,
            interval: Interval {
                lo: self.interval.lo + moved - widened,
                hi: self.interval.hi + moved + widened,
            },
            low: self.low.aged(widened),
            high: self.high.aged(widened),
        }
    }

    /// Both statements about the same instant; `None` if they contradict each other.
    pub(crate) fn and(&self, other: &SourceBound) -> Option<SourceBound> {
        let (lo, low) = if self.interval.lo >= other.interval.lo {
            (self.interval.lo, self.low)
        } else {
            (other.interval.lo, other.low)
        };
        let (hi, high) = if self.interval.hi <= other.interval.hi {
            (self.interval.hi, self.high)
        } else {
            (other.interval.hi, other.high)
        };
        (lo <= hi).then_some(SourceBound { at: self.at, interval: Interval { lo, hi }, low, high })
    }

    /// All that either of two statements about the same instant allows, and what lies between.
    fn or(&self, other: &SourceBound) -> SourceBound {
        let first = if self.interval.lo <= other.interval.lo { self } else { other };
        let last = if self.interval.hi >= other.interval.hi { self } else { other };
        let interval = Interval { lo: first.interval.lo, hi: last.interval.hi };
        SourceBound { at: self.at, interval, low: first.low, high: last.high }
    }
}

/// What the only source has said since it contradicted itself: it stepped, or the clock did, or one answer was wrong. The
/// next tells; until then truth may be where either of them is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    before: SourceBound,
    since: SourceBound,
}

impl Doubt {
    /// What was known, and what contradicts that.
    pub(crate) fn new(before: SourceBound, since: SourceBound) -> Doubt {
        Doubt { before, since }
    }

    /// Where truth is, if either is right.
    pub(crate) fn bound(&self) -> SourceBound {
        self.before.or(&self.since)
    }

    /// What is known with the next that was `said`, and what is in doubt still. Where that fits neither it is all there is.
    pub(crate) fn settled(&self, said: &SourceBound, envelope: &Envelope) -> (SourceBound, Option<Doubt>) {
        let [before, since] = [self.before, self.since].map(|b| b.carried_to(said.at, envelope).and(said));
        match (before, since) {
            (Some(before), Some(since)) => {
                let doubt = Doubt { before, since };
                (doubt.bound(), Some(doubt))
            }
            (one, other) => (one.or(other).unwrap_or(*said), None),
        }
    }
}

/// Between which rates that of a raw clock is which kept one, by what pairs of measurements say, each as wrong as it may be.
///
/// A filter that has seen a handful of packets does not know yet how wrong they are; this does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimits {
    least: f64,
    most: f64,
    /// The first measurement, and the best.
    ends: Option<[Measurement; 2]>,
}

impl RateLimits {
    pub(crate) fn new() -> RateLimits {
        RateLimits { least: f64::NEG_INFINITY, most: f64::INFINITY, ends: None }
    }

    pub(crate) fn observe(&mut self, m: &Measurement) {
        let [first, best] = self.ends.unwrap_or([*m; 2]);
        for earlier in [&first, &best] {
            let raw = m.at - earlier.at;
            if raw > Span::ZERO {
                let gained = ((m.utc - earlier.utc) - raw).as_secs_f64();
                let wrong = (m.max_error() + earlier.max_error()).as_secs_f64();
                self.least = self.least.max((gained - wrong) / raw.as_secs_f64());
                self.most = self.most.min((gained + wrong) / raw.as_secs_f64());
            }
        }
        self.ends = Some([first, if m.max_error() < best.max_error() { *m } else { best }]);
        if self.least > self.most {
            // It did not keep one.
            *self = RateLimits::new();
        }
    }

    /// Whether nobody gains by them any more, who takes the rate for this one: an oscillator may wander by as much.
    pub(crate) fn have_served(&self, rate: Rate) -> bool {
        self.distance(rate) < Wander::PRIOR
    }

    /// How far the rate may be from this one, s/s.
    pub(crate) fn distance(&self, rate: Rate) -> f64 {
        (self.most - rate.as_f64()).max(rate.as_f64() - self.least)
    }
}

/// Learns how far the raw clock's frequency may be from its estimate.
///
/// Nothing is known at first but what oscillators do ([`PRIOR`](Wander::PRIOR)). With hours of evidence the prior fades
/// and four times the largest change of the estimated frequency seen within [`SPAN`](Wander::SPAN) takes its place.
#[derive(Clone, Debug)]
pub(crate) struct Wander {
    learned_for: Span,
    last: Option<RawInstant>,
    window: Option<(RawInstant, f64, f64)>,
    largest_change: f64,
    /// When each of the newest two blocks began, and the least and the most in it.
    recent: [Option<(RawInstant, f64, f64)>; 2],
}

impl Wander {
    /// Crystals move some ppm with temperature, and more when a virtual machine changes host.
    const PRIOR: f64 = 15e-6;
    const FADE: Span = Span::from_secs(12 * 3600);
    const SPAN: Span = Span::from_secs(3600);
    /// Two blocks of this length are the recent past.
    const BLOCK: Span = Span::from_secs(300);

    pub(crate) fn new() -> Wander {
        Wander { learned_for: Span::ZERO, last: None, window: None, largest_change: 0.0, recent: [None; 2] }
    }

    /// Takes in an estimate of the rate whose standard deviation is small against what is learned from it.
    pub(crate) fn observe(&mut self, at: RawInstant, rate: Rate) {
        let rate = rate.as_f64();
        if let Some(last) = self.last {
            self.learned_for += (at - last).max(Span::ZERO).min(Span::from_secs(300));
        }
        self.last = Some(at);
        let (begun, least, most) = self.window.unwrap_or((at, rate, rate));
        let (least, most) = (least.min(rate), most.max(rate));
        self.largest_change = self.largest_change.max(most - least);
        let expired = at - begun > Wander::SPAN;
        self.window = Some(if expired { (at, rate, rate) } else { (begun, least, most) });
        match &mut self.recent[0] {
            Some((begun, least, most)) if at - *begun <= Wander::BLOCK => {
                (*least, *most) = (least.min(rate), most.max(rate));
            }
            _ => self.recent = [Some((at, rate, rate)), self.recent[0]],
        }
    }

    /// How far the frequency may be from its estimate, beside the estimate's own uncertainty.
    pub(crate) fn tolerance(&self) -> f64 {
        let faded = (-self.learned_for.as_secs_f64() / Wander::FADE.as_secs_f64()).exp();
        (Wander::PRIOR * faded).max(4.0 * self.largest_change)
    }

    /// The same for a clock whose frequency does not jump, so long after it was last measured: twice what its estimate
    /// has moved by lately, since either end of that may be wrong, and what may come about meanwhile.
    pub(crate) fn gradual(&self, idle: Span) -> f64 {
        let spread =
            |(least, most): (f64, f64), &(_, l, m): &(RawInstant, f64, f64)| (least.min(l), most.max(m));
        let (least, most) = self.recent.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), spread);
        let meanwhile = (idle.as_secs_f64() / Wander::SPAN.as_secs_f64()).clamp(0.0, 1.0);
        2.0 * (most - least).max(0.0) + self.tolerance() * meanwhile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Leap, SourceId, Stamps, Timestamp};
    use proptest::prelude::*;

    fn bound(at_secs: i64, position: i64, delay: i64) -> SourceBound {
        let m = Measurement {
            source: SourceId(0),
            at: RawInstant::from_nanos(at_secs * 1_000_000_000),
            received: RawInstant::from_nanos(at_secs * 1_000_000_000),
            utc: Timestamp::from_nanos(0),
            delay: Span::from_nanos(delay),
            root_delay: Span::ZERO,
            root_dispersion: Span::ZERO,
            stratum: 1,
            leap: Leap::None,
            stamps: Stamps::Kernel,
        };
        SourceBound::of(&m, Span::from_nanos(position))
    }

    const STILL: Envelope = Envelope { rate: Rate::ZERO, tolerance: Rate::ZERO };

    #[test]
    fn the_best_packet_speaks_on_with_its_age() {
        let envelope = Envelope { rate: Rate::ZERO, tolerance: Rate::from_ppm(1.0) };
        let later = RawInstant::from_nanos(10_000_000_000);
        let good = bound(0, 0, 2_000_000).carried_to(later, &envelope);
        let both = good.and(&bound(10, 3_000_000, 10_000_000)).unwrap();
        assert_eq!(both.interval.hi, Span::from_nanos(1_010_001));
        assert_eq!(both.high.ageing, Span::from_nanos(10_001));
        assert_eq!(both.high.distance(), Span::from_nanos(1_010_001));
    }

    #[test]
    fn what_is_in_doubt_is_settled_by_the_next() {
        let envelope = Envelope { rate: Rate::ZERO, tolerance: Rate::ZERO };
        let [before, wild] = [0, 50_000_000].map(|position| bound(10, position, 2_000_000));
        let doubt = Doubt::new(before, wild);
        let hull = doubt.bound().interval;
        assert_eq!((hull.lo, hull.hi), (before.interval.lo, wild.interval.hi));
        for (position, right) in [(100_000, before), (49_900_000, wild)] {
            let (known, left) = doubt.settled(&bound(20, position, 2_000_000), &envelope);
            assert!(left.is_none() && known.interval.overlaps(&right.interval), "{known:?}");
            assert!(known.interval.hi - known.interval.lo <= Span::from_millis(2), "{known:?}");
        }
        let (known, left) = doubt.settled(&bound(20, 25_000_000, 100_000_000), &envelope);
        assert!(left.is_some() && known.interval.overlaps(&before.interval));
        assert!(known.interval.overlaps(&wild.interval));
    }

    #[test]
    fn a_source_that_contradicts_itself_is_found_out() {
        assert_eq!(bound(0, 0, 100).and(&bound(0, 1_000, 100)), None);
    }

    #[test]
    fn a_slow_first_answer_limits_the_rate_less_than_the_quick_ones_after_it() {
        let measurement = |second: i64, delay: i64, early: i64| {
            let (at, micros) = (RawInstant::from_nanos(second * 1_000_000_000), Span::from_micros);
            Measurement {
                source: SourceId(0),
                at,
                received: at + micros(delay / 2),
                utc: Timestamp::from_nanos(second * 1_000_000_000) + micros(early),
                delay: micros(delay),
                root_delay: Span::ZERO,
                root_dispersion: Span::ZERO,
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            }
        };
        let mut limits = RateLimits::new();
        assert_eq!(limits.distance(Rate::ZERO), f64::INFINITY);
        limits.observe(&measurement(0, 2000, 900));
        limits.observe(&measurement(1, 20, 0));
        // The rate that these two teach: 900 µs/s; truth is 0.
        let learned = Rate::from_ppm(-900.0);
        assert!(limits.distance(learned) >= 900e-6, "{limits:?}");
        (2..6).for_each(|second| limits.observe(&measurement(second, 20, 0)));
        assert!((limits.distance(Rate::ZERO) - 5e-6).abs() < 1e-7, "{limits:?}");
        assert!(!limits.have_served(learned) && limits.have_served(Rate::ZERO));
        // Nothing that keeps one rate says this.
        limits.observe(&measurement(7, 20, 5000));
        assert_eq!(limits.distance(Rate::ZERO), f64::INFINITY);
    }

    #[test]
    fn wander_is_learned_but_never_below_what_was_seen() {
        let mut wander = Wander::new();
        for i in 0..20_000i64 {
            let rate = if i < 10_000 { 0.0 } else { 2.0 };
            wander.observe(RawInstant::from_nanos(i * 16_000_000_000), Rate::from_ppm(rate));
        }
        assert!((wander.tolerance() * 1e6 - 8.0).abs() < 0.1, "{}", wander.tolerance());
    }

    #[test]
    fn without_jumps_little_comes_about_meanwhile_and_a_jump_is_not_forgotten_at_once() {
        let at = |secs: i64| RawInstant::from_nanos(secs * 1_000_000_000);
        let mut wander = Wander::new();
        assert_eq!(wander.gradual(Span::ZERO), 0.0);
        assert_eq!(wander.gradual(Span::from_secs(1800)), 7.5e-6);
        for i in 0..100 {
            wander.observe(at(16 * i), Rate::from_ppm(if i < 50 { 0.0 } else { 2.0 }));
        }
        // The jump was 800 s ago by now, and is 4 ppm for ten minutes at most.
        assert_eq!(wander.gradual(Span::ZERO), 0.0);
        wander.observe(at(1600), Rate::from_ppm(3.0));
        assert!((wander.gradual(Span::ZERO) - 2e-6).abs() < 1e-9);
    }

    proptest! {
        /// Whatever the packets' delays: truth stays inside while the clock keeps to its envelope.
        #[test]
        fn truth_stays_inside(
            packets in prop::collection::vec((0i64..20_000_000, 0.0f64..1.0, -5.0f64..5.0), 1..40),
        ) {
            let envelope = Envelope { rate: Rate::ZERO, tolerance: Rate::from_ppm(5.0) };
            let (mut truth, mut known): (f64, Option<SourceBound>) = (0.0, None);
            for (i, (delay, share, ppm)) in packets.into_iter().enumerate() {
                truth += ppm * 1e-6 * 16e9;
                let error = (delay as f64) * (share - 0.5);
                let now = bound(16 * i as i64, (truth + error).round() as i64, delay + 4);
                known = Some(match known {
                    None => now,
                    Some(k) => k.carried_to(now.at, &envelope).and(&now).expect("honest packets agree"),
                });
                let interval = known.unwrap().interval;
                let truth = Span::from_nanos(truth.round() as i64);
                prop_assert!(interval.lo - Span::from_nanos(1) <= truth && truth <= interval.hi + Span::from_nanos(1));
            }
        }

        #[test]
        fn carrying_only_widens(secs in -10_000i64..10_000) {
            let envelope = Envelope { rate: Rate::from_ppm(3.0), tolerance: Rate::from_ppm(5.0) };
            let before = bound(0, 0, 1_000);
            let after = before.carried_to(RawInstant::from_nanos(secs * 1_000_000_000), &envelope).interval;
            prop_assert!(after.hi - after.lo >= before.interval.hi - before.interval.lo);
            prop_assert!(before.carried_to(before.at, &STILL).interval.overlaps(&before.interval));
        }
    }
}
