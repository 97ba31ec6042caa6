//! A reading as an object: attributes are made when they are asked for, so that taking a reading costs one allocation.

use chronotick_clock::{Assumption, Levels, Reason, Span, State, Timestamp};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// Corrected time at one instant: a bound, an estimate, its spread, and whether to trust them. Times are ns since 1970.
#[pyclass(frozen, module = "chronotick", eq)]
#[derive(Clone, PartialEq)]
pub(crate) struct Reading(pub(crate) chronotick_clock::Reading);

/// A reading as numbers, in the order in which it is pickled: earliest, latest, estimate, sigma, levels, state, reason, and
/// the narrow bound's earliest, latest and assumption.
type Numbers = (i64, i64, i64, i64, u64, u8, u8, Option<(i64, i64, u8)>);

#[pymethods]
impl Reading {
    /// True time is not before this, ns since 1970.
    #[getter]
    fn earliest(&self) -> i64 {
        self.0.earliest.as_nanos()
    }

    /// True time is not after this, ns since 1970.
    #[getter]
    fn latest(&self) -> i64 {
        self.0.latest.as_nanos()
    }

    /// The best estimate of true time, ns since 1970.
    #[getter]
    fn estimate(&self) -> i64 {
        self.0.estimate.as_nanos()
    }

    /// Half-width of the calibrated 95 % interval divided by 1.96, ns.
    #[getter]
    fn sigma(&self) -> i64 {
        self.0.sigma.as_nanos()
    }

    /// "warmup", "synced", "holdover", "unsynced" or "error".
    #[getter]
    fn state<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        match self.0.state {
            State::Warmup => intern!(py, "warmup"),
            State::Synced => intern!(py, "synced"),
            State::Holdover => intern!(py, "holdover"),
            State::Unsynced => intern!(py, "unsynced"),
            State::Error => intern!(py, "error"),
        }
    }

    /// Why the state is what it is, in words.
    #[getter]
    fn reason(&self) -> String {
        self.0.reason.to_string()
    }

    /// Whether to rely on it within its uncertainty: it rests on measurements, and is synced or in holdover.
    #[getter]
    fn trustworthy(&self) -> bool {
        self.0.is_trustworthy()
    }

    /// A tighter bound that says what it assumes, or None.
    #[getter]
    fn narrow(&self) -> Option<NarrowBound> {
        self.0.narrow.map(NarrowBound)
    }

    /// The furthest that true time can be from the estimate, ns.
    #[getter]
    fn max_error(&self) -> i64 {
        self.0.max_error().as_nanos()
    }

    /// Half-width, in ns, of the interval around the estimate that holds truth in this share of readings.
    #[pyo3(signature = (level = 0.95))]
    fn interval(&self, level: f64) -> PyResult<i64> {
        if !(0.0..1.0).contains(&level) {
            return Err(PyValueError::new_err(format!(
                "level is {level}; give a share from 0 to below 1, such as 0.95 for 95 of 100 readings"
            )));
        }
        Ok(self.0.interval(level).as_nanos())
    }

    /// Probability that truth is within so many ns of the estimate; 0 unless synced or in holdover.
    fn confidence_within(&self, limit: i64) -> f64 {
        self.0.confidence_within(Span::from_nanos(limit))
    }

    /// Which came first, the event of this reading or that of another, taken on this machine or on any other.
    fn compare(&self, other: &Reading) -> Comparison {
        Comparison(self.0.compare(&other.0))
    }

    /// The estimate as an aware datetime in UTC, rounded down to its microseconds.
    #[getter]
    fn datetime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.estimate().div_euclid(1_000))
    }

    /// The earliest true time as an aware datetime in UTC, rounded down to its microseconds.
    #[getter]
    fn earliest_datetime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, self.earliest().div_euclid(1_000))
    }

    /// The latest true time as an aware datetime in UTC, rounded up to its microseconds.
    #[getter]
    fn latest_datetime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        datetime(py, -(-i128::from(self.latest())).div_euclid(1_000) as i64)
    }

    fn __repr__(&self) -> String {
        let Reading(r) = self;
        format!(
            "<Reading {} ns since 1970, -{} +{}, sigma {}, {}: {}>",
            self.estimate(),
            r.estimate - r.earliest,
            r.latest - r.estimate,
            r.sigma,
            r.state,
            r.reason
        )
    }

    fn __hash__(&self) -> u64 {
        // Readings of different instants differ here already.
        self.0.estimate.as_nanos() as u64
    }

    #[staticmethod]
    fn _of(numbers: Numbers) -> Reading {
        let (earliest, latest, estimate, sigma, levels, state, reason, narrow) = numbers;
        let narrow = narrow.and_then(|(earliest, latest, assumes)| {
            let assumes = Assumption::symmetry_within(assumes)?;
            let (earliest, latest) = (Timestamp::from_nanos(earliest), Timestamp::from_nanos(latest));
            Some(chronotick_clock::NarrowBound { earliest, latest, assumes })
        });
        Reading(chronotick_clock::Reading {
            earliest: Timestamp::from_nanos(earliest),
            latest: Timestamp::from_nanos(latest),
            narrow,
            estimate: Timestamp::from_nanos(estimate),
            sigma: Span::from_nanos(sigma),
            levels: Levels::from_bits(levels),
            state: State::from_code(state),
            reason: Reason::from_code(reason),
        })
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Numbers,))> {
        let Reading(r) = self;
        let narrow = r.narrow.map(|n| (n.earliest.as_nanos(), n.latest.as_nanos(), n.assumes.asymmetry()));
        let numbers = (
            self.earliest(),
            self.latest(),
            self.estimate(),
            self.sigma(),
            r.levels.to_bits(),
            r.state as u8,
            r.reason as u8,
            narrow,
        );
        Ok((py.get_type::<Reading>().getattr("_of")?, (numbers,)))
    }
}

/// So many microseconds since 1970 as an aware datetime. Through Python's own class: the stable interface has no other
/// way, and a datetime is asked for by people, not in loops.
fn datetime(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyAny>> {
    static PARTS: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();
    let (epoch, delta) = PARTS.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        let utc = module.getattr("timezone")?.getattr("utc")?;
        let epoch = module.getattr("datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, utc))?;
        Ok::<_, PyErr>((epoch.unbind(), module.getattr("timedelta")?.unbind()))
    })?;
    epoch.bind(py).add(delta.bind(py).call1((0, 0, micros))?)
}

/// Where true time is if an assumption holds: never outside of the bound, and usually far inside.
#[pyclass(frozen, module = "chronotick", eq)]
#[derive(Clone, PartialEq)]
pub(crate) struct NarrowBound(chronotick_clock::NarrowBound);

#[pymethods]
impl NarrowBound {
    /// True time is not before this, ns since 1970, if the assumption holds.
    #[getter]
    fn earliest(&self) -> i64 {
        self.0.earliest.as_nanos()
    }

    /// True time is not after this, ns since 1970, if the assumption holds.
    #[getter]
    fn latest(&self) -> i64 {
        self.0.latest.as_nanos()
    }

    /// What is assumed, in words.
    #[getter]
    fn assumes(&self) -> String {
        self.0.assumes.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<NarrowBound {} to {} ns since 1970, if {}>", self.earliest(), self.latest(), self.0.assumes)
    }
}

/// The order of two readings, once by their bounds and once by their spreads.
#[pyclass(frozen, module = "chronotick")]
pub(crate) struct Comparison(chronotick_clock::Comparison);

#[pymethods]
impl Comparison {
    /// By the bounds: "before", "after" or "indistinguishable".
    #[getter]
    fn order(&self) -> &'static str {
        self.0.order.name()
    }

    /// By the spreads: the probability that the first came before the second, or None if nobody measured one of them.
    #[getter]
    fn probability_before(&self) -> Option<f64> {
        self.0.probability_before
    }

    fn __repr__(&self) -> String {
        match self.0.probability_before {
            Some(p) => format!("<Comparison {}, before with probability {p:.3}>", self.0.order),
            None => format!("<Comparison {}, no probability>", self.0.order),
        }
    }
}
