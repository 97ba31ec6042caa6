//! How defaults, file, environment and flags become one configuration that remembers where each value is from.

use super::finding::{Fault, Finding, Invalid, Origin, Problem};
use super::read::{closest, in_seconds, wrong_kind};
use super::settings::{self, Setting};
use super::yaml::{self, Content, Node};
use super::{Config, leap, obsolete};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the command line says, each as it is written there; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--ntp-servers`: separated by commas.
    pub ntp_servers: Option<String>,
    /// `--warmup`: in seconds.
    pub warmup: Option<String>,
    /// `--model`: of both terms.
    pub model: Option<String>,
    /// `--device`: of both terms.
    pub device: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--runtime-dir`.
    pub runtime_dir: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<String>,
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
    /// Puts the configuration together: flags over environment over file over defaults.
    ///
    /// The file is the one that is given, or that `CHRONOTICK_CONFIG` names, or the first of [`search_paths`] that
    /// exists; that there is none is fine. A variable that is empty counts as not set. The variables are
    /// `CHRONOTICK_NTP_SERVERS` (separated by commas), `CHRONOTICK_WARMUP` (seconds), `CHRONOTICK_MODEL`,
    /// `CHRONOTICK_DEVICE`, `CHRONOTICK_LOG_LEVEL`, `CHRONOTICK_RUNTIME_DIR` and `CHRONOTICK_STATE_DIR`; the
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
        let variable = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
        let mut draft = Draft::new();
        draft.usual_state_dir(&variable);
        let named = file.map(Path::to_owned).or_else(|| variable("CHRONOTICK_CONFIG").map(PathBuf::from));
        let found = named.or_else(|| search_paths(&variable).into_iter().find(|path| path.exists()));
        if let Some(path) = found {
            draft.take_file(path);
        }
        draft.take_outside(|outside| {
            variable(outside.environment).map(|text| (text, Origin::Environment(outside.environment)))
        });
        draft.take_outside(|outside| {
            (outside.of)(overrides).map(|text| (text.to_owned(), Origin::Flag(outside.flag)))
        });
        draft.check_whole();
        draft.finish()
    }
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

    fn take_file(&mut self, path: PathBuf) {
        self.file = Some(path.clone());
        match read_text(&path).and_then(|text| yaml::parse(&text)) {
            Err(fault) => self.blame("", fault),
            Ok((root, faults)) => {
                faults.into_iter().for_each(|fault| self.blame("", fault));
                self.take_section("", &root);
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
            let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            self.take_entry(key, *line, value);
        }
    }

    fn take_entry(&mut self, key: String, line: usize, value: &Node) {
        let old_value = match &value.content {
            Content::Scalar(text) => obsolete::value(&key, text),
            _ => None,
        };
        if let Some(instead) = obsolete::key(&key).or(old_value) {
            let origin = self.line(line);
            self.warnings.push(Finding { key, origin, problem: Problem::Obsolete(instead) });
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
        const SERVERS: &str = "clock_measurement.ntp.servers";
        if let Some(groups) = leap::mixture(&self.config.ntp.servers) {
            let origin = self.origin_of(SERVERS);
            self.warnings.push(Finding {
                key: SERVERS.to_owned(),
                origin,
                problem: Problem::MixedLeaps(groups),
            });
        }
        for (section, model) in [("short_term", self.config.short_term), ("long_term", self.config.long_term)]
        {
            if model.enabled && model.prediction_horizon < model.inference_interval {
                let key = format!("{section}.prediction_horizon");
                self.warnings.push(Finding {
                    origin: self.origin_of(&key),
                    key,
                    problem: Problem::ForecastGap {
                        horizon: in_seconds(model.prediction_horizon),
                        interval: in_seconds(model.inference_interval),
                    },
                });
            }
        }
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
fn read_text(path: &Path) -> Result<String, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Device, LogLevel, ModelName, default_file};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A file of its own for each test, gone at the end.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(bytes: impl AsRef<[u8]>) -> TestFile {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("chronotick-config-{}-{number}.yaml", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, bytes).expect("the temporary directory can be written");
            TestFile(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn load(text: impl AsRef<[u8]>) -> Result<Loaded, Invalid> {
        load_with(text, &[], Overrides::default())
    }

    fn load_with(
        text: impl AsRef<[u8]>,
        variables: &[(&str, &str)],
        overrides: Overrides,
    ) -> Result<Loaded, Invalid> {
        let file = TestFile::new(text);
        let environment =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Config::load(&overrides, &environment, Some(&file.0))
    }

    /// The errors as they are read, without the file's name: `line: key problem`.
    fn errors(text: &str) -> Vec<String> {
        strip(&load(text).expect_err("must be refused").errors)
    }

    fn warnings(text: &str) -> Vec<String> {
        strip(&load(text).expect("is valid").warnings)
    }

    fn strip(findings: &[Finding]) -> Vec<String> {
        findings
            .iter()
            .map(|f| f.to_string().rsplit_once(".yaml:").expect("has a file").1.to_owned())
            .collect()
    }

    #[test]
    fn nothing_is_the_defaults() {
        for text in ["", "# nothing\n", "clock_measurement:\n", "---\n...\n"] {
            let loaded = load(text).expect("is valid");
            assert_eq!(loaded.config, Config::default(), "{text:?}");
            assert!(loaded.warnings.is_empty());
            assert!(loaded.settings().all(|s| *s.origin == Origin::Default));
        }
    }

    #[test]
    fn the_written_file_equals_the_defaults_without_a_warning() {
        let loaded = load(default_file()).expect("is valid");
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let unset: Vec<_> =
            loaded.settings().filter(|s| *s.origin == Origin::Default).map(|s| s.key).collect();
        assert_eq!(unset, ["runtime_dir", "state_dir"]);
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let text = "short_term:\n  device: cuda\n  model_name: ttm\nlogging:\n  level: debug\n";
        let overrides = Overrides { device: Some("mps".into()), ..Overrides::default() };
        let variables =
            [("CHRONOTICK_DEVICE", "cpu"), ("CHRONOTICK_MODEL", "Toto"), ("CHRONOTICK_WARMUP", " ")];
        let loaded = load_with(text, &variables, overrides).expect("is valid");
        let config = &loaded.config;
        assert_eq!((config.short_term.device, config.long_term.device), (Device::Mps, Device::Mps));
        assert_eq!((config.short_term.model_name, config.log_level), (ModelName::Toto, LogLevel::Debug));
        let origin = |key| loaded.settings().find(|s| s.key == key).expect("exists").origin.to_string();
        assert_eq!(origin("short_term.device"), "--device");
        assert_eq!(origin("long_term.model_name"), "CHRONOTICK_MODEL");
        assert!(origin("logging.level").ends_with(".yaml:5"), "{}", origin("logging.level"));
        assert_eq!(origin("clock_measurement.timing.warm_up.duration_seconds"), "default");
    }

    #[test]
    fn servers_come_from_the_environment_too() {
        let variables = [("CHRONOTICK_NTP_SERVERS", "a.example, 10.0.0.1:1123,[2001:db8::1]:123")];
        let loaded = load_with("", &variables, Overrides::default()).expect("is valid");
        let shown: Vec<_> = loaded.config.ntp.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a.example", "10.0.0.1:1123", "2001:db8::1"]);
        let bad =
            load_with("", &[("CHRONOTICK_MODEL", "cronos")], Overrides::default()).expect_err("is wrong");
        assert_eq!(
            bad.to_string().split_once(": ").expect("has an origin"),
            (
                "CHRONOTICK_MODEL",
                "short_term.model_name is \"cronos\", but must be one of chronos, timesfm, ttm, toto, time_moe; \
                 did you mean \"chronos\"?"
            )
        );
    }

    #[test]
    fn servers_that_smear_leap_seconds_are_not_mixed_with_others() {
        let found =
            warnings("clock_measurement:\n  ntp:\n    servers:\n    - pool.ntp.org\n    - time.google.com\n");
        assert_eq!(found.len(), 1);
        for part in
            ["3: clock_measurement.ntp.servers mixes", "pool.ntp.org not known", "time.google.com smear"]
        {
            assert!(found[0].contains(part), "{part} in {found:?}");
        }
    }

    #[test]
    fn every_error_is_reported_at_once_with_its_line() {
        let text = "\
clock_measurement:
  ntp:
    servers: [pool.ntp.org, 'pool.ntp.org:99999', Pool.NTP.org.]
    timeout_seconds: 2000
    max_acceptable_uncertainty: 10
    timeout: 3
  timing:
    warm_up:
      duration_seconds: -1
      measurement_interval: \"2s\"
    normal_operation: 10
short_term:
  enabled: maybe
  context_lenght: 100
  context_length: 1.5
  inference_interval: 0
long_term: []
timeout_seconds: 2
colour: red
";
        let want = [
            "3: clock_measurement.ntp.servers has \"pool.ntp.org:99999\": the port must be a number from 1 to 65535",
            "3: clock_measurement.ntp.servers has pool.ntp.org twice; it would count twice among the sources, keep one",
            "4: clock_measurement.ntp.timeout_seconds is 2000 s, but must be from 0.01 s to 30 s; it is in seconds: 2000 milliseconds are written 2",
            "5: clock_measurement.ntp.max_acceptable_uncertainty is 10 s, but must be from 0.000001 s to 1 s; it is in seconds: 10 milliseconds are written 0.01",
            "6: clock_measurement.ntp.timeout is not a setting; did you mean \"clock_measurement.ntp.timeout_seconds\"?",
            "9: clock_measurement.timing.warm_up.duration_seconds is -1 s, but must be from 0 s to 86400 s",
            "10: clock_measurement.timing.warm_up.measurement_interval is written with a unit (\"2s\"); write the number of seconds: 2",
            "11: clock_measurement.timing.normal_operation is \"10\", but must be a section with settings",
            "13: short_term.enabled is \"maybe\", but must be true or false",
            "14: short_term.context_lenght is not a setting; did you mean \"short_term.context_length\"?",
            "15: short_term.context_length is \"1.5\", but must be a whole number",
            "16: short_term.inference_interval is 0 s, but must be from 0.01 s to 86400 s",
            "17: long_term is a list, but must be a section with settings",
            "18: timeout_seconds is not a setting; did you mean \"clock_measurement.ntp.timeout_seconds\"?",
            "19: colour is not a setting; remove it",
        ];
        let got = errors(text);
        for (got, want) in got.iter().zip(want) {
            assert_eq!(got, want);
        }
        assert_eq!(got.len(), want.len());
    }
}
