//! Experiments: an observer that samples corrected time and asks time servers on its own, and the comparison of what
//! several observers wrote down.
//!
//! [`observer`] runs one and writes a [`table`]; [`panel`] is what its servers say together; [`fixes`] are the ways of
//! making a time of an answer; [`compare`] reads tables, those of the original system too, and judges them.

pub mod compare;
pub mod fixes;
pub mod observer;
pub mod panel;
pub mod picture;
pub mod table;
