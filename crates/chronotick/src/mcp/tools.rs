//! The tools as a client sees them: names, descriptions, schemas, hints; and the arguments of a call, checked.

use super::{status::Status, time};
use chronotick_clock::Span;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};

const TIME: &str = "get_time";
const STATUS: &str = "get_daemon_status";
const FUTURE: &str = "get_time_with_future_uncertainty";
/// As far as can be asked for, in seconds.
const FURTHEST: f64 = 3600.0;

/// The tools, always in this order.
pub(super) static LIST: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let mut tools = vec![
        tool::<time::WithStats>(
            TIME,
            "Corrected time",
            "The true time now, how wrong it may be, and whether to rely on it.",
            json!({"include_stats": {
                "type": "boolean", "default": false,
                "description": "Add the answer of get_daemon_status as detailed_stats.",
            }}),
            &[],
        ),
        tool::<Status>(
            STATUS,
            "Daemon status",
            "Whether the daemon behind get_time is alive and well, how its warm-up stands, and what troubles it.",
            json!({}),
            &[],
        ),
        tool::<time::Future>(
            FUTURE,
            "Time ahead",
            "How uncertain time will be so many seconds from now if nothing is measured until then; with all that get_time tells.",
            json!({"future_seconds": {
                "type": "number", "minimum": 0, "maximum": FURTHEST,
                "description": "Seconds from now.",
            }}),
            &["future_seconds"],
        ),
    ];
    let explained = tools[0].output_schema.clone().expect("every tool has one");
    let repeating = tools[2].output_schema.as_mut().expect("every tool has one");
    say_once(&explained, Arc::make_mut(repeating));
    tools
});

/// Drops the descriptions that another schema has: what two tools share is explained with the first.
fn say_once(explained: &JsonObject, schema: &mut JsonObject) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (name, property) in properties {
        if explained["properties"].get(name) == Some(property) {
            property.as_object_mut().map(|property| property.shift_remove("description"));
        }
    }
}

fn tool<Answer: JsonSchema>(
    name: &'static str,
    title: &str,
    description: &'static str,
    arguments: Value,
    required: &[&str],
) -> Tool {
    let mut input = json!({"type": "object", "properties": arguments, "additionalProperties": false});
    if !required.is_empty() {
        input["required"] = json!(required);
    }
    let hints = ToolAnnotations::with_title(title)
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(false);
    Tool::new(name, description, Arc::new(object(input)))
        .with_title(title)
        .with_raw_output_schema(Arc::new(schema_of::<Answer>()))
        .with_annotations(hints)
}

/// The schema of an answer, without what costs a reader attention or a validator a warning.
fn schema_of<Answer: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<Answer>();
    let mut schema = object(schema.to_value());
    schema.shift_remove("description");
    trim(&mut schema);
    schema
}

/// Drops the names of Rust types and numeric formats: `double` and `uint64` are not formats of JSON Schema.
fn trim(schema: &mut JsonObject) {
    schema.shift_remove("title");
    schema.shift_remove("format");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(trim);
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("the schema of a struct is an object"),
    }
}

/// A call that can be answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Call {
    Time { stats: bool },
    Status,
    Future(Span),
}

/// What is wrong with the arguments, and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Mend {
    #[error("{tool} has no argument \"{name}\"; {known}")]
    Unknown { tool: &'static str, name: String, known: &'static str },
    #[error("include_stats is {found}, but must be true or false")]
    NotABoolean { found: String },
    #[error(
        "future_seconds is missing: say how many seconds ahead, from 0 to {FURTHEST}, e.g. {{\"future_seconds\": 30}}"
    )]
    Missing,
    #[error("future_seconds is {found}, but must be a number of seconds from 0 to {FURTHEST}, e.g. 30")]
    NotInRange { found: String },
}

impl Call {
    /// `None` if there is no such tool.
    pub(super) fn parse(tool: &str, mut arguments: JsonObject) -> Option<Result<Call, Mend>> {
        let found = |value: &Value| printable(&value.to_string());
        let (tool, known, call) = match tool {
            TIME => {
                let call = match arguments.shift_remove("include_stats") {
                    None => Ok(Call::Time { stats: false }),
                    Some(Value::Bool(stats)) => Ok(Call::Time { stats }),
                    Some(other) => Err(Mend::NotABoolean { found: found(&other) }),
                };
                (TIME, "it may have include_stats", call)
            }
            STATUS => (STATUS, "call it with {}", Ok(Call::Status)),
            FUTURE => {
                let call = match arguments.shift_remove("future_seconds") {
                    None => Err(Mend::Missing),
                    Some(value) => match value.as_f64() {
                        Some(seconds @ 0.0..=FURTHEST) => Ok(Call::Future(Span::from_secs_f64(seconds))),
                        _ => Err(Mend::NotInRange { found: found(&value) }),
                    },
                };
                (FUTURE, "it has future_seconds only", call)
            }
            _ => return None,
        };
        let unknown = arguments.keys().next();
        Some(match unknown {
            Some(name) => Err(Mend::Unknown { tool, name: printable(name), known }),
            None => call,
        })
    }
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

    fn parse(tool: &str, arguments: Value) -> Result<Call, String> {
        Call::parse(tool, object(arguments)).expect("the tool exists").map_err(|mend| mend.to_string())
    }

    #[test]
    fn good_arguments_are_taken() {
        assert_eq!(parse(TIME, json!({})), Ok(Call::Time { stats: false }));
        assert_eq!(parse(TIME, json!({"include_stats": true})), Ok(Call::Time { stats: true }));
        assert_eq!(parse(STATUS, json!({})), Ok(Call::Status));
        assert_eq!(parse(FUTURE, json!({"future_seconds": 30})), Ok(Call::Future(Span::from_secs(30))));
        assert_eq!(parse(FUTURE, json!({"future_seconds": 0.5})), Ok(Call::Future(Span::from_millis(500))));
        assert_eq!(parse(FUTURE, json!({"future_seconds": 3600})), Ok(Call::Future(Span::from_secs(3600))));
    }

    #[test]
    fn bad_arguments_are_named_with_their_mend() {
        for bad in [json!(-1), json!(3600.5), json!("30"), json!(null), json!([30]), json!(1e300)] {
            let mend = parse(FUTURE, json!({ "future_seconds": bad })).unwrap_err();
            assert!(mend.contains("from 0 to 3600"), "{mend}");
        }
        assert!(parse(FUTURE, json!({})).unwrap_err().contains("future_seconds is missing"));
        assert!(parse(TIME, json!({"timezone": "UTC"})).unwrap_err().contains("no argument \"timezone\""));
        assert!(parse(STATUS, json!({"x": 1})).unwrap_err().contains("call it with {}"));
        assert!(parse(TIME, json!({"include_stats": "yes"})).unwrap_err().contains("true or false"));
        assert_eq!(Call::parse("get_tim", JsonObject::new()), None);
    }

    proptest! {
        #[test]
        fn what_strangers_say_cannot_break_out(text: String) {
            let shown = printable(&text);
            prop_assert!(shown.len() <= 120 && shown.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"'));
        }
    }
}
