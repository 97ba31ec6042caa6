//! One server address in use: its socket, its association, its place in the engine.

use super::Machine;
use super::names::Endpoint;
use crate::config::TimeServer;
use chronotick_core::{Exchange, Measurement, RawInstant, SourceId};
use chronotick_ntp::{Association, Rejected, Settings};
use chronotick_os::{TimestampedSocket, random_u64};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

/// A server address in use.
pub(super) struct Link {
    /// Index of the configured name that it came from.
    pub(super) name: usize,
    pub(super) address: SocketAddr,
    pub(super) source: SourceId,
    pub(super) association: Association,
    pub(super) socket: TimestampedSocket,
    /// Where it is asked from, where the system tells.
    pub(super) local: Option<SocketAddr>,
    /// How often keys were established with it, and when last.
    pub(super) keyed: (u32, RawInstant),
    /// The newest refused reply or failed call, in words.
    pub(super) trouble: Option<String>,
    /// Since when it has been of no use: silent, or contradicting the majority.
    pub(super) useless_since: Option<RawInstant>,
}

impl Link {
    /// # Errors
    /// As [`TimestampedSocket::connect`].
    pub(super) fn open(
        (name, server): (usize, &TimeServer),
        endpoint: Endpoint,
        source: SourceId,
        settings: Settings,
        now: RawInstant,
    ) -> io::Result<Link> {
        let Endpoint { address, protection } = endpoint;
        let socket = TimestampedSocket::connect(address)?;
        let mut association = Association::new(source, settings, now);
        let keyed = (1, now);
        let local = socket.as_fd().try_clone_to_owned().and_then(|fd| UdpSocket::from(fd).local_addr()).ok();
        association.protect(protection);
        if server.interleave {
            association.interleave();
        }
        Ok(Link {
            name,
            address,
            source,
            association,
            socket,
            local,
            keyed,
            trouble: None,
            useless_since: None,
        })
    }

    /// Sends the request that is due, if one is. Gives whether one was sent.
    pub(super) fn poll(&mut self, now: RawInstant) -> bool {
        let Some(request) = self.association.poll(now, random_u64) else { return false };
        if let Err(e) = self.socket.send(&request) {
            self.trouble = Some(format!("sending failed: {e}"));
        }
        true
    }

    /// Whoever floods the socket gets no more than so many datagrams looked at before others have their turn.
    const DATAGRAMS: usize = 16;

    /// Takes in what has arrived, up to the first believable answer; there is at most one to a request.
    pub(super) fn receive(&mut self, machine: &dyn Machine) -> Option<Measurement> {
        let mut buffer = [0; 2048];
        for _ in 0..Link::DATAGRAMS {
            match self.socket.recv(&mut buffer) {
                Ok(None) => return None,
                Ok(Some((datagram, exchange))) => {
                    let local = Exchange {
                        departed: machine.local(exchange.departed),
                        arrived: machine.local(exchange.arrived),
                        received: machine.local(exchange.received),
                        ..exchange
                    };
                    match self.association.receive(datagram, &local) {
                        Ok(measurement) => return Some(measurement),
                        Err(Rejected::Duplicate | Rejected::Measured) => {}
                        Err(reason) => self.trouble = Some(reason.to_string()),
                    }
                }
                Err(e) => {
                    self.trouble = Some(match e.kind() {
                        io::ErrorKind::ConnectionRefused => {
                            "nobody listens there (connection refused)".into()
                        }
                        _ => e.to_string(),
                    });
                    // An oversized datagram is gone and the next may be an answer; any other error will come again.
                    if e.kind() != io::ErrorKind::InvalidData {
                        return None;
                    }
                }
            }
        }
        None
    }
}
