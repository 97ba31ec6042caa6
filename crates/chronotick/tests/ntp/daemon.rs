//! The binary with directories and a configuration of its own, stopped with the test.

use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long something may take to come about on a busy machine before a test fails; no test measures time by it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `chronotick`; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    dirs: TempDir,
}

impl Daemon {
    /// One with this configuration file; what is not in it is quick, and without models.
    pub(crate) fn start(yaml: &str) -> Daemon {
        let dirs = tempfile::tempdir().unwrap();
        let file = dirs.path().join("config.yaml");
        std::fs::write(&file, format!("{yaml}\npreset: minimal\n")).unwrap();
        let log = std::fs::File::create(dirs.path().join("log")).unwrap();
        let mut command = command(&dirs, &["--config", &file.display().to_string(), "run"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Daemon { child, dirs }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dirs.path().join("log")).unwrap_or_default()
    }

    /// Waits until the output of a command satisfies a condition.
    pub(crate) fn wait_for(
        &self,
        arguments: &[&str],
        what: &str,
        condition: impl Fn(&Value) -> bool,
    ) -> Value {
        let output = || command(&self.dirs, arguments).output().unwrap();
        eventually(what, || {
            let Output { stdout, .. } = output();
            serde_json::from_slice::<Value>(&stdout).ok().filter(&condition)
        })
        .unwrap_or_else(|| panic!("never {what}: {:?}\n{}", output(), self.log()))
    }

    pub(crate) fn wait_for_state(&self, state: &str) -> Value {
        self.wait_for(&["now", "--json"], state, |now| {
            now["state"] == state && now["answered_by"] == "daemon"
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dirs: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
    command
        .args(arguments)
        .env_clear()
        .env("CHRONOTICK_RUNTIME_DIR", dirs.path().join("run"))
        .env("CHRONOTICK_STATE_DIR", dirs.path().join("state"))
        .env("XDG_CONFIG_HOME", dirs.path());
    command
}

/// What `look` finds, as soon as it finds anything; none once patience is at an end.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Option<T> {
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
