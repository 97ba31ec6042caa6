//! Instants and lengths of time in words, one way for every view and door.

pub(crate) use chronotick_record::rfc3339;

/// A length of time in its two largest units.
pub(crate) fn since(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_clock::Timestamp;

    #[test]
    fn every_instant_has_words() {
        assert_eq!(rfc3339(Timestamp::from_nanos(1_000_000_005)), "1970-01-01T00:00:01.000000005Z");
        for nanos in [i64::MIN, -1, i64::MAX] {
            assert!(rfc3339(Timestamp::from_nanos(nanos)).ends_with('Z'));
        }
    }

    #[test]
    fn uptimes_are_readable() {
        assert_eq!(
            [59.9, 61.0, 7_380.0, 180_000.0].map(since),
            ["59 s", "1 min 1 s", "2 h 3 min", "2 d 2 h"]
        );
    }
}
