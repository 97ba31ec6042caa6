//! Whose numbers they are.

use crate::door::Door;
use crate::monitor::{Memory, facts};
use chronotick_monitor::{Health, Profile};
use std::sync::Arc;

/// A clock, what is expected of it, and what its monitor remembers.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The clock page and the status.
    pub door: Arc<Door>,
    /// What is expected.
    pub profile: Profile,
    /// What the monitor remembers; nothing where there is none.
    pub memory: Memory,
}

/// A clock that is judged by the default profile, without a monitor.
impl From<Arc<Door>> for Subject {
    fn from(door: Arc<Door>) -> Subject {
        Subject { door, profile: Profile::default(), memory: Memory::default() }
    }
}

impl Subject {
    /// Its health now.
    pub fn health(&self) -> Health {
        facts::health(&self.door, &self.profile, &self.memory.now())
    }
}
