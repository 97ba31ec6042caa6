//! What we say of our clock to those who ask for the time: stratum and reference of the source that confines the bound
//! most, and a root distance that is the bound.

use crate::snapshot::{Snapshot, SourceView};
use chronotick_clock::{Reading, Reason, Solution, Span};
use chronotick_ntp::{ReferenceId, Responder};
use std::net::SocketAddr;

/// The source whose word we pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    stratum: u8,
    reference_id: ReferenceId,
    /// The round trip to its reference clock and back.
    root_delay: Span,
}

impl Upstream {
    /// The best source of a snapshot, if there is one.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Upstream> {
        let best = snapshot.sources.iter().find(|source| source.best)?;
        let span = |nanos: Option<i64>| Span::from_nanos(nanos.unwrap_or(0).max(0));
        Some(Upstream {
            stratum: best.stratum?,
            reference_id: reference_id(best),
            root_delay: span(best.delay_ns) + span(best.root_delay_ns),
        })
    }
}

/// A server's address, or what a reference clock calls itself (RFC 5905 §7.3).
fn reference_id(source: &SourceView) -> ReferenceId {
    match source.address.parse::<SocketAddr>() {
        Ok(address) => ReferenceId::of(address.ip()),
        Err(_) => {
            ReferenceId::named(if source.reference.is_empty() { &source.server } else { &source.reference })
        }
    }
}

/// What the clock may be said to be at a reading; `None` while it is not to be told at all: beyond `limit` from true
/// time, or after a suspend that nobody has looked into yet.
///
/// Within the limit, but without a majority behind it, it is told as unsynchronised (leap 3, stratum 16): clients see
/// that somebody is there and do not believe it. In holdover it is told with the bound that has grown.
pub(super) fn told(
    solution: &Solution,
    reading: &Reading,
    upstream: Option<Upstream>,
    limit: Span,
    (precision, slack): (i8, Span),
) -> Option<Responder> {
    let distance = reading.max_error() + slack;
    if !reading.is_known() || reading.reason == Reason::Suspended || distance > limit {
        return None;
    }
    let unsynchronised =
        Responder { precision, root_dispersion: distance, reference: solution.utc, ..Responder::default() };
    let backed = reading.is_trustworthy();
    let Some(upstream) = upstream.filter(|upstream| backed && upstream.stratum < 15) else {
        return Some(unsynchronised);
    };
    // The bound may be narrower than the best source's own round trips: several sources together confine it.
    let half = upstream.root_delay.half().min(distance);
    Some(Responder {
        leap: Some(solution.leap),
        stratum: upstream.stratum + 1,
        root_delay: half.times(2),
        root_dispersion: distance - half,
        reference_id: upstream.reference_id,
        ..unsynchronised
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::State;
    use chronotick_clock::{Leap, RawInstant, Timestamp};
    use proptest::prelude::*;

    const UPSTREAM: Upstream =
        Upstream { stratum: 2, reference_id: ReferenceId([10, 0, 0, 1]), root_delay: Span::from_millis(6) };

    fn solution(state: State, half_width: Span) -> Solution {
        let at = RawInstant::from_nanos(0);
        Solution {
            utc: Timestamp::from_nanos(1_700_000_000_000_000_000),
            early: half_width,
            late: half_width,
            leap: Leap::Delete,
            holdover_at: at + Span::from_secs(5),
            unsynced_at: at + Span::from_secs(60),
            ..Solution::unknown(at, state, Reason::Agreement)
        }
    }

    fn told_after(solution: &Solution, age: Span, upstream: Option<Upstream>) -> Option<Responder> {
        let reading = solution.reading(solution.at + age);
        told(solution, &reading, upstream, Span::from_millis(100), (-24, Span::ZERO))
    }

    #[test]
    fn a_synced_clock_is_told_with_its_bound_and_its_leap_second() {
        let clock =
            told_after(&solution(State::Synced, Span::from_millis(10)), Span::ZERO, Some(UPSTREAM)).unwrap();
        assert_eq!((clock.leap, clock.stratum), (Some(Leap::Delete), 3));
        assert_eq!(clock.reference_id, UPSTREAM.reference_id);
        assert_eq!(clock.root_delay, Span::from_millis(6));
        assert_eq!(
            clock.root_delay.half() + clock.root_dispersion,
            Span::from_millis(10) + Span::from_nanos(1)
        );
    }

    #[test]
    fn nobody_is_told_what_is_not_known() {
        let wide = solution(State::Synced, Span::from_millis(101));
        assert_eq!(told_after(&wide, Span::ZERO, Some(UPSTREAM)), None);
        let nothing = Solution::unknown(wide.at, State::Warmup, Reason::NoMeasurement);
        assert_eq!(told_after(&nothing, Span::ZERO, None), None);
        let good = solution(State::Synced, Span::from_millis(1));
        let suspended = Reading { reason: Reason::Suspended, ..good.reading(good.at) };
        assert_eq!(told(&good, &suspended, Some(UPSTREAM), Span::from_secs(1), (-24, Span::ZERO)), None);
    }

    #[test]
    fn without_a_majority_it_is_told_as_unsynchronised() {
        for state in [State::Warmup, State::Unsynced, State::Error] {
            let clock =
                told_after(&solution(state, Span::from_millis(10)), Span::ZERO, Some(UPSTREAM)).unwrap();
            assert_eq!((clock.leap, clock.stratum, clock.reference_id), (None, 16, ReferenceId::default()));
        }
        let synced = solution(State::Synced, Span::from_millis(10));
        assert_eq!(told_after(&synced, Span::ZERO, None).unwrap().stratum, 16);
        let far = Upstream { stratum: 15, ..UPSTREAM };
        assert_eq!(told_after(&synced, Span::ZERO, Some(far)).unwrap().leap, None);
        // A daemon that has died keeps the time for a while, and then it is over.
        assert_eq!(told_after(&synced, Span::from_secs(10), Some(UPSTREAM)).unwrap().stratum, 3);
        assert_eq!(told_after(&synced, Span::from_secs(61), Some(UPSTREAM)).unwrap().stratum, 16);
    }

    proptest! {
        #[test]
        fn the_root_distance_is_the_bound(bound in 0i64..100_000_000, delay in 0i64..1_000_000_000) {
            let upstream = Upstream { root_delay: Span::from_nanos(delay), ..UPSTREAM };
            let solution = solution(State::Synced, Span::from_nanos(bound));
            let Some(clock) = told_after(&solution, Span::ZERO, Some(upstream)) else { return Ok(()) };
            let distance = clock.root_delay.half() + clock.root_dispersion;
            prop_assert!(distance >= Span::from_nanos(bound) && distance <= Span::from_nanos(bound + 2));
        }
    }
}
