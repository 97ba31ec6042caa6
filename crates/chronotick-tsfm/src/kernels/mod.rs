//! Arithmetic for the processor: products with packed weights, attention, and what happens between them. Each kernel is
//! written once and compiled for every instruction set; which one runs is decided when the program does.
//!
//! This is the crate's only `unsafe`: vector instructions, and the pointers that they read and write through. What
//! crosses the wall are safe functions on slices that check their lengths once.

#![allow(unsafe_code)]

mod attention;
mod memory;
mod packed;
mod rows;
mod simd;

pub(crate) use attention::{Attention, Heads, Mask};
pub(crate) use memory::Arena;
pub(crate) use packed::{Format, Packed};
pub(crate) use rows::{Activation, activate, add, layer_norm, rms_norm, softmax, swiglu};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::simd::with_each_set;

    #[test]
    fn every_family_keeps_parity_on_every_instruction_set() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let folders = std::fs::read_dir(fixtures).unwrap().map(|entry| entry.unwrap().path());
        for folder in folders.filter(|path| path.is_dir()) {
            with_each_set(|set| {
                let report = crate::check::run(&folder).unwrap();
                assert!(report.passes(), "{set:?}: {report:?}");
            });
        }
    }
}
