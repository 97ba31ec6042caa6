//! `chronotick fleet`: one step on every host of an inventory, or a whole experiment from its begin to its comparison.

use super::args::{Arguments, Show};
use super::experiment::{Compare, compare};
use super::{Failure, say};
use crate::config::{Experiment, Inventory};
#[cfg(feature = "nats")]
use crate::door::Door;
#[cfg(feature = "nats")]
use crate::fleet::bus::{self, Manner};
use crate::fleet::{Fleet, Outcome, Seen, Step};
use crate::watch::short;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Nothing could be begun: what git and containers use for that.
const NOTHING: u8 = 125;
/// More than this many failed hosts are counted as this many.
const MOST_FAILED: usize = 100;
/// A host that cannot be asked for so long while its experiment runs has failed.
const UNREACHED: Duration = Duration::from_secs(600);

/// What can be done with a fleet.
#[derive(Subcommand, Debug)]
pub enum FleetCommand {
    /// Bring the program and its configuration to every host, where they differ.
    Deploy(OnHosts),
    /// Begin the daemon and the experiment on every host, where they are not running.
    Start(OnHosts),
    /// How the daemon, its clock and the experiment of every host are.
    Status(OnHosts),
    /// Bring tables and logs of every host into a folder here; what has come before is gone on with.
    Collect(OnHosts),
    /// End what was begun on every host.
    Stop(OnHosts),
    /// Whose clocks contradict each other, by the readings that daemons tell over a NATS server.
    #[cfg(feature = "nats")]
    Watch(Watching),
    /// All of it: deploy, start, wait, collect, compare, stop. After an interruption the same command goes on.
    Run(OnHosts),
}

/// Which hosts.
#[derive(Args, Debug)]
pub struct OnHosts {
    /// The inventory (YAML, docs/fleet.md).
    #[arg(value_name = "INVENTORY")]
    pub inventory: PathBuf,
    /// Only show what would be done, and reach no host.
    #[arg(long)]
    pub dry_run: bool,
}

/// How to watch the bus.
#[cfg(feature = "nats")]
#[derive(Args, Debug)]
pub struct Watching {
    /// One JSON object on a line.
    #[arg(long)]
    pub json: bool,
    /// Listen for four seconds, show it once and end; the exit code is how many nodes contradict others.
    #[arg(long)]
    pub once: bool,
    /// Show it again after so many seconds.
    #[arg(long, short = 'n', value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub interval: u32,
}

pub(super) fn execute(arguments: &Arguments, what: &FleetCommand) -> Result<ExitCode, Failure> {
    Ok(match carry_out(arguments, what) {
        Ok(failed) => ExitCode::from(failed.min(MOST_FAILED) as u8),
        Err(failure) => {
            eprintln!("chronotick: {failure}");
            ExitCode::from(NOTHING)
        }
    })
}

/// Follows the bus; how many nodes contradict others.
#[cfg(feature = "nats")]
fn watching(arguments: &Arguments, options: &Watching) -> Result<usize, Failure> {
    let config = super::load(arguments)?;
    super::log::start(config.log_level);
    let door = Door::open(super::runtime_dir(arguments).as_deref()).ok();
    let interval = Duration::from_secs(options.interval.into());
    let manner = Manner { json: options.json, once: options.once, interval };
    let silent = "no node was heard; do the daemons have bus.nats, and is this their server?";
    bus::watch(&config.bus, door.as_ref(), manner)?.ok_or_else(|| silent.into())
}

/// How many hosts failed.
#[cfg_attr(
    not(feature = "nats"),
    expect(unused_variables, reason = "only the bus needs the daemon's configuration")
)]
fn carry_out(arguments: &Arguments, what: &FleetCommand) -> Result<usize, Failure> {
    let (steps, on): (&[Step], &OnHosts) = match what {
        FleetCommand::Deploy(on) => (&[Step::Deploy], on),
        FleetCommand::Start(on) => (&[Step::Start], on),
        FleetCommand::Status(on) => (&[Step::Status], on),
        FleetCommand::Collect(on) => (&[Step::Collect], on),
        FleetCommand::Stop(on) => (&[Step::Stop], on),
        #[cfg(feature = "nats")]
        FleetCommand::Watch(options) => return watching(arguments, options),
        FleetCommand::Run(on) => (&[Step::Deploy, Step::Start, Step::Status, Step::Collect, Step::Stop], on),
    };
    let fleet = Fleet::new(Inventory::read(&on.inventory)?);
    if on.dry_run {
        for step in steps {
            say(&format!("# {}\n{}", word(*step), fleet.plan(*step)?))?;
        }
        return Ok(0);
    }
    let _alone = alone(&fleet, steps)?;
    match (steps, &fleet.inventory().experiment) {
        (&[step], _) => one(&fleet, step),
        (_, Some(experiment)) => whole(&fleet, experiment),
        (_, None) => {
            Err("the inventory has no experiment to run; `fleet start` begins the daemons alone".into())
        }
    }
}

/// Two that collect into one folder would spoil each other's files. Held as long as this process lives, or the file is open.
fn alone(fleet: &Fleet, steps: &[Step]) -> Result<Option<File>, Failure> {
    if !steps.contains(&Step::Collect) {
        return Ok(None);
    }
    let folder = &fleet.inventory().results;
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(folder).map_err(|e| named(&e))?;
    let lock = File::create(folder.join(".lock")).map_err(|e| named(&e))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => {
            Err(named(&"another `chronotick fleet` collects here; wait for it").into())
        }
        // Where the file system cannot, a person has to see to it.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Deploy => "deploy",
        Step::Start => "start",
        Step::Status => "status",
        Step::Collect => "collect",
        Step::Stop => "stop",
    }
}

/// A step, told host by host on standard error.
fn done(fleet: &Fleet, step: Step) -> Vec<Outcome<String>> {
    fleet.step(step, |host, outcome| match outcome {
        Ok(words) => eprintln!("{}: {}: {words}", host.name, word(step)),
        Err(why) => eprintln!("{}: {}: FAILED: {why}", host.name, word(step)),
    })
}

fn one(fleet: &Fleet, step: Step) -> Result<usize, Failure> {
    if step == Step::Status {
        let seen = fleet.status();
        say(&states(fleet, &seen))?;
        return Ok(seen.iter().filter(|seen| seen.is_err()).count());
    }
    let outcomes = done(fleet, step);
    let row = |outcome: &Outcome<String>| match outcome {
        Ok(words) => vec!["ok".to_owned(), words.clone()],
        Err(why) => vec!["FAILED".to_owned(), why.clone()],
    };
    say(&table(fleet, &["RESULT", "WHAT"], outcomes.iter().map(row)))?;
    Ok(outcomes.iter().filter(|outcome| outcome.is_err()).count())
}

/// The whole experiment; hosts that fail are left behind.
fn whole(fleet: &Fleet, experiment: &Experiment) -> Result<usize, Failure> {
    let deployed = fleet.without_failed(&done(fleet, Step::Deploy));
    let started = done(&deployed, Step::Start);
    let (begun, ours) = (deployed.without_failed(&started), deployed.without_busy(&started));
    if begun.inventory().hosts.is_empty() {
        done(&ours, Step::Stop);
        return Ok(fleet.inventory().hosts.len());
    }
    eprintln!(
        "waiting for {} of experiment {:?}; if this is interrupted the hosts go on, and the same command goes on with them",
        experiment.length, experiment.name
    );
    let lost = wait(&begun, experiment);
    let collected = done(&begun, Step::Collect);
    let finished = begun.inventory().hosts.iter().zip(&collected);
    let good = finished.filter(|(host, outcome)| outcome.is_ok() && !lost.contains_key(&host.name)).count();
    let compared = comparison(&begun, experiment);
    // Whatever the comparison says: nothing is left running, nor where only the daemon has begun.
    let stopped = done(&ours, Step::Stop);
    compared?;
    let unstopped = stopped.iter().filter(|outcome| outcome.is_err()).count();
    Ok((fleet.inventory().hosts.len() - good).max(unstopped))
}

/// Waits until every host is through, or will never be: those, and why.
fn wait(fleet: &Fleet, experiment: &Experiment) -> BTreeMap<String, String> {
    let pause = Duration::from_secs_f64((experiment.length.as_secs_f64() / 20.0).clamp(1.0, 30.0));
    let mut lost = BTreeMap::new();
    let mut reached: BTreeMap<String, Instant> = BTreeMap::new();
    let mut rows = 0;
    loop {
        let seen = fleet.status();
        let mut running = 0;
        for (host, seen) in fleet.inventory().hosts.iter().zip(&seen) {
            let last = reached.entry(host.name.clone()).or_insert_with(Instant::now);
            let trouble = match seen {
                Ok(seen) => {
                    *last = Instant::now();
                    rows = rows.max(seen.rows.unwrap_or(0));
                    running += usize::from(!seen.is_finished() && seen.trouble().is_none());
                    seen.trouble()
                }
                Err(why) if last.elapsed() > UNREACHED => Some(why.clone()),
                Err(_) => {
                    running += 1;
                    None
                }
            };
            if let Some(why) = trouble
                && lost.insert(host.name.clone(), why.clone()).is_none()
            {
                eprintln!("{}: FAILED: {why}", host.name);
            }
        }
        if running == 0 {
            return lost;
        }
        eprintln!("{running} of {} observing, {rows} rows", seen.len());
        std::thread::sleep(pause);
    }
}

/// Compares the tables that have come.
fn comparison(fleet: &Fleet, experiment: &Experiment) -> Result<(), Failure> {
    let tables: Vec<PathBuf> = fleet.inventory().hosts.iter().filter_map(|host| fleet.table(host)).collect();
    if tables.is_empty() {
        return Err("no table has come, so there is nothing to compare".into());
    }
    let report = fleet.inventory().results.join(format!("{}.html", experiment.name));
    let show = Show { json: false, report: Some(report.clone()), plots: None };
    compare(&Compare { tables, show })?;
    eprintln!("the comparison with pictures is in {}", report.display());
    Ok(())
}

fn states(fleet: &Fleet, seen: &[Outcome<Seen>]) -> String {
    let heads = ["DAEMON", "STATE", "BOUND", "SYSTEM CLOCK", "SOURCES", "EXPERIMENT", "ROWS"];
    let rows = seen.iter().map(|seen| match seen {
        Err(why) => vec!["FAILED".to_owned(), why.clone()],
        Ok(seen) => {
            let clock = seen.status.as_ref().and_then(|status| status.clock.as_ref());
            let sources = seen.status.as_ref().map(|status| {
                let trusted = status.sources.iter().filter(|source| source.is_trusted()).count();
                format!("{trusted} of {}", status.sources.len())
            });
            let known = |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
            vec![
                seen.daemon.clone(),
                known(seen.status.as_ref().map(|status| crate::watch::clean(&status.state))),
                known(clock.map(|c| format!("±{}", short(c.early_ns.max(c.late_ns) as f64)))),
                known(clock.map(|c| short(c.system_offset_ns as f64))),
                known(sources),
                known(Some(seen.experiment.clone())),
                known(seen.rows.map(|rows| rows.to_string())),
            ]
        }
    });
    table(fleet, &heads, rows)
}

/// A line a host under heads, each column as wide as it needs to be.
fn table(fleet: &Fleet, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut all =
        vec![std::iter::once("HOST").chain(heads.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    all.extend(fleet.inventory().hosts.iter().zip(rows).map(|(host, row)| {
        let mut line = vec![host.name.clone()];
        line.extend(row);
        line
    }));
    let mut widths = vec![0; heads.len() + 1];
    for line in all.iter().filter(|line| line.len() == heads.len() + 1) {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(line).collect()
}
