//! The bus: what the clocks of many nodes say, over a NATS server.
//!
//! * A daemon with `bus.nats` publishes a [`Told`] on `chronotick.reading.NODE` once a second ([`start`]), and at once where a
//!   watcher asks on `chronotick.ask`. Its thread is its own: a dead server costs the clock nothing.
//! * [`watch()`] hears them all and keeps what they claim about truth on its own raw clock ([`Claims`]).
//!
//! Everything that is heard is a stranger's: names are of few characters, messages and nodes are bounded, numbers may be
//! anything.

mod judge;
mod message;
mod publish;
pub(crate) mod view;
mod watch;

pub use judge::{Claim, Claims, Verdict};
pub use message::{ASK, READINGS, Told, subject};
pub use publish::start;
pub use watch::{Manner, watch};

use crate::config::Bus;
use async_nats::{Client, ConnectOptions, Event};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A connection that is made, and made again, for ever. Without a server it waits for one. So many messages wait to be read,
/// which a server limits to a megabyte each; beyond that they are lost.
async fn connect(bus: &Bus, name: &str, waiting: usize) -> Result<Client, String> {
    let Some(address) = &bus.nats else {
        return Err("no NATS server is named; set bus.nats, or --nats nats://127.0.0.1:4222".into());
    };
    let said = Said::default();
    let shown = address.as_str().to_owned();
    let mut options = ConnectOptions::new()
        .name(name)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ignore_discovered_servers()
        .require_tls(address.is_tls())
        .subscription_capacity(waiting)
        .connection_timeout(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| Duration::from_millis(250 << attempts.min(7)))
        .event_callback(move |event| {
            said.tell(&event, &shown);
            async {}
        });
    if let Some(file) = &bus.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let Some(file) = &bus.credentials_file {
        let line = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let line = line.trim();
        options = match line.split_once(':') {
            _ if line.is_empty() || line.contains(char::is_control) => {
                return Err(format!("{}: one line is expected, USER:PASSWORD or a token", file.display()));
            }
            Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
            None => options.token(line.to_owned()),
        };
    }
    options.connect(address.as_str()).await.map_err(|e| format!("{}: {e}", address.as_str()))
}

/// What was told of a connection since it was last made: that a server stays away, or that strangers flood it, is no news.
#[derive(Default)]
struct Said {
    trouble: AtomicBool,
    lost: AtomicBool,
}

impl Said {
    fn tell(&self, event: &Event, server: &str) {
        match event {
            Event::Connected => {
                self.trouble.store(false, Ordering::Relaxed);
                self.lost.store(false, Ordering::Relaxed);
                log::info!("NATS: connected to {server}");
            }
            Event::SlowConsumer(_) if !self.lost.swap(true, Ordering::Relaxed) => {
                log::warn!("NATS: more is told than can be read; some of it is lost");
            }
            Event::SlowConsumer(_) => {}
            other if !self.trouble.swap(true, Ordering::Relaxed) => {
                let why = crate::watch::clean(&other.to_string());
                log::warn!("NATS: {server}: {why}; it is tried again");
            }
            _ => {}
        }
    }
}

/// What runs a connection: one thread is enough.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
