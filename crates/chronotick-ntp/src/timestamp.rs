//! The number formats of NTP (RFC 5905 §6) and their way to and from nanoseconds: integers only, every input has an
//! answer.

use chronotick_core::{Span, Timestamp};

/// Seconds from 1900-01-01, where NTP's era 0 begins, to 1970-01-01 (RFC 5905 §6, figure 4).
const UNIX_EPOCH: i128 = 2_208_988_800;
const NANOS: i128 = 1_000_000_000;

/// A 64-bit NTP timestamp: seconds since the era began and their 2⁻³² fractions (RFC 5905 §6).
///
/// It says nothing about which era of 136 years it belongs to; [`near`](NtpTimestamp::near) decides that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpTimestamp(u64);

impl NtpTimestamp {
    /// Not a time: "unknown" (RFC 5905 §6).
    pub const ZERO: NtpTimestamp = NtpTimestamp(0);

    /// From the 64 bits on the wire.
    pub const fn from_bits(bits: u64) -> NtpTimestamp {
        NtpTimestamp(bits)
    }
    /// The 64 bits on the wire.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The nearest NTP timestamp, whatever its era.
    pub fn from_utc(utc: Timestamp) -> NtpTimestamp {
        NtpTimestamp(fixed_point(utc) as u64)
    }

    /// The time it stands for in the era that brings it closest to `pivot`, to the nearest nanosecond.
    ///
    /// Right as long as `pivot` is within 68 years of the truth; saturates in the year 2262, as [`Timestamp`] does.
    pub fn near(self, pivot: Timestamp) -> Timestamp {
        let pivot = fixed_point(pivot);
        let ahead = self.0.wrapping_sub(pivot as u64) as i64;
        let nanos = nanos_of(pivot + i128::from(ahead)) - UNIX_EPOCH * NANOS;
        Timestamp::from_nanos(saturated(nanos))
    }

    /// How much later it is than `earlier`, for timestamps within 68 years of each other, across eras too.
    pub fn since(self, earlier: NtpTimestamp) -> Span {
        let ahead = self.0.wrapping_sub(earlier.0) as i64;
        Span::from_nanos(saturated(nanos_of(i128::from(ahead))))
    }
}

/// Units of 2⁻³² s since 1900, beyond one era.
fn fixed_point(utc: Timestamp) -> i128 {
    let nanos = i128::from(utc.as_nanos()) + UNIX_EPOCH * NANOS;
    ((nanos << 32) + NANOS / 2).div_euclid(NANOS)
}

fn nanos_of(fixed_point: i128) -> i128 {
    (fixed_point * NANOS + (1 << 31)) >> 32
}

fn saturated(nanos: i128) -> i64 {
    nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// A 32-bit NTP short: a length of time up to 18 hours in units of 2⁻¹⁶ s (RFC 5905 §6). Always a bound, so it is
/// rounded up both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NtpShort(u32);

impl NtpShort {
    /// From the 32 bits on the wire.
    pub const fn from_bits(bits: u32) -> NtpShort {
        NtpShort(bits)
    }
    /// The 32 bits on the wire.
    pub const fn to_bits(self) -> u32 {
        self.0
    }
    /// The smallest that is not less than the span; negative spans give zero, and what is too long the longest.
    pub fn from_span(span: Span) -> NtpShort {
        let nanos = i128::from(span.as_nanos().max(0));
        let units = ((nanos << 16) + NANOS - 1) / NANOS;
        NtpShort(u32::try_from(units).unwrap_or(u32::MAX))
    }
    /// As a span.
    pub fn to_span(self) -> Span {
        let nanos = (i128::from(self.0) * NANOS + 0xffff) >> 16;
        Span::from_nanos(saturated(nanos))
    }
}

/// The length of 2^`exponent` seconds, the form of the precision field (RFC 5905 §7.3), rounded up to a nanosecond;
/// saturates.
///
/// ```
/// use chronotick_core::Span;
/// assert_eq!(chronotick_ntp::precision(-1), Span::from_millis(500));
/// assert_eq!(chronotick_ntp::precision(-23), Span::from_nanos(120));
/// ```
pub fn precision(exponent: i8) -> Span {
    match exponent {
        34.. => Span::MAX,
        0.. => Span::from_nanos((NANOS as i64).saturating_mul(1 << exponent)),
        _ => {
            let shift = u32::from(exponent.unsigned_abs()).min(62);
            let unit = 1i64 << shift;
            Span::from_nanos((NANOS as i64 - 1) / unit + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2036-02-07T06:28:16Z, where era 1 begins.
    const ERA_1: i64 = (1i64 << 32) - UNIX_EPOCH as i64;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn the_dates_of_the_standard() {
        // RFC 5905 §6, figure 4.
        assert_eq!(NtpTimestamp::from_utc(at(0)).to_bits() >> 32, 2_208_988_800);
        assert_eq!(NtpTimestamp::from_utc(at(63_072_000)).to_bits() >> 32, 2_272_060_800);
        assert_eq!(NtpTimestamp::from_utc(at(946_684_799)).to_bits() >> 32, 3_155_673_599);
        assert_eq!(NtpTimestamp::from_utc(at(ERA_1)).to_bits(), 0);
        assert_eq!(NtpTimestamp::from_utc(at(ERA_1 - 1)).to_bits() >> 32, u64::from(u32::MAX));
    }

    #[test]
    fn eras_change_without_a_jump() {
        let (before, after) = (at(ERA_1 - 1), at(ERA_1 + 1));
        let (b, a) = (NtpTimestamp::from_utc(before), NtpTimestamp::from_utc(after));
        assert!(a.to_bits() < b.to_bits());
        assert_eq!(a.since(b), Span::from_secs(2));
        for pivot in [before, after] {
            assert_eq!((b.near(pivot), a.near(pivot)), (before, after));
        }
    }

    #[test]
    fn the_pivot_chooses_the_era() {
        let stamp = NtpTimestamp::from_utc(at(1_700_000_000));
        let era = 1i64 << 32;
        assert_eq!(stamp.near(at(1_700_000_000 + era)), at(1_700_000_000 + era));
        assert_eq!(stamp.near(at(1_700_000_000 - era + 5)), at(1_700_000_000 - era));
        assert_eq!(stamp.near(at(8_100_000_000)), at(1_700_000_000 + era));
    }

    #[test]
    fn what_lies_beyond_2262_saturates() {
        let end = Timestamp::from_nanos(i64::MAX);
        let later = NtpTimestamp::from_bits(NtpTimestamp::from_utc(end).to_bits().wrapping_add(1 << 40));
        assert_eq!(later.near(end), end);
    }

    #[test]
    fn precisions_are_lengths_that_never_vanish() {
        assert_eq!(precision(0), Span::from_secs(1));
        assert_eq!(precision(4), Span::from_secs(16));
        assert_eq!(precision(i8::MAX), Span::MAX);
        assert_eq!(precision(i8::MIN), Span::from_nanos(1));
        assert!((i8::MIN..i8::MAX).all(|e| precision(e) <= precision(e + 1)));
    }

    #[test]
    fn shorts_round_up() {
        assert_eq!(NtpShort::from_bits(1 << 16).to_span(), Span::from_secs(1));
        assert_eq!(NtpShort::from_bits(1).to_span(), Span::from_nanos(15_259));
        assert_eq!(NtpShort::from_span(Span::from_nanos(1)).to_bits(), 1);
        assert_eq!(NtpShort::from_span(Span::from_secs(-1)).to_bits(), 0);
        assert_eq!(NtpShort::from_span(Span::MAX).to_bits(), u32::MAX);
    }

    proptest! {
        #[test]
        fn nanoseconds_survive_the_wire(nanos: i64, away in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000) {
            let utc = Timestamp::from_nanos(nanos);
            prop_assert_eq!(NtpTimestamp::from_utc(utc).near(utc + Span::from_nanos(away)), utc);
        }

        #[test]
        fn every_timestamp_is_within_half_an_era_of_its_pivot(bits: u64, pivot: i64) {
            let pivot = Timestamp::from_nanos(pivot);
            let found = NtpTimestamp::from_bits(bits).near(pivot);
            prop_assert!((found - pivot).abs() <= Span::from_secs(1 << 31));
        }

        #[test]
        fn differences_are_those_of_the_times(a: i64, by in -2_000_000_000_000_000_000i64..2_000_000_000_000_000_000) {
            let early = Timestamp::from_nanos(a / 2);
            let late = early + Span::from_nanos(by);
            let difference = NtpTimestamp::from_utc(late).since(NtpTimestamp::from_utc(early));
            prop_assert!((difference - (late - early)).abs() <= Span::from_nanos(1));
        }

        #[test]
        fn a_short_is_never_less_than_its_span(nanos in 0i64..65_535_000_000_000) {
            let span = Span::from_nanos(nanos);
            let short = NtpShort::from_span(span);
            prop_assert!(short.to_span() >= span && short.to_span() - span <= Span::from_nanos(15_260));
        }
    }
}
