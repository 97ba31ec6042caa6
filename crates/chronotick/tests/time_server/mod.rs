//! A time server for tests of the whole program.

use chronotick_clock::{ClockPair, Span};
use chronotick_core::Leap;
use chronotick_ntp::{ReferenceId, Responder};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// An NTP server that serves the system clock, wrong by `lie`, and claims to be perfect; it ends with the process.
pub(crate) fn time_server(lie: Span) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = socket.local_addr().expect("it has an address");
    std::thread::spawn(move || {
        let now = || ClockPair::now().system + lie;
        let responder = Responder {
            leap: Some(Leap::None),
            stratum: 1,
            reference_id: ReferenceId(*b"TEST"),
            reference: now(),
            ..Responder::default()
        };
        let mut buffer = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = responder.answer(&buffer[..len], now()) {
                let _ = socket.send_to(&reply.leaving_at(now()), client);
            }
        }
    });
    address
}
