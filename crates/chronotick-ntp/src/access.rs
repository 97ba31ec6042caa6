//! Who may ask a server: networks in CIDR notation, of which the most specific one decides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network: an address and how many of its leading bits count.
///
/// ```
/// use chronotick_ntp::Network;
/// let lan: Network = "192.168.0.0/16".parse()?;
/// assert!(lan.contains("192.168.7.1".parse().unwrap()));
/// assert_eq!("2001:db8::1".parse::<Network>()?.to_string(), "2001:db8::1/128");
/// # Ok::<(), chronotick_ntp::InvalidNetwork>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no network, with the mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// What stands before the slash is no IP address.
    #[error("this is no IP address; write a network such as 192.168.0.0/16 or fd00::/8")]
    Address,
    /// What stands behind the slash is no length that the address can have.
    #[error("the length of the prefix must be a number from 0 to {most}")]
    Length {
        /// 32 or 128.
        most: u8,
    },
    /// The address has bits behind the prefix.
    #[error("bits are set behind the prefix; {meant} may be meant")]
    HostBits {
        /// The network that the address is in.
        meant: Network,
    },
}

impl Network {
    /// Every network that is local to somebody: loopback, private use (RFC 1918), link-local, unique local (RFC 4193).
    pub const LOCAL: [Network; 8] = [
        Network::v4([127, 0, 0, 0], 8),
        Network::v4([10, 0, 0, 0], 8),
        Network::v4([172, 16, 0, 0], 12),
        Network::v4([192, 168, 0, 0], 16),
        Network::v4([169, 254, 0, 0], 16),
        Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), bits: 10 },
        Network { address: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), bits: 7 },
    ];

    const fn v4(octets: [u8; 4], bits: u8) -> Network {
        Network { address: IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3])), bits }
    }

    /// The network of so many leading bits that an address is in; as many as the address has, if there are fewer.
    pub fn around(address: IpAddr, bits: u8) -> Network {
        let cut = |value: u128, width: u32| {
            let kept = u32::from(bits).min(width);
            (value.checked_shr(width - kept).unwrap_or(0).checked_shl(width - kept).unwrap_or(0), kept as u8)
        };
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let (value, bits) = cut(u128::from(v4.to_bits()), 32);
                Network { address: Ipv4Addr::from_bits(value as u32).into(), bits }
            }
            IpAddr::V6(v6) => {
                let (value, bits) = cut(v6.to_bits(), 128);
                Network { address: Ipv6Addr::from_bits(value).into(), bits }
            }
        }
    }

    /// Whether an address is in it. An IPv4 address that is written as an IPv6 one (`::ffff:a.b.c.d`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Network::around(address, self.bits) == *self
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Network, InvalidNetwork> {
        let (address, length) = match text.trim().split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Address)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let number = |text: &str| text.parse().ok().filter(|bits| *bits <= most);
        let bits = length.map_or(Ok(most), |text| number(text).ok_or(InvalidNetwork::Length { most }))?;
        let network = Network { address, bits };
        let meant = Network::around(address, bits);
        if meant == network { Ok(network) } else { Err(InvalidNetwork::HostBits { meant }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// It is answered.
    Allowed,
    /// It is in no network that is served: kiss code RSTR (RFC 5905 §7.4).
    Restricted,
    /// It is in a network that is refused by name: kiss code DENY.
    Denied,
}

/// Which networks are served and which are refused.
///
/// ```
/// use chronotick_ntp::{Access, Permission};
/// let access = Access::new(
///     vec!["10.0.0.0/8".parse()?, "10.1.2.3".parse()?],
///     vec!["10.1.0.0/16".parse()?],
/// );
/// let may = |address: &str| access.of(address.parse().unwrap());
/// assert_eq!(may("10.9.9.9"), Permission::Allowed);
/// assert_eq!(may("10.1.9.9"), Permission::Denied);
/// assert_eq!(may("10.1.2.3"), Permission::Allowed);
/// assert_eq!(may("8.8.8.8"), Permission::Restricted);
/// # Ok::<(), chronotick_ntp::InvalidNetwork>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    allow: Vec<Network>,
    deny: Vec<Network>,
}

impl Access {
    /// Of the networks that a client is in the one with the longest prefix decides; of two alike, the refusal.
    pub fn new(allow: Vec<Network>, deny: Vec<Network>) -> Access {
        Access { allow, deny }
    }

    /// What the client at this address may do.
    pub fn of(&self, client: IpAddr) -> Permission {
        let longest = |list: &[Network]| list.iter().filter(|n| n.contains(client)).map(|n| n.bits).max();
        match (longest(&self.allow), longest(&self.deny)) {
            (Some(allowed), Some(denied)) if allowed > denied => Permission::Allowed,
            (_, Some(_)) => Permission::Denied,
            (Some(_), None) => Permission::Allowed,
            (None, None) => Permission::Restricted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mistakes_have_their_own_words() {
        let read = |text: &str| text.parse::<Network>();
        assert_eq!(read("lan"), Err(InvalidNetwork::Address));
        assert_eq!(read("10.0.0.0/33"), Err(InvalidNetwork::Length { most: 32 }));
        assert_eq!(read("::/129"), Err(InvalidNetwork::Length { most: 128 }));
        assert_eq!(read("10.0.0.0/"), Err(InvalidNetwork::Length { most: 32 }));
        let told = read("10.1.2.3/8").unwrap_err().to_string();
        assert!(told.contains("10.0.0.0/8"), "{told}");
    }

    #[test]
    fn an_ipv4_client_behind_an_ipv6_socket_is_an_ipv4_client() {
        let access = Access::new(vec!["10.0.0.0/8".parse().unwrap()], vec![]);
        assert_eq!(access.of("::ffff:10.0.0.1".parse().unwrap()), Permission::Allowed);
        assert_eq!(access.of("::ffff:11.0.0.1".parse().unwrap()), Permission::Restricted);
    }

    #[test]
    fn everybody_is_the_empty_prefix() {
        let everybody = Access::new(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], vec![]);
        for address in ["1.2.3.4", "255.255.255.255", "::", "2001:db8::1"] {
            assert_eq!(everybody.of(address.parse().unwrap()), Permission::Allowed, "{address}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_in_every_network_around_it(bits: u128, v4: bool, length in 0u8..=128) {
            let address: IpAddr = if v4 {
                Ipv4Addr::from_bits(bits as u32).into()
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical()
            };
            let network = Network::around(address, length);
            prop_assert!(network.contains(address));
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }
    }
}
