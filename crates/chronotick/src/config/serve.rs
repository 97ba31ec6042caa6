//! What is served to others: NTP for the network (`serve.ntp`), with NTS (`serve.nts`).

use super::finding::Problem;
use super::read::{Shown, count, file, list, seconds, switch};
use super::settings::{Setting, setting};
use chronotick_clock::Span;
use chronotick_ntp::Network;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What is served to others (`serve`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serve {
    /// NTP for the network.
    pub ntp: ServeNtp,
    /// NTS for those who want proof.
    pub nts: ServeNts,
}

/// The key establishment of NTS (`serve.nts`), for the NTP of `serve.ntp` and whom that allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeNts {
    /// Whether keys are established.
    pub enabled: bool,
    /// Addresses and TCP ports; at least one if it is enabled.
    pub listen: Vec<Listen>,
    /// The file of the certificate and its chain.
    pub certificate: Option<PathBuf>,
    /// The file of its key.
    pub private_key: Option<PathBuf>,
    /// How long cookies are sealed with one key; the two before it are still opened.
    pub key_rotation: Span,
}

impl ServeNts {
    /// The files of the certificate and its key, if both are named.
    pub fn identity(&self) -> Option<(&Path, &Path)> {
        self.certificate.as_deref().zip(self.private_key.as_deref())
    }
}

impl Default for ServeNts {
    fn default() -> ServeNts {
        let any = |ip| Listen(SocketAddr::new(ip, chronotick_ntp::nts::ke::PORT));
        ServeNts {
            enabled: false,
            listen: vec![any(Ipv4Addr::UNSPECIFIED.into()), any(Ipv6Addr::UNSPECIFIED.into())],
            certificate: None,
            private_key: None,
            key_rotation: Span::from_secs(86_400),
        }
    }
}

/// NTP for the network (`serve.ntp`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeNtp {
    /// Whether anybody is answered.
    pub enabled: bool,
    /// Addresses and UDP ports; at least one if it is enabled.
    pub listen: Vec<Listen>,
    /// Who is answered.
    pub allow: Vec<Network>,
    /// Who is refused; of two networks that a client is in the smaller one decides.
    pub deny: Vec<Network>,
    /// Who asks is answered only while the bound is not wider than this to either side.
    pub max_root_distance: Span,
    /// The interval at which one client may ask in the long run; zero limits nobody.
    pub rate_interval: Span,
    /// How many requests of one client may come at once.
    pub rate_burst: u32,
}

impl Default for ServeNtp {
    fn default() -> ServeNtp {
        let any = |ip| Listen(SocketAddr::new(ip, super::ServerAddress::NTP_PORT));
        ServeNtp {
            enabled: false,
            listen: vec![any(Ipv4Addr::UNSPECIFIED.into()), any(Ipv6Addr::UNSPECIFIED.into())],
            allow: Network::LOCAL.to_vec(),
            deny: Vec::new(),
            max_root_distance: Span::from_millis(100),
            rate_interval: Span::from_millis(500),
            rate_burst: 16,
        }
    }
}

/// An address and a port to listen on. A port alone is on all IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let port = text.parse().map(|port: u16| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
        let wanted = "write address:port, as 0.0.0.0:123 or \"[::]:123\"";
        text.parse().or(port).map(Listen).map_err(|_| wanted.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Shown for Vec<Listen> {
    fn shown(&self) -> serde_json::Value {
        self.iter().map(ToString::to_string).collect()
    }
}
impl Shown for Vec<Network> {
    fn shown(&self) -> serde_json::Value {
        self.iter().map(ToString::to_string).collect()
    }
}

pub(super) static SETTINGS: [Setting; 12] = [
    setting!("serve.ntp.enabled", None, serve.ntp.enabled, switch, "Whether NTP is served to the network."),
    setting!(
        "serve.ntp.listen",
        None,
        serve.ntp.listen,
        list,
        "Addresses and UDP ports; a port below 1024 needs the capability CAP_NET_BIND_SERVICE."
    ),
    setting!(
        "serve.ntp.allow",
        None,
        serve.ntp.allow,
        list,
        "Networks that are answered, in CIDR notation; others are told RSTR. 0.0.0.0/0 and ::/0 are everybody."
    ),
    setting!(
        "serve.ntp.deny",
        None,
        serve.ntp.deny,
        list,
        "Networks that are refused (DENY). Where a client is in several, the smallest network decides."
    ),
    setting!(
        "serve.ntp.max_root_distance",
        None,
        serve.ntp.max_root_distance,
        |node| seconds(node, Span::from_micros(1)..=Span::from_secs(16)),
        "Nobody is answered while the bound is wider than this many seconds to either side."
    ),
    setting!(
        "serve.ntp.rate_interval",
        None,
        serve.ntp.rate_interval,
        |node| seconds(node, Span::ZERO..=Span::from_secs(1024)),
        "One client may ask every so many seconds in the long run; more is told RATE, then dropped. 0 is no limit."
    ),
    setting!(
        "serve.ntp.rate_burst",
        None,
        serve.ntp.rate_burst,
        |node| count(node, 1..=1024),
        "How many requests of one client may come at once."
    ),
    setting!(
        "serve.nts.enabled",
        None,
        serve.nts.enabled,
        switch,
        "Whether serve.ntp has NTS (RFC 8915) too."
    ),
    setting!(
        "serve.nts.listen",
        None,
        serve.nts.listen,
        list,
        "Addresses and TCP ports of the key establishment."
    ),
    setting!(
        "serve.nts.certificate_file",
        None,
        serve.nts.certificate,
        file,
        "The file of the certificate and its chain (PEM); one that is replaced is taken without a restart."
    ),
    setting!("serve.nts.private_key_file", None, serve.nts.private_key, file, "The file of its key (PEM)."),
    setting!(
        "serve.nts.key_rotation",
        None,
        serve.nts.key_rotation,
        |node| seconds(node, Span::from_secs(1)..=Span::from_secs(30 * 86_400)),
        "The key of cookies changes every so many seconds; the two before it still open them."
    ),
];

/// What can be said only of several of these settings together.
pub(super) fn contradiction(serve: &Serve) -> Option<(&'static str, Problem)> {
    let Serve { ntp, nts } = serve;
    if ntp.enabled && ntp.listen.is_empty() {
        return Some(("serve.ntp.listen", Problem::NoListener));
    }
    if !nts.enabled {
        return None;
    }
    match (ntp.enabled, nts.listen.is_empty(), nts.identity()) {
        (false, ..) => Some(("serve.nts.enabled", Problem::NtsWithoutNtp)),
        (_, true, _) => Some(("serve.nts.listen", Problem::NoListener)),
        (.., None) => Some(("serve.nts.enabled", Problem::NoCertificate)),
        _ => None,
    }
}
