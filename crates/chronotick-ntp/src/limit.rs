//! How often one client may ask: a bucket of tokens for each, in a table that no number of clients can make larger.

use std::hash::BuildHasher;
use std::net::IpAddr;

use chronotick_core::{RawInstant, Span};

use crate::Network;

/// How often one client may ask in the long run, and how often at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The interval between requests that is sustained; zero limits nobody.
    pub interval: Span,
    /// How many requests may come at once.
    pub burst: u32,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pace {
    /// It is in time.
    Fine,
    /// It is too early, and the client is to be told so: every so many requests that are.
    Told,
    /// It is too early and gets no answer.
    Dropped,
}

/// The clients' buckets. A client is an IPv4 address or the /64 of an IPv6 address: whoever has one has them all.
///
/// The table has room for so many clients, in sets of eight; in a full set the client that was silent longest makes
/// room. Places are chosen by a keyed hash, so nobody can aim at another's.
#[derive(Debug)]
pub struct Limiter<S> {
    rate: Rate,
    sets: Vec<[Option<Bucket>; WAYS]>,
    hasher: S,
}

const WAYS: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    client: Network,
    /// When all requests so far would have come at the sustained interval: the "theoretical arrival time" of a leaky
    /// bucket.
    due: RawInstant,
    seen: RawInstant,
    refused: u32,
}

impl<S: BuildHasher> Limiter<S> {
    /// Of the requests that are too early one in so many is answered, with a refusal.
    const TOLD: u32 = 8;

    /// A table for at least so many clients, whose places follow from a hasher that others cannot foresee.
    pub fn new(rate: Rate, clients: usize, hasher: S) -> Limiter<S> {
        let sets = clients.div_ceil(WAYS).max(1);
        Limiter { rate, sets: vec![[None; WAYS]; sets], hasher }
    }

    /// How often one client may ask in the long run.
    pub(crate) fn interval(&self) -> Span {
        self.rate.interval
    }

    /// Counts a request of a client at this instant.
    pub fn take(&mut self, client: IpAddr, now: RawInstant) -> Pace {
        if self.rate.interval <= Span::ZERO {
            return Pace::Fine;
        }
        let client = Network::around(client, if client.to_canonical().is_ipv4() { 32 } else { 64 });
        let rate = self.rate;
        let bucket = self.bucket(client, now);
        bucket.seen = now;
        // Nobody saves up more than a burst, and where the raw clock went back nobody owes more than one interval.
        let saved = rate.interval.times(i64::from(rate.burst.max(1)) - 1);
        bucket.due = bucket.due.max(now - saved).min(now + rate.interval);
        if bucket.due <= now {
            bucket.due = bucket.due + rate.interval;
            bucket.refused = 0;
            return Pace::Fine;
        }
        bucket.refused = bucket.refused.wrapping_add(1);
        if bucket.refused % Limiter::<S>::TOLD == 1 { Pace::Told } else { Pace::Dropped }
    }

    fn bucket(&mut self, client: Network, now: RawInstant) -> &mut Bucket {
        let place = self.hasher.hash_one(client) as usize % self.sets.len();
        let set = &mut self.sets[place];
        let known = set.iter().position(|slot| slot.is_some_and(|bucket| bucket.client == client));
        let slot = known.unwrap_or_else(|| {
            let stale = |slot: &Option<Bucket>| slot.map_or(i64::MIN, |bucket| bucket.seen.as_nanos());
            (0..WAYS).min_by_key(|&i| stale(&set[i])).unwrap_or(0)
        });
        let long_ago = RawInstant::from_nanos(i64::MIN);
        if known.is_none() {
            set[slot] = None;
        }
        set[slot].get_or_insert(Bucket { client, due: long_ago, seen: now, refused: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::{BuildHasherDefault, DefaultHasher};

    type Plain = BuildHasherDefault<DefaultHasher>;

    fn limiter(clients: usize) -> Limiter<Plain> {
        let rate = Rate { interval: Span::from_secs(1), burst: 4 };
        Limiter::new(rate, clients, Plain::default())
    }
    fn at(millis: i64) -> RawInstant {
        RawInstant::from_nanos(millis * 1_000_000)
    }
    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_is_granted_then_the_interval() {
        let mut limiter = limiter(8);
        let fine = |limiter: &mut Limiter<Plain>, millis| limiter.take(client("10.0.0.1"), at(millis));
        let answers: Vec<Pace> = (0..8).map(|i| fine(&mut limiter, 1_000_000 + i)).collect();
        assert_eq!(answers.iter().filter(|p| **p == Pace::Fine).count(), 4, "{answers:?}");
        assert_eq!(fine(&mut limiter, 1_000_900), Pace::Dropped);
        assert_eq!(fine(&mut limiter, 1_001_100), Pace::Fine);
        assert_eq!(fine(&mut limiter, 1_001_200), Pace::Told);
        assert_eq!(fine(&mut limiter, 1_100_000), Pace::Fine);
        // The raw clock began anew.
        assert_eq!(fine(&mut limiter, 5), Pace::Told);
        assert_eq!(fine(&mut limiter, 1_005), Pace::Fine);
    }

    #[test]
    fn one_in_eight_refusals_is_told() {
        let mut limiter = limiter(8);
        (0..4).for_each(|_| assert_eq!(limiter.take(client("::1"), at(0)), Pace::Fine));
        let told = (0..80).filter(|_| limiter.take(client("::1"), at(0)) == Pace::Told).count();
        assert_eq!(told, 10);
    }

    #[test]
    fn neighbours_share_a_bucket_only_in_ipv6() {
        let mut limiter = limiter(64);
        for i in 0..5 {
            let _ = limiter.take(client(&format!("2001:db8::{i}")), at(0));
        }
        assert_ne!(limiter.take(client("2001:db8::ffff"), at(0)), Pace::Fine);
        assert_eq!(limiter.take(client("2001:db8:0:1::1"), at(0)), Pace::Fine);
        for _ in 0..5 {
            let _ = limiter.take(client("10.0.0.1"), at(0));
        }
        assert_ne!(limiter.take(client("::ffff:10.0.0.1"), at(0)), Pace::Fine);
        assert_eq!(limiter.take(client("10.0.0.2"), at(0)), Pace::Fine);
    }

    #[test]
    fn a_flood_of_strangers_does_not_make_the_table_larger() {
        let mut limiter = limiter(16);
        let before = limiter.sets.len();
        for i in 0..100_000u32 {
            limiter.take(IpAddr::V4(i.into()), at(i64::from(i)));
        }
        assert_eq!((limiter.sets.len(), before), (2, 2));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_interval_grant(gaps in proptest::collection::vec(0i64..3_000, 1..300)) {
            let mut limiter = limiter(8);
            let (mut now, mut granted) = (0, 0);
            for gap in gaps {
                now += gap;
                granted += i64::from(limiter.take(client("10.0.0.1"), at(now)) == Pace::Fine);
                prop_assert!(granted <= 4 + now / 1_000);
            }
        }
    }
}
