//! The Python interface of the clock page: immutable objects around [`chronotick_clock`]'s own types, with integer
//! nanoseconds. What each is for stands in `chronotick/_chronotick.pyi`, which a test compares with what is here.

mod clock;
mod reading;

use pyo3::prelude::*;

/// The part of the package `chronotick` that is written in Rust.
#[pymodule]
mod _chronotick {
    #[pymodule_export]
    use crate::clock::{Clock, ClockError, now, raw_now};
    #[pymodule_export]
    use crate::reading::{Comparison, NarrowBound, Reading};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
