//! Serving allocates nothing: whoever reads the clock in a loop or a real-time thread pays for no memory.

use chronotick_clock::{Clock, Reason, Solution, Span, State, Writer, raw_now};

#[test]
fn no_reading_allocates() {
    let mut writer = Writer::in_memory().unwrap();
    let at = raw_now();
    let later = at + Span::from_secs(3600);
    let solution = Solution::unknown(at, State::Synced, Reason::Agreement);
    let solution = Solution {
        early: Span::from_millis(1),
        late: Span::from_millis(1),
        holdover_at: later,
        unsynced_at: later,
        ..solution
    };
    writer.publish(&solution);
    let clock = Clock::of(&writer);
    let counted = allocation_counter::measure(|| {
        for millis in 0..10_000 {
            let now = clock.now();
            assert_eq!(now.state, State::Synced);
            std::hint::black_box((
                clock.at(at + Span::from_millis(millis)),
                clock.now_checked(),
                clock.now_and_system(),
                clock.solution(),
                now.interval(0.95),
            ));
            writer.publish(&solution);
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
