//! Telling other machines the time by NTP. A thread of its own answers from the clock page; what it says of itself is the
//! bound: whoever adds our root distance to its own round trip has a bound too.

mod clock;
mod ntp;

use crate::config::Config;
use crate::daemon::Outlets;
use std::io;
use std::net::SocketAddr;

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

/// Starts whatever the configuration says is to be served from these outlets.
///
/// # Errors
/// If something that is asked for cannot be served.
pub fn start(config: &Config, outlets: &Outlets) -> Result<(), CannotServe> {
    if config.serve.ntp.enabled {
        ntp::start(&config.serve.ntp, outlets)?;
    }
    Ok(())
}
