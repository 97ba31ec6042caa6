//! `chronotick watch`: the arguments, and the door that is watched.

use super::args::Arguments;
use super::{Failure, code, runtime_dir};
use crate::daemon::Host;
use crate::door::Door;
use crate::watch::{self, Column, Manner};
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

/// What `watch` can be asked.
#[derive(clap::Args, Debug)]
pub struct Watch {
    /// Show it once and end, with the exit code of `status`.
    #[arg(long)]
    pub once: bool,
    /// Look again after so many seconds.
    #[arg(long, short = 'n', value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// What to sort the sources by.
    #[arg(long, value_name = "COLUMN", value_enum, default_value = "name")]
    pub sort: Column,
}

pub(super) fn execute(arguments: &Arguments, options: &Watch) -> Result<ExitCode, Failure> {
    let door = Door::open(runtime_dir(arguments).as_deref())?;
    let watched = if options.once {
        watch::once(&door, &Host, options.sort).map(code)
    } else {
        let manner = Manner { interval: options.interval, sort: options.sort };
        watch::follow(&door, &Host, manner).map(|()| ExitCode::SUCCESS)
    };
    match watched {
        // Whoever closes the pipe has seen enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => Ok(other?),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    match seconds {
        0.1..=3600.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("between 0.1 and 3600 seconds are possible".into()),
    }
}
