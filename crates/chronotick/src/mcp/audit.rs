//! Who asked what: one JSON object a line for each tool call. Lines go to a thread that writes them; where it does not
//! keep up they are dropped and counted, so that no answer waits for a disk.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// So many lines wait for the disk.
const WAITING: usize = 4096;

/// One call.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// Corrected time at its end, RFC 3339.
    pub(super) time: String,
    /// `stdio`, `http` or `probe`.
    pub(super) by: &'static str,
    /// What the client calls itself.
    pub(super) client: Option<String>,
    pub(super) tool: String,
    /// As they came, in printable ASCII, cut.
    pub(super) arguments: String,
    /// `answered`, `refused` (with the mend), `limited`, `unknown`.
    pub(super) outcome: &'static str,
    pub(super) took_us: u128,
    /// Calls that could not be written before this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) lost: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Entry {
    /// The arguments as they may stand in a log: nothing in them can move a terminal's cursor.
    pub(super) fn arguments(given: &rmcp::model::JsonObject) -> String {
        const MOST: usize = 240;
        let text = serde_json::to_string(given).expect("JSON has a JSON form");
        let safe = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
        text.chars().take(MOST).map(safe).collect()
    }
}

/// Where the calls are written down.
#[derive(Debug)]
pub(super) struct Audit {
    lines: Option<SyncSender<Entry>>,
    writer: Option<JoinHandle<()>>,
    lost: AtomicU64,
}

impl Audit {
    /// Appends to the file, which only this user can read.
    pub(super) fn open(path: &Path) -> io::Result<Audit> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let (lines, waiting) = sync_channel(WAITING);
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || write(&waiting, file))?;
        Ok(Audit { lines: Some(lines), writer: Some(writer), lost: AtomicU64::new(0) })
    }

    pub(super) fn note(&self, mut entry: Entry) {
        entry.lost = self.lost.swap(0, Ordering::Relaxed);
        let lost = entry.lost;
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(entry).is_err()) {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Audit {
    /// What waits is written before the program ends.
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(waiting: &Receiver<Entry>, file: File) {
    let mut file = BufWriter::new(file);
    let mut failing = false;
    while let Ok(first) = waiting.recv() {
        let mut next = Ok(first);
        let mut written = Ok(());
        while let Ok(entry) = next {
            let line = serde_json::to_string(&entry).expect("words and numbers have a JSON form");
            written = written.and(writeln!(file, "{line}"));
            next = waiting.try_recv();
        }
        written = written.and(file.flush());
        if let (Err(e), false) = (&written, failing) {
            log::warn!("the audit log cannot be written: {e}");
        }
        failing = written.is_err();
        if next.is_err_and(|e| e == TryRecvError::Disconnected) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tool: &str) -> Entry {
        let (time, arguments) = (String::new(), "{}".into());
        Entry {
            time,
            by: "stdio",
            client: None,
            tool: tool.into(),
            arguments,
            outcome: "answered",
            took_us: 1,
            lost: 0,
        }
    }

    #[test]
    fn every_call_is_one_line_and_the_last_is_there_when_the_program_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls.jsonl");
        for round in 0..2 {
            let audit = Audit::open(&path).unwrap();
            (0..100).for_each(|i| audit.note(entry(&format!("{round}.{i}"))));
            drop(audit);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let tools: Vec<_> = text
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["tool"].clone())
            .collect();
        assert_eq!((tools.len(), &tools[199]), (200, &"1.99".into()));
        assert!(Audit::open(&dir.path().join("no/such")).is_err());
    }
}
