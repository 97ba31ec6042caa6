//! `chronotick run` and `chronotick mcp`: the daemon in the foreground, and the agents' door to it.

use super::args::Arguments;
use super::{Failure, load, log as logging};
use crate::daemon::{Daemon, Host, Outlets, Stop};
use chronotick_clock::{Writer, page_path};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::process::ExitCode;

/// Measures and publishes until SIGINT or SIGTERM.
pub(super) fn daemon(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(arguments)?;
    let mut warm_up = logging::start(config.log_level);
    let page = page_path(&config.runtime_dir);
    let writer = Writer::create(&page)?;
    let stop = Stop::new()?;
    stop_on_signals(stop.clone())?;
    let servers: Vec<String> = config.ntp.servers.iter().map(ToString::to_string).collect();
    log::info!("measuring {}; publishing on {}", servers.join(", "), page.display());
    let dir = config.runtime_dir.clone();
    let mut failing = false;
    let snapshot = move |snapshot: crate::snapshot::Snapshot| {
        warm_up.show(&snapshot);
        let written = snapshot.write(&dir);
        if let Err(e) = &written
            && !failing
        {
            log::warn!("the status cannot be written in {}: {e}; the clock page goes on", dir.display());
        }
        failing = written.is_err();
    };
    let outlets = Outlets { page: writer, snapshot: Box::new(snapshot) };
    Daemon::new(&config, Box::new(Host), outlets, stop, Some(config.state_dir.clone())).run()?;
    log::info!("stopped");
    Ok(ExitCode::SUCCESS)
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
