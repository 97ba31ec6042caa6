//! SHA-256 in hexadecimal.

use sha2::{Digest as _, Sha256};
use std::fmt::Write;

/// The SHA-256 of some bytes, as 64 hexadecimal digits.
///
/// ```
/// assert!(chronotick_record::digest(b"").starts_with("e3b0c442"));
/// ```
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
