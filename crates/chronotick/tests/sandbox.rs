//! A whole daemon in its sandbox: all its doors answer, whom it has to tell is told, every thread is confined, and no secret is in
//! anything that it writes, however much it logs.
#![cfg(all(target_os = "linux", feature = "webhook"))]

mod time_server;

use chronotick_clock::Span;
use chronotick_peers::http::{Reply, Server};
use chronotick_peers::{Certificates, free_tcp_address};
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use time_server::time_server;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const TOKEN: &str = "token-3f9a1c77e2d84b6a95c0";
const KEY: &str = "webhook-key-b81e6f2d4a7049";

/// Killed when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn ask(address: SocketAddr, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let method = if body.is_empty() { "GET" } else { "POST" };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        address.port(),
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

/// All that was written below a folder.
fn written(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(written(&path)),
            path => all.extend(fs::read(&path).ok().map(|bytes| (path.display().to_string(), bytes))),
        }
    }
    all
}

#[test]
fn a_whole_daemon_lives_in_its_sandbox_and_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let private = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
    };
    fs::create_dir_all(path("secrets")).unwrap();
    private("secrets/token", TOKEN);
    private("secrets/key", KEY);
    let certificates = Certificates::new();
    // The program writes where the daemon itself may not.
    fs::create_dir_all(path("elsewhere")).unwrap();
    let told = path("elsewhere/told");
    fs::write(path("program"), format!("#!/bin/sh\ncat >> {}\n", told.display())).unwrap();
    fs::set_permissions(path("program"), Permissions::from_mode(0o755)).unwrap();
    let (posted, posts) = mpsc::channel();
    let hook = Server::start(move |request| {
        let _ = posted.send(request.headers.clone());
        Reply::new(200, "")
    });

    let (http, keys, ntp) = (free_tcp_address(), free_tcp_address(), free_tcp_address());
    let servers: Vec<String> = (0..3).map(|_| format!("\"{}\"", time_server(Span::ZERO))).collect();
    let file = format!(
        "clock_measurement:\n  ntp:\n    servers: [{}]\n\
         monitor:\n  alert_above: 0.000001\n  raise_after: 1\n  interval: 1\n  command_file: {}\n  webhook: {}/events\n  \
         webhook_secret_file: {}\nhttp:\n  listen: \"{http}\"\n  token_file: {}\nmcp:\n  audit_file: {}\n\
         serve:\n  ntp:\n    enabled: true\n    listen: [\"{ntp}\"]\n  nts:\n    enabled: true\n    listen: [\"{keys}\"]\n    \
         certificate_file: {}\n    private_key_file: {}\nlogging:\n  level: trace\n  debug_trace: true\n\
         daemon:\n  sandbox: auto\nruntime_dir: {}\nstate_dir: {}\n",
        servers.join(", "),
        path("program").display(),
        hook.url(),
        path("secrets/key").display(),
        path("secrets/token").display(),
        path("calls.jsonl").display(),
        certificates.certificate().display(),
        certificates.key().display(),
        path("out/run").display(),
        path("out/state").display(),
    );
    fs::write(path("chronotick.yaml"), file).unwrap();
    fs::create_dir_all(path("out")).unwrap();
    let log = || File::options().append(true).create(true).open(path("out/log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_chronotick"))
        .args(["run", "-f"])
        .arg(path("chronotick.yaml"))
        .env_clear()
        .stdout(Stdio::from(log()))
        .stderr(Stdio::from(log()))
        .spawn()
        .unwrap();
    let mut daemon = Daemon(child);
    let said = || fs::read_to_string(path("out/log")).unwrap();
    let line = wait_for("a line about the sandbox", || {
        said().lines().find(|l| l.contains("sandbox:")).map(str::to_owned)
    });

    wait_for("synced time over HTTP", || {
        ask(http, "/v1/time", "").filter(|t| t.contains("\"state\":\"synced\""))
    });
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    wait_for("an answer over MCP", || ask(http, "/mcp", call).filter(|t| t.contains("serverInfo")));
    wait_for("samples in the history", || {
        let history = chronotick_record::History::open_read_only(&path("out/state")).ok()?;
        let (first, last) =
            (chronotick_clock::Timestamp::from_nanos(0), chronotick_clock::Timestamp::from_nanos(i64::MAX));
        (!history.samples(first, last).ok()?.is_empty()).then_some(())
    });
    wait_for("the program was run", || fs::read(&told).ok().filter(|t| !t.is_empty()));
    let headers = posts.recv_timeout(PATIENCE).expect("the webhook is told");
    assert!(headers.keys().any(|name| name.contains("signature")), "{headers:?}");

    if line.contains("seccomp)") {
        let threads = fs::read_dir(format!("/proc/{}/task", daemon.0.id())).unwrap();
        for thread in threads.flatten() {
            let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
            let confined = status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2");
            assert!(confined, "{status}");
        }
    } else {
        eprintln!("skipped: {line}");
    }

    let pid = daemon.0.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(daemon.0.wait().unwrap().success());
    assert!(said().contains("TRACE") || said().contains("DEBUG"), "this much was to be logged");
    let private_key = fs::read_to_string(certificates.key()).unwrap();
    let private_key = private_key.lines().nth(1).unwrap().to_owned();
    for (name, bytes) in
        written(&path("out")).into_iter().chain([("calls".into(), fs::read(path("calls.jsonl")).unwrap())])
    {
        for secret in [TOKEN, KEY, &private_key] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{name} has a secret");
        }
    }
}
