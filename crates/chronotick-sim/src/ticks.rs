//! The engine's answers on a regular grid of the raw clock, from recorded exchanges alone: for judges who keep the truth
//! to themselves.

use crate::trace::{EPOCH, Trace};
use chronotick_core::{Engine, Measurement, RawInstant, Settings, SourceId, Span};
use std::collections::BTreeMap;

/// What the engine knew at one raw instant, from the measurements received by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// The raw instant.
    pub raw: RawInstant,
    /// True time − raw clock, both since the start of the trace: what to add to the raw clock.
    pub correction: Span,
    /// Standard deviation of the calibrated interval.
    pub sigma: Span,
}

/// One tick `every` so often on the raw clock, from the first answer on until the last measurement.
pub fn ticks(trace: &Trace, every: Span) -> Vec<Tick> {
    let start = RawInstant::from_nanos(0);
    let (mut engine, sources) = engine(trace, start);
    let last = trace.measurements.last().map_or(start, |m| m.received);
    let mut coming = trace.measurements.iter().peekable();
    let mut ticks = Vec::new();
    let mut raw = start + every;
    while raw <= last {
        while let Some(m) = coming.next_if(|m| m.received <= raw) {
            engine.measure(&Measurement { source: sources[&m.source], ..*m });
        }
        let solution = engine.solution(raw);
        // Before the first measurement it does not know the century.
        if solution.early < Span::MAX {
            let reading = solution.reading(raw);
            let correction = (reading.estimate - EPOCH) - (raw - start);
            ticks.push(Tick { raw, correction, sigma: reading.sigma });
        }
        raw = raw + every;
    }
    ticks
}

/// An engine that expects the trace's sources and polls, with the identities that it gave to them.
pub(crate) fn engine(trace: &Trace, start: RawInstant) -> (Engine, BTreeMap<SourceId, SourceId>) {
    let mut engine = Engine::new(polled_each(usual_poll(trace)), start);
    let mut sources = BTreeMap::new();
    for m in &trace.measurements {
        sources.entry(m.source).or_insert_with(|| engine.add_source(format!("source {}", m.source.0)));
    }
    (engine, sources)
}

/// The settings of an engine whose sources are polled so often; the engine chooses without one.
pub(crate) fn polled_each(poll: Option<Span>) -> Settings {
    let free = Settings::default();
    let (min_poll, max_poll) = poll.map_or((free.min_poll, free.max_poll), |poll| (poll, poll));
    Settings { min_poll, max_poll, ..free }
}

/// The median time between two measurements of the same source.
fn usual_poll(trace: &Trace) -> Option<Span> {
    let first = trace.measurements.first()?.source;
    let of_one: Vec<&Measurement> = trace.measurements.iter().filter(|m| m.source == first).collect();
    let mut gaps: Vec<Span> = of_one.windows(2).map(|w| w[1].received - w[0].received).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::exchange;

    fn trace() -> Trace {
        // Servers with odd numbers, 10 ms away, true time 3 ms ahead of the raw clock.
        let at = |ms: i64| Span::from_millis(ms);
        let measurement = |i: i64| {
            let t1 = at(1_000 * i);
            let stamps = [t1, t1 + at(5) + at(3), t1 + at(5) + at(3), t1 + at(10)];
            exchange(stamps, SourceId([7, 4_000_000_000][i as usize % 2]), 1, Span::ZERO, Span::ZERO)
        };
        let measurements = (0..100).map(measurement).collect();
        Trace { name: "made".into(), measurements, truth: Vec::new() }
    }

    #[test]
    fn ticks_are_regular_and_right() {
        let ticks = ticks(&trace(), Span::from_secs(10));
        assert_eq!(ticks.len(), 9);
        for (i, tick) in ticks.iter().enumerate() {
            assert_eq!(tick.raw, RawInstant::from_nanos(10_000_000_000 * (i as i64 + 1)));
            assert!((tick.correction - Span::from_millis(3)).abs() < Span::from_micros(50), "{tick:?}");
        }
    }

    #[test]
    fn a_tick_knows_nothing_of_what_came_later() {
        let whole = trace();
        let half = Trace { measurements: whole.measurements[..52].to_vec(), ..whole.clone() };
        let (all, early) = (ticks(&whole, Span::from_secs(10)), ticks(&half, Span::from_secs(10)));
        assert_eq!(all[..early.len()], early[..]);
    }
}
