//! UTC in words, one way for every view and door.

use chronotick_clock::Timestamp;

/// RFC 3339 in UTC with nanoseconds.
pub(crate) fn rfc3339(utc: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(utc.as_nanos())) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
        Err(_) => format!("{} ns after 1970-01-01T00:00:00Z", utc.as_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instant_has_words() {
        assert_eq!(rfc3339(Timestamp::from_nanos(1_000_000_005)), "1970-01-01T00:00:01.000000005Z");
        for nanos in [i64::MIN, -1, i64::MAX] {
            assert!(rfc3339(Timestamp::from_nanos(nanos)).ends_with('Z'));
        }
    }
}
