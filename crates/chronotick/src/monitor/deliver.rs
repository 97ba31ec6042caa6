//! Whom the configuration names: a web address that events are posted to, and a program that is run for each. Both live on
//! threads of their own behind bounded queues. Samples are told to neither.
//!
//! The daemon in its sandbox can start no program. So a [`Runner`], a process of its own that is begun before, runs them.

#[cfg(feature = "webhook")]
mod webhook;

use super::Subscribers;
use crate::config::Monitoring;
use crate::service::runnable;
use chronotick_monitor::{Event, What};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may run for one event.
const PATIENCE: Duration = Duration::from_secs(30);

/// Subscribes whoever is named.
///
/// # Errors
/// If the key for signatures cannot be read, or this program was built without webhooks.
pub(super) fn subscribe(
    subscribers: &Subscribers,
    settings: &Monitoring,
    runner: Option<Runner>,
) -> io::Result<()> {
    if let Some(url) = &settings.webhook {
        post(subscribers, url, settings.webhook_secret_file.as_deref())?;
    }
    if let Some(mut runner) = runner {
        subscribers.call("events to command", move |event| {
            if !matches!(event.what, What::Sample { .. })
                && let Err(e) = runner.tell(event)
            {
                let program = runner.program.display();
                log::warn!(
                    "monitor.command_file: {program}: nobody is left to run it, restart the daemon: {e}"
                );
            }
        })?;
    }
    Ok(())
}

/// Another process of this program, which runs a program for each event.
#[derive(Debug)]
pub struct Runner {
    program: PathBuf,
    events: ChildStdin,
}

impl Runner {
    /// Begins the process that runs the configured program; nothing if there is none.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(settings: &Monitoring) -> io::Result<Option<Runner>> {
        let Some(program) = settings.command.clone().filter(|_| settings.enabled) else { return Ok(None) };
        if let Err(e) = runnable(&program) {
            log::warn!("monitor.command_file: {}: {e}", program.display());
        }
        let mut process = Command::new(std::env::current_exe()?)
            .arg("run-for-events")
            .arg(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let events = process.stdin.take().expect("its standard input is a pipe");
        Ok(Some(Runner { program, events }))
    }

    fn tell(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.events.write_all(&line)
    }
}

/// What a [`Runner`]'s process does: runs the program for each event on standard input, until that ends with the daemon.
///
/// # Errors
/// If standard input cannot be read.
pub(crate) fn run_for_events(program: &Path) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let ran = serde_json::from_str(&line?).map_err(io::Error::from);
        if let Err(e) = ran.and_then(|event| run(program, &event, PATIENCE)) {
            log::warn!("monitor.command_file: {}: {e}", program.display());
        }
    }
    Ok(())
}

#[cfg(feature = "webhook")]
fn post(subscribers: &Subscribers, url: &str, secret: Option<&Path>) -> io::Result<()> {
    let named = |path: &Path, e: io::Error| {
        io::Error::new(e.kind(), format!("monitor.webhook_secret_file: {}: {e}", path.display()))
    };
    let key = secret.map(|path| std::fs::read(path).map_err(|e| named(path, e))).transpose()?;
    let webhook = webhook::Webhook::new(url, key.map(|key| key.trim_ascii().to_vec()));
    subscribers.call("events to webhook", move |event| {
        if !matches!(event.what, What::Sample { .. }) {
            webhook.post(event);
        }
    })
}

#[cfg(not(feature = "webhook"))]
fn post(_: &Subscribers, url: &str, _: Option<&Path>) -> io::Result<()> {
    let why = format!("monitor.webhook is {url}, and this program was built without the feature `webhook`");
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Runs a program with the event as JSON on its standard input and its name in `CHRONOTICK_EVENT`; no shell is involved.
fn run(program: &Path, event: &Event, patience: Duration) -> io::Result<()> {
    let mut child = Command::new(program)
        .env("CHRONOTICK_EVENT", event.what.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    if let Some(mut input) = child.stdin.take() {
        // Whoever does not read its input knows enough by the name of the event.
        let _ = input.write_all(&line);
    }
    finish(&mut child, patience)
}

fn finish(child: &mut Child, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("it ended with {status}"))),
            None if Instant::now() >= until => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it was stopped after {patience:?}"),
                ));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use chronotick_monitor::Alert;
    use std::os::unix::fs::PermissionsExt;

    pub(in crate::monitor) fn alert() -> Event {
        let what = What::AlertRaised { alert: Alert::Limit, why: "too far".into(), value_ns: Some(5) };
        Event { utc_ns: 1_700_000_000_000_000_000, simulation: false, what }
    }

    fn script(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_program_finds_the_event_on_its_input() {
        let (dir, path) = script(
            "cat > \"$(dirname \"$0\")/seen\"; echo \"$CHRONOTICK_EVENT\" >> \"$(dirname \"$0\")/seen\"",
        );
        run(&path, &alert(), PATIENCE).unwrap();
        let seen = std::fs::read_to_string(dir.path().join("seen")).unwrap();
        let (json, name) = seen.split_once('\n').unwrap();
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), alert());
        assert_eq!(name.trim(), "alert_raised");
    }

    #[test]
    fn a_program_that_hangs_or_fails_is_an_error_and_no_more() {
        let (_dir, hangs) = script("exec sleep 600");
        assert_eq!(
            run(&hangs, &alert(), Duration::from_millis(100)).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        let (_dir, fails) = script("exit 3");
        assert!(run(&fails, &alert(), PATIENCE).unwrap_err().to_string().contains('3'));
        assert!(run(Path::new("/nonexistent"), &alert(), PATIENCE).is_err());
    }
}
