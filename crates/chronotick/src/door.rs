//! What a door sees: the clock page, the status snapshot and the history, of a running daemon or of an engine in this
//! process.
//! Nothing here waits for a measurement.

use crate::feed::Feed;
use crate::snapshot::Snapshot;
use chronotick_clock::{Clock, ClockPair, OpenError, Reading, Reason, State, Timestamp, page_path};
use chronotick_core::Basis;
use chronotick_record::{HistoryReader, NotKnown, PastOffset};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The clock page and the status snapshot, wherever they are.
#[derive(Debug)]
pub struct Door {
    /// Corrected time.
    pub clock: Clock,
    within: Option<Feed>,
    nobody: Option<Nobody>,
    history: Option<HistoryReader>,
    /// The newest snapshot that was read, and which file it was.
    read: Mutex<Option<(Edition, Arc<Snapshot>)>>,
}

/// That no daemon ran, so that this process began to measure by itself.
#[derive(Debug)]
pub(crate) struct Nobody {
    /// The page that a daemon has left.
    pub(crate) left: Option<Clock>,
}

/// What tells a file from the one that took its place: number, and when it was written, s and ns.
type Edition = (u64, i64, i64);

impl Door {
    /// The daemon that publishes in `dir`; without one, the first found in the standard places ([`Clock::open`]).
    ///
    /// # Errors
    /// If there is no page: the error lists where it was looked for and says how to start a daemon.
    pub fn open(dir: Option<&Path>) -> Result<Door, OpenError> {
        let clock = dir.map_or_else(Clock::open, |dir| Clock::open_at(&page_path(dir)))?;
        Ok(Door { clock, within: None, nobody: None, history: None, read: Mutex::default() })
    }

    /// An engine in this process.
    pub fn within(clock: Clock, feed: Feed) -> Door {
        Door { clock, within: Some(feed), nobody: None, history: None, read: Mutex::default() }
    }

    /// The same, as one that had to be opened because no daemon runs; `left` is the page that one has left.
    pub(crate) fn for_want_of_a_daemon(self, left: Option<Clock>) -> Door {
        Door { nobody: Some(Nobody { left }), ..self }
    }

    /// That there was no daemon, where this door was opened for want of one.
    pub(crate) fn nobody(&self) -> Option<&Nobody> {
        self.nobody.as_ref()
    }

    /// The same with the history that the daemon keeps in its state directory.
    pub fn remembering(self, state_dir: PathBuf) -> Door {
        Door { history: Some(HistoryReader::new(state_dir)), ..self }
    }

    /// The folder of the history, if this door has one.
    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.history.as_ref().map(HistoryReader::dir)
    }

    /// What the system clock lacked when it read `reading`, by the history; none if this door has none.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn system_offset_at(&self, reading: Timestamp) -> Option<Result<PastOffset, NotKnown>> {
        self.history.as_ref().map(|history| history.system_offset_at(reading))
    }

    /// Whether the engine runs in this very process.
    pub fn is_within(&self) -> bool {
        self.within.is_some()
    }

    /// Where the daemon publishes; none where the engine is within this process.
    pub fn folder(&self) -> Option<PathBuf> {
        self.clock.page_status().path?.parent().map(Path::to_owned)
    }

    /// Corrected time and the system clock at one instant, the bound wider by how exactly that could be hit; nothing is
    /// known after a suspend that the daemon has not noticed.
    pub fn now_and_system(&self) -> (Reading, ClockPair) {
        let pair = ClockPair::now();
        let (at, checked) = (self.clock.at(pair.raw).blurred(pair.slack), self.clock.now_checked());
        let known = Reading { state: checked.state, reason: checked.reason, ..at };
        (if checked.is_known() { known } else { checked }, pair)
    }

    /// What the answer of a reading is made of; `known` is whether there is any.
    pub fn basis(&self, state: State, reason: Reason, known: bool) -> Basis {
        let left = matches!(reason, Reason::PublisherDead | Reason::PublisherSilent | Reason::Stopped);
        let told = || Some(self.snapshot().ok()?.source.clone());
        match (known, left, state) {
            (false, ..) => Basis::System,
            (true, true, _) => Basis::Holdover,
            _ => told().and_then(|name| Basis::named(&name)).filter(|b| *b != Basis::System).unwrap_or(
                match state {
                    State::Holdover => Basis::Holdover,
                    _ => Basis::Bank,
                },
            ),
        }
    }

    /// The newest snapshot. It may be old: see [`Snapshot::age`].
    ///
    /// # Errors
    /// If the daemon has written none yet, or one of another version.
    pub fn snapshot(&self) -> io::Result<Arc<Snapshot>> {
        let missing = |what: String| io::Error::new(io::ErrorKind::NotFound, what);
        match &self.within {
            Some(feed) => {
                feed.newest().ok_or_else(|| missing("the engine has not measured anything yet".into()))
            }
            None => {
                let dir = self.folder().unwrap_or_else(|| ".".into());
                let named = |e| missing(format!("no status beside the clock page in {}: {e}", dir.display()));
                self.read(&dir).map_err(named)
            }
        }
    }

    /// The snapshot beside the page. It is written once a second, and parsed once however often it is asked for.
    fn read(&self, dir: &Path) -> io::Result<Arc<Snapshot>> {
        let file = std::fs::metadata(Snapshot::path(dir))?;
        // A file that comes between is told from this one the next time.
        let edition = (file.ino(), file.mtime(), file.mtime_nsec());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, snapshot)) = &*read
            && *kept == edition
        {
            return Ok(snapshot.clone());
        }
        let snapshot = Arc::new(Snapshot::read(dir)?);
        *read = Some((edition, snapshot.clone()));
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::Writer;

    #[test]
    fn a_snapshot_is_read_once_and_another_in_its_place_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let door = Door::within(Clock::of(&Writer::in_memory().expect("there is memory")), Feed::default());
        assert!(door.read(dir.path()).is_err());
        let write = |pid| Snapshot { pid, ..Snapshot::default() }.write(dir.path()).expect("writes");
        write(1);
        let first = door.read(dir.path()).expect("reads");
        assert!(Arc::ptr_eq(&first, &door.read(dir.path()).expect("reads")));
        write(2);
        assert_eq!((first.pid, door.read(dir.path()).expect("reads").pid), (1, 2));
    }
}
