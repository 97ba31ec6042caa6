//! The grammar of the command line.

pub use super::mcp::{Hook, Mcp};
pub use super::monitor::MonitorCommand;
pub use super::service::ServiceCommand;
#[cfg(feature = "models")]
use crate::models::Reference;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// What time is it, and how wrong may that be?
///
/// Measures this machine's clock against several time servers, learns how it drifts, and serves corrected time with a
/// guaranteed bound and a calibrated interval. Without a command it does what `run` does.
///
/// Exit codes: 0 answered and synced, 1 failed, 2 wrong usage, 3 answered but not synced.
#[derive(Parser, Debug)]
#[command(name = "chronotick", version)]
pub struct Arguments {
    /// What to do; `run` without one.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Configuration file instead of those in the standard places.
    #[arg(long, short = 'f', global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Time servers, comma-separated: HOST or HOST:PORT; an IPv6 address before a port is in brackets.
    #[arg(long, global = true, value_name = "LIST")]
    pub ntp_servers: Option<String>,

    /// Reference clocks of this machine, separated by commas, each as in chrony.conf: "SHM 0 refid GPS noselect".
    #[arg(long, global = true, value_name = "LINES")]
    pub reference_clocks: Option<String>,

    /// Other nodes that run ChronoTick and serve NTP, comma-separated: HOST or HOST:PORT.
    #[arg(long, global = true, value_name = "LIST")]
    pub peers: Option<String>,

    /// What the models' settings are where they are not set: minimal, embedded, cpu_only_chronos, gpu_only_timesfm,
    /// hybrid_chronos_ttm or multi_device_full.
    #[arg(long, global = true, value_name = "NAME")]
    pub preset: Option<String>,

    /// Length of the warm-up in seconds.
    #[arg(long, global = true, value_name = "SECONDS")]
    pub warmup: Option<String>,

    /// Forecasting model for both terms: foresight, chronos, timesfm, ttm, toto, time_moe, a folder, OWNER/NAME, or an address.
    #[arg(long, global = true, value_name = "NAME")]
    pub model: Option<String>,

    /// Device for the model.
    #[arg(long, global = true, value_name = "NAME")]
    pub device: Option<String>,

    /// Serve HTTP: on (127.0.0.1:8037), a port of 127.0.0.1, ADDRESS:PORT, or off.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub http_listen: Option<String>,

    /// The file with the token that HTTP callers have to show.
    #[arg(long, global = true, value_name = "FILE")]
    pub http_token_file: Option<String>,

    /// The OpenTelemetry collector to send metrics to, such as http://127.0.0.1:4318.
    #[arg(long, global = true, value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// The NATS server for readings of many nodes, such as nats://127.0.0.1:4222, or off.
    #[arg(long, global = true, value_name = "URL")]
    pub nats: Option<String>,

    /// How much to log: error, warning, info, debug, trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,

    /// Write down measurements, forecasts, weights and answers, one JSON object on a line, for `replay`.
    #[arg(long, global = true, num_args = 0, default_missing_value = "true")]
    pub debug_trace: Option<String>,

    /// The file for that, instead of debug.jsonl in the state directory.
    #[arg(long, global = true, value_name = "FILE")]
    pub debug_log_file: Option<String>,

    /// Where the clock page is instead of the standard place.
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<String>,

    /// Where what was learned is kept over restarts.
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<String>,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measure and publish until stopped.
    Run,
    /// Corrected time now, or in the future; without a daemon it measures once by itself and says so.
    Now(Now),
    /// What an operator looks at first.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The sources, in chrony's columns and signs.
    Sources(Columns),
    /// Drift and scatter of each source against corrected time, in chrony's columns.
    Sourcestats(Columns),
    /// What selection makes of each source and why, in chrony's columns.
    Selectdata(Columns),
    /// The clock, in chrony's fields and signs.
    Tracking(Columns),
    /// What each server's newest answer said, in chrony's fields.
    Ntpdata(Columns),
    /// How the answers of each source are proven, in chrony's columns: by NTS, by a symmetric key, or not at all.
    Authdata(Columns),
    /// How many sources there are of each kind.
    Activity(Columns),
    /// What was counted of those who ask this node for the time, in chrony's fields.
    Serverstats(Columns),
    /// Other nodes: how far their corrected time is from ours, and within what for certain.
    Peers(Columns),
    /// Wait until the clock is synced, as `chronyc waitsync` does; exit code 1 if it is not after so many tries.
    Waitsync(Waitsync),
    /// Why the bound is what it is: each term, by source.
    Explain {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// The same and its history, live in the terminal; lines of text where there is no terminal.
    Watch(super::watch::Watch),
    /// What was: the offset of the system clock at a past reading, stretches of time, exports.
    #[command(subcommand)]
    History(super::history::HistoryCommand),
    /// The audit log: verify it, and attest what it says of a stretch of time.
    #[command(subcommand)]
    Audit(super::audit::AuditCommand),
    /// Judge the clock: drift, health, battery-backed clock, time service, reports.
    ///
    /// Exit codes: 0 healthy, 1 warning, 2 critical, 3 unknown.
    #[command(subcommand)]
    Monitor(MonitorCommand),
    /// Check, show or write the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Serve agents over the Model Context Protocol on stdin and stdout.
    Mcp(Mcp),
    /// One line of time context, for the prompt hooks of agents' hosts.
    Hook(Hook),
    /// Run the daemon as a service of this machine, or of yourself: systemd on Linux, launchd on macOS.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Completions of this command line, for a shell to read.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The manual page, or with a folder the pages of all commands.
    Man {
        /// Where the pages go.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Let the engine live through simulated worlds and score it against their truth.
    Simulate(Simulate),
    /// Replay recorded exchanges through the engine, and score it where the truth lies beside them; or a debug trace, to
    /// prove that the engine answers the same again.
    Replay(Replay),
    /// Observe corrected time with time servers of one's own: a row a second, a query a minute.
    Validate(super::experiment::Validate),
    /// Judge what observers wrote down: errors, improvements with their intervals, pictures.
    Compare(super::experiment::Compare),
    /// The same daemon and the same experiment on many hosts, over ssh.
    ///
    /// Exit code: how many hosts failed, at most 100; 125 if nothing could be begun, as with an inventory that is wrong.
    #[command(subcommand)]
    Fleet(super::fleet::FleetCommand),
    /// Score everything at once: all built-in worlds, and every trace of the folders that are named.
    Score(Score),
    /// The forecasting models: fetch, show, check, time and remove checkpoints.
    ///
    /// A MODEL is a name from `models list`, a repository of the hub (OWNER/NAME or OWNER/NAME@REVISION), a folder with a
    /// checkpoint, or the address of a server of your own.
    #[cfg(feature = "models")]
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Train ChronoTick's own forecasting model on simulated clocks, or judge one in other worlds.
    #[cfg(feature = "models")]
    Train(Train),
    /// NTP for nodes that reach no server by themselves: each UDP port leads to one server outside.
    Relay(super::relay::Relay),
    /// A simulated clock and four servers on loopback, one of them lying: estimate, bound and truth side by side.
    Demo(Demo),
    /// Run a program for each event on standard input: what the daemon starts for `monitor.command_file`.
    #[command(hide = true)]
    RunForEvents {
        /// The program.
        program: PathBuf,
    },
}

/// What `train` can be asked.
#[cfg(feature = "models")]
#[derive(Args, Debug)]
pub struct Train {
    /// The recipe: network, worlds, steps (TOML).
    #[arg(long, value_name = "FILE", requires = "out", required_unless_present = "evaluate")]
    pub recipe: Option<PathBuf>,
    /// Where the weights, the checkpoint, the losses and the simulated worlds go.
    #[arg(long, value_name = "DIR", requires = "recipe")]
    pub out: Option<PathBuf>,
    /// Go on from the checkpoint in the folder.
    #[arg(long, requires = "recipe")]
    pub resume: bool,
    /// Steps in all, instead of the recipe's.
    #[arg(long, value_name = "N", requires = "recipe")]
    pub steps: Option<usize>,
    /// Seed, instead of the recipe's; or of the first world of each scenario to judge by.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Judge the model of this folder, or the one that comes with the program (`embedded`), instead of training one.
    #[arg(long, value_name = "DIR", conflicts_with = "recipe")]
    pub evaluate: Option<PathBuf>,
    /// Worlds of each scenario to judge by.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "evaluate")]
    pub seeds: u64,
    /// Scenarios to judge by, instead of eighteen built-in ones.
    #[arg(value_name = "SCENARIO", requires = "evaluate")]
    pub scenarios: Vec<String>,
}

/// What `now` can be asked.
#[derive(Args, Debug)]
pub struct Now {
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
    /// The time so many seconds from now, and how wrong that may be, as far as is known now.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0", allow_negative_numbers = true)]
    pub future: f64,
}

/// How a view that follows chrony's is shown.
#[derive(Args, Clone, Copy, Debug)]
pub struct Columns {
    /// With a legend, and with what chrony hides.
    #[arg(long, short)]
    pub verbose: bool,
    /// Addresses instead of names.
    #[arg(long, short)]
    pub numeric: bool,
    /// With the names that have no address yet.
    #[arg(long, short)]
    pub all: bool,
    /// Fields separated by commas, in chrony's order.
    #[arg(long, short = 'c')]
    pub csv: bool,
    /// One JSON object.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
}

/// What is waited for, in chrony's order.
#[derive(Args, Clone, Copy, Debug)]
pub struct Waitsync {
    /// How often to look; 0 for ever.
    #[arg(default_value_t = 0)]
    pub tries: u32,
    /// How many seconds the system clock may be off; 0 for any.
    #[arg(default_value_t = 0.0)]
    pub max_correction: f64,
    /// How uncertain its frequency may be, in ppm; 0 for any.
    #[arg(default_value_t = 0.0)]
    pub max_skew: f64,
    /// Seconds from one look to the next.
    #[arg(default_value_t = 10.0, value_parser = interval)]
    pub interval: f64,
}

/// What can be done with the configuration.
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Read a file and tell all that is wrong with it; exit code 1 if anything is.
    Check {
        /// The file; without it the one that `run` would use.
        file: Option<PathBuf>,
    },
    /// Every setting in force, and where it comes from.
    Show {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write a commented file with the defaults.
    Init {
        /// Where to; without it the user's own configuration file.
        #[arg(long)]
        path: Option<PathBuf>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
}

/// What can be done with models.
#[cfg(feature = "models")]
#[derive(Subcommand, Debug)]
pub enum ModelsCommand {
    /// The models that are known to work, and what is in the cache.
    List {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Fetch a checkpoint into the cache, or go on where a download broke off; every checksum is compared.
    Pull {
        /// A repository of the hub, or a name from `models list`.
        #[arg(value_name = "MODEL")]
        reference: Reference,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// What a model is and can do, where it is and where it comes from.
    Show {
        /// Folder, repository, name or address.
        #[arg(value_name = "MODEL")]
        reference: Reference,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Replay the recorded cases of checkpoint folders, and put an address's answers to the test; exit code 1 if any
    /// is beyond tolerance.
    Check {
        /// Folders with `config.json`, the weights and `cases.json`; or addresses.
        #[arg(value_name = "DIR", required = true)]
        models: Vec<String>,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// How long a forecast takes, and how much memory the model.
    Bench(Bench),
    /// Remove a revision from the cache, and what only it uses.
    Remove {
        /// A repository of the hub, or a name from `models list`.
        #[arg(value_name = "MODEL")]
        reference: Reference,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// What is timed.
#[cfg(feature = "models")]
#[derive(Args, Debug)]
pub struct Bench {
    /// Folder, repository, name or address.
    #[arg(value_name = "MODEL")]
    pub reference: Reference,
    /// How many points of the past it sees; without this and a horizon, both of the daemon's questions are timed.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub context: Option<u32>,
    /// How many steps it looks ahead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub horizon: Option<u32>,
    /// How often it is asked, after three times that do not count.
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Which worlds.
#[derive(Args, Debug)]
#[command(after_long_help = columns())]
pub struct Simulate {
    /// Names of built-in scenarios, or TOML files; all built-in ones without any.
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// How many different worlds to make of each scenario.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// How the scores are shown.
    #[command(flatten)]
    pub show: Show,
}

/// Which recordings.
#[derive(Args, Debug)]
#[command(after_long_help = columns())]
pub struct Replay {
    /// Packets files, gzipped or not, or their paths without `.packets.csv`; or debug traces.
    #[arg(value_name = "TRACE", required = true)]
    pub traces: Vec<PathBuf>,
    /// Write `raw,correction,sd` at every 10 s of the raw clock, each from what had arrived by then.
    #[arg(long, value_name = "OUT.csv")]
    pub ticks: Option<PathBuf>,
    /// How the scores are shown.
    #[command(flatten)]
    pub show: Show,
}

/// What to score.
#[derive(Args, Debug)]
#[command(after_long_help = columns())]
pub struct Score {
    /// Folders of traces.
    #[arg(value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// How many different worlds to make of each built-in scenario.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub seeds: u64,
    /// How the scores are shown.
    #[command(flatten)]
    pub show: Show,
}

/// What the columns of a table of scores are.
fn columns() -> String {
    let line = |(heading, meaning): &(&str, &str)| format!("\n  {heading:<16} {meaning}");
    format!("Columns:{}", chronotick_sim::report::COLUMNS.iter().map(line).collect::<String>())
}

/// How scores are shown, beside the table.
#[derive(Args, Debug)]
pub struct Show {
    /// One JSON object instead of the table.
    #[arg(long)]
    pub json: bool,
    /// Write a self-contained page with plots.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write each plot as an SVG file into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub plots: Option<PathBuf>,
}

/// How the demonstration runs.
#[derive(Args, Debug)]
pub struct Demo {
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: Option<u32>,
    /// One JSON object a second instead of a table.
    #[arg(long)]
    pub json: bool,
    /// The live view of `chronotick watch` instead of a table.
    #[arg(long, conflicts_with_all = ["json", "seconds"])]
    pub watch: bool,
}

impl From<&Arguments> for crate::config::Overrides {
    fn from(arguments: &Arguments) -> Self {
        Self {
            ntp_servers: arguments.ntp_servers.clone(),
            reference_clocks: arguments.reference_clocks.clone(),
            peers: arguments.peers.clone(),
            preset: arguments.preset.clone(),
            warmup: arguments.warmup.clone(),
            model: arguments.model.clone(),
            device: arguments.device.clone(),
            http_listen: arguments.http_listen.clone(),
            http_token_file: arguments.http_token_file.clone(),
            otlp_endpoint: arguments.otlp_endpoint.clone(),
            nats: arguments.nats.clone(),
            log_level: arguments.log_level.clone(),
            debug_trace: arguments.debug_trace.clone(),
            debug_log_file: arguments.debug_log_file.clone(),
            runtime_dir: arguments.runtime_dir.clone(),
            state_dir: arguments.state_dir.clone(),
        }
    }
}

fn interval(text: &str) -> Result<f64, String> {
    seconds(text).map(|seconds| seconds.max(0.1))
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    match seconds {
        0.0..=31_557_600.0 => Ok(seconds),
        _ => Err("between 0 and 31557600 seconds (a year) can be foretold".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["-1", "NaN", "inf", "soon", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(seconds("30"), Ok(30.0));
    }
}
