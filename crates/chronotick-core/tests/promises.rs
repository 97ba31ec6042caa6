//! The engine's promises, one test each, against a small world whose truth is known.

use chronotick_core::*;
use proptest::prelude::*;

const EPOCH: i64 = 1_700_000_000_000_000_000;

/// A raw clock with a constant frequency error, and sources at fixed distances that may lie.
struct World {
    ppm: f64,
    raw_ahead: Span,
    /// Per source: one-way delays there and back in µs, and by how much it lies.
    sources: Vec<(i64, i64, Span)>,
    engine: Engine,
    ids: Vec<SourceId>,
    elapsed: Span,
    noise: u64,
}

impl World {
    fn new(ppm: f64, sources: &[(i64, i64, Span)]) -> World {
        let mut engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
        let ids = (0..sources.len()).map(|i| engine.add_source(format!("source {i}"))).collect();
        let (sources, raw_ahead, elapsed) = (sources.to_vec(), Span::ZERO, Span::ZERO);
        World { ppm, raw_ahead, sources, engine, ids, elapsed, noise: 1 }
    }

    fn truth(&self, elapsed: Span) -> Timestamp {
        Timestamp::from_nanos(EPOCH) + elapsed
    }

    fn raw(&self, elapsed: Span) -> RawInstant {
        RawInstant::from_nanos(0) + elapsed - Rate::from_ppm(self.ppm).over(elapsed) + self.raw_ahead
    }

    fn now(&self) -> RawInstant {
        self.raw(self.elapsed)
    }

    /// Up to this many µs of queueing, the same sequence in every run.
    fn queueing(&mut self, most: i64) -> i64 {
        self.noise =
            self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 33) as i64 % most
    }

    /// One poll of each of the sources in `which`, then the rest of `interval` passes.
    fn poll(&mut self, which: &[usize], interval: Span) {
        let end = self.elapsed + interval;
        for &i in which {
            let (there, back, lie) = self.sources[i];
            let (up, down) = (there + self.queueing(200), back + self.queueing(200));
            let sent = self.elapsed;
            let served = sent + Span::from_micros(up);
            let arrived = served + Span::from_micros(down);
            let (t1, t4) = (self.raw(sent), self.raw(arrived));
            self.engine.measure(&Measurement {
                source: self.ids[i],
                at: t1 + (t4 - t1).half(),
                received: t4,
                utc: self.truth(served) + lie,
                delay: t4 - t1,
                root_delay: Span::ZERO,
                root_dispersion: Span::from_micros(1),
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            });
            self.elapsed = arrived;
        }
        self.elapsed = end.max(self.elapsed);
    }

    fn run(&mut self, which: &[usize], polls: usize) {
        for _ in 0..polls {
            self.poll(which, Span::from_secs(1));
        }
    }

    fn reading(&mut self) -> Reading {
        let now = self.now();
        self.engine.solution(now).reading(now)
    }

    fn assert_truth_inside(&mut self) -> Reading {
        let (reading, truth) = (self.reading(), self.truth(self.elapsed));
        assert!(reading.earliest <= truth && truth <= reading.latest, "{truth:?} outside {reading:?}");
        assert!(reading.earliest <= reading.estimate && reading.estimate <= reading.latest, "{reading:?}");
        if let Some(narrow) = reading.narrow {
            assert!(reading.earliest <= narrow.earliest && narrow.latest <= reading.latest, "{reading:?}");
        }
        reading
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.next_event()).collect()
    }
}

fn honest() -> Vec<(i64, i64, Span)> {
    vec![
        (5_000, 5_000, Span::ZERO),
        (8_000, 8_000, Span::ZERO),
        (2_000, 2_000, Span::ZERO),
        (9_000, 9_000, Span::ZERO),
    ]
}

#[test]
fn honest_sources_make_it_synced_within_seconds() {
    let mut world = World::new(20.0, &honest());
    world.run(&[0, 1, 2, 3], 4);
    let reading = world.assert_truth_inside();
    assert_eq!((reading.state, reading.reason), (State::Synced, Reason::Agreement));
    assert!(reading.max_error() < Span::from_millis(12));
    world.run(&[0, 1, 2, 3], 200);
    let (reading, truth) = (world.assert_truth_inside(), world.truth(world.elapsed));
    assert!((reading.estimate - truth).abs() < Span::from_micros(200), "{}", reading.estimate - truth);
}

#[test]
fn before_the_first_answer_nothing_is_claimed() {
    let mut world = World::new(0.0, &honest());
    let reading = world.reading();
    assert_eq!((reading.state, reading.reason), (State::Warmup, Reason::NoMeasurement));
    assert_eq!(reading.half_width(), Span::MAX.half());
    world.elapsed = Span::from_secs(181);
    assert_eq!(world.reading().state, State::Unsynced);
}

#[test]
fn liars_with_tiny_distances_do_not_win() {
    for lie in [Span::from_secs(1), Span::from_millis(50), Span::from_millis(-50)] {
        let mut sources = honest();
        sources.push((10, 10, lie));
        let mut world = World::new(5.0, &sources);
        for _ in 0..60 {
            world.poll(&[4, 0, 1, 2, 3], Span::from_secs(1));
            world.assert_truth_inside();
        }
        let now = world.now();
        let verdicts: Vec<_> = world.engine.sources(now).iter().map(|s| s.verdict).collect();
        assert_eq!(verdicts[4], Verdict::Falseticker);
        assert!(verdicts[..4].iter().all(|v| *v == Verdict::Trusted));
    }
}

#[test]
fn when_half_of_the_sources_lie_nothing_is_picked() {
    let lie = Span::from_secs(1);
    let mut world =
        World::new(0.0, &[(100, 100, Span::ZERO), (100, 100, Span::ZERO), (100, 100, lie), (100, 100, lie)]);
    world.run(&[0, 1, 2, 3], 30);
    let reading = world.assert_truth_inside();
    assert_eq!((reading.state, reading.reason), (State::Unsynced, Reason::NoMajority));
    assert!(reading.half_width() >= Span::from_millis(499));
}

#[test]
fn silence_is_holdover_with_a_growing_bound_and_then_unsynced() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0, 1, 2, 3], 120);
    let before = world.assert_truth_inside();
    world.elapsed += Span::from_secs(120);
    let early = world.assert_truth_inside();
    assert_eq!((early.state, early.reason), (State::Holdover, Reason::SourcesSilent));
    world.elapsed += Span::from_secs(1_000);
    let late = world.assert_truth_inside();
    assert!(before.half_width() < early.half_width() && early.half_width() < late.half_width());
    world.elapsed += Span::from_secs(100_000);
    let hopeless = world.assert_truth_inside();
    assert_eq!((hopeless.state, hopeless.reason), (State::Unsynced, Reason::BoundTooWide));
    world.run(&[0, 1, 2, 3], 5);
    assert_eq!(world.assert_truth_inside().state, State::Synced);
}

#[test]
fn a_server_that_asked_for_fewer_requests_is_not_silent_for_that() {
    let mut world = World::new(10.0, &honest()[..1]);
    world.engine.polled_every(world.ids[0], Span::from_secs(64));
    for _ in 0..10 {
        world.poll(&[0], Span::from_secs(64));
        world.elapsed += Span::from_secs(100);
        assert_ne!(world.assert_truth_inside().state, State::Holdover);
    }
    world.elapsed += Span::from_secs(200);
    assert_eq!(world.assert_truth_inside().state, State::Holdover);
}

#[test]
fn after_a_suspend_nothing_is_claimed_until_measured_again() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0, 1, 2, 3], 60);
    let slept = Span::from_secs(3_600);
    world.raw_ahead = -slept;
    world.elapsed += slept;
    let now = world.now();
    world.engine.disrupted(Disruption::Suspended { lasted: slept }, now);
    let reading = world.assert_truth_inside();
    assert_eq!((reading.state, reading.reason), (State::Unsynced, Reason::Disrupted));
    world.run(&[0, 1, 2], 5);
    assert_eq!(world.assert_truth_inside().state, State::Synced);
    let now = world.now();
    let errors: Vec<bool> = world.engine.sources(now).iter().map(|s| s.newest_error.is_some()).collect();
    assert_eq!(errors, [true, true, true, false], "the last has not been asked since");
    assert_eq!(world.engine.solution(world.raw(world.elapsed)).disruptions, 1);
}

#[test]
fn a_step_of_the_system_clock_is_nobodys_business_but_the_logs() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0, 1, 2, 3], 60);
    let now = world.now();
    let before = world.engine.solution(now);
    world.events();
    let step = Disruption::SystemStep { by: Span::from_secs(3_600) };
    world.engine.disrupted(step, now);
    assert_eq!(world.engine.solution(now), before);
    assert_eq!(world.events(), [Event::Disrupted(step)]);
}

#[test]
fn a_jump_of_the_raw_clock_that_nobody_announced_is_found_by_the_majority() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0, 1, 2, 3], 60);
    world.events();
    world.raw_ahead = Span::from_secs(2);
    world.run(&[0, 1, 2, 3], 10);
    let reading = world.assert_truth_inside();
    assert_eq!(reading.state, State::Synced);
    let events = world.events();
    assert!(events.iter().any(|e| matches!(e, Event::MajorityMoved { .. })), "{events:?}");
}

#[test]
fn without_sources_that_is_the_reason_whatever_happened_before() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0, 1, 2, 3], 10);
    let now = world.now();
    world.engine.disrupted(Disruption::Suspended { lasted: Span::from_secs(60) }, now);
    for id in world.ids.clone() {
        world.engine.remove_source(id);
    }
    assert_eq!(world.reading().reason, Reason::NoSources);
}

/// Three sources whose paths err alike, and a clock nearby that is preferred and does not.
#[test]
fn the_narrow_bound_never_leaves_the_bound() {
    let mut sources = vec![(6_000, 4_000, Span::ZERO); 3];
    sources.push((800, 1_200, Span::ZERO));
    let mut world = World::new(10.0, &sources);
    world.engine.set_role(world.ids[3], Role { prefer: true, ..Role::default() });
    for _ in 0..300 {
        world.run(&[0, 1, 2, 3], 1);
        world.assert_truth_inside();
    }
}

#[test]
fn sources_that_never_answer_do_not_keep_the_others_waiting_for_long() {
    let mut world = World::new(10.0, &honest());
    world.run(&[0], 5);
    assert_eq!(world.reading().state, State::Warmup);
    world.run(&[0], 5);
    let reading = world.assert_truth_inside();
    assert_eq!((reading.state, reading.reason), (State::Synced, Reason::SingleSource));
}

#[test]
fn polls_are_frequent_at_first_and_grow_to_the_longest() {
    let world = World::new(0.0, &honest());
    let interval = |secs| world.engine.poll_interval(RawInstant::from_nanos(0) + Span::from_secs(secs));
    assert_eq!(interval(100), Span::from_secs(1));
    assert_eq!(interval(200), Span::from_millis(2_500));
    assert_eq!(interval(10_000), Span::from_secs(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever fewer than half of the sources say, and whatever the paths: truth is inside, at every moment.
    #[test]
    fn the_bound_holds_truth_while_fewer_than_half_lie(
        ppm in -80.0f64..80.0,
        paths in prop::collection::vec((50i64..60_000, 50i64..60_000), 5),
        lies in prop::collection::vec(-2_000_000i64..2_000_000, 2),
        silent in 0i64..4_000,
    ) {
        let mut sources: Vec<_> = paths.iter().map(|&(a, b)| (a, b, Span::ZERO)).collect();
        for (source, lie) in sources.iter_mut().zip(&lies) {
            source.2 = Span::from_micros(*lie);
        }
        let mut world = World::new(ppm, &sources);
        for round in 0..40 {
            world.poll(&[4, 0, 3, 1, 2], Span::from_secs(1 + round % 7));
            let (reading, truth) = (world.reading(), world.truth(world.elapsed));
            prop_assert!(reading.earliest <= truth && truth <= reading.latest, "{round}: {truth:?} {reading:?}");
        }
        world.elapsed += Span::from_secs(silent);
        let (reading, truth) = (world.reading(), world.truth(world.elapsed));
        prop_assert!(reading.earliest <= truth && truth <= reading.latest);
    }

    /// The same input gives the same output, and no measurement, however absurd, breaks the engine.
    #[test]
    fn it_is_deterministic_and_total(
        input in prop::collection::vec((0u32..3, any::<i64>(), 0i64..5_000_000_000, any::<i64>(), any::<i64>()), 1..60),
    ) {
        let run = || {
            let mut engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
            for name in ["a", "b", "c"] {
                engine.add_source(name);
            }
            let mut now = RawInstant::from_nanos(0);
            for &(source, utc, step, delay, dispersion) in &input {
                now = now + Span::from_nanos(step);
                engine.measure(&Measurement {
                    source: SourceId(source),
                    at: now - Span::from_nanos(delay % 1_000_000_000).half(),
                    received: now,
                    utc: Timestamp::from_nanos(utc),
                    delay: Span::from_nanos(delay),
                    root_delay: Span::from_nanos(delay),
                    root_dispersion: Span::from_nanos(dispersion).abs(),
                    stratum: 1,
                    leap: Leap::None,
                    stamps: Stamps::User,
                });
            }
            engine.solution(now)
        };
        let (one, two) = (run(), run());
        prop_assert_eq!(format!("{one:?}"), format!("{two:?}"));
        prop_assert!(one.early >= Span::ZERO && one.late >= Span::ZERO);
    }
}
