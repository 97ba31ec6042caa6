//! The settings of the bus (`bus`): a NATS server over which nodes tell each other what their clocks say.

use super::finding::Problem;
use super::read::{Shown, excerpt, file, text};
use super::settings::{BUS_NATS, Setting, setting};
use super::yaml::Node;
use serde_json::Value;
use std::path::PathBuf;

/// The bus (`bus`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bus {
    /// The server; none unless it is asked for.
    pub nats: Option<NatsAddress>,
    /// What this node is called there; the machine's host name where nothing is set.
    pub node: Option<NodeName>,
    /// A file with one line, `USER:PASSWORD` or a token.
    pub credentials_file: Option<PathBuf>,
    /// The certificates (PEM) that TLS trusts, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// The address of a NATS server: `nats://HOST:PORT`, or `tls://HOST:PORT` for TLS. It carries no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsAddress(String);

impl NatsAddress {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the connection has to be encrypted.
    pub fn is_tls(&self) -> bool {
        self.0.starts_with("tls://")
    }
}

impl std::str::FromStr for NatsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<NatsAddress, String> {
        let rest = text.strip_prefix("nats://").or_else(|| text.strip_prefix("tls://"));
        // Who may connect is a secret, and an address is shown.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        let valid = rest.is_some_and(|rest| (1..=253).contains(&rest.len()) && rest.bytes().all(plain));
        let written = || NatsAddress(text.to_owned());
        valid.then(written).ok_or_else(|| "nats://HOST:4222 or tls://HOST:4222, without a user".to_owned())
    }
}

/// What a node is called on the bus: up to 63 letters, digits, `-` and `_`, since it is one part of a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This machine's host name, with hyphens for what cannot be in a name.
    pub fn of_machine() -> NodeName {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let name: String = host.chars().take(63).map(fit).collect();
        NodeName(if name.is_empty() { "node".into() } else { name })
    }
}

impl std::str::FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<NodeName, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let valid = (1..=63).contains(&text.len()) && text.bytes().all(plain);
        let written = || NodeName(text.to_owned());
        valid
            .then(written)
            .ok_or_else(|| "a name of up to 63 letters, digits, hyphens and underscores".to_owned())
    }
}

pub(super) static SETTINGS: [Setting; 4] = [
    setting!(
        "bus.nats",
        BUS_NATS,
        bus.nats,
        |node| absent_or(
            node,
            "off, or a NATS server such as nats://127.0.0.1:4222 or tls://nats.example:4222"
        ),
        "The NATS server that this node's readings go to, such as nats://127.0.0.1:4222 or tls://HOST:4222, or off."
    ),
    setting!(
        "bus.node",
        None,
        bus.node,
        |node| absent_or(node, "off (the host name), or a name of letters, digits, hyphens and underscores"),
        "What this node is called there; off for the machine's host name."
    ),
    setting!(
        "bus.credentials_file",
        None,
        bus.credentials_file,
        file,
        "A file with one line for the NATS server: USER:PASSWORD, or a token."
    ),
    setting!(
        "bus.ca_file",
        None,
        bus.ca_file,
        file,
        "The certificates (PEM) that tls:// trusts, instead of the system's."
    ),
];

fn absent_or<T: std::str::FromStr>(node: &Node, wanted: &'static str) -> Result<Option<T>, Problem> {
    let written = text(node, wanted)?;
    if matches!(written.to_ascii_lowercase().as_str(), "off" | "false" | "no") {
        return Ok(None);
    }
    let wrong = |_| Problem::WrongKind { found: format!("{:?}", excerpt(written)), wanted };
    written.parse().map(Some).map_err(wrong)
}

impl Shown for Option<NatsAddress> {
    fn shown(&self) -> Value {
        self.as_ref().map_or_else(|| "off".into(), |address| address.0.clone().into())
    }
}

impl Shown for Option<NodeName> {
    fn shown(&self) -> Value {
        self.as_ref().map_or_else(|| "off".into(), |name| name.0.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_secret_and_a_name_is_one_part_of_a_subject() {
        for good in ["nats://a", "tls://nats.example:4222", "nats://[::1]:4222"] {
            assert!(good.parse::<NatsAddress>().is_ok(), "{good}");
        }
        for wrong in ["", "a:4222", "nats://", "nats://me:secret@a", "http://a", "nats://a/b", "nats://a,b"] {
            assert!(wrong.parse::<NatsAddress>().is_err(), "{wrong}");
        }
        for wrong in ["", "a.b", "a b", "*", ">", "ä"] {
            assert!(wrong.parse::<NodeName>().is_err(), "{wrong}");
        }
        let ours = NodeName::of_machine();
        assert_eq!(ours.as_str().parse::<NodeName>(), Ok(ours));
    }
}
