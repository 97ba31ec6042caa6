//! One look through the door, and what earlier ones saw.

use crate::cli::SILENT;
use crate::daemon::Machine;
use crate::door::Door;
use crate::snapshot::Snapshot;
use chronotick_clock::{ClockPair, RawInstant, Reading, Span, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;

/// What was to be seen at one instant.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// When, by the raw clock.
    pub(super) raw: RawInstant,
    /// Corrected time at that instant.
    pub(super) reading: Reading,
    /// The system clock at that instant.
    pub(super) system: Timestamp,
    /// Whether the machine is a simulated one.
    pub(super) simulated: bool,
    /// What explains it, or why there is nothing.
    pub(super) status: Result<Arc<Snapshot>, String>,
    /// Since when the daemon has published nothing, if that is longer than it should be.
    pub(super) silent: Option<Span>,
}

impl Look {
    pub(super) fn through(door: &Door, machine: &dyn Machine) -> Look {
        let pair = ClockPair::now();
        let raw = machine.local(pair.raw);
        let mut reading = door.clock.at(raw);
        if !machine.is_simulated() {
            // What the present forbids to trust, its own instant does not mend.
            let checked = door.clock.now_checked();
            (reading.state, reading.reason) = (checked.state, checked.reason);
        }
        let age = raw - door.clock.solution().at;
        Look {
            raw,
            reading: reading.blurred(pair.slack),
            system: machine.system(pair),
            simulated: machine.is_simulated(),
            status: door.snapshot().map_err(|e| e.to_string()),
            silent: (age > SILENT).then_some(age),
        }
    }

    /// The snapshot, if there is one.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.status.as_deref().ok()
    }

    /// Whether nothing of what is seen is about real time.
    pub(super) fn is_simulated(&self) -> bool {
        self.simulated || self.snapshot().is_some_and(|snapshot| snapshot.simulation)
    }

    /// What the system clock lacks, if that is known.
    pub(super) fn system_offset(&self) -> Option<Span> {
        self.reading.is_known().then(|| self.reading.offset_of(self.system).correction())
    }
}

/// The numbers of one look that are drawn over time, in ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) raw: RawInstant,
    /// What the system clock lacked.
    pub(super) offset: f64,
    /// How far truth could be from the estimate.
    pub(super) bound: f64,
    /// Half-width of the 95 % interval.
    pub(super) interval: f64,
}

/// What was seen since the watch began. An instant at which nothing was known is a gap.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    points: VecDeque<(RawInstant, Option<Point>)>,
}

impl Past {
    /// Looks that are kept: an hour at one a second.
    const KEPT: usize = 3600;

    pub(super) fn remember(&mut self, look: &Look) {
        if self.points.len() == Past::KEPT {
            self.points.pop_front();
        }
        let nanos = |span: Span| span.as_nanos() as f64;
        let point = look.system_offset().filter(|_| look.reading.is_known()).map(|offset| Point {
            raw: look.raw,
            offset: nanos(offset),
            bound: nanos(look.reading.max_error()),
            interval: nanos(look.reading.interval(0.95)),
        });
        self.points.push_back((look.raw, point));
    }

    /// How far back it goes.
    pub(super) fn length(&self, now: RawInstant) -> Span {
        self.points.front().map_or(Span::ZERO, |(raw, _)| now - *raw)
    }

    /// Stretches of the last `window` seconds without a gap, oldest first, as (seconds before now, value).
    pub(super) fn stretches(
        &self,
        now: RawInstant,
        window: f64,
        value: impl Fn(&Point) -> f64,
    ) -> Vec<Vec<(f64, f64)>> {
        let begin = now - Span::from_secs_f64(window);
        let recent = self.points.partition_point(|(raw, _)| *raw < begin);
        let points: Vec<Option<Point>> = self.points.range(recent..).map(|(_, point)| *point).collect();
        let line = |run: &[Option<Point>]| {
            run.iter().flatten().map(|p| ((p.raw - now).as_secs_f64(), value(p))).collect()
        };
        points.split(Option::is_none).filter(|run| !run.is_empty()).map(line).collect()
    }

    /// The newest `count` values, oldest first; none where nothing was known.
    pub(super) fn newest(&self, count: usize, value: impl Fn(&Point) -> f64) -> Vec<Option<f64>> {
        let skipped = self.points.len().saturating_sub(count);
        self.points.iter().skip(skipped).map(|(_, point)| point.as_ref().map(&value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::picture::tests::look;

    #[test]
    fn the_past_ends_after_an_hour_and_has_gaps_where_nothing_was_known() {
        let mut past = Past::default();
        for second in 0..4000 {
            let mut look = look(Span::from_secs(second));
            if second == 3990 {
                look.reading.latest = Timestamp::from_nanos(i64::MAX);
                look.reading.earliest = Timestamp::from_nanos(i64::MIN);
            }
            past.remember(&look);
        }
        let now = look(Span::from_secs(4000)).raw;
        assert_eq!(past.length(now), Span::from_secs(3600));
        let lengths: Vec<usize> = past.stretches(now, 1e6, |p| p.bound).iter().map(Vec::len).collect();
        assert_eq!(lengths, [3590, 9]);
        let recent = past.stretches(now, 60.0, |p| p.bound);
        assert!((recent[0][0].0 + 60.0).abs() < 1e-9);
        let newest = past.newest(11, |p| p.offset);
        assert_eq!(newest.iter().filter(|value| value.is_none()).count(), 1);
        assert_eq!(newest[0], newest[10]);
    }
}
