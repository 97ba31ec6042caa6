//! The observer: an independent loop that samples corrected time, asks time servers on its own, and writes both down.
//!
//! The servers are asked on a thread of their own, so that a slow one costs no sample. What is observed learns nothing
//! of the observer's queries.

use super::fixes::{Anchor, Answer, Fixes};
use super::panel::{Panel, Voice};
use super::table::{Earlier, Row, Table, TableError, Told};
use crate::config::ServerAddress;
use crate::door::Door;
use crate::monitor::exchange::{Heard, Question, ask};
use chronotick_clock::{ClockPair, Rate, RawInstant, Span, Timestamp, raw_now};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// What is observed, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers that are asked.
    pub servers: Vec<ServerAddress>,
    /// How long one answer may take.
    pub timeout: Span,
    /// Between two samples.
    pub sample_every: Span,
    /// Between two queries.
    pub ntp_every: Span,
    /// From the first sample to the last.
    pub duration: Span,
}

/// What the observer tells while it runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// A sample has been written: so much of the time has passed.
    Sample(Span),
    /// The servers were asked.
    Query(Query),
    /// None of them answered: who and why.
    Silence(Span, Vec<(String, String)>),
    /// Every drift so far is exactly zero: nothing predicts.
    NoDrift,
}

/// A query and the sample beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Since the first sample.
    pub elapsed: Span,
    /// What the servers say.
    pub panel: Panel,
    /// The answer then: its correction, its drift and what it is made of; absent while nothing was known.
    pub answer: Option<(Span, Rate, String)>,
    /// Fix 1 less true time according to the servers.
    pub fix1: Option<Span>,
    /// Fix 2, walked from the query before, less that.
    pub fix2: Option<Span>,
}

/// Why observing ended early.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The table cannot be written on.
    #[error(transparent)]
    Table(#[from] TableError),
    /// There is no thread for the queries.
    #[error("the servers cannot be asked: {0}")]
    Thread(#[from] io::Error),
}

/// So many answers of each server make one query; the one with the shortest round trip counts.
const SAMPLES: u32 = 3;
/// An engine has drift after this long, or something is wrong.
const WARM: Span = Span::from_secs(180);
/// The drift of the system clock is told from so many queries.
const REMEMBERED: usize = 10;
/// How often it is looked whether to stop.
const BLINK: Duration = Duration::from_millis(50);

/// Samples and asks until the time is up or `stop` is set, and tells `progress`. Gives the number of samples.
///
/// # Errors
/// If the table cannot be written, or no thread is to be had.
pub fn observe(
    door: &Door,
    plan: &Plan,
    table: &mut Table,
    earlier: Option<Earlier>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, ObserveError> {
    let begun = raw_now();
    let before = earlier
        .map_or(Span::ZERO, |e| e.elapsed + (ClockPair::now().system - e.system).max(Span::from_nanos(1)));
    let mut run = Run {
        begun: begun - before,
        number: earlier.map_or(0, |e| e.number),
        last: None,
        offsets: VecDeque::new(),
        drifted: None,
        told: false,
    };
    let (wanted, found) = asking(plan)?;
    let mut due = begun;
    let mut next_query = begun;
    while sleep_until(due, stop) {
        if due >= next_query && wanted.try_send(()).is_ok() {
            next_query = due + plan.ntp_every;
        }
        run.sample(door, found.try_recv().ok(), table, progress)?;
        if raw_now() - run.begun >= plan.duration {
            break;
        }
        // What is late is left out, not made up for.
        let behind = (raw_now() - due).as_nanos() / plan.sample_every.as_nanos().max(1);
        due = due + plan.sample_every.times(behind + 1);
    }
    Ok(run.number)
}

/// What a query gave, and when: the raw and the system clock then.
struct Answered {
    pair: ClockPair,
    panel: Result<Panel, Vec<(String, String)>>,
}

/// The thread that asks the servers whenever it is told to.
fn asking(plan: &Plan) -> io::Result<(SyncSender<()>, Receiver<Answered>)> {
    let (wanted, asked) = sync_channel::<()>(1);
    let (answering, found) = sync_channel(1);
    let question = Question { servers: plan.servers.clone(), samples: SAMPLES, timeout: plan.timeout };
    std::thread::Builder::new().name("queries".into()).spawn(move || {
        while asked.recv().is_ok() {
            let panel = match ask(&question) {
                Ok(heard) => together(&heard),
                Err(e) => Err(vec![("waiting".into(), e.to_string())]),
            };
            // Nobody listens once the observer has ended.
            if answering.send(Answered { pair: ClockPair::now(), panel }).is_err() {
                return;
            }
        }
    })?;
    Ok((wanted, found))
}

/// The best answer of each server, combined.
fn together(heard: &Heard) -> Result<Panel, Vec<(String, String)>> {
    let mut best: Vec<&chronotick_monitor::Answer> = Vec::new();
    for answer in &heard.answers {
        match best.iter_mut().find(|b| b.server == answer.server) {
            Some(known) if known.delay <= answer.delay => {}
            Some(known) => *known = answer,
            None => best.push(answer),
        }
    }
    let voice = |a: &&chronotick_monitor::Answer| Voice {
        server: a.server.clone(),
        offset: a.offset,
        max_error: a.max_error,
    };
    let voices: Vec<Voice> = best.iter().map(voice).collect();
    let silent: Vec<_> = heard.silent.iter().map(|s| (s.server.clone(), s.why.clone())).collect();
    Panel::of(&voices, silent.clone()).ok_or(silent)
}

/// Whether the instant came before the order to stop.
fn sleep_until(due: RawInstant, stop: &AtomicBool) -> bool {
    loop {
        if stop.load(Ordering::Acquire) {
            return false;
        }
        let left = due - raw_now();
        if left <= Span::ZERO {
            return true;
        }
        std::thread::sleep(Duration::from_nanos(left.as_nanos().unsigned_abs()).min(BLINK));
    }
}

/// The newest query: when, and true time and the answered correction then.
struct Last {
    raw: RawInstant,
    utc: Timestamp,
    offset: Option<Span>,
}

struct Run {
    /// When the first sample was taken, were it by this raw clock.
    begun: RawInstant,
    number: u64,
    last: Option<Last>,
    /// Offsets of the system clock by the queries: true − system.
    offsets: VecDeque<(RawInstant, Span)>,
    /// Whether any drift differed from zero; unknown before the first answer.
    drifted: Option<bool>,
    told: bool,
}

impl Run {
    fn sample(
        &mut self,
        door: &Door,
        answered: Option<Answered>,
        table: &mut Table,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ObserveError> {
        let pair = ClockPair::now();
        let elapsed = pair.raw - self.begun;
        let answer = answer(door, pair);
        let anchor = self.last.as_ref().and_then(|l| {
            let offset = l.offset.or(answer.as_ref().map(|(a, ..)| a.offset))?;
            Some(Anchor { utc: l.utc, offset, elapsed: pair.raw - l.raw })
        });
        let told = answer.map(|(answer, made_sigma, multiplier, confidence, source)| Told {
            fixes: Fixes::of(&answer, anchor.as_ref()),
            answer,
            made_sigma,
            multiplier,
            confidence,
            source,
        });
        if let Some(told) = &told {
            self.drifted = Some(self.drifted == Some(true) || told.answer.drift != Rate::ZERO);
        }
        let ntp = match answered {
            Some(Answered { pair: then, panel: Ok(panel) }) => Some((then, panel)),
            Some(Answered { panel: Err(silent), .. }) => {
                progress(Progress::Silence(elapsed, silent));
                None
            }
            None => None,
        };
        self.number += 1;
        let row = Row {
            number: self.number,
            elapsed,
            system: pair.system,
            since_ntp: self.last.as_ref().map(|l| pair.raw - l.raw),
            system_drift: slope(&self.offsets),
            ntp: ntp.as_ref().map(|(then, panel)| (then.system + panel.offset, panel.clone())),
            answer: told,
        };
        table.write(&row)?;
        progress(Progress::Sample(elapsed));
        if let Some((then, panel)) = ntp {
            self.anchor(&row, then, &panel);
            progress(Progress::Query(Query::of(&row, panel)));
        }
        if !self.told && elapsed >= WARM && self.drifted == Some(false) {
            self.told = true;
            progress(Progress::NoDrift);
        }
        Ok(())
    }

    /// From now on walks start here.
    fn anchor(&mut self, row: &Row, then: ClockPair, panel: &Panel) {
        let offset = row.answer.as_ref().map(|told| told.answer.offset);
        self.last = Some(Last { raw: then.raw, utc: then.system + panel.offset, offset });
        if self.offsets.len() == REMEMBERED {
            self.offsets.pop_front();
        }
        self.offsets.push_back((then.raw, panel.offset));
    }
}

impl Query {
    fn of(row: &Row, panel: Panel) -> Query {
        let truth = row.system + panel.offset;
        let told = row.answer.as_ref();
        Query {
            elapsed: row.elapsed,
            answer: told.map(|t| (t.answer.offset, t.answer.drift, t.source.clone())),
            fix1: told.map(|t| t.fixes.fix1 - truth),
            fix2: told.and_then(|t| Some(t.fixes.fix2? - truth)),
            panel,
        }
    }
}

/// What the page answers at this pair of readings: the answer, its standard deviation when it was made, the factor of
/// its interval, its confidence, and what it is made of. `None` while nothing is known.
fn answer(door: &Door, pair: ClockPair) -> Option<(Answer, Span, f64, f64, String)> {
    let solution = door.clock.solution();
    let reading = solution.reading(pair.raw);
    if !reading.is_known() {
        return None;
    }
    let age = pair.raw - solution.at;
    let [_, _, rate_variance, _] = solution.variance.0;
    let answer = Answer {
        system: pair.system,
        offset: solution.utc - (pair.system - age),
        drift: solution.rate,
        // ns²/s² of the correction are ns/s squared of its rate.
        drift_sigma: Rate::from_f64(rate_variance.max(0.0).sqrt() * 1e-9),
        age,
        sigma: reading.sigma,
    };
    let basis = door.basis(reading.state, reading.reason, true);
    let confidence = reading.confidence_within(Span::from_millis(10));
    let factor = solution.levels.multiplier(0.95) / NORMAL_95;
    Some((answer, solution.variance.sigma(Span::ZERO), factor, confidence, basis.name().into()))
}

/// 95 % of a normal distribution are within so many standard deviations.
const NORMAL_95: f64 = 1.959_964;

/// The slope of the least squares line through these offsets; none through fewer than two.
fn slope(offsets: &VecDeque<(RawInstant, Span)>) -> Option<Rate> {
    let (first, _) = offsets.front()?;
    let points = || offsets.iter().map(|(raw, o)| ((*raw - *first).as_secs_f64(), o.as_secs_f64()));
    let n = offsets.len() as f64;
    let (sx, sy) = points().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x, sy + y));
    let (mx, my) = (sx / n, sy / n);
    let (xy, xx) =
        points().fold((0.0, 0.0), |(xy, xx), (x, y)| (xy + (x - mx) * (y - my), xx + (x - mx).powi(2)));
    (xx > 0.0).then(|| Rate::from_f64(xy / xx))
}

/// How long to observe: minutes, or with a unit such as `90s`, `30m`, `8h`.
///
/// # Errors
/// What may be written instead.
pub fn duration(text: &str) -> Result<Span, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "m"),
    };
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        _ => 3600.0,
    };
    let wanted = number.parse().unwrap_or(f64::NAN) * seconds;
    match wanted {
        1.0..=31_557_600.0 => Ok(Span::from_secs_f64(wanted)),
        _ => Err("a number of minutes, or like 90s, 30m, 8h, up to a year".into()),
    }
}

/// The time between two samples or two queries, in seconds.
///
/// # Errors
/// What may be written instead.
pub fn interval(text: &str) -> Result<Span, String> {
    match text.parse().unwrap_or(f64::NAN) {
        seconds @ 0.01..=86_400.0 => Ok(Span::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.01 to 86400".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Columns;
    use super::*;
    use crate::daemon::Outlets;
    use crate::monitor::exchange::tests::server;
    use chronotick_clock::{Levels, Reason, Solution, State, Variance};

    /// A clock page that says that the system clock is so much behind, and drifts.
    fn page(offset: Span, rate: Rate) -> (Outlets, Door) {
        let (mut outlets, door) = Outlets::within().unwrap();
        let pair = ClockPair::now();
        let solution = Solution {
            utc: pair.system + offset,
            rate,
            early: Span::from_millis(5),
            late: Span::from_millis(5),
            variance: Variance([1e8, 0.0, 1e4, 0.0]),
            levels: Levels::NORMAL,
            holdover_at: pair.raw + Span::from_secs(1_000),
            unsynced_at: pair.raw + Span::from_secs(1_000),
            ..Solution::unknown(pair.raw, State::Synced, Reason::Agreement)
        };
        outlets.page.publish(&solution);
        (outlets, door)
    }

    fn plan(servers: Vec<ServerAddress>) -> Plan {
        Plan {
            servers,
            timeout: Span::from_millis(300),
            sample_every: Span::from_millis(100),
            ntp_every: Span::from_millis(1_500),
            duration: Span::from_millis(3_500),
        }
    }

    fn observed(door: &Door, plan: &Plan) -> (Vec<Progress>, csv::Reader<std::fs::File>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut table = Table::create(&path, Columns::Full).unwrap();
        let mut heard = Vec::new();
        let mut progress = |what: Progress| heard.push(what);
        let samples = observe(door, plan, &mut table, None, &AtomicBool::new(false), &mut progress).unwrap();
        assert!(samples >= 5, "{samples}");
        (heard, csv::Reader::from_path(&path).unwrap())
    }

    #[test]
    fn the_answer_is_compared_with_servers_of_the_observers_own() {
        let (_outlets, door) = page(Span::from_millis(3), Rate::from_ppm(1.0));
        let servers = vec![
            server(Span::from_millis(3), Duration::ZERO, |_| ()),
            server(Span::from_millis(3), Duration::ZERO, |_| ()),
            server(Span::from_millis(900), Duration::ZERO, |_| ()),
        ];
        let (heard, mut rows) = observed(&door, &plan(servers));
        let queries: Vec<&Query> =
            heard.iter().filter_map(|h| if let Progress::Query(q) = h { Some(q) } else { None }).collect();
        assert!(queries.len() >= 2, "{heard:?}");
        for query in &queries {
            assert_eq!((query.panel.combined, query.panel.total, query.panel.rejected.len()), (2, 3, 1));
            assert!(query.fix1.unwrap().abs() < Span::from_millis(2), "{query:?}");
        }
        assert_eq!(queries[0].fix2, None);
        assert!(queries[1].fix2.unwrap().abs() < Span::from_millis(2), "{:?}", queries[1]);
        let names = rows.headers().unwrap().clone();
        let column = |name: &str| names.iter().position(|n| n == name).unwrap();
        let marked = rows.records().filter(|r| r.as_ref().unwrap()[column("has_ntp")] == *"True").count();
        assert_eq!(marked, queries.len());
    }

    #[test]
    fn silence_is_told_with_its_reasons_and_costs_no_sample() {
        let (_outlets, door) = page(Span::ZERO, Rate::ZERO);
        let nobody = chronotick_peers::free_address().to_string().parse().unwrap();
        let (heard, mut rows) = observed(&door, &plan(vec![nobody]));
        let silent = heard.iter().find_map(|h| if let Progress::Silence(_, s) = h { Some(s) } else { None });
        assert!(silent.unwrap()[0].1.contains("nobody listens"), "{silent:?}");
        assert!(rows.records().count() >= 5);
    }

    #[test]
    fn a_slope_is_that_of_the_line() {
        let at = |s: i64| RawInstant::from_nanos(0) + Span::from_secs(s);
        let line: VecDeque<_> = (0..5).map(|i| (at(60 * i), Span::from_micros(600 * i))).collect();
        assert!((slope(&line).unwrap().as_ppm() - 10.0).abs() < 1e-3);
        assert_eq!(slope(&line.iter().take(1).copied().collect()), None);
    }
}
