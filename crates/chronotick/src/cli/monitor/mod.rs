//! `chronotick monitor`: what an operator, a cron job or a check of a monitoring system asks.
//!
//! Exit codes, as monitoring systems read them: 0 healthy, 1 warning, 2 critical, 3 unknown.

pub(super) mod args;
mod drift;
mod health;
mod report;
mod rtc;
mod service;
mod sync;

pub use args::MonitorCommand;

use super::{Arguments, Failure, load};
use crate::config::{Config, Security, TimeServer};
use crate::monitor::exchange::Question;
use chronotick_monitor::{Profile, Status};
use std::process::ExitCode;

/// Does what was asked; that it cannot be done is exit code 3.
pub(super) fn execute(arguments: &Arguments, what: &MonitorCommand) -> Result<ExitCode, Failure> {
    let outcome = match what {
        MonitorCommand::TimeDrift(options) => drift::execute(arguments, options),
        MonitorCommand::SyncTime(options) => sync::execute(arguments, options),
        MonitorCommand::Health(options) => health::execute(arguments, options),
        MonitorCommand::Rtc(options) => rtc::execute(arguments, options),
        MonitorCommand::Service(options) => service::execute(arguments, options),
        MonitorCommand::Report(options) => report::execute(arguments, options),
    };
    Ok(outcome.unwrap_or_else(|failure| {
        eprintln!("chronotick: {failure}");
        ExitCode::from(Status::Unknown.exit_code())
    }))
}

/// The configured profile, or the one that a flag names.
fn profile(config: &Config, named: Option<&str>) -> Profile {
    let named = named.and_then(Profile::named).map(|profile| config.monitor.applied(profile));
    named.unwrap_or_else(|| config.monitor.profile())
}

/// The configuration, and what to ask its servers.
fn question(arguments: &Arguments, samples: u32) -> Result<(Config, Question), Failure> {
    let config = load(arguments)?;
    // Who has to prove who it is would have to prove it here as well; the daemon asks it so.
    let plain = |server: &&TimeServer| server.security == Security::None;
    for server in config.ntp.servers.iter().filter(|server| !plain(server)) {
        eprintln!("chronotick: {} is asked by the daemon only, which can prove who answers", server.address);
    }
    let servers = config.ntp.servers.iter().filter(plain).map(|server| server.address.clone()).collect();
    let question = Question { servers, samples, timeout: config.ntp.timeout };
    Ok((config, question))
}
