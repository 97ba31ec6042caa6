//! Worlds with a known truth: replay of exchanges through the ChronoTick engine, and its scores.

#![forbid(unsafe_code)]

pub mod score;
pub mod trace;
