//! The engine's memory does not grow: what it keeps is settled within hours and the same a week later.

use chronotick_core::*;

/// Four sources, each polled once a minute, for so many hours from `begun` on; a solution each minute.
fn live(engine: &mut Engine, begun: i64, hours: i64) {
    for minute in begun * 60..(begun + hours) * 60 {
        for source in 0..4u32 {
            let at = RawInstant::from_nanos((minute * 60 + i64::from(source)) * 1_000_000_000);
            // Queues that never repeat, and a route that is longer in every other six hours.
            let queue = Span::from_nanos((minute * 7_919 + i64::from(source) * 104_729) % 900_000);
            let detour = Span::from_millis(if minute / 360 % 2 == 1 { 4 } else { 0 });
            let delay = Span::from_millis(10) + queue + detour;
            engine.measure(&Measurement {
                source: SourceId(source),
                at,
                received: at + delay.half(),
                utc: Timestamp::from_nanos(1_700_000_000_000_000_000 + at.as_nanos()) + queue.half(),
                delay,
                root_delay: Span::ZERO,
                root_dispersion: Span::from_micros(1),
                stratum: 1,
                leap: Leap::None,
                stamps: Stamps::Kernel,
            });
        }
        let now = RawInstant::from_nanos((minute * 60 + 30) * 1_000_000_000);
        assert!(engine.solution(now).state != State::Error);
        while engine.next_event().is_some() {}
    }
}

#[test]
fn a_week_takes_no_more_memory_than_a_day() {
    let mut engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
    (0..4).for_each(|i| {
        engine.add_source(format!("source {i}"));
    });
    let day = allocation_counter::measure(|| live(&mut engine, 0, 24));
    let week = allocation_counter::measure(|| live(&mut engine, 24, 6 * 24));
    assert!(day.bytes_current < 300_000, "{day:?}");
    assert!(week.bytes_current.abs() < 4_096, "kept since: {week:?}");
    assert!(week.bytes_max < 65_536, "held meanwhile: {week:?}");
}
