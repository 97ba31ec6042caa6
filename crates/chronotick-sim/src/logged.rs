//! Recordings that the original ChronoTick made on real machines: what its host's own NTP queries said, and what it
//! answered. There is no outside truth in them.
//!
//! Causal predictions are judged by the median of the seven low-delay queries that follow, so that what predicts and
//! what judges share no sample. The reference itself wanders by about a millisecond; nothing finer can be proved here.

use crate::ticks::polled_each;
use crate::trace::TraceError;
use chronotick_core::{Engine, Leap, Measurement, RawInstant, SourceId, Span, Stamps, State, Timestamp};
use std::collections::BTreeMap;
use std::path::Path;

/// One NTP query of the recording, with what the system recorded had answered at the same moment. Offsets are true −
/// system clock.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Query {
    at: Timestamp,
    offset: Span,
    /// Of the round trip, or whatever the recording has that grows with it.
    delay: Span,
    /// Whether that is of the round trip.
    measured: bool,
    answered: Span,
}

/// A recording of NTP queries.
#[derive(Clone, Debug)]
pub struct Log {
    name: String,
    queries: Vec<Query>,
}

/// How far causal predictions were from the low-delay reference: mean absolute errors in ms.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The file's name.
    pub name: String,
    /// At how many instants.
    pub points: usize,
    /// By predictor: ours, the system clock as it was, what was recorded, the newest query, the median of the last
    /// nine queries with less than the usual delay.
    pub mean_errors: BTreeMap<&'static str, f64>,
    /// By predictor: the share of the instants at which it was further off than the system clock, by more than a
    /// millisecond.
    pub harm: BTreeMap<&'static str, f64>,
}

impl Judgement {
    /// As JSON; errors in ms.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name, "points": self.points, "mean_error_ms": self.mean_errors, "harm": self.harm,
        })
    }
}

/// The columns that may hold each quantity, in the order of preference.
const TIME: &[&str] = &["system_time", "timestamp"];
const OFFSET: &[&str] = &["ntp_offset_ms", "ntp_ground_truth_offset_ms"];
const ANSWER: &[&str] = &["chronotick_offset_ms", "client_offset_ms"];
const SOURCE: &[&str] = &["chronotick_source", "client_source"];
const COLUMNS: &str = "a time, an NTP offset in ms and the answer given (see the recordings' README)";
/// A query judges only after so many have been seen, and predicts only if so many follow.
const SEEN_FIRST: usize = 20;
const FOLLOWING: usize = 7;
/// The same in words: what a recording needs to be judged.
pub const ENOUGH: &str = "more than twenty queries, and seven with little delay after those";
/// A round trip that was not recorded took no longer than this; what the server says of its own is none of it.
const UNKNOWN_DELAY: Span = Span::from_millis(60);
/// What the reference cannot resolve.
const RESOLUTION: f64 = 1.0;

impl Log {
    /// Whether a CSV file with this header line is such a recording.
    pub fn recognises(header: &str) -> bool {
        header.trim().split(',').any(|column| OFFSET.contains(&column))
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// If the file is missing, or has none of the columns, no query, or a line without numbers.
    pub fn open(path: &Path) -> Result<Log, TraceError> {
        let text = std::fs::read_to_string(path).map_err(|e| TraceError::Io(path.into(), e))?;
        let malformed =
            |line, what: String| TraceError::Malformed { file: path.into(), line, what, columns: COLUMNS };
        let header: Vec<&str> = text.lines().next().unwrap_or_default().trim().split(',').collect();
        let column = |names: &[&str]| header.iter().position(|c| names.contains(c));
        let required = |names: &[&str]| {
            column(names).ok_or_else(|| malformed(1, format!("none of the columns {names:?}")))
        };
        let (time, offset, answer) = (required(TIME)?, required(OFFSET)?, required(ANSWER)?);
        let (source, delay) = (column(SOURCE), column(&["ntp_delay_ms"]));
        let (ntp_time, stated) = (column(&["ntp_time"]), column(&["ntp_uncertainty_ms"]));
        let mut queries = Vec::new();
        for (i, line) in text.lines().enumerate().skip(1) {
            let fields: Vec<&str> = line.trim().split(',').collect();
            let number =
                |index: Option<usize>| fields.get(index?)?.parse::<f64>().ok().filter(|x| x.is_finite());
            let failed = source.and_then(|s| fields.get(s)).is_some_and(|s| *s == "error");
            let Some(ms) = number(Some(offset)).filter(|_| !failed) else { continue };
            let at = number(Some(time)).ok_or_else(|| malformed(i + 1, "no time".into()))?;
            let answered = number(Some(answer)).ok_or_else(|| malformed(i + 1, "no answer".into()))?;
            // The stamp was taken before the query, so what separates the two beside the offset is its latency.
            let latency = number(ntp_time).map(|ntp| (ntp - at) * 1e3 - ms);
            let trip = number(delay).or(latency);
            let delay = trip.or(number(stated)).unwrap_or(0.0);
            let span = |ms: f64| Span::from_secs_f64(ms * 1e-3);
            let at = Timestamp::from_nanos((at * 1e9) as i64);
            queries.push(Query {
                at,
                offset: span(ms),
                delay: span(delay.max(0.0)),
                measured: trip.is_some(),
                answered: span(answered),
            });
        }
        if queries.is_empty() {
            return Err(malformed(1, "no line has an NTP offset".into()));
        }
        queries.sort_by_key(|q| q.at);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Log { name, queries })
    }

    /// Predicts each low-delay query from the earlier ones alone.
    pub fn judge(&self) -> Judgement {
        let ours = self.predictions();
        let usual = median(self.queries.iter().map(|q| q.delay));
        let low: Vec<usize> = (0..self.queries.len()).filter(|&i| self.queries[i].delay <= usual).collect();
        let mut errors: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (k, &i) in low.iter().enumerate() {
            if i < SEEN_FIRST || k + FOLLOWING > low.len() {
                continue;
            }
            let truth = median(low[k..k + FOLLOWING].iter().map(|&j| self.queries[j].offset));
            let past = &self.queries[..i];
            let recent = median(past[past.len() - SEEN_FIRST..].iter().map(|q| q.delay));
            let quick: Vec<Span> = past.iter().filter(|q| q.delay <= recent).map(|q| q.offset).collect();
            let predictions = [
                ("chronotick", ours[i]),
                ("system clock", Span::ZERO),
                ("recorded", self.queries[i].answered),
                ("hold last", past[past.len() - 1].offset),
                ("low-delay median", median(quick[quick.len().saturating_sub(9)..].iter().copied())),
            ];
            for (name, prediction) in predictions {
                errors.entry(name).or_default().push((prediction - truth).abs().as_secs_f64() * 1e3);
            }
        }
        let points = errors.values().next().map_or(0, Vec::len);
        let mean = |errors: &Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
        let untouched = errors.get("system clock").cloned().unwrap_or_default();
        let harm = |errors: &Vec<f64>| {
            let harmed = errors.iter().zip(&untouched).filter(|(e, u)| **e > **u + RESOLUTION).count();
            harmed as f64 / points.max(1) as f64
        };
        Judgement {
            name: self.name.clone(),
            points,
            mean_errors: errors.iter().map(|(name, errors)| (*name, mean(errors))).collect(),
            harm: errors.iter().map(|(name, errors)| (*name, harm(errors))).collect(),
        }
    }

    /// What the engine predicts for each query from the earlier ones. The system clock takes the raw clock's place:
    /// nothing else was recorded.
    fn predictions(&self) -> Vec<Span> {
        let raw = |at: Timestamp| RawInstant::from_nanos(0) + (at - self.queries[0].at) + Span::from_secs(1);
        let gap = median(self.queries.windows(2).map(|w| w[1].at - w[0].at));
        let mut engine = Engine::new(polled_each(Some(gap)), RawInstant::from_nanos(0));
        let source = engine.add_source(self.name.as_str());
        let predict = |engine: &mut Engine, q: &Query| {
            let solution = engine.solution(raw(q.at));
            let known = solution.early < Span::MAX && solution.state != State::Error;
            if known { solution.utc - q.at } else { Span::ZERO }
        };
        self.queries
            .iter()
            .map(|q| {
                let prediction = predict(&mut engine, q);
                let delay = if q.measured { q.delay } else { UNKNOWN_DELAY };
                let at = raw(q.at) + delay.half();
                engine.measure(&Measurement {
                    source: SourceId(source.0),
                    at,
                    received: raw(q.at) + delay,
                    utc: q.at + delay.half() + q.offset,
                    delay,
                    root_delay: Span::ZERO,
                    root_dispersion: Span::from_millis(1),
                    stratum: 2,
                    leap: Leap::None,
                    stamps: Stamps::User,
                });
                prediction
            })
            .collect()
    }
}

/// The middle of a list, the mean of both for an even number; zero of none.
fn median(spans: impl Iterator<Item = Span>) -> Span {
    let mut all: Vec<Span> = spans.collect();
    all.sort_unstable();
    let n = all.len();
    match n {
        0 => Span::ZERO,
        _ if n % 2 == 1 => all[n / 2],
        _ => (all[n / 2 - 1] + all[n / 2]).half(),
    }
}

/// The judgements as a table.
pub fn table(judgements: &[Judgement]) -> String {
    let mut out = format!("{:<40} {:>6}", "recording: mean |error| in ms", "points");
    let names: Vec<&str> = judgements.iter().flat_map(|j| j.mean_errors.keys().copied()).collect();
    let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
    names.iter().for_each(|name| out += &format!(" {name:>17}"));
    out += "   harm of ours, of the median\n";
    for j in judgements {
        out += &format!("{:<40} {:>6}", j.name, j.points);
        for name in &names {
            let cell = j.mean_errors.get(name).map_or("-".into(), |error| format!("{error:.3}"));
            out += &format!(" {cell:>17}");
        }
        let harm = |name| j.harm.get(name).map_or("-".into(), |share| format!("{share:.3}"));
        out += &format!(" {:>14} {:>14}\n", harm("chronotick"), harm("low-delay median"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(offset: impl Fn(i64) -> i64) -> Log {
        let at = |i: i64| Timestamp::from_nanos(1_700_000_000_000_000_000) + Span::from_secs(100 * i);
        let queries = (0..80).map(|i| Query {
            at: at(i),
            offset: Span::from_micros(offset(i)),
            delay: Span::from_millis(20 + i % 3),
            measured: true,
            answered: Span::from_secs(1),
        });
        Log { name: "made".into(), queries: queries.collect() }
    }

    #[test]
    fn a_steady_clock_is_predicted_and_an_answer_that_wandered_is_not() {
        let judged = log(|i| 5_000 + i % 2 * 100).judge();
        assert!(judged.points > 10, "{judged:?}");
        assert!(judged.mean_errors["chronotick"] < 0.3, "{judged:?}");
        assert!((judged.mean_errors["recorded"] - 995.0).abs() < 1.0);
        assert_eq!((judged.harm["chronotick"], judged.harm["recorded"]), (0.0, 1.0));
    }

    #[test]
    fn a_gross_glitch_changes_nothing() {
        // One that cannot be, and one that could be by its round trip; the query after either judges.
        for glitch in [300_000, -14_000] {
            let judged = log(|i| if i == 41 { glitch } else { 5_000 }).judge();
            assert!(judged.mean_errors["chronotick"] < 0.1, "{judged:?}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_its_columns() {
        let file = std::env::temp_dir().join(format!("chronotick-log-{}", std::process::id()));
        std::fs::write(&file, "a,b\n1,2\n").unwrap();
        let error = Log::open(&file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("none of the columns"), "{error}");
    }
}
