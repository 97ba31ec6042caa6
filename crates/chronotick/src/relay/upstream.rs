//! Where a relay's ports lead: names that are looked up again and again, on threads of their own.

use crate::config::ServerAddress;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How long the addresses of a name are taken for good.
const FRESH: Duration = Duration::from_secs(600);
/// How long until a look-up that failed is repeated.
const AGAIN: Duration = Duration::from_secs(5);
/// After so many requests in a row without a reply another address of the name has its turn.
const PATIENCE: usize = 4;

/// A server that requests are passed on to.
#[derive(Clone)]
pub(super) struct Upstream(Arc<Shared>);

struct Shared {
    name: ServerAddress,
    addresses: RwLock<Vec<SocketAddr>>,
    /// Which of them is in use, modulo their number.
    turn: AtomicUsize,
    unanswered: AtomicUsize,
}

impl Upstream {
    /// Begins to look the name up.
    pub(super) fn follow(name: ServerAddress) -> io::Result<Upstream> {
        let upstream = Upstream(Arc::new(Shared {
            name,
            addresses: RwLock::default(),
            turn: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        }));
        let follower = upstream.clone();
        std::thread::Builder::new().name("upstream".into()).spawn(move || {
            loop {
                std::thread::sleep(if follower.look_up() { FRESH } else { AGAIN });
            }
        })?;
        Ok(upstream)
    }

    fn look_up(&self) -> bool {
        let Shared { name, addresses, .. } = &*self.0;
        match (name.host(), name.port()).to_socket_addrs().map(Vec::from_iter) {
            Ok(found) if !found.is_empty() => {
                *addresses.write().unwrap_or_else(PoisonError::into_inner) = found;
                true
            }
            Ok(_) => {
                log::warn!("{name}: the name has no address");
                false
            }
            Err(e) => {
                log::warn!("{name}: {e}");
                false
            }
        }
    }

    /// Its address now, once it has one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let addresses = self.0.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.0.turn.load(Ordering::Relaxed);
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }

    /// It has answered.
    pub(super) fn answered(&self) {
        self.0.unanswered.store(0, Ordering::Relaxed);
    }

    /// It has not answered in time.
    pub(super) fn unanswered(&self) {
        let missed = self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        if missed.is_multiple_of(PATIENCE) {
            self.0.turn.fetch_add(1, Ordering::Relaxed);
            if missed == PATIENCE {
                log::warn!("{self} does not answer");
            }
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name.fmt(f)
    }
}

/// A list of ports and ranges of ports: `8123,8127-8130`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub Vec<u16>);

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Ports, String> {
        let port = |text: &str| {
            let number = text.trim().parse().ok().filter(|port: &u16| *port != 0);
            number.ok_or_else(|| format!("{:?} is no port from 1 to 65535", text.trim()))
        };
        let mut ports = Vec::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (port(first)?, port(last)?),
                None => (port(part)?, port(part)?),
            };
            if first > last {
                return Err(format!("{part:?} runs backwards; write {last}-{first}"));
            }
            for port in first..=last {
                if ports.contains(&port) {
                    return Err(format!("port {port} is there twice; each port leads to one upstream"));
                }
                ports.push(port);
            }
            if ports.len() > 64 {
                return Err("these are more than 64 ports".into());
            }
        }
        Ok(Ports(ports))
    }
}

/// The upstreams of a relay for which none are named: of different operators, none of which smears leap seconds.
///
/// # Errors
/// If there are more ports than that; the message says what to do.
pub fn usual_upstreams(ports: usize) -> Result<Vec<ServerAddress>, String> {
    let names =
        ["time.cloudflare.com", "0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org"];
    if ports > names.len() {
        return Err(format!(
            "{ports} ports need {ports} upstreams, and {} are known without --upstream; name one for each port",
            names.len()
        ));
    }
    Ok(names[..ports].iter().map(|name| name.parse().expect("a name of ours is valid")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read_and_mistakes_named() {
        assert_eq!("8123,8127-8130".parse(), Ok(Ports(vec![8123, 8127, 8128, 8129, 8130])));
        for (text, words) in [
            ("", "no port"),
            ("0", "no port"),
            ("8123-", "no port"),
            ("8130-8127", "backwards"),
            ("8123,8120-8125", "twice"),
            ("1-65535", "more than 64"),
        ] {
            let told = text.parse::<Ports>().unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn a_silent_address_makes_room_for_another() {
        let upstream = Upstream(Arc::new(Shared {
            name: "time.example".parse().unwrap(),
            addresses: RwLock::new(vec!["10.0.0.1:123".parse().unwrap(), "10.0.0.2:123".parse().unwrap()]),
            turn: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
        }));
        let first = upstream.address();
        (0..PATIENCE - 1).for_each(|_| upstream.unanswered());
        upstream.answered();
        (0..PATIENCE - 1).for_each(|_| upstream.unanswered());
        assert_eq!(upstream.address(), first);
        upstream.unanswered();
        assert_ne!(upstream.address(), first);
    }

    #[test]
    fn more_ports_than_usual_upstreams_need_names() {
        assert_eq!(usual_upstreams(5).unwrap().len(), 5);
        assert!(usual_upstreams(6).unwrap_err().contains("--upstream"));
    }
}
