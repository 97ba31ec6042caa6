//! `chronotick config check | show | init`: tries a configuration, shows what is in effect and why, writes a file to
//! start from.

use crate::config::{
    Config, Finding, Invalid, Loaded, Origin, Overrides, Problem, default_file, in_words, search_paths,
};
use crate::http::{self, StartError};
use crate::service::runnable;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What a subcommand has to say, and how it ends. Each text is empty or ends with a line break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// What was asked for.
    pub stdout: String,
    /// What is worth knowing beside it, or why it cannot be had.
    pub stderr: String,
    /// The exit code: 0 if all is well, 1 if there are errors.
    pub exit: u8,
}

const NO_MODELS: &str = "models are not built into this version: the statistical engine serves alone";

/// `config check [FILE]`: every finding on a line of its own, then the count of them. Exits with 1 if there is an
/// error; warnings alone leave it at 0.
pub(super) fn check(
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&Path>,
) -> Answer {
    match Config::load(overrides, environment, file).and_then(with_files) {
        Ok(loaded) => {
            let what =
                loaded.file.as_ref().map_or("no file: the default".into(), |f| f.display().to_string());
            let but = match loaded.warnings.len() {
                0 => String::new(),
                n => format!(", {}", counted(n, "warning")),
            };
            Answer { stdout: format!("{}{what} is valid{but}\n", remarks(&loaded)), ..Answer::default() }
        }
        Err(invalid) => Answer { stdout: refusal(&invalid), exit: 1, ..Answer::default() },
    }
}

/// The same, once what it names was looked at as `run` does: without the token it would not start.
fn with_files(mut loaded: Loaded) -> Result<Loaded, Invalid> {
    let finding = |loaded: &Loaded, key: &str, why: String| {
        let origin = loaded.settings().find(|s| s.key == key).map_or(Origin::Default, |s| s.origin.clone());
        Finding { key: key.to_owned(), origin, problem: Problem::Unusable(why) }
    };
    let Config { http, monitor, .. } = &loaded.config;
    let command = monitor.command.as_ref().filter(|_| monitor.enabled);
    let command = command.and_then(|path| Some((path, runnable(path).err()?)));
    let unrun =
        command.map(|(path, e)| finding(&loaded, "monitor.command_file", format!("{}: {e}", path.display())));
    let token = match http::check(http) {
        Ok(()) => None,
        Err(StartError::Token { path, why }) => {
            Some(finding(&loaded, "http.token_file", format!("{}: {why}", path.display())))
        }
        Err(StartError::System(e)) => Some(finding(&loaded, "http.listen", e.to_string())),
    };
    loaded.warnings.extend(unrun);
    match token {
        None => Ok(loaded),
        Some(error) => Err(Invalid { errors: vec![error], warnings: loaded.warnings }),
    }
}

/// `config show [--json]`: every setting with its value and where it comes from. Exits with 1, and the findings of
/// [`check`], if the configuration cannot be used.
pub(super) fn show(
    overrides: &Overrides,
    environment: &dyn Fn(&str) -> Option<String>,
    file: Option<&Path>,
    json: bool,
) -> Answer {
    match (Config::load(overrides, environment, file), json) {
        (Ok(loaded), false) => Answer { stdout: table(&loaded), stderr: remarks(&loaded), exit: 0 },
        (Ok(loaded), true) => Answer { stdout: format!("{}\n", document(&loaded)), ..Answer::default() },
        (Err(invalid), false) => Answer { stderr: refusal(&invalid), exit: 1, ..Answer::default() },
        (Err(Invalid { errors, warnings }), true) => {
            let both = json!({ "errors": findings(&errors), "warnings": findings(&warnings) });
            Answer { stdout: format!("{both}\n"), exit: 1, ..Answer::default() }
        }
    }
}

/// `config init [--path PATH] [--force]`: writes a commented file with every setting at its default, by default where
/// it is looked for first. An existing file is overwritten only by force.
pub(super) fn init(environment: &dyn Fn(&str) -> Option<String>, path: Option<&Path>, force: bool) -> Answer {
    let path = path.map_or_else(|| search_paths(environment).swap_remove(0), PathBuf::from);
    let why = match write_new(&path, &default_file(), force) {
        Ok(()) => return Answer { stdout: format!("wrote {}\n", path.display()), ..Answer::default() },
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            "exists; --force overwrites it, --path names another place".to_owned()
        }
        Err(e) => format!("cannot be written: {e}; --path names another place"),
    };
    Answer { stderr: format!("error: {} {why}\n", path.display()), exit: 1, ..Answer::default() }
}

fn write_new(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path)?.write_all(text.as_bytes())
}

fn lines(severity: &str, findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{severity}: {finding}\n")).collect()
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn refusal(Invalid { errors, warnings }: &Invalid) -> String {
    let counts = [(errors.len(), "error"), (warnings.len(), "warning")];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| counted(*n, what)).collect();
    format!("{}{}{}\n", lines("error", errors), lines("warning", warnings), counts.join(", "))
}

/// What holds for this version whatever is set.
fn notes(loaded: &Loaded) -> impl Iterator<Item = &'static str> {
    let Config { short_term, long_term, .. } = &loaded.config;
    let asked = short_term.enabled || long_term.enabled;
    let models = (asked && cfg!(not(feature = "models"))).then_some(NO_MODELS);
    #[cfg(not(feature = "nats"))]
    let bus = loaded.config.bus.nats.as_ref().map(|_| crate::fleet::NO_BUS);
    #[cfg(feature = "nats")]
    let bus = None;
    models.into_iter().chain(bus)
}

/// Warnings and notes, one on a line.
fn remarks(loaded: &Loaded) -> String {
    let notes: String = notes(loaded).map(|note| format!("note: {note}\n")).collect();
    lines("warning", &loaded.warnings) + &notes
}

fn table(loaded: &Loaded) -> String {
    let rows: Vec<(&str, String, String)> =
        loaded.settings().map(|s| (s.key, in_words(&s.value), s.origin.to_string())).collect();
    let key_width = rows.iter().map(|(key, _, _)| key.len()).max().unwrap_or(0);
    let value_width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value, origin) in &rows {
        let _ = writeln!(text, "{key:key_width$}  {value:value_width$}  {origin}");
    }
    text
}

fn document(loaded: &Loaded) -> Value {
    let settings: serde_json::Map<String, Value> = loaded
        .settings()
        .map(|s| (s.key.to_owned(), json!({ "value": s.value, "origin": origin(s.origin) })))
        .collect();
    json!({
        "file": loaded.file,
        "settings": settings,
        "warnings": findings(&loaded.warnings),
        "notes": notes(loaded).collect::<Vec<_>>(),
    })
}

fn findings(findings: &[Finding]) -> Value {
    let one =
        |f: &Finding| json!({ "key": f.key, "origin": origin(&f.origin), "problem": f.problem.to_string() });
    findings.iter().map(one).collect()
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({ "from": "default" }),
        Origin::Preset(name) => json!({ "from": "preset", "name": name }),
        Origin::File { path, line } => json!({ "from": "file", "path": path, "line": line }),
        Origin::Environment(name) => json!({ "from": "environment", "name": name }),
        Origin::Flag(name) => json!({ "from": "flag", "name": name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for each test, gone at the end.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Home {
            let path = std::env::temp_dir().join(format!("chronotick-cli-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("the temporary directory can be written");
            Home(path)
        }

        /// The environment of someone who lives here.
        fn environment(&self) -> impl Fn(&str) -> Option<String> {
            let home = self.0.display().to_string();
            move |name| (name == "HOME").then(|| home.clone())
        }

        fn file(&self, text: &str) -> PathBuf {
            let path = self.0.join("file.yaml");
            fs::write(&path, text).expect("can be written");
            path
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// What is said beside everything else.
    fn note() -> String {
        if cfg!(feature = "models") { String::new() } else { format!("note: {NO_MODELS}\n") }
    }

    #[test]
    fn what_init_writes_is_found_and_valid_and_not_overwritten() {
        let home = Home::new("init");
        let path = home.0.join(".config/chronotick/config.yaml");
        let wrote = init(&home.environment(), None, false);
        assert_eq!((wrote.stdout, wrote.exit), (format!("wrote {}\n", path.display()), 0));

        let checked = check(&Overrides::default(), &home.environment(), None);
        assert_eq!(checked.exit, 0);
        assert_eq!(checked.stdout, format!("{}{} is valid\n", note(), path.display()));

        fs::write(&path, "logging: {level: debug}").expect("can be written");
        let refused = init(&home.environment(), None, false);
        assert!(refused.exit == 1 && refused.stderr.contains("--force"), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).expect("exists"), "logging: {level: debug}");
        assert_eq!(init(&home.environment(), Some(&path), true).exit, 0);
        assert_eq!(fs::read_to_string(&path).expect("exists"), default_file());

        let nowhere = init(&home.environment(), Some(&path.join("below/a/file")), false);
        assert!(nowhere.exit == 1 && nowhere.stderr.contains("cannot be written"), "{nowhere:?}");
    }

    #[test]
    fn check_counts_what_it_finds() {
        let home = Home::new("check");
        let path = home.file("fusion: {method: none, enabeld: true}\nruntime_dir: here\n");
        let checked = check(&Overrides::default(), &home.environment(), Some(&path));
        let at = path.display();
        let want = format!(
            "error: {at}:1: fusion.enabeld is not a setting; did you mean \"fusion.enabled\"?\n\
             error: {at}:2: runtime_dir is \"here\"; write the whole path, from /\n\
             warning: {at}:1: fusion.method is \"none\", which only older versions have: \
             older versions took inverse_variance all the same; fusion.enabled turns fusion off\n\
             2 errors, 1 warning\n"
        );
        assert_eq!((checked.stdout, checked.exit), (want, 1));
        let missing =
            check(&Overrides::default(), &home.environment(), Some(Path::new("/nowhere/config.yaml")));
        assert!(
            missing.exit == 1 && missing.stdout.contains("/nowhere/config.yaml: cannot be read"),
            "{missing:?}"
        );
    }

    #[test]
    fn check_looks_at_the_files_that_are_named() {
        let home = Home::new("files");
        let path = home.file(
            "http: {listen: on, token_file: /nowhere/token}\nmonitor: {command_file: /nowhere/program}\n\
             bus: {nats: \"nats://127.0.0.1:4222\"}\n",
        );
        let said = |path: &Path| check(&Overrides::default(), &home.environment(), Some(path));
        let refused = said(&path);
        assert_eq!(refused.exit, 1);
        let at = path.display();
        for line in [
            format!("error: {at}:1: http.token_file cannot be used: /nowhere/token: No such file"),
            format!("warning: {at}:2: monitor.command_file cannot be used: /nowhere/program: No such file"),
        ] {
            assert!(refused.stdout.contains(&line), "{}", refused.stdout);
        }
        let token = home.0.join("token");
        fs::write(&token, "short").expect("can be written");
        let short = home.file(&format!("http: {{listen: on, token_file: {}}}\n", token.display()));
        assert!(said(&short).stdout.contains("16 or more"), "{}", said(&short).stdout);
        let bus = said(&home.file("bus: {nats: \"nats://127.0.0.1:4222\"}\n"));
        assert_eq!((bus.exit, bus.stdout.contains("the feature nats")), (0, cfg!(not(feature = "nats"))));
    }

    #[test]
    fn show_says_where_each_value_is_from() {
        let home = Home::new("show");
        let path = home.file("\nfusion:\n  enabled: off\n");
        let overrides = Overrides { warmup: Some("0".into()), ..Overrides::default() };
        let shown = show(&overrides, &home.environment(), Some(&path), false);
        let line = |key: &str| {
            let line = shown.stdout.lines().find(|line| line.starts_with(key)).expect("is shown");
            line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("fusion.enabled"), format!("false {}:3", path.display()));
        assert_eq!(line("clock_measurement.timing.warm_up.duration_seconds"), "0 --warmup");
        assert_eq!(
            line("clock_measurement.ntp.servers"),
            "pool.ntp.org, time.cloudflare.com, time.nist.gov default"
        );
        assert_eq!(line("state_dir"), format!("{}/.local/state/chronotick HOME", home.0.display()));
        assert_eq!(shown.stderr, note());
    }

    #[test]
    fn show_in_json_is_one_object_whatever_happens() {
        let home = Home::new("json");
        let path = home.file("clock: {}\nlogging: {level: trace}\n");
        let shown = show(&Overrides::default(), &home.environment(), Some(&path), true);
        let object: Value = serde_json::from_str(&shown.stdout).expect("is JSON");
        let level = &object["settings"]["logging.level"];
        assert_eq!(level["value"], "TRACE");
        assert_eq!((&level["origin"]["from"], &level["origin"]["line"]), (&json!("file"), &json!(2)));
        assert_eq!(object["settings"]["clock_measurement.ntp.timeout_seconds"]["value"], 2.0);
        assert_eq!(object["warnings"][0]["key"], "clock");
        assert_eq!(object["notes"].as_array().is_some_and(Vec::is_empty), cfg!(feature = "models"));

        let path = home.file("x: 1\n");
        let refused = show(&Overrides::default(), &home.environment(), Some(&path), true);
        let object: Value = serde_json::from_str(&refused.stdout).expect("is JSON");
        assert_eq!((refused.exit, &object["errors"][0]["key"]), (1, &json!("x")));
    }
}
