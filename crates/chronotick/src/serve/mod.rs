//! Telling other machines the time by NTP, with NTS for those who want proof. A thread of its own answers from the clock page; what it says of itself is the
//! bound: whoever adds our root distance to its own round trip has a bound too.

mod clock;
mod ntp;
mod nts;

use crate::config::Config;
use crate::daemon::Outlets;
use crate::snapshot::ServerView;
use chronotick_ntp::{Access, KeyRing};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Why nothing can be served, with the mend.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    /// A socket could not be had.
    #[error("serve.ntp.listen: {address}: {error}{}", mend(error))]
    Listen {
        /// What was to be listened on.
        address: SocketAddr,
        /// Why that is impossible.
        error: io::Error,
    },
    /// A socket for the key establishment could not be had.
    #[error("serve.nts.listen: {address}: {error}{}", mend(error))]
    KeyListen {
        /// What was to be listened on.
        address: SocketAddr,
        /// Why that is impossible.
        error: io::Error,
    },
    /// NTS needs a certificate and its key.
    #[error("serve.nts: write both certificate_file and private_key_file, or set enabled to false")]
    NoIdentity,
    /// The certificate or its key cannot be used.
    #[error("serve.nts: {0}; a PEM file each is needed, with the whole chain in the first")]
    Identity(String),
    /// The file of symmetric keys cannot be used.
    #[error("serve.ntp: {0}")]
    Keys(String),
    /// There is no thread for it.
    #[error("NTP cannot be served: {0}")]
    Thread(io::Error),
}

fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose a higher one"
        }
        io::ErrorKind::AddrInUse => "; another program serves there, stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => {
            "; this machine does not have the address, remove it from the list"
        }
        _ => "",
    }
}

/// What is counted of those who ask, for the daemon's status; nothing where nobody is served.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<Mutex<Option<ServerView>>>);

impl Served {
    /// The newest counts.
    pub fn view(&self) -> Option<ServerView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, change: impl FnOnce(&mut ServerView)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

/// Starts whatever the configuration says is to be served from these outlets.
///
/// # Errors
/// If something that is asked for cannot be served.
pub fn start(config: &Config, outlets: &Outlets) -> Result<(), CannotServe> {
    if config.serve.ntp.enabled {
        let jar = match config.serve.nts.enabled {
            true => {
                let ntp = &config.serve.ntp;
                let access = Access::new(ntp.allow.clone(), ntp.deny.clone());
                let port = ntp.listen.first().map(|listen| listen.0.port());
                let unusual = port.filter(|port| *port != crate::config::ServerAddress::NTP_PORT);
                Some(nts::start(&config.serve.nts, access, unusual, outlets.served.clone())?)
            }
            false => None,
        };
        let keys = config.ntp.keys_file.as_deref().map_or_else(|| Ok(KeyRing::default()), crate::keys::read);
        ntp::start(&config.serve.ntp, outlets, jar, keys.map_err(CannotServe::Keys)?)?;
    }
    Ok(())
}
