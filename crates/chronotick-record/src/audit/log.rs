//! Writing: lines are appended, never changed; files are rotated by size and by day.

use super::line::{self, NOTHING, Record};
use super::{file_name, files};
use crate::digest;
use chronotick_clock::Timestamp;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// When a new file is begun, and whether each line waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file is not continued once it has so many bytes.
    pub bytes: u64,
    /// Whether a new file is begun each day, by UTC.
    pub daily: bool,
    /// Whether each line is on the disk before the next is written: a crash of the machine then costs the line being written
    /// at most. Without it the system decides.
    pub fsync: bool,
}

impl Default for Rotation {
    fn default() -> Rotation {
        Rotation { bytes: 16 << 20, daily: true, fsync: true }
    }
}

/// An audit log, to be written.
#[derive(Debug)]
pub struct AuditLog {
    folder: PathBuf,
    rotation: Rotation,
    file: Option<Open>,
    next: u64,
    previous: String,
    last: Option<(Timestamp, String)>,
    /// Records that could not be written, and since when.
    lost: Option<(Timestamp, u64)>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
    day: i64,
}

impl AuditLog {
    /// Goes on with the log of a folder, or begins one. If the last writer died within a line, the piece is taken off and
    /// becomes the content of a record of its own.
    ///
    /// # Errors
    /// If the folder cannot be made or read, or its last complete line is not as it was written.
    pub fn open(folder: &Path, rotation: Rotation, now: Timestamp) -> io::Result<AuditLog> {
        std::fs::create_dir_all(folder)?;
        let mut log = AuditLog {
            folder: folder.to_owned(),
            rotation,
            file: None,
            next: 1,
            previous: NOTHING.into(),
            last: None,
            lost: None,
        };
        if let Some(path) = files(folder)?.pop() {
            log.go_on(&path, now)?;
        }
        Ok(log)
    }

    fn go_on(&mut self, path: &Path, now: Timestamp) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let complete = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if let Some(last) = bytes[..complete].split(|b| *b == b'\n').rev().nth(1) {
            let opened = line::open(last).map_err(|why| {
                let text = format!(
                    "{}: the last line cannot be gone on from: {why}; move the folder away",
                    path.display()
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?;
            (self.next, self.previous) = (opened.number + 1, digest(last));
            self.last = Some((opened.record.time, opened.record.kind));
        } else if let Some(first) = number_of(path) {
            // The file was begun, and its first line was not finished: the one before it is in the file before.
            self.next = first;
            if let Some(last) = self.last_before(path)? {
                self.previous = digest(&last);
                self.last = line::open(&last).ok().map(|opened| (opened.record.time, opened.record.kind));
            }
        }
        file.set_len(complete as u64)?;
        file.seek(SeekFrom::End(0))?;
        let begun = self.last.as_ref().map_or(now, |(time, _)| *time);
        self.file = Some(Open { file, length: complete as u64, day: day(begun) });
        let torn = &bytes[complete..];
        if !torn.is_empty() {
            let text = String::from_utf8_lossy(torn);
            self.append(&Record::new("torn", now, json!({"bytes": torn.len(), "text": text})))?;
        }
        Ok(())
    }

    fn last_before(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let before = files(&self.folder)?.into_iter().rfind(|other| other.as_path() < path);
        let Some(before) = before else { return Ok(None) };
        let bytes = std::fs::read(before)?;
        let last = bytes.split(|b| *b == b'\n').rev().nth(1);
        Ok(last.map(<[u8]>::to_vec))
    }

    /// Appends a record. One that cannot be written is counted, and the next that can be is preceded by a record of the gap.
    ///
    /// # Errors
    /// Those of writing; nothing of the line is left then.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        if let Some((since, count)) = self.lost {
            let gap = json!({"from_ns": since.as_nanos(), "records_lost": count, "why": "the audit log could not be written"});
            self.put(&Record::new("gap", record.time, gap))
                .inspect_err(|_| self.lost = Some((since, count + 1)))?;
            self.lost = None;
        }
        self.put(record).inspect_err(|_| {
            let (since, count) = self.lost.unwrap_or((record.time, 0));
            self.lost = Some((since, count + 1));
        })
    }

    fn put(&mut self, record: &Record) -> io::Result<()> {
        self.rotate(record.time)?;
        let line = line::seal(self.next, &self.previous, record);
        let Some(open) = &mut self.file else { return Ok(()) };
        let written = open
            .file
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| if self.rotation.fsync { open.file.sync_data() } else { Ok(()) });
        if let Err(e) = written {
            // Half a line is worse than none; where even that fails, the next start takes it off.
            let _ = open.file.set_len(open.length);
            return Err(e);
        }
        open.length += line.len() as u64 + 1;
        self.previous = digest(line.as_bytes());
        self.next += 1;
        self.last = Some((record.time, record.kind.clone()));
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let (bytes, daily) = (self.rotation.bytes, self.rotation.daily);
        let full = |open: &Open| open.length > 0 && (open.length >= bytes || daily && day(now) > open.day);
        if self.file.as_ref().is_some_and(|open| !full(open)) {
            return Ok(());
        }
        let path = self.folder.join(file_name(self.next));
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        if self.rotation.fsync {
            File::open(&self.folder)?.sync_all()?;
        }
        self.file = Some(Open { file, length: 0, day: day(now) });
        Ok(())
    }

    /// Time and kind of the last record; none in a new log.
    pub fn last(&self) -> Option<&(Timestamp, String)> {
        self.last.as_ref()
    }

    /// The hash that the next line will carry of the one before it: what to keep elsewhere.
    pub fn head(&self) -> &str {
        &self.previous
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.strip_prefix("audit-")?.parse().ok()
}

/// The day of UTC.
fn day(time: Timestamp) -> i64 {
    time.as_nanos().div_euclid(86_400_000_000_000)
}
