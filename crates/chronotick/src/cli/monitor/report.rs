//! `monitor report`.

use super::args::{Format, Report as Options};
use super::profile;
use crate::cli::{Arguments, Failure, load, runtime_dir, say};
use crate::door::Door;
use crate::monitor::report::{self, LONGEST};
use chronotick_clock::{ClockPair, Reading};
use chronotick_monitor::{Report, Status};
use std::process::ExitCode;

pub(super) fn execute(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let config = load(arguments)?;
    let profile = profile(&config, options.profile.as_deref());
    // The report is of corrected time, which may be minutes from the system clock's.
    let door = Door::open(runtime_dir(arguments).as_deref()).ok();
    let reading = door.map(|door| door.now_and_system().0).filter(Reading::is_known);
    let until = reading.map_or_else(|| ClockPair::now().system, |reading| reading.estimate);
    let from = until - options.since;
    let points = report::points(&config.state_dir, from, until)?;
    let found = Report::of(&points, from..until, &profile, LONGEST);
    let text = match options.format {
        Format::Text => report::text(&found),
        Format::Json => format!("{}\n", serde_json::to_string(&found)?),
        Format::Html => report::html(&found, &points),
        Format::Csv => report::csv(&points),
    };
    say(&text)?;
    // A report is about the past: it is unknown where nothing was watched, and a warning where the limit was not kept.
    let status = match found.within {
        None => Status::Unknown,
        Some(within) if within < 1.0 => Status::Warning,
        Some(_) => Status::Healthy,
    };
    Ok(ExitCode::from(status.exit_code()))
}
