//! The command line: what can be asked, and how each answer is printed. With `--json` a command prints exactly one
//! object on stdout; diagnostics always go to stderr.
//!
//! Exit codes: 0 answered and synced (or done), 1 failed, 2 wrong usage, 3 answered but not synced.

mod accuracy;
pub mod args;
pub mod audit;
mod config;
pub mod experiment;
pub mod fleet;
pub mod history;
mod log;
pub(crate) mod mcp;
#[cfg(feature = "models")]
mod models;
mod monitor;
mod now;
mod paper;
mod relay;
mod run;
mod service;
#[cfg(feature = "models")]
mod train;
pub(crate) mod views;
mod watch;
mod when;

pub use args::Arguments;

use crate::config::{Config, Invalid, Loaded, Origin, Overrides};
use crate::door::Door;
use crate::snapshot::Snapshot;
use args::{Columns, Command, ConfigCommand, Waitsync};
use chronotick_clock::{Span, State};
use chronotick_monitor::Status;
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use views::sources::Manner;
use views::{authentication, sources, tracking};

/// What was asked for cannot be understood.
const WRONG_USAGE: u8 = 2;

/// Answered, but the answer is not backed by a majority of the sources now.
const NOT_SYNCED: u8 = 3;

/// What was left alone for so long has no daemon any more.
pub(crate) const SILENT: Span = Span::from_secs(5);

/// What went wrong, in words for the person at the terminal.
type Failure = Box<dyn std::error::Error>;

/// What the words of a command line ask for.
///
/// # Errors
/// The exit code, once it was told what is wrong with them, or what help was asked for: that of wrong usage is 2, and
/// unknown (3) under `monitor`, where 2 would be critical.
pub fn arguments(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    let words: Vec<OsString> = words.into_iter().collect();
    Arguments::try_parse_from(&words).map_err(|fault| {
        // Whoever closed the pipe does not want to know.
        let _ = fault.print();
        if !fault.use_stderr() {
            return ExitCode::SUCCESS;
        }
        let asked = Arguments::command().ignore_errors(true).try_get_matches_from(words);
        wrong_usage(asked.is_ok_and(|asked| asked.subcommand_name() == Some("monitor")))
    })
}

fn wrong_usage(by_monitor: bool) -> ExitCode {
    ExitCode::from(if by_monitor { Status::Unknown.exit_code() } else { WRONG_USAGE })
}

/// Does what the arguments say and gives the process's exit code.
pub fn execute(arguments: Arguments) -> ExitCode {
    if let Err(invalid) = readable(&arguments, &environment) {
        eprintln!("chronotick: {invalid}");
        return wrong_usage(matches!(arguments.command, Some(Command::Monitor(_))));
    }
    let outcome = match &arguments.command {
        Some(Command::Config(what)) => configuration(&arguments, what),
        Some(Command::Now(options)) => now::execute(&arguments, options),
        Some(Command::Status { json }) => view(&arguments, *json, views::status),
        Some(Command::Sources(columns)) => columned(&arguments, columns, sources::sources),
        Some(Command::Sourcestats(columns)) => columned(&arguments, columns, sources::statistics),
        Some(Command::Selectdata(columns)) => columned(&arguments, columns, sources::selection),
        Some(Command::Activity(columns)) => columned(&arguments, columns, sources::activity),
        Some(Command::Authdata(columns)) => columned(&arguments, columns, authentication::sources),
        Some(Command::Serverstats(columns)) => columned(&arguments, columns, authentication::server),
        Some(Command::Tracking(columns)) => columned(&arguments, columns, tracking::tracking),
        Some(Command::Ntpdata(columns)) => columned(&arguments, columns, tracking::ntpdata),
        Some(Command::Peers(columns)) => columned(&arguments, columns, sources::peers),
        Some(Command::Waitsync(limits)) => waitsync(&arguments, limits),
        Some(Command::Explain { json }) => view(&arguments, *json, views::explain),
        Some(Command::Watch(options)) => watch::execute(&arguments, options),
        Some(Command::Mcp(options)) => mcp::execute(&arguments, options),
        Some(Command::Hook(options)) => mcp::hook(&arguments, options),
        Some(Command::Service(what)) => service::execute(&arguments, what),
        Some(Command::Completions { shell }) => paper::completions(*shell),
        Some(Command::Man { out }) => paper::man(out.as_deref()),
        Some(Command::History(what)) => history::execute(&arguments, what),
        Some(Command::Audit(what)) => audit::execute(&arguments, what),
        Some(Command::Monitor(what)) => monitor::execute(&arguments, what),
        Some(Command::Simulate(options)) => accuracy::simulate(options),
        Some(Command::Replay(options)) => accuracy::replay(options),
        Some(Command::Validate(options)) => experiment::validate(&arguments, options),
        Some(Command::Compare(options)) => experiment::compare(options),
        Some(Command::Fleet(what)) => fleet::execute(&arguments, what),
        Some(Command::Score(options)) => accuracy::score(options),
        #[cfg(feature = "models")]
        Some(Command::Models(what)) => models::execute(what),
        #[cfg(feature = "models")]
        Some(Command::Train(options)) => train::execute(options),
        Some(Command::Demo(options)) => crate::demo::execute(options).map(|()| ExitCode::SUCCESS),
        Some(Command::Relay(options)) => relay::execute(options),
        Some(Command::RunForEvents { program }) => run::for_events(&arguments, program),
        Some(Command::Run) | None => run::daemon(&arguments),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("chronotick: {failure}");
        ExitCode::FAILURE
    })
}

/// Whether flags and environment can be read, also by a command that needs nothing of them.
fn readable(arguments: &Arguments, environment: &dyn Fn(&str) -> Option<String>) -> Result<(), Invalid> {
    match &arguments.command {
        // These tell of all layers together; and a hook is always well.
        Some(Command::Run | Command::Config(_) | Command::Hook(_)) | None => Ok(()),
        Some(_) => Config::check_outside(&Overrides::from(arguments), environment),
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn configuration(arguments: &Arguments, what: &ConfigCommand) -> Result<ExitCode, Failure> {
    let (overrides, file) = (Overrides::from(arguments), arguments.config.as_deref());
    let answer = match what {
        ConfigCommand::Check { file: named } => {
            config::check(&overrides, &environment, named.as_deref().or(file))
        }
        ConfigCommand::Show { json } => config::show(&overrides, &environment, file, *json),
        ConfigCommand::Init { path, force } => config::init(&environment, path.as_deref(), *force),
    };
    eprint!("{}", answer.stderr);
    say(&answer.stdout)?;
    Ok(ExitCode::from(answer.exit))
}

/// The configuration by flags, environment and file; its warnings go to stderr.
fn load(arguments: &Arguments) -> Result<Config, Failure> {
    let overrides = Overrides::from(arguments);
    let Loaded { config, warnings, .. } =
        Config::load(&overrides, &environment, arguments.config.as_deref())?;
    for warning in warnings {
        eprintln!("chronotick: warning: {warning}");
    }
    Ok(config)
}

/// The runtime directory that a flag or the file asks for; `None` for the standard search. A file that is wrong keeps
/// nobody from reading the clock.
fn runtime_dir(arguments: &Arguments) -> Option<PathBuf> {
    let overrides = Overrides::from(arguments);
    let by_file = || {
        let loaded = Config::load(&overrides, &environment, arguments.config.as_deref()).ok()?;
        let origin = loaded.settings().find(|s| s.key == "runtime_dir")?.origin.clone();
        matches!(origin, Origin::File { .. }).then_some(loaded.config.runtime_dir)
    };
    arguments.runtime_dir.as_ref().map(PathBuf::from).or_else(by_file)
}

/// Prints on standard output. Whoever closes the pipe has seen enough: that is no failure.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// A view of the daemon's snapshot, as text or as the snapshot itself.
fn view(
    arguments: &Arguments,
    json: bool,
    text: impl Fn(&crate::snapshot::Snapshot, &chronotick_clock::Reading) -> String,
) -> Result<ExitCode, Failure> {
    let door = Door::open(runtime_dir(arguments).as_deref())?;
    let (reading, snapshot) = (door.clock.now_checked(), door.snapshot()?);
    if json {
        let mut object = serde_json::to_value(&*snapshot)?;
        // The page knows more than the snapshot: a dead daemon cannot write that it is dead.
        object["state"] = reading.state.name().into();
        object["reason"] = reading.reason.to_string().into();
        say(&format!("{object}\n"))?;
    } else {
        let age = snapshot.age(chronotick_clock::raw_now());
        if age > SILENT {
            eprintln!("chronotick: the daemon wrote this {age} ago and has been silent since");
        }
        say(&text(&snapshot, &reading))?;
    }
    Ok(code(reading.state))
}

/// A view in chrony's columns.
fn columned(
    arguments: &Arguments,
    columns: &Columns,
    text: impl Fn(&Snapshot, Manner) -> String,
) -> Result<ExitCode, Failure> {
    let Columns { verbose, numeric, all, csv, json } = *columns;
    view(arguments, json, |snapshot, _| text(snapshot, Manner { verbose, numeric, all, csv }))
}

/// Looks again and again until the clock is good enough.
fn waitsync(arguments: &Arguments, limits: &Waitsync) -> Result<ExitCode, Failure> {
    for attempt in 1.. {
        let looked = Door::open(runtime_dir(arguments).as_deref());
        let snapshot = looked.map_err(Failure::from).and_then(|door| {
            let (reading, snapshot) = (door.clock.now_checked(), door.snapshot()?);
            // The page knows more than the snapshot: a dead daemon cannot write that it is dead.
            Ok(Snapshot { state: reading.state.name().into(), ..(*snapshot).clone() })
        });
        let (line, enough) =
            tracking::wait(&snapshot.unwrap_or_default(), attempt, limits.max_correction, limits.max_skew);
        say(&line)?;
        if enough {
            return Ok(ExitCode::SUCCESS);
        }
        if attempt == limits.tries {
            break;
        }
        std::thread::sleep(std::time::Duration::from_secs_f64(limits.interval));
    }
    Ok(ExitCode::FAILURE)
}

fn code(state: State) -> ExitCode {
    if state == State::Synced { ExitCode::SUCCESS } else { ExitCode::from(NOT_SYNCED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_is_critical_to_no_monitoring_system() {
        let exit = |line: &str| arguments(line.split(' ').map(Into::into)).map(|_| ()).unwrap_err();
        for line in
            ["c monitor time-drift --bogus", "c -f x monitor health --profile none", "c monitor nonsense"]
        {
            assert_eq!(exit(line), ExitCode::from(3), "{line}");
        }
        for line in ["c now --bogus", "c --state-dir monitor now --future never", "c nonsense"] {
            assert_eq!(exit(line), ExitCode::from(2), "{line}");
        }
        assert_eq!(exit("c monitor --help"), ExitCode::SUCCESS);
    }

    #[test]
    fn what_no_command_needs_is_read_all_the_same() {
        let refused = |line: &str, variables: &[(&str, &str)]| {
            let arguments = Arguments::try_parse_from(line.split(' ')).expect("it is understood");
            let environment = |name: &str| {
                let set = variables.iter().find(|(variable, _)| *variable == name);
                set.map(|(_, text)| (*text).to_owned())
            };
            readable(&arguments, &environment).map_err(|invalid| invalid.to_string()).err()
        };
        let said = |line, variables| refused(line, variables).unwrap_or_default();
        assert!(said("c --log-level loud now", &[]).starts_with("--log-level: "));
        assert!(said("c --http-listen nonsense status", &[]).starts_with("--http-listen: "));
        assert!(said("c now", &[("CHRONOTICK_WARMUP", "abc")]).starts_with("CHRONOTICK_WARMUP: "));
        assert_eq!(refused("c --warmup 3 now", &[("CHRONOTICK_LOG_LEVEL", " ")]), None);
        assert_eq!(refused("c hook", &[("CHRONOTICK_WARMUP", "abc")]), None);
    }
}
