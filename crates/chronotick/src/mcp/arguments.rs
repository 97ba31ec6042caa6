//! The arguments of a tool call, taken one by one and checked; what is wrong is said with what would be right.

use chronotick_clock::Timestamp;
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
        let value = self.needed(name, AN_INSTANT)?;
        instant(&value).ok_or_else(|| wrong(name, &value, AN_INSTANT))
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
    Mend::Wrong { name, found: printable(&found.to_string()), wanted: wanted.into() }
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

/// An instant as [`AN_INSTANT`] says.
pub(super) fn instant(value: &Value) -> Option<Timestamp> {
    let nanos = match value {
        Value::Number(seconds) => match seconds.as_i64() {
            Some(whole) => whole.checked_mul(1_000_000_000)?,
            None => seconds.as_f64().map(|s| (s * 1e9).round()).filter(|n| n.abs() < 9.2e18)? as i64,
        },
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(nanos) => nanos,
            Err(_) => i64::try_from(text.trim().parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()?,
        },
        _ => return None,
    };
    Some(Timestamp::from_nanos(nanos))
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
        let nanos = |value| instant(&value).map(Timestamp::as_nanos);
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
    fn a_zone_that_is_misspelt_is_guessed() {
        let said = |text: &str| zone("timezone", &json!(text)).unwrap_err().to_string();
        assert!(said("Europe/Berln").contains("did you mean Europe/Berlin?"), "{}", said("Europe/Berln"));
        assert!(said("New York").contains("America/New_York"), "{}", said("New York"));
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
            let _ = (zone("z", &json!(text)), instant(&json!(text)), instant(&json!(number)));
        }
    }
}
