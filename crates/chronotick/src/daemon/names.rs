//! From configured names to addresses: each name is looked up on a thread of its own, because the system's resolver
//! blocks, again with growing pauses while it fails, and anew when a member of a pool has turned out to be bad.

use super::keying::Keying;
use crate::config::{Security, TimeServer};
use chronotick_core::{RawInstant, Span};
use chronotick_ntp::Protection;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Finds the addresses of a server, and keys for it where it has NTS.
pub(super) type Resolve = dyn Fn(&TimeServer) -> Result<Vec<Endpoint>, String> + Send + Sync;

/// An address at which a server answers, and what it takes to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) protection: Protection,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { address, protection: Protection::Nonce }
    }
}

/// The system's own resolver, symmetric keys, and the key establishment of NTS.
pub(super) fn system(keying: Keying) -> Arc<Resolve> {
    Arc::new(move |server| match server.security {
        Security::Nts { port, fallback } => keying.establish(server, port).or_else(|why| {
            if !fallback {
                return Err(why);
            }
            log::warn!("{server}: {why}; it is asked without NTS, as configured");
            endpoints(server, &Protection::Nonce)
        }),
        Security::Key(number) => endpoints(server, &Protection::Key(keying.key(number)?)),
        Security::None => endpoints(server, &Protection::Nonce),
    })
}

/// Every address of a server, with the same proof.
fn endpoints(server: &TimeServer, protection: &Protection) -> Result<Vec<Endpoint>, String> {
    let found = addresses(server.host(), server.port())?.into_iter();
    Ok(found.map(|address| Endpoint { address, protection: protection.clone() }).collect())
}

/// The addresses of a name, by the system's resolver.
pub(super) fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    (host, port).to_socket_addrs().map(Iterator::collect).map_err(|e| e.to_string())
}

/// One configured name and how its look-ups went.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) server: TimeServer,
    /// Why the newest look-up brought nothing new.
    pub(super) failure: Option<String>,
    /// Look-ups since one brought something.
    pub(super) attempts: u32,
    /// Addresses that did not answer, or not with the time.
    useless: BTreeSet<SocketAddr>,
    /// Addresses that refuse service: they are not asked again (RFC 5905 §7.4).
    denied: BTreeSet<SocketAddr>,
    pending: bool,
    next: RawInstant,
    pause: Span,
}

impl Name {
    const FIRST_PAUSE: Span = Span::from_secs(2);
    const LONGEST_PAUSE: Span = Span::from_secs(256);

    /// How many addresses of this name are measured.
    pub(super) fn members(&self) -> usize {
        self.server.address.members()
    }
}

/// A finished look-up.
pub(super) struct Found {
    pub(super) name: usize,
    endpoints: Result<Vec<Endpoint>, String>,
}

impl Found {
    /// Takes the keys that were established for an address.
    pub(super) fn take_keys(&mut self, address: SocketAddr) -> Option<Protection> {
        let endpoint = self.endpoints.as_mut().ok()?.iter_mut().find(|e| e.address == address)?;
        let has_keys = matches!(endpoint.protection, Protection::Nts(_));
        has_keys.then(|| std::mem::take(&mut endpoint.protection))
    }

    /// Whether it brought anything.
    pub(super) fn is_ok(&self) -> bool {
        self.endpoints.as_ref().is_ok_and(|found| !found.is_empty())
    }
}

/// All configured names.
pub(super) struct Names {
    pub(super) names: Vec<Name>,
    resolve: Arc<Resolve>,
    wake: Arc<dyn Fn() + Send + Sync>,
    found: (Sender<Found>, Receiver<Found>),
}

impl Names {
    /// `wake` is called on another thread when a look-up is done.
    pub(super) fn new(
        servers: &[TimeServer],
        now: RawInstant,
        resolve: Arc<Resolve>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Names {
        let name = |server: &TimeServer| Name {
            server: server.clone(),
            failure: None,
            attempts: 0,
            useless: BTreeSet::new(),
            denied: BTreeSet::new(),
            pending: false,
            next: now,
            pause: Name::FIRST_PAUSE,
        };
        Names { names: servers.iter().map(name).collect(), resolve, wake, found: channel() }
    }

    /// Starts the look-up of a name that needs an address, unless one is under way or was made just now.
    pub(super) fn look_up(&mut self, index: usize, now: RawInstant) {
        let name = &mut self.names[index];
        if name.pending || now < name.next {
            return;
        }
        name.pending = true;
        name.attempts += 1;
        let server = name.server.clone();
        let (resolve, wake, done) = (self.resolve.clone(), self.wake.clone(), self.found.0.clone());
        let task = move || {
            let endpoints = resolve(&server);
            // The receiver is gone when the daemon is stopping.
            if done.send(Found { name: index, endpoints }).is_ok() {
                wake();
            }
        };
        if let Err(e) = std::thread::Builder::new().name("resolver".into()).spawn(task) {
            let endpoints = Err(format!("no thread for the look-up: {e}"));
            self.found.0.send(Found { name: index, endpoints }).expect("the receiver is ours");
        }
    }

    /// The next finished look-up, if there is one.
    pub(super) fn finished(&mut self) -> Option<Found> {
        self.found.1.try_recv().ok()
    }

    /// What a finished look-up brought: at most `wanted` addresses that are not `in_use` and were not given up.
    pub(super) fn fresh(
        &mut self,
        found: Found,
        wanted: usize,
        in_use: &dyn Fn(&SocketAddr) -> bool,
        now: RawInstant,
    ) -> Vec<Endpoint> {
        let name = &mut self.names[found.name];
        name.pending = false;
        let (endpoints, failure) = match found.endpoints {
            Ok(endpoints) if endpoints.is_empty() => (endpoints, Some("the name has no address".into())),
            Ok(endpoints) => (endpoints, None),
            Err(e) => (Vec::new(), Some(e)),
        };
        if failure.is_none() {
            name.attempts = 0;
        }
        name.failure = failure;
        let some_in_use = endpoints.iter().any(|e| in_use(&e.address));
        let given_up = |a: &SocketAddr| name.useless.contains(a) || name.denied.contains(a);
        let is_fresh = |e: &Endpoint| !in_use(&e.address) && !given_up(&e.address);
        let all_denied = !endpoints.is_empty() && endpoints.iter().all(|e| name.denied.contains(&e.address));
        let fresh: Vec<Endpoint> = endpoints.into_iter().filter(is_fresh).take(wanted).collect();
        if fresh.is_empty() {
            if name.failure.is_none() && !some_in_use {
                let why =
                    if all_denied { "it refuses service" } else { "none of its addresses has been of use" };
                name.failure = Some(why.into());
                // Better one that was bad than none: it is tried again at the next look-up.
                name.useless.clear();
            }
            name.next = now + name.pause;
            name.pause = name.pause.times(2).min(Name::LONGEST_PAUSE);
        } else {
            name.next = now + Name::FIRST_PAUSE;
            name.pause = Name::FIRST_PAUSE;
        }
        fresh
    }

    /// An address that is of no use at the moment.
    pub(super) fn set_aside(&mut self, name: usize, address: SocketAddr) {
        self.names[name].useless.insert(address);
    }

    /// An address whose server refuses service.
    pub(super) fn deny(&mut self, name: usize, address: SocketAddr) {
        self.names[name].denied.insert(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 123))
    }

    fn names(host: &str, resolve: Arc<Resolve>) -> (Names, mpsc::Receiver<()>) {
        let (woken, wait) = mpsc::channel();
        let wake = Arc::new(move || woken.send(()).expect("the test waits"));
        let server: TimeServer = host.parse().expect("a server");
        (Names::new(&[server], RawInstant::from_nanos(0), resolve, wake), wait)
    }

    fn look_up(
        names: &mut Names,
        wait: &mpsc::Receiver<()>,
        now: i64,
        in_use: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let now = RawInstant::from_nanos(now * 1_000_000_000);
        names.look_up(0, now);
        wait.recv_timeout(std::time::Duration::from_secs(60)).expect("the look-up ends");
        let found = names.finished().expect("woken with a result");
        let wanted = names.names[0].members() - in_use.len();
        let fresh = names.fresh(found, wanted, &|a| in_use.contains(a), now);
        fresh.into_iter().map(|endpoint| endpoint.address).collect()
    }

    #[test]
    fn a_pool_gives_several_members_and_replaces_a_bad_one() {
        let (mut names, wait) =
            names("0.pool.test", Arc::new(|_| Ok((1..=6).map(address).map(Endpoint::from).collect())));
        let first = look_up(&mut names, &wait, 0, &[]);
        assert_eq!(first, (1..=4).map(address).collect::<Vec<_>>());
        names.set_aside(0, first[1]);
        let rest = [first[0], first[2], first[3]];
        assert_eq!(look_up(&mut names, &wait, 10, &rest), [address(5)]);
    }

    #[test]
    fn another_name_gives_one() {
        let (mut names, wait) =
            names("time.test", Arc::new(|_| Ok((1..=6).map(address).map(Endpoint::from).collect())));
        assert_eq!(look_up(&mut names, &wait, 0, &[]), [address(1)]);
    }

    #[test]
    fn a_small_pool_of_which_all_are_in_use_is_no_failure() {
        let (mut names, wait) = names("pool.test", Arc::new(|_| Ok(vec![address(1).into()])));
        let first = look_up(&mut names, &wait, 0, &[]);
        assert!(look_up(&mut names, &wait, 10, &first).is_empty());
        assert_eq!(names.names[0].failure, None);
    }

    #[test]
    fn failures_are_told_and_tried_again_later_and_later() {
        let (mut names, wait) = names("time.test", Arc::new(|_| Err("no such name".into())));
        assert!(look_up(&mut names, &wait, 0, &[]).is_empty());
        assert_eq!(names.names[0].failure.as_deref(), Some("no such name"));
        names.look_up(0, RawInstant::from_nanos(1_000_000_000));
        assert!(!names.names[0].pending, "too early for another look-up");
        assert!(look_up(&mut names, &wait, 2, &[]).is_empty());
        names.look_up(0, RawInstant::from_nanos(5_000_000_000));
        assert!(!names.names[0].pending, "the pause has doubled");
    }

    #[test]
    fn the_only_address_is_tried_again_even_if_it_was_bad() {
        let (mut names, wait) = names("time.test", Arc::new(|_| Ok(vec![address(1).into()])));
        let first = look_up(&mut names, &wait, 0, &[]);
        names.set_aside(0, first[0]);
        assert!(look_up(&mut names, &wait, 10, &[]).is_empty());
        assert_eq!(look_up(&mut names, &wait, 100, &[]), first);
    }

    #[test]
    fn whoever_refuses_service_is_not_asked_again() {
        let (mut names, wait) = names("time.test", Arc::new(|_| Ok(vec![address(1).into()])));
        let first = look_up(&mut names, &wait, 0, &[]);
        names.deny(0, first[0]);
        for when in [10, 100, 1_000] {
            assert!(look_up(&mut names, &wait, when, &[]).is_empty());
        }
        assert_eq!(names.names[0].failure.as_deref(), Some("it refuses service"));
    }
}
