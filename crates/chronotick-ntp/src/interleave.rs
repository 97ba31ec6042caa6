//! The server's memory for interleaved mode (RFC 9769 §2): when each of the newest replies left, by when its request had
//! arrived. A client that comes back with that instant is told the departure, which is known better than before it.
//!
//! Its size is fixed. Each client has its place in it, so that who asks a lot pushes out hardly anything but its own.

use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::NtpTimestamp;

/// Who asked, when its request arrived, when the reply left.
type Departure = (u128, u64, u64);

/// When replies left, for the newest of each client.
#[derive(Debug)]
pub(crate) struct Departures<S> {
    places: Vec<[Departure; Departures::EACH]>,
    hasher: S,
}

impl Departures<()> {
    /// Clients that hash alike share a place; together these are 2 MiB.
    const PLACES: usize = 4096;
    /// So many replies are remembered in a place.
    const EACH: usize = 16;
}

impl<S: BuildHasher> Departures<S> {
    pub(crate) fn new(hasher: S) -> Departures<S> {
        Departures { places: vec![[(0, 0, 0); Departures::EACH]; Departures::PLACES], hasher }
    }

    fn place(&self, client: u128) -> usize {
        self.hasher.hash_one(client) as usize % Departures::PLACES
    }

    /// The reply to a request that arrived at `received` left at `transmit`.
    pub(crate) fn note(&mut self, client: IpAddr, received: NtpTimestamp, transmit: NtpTimestamp) {
        let (client, received) = (bits(client), received.to_bits());
        let place = self.place(client);
        let known = &mut self.places[place];
        let same = known.iter().position(|departure| (departure.0, departure.1) == (client, received));
        known[..=same.unwrap_or(Departures::EACH - 1)].rotate_right(1);
        known[0] = (client, received, transmit.to_bits());
    }

    /// When the reply to the request that arrived at `received` left.
    pub(crate) fn of(&self, client: IpAddr, received: NtpTimestamp) -> Option<NtpTimestamp> {
        let (client, received) = (bits(client), received.to_bits());
        let mut known = self.places[self.place(client)].iter();
        let departure = known.find(|departure| (departure.0, departure.1) == (client, received))?;
        Some(NtpTimestamp::from_bits(departure.2))
    }
}

fn bits(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    #[test]
    fn the_newest_of_each_client_are_remembered_and_no_more() {
        let mut departures = Departures::new(BuildHasherDefault::<DefaultHasher>::default());
        let [loud, quiet]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        assert_ne!(departures.place(bits(loud)), departures.place(bits(quiet)));
        let at = |i: u64| NtpTimestamp::from_bits(i);
        departures.note(quiet, at(7), at(8));
        for i in 1..=100_000 {
            departures.note(loud, at(i), at(i + 1));
            departures.note(loud, at(i), at(i + 2));
        }
        let kept = 100_000 - Departures::EACH as u64;
        assert_eq!(departures.of(loud, at(kept)), None);
        assert_eq!(departures.of(loud, at(kept + 1)), Some(at(kept + 3)), "the newer word counts");
        assert_eq!(departures.of(quiet, at(7)), Some(at(8)), "one client leaves the others theirs");
        assert_eq!(departures.of(quiet, at(100_000)), None, "each is told of its own replies only");
    }
}
