//! The machine's conditions: a thread of their own reads them, because a driver may be slow.

use chronotick_core::Conditions;
use chronotick_os::{raw_now, yield_to_others};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// From one reading to the next.
const EVERY: Duration = Duration::from_secs(10);

/// The measuring thread's end.
pub(super) struct Sensors {
    readings: Receiver<Conditions>,
    temperature: Option<f64>,
}

/// Where the temperature is among the channels.
const TEMPERATURE: usize = 1;

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
            Ok(_) => Some(Sensors { readings, temperature: None }),
            Err(e) => {
                log::warn!("the machine's conditions have no thread to read them: {e}");
                None
            }
        }
    }

    /// The next reading that has come.
    pub(super) fn newest(&mut self) -> Option<Conditions> {
        let newest = self.readings.try_recv().ok()?;
        self.temperature = newest.values[TEMPERATURE];
        Some(newest)
    }

    /// The temperature of the newest reading, °C.
    pub(super) fn temperature(&self) -> Option<f64> {
        self.temperature
    }
}
