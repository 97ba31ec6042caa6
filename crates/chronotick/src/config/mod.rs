//! The configuration: what can be set, from where, and what it is when nothing is set.
//!
//! In come a YAML file, environment variables and flags; out comes a [`Config`] that is valid, with the origin of
//! every value, or *all* the errors at once, each with its line and its mend. A flag wins over an environment
//! variable, that over the file, and that over the default. Files of the original ChronoTick are understood: what has
//! no effect any more is named in a warning.
//!
//! ```
//! use chronotick::config::{Config, Overrides};
//! let no_variables = |_: &str| None;
//! let overrides = Overrides { ntp_servers: Some("ntp1.example, ntp2.example:1123".into()), ..Overrides::default() };
//! let loaded = Config::load(&overrides, &no_variables, None)?;
//! assert_eq!(loaded.config.ntp.servers[1].port(), 1123);
//! # Ok::<(), chronotick::config::Invalid>(())
//! ```

mod bus;
mod discipline;
mod finding;
mod http;
mod inventory;
mod layers;
mod leap;
mod mcp;
mod monitor;
mod obsolete;
mod otlp;
mod preset;
mod read;
mod record;
mod refclock;
mod serve;
mod server;
mod settings;
mod template;
mod time_server;
mod yaml;

pub use bus::{Bus, NatsAddress, NodeName};
pub use discipline::{Correction, Discipline};
pub use finding::{Finding, Invalid, Origin, Problem};
pub use http::Http;
pub use inventory::{Experiment, FleetHost, Inventory};
pub use layers::{Effective, Loaded, Overrides, search_paths};
pub use mcp::Mcp;
pub use monitor::{MetricName, Monitoring, ProfileName};
pub use otlp::{Collector, Otlp};
pub use preset::Preset;
pub(crate) use read::in_words;
pub use record::{Audit, History};
pub use refclock::{InvalidClock, Kind, ReferenceClock};
pub use serve::{Listen, Serve, ServeNtp, ServeNts};
pub use server::{InvalidServer, ServerAddress};
pub use template::default_file;
pub(crate) use time_server::with_relays;
pub use time_server::{InvalidTimeServer, Security, TimeServer};

use chronotick_clock::Span;
use std::path::PathBuf;

/// Everything that can be set. [`Default`] is what holds where nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the settings of the models are where they are not set.
    pub preset: Preset,
    /// The time servers and what is expected of them.
    pub ntp: Ntp,
    /// Reference clocks of this machine; no two of one name.
    pub reference_clocks: Vec<ReferenceClock>,
    /// Other nodes that are measured directly, by the addresses of their NTP servers; a name may stand for several.
    pub peers: Vec<TimeServer>,
    /// How often they are polled.
    pub timing: Timing,
    /// The model for the next seconds.
    pub short_term: Model,
    /// The model for the next minutes.
    pub long_term: Model,
    /// How forecasts are put together.
    pub fusion: Fusion,
    /// What the models may take.
    pub inference: Inference,
    /// Whether temperature, load and the like of this machine are measured, for the models and for a regression on them.
    pub covariates: bool,
    /// The HTTP server.
    pub http: Http,
    /// The export of metrics.
    pub otlp: Otlp,
    /// What is told to other nodes.
    pub bus: Bus,
    /// What is served to others.
    pub serve: Serve,
    /// What is kept of the past.
    pub history: History,
    /// The door for agents.
    pub mcp: Mcp,
    /// The audit log.
    pub audit: Audit,
    /// Whether and how the system clock is corrected.
    pub discipline: Discipline,
    /// Within which limits.
    pub correction: Correction,
    /// The monitor.
    pub monitor: Monitoring,
    /// What is logged.
    pub log_level: LogLevel,
    /// Whether everything that goes into the engine and out of it is written down.
    pub debug_trace: bool,
    /// Where to; a file that is named here is written in any case.
    pub debug_log_file: Option<PathBuf>,
    /// Whether the daemon confines itself.
    pub sandbox: Sandbox,
    /// Where the clock page and the sockets are; absolute.
    pub runtime_dir: PathBuf,
    /// Where the history and what was learned of the clock are kept; absolute.
    pub state_dir: PathBuf,
}

/// The time servers and what is expected of them (`clock_measurement.ntp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntp {
    /// No two are equal; at least one, unless there is a reference clock.
    pub servers: Vec<TimeServer>,
    /// The certificates that NTS trusts, instead of the system's.
    pub nts_ca_file: Option<PathBuf>,
    /// The file of symmetric keys, for servers that are asked with one and for clients that ask with one.
    pub keys_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Span,
    /// The half-width of the bound up to which time is called synced.
    pub max_acceptable_uncertainty: Span,
    /// How much of the fastest round trip one way may take longer than the other, in thousandths: what the narrow bound
    /// assumes; 0 for none.
    pub path_asymmetry_permille: u32,
}

/// How often the servers are polled (`clock_measurement.timing`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For so long after the start every server is polled at `min_interval`; may be zero.
    pub warm_up: Span,
    /// The shortest interval between two polls of one server.
    pub min_interval: Span,
    /// The longest interval between two polls of one server; not below `min_interval`.
    pub max_interval: Span,
}

/// A time-series model and when it is asked (`short_term`, `long_term`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Which.
    pub model_name: ModelName,
    /// Where it runs.
    pub device: Device,
    /// Whether it is asked at all.
    pub enabled: bool,
    /// From one forecast to the next.
    pub inference_interval: Span,
    /// How far ahead a forecast reaches.
    pub prediction_horizon: Span,
    /// How many points of the past it sees.
    pub context_length: u32,
}

/// How forecasts are put together (`fusion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fusion {
    /// Whether models have a say beside the statistical engine.
    pub enabled: bool,
    /// How they are weighted.
    pub method: FusionMethod,
    /// A forecast with a larger standard deviation is left out.
    pub uncertainty_threshold: Span,
}

/// What the models may take of the machine (`inference`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inference {
    /// The most of one processor, in percent; forecasts become rarer where they would take more.
    pub cpu_percent: u32,
}

/// A model, as it is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelName {
    /// The checkpoint of a family that is meant by the family's name.
    Family(Family),
    /// A folder, a repository of the hub (`OWNER/NAME`), or an address (`http://127.0.0.1:PORT/…`).
    Reference(String),
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelName::Family(family) => family.fmt(f),
            ModelName::Reference(text) => f.pad(text),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $($word:literal)|+,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $crate::config::read::Word for $name {
            const WORDS: &'static [(&'static str, $name)] = &[$($(($word, $name::$variant),)+)*];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::config::read::Word::word(*self))
            }
        }
    };
}

pub(crate) use words;

words! {
    /// A family of time-series models.
    Family {
        /// The model that comes with the program.
        Foresight = "foresight",
        /// Chronos-Bolt.
        Chronos = "chronos",
        /// TimesFM.
        TimesFm = "timesfm",
        /// TinyTimeMixer.
        Ttm = "ttm",
        /// Toto.
        Toto = "toto",
        /// Time-MoE.
        TimeMoe = "time_moe" | "time-moe" | "timemoe",
    }
}
words! {
    /// Where a model runs.
    Device {
        /// On the processor.
        Cpu = "cpu",
        /// On an NVIDIA GPU.
        Cuda = "cuda" | "gpu",
        /// On an Apple GPU.
        Mps = "mps" | "metal",
    }
}
words! {
    /// How forecasts are weighted.
    FusionMethod {
        /// By the inverse of their calibrated variances.
        InverseVariance = "inverse_variance",
    }
}
words! {
    /// Whether the daemon confines itself to the files that it is configured for, and to the system calls of its work.
    Sandbox {
        /// As far as the kernel can.
        Auto = "auto",
        /// Or it does not start.
        On = "on" | "true" | "yes",
        /// Not at all.
        Off = "off" | "false" | "no",
    }
}
words! {
    /// The least important messages that are logged.
    LogLevel {
        /// What stopped the program from doing its work.
        Error = "ERROR",
        /// What someone should look at.
        Warning = "WARNING" | "WARN",
        /// What happened that matters.
        Info = "INFO",
        /// Measurements and decisions.
        Debug = "DEBUG",
        /// Everything.
        Trace = "TRACE",
    }
}

impl Config {
    /// SHA-256 of every setting in effect: two daemons of one version with the same digest do the same.
    pub fn digest(&self) -> String {
        let line = |setting: &settings::Setting| format!("{}={}\n", setting.key, (setting.get)(self));
        chronotick_record::digest(settings::all().map(line).collect::<String>().as_bytes())
    }

    /// What a process may measure beside a daemon, or before one: without the clocks that one program has to own.
    pub fn shared(mut self) -> Config {
        self.reference_clocks.retain(ReferenceClock::is_shared);
        self.peers.clear();
        self
    }

    /// Where the debug trace goes, if one is to be written.
    pub fn trace_file(&self) -> Option<PathBuf> {
        let usual = || self.debug_trace.then(|| self.state_dir.join("debug.jsonl"));
        self.debug_log_file.clone().or_else(usual)
    }
}

impl Default for Config {
    fn default() -> Config {
        // One family of leap-second handling: time.google.com, in the original's list, smears; these do not.
        let servers = ["pool.ntp.org", "time.cloudflare.com", "time.nist.gov"];
        let model = |family, interval, horizon, context_length| Model {
            model_name: ModelName::Family(family),
            device: Device::Cpu,
            enabled: true,
            inference_interval: Span::from_secs(interval),
            prediction_horizon: Span::from_secs(horizon),
            context_length,
        };
        Config {
            preset: Preset::Embedded,
            ntp: Ntp {
                servers: servers.map(|name| name.parse().expect("a default is valid")).to_vec(),
                nts_ca_file: None,
                keys_file: None,
                timeout: Span::from_secs(2),
                max_acceptable_uncertainty: Span::from_millis(100),
                path_asymmetry_permille: 10,
            },
            reference_clocks: Vec::new(),
            peers: Vec::new(),
            timing: Timing {
                warm_up: Span::from_secs(180),
                min_interval: Span::from_secs(1),
                max_interval: Span::from_secs(10),
            },
            short_term: model(Family::Chronos, 1, 5, 100),
            long_term: model(Family::Foresight, 30, 60, 300),
            fusion: Fusion {
                enabled: true,
                method: FusionMethod::InverseVariance,
                uncertainty_threshold: Span::from_millis(50),
            },
            inference: Inference { cpu_percent: 10 },
            covariates: true,
            http: Http::default(),
            otlp: Otlp::default(),
            bus: Bus::default(),
            serve: Serve::default(),
            history: History::default(),
            mcp: Mcp::default(),
            audit: Audit::default(),
            discipline: Discipline::default(),
            correction: Correction::default(),
            monitor: Monitoring::default(),
            log_level: LogLevel::Info,
            debug_trace: false,
            debug_log_file: None,
            sandbox: Sandbox::Auto,
            runtime_dir: chronotick_clock::runtime_dir(),
            state_dir: PathBuf::from("/var/lib/chronotick"),
        }
    }
}
