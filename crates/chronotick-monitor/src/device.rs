//! Clocks of devices: sensors, timers, whatever has a counter and can be asked for it. Pairs of device and host time go in;
//! offset, drift, bound and conversion of every device come out.

use crate::ClockError;
use chronotick_clock::{Offset, Rate, Span, Timestamp};
use chronotick_core::Interval;
use std::collections::{BTreeMap, VecDeque};

/// One question to a device: it read `device` at some moment of the round trip that ended at `host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What the device's clock read, in ns of a scale of its own.
    pub device: Timestamp,
    /// The host's time at the middle of the round trip; corrected time, to be of use to others.
    pub host: Timestamp,
    /// From question to answer; never negative.
    pub round_trip: Span,
}

/// Why a pair is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPair {
    /// The round trip is negative.
    #[error("a round trip of {0} is negative: give the time from question to answer")]
    RoundTrip(Span),
    /// It is older than the newest.
    #[error("the pair is {0} older than the newest one: feed pairs in the order of the host's time")]
    Order(Span),
}

/// How a device's clock stands at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceReading {
    /// The host's time minus the device's, and how wrong that may be.
    pub error: ClockError,
    /// How much faster the host's clock runs; none before two pairs tell.
    pub drift: Option<Rate>,
    /// How wrong that may be.
    pub drift_error: Rate,
    /// Pairs that count: since the device's clock was last set.
    pub pairs: usize,
    /// How often the device's clock was set or restarted.
    pub resets: u32,
}

/// One device's clock.
///
/// Each pair confines the host's time at the device's reading to ± half of the round trip. Between pairs that widens by what
/// is not known of the drift, so the bound holds as long as the clock's frequency stays within its limit and the device is honest.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    pairs: VecDeque<Pair>,
    /// The largest frequency error that the clock can have.
    limit: Rate,
    resets: u32,
}

impl DeviceClock {
    const PAIRS: usize = 64;

    /// A clock of which nothing is known but how much faster or slower than the host's it can run at most; 200 ppm is
    /// plenty for a crystal.
    pub fn new(limit: Rate) -> DeviceClock {
        DeviceClock { pairs: VecDeque::new(), limit, resets: 0 }
    }

    /// Takes in a pair. One that contradicts all that came before means that the device's clock was set: it starts anew.
    ///
    /// # Errors
    /// If the pair cannot be.
    pub fn feed(&mut self, pair: Pair) -> Result<(), InvalidPair> {
        if pair.round_trip < Span::ZERO {
            return Err(InvalidPair::RoundTrip(pair.round_trip));
        }
        if let Some(newest) = self.pairs.back()
            && pair.host < newest.host
        {
            return Err(InvalidPair::Order(newest.host - pair.host));
        }
        let agrees = |found: DeviceReading| {
            let (offset, half) = (pair.host - pair.device, pair.round_trip.half());
            let told = Interval { lo: offset - half, hi: offset + half };
            let error = found.error;
            told.overlaps(&Interval { lo: error.offset - error.early, hi: error.offset + error.late })
        };
        if !self.at(pair.device).is_none_or(agrees) {
            self.pairs.clear();
            self.resets += 1;
        }
        if self.pairs.len() == DeviceClock::PAIRS {
            self.pairs.pop_front();
        }
        self.pairs.push_back(pair);
        Ok(())
    }

    /// How it stands when it reads `device`; none before the first pair.
    pub fn at(&self, device: Timestamp) -> Option<DeviceReading> {
        let (rate, rate_error) = self.rate();
        let place = |pair: &Pair| {
            let age = device - pair.device;
            let offset = pair.host - pair.device + rate.unwrap_or_default().over(age);
            // Half a round trip is rounded up, and so is what the rate makes of an age.
            let reach = pair.round_trip.half() + rate_error.over(age.abs()) + Span::from_nanos(1);
            Interval { lo: offset - reach, hi: offset + reach }
        };
        let newest = place(self.pairs.back()?);
        let span = self.pairs.iter().rev().map(place).fold(newest, |all, one| all.and(&one).unwrap_or(all));
        let half = (span.hi - span.lo).half();
        let offset = span.lo + half;
        Some(DeviceReading {
            error: ClockError { offset, early: half, late: half },
            drift: rate,
            drift_error: rate_error,
            pairs: self.pairs.len(),
            resets: self.resets,
        })
    }

    /// The drift between the oldest and the newest part of the pairs, and how wrong that may be: both round trips over the
    /// time between. Until that is less than the limit, the limit is all that is known.
    fn rate(&self) -> (Option<Rate>, Rate) {
        let half = self.pairs.len() / 2;
        let quickest = |pairs: &mut dyn Iterator<Item = &Pair>| pairs.min_by_key(|p| p.round_trip).copied();
        let (Some(old), Some(new)) =
            (quickest(&mut self.pairs.iter().take(half)), quickest(&mut self.pairs.iter().skip(half)))
        else {
            return (None, self.limit);
        };
        let elapsed = (new.device - old.device).as_secs_f64();
        let gained = ((new.host - new.device) - (old.host - old.device)).as_secs_f64();
        // Both readings are integers of a nanosecond, and so is what follows from them.
        let blur = old.round_trip.half() + new.round_trip.half() + Span::from_nanos(4);
        let error = Rate::from_f64(blur.as_secs_f64() / elapsed);
        let usable = elapsed > 0.0 && error < self.limit;
        let rate =
            Rate::from_f64(gained / elapsed).max(Rate::from_bits(-self.limit.to_bits())).min(self.limit);
        if usable { (Some(rate), error) } else { (None, self.limit) }
    }

    /// The host's time when the device reads `device`, and how wrong that may be to either side.
    pub fn to_host(&self, device: Timestamp) -> Option<(Timestamp, Span)> {
        let found = self.at(device)?;
        Some((device + found.error.offset, found.error.early.max(found.error.late)))
    }

    /// What the device reads at a host's time, and how wrong that may be to either side.
    pub fn to_device(&self, host: Timestamp) -> Option<(Timestamp, Span)> {
        // The offset changes by at most the limit of what separates the two, so two rounds are exact to a nanosecond.
        let first = host - self.at(host - self.newest()?.correction())?.error.offset;
        let found = self.at(first)?;
        Some((host - found.error.offset, found.error.early.max(found.error.late) + Span::from_nanos(1)))
    }

    fn newest(&self) -> Option<Offset> {
        let newest = self.pairs.back()?;
        Some(Offset::between(newest.host, newest.device))
    }
}

/// The clocks of many devices, by name.
///
/// ```
/// use chronotick_clock::{Span, Timestamp};
/// use chronotick_monitor::{DeviceClocks, Pair};
/// let mut devices = DeviceClocks::default();
/// let at = |device_ms, host_ms| Pair {
///     device: Timestamp::from_nanos(0) + Span::from_millis(device_ms),
///     host: Timestamp::from_nanos(0) + Span::from_millis(host_ms),
///     round_trip: Span::from_millis(8),
/// };
/// devices.feed("shot timer", at(1_000, 71_000))?;
/// let (host, error) = devices.get("shot timer").unwrap().to_host(at(1_000, 0).device).unwrap();
/// assert_eq!(host, at(0, 71_000).host);
/// assert!(error >= Span::from_millis(4));
/// # Ok::<(), chronotick_monitor::InvalidPair>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct DeviceClocks(BTreeMap<String, DeviceClock>);

impl DeviceClocks {
    /// How much faster or slower a device's clock can run, where nothing else was said ([`DeviceClocks::add`]), in ppm.
    pub const LIMIT_PPM: f64 = 200.0;

    /// Adds a device whose clock has another limit; forgets what was known of one with this name.
    pub fn add(&mut self, name: &str, limit: Rate) {
        self.0.insert(name.into(), DeviceClock::new(limit));
    }

    /// Takes in a pair; a device that was not heard of before is added.
    ///
    /// # Errors
    /// As [`DeviceClock::feed`].
    pub fn feed(&mut self, name: &str, pair: Pair) -> Result<(), InvalidPair> {
        let fresh = || DeviceClock::new(Rate::from_ppm(DeviceClocks::LIMIT_PPM));
        self.0.entry(name.into()).or_insert_with(fresh).feed(pair)
    }

    /// A device's clock.
    pub fn get(&self, name: &str) -> Option<&DeviceClock> {
        self.0.get(name)
    }

    /// Forgets a device; whether it was known.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// All devices, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DeviceClock)> {
        self.0.iter().map(|(name, clock)| (name.as_str(), clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    /// A device that began at 7 s of host time and runs `ppm` slower; asked at `host`, it answers after `share` of the trip.
    fn pair(host_ns: i64, ppm: f64, round_trip: i64, share: f64) -> Pair {
        let answered = host_ns - round_trip / 2 + (round_trip as f64 * share) as i64;
        let device = ((answered - 7_000_000_000) as f64 * (1.0 - ppm * 1e-6)) as i64;
        Pair { device: time(device), host: time(host_ns), round_trip: Span::from_nanos(round_trip) }
    }

    #[test]
    fn offset_drift_and_conversion_follow_the_device() {
        let mut clock = DeviceClock::new(Rate::from_ppm(200.0));
        assert_eq!(clock.at(time(0)), None);
        for i in 0..40i64 {
            let share = if i % 3 == 0 { 0.9 } else { 0.4 };
            clock.feed(pair(10_000_000_000 + i * 30_000_000_000, 50.0, 2_000_000, share)).unwrap();
        }
        let found = clock.at(pair(1_180_000_000_000, 50.0, 0, 0.0).device).unwrap();
        assert!((found.drift.unwrap().as_ppm() - 50.0).abs() < 3.0, "{found:?}");
        assert_eq!((found.pairs, found.resets), (40, 0));
        let later = pair(1_300_000_000_000, 50.0, 0, 0.0);
        let (host, error) = clock.to_host(later.device).unwrap();
        assert!((host - later.host).abs() <= error && error < Span::from_millis(2), "{error}");
        let (device, error) = clock.to_device(later.host).unwrap();
        assert!((device - later.device).abs() <= error, "{error}");
    }

    #[test]
    fn a_device_that_was_restarted_starts_anew() {
        let mut devices = DeviceClocks::default();
        for i in 0..5 {
            devices.feed("beacon", pair(10_000_000_000 + i * 1_000_000_000, 5.0, 1_000_000, 0.5)).unwrap();
        }
        let restarted = Pair { device: time(5), ..pair(20_000_000_000, 5.0, 1_000_000, 0.5) };
        devices.feed("beacon", restarted).unwrap();
        let found = devices.get("beacon").unwrap().at(time(5)).unwrap();
        assert_eq!((found.pairs, found.resets, found.drift), (1, 1, None));
        assert!((found.error.offset - Span::from_secs(20)).abs() < Span::from_millis(1));
        assert_eq!(devices.iter().count(), 1);
        assert!(devices.remove("beacon") && !devices.remove("beacon"));
    }

    #[test]
    fn impossible_pairs_are_refused() {
        let mut clock = DeviceClock::new(Rate::from_ppm(200.0));
        let good = pair(10_000_000_000, 0.0, 1_000, 0.5);
        let negative = Pair { round_trip: Span::from_nanos(-1), ..good };
        assert!(matches!(clock.feed(negative), Err(InvalidPair::RoundTrip(_))));
        clock.feed(good).unwrap();
        let older = pair(9_000_000_000, 0.0, 1_000, 0.5);
        assert!(matches!(clock.feed(older), Err(InvalidPair::Order(_))));
    }

    proptest! {
        /// The promise: the true host time is inside the bound, between pairs and after them, for any honest device.
        #[test]
        fn the_bound_holds_for_every_honest_device(
            ppm in -190f64..190.0,
            trips in prop::collection::vec((1i64..60, 1_000i64..5_000_000, 0f64..1.0), 1..100),
            beyond in 0i64..600,
        ) {
            let mut clock = DeviceClock::new(Rate::from_ppm(200.0));
            let mut host = 10_000_000_000i64;
            for (gap, round_trip, share) in trips {
                host += gap * 1_000_000_000;
                clock.feed(pair(host, ppm, round_trip, share)).unwrap();
            }
            let later = pair(host + beyond * 1_000_000_000, ppm, 0, 0.0);
            let found = clock.at(later.device).unwrap();
            prop_assert_eq!(found.resets, 0);
            let (told, error) = clock.to_host(later.device).unwrap();
            prop_assert!((told - later.host).abs() <= error + Span::from_nanos(2), "{told:?} {later:?} {error}");
        }
    }
}
