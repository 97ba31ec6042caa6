//! `chronotick simulate | replay | score`: the engine against known truth, as a table, as JSON, and as a page with
//! plots. The error of an answer is estimate − truth.

use super::args::{Replay, Score, Show, Simulate};
use super::{Failure, say};
use crate::trace::{self, Replayed};
use chronotick_core::Span;
use chronotick_sim::logged::{self, Judgement, Log};
use chronotick_sim::trace::Trace;
use chronotick_sim::{Scenario, Trial, report, ticks};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Ticks are written this often on the raw clock.
const TICK: Span = Span::from_secs(10);

pub(super) fn simulate(options: &Simulate) -> Result<ExitCode, Failure> {
    let scenarios = if options.scenarios.is_empty() {
        built_in()?
    } else {
        options.scenarios.iter().map(|name| scenario(name)).collect::<Result<_, _>>()?
    };
    let trials = live(&scenarios, options.seeds);
    show(&trials, &[], &options.show)
}

pub(super) fn replay(options: &Replay) -> Result<ExitCode, Failure> {
    let (traced, other): (Vec<_>, Vec<_>) =
        options.traces.iter().partition(|path| header(path).is_some_and(|line| trace::recognises(&line)));
    if !traced.is_empty() {
        let Show { report, plots, .. } = &options.show;
        if !other.is_empty() || options.ticks.is_some() || report.is_some() || plots.is_some() {
            let alone = "a debug trace is replayed by itself, without ticks, report or plots";
            return Err(format!("{alone}: leave the rest to another call").into());
        }
        return again(&traced, options.show.json);
    }
    let (logs, packets): (Vec<_>, Vec<_>) = options.traces.iter().partition(|path| is_log(path));
    let judge = |path: &PathBuf| Ok(Log::open(path)?.judge());
    let logs = logs.into_iter().map(judge).collect::<Result<Vec<_>, Failure>>()?;
    let traces: Vec<Trace> = packets.into_iter().map(|path| Trace::open(path)).collect::<Result<_, _>>()?;
    if let Some(path) = &options.ticks {
        let [trace] = &traces[..] else {
            return Err("--ticks writes the ticks of one trace: name one".into());
        };
        let written = write_ticks(trace, path).map_err(|e| format!("{}: {e}", path.display()))?;
        eprintln!("chronotick: wrote {written} ticks of {} to {}", trace.name, path.display());
    }
    let (judged, blind): (Vec<_>, Vec<_>) = traces.iter().partition(|trace| !trace.truth.is_empty());
    for trace in &blind {
        eprintln!("chronotick: {} has no truth beside it ({0}.truth.csv): nothing to score", trace.name);
    }
    for log in logs.iter().filter(|log| log.points == 0) {
        eprintln!("chronotick: {} is too short: it takes {}", log.name, logged::ENOUGH);
    }
    let trials: Vec<Trial> = judged.into_iter().map(Trial::replay).collect();
    if trials.is_empty() && (options.show.report.is_some() || options.show.plots.is_some()) {
        return Err("only traces with their truth can be drawn: leave out --report and --plots".into());
    }
    show(&trials, &logs, &options.show)
}

/// Replays debug traces; fails if an answer is another one, unless the trace itself says that lines are missing.
fn again(paths: &[&PathBuf], json: bool) -> Result<ExitCode, Failure> {
    let mut same = true;
    let mut objects = Vec::new();
    for path in paths {
        let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let file = File::open(path).map_err(|e| named(&e))?;
        let replayed = trace::replay(file).map_err(|e| named(&e))?;
        let Replayed { measurements, forecasts, solutions, different, first_different, dropped } = replayed;
        same &= different == 0;
        if json {
            objects.push(serde_json::json!({"trace": path, "replayed": replayed}));
            continue;
        }
        let verdict = match first_different {
            None => "all as they were, to the bit".to_owned(),
            Some(line) => format!("{different} are others, the first in line {line}"),
        };
        let missing =
            if dropped > 0 { format!("; {dropped} lines are missing in the trace") } else { String::new() };
        say(&format!(
            "{}: {measurements} measurements, {forecasts} forecasts; {solutions} answers, {verdict}{missing}\n",
            path.display()
        ))?;
    }
    if json {
        say(&format!("{}\n", serde_json::json!({ "traces": objects })))?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a file is a recording of the original system rather than one of packets.
fn is_log(path: &Path) -> bool {
    header(path).is_some_and(|line| Log::recognises(&line))
}

/// The first line of a file of text.
fn header(path: &Path) -> Option<String> {
    let mut header = String::new();
    let file = File::open(path).ok()?;
    BufReader::new(file.take(4_096)).read_line(&mut header).ok()?;
    Some(header)
}

pub(super) fn score(options: &Score) -> Result<ExitCode, Failure> {
    // All that can be missing is named before the long work begins.
    let mut traces = Vec::new();
    for folder in &options.folders {
        let names = Trace::names(folder)?;
        if names.is_empty() {
            return Err(
                format!("{}: there is no trace in it (NAME.packets.csv[.gz])", folder.display()).into()
            );
        }
        for name in names {
            traces.push(Trace::load(folder, &name)?);
        }
    }
    let mut trials = live(&built_in()?, options.seeds);
    trials.extend(traces.iter().map(Trial::replay));
    show(&trials, &[], &options.show)
}

fn built_in() -> Result<Vec<Scenario>, Failure> {
    Scenario::BUILT_IN.iter().map(|(name, _)| Ok(Scenario::built_in(name)?)).collect()
}

/// A file if it looks like one, or a built-in scenario.
fn scenario(name: &str) -> Result<Scenario, Failure> {
    let is_file = name.ends_with(".toml") || name.contains(std::path::MAIN_SEPARATOR);
    Ok(if is_file { Scenario::load(name)? } else { Scenario::built_in(name)? })
}

fn live(scenarios: &[Scenario], seeds: u64) -> Vec<Trial> {
    let worlds = scenarios.iter().flat_map(|scenario| (1..=seeds).map(move |seed| (scenario, seed)));
    worlds.map(|(scenario, seed)| Trial::simulate(scenario, seed)).collect()
}

fn write_ticks(trace: &Trace, path: &Path) -> std::io::Result<usize> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "raw,correction,sd")?;
    let ticks = ticks(trace, TICK);
    for tick in &ticks {
        let seconds = |nanos: i64| {
            let sign = if nanos < 0 { "-" } else { "" };
            let nanos = nanos.unsigned_abs();
            format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
        };
        let [raw, correction, sigma] =
            [tick.raw.as_nanos(), tick.correction.as_nanos(), tick.sigma.as_nanos()].map(seconds);
        writeln!(file, "{raw},{correction},{sigma}")?;
    }
    file.flush()?;
    Ok(ticks.len())
}

fn show(trials: &[Trial], logs: &[Judgement], options: &Show) -> Result<ExitCode, Failure> {
    if options.json {
        let recordings: Vec<_> = logs.iter().map(Judgement::json).collect();
        say(&format!(
            "{}\n",
            serde_json::json!({ "scores": report::json(trials), "recordings": recordings })
        ))?;
    } else {
        if !logs.is_empty() {
            say(&logged::table(logs))?;
        }
        if !trials.is_empty() {
            say(&report::table(trials))?;
        }
    }
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    if let Some(path) = &options.report {
        write(path, report::html(trials))?;
        eprintln!("chronotick: wrote {}", path.display());
    }
    if let Some(folder) = &options.plots {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let plots = report::plots(trials);
        eprintln!("chronotick: writing {} plots to {}", plots.len(), folder.display());
        plots.into_iter().try_for_each(|(name, svg)| write(&folder.join(name), svg))?;
    }
    Ok(ExitCode::SUCCESS)
}
