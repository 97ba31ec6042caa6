//! The settings of the HTTP server (`http`): where it listens, who may ask, and what counts as healthy.

use super::finding::{Finding, Problem};
use super::read::{Shown, excerpt, file, strings, switch, text};
use super::settings::{HTTP_LISTEN, HTTP_TOKEN_FILE, Setting, setting};
use super::yaml::Node;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The HTTP server (`http`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; nowhere unless it is asked for.
    pub listen: Option<SocketAddr>,
    /// The file with the token that callers have to show; beyond loopback there must be one.
    pub token_file: Option<PathBuf>,
    /// Names that this server may be called by in the `Host` of a request, beside `localhost` and addresses.
    pub allowed_hosts: Vec<String>,
    /// Web pages of other origins that may ask, each as `http://host:port`.
    pub allowed_origins: Vec<String>,
    /// Whether a warning is answered with 503 by `/health` where the request does not say.
    pub strict_health: bool,
}

impl Http {
    /// Where it listens if it is only said that it shall.
    pub const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8037);
}

const LISTEN: &str = "http.listen";

pub(super) static SETTINGS: [Setting; 5] = [
    setting!(
        LISTEN,
        HTTP_LISTEN,
        http.listen,
        listen,
        "Where HTTP is served (API, metrics, health, web page): off, on (127.0.0.1:8037), a port of 127.0.0.1, or ADDRESS:PORT."
    ),
    setting!(
        "http.token_file",
        HTTP_TOKEN_FILE,
        http.token_file,
        file,
        "The file with the token that callers show as `Authorization: Bearer TOKEN`; needed beyond loopback."
    ),
    setting!(
        "http.allowed_hosts",
        None,
        http.allowed_hosts,
        |node| strings(node, "a list of host names", host_name),
        "Names that callers may use for this server, beside localhost and plain addresses."
    ),
    setting!(
        "http.allowed_origins",
        None,
        http.allowed_origins,
        |node| strings(node, "a list of origins, each http://host:port", origin),
        "Web pages of other origins that may ask, each as http://host:port."
    ),
    setting!(
        "http.strict_health",
        None,
        http.strict_health,
        switch,
        "Whether /health answers a warning with 503 too, where the request does not say ?strict=0."
    ),
];

/// An address to listen on: `off`, `on`, a port of loopback, or the whole.
fn listen(node: &Node) -> Result<Option<SocketAddr>, Problem> {
    const WANTED: &str = "off, on, a port, or ADDRESS:PORT such as 127.0.0.1:8037 or [::1]:8037";
    let written = text(node, WANTED)?;
    let wrong = || Problem::WrongKind { found: format!("{:?}", excerpt(written)), wanted: WANTED };
    let named =
        written.strip_prefix("localhost:").map_or(Err(wrong()), |port| port.parse().map_err(|_| wrong()));
    match written.to_ascii_lowercase().as_str() {
        "off" | "false" | "no" => Ok(None),
        "on" | "true" | "yes" => Ok(Some(Http::USUAL)),
        address => address
            .parse()
            .or_else(|_| address.parse().or(named).map(|port| SocketAddr::new(Http::USUAL.ip(), port)))
            .map(Some),
    }
}

/// A host name without port, in lower case.
fn host_name(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    (!text.is_empty() && text.len() <= 253 && text.bytes().all(plain)).then(|| text.to_ascii_lowercase())
}

/// A scheme, a host and perhaps a port, as browsers send them (RFC 6454 §6.2).
fn origin(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let plain = |b: u8| b.is_ascii_graphic() && !b"/?#@\\\"".contains(&b);
    let valid = matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain);
    valid.then(|| text.to_ascii_lowercase())
}

/// What can only be said of several settings together: beyond loopback nobody is served without a token.
pub(super) fn check(http: &Http, origin: super::Origin) -> Option<Finding> {
    let address = http.listen.filter(|address| !address.ip().is_loopback())?;
    let problem = Problem::OpenWithoutToken { address: address.to_string() };
    http.token_file.is_none().then(|| Finding { key: LISTEN.to_owned(), origin, problem })
}

/// The key of the setting that [`check`] is about.
pub(super) const CHECKED: &str = LISTEN;

impl Shown for Option<SocketAddr> {
    fn shown(&self) -> Value {
        self.map_or_else(|| "off".into(), |address| address.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_written_in_every_usual_way() {
        let read = |text: &str| listen(&Node::text(text)).map(|found| found.map(|a| a.to_string()));
        let at = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!((read("off"), read("on")), (Ok(None), at("127.0.0.1:8037")));
        assert_eq!((read("9000"), read("localhost:9000")), (at("127.0.0.1:9000"), at("127.0.0.1:9000")));
        assert_eq!((read("[::1]:80"), read("0.0.0.0:80")), (at("[::1]:80"), at("0.0.0.0:80")));
        for wrong in ["", "example.org:80", "127.0.0.1", "70000", "::1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_and_origins_are_checked() {
        assert_eq!(host_name("Clock.Example").as_deref(), Some("clock.example"));
        assert_eq!(origin("https://a.example:8443").as_deref(), Some("https://a.example:8443"));
        for wrong in ["a.example", "ftp://a", "http://", "http://a/b", "http://u@a", "*"] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
        assert_eq!((host_name("a b"), host_name("a:80"), host_name("")), (None, None, None));
    }
}
