//! The C interface of the clock page: thin functions over [`chronotick_clock::Clock`], plain structures with integer
//! nanoseconds, and words for every code. `include/chronotick.h` is made from these files by cbindgen, so the comments
//! here speak to C programmers.
//!
//! Pointers arrive as `Option<&T>`, `Option<&mut MaybeUninit<T>>` and `Option<Box<T>>`, which have the layout of a C
//! pointer that may be null: what remains unsafe is on the caller's side, and reading a C string.

// The names are those that C sees.
#![allow(non_camel_case_types)]

pub mod clock;
pub mod reading;
pub mod status;

use std::ffi::CString;

/// The words for each code of one byte, with the NUL that C wants; made on first use, kept for good.
fn words(of: impl Fn(u8) -> String) -> Vec<CString> {
    let word = |code| CString::new(of(code)).expect("our own words hold no NUL");
    (0..=u8::MAX).map(word).collect()
}
