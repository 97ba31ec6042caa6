//! A world that runs: one machine with its clocks, sources far and near, and a client that asks them. Truth is known at
//! every instant, and time passes as fast as the processor allows.

use crate::episode::Course;
use crate::machine::Machine;
use crate::network::{Path, Reply};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::trace::EPOCH;
use chronotick_core::{Disruption, RawInstant, Span, Timestamp};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BinaryHeap;

/// What asks the sources and learns from their answers.
///
/// Everything comes in the order of the raw clock, except after that clock itself jumped back.
pub trait Client {
    /// How long to wait before asking this source again; only asked where the scenario has no `poll`.
    fn interval(&mut self, source: u32, now: RawInstant) -> Span;
    /// An answer has arrived; now is its last stamp.
    fn receive(&mut self, reply: &Reply);
    /// The operating system reports a disturbance of the machine's clocks.
    fn disrupted(&mut self, disruption: Disruption, now: RawInstant);
    /// Another step of the raw clock has passed; this is what is true.
    fn compare(&mut self, moment: &Moment);
}

/// What is true at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// What the raw clock reads.
    pub raw: RawInstant,
    /// True time.
    pub utc: Timestamp,
    /// What the system clock says.
    pub system: Timestamp,
}

/// Something that happened in a world, in seconds of true time.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Happening {
    /// In words.
    pub what: String,
    /// From when on.
    pub start: f64,
    /// Until when.
    pub end: f64,
    /// Which sources; none if it happened to the machine.
    pub servers: Vec<usize>,
}

/// What became of the requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Requests sent.
    pub sent: u64,
    /// Answers that the client took.
    pub answered: u64,
    /// Answers that the client could not take: the next request was under way, the machine slept, or it was a copy.
    pub stale: u64,
}

/// A world made of a [`Scenario`] and a seed: the same two give the same world, to the bit, on every machine.
#[derive(Clone, Debug)]
pub struct World {
    scenario: Scenario,
    seed: u64,
    machine: Machine,
    paths: Vec<Path>,
    courses: Vec<Course>,
}

impl World {
    /// The world that this seed gives to the scenario.
    pub fn new(scenario: &Scenario, seed: u64) -> World {
        let duration = scenario.duration.0;
        let machine = Machine::new(
            (&scenario.oscillator, &scenario.temperatures),
            &scenario.machine,
            scenario.host.as_ref(),
            duration.ceil() as usize,
            seed,
        );
        let course = |(i, episode)| Course::of(episode, i, scenario.source_count(), duration, seed);
        let courses = scenario.episodes.iter().enumerate().map(course).collect();
        let paths = Path::all(&scenario.sources, seed);
        World { scenario: scenario.clone(), seed, machine, paths, courses }
    }

    /// The scenario that it is made of.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The seed that it is made of.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the raw clock reads at true time zero.
    pub fn raw_at_start(&self) -> RawInstant {
        self.machine.raw_at(Span::ZERO)
    }

    /// Each source's constant (way back − way there) / 2, which no client can see.
    pub fn asymmetries(&self) -> Vec<Span> {
        self.paths.iter().map(|p| Span::from_secs_f64(p.asymmetry)).collect()
    }

    /// All episodes and disturbances, in the order of the scenario.
    pub fn happenings(&self) -> Vec<Happening> {
        let mut all = Vec::new();
        for course in &self.courses {
            let servers: Vec<usize> = (0..self.paths.len()).filter(|&s| course.concerns(s)).collect();
            all.extend(course.occurrences.iter().map(|o| Happening {
                what: course.episode.what.clone(),
                start: o.start,
                end: o.end,
                servers: servers.clone(),
            }));
        }
        all.extend(self.machine.incidents.iter().map(|i| Happening {
            what: i.what.into(),
            start: i.start,
            end: i.end,
            servers: Vec::new(),
        }));
        all
    }

    /// When, on the raw clock, something changed that a client has to find out: the clock's frequency, the length of a
    /// way, or what a source says. Ascending.
    pub fn changes(&self) -> Vec<RawInstant> {
        let shifts = self.courses.iter().filter(|c| c.shifts()).flat_map(|c| &c.occurrences);
        let incidents =
            self.machine.incidents.iter().filter(|i| i.concerns_raw).flat_map(|i| [i.start, i.end]);
        // What comes and goes faster than a client asks is noise.
        let times =
            shifts.filter(|o| o.end - o.start >= 60.0).flat_map(|o| [o.start, o.end]).chain(incidents);
        let mut all: Vec<RawInstant> = times.map(|t| self.machine.raw_at(Span::from_secs_f64(t))).collect();
        all.sort_unstable();
        all
    }

    /// Lets the client live through the world from true time zero on, and tells it the truth at each multiple of
    /// `step` on the raw clock.
    pub fn run(&self, step: Span, client: &mut impl Client) -> Passage {
        let end = Span::from_secs_f64(self.scenario.duration.0);
        let mut run = Run::new(self, step);
        while let Some((now, happens)) = run.agenda.next()
            && now < end
        {
            run.happen(now, happens, client);
        }
        run.passage
    }
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Poll { source: usize },
    Arrival { request: u64, reply: Reply },
    Notice(Disruption),
    Step { raw: RawInstant },
}

/// The future, soonest first; at the same instant in the order in which it was planned.
#[derive(Default)]
struct Agenda {
    order: BinaryHeap<Reverse<(Span, u64)>>,
    planned: BTreeMap<u64, Happens>,
    count: u64,
}

impl Agenda {
    fn plan(&mut self, at: Span, happens: Happens) {
        self.order.push(Reverse((at, self.count)));
        self.planned.insert(self.count, happens);
        self.count += 1;
    }

    fn next(&mut self) -> Option<(Span, Happens)> {
        let Reverse((at, number)) = self.order.pop()?;
        Some((at, self.planned.remove(&number).expect("what is in the order is planned")))
    }
}

/// A client's passage through a world.
struct Run<'a> {
    world: &'a World,
    step: Span,
    paths: Vec<Path>,
    /// The request to each source that an answer must belong to.
    awaited: Vec<Option<u64>>,
    polls: Random,
    agenda: Agenda,
    passage: Passage,
}

impl<'a> Run<'a> {
    /// Between the first requests to one source and the next.
    const STAGGER: Span = Span::from_millis(200);
    /// Requests do not march in step: each waits up to this share longer.
    const FUZZ: f64 = 0.02;

    fn new(world: &'a World, step: Span) -> Run<'a> {
        let mut agenda = Agenda::default();
        for source in 0..world.paths.len() {
            agenda.plan(Run::STAGGER.times(source as i64 + 1), Happens::Poll { source });
        }
        for &(at, disruption) in &world.machine.notices {
            agenda.plan(at, Happens::Notice(disruption));
        }
        let mut run = Run {
            world,
            step,
            paths: world.paths.clone(),
            awaited: vec![None; world.paths.len()],
            polls: Random::new(world.seed, "polls"),
            agenda,
            passage: Passage::default(),
        };
        run.plan_step(RawInstant::from_nanos(0), Span::ZERO);
        run
    }

    /// Plans the next multiple of the step on the raw clock.
    fn plan_step(&mut self, last: RawInstant, now: Span) {
        let past = since_start(last).as_nanos().div_euclid(self.step.as_nanos());
        let raw = RawInstant::from_nanos(0) + self.step.times(past + 1);
        if let Some(at) = self.world.machine.when_raw_reads(raw, now) {
            self.agenda.plan(at, Happens::Step { raw });
        }
    }

    fn happen(&mut self, now: Span, happens: Happens, client: &mut impl Client) {
        let machine = &self.world.machine;
        let raw = machine.raw_at(now);
        let awake = machine.awake(now);
        match happens {
            Happens::Poll { .. } if awake > now => self.agenda.plan(awake, happens),
            Happens::Poll { source } => {
                self.send(source, now, raw);
                let wait = match self.world.scenario.poll {
                    Some(poll) => Span::from_secs_f64(poll.0),
                    None => client.interval(source as u32, raw),
                };
                let wait = wait.as_secs_f64() * (1.0 + Run::FUZZ * self.polls.uniform());
                self.agenda.plan(now + Span::from_secs_f64(wait), Happens::Poll { source });
            }
            // RFC 5905 §8: an answer must belong to the newest request, and does so only once.
            Happens::Arrival { request, reply } => {
                let awaited = &mut self.awaited[reply.source as usize];
                if awake > now || *awaited != Some(request) {
                    self.passage.stale += 1;
                    return;
                }
                *awaited = None;
                self.passage.answered += 1;
                client.receive(&Reply { stamps: with_arrival(reply.stamps, raw), ..reply });
            }
            Happens::Notice(disruption) => client.disrupted(disruption, raw),
            Happens::Step { raw: mark } => {
                let utc = EPOCH + now;
                // After a jump the mark may never have been read.
                let raw = if raw - mark > Span::from_nanos(2) { raw } else { mark };
                client.compare(&Moment { raw, utc, system: utc + machine.system_error_at(now) });
                self.plan_step(raw, now);
            }
        }
    }

    fn send(&mut self, source: usize, now: Span, raw: RawInstant) {
        let request = self.passage.sent;
        self.passage.sent += 1;
        self.awaited[source] = Some(request);
        let path = &mut self.paths[source];
        let Some(journey) = path.send(now, &self.world.courses) else { return };
        let reply = Reply {
            source: source as u32,
            stamps: [since_start(raw), journey.t2, journey.t3, Span::ZERO],
            stratum: path.sources.stratum,
            root_delay: Span::from_secs_f64(path.sources.root_delay.0),
            root_dispersion: Span::from_secs_f64(path.sources.root_dispersion.0),
        };
        for at in std::iter::once(journey.arrival).chain(journey.copy) {
            self.agenda.plan(at, Happens::Arrival { request, reply });
        }
    }
}

fn with_arrival([t1, t2, t3, _]: [Span; 4], raw: RawInstant) -> [Span; 4] {
    [t1, t2, t3, since_start(raw)]
}

fn since_start(raw: RawInstant) -> Span {
    raw - RawInstant::from_nanos(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything down and asks every four seconds.
    #[derive(Default)]
    struct Diary {
        replies: Vec<Reply>,
        moments: Vec<Moment>,
        disruptions: Vec<Disruption>,
    }

    impl Client for Diary {
        fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
            Span::from_secs(4)
        }
        fn receive(&mut self, reply: &Reply) {
            self.replies.push(*reply);
        }
        fn disrupted(&mut self, disruption: Disruption, _now: RawInstant) {
            self.disruptions.push(disruption);
        }
        fn compare(&mut self, moment: &Moment) {
            self.moments.push(*moment);
        }
    }

    fn diary(text: &str) -> (Diary, Passage, World) {
        let text = format!("name = 'x'\nwhat = 'y'\nduration = '1 h'\n{text}");
        let world = World::new(&Scenario::parse(&text).unwrap(), 3);
        let mut diary = Diary::default();
        let passage = world.run(Span::from_secs(10), &mut diary);
        (diary, passage, world)
    }

    #[test]
    fn the_scenario_or_the_client_decides_how_often_to_ask() {
        let (_, fixed, _) = diary("poll = '16 s'\n[[sources]]\ndelays = ['1 ms', '2 ms']");
        let (_, own, _) = diary("[[sources]]\ndelays = ['1 ms', '2 ms']");
        assert!((fixed.sent as i64 - 2 * 3600 * 100 / 1616).abs() < 5, "{fixed:?}");
        assert!((own.sent as i64 - 2 * 3600 * 100 / 404).abs() < 10, "{own:?}");
        assert_eq!(own.sent - own.answered, own.stale, "only the end cuts answers off");
    }

    #[test]
    fn an_answer_to_an_older_request_and_a_copy_are_not_taken() {
        // Each answer takes 5 s, the next request leaves after 4 s: none is ever in time.
        let (late, passage, _) = diary("[[sources]]\ndelays = ['2.5 s']");
        assert!(late.replies.is_empty() && passage.stale > 800, "{passage:?}");
        let (twice, passage, _) = diary("[[sources]]\ndelays = ['10 ms']\nduplicate = 1.0");
        assert_eq!(twice.replies.len() as u64, passage.answered);
        assert_eq!(passage.stale, passage.answered);
    }

    #[test]
    fn asleep_nothing_is_sent_or_received_and_the_raw_clock_says_nothing_of_it() {
        let (diary, _, world) = diary(
            "[[sources]]\ndelays = ['10 ms']\n[[machine]]\nat = '20 min'\nwhat = { suspend = '30 min' }\n\
             [[machine]]\nat = '55 min'\nwhat = { system-step = '1 s' }",
        );
        let asleep = |s: Span| (Span::from_secs(1200)..Span::from_secs(3000)).contains(&s);
        assert!(diary.replies.iter().all(|r| !asleep(r.stamps[1])));
        assert!((diary.moments.len() as i64 - 180).abs() <= 1, "half an hour of the raw clock");
        let lasted = Span::from_secs(1800);
        let stepped = Disruption::SystemStep { by: Span::from_secs(1) };
        assert_eq!(diary.disruptions, [Disruption::Suspended { lasted }, stepped]);
        assert_eq!(world.happenings().len(), 2);
        assert_eq!(world.changes().len(), 2, "the system clock is none of the raw clock's changes");
    }

    #[test]
    fn the_truth_comes_at_each_step_of_the_raw_clock() {
        let (diary, _, world) = diary(
            "[[sources]]\ndelays = ['10 ms']\n[oscillator]\nsteps = [{ at = '30 min', by = '50 ppm' }]",
        );
        assert!((359..=360).contains(&diary.moments.len()));
        for (i, moment) in diary.moments.iter().enumerate() {
            assert_eq!(moment.raw, RawInstant::from_nanos(10_000_000_000 * (i as i64 + 1)));
            let again = world.machine.raw_at(moment.utc - EPOCH);
            assert!((again - moment.raw).abs() <= Span::from_nanos(2));
        }
        assert_eq!(world.happenings()[0].what, "frequency step");
    }
}
