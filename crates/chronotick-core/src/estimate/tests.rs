//! What the estimator promises, on small worlds whose truth is known, and on absurd ones.

use super::*;
use crate::{Leap, Stamps};
use proptest::prelude::*;

const EPOCH: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

/// A fast linear congruential source of waits, so that every run is the same.
struct Waits(u64);

impl Waits {
    /// Exponential with this mean, s.
    fn next(&mut self, mean: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        -mean * ((((self.0 >> 11) as f64) + 1.0) / (1u64 << 53) as f64).ln()
    }
}

fn raw(secs: f64) -> RawInstant {
    RawInstant::from_nanos(5_000_000_000_000) + Span::from_secs_f64(secs)
}

/// A packet that came in at `secs` after `up` and `down` seconds, when the correction was `c`.
fn packet(source: u32, secs: f64, c: f64, up: f64, down: f64) -> Measurement {
    Measurement {
        source: SourceId(source),
        at: raw(secs - (up + down) / 2.0),
        received: raw(secs),
        utc: EPOCH
            + Span::from_secs_f64(secs)
            + Span::from_secs_f64(c - (up + down) / 2.0 + (up - down) / 2.0),
        delay: Span::from_secs_f64(up + down),
        root_delay: Span::ZERO,
        root_dispersion: Span::ZERO,
        stratum: 1,
        leap: Leap::None,
        stamps: Stamps::Kernel,
    }
}

/// How far the estimate is from the correction `c`, and its standard deviation, s.
fn miss(estimator: &Estimator, secs: f64, c: f64) -> (f64, f64) {
    let e = estimator.estimate(raw(secs)).expect("measured");
    let truth = EPOCH + Span::from_secs_f64(secs) + Span::from_secs_f64(c);
    ((e.utc - truth).as_secs_f64(), e.variance.sigma(Span::ZERO).as_secs_f64())
}

/// Feeds packets of `sources` every `poll` seconds over `from..to`, with the correction `c`.
fn feed(
    estimator: &mut Estimator,
    waits: &mut Waits,
    sources: u32,
    (from, to, poll): (f64, f64, f64),
    c: impl Fn(f64) -> f64,
) {
    let mut t = from;
    while t < to {
        for s in 0..sources {
            let at = t + poll * f64::from(s) / f64::from(sources);
            let floor = 0.005 + 0.001 * f64::from(s);
            let (up, down) = (floor + waits.next(1e-4), floor + waits.next(1e-4));
            estimator.observe(&packet(s, at, c(at - (up + down) / 2.0), up, down));
        }
        t += poll;
    }
}

#[test]
fn it_learns_a_constant_frequency() {
    let (mut e, mut waits) = (Estimator::default(), Waits(1));
    let c = |t: f64| 0.01 + 12e-6 * t;
    feed(&mut e, &mut waits, 3, (0.0, 3600.0, 16.0), c);
    let (error, sigma) = miss(&e, 3600.0, c(3600.0));
    assert!(error.abs() < 3e-5 && sigma < 3e-5, "{error} ± {sigma}");
    let rate = e.estimate(raw(3600.0)).expect("measured").rate;
    assert!((rate.as_ppm() - 12.0).abs() < 0.05, "{rate:?}");
}

#[test]
fn an_outage_widens_the_interval() {
    let (mut e, mut waits) = (Estimator::default(), Waits(2));
    feed(&mut e, &mut waits, 2, (0.0, 3600.0, 16.0), |t| 5e-6 * t);
    let sigma = |after: f64| miss(&e, 3600.0 + after, 0.0).1;
    assert!(sigma(60.0) < sigma(600.0) && sigma(600.0) < sigma(7200.0));
    let later = e.estimate(raw(3600.0)).expect("measured");
    assert!(later.variance.sigma(Span::from_secs(7200)) > later.variance.sigma(Span::from_secs(60)));
}

#[test]
fn a_gross_glitch_leaves_no_trace() {
    let (mut e, mut waits) = (Estimator::default(), Waits(3));
    feed(&mut e, &mut waits, 1, (0.0, 1800.0, 16.0), |_| 0.0);
    let before = miss(&e, 1810.0, 0.0).0;
    e.observe(&packet(0, 1805.0, 0.3, 0.0052, 0.0052));
    assert!((miss(&e, 1810.0, 0.0).0 - before).abs() < 1e-9);
}

#[test]
fn a_step_of_the_clock_is_followed_with_one_source_and_with_several() {
    for sources in [1, 3] {
        let (mut e, mut waits) = (Estimator::default(), Waits(4));
        let c = |t: f64| if t < 1800.0 { 0.0 } else { 0.08 };
        feed(&mut e, &mut waits, sources, (0.0, 1800.0, 16.0), c);
        feed(&mut e, &mut waits, sources, (1800.0, 1960.0, 16.0), c);
        let (error, _) = miss(&e, 1960.0, 0.08);
        assert!(error.abs() < 1e-3, "{sources} sources: {error}");
    }
}

#[test]
fn one_source_that_steps_moves_nothing() {
    let (mut e, mut waits) = (Estimator::default(), Waits(5));
    feed(&mut e, &mut waits, 3, (0.0, 1800.0, 16.0), |_| 0.0);
    for i in 0..120 {
        let t = 1800.0 + 16.0 * f64::from(i);
        feed(&mut e, &mut waits, 2, (t, t + 16.0, 16.0), |_| 0.0);
        e.observe(&packet(2, t + 15.0, 0.05, 0.0071, 0.0071));
        assert!(miss(&e, t + 16.0, 0.0).0.abs() < 1e-4, "after {t}");
    }
    let path = e.path(SourceId(2)).expect("a path");
    assert!((path.offset.as_secs_f64() - 0.05).abs() < 1e-3 && path.weight == 0, "{path:?}");
}

#[test]
fn a_saved_frequency_is_of_use_at_once() {
    let (mut e, mut waits) = (Estimator::default(), Waits(6));
    assert_eq!(e.saved(), None);
    let c = |t: f64| 20e-6 * t;
    feed(&mut e, &mut waits, 2, (0.0, 7200.0, 16.0), c);
    let saved = e.saved().expect("the frequency is known");
    let mut restarted = Estimator::restore(&saved);
    assert_eq!(restarted.saved().map(|s| s.rate), Some(saved.rate));
    restarted.observe(&packet(0, 0.0, 0.0, 0.005, 0.005));
    assert!(miss(&restarted, 600.0, c(600.0)).0.abs() < 2e-4);
    e.disrupted();
    assert!(e.estimate(raw(7200.0)).is_none());
    e.observe(&packet(0, 7300.0, 0.0, 0.005, 0.005));
    assert!(miss(&e, 7900.0, c(600.0)).0.abs() < 2e-4);
}

#[test]
fn more_sources_than_can_be_followed_displace_only_silent_ones() {
    let mut e = Estimator::default();
    let ask_all = |e: &mut Estimator, at: f64| {
        (0..20).for_each(|s| e.observe(&packet(s, at + f64::from(s), 0.0, 0.005, 0.005)));
    };
    (0..40).for_each(|round| ask_all(&mut e, 32.0 * f64::from(round)));
    let followed = |e: &Estimator| (0..20).filter(|s| e.path(SourceId(*s)).is_some()).collect::<Vec<_>>();
    assert_eq!(followed(&e), (0..8).collect::<Vec<_>>());
    e.prefer(SourceId(19), true);
    ask_all(&mut e, 1300.0);
    assert_eq!(followed(&e), [1, 2, 3, 4, 5, 6, 7, 19]);
    e.observe(&packet(9, 1300.0 + 3604.5, 0.0, 0.005, 0.005));
    assert!(e.path(SourceId(9)).is_some() && e.path(SourceId(1)).is_none());
    e.forget_source(SourceId(19));
    assert!(e.path(SourceId(19)).is_none() && e.estimate(raw(6000.0)).is_some());
}

#[test]
fn the_floor_of_an_earlier_run_judges_the_first_packets() {
    let sigma_and_floor = |known: Option<Span>| {
        let mut e = Estimator::default();
        if let Some(floor) = known {
            e.expect_floor(SourceId(0), floor, raw(0.0));
        }
        for i in 0..4 {
            e.observe(&packet(0, f64::from(i), 0.0, 0.090, 0.010));
        }
        let path = e.path(SourceId(0)).expect("measured");
        (e.estimate(raw(4.0)).expect("measured").variance.sigma(Span::ZERO), path.floor)
    };
    let (unknown, known) = (sigma_and_floor(None), sigma_and_floor(Some(Span::from_millis(20))));
    assert_eq!(known.1, Span::from_millis(20));
    assert!(known.0 > unknown.0 && known.0 > Span::from_millis(10), "{known:?} {unknown:?}");
}

fn any_packet() -> impl Strategy<Value = (u32, f64, f64, f64)> {
    let gap = prop_oneof![5 => 0.0..40.0, 1 => Just(0.0), 1 => -50.0..0.0, 1 => 0.0..1e7];
    let offset = prop_oneof![6 => -1e-3..1e-3, 1 => -1e9..1e9, 1 => -1.0..1.0];
    let delay = prop_oneof![6 => 0.0..0.1, 1 => Just(0.0), 1 => -1e-6..0.0, 1 => 0.0..1e9, 1 => -1e9..0.0];
    (0u32..10, gap, offset, delay)
}

proptest! {
    #[test]
    fn no_input_makes_it_lose_its_mind(packets in prop::collection::vec(any_packet(), 1..300)) {
        let (mut e, mut t, mut last) = (Estimator::default(), 0.0f64, 0.0f64);
        for (source, gap, c, delay) in packets {
            t += gap;
            e.observe(&packet(source, t, c, delay / 2.0, delay / 2.0));
            last = last.max(t);
            let Some(now) = e.estimate(raw(last)) else { continue };
            prop_assert!(now.variance.0[0] > 0.0 && now.variance.0.iter().all(|v| v.is_finite()), "{now:?}");
            prop_assert!(now.rate_sigma > Rate::ZERO, "{now:?}");
            let later = e.estimate(raw(last + 1e5)).expect("measured");
            prop_assert!(later.variance.0[0].is_finite() && later.variance.0[0] > 0.0, "{later:?}");
        }
    }
}

#[test]
fn one_source_whose_noise_no_delay_explains_is_averaged_and_moves_no_clock() {
    let mut e = Estimator::default();
    // All round trips alike, and every fifth answer six milliseconds off.
    for i in 0..200 {
        let c = if i % 5 == 3 { 6e-3 } else { 1e-4 * f64::from(i % 3) };
        e.observe(&packet(0, 180.0 * f64::from(i), c, 0.03, 0.03));
        if i > 60 {
            let (error, sigma) = miss(&e, 180.0 * f64::from(i) + 90.0, 0.0);
            assert!(error.abs() < 3e-3, "{i}: {error} ± {sigma}");
        }
    }
}
