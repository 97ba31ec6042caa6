//! The configuration from outside: layers, findings, hostile files, and files of the original ChronoTick.

use chronotick::config::{
    Config, Device, Family, Finding, Invalid, Loaded, LogLevel, ModelName, Origin, Overrides, Preset,
    Problem, Security, default_file, search_paths,
};
use chronotick_clock::Span;
use std::path::{Path, PathBuf};
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
    findings.iter().map(|f| f.to_string().rsplit_once(".yaml:").expect("has a file").1.to_owned()).collect()
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
    let unset: Vec<_> = loaded.settings().filter(|s| *s.origin == Origin::Default).map(|s| s.key).collect();
    let without_a_value = [
        "clock_measurement.ntp.nts_ca_file",
        "clock_measurement.ntp.keys_file",
        "logging.debug_log_file",
        "runtime_dir",
        "state_dir",
        "serve.nts.certificate_file",
        "serve.nts.private_key_file",
        "http.token_file",
        "mcp.audit_file",
        "bus.credentials_file",
        "bus.ca_file",
        "monitor.webhook_secret_file",
        "monitor.command_file",
    ];
    assert_eq!(unset, without_a_value);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let text = "short_term:\n  device: cuda\n  model_name: ttm\nlogging:\n  level: debug\n";
    let overrides = Overrides { device: Some("mps".into()), ..Overrides::default() };
    let variables = [("CHRONOTICK_DEVICE", "cpu"), ("CHRONOTICK_MODEL", "Toto"), ("CHRONOTICK_WARMUP", " ")];
    let loaded = load_with(text, &variables, overrides).expect("is valid");
    let config = &loaded.config;
    assert_eq!((config.short_term.device, config.long_term.device), (Device::Mps, Device::Mps));
    assert_eq!(
        (config.short_term.model_name.clone(), config.log_level),
        (ModelName::Family(Family::Toto), LogLevel::Debug)
    );
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
    let bad = load_with("", &[("CHRONOTICK_MODEL", "cronos")], Overrides::default()).expect_err("is wrong");
    assert_eq!(
        bad.to_string().split_once(": ").expect("has an origin"),
        (
            "CHRONOTICK_MODEL",
            "short_term.model_name is \"cronos\", but must be one of foresight, chronos, timesfm, ttm, toto, time_moe, \
             or a place with a slash in it; \
             did you mean \"chronos\"?"
        )
    );
}

#[test]
fn servers_that_smear_leap_seconds_are_not_mixed_with_others() {
    let found =
        warnings("clock_measurement:\n  ntp:\n    servers:\n    - pool.ntp.org\n    - time.google.com\n");
    assert_eq!(found.len(), 1);
    for part in ["3: clock_measurement.ntp.servers mixes", "smear: pool.ntp.org;", "noon: time.google.com)"] {
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

#[test]
fn keys_need_a_file_and_peers_have_no_say() {
    let keyless = load("clock_measurement:\n  ntp:\n    servers: [a.test, b.test key 7]\n").unwrap_err();
    assert!(
        matches!(&keyless.errors[..], [one] if one.problem == Problem::NoKeys { server: "b.test".into() })
    );
    assert!(keyless.to_string().contains("clock_measurement.ntp.keys_file"), "{keyless}");
    let peers = load("clock_measurement:\n  peers: [{address: c.test, prefer: true}]\n").unwrap_err();
    let problem = Problem::PeerWithRole { server: "c.test".into() };
    assert!(matches!(&peers.errors[..], [one] if one.problem == problem), "{peers}");
    let text = "clock_measurement:\n  peers: d.test key 8\n  ntp:\n    keys_file: /etc/keys\n    servers:\n      \
                - {address: a.test, key: 7, xleave: true, prefer: true}\n      - b.test noselect\n";
    let config = load(text).expect("is valid").config;
    let [first, second] = &config.ntp.servers[..] else { panic!("{config:?}") };
    assert_eq!((first.security, first.interleave, first.role.prefer), (Security::Key(7), true, true));
    assert_eq!((second.security, second.interleave, second.role.noselect), (Security::None, false, true));
    assert_eq!(config.peers[0].security, Security::Key(8));
}

/// A file of the original, written after its documentation.
fn preset(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/presets").join(name);
    Config::load(&Overrides::default(), &|_| None, Some(&path)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_documented_file_differs_from_the_defaults_only_where_it_says_so() {
    let mut loaded = preset("documented.yaml");
    let smeared = loaded.config.ntp.servers.remove(1);
    assert_eq!(smeared.host(), "time.google.com");
    let mut expected = Config::default();
    expected.ntp.max_acceptable_uncertainty = Span::from_millis(10);
    expected.long_term.model_name = ModelName::Family(Family::Chronos);
    assert_eq!(loaded.config, expected);
    assert!(matches!(loaded.warnings[..], [ref one] if matches!(one.problem, Problem::MixedLeaps(_))));
}

#[test]
fn every_key_of_the_past_loads_with_a_note_of_what_replaces_it() {
    let loaded = preset("everything_once.yaml");
    let config = &loaded.config;
    assert_eq!(config.ntp.servers[2].to_string(), "[fd00::1]:8128");
    assert_eq!(config.ntp.max_acceptable_uncertainty, Span::from_millis(100));
    assert_eq!(config.timing.max_interval, Span::from_secs(3600));
    assert_eq!(
        (config.short_term.model_name.clone(), config.short_term.enabled),
        (ModelName::Family(Family::TimesFm), true)
    );
    assert_eq!((config.long_term.device, config.long_term.enabled), (Device::Cuda, true));
    let of_the_past = |p: &Problem| matches!(p, Problem::Obsolete(_) | Problem::ObsoleteValue { .. });
    for warning in &loaded.warnings {
        assert!(of_the_past(&warning.problem), "{warning}");
    }
    let noted: Vec<&str> = loaded.warnings.iter().map(|w| w.key.as_str()).collect();
    for key in [
        "clock",
        "clock_measurement.ntp.measurement_mode",
        "clock_measurement.ntp.retry_delay",
        "prediction_scheduling",
        "short_term.model_params",
        "backup_models",
        "fusion.method",
        "fusion.fallback_weights",
        "preprocessing",
        "covariates.variables",
        "covariates.future_variables",
        "performance",
        "monitoring",
        "logging.log_predictions",
    ] {
        assert!(noted.contains(&key), "no note on {key}");
    }
}

#[test]
fn files_without_measurements_load_too() {
    let loaded = preset("models_only.yaml");
    let config = &loaded.config;
    assert_eq!(config.ntp, Config::default().ntp);
    assert_eq!((config.short_term.device, config.long_term.device), (Device::Cuda, Device::Mps));
    assert_eq!(
        (config.long_term.model_name.clone(), config.log_level),
        (ModelName::Family(Family::TimeMoe), LogLevel::Debug)
    );
    assert!(!config.fusion.enabled);
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn settings_that_contradict_each_other_are_named_where_they_were_written() {
    let text =
        "clock_measurement: {timing: {\n  warm_up: {measurement_interval: 11},\n  normal_operation: {}}}\n";
    assert_eq!(
        errors(text),
        ["2: clock_measurement.timing.warm_up.measurement_interval is 11 s, longer than the 10 s of \
          normal_operation; the warm-up must poll at least as often"]
    );
    let gap = "long_term:\n  prediction_horizon: 29.5\n";
    assert_eq!(
        warnings(gap),
        ["2: long_term.prediction_horizon is 29.5 s, shorter than the inference_interval of 30 s; \
          forecasts would leave gaps"]
    );
    assert!(warnings("long_term:\n  prediction_horizon: 29.5\n  enabled: false\n").is_empty());
}

#[test]
fn a_list_of_servers_is_never_empty_and_takes_no_maps() {
    for empty in ["[]", "", "~"] {
        let got = errors(&format!("clock_measurement:\n  ntp:\n    servers: {empty}\n"));
        assert_eq!(
            got,
            ["3: clock_measurement.ntp.servers names no server; write at least one, better four"]
        );
    }
    let spaced = errors("clock_measurement:\n  ntp:\n    servers:\n    - a.example\n    - b.example: 123\n");
    assert!(spaced[0].starts_with("5: ") && spaced[0].contains("b.example"), "{spaced:?}");
    let unquoted = errors("clock_measurement:\n  ntp:\n    servers:\n    - [::1]:123\n");
    assert!(unquoted[0].contains("needs quotes"), "{unquoted:?}");
    let one = load("clock_measurement: {ntp: {servers: a.example}}").expect("one name is a list of one");
    assert_eq!(one.config.ntp.servers.len(), 1);
}

#[test]
fn what_is_no_configuration_is_refused_by_name() {
    let first = |bytes: &[u8]| load(bytes).expect_err("must be refused").errors.remove(0).problem;
    assert!(matches!(first(&vec![b'#'; 64 * 1024 + 1]), Problem::TooLarge { .. }));
    assert_eq!(first(b"\xff\xfea\0:\0"), Problem::NotUtf8);
    assert!(matches!(first(b"pool.ntp.org\n"), Problem::WrongKind { .. }));
    assert!(matches!(first(b"- a\n- b\n"), Problem::WrongKind { .. }));
    assert!(matches!(first(b"a: [\n"), Problem::Syntax(_)));
    let missing = Config::load(&Overrides::default(), &|_| None, Some(Path::new("/nowhere/config.yaml")));
    let missing = missing.expect_err("a file that is named must be there");
    assert!(matches!(missing.errors[..], [Finding { problem: Problem::Unreadable(_), .. }]));
}

#[test]
fn what_is_shown_of_a_file_is_short_and_does_nothing_to_a_terminal() {
    let long = "x".repeat(1000);
    let text = format!("\"a\\e[2J{long}\": 1\nlogging:\n  level: \"\\e[2J{long}\"\nfusion: \"\\a{long}\"\n");
    let found = load(&text).expect_err("must be refused").errors;
    assert_eq!(found.len(), 3);
    for finding in found {
        let shown = finding.to_string();
        assert!(shown.len() < 400 && !shown.contains(char::is_control), "{shown:?}");
    }
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_no_matter() {
    let text = format!("\u{feff}{}", default_file().replace('\n', "\r\n"));
    assert_eq!(load(text).expect("is valid").config, Config::default());
}

#[test]
fn the_file_is_the_named_one_or_the_first_that_is_found() {
    let file = TestFile::new("logging: {level: trace}");
    let named = file.0.display().to_string();
    let environment = |name: &str| (name == "CHRONOTICK_CONFIG").then(|| named.clone());
    let loaded = Config::load(&Overrides::default(), &environment, None).expect("is valid");
    assert_eq!((loaded.config.log_level, loaded.file), (LogLevel::Trace, Some(file.0.clone())));

    let of = |variables: &[(&str, &str)]| {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        search_paths(&get).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
    };
    let system = "/etc/chronotick/config.yaml";
    assert_eq!(of(&[]), [system]);
    assert_eq!(of(&[("HOME", "/h")]), ["/h/.config/chronotick/config.yaml", system]);
    assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), ["/x/chronotick/config.yaml", system]);
    assert_eq!(of(&[("XDG_CONFIG_HOME", "relative")]), [system]);
}

#[test]
fn the_state_directory_follows_the_service_manager_and_the_session() {
    let state_dir = |variables: &[(&str, &str)]| {
        let loaded = load_with("", variables, Overrides::default()).expect("is valid");
        loaded.config.state_dir.display().to_string()
    };
    assert_eq!(state_dir(&[]), "/var/lib/chronotick");
    assert_eq!(state_dir(&[("HOME", "/h")]), "/h/.local/state/chronotick");
    assert_eq!(state_dir(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]), "/x/chronotick");
    assert_eq!(state_dir(&[("HOME", "/h"), ("STATE_DIRECTORY", "/s/a:/s/b")]), "/s/a");
    assert_eq!(state_dir(&[("STATE_DIRECTORY", "/s"), ("CHRONOTICK_STATE_DIR", "/c")]), "/c");
}

mod any_text {
    use super::load;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn is_refused_or_read_without_a_panic(
            key in "clock_measurement|short_term|fusion|logging|state_dir|[a-z]{1,8}",
            inner in "ntp|timing|enabled|level|context_length|method|[a-z]{1,8}",
            value in "[-0-9eE.]{1,12}|\\PC{0,12}|[0-9]{1,3} ?(s|ms|µs|h)|true|\\[\\]",
        ) {
            let _ = load(format!("{key}:\n  {inner}: {value}\n"));
            let _ = load(format!("{key}: {value}\n"));
        }

        #[test]
        fn numbers_of_seconds_survive_a_round_trip(nanos in 10_000_000i64..30_000_000_000) {
            let seconds = nanos as f64 / 1e9;
            let loaded = load(format!("clock_measurement: {{ntp: {{timeout_seconds: {seconds}}}}}"));
            let config = loaded.expect("is in range").config;
            prop_assert_eq!(config.ntp.timeout.as_nanos(), nanos);
        }
    }
}

#[test]
fn a_preset_is_below_everything_that_is_set() {
    let text = "preset: gpu_only_timesfm\nlong_term: {model_name: ttm}\n";
    let loaded = load(text).expect("is valid");
    let models = |loaded: &Loaded| {
        let Config { short_term, long_term, .. } = &loaded.config;
        [short_term, long_term].map(|m| (m.model_name.to_string(), m.device))
    };
    assert_eq!(models(&loaded), [("timesfm".into(), Device::Cuda), ("ttm".into(), Device::Cuda)]);
    let origin = |key: &str| loaded.settings().find(|s| s.key == key).expect("a setting").origin.to_string();
    assert_eq!(origin("short_term.model_name"), "preset gpu_only_timesfm");
    assert!(origin("long_term.model_name").ends_with(":2"));

    let variables = [("CHRONOTICK_PRESET", "hybrid_chronos_ttm"), ("CHRONOTICK_DEVICE", "mps")];
    let loaded = load_with("preset: minimal\n", &variables, Overrides::default()).expect("is valid");
    assert_eq!(models(&loaded), [("chronos".into(), Device::Mps), ("ttm".into(), Device::Mps)]);
    let overrides = Overrides { preset: Some("minimal".into()), ..Overrides::default() };
    let loaded = load_with("", &variables, overrides).expect("is valid");
    let Config { short_term, long_term, covariates, preset, .. } = loaded.config;
    assert!(!short_term.enabled && !long_term.enabled && !covariates);
    assert_eq!(preset, Preset::Minimal);
}

#[test]
fn every_preset_is_valid_and_a_wrong_one_is_refused() {
    let full = load("preset: multi_device_full\n").expect("is valid").config;
    assert_eq!(full.long_term.model_name, ModelName::Reference("amazon/chronos-2".into()));
    assert_eq!(load("preset: embedded\n").expect("is valid").config, usual());
    assert_eq!(usual().long_term.model_name, ModelName::Family(Family::Foresight));
    let chronos = load("preset: cpu_only_chronos\n").expect("is valid").config;
    assert_eq!(chronos.long_term.model_name, ModelName::Family(Family::Chronos));
    assert_eq!(
        errors("preset: hybrid\n"),
        [
            "1: preset is \"hybrid\", but must be one of minimal, embedded, cpu_only_chronos, gpu_only_timesfm, \
             hybrid_chronos_ttm, multi_device_full; did you mean \"hybrid_chronos_ttm\"?"
        ]
    );
}

/// What holds where nothing is set, in the environment of these tests.
fn usual() -> Config {
    load("").expect("is valid").config
}

#[test]
fn a_model_may_be_a_place() {
    for place in
        ["/opt/models/mine", "./mine", "amazon/chronos-bolt-mini@main", "http://127.0.0.1:8000/forecast"]
    {
        let config = load(format!("short_term: {{model_name: '{place}'}}\n")).expect("is valid").config;
        assert_eq!(config.short_term.model_name.clone(), ModelName::Reference(place.into()));
    }
}
