//! How defaults, file, environment and flags become one configuration that remembers where each value is from.

use super::finding::{Fault, Finding, Invalid, Origin, Problem};
use super::preset::Preset;
use super::read::{Word as _, closest, excerpt, in_seconds, word, wrong_kind};
use super::settings::{self, Setting};
use super::yaml::{self, Content, Node};
use super::{Config, Security, TimeServer, http, leap, obsolete, refclock, serve};
use chronotick_core::Role;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the command line says, each as it is written there; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--ntp-servers`: separated by commas.
    pub ntp_servers: Option<String>,
    /// `--reference-clocks`: separated by commas.
    pub reference_clocks: Option<String>,
    /// `--peers`: separated by commas.
    pub peers: Option<String>,
    /// `--preset`.
    pub preset: Option<String>,
    /// `--warmup`: in seconds.
    pub warmup: Option<String>,
    /// `--model`: of both terms.
    pub model: Option<String>,
    /// `--device`: of both terms.
    pub device: Option<String>,
    /// `--http-listen`.
    pub http_listen: Option<String>,
    /// `--http-token-file`.
    pub http_token_file: Option<String>,
    /// `--otlp-endpoint`.
    pub otlp_endpoint: Option<String>,
    /// `--nats`.
    pub nats: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--debug-trace`.
    pub debug_trace: Option<String>,
    /// `--debug-log-file`.
    pub debug_log_file: Option<String>,
    /// `--runtime-dir`.
    pub runtime_dir: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<String>,
}

impl Overrides {
    /// The flags that say something.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags: Vec<_> = settings::all()
            .filter_map(|setting| setting.outside)
            .filter(|outside| (outside.of)(self).is_some())
            .map(|outside| outside.flag)
            .collect();
        // One flag may set several settings.
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

/// A valid configuration, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What is worth knowing: settings without effect, servers that do not go together.
    pub warnings: Vec<Finding>,
    /// In the order of `settings::all`.
    origins: Vec<Origin>,
}

/// One setting in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective<'a> {
    /// The path of its key.
    pub key: &'static str,
    /// Its value; lengths of time in seconds.
    pub value: Value,
    /// Where it was set.
    pub origin: &'a Origin,
}

impl Loaded {
    /// Every setting with its value and its origin, in the order of a written file.
    pub fn settings(&self) -> impl Iterator<Item = Effective<'_>> {
        settings::all().zip(&self.origins).map(|(setting, origin)| Effective {
            key: setting.key,
            value: (setting.get)(&self.config),
            origin,
        })
    }
}

impl Config {
    /// Puts the configuration together: flags over environment over file over preset over defaults.
    ///
    /// The file is the one that is given, or that `CHRONOTICK_CONFIG` names, or the first of [`search_paths`] that
    /// exists; that there is none is fine. A variable that is empty counts as not set. The variables are
    /// `CHRONOTICK_NTP_SERVERS` (separated by commas), `CHRONOTICK_REFERENCE_CLOCKS` (by commas), `CHRONOTICK_PEERS` (by commas),
    /// `CHRONOTICK_PRESET`, `CHRONOTICK_WARMUP` (seconds),
    /// `CHRONOTICK_MODEL`, `CHRONOTICK_DEVICE`, `CHRONOTICK_HTTP_LISTEN`, `CHRONOTICK_HTTP_TOKEN_FILE`,
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `CHRONOTICK_NATS`, `CHRONOTICK_LOG_LEVEL`, `CHRONOTICK_DEBUG_TRACE`,
    /// `CHRONOTICK_DEBUG_LOG_FILE`, `CHRONOTICK_RUNTIME_DIR` and `CHRONOTICK_STATE_DIR`; the
    /// default of the state directory follows systemd's and the XDG specification's variables, that of the runtime
    /// directory is [`chronotick_clock::runtime_dir`].
    ///
    /// # Errors
    ///
    /// All that is wrong, in every layer: unknown keys, impossible values, an unreadable file.
    pub fn load(
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Loaded, Invalid> {
        let variable = |name: &str| set(environment, name);
        let mut draft = Draft::new();
        draft.usual_state_dir(&variable);
        let named = file.map(Path::to_owned).or_else(|| variable("CHRONOTICK_CONFIG").map(PathBuf::from));
        let found = named.or_else(|| search_paths(&variable).into_iter().find(|path| path.exists()));
        let root = found.and_then(|path| draft.read_file(path));
        let said = overrides.preset.clone().or_else(|| variable("CHRONOTICK_PRESET"));
        draft.take_preset(said.as_deref(), root.as_ref());
        if let Some(root) = &root {
            draft.take_section("", root);
        }
        draft.take_environment_and_flags(overrides, &variable);
        draft.check_whole();
        draft.finish()
    }

    /// Whether everything that flags and environment say can be read, for those who use little or nothing of it.
    ///
    /// # Errors
    ///
    /// All that cannot.
    pub(crate) fn check_outside(
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Invalid> {
        let mut draft = Draft::new();
        draft.take_environment_and_flags(overrides, &|name| set(environment, name));
        draft.finish().map(|_| ())
    }
}

/// A variable that says something.
fn set(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.trim().is_empty())
}

/// Where a configuration file is looked for when none is named, the first that exists being read:
/// `$XDG_CONFIG_HOME/chronotick/config.yaml` (or below `~/.config`), then `/etc/chronotick/config.yaml`.
pub fn search_paths(environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let user = base_directory(environment, "XDG_CONFIG_HOME", ".config").map(|(directory, _)| directory);
    let system = PathBuf::from("/etc");
    user.into_iter().chain([system]).map(|directory| directory.join("chronotick/config.yaml")).collect()
}

/// A base directory of the XDG specification, and the variable that it follows from. A relative path is ignored, as
/// the specification demands.
fn base_directory(
    environment: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
    below_home: &str,
) -> Option<(PathBuf, &'static str)> {
    let absolute = |name: &'static str| {
        let path = PathBuf::from(environment(name)?);
        path.is_absolute().then_some((path, name))
    };
    absolute(variable).or_else(|| absolute("HOME").map(|(home, name)| (home.join(below_home), name)))
}

/// A configuration in the making.
struct Draft {
    config: Config,
    file: Option<PathBuf>,
    origins: Vec<Origin>,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Draft {
    fn new() -> Draft {
        Draft {
            config: Config::default(),
            file: None,
            origins: settings::all().map(|_| Origin::Default).collect(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The directory for state that the service manager or the session provides, where there is one.
    fn usual_state_dir(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        // systemd.exec(5): the variable may list several, separated by colons.
        let of_service = || {
            let first = PathBuf::from(variable("STATE_DIRECTORY")?.split(':').next()?);
            first.is_absolute().then_some((first, "STATE_DIRECTORY"))
        };
        let of_user = || {
            base_directory(variable, "XDG_STATE_HOME", ".local/state")
                .map(|(path, name)| (path.join("chronotick"), name))
        };
        if let Some((path, name)) = of_service().or_else(of_user) {
            self.config.state_dir = path;
            self.set_origin("state_dir", Origin::Environment(name));
        }
    }

    fn set_origin(&mut self, key: &str, origin: Origin) {
        if let Some((_, slot)) =
            settings::all().zip(&mut self.origins).find(|(setting, _)| setting.key == key)
        {
            *slot = origin;
        }
    }

    fn origin_of(&self, key: &str) -> Origin {
        let mut pairs = settings::all().zip(&self.origins);
        pairs.find(|(setting, _)| setting.key == key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn read_file(&mut self, path: PathBuf) -> Option<Node> {
        self.file = Some(path.clone());
        match read_text(&path).and_then(|text| yaml::parse(&text)) {
            Err(fault) => {
                self.blame("", fault);
                None
            }
            Ok((root, faults)) => {
                faults.into_iter().for_each(|fault| self.blame("", fault));
                Some(root)
            }
        }
    }

    /// Takes the values of the preset that flag or variable name, or else the file. A name that is none is reported
    /// where it stands, with the other settings.
    fn take_preset(&mut self, outside: Option<&str>, file: Option<&Node>) {
        let entries = match file.map(|root| &root.content) {
            Some(Content::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        let in_file = entries.iter().find(|(name, ..)| name == settings::PRESET_KEY).map(|(.., node)| node);
        let named = match outside {
            Some(text) => word(&Node::text(text)),
            None => in_file.map_or(Ok(self.config.preset), word::<Preset>),
        };
        let Ok(preset) = named else { return };
        for &(key, value) in preset.settings() {
            let Some(setting) = settings::all().find(|setting| setting.key == key) else { continue };
            if (setting.set)(&mut self.config, &Node::text(value)).is_ok() {
                self.set_origin(key, Origin::Preset(preset.word()));
            }
        }
    }

    /// An error in the file.
    fn blame(&mut self, key: &str, fault: Fault) {
        let origin = self.line(fault.line);
        self.errors.push(Finding { key: key.to_owned(), origin, problem: fault.problem });
    }

    fn line(&self, line: usize) -> Origin {
        Origin::File { path: self.file.clone().unwrap_or_default(), line }
    }

    fn take_section(&mut self, section: &str, node: &Node) {
        let entries = match &node.content {
            Content::Map(entries) => entries,
            Content::Null => return,
            _ => {
                let problem = wrong_kind(node, "a section with settings");
                return self.blame(section, Fault { line: node.line, problem });
            }
        };
        for (name, line, value) in entries {
            let name = excerpt(name);
            let key = if section.is_empty() { name } else { format!("{section}.{name}") };
            self.take_entry(key, *line, value);
        }
    }

    fn take_entry(&mut self, key: String, line: usize, value: &Node) {
        if let Some(problem) = obsolete::problem(&key, value) {
            let origin = self.line(line);
            self.warnings.push(Finding { key, origin, problem });
        } else if let Some((index, setting)) = settings::all().enumerate().find(|(_, s)| s.key == key) {
            self.origins[index] = self.line(line);
            if let Err(faults) = (setting.set)(&mut self.config, value) {
                faults.into_iter().for_each(|fault| self.blame(&key, fault));
            }
        } else if settings::all().any(|s| is_below(&key, s.key)) {
            self.take_section(&key, value);
        } else {
            let problem = Problem::UnknownKey(suggestion(&key));
            self.blame(&key, Fault { line, problem });
        }
    }

    fn take_environment_and_flags(
        &mut self,
        overrides: &Overrides,
        variable: &dyn Fn(&str) -> Option<String>,
    ) {
        self.take_outside(|outside| {
            variable(outside.environment).map(|text| (text, Origin::Environment(outside.environment)))
        });
        self.take_outside(|outside| {
            (outside.of)(overrides).map(|text| (text.to_owned(), Origin::Flag(outside.flag)))
        });
    }

    /// Takes what variables or flags say.
    fn take_outside(&mut self, said: impl Fn(&settings::Outside) -> Option<(String, Origin)>) {
        for (index, setting) in settings::all().enumerate() {
            let Some((text, origin)) = setting.outside.and_then(&said) else { continue };
            if let Err(faults) = (setting.set)(&mut self.config, &Node::text(&text)) {
                for Fault { problem, .. } in faults {
                    // One variable may set several settings: one complaint is enough.
                    if !self.errors.iter().any(|e| e.origin == origin && e.problem == problem) {
                        let key = setting.key.to_owned();
                        self.errors.push(Finding { key, origin: origin.clone(), problem });
                    }
                }
            }
            self.origins[index] = origin;
        }
    }

    /// What can be said only of several settings together.
    fn check_whole(&mut self) {
        const WARM_UP: &str = "clock_measurement.timing.warm_up.measurement_interval";
        let timing = self.config.timing;
        if self.errors.is_empty() && timing.min_interval > timing.max_interval {
            self.errors.push(Finding {
                key: WARM_UP.to_owned(),
                origin: self.origin_of(WARM_UP),
                problem: Problem::WarmUpSlower {
                    warm_up: in_seconds(timing.min_interval),
                    normal: in_seconds(timing.max_interval),
                },
            });
        }
        let open = http::check(&self.config.http, self.origin_of(http::CHECKED));
        self.errors.extend(open);
        if let Some((key, problem)) = serve::contradiction(&self.config.serve) {
            self.errors.push(Finding { key: key.to_owned(), origin: self.origin_of(key), problem });
        }
        const SERVERS: &str = "clock_measurement.ntp.servers";
        const CLOCKS: &str = "clock_measurement.reference_clocks";
        let (servers, clocks) = (&self.config.ntp.servers, &self.config.reference_clocks);
        const PEERS: &str = "clock_measurement.peers";
        let with_key = |server: &&TimeServer| matches!(server.security, Security::Key(_));
        let mut contradictions = Vec::new();
        for (key, list) in [(SERVERS, servers), (PEERS, &self.config.peers)] {
            let keyless = list.iter().find(with_key).filter(|_| self.config.ntp.keys_file.is_none());
            let problem = keyless.map(|server| Problem::NoKeys { server: server.to_string() });
            contradictions.extend(problem.map(|problem| (key, problem)));
        }
        let with_role = self.config.peers.iter().find(|peer| peer.role != Role::default());
        let problem = with_role.map(|peer| Problem::PeerWithRole { server: peer.to_string() });
        contradictions.extend(problem.map(|problem| (PEERS, problem)));
        for (key, problem) in contradictions {
            self.errors.push(Finding { key: key.to_owned(), origin: self.origin_of(key), problem });
        }
        if self.errors.is_empty() && servers.is_empty() && clocks.is_empty() {
            let origin = self.origin_of(SERVERS);
            self.errors.push(Finding { key: SERVERS.to_owned(), origin, problem: Problem::NoServer });
        }
        let clocks = self.origin_of(CLOCKS);
        for text in refclock::warnings(&self.config.reference_clocks, !self.config.ntp.servers.is_empty()) {
            let (key, origin) = (CLOCKS.to_owned(), clocks.clone());
            self.warnings.push(Finding { key, origin, problem: Problem::Clocks(text) });
        }
        if let Some(groups) = leap::mixture(&self.config.ntp.servers) {
            let origin = self.origin_of(SERVERS);
            self.warnings.push(Finding {
                key: SERVERS.to_owned(),
                origin,
                problem: Problem::MixedLeaps(groups),
            });
        }
        let terms = [("short_term", &self.config.short_term), ("long_term", &self.config.long_term)];
        let mut gaps = Vec::new();
        for (section, model) in terms {
            if model.enabled && model.prediction_horizon < model.inference_interval {
                let key = format!("{section}.prediction_horizon");
                gaps.push(Finding {
                    origin: self.origin_of(&key),
                    key,
                    problem: Problem::ForecastGap {
                        horizon: in_seconds(model.prediction_horizon),
                        interval: in_seconds(model.inference_interval),
                    },
                });
            }
        }
        self.warnings.append(&mut gaps);
    }

    fn finish(self) -> Result<Loaded, Invalid> {
        let Draft { config, file, origins, errors, warnings } = self;
        if errors.is_empty() {
            Ok(Loaded { config, file, warnings, origins })
        } else {
            Err(Invalid { errors, warnings })
        }
    }
}

fn is_below(section: &str, key: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// The text of a file, if it is text and not absurdly long.
pub(super) fn read_text(path: &Path) -> Result<String, Fault> {
    let whole = |problem| Fault { line: 0, problem };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(yaml::MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| whole(Problem::Unreadable(e.to_string())))?;
    if bytes.len() as u64 > yaml::MAX_BYTES {
        return Err(whole(Problem::TooLarge { limit: yaml::MAX_BYTES }));
    }
    String::from_utf8(bytes).map_err(|_| whole(Problem::NotUtf8))
}

/// The path of the setting or section that was meant by this one: one beside it that is written alike, or one of the
/// same name elsewhere.
fn suggestion(key: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let beside = settings::all().filter_map(|setting: &Setting| {
        let rest = if section.is_empty() {
            Some(setting.key)
        } else {
            setting.key.strip_prefix(section)?.strip_prefix('.')
        };
        rest?.split('.').next()
    });
    let joined = |near: &str| if section.is_empty() { near.to_owned() } else { format!("{section}.{near}") };
    closest(name, beside).map(joined).or_else(|| {
        let elsewhere = settings::all().find(|s| s.key.rsplit('.').next() == Some(name))?;
        Some(elsewhere.key.to_owned())
    })
}
