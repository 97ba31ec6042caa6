//! The arguments of a tool call, taken one by one and checked; what is wrong is said with what would be right.

use chronotick_clock::Timestamp;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use rmcp::model::JsonObject;
use serde_json::Value;
use std::ops::RangeInclusive;

/// What is wrong with a call, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Mend {
    #[error("{tool} has no argument \"{name}\"; {known}")]
    Unknown { tool: &'static str, name: String, known: String },
    #[error("{name} is missing: give {wanted}")]
    Missing { name: &'static str, wanted: String },
    #[error("{name} is {found}, but must be {wanted}")]
    Wrong { name: &'static str, found: String, wanted: String },
    /// The call was understood and cannot be answered.
    #[error("{0}")]
    Refused(String),
    #[error(
        "{tool} has been called too often: wait {wait_ms} ms, or have its limit raised with --calls-per-second"
    )]
    TooOften { tool: &'static str, wait_ms: u128 },
}

/// An instant as people and programs write it.
pub(super) const AN_INSTANT: &str = "an instant: RFC 3339 with an offset (\"2026-03-29T02:30:00+01:00\", or Z), a number of \
    seconds since 1970, or nanoseconds since 1970 as text";
const A_ZONE: &str = "the IANA name of a time zone, e.g. \"Europe/Berlin\" or \"UTC\"";

/// What was given to a tool; each value is taken once, and at the end nothing may be left.
pub(super) struct Arguments {
    tool: &'static str,
    given: JsonObject,
    asked: Vec<&'static str>,
}

impl Arguments {
    pub(super) fn new(tool: &'static str, given: JsonObject) -> Arguments {
        Arguments { tool, given, asked: Vec::new() }
    }

    /// An argument that is there; agents write null for one that is not.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.given.shift_remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn needed(&mut self, name: &'static str, wanted: &str) -> Result<Value, Mend> {
        self.take(name).ok_or_else(|| Mend::Missing { name, wanted: wanted.into() })
    }

    pub(super) fn switch(&mut self, name: &'static str) -> Result<bool, Mend> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(wrong(name, &other, "true or false")),
        }
    }

    /// A number within a range; `None` if there is none.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
        what: &str,
    ) -> Result<Option<f64>, Mend> {
        let wanted = || format!("{what} from {} to {}", range.start(), range.end());
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if range.contains(&number) => Ok(Some(number)),
                _ => Err(wrong(name, &value, &wanted())),
            },
        }
    }

    pub(super) fn zone(&mut self, name: &'static str) -> Result<Option<TimeZone>, Mend> {
        self.take(name).map(|value| zone(name, &value)).transpose()
    }

    pub(super) fn instant(&mut self, name: &'static str) -> Result<Timestamp, Mend> {
        instant(name, &self.needed(name, AN_INSTANT)?, AN_INSTANT)
    }

    /// Nothing that the tool does not know may have been given.
    pub(super) fn end(self) -> Result<(), Mend> {
        let Some(name) = self.given.keys().next() else { return Ok(()) };
        let known = match self.asked.as_slice() {
            [] => "call it with {}".into(),
            asked => format!("it takes {}", asked.join(", ")),
        };
        Err(Mend::Unknown { tool: self.tool, name: printable(name), known })
    }
}

pub(super) fn wrong(name: &'static str, found: &Value, wanted: &str) -> Mend {
    // The marks around a text are ours.
    let found = found
        .as_str()
        .map_or_else(|| printable(&found.to_string()), |text| format!("\"{}\"", printable(text)));
    Mend::Wrong { name, found, wanted: wanted.into() }
}

/// The time zone of this name, from the system's IANA database or the one within the program.
pub(super) fn zone(name: &'static str, value: &Value) -> Result<TimeZone, Mend> {
    let named = value.as_str().and_then(|text| TimeZone::get(text).ok());
    named.ok_or_else(|| {
        let similar =
            value.as_str().and_then(similar_zone).map_or(String::new(), |z| format!("; did you mean {z}?"));
        wrong(name, value, &format!("{A_ZONE}{similar}"))
    })
}

/// The known name that somebody may have meant.
fn similar_zone(text: &str) -> Option<String> {
    // The comparison is quadratic in the length, and no name is longer.
    let text = text.get(..text.len().min(48))?.replace(' ', "_").to_lowercase();
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or(&name);
        strsim::jaro_winkler(&text, &name).max(strsim::jaro_winkler(&text, city))
    };
    let names = jiff::tz::db().available().map(|name| name.to_string());
    let best = names.map(|name| (likeness(&name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

/// An instant as [`AN_INSTANT`] says; what else would be right is `wanted`.
pub(super) fn instant(name: &'static str, value: &Value, wanted: &str) -> Result<Timestamp, Mend> {
    written_instant(name, value)?.ok_or_else(|| wrong(name, value, wanted))
}

/// The same; `None` if it is not written as one. One that is but cannot be is refused. A leap second is the second before.
pub(super) fn written_instant(name: &'static str, value: &Value) -> Result<Option<Timestamp>, Mend> {
    let nanos = match value {
        Value::Number(seconds) => match seconds.as_i64() {
            Some(whole) => i128::from(whole) * 1_000_000_000,
            None => (seconds.as_f64().unwrap_or(f64::MAX) * 1e9).round() as i128,
        },
        Value::String(text) => {
            let text = text.trim();
            match (text.parse::<i64>(), text.parse::<jiff::Timestamp>()) {
                (Ok(nanos), _) => nanos.into(),
                (_, Ok(utc)) if is_sixty(text) && !ends_month(utc) => return Err(no_leap(name, value)),
                (_, Ok(utc)) => utc.as_nanosecond(),
                // Beyond every calendar that can be computed with.
                _ if Pieces::parse(text).is_ok_and(|it| it.time().is_some() && it.offset().is_some()) => {
                    i128::MAX
                }
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    let nanos = i64::try_from(nanos).map_err(|_| {
        wrong(
            name,
            value,
            "from 1677-09-21T00:12:44Z to 2262-04-11T23:47:16Z: 64 bits hold no more nanoseconds",
        )
    })?;
    Ok(Some(Timestamp::from_nanos(nanos)))
}

/// Whether a date with a time has the second 60, which is read as 59.
pub(super) fn is_sixty(text: &str) -> bool {
    let time = text.split_once(['T', 't', ' ']).map_or("", |(_, time)| time);
    let digits: String =
        time.chars().take_while(|c| c.is_ascii_digit() || *c == ':').filter(|c| *c != ':').collect();
    digits.len() == 6 && digits.ends_with("60")
}

/// Whether this is the last second of a month in UTC, after which a leap second may come.
pub(super) fn ends_month(utc: jiff::Timestamp) -> bool {
    let second = utc.as_second();
    let next = jiff::Timestamp::from_second(second + 1).map(|next| next.to_zoned(TimeZone::UTC));
    next.is_ok_and(|next| next.day() == 1 && second.rem_euclid(86_400) == 86_399)
}

/// There is no such second.
pub(super) fn no_leap(name: &'static str, value: &Value) -> Mend {
    wrong(
        name,
        value,
        "a time that there is: a leap second, 60, comes after 23:59:59 UTC at the end of a month only",
    )
}

/// Text of strangers as it may stand in an answer: printable ASCII without quotes, and no longer than a sentence, so
/// that a server on the network cannot talk to the agent.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '`') || c == ' ' { c } else { '?' };
    text.chars().take(120).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn an_instant_has_three_ways_to_be_written() {
        let nanos = |value| written_instant("time", &value).ok().flatten().map(Timestamp::as_nanos);
        assert_eq!(nanos(json!("2026-03-29T02:30:00+01:00")), Some(1_774_747_800_000_000_000));
        assert_eq!(nanos(json!(1_774_747_800)), Some(1_774_747_800_000_000_000));
        assert_eq!(nanos(json!(1.5)), Some(1_500_000_000));
        assert_eq!(nanos(json!("1774747800000000001")), Some(1_774_747_800_000_000_001));
        for none in
            [json!("2026-03-29T02:30:00"), json!("soon"), json!(1e300), json!(i64::MAX), json!([]), json!("")]
        {
            assert_eq!(nanos(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn what_no_instant_can_be_is_refused_with_the_reason() {
        let said = |value| instant("time", &value, AN_INSTANT).map_err(|mend| mend.to_string());
        for beyond in [json!("9999-12-31T23:59:59Z"), json!(1e300), json!(i64::MAX), json!(u64::MAX)] {
            assert!(said(beyond.clone()).unwrap_err().contains("from 1677-09-21T00:12:44Z"), "{beyond}");
        }
        for none in ["2017-06-01T00:00:60Z", "2016-12-30T23:59:60Z", "20161231T225960Z"] {
            assert!(said(json!(none)).unwrap_err().contains("a leap second, 60, comes after"), "{none}");
        }
        let before = Ok(Timestamp::from_nanos(1_483_228_799_000_000_000));
        for leap in ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60+01:00", "2016-12-31 23:59:60-00"] {
            assert_eq!(said(json!(leap)), before, "{leap}");
        }
    }

    #[test]
    fn a_zone_that_is_misspelt_is_guessed() {
        let said = |text: &str| zone("timezone", &json!(text)).unwrap_err().to_string();
        assert!(said("Europe/Berln").contains("did you mean Europe/Berlin?"), "{}", said("Europe/Berln"));
        assert!(said("New York").contains("America/New_York"), "{}", said("New York"));
        assert!(
            said("Mars/\"X\"").starts_with("timezone is \"Mars/?X?\", but must"),
            "{}",
            said("Mars/\"X\"")
        );
        assert!(said("").contains("IANA name"));
        assert!(zone("timezone", &json!("Europe/Berlin")).is_ok());
    }

    proptest! {
        #[test]
        fn what_strangers_say_cannot_break_out(text: String) {
            let shown = printable(&text);
            prop_assert!(shown.len() <= 120 && shown.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'));
        }

        #[test]
        fn no_text_is_too_strange(text: String, number: f64) {
            let _ = (zone("z", &json!(text)), written_instant("t", &json!(text)), written_instant("t", &json!(number)));
        }
    }
}
