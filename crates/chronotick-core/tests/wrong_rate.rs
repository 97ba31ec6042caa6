//! A rate that was learned wrong from the first packets does not stay: what contradicts it ends it.

use chronotick_core::*;

const EPOCH: i64 = 1_700_000_000_000_000_000;

fn measurement(source: SourceId, second: i64, delay_micros: i64, early_micros: i64) -> Measurement {
    let at = RawInstant::from_nanos(second * 1_000_000_000);
    Measurement {
        source,
        at,
        received: at + Span::from_micros(delay_micros / 2),
        utc: Timestamp::from_nanos(EPOCH + second * 1_000_000_000) + Span::from_micros(early_micros),
        delay: Span::from_micros(delay_micros),
        root_delay: Span::ZERO,
        root_dispersion: Span::from_micros(1),
        stratum: 1,
        leap: Leap::None,
        stamps: Stamps::Kernel,
    }
}

#[test]
fn the_only_source_is_believed_again_after_a_slow_first_answer() {
    for first in [-90, 90] {
        let mut engine = Engine::new(Settings::default(), RawInstant::from_nanos(0));
        let source = engine.add_source("one");
        engine.measure(&measurement(source, 1, 193, first));
        let mut moved = 0;
        for second in 2..120 {
            engine.measure(&measurement(source, second, 12, 0));
            engine.solution(RawInstant::from_nanos(second * 1_000_000_000 + 1_000_000));
            while let Some(event) = engine.next_event() {
                moved += u32::from(matches!(event, Event::MajorityMoved { .. }));
            }
        }
        let solution = engine.solution(RawInstant::from_nanos(120_000_000_000));
        let truth = Timestamp::from_nanos(EPOCH + 120_000_000_000);
        assert!(moved <= 2, "{moved} times, first answer {first} µs off");
        assert!(
            solution.utc - solution.early <= truth && truth <= solution.utc + solution.late,
            "{solution:?}"
        );
        assert_eq!(solution.state, State::Synced, "{}", solution.reason);
    }
}
