//! The program under test as a daemon, with directories of its own.

use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long something may take to come about on a busy machine before a test fails; no test measures time by it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `chronotick`; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    program: &'static str,
    arguments: Vec<String>,
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts `program run` with these further arguments and this configuration file, in which `DIR` is a directory of its own.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(program: &'static str, yaml: &str, arguments: &[&str]) -> Daemon {
        let folder = tempfile::tempdir().expect("a directory");
        let yaml = yaml.replace("DIR", &folder.path().display().to_string());
        // Where the program looks for it by itself.
        fs::create_dir(folder.path().join("chronotick")).expect("the directory is ours");
        fs::write(folder.path().join("chronotick/config.yaml"), yaml).expect("the directory is ours");
        let arguments: Vec<String> = ["run"].iter().chain(arguments).map(ToString::to_string).collect();
        let child = spawn(program, &folder, &arguments);
        Daemon { program, arguments, child, folder }
    }

    /// Starts it once more, as before and where it was.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.program, &self.folder, &self.arguments);
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn stop(&mut self) -> ExitStatus {
        let signalled = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(signalled.is_ok_and(|status| status.success()), "kill does not run");
        self.child.wait().expect("it is our child")
    }

    /// The directory that is its own; `state` in it is its state directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The program once more, with its directories.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.program, self.folder.path());
        command.args(arguments);
        command
    }

    /// What the program answers.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Its standard output.
    ///
    /// # Panics
    /// If that is no text.
    pub fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.ask(arguments).stdout).expect("text")
    }

    /// Its standard output, read as JSON.
    ///
    /// # Panics
    /// If that is no JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {output:?}"))
    }

    /// Waits until the JSON that these arguments give satisfies a condition.
    ///
    /// # Panics
    /// If it never does.
    pub fn wait_for(&self, arguments: &[&str], what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let found = eventually(what, || {
            serde_json::from_slice::<Value>(&self.ask(arguments).stdout).ok().filter(&condition)
        });
        found.unwrap_or_else(|| panic!("never {what}: {:?}\n{}", self.ask(arguments), self.log()))
    }

    /// Waits until a reader of its page, or of what is left of it, sees this state.
    ///
    /// # Panics
    /// If none ever does.
    pub fn wait_for_state(&self, state: &str) -> Value {
        let is = |now: &Value| now["state"] == state && now["answered_by"] == "daemon";
        self.wait_for(&["now", "--json"], state, is)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program with nothing of this machine: its directories are in `folder`.
pub fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("CHRONOTICK_RUNTIME_DIR", folder.join("run"))
        .env("CHRONOTICK_STATE_DIR", folder.join("state"))
        .env("XDG_CONFIG_HOME", folder);
    command
}

fn spawn(program: &str, folder: &TempDir, arguments: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(folder.path().join("log"));
    let mut command = command(program, folder.path());
    command.args(arguments).stdout(Stdio::null()).stderr(log.expect("the directory is ours"));
    command.spawn().expect("the program starts")
}

/// What `look` finds, as soon as it finds anything; none once patience is at an end.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!("never {what}");
    None
}
