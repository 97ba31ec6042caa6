//! The daemon as a server.

use crate::daemon::start;
use chronotick_core::{Leap, Span, Timestamp};
use chronotick_ntp::{Mode, NtpTimestamp, Packet, ReferenceId};
use chronotick_os::{ClockPair, random_u64};
use chronotick_peers::{Chronyd, Daemon, eventually, free_address};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A daemon behind these servers that serves on a port of its own.
fn serving(upstream: &[SocketAddr], further: &str) -> (Daemon, SocketAddr) {
    let address = free_address();
    let list: Vec<String> = upstream.iter().map(ToString::to_string).collect();
    let yaml = format!(
        "clock_measurement:\n  ntp:\n    servers: {}\nserve:\n  ntp:\n    enabled: true\n    listen: {address}\n{further}",
        list.join(",")
    );
    (start(&yaml), address)
}

/// One exchange with the server, none if it does not answer within three seconds.
fn ask(server: SocketAddr, change: impl Fn(&mut Packet)) -> Option<Packet> {
    let socket = UdpSocket::bind((if server.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut request = Packet::request(NtpTimestamp::from_bits(random_u64()));
    change(&mut request);
    socket.connect(server).unwrap();
    socket.send(&request.to_bytes()).ok()?;
    let mut buffer = [0; 512];
    let len = socket.recv(&mut buffer).ok()?;
    assert_eq!(len, Packet::LEN, "no more than was asked");
    let reply = Packet::parse(&buffer[..len])?;
    assert_eq!((reply.mode, reply.origin), (Mode::Server, request.transmit));
    Some(reply)
}

fn plain(server: SocketAddr) -> Option<Packet> {
    ask(server, |_| ())
}

#[test]
fn a_chronyd_takes_the_time_from_the_daemon_with_an_honest_root_distance() {
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let (daemon, address) = serving(&[upstream.address()], "");
    daemon.wait_for_state("synced");
    // From another address than the upstream's, which is what our reference is: it would look like a loop.
    let directive = format!("server 127.0.0.1 port {} iburst minpoll 0 maxpoll 0", address.port());
    let client = Chronyd::start(&format!("{directive}\nbindacqaddress 127.0.0.3")).unwrap();
    let row = eventually("selected by chronyd", || {
        let row = client.chronyc(&["sources"]);
        row.starts_with("^,*").then_some(row)
    });
    let row = row.unwrap_or_else(|| panic!("{}\n{}", client.chronyc(&["sources"]), daemon.log()));
    assert_eq!(row.split(',').nth(3), Some("4"), "its stratum is one more: {row}");
    let tracking = client.chronyc(&["tracking"]);
    let columns: Vec<&str> = tracking.trim().split(',').collect();
    assert_eq!((columns[2], columns[13]), ("5", "Normal"), "{tracking}");
    let number = |i: usize| columns[i].parse::<f64>().unwrap();
    // The system clock is what the upstream serves, and so what has to be found.
    let (offset, root_delay, root_dispersion) = (number(4), number(10), number(11));
    assert!(offset.abs() <= root_delay / 2.0 + root_dispersion, "{tracking}");
}

#[test]
fn the_header_says_what_the_bound_is_and_where_it_came_from() {
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let (daemon, address) = serving(&[upstream.address()], "");
    daemon.wait_for_state("synced");
    for _ in 0..3 {
        let before = ClockPair::now();
        let reply = plain(address).unwrap();
        let after = ClockPair::now();
        assert_eq!((reply.leap, reply.stratum), (Some(Leap::None), 4));
        assert_eq!(reply.reference_id, ReferenceId([127, 0, 0, 1]));
        let distance = reply.root_delay.to_span().half() + reply.root_dispersion.to_span();
        assert!(distance > Span::ZERO && distance < Span::from_millis(100), "{distance}");
        // The system clock is true time here: the server's stamps are within the distance of when they were taken.
        for stamp in [reply.receive, reply.transmit] {
            let told: Timestamp = stamp.near(before.system);
            assert!(told >= before.system - distance && told <= after.system + distance, "{reply:?}");
        }
        assert!(reply.transmit.since(reply.receive) >= Span::ZERO);
    }
    for version in 1..=4 {
        assert_eq!(ask(address, |p| p.version = version).unwrap().version, version);
    }
    for mode in [Mode::Control, Mode::Private, Mode::SymmetricActive, Mode::Broadcast, Mode::Server] {
        assert!(ask(address, |p| p.mode = mode).is_none(), "{mode:?} is not for us");
    }
}

#[test]
fn while_nothing_is_known_nobody_is_answered() {
    let nobody = free_address();
    let (daemon, address) = serving(&[nobody], "");
    daemon.wait_for(&["now", "--json"], "started", |now| now["answered_by"] == "daemon");
    assert_eq!(plain(address), None);
}

#[test]
fn beyond_the_stated_root_distance_nobody_is_answered() {
    let Some(mut upstream) = Chronyd::start("local stratum 3") else { return };
    // Ageing adds 15 ppm to a bound of less than a millisecond: 1.5 ms are reached within a minute and a half.
    let (daemon, address) = serving(&[upstream.address()], "    max_root_distance: 0.0006\n");
    daemon.wait_for_state("synced");
    assert!(eventually("answers", || plain(address)).is_some(), "{}", daemon.log());
    upstream.kill();
    assert!(eventually("silent", || plain(address).is_none().then_some(())).is_some());
}

#[test]
fn who_may_not_ask_or_asks_too_often_is_told_with_a_kiss() {
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let further = "    deny: 127.0.0.0/8\n";
    let (denied, address) = serving(&[upstream.address()], further);
    denied.wait_for(&["now", "--json"], "started", |now| now["answered_by"] == "daemon");
    let kiss = eventually("a kiss", || plain(address)).unwrap();
    assert_eq!((kiss.stratum, kiss.leap, kiss.reference_id), (0, None, ReferenceId(*b"DENY")));
    assert_eq!(kiss.transmit, kiss.origin, "no time is told");

    let (strangers, address) = serving(&[upstream.address()], "    allow: 192.0.2.0/24\n");
    strangers.wait_for(&["now", "--json"], "started", |now| now["answered_by"] == "daemon");
    assert_eq!(eventually("a kiss", || plain(address)).unwrap().reference_id, ReferenceId(*b"RSTR"));

    let (busy, address) = serving(&[upstream.address()], "    rate_interval: 1000\n    rate_burst: 2\n");
    busy.wait_for_state("synced");
    let replies: Vec<Option<Packet>> = (0..4).map(|_| plain(address)).collect();
    let kinds: Vec<_> = replies.iter().map(|reply| reply.map(|packet| packet.stratum)).collect();
    assert_eq!(kinds, [Some(4), Some(4), Some(0), None]);
    assert_eq!(replies[2].unwrap().reference_id, ReferenceId(*b"RATE"));
}

#[test]
fn ipv6_is_served_beside_ipv4() {
    let Some(upstream) = Chronyd::start("local stratum 3") else { return };
    let port = free_address().port();
    if UdpSocket::bind(("::1", 0)).is_err() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    let daemon = start(&format!(
        "clock_measurement:\n  ntp:\n    servers: {}\nserve:\n  ntp:\n    enabled: true\n    listen: [\"0.0.0.0:{port}\", \"[::]:{port}\"]\n",
        upstream.address()
    ));
    daemon.wait_for_state("synced");
    for host in ["127.0.0.1", "127.0.0.9", "[::1]"] {
        let server: SocketAddr = format!("{host}:{port}").parse().unwrap();
        assert_eq!(plain(server).unwrap().stratum, 4, "{host}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_the_mend() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let daemon = start(&format!("serve:\n  ntp:\n    enabled: true\n    listen: {listen}\n"));
    let told = eventually("told", || {
        daemon.log().lines().find(|l| l.contains("serve.ntp.listen")).map(str::to_owned)
    });
    let told = told.unwrap_or_else(|| panic!("{}", daemon.log()));
    assert!(told.contains(&listen.to_string()) && told.contains("another program"), "{told}");
}
