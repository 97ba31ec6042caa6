//! One call of the user's own `ssh`: a command, what it reads, and what it answers, within bounds of time and size.
//!
//! The user's configuration decides how a host is reached (jump hosts, keys, known hosts); nobody is ever asked for a
//! password. What goes to the login shell of the other side is a constant, or a path that every shell reads alike;
//! everything else goes to a POSIX shell by its standard input.

use crate::config::{FleetHost, Inventory};
use crate::watch::clean;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What runs a script of ours, whatever the login shell is.
pub(super) const SHELL: &str = "exec sh -s";

/// ssh's own exit code for a connection that failed (ssh(1), "EXIT STATUS").
const NOT_REACHED: i32 = 255;

/// The most that is kept of what a host says beside its answer.
const COMPLAINT: u64 = 16 * 1024;

/// How hosts are reached.
#[derive(Clone, Debug)]
pub(super) struct Ssh {
    config: Option<PathBuf>,
    patience: Duration,
}

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long, in all.
    pub(super) time: Duration,
    /// The longest answer, in bytes.
    pub(super) answer: u64,
}

impl Limits {
    /// Of a script: some lines, within two minutes.
    pub(super) const SCRIPT: Limits = Limits { time: Duration::from_secs(120), answer: 4 << 20 };

    /// Of bytes that are copied: at a slow link's 64 KiB/s.
    pub(super) fn copying(bytes: u64) -> Limits {
        Limits { time: Duration::from_secs(120 + bytes / (64 << 10)), answer: bytes }
    }
}

impl Ssh {
    pub(super) fn new(inventory: &Inventory) -> Ssh {
        Ssh { config: inventory.ssh_config.clone(), patience: inventory.patience }
    }

    /// The arguments of ssh for a command on a host.
    pub(super) fn arguments(&self, host: &FleetHost, command: &str) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        if let Some(config) = &self.config {
            all.extend(["-F".to_owned(), config.display().to_string()]);
        }
        // A dead link is noticed within a minute.
        let timeout = format!("ConnectTimeout={}", self.patience.as_secs());
        for option in ["BatchMode=yes", &timeout, "ServerAliveInterval=15", "ServerAliveCountMax=4"] {
            all.extend(["-o".to_owned(), option.to_owned()]);
        }
        all.extend(["-T", "--", &host.address, command].map(str::to_owned));
        all
    }

    /// Runs `command` on `host`, which reads `input`; its answer goes to `answer` as it comes.
    pub(super) fn call(
        &self,
        host: &FleetHost,
        command: &str,
        input: &[u8],
        limits: Limits,
        answer: &mut (dyn Write + Send),
    ) -> Result<(), String> {
        let mut ssh = Command::new("ssh");
        ssh.args(self.arguments(host, command));
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ssh.spawn().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => "there is no ssh here; install OpenSSH's client".to_owned(),
            _ => format!("ssh cannot be started: {e}"),
        })?;
        let (mut to, mut from, complaint) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (code, copied, said) = std::thread::scope(|scope| {
            // Whoever does not read it all says why by its exit code.
            scope.spawn(move || to.take().map(|mut to| to.write_all(input)));
            let copying =
                scope.spawn(|| from.take().map_or(Ok(()), |from| copy(from, limits.answer, answer)));
            let saying = scope.spawn(|| complaint.map(listen).unwrap_or_default());
            let code = ended(&mut child, limits.time, || copying.is_finished());
            let failed = || Err("the answer could not be taken".to_owned());
            (code, copying.join().unwrap_or_else(|_| failed()), saying.join().unwrap_or_default())
        });
        let said = said.lines().rfind(|line| !line.trim().is_empty()).map(clean).unwrap_or_default();
        match code? {
            Some(0) => copied,
            Some(NOT_REACHED) => Err(format!("not reached: {}", or(said, "ssh does not say why"))),
            _ if copied.is_err() => copied,
            Some(code) => Err(format!("exit code {code}: {}", or(said, "the host does not say why"))),
            None => Err("ssh was ended by a signal".into()),
        }
    }

    /// Runs a script of ours and gives what it says.
    pub(super) fn script(&self, host: &FleetHost, script: &str) -> Result<String, String> {
        let mut answer = Vec::new();
        self.call(host, SHELL, script.as_bytes(), Limits::SCRIPT, &mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

/// The exit code once it has ended; it is ended where its time is up.
fn ended(child: &mut Child, within: Duration, full: impl Fn() -> bool) -> Result<Option<i32>, String> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(2);
    let mut closed: Option<Instant> = None;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code()),
            Ok(None) => {}
            Err(e) => return Err(format!("ssh: {e}")),
        }
        // Without anybody who takes the answer it would wait for ever.
        closed = closed.or_else(|| full().then(Instant::now));
        let late = begun.elapsed() > within;
        if late || closed.is_some_and(|at| at.elapsed() > Duration::from_secs(10)) {
            let _ = child.kill();
            let _ = child.wait();
            return if late { Err(format!("no end within {} s", within.as_secs())) } else { Ok(None) };
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn copy(from: impl Read, most: u64, to: &mut (dyn Write + Send)) -> Result<(), String> {
    let mut from = from.take(most + 1);
    let copied = io::copy(&mut from, to).map_err(|e| format!("the answer cannot be kept: {e}"))?;
    if copied > most { Err(format!("it answers more than {most} bytes")) } else { Ok(()) }
}

/// The end of what is said beside the answer.
fn listen(mut from: impl Read) -> String {
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        said.extend_from_slice(&chunk[..read]);
        let beyond = said.len().saturating_sub(COMPLAINT as usize);
        said.drain(..beyond);
    }
    String::from_utf8_lossy(&said).into_owned()
}
