//! Asking time servers a few times, now: four-timestamp exchanges with all of them at once, within one deadline. What
//! comes out is a list of answers about this machine's system clock, and of servers that gave none, with the reason.

use crate::config::ServerAddress;
use chronotick_clock::{ClockPair, Rate, Span, raw_now};
use chronotick_core::{Measurement, RawInstant, SourceId};
use chronotick_monitor::Answer;
use chronotick_ntp::{Association, Rejected, Settings};
use chronotick_os::{TimestampedSocket, random_u64, wait};
use serde::Serialize;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Whom to ask, and how often.
#[derive(Clone, Debug)]
pub struct Question {
    /// The servers; of a pool, up to four members are asked.
    pub servers: Vec<ServerAddress>,
    /// How many good answers are wanted of each.
    pub samples: u32,
    /// How long one answer may take.
    pub timeout: Span,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Every answer that passed the checks of the protocol. Offsets are of the system clock: true − local.
    pub answers: Vec<Answer>,
    /// The servers that gave none.
    pub silent: Vec<Silent>,
    /// How many addresses were asked.
    pub asked: usize,
}

/// A server without an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Silent {
    /// As configured, or with the address.
    pub server: String,
    /// Why.
    pub why: String,
}

/// One address while it is asked.
struct Asked {
    name: String,
    socket: TimestampedSocket,
    association: Association,
    wanted: u32,
    trouble: Option<String>,
}

impl Asked {
    fn is_done(&self) -> bool {
        self.wanted == 0 || self.association.denied().is_some()
    }
}

/// Between two requests to the same server.
const SPACING: Span = Span::from_millis(200);
/// Requests that may stay without an answer.
const TRIES: u64 = 3;
/// What the system clock may drift from the raw clock between the exchange and the look at it (RFC 5905 §7.2, PHI).
const DRIFT: f64 = 15.0;

/// Asks everybody at once. It takes no longer than three timeouts and what the samples need.
///
/// # Errors
/// Only those of waiting; servers that cannot be asked are listed with their reason.
pub fn ask(question: &Question) -> io::Result<Heard> {
    let patience = question.timeout.times(TRIES as i64) + SPACING.times(i64::from(question.samples));
    let deadline = raw_now() + patience;
    let mut heard = Heard::default();
    let mut asked = Vec::new();
    for (server, addresses) in resolve(&question.servers, question.timeout) {
        match addresses {
            Err(why) => heard.silent.push(Silent { server: server.to_string(), why }),
            Ok(addresses) => open(&server, &addresses, question, &mut asked, &mut heard),
        }
    }
    heard.asked = asked.len() + heard.silent.len();
    while raw_now() < deadline && !asked.iter().all(Asked::is_done) {
        let now = raw_now();
        for one in asked.iter_mut().filter(|one| !one.is_done()) {
            if one.association.counters().sent < TRIES + u64::from(question.samples)
                && let Some(request) = one.association.poll(now, random_u64)
                && let Err(e) = one.socket.send(&request)
            {
                one.trouble = Some(format!("sending failed: {e}"));
            }
        }
        let next = asked.iter().filter(|a| !a.is_done()).filter_map(|a| a.association.next_event());
        let until = next.fold(deadline, RawInstant::min);
        let sockets: Vec<_> = asked.iter().map(|one| one.socket.as_fd()).collect();
        for i in wait(&sockets, Some((until - now).max(Span::from_millis(1))))? {
            receive(&mut asked[i], &mut heard.answers);
        }
    }
    for one in asked {
        if !heard.answers.iter().any(|answer| answer.server == one.name) {
            let why = one.trouble.unwrap_or_else(|| format!("no answer within {patience}"));
            heard.silent.push(Silent { server: one.name, why });
        }
    }
    Ok(heard)
}

fn open(
    server: &ServerAddress,
    addresses: &[SocketAddr],
    question: &Question,
    asked: &mut Vec<Asked>,
    heard: &mut Heard,
) {
    let host = server.host();
    let settings = server.ration(Settings {
        min_poll: question.timeout,
        max_poll: question.timeout,
        burst: 1,
        burst_interval: question.timeout,
        deadline: question.timeout,
        ..Settings::default()
    });
    for &address in addresses {
        let literal = address.to_string() == host || address.ip().to_string() == host;
        let name = if literal { server.to_string() } else { format!("{server} ({})", address.ip()) };
        match TimestampedSocket::connect(address) {
            Ok(socket) => asked.push(Asked {
                name,
                socket,
                association: Association::new(SourceId(asked.len() as u32), settings, raw_now()),
                wanted: if server.is_rationed() { 1 } else { question.samples.max(1) },
                trouble: None,
            }),
            Err(e) => heard.silent.push(Silent { server: name, why: e.to_string() }),
        }
    }
}

/// Looks all names up at once: the system's resolver blocks, so each has a thread, and whoever is too late is left behind.
fn resolve(
    servers: &[ServerAddress],
    patience: Span,
) -> Vec<(ServerAddress, Result<Vec<SocketAddr>, String>)> {
    type Found = Result<Vec<SocketAddr>, String>;
    let until = Instant::now() + Duration::from_nanos(patience.as_nanos().unsigned_abs());
    let started: Vec<(ServerAddress, Receiver<Found>)> = servers
        .iter()
        .map(|server| {
            let (sender, receiver) = channel();
            let (host, port) = (server.host().to_owned(), server.port());
            let look = move || {
                let found = (host.as_str(), port).to_socket_addrs();
                // Nobody waits any more if the receiver is gone.
                let _ = sender.send(found.map(Iterator::collect).map_err(|e| e.to_string()));
            };
            // Without a thread the channel closes, which is an answer as well.
            let _ = std::thread::Builder::new().name("resolver".into()).spawn(look);
            (server.clone(), receiver)
        })
        .collect();
    let result = |server: &ServerAddress, receiver: &Receiver<Found>| {
        let left = until.saturating_duration_since(Instant::now());
        let mut found = receiver.recv_timeout(left).map_err(|_| "its name was not resolved in time")??;
        found.dedup();
        found.truncate(server.members());
        if found.is_empty() { Err("its name has no address".into()) } else { Ok(found) }
    };
    started.into_iter().map(|(server, receiver)| (server.clone(), result(&server, &receiver))).collect()
}

fn receive(one: &mut Asked, answers: &mut Vec<Answer>) {
    let mut buffer = [0; 2048];
    match one.socket.recv(&mut buffer) {
        Ok(None) => {}
        Ok(Some((datagram, exchange))) => match one.association.receive(datagram, &exchange) {
            Ok(measurement) => {
                answers.push(answer(&one.name, &measurement));
                one.wanted = one.wanted.saturating_sub(1);
                one.association.restart(raw_now() + SPACING);
            }
            Err(Rejected::Duplicate | Rejected::NotAsked) => {}
            Err(why) => one.trouble = Some(why.to_string()),
        },
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            one.trouble = Some("nobody listens there (connection refused)".into());
        }
        Err(e) => one.trouble = Some(e.to_string()),
    }
}

/// What a measurement says of the system clock.
fn answer(name: &str, m: &Measurement) -> Answer {
    let pair = ClockPair::now();
    let since = pair.raw - m.at;
    let system = pair.system - since;
    Answer {
        server: name.into(),
        offset: m.utc - system,
        max_error: m.max_error() + Rate::from_ppm(DRIFT).over(since.abs()),
        delay: m.delay,
        stratum: m.stratum,
        leap: m.leap,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chronotick_core::Leap;
    use chronotick_ntp::{Packet, Responder};
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    /// A server on loopback whose clock is `ahead` of this machine's; it ends when dropped by never being asked again.
    pub(crate) fn server(
        ahead: Span,
        wait: Duration,
        change: impl Fn(&mut Packet) + Send + 'static,
    ) -> ServerAddress {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap().to_string().parse().unwrap();
        let good = Responder { leap: Some(Leap::None), stratum: 1, precision: -23, ..Responder::default() };
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            // Ends with the test's process.
            while let Ok((len, client)) = socket.recv_from(&mut buffer) {
                std::thread::sleep(wait);
                let utc = ClockPair::now().system + ahead;
                let Some(reply) = good.answer(&buffer[..len], utc) else { continue };
                let mut packet = Packet::parse(&reply.leaving_at(utc)).unwrap();
                change(&mut packet);
                std::thread::sleep(wait);
                let _ = socket.send_to(&packet.to_bytes(), client);
            }
        });
        address
    }

    pub(crate) fn question(servers: &[ServerAddress], samples: u32) -> Question {
        Question { servers: servers.to_vec(), samples, timeout: Span::from_secs(5) }
    }

    #[test]
    fn answers_are_counted_and_signed_and_the_silent_are_named() {
        let good = server(Span::from_millis(250), Duration::ZERO, |_| ());
        let closed = chronotick_peers::free_address().to_string().parse().unwrap();
        let heard = ask(&question(&[good.clone(), closed], 3)).unwrap();
        assert_eq!((heard.answers.len(), heard.asked, heard.silent.len()), (3, 2, 1), "{heard:?}");
        assert!(heard.silent[0].why.contains("nobody listens"), "{heard:?}");
        for answer in &heard.answers {
            let wrong = (answer.offset - Span::from_millis(250)).abs();
            assert!(wrong <= answer.max_error, "{answer:?}");
            assert_eq!((answer.server.as_str(), answer.stratum), (good.to_string().as_str(), 1));
        }
    }

    #[test]
    fn a_server_that_does_not_know_the_time_is_silent_with_its_reason() {
        let unsynchronised = server(Span::ZERO, Duration::ZERO, |p| p.leap = None);
        let far = server(Span::ZERO, Duration::ZERO, |p| p.stratum = 16);
        let heard = ask(&question(&[unsynchronised, far], 1)).unwrap();
        assert_eq!(heard.answers, []);
        assert!(heard.silent[0].why.contains("not synchronised"), "{heard:?}");
        assert!(heard.silent[1].why.contains("stratum"), "{heard:?}");
    }
}
