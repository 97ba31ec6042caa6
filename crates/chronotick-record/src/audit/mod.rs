//! The audit log: what was known of the clock and what was done to it, as lines that vouch for each other.
//!
//! Each line is a JSON object with a number, a time, a kind, the SHA-256 of the line before it, and last its own: a changed byte,
//! a line that is missing, added or moved is found, and which is the first. Files go on from one to the next. Whoever can
//! write the files can make a new chain from any line on; against that the newest hash is kept elsewhere and compared
//! ([`verify`] shows it).

mod attest;
mod line;
mod log;
mod verify;

pub use attest::{Attestation, Breach, Clock, attest};
pub use line::Record;
pub use log::{AuditLog, Rotation};
pub use verify::{Broken, Torn, Verdict, verify};

use std::io;
use std::path::{Path, PathBuf};

/// The folder of the files within the state directory.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("audit")
}

/// The files of a folder, oldest first; their names carry the number of their first line.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        if number.is_some_and(|number| number.len() == DIGITS && number.bytes().all(|b| b.is_ascii_digit())) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

const DIGITS: usize = 12;

fn file_name(first: u64) -> String {
    format!("audit-{first:0DIGITS$}.jsonl")
}

#[cfg(test)]
mod tests;
