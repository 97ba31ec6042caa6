//! The reader's side of the clock page.

use crate::mapping::Mapping;
use crate::page::{Page, Publication, VERSION};
use crate::place::{self, OpenError};
use crate::{
    ClockPair, RawInstant, Reading, Reason, Solution, Span, State, Timestamp, Writer, host, raw_now,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// A page whose newest publication is older than this may have been replaced.
const SILENCE: Span = Span::from_secs(3);
/// How often a reader looks for a new page while its own is silent.
const LOOK_EVERY: Span = Span::from_secs(1);

/// Corrected time, read from a clock page.
///
/// Make one and keep it: opening costs system calls, reading does not. It may be shared by any number of threads.
/// While the page is alive, reading takes no lock and makes no system call. When its publisher has fallen silent, at
/// most one reading a second looks whether a new daemon has made a new page, and goes on with that one.
///
/// ```no_run
/// let clock = chronotick_clock::Clock::open()?;
/// let reading = clock.now();
/// println!("{:?} ± {} ({})", reading.estimate, reading.max_error(), reading.state);
/// # Ok::<(), chronotick_clock::OpenError>(())
/// ```
#[derive(Debug)]
pub struct Clock {
    /// Points into the last of `sources`.
    page: AtomicPtr<Page>,
    /// All that were ever read, because another thread may be in the middle of reading one: a page for each restart of
    /// the daemon.
    sources: Mutex<Vec<Source>>,
    /// Where a new page may appear, best first.
    places: Vec<PathBuf>,
    /// Raw nanoseconds.
    next_look: AtomicI64,
}

#[derive(Clone, Debug)]
struct Source {
    page: Arc<Mapping>,
    file: Option<PageFile>,
}

#[derive(Clone, Debug)]
struct PageFile {
    path: PathBuf,
    /// Device and inode: a restarted daemon makes another file at the same path.
    identity: (u64, u64),
}

/// The page itself, for status views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageStatus {
    /// Its file; none for a page in memory.
    pub path: Option<PathBuf>,
    /// The version of its layout.
    pub version: u64,
    /// The process id of its publisher, in the publisher's own process namespace.
    pub writer: u32,
    /// How many publications there have been.
    pub publications: u64,
    /// How old the newest solution is.
    pub age: Span,
}

impl Clock {
    /// The clock page of this machine.
    ///
    /// The first page with a living publisher in `/run/chronotick`, `$XDG_RUNTIME_DIR/chronotick`, `chronotick-UID` in
    /// `$TMPDIR` or `/tmp`; if none is alive, the first that is there. If `$CHRONOTICK_RUNTIME_DIR` is set, only the
    /// page in there.
    ///
    /// # Errors
    /// [`OpenError::Missing`] says where it looked and how to start the daemon.
    pub fn open() -> Result<Clock, OpenError> {
        Clock::search(place::pages())
    }

    /// The clock page in this file.
    ///
    /// # Errors
    /// If it is missing, something else, or of another version.
    pub fn open_at(path: &Path) -> Result<Clock, OpenError> {
        Clock::search(vec![path.into()])
    }

    /// The page of a publisher in this process.
    pub fn of(writer: &Writer) -> Clock {
        Clock::new(Source { page: Arc::clone(writer.page()), file: None }, Vec::new())
    }

    fn search(places: Vec<PathBuf>) -> Result<Clock, OpenError> {
        let (mut dead, mut error) = (None, None);
        for path in &places {
            match Source::open(path) {
                Ok(source) if source.is_alive(raw_now()) => return Ok(Clock::new(source, places)),
                Ok(source) => dead = dead.or(Some(source)),
                Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(other) => error = error.or(Some(other)),
            }
        }
        match (dead, error) {
            (Some(source), _) => Ok(Clock::new(source, places)),
            (None, Some(error)) => Err(error),
            (None, None) => Err(OpenError::Missing { looked: places }),
        }
    }

    fn new(source: Source, places: Vec<PathBuf>) -> Clock {
        Clock {
            page: AtomicPtr::new(source.page.as_ptr()),
            sources: Mutex::new(vec![source]),
            places,
            next_look: AtomicI64::new(i64::MIN),
        }
    }

    /// Corrected time now.
    ///
    /// Costs little more than reading the raw clock. It does not notice a suspend of the host that the daemon has not
    /// noticed yet, for up to a second after waking up, because that takes two more clock reads:
    /// [`now_checked`](Clock::now_checked) does.
    #[inline]
    pub fn now(&self) -> Reading {
        self.at(raw_now())
    }

    /// Corrected time at a raw instant ([`raw_now`]), past or future, as far as is known now.
    #[inline]
    pub fn at(&self, raw: RawInstant) -> Reading {
        match self.page().near_reading(raw) {
            Some(reading) => reading,
            None => self.far_reading(raw),
        }
    }

    /// As [`now`](Clock::now), but after a suspend of the host that the daemon has not noticed yet the answer is
    /// [`Unsynced`](State::Unsynced), [`Suspended`](Reason::Suspended).
    pub fn now_checked(&self) -> Reading {
        let raw = raw_now();
        self.newest(raw).seen_after(host::slept()).solution.reading(raw)
    }

    /// Corrected time and the system clock at the same instant; the bound includes how exactly that could be hit.
    ///
    /// ```
    /// # let writer = chronotick_clock::Writer::in_memory()?;
    /// # let clock = chronotick_clock::Clock::of(&writer);
    /// let (reading, system) = clock.now_and_system();
    /// println!("the system clock is off by {}", reading.offset_of(system));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn now_and_system(&self) -> (Reading, Timestamp) {
        let pair = ClockPair::now();
        (self.at(pair.raw).blurred(pair.slack), pair.system)
    }

    /// The newest solution, for those who evaluate it themselves at many instants.
    pub fn solution(&self) -> Solution {
        self.newest(raw_now()).solution
    }

    /// The page itself: whose it is and how old.
    pub fn page_status(&self) -> PageStatus {
        let now = raw_now();
        let newest = self.newest(now);
        let source = self.sources().last().expect("a clock has a page").clone();
        PageStatus {
            path: source.file.map(|file| file.path),
            version: VERSION,
            writer: source.page.pid(),
            publications: source.page.sequence(),
            age: now - newest.solution.at,
        }
    }

    #[inline]
    fn page(&self) -> &Page {
        // SAFETY: it points into a mapping that `sources` keeps for as long as `self` lives; Acquire makes the mapping
        // that another thread has put there visible to this one.
        unsafe { &*self.page.load(Ordering::Acquire) }
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        // A thread that panicked cannot have left a half-pushed element.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn far_reading(&self, raw: RawInstant) -> Reading {
        self.newest(raw_now()).solution.reading(raw)
    }

    /// The newest publication, of a new page if the old one has been silent and there is one.
    fn newest(&self, now: RawInstant) -> Publication {
        match self.page().newest() {
            Some(newest) if !newest.is_silent(now) => newest,
            old => {
                self.look(now);
                let unreadable = || Publication::unknown(State::Error, Reason::Unreadable);
                self.page().newest().or(old).unwrap_or_else(unreadable)
            }
        }
    }

    /// Goes on with another page if there is one that is alive; at most once a second over all threads.
    fn look(&self, now: RawInstant) {
        let due = self.next_look.load(Ordering::Relaxed);
        let next = (now + LOOK_EVERY).as_nanos();
        if now.as_nanos() < due
            || self.next_look.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return;
        }
        let mut sources = self.sources();
        let current = sources.last().and_then(|source| source.file.as_ref()).map(|file| file.identity);
        let another = |path: &&PathBuf| fs::metadata(path).is_ok_and(|meta| Some(identity(&meta)) != current);
        let found = self.places.iter().filter(another).filter_map(|path| Source::open(path).ok());
        if let Some(source) = found.into_iter().find(|source| source.is_alive(now)) {
            self.page.store(source.page.as_ptr(), Ordering::Release);
            sources.push(source);
        }
    }
}

impl Publication {
    fn is_silent(&self, now: RawInstant) -> bool {
        now - self.solution.at > SILENCE || matches!(self.solution.reason, Reason::Stopped | Reason::Rebooted)
    }
}

impl Source {
    /// The page in a file; for one from another boot a page in memory that says so, because its raw instants mean
    /// nothing now.
    fn open(path: &Path) -> Result<Source, OpenError> {
        let io = |source| OpenError::Io { path: path.into(), source };
        let file = place::open(path)?;
        let identity = identity(&file.metadata().map_err(io)?);
        let mut page = Mapping::file(&file, false).map_err(io)?;
        let boot = host::boot();
        if page.boot() != boot || boot == 0 {
            let refused = Mapping::anonymous().map_err(io)?;
            refused.initialise(page.boot(), page.pid());
            refused.publish(1, &Publication::unknown(State::Unsynced, Reason::Rebooted));
            page = refused;
        }
        Ok(Source { page: Arc::new(page), file: Some(PageFile { path: path.into(), identity }) })
    }

    fn is_alive(&self, now: RawInstant) -> bool {
        let alive = |newest: Publication| !newest.is_silent(now) && now < newest.solution.unsynced_at;
        self.page.newest().is_some_and(alive)
    }
}

fn identity(meta: &fs::Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page_path;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("chronotick-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_reader_without_a_publisher_looks_for_another_once_a_second() {
        let dir = scratch("look");
        let path = page_path(&dir);
        let first = Writer::create(&path).unwrap();
        let clock = Clock::open_at(&path).unwrap();
        drop(first);
        let now = raw_now();
        let reason_after = |millis| clock.newest(now + Span::from_millis(millis)).solution.reason;
        assert_eq!(reason_after(0), Reason::Stopped);
        let _second = Writer::create(&path).unwrap();
        assert_eq!(reason_after(999), Reason::Stopped);
        assert_eq!(reason_after(1_000), Reason::NoMeasurement);
        assert_eq!(clock.sources().len(), 2);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_search_prefers_a_living_page_and_else_takes_what_is_there() {
        let (dir, other) = (scratch("dead"), scratch("alive"));
        let paths = vec![dir.join("no-page"), page_path(&dir), page_path(&other)];
        drop(Writer::create(&paths[1]).unwrap());
        let found = || Clock::search(paths.clone()).unwrap().page_status().path.unwrap();
        assert_eq!(found(), paths[1]);
        let _alive = Writer::create(&paths[2]).unwrap();
        assert_eq!(found(), paths[2]);
        fs::remove_dir_all(dir).unwrap();
        fs::remove_dir_all(other).unwrap();
    }
}
