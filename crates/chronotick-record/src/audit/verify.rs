//! Reading: every line of every file, and what the first is that is not as it was written.

use super::files;
use super::line::{self, NOTHING, Record};
use crate::digest;
use chronotick_clock::Timestamp;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};

/// What a reading of the whole log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Files read.
    pub files: usize,
    /// Lines that are as they were written and follow each other, up to the first that is not.
    pub lines: u64,
    /// Number of the first line: more than 1 if older files are kept elsewhere.
    pub first_number: Option<u64>,
    /// Time of the first line, ns since 1970.
    pub first_ns: Option<i64>,
    /// Time of the last good line.
    pub last_ns: Option<i64>,
    /// SHA-256 of the last good line: kept elsewhere, it proves that nothing before it was exchanged.
    pub head: Option<String>,
    /// The first line that was changed, or is missing, added or moved.
    pub broken: Option<Broken>,
    /// A line at the very end that a crash left unfinished; no sign of tampering.
    pub torn: Option<Torn>,
    /// Whether the last record is that of a daemon's end; without it one is running, has crashed, or the end is missing.
    pub ended: bool,
    /// Whether the hash that was asked for is that of a line; absent if none was asked for.
    pub expected_found: Option<bool>,
}

/// The first line that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its file.
    pub file: PathBuf,
    /// Its place in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

/// A line that a crash left unfinished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// Its file.
    pub file: PathBuf,
    /// How much of it there is.
    pub bytes: usize,
}

impl Verdict {
    /// Whether nothing is wrong but what a crash explains.
    pub fn is_whole(&self) -> bool {
        self.broken.is_none() && self.expected_found != Some(false)
    }
}

/// Reads the whole log and hands every good record to `take`, in order. `expected` is a hash of a line, as it was kept
/// elsewhere.
///
/// # Errors
/// Those of reading the files; what is wrong with their content is in the verdict.
pub fn verify(folder: &Path, expected: Option<&str>, take: &mut dyn FnMut(&Record)) -> io::Result<Verdict> {
    let files = files(folder)?;
    let mut reader = Reader {
        verdict: Verdict {
            files: files.len(),
            lines: 0,
            first_number: None,
            first_ns: None,
            last_ns: None,
            head: None,
            broken: None,
            torn: None,
            ended: false,
            expected_found: expected.map(|_| false),
        },
        next: None,
        expected,
        take,
    };
    let last = files.len().wrapping_sub(1);
    for (i, file) in files.iter().enumerate() {
        reader.read(file, i == last)?;
        if reader.verdict.broken.is_some() {
            break;
        }
    }
    Ok(reader.verdict)
}

struct Reader<'a> {
    verdict: Verdict,
    next: Option<u64>,
    expected: Option<&'a str>,
    take: &'a mut dyn FnMut(&Record),
}

impl Reader<'_> {
    fn read(&mut self, file: &Path, is_last: bool) -> io::Result<()> {
        let bytes = std::fs::read(file)?;
        for (i, piece) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let checked = match piece.strip_suffix(b"\n") {
                Some(line) => self.line(line),
                None if is_last && is_torn(piece) => {
                    self.verdict.torn = Some(Torn { file: file.to_owned(), bytes: piece.len() });
                    Ok(())
                }
                None => Err("it has no end".to_owned()),
            };
            if let Err(why) = checked {
                self.verdict.broken = Some(Broken { file: file.to_owned(), line: i as u64 + 1, why });
                return Ok(());
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let opened = line::open(line)?;
        let before = self.verdict.head.as_deref();
        let begins = before.is_none() && (opened.number > 1 || opened.previous == NOTHING);
        if !begins && before != Some(opened.previous.as_str()) {
            return Err("it does not follow the line before it: one was changed, removed or added".into());
        }
        if self.next.is_some_and(|next| next != opened.number) {
            return Err(format!("it is number {}, and {} was due", opened.number, self.next.unwrap_or(1)));
        }
        let head = digest(line);
        let verdict = &mut self.verdict;
        if self.expected == Some(head.as_str()) {
            verdict.expected_found = Some(true);
        }
        self.next = Some(opened.number + 1);
        verdict.lines += 1;
        verdict.first_number.get_or_insert(opened.number);
        verdict.first_ns.get_or_insert(nanos(opened.record.time));
        verdict.last_ns = Some(nanos(opened.record.time));
        verdict.ended = opened.record.kind == "ended";
        verdict.head = Some(head);
        (self.take)(&opened.record);
        Ok(())
    }
}

fn nanos(time: Timestamp) -> i64 {
    time.as_nanos()
}

/// Whether a crash can have left this: the begin of a line, without its end, or space that was never filled.
fn is_torn(piece: &[u8]) -> bool {
    let content = piece.iter().rposition(|b| *b != 0).map_or(&piece[..0], |last| &piece[..=last]);
    // A complete line with something else than its end behind it is no begin of one.
    let exchanged = (1..piece.len()).rev().take(8).any(|end| line::open(&piece[..end]).is_ok());
    !exchanged
        && (content.is_empty()
            || content.starts_with(b"{\"number\":")
            || b"{\"number\":".starts_with(content))
}
