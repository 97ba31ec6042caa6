//! `chronotick history`: what was, in tables for people, as JSON, and as files for other programs.

use super::args::Arguments;
use super::{Failure, load, say, when};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Offset, Span, Timestamp};
use chronotick_record::{ExportError, Format, History, PastOffset, Run, Sample, Selection, Table};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What can be asked of the history.
///
/// A TIME is RFC 3339, a local date with or without a time of day, seconds since 1970, or how long ago (90s, 15min, 24h, 7d).
#[derive(Subcommand, Debug)]
pub enum HistoryCommand {
    /// What the system clock lacked when it read TIME, with the interval as it is known now.
    At {
        /// The reading of the system clock.
        #[arg(value_name = "TIME")]
        time: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The offset of the system clock over a stretch of time, and what happened in it.
    Query {
        /// The stretch.
        #[command(flatten)]
        range: Range,
        /// At most so many rows of samples, evenly thinned.
        #[arg(long, value_name = "N", default_value = "40", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rows: u32,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// A whole table, for other programs.
    Export {
        /// How it is written.
        #[arg(long, value_enum)]
        format: FileFormat,
        /// Which: samples, minutes, measurements, measurement_minutes, events, corrections, weights, gaps or runs.
        #[arg(long, default_value = "samples")]
        table: Table,
        /// The stretch; without it everything.
        #[command(flatten)]
        range: Range,
        /// The file, replaced if it is there; without it standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A stretch of time.
#[derive(Args, Debug)]
pub struct Range {
    /// Its begin; a day ago where none is given, or the begin of the record for `export`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Its end; now where none is given.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a line of names (RFC 4180).
    Csv,
    /// One JSON object on a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Range {
    /// Begin and end, by the system clock where they are relative.
    pub(super) fn resolve(&self, usual: Option<Span>) -> Result<(Timestamp, Timestamp), Failure> {
        let now = ClockPair::now().system;
        let time = |text: &Option<String>| text.as_deref().map(|text| when::time(text, now)).transpose();
        let begin = || usual.map_or(Timestamp::from_nanos(i64::MIN), |span| now - span);
        let since = time(&self.since)?.unwrap_or_else(begin);
        // What was recorded just now is meant too.
        let until = time(&self.until)?.unwrap_or(now + Span::from_secs(1));
        if since >= until {
            let (since, until) = (rfc3339(since), rfc3339(until));
            return Err(format!(
                "the stretch begins at {since} and ends at {until}: exchange --since and --until"
            )
            .into());
        }
        Ok((since, until))
    }
}

pub(super) fn execute(arguments: &Arguments, what: &HistoryCommand) -> Result<ExitCode, Failure> {
    let history = History::open_read_only(&load(arguments)?.state_dir)?;
    match what {
        HistoryCommand::At { time, json } => at(&history, when::time(time, ClockPair::now().system)?, *json),
        HistoryCommand::Query { range, rows, json } => query(&history, range, *rows as usize, *json),
        HistoryCommand::Export { format, table, range, out } => {
            let (since, until) = range.resolve(None)?;
            export(&history, &Selection { table: *table, since, until }, *format, out.as_deref())
        }
    }
}

fn at(history: &History, reading: Timestamp, as_json: bool) -> Result<ExitCode, Failure> {
    let past = match history.system_offset_at(reading) {
        Ok(past) => past,
        Err(why) if as_json => {
            let object = json!({"system_time": rfc3339(reading), "known": false, "reason": why.to_string()});
            say(&format!("{object}\n"))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(why) => return Err(format!("the offset at {} is not known: {why}", rfc3339(reading)).into()),
    };
    // Samples that answer together are no further apart.
    let (utc, near) = (reading + past.offset.correction(), Span::from_secs(7_200));
    let outage = outage(&history.runs(utc - near, utc + near)?, utc);
    let text = if as_json {
        format!("{}\n", past_json(reading, &past, outage))
    } else {
        past_text(reading, &past, outage)
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// From when to when no daemon ran around this instant; none if one did, or if only one side is known.
fn outage(runs: &[Run], utc: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let lived = runs.iter().any(|run| run.began <= utc && utc <= run.ended);
    let before = runs.iter().map(|run| run.ended).filter(|ended| *ended < utc).max();
    let after = runs.iter().map(|run| run.began).filter(|began| utc < *began).min();
    before.zip(after).filter(|_| !lived)
}

fn past_json(reading: Timestamp, past: &PastOffset, outage: Option<(Timestamp, Timestamp)>) -> Value {
    let utc = reading + past.offset.correction();
    json!({
        "system_time": rfc3339(reading),
        "known": true,
        "time": rfc3339(utc),
        "earliest": rfc3339(utc - past.early),
        "latest": rfc3339(utc + past.late),
        "offset_ns": past.offset.correction().as_nanos(),
        "sigma_ns": past.sigma.as_nanos(),
        "early_ns": past.early.as_nanos(),
        "late_ns": past.late.as_nanos(),
        "state": past.state.name(),
        "how": past.how.name(),
        "step_ns": past.step.map(Span::as_nanos),
        "times_shown": past.times,
        "outage": outage.map(|(from, until)| json!({"from": rfc3339(from), "until": rfc3339(until)})),
    })
}

fn past_text(reading: Timestamp, past: &PastOffset, outage: Option<(Timestamp, Timestamp)>) -> String {
    let utc = reading + past.offset.correction();
    let mut text = format!(
        "system clock   {}\ntrue time      {}\noffset         {} (true - system; positive: the system clock was behind)\n\
         bound          -{} / +{}\nsigma          {}\nstate          {}\nrests on       {}\n",
        rfc3339(reading),
        rfc3339(utc),
        past.offset,
        past.early,
        past.late,
        past.sigma,
        past.state,
        match past.how {
            chronotick_record::How::Smoothed => "samples before and after, with what was measured later",
            chronotick_record::How::Interpolated => "samples before and after",
            chronotick_record::How::Edge => "samples on one side only",
        }
    );
    if let Some((from, until)) = outage {
        text += &format!("outage         no daemon ran from {} to {}\n", rfc3339(from), rfc3339(until));
    }
    if let Some(step) = past.step {
        text += &format!(
            "step           the clock was set ahead by {step} near: the bound covers before and after\n"
        );
    }
    if past.times > 1 {
        text += &format!(
            "ambiguous      the clock showed this {} times: the bound covers them all\n",
            past.times
        );
    }
    text
}

fn query(history: &History, range: &Range, rows: usize, as_json: bool) -> Result<ExitCode, Failure> {
    let (since, until) = range.resolve(Some(Span::from_secs(86_400)))?;
    let samples = history.samples(since, until)?;
    let found = samples.len();
    let samples: Vec<&Sample> = samples.iter().step_by(found.div_ceil(rows).max(1)).collect();
    let (events, corrections) = (history.events(since, until)?, history.corrections(since, until)?);
    let gaps = history.gaps(since, until)?;
    if as_json {
        let object = json!({
            "since": rfc3339(since),
            "until": rfc3339(until),
            "samples_found": found,
            "samples": samples.iter().map(|sample| sample_json(sample)).collect::<Vec<_>>(),
            "events": events.iter().map(|e| json!({"time": rfc3339(e.utc), "kind": e.kind, "source": e.source, "text": e.text})).collect::<Vec<_>>(),
            "corrections": corrections.iter().map(|c| json!({"time": rfc3339(c.utc), "action": c.action,
                "amount_ns": c.amount.as_nanos(), "frequency_ppm": c.frequency.as_ppm(), "reason": c.reason})).collect::<Vec<_>>(),
            "gaps": gaps.iter().map(|g| json!({"from": rfc3339(g.from), "until": rfc3339(g.until), "why": g.why,
                "rows_lost": g.lost})).collect::<Vec<_>>(),
        });
        say(&format!("{object}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!(
        "{:<31} {:>13} {:>13} {:>13} {:>12}  state\n",
        "system clock", "offset", "bound -", "bound +", "sigma"
    );
    for s in &samples {
        text += &format!(
            "{:<31} {:>13} {:>13} {:>13} {:>12}  {}\n",
            rfc3339(s.system),
            s.offset.to_string(),
            s.early.to_string(),
            s.late.to_string(),
            s.sigma.to_string(),
            s.state
        );
    }
    text += &format!("{} of {found} samples; offsets are true - system\n", samples.len());
    for event in &events {
        text += &format!("{:<31} {}: {}\n", rfc3339(event.utc), event.kind, event.text);
    }
    for correction in &corrections {
        text += &format!("{:<31} correction: {}\n", rfc3339(correction.utc), correction.reason);
    }
    for gap in &gaps {
        text += &format!("{:<31} gap until {}: {}\n", rfc3339(gap.from), rfc3339(gap.until), gap.why);
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn sample_json(sample: &Sample) -> Value {
    let offset: Offset = sample.offset;
    json!({
        "system_time": rfc3339(sample.system),
        "offset_ns": offset.correction().as_nanos(),
        "sigma_ns": sample.sigma.as_nanos(),
        "early_ns": sample.early.as_nanos(),
        "late_ns": sample.late.as_nanos(),
        "rate_ppm": sample.rate.as_ppm(),
        "state": sample.state.name(),
        "source": sample.source,
        "stepped": sample.stepped,
    })
}

fn export(
    history: &History,
    selection: &Selection,
    format: FileFormat,
    out: Option<&std::path::Path>,
) -> Result<ExitCode, Failure> {
    let format = match format {
        FileFormat::Csv => Format::Csv,
        FileFormat::Jsonl => Format::Jsonl,
        FileFormat::Parquet => Format::Parquet,
    };
    let mut out: Box<dyn Write> = match out {
        Some(path) => Box::new(File::create(path).map_err(|e| format!("{}: {e}", path.display()))?),
        None => Box::new(std::io::stdout().lock()),
    };
    match history.export(selection, format, &mut BufWriter::new(&mut out)) {
        Ok(count) => eprintln!("chronotick: {count} rows of {}", selection.table),
        // Whoever closes the pipe has seen enough.
        Err(ExportError::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(e) => return Err(e.into()),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_lives_nobody_measured() {
        let at = |seconds| Timestamp::from_nanos(1_790_000_000_000_000_000) + Span::from_secs(seconds);
        let run = |began, ended| Run {
            began: at(began),
            ended: at(ended),
            boot: 1,
            version: String::new(),
            configuration: String::new(),
        };
        let runs = [run(0, 100), run(400, 500)];
        assert_eq!(outage(&runs, at(200)), Some((at(100), at(400))));
        for instant in [-1, 50, 100, 400, 501] {
            assert_eq!(outage(&runs, at(instant)), None, "{instant}");
        }
    }
}
