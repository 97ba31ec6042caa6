//! The machine's conditions: a thread of their own reads them, because a driver may be slow, and the newest hours of them
//! are kept for the models.

use chronotick_core::{CHANNELS, Conditions, RawInstant, Span};
use chronotick_os::{raw_now, yield_to_others};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// From one reading to the next.
const EVERY: Duration = Duration::from_secs(10);
/// Readings that are kept: what the longest usual context of a model covers, and more.
const KEPT: usize = 2048;
/// A reading holds for so long.
const FRESH: Span = Span::from_secs(60);

/// The measuring thread's end.
pub(super) struct Sensors {
    readings: Receiver<Conditions>,
    kept: VecDeque<Conditions>,
}

impl Sensors {
    /// Starts reading this machine's sensors; `None`, with a line in the log, where there can be no thread.
    pub(super) fn start() -> Option<Sensors> {
        let (sender, readings) = sync_channel(8);
        let read = move || {
            let mut sensors = chronotick_os::Sensors::new("/");
            let _ = yield_to_others();
            // A measuring thread that is held up misses some; one that is gone ends this one.
            while !matches!(sender.try_send(sensors.read(raw_now())), Err(TrySendError::Disconnected(_))) {
                thread::sleep(EVERY);
            }
        };
        match thread::Builder::new().name("sensors".into()).spawn(read) {
            Ok(_) => Some(Sensors { readings, kept: VecDeque::new() }),
            Err(e) => {
                log::warn!("the machine's conditions have no thread to read them: {e}");
                None
            }
        }
    }

    /// The next reading that has come.
    pub(super) fn newest(&self) -> Option<Conditions> {
        self.readings.try_recv().ok()
    }

    /// Keeps a reading for [`on_grid`](Sensors::on_grid).
    pub(super) fn keep(&mut self, reading: Conditions) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(reading);
    }

    /// Each condition at the points of a grid that ends at `at`, the newest last; NaN where it was not measured.
    pub(super) fn on_grid(&self, at: RawInstant, step: Span, points: usize) -> Vec<Vec<f64>> {
        let reading = |instant: RawInstant| {
            let after = self.kept.partition_point(|c| c.at <= instant);
            self.kept.get(after.checked_sub(1)?).filter(|c| instant - c.at < FRESH.max(step))
        };
        let grid: Vec<Option<&Conditions>> =
            (0..points as i64).rev().map(|back| reading(at - step.times(back))).collect();
        let channel =
            |i: usize| grid.iter().map(|c| c.and_then(|c| c.values[i]).unwrap_or(f64::NAN)).collect();
        (0..CHANNELS).map(channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_hold_on_a_grid_until_they_are_old() {
        let (_, readings) = sync_channel(1);
        let mut sensors = Sensors { readings, kept: VecDeque::new() };
        let at = |seconds| RawInstant::from_nanos(0) + Span::from_secs(seconds);
        for (seconds, temperature) in [(0, 40.0), (10, 41.0), (20, 42.0)] {
            let values = [None, Some(temperature), None, None, None];
            sensors.keep(Conditions { at: at(seconds), values });
        }
        let grid = sensors.on_grid(at(95), Span::from_secs(10), 11);
        let known = [f64::NAN, 40.0, 41.0, 42.0, 42.0, 42.0, 42.0, 42.0, 42.0, f64::NAN, f64::NAN];
        assert!(grid[1].iter().zip(known).all(|(a, b)| *a == b || a.is_nan() && b.is_nan()), "{grid:?}");
        assert!(grid[0].iter().all(|x| x.is_nan()));
    }
}
