//! Other nodes, measured beside the sources: exchanges with their NTP servers, which serve their corrected time. They have no
//! say in what time it is here; what comes out is how far their corrected time is from ours.

use super::Machine;
use super::link::Link;
use super::names::{self, Names};
use crate::config::TimeServer;
use crate::snapshot::PeerView;
use chronotick_core::{Measurement, Rate, RawInstant, Solution, SourceId, Span};
use chronotick_ntp::Settings;
use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// What one exchange told: when, their corrected time minus ours, and within what.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: RawInstant,
    offset: Span,
    half_width: Span,
    delay: Span,
}

/// All peers.
pub(super) struct Peers {
    names: Names,
    links: Vec<Link>,
    told: BTreeMap<SourceId, VecDeque<Told>>,
    next: u32,
}

impl Peers {
    /// A name that stands for all nodes of a cluster has an address for each.
    const MEMBERS: usize = 32;
    const KEPT: usize = 8;
    const INTERVAL: Span = Span::from_secs(4);

    pub(super) fn new(
        peers: &[TimeServer],
        resolve: Arc<names::Resolve>,
        now: RawInstant,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Peers {
        Peers {
            names: Names::new(peers, now, resolve, wake),
            links: Vec::new(),
            told: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Looks names up, opens links to what was found, and sends the requests that are due.
    pub(super) fn poll(&mut self, now: RawInstant) {
        while let Some(found) = self.names.finished() {
            let index = found.name;
            let in_use = |a: &SocketAddr| self.links.iter().any(|link| link.address == *a);
            for endpoint in self.names.fresh(found, Peers::MEMBERS, &in_use, now) {
                let address = endpoint.address;
                // Nodes find themselves under the name that stands for all of them.
                if is_own(address) {
                    self.names.deny(index, address);
                    continue;
                }
                let source = SourceId(self.next);
                self.next += 1;
                let peer = &self.names.names[index].server;
                match Link::open((index, peer), endpoint, source, settings(), now) {
                    Ok(link) => self.links.push(link),
                    Err(e) => {
                        self.names.set_aside(index, address);
                        log::warn!("peer {address}: {e}");
                    }
                }
            }
        }
        for index in 0..self.names.names.len() {
            self.names.look_up(index, now);
        }
        for link in &mut self.links {
            link.poll(now);
        }
        // Who has left the cluster is not asked for ever: its name is looked up again, and says whether it is there.
        let gone = |link: &mut Link| link.association.missed() >= 64 || link.association.denied().is_some();
        for link in self.links.extract_if(.., gone) {
            self.told.remove(&link.source);
            self.names.set_aside(link.name, link.address);
        }
    }

    pub(super) fn next_event(&self) -> impl Iterator<Item = RawInstant> {
        self.links.iter().filter_map(|link| link.association.next_event())
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.iter().map(|link| link.socket.as_fd())
    }

    /// Takes in what has arrived; `solution` is corrected time here, without which nothing can be compared.
    pub(super) fn receive(&mut self, machine: &dyn Machine, solution: Option<&Solution>) {
        for link in &mut self.links {
            let (Some(m), Some(solution)) = (link.receive(machine), solution) else { continue };
            let told = self.told.entry(link.source).or_default();
            if told.len() == Peers::KEPT {
                told.pop_front();
            }
            told.push_back(tell(&m, solution));
        }
    }

    /// The raw clock was disturbed: nothing that was measured before holds.
    pub(super) fn restart(&mut self, now: RawInstant) {
        self.told.clear();
        self.links.iter_mut().for_each(|link| link.association.restart(now));
    }

    /// What the peers say at `raw`; `growth` is how fast corrected time here may run off, and a peer's is taken to be no
    /// worse.
    pub(super) fn views(&self, raw: RawInstant, growth: Rate) -> Vec<PeerView> {
        self.links.iter().map(|link| self.view(link, raw, growth)).collect()
    }

    fn view(&self, link: &Link, raw: RawInstant, growth: Rate) -> PeerView {
        let growth = Rate::from_bits(growth.to_bits().saturating_mul(2));
        let aged = |told: &Told| told.half_width + growth.over(raw - told.at);
        // Whichever of the newest exchanges says most by now.
        let best = self.told.get(&link.source).and_then(|told| told.iter().min_by_key(|t| aged(t)));
        PeerView {
            name: self.names.names[link.name].server.to_string(),
            address: link.address.to_string(),
            reach: link.association.reach(),
            stratum: link.association.server().map(|packet| packet.stratum),
            offset_ns: best.map(|told| told.offset.as_nanos()),
            bound_ns: best.map(|told| aged(told).as_nanos()),
            growth_ppm: growth.as_ppm(),
            delay_ns: best.map(|told| told.delay.as_nanos()),
            age_seconds: best.map(|told| (raw - told.at).as_secs_f64()),
            sent: link.association.counters().sent,
            answers: link.association.counters().accepted,
            trouble: link.trouble.clone(),
        }
    }

    /// Names that do not resolve, and why.
    pub(super) fn unresolved(&self) -> impl Iterator<Item = String> {
        self.names
            .names
            .iter()
            .filter_map(|name| Some(format!("{}: {}", name.server, name.failure.as_ref()?)))
    }
}

fn settings() -> Settings {
    Settings { min_poll: Peers::INTERVAL, max_poll: Peers::INTERVAL, ..Settings::default() }
}

/// The peer's corrected time minus ours by one exchange: within half of the round trip for certain, and what the stamps of
/// both may be wrong; how far either is from UTC does not matter.
fn tell(m: &Measurement, solution: &Solution) -> Told {
    let stamps = Span::from_micros(2);
    Told {
        at: m.at,
        offset: m.utc - solution.utc_at(m.at),
        half_width: m.delay.max(Span::ZERO).half() + stamps,
        delay: m.delay,
    }
}

/// Whether an address is one of this machine's own, on a port of a node's server: then it can be bound.
fn is_own(address: SocketAddr) -> bool {
    !address.ip().is_loopback() && UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Host;
    use chronotick_clock::raw_now;
    use chronotick_ntp::Responder;
    use chronotick_os::wait;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn an_answer_before_there_is_a_time_is_read_and_wakes_nobody_again() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a server");
        let address = server.local_addr().expect("its address");
        let (woken, found) = mpsc::channel();
        let wake = Arc::new(move || woken.send(()).expect("the test waits"));
        let resolve: Arc<names::Resolve> = Arc::new(move |_| Ok(vec![address.into()]));
        let mut peers = Peers::new(&["peer.test".parse().expect("a name")], resolve, raw_now(), wake);
        peers.poll(raw_now());
        found.recv_timeout(Duration::from_secs(60)).expect("the look-up ends");
        peers.poll(raw_now());
        let mut request = [0; 512];
        server.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let (len, node) = server.recv_from(&mut request).expect("a request");
        let utc = chronotick_clock::ClockPair::now().system;
        let clock = Responder { leap: Some(chronotick_core::Leap::None), stratum: 1, ..Responder::default() };
        let reply = clock.answer(&request[..len], utc).expect("a reply").leaving_at(utc);
        server.send_to(&reply, node).expect("sent");

        let readable = |peers: &Peers, patience| wait(&peers.fds().collect::<Vec<_>>(), Some(patience));
        assert_eq!(readable(&peers, Span::from_secs(60)).expect("waited"), [0]);
        peers.receive(&Host, None);
        assert!(readable(&peers, Span::ZERO).expect("waited").is_empty());
        let view = &peers.views(raw_now(), Rate::ZERO)[0];
        assert_eq!((view.reach, view.answers, view.offset_ns), (1, 1, None));
    }
}
