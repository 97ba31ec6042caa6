//! `chronotick validate` and `chronotick compare`: an observer with servers of its own, and what observers wrote down.

use super::args::{Arguments, Show};
use super::run::door_or_engine;
use super::{Failure, load, say};
use crate::config::{Security, ServerAddress, TimeServer, with_relays};
use crate::experiment::compare::{Run, scores, table as table_of};
use crate::experiment::observer::{Plan, Progress, Query, duration, interval, observe};
use crate::experiment::picture::{html, plots};
use crate::experiment::table::{Columns, Table};
use chronotick_clock::{ClockPair, Span};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What is observed, and for how long.
#[derive(Args, Debug)]
pub struct Validate {
    /// How long, in minutes; or with a unit: 90s, 30m, 8h.
    #[arg(long, value_name = "MINUTES", default_value = "480", value_parser = duration)]
    pub duration: Span,
    /// The observer's own time servers, comma-separated; those of the configuration without this. HOST:8123 stands for
    /// a relay with its five ports.
    #[arg(long, value_name = "LIST", value_parser = servers)]
    pub ntp_server: Option<Servers>,
    /// Between two samples of corrected time, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub sample_interval: Span,
    /// Between two queries of the observer's own servers, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = interval)]
    pub ntp_interval: Span,
    /// The table to write; without it chronotick_client_validation_v3_ and the time, here.
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
    /// Which columns to write.
    #[arg(long, value_enum, default_value_t)]
    pub columns: Columns,
    /// Go on with a table that an earlier run began.
    #[arg(long, requires = "out")]
    pub resume: bool,
}

/// Which tables.
#[derive(Args, Debug)]
pub struct Compare {
    /// Tables of `validate`, or of the original system's experiments.
    #[arg(value_name = "FILE.csv", required = true)]
    pub tables: Vec<PathBuf>,
    /// How the scores are shown.
    #[command(flatten)]
    pub show: Show,
}

/// Servers from one argument.
#[derive(Clone, Debug)]
pub struct Servers(Vec<ServerAddress>);

fn servers(text: &str) -> Result<Servers, String> {
    let one = |text: &str| text.trim().parse::<TimeServer>().map_err(|e| format!("{}: {e}", text.trim()));
    let all = text.split(',').map(one).collect::<Result<Vec<_>, _>>()?;
    plain(with_relays(all))
}

/// The observer's exchanges carry no proof of who answered.
fn plain(servers: Vec<TimeServer>) -> Result<Servers, String> {
    let (plain, proven): (Vec<_>, Vec<_>) = servers.into_iter().partition(|s| s.security == Security::None);
    match (plain.is_empty(), proven.first()) {
        (true, Some(server)) => Err(format!(
            "{server} is asked with proof only, which an observer cannot do; name another server"
        )),
        _ => Ok(Servers(plain.into_iter().map(|server| server.address).collect())),
    }
}

/// Observes until the time is up or a signal comes, then judges what was written.
pub(super) fn validate(arguments: &Arguments, options: &Validate) -> Result<ExitCode, Failure> {
    let config = load(arguments)?;
    let door = door_or_engine(arguments)?;
    let Servers(servers) = match &options.ntp_server {
        Some(given) => given.clone(),
        None => plain(config.ntp.servers.clone())?,
    };
    let plan = Plan {
        servers,
        timeout: config.ntp.timeout,
        sample_every: options.sample_interval,
        ntp_every: options.ntp_interval,
        duration: options.duration,
    };
    let out = options.out.clone().unwrap_or_else(|| format!("{NAME}{}.csv", stamp()).into());
    let (mut table, earlier) = match options.resume {
        true => Table::resume(&out, options.columns)?,
        false => (Table::create(&out, options.columns)?, None),
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let simulated = door.snapshot().is_ok_and(|s| s.simulation);
    if simulated {
        say("SIMULATION: the clock that is observed is a simulated one.\n")?;
    }
    eprintln!("chronotick: writing {} every {}", out.display(), plan.sample_every);
    let bar = bar(options.duration);
    let mut progress = |what: Progress| {
        let shown = match what {
            Progress::Sample(elapsed) => {
                bar.set_position(elapsed.as_secs_f64() as u64);
                return;
            }
            Progress::Query(query) => words(&query),
            Progress::Silence(elapsed, silent) => silence(elapsed, &silent),
            Progress::NoDrift => {
                "WARNING: every drift so far is 0: nothing predicts; is the daemon measuring?\n".into()
            }
        };
        // Whoever closes the pipe does not end the experiment.
        bar.suspend(|| drop(say(&shown)));
    };
    let samples = observe(&door, &plan, &mut table, earlier, &stop, &mut progress)?;
    bar.finish_and_clear();
    eprintln!("chronotick: {samples} samples in {}", out.display());
    match Run::open(&out) {
        Ok(run) => say(&table_of(&scores(&[run])))?,
        Err(e) => eprintln!("chronotick: nothing is judged: {e}"),
    }
    Ok(ExitCode::SUCCESS)
}

const NAME: &str = "chronotick_client_validation_v3_";

/// The system clock in UTC, as it can stand in a file's name.
fn stamp() -> String {
    let now = crate::utc::rfc3339(ClockPair::now().system);
    now.chars().take(19).filter(|c| *c != '-' && *c != ':').map(|c| if c == 'T' { '_' } else { c }).collect()
}

fn bar(duration: Span) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:30}] {percent:>3} %  {elapsed} of {msg}");
    let style = style.expect("the template is a constant").progress_chars("=> ");
    let bar = ProgressBar::new(duration.as_secs_f64() as u64).with_style(style);
    bar.with_message(duration.to_string())
}

fn millis(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e6
}

/// A query as the original system's clients wrote it.
fn words(query: &Query) -> String {
    let Query { elapsed, panel, answer, fix1, fix2 } = query;
    let at = format!("[{:.0}s]", elapsed.as_secs_f64());
    let mut out = format!(
        "{at} NTP: offset={:+.2}ms ± {:.2}ms (combined {}/{}, MAD={:.2}ms)\n",
        millis(panel.offset),
        millis(panel.uncertainty),
        panel.combined,
        panel.total,
        millis(panel.mad)
    );
    for (who, why) in &panel.rejected {
        out += &format!("      rejected {who}: {why}\n");
    }
    match answer {
        None => out += "      ChronoTick: nothing is known yet\n",
        Some((offset, drift, source)) => {
            out += &format!(
                "      ChronoTick (Fix1): offset={:+.2}ms, drift={:+.3}μs/s, source={source}\n",
                millis(*offset),
                drift.as_ppm()
            );
        }
    }
    let against = |fix: &Option<Span>| fix.map_or("-".into(), |e| format!("{:+.3}ms", millis(e)));
    out + &format!("      Fix1 vs NTP: {} | Fix2 vs NTP: {}\n", against(fix1), against(fix2))
}

fn silence(elapsed: Span, silent: &[(String, String)]) -> String {
    let each: Vec<String> = silent.iter().map(|(who, why)| format!("{who}: {why}")).collect();
    format!("[{:.0}s] NTP: no server answered ({})\n", elapsed.as_secs_f64(), each.join("; "))
}

/// Judges tables and shows the scores.
pub(super) fn compare(options: &Compare) -> Result<ExitCode, Failure> {
    let runs = Run::open_all(&options.tables)?;
    let scores = scores(&runs);
    let show = &options.show;
    if let Some(page) = &show.report {
        std::fs::write(page, html(&runs, &scores)).map_err(|e| format!("{}: {e}", page.display()))?;
    }
    if let Some(folder) = &show.plots {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for (name, plot) in plots(&runs, &scores) {
            let path = folder.join(format!("{name}.svg"));
            std::fs::write(&path, plot.file()).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    match show.json {
        true => say(&(serde_json::json!({ "scores": scores }).to_string() + "\n"))?,
        false => say(&table_of(&scores))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::panel::Panel;
    use chronotick_clock::Rate;

    #[test]
    fn a_relay_stands_for_its_five_ports() {
        let Servers(all) = servers("172.20.1.1:8123, time.example").unwrap();
        let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(shown[..2], ["172.20.1.1:8123", "172.20.1.1:8127"]);
        assert_eq!((shown.len(), shown[5].as_str()), (6, "time.example"));
        assert!(servers("time.example,,").unwrap_err().contains("empty"));
    }

    #[test]
    fn durations_are_minutes_unless_they_say_otherwise() {
        for (text, seconds) in [("180", 10_800), ("0.5", 30), ("90s", 90), ("8h", 28_800)] {
            assert_eq!(duration(text), Ok(Span::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-3", "soon", "NaN", "1e9h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_told_as_it_always_was() {
        let micros = Span::from_micros;
        let query = Query {
            elapsed: Span::from_secs(60),
            panel: Panel {
                offset: micros(3_420),
                uncertainty: micros(850),
                mad: micros(230),
                combined: 4,
                total: 5,
                rejected: vec![],
            },
            answer: Some((micros(3_450), Rate::from_ppm(1.234), "fusion".into())),
            fix1: Some(micros(123)),
            fix2: Some(micros(-56)),
        };
        assert_eq!(
            words(&query),
            "[60s] NTP: offset=+3.42ms ± 0.85ms (combined 4/5, MAD=0.23ms)\n      \
             ChronoTick (Fix1): offset=+3.45ms, drift=+1.234μs/s, source=fusion\n      \
             Fix1 vs NTP: +0.123ms | Fix2 vs NTP: -0.056ms\n"
        );
    }
}
