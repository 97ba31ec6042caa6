//! What the history says of the past, in worlds where the truth is known: the interval contains it at readings between the
//! samples as well, and is narrower than the one that was given at the time.

use chronotick_clock::{Offset, RawInstant, Span, Timestamp};
use chronotick_core::{Disruption, Engine, Settings};
use chronotick_record::{History, How, Keep, Row, Run, Sample, Store};
use chronotick_sim::{Client, Moment, Reply, Scenario, World};

/// The worlds begin here: a time as daemons see it.
const ORIGIN: i64 = 1_790_000_000_000_000_000;

/// What a daemon would write, with the truth kept aside.
struct Recorder {
    engine: Engine,
    store: Store,
    epoch: u32,
    stepped: bool,
    /// The sample with the narrowest bound of these ten seconds.
    best: Option<Sample>,
    seconds: u64,
    /// Reading of the system clock, its true offset, and the width of the bound given then.
    truth: Vec<(Timestamp, Span, Span)>,
}

fn since_1970(world: Timestamp) -> Timestamp {
    world + Span::from_nanos(ORIGIN)
}

impl Client for Recorder {
    fn interval(&mut self, _source: u32, _now: RawInstant) -> Span {
        Span::from_secs(16)
    }

    fn receive(&mut self, reply: &Reply) {
        self.engine.measure(&reply.measurement());
    }

    fn disrupted(&mut self, disruption: Disruption, now: RawInstant) {
        self.engine.disrupted(disruption, now);
        self.epoch += u32::from(disruption.disturbs_raw_clock());
        self.stepped |= !disruption.disturbs_raw_clock();
        let best = self.best.take().map(Row::Sample);
        self.store.write(best.as_slice(), Timestamp::from_nanos(ORIGIN)).expect("written");
    }

    fn compare(&mut self, moment: &Moment) {
        if self.engine.last_trusted().is_none() {
            return;
        }
        let solution = self.engine.solution(moment.raw);
        let reading = solution.reading(moment.raw);
        let system = since_1970(moment.system);
        let width = reading.latest - reading.earliest;
        self.truth.push((system, moment.utc - moment.system, width));
        self.seconds += 1;
        let narrowest = self.best.as_ref().is_none_or(|best| width < best.early + best.late);
        if narrowest {
            self.best = Some(Sample {
                system,
                raw: moment.raw,
                offset: Offset::between(since_1970(reading.estimate), system),
                sigma: reading.sigma,
                early: reading.estimate - reading.earliest,
                late: reading.latest - reading.estimate,
                rate: solution.rate,
                growth: solution.bound_growth,
                state: reading.state,
                source: "ntp".into(),
                epoch: self.epoch,
                stepped: std::mem::take(&mut self.stepped),
            });
        }
        if self.seconds.is_multiple_of(10) {
            let best = self.best.take().map(Row::Sample);
            self.store.write(best.as_slice(), system).expect("written");
        }
        if self.seconds.is_multiple_of(300) {
            let past = self.engine.past().clone();
            let smoothed = |instants: &[RawInstant]| {
                let each = past.smoothed_each(instants).into_iter();
                each.map(|s| s.map(|s| (since_1970(s.utc), s.sigma))).collect()
            };
            self.store.settle(&smoothed).expect("settled");
        }
    }
}

fn run() -> Run {
    let began = Timestamp::from_nanos(ORIGIN);
    Run { began, ended: began, boot: 7, version: "test".into(), configuration: String::new() }
}

fn record(scenario: &str, seed: u64, dir: &std::path::Path) -> Recorder {
    let scenario = Scenario::built_in(scenario).expect("is built in");
    let poll = Span::from_secs(16);
    let settings = Settings { min_poll: poll, max_poll: poll, ..Settings::default() };
    let mut engine = Engine::new(settings, RawInstant::from_nanos(0));
    for source in 0..scenario.source_count() {
        engine.add_source(format!("source {source}"));
    }
    let store = Store::new(dir, run(), Keep::default());
    let mut recorder =
        Recorder { engine, store, epoch: 0, stepped: false, best: None, seconds: 0, truth: Vec::new() };
    World::new(&scenario, seed).run(Span::from_secs(1), &mut recorder);
    recorder
}

#[derive(Default)]
struct Tally {
    asked: usize,
    inside: usize,
    within_two_sigma: usize,
    width_then: f64,
    width_now: f64,
    smoothed: usize,
    steps: usize,
    unknown: usize,
}

fn judge(recorder: &Recorder, dir: &std::path::Path) -> Tally {
    let history = History::open_read_only(dir).expect("opens");
    let mut tally = Tally::default();
    for (reading, truth, width) in recorder.truth.iter().step_by(7) {
        let Ok(past) = history.system_offset_at(*reading) else {
            tally.unknown += 1;
            continue;
        };
        let error = *truth - past.offset.correction();
        tally.asked += 1;
        tally.inside += usize::from(-past.early <= error && error <= past.late);
        tally.within_two_sigma += usize::from(error.abs() <= past.sigma.times(2));
        if past.step.is_none() {
            tally.width_then += width.as_secs_f64();
            tally.width_now += (past.early + past.late).as_secs_f64();
        }
        tally.smoothed += usize::from(past.how == How::Smoothed);
        tally.steps += usize::from(past.step.is_some());
    }
    tally
}

#[test]
fn later_knowledge_narrows_the_interval_and_it_still_contains_truth() {
    println!("| world | readings | inside | within 2 sigma | width then | width now |");
    let names = ["a", "cheap-crystal", "laptop", "misled-host"];
    for name in names {
        let dir = tempfile::tempdir().expect("a directory");
        let tally = judge(&record(name, 3, dir.path()), dir.path());
        let share = |n: usize| n as f64 / tally.asked as f64;
        let mean = |sum: f64| 1e6 * sum / tally.asked as f64;
        println!(
            "| {name} | {} | {:.4} | {:.3} | {:.0} µs | {:.0} µs | {} unknown, {} smoothed, {} near a step",
            tally.asked,
            share(tally.inside),
            share(tally.within_two_sigma),
            mean(tally.width_then),
            mean(tally.width_now),
            tally.unknown,
            tally.smoothed,
            tally.steps
        );
        assert_eq!(tally.inside, tally.asked, "{name}");
        assert!(tally.width_now < tally.width_then, "{name}");
        assert!(tally.smoothed * 10 > tally.asked * 9 && tally.unknown < 60, "{name}");
        assert!(share(tally.within_two_sigma) > 0.85, "{name}");
    }
}
