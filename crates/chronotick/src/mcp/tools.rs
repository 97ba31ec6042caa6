//! The tools as a client sees them: names, descriptions, schemas, hints.

use super::{causal, compare, explain, past, status, time, wait, zones};
use rmcp::model::{Icon, JsonObject, Tool, ToolAnnotations};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

/// As far ahead as can be asked for, in seconds.
pub(super) const FURTHEST: f64 = 3600.0;
/// The level of an interval where none is asked for.
pub(super) const USUAL_LEVEL: f64 = 0.9;

/// A face without numbers, as an address that holds it (RFC 3986 has no place for a space).
const CLOCK: &str = "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0,0,24,24'%20fill='none'%20\
    stroke='teal'%3E%3Ccircle%20cx='12'%20cy='12'%20r='9'/%3E%3Cpath%20d='M12,6v6l4,3'/%3E%3C/svg%3E";

macro_rules! names {
    ($($name:ident = $text:literal,)*) => {
        /// A tool.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Name { $($name,)* }

        impl Name {
            /// All, in the order of every list.
            pub(super) const ALL: &[Name] = &[$(Name::$name,)*];

            pub(super) fn text(self) -> &'static str {
                match self { $(Name::$name => $text,)* }
            }
        }
    };
}

names! {
    Time = "get_time",
    Status = "get_daemon_status",
    Future = "get_time_with_future_uncertainty",
    Interval = "get_time_with_confidence_interval",
    Convert = "convert_time",
    Compare = "compare_times",
    Wait = "wait_until",
    Correct = "correct_timestamp",
    Explain = "explain_time",
    HlcNow = "hlc_now",
    HlcMerge = "hlc_merge",
}

impl Name {
    pub(super) fn of(text: &str) -> Option<Name> {
        Name::ALL.iter().copied().find(|name| name.text() == text)
    }

    /// Whether it is listed without being asked for: every schema costs each agent context.
    pub(super) fn is_usual(self) -> bool {
        !matches!(self, Name::HlcNow | Name::HlcMerge)
    }

    /// How many calls a second one processor can answer and more: what reads a file or a database, or holds a call open,
    /// bears fewer.
    pub(super) fn bearable(self) -> NonZeroU32 {
        let calls = match self {
            Name::Wait | Name::Correct => 100,
            Name::Explain => 1_000,
            _ => 50_000,
        };
        NonZeroU32::new(calls).expect("no tool has none")
    }

    fn tool(self) -> Tool {
        let (title, description, input, output) = match self {
            Name::Time => (
                "Corrected time",
                "The true time now, how wrong it may be, and whether to rely on it; in a time zone if asked.",
                object(json!({
                    "include_stats": {"type": "boolean", "default": false,
                        "description": "Add the answer of get_daemon_status as detailed_stats."},
                    "timezone": {"type": "string", "description": "IANA name, e.g. Europe/Berlin: adds the local time."},
                })),
                schema_of::<time::WithStats>(),
            ),
            Name::Status => (
                "Daemon status",
                "Whether the daemon behind get_time is alive and well, how its warm-up stands, and what troubles it.",
                JsonObject::new(),
                schema_of::<status::Status>(),
            ),
            Name::Future => (
                "Time ahead",
                "How uncertain time will be so many seconds from now if nothing is measured until then; with all that get_time tells.",
                object(json!({"future_seconds": {"type": "number", "minimum": 0, "maximum": FURTHEST,
                    "description": "Seconds from now."}})),
                schema_of::<time::Future>(),
            ),
            Name::Interval => (
                "Time with an interval",
                "An interval that holds true time with the probability asked for; with all that get_time tells.",
                object(json!({
                    "confidence_level": {"type": "number", "minimum": 0.01, "maximum": 0.9999, "default": USUAL_LEVEL},
                    "include_stats": {"type": "boolean", "default": false},
                })),
                schema_of::<time::WithInterval>(),
            ),
            Name::Convert => (
                "Convert time",
                "A date and time in another time zone. Says where a local time does not exist (gap) or comes twice (fold).",
                object(json!({
                    "time": {"type": "string",
                        "description": "Full date: local (2026-03-29T02:30) with source_timezone, or RFC 3339 with an offset."},
                    "source_timezone": {"type": "string", "description": "IANA name."},
                    "target_timezone": {"type": "string", "description": "IANA name."},
                })),
                schema_of::<zones::Converted>(),
            ),
            Name::Compare => (
                "Compare times",
                "Which of two events came first, or that it cannot be told, and the time between them with its uncertainty.",
                object(json!({
                    "first": {"anyOf": [{"type": "string"}, {"type": "object"}],
                        "description": "\"now\", RFC 3339, or an answer of get_time; if from a peer, with its name as node."},
                    "second": {"anyOf": [{"type": "string"}, {"type": "object"}], "description": "Likewise."},
                })),
                schema_of::<compare::Compared>(),
            ),
            Name::Wait => (
                "Wait until",
                "Answers when corrected time has reached an instant, at the latest after 50 s, then with resume_at: call again.",
                object(json!({
                    "time": {"type": "string", "description": "RFC 3339 with an offset, or Z."},
                    "certain": {"type": "boolean", "default": false,
                        "description": "Until the instant is certainly past, by the bound (commit-wait)."},
                    "max_seconds": {"type": "number", "minimum": 0, "maximum": wait::LONGEST, "default": wait::LONGEST},
                })),
                schema_of::<wait::Waited>(),
            ),
            Name::Correct => (
                "Correct a timestamp",
                "What true time was when this machine's system clock read so and so (a log line, a file's date), with the interval then.",
                object(
                    json!({"timestamp": {"type": "string", "description": "RFC 3339 with an offset, or Z."}}),
                ),
                schema_of::<past::Corrected>(),
            ),
            Name::Explain => (
                "Explain time",
                "Why time is as uncertain as it is: sources, which were believed, what confines the bound, who forecasts.",
                JsonObject::new(),
                schema_of::<explain::Explained>(),
            ),
            Name::HlcNow => (
                "Causal stamp",
                "A hybrid logical stamp for an event or a message: whatever follows from it has a larger one, on any host.",
                JsonObject::new(),
                schema_of::<causal::Stamped>(),
            ),
            Name::HlcMerge => (
                "Merge a causal stamp",
                "The stamp of receiving a message that carried a stamp. Refused if that is more than 0.5 s ahead of this clock.",
                object(json!({"stamp": {"type": "string", "description": "16 hexadecimal digits."}})),
                schema_of::<causal::Stamped>(),
            ),
        };
        let mut schema = json!({"type": "object", "properties": input, "additionalProperties": false});
        if let [_, ..] = self.required() {
            schema["required"] = json!(self.required());
        }
        // A stamp moves the logical clock on.
        let reads = self.is_usual();
        let hints = ToolAnnotations::with_title(title)
            .read_only(reads)
            .destructive(false)
            .idempotent(reads)
            .open_world(false);
        Tool::new(self.text(), description, Arc::new(object(schema)))
            .with_title(title)
            .with_raw_output_schema(Arc::new(output))
            .with_annotations(hints)
            .with_icons(vec![icon()])
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Name::Future => &["future_seconds"],
            Name::Convert => &["time", "target_timezone"],
            Name::Compare => &["first", "second"],
            Name::Wait => &["time"],
            Name::Correct => &["timestamp"],
            Name::HlcMerge => &["stamp"],
            _ => &[],
        }
    }
}

/// The picture of everything here.
pub(super) fn icon() -> Icon {
    Icon::new(CLOCK).with_mime_type("image/svg+xml").with_sizes(vec!["any".into()])
}

/// All tools, always in this order.
pub(super) static LIST: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let mut tools: Vec<Tool> = Name::ALL.iter().map(|name| name.tool()).collect();
    let explained = tools[0].output_schema.clone().expect("every tool has one");
    for (tool, name) in tools.iter_mut().zip(Name::ALL).skip(1) {
        let schema = tool.output_schema.as_mut().expect("every tool has one");
        say_once(&explained, Arc::make_mut(schema), matches!(name, Name::Future | Name::Interval));
    }
    tools
});

/// Drops what another schema says: what two tools share is explained with the first, and where the description says that all of
/// the first is told (`extends`) it is not listed again.
fn say_once(explained: &JsonObject, schema: &mut JsonObject, extends: bool) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    let same = |name: &String, property: &Value| explained["properties"].get(name) == Some(property);
    properties.retain(|name, property| !(extends && same(name, property)));
    for (name, property) in properties {
        if same(name, property) {
            property.as_object_mut().map(|property| property.shift_remove("description"));
        }
    }
    if extends {
        schema.insert("additionalProperties".into(), true.into());
    }
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
    // What goes without saying.
    schema.shift_remove("minimum");
    if schema.get("additionalProperties") == Some(&Value::Bool(true)) {
        schema.shift_remove("additionalProperties");
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(trim);
    }
    if let Some(Value::Object(items)) = schema.get_mut("items") {
        trim(items);
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("the schema of a struct is an object"),
    }
}
