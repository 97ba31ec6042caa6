//! The daemon: one thread that owns the sockets, the engine and the clock page's writer, and waits only in `poll(2)`.
//! It measures, publishes, and once a second shows a snapshot to whoever asked for it.

mod conditions;
#[cfg(feature = "models")]
mod history;
mod keying;
mod link;
#[cfg(feature = "models")]
mod models;
mod names;
mod peers;
mod recorded;
mod reference;
mod report;
mod sandbox;
pub(crate) mod saved;
mod statistics;

pub use sandbox::confine;

use crate::config::Config;
use crate::door::Door;
use crate::feed::{Feed, Measured, News};
use crate::serve::Served;
use crate::snapshot::EventView;
use crate::trace::Tape;
use chronotick_clock::{Clock, ClockPair, Writer, raw_now};
use chronotick_core::{
    Disruption, Event, Measurement, RawInstant, Settings, SourceId, Span, Stamps, State, Timestamp, Verdict,
};
use chronotick_os::{Waker, Watch, wait};
use link::Link;
use names::Names;
use peers::Peers;
use recorded::Recorded;
use reference::Reference;
use statistics::Statistics;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The machine whose clock is measured: the real one, or a simulated one in a demonstration.
pub trait Machine: Send {
    /// What its raw clock reads when the host's reads `raw`.
    fn local(&self, raw: RawInstant) -> RawInstant;
    /// What its system clock reads at the moment of the pair.
    fn system(&self, pair: ClockPair) -> Timestamp;
    /// Whether this is a simulation, so that every output can say so.
    fn is_simulated(&self) -> bool;
}

/// The machine that the daemon runs on.
#[derive(Clone, Copy, Debug)]
pub struct Host;

impl Machine for Host {
    fn local(&self, raw: RawInstant) -> RawInstant {
        raw
    }
    fn system(&self, pair: ClockPair) -> Timestamp {
        pair.system
    }
    fn is_simulated(&self) -> bool {
        false
    }
}

/// Asks a running daemon to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stop {
    /// # Errors
    /// If there are no descriptors left.
    pub fn new() -> io::Result<Stop> {
        Ok(Stop { asked: Arc::default(), waker: Arc::new(Waker::new()?) })
    }

    /// The daemon ends its loop, saves what it learned, and marks its page as left.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Where a daemon's answers go.
#[derive(Debug)]
pub struct Outlets {
    /// The clock page.
    pub page: Writer,
    /// Everything else.
    pub feed: Feed,
    /// What the servers on these outlets count.
    pub served: Served,
}

impl Outlets {
    /// Answers on `page` and on a new feed.
    pub fn new(page: Writer) -> Outlets {
        Outlets { page, feed: Feed::default(), served: Served::default() }
    }

    /// The door to these outlets from within this process.
    pub fn door(&self) -> Door {
        Door::within(Clock::of(&self.page), self.feed.clone())
    }

    /// Outlets that stay within this process, and the door to them.
    ///
    /// # Errors
    /// If the system has no memory left.
    pub fn within() -> io::Result<(Outlets, Door)> {
        let outlets = Outlets::new(Writer::in_memory()?);
        let door = outlets.door();
        Ok((outlets, door))
    }
}

/// Measures and publishes until asked to stop.
pub struct Daemon {
    machine: Box<dyn Machine>,
    engine: Recorded,
    settings: chronotick_ntp::Settings,
    links: Vec<Link>,
    references: Vec<Reference>,
    peers: Peers,
    statistics: BTreeMap<SourceId, Statistics>,
    names: Names,
    watch: Watch,
    outlets: Outlets,
    stop: Stop,
    state_dir: Option<PathBuf>,
    memory: saved::Memory,
    conditions: Option<conditions::Sensors>,
    #[cfg(feature = "models")]
    models: Option<models::Models>,
    started: RawInstant,
    warmup: Span,
    next_report: RawInstant,
    next_past: RawInstant,
    next_save: RawInstant,
    polls: u64,
    answers: u64,
    published: u64,
    stamps: (u64, u64),
    /// Measurements against which corrected time and the system clock could be told apart, and how often the latter
    /// was nearer.
    compared: (u64, u64),
    /// When a source that is not the last resort was measured last.
    last_answer: RawInstant,
    events: VecDeque<Arc<EventView>>,
}

impl Daemon {
    const PUBLISH_EVERY: Span = Span::from_secs(1);
    const TELL_PAST_EVERY: Span = Span::from_secs(300);
    const SAVE_EVERY: Span = Span::from_secs(300);
    /// A silent member of a pool, or one that contradicts the majority, is replaced after this long.
    const PATIENCE: Span = Span::from_secs(120);
    /// So long no other source answers before the last resort counts.
    const LONELY: Span = Span::from_secs(30);
    /// Answers fetched at the shortest interval when a server is new.
    const BURST: u8 = 6;
    const EVENTS: usize = 20;

    /// A daemon for this machine and configuration. `state_dir` is where it remembers what it learned; without one
    /// it starts as new and leaves nothing.
    pub fn new(
        config: &Config,
        machine: Box<dyn Machine>,
        outlets: Outlets,
        stop: Stop,
        state_dir: Option<PathBuf>,
    ) -> Daemon {
        let now = machine.local(raw_now());
        let settings = Settings {
            warmup: config.timing.warm_up,
            min_poll: config.timing.min_interval,
            max_poll: config.timing.max_interval,
            timeout: config.ntp.timeout,
            max_bound: config.ntp.max_acceptable_uncertainty,
            forecast_threshold: config.fusion.uncertainty_threshold,
            asymmetry: config.ntp.path_asymmetry_permille.try_into().unwrap_or(u8::MAX),
            publish_interval: Daemon::PUBLISH_EVERY,
            ..Settings::default()
        };
        let memory = state_dir.as_deref().map_or_else(saved::Memory::default, saved::Memory::load);
        let waker = stop.waker.clone();
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waker.wake());
        let mut engine = Recorded::new(settings, now, tape(config));
        if let Some(saved) = memory.saved() {
            engine.restore(&saved);
        }
        let references = reference::start_all(&config.reference_clocks, &mut engine, now, &wake);
        let resolve = names::system(keying::Keying::new(&config.ntp));
        #[cfg(feature = "models")]
        let models = models::Models::start(config, now, wake.clone());
        #[cfg(feature = "models")]
        for member in models.iter().flat_map(models::Models::embedded) {
            engine.expect(member, &chronotick_train::EXPECTED);
        }
        // This machine's temperature says nothing of a simulated clock.
        let sensing = config.covariates && config.fusion.enabled && !machine.is_simulated();
        Daemon {
            machine,
            engine,
            settings: chronotick_ntp::Settings {
                min_poll: config.timing.min_interval,
                max_poll: config.timing.max_interval,
                burst: Daemon::BURST,
                burst_interval: config.timing.min_interval.min(Span::from_secs(1)),
                deadline: config.ntp.timeout,
                ..chronotick_ntp::Settings::default()
            },
            links: Vec::new(),
            references,
            peers: Peers::new(&config.peers, resolve.clone(), now, wake.clone()),
            statistics: BTreeMap::new(),
            #[cfg(feature = "models")]
            models,
            conditions: sensing.then(conditions::Sensors::start).flatten(),
            names: Names::new(&config.ntp.servers, now, resolve, wake),
            watch: Watch::new(),
            outlets,
            stop,
            state_dir,
            memory,
            started: now,
            warmup: config.timing.warm_up,
            next_report: now,
            next_past: now + Daemon::TELL_PAST_EVERY,
            next_save: now + Daemon::SAVE_EVERY,
            polls: 0,
            answers: 0,
            published: 0,
            stamps: (0, 0),
            compared: (0, 0),
            last_answer: now,
            events: VecDeque::new(),
        }
    }

    /// Runs until asked to stop.
    ///
    /// # Errors
    /// Only if waiting itself fails; troubles with servers, names and files are logged and shown, never fatal.
    pub fn run(mut self) -> io::Result<()> {
        while !self.stop.asked.load(Ordering::Acquire) {
            let now = self.now();
            self.fill_names(now);
            self.peers.poll(now);
            for link in &mut self.links {
                link.association.set_interval(self.engine.poll_interval(now));
                self.engine.polled_every(link.source, link.association.interval());
                self.polls += u64::from(link.poll(now));
            }
            #[cfg(feature = "models")]
            self.consult_models(now);
            if now >= self.next_report {
                self.sense();
                self.check_machine(now);
                self.replace_useless(now);
                self.publish();
                self.report();
                self.next_report = now + Daemon::PUBLISH_EVERY;
            }
            if now >= self.next_past {
                self.outlets.feed.tell(News::Past(Arc::new(self.engine.past().clone())));
                self.next_past = now + Daemon::TELL_PAST_EVERY;
            }
            if now >= self.next_save {
                self.save();
                self.next_save = now + Daemon::SAVE_EVERY;
            }
            self.wait()?;
            if self.receive() {
                self.publish();
            }
        }
        self.save();
        self.outlets.feed.end();
        Ok(())
    }

    fn now(&self) -> RawInstant {
        self.machine.local(raw_now())
    }

    /// Sleeps until a datagram, a waker, or the next thing that is due.
    fn wait(&self) -> io::Result<()> {
        let due = self.links.iter().filter_map(|link| link.association.next_event());
        let polled = self.references.iter().map(Reference::next_event);
        let next = due.chain(polled).chain(self.peers.next_event()).fold(self.next_report, RawInstant::min);
        let mut fds = vec![self.stop.waker.as_fd()];
        fds.extend(self.links.iter().map(|link| link.socket.as_fd()));
        fds.extend(self.peers.fds());
        wait(&fds, Some((next - self.now()).max(Span::ZERO)))?;
        self.stop.waker.rest();
        Ok(())
    }

    /// Takes in everything that has arrived; whether any of it was a measurement.
    fn receive(&mut self) -> bool {
        let mut measurements: Vec<_> = Vec::new();
        for link in &mut self.links {
            measurements.extend(link.receive(&*self.machine));
        }
        measurements.extend(self.poll_references());
        self.choose_last_resort(&mut measurements);
        // The engine wants them in the order in which they became known.
        measurements.sort_by_key(|m| m.received);
        for measurement in &measurements {
            self.answers += 1;
            match measurement.stamps {
                Stamps::Kernel => self.stamps.0 += 1,
                Stamps::User => self.stamps.1 += 1,
            }
            self.compare(measurement);
            self.engine.measure(measurement);
        }
        self.note_events();
        self.receive_peers();
        !measurements.is_empty()
    }

    /// Lets the last resort count while no other source answers, and no longer.
    fn choose_last_resort(&mut self, measurements: &mut Vec<Measurement>) {
        let now = self.now();
        let last = |m: &Measurement| {
            self.references.iter().any(|r| r.source == m.source && r.clock.is_last_resort())
        };
        if measurements.iter().any(|m| !last(m)) {
            self.last_answer = now;
        }
        let lonely = now - self.last_answer > self.settings.max_poll.times(4).max(Daemon::LONELY);
        if !lonely {
            measurements.retain(|m| !last(m));
        }
        for reference in self.references.iter_mut().filter(|r| r.clock.is_last_resort() && r.counts != lonely)
        {
            match lonely {
                true => {
                    log::warn!("no other source answers: {} counts, the last resort", reference.clock.place())
                }
                false => log::info!("other sources answer again: {} does not count", reference.clock.place()),
            }
            reference.let_count(lonely, &mut self.engine);
        }
    }

    /// Compares this node with its peers, once there is a time to compare. What they say before is read as well: left where
    /// it is, it would end every wait at once.
    fn receive_peers(&mut self) {
        if self.peers.is_empty() {
            return;
        }
        let known = self.engine.last_trusted().is_some();
        let solution = known.then(|| self.engine.solution(self.now()));
        self.peers.receive(&*self.machine, solution.as_ref());
    }

    /// Compares a measurement with corrected time, as that was before, and with the system clock, and tells the feed.
    /// First, do no harm: corrected time should not be further from it than the system clock, by more than the
    /// measurement itself may be wrong.
    fn compare(&mut self, m: &Measurement) {
        let pair = ClockPair::now();
        let system = self.machine.system(pair) - (self.machine.local(pair.raw) - m.at);
        let known = self.engine.last_trusted().is_some();
        let corrected = known.then(|| self.engine.solution(m.received).utc_at(m.at));
        if let Some(corrected) = corrected
            && self.engine.state().0 == State::Synced
        {
            let (ours, theirs) = ((m.utc - corrected).abs(), (m.utc - system).abs());
            if (ours - theirs).abs() > m.max_error() {
                self.compared.0 += 1;
                self.compared.1 += u64::from(ours > theirs);
            }
        }
        let statistics = self.statistics.entry(m.source).or_default();
        statistics.system_offset_ns = Some((m.utc - system).as_nanos());
        if let Some(corrected) = corrected {
            statistics.add(m.at, (m.utc - corrected).as_nanos());
        }
        let Some((server, address)) = self.named(m.source) else { return };
        self.outlets.feed.tell(News::Measured(Arc::new(Measured {
            raw_ns: m.at.as_nanos(),
            utc_ns: m.utc.as_nanos(),
            server,
            address,
            system_offset_ns: (m.utc - system).as_nanos(),
            corrected_offset_ns: corrected.map(|corrected| (m.utc - corrected).as_nanos()),
            delay_ns: m.delay.as_nanos(),
            root_delay_ns: m.root_delay.as_nanos(),
            root_dispersion_ns: m.root_dispersion.as_nanos(),
            stratum: m.stratum,
            stamps: report::stamps(m.stamps),
        })));
    }

    /// How a source is configured, and what it is called.
    fn named(&self, source: SourceId) -> Option<(String, String)> {
        let link = self.links.iter().find(|link| link.source == source);
        let server = link.map(|l| (self.names.names[l.name].server.to_string(), l.address.to_string()));
        let clock = || self.references.iter().find(|r| r.source == source);
        server.or_else(|| clock().map(|r| (r.clock.place(), r.clock.name())))
    }

    /// Takes in what the reference clocks have sampled; the measurements of those whose poll has ended.
    fn poll_references(&mut self) -> Vec<Measurement> {
        if self.references.is_empty() {
            return Vec::new();
        }
        let now = self.now();
        let (wanted, solution) = (self.engine.poll_interval(now), self.engine.solution(now));
        reference::listen(&mut self.references, &*self.machine, &solution);
        let mut measurements = Vec::new();
        for reference in &mut self.references {
            if reference.next_event() <= now && reference.counts {
                self.polls += 1;
            }
            measurements.extend(reference.poll(now, wanted, &solution));
            self.engine.polled_every(reference.source, reference.interval);
        }
        measurements
    }

    /// Takes in the machine's conditions that were measured since the last time.
    fn sense(&mut self) {
        let Some(sensors) = &mut self.conditions else { return };
        while let Some(mut conditions) = sensors.newest() {
            conditions.at = self.machine.local(conditions.at);
            self.engine.sense(&conditions);
            #[cfg(feature = "models")]
            if let Some(models) = &mut self.models {
                models.remember(conditions);
            }
        }
    }

    /// Takes in the forecasts that have come, and asks for the next that are due.
    #[cfg(feature = "models")]
    fn consult_models(&mut self, now: RawInstant) {
        let Some(models) = &mut self.models else { return };
        while let Some(forecast) = models.forecast(now) {
            match self.engine.foresee(&forecast) {
                Ok(()) => models.accepted(forecast.member),
                Err(why) => models.refuse(forecast.member, why.to_string(), now),
            }
        }
        let Some(newest) = self.engine.last_trusted() else { return };
        let wanted = models.wanted(now, newest);
        for line in models.changes() {
            self.engine.note(|| line);
        }
        let Some(wanted) = wanted else { return };
        let Some(outlook) = self.engine.outlook(wanted.ages()) else { return };
        let past = self.engine.past().series(wanted.step, wanted.points, outlook.at).rates;
        let conditions = models.conditions(&wanted, outlook.at);
        let series = models::Series { frequency: past, conditions };
        self.engine.note(|| wanted.line(outlook.at, &series));
        let prospect = if wanted.corrects { chronotick_train::prospect(&mut self.engine) } else { None };
        models.ask(&wanted, outlook, series, prospect, now);
    }

    fn check_machine(&mut self, now: RawInstant) {
        for disruption in self.watch.check() {
            self.engine.disrupted(disruption, now);
            if disruption.disturbs_raw_clock() {
                for link in &mut self.links {
                    link.association.restart(now);
                }
                self.references.iter_mut().for_each(Reference::restart);
                self.statistics.clear();
                self.peers.restart(now);
            }
        }
        self.note_events();
    }

    /// Looks names up that lack addresses, and opens links to what was found.
    fn fill_names(&mut self, now: RawInstant) {
        while let Some(mut found) = self.names.finished() {
            let index = found.name;
            self.take_keys(&mut found, now);
            let in_use = |a: &std::net::SocketAddr| self.links.iter().any(|link| link.address == *a);
            let wanted = self.lacking(index);
            for endpoint in self.names.fresh(found, wanted, &in_use, now) {
                let address = endpoint.address;
                let source = self.engine.add_source(address.to_string());
                if let Some(floor) = self.memory.floor(&address) {
                    self.engine.expect_floor(source, floor, now);
                }
                let server = &self.names.names[index].server;
                self.engine.set_role(source, server.role);
                let settings = server.address.ration(self.settings);
                match Link::open((index, server), endpoint, source, settings, now) {
                    Ok(link) => self.links.push(link),
                    Err(e) => {
                        self.engine.remove_source(source);
                        self.names.set_aside(index, address);
                        self.names.names[index].failure = Some(format!("{address}: {e}"));
                        log::warn!("{}: {address}: {e}", self.names.names[index].server);
                    }
                }
            }
            // Shown in the order in which they are configured, whichever name was looked up first.
            self.links.sort_by_key(|link| link.name);
            if let Some(failure) = &self.names.names[index].failure {
                log::warn!("{}: {failure}", self.names.names[index].server);
            }
        }
        for index in 0..self.names.names.len() {
            if self.lacking(index) > 0 {
                self.names.look_up(index, now);
            }
        }
    }

    /// Hands newly established keys to the links that wait for them. One that waits for keys of a server that is not at
    /// its address any more makes room for another.
    fn take_keys(&mut self, found: &mut names::Found, now: RawInstant) {
        let name = found.name;
        for link in self.links.iter_mut().filter(|link| link.name == name) {
            if link.association.needs_keys()
                && let Some(keys) = found.take_keys(link.address)
            {
                link.association.protect(keys);
                link.keyed = (link.keyed.0 + 1, now);
            }
        }
        let stranded = |link: &mut Link| link.name == name && link.association.needs_keys();
        if found.is_ok() {
            for link in self.links.extract_if(.., stranded) {
                self.engine.remove_source(link.source);
            }
        }
    }

    fn lacking(&self, name: usize) -> usize {
        let used = |link: &&Link| link.name == name && !link.association.needs_keys();
        let used = self.links.iter().filter(used).count();
        self.names.names[name].members().saturating_sub(used)
    }

    /// Drops servers that refuse service, and those that were of no use for long if their name may have others. Of sources that
    /// are gone nothing is kept.
    fn replace_useless(&mut self, now: RawInstant) {
        let verdicts = self.engine.sources(now);
        self.statistics.retain(|source, _| verdicts.iter().any(|s| s.id == *source));
        for link in &mut self.links {
            let rejected = verdicts.iter().any(|s| s.id == link.source && s.verdict == Verdict::Falseticker);
            let useless = link.association.missed() >= 4 || rejected;
            link.useless_since = useless.then(|| link.useless_since.unwrap_or(now));
        }
        let names = &self.names.names;
        let is_spent = |link: &mut Link| {
            let replaceable = names[link.name].server.host().parse::<std::net::IpAddr>().is_err();
            link.association.denied().is_some()
                || replaceable && link.useless_since.is_some_and(|since| now - since > Daemon::PATIENCE)
        };
        let spent: Vec<Link> = self.links.extract_if(.., is_spent).collect();
        for link in spent {
            let why = link.trouble.as_deref().unwrap_or("it was of no use");
            log::warn!("{} ({}) is given up: {why}", link.address, self.names.names[link.name].server);
            self.engine.remove_source(link.source);
            match link.association.denied() {
                Some(_) => self.names.deny(link.name, link.address),
                None => self.names.set_aside(link.name, link.address),
            }
        }
    }

    fn publish(&mut self) {
        let solution = self.engine.solution(self.now());
        self.outlets.page.publish(&solution);
        self.published += 1;
        self.note_events();
    }

    fn note_events(&mut self) {
        while let Some(event) = self.engine.next_event() {
            let text = report::words(&event);
            match event {
                Event::StateChanged { to: State::Synced | State::Warmup, .. } => log::info!("{text}"),
                Event::Disrupted(Disruption::SystemStep { .. }) => log::info!("{text}"),
                Event::VerdictChanged { verdict: Verdict::Trusted, .. } => log::debug!("{text}"),
                _ => log::warn!("{text}"),
            }
            if self.events.len() == Daemon::EVENTS {
                self.events.pop_front();
            }
            let utc = self.corrected_now();
            let view = Arc::new(EventView {
                time: crate::utc::rfc3339(utc),
                utc_ns: utc.as_nanos(),
                kind: report::kind(&event).into(),
                source: report::subject(&event).map(ToOwned::to_owned),
                text,
            });
            self.outlets.feed.tell(News::Happened(view.clone()));
            self.events.push_back(view);
        }
    }

    /// What was learned survives a restart; that it cannot be written is worth a warning, not more.
    fn save(&mut self) {
        let Some(dir) = &self.state_dir else { return };
        self.memory.learn(&self.engine, &self.links);
        if let Err(e) = self.memory.store(dir) {
            log::warn!("what was learned cannot be kept in {}: {e}", dir.display());
        }
    }
}

/// The debug trace that the configuration asks for; that it cannot be written is worth an error in the log, not more.
fn tape(config: &Config) -> Option<Tape> {
    let path = config.trace_file()?;
    match Tape::create(&path) {
        Ok(tape) => {
            log::info!("tracing what goes into the engine and out of it to {}", path.display());
            Some(tape)
        }
        Err(e) => {
            log::error!("there is no debug trace: {}: {e}", path.display());
            None
        }
    }
}
