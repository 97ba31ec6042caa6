//! `chronotick relay`: NTP for nodes that reach no server by themselves. Each of its UDP ports leads to one upstream.
//!
//! Every request goes out from a socket of its own, with a nonce of its own, and the reply that comes to that socket with
//! that nonce goes back to who asked; the socket is closed with it. So there is no way for a reply to come to anybody
//! else, however late it is, and however many clients send the same bytes. One thread does it all; tables have an end.

pub(crate) mod exchange;
mod upstream;

pub use upstream::{Ports, usual_upstreams};

use crate::config::ServerAddress;
use chronotick_clock::{RawInstant, Span, raw_now};
use chronotick_ntp::{Access, Limiter, Pace, Permission, Rate};
use chronotick_os::{Arrival, StampedListener, random_u64, wait};
use exchange::{Forwarded, Request};
use std::collections::VecDeque;
use std::hash::RandomState;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use upstream::Upstream;

/// How long a reply is waited for.
const DEADLINE: Span = Span::from_secs(3);
/// So many requests wait for their replies at once; each has a descriptor. Beyond that the oldest is given up.
const WAITING: usize = 512;
/// So many of them may be one client's.
const WAITING_OF_ONE: usize = 32;
/// So many clients are remembered for the rate limit.
const CLIENTS: usize = 16_384;
/// Whoever floods one port gets no more than so many datagrams looked at before others have their turn.
const DATAGRAMS: usize = 64;

/// A relay that listens.
pub struct Relay {
    doors: Vec<Door>,
    waiting: VecDeque<Waiting>,
    access: Access,
    rate: Limiter<RandomState>,
}

/// One port and where it leads.
struct Door {
    listener: StampedListener,
    upstream: Upstream,
}

/// A request that is on its way.
struct Waiting {
    door: usize,
    client: Arrival,
    request: Request,
    socket: UdpSocket,
    deadline: RawInstant,
}

impl Relay {
    /// Listens on each port of each address; the ports lead to the upstreams in their order.
    ///
    /// # Errors
    /// If a port cannot be had; the error names it. An address family that this machine does not have is left out.
    pub fn listen(
        bind: &[IpAddr],
        ports: &[u16],
        upstreams: &[ServerAddress],
        access: Access,
    ) -> io::Result<Relay> {
        let mut doors = Vec::new();
        for (port, upstream) in ports.iter().zip(upstreams) {
            let upstream = Upstream::follow(upstream.clone())?;
            for &ip in bind {
                let address = SocketAddr::new(ip, *port);
                let named = |e: io::Error| io::Error::new(e.kind(), format!("{address}: {e}"));
                match StampedListener::bind(address) {
                    Ok(listener) => {
                        log::info!("{} leads to {upstream}", listener.local_addr().map_err(named)?);
                        doors.push(Door { listener, upstream: upstream.clone() });
                    }
                    Err(e) if ip == IpAddr::from([0u16; 8]) && e.kind() != io::ErrorKind::AddrInUse => {
                        log::warn!("{address}: {e}; IPv6 is not served");
                    }
                    Err(e) => return Err(named(e)),
                }
            }
        }
        let rate = Rate { interval: Span::from_millis(50), burst: 64 };
        let rate = Limiter::new(rate, CLIENTS, RandomState::new());
        Ok(Relay { doors, waiting: VecDeque::new(), access, rate })
    }

    /// Relays for ever.
    ///
    /// # Errors
    /// Only if waiting itself fails.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            let now = raw_now();
            while self.waiting.front().is_some_and(|oldest| oldest.deadline <= now) {
                self.give_up();
            }
            let next = self.waiting.front().map(|oldest| (oldest.deadline - now).max(Span::ZERO));
            let doors = self.doors.len();
            let mut ready = {
                let listeners = self.doors.iter().map(|door| door.listener.as_fd());
                let sockets = self.waiting.iter().map(|waiting| waiting.socket.as_fd());
                let fds: Vec<BorrowedFd<'_>> = listeners.chain(sockets).collect();
                wait(&fds, next)?
            };
            // From behind, so that what is taken out does not move what comes next.
            while let Some(place) = ready.pop() {
                match place.checked_sub(doors) {
                    Some(waiting) => self.hand_back(waiting),
                    None => self.take_in(place),
                }
            }
        }
    }

    /// Gives up the oldest request.
    fn give_up(&mut self) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.doors[waiting.door].upstream.unanswered();
        }
    }

    /// Takes in what has come to a port, and sends it on.
    fn take_in(&mut self, which: usize) {
        let mut buffer = [0; exchange::LONGEST];
        for _ in 0..DATAGRAMS {
            let door = &mut self.doors[which];
            while let Ok(Some(_)) = door.listener.departure() {}
            match door.listener.recv(&mut buffer) {
                Ok(Some(arrival)) if arrival.len < buffer.len() => {
                    if let Err(why) = self.send_on(which, arrival, &buffer[..arrival.len]) {
                        log::debug!("{}: {why}", arrival.from);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(e) => log::debug!("relay: {e}"),
            }
        }
    }

    fn send_on(&mut self, which: usize, client: Arrival, datagram: &[u8]) -> Result<(), String> {
        let now = raw_now();
        let (request, outgoing) = Request::read(datagram, random_u64()).ok_or("no request")?;
        if self.access.of(client.from.ip()) != Permission::Allowed {
            return Err("it may not ask".into());
        }
        let others = self.waiting.iter().filter(|w| w.client.from.ip() == client.from.ip()).count();
        if others >= WAITING_OF_ONE || self.rate.take(client.from.ip(), now) != Pace::Fine {
            return Err("it asks too often".into());
        }
        let upstream = self.doors[which].upstream.address().ok_or("the upstream has no address yet")?;
        let any: IpAddr = if upstream.is_ipv4() { [0u8; 4].into() } else { [0u16; 8].into() };
        let socket = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(upstream)?;
            socket.send(&outgoing)?;
            Ok(socket)
        });
        let socket = socket.map_err(|e| format!("{upstream}: {e}"))?;
        if self.waiting.len() == WAITING {
            self.give_up();
        }
        self.waiting.push_back(Waiting { door: which, client, request, socket, deadline: now + DEADLINE });
        Ok(())
    }

    /// Hands a reply back to who asked, if it is one.
    fn hand_back(&mut self, which: usize) {
        let Some(waiting) = self.waiting.get(which) else { return };
        let mut buffer = [0; exchange::LONGEST];
        // One datagram at a time: whoever forges replies costs as much as he sends.
        let forwarded = match waiting.socket.recv(&mut buffer) {
            Ok(len) => waiting.request.reply(&buffer[..len]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Forwarded::Nothing,
            // Nobody listens there.
            Err(_) => Forwarded::Refused,
        };
        match forwarded {
            Forwarded::Nothing => {}
            Forwarded::Refused => {
                if let Some(waiting) = self.waiting.remove(which) {
                    self.doors[waiting.door].upstream.unanswered();
                }
            }
            Forwarded::Reply(reply) => {
                let Some(Waiting { door, client, .. }) = self.waiting.remove(which) else { return };
                let door = &mut self.doors[door];
                door.upstream.answered();
                if let Err(e) = door.listener.send(&reply, &client) {
                    log::debug!("{}: {e}", client.from);
                }
            }
        }
    }
}
