//! Talking to a real chronyd: as its client, and as its server. Skipped, with the reason, where there is none.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use chronotick_core::{Leap, Measurement, SourceId, Span, Timestamp};
use chronotick_ntp::{Association, ReferenceId, Rejected, Responder, Settings};
use chronotick_os::{ClockPair, TimestampedSocket, random_u64, raw_now, wait};
use chronotick_peers::{Chronyd, chronyd};

/// Asks a server until it has answered so often, whatever it answers; it may take a moment to start.
fn answers(server: SocketAddr, count: usize) -> (Association, Vec<Result<Measurement, Rejected>>) {
    let quick = Span::from_millis(20);
    let settings = Settings {
        min_poll: quick,
        burst_interval: quick,
        deadline: Span::from_secs(1),
        max_backoff: Span::from_millis(100),
        ..Settings::default()
    };
    let mut socket = TimestampedSocket::connect(server).unwrap();
    let mut association = Association::new(SourceId(0), settings, raw_now());
    let (mut results, mut buffer) = (vec![], [0; 512]);
    while results.len() < count {
        assert!(association.counters().sent < 1_000, "chronyd does not answer");
        if let Some(request) = association.poll(raw_now(), random_u64) {
            // Until it listens, the kernel reports that nobody does.
            let _ = socket.send(&request);
        }
        let until = association.next_event().unwrap();
        wait(&[socket.as_fd()], Some(until - raw_now())).unwrap();
        if let Ok(Some((datagram, exchange))) = socket.recv(&mut buffer) {
            results.push(association.receive(datagram, &exchange));
        }
    }
    (association, results)
}

/// The system clock at a raw instant, from readings on either side of it; the second number is how wrong that may be.
fn system_at(m: &Measurement, before: ClockPair, after: ClockPair) -> (Timestamp, Span) {
    let drift = (after.system - before.system) - (after.raw - before.raw);
    (before.system + (m.at - before.raw), drift.abs() + before.slack + after.slack)
}

#[test]
fn what_chronyd_says_is_within_the_error_of_the_measurement() {
    let Some(server) = Chronyd::start("local stratum 3") else { return };
    let before = ClockPair::now();
    let (association, results) = answers(server.address(), 10);
    let after = ClockPair::now();
    for result in results {
        let m = result.unwrap();
        let (system, slack) = system_at(&m, before, after);
        assert!((m.utc - system).abs() <= m.max_error() + slack, "{m:?} against {system:?} ± {slack}");
        assert_eq!((m.stratum, m.leap), (3, Leap::None));
    }
    let header = association.server().unwrap();
    assert_eq!((header.version, header.reference_id), (4, ReferenceId([127, 127, 1, 1])));
    assert_eq!(association.reach(), 0xff);
}

#[test]
fn a_chronyd_that_does_not_know_the_time_is_not_believed() {
    let Some(server) = Chronyd::start("") else { return };
    let (association, results) = answers(server.address(), 3);
    assert!(results.iter().all(|r| *r == Err(Rejected::Unsynchronised)), "{results:?}");
    assert_eq!((association.reach(), association.counters().rejected["unsynchronised"]), (0, 3));
}

#[test]
fn chronyd_takes_the_time_from_the_responder() {
    // 12.5 s ahead of the system clock: chronyd has to say so.
    let ahead = Span::from_millis(12_500);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let directive =
        format!("server 127.0.0.1 port {} iburst maxsamples 1", socket.local_addr().unwrap().port());
    let folder = tempfile::tempdir().unwrap();
    let pidfile = format!("pidfile {}", folder.path().join("pid").display());
    let Some(mut command) = chronyd(&["-Q", "-t", "20", &directive, "port 0", "cmdport 0", &pidfile]) else {
        return;
    };
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();

    let now = || ClockPair::now().system + ahead;
    let responder =
        Responder { leap: Some(Leap::None), stratum: 2, reference: now(), ..Responder::default() };
    let mut buffer = [0; 512];
    while child.try_wait().unwrap().is_none() {
        let Ok((len, client)) = socket.recv_from(&mut buffer) else { continue };
        let reply = responder.answer(&buffer[..len], now()).expect("chronyd asks as a client");
        socket.send_to(&reply.leaving_at(now()), client).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("wrong by 12.5") || text.contains("wrong by 12.499"), "{text}");
}

#[test]
fn the_smallest_client_writes_a_line_a_second() {
    let servers: Vec<Chronyd> = (0..3).map_while(|_| Chronyd::start("local stratum 1")).collect();
    if servers.is_empty() {
        return;
    }
    servers.iter().for_each(|server| drop(answers(server.address(), 1)));
    let folder = tempfile::tempdir().unwrap();
    let deps = std::env::current_exe().unwrap();
    let example = deps.parent().unwrap().parent().unwrap().join("examples/poll_client");
    if !example.exists() {
        eprintln!("skipped: the example poll_client is not built (`cargo test -p chronotick-ntp` builds it)");
        return;
    }
    let mut command = Command::new(&example);
    for server in &servers {
        command.args(["--server", &server.address().to_string()]);
    }
    let done = command.args(["--poll", "1", "--limit", "4.5", "--out"]).arg(folder.path()).output().unwrap();
    assert!(done.status.success(), "{}: {done:?}", example.display());

    let text = fs::read_to_string(folder.path().join("ticks.tsv")).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    let words: Vec<&str> = header.split(' ').collect();
    assert!(
        matches!(words[..], ["#", "raw0", raw0, "chronotick"] if raw0.parse::<f64>().is_ok()),
        "{header}"
    );
    let mut before = 0.0;
    for line in lines.lines() {
        let columns: Vec<f64> = line.split('\t').map(|c| c.parse().unwrap()).collect();
        let [raw, correction, sigma] = columns[..] else { panic!("{line}") };
        assert!(raw > before && correction.abs() < 0.05 && sigma > 0.0, "{line}");
        before = raw;
    }
    assert!(lines.lines().count() >= 2, "{text}");
}
