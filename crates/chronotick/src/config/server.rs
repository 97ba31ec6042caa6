//! The address of a time server: a host and a port, checked as far as that goes without asking the network.

use chronotick_core::Span;
use chronotick_ntp::Settings;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A time server: a host name or an address, and a UDP port.
///
/// ```
/// use chronotick::config::ServerAddress;
/// let server: ServerAddress = "[2001:db8::1]:1123".parse()?;
/// assert_eq!((server.host(), server.port()), ("2001:db8::1", 1123));
/// assert_eq!("Time.Example.".parse::<ServerAddress>()?.to_string(), "time.example");
/// # Ok::<(), chronotick::config::InvalidServer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

impl ServerAddress {
    /// NTP's own port, taken where none is written (RFC 5905 §7.2).
    pub const NTP_PORT: u16 = 123;

    /// A host name in lower case, an IPv4 address, or an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The same host at another port, which is not 0.
    pub(super) fn with_port(&self, port: u16) -> ServerAddress {
        ServerAddress { host: self.host.clone(), port }
    }
    /// The UDP port; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Whether it refuses service to whoever asks one of its servers more often than every 4 s, as NIST does (its terms of use
    /// for `time.nist.gov`).
    pub(crate) fn is_rationed(&self) -> bool {
        self.host == "nist.gov" || self.host.ends_with(".nist.gov")
    }
    /// These settings, with no interval that is shorter than it allows.
    pub(crate) fn ration(&self, mut settings: Settings) -> Settings {
        if self.is_rationed() {
            let intervals = [&mut settings.min_poll, &mut settings.max_poll, &mut settings.burst_interval];
            intervals.into_iter().for_each(|interval| *interval = (*interval).max(Span::from_secs(4)));
        }
        settings
    }
    /// How many of its addresses are measured. Members of a pool are operated independently of each other, so four of
    /// them are; other names stand for one operator, whose servers would only repeat each other.
    pub(crate) fn members(&self) -> usize {
        if self.host.split('.').any(|label| label == "pool") { 4 } else { 1 }
    }
}

/// As it would be written: the port only where it is not 123.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.host.contains(':')) {
            (ServerAddress::NTP_PORT, _) => f.write_str(&self.host),
            (port, true) => write!(f, "[{}]:{port}", self.host),
            (port, false) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// Why a text is not the address of a time server, with the mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServer {
    /// Nothing is written.
    #[error("it is empty; write a host name or an address, or take out the comma that is too many")]
    Empty,
    /// It is a URL.
    #[error("write only host or host:port, without a scheme or a path")]
    Url,
    /// The port is not one.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// There is a bracket, but not as in `[address]:port`.
    #[error("an IPv6 address with a port is written [address]:port")]
    Brackets,
    /// Colons, but no IPv6 address.
    #[error("this is neither host:port nor an IPv6 address")]
    Ipv6,
    /// Digits and dots, but no IPv4 address.
    #[error("this looks like an IPv4 address but is none")]
    Ipv4,
    /// The address cannot be that of one server.
    #[error("no single server can have this address")]
    NotUnicast,
    /// A letter outside of ASCII.
    #[error("write an international name in its ASCII form (xn--…)")]
    International,
    /// A name that cannot exist.
    #[error("a host name has letters, digits, hyphens and dots, at most 63 between two dots and 253 in all")]
    Name,
}

impl FromStr for ServerAddress {
    type Err = InvalidServer;

    /// Reads `host`, `host:port`, `IPv4`, `IPv4:port`, `IPv6`, `[IPv6]` or `[IPv6]:port`.
    fn from_str(text: &str) -> Result<ServerAddress, InvalidServer> {
        let text = text.trim();
        if text.contains('/') {
            return Err(InvalidServer::Url);
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or(InvalidServer::Brackets)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(InvalidServer::Brackets)?),
            };
            (ipv6(inside)?, port)
        } else {
            match text.split_once(':') {
                None => (name_or_ipv4(text)?, None),
                Some((_, rest)) if rest.contains(':') => (ipv6(text)?, None),
                Some((host, port)) => (name_or_ipv4(host)?, Some(port)),
            }
        };
        let port = port.map_or(Ok(ServerAddress::NTP_PORT), port_number)?;
        Ok(ServerAddress { host, port })
    }
}

fn port_number(text: &str) -> Result<u16, InvalidServer> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0).ok_or(InvalidServer::Port)
}

/// An IPv6 address in its shortest form, with the interface of a link-local one kept: `fe80::1%eth0`.
fn ipv6(text: &str) -> Result<String, InvalidServer> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| InvalidServer::Ipv6)?;
    unicast(address.into())?;
    match zone {
        None => Ok(address.to_string()),
        Some(zone)
            if (1..=15).contains(&zone.len())
                && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) =>
        {
            Ok(format!("{address}%{zone}"))
        }
        Some(_) => Err(InvalidServer::Ipv6),
    }
}

fn name_or_ipv4(text: &str) -> Result<String, InvalidServer> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty() {
        return Err(InvalidServer::Empty);
    }
    if !name.is_ascii() {
        return Err(InvalidServer::International);
    }
    // A top-level domain is never a number (RFC 3696 §2), so this can only be meant as an address.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        let address: Ipv4Addr = name.parse().map_err(|_| InvalidServer::Ipv4)?;
        unicast(address.into())?;
        return Ok(address.to_string());
    }
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label_is_valid) {
        return Err(InvalidServer::Name);
    }
    Ok(name.to_ascii_lowercase())
}

fn unicast(address: IpAddr) -> Result<(), InvalidServer> {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(InvalidServer::NotUnicast);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(String, u16), InvalidServer> {
        text.parse::<ServerAddress>().map(|s| (s.host().to_owned(), s.port()))
    }

    #[test]
    fn every_written_form_is_read() {
        for (text, host, port) in [
            ("pool.ntp.org", "pool.ntp.org", 123),
            (" Time.NIST.gov. ", "time.nist.gov", 123),
            ("localhost:11123", "localhost", 11123),
            ("172.20.1.1:8123", "172.20.1.1", 8123),
            ("169.254.169.123", "169.254.169.123", 123),
            ("fd00:EC2::123", "fd00:ec2::123", 123),
            ("[::1]", "::1", 123),
            ("[::1]:4460", "::1", 4460),
            ("[fe80::1%eth0]:123", "fe80::1%eth0", 123),
            ("ntp_1.lan", "ntp_1.lan", 123),
        ] {
            assert_eq!(read(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn whoever_allows_few_requests_is_asked_seldom() {
        let second = Span::from_secs(1);
        let often =
            Settings { min_poll: second, max_poll: second, burst_interval: second, ..Settings::default() };
        let intervals = |host: &str| {
            let settings = host.parse::<ServerAddress>().unwrap().ration(often);
            [settings.min_poll, settings.max_poll, settings.burst_interval]
        };
        for host in ["time.nist.gov", "time-a-g.nist.gov:1123", "nist.gov"] {
            assert_eq!(intervals(host), [Span::from_secs(4); 3], "{host}");
        }
        for host in ["time.denist.gov", "time.nist.gov.example", "192.0.2.1"] {
            assert_eq!(intervals(host), [second; 3], "{host}");
        }
    }

    #[test]
    fn every_mistake_has_its_own_words() {
        use InvalidServer::*;
        for (text, why) in [
            ("", Empty),
            (":123", Empty),
            (".", Empty),
            ("ntp://pool.ntp.org", Url),
            ("pool.ntp.org/", Url),
            ("pool.ntp.org:", Port),
            ("pool.ntp.org:0", Port),
            ("pool.ntp.org:+123", Port),
            ("pool.ntp.org:65536", Port),
            ("pool.ntp.org:ntp", Port),
            ("[::1", Brackets),
            ("[::1]123", Brackets),
            ("[pool.ntp.org]:123", Ipv6),
            ("a:b:c", Ipv6),
            ("fe80::1%", Ipv6),
            ("1.2.3", Ipv4),
            ("300.1.2.3", Ipv4),
            ("12", Ipv4),
            ("0.0.0.0", NotUnicast),
            ("[ff02::101]", NotUnicast),
            ("224.0.1.1", NotUnicast),
            ("zeit.büro.example", International),
            ("-a.example", Name),
            ("a..b", Name),
            ("two words", Name),
        ] {
            assert_eq!(read(text), Err(why), "{text:?}");
        }
        assert_eq!(read(&format!("{}.example", "a".repeat(64))), Err(Name));
        assert_eq!(read(&"a.".repeat(127)), Ok(("a.".repeat(127).trim_end_matches('.').to_owned(), 123)));
        assert_eq!(read(&format!("{}b.c", "a.".repeat(126))), Err(Name));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_shows_as_itself(text in "\\PC{0,40}|[0-9a-fA-F:.%\\[\\]]{0,40}") {
            if let Ok(server) = text.parse::<ServerAddress>() {
                prop_assert_eq!(server.to_string().parse(), Ok(server));
            }
        }

        #[test]
        fn names_and_addresses_survive_a_round_trip(
            host in prop_oneof![
                "[a-z][a-z0-9]{0,10}(\\.[a-z]{1,8}){0,3}",
                (1u32..0xe000_0000).prop_map(|bits| Ipv4Addr::from_bits(bits).to_string()),
                (1u128..0xff00 << 112).prop_map(|bits| format!("[{}]", Ipv6Addr::from_bits(bits))),
            ],
            port in 1u16..,
        ) {
            let server: ServerAddress = format!("{host}:{port}").parse().expect("is valid");
            prop_assert_eq!(server.host(), host.trim_matches(['[', ']']));
            prop_assert_eq!(server.port(), port);
            prop_assert_eq!(server.to_string().parse(), Ok(server));
        }
    }
}
