//! What `monitor` can be asked.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// What the monitor can be asked.
#[derive(Subcommand, Debug)]
pub enum MonitorCommand {
    /// How far the system clock is from true time, by four-timestamp exchanges with the servers and by the daemon.
    TimeDrift(TimeDrift),
    /// What would be done about the system clock, and why; with a discipline that may act, does it.
    SyncTime(SyncTime),
    /// The health of the clock that the daemon measures, in one document.
    Health(Judged),
    /// The battery-backed clock: its offset, local time instead of UTC, drift, battery.
    Rtc(Rtc),
    /// Whether some time service runs, and is synchronised by its own word and by our measurement.
    Service(Service),
    /// Statistics, excursions, coverage, trend and service levels of a stretch of the past.
    Report(Report),
}

/// How it is judged and shown.
#[derive(Args, Debug, Clone)]
pub struct Judged {
    /// Profile to judge by, instead of the configured one: default, leadville, ib-stream, 1ms or us.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(chronotick_monitor::Profile::NAMES))]
    pub profile: Option<String>,
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
}

/// How the drift is measured.
#[derive(Args, Debug, Clone)]
pub struct TimeDrift {
    /// Good answers wanted of each server.
    #[arg(long, short, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub samples: u32,
    /// Do it again and again until stopped.
    #[arg(long)]
    pub watch: bool,
    /// From one time to the next.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub interval: u32,
    /// How it is judged and shown.
    #[command(flatten)]
    pub judged: Judged,
}

/// How the clock is corrected.
#[derive(Args, Debug, Clone)]
pub struct SyncTime {
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Good answers wanted of each server.
    #[arg(long, short, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub samples: u32,
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
}

/// How the battery-backed clock is looked at.
#[derive(Args, Debug, Clone)]
pub struct Rtc {
    /// Write the system clock into it as UTC, if the system clock is right by the servers and the two differ by more than 10 s.
    #[arg(long)]
    pub set: bool,
    /// Where the machine's `/sys` and `/etc` are, for a monitor in a container.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
}

/// How the time service is looked at.
#[derive(Args, Debug, Clone)]
pub struct Service {
    /// chronyd's command socket, where it is not in a usual place.
    #[arg(long, value_name = "PATH")]
    pub chrony_socket: Option<PathBuf>,
    /// Where ntpd answers control queries.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:123")]
    pub ntpd: std::net::SocketAddr,
    /// The system bus, for timesyncd.
    #[arg(long, value_name = "PATH", default_value = "/run/dbus/system_bus_socket")]
    pub bus: PathBuf,
    /// Restart the service if, and only if, it is dead; at most once an hour.
    #[arg(long, value_name = "UNIT")]
    pub restart: Option<String>,
    /// Do not ask the servers.
    #[arg(long)]
    pub no_measurement: bool,
    /// One JSON object on one line.
    #[arg(long)]
    pub json: bool,
}

/// What is reported on.
#[derive(Args, Debug, Clone)]
pub struct Report {
    /// How far back: 90m, 24h, 7d, 2w.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = period)]
    pub since: chronotick_clock::Span,
    /// Profile to judge by, instead of the configured one.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(chronotick_monitor::Profile::NAMES))]
    pub profile: Option<String>,
    /// How it is shown.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How a report is shown.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// One JSON object.
    Json,
    /// One self-contained page with plots.
    Html,
    /// The samples, one a line.
    Csv,
}

/// A length of time with its unit.
fn period(text: &str) -> Result<chronotick_clock::Span, String> {
    const WANTED: &str = "a number and a unit, such as 90m, 24h, 7d or 2w";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(WANTED.into()),
    };
    let number: u32 = digits.parse().map_err(|_| WANTED.to_owned())?;
    match i64::from(number) * unit {
        0 => Err("more than nothing".into()),
        seconds if seconds > 3_660 * 86_400 => Err("at most ten years".into()),
        seconds => Ok(chronotick_clock::Span::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::Span;

    #[test]
    fn a_period_has_a_number_and_a_unit() {
        assert_eq!(period("7d"), Ok(Span::from_secs(7 * 86_400)));
        assert_eq!(period("90m"), Ok(Span::from_secs(5_400)));
        for wrong in ["", "7", "d", "-1d", "0h", "1y", "9999999999d", "99999999w"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
