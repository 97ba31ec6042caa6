//! How a trace gets onto a disk.

use super::Line;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

/// Writes a trace from a thread of its own: whoever has something to tell never waits for the disk.
#[derive(Debug)]
pub struct Tape {
    lines: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
    writer: Option<JoinHandle<()>>,
}

impl Tape {
    /// Lines that may wait to be written; what comes beyond is dropped and counted in the file.
    pub(super) const WAITING: usize = 4096;

    /// Begins a new file.
    ///
    /// # Errors
    /// If the file cannot be made, or there can be no thread.
    pub fn create(path: &Path) -> io::Result<Tape> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        File::create(path)?;
        // At its end, wherever that is by then: logrotate may have cut the file.
        Tape::to(BufWriter::new(OpenOptions::new().append(true).open(path)?))
    }

    pub(super) fn to(mut file: impl Write + Send + 'static) -> io::Result<Tape> {
        let (lines, waiting) = sync_channel(Tape::WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = dropped.clone();
        let write = move || {
            if let Err(e) = write_all(&waiting, &counted, &mut file) {
                log::error!("the debug trace ends here: {e}");
            }
        };
        let writer = thread::Builder::new().name("trace".into()).spawn(write)?;
        Ok(Tape { lines: Some(lines), dropped, writer: Some(writer) })
    }

    /// Tells a line.
    pub fn tell(&self, line: Line) {
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Tape {
    /// Waits for the last line to be written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_all(lines: &Receiver<Line>, dropped: &AtomicU64, file: &mut impl Write) -> io::Result<()> {
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                file.flush()?;
                match lines.recv() {
                    Ok(line) => line,
                    Err(_) => break,
                }
            }
        };
        // What was dropped was later than all that waited; from here on something is missing, wherever exactly.
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            write_line(file, &Line::Dropped { lines: missing })?;
        }
        write_line(file, &line)?;
    }
    file.flush()
}

fn write_line(file: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}
