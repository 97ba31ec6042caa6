//! Times and lengths of time as people write them on the command line.

use chronotick_clock::{Span, Timestamp};

/// A time: RFC 3339, a date with or without a time of day (in the machine's zone), seconds since 1970, or how long ago
/// (`90s`, `15min`, `24h`, `7d`).
pub(super) fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let in_range = |nanos: i128| i64::try_from(nanos).map(Timestamp::from_nanos).ok();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(ago) = length(text) {
        return Ok(now - ago);
    }
    let zoned = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond);
    let local = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp().as_nanosecond())
    };
    let seconds = || decimal(text, 1_000_000_000);
    seconds().or_else(zoned).or_else(local).and_then(in_range).ok_or_else(|| {
        format!(
            "{text:?} is no time: write 2026-11-20T14:03:22.5Z, 2026-11-20 14:03:22.5 (local), seconds since 1970, or 24h for a day ago"
        )
    })
}

/// A length of time with its unit: `100us`, `1ms`, `0.5s`, `15min`, `24h`, `7d`.
pub(super) fn length(text: &str) -> Result<Span, String> {
    const UNITS: [(&str, i128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    let unit = UNITS.iter().find(|(unit, _)| text.ends_with(unit));
    let span = unit.and_then(|(unit, nanos)| decimal(text[..text.len() - unit.len()].trim_end(), *nanos));
    let span = span.and_then(|nanos| i64::try_from(nanos).ok()).filter(|nanos| *nanos >= 0);
    span.map(Span::from_nanos)
        .ok_or_else(|| format!("{text:?} is no length of time: write it with its unit, such as 100us, 1ms, 0.5s, 15min, 24h or 7d"))
}

/// A decimal number times a unit, exact to what the unit resolves: no digit passes through floating point.
fn decimal(text: &str, unit: i128) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.len() <= 18 && part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    let parts = format!("{fraction:0<18}").parse::<i128>().ok()? * unit / 10i128.pow(18);
    Some(sign * (whole.parse::<i128>().ok()?.checked_mul(unit)? + parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_people_write_them() {
        let now = Timestamp::from_nanos(1_790_000_000_000_000_000);
        let at = |text| time(text, now).map(Timestamp::as_nanos);
        assert_eq!(at("1789999999.5"), Ok(1_789_999_999_500_000_000));
        assert_eq!(at("2026-09-21T14:13:20.000000001Z"), Ok(1_790_000_000_000_000_001));
        assert_eq!(at("2026-09-21T16:13:20+02:00"), Ok(1_790_000_000_000_000_000));
        assert_eq!(at("24h"), Ok(1_789_913_600_000_000_000));
        assert_eq!(at("now"), Ok(now.as_nanos()));
        assert!(at("2026-09-21 14:13:20").is_ok() && at("2026-09-21").is_ok());
        for nonsense in ["", "soon", "1e9", "-", "24 parsecs", "99999999999999999999"] {
            assert!(at(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn lengths_are_exact() {
        for (text, nanos) in
            [("100us", 100_000), ("0.5s", 500_000_000), ("1 ms", 1_000_000), ("1.5min", 90_000_000_000)]
        {
            assert_eq!(length(text), Ok(Span::from_nanos(nanos)), "{text}");
        }
        for nonsense in ["", "5", "ms", "-1ms", "1e3s", "999999999999d"] {
            assert!(length(nonsense).is_err(), "{nonsense}");
        }
    }
}
