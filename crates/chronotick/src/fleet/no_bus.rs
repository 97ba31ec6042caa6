//! In the place of the bus, in a build without it.

use super::NO_BUS;
use crate::config::Bus;
use crate::door::Door;
use crate::feed::Follower;
use std::io;
use std::sync::Arc;

/// Says in the log that this build cannot, if a server is configured.
///
/// # Errors
/// None.
pub fn start(settings: &Bus, _: Arc<Door>, _: Follower) -> io::Result<()> {
    if settings.nats.is_some() {
        log::error!("NATS: {NO_BUS}");
    }
    Ok(())
}
