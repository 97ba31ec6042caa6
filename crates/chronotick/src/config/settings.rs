//! Every setting there is: its key, what it means, how it is read and shown, and its environment variable and flag.
//!
//! This one table is what files, variables and flags are read by, what `config show` prints and what `config init`
//! writes.

use super::finding::Fault;
use super::read::{Shown, clocks, count, directory, file, model, seconds, servers, switch, word};
use super::yaml::Node;
use super::{Config, Overrides, bus, discipline, http, mcp, monitor, otlp, record, serve};
use chronotick_clock::Span;
use serde_json::Value;

pub(super) struct Setting {
    /// The path of the key in the file.
    pub(super) key: &'static str,
    /// What it means, in one sentence.
    pub(super) doc: &'static str,
    /// Where else it can be set.
    pub(super) outside: Option<&'static Outside>,
    pub(super) set: fn(&mut Config, &Node) -> Result<(), Vec<Fault>>,
    pub(super) get: fn(&Config) -> Value,
}

/// An environment variable and a flag that mean the same.
pub(super) struct Outside {
    pub(super) environment: &'static str,
    pub(super) flag: &'static str,
    pub(super) of: fn(&Overrides) -> Option<&str>,
}

macro_rules! outside {
    ($($name:ident = $environment:literal, $flag:literal, $field:ident;)*) => {
        $(pub(super) const $name: Option<&Outside> = Some(&Outside {
            environment: $environment,
            flag: $flag,
            of: |overrides| overrides.$field.as_deref(),
        });)*
    };
}

outside! {
    SERVERS = "CHRONOTICK_NTP_SERVERS", "--ntp-servers", ntp_servers;
    PEERS = "CHRONOTICK_PEERS", "--peers", peers;
    CLOCKS = "CHRONOTICK_REFERENCE_CLOCKS", "--reference-clocks", reference_clocks;
    PRESET = "CHRONOTICK_PRESET", "--preset", preset;
    WARM_UP = "CHRONOTICK_WARMUP", "--warmup", warmup;
    MODEL = "CHRONOTICK_MODEL", "--model", model;
    DEVICE = "CHRONOTICK_DEVICE", "--device", device;
    HTTP_LISTEN = "CHRONOTICK_HTTP_LISTEN", "--http-listen", http_listen;
    HTTP_TOKEN_FILE = "CHRONOTICK_HTTP_TOKEN_FILE", "--http-token-file", http_token_file;
    OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "--otlp-endpoint", otlp_endpoint;
    BUS_NATS = "CHRONOTICK_NATS", "--nats", nats;
    LOG_LEVEL = "CHRONOTICK_LOG_LEVEL", "--log-level", log_level;
    DEBUG_TRACE = "CHRONOTICK_DEBUG_TRACE", "--debug-trace", debug_trace;
    DEBUG_LOG_FILE = "CHRONOTICK_DEBUG_LOG_FILE", "--debug-log-file", debug_log_file;
    RUNTIME_DIR = "CHRONOTICK_RUNTIME_DIR", "--runtime-dir", runtime_dir;
    STATE_DIR = "CHRONOTICK_STATE_DIR", "--state-dir", state_dir;
}

macro_rules! setting {
    ($key:expr, $outside:expr, $($place:ident).+, $read:expr, $doc:expr) => {
        Setting {
            key: $key,
            doc: $doc,
            outside: $outside,
            set: |config, node| {
                config.$($place).+ = $read(node).map_err(|fault| $crate::config::finding::faults(fault, node.line))?;
                Ok(())
            },
            get: |config| $crate::config::read::Shown::shown(&config.$($place).+),
        }
    };
}

pub(super) use setting;

macro_rules! model_settings {
    ($section:literal, $place:ident) => {
        [
            setting!(
                concat!($section, ".model_name"),
                MODEL,
                $place.model_name,
                model,
                "Which: foresight, chronos, timesfm, ttm, toto, time_moe, a folder, OWNER/NAME on the hub, or an address."
            ),
            setting!(
                concat!($section, ".device"),
                DEVICE,
                $place.device,
                word,
                "Where it runs: cpu, cuda or mps."
            ),
            setting!(
                concat!($section, ".enabled"),
                None,
                $place.enabled,
                switch,
                "Whether it is asked at all."
            ),
            setting!(
                concat!($section, ".inference_interval"),
                None,
                $place.inference_interval,
                |node| seconds(node, Span::from_millis(10)..=DAY),
                "Seconds from one forecast to the next."
            ),
            setting!(
                concat!($section, ".prediction_horizon"),
                None,
                $place.prediction_horizon,
                |node| seconds(node, Span::from_millis(10)..=DAY),
                "How many seconds a forecast reaches ahead."
            ),
            setting!(
                concat!($section, ".context_length"),
                None,
                $place.context_length,
                |node| count(node, 16..=16_384),
                "How many points of the past it sees."
            ),
        ]
    };
}

const DAY: Span = Span::from_secs(86_400);

/// The setting that others follow.
pub(super) const PRESET_KEY: &str = "preset";

/// Every setting, in the order of a written file.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    let models = SHORT_TERM.iter().chain(&LONG_TERM);
    let engine = BEFORE_MODELS.iter().chain(models).chain(&AFTER_MODELS);
    let doors = serve::SETTINGS
        .iter()
        .chain(&http::SETTINGS)
        .chain(&mcp::SETTINGS)
        .chain(&otlp::SETTINGS)
        .chain(&bus::SETTINGS);
    let past = record::SETTINGS.iter().chain(&discipline::SETTINGS);
    engine.chain(doors).chain(&monitor::SETTINGS).chain(past)
}

static SHORT_TERM: [Setting; 6] = model_settings!("short_term", short_term);
static LONG_TERM: [Setting; 6] = model_settings!("long_term", long_term);

static BEFORE_MODELS: [Setting; 12] = [
    setting!(
        PRESET_KEY,
        PRESET,
        preset,
        word,
        "Values for the models' settings that are left out: minimal, embedded, cpu_only_chronos, gpu_only_timesfm, hybrid_chronos_ttm, multi_device_full."
    ),
    Setting {
        key: "clock_measurement.ntp.servers",
        doc: "The time sources: host, host:port, or \"[IPv6]:port\", each with options: nts, ntsport PORT, fallback, key NUMBER, xleave, prefer, trust, require, noselect. Four or more can outvote a liar.",
        outside: SERVERS,
        set: |config, node| {
            config.ntp.servers = servers(node)?;
            Ok(())
        },
        get: |config| config.ntp.servers.shown(),
    },
    setting!(
        "clock_measurement.ntp.nts_ca_file",
        None,
        ntp.nts_ca_file,
        file,
        "The certificates (PEM) that NTS trusts, instead of the system's."
    ),
    setting!(
        "clock_measurement.ntp.keys_file",
        None,
        ntp.keys_file,
        file,
        "The file of symmetric keys in chrony's format (NUMBER TYPE KEY), for servers with the option key and for clients of serve.ntp; nobody else may read it."
    ),
    setting!(
        "clock_measurement.ntp.timeout_seconds",
        None,
        ntp.timeout,
        |node| seconds(node, Span::from_millis(10)..=Span::from_secs(30)),
        "How many seconds an answer may take."
    ),
    setting!(
        "clock_measurement.ntp.max_acceptable_uncertainty",
        None,
        ntp.max_acceptable_uncertainty,
        |node| seconds(node, Span::from_nanos(1_000)..=Span::from_secs(1)),
        "A bound wider than this many seconds to either side is not called synced."
    ),
    setting!(
        "clock_measurement.ntp.path_asymmetry_permille",
        None,
        ntp.path_asymmetry_permille,
        |node| count(node, 0..=250),
        "The narrow bound assumes that one way takes at most so many thousandths of the fastest round trip longer; 0 for none."
    ),
    Setting {
        key: "clock_measurement.peers",
        doc: "Other nodes that run ChronoTick and serve NTP: host or host:port; a name may have an address for each node.",
        outside: PEERS,
        set: |config, node| {
            config.peers = servers(node)?;
            Ok(())
        },
        get: |config| config.peers.shown(),
    },
    Setting {
        key: "clock_measurement.reference_clocks",
        doc: "Reference clocks of this machine, each a line as in chrony.conf: SHM 0 refid GPS delay 0.2 noselect.",
        outside: CLOCKS,
        set: |config, node| {
            config.reference_clocks = clocks(node)?;
            Ok(())
        },
        get: |config| config.reference_clocks.shown(),
    },
    setting!(
        "clock_measurement.timing.warm_up.duration_seconds",
        WARM_UP,
        timing.warm_up,
        |node| seconds(node, Span::ZERO..=DAY),
        "For so many seconds after the start the servers are polled at the interval below."
    ),
    setting!(
        "clock_measurement.timing.warm_up.measurement_interval",
        None,
        timing.min_interval,
        |node| seconds(node, Span::from_millis(10)..=DAY),
        "The shortest interval between two polls of one server, in seconds."
    ),
    setting!(
        "clock_measurement.timing.normal_operation.measurement_interval",
        None,
        timing.max_interval,
        |node| seconds(node, Span::from_millis(10)..=DAY),
        "The longest interval between two polls of one server, in seconds."
    ),
];

static AFTER_MODELS: [Setting; 11] = [
    setting!(
        "fusion.enabled",
        None,
        fusion.enabled,
        switch,
        "Whether the models' forecasts are fused with the statistical one."
    ),
    setting!(
        "fusion.method",
        None,
        fusion.method,
        word,
        "How they are weighted: inverse_variance, gated by measured skill."
    ),
    setting!(
        "fusion.uncertainty_threshold",
        None,
        fusion.uncertainty_threshold,
        |node| seconds(node, Span::from_nanos(1)..=Span::from_secs(1)),
        "A forecast that is less certain than this many seconds is left out."
    ),
    setting!(
        "inference.cpu_percent",
        None,
        inference.cpu_percent,
        |node| count(node, 1..=100),
        "The most that the models may take of one processor, in percent; forecasts become rarer to keep to it."
    ),
    setting!(
        "covariates.enabled",
        None,
        covariates,
        switch,
        "Whether temperature, load and the like of this machine are measured, and the frequency is regressed on them."
    ),
    setting!(
        "logging.level",
        LOG_LEVEL,
        log_level,
        word,
        "What is logged: ERROR, WARNING, INFO, DEBUG or TRACE."
    ),
    setting!(
        "logging.debug_trace",
        DEBUG_TRACE,
        debug_trace,
        switch,
        "Whether measurements, forecasts, weights and answers are written down, one JSON object on a line; `replay` reads it."
    ),
    setting!(
        "logging.debug_log_file",
        DEBUG_LOG_FILE,
        debug_log_file,
        file,
        "The file for that, which is then written in any case; debug.jsonl in the state directory where none is named."
    ),
    setting!(
        "daemon.sandbox",
        None,
        sandbox,
        word,
        "Whether the daemon confines itself to its own files and system calls: auto (as far as the kernel can), on (or it does not start), off."
    ),
    setting!(
        "runtime_dir",
        RUNTIME_DIR,
        runtime_dir,
        directory,
        "Where the clock page and the sockets are. Readers look in the usual places, or in $CHRONOTICK_RUNTIME_DIR."
    ),
    setting!(
        "state_dir",
        STATE_DIR,
        state_dir,
        directory,
        "Where the history and what was learned of the clock are kept."
    ),
];
