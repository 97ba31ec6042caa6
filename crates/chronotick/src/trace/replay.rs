//! The engine again, from what its trace says.

use super::{Exact, Line};
use chronotick_core::estimate::Saved;
use chronotick_core::{
    Ahead, Conditions, Disruption, Engine, Expected, Forecast, Leap, Measurement, Member, Outlook, Rate,
    RawInstant, Role, SourceId, Span, Stamps, Timestamp,
};
use serde::Serialize;
use std::io::{self, BufRead, BufReader};

/// What came of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Replayed {
    /// Measurements taken in.
    pub measurements: u64,
    /// Forecasts taken in.
    pub forecasts: u64,
    /// Answers that were compared.
    pub solutions: u64,
    /// Those that were other ones than in the trace.
    pub different: u64,
    /// Line number of the first of them.
    pub first_different: Option<u64>,
    /// Lines that the trace lacks; answers after them may differ.
    pub dropped: u64,
}

/// Why a trace could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum BadTrace {
    /// It cannot be read.
    #[error("line {line}: {source}")]
    Unreadable {
        /// Counted from 1.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A line is none of a trace.
    #[error("line {line} is no line of a debug trace: {reason}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a file is a debug trace, by its first line.
pub fn recognises(header: &str) -> bool {
    header.starts_with("{\"event\":\"start\"")
}

/// Hands everything that went into the engine to a new one, and compares its answers with those in the trace.
///
/// # Errors
/// [`BadTrace`], with the line. A last line that was cut short, as a killed daemon leaves it, is no error.
pub fn replay(file: impl io::Read) -> Result<Replayed, BadTrace> {
    let (mut engine, mut replayed) = (None, Replayed::default());
    let mut lines = BufReader::new(file).lines().zip(1u64..).peekable();
    while let Some((text, number)) = lines.next() {
        let text = text.map_err(|source| BadTrace::Unreadable { line: number, source })?;
        let bad = |reason: String| BadTrace::Line { line: number, reason };
        let line: Line = match serde_json::from_str(&text) {
            Ok(line) => line,
            Err(e) if e.is_eof() && lines.peek().is_none() => break,
            Err(e) => return Err(bad(e.to_string())),
        };
        if let Line::Start { raw_ns, settings, .. } = &line {
            engine = Some(Engine::new(settings.into(), RawInstant::from_nanos(*raw_ns)));
            continue;
        }
        let engine = engine.as_mut().ok_or_else(|| bad("it comes before the start of an engine".into()))?;
        let again = redo(engine, &line, &mut replayed).map_err(bad)?;
        if again.is_some_and(|again| again != line) {
            replayed.different += 1;
            replayed.first_different.get_or_insert(number);
        }
    }
    Ok(replayed)
}

fn named(member: &str) -> Result<Member, String> {
    Member::ALL.into_iter().find(|m| m.name() == member).ok_or(format!("{member:?} is no member"))
}

/// Does with an engine what a line says was done; for a line with an answer, the answer now.
fn redo(engine: &mut Engine, line: &Line, replayed: &mut Replayed) -> Result<Option<Line>, String> {
    let (raw, span, utc) = (RawInstant::from_nanos, Span::from_nanos, Timestamp::from_nanos);
    match line {
        Line::Restored { rate, rate_sigma } => {
            engine.restore(&Saved { rate: *rate, rate_sigma: *rate_sigma })
        }
        Line::Expected { member, horizons } => {
            let expected = |(horizon, share, spread): &(i64, Exact, Exact)| Expected {
                horizon: span(*horizon),
                share: share.0,
                spread: spread.0,
            };
            let expected: Vec<Expected> = horizons.iter().map(expected).collect();
            engine.expect(named(member)?, &expected);
        }
        Line::Source { id, name } => {
            let SourceId(given) = engine.add_source(name);
            if given != *id {
                return Err(format!("source {id} is source {given} of this engine"));
            }
        }
        Line::SourceRemoved { id } => engine.remove_source(SourceId(*id)),
        Line::Polled { id, interval_ns } => engine.polled_every(SourceId(*id), span(*interval_ns)),
        Line::Role { id, noselect, prefer, trust, require } => {
            let [noselect, prefer, trust, require] = [noselect, prefer, trust, require].map(|said| *said);
            engine.set_role(SourceId(*id), Role { noselect, prefer, trust, require });
        }
        Line::Floor { id, raw_ns, floor_ns } => {
            engine.expect_floor(SourceId(*id), span(*floor_ns), raw(*raw_ns));
        }
        Line::Measurement {
            source,
            at_ns,
            received_ns,
            utc_ns,
            delay_ns,
            root_delay_ns,
            root_dispersion_ns,
            stratum,
            leap,
            kernel,
        } => {
            replayed.measurements += 1;
            engine.measure(&Measurement {
                source: SourceId(*source),
                at: raw(*at_ns),
                received: raw(*received_ns),
                utc: utc(*utc_ns),
                delay: span(*delay_ns),
                root_delay: span(*root_delay_ns),
                root_dispersion: span(*root_dispersion_ns),
                stratum: *stratum,
                leap: Leap::from_code(*leap),
                stamps: if *kernel { Stamps::Kernel } else { Stamps::User },
            });
        }
        Line::Disruption { raw_ns, kind, span_ns } => {
            let by = span(*span_ns);
            let disruption = match kind.as_str() {
                "suspended" => Disruption::Suspended { lasted: by },
                "raw_jump" => Disruption::RawJump { by },
                "migrated" => Disruption::Migrated,
                "system_step" => Disruption::SystemStep { by },
                other => return Err(format!("{other:?} is no disruption")),
            };
            engine.disrupted(disruption, raw(*raw_ns));
        }
        Line::Conditions { raw_ns, values } => {
            engine.sense(&Conditions { at: raw(*raw_ns), values: values.map(|v| v.map(|Exact(v)| v)) });
        }
        Line::Forecast { member, origin_ns, utc_ns, rate, bank, ahead, .. } => {
            replayed.forecasts += 1;
            let member = named(member)?;
            let outlook = Outlook {
                at: raw(*origin_ns),
                utc: utc(*utc_ns),
                rate: Rate::from_bits(*rate),
                bank: bank.iter().map(|&(age, offset)| (span(age), span(offset))).collect(),
            };
            let point = |&(age, offset, sigma): &(i64, i64, Option<i64>)| Ahead {
                age: span(age),
                offset: span(offset),
                sigma: sigma.map(span),
            };
            // Whether it was refused is decided again.
            let _ = engine.foresee(&Forecast { member, outlook, ahead: ahead.iter().map(point).collect() });
        }
        Line::Solution { raw_ns, .. } => {
            replayed.solutions += 1;
            return Ok(Some(Line::solution(&engine.solution(raw(*raw_ns)))));
        }
        Line::Dropped { lines } => replayed.dropped += lines,
        Line::Start { .. } | Line::Question { .. } | Line::Model { .. } | Line::Fusion { .. } => {}
    }
    while engine.next_event().is_some() {}
    Ok(None)
}
