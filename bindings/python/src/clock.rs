//! Where readings come from: the clock of the machine, or the page in a file.

use crate::reading::Reading;
use chronotick_clock::RawInstant;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::OnceLock;

pyo3::create_exception!(
    chronotick,
    ClockError,
    PyOSError,
    "No clock page could be read; the message says where it was looked for, and what to do."
);

/// The clock page of this machine, or the one in a file.
///
/// Make one and keep it: opening costs system calls, reading does not. Any number of threads may read it. A daemon
/// that is started again is found within a second.
#[pyclass(frozen, module = "chronotick")]
pub(crate) struct Clock(chronotick_clock::Clock);

#[pymethods]
impl Clock {
    #[new]
    #[pyo3(signature = (path = None))]
    fn new(path: Option<PathBuf>) -> PyResult<Clock> {
        let opened = match path {
            Some(path) => chronotick_clock::Clock::open_at(&path),
            None => chronotick_clock::Clock::open(),
        };
        opened.map(Clock).map_err(|error| ClockError::new_err(error.to_string()))
    }

    /// Corrected time now.
    fn now(&self) -> Reading {
        Reading(self.0.now())
    }

    /// As now(), but after a suspend of the machine that the daemon has not noticed yet, which takes it up to a second,
    /// the state is "unsynced".
    fn now_checked(&self) -> Reading {
        Reading(self.0.now_checked())
    }

    /// Corrected time when raw_now() said, or will say, this many ns, as far as is known now.
    fn at(&self, raw: i64) -> Reading {
        Reading(self.0.at(RawInstant::from_nanos(raw)))
    }

    /// Corrected time and the system clock, in ns since 1970, at the same instant. The offset of the system clock is
    /// estimate - system: positive if the system clock is behind.
    fn now_and_system(&self) -> (Reading, i64) {
        let (reading, system) = self.0.now_and_system();
        (Reading(reading), system.as_nanos())
    }

    /// The file that is read.
    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.0.page_status().path
    }

    fn __repr__(&self) -> String {
        let path = self.path().unwrap_or_default();
        format!("Clock({:?})", path.display().to_string())
    }
}

/// Corrected time now, by the clock page of this machine, which is opened on the first call.
#[pyfunction]
pub(crate) fn now() -> PyResult<Reading> {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    match CLOCK.get() {
        Some(clock) => Ok(clock.now()),
        None => {
            let opened = Clock::new(None)?;
            Ok(CLOCK.get_or_init(|| opened).now())
        }
    }
}

/// The raw clock now, in ns of CLOCK_MONOTONIC_RAW since the machine started: take it when something happens, ask
/// Clock.at() later.
#[pyfunction]
pub(crate) fn raw_now() -> i64 {
    chronotick_clock::raw_now().as_nanos()
}
