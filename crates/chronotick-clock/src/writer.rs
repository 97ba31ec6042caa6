//! The publisher's side of the clock page.

use crate::mapping::Mapping;
use crate::page::Publication;
use crate::place::{CreateError, NewFile};
use crate::{Reason, Solution, Span, State, host};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A daemon that has not published anything after this long is not going to.
const FIRST_PUBLICATION: Span = Span::from_secs(10);

/// The only publisher of a clock page.
///
/// Readers are never made to wait, and the publisher never waits for a reader. When it is dropped the page says
/// [`Unsynced`](State::Unsynced), [`Stopped`](Reason::Stopped); when its process is killed the bound grows and the
/// state falls as the last solution says.
///
/// ```
/// use chronotick_clock::{Clock, Reason, Solution, State, Writer, raw_now};
/// let mut writer = Writer::in_memory()?;
/// let clock = Clock::of(&writer);
/// writer.publish(&Solution::unknown(raw_now(), State::Error, Reason::EngineFailed));
/// assert_eq!(clock.now().state, State::Error);
/// drop(writer);
/// assert_eq!(clock.now().reason, Reason::Stopped);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    page: Arc<Mapping>,
    newest: Publication,
    published: u64,
    /// Keeps other publishers away until it is closed.
    #[allow(dead_code)]
    lock: Option<File>,
}

impl Writer {
    /// Makes the page at `path` (see [`page_path`](crate::page_path)) and becomes its only publisher.
    ///
    /// The file has mode 0644 whatever the umask, and replaces an older one in one step: readers of the old one find
    /// out that its publisher is gone. A lock beside it (`clock.lock`) keeps a second daemon away. Until the first
    /// publication the page says [`Warmup`](State::Warmup).
    ///
    /// # Errors
    /// [`CreateError::Busy`] names the daemon that already publishes there; [`CreateError::Unsafe`] refuses a
    /// directory in which other users could exchange the file.
    pub fn create(path: &Path) -> Result<Writer, CreateError> {
        let file = NewFile::create(path)?;
        let page = Mapping::file(&file.file, true)
            .map_err(|source| CreateError::Io { path: path.into(), source })?;
        let mut writer = Writer::start(page);
        writer.lock = Some(file.reveal()?);
        Ok(writer)
    }

    /// A page without a file, for an engine and its readers in one process ([`Clock::of`](crate::Clock::of)).
    ///
    /// # Errors
    /// If the system has no memory left.
    pub fn in_memory() -> io::Result<Writer> {
        Ok(Writer::start(Mapping::anonymous()?))
    }

    fn start(page: Mapping) -> Writer {
        page.initialise(host::boot(), std::process::id());
        let mut newest = Publication::unknown(State::Warmup, Reason::NoMeasurement);
        newest.slept = longest_sleep();
        newest.solution.holdover_at = newest.solution.at + FIRST_PUBLICATION;
        newest.solution.unsynced_at = newest.solution.holdover_at;
        page.publish(1, &newest);
        Writer { page: Arc::new(page), newest, published: 1, lock: None }
    }

    /// Makes this the solution that every reader evaluates from now on.
    ///
    /// The engine counts a suspend of the host in [`disruptions`](Solution::disruptions). A solution that comes after
    /// a suspend without doing so is from before it and would be wrong by its length: it is published as
    /// [`Unsynced`](State::Unsynced), [`Suspended`](Reason::Suspended).
    pub fn publish(&mut self, solution: &Solution) {
        self.publish_after(solution, longest_sleep());
    }

    fn publish_after(&mut self, solution: &Solution, slept: Span) {
        let noticed = solution.disruptions != self.newest.solution.disruptions;
        self.newest =
            Publication { solution: *solution, slept: if noticed { slept } else { self.newest.slept } };
        self.published += 1;
        self.page.publish(self.published, &self.newest.seen_after(slept));
    }

    pub(crate) fn page(&self) -> &Arc<Mapping> {
        &self.page
    }
}

/// What the host has slept, from three attempts: what is stored here is compared with for long.
fn longest_sleep() -> Span {
    [(); 3].map(|()| host::slept()).into_iter().max().expect("three attempts were made")
}

impl Drop for Writer {
    fn drop(&mut self) {
        let last = self.newest.solution;
        let stopped = Solution {
            state: State::Unsynced,
            reason: Reason::Stopped,
            // No near range: readers look for another publisher at once.
            holdover_at: last.at,
            unsynced_at: last.at,
            ..last
        };
        self.publish(&stopped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, raw_now};

    fn synced(disruptions: u32) -> Solution {
        let at = raw_now();
        let later = at + Span::from_secs(60);
        let solution = Solution::unknown(at, State::Synced, Reason::Agreement);
        Solution {
            early: Span::ZERO,
            late: Span::ZERO,
            disruptions,
            holdover_at: later,
            unsynced_at: later,
            ..solution
        }
    }

    #[test]
    fn after_a_suspend_nothing_is_fresh_until_the_engine_has_counted_it() {
        let mut writer = Writer::in_memory().unwrap();
        let clock = Clock::of(&writer);
        let before = host::slept();
        let after = before + Span::from_secs(10);
        let (awake, asleep) = (synced(0), synced(0));
        writer.publish_after(&awake, before - Span::from_secs(3600));
        writer.publish_after(&asleep, before);
        // Published with the hour that was missed: a reader who checks does not add it again.
        let told = clock.now_checked();
        assert!((told.estimate - clock.now().estimate).abs() < Span::from_secs(60));
        let mut writer = Writer::in_memory().unwrap();
        let clock = Clock::of(&writer);
        let mut reason_of = |solution: &Solution, slept| {
            writer.publish_after(solution, slept);
            clock.now().reason
        };
        assert_eq!(reason_of(&synced(0), before), Reason::Agreement);
        assert_eq!(reason_of(&synced(0), after), Reason::Suspended);
        assert_eq!(reason_of(&synced(0), after), Reason::Suspended);
        assert_eq!(reason_of(&synced(1), after), Reason::Agreement);
        assert_eq!(reason_of(&synced(1), after), Reason::Agreement);
    }

    #[test]
    fn a_reader_that_checks_notices_a_suspend_before_the_daemon_does() {
        let mut writer = Writer::in_memory().unwrap();
        let clock = Clock::of(&writer);
        // As if the engine had last looked ten seconds of sleep ago.
        let earlier = host::slept() - Span::from_secs(10);
        writer.publish_after(&synced(1), earlier);
        assert_eq!(clock.now().reason, Reason::Agreement);
        assert_eq!(clock.now_checked().reason, Reason::Suspended);
    }
}
