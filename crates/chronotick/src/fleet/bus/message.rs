//! What a node tells: a small JSON document. Readers take nothing for granted.

use crate::config::NodeName;
use chronotick_clock::{Reading, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// The subject of all nodes' readings.
pub const READINGS: &str = "chronotick.reading.*";
/// The subject on which watchers ask: the payload is a number in hexadecimal that nobody can foresee.
pub const ASK: &str = "chronotick.ask";

/// The longest message that is read, in bytes; ours have about 300.
const LONGEST: usize = 2048;

/// The subject of one node's readings.
pub fn subject(node: &NodeName) -> String {
    format!("chronotick.reading.{}", node.as_str())
}

/// A reading of a node's corrected time, taken just before it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Who tells; the last part of the subject says the same.
    pub node: String,
    /// The life of the daemon: another number after each start.
    pub run: u64,
    /// Counts what it told in that life, from 1.
    pub sequence: u64,
    /// The state in a word.
    pub state: String,
    /// Corrected time, ns since 1970; absent until something was measured, as are the next three.
    pub estimate_ns: Option<i64>,
    /// True time is not before this, ns since 1970.
    pub earliest_ns: Option<i64>,
    /// True time is not after this, ns since 1970.
    pub latest_ns: Option<i64>,
    /// What the system clock lacks, ns: true − system.
    pub system_offset_ns: Option<i64>,
    /// The newest number that a watcher asked with: the reading was taken after it was sent.
    #[serde(default)]
    pub asked: Option<u64>,
}

impl Told {
    /// A message about a reading and what the system clock read then.
    pub fn of(node: &NodeName, (run, sequence): (u64, u64), reading: &Reading, system: Timestamp) -> Told {
        let known = |ns: i64| reading.is_known().then_some(ns);
        Told {
            node: node.as_str().to_owned(),
            run,
            sequence,
            state: reading.state.name().to_owned(),
            estimate_ns: known(reading.estimate.as_nanos()),
            earliest_ns: known(reading.earliest.as_nanos()),
            latest_ns: known(reading.latest.as_nanos()),
            system_offset_ns: known((reading.estimate - system).as_nanos()),
            asked: None,
        }
    }

    /// The message on a subject; none if it is not what a node would send.
    pub fn read(subject: &str, payload: &[u8]) -> Option<Told> {
        let node = subject.strip_prefix("chronotick.reading.")?.parse::<NodeName>().ok()?;
        let told: Told = (payload.len() <= LONGEST).then(|| serde_json::from_slice(payload).ok())??;
        let short = told.state.len() <= 16 && told.state.bytes().all(|b| b.is_ascii_lowercase());
        (told.node == node.as_str() && short && told.is_ordered()).then_some(told)
    }

    fn is_ordered(&self) -> bool {
        match (self.earliest_ns, self.estimate_ns, self.latest_ns) {
            (None, None, None) => true,
            (Some(earliest), Some(estimate), Some(latest)) => earliest <= estimate && estimate <= latest,
            _ => false,
        }
    }

    /// The furthest that truth can be from the estimate by its own word.
    pub fn max_error(&self) -> Option<Span> {
        let (earliest, estimate, latest) = (self.earliest_ns?, self.estimate_ns?, self.latest_ns?);
        Some(Span::from_nanos(latest.saturating_sub(estimate).max(estimate.saturating_sub(earliest))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told() -> Told {
        Told {
            node: "a-1".into(),
            run: 7,
            sequence: 1,
            state: "synced".into(),
            estimate_ns: Some(20),
            earliest_ns: Some(10),
            latest_ns: Some(50),
            system_offset_ns: Some(-3),
            asked: None,
        }
    }

    #[test]
    fn what_is_told_is_heard() {
        let bytes = serde_json::to_vec(&told()).unwrap();
        assert!(bytes.len() < LONGEST / 4);
        assert_eq!(Told::read("chronotick.reading.a-1", &bytes), Some(told()));
        assert_eq!(told().max_error(), Some(Span::from_nanos(30)));
    }

    #[test]
    fn what_a_node_would_not_send_is_not_heard() {
        let wrong = [
            Told { node: "b".into(), ..told() },
            Told { state: "\u{1b}[2J".into(), ..told() },
            Told { state: "a".repeat(17), ..told() },
            Told { earliest_ns: Some(21), ..told() },
            Told { latest_ns: None, ..told() },
        ];
        for told in wrong {
            assert_eq!(
                Told::read("chronotick.reading.a-1", &serde_json::to_vec(&told).unwrap()),
                None,
                "{told:?}"
            );
        }
        let mut long = serde_json::to_vec(&told()).unwrap();
        long.resize(LONGEST + 1, b' ');
        assert_eq!(Told::read("chronotick.reading.a-1", &long), None);
        assert_eq!(Told::read("chronotick.reading.a.b", &[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            prop_assert_eq!(Told::read("chronotick.reading.x", &bytes), None);
            let _ = Told::read(&text, text.as_bytes());
        }
    }
}
