//! One line: how it is sealed, and how it is opened again.

use crate::{digest, rfc3339};
use chronotick_clock::Timestamp;
use serde_json::{Map, Value};

/// What a line says: a kind, a time, and what belongs to the kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// True time, as well as it was known.
    pub time: Timestamp,
    /// What kind of record, in one word.
    pub kind: String,
    /// Everything else.
    pub fields: Map<String, Value>,
}

impl Record {
    /// A record with the members of `fields`, which is an object.
    ///
    /// ```
    /// use chronotick_clock::Timestamp;
    /// use chronotick_record::audit::Record;
    /// let record = Record::new("began", Timestamp::from_nanos(0), serde_json::json!({"version": "1.0.0"}));
    /// assert_eq!(record.fields["version"], "1.0.0");
    /// ```
    pub fn new(kind: &str, time: Timestamp, fields: Value) -> Record {
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Record { time, kind: kind.to_owned(), fields }
    }
}

/// A line whose own hash is right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) previous: String,
    pub(super) record: Record,
}

/// What stands before the first line.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The line, without its end.
pub(super) fn seal(number: u64, previous: &str, record: &Record) -> String {
    let mut object = Map::new();
    object.insert("number".into(), number.into());
    object.insert("time".into(), rfc3339(record.time).into());
    object.insert("time_ns".into(), record.time.as_nanos().into());
    object.insert("kind".into(), record.kind.clone().into());
    object.extend(
        record
            .fields
            .iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    object.insert("previous".into(), previous.into());
    let mut line = Value::Object(object).to_string();
    let own = digest(line.as_bytes());
    line.pop();
    line + &ending(&own)
}

/// What no record can bring along.
const OWN: [&str; 6] = ["number", "time", "time_ns", "kind", "previous", "hash"];

fn ending(own: &str) -> String {
    format!(",\"hash\":\"{own}\"}}")
}

/// # Errors
/// What is wrong with the line, in words.
pub(super) fn open(line: &[u8]) -> Result<Opened, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is no text".to_owned())?;
    let length = ending(NOTHING).len();
    let split = text.len().checked_sub(length).filter(|at| text.is_char_boundary(*at));
    let (body, end) = text.split_at(split.ok_or("it is too short")?);
    let own = digest(format!("{body}}}").as_bytes());
    if end != ending(&own) {
        return Err("its hash is not that of its content: it was changed".into());
    }
    let mut object: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| format!("it is no JSON object: {e}"))?;
    object.remove("hash");
    object.remove("time");
    let mut take = |key: &str| object.shift_remove(key).ok_or_else(|| format!("it has no {key}"));
    let number = take("number")?.as_u64().ok_or("its number is none")?;
    let time = take("time_ns")?.as_i64().ok_or("its time is none")?;
    let kind = take("kind")?.as_str().unwrap_or_default().to_owned();
    let previous = take("previous")?.as_str().unwrap_or_default().to_owned();
    let record = Record { time: Timestamp::from_nanos(time), kind, fields: object };
    Ok(Opened { number, previous, record })
}
