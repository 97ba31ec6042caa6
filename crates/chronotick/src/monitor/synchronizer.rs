//! A small monitor for programs without a daemon: it asks time servers every few minutes, says how far the system clock is off,
//! keeps a correction for the program's own use, and tells callbacks. It never touches the system clock.

mod check;
mod json;

pub use check::{Check, NtpSummary, Simulated, Statistics, SyncStatus, SyncSummary};
pub use json::InvalidSettings;

use super::Subscribers;
use super::exchange::{self, Heard, Question, Silent};
use crate::config::{InvalidServer, ServerAddress};
use chronotick_clock::{ClockPair, RawInstant, Span, Timestamp, raw_now};
use chronotick_monitor::{
    Backing, ClockError, Consensus, Decision, DeviceClocks, Event, Monitor, Policy, Profile, Sample, What,
};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Keeps an eye on the system clock from within a program.
///
/// Offsets are true − local: positive means that the system clock is behind. The correction is what is added to the system
/// clock's reading by [`corrected_time`](TimeSynchronizer::corrected_time), and nothing else.
///
/// ```
/// use chronotick::monitor::synchronizer::{Simulated, TimeSynchronizer};
/// use chronotick_clock::Span;
///
/// // A simulated clock that is 25 ms behind; without `.simulated(…)` the servers are asked.
/// let clock = Simulated { offset: Span::from_millis(25), drift_ppm: 0.0 };
/// let sync = TimeSynchronizer::builder()
///     .servers(["pool.ntp.org", "time.cloudflare.com"])?
///     .interval(Span::from_secs(300))
///     .drift_threshold(Span::from_millis(20))
///     .simulated(clock)
///     .build();
/// sync.on_alert(|event| eprintln!("{event}"))?;
///
/// let status = sync.force();
/// assert!((status.offset_ns.unwrap() - 25_000_000).abs() < 1_000_000);
/// assert!(status.residual_ns.unwrap().abs() < 1_000_000); // corrected, once and in the right direction
/// assert!(status.simulation);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TimeSynchronizer {
    shared: Arc<Shared>,
    running: Mutex<Option<JoinHandle<()>>>,
}

/// How a [`TimeSynchronizer`] shall be.
#[derive(Clone, Debug)]
pub struct Builder {
    enabled: bool,
    ntp: bool,
    servers: Vec<ServerAddress>,
    interval: Span,
    threshold: Span,
    correction: bool,
    timeout: Span,
    tries: u32,
    profile: Profile,
    simulated: Option<Simulated>,
}

#[derive(Debug)]
struct Shared {
    settings: Builder,
    state: Mutex<State>,
    /// Wakes the thread when it is to stop.
    wake: Condvar,
    checks: Subscribers<SyncStatus>,
    events: Subscribers<Event>,
}

#[derive(Debug)]
struct State {
    stopping: bool,
    monitor: Monitor,
    /// What is added to the system clock's reading.
    applied: Span,
    last_action: Option<RawInstant>,
    status: SyncStatus,
    history: VecDeque<Check>,
    begun: RawInstant,
    devices: DeviceClocks,
}

/// So many checks are kept.
const HISTORY: usize = 100;
/// A whole check takes no longer than this, whatever the timeouts are.
const LONGEST_CHECK: Span = Span::from_secs(10);

impl Default for Builder {
    fn default() -> Builder {
        // One family of leap-second handling, as in the daemon's defaults.
        let servers = crate::config::Config::default().ntp.servers;
        let servers = servers.into_iter().map(|server| server.address).collect();
        Builder {
            enabled: true,
            ntp: true,
            servers,
            interval: Span::from_secs(300),
            threshold: Span::from_millis(20),
            correction: true,
            timeout: Span::from_secs(2),
            tries: 3,
            profile: Profile {
                metric: chronotick_monitor::Metric::Offset,
                ..Profile::named("leadville").expect("it exists")
            },
            simulated: None,
        }
    }
}

impl Builder {
    /// Whether [`TimeSynchronizer::start`] starts anything. Default yes.
    pub fn enabled(self, enabled: bool) -> Builder {
        Builder { enabled, ..self }
    }

    /// Whether servers are asked; without them nothing is known, and nothing is made up. Default yes.
    pub fn ntp(self, ntp: bool) -> Builder {
        Builder { ntp, ..self }
    }

    /// The time servers, each as `host` or `host:port`.
    ///
    /// # Errors
    /// For the first that cannot be one.
    pub fn servers<S: AsRef<str>>(
        self,
        servers: impl IntoIterator<Item = S>,
    ) -> Result<Builder, InvalidServer> {
        let servers = servers.into_iter().map(|s| s.as_ref().parse()).collect::<Result<_, _>>()?;
        Ok(Builder { servers, ..self })
    }

    /// From one check to the next. Default 5 min; not below 1 s.
    pub fn interval(self, interval: Span) -> Builder {
        Builder { interval: interval.max(Span::from_secs(1)), ..self }
    }

    /// What is not corrected, strictly more is; alerts begin there as well. Default 20 ms.
    pub fn drift_threshold(self, threshold: Span) -> Builder {
        let mut builder = Builder { threshold: threshold.abs(), ..self };
        builder.profile.alert = builder.threshold;
        builder
    }

    /// Whether answers are corrected. Default yes.
    pub fn correction(self, correction: bool) -> Builder {
        Builder { correction, ..self }
    }

    /// How long one answer may take. Default 2 s.
    pub fn timeout(self, timeout: Span) -> Builder {
        Builder { timeout: timeout.max(Span::from_millis(10)), ..self }
    }

    /// How often a check is tried where no majority answers, with pauses of 1, 2, 4 s between. Default 3; at least 1.
    pub fn tries(self, tries: u32) -> Builder {
        Builder { tries: tries.max(1), ..self }
    }

    /// What is expected of the clock. The default is `leadville` by offset; the threshold is where its alerts begin.
    pub fn profile(self, profile: Profile) -> Builder {
        let alert = self.threshold;
        Builder { profile: Profile { alert, ..profile }, ..self }
    }

    /// A simulated clock and simulated servers instead of real ones; every output says so.
    pub fn simulated(self, clock: Simulated) -> Builder {
        Builder { simulated: Some(clock), ..self }
    }

    /// The synchronizer, which has not begun.
    pub fn build(self) -> TimeSynchronizer {
        let simulation = self.simulated.is_some();
        let rule = chronotick_monitor::Hysteresis { raise_after: 1, ..Default::default() };
        let monitor = Monitor::new(self.profile.clone()).with_hysteresis(rule).of_simulation(simulation);
        let state = State {
            stopping: false,
            monitor,
            applied: Span::ZERO,
            last_action: None,
            status: SyncStatus::fresh(self.ntp, simulation),
            history: VecDeque::new(),
            begun: raw_now(),
            devices: DeviceClocks::default(),
        };
        let shared = Shared {
            settings: self,
            state: Mutex::new(state),
            wake: Condvar::new(),
            checks: Subscribers::default(),
            events: Subscribers::default(),
        };
        TimeSynchronizer { shared: Arc::new(shared), running: Mutex::new(None) }
    }
}

impl TimeSynchronizer {
    /// One with defaults to be changed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// One as the section `amg_timer.time_synchronization` of a JSON configuration has it; other sections do not matter.
    ///
    /// ```
    /// use chronotick::monitor::synchronizer::TimeSynchronizer;
    /// let json = r#"{"amg_timer": {"time_synchronization": {
    ///     "enabled": true, "sync_interval_minutes": 5, "drift_threshold_ms": 20, "enable_correction": true,
    ///     "ntp": {"enabled": true, "servers": ["pool.ntp.org"], "timeout_seconds": 10, "max_retries": 3}
    /// }}}"#;
    /// let sync = TimeSynchronizer::from_json(json)?.build();
    /// assert_eq!(sync.summary().drift_threshold_ns, 20_000_000);
    /// # Ok::<(), chronotick::monitor::synchronizer::InvalidSettings>(())
    /// ```
    ///
    /// # Errors
    /// If it is no JSON, has no such section, or something in it cannot be.
    pub fn from_json(text: &str) -> Result<Builder, InvalidSettings> {
        json::read(text)
    }

    /// Starts checking on a thread of its own, at once and then at every interval. Gives whether it was started: not if it
    /// runs already or is not enabled.
    ///
    /// # Errors
    /// If there is no thread left.
    pub fn start(&self) -> io::Result<bool> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() || !self.shared.settings.enabled {
            return Ok(false);
        }
        self.shared.state().stopping = false;
        let shared = self.shared.clone();
        *running =
            Some(std::thread::Builder::new().name("time synchronizer".into()).spawn(move || shared.run())?);
        Ok(true)
    }

    /// Stops, and waits for a check that is under way. Gives whether it was running.
    pub fn stop(&self) -> bool {
        let Some(thread) = self.running.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return false;
        };
        self.shared.state().stopping = true;
        self.shared.wake.notify_all();
        // A panic there has been printed.
        let _ = thread.join();
        true
    }

    /// Checks now, and waits for the outcome: ten seconds at most.
    pub fn force(&self) -> SyncStatus {
        self.shared.check()
    }

    /// The newest status.
    pub fn status(&self) -> SyncStatus {
        SyncStatus { running: self.is_running(), ..self.shared.state().status.clone() }
    }

    /// Settings, status and statistics in one.
    pub fn summary(&self) -> SyncSummary {
        let settings = &self.shared.settings;
        let status = self.status();
        SyncSummary {
            enabled: settings.enabled,
            sync_interval_ns: settings.interval.as_nanos(),
            drift_threshold_ns: settings.threshold.as_nanos(),
            correction_enabled: settings.correction,
            profile: settings.profile.name.clone(),
            statistics: self.statistics(),
            simulation: status.simulation,
            status,
        }
    }

    /// The system clock's reading with the correction added. It may be set back by a check.
    pub fn corrected_time(&self) -> Timestamp {
        let applied = self.shared.state().applied;
        self.shared.system().system + applied
    }

    /// Forgets the correction; tells that as a correction to zero.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        let before = std::mem::take(&mut state.applied);
        state.last_action = None;
        state.status.applied_ns = 0;
        state.status.residual_ns = state.status.offset_ns;
        drop(state);
        self.shared.tell_correction(-before);
    }

    /// The newest hundred checks, oldest first.
    pub fn history(&self) -> Vec<Check> {
        self.shared.state().history.iter().cloned().collect()
    }

    /// Statistics of these.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.shared.state().history)
    }

    /// Calls back after every check.
    ///
    /// # Errors
    /// If there is no thread left for it: a callback has one of its own, so that a slow or panicking one hurts nobody.
    pub fn on_sync(&self, callback: impl FnMut(&SyncStatus) + Send + 'static) -> io::Result<()> {
        self.shared.checks.call("sync callback", callback)
    }

    /// Calls back when an alert is raised or cleared.
    ///
    /// # Errors
    /// As [`on_sync`](TimeSynchronizer::on_sync).
    pub fn on_alert(&self, mut callback: impl FnMut(&Event) + Send + 'static) -> io::Result<()> {
        self.shared.events.call("alert callback", move |event| {
            if matches!(event.what, What::AlertRaised { .. } | What::AlertCleared { .. }) {
                callback(event);
            }
        })
    }

    /// Calls back when the correction changes, with what was added to it.
    ///
    /// # Errors
    /// As [`on_sync`](TimeSynchronizer::on_sync).
    pub fn on_correction(&self, mut callback: impl FnMut(Span) + Send + 'static) -> io::Result<()> {
        self.shared.events.call("correction callback", move |event| {
            if let What::Correction { by_ns, .. } = event.what {
                callback(Span::from_nanos(by_ns));
            }
        })
    }

    /// Every event from now on.
    pub fn events(&self) -> super::Stream {
        self.shared.events.stream()
    }

    /// Works with the clocks of devices: feed pairs whose host time is [`corrected_time`](TimeSynchronizer::corrected_time).
    pub fn devices<R>(&self, work: impl FnOnce(&mut DeviceClocks) -> R) -> R {
        work(&mut self.shared.state().devices)
    }

    fn is_running(&self) -> bool {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Drop for TimeSynchronizer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while !self.state().stopping {
            self.check();
            self.rest(self.settings.interval);
        }
    }

    /// Waits, unless it is to stop; by the monotonic clock, so that no step disturbs it.
    fn rest(&self, time: Span) {
        let time = Duration::from_nanos(time.as_nanos().unsigned_abs());
        let state = self.state();
        let woken = self.wake.wait_timeout_while(state, time, |state| !state.stopping);
        drop(woken);
    }

    fn system(&self) -> ClockPair {
        ClockPair::now()
    }

    /// One check: ask, judge, correct, tell.
    fn check(&self) -> SyncStatus {
        let heard = self.ask();
        let consensus = Consensus::of(&heard.answers);
        let pair = self.system();
        let mut state = self.state();
        let error = consensus.as_ref().ok().map(|found| found.error);
        let agreeing = consensus.as_ref().map_or(0, |found| found.agreeing.len() as u32);
        let correction = self.correct(&mut state, error, agreeing, pair.raw);
        let applied = state.applied;
        // What is judged is what the program reads, so a correction is not taken for another error.
        let residual = error.map(|error| ClockError { offset: error.offset - applied, ..error });
        let sample = Sample {
            at: pair.raw,
            utc: pair.system + error.map_or(applied, |error| error.offset),
            state: match &consensus {
                Ok(_) => Backing::Synced,
                Err(chronotick_monitor::NoConsensus::NoAnswer) => Backing::NoData,
                Err(chronotick_monitor::NoConsensus::NoMajority(_)) => Backing::Unsynced,
            },
            error: residual,
            agreeing,
        };
        let events = state.monitor.take(&sample);
        let judged = state.monitor.judgement().cloned();
        state.status.update(&sample, error, applied, &heard, consensus, judged);
        let check = Check::of(&state.status, pair.system, correction);
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(check);
        let status = state.status.clone();
        drop(state);
        for event in events {
            self.events.tell(&event);
        }
        if correction != Span::ZERO {
            self.tell_correction(correction);
        }
        self.checks.tell(&status);
        status
    }

    /// Changes the correction as the policy has it, and gives by how much. The measured offset is that of the system clock
    /// itself, which no correction changes: what is left to correct is the difference.
    fn correct(&self, state: &mut State, error: Option<ClockError>, agreeing: u32, now: RawInstant) -> Span {
        let Some(error) = error.filter(|_| self.settings.correction) else { return Span::ZERO };
        let residual = ClockError { offset: error.offset - state.applied, ..error };
        if residual.offset.abs() <= self.settings.threshold {
            return Span::ZERO;
        }
        let policy = Policy {
            min_agreeing: self.settings.profile.min_agreeing,
            cooldown: Span::ZERO,
            backwards: true,
            ..Policy::default()
        };
        let by = match policy.decide(Some(residual), agreeing, state.last_action, now) {
            Decision::Slew { by, .. } | Decision::Step { by, .. } => by,
            Decision::Leave { .. } => Span::ZERO,
            Decision::Refuse(why) => {
                log::warn!("no correction: {why}");
                Span::ZERO
            }
        };
        if by != Span::ZERO {
            state.applied += by;
            state.last_action = Some(now);
        }
        by
    }

    fn tell_correction(&self, by: Span) {
        let what = What::Correction { kind: "software".into(), by_ns: by.as_nanos() };
        let simulation = self.settings.simulated.is_some();
        self.events.tell(&Event { utc_ns: self.system().system.as_nanos(), simulation, what });
    }

    /// Asks, and again after growing pauses while no majority answers.
    fn ask(&self) -> Heard {
        let settings = &self.settings;
        if let Some(clock) = &settings.simulated {
            let since = raw_now() - self.state().begun;
            return clock.heard(since);
        }
        if !settings.ntp || settings.servers.is_empty() {
            return Heard::default();
        }
        let begun = raw_now();
        let mut heard = Heard::default();
        let mut pause = Span::from_secs(1);
        for attempt in 1..=settings.tries {
            let left = LONGEST_CHECK - (raw_now() - begun);
            // Three requests may stay without an answer within one attempt.
            let timeout =
                settings.timeout.min(Span::from_nanos(left.as_nanos() / 4)).max(Span::from_millis(10));
            let question = Question { servers: settings.servers.clone(), samples: 2, timeout };
            heard = exchange::ask(&question).unwrap_or_else(|e| nobody(&settings.servers, &e));
            let over = raw_now() - begun + pause > LONGEST_CHECK || self.state().stopping;
            if Consensus::of(&heard.answers).is_ok() || attempt == settings.tries || over {
                break;
            }
            let jitter =
                Span::from_nanos(pause.as_nanos() / 1024 * (chronotick_os::random_u64() % 256) as i64);
            self.rest(pause + jitter);
            pause = pause.times(2);
        }
        heard
    }
}

fn nobody(servers: &[ServerAddress], why: &io::Error) -> Heard {
    let silent = |server: &ServerAddress| Silent { server: server.to_string(), why: why.to_string() };
    Heard { answers: Vec::new(), silent: servers.iter().map(silent).collect(), asked: servers.len() }
}

#[cfg(test)]
mod tests;
