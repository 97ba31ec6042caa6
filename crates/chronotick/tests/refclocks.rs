//! Reference clocks end to end: the real binary, fed by the test over the same sockets that gpsd uses.

use chronotick_clock::ClockPair;
use chronotick_core::Span;
use chronotick_peers::Daemon;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_chronotick");

/// A daemon with these reference clocks and no other source; `DIR` in them is a directory of its own.
fn start(clocks: &[&str], further: &str) -> Daemon {
    let clocks: String = clocks.iter().map(|line| format!("    - {line}\n")).collect();
    let measurement = format!("  ntp:\n    servers: []\n  reference_clocks:\n{clocks}");
    Daemon::start(PROGRAM, &format!("clock_measurement:\n{measurement}{further}"), &[])
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
    let daemon = start(&["SOCK DIR/gps.sock refid GPS delay 0.001"], "");
    let _sender = Sender::start(daemon.folder().join("gps.sock"), 0.25, false);
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
    let daemon = start(
        &["SOCK DIR/gps.sock refid GPS delay 0.2 noselect", "SOCK DIR/pps.sock refid PPS lock GPS prefer"],
        "",
    );
    // Serial time is 40 ms late; the pulse says that the system clock is 2 s and 1 ms behind, of which it knows the 1 ms.
    let _gps = Sender::start(daemon.folder().join("gps.sock"), 2.0 - 0.04, false);
    let _pps = Sender::start(daemon.folder().join("pps.sock"), 0.001, true);
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
    let daemon = start(&["SOCK DIR/gps.sock refid GPS"], "");
    let sender = Sender::start(daemon.folder().join("gps.sock"), 0.0, false);
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
    let clock = ["SOCK DIR/gps.sock refid GPS"];
    let server = start(&clock, &format!("serve:\n  ntp:\n    enabled: true\n    listen: [\"{free}\"]\n"));
    let _gps = Sender::start(server.folder().join("gps.sock"), 0.0, false);
    let asker = start(&clock, &format!("  peers: [\"{free}\"]\n"));
    let _other = Sender::start(asker.folder().join("gps.sock"), 0.005, false);
    server.wait_for(&["now", "--json"], "synced", is_synced);
    asker.wait_for(&["now", "--json"], "synced", is_synced);
    let status = asker.wait_for(&["peers", "--json"], "measured", |s| {
        s["peers"][0]["bound_ns"].as_i64().is_some_and(|bound| bound < 4_000_000)
    });
    let peer = &status["peers"][0];
    // The peer is 5 ms behind; both follow their clocks to some tenths of a millisecond while they are new.
    assert!((peer["offset_ns"].as_i64().unwrap() + 5_000_000).abs() < 2_000_000, "{peer}");
    let table = asker.text(&["peers"]);
    assert!(table.contains(&free.to_string()), "{table}");
    let fields = asker.text(&["peers", "-c"]);
    assert_eq!(fields.trim_end().split(',').count(), 8, "{fields}");
}

#[test]
fn the_views_have_chronys_columns_and_waiting_ends() {
    let daemon = start(&["SOCK DIR/gps.sock refid GPS"], "");
    let _sender = Sender::start(daemon.folder().join("gps.sock"), 0.001, false);
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
