//! A time server with what is asked of it beside the time: proof that it is the one, when its replies left, and what its word
//! counts for.
//!
//! In a text the options follow the address in the words of chrony's `server` directive, in a file they may be the keys
//! of a map: `time.example nts` is `{address: time.example, nts: true}`.

use super::finding::Problem;
use super::read::{count, excerpt, switch, wrong_kind};
use super::yaml::{Content, Node};
use super::{InvalidServer, ServerAddress};
use chronotick_core::Role;
use chronotick_ntp::nts;
use std::fmt;
use std::str::FromStr;

/// A time server and how it is asked.
///
/// ```
/// use chronotick::config::{Security, TimeServer};
/// let server: TimeServer = "time.example nts ntsport 4461".parse()?;
/// assert_eq!(server.security, Security::Nts { port: 4461, fallback: false });
/// # Ok::<(), chronotick::config::InvalidTimeServer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeServer {
    /// Where it is.
    pub address: ServerAddress,
    /// How its replies are told from forgeries.
    pub security: Security,
    /// Whether it is asked for interleaved mode (RFC 9769).
    pub interleave: bool,
    /// What its word counts for.
    pub role: Role,
}

/// How a server's replies are told from forgeries, beside the nonce in each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// By the nonce alone: whoever sees the requests can forge the replies.
    #[default]
    None,
    /// A symmetric key of this number, which both sides have.
    Key(u32),
    /// Network Time Security (RFC 8915).
    Nts {
        /// The TCP port of the key establishment.
        port: u16,
        /// Whether the server is asked without NTS where keys cannot be had.
        fallback: bool,
    },
}

impl TimeServer {
    /// A host name in lower case or an address.
    pub fn host(&self) -> &str {
        self.address.host()
    }
    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The whole of it, as it can be read again.
    pub fn written(&self) -> String {
        let mut text = self.address.to_string();
        match self.security {
            Security::None => {}
            Security::Key(number) => text += &format!(" key {number}"),
            Security::Nts { port, fallback } => {
                text += " nts";
                if port != nts::ke::PORT {
                    text += &format!(" ntsport {port}");
                }
                if fallback {
                    text += " fallback";
                }
            }
        }
        if self.interleave {
            text += " xleave";
        }
        options_of(self.role).for_each(|option| text += &format!(" {option}"));
        text
    }

    /// From an item of a list: a text, or a map with `address` and options.
    pub(super) fn read(node: &Node) -> Result<TimeServer, Problem> {
        match &node.content {
            Content::Scalar(text) => {
                text.parse().map_err(|why| Problem::InvalidServer { text: excerpt(text.trim()), why })
            }
            Content::Map(entries) => TimeServer::from_map(node, entries),
            _ => Err(wrong_kind(node, "host or host:port, or a map with address and options")),
        }
    }

    fn from_map(node: &Node, entries: &[(String, usize, Node)]) -> Result<TimeServer, Problem> {
        let mut options = Options::default();
        let mut address = None;
        for (name, _, value) in entries {
            match name.as_str() {
                "address" => match &value.content {
                    Content::Scalar(text) => {
                        let invalid = |why: InvalidServer| Problem::InvalidServer {
                            text: excerpt(text),
                            why: why.into(),
                        };
                        address = Some(text.parse::<ServerAddress>().map_err(invalid)?);
                    }
                    _ => return Err(wrong_kind(value, "host or host:port")),
                },
                "nts" => options.nts = switch(value)?,
                "ntsport" => options.port = Some(count(value, 1..=u32::from(u16::MAX))? as u16),
                "fallback" => options.fallback = switch(value)?,
                "key" => options.key = Some(count(value, 1..=u32::MAX)?),
                "xleave" => options.interleave = switch(value)?,
                "noselect" => options.role.noselect = switch(value)?,
                "prefer" => options.role.prefer = switch(value)?,
                "trust" => options.role.trust = switch(value)?,
                "require" => options.role.require = switch(value)?,
                other => return Err(invalid_option(other)),
            }
        }
        let address = address.ok_or_else(|| wrong_kind(node, "a map with an address"))?;
        let text = excerpt(&address.to_string());
        options.with(address).map_err(|why| Problem::InvalidServer { text, why })
    }
}

fn invalid_option(name: &str) -> Problem {
    Problem::InvalidServer { text: excerpt(name), why: InvalidTimeServer::Option }
}

/// What stands behind an address.
#[derive(Default)]
struct Options {
    nts: bool,
    port: Option<u16>,
    fallback: bool,
    key: Option<u32>,
    interleave: bool,
    role: Role,
}

/// The words for what a source's word counts for, as in chrony.conf.
pub(super) fn options_of(role: Role) -> impl Iterator<Item = &'static str> {
    let Role { noselect, prefer, trust, require } = role;
    let said = [("prefer", prefer), ("trust", trust), ("require", require), ("noselect", noselect)];
    said.into_iter().filter_map(|(name, said)| said.then_some(name))
}

impl Options {
    fn with(self, address: ServerAddress) -> Result<TimeServer, InvalidTimeServer> {
        let security = match self {
            Options { nts: false, port: Some(_), .. } | Options { nts: false, fallback: true, .. } => {
                return Err(InvalidTimeServer::WithoutNts);
            }
            Options { nts: true, key: Some(_), .. } => return Err(InvalidTimeServer::TwoProofs),
            Options { nts: true, port, fallback, .. } => {
                Security::Nts { port: port.unwrap_or(nts::ke::PORT), fallback }
            }
            Options { key: Some(number), .. } => Security::Key(number),
            _ => Security::None,
        };
        let (role, interleave) = (self.role, self.interleave);
        if role.noselect && options_of(role).count() > 1 {
            return Err(InvalidTimeServer::Contradiction);
        }
        Ok(TimeServer { address, security, interleave, role })
    }
}

/// Why a text is not a time server, with the mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimeServer {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] InvalidServer),
    /// A word behind the address has no meaning.
    #[error(
        "the options are nts, ntsport PORT, fallback, key NUMBER, xleave, prefer, trust, require and noselect"
    )]
    Option,
    /// A number is missing, or none.
    #[error("ntsport wants a port from 1 to 65535 behind it")]
    Number,
    /// The same of a key.
    #[error("key wants the number of a key from 1 to 4294967295 behind it")]
    Key,
    /// Two proofs of one reply.
    #[error("nts and key are two proofs of the same; keep one")]
    TwoProofs,
    /// No say, and some.
    #[error("noselect takes all say from a server, so prefer, trust and require mean nothing beside it")]
    Contradiction,
    /// An option of NTS without NTS.
    #[error("ntsport and fallback mean nothing without nts")]
    WithoutNts,
}

impl FromStr for TimeServer {
    type Err = InvalidTimeServer;

    fn from_str(text: &str) -> Result<TimeServer, InvalidTimeServer> {
        let mut words = text.split_whitespace();
        let address = words.next().unwrap_or_default();
        let address: ServerAddress = address.parse()?;
        let mut options = Options::default();
        while let Some(word) = words.next() {
            match word {
                "nts" => options.nts = true,
                "ntsport" => {
                    let port = number(words.next(), 1..=u16::MAX.into());
                    options.port = Some(port.ok_or(InvalidTimeServer::Number)? as u16);
                }
                "fallback" => options.fallback = true,
                "key" => {
                    let key = number(words.next(), 1..=u32::MAX.into());
                    options.key = Some(key.ok_or(InvalidTimeServer::Key)? as u32);
                }
                "xleave" => options.interleave = true,
                "noselect" => options.role.noselect = true,
                "prefer" => options.role.prefer = true,
                "trust" => options.role.trust = true,
                "require" => options.role.require = true,
                _ => return Err(InvalidTimeServer::Option),
            }
        }
        options.with(address)
    }
}

fn number(word: Option<&str>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
    word.and_then(|word| word.parse().ok()).filter(|number| range.contains(number))
}

/// The address alone, as it is called in every view.
impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The first port of a relay for nodes without internet; it stands for all of its ports.
const RELAY: u16 = 8123;
/// The ports of such a relay that have upstreams of different operators.
const RELAY_PORTS: [u16; 5] = [RELAY, 8127, 8128, 8129, 8130];

/// The list with `host:8123`, where it is the only port of that host, written out: it means a relay, of which each port
/// leads to another server.
pub(crate) fn with_relays(servers: Vec<TimeServer>) -> Vec<TimeServer> {
    let alone =
        |server: &TimeServer| servers.iter().filter(|other| other.host() == server.host()).count() == 1;
    let expand = |server: &TimeServer| match server.port() {
        RELAY if alone(server) => RELAY_PORTS
            .map(|port| TimeServer { address: server.address.with_port(port), ..server.clone() })
            .to_vec(),
        _ => vec![server.clone()],
    };
    servers.iter().flat_map(expand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TimeServer, InvalidTimeServer> {
        text.parse()
    }

    #[test]
    fn every_option_is_read_and_written() {
        for text in [
            "time.example",
            "time.example nts",
            "time.example:1123 nts ntsport 4461 fallback",
            "[2001:db8::1]:1123 nts fallback",
            "time.example key 4294967295 xleave",
            "time.example nts xleave prefer trust require",
            "time.example noselect",
        ] {
            assert_eq!(read(text).unwrap().written(), text);
        }
        assert_eq!(read("time.example nts ntsport 4460").unwrap().written(), "time.example nts");
    }

    #[test]
    fn every_mistake_has_its_own_words() {
        use InvalidTimeServer::*;
        for (text, why) in [
            ("", Address(InvalidServer::Empty)),
            ("time.example ntp", Option),
            ("time.example key", Key),
            ("time.example key 0", Key),
            ("time.example key 4294967296", Key),
            ("time.example key secret", Key),
            ("time.example key 1 nts", TwoProofs),
            ("time.example key 1 fallback", WithoutNts),
            ("time.example noselect prefer", Contradiction),
            ("time.example nts ntsport", Number),
            ("time.example nts ntsport 0", Number),
            ("time.example ntsport 4461", WithoutNts),
            ("time.example fallback", WithoutNts),
        ] {
            assert_eq!(read(text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_relay_is_all_of_its_ports_unless_they_are_written_out() {
        let list = |texts: &[&str]| {
            let servers = texts.iter().map(|text| read(text).unwrap()).collect();
            with_relays(servers).iter().map(TimeServer::written).collect::<Vec<_>>()
        };
        assert_eq!(
            list(&["172.20.1.1:8123", "time.example"]),
            [
                "172.20.1.1:8123",
                "172.20.1.1:8127",
                "172.20.1.1:8128",
                "172.20.1.1:8129",
                "172.20.1.1:8130",
                "time.example"
            ]
        );
        let written_out = ["172.20.1.1:8123", "172.20.1.1:8124"];
        assert_eq!(list(&written_out), written_out);
    }
}
