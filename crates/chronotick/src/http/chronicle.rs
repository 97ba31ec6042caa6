//! What the daemon's news leave behind for the doors: a point per 10 s of the last hour, the newest events by number,
//! and what is told live.

use crate::feed::News;
use crate::snapshot::{EventView, Snapshot};
use crate::utc::rfc3339;
use chronotick_record::Sample;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Seconds between two points.
pub(super) const EVERY: u64 = 10;
/// An hour of points.
const POINTS: usize = 360;
/// Events that one who comes back can catch up on.
const EVENTS: usize = 512;
/// News that may wait for a slow listener.
const WAITING: usize = 256;

/// The clock at one moment, in short. Offsets are true − local; what is not known is null.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Point {
    /// corrected time (RFC 3339, UTC); the system clock's before the first measurement
    pub(super) time: String,
    /// the same in ns since 1970, as a decimal string
    pub(super) time_ns: String,
    /// warmup, synced, holdover, unsynced, error
    pub(super) state: String,
    /// what corrected time was made of
    pub(super) source: String,
    /// offset of the system clock
    pub(super) system_offset_ns: Option<i64>,
    /// true time was no more than this before the estimate
    pub(super) early_ns: Option<i64>,
    /// true time was no more than this after the estimate
    pub(super) late_ns: Option<i64>,
    /// standard deviation of the calibrated interval
    pub(super) sigma_ns: Option<i64>,
    /// how much faster true time ran than the raw clock
    pub(super) rate_ppm: Option<f64>,
    /// standard deviation of that
    pub(super) rate_sigma_ppm: Option<f64>,
    /// root mean square of what trusted sources differed from corrected time
    pub(super) rms_offset_ns: Option<i64>,
    /// temperature of the machine
    pub(super) temperature_celsius: Option<f64>,
    /// null where it is from the history file
    pub(super) sources_trusted: Option<usize>,
    pub(super) sources_total: Option<usize>,
    /// the clock and its servers were simulated
    pub(super) simulation: bool,
    #[serde(skip)]
    pub(super) utc_ns: i64,
}

impl Point {
    fn of(snapshot: &Snapshot) -> Point {
        let clock = snapshot.clock.as_ref();
        let utc = snapshot.written.parse::<jiff::Timestamp>().map_or(0, |time| time.as_nanosecond());
        let utc_ns = i64::try_from(utc).unwrap_or(i64::MAX);
        Point {
            time: snapshot.written.clone(),
            time_ns: utc_ns.to_string(),
            state: snapshot.state.clone(),
            source: snapshot.source.clone(),
            system_offset_ns: clock.map(|c| c.system_offset_ns),
            early_ns: clock.map(|c| c.early_ns),
            late_ns: clock.map(|c| c.late_ns),
            sigma_ns: clock.map(|c| c.sigma_ns),
            rate_ppm: clock.map(|c| c.rate_ppm),
            rate_sigma_ppm: clock.map(|c| c.rate_sigma_ppm),
            rms_offset_ns: clock.map(|c| c.rms_offset_ns),
            temperature_celsius: snapshot.temperature_celsius,
            sources_trusted: Some(snapshot.sources.iter().filter(|s| s.is_trusted()).count()),
            sources_total: Some(snapshot.sources.len()),
            simulation: snapshot.simulation,
            utc_ns,
        }
    }
}

impl Point {
    /// From the history file.
    pub(super) fn recorded(sample: &Sample) -> Point {
        let utc = sample.system + sample.offset.correction();
        Point {
            time: rfc3339(utc),
            time_ns: utc.as_nanos().to_string(),
            state: sample.state.name().into(),
            source: sample.source.clone(),
            system_offset_ns: Some(sample.offset.correction().as_nanos()),
            early_ns: Some(sample.early.as_nanos()),
            late_ns: Some(sample.late.as_nanos()),
            sigma_ns: Some(sample.sigma.as_nanos()),
            rate_ppm: Some(sample.rate.as_ppm()),
            rate_sigma_ppm: None,
            rms_offset_ns: None,
            temperature_celsius: None,
            sources_trusted: None,
            sources_total: None,
            simulation: false,
            utc_ns: utc.as_nanos(),
        }
    }
}

/// What is told to those who listen.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A [`Point`], as JSON, once a second.
    Status(Arc<str>),
    /// An event with its number, as JSON.
    Happened(u64, Arc<str>),
    /// There will be nothing more.
    End,
}

/// What is left of the daemon's news.
pub(super) struct Chronicle {
    past: Mutex<Past>,
    live: broadcast::Sender<Told>,
    /// Which run of the daemon the numbers of events belong to.
    run: u64,
}

#[derive(Default)]
struct Past {
    points: VecDeque<Point>,
    next_point: f64,
    events: VecDeque<(u64, Arc<str>)>,
    newest: Option<Arc<str>>,
    happened: BTreeMap<String, u64>,
    numbered: u64,
    ended: bool,
}

impl Chronicle {
    pub(super) fn new() -> Chronicle {
        let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Chronicle {
            past: Mutex::default(),
            live: broadcast::channel(WAITING).0,
            run: since_1970.as_millis() as u64,
        }
    }

    /// Takes in one piece of news.
    pub(super) fn take(&self, news: &News) {
        match news {
            News::Status(snapshot) => self.take_status(snapshot),
            News::Happened(event) => self.take_event(event),
            _ => {}
        }
    }

    fn take_status(&self, snapshot: &Snapshot) {
        let point = Point::of(snapshot);
        let told: Arc<str> = json(&point).into();
        let mut past = self.past();
        past.newest = Some(told.clone());
        if snapshot.uptime_seconds >= past.next_point {
            past.next_point = snapshot.uptime_seconds + EVERY as f64 - 0.5;
            if past.points.len() == POINTS {
                past.points.pop_front();
            }
            past.points.push_back(point);
        }
        // Whoever subscribes under the lock misses nothing and hears nothing twice.
        let _ = self.live.send(Told::Status(told));
    }

    fn take_event(&self, event: &EventView) {
        let told: Arc<str> = json(event).into();
        let mut past = self.past();
        past.numbered += 1;
        *past.happened.entry(event.kind.clone()).or_default() += 1;
        let number = past.numbered;
        if past.events.len() == EVENTS {
            past.events.pop_front();
        }
        past.events.push_back((number, told.clone()));
        let _ = self.live.send(Told::Happened(number, told));
    }

    /// There will be no more news.
    pub(super) fn end(&self) {
        self.past().ended = true;
        let _ = self.live.send(Told::End);
    }

    /// The newest `limit` points after `since` (ns since 1970), oldest first.
    pub(super) fn points(&self, since: i64, limit: usize) -> Vec<Point> {
        let past = self.past();
        let newer = past.points.iter().rev().take_while(|point| point.utc_ns > since);
        let mut points: Vec<Point> = newer.take(limit).cloned().collect();
        points.reverse();
        points
    }

    /// How many events of each kind there were.
    pub(super) fn happened(&self) -> BTreeMap<String, u64> {
        self.past().happened.clone()
    }

    /// What a listener has to be told first, after the event that it heard last, and where it hears the rest.
    pub(super) fn listen(&self, heard: Option<&str>) -> (Vec<Told>, broadcast::Receiver<Told>) {
        let past = self.past();
        // A number of an earlier run says nothing about this one: then all of this run is news.
        let after = heard.and_then(|id| {
            let (run, number) = id.split_once('-')?;
            Some(number.parse::<u64>().ok().filter(|_| run.parse() == Ok(self.run)).unwrap_or(0))
        });
        let missed = past.events.iter().filter(|(number, _)| after.is_some_and(|after| *number > after));
        let mut first: Vec<Told> = missed.map(|(n, event)| Told::Happened(*n, event.clone())).collect();
        first.extend(past.newest.clone().map(Told::Status));
        first.extend(past.ended.then_some(Told::End));
        (first, self.live.subscribe())
    }

    /// The name of an event for one who comes back: the run and the number.
    pub(super) fn name(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data has a JSON form")
}
