//! Times as text.

use chronotick_clock::Timestamp;

/// RFC 3339 in UTC with nanoseconds.
pub fn rfc3339(utc: Timestamp) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(utc.as_nanos())) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
        Err(_) => format!("{} ns after 1970-01-01T00:00:00Z", utc.as_nanos()),
    }
}
