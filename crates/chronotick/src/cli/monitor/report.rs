//! `monitor report`.

use super::args::{Format, Report as Options};
use super::profile;
use crate::cli::{Arguments, Failure, load, say};
use crate::monitor::report::{self, LONGEST};
use chronotick_clock::ClockPair;
use chronotick_monitor::{Report, Status};
use std::process::ExitCode;

pub(super) fn execute(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let config = load(arguments)?;
    let profile = profile(&config, options.profile.as_deref());
    let until = ClockPair::now().system;
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
