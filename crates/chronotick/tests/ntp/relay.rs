//! The relay: many clients at once, and no reply to the wrong one.

use crate::daemon::start;
use chronotick_core::{Leap, Timestamp};
use chronotick_ntp::{NtpTimestamp, Packet, Responder};
use chronotick_peers::{Chronyd, free_address};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Relay {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Relay {
    fn start(upstreams: &[SocketAddr]) -> Relay {
        let addresses: Vec<SocketAddr> = upstreams.iter().map(|_| free_address()).collect();
        let list = |items: Vec<String>| items.join(",");
        let mut command = Command::new(env!("CARGO_BIN_EXE_chronotick"));
        command.args(["relay", "--bind", "127.0.0.1", "--listen"]);
        command.arg(list(addresses.iter().map(|a| a.port().to_string()).collect()));
        command.arg("--upstream").arg(list(upstreams.iter().map(ToString::to_string).collect()));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let relay = Relay { child, addresses };
        std::thread::sleep(Duration::from_secs(2));
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(relay: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(relay).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

#[test]
fn no_reply_comes_to_the_wrong_client_however_late() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let relay = Relay::start(&[upstream.local_addr().unwrap()]);
    // Without a nonce, as the original system's clients: all requests are the same bytes.
    let request = Packet::request(NtpTimestamp::ZERO).to_bytes();
    let clients: Vec<UdpSocket> = (0..20).map(|_| client(relay.addresses[0])).collect();
    let mut taken = Vec::new();
    for client in &clients {
        client.send(&request).unwrap();
        let mut buffer = [0; 512];
        let (len, from) = upstream.recv_from(&mut buffer).unwrap();
        taken.push((buffer[..len].to_vec(), from));
    }
    let mut ports: Vec<u16> = taken.iter().map(|(_, from)| from.port()).collect();
    let mut nonces: Vec<Vec<u8>> = taken.iter().map(|(request, _)| request[40..48].to_vec()).collect();
    ports.sort_unstable();
    ports.dedup();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!((ports.len(), nonces.len()), (20, 20), "a socket and a nonce for each request");

    let reply = |request: &[u8], second: i64| {
        let server = Responder { leap: Some(Leap::None), stratum: 1, ..Responder::default() };
        let at = Timestamp::from_nanos(1_700_000_000_000_000_000 + second * 1_000_000_000);
        server.answer(request, at).unwrap().leaving_at(at)
    };
    // Each reply is also sent to the wrong socket first, and all in the opposite order.
    for (i, (request, from)) in taken.iter().enumerate().rev() {
        let wrong = taken[(i + 1) % taken.len()].1;
        upstream.send_to(&reply(request, 1_000), wrong).unwrap();
        upstream.send_to(&reply(request, i as i64), *from).unwrap();
    }
    for (i, client) in clients.iter().enumerate() {
        let mut buffer = [0; 512];
        let len = client.recv(&mut buffer).unwrap();
        let got = Packet::parse(&buffer[..len]).unwrap();
        let expected = Timestamp::from_nanos(1_700_000_000_000_000_000 + i as i64 * 1_000_000_000);
        assert_eq!((got.origin, got.transmit), (NtpTimestamp::ZERO, NtpTimestamp::from_utc(expected)));
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert!(client.recv(&mut buffer).is_err(), "one reply to one request");
    }

    // A reply that comes after its request was given up goes to nobody.
    clients[0].send(&request).unwrap();
    let mut buffer = [0; 512];
    let (len, late) = upstream.recv_from(&mut buffer).unwrap();
    let old = buffer[..len].to_vec();
    std::thread::sleep(Duration::from_secs(4));
    clients[1].send(&request).unwrap();
    let (len, from) = upstream.recv_from(&mut buffer).unwrap();
    upstream.send_to(&reply(&old, 500), late).unwrap();
    upstream.send_to(&reply(&old, 501), from).unwrap();
    upstream.send_to(&reply(&buffer[..len], 7), from).unwrap();
    let mut got = [0; 512];
    clients[1].set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let len = clients[1].recv(&mut got).unwrap();
    let seconds = Packet::parse(&got[..len]).unwrap().transmit;
    assert_eq!(seconds, NtpTimestamp::from_utc(Timestamp::from_nanos(1_700_000_007_000_000_000)));
    assert!(clients[0].recv(&mut got).is_err());
}

#[test]
fn a_daemon_takes_the_time_through_a_relay() {
    let servers: Vec<Chronyd> = (0..3).map_while(|_| Chronyd::start("local stratum 2")).collect();
    if servers.is_empty() {
        return;
    }
    let relay = Relay::start(&servers.iter().map(Chronyd::address).collect::<Vec<_>>());
    let list: Vec<String> = relay.addresses.iter().map(ToString::to_string).collect();
    let daemon = start(&format!("clock_measurement:\n  ntp:\n    servers: {}", list.join(",")));
    daemon.wait_for_state("synced");
    daemon.wait_for(&["sources", "--json"], "all three trusted", |v| {
        v["sources"].as_array().is_some_and(|s| s.len() == 3 && s.iter().all(|s| s["verdict"] == "trusted"))
    });
}
