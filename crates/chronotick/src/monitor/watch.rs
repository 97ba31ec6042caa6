//! The monitor that lives beside the daemon: it follows the feed on a thread of its own, judges the clock every few seconds,
//! tells its subscribers, and keeps what it remembers in a small file beside the clock page for those who ask for health.

use super::subscribers::Subscribers;
use crate::feed::{Follower, News};
use crate::replace::replace;
use crate::snapshot::{Snapshot, SourceView};
use crate::utc::rfc3339;
use chronotick_clock::{RawInstant, Span, Timestamp, raw_now};
use chronotick_monitor::health::LastStep;
use chronotick_monitor::{Alert, Backing, ClockError, Event, Health, Monitor, Sample, Status, What};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the monitor remembers, for whoever asks for health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The raw instant of writing, in ns.
    pub raw_ns: i64,
    /// Share of the time since the start in which the clock's error was known.
    pub coverage: Option<f64>,
    /// When time was last backed by a majority.
    pub last_sync_utc: Option<String>,
    /// The newest step of the system clock.
    pub last_step: Option<LastStep>,
    /// The alerts that stand.
    pub alerts: Vec<Alert>,
}

impl Remembered {
    const FILE: &str = "monitor.json";
    /// What is older is of a monitor that lives no more.
    const STALE: Span = Span::from_secs(120);

    /// What the monitor of this runtime directory remembers, if one lives.
    pub fn read(dir: &Path) -> Option<Remembered> {
        let bytes = fs::read(dir.join(Remembered::FILE)).ok()?;
        let found: Remembered = serde_json::from_slice(&bytes).ok()?;
        let age = raw_now() - RawInstant::from_nanos(found.raw_ns);
        (Span::ZERO..Remembered::STALE).contains(&age).then_some(found)
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        replace(&dir.join(Remembered::FILE), &serde_json::to_vec(self)?)
    }

    /// Adds what only a memory has. A standing alert is at least a warning.
    pub(super) fn complete(&self, health: &mut Health) {
        health.compliance.coverage = self.coverage;
        health.last_step = self.last_step.clone();
        health.last_sync_utc = health.last_sync_utc.take().or_else(|| self.last_sync_utc.clone());
        for alert in &self.alerts {
            health.component(Status::Warning, format!("an alert stands: {alert}"));
        }
    }
}

/// What a monitor of this process remembers; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<RwLock<Remembered>>);

impl Memory {
    /// What it remembers now.
    pub fn now(&self) -> Remembered {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, remembered: &Remembered) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(remembered);
    }
}

/// Follows a daemon.
#[derive(Debug)]
pub struct Watch {
    thread: JoinHandle<()>,
    memory: Memory,
}

impl Watch {
    /// What has not been heard of for so long is gone.
    const SILENT: Span = Span::from_secs(5);

    /// Starts following: the clock is judged every `interval`, and what is remembered goes into `dir`, if there is one.
    ///
    /// # Errors
    /// If there is no thread left.
    pub fn start(
        follower: Follower,
        monitor: Monitor,
        subscribers: Subscribers,
        interval: Span,
        dir: Option<PathBuf>,
    ) -> io::Result<Watch> {
        let mut following = Following {
            monitor,
            subscribers,
            dir,
            before: None,
            next: raw_now(),
            interval,
            remembered: Remembered::default(),
            memory: Memory::default(),
        };
        let memory = following.memory.clone();
        let run = move || following.run(&follower);
        let thread = std::thread::Builder::new().name("monitor".into()).spawn(run)?;
        Ok(Watch { thread, memory })
    }

    /// What it remembers.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Waits until the feed has ended.
    pub fn join(self) {
        // A panic there was logged by the thread itself.
        let _ = self.thread.join();
    }
}

struct Following {
    monitor: Monitor,
    subscribers: Subscribers,
    dir: Option<PathBuf>,
    before: Option<Arc<Snapshot>>,
    next: RawInstant,
    interval: Span,
    remembered: Remembered,
    memory: Memory,
}

impl Following {
    fn run(&mut self, follower: &Follower) {
        while let Ok(news) = follower.next(Duration::from_secs(1)) {
            if let Some(News::Status(snapshot)) = news {
                self.hear(snapshot);
            }
            let now = raw_now();
            if now >= self.next {
                self.look(now);
                self.next = now + self.interval;
            }
        }
    }

    fn hear(&mut self, snapshot: Arc<Snapshot>) {
        self.compare(&snapshot);
        self.before = Some(snapshot);
    }

    /// One sample, judged and told.
    fn look(&mut self, now: RawInstant) {
        let Some(sample) = self.before.as_deref().map(|snapshot| from_status(snapshot, now)) else { return };
        for event in self.monitor.take(&sample) {
            self.subscribers.tell(&event);
        }
        self.remembered.raw_ns = now.as_nanos();
        self.remembered.coverage = self.monitor.coverage();
        self.remembered.alerts = self.monitor.alerts();
        self.remembered.last_sync_utc = self.monitor.last_synced().map(|s| rfc3339(s.utc));
        self.memory.keep(&self.remembered);
        if let Some(dir) = &self.dir
            && let Err(e) = self.remembered.write(dir)
        {
            log::debug!("what the monitor remembers cannot be kept in {}: {e}", dir.display());
        }
    }

    /// What happened between two looks at the status: sources lost, a step, a leap second announced.
    fn compare(&mut self, now: &Snapshot) {
        let Some(before) = self.before.clone() else { return };
        let utc_ns = now.written_at().as_nanos();
        for what in changes(&before, now) {
            if let What::Step { by_ns } = what {
                let utc = rfc3339(Timestamp::from_nanos(utc_ns));
                self.remembered.last_step = Some(LastStep { utc, delta_ns: by_ns, by: "another".into() });
            }
            self.subscribers.tell(&Event { utc_ns, simulation: now.simulation, what });
        }
    }
}

fn is_heard(source: &SourceView) -> bool {
    source.reach != 0 && source.is_trusted()
}

fn changes(before: &Snapshot, now: &Snapshot) -> Vec<What> {
    let mut found = Vec::new();
    for lost in before.sources.iter().filter(|s| is_heard(s)) {
        let same = now.sources.iter().find(|s| s.address == lost.address);
        let why = match same {
            None => "it is not asked any more".to_owned(),
            Some(s) if s.reach == 0 => "it has left eight polls unanswered".to_owned(),
            Some(s) if !s.is_trusted() => format!("it is {}", s.verdict),
            Some(_) => continue,
        };
        found.push(What::SourceLost { source: format!("{} ({})", lost.server, lost.address), why });
    }
    if let (Some(then), Some(clock)) = (&before.clock, &now.clock) {
        if then.leap != clock.leap {
            found.push(What::Leap { announced: clock.leap.clone() });
        }
        let stepped = |e: &&crate::snapshot::EventView| e.kind == "system_step" && !before.events.contains(e);
        if now.events.iter().any(|e| stepped(&e)) {
            // Set ahead, it lacks so much less.
            found.push(What::Step { by_ns: then.system_offset_ns - clock.system_offset_ns });
        }
    }
    found
}

/// The system clock at the newest status; nothing is known of one that is too old.
fn from_status(snapshot: &Snapshot, now: RawInstant) -> Sample {
    let silent = snapshot.age(now) > Watch::SILENT;
    let state = match snapshot.state.as_str() {
        _ if silent => Backing::NoData,
        "warmup" => Backing::Warmup,
        "synced" => Backing::Synced,
        "holdover" => Backing::Holdover,
        "unsynced" => Backing::Unsynced,
        _ => Backing::Error,
    };
    let span = Span::from_nanos;
    let error = snapshot.clock.as_ref().filter(|_| !silent).map(|clock| ClockError {
        offset: span(clock.system_offset_ns),
        early: span(clock.early_ns),
        late: span(clock.late_ns),
    });
    let agreeing = snapshot.sources.iter().filter(|s| s.is_trusted()).count() as u32;
    Sample { at: now, utc: snapshot.written_at() + snapshot.age(now), state, error, agreeing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Feed;
    use crate::snapshot::EventView;
    use chronotick_monitor::Profile;
    use serde_json::json;

    const UTC: &str = "2026-11-21T09:37:29.000000000Z";

    /// A daemon with two sources, as it stands at this moment.
    fn snapshot(offset_ms: i64, verdicts: [&str; 2], leap: &str) -> Snapshot {
        let source = |(i, verdict): (usize, &str)| SourceView {
            server: "ntp.example".into(),
            address: format!("192.0.2.{i}:123"),
            verdict: verdict.into(),
            reach: 0xff,
            ..SourceView::default()
        };
        let sources: Vec<SourceView> = verdicts.into_iter().enumerate().map(source).collect();
        serde_json::from_value(json!({
            "version": "", "pid": 1, "simulation": false, "raw_ns": raw_now().as_nanos(), "written": UTC,
            "uptime_seconds": 1.0, "warmup_progress": 1.0, "warmup_seconds": 1.0, "state": "synced",
            "reason": "", "source": "bank", "traffic": crate::snapshot::Traffic::default(), "sources": sources,
            "models": [], "unresolved": [], "events": [], "memory_bytes": 1,
            "clock": {
                "system_ns": 0, "system_offset_ns": offset_ms * 1_000_000, "rate_ppm": 0.0, "rate_sigma_ppm": 0.0, "sigma_ns": 1,
                "early_ns": 1_000, "late_ns": 1_000, "bound_growth_ppm": 1.0, "rms_offset_ns": 1, "leap": leap,
                "last_measurement_seconds": 1.0,
            },
        }))
        .unwrap()
    }

    fn names(events: &super::super::Stream) -> Vec<&'static str> {
        std::iter::from_fn(|| events.next(Duration::ZERO)).map(|event| event.what.name()).collect()
    }

    #[test]
    fn what_happens_between_two_looks_is_told_and_remembered() {
        let (subscribers, dir) = (Subscribers::default(), tempfile::tempdir().unwrap());
        let events = subscribers.stream();
        let mut following = Following {
            monitor: Monitor::new(Profile::default()),
            subscribers,
            dir: Some(dir.path().to_owned()),
            before: None,
            next: raw_now(),
            interval: Span::from_secs(10),
            remembered: Remembered::default(),
            memory: Memory::default(),
        };
        let mut tell = |snapshot| {
            following.hear(Arc::new(snapshot));
            following.look(raw_now());
            names(&events)
        };
        assert_eq!(tell(snapshot(100, ["trusted", "trusted"], "none")), ["sample"]);
        assert_eq!(tell(snapshot(100, ["trusted", "trusted"], "none")), ["sample", "alert_raised"]);
        let (time, kind, text) = (UTC.to_owned(), "system_step".to_owned(), String::new());
        let step = EventView { time, utc_ns: 0, kind, source: None, text };
        let after = Snapshot { events: vec![step], ..snapshot(0, ["trusted", "falseticker"], "insert") };
        assert_eq!(tell(after), ["source_lost", "leap", "step", "sample", "level_changed"]);
        let remembered = Remembered::read(dir.path()).unwrap();
        assert_eq!(remembered, following.memory.now());
        assert_eq!(remembered.last_step.unwrap().delta_ns, 100_000_000);
        assert_eq!((remembered.alerts, remembered.coverage), (vec![Alert::Limit], Some(1.0)));
    }

    #[test]
    fn it_ends_with_the_feed() {
        let feed = Feed::default();
        let monitor = Monitor::new(Profile::default());
        let second = Span::from_secs(1);
        let watch = Watch::start(feed.follow(), monitor, Subscribers::default(), second, None).unwrap();
        feed.end();
        watch.join();
    }

    #[test]
    fn a_daemon_that_fell_silent_is_no_data() {
        let old = Snapshot { raw_ns: 0, ..snapshot(0, ["trusted", "trusted"], "none") };
        let sample = from_status(&old, RawInstant::from_nanos(0) + Span::from_secs(60));
        assert_eq!((sample.state, sample.error), (Backing::NoData, None));
    }
}
