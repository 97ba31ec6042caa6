//! In the place of the export to collectors, in a build without it.

use super::Subject;
use crate::config::Otlp;
use crate::feed::Follower;
use std::convert::Infallible;
use std::io;

/// Nothing is exported.
#[derive(Debug)]
pub struct Export(Infallible);

impl Export {
    /// Says in the log that this build cannot, if a collector is configured.
    ///
    /// # Errors
    /// None.
    pub fn start(settings: &Otlp, _: Subject, _: Follower) -> io::Result<Option<Export>> {
        if settings.endpoint.is_some() {
            log::error!(
                "OTLP: this build cannot send metrics; build it with the feature otlp, or unset otlp.endpoint"
            );
        }
        Ok(None)
    }

    /// There is nothing to wait for.
    pub fn join(self) {
        match self.0 {}
    }
}
