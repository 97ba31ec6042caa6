//! The record: follows the feed on threads of its own and keeps the history and the audit log. Nothing waits for it; what it cannot write
//! is lost and said.

mod audit;
mod rows;

use crate::config::Config;
use crate::feed::{Ended, Feed, Follower, News};
use crate::snapshot::Snapshot;
use chronotick_clock::{ClockPair, Span, State, Timestamp, boot};
use chronotick_core::{Past, RawInstant};
use chronotick_record::{Gap, Row, Run, Sample, Store};
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

/// The threads that keep the record.
#[derive(Debug)]
pub struct Recorder {
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Waits until everything that the daemon told before its end is written.
    pub fn finish(self) {
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                log::error!("the thread of the {name} has failed");
            }
        }
    }
}

/// Starts to keep the record of a daemon, as far as the configuration asks for it.
///
/// # Errors
/// If no thread can be started.
pub fn start(config: &Config, feed: &Feed) -> io::Result<Recorder> {
    let mut threads = Vec::new();
    if config.history.enabled {
        threads.push(keep_history(config, feed)?);
    }
    if config.audit.enabled {
        threads.push(keep_audit(config, feed)?);
    }
    Ok(Recorder { threads })
}

/// An audit log that cannot be gone on from is worth an error in the log; time is served in any case.
fn keep_audit(config: &Config, feed: &Feed) -> io::Result<JoinHandle<()>> {
    let (config, follower) = (config.clone(), feed.follow());
    std::thread::Builder::new().name("audit".into()).spawn(move || match audit::Auditor::begin(&config) {
        Ok(mut auditor) => auditor.follow(&follower),
        Err(e) => log::error!("there is no audit log: {e}"),
    })
}

fn keep_history(config: &Config, feed: &Feed) -> io::Result<JoinHandle<()>> {
    let began = ClockPair::now().system;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let run = Run { began, ended: began, boot: boot(), version, configuration: config.digest() };
    let store = Store::new(&config.state_dir, run, config.history.keep());
    let (follower, mut keeper) = (feed.follow(), Keeper::new(store));
    std::thread::Builder::new().name("history".into()).spawn(move || {
        // Where priorities are not per thread it runs at the usual one.
        let _ = chronotick_os::yield_to_others();
        keeper.keep(&follower);
    })
}

/// What turns news into rows, and when they are written.
#[derive(Debug)]
struct Keeper {
    store: Store,
    waiting: Vec<Row>,
    narrowest: Option<Sample>,
    sampled: Option<RawInstant>,
    weighed: Option<RawInstant>,
    written: Option<RawInstant>,
    forgotten: Option<RawInstant>,
    epoch: u32,
    stepped: bool,
    /// True time by the newest status; the system clock's before the first.
    utc: Timestamp,
    /// Between what the follower misses and what it hears next.
    missed_since: Timestamp,
}

impl Keeper {
    /// Of the statuses of so many seconds the one with the narrowest bound is kept.
    const SAMPLE_EVERY: Span = Span::from_millis(9_500);
    const WEIGH_EVERY: Span = Span::from_secs(60);
    const WRITE_EVERY: Span = Span::from_secs(5);
    const FORGET_EVERY: Span = Span::from_secs(3600);
    /// So many rows are written at once at most.
    const BATCH: usize = 512;

    fn new(store: Store) -> Keeper {
        let utc = ClockPair::now().system;
        Keeper {
            store,
            waiting: Vec::new(),
            narrowest: None,
            sampled: None,
            weighed: None,
            written: None,
            forgotten: None,
            epoch: 0,
            stepped: false,
            utc,
            missed_since: utc,
        }
    }

    fn keep(&mut self, follower: &Follower) {
        loop {
            match follower.next(Duration::from_secs(60)) {
                Ok(Some(news)) => self.take(&news),
                Ok(None) => {}
                Err(Ended) => break,
            }
            let missed = follower.missed();
            if missed > 0 {
                self.note_missed(missed);
            }
            if self.waiting.len() >= Keeper::BATCH {
                self.write();
            }
        }
        self.write();
    }

    fn take(&mut self, news: &News) {
        match news {
            // A simulated clock has no place in this machine's history.
            News::Status(snapshot) if snapshot.simulation => {}
            News::Status(snapshot) => self.status(snapshot),
            News::Measured(measured) => self.waiting.push(rows::measurement(measured)),
            News::Happened(event) => {
                self.waiting.push(rows::event(event));
                match event.kind.as_str() {
                    "system_step" => self.stepped = true,
                    "disruption" | "majority" => self.epoch += 1,
                    _ => return,
                }
                // What is known on both sides of a break keeps it short.
                self.waiting.extend(self.narrowest.take().map(Row::Sample));
                self.sampled = None;
            }
            News::Steered(steered) => self.waiting.extend(rows::correction(steered)),
            News::Past(past) => self.settle(past),
        }
    }

    fn status(&mut self, snapshot: &Snapshot) {
        let raw = RawInstant::from_nanos(snapshot.raw_ns);
        let due = |last: Option<RawInstant>, every| last.is_none_or(|last| raw - last >= every);
        if let Some(clock) = &snapshot.clock {
            self.utc = Timestamp::from_nanos(clock.system_ns.saturating_add(clock.system_offset_ns));
            let width = |row: &Sample| row.early + row.late;
            let sample = rows::sample(snapshot, clock, self.epoch, self.stepped);
            if self.narrowest.as_ref().is_none_or(|best| width(&sample) < width(best)) {
                self.narrowest = Some(sample);
            }
            if due(self.sampled, Keeper::SAMPLE_EVERY) {
                self.sampled = Some(raw);
                self.stepped = false;
                self.waiting.extend(self.narrowest.take().map(Row::Sample));
            }
            if due(self.weighed, Keeper::WEIGH_EVERY) {
                self.weighed = Some(raw);
                self.waiting.extend(rows::weights(snapshot, self.utc));
            }
        }
        if due(self.written, Keeper::WRITE_EVERY) {
            self.written = Some(raw);
            self.write();
        }
        // Only a clock that is known may say that something is old.
        if snapshot.state == State::Synced.name() && due(self.forgotten, Keeper::FORGET_EVERY) {
            self.forgotten = Some(raw);
            if let Err(e) = self.store.forget(self.utc) {
                log::warn!("the history cannot be shortened: {e}");
            }
        }
        self.missed_since = self.utc;
    }

    fn write(&mut self) {
        let rows = std::mem::take(&mut self.waiting);
        if rows.is_empty() {
            return;
        }
        if let Err(e) = self.store.write(&rows, self.utc) {
            log::warn!("the history cannot be written, everything else goes on: {e}");
        }
    }

    fn settle(&mut self, past: &Past) {
        self.write();
        let smoothed = |instants: &[RawInstant]| {
            let each = past.smoothed_each(instants).into_iter();
            each.map(|s| s.map(|s| (s.utc, s.sigma))).collect()
        };
        if let Err(e) = self.store.settle(&smoothed) {
            log::warn!("later knowledge cannot be added to the history: {e}");
        }
    }

    fn note_missed(&mut self, missed: u64) {
        log::warn!("the history missed {missed} news: the disk is too slow");
        let why = "the disk was too slow".to_owned();
        let gap = Gap { from: self.missed_since, until: self.utc, why, lost: missed };
        if let Err(e) = self.store.note_gap(&gap) {
            log::warn!("the history cannot be written: {e}");
        }
    }
}
