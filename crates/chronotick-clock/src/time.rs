//! Instants, spans and rates as integers in named types, so that no number crosses a wall without its unit.
//!
//! All arithmetic saturates: a hostile or absurd input ends at the edge of the range (292 years), never in a panic or
//! a wrapped value.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub};

/// A signed length of time, in nanoseconds.
///
/// ```
/// use chronotick_clock::Span;
/// assert_eq!(Span::from_millis(3) + Span::from_nanos(5), Span::from_nanos(3_000_005));
/// assert_eq!(Span::from_micros(1500).to_string(), "1.500 ms");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// The longest span, about 292 years: "unknown" where a width is meant.
    pub const MAX: Span = Span(i64::MAX);

    /// A span of so many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Span {
        Span(nanos)
    }
    /// A span of so many microseconds.
    pub const fn from_micros(micros: i64) -> Span {
        Span(micros.saturating_mul(1_000))
    }
    /// A span of so many milliseconds.
    pub const fn from_millis(millis: i64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }
    /// A span of so many seconds.
    pub const fn from_secs(secs: i64) -> Span {
        Span(secs.saturating_mul(1_000_000_000))
    }
    /// The nearest span to a number of seconds; saturates, and NaN becomes zero.
    pub fn from_secs_f64(secs: f64) -> Span {
        Span((secs * 1e9).round() as i64)
    }
    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
    /// In seconds, for the estimator's inside and for display; exact below 104 days.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }
    /// The span without its sign.
    pub const fn abs(self) -> Span {
        Span(self.0.saturating_abs())
    }
    /// Half of it, rounded away from zero: half a delay is a bound, and bounds do not shrink by rounding.
    pub const fn half(self) -> Span {
        Span(self.0 / 2 + self.0 % 2)
    }
    /// So many times as long.
    pub const fn times(self, n: i64) -> Span {
        Span(self.0.saturating_mul(n))
    }
}

impl From<std::time::Duration> for Span {
    fn from(d: std::time::Duration) -> Span {
        Span(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// With the unit that fits the size, four significant digits or more: `-13 ns`, `1.500 ms`, `2.000 s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = match self.0.unsigned_abs() {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => ("µs", 1e3),
            1_000_000..1_000_000_000 => ("ms", 1e6),
            _ => ("s", 1e9),
        };
        write!(f, "{:.3} {unit}", self.0 as f64 / scale)
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}
impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}
impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}
impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(self.0.saturating_neg())
    }
}

/// True time minus a local clock's reading. **Positive: the local clock is behind.**
///
/// The one sign convention of the whole house; a view that follows another tool's convention converts at the last
/// moment and says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(Span);

impl Offset {
    /// The offset of a clock that reads `local` when it is `truth`.
    pub fn between(truth: Timestamp, local: Timestamp) -> Offset {
        Offset(truth - local)
    }
    /// What to add to the local clock's reading.
    pub const fn correction(self) -> Span {
        self.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0 < Span::ZERO { "" } else { "+" }, self.0)
    }
}

macro_rules! instant {
    ($name:ident) => {
        impl $name {
            /// So many nanoseconds after the origin.
            pub const fn from_nanos(nanos: i64) -> $name {
                $name(nanos)
            }
            /// Nanoseconds since the origin.
            pub const fn as_nanos(self) -> i64 {
                self.0
            }
        }
        impl Add<Span> for $name {
            type Output = $name;
            fn add(self, span: Span) -> $name {
                $name(self.0.saturating_add(span.0))
            }
        }
        impl Sub<Span> for $name {
            type Output = $name;
            fn sub(self, span: Span) -> $name {
                $name(self.0.saturating_sub(span.0))
            }
        }
        impl Sub for $name {
            type Output = Span;
            fn sub(self, other: $name) -> Span {
                Span(self.0.saturating_sub(other.0))
            }
        }
    };
}

/// A reading of the machine's raw clock: nanoseconds of `CLOCK_MONOTONIC_RAW` since boot.
///
/// Nobody steps or slews this clock, so everything is estimated as a function of it. It says nothing across a boot,
/// and it stands still while the machine is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawInstant(i64);
instant!(RawInstant);

/// A point in UTC: nanoseconds since 1970-01-01T00:00:00Z without leap seconds, as POSIX counts; until the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);
instant!(Timestamp);

impl Timestamp {
    /// In seconds, rounded to the nearest f64 (about 0.2 µs): for display and for interfaces that want a number.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }
}

impl From<Timestamp> for std::time::SystemTime {
    fn from(time: Timestamp) -> std::time::SystemTime {
        let since_1970 = std::time::Duration::from_nanos(time.0.unsigned_abs());
        let origin = std::time::SystemTime::UNIX_EPOCH;
        if time.0 < 0 { origin - since_1970 } else { origin + since_1970 }
    }
}

/// A rate: seconds per second, in units of 2⁻⁴⁸ (3.6e-15), up to ±32768 s/s.
///
/// ```
/// use chronotick_clock::{Rate, Span};
/// assert_eq!(Rate::from_ppm(10.0).over(Span::from_secs(100)), Span::from_millis(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i64);

impl Rate {
    /// Standing still.
    pub const ZERO: Rate = Rate(0);
    const ONE: f64 = (1u64 << 48) as f64;

    /// So many units of 2⁻⁴⁸ seconds per second.
    pub const fn from_bits(bits: i64) -> Rate {
        Rate(bits)
    }
    /// In units of 2⁻⁴⁸ seconds per second.
    pub const fn to_bits(self) -> i64 {
        self.0
    }
    /// The nearest rate to a number in seconds per second; saturates, and NaN becomes zero.
    pub fn from_f64(rate: f64) -> Rate {
        Rate((rate * Rate::ONE).round() as i64)
    }
    /// The nearest rate to a number in parts per million.
    pub fn from_ppm(ppm: f64) -> Rate {
        Rate::from_f64(ppm * 1e-6)
    }
    /// In seconds per second.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / Rate::ONE
    }
    /// In parts per million.
    pub fn as_ppm(self) -> f64 {
        self.as_f64() * 1e6
    }
    /// What the rate makes of a span, to the nearest nanosecond; saturates.
    #[inline]
    pub fn over(self, span: Span) -> Span {
        let nanos = (i128::from(self.0) * i128::from(span.0) + (1 << 47)) >> 48;
        Span(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_show_with_the_unit_that_fits() {
        let shown = |nanos| Span::from_nanos(nanos).to_string();
        assert_eq!(shown(-13), "-13 ns");
        assert_eq!(shown(17_400), "17.400 µs");
        assert_eq!(shown(-2_500_000), "-2.500 ms");
        assert_eq!(shown(2_000_000_000), "2.000 s");
    }

    #[test]
    fn a_positive_offset_means_the_local_clock_is_behind() {
        let offset = Offset::between(Timestamp::from_nanos(1_000), Timestamp::from_nanos(400));
        assert_eq!(offset.correction(), Span::from_nanos(600));
        assert_eq!(offset.to_string(), "+600 ns");
    }

    #[test]
    fn timestamps_are_system_times() {
        use std::time::{Duration, SystemTime};
        for nanos in [0, -1, 1_790_000_000_123_456_789, i64::MIN, i64::MAX] {
            let time = SystemTime::from(Timestamp::from_nanos(nanos));
            let distance = Duration::from_nanos(nanos.unsigned_abs());
            let back = time.duration_since(SystemTime::UNIX_EPOCH).or_else(|before| {
                assert!(nanos < 0);
                Ok::<_, ()>(before.duration())
            });
            assert_eq!(back, Ok(distance));
        }
    }

    #[test]
    fn half_a_span_is_never_less_than_half() {
        assert_eq!(Span::from_nanos(3).half(), Span::from_nanos(2));
        assert_eq!(Span::from_nanos(-3).half(), Span::from_nanos(-2));
    }

    proptest! {
        #[test]
        fn arithmetic_never_panics(a: i64, b: i64) {
            let (x, y) = (Span::from_nanos(a), Span::from_nanos(b));
            let _ = (x + y, x - y, -x, x.abs(), x.half(), x.times(b), Rate::from_bits(a).over(y));
            let _ = Timestamp::from_nanos(a) - Timestamp::from_nanos(b);
        }

        #[test]
        fn rates_survive_a_round_trip(ppm in -1e6f64..1e6) {
            prop_assert!((Rate::from_ppm(ppm).as_ppm() - ppm).abs() <= 2e-9);
        }

        #[test]
        fn a_rate_over_a_span_is_exact_to_a_nanosecond(ppb in -500_000i64..500_000, secs in 0i64..10_000_000) {
            let got = Rate::from_ppm(ppb as f64 / 1e3).over(Span::from_secs(secs)).as_nanos();
            let slack = 1 + secs / 100_000;
            prop_assert!((got - ppb * secs).abs() <= slack, "{got} against {}", ppb * secs);
        }
    }
}
