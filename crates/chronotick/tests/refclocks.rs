//! Reference clocks end to end: the real binary, fed by the test over the same sockets that gpsd uses.

use chronotick_clock::ClockPair;
use chronotick_core::Span;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a state may take to come about on a busy machine before the test fails.
const PATIENCE: Duration = Duration::from_secs(90);

/// A daemon with directories of its own; killed when dropped.
struct Daemon {
    child: Child,
    dirs: TempDir,
}

impl Daemon {
    /// `lines` are those of the configuration below `reference_clocks`; `DIR` in them is a directory of the daemon's own.
    fn start(servers: &str, lines: &[&str]) -> Daemon {
        let dirs = tempfile::tempdir().unwrap();
        let dir = dirs.path().display().to_string();
        let clocks: String =
            lines.iter().map(|line| format!("  - {}\n", line.replace("DIR", &dir))).collect();
        let head = format!("clock_measurement:\n  ntp:\n    servers: [{servers}]\n  reference_clocks:\n");
        Daemon::configured(dirs, &(head + &clocks))
    }

    /// Starts one with a file.
    fn configured(dirs: TempDir, config: &str) -> Daemon {
        std::fs::write(dirs.path().join("config.yaml"), config).unwrap();
        let log = std::fs::File::create(dirs.path().join("log")).unwrap();
        let child = command(&dirs, &["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Daemon { child, dirs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dirs.path().join(name)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        command(&self.dirs, arguments).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.ask(arguments).stdout).unwrap()
    }

    /// Waits until the answer to `arguments` satisfies a condition.
    fn wait_for(&self, arguments: &[&str], what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let output = self.ask(arguments);
            if let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout)
                && condition(&answer)
            {
                return answer;
            }
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "never {what}: {output:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
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
        .arg("--config")
        .arg(dirs.path().join("config.yaml"))
        .env_clear()
        .env("CHRONOTICK_RUNTIME_DIR", dirs.path().join("run"))
        .env("CHRONOTICK_STATE_DIR", dirs.path().join("state"))
        .env("XDG_CONFIG_HOME", dirs.path());
    command
}

/// Sends a sample ten times a second to a socket, as soon as it is there: the system clock is `offset` behind.
struct Sender {
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sender {
    fn start(path: PathBuf, offset: f64, pulse: bool) -> Sender {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let thread = std::thread::spawn(move || {
            let socket = UnixDatagram::unbound().unwrap();
            while !until.load(Ordering::Relaxed) {
                let system = ClockPair::now().system.as_nanos();
                // As the senders of chrony's protocol do: 40 bytes with 64-bit time.
                let mut bytes = (system / 1_000_000_000).to_ne_bytes().to_vec();
                bytes.extend((system % 1_000_000_000 / 1_000).to_ne_bytes());
                bytes.extend(offset.to_ne_bytes());
                bytes.extend([i32::from(pulse), 0, 0, 0x534f_434b].map(i32::to_ne_bytes).concat());
                let _ = socket.send_to(&bytes, &path);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Sender { ended, thread: Some(thread) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn source<'a>(status: &'a Value, name: &str) -> &'a Value {
    let sources = status["sources"].as_array().expect("a list of sources");
    sources.iter().find(|s| s["address"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
}

fn is_synced(now: &Value) -> bool {
    now["state"] == "synced" && now["answered_by"] == "daemon"
}

#[test]
fn a_socket_alone_sets_the_clock_with_the_right_sign() {
    let daemon = Daemon::start("", &["SOCK DIR/gps.sock refid GPS delay 0.001"]);
    let _sender = Sender::start(daemon.path("gps.sock"), 0.25, false);
    let now = daemon.wait_for(&["now", "--json"], "synced", is_synced);
    let offset = Span::from_nanos(now["system_offset_ns"].as_i64().unwrap());
    assert!((offset - Span::from_millis(250)).abs() < Span::from_millis(20), "{now}");
    let status = daemon.wait_for(&["sources", "--json"], "shown", |s| source(s, "GPS")["best"] == true);
    let sources = daemon.text(&["sources"]);
    assert!(sources.lines().any(|line| line.starts_with("#* GPS ")), "{sources}");
    assert_eq!(source(&status, "GPS")["stratum"], 0);
    assert_eq!(source(&status, "GPS")["mode"], "refclock");
}

#[test]
fn pulses_are_numbered_by_a_coarse_clock_that_has_no_say() {
    let daemon = Daemon::start(
        "",
        &["SOCK DIR/gps.sock refid GPS delay 0.2 noselect", "SOCK DIR/pps.sock refid PPS lock GPS prefer"],
    );
    // Serial time is 40 ms late; the pulse says that the system clock is 2 s and 1 ms behind, of which it knows the 1 ms.
    let _gps = Sender::start(daemon.path("gps.sock"), 2.0 - 0.04, false);
    let _pps = Sender::start(daemon.path("pps.sock"), 0.001, true);
    let now = daemon.wait_for(&["now", "--json"], "synced", is_synced);
    let offset = Span::from_nanos(now["system_offset_ns"].as_i64().unwrap());
    assert!((offset - Span::from_micros(2_001_000)).abs() < Span::from_millis(20), "{now}");
    daemon.wait_for(&["sources", "--json"], "shown", |s| source(s, "PPS")["best"] == true);
    let sources = daemon.text(&["sources"]);
    assert!(sources.lines().any(|line| line.starts_with("#? GPS ")), "{sources}");
    assert!(sources.lines().any(|line| line.starts_with("#* PPS ")), "{sources}");
}

#[test]
fn a_clock_that_falls_silent_is_seen_to_be() {
    let daemon = Daemon::start("", &["SOCK DIR/gps.sock refid GPS"]);
    let sender = Sender::start(daemon.path("gps.sock"), 0.0, false);
    daemon.wait_for(&["now", "--json"], "synced", is_synced);
    drop(sender);
    daemon.wait_for(&["sources", "--json"], "unreachable", |s| {
        source(s, "GPS")["reach"].as_u64().is_some_and(|reach| reach & 7 == 0)
    });
    daemon.wait_for(&["now", "--json"], "in holdover", |now| now["state"] == "holdover");
}

/// Two nodes whose sources disagree by 5 ms measure each other, and know it to a fraction of that.
#[test]
fn nodes_measure_each_other_directly() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = |dirs: &TempDir, more: &str| {
        let dir = dirs.path().display();
        format!(
            "clock_measurement:\n  ntp:\n    servers: []\n  reference_clocks: [SOCK {dir}/gps.sock refid GPS]\n{more}"
        )
    };
    let dirs = tempfile::tempdir().unwrap();
    let serving = config(&dirs, &format!("serve:\n  ntp:\n    enabled: true\n    listen: [\"{free}\"]\n"));
    let server = Daemon::configured(dirs, &serving);
    let _gps = Sender::start(server.path("gps.sock"), 0.0, false);
    let dirs = tempfile::tempdir().unwrap();
    let asking = config(&dirs, &format!("  peers: [\"{free}\"]\n"));
    let asker = Daemon::configured(dirs, &asking);
    let _other = Sender::start(asker.path("gps.sock"), 0.005, false);
    server.wait_for(&["now", "--json"], "synced", is_synced);
    asker.wait_for(&["now", "--json"], "synced", is_synced);
    let status = asker.wait_for(&["peers", "--json"], "measured", |s| s["peers"][0]["bound_ns"].is_i64());
    let peer = &status["peers"][0];
    let (offset, bound) = (peer["offset_ns"].as_i64().unwrap(), peer["bound_ns"].as_i64().unwrap());
    // The peer is 5 ms behind; both follow their clocks to some tenths of a millisecond while they are new.
    assert!((offset + 5_000_000).abs() < 2_000_000 && bound < 4_000_000, "{peer}");
    let table = asker.text(&["peers"]);
    assert!(table.contains(&free.to_string()), "{table}");
    let fields = asker.text(&["peers", "-c"]);
    assert_eq!(fields.trim_end().split(',').count(), 8, "{fields}");
}

#[test]
fn the_views_have_chronys_columns_and_waiting_ends() {
    let daemon = Daemon::start("", &["SOCK DIR/gps.sock refid GPS"]);
    let _sender = Sender::start(daemon.path("gps.sock"), 0.001, false);
    let waited = daemon.ask(&["waitsync", "600", "0", "0", "0.1"]);
    assert!(waited.status.success(), "{waited:?}");
    daemon.wait_for(&["sources", "--json"], "shown", |s| source(s, "GPS")["statistics"].is_object());
    for (view, fields) in
        [("sources", 10), ("sourcestats", 8), ("selectdata", 18), ("tracking", 14), ("activity", 5)]
    {
        let line = daemon.text(&[view, "-c"]);
        assert_eq!(line.trim_end().split(',').count(), fields, "{view}: {line}");
    }
    let never = daemon.ask(&["waitsync", "2", "0.0001", "0", "0.1"]);
    assert_eq!(never.status.code(), Some(1), "{never:?}");
}
