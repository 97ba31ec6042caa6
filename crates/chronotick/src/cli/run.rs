//! `chronotick run`: the daemon in the foreground.

use super::args::Arguments;
use super::{Failure, SILENT, load, log as logging, mcp, runtime_dir};
use crate::config::Config;
use crate::daemon::{Daemon, Host, Outlets, Stop, confine};
use crate::door::Door;
use crate::feed::{Follower, News};
use crate::fleet::bus;
use crate::http::Server;
use crate::metrics::{Export, Subject};
use crate::monitor::{self, Runner, Watch};
use crate::snapshot::Snapshot;
use chronotick_clock::{OpenError, Reason, Writer, page_path};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Measures and publishes until SIGINT or SIGTERM.
pub(super) fn daemon(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(arguments)?;
    let mut warm_up = logging::start(config.log_level);
    let page = page_path(&config.runtime_dir);
    let writer = Writer::create(&page)?;
    let runner = Runner::start(&config.monitor)?;
    // Before there are threads: each that begins from here on is inside.
    confine(&config)?;
    let stop = Stop::new()?;
    stop_on_signals(stop.clone())?;
    let clocks = config.reference_clocks.iter().map(|clock| clock.name());
    let servers: Vec<String> = config.ntp.servers.iter().map(ToString::to_string).chain(clocks).collect();
    log::info!("measuring {}; publishing on {}", servers.join(", "), page.display());
    let outlets = Outlets::new(writer);
    let door = Arc::new(outlets.door().remembering(config.state_dir.clone()));
    crate::serve::start(&config, &outlets)?;
    let agents = mcp::within(&config.mcp, door.clone())?;
    let watch = monitor::start(&config, outlets.feed.follow(), runner)?;
    let memory = watch.as_ref().map(Watch::memory).unwrap_or_default();
    bus::start(&config.bus, door.clone(), outlets.feed.follow())?;
    let subject = Subject { door, profile: config.monitor.profile(), memory };
    let export = Export::start(&config.otlp, subject.clone(), outlets.feed.follow())?;
    let http = Server::start(&config.http, subject, outlets.feed.follow(), agents)?;
    let (follower, dir) = (outlets.feed.follow(), config.runtime_dir.clone());
    std::thread::Builder::new().name("status".into()).spawn(move || {
        keep_status(&follower, &dir, |snapshot| warm_up.show(snapshot));
    })?;
    let recorder = crate::record::start(&config, &outlets.feed)?;
    crate::service::notify::start(&outlets, logging::summary)?;
    crate::discipline::start(&config, &outlets.feed)?;
    Daemon::new(&config, Box::new(Host), outlets, stop, Some(config.state_dir.clone())).run()?;
    if let Some(watch) = watch {
        watch.join();
    }
    if let Some(http) = http {
        http.join();
    }
    recorder.finish();
    if let Some(export) = export {
        export.join();
    }
    log::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Runs a program for each event on standard input.
pub(super) fn for_events(arguments: &Arguments, program: &Path) -> Result<ExitCode, Failure> {
    logging::start(load(arguments)?.log_level);
    monitor::run_for_events(program)?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the status beside the clock page, for the doors in other processes.
fn keep_status(follower: &Follower, dir: &Path, mut show: impl FnMut(&Snapshot)) {
    let mut failing = false;
    while let Ok(news) = follower.next(Duration::from_secs(60)) {
        let Some(News::Status(snapshot)) = news else { continue };
        show(&snapshot);
        let written = snapshot.write(dir);
        if let Err(e) = &written
            && !failing
        {
            log::warn!("the status cannot be written in {}: {e}; the clock page goes on", dir.display());
        }
        failing = written.is_err();
    }
}

fn stop_on_signals(stop: Stop) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in signals.forever() {
            stop.ask();
        }
    })?;
    Ok(())
}

/// The running daemon's door, or without one that of an engine of our own.
pub(super) fn door_or_engine(arguments: &Arguments) -> Result<Door, Failure> {
    let left = match Door::open(runtime_dir(arguments).as_deref()) {
        Ok(door) if door.clock.page_status().age < SILENT && door.clock.now().reason != Reason::Stopped => {
            return Ok(door);
        }
        Ok(door) => Some(door.clock),
        Err(OpenError::Missing { .. }) => None,
        Err(e) => return Err(e.into()),
    };
    let config = load(arguments)?.shared();
    logging::start(config.log_level);
    log::info!("no daemon is running: measuring in this process");
    Ok(own_engine(&config)?.for_want_of_a_daemon(left))
}

/// An engine that lives as long as this process.
fn own_engine(config: &Config) -> Result<Door, Failure> {
    let (outlets, door) = Outlets::within()?;
    let daemon = Daemon::new(config, Box::new(Host), outlets, Stop::new()?, Some(config.state_dir.clone()));
    std::thread::Builder::new().name("engine".into()).spawn(move || {
        if let Err(e) = daemon.run() {
            log::error!("the engine has stopped: {e}");
        }
    })?;
    Ok(door.remembering(config.state_dir.clone()))
}
