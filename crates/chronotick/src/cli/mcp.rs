//! `chronotick mcp` and `chronotick hook`: the doors for agents and for the prompt hooks of their hosts.

pub(crate) mod install;

use super::args::Arguments;
use super::run::door_or_engine;
use super::{Failure, environment, runtime_dir, say};
use crate::config::{self, Config, Overrides};
use crate::door::Door;
use crate::mcp::{Server, http, probe};
use crate::utc::rfc3339;
use chronotick_clock::{ClockPair, Reading, State, Timestamp};
use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// How agents are served.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Mcp {
    /// Instead of serving.
    #[command(subcommand)]
    pub command: Option<McpCommand>,
    /// List the tools too that are left out by default: hlc_now and hlc_merge.
    #[arg(long)]
    pub all_tools: bool,
    /// Calls a second that each tool takes.
    #[arg(long, value_name = "N")]
    pub calls_per_second: Option<NonZeroU32>,
    /// Append one line of JSON for each call to this file.
    #[arg(long, value_name = "FILE")]
    pub audit_file: Option<PathBuf>,
}

/// What can be done beside serving.
#[derive(Subcommand, Debug)]
pub enum McpCommand {
    /// Print the configuration of an agent's host, or put it into the host's file.
    Install(install::Install),
}

/// What the line for a prompt hook tells.
#[derive(Args, Debug)]
pub struct Hook {
    /// Local time in this zone (IANA name) instead of the system's.
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
}

/// One line of time context on stdout. Always well: a hook that fails disturbs the prompt that it was to serve.
pub(super) fn hook(arguments: &Arguments, options: &Hook) -> Result<ExitCode, Failure> {
    let zone = options.timezone.as_deref().map(TimeZone::get).transpose().unwrap_or_else(|e| {
        eprintln!("chronotick: --timezone: {e}; give an IANA name such as Europe/Berlin");
        None
    });
    let zone = zone.unwrap_or_else(TimeZone::system);
    let door = Door::open(runtime_dir(arguments).as_deref()).ok();
    let (reading, system) = (door.as_ref().map(|door| door.clock.now_checked()), ClockPair::now().system);
    let simulated = door.as_ref().and_then(|door| door.snapshot().ok()).is_some_and(|s| s.simulation);
    say(&format!("{}\n", context(reading.as_ref(), system, simulated, &zone)))?;
    Ok(ExitCode::SUCCESS)
}

/// What an agent should know of the time before it begins.
fn context(reading: Option<&Reading>, system: Timestamp, simulated: bool, zone: &TimeZone) -> String {
    let known = reading.filter(|reading| reading.is_known());
    let time = known.map_or(system, |reading| reading.estimate);
    let local =
        jiff::Timestamp::from_nanosecond(i128::from(time.as_nanos())).map(|t| t.to_zoned(zone.clone()));
    let local =
        local.map_or(String::new(), |local| local.strftime(", locally %A %Y-%m-%d %H:%M:%S %:z").to_string());
    let place = zone.iana_name().map_or(String::new(), |name| format!(" ({name})"));
    let trust = match (known, reading) {
        _ if simulated => "SIMULATED, not real time".into(),
        (Some(r), _) if r.state == State::Synced => {
            format!("verified by ChronoTick to within {}", r.max_error())
        }
        (Some(r), _) if r.state == State::Holdover => {
            format!("known by ChronoTick to within {}, without new measurements", r.max_error())
        }
        (_, Some(r)) => format!("UNVERIFIED: {}", r.reason),
        (_, None) => "UNVERIFIED system clock: no ChronoTick daemon is running".into(),
    };
    format!("Current time: {}{local}{place}; {trust}.", rfc3339(time))
}

/// Serves agents on stdin and stdout: from the running daemon, or without one from an engine of our own.
pub(super) fn execute(arguments: &Arguments, options: &Mcp) -> Result<ExitCode, Failure> {
    if let Some(McpCommand::Install(options)) = &options.command {
        return install::execute(options);
    }
    let (settings, state_dir) = settings(arguments, options);
    let door = door_or_engine(arguments)?;
    let door = if door.is_within() { door } else { door.remembering(state_dir) };
    Server::new(Arc::new(door), &settings)?.serve_stdio()?;
    Ok(ExitCode::SUCCESS)
}

/// The file's settings, where it can be read, under those of the command line; and where the daemon keeps its history.
fn settings(arguments: &Arguments, options: &Mcp) -> (config::Mcp, PathBuf) {
    let loaded = Config::load(&Overrides::from(arguments), &environment, arguments.config.as_deref());
    let Config { mcp: mut settings, state_dir, .. } =
        loaded.map_or_else(|_| Config::default(), |loaded| loaded.config);
    settings.all_tools |= options.all_tools;
    settings.calls_per_second = options.calls_per_second.map_or(settings.calls_per_second, NonZeroU32::get);
    settings.audit_file = options.audit_file.clone().or(settings.audit_file);
    (settings, state_dir)
}

/// The doors for agents within the daemon: the route for its HTTP server, and the probe if one is asked for. That the
/// probe's port is taken keeps no daemon from measuring.
pub(super) fn within(settings: &config::Mcp, door: Arc<Door>) -> Result<axum::Router, Failure> {
    let server = Server::new(door, settings)?;
    if let Some(port) = u16::try_from(settings.probe_port).ok().filter(|port| *port > 0) {
        match probe::start(&server, port) {
            Ok(address) => log::info!("probes are answered on {address}"),
            Err(e) => log::error!(
                "probes cannot be answered on 127.0.0.1:{port}: {e}; set mcp.probe_port to another"
            ),
        }
    }
    Ok(http::router(&server))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::{RawInstant, Reason, Solution, Span};

    #[test]
    fn the_line_for_a_hook_says_how_far_to_trust_it() {
        let at = Timestamp::from_nanos(1_774_747_800_000_000_000);
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let solution = |state| {
            let unknown = Solution::unknown(RawInstant::default(), state, Reason::Agreement);
            let (early, late) = (Span::from_millis(2), Span::from_millis(1));
            let held = RawInstant::from_nanos(1);
            Solution { utc: at, early, late, holdover_at: held, unsynced_at: held, ..unknown }
                .reading(RawInstant::default())
        };
        let line = |state| context(Some(&solution(state)), at, false, &berlin);
        let synced = line(State::Synced);
        assert!(synced.starts_with("Current time: 2026-03-29T01:30:00.000000000Z, locally Sunday 2026-03-29 03:30:00 +02:00 (Europe/Berlin)"), "{synced}");
        assert!(synced.ends_with("verified by ChronoTick to within 2.000 ms."), "{synced}");
        assert!(line(State::Unsynced).contains("UNVERIFIED"));
        assert!(context(None, at, false, &berlin).contains("no ChronoTick daemon"));
        assert!(context(Some(&solution(State::Synced)), at, true, &berlin).contains("SIMULATED"));
        assert!([synced, line(State::Error)].iter().all(|line| !line.contains('\n')));
    }
}
