//! The monitor around `chronotick-monitor`: where its facts come from and whom its events go to.
//!
//! * [`exchange`] asks time servers a few times, now; [`facts`] reads a running daemon's answers; [`drift`] puts both together.
//! * [`rtc`] looks at the battery-backed clock, [`service`] at the system's time service.
//! * [`report`] says what a stretch of the past was like.
//! * [`synchronizer`] is the library's own small monitor, for programs without a daemon.
//! * [`Watch`] follows the daemon on a thread of its own and tells [`Subscribers`].

mod deliver;
pub mod drift;
pub mod exchange;
pub mod facts;
pub(crate) mod machine;
pub mod report;
pub mod rtc;
pub mod service;
mod subscribers;
pub mod synchronizer;
mod watch;

pub use deliver::Runner;
pub(crate) use deliver::run_for_events;
pub use facts::health;

use crate::config::Config;
use crate::feed::Follower;
use chronotick_monitor::{Event, Monitor, What};
use std::io;

/// Starts the monitor that the configuration asks for, with everybody whom it names; `runner` runs the program that is.
///
/// # Errors
/// If somebody who is named cannot be told.
pub fn start(config: &Config, follower: Follower, runner: Option<Runner>) -> io::Result<Option<Watch>> {
    let settings = &config.monitor;
    if !settings.enabled {
        return Ok(None);
    }
    let subscribers = Subscribers::default();
    subscribers.call("events to log", to_log)?;
    deliver::subscribe(&subscribers, settings, runner)?;
    let monitor = Monitor::new(settings.profile()).with_hysteresis(settings.hysteresis());
    let dir = Some(config.runtime_dir.clone());
    Watch::start(follower, monitor, subscribers, settings.interval, dir).map(Some)
}

/// Alerts and what else is grave are warnings; what is over is worth knowing; samples are for those who look closely.
fn to_log(event: &Event) {
    let what = &event.what;
    match what {
        _ if what.is_grave() => log::warn!("{event}"),
        What::Sample { .. } => log::debug!("{event}"),
        _ => log::info!("{event}"),
    }
}

pub use subscribers::{Stream, Subscribers};
pub use watch::{Memory, Remembered, Watch};
