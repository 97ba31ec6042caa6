//! The program around the engine: thin doors over the other crates, as a library so that they can be tested alone.

#![forbid(unsafe_code)]

pub mod config;
