//! `/openapi.json`: what can be asked and what is answered (OpenAPI 3.1), with the schemas of the very types that the
//! handlers answer with.

use super::chronicle::Point;
use super::health::Ready;
use super::history::History;
use super::older::{DriftHistory, SystemHealth, TimeSync};
use super::problem::Problem;
use super::status::{SourceTable, Status};
use super::time::Time;
use axum::http::header;
use axum::response::IntoResponse;
use chronotick_monitor::Health;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).expect("plain data has a JSON form");
    text.push('\n');
    text
});

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// What a path answers.
struct Answer {
    code: u16,
    words: &'static str,
    /// Media type and schema; none for an answer without a body.
    content: Option<(&'static str, Value)>,
}

struct Writer {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Writer {
    fn of<T: JsonSchema>(&mut self) -> Value {
        let schema: Schema = self.schemas.subschema_for::<T>();
        schema.into()
    }

    /// An answer of this type, as JSON.
    fn json<T: JsonSchema>(&mut self, code: u16, words: &'static str) -> Answer {
        Answer { code, words, content: Some(("application/json", self.of::<T>())) }
    }

    fn problem(&mut self, code: u16, words: &'static str) -> Answer {
        Answer { code, words, content: Some(("application/problem+json", self.of::<Problem>())) }
    }

    /// A path that is asked with GET or HEAD.
    fn path(&mut self, path: &str, summary: &str, parameters: Value, answers: Vec<Answer>) {
        let open = super::guard::OPEN.contains(&path);
        let mut answers = answers;
        answers.push(self.problem(400, "The request has no Host, or a parameter that cannot be understood."));
        if !open {
            answers.push(self.problem(401, "A token is configured, and the request does not show it."));
        }
        answers.push(self.problem(403, "The Host or the Origin of the request is not known here."));
        answers.sort_by_key(|answer| answer.code);
        let of = |body: bool| -> Map<String, Value> {
            let told = |answer: &Answer| match &answer.content {
                Some((media, schema)) if body => {
                    json!({"description": answer.words, "content": {*media: {"schema": schema}}})
                }
                _ => json!({"description": answer.words}),
            };
            answers.iter().map(|answer| (answer.code.to_string(), told(answer))).collect()
        };
        let name = path.trim_start_matches('/').replace(['/', '.'], "_");
        let name = if name.is_empty() { "page".to_owned() } else { name };
        let security = if open { json!([{}]) } else { json!([{}, {"token": []}]) };
        let operation = |id: String, body: bool| json!({"operationId": id, "summary": summary, "parameters": parameters, "security": security, "responses": of(body)});
        let both =
            json!({"get": operation(name.clone(), true), "head": operation(format!("{name}_head"), false)});
        self.paths.insert(path.to_owned(), both);
    }
}

/// The document.
fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut writer = Writer { schemas: settings.into_generator(), paths: Map::new() };
    clock(&mut writer);
    past(&mut writer);
    watchers(&mut writer);
    let mut schemas = writer.schemas.take_definitions(true);
    // Nothing refers to it from a JSON body, but it is what `/v1/events` tells once a second.
    schemas.entry("Point").or_insert_with(|| schemars::schema_for!(Point).into());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ChronoTick",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "What time is it, and how wrong may that be?",
            "description": "Offsets are true - local: positive means that the local clock is behind. Instants are \
                RFC 3339 in UTC, and decimal strings of ns since 1970 where the name ends in _ns; spans are integers in \
                ns. What is not known is null.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": writer.paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn clock(writer: &mut Writer) {
    let nothing = json!([]);
    let early = "The daemon has not measured anything yet.";
    let time = vec![writer.json::<Time>(200, "Corrected time now.")];
    writer.path("/v1/time", "Corrected time, its bound and its calibrated intervals", nothing.clone(), time);
    let status = vec![writer.json::<Status>(200, "The newest status."), writer.problem(503, early)];
    writer.path("/v1/status", "Everything that explains the clock", nothing.clone(), status);
    let sources = vec![writer.json::<SourceTable>(200, "The sources."), writer.problem(503, early)];
    writer.path("/v1/sources", "The time sources, and what is thought of them", nothing, sources);
}

fn past(writer: &mut Writer) {
    let history = vec![writer.json::<History>(200, "Points, oldest first.")];
    let limit = json!({"name": "limit", "in": "query", "description": "the newest so many points",
        "schema": {"type": "integer", "minimum": 1, "maximum": super::history::MOST}});
    let since = json!({"name": "since", "in": "query", "description": "only points after this instant: RFC 3339, or ns since 1970",
        "schema": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]}});
    writer.path("/v1/history", "The clock over the past", json!([limit, since]), history);
    let stream = Answer {
        code: 200,
        words: "Server-sent events: `status` (a Point, once a second), `happened` (an event, with an id), `missed`.",
        content: Some(("text/event-stream", json!({"type": "string"}))),
    };
    let full = writer.problem(503, "There are too many listeners.");
    let heard = json!([{"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
        "description": "the id of the newest event that was heard: what came since is told first"}]);
    writer.path("/v1/events", "What happens, as it happens", heard, vec![stream, full]);
}

fn watchers(writer: &mut Writer) {
    let nothing = json!([]);
    let text = |media, words| Answer { code: 200, words, content: Some((media, json!({"type": "string"}))) };
    let health = vec![
        writer.json::<Health>(200, "Time may be relied on."),
        writer.json::<Health>(503, "Time may not be relied on."),
    ];
    let strict = json!([{"name": "strict", "in": "query", "description": "whether a warning is answered with 503 too",
        "schema": {"type": "string", "enum": ["0", "1", "false", "true"]}}]);
    writer.path("/health", "Whether to rely on this clock", strict, health);
    let older = vec![
        writer.json::<SystemHealth>(200, "Time may be relied on."),
        writer.json::<SystemHealth>(503, "Time may not be relied on."),
    ];
    writer.path(
        "/system/health",
        "The health of all that keeps time, as an older monitor had it",
        nothing.clone(),
        older,
    );
    let older = vec![
        writer.json::<TimeSync>(200, "Time may be relied on."),
        writer.json::<TimeSync>(503, "Time may not be relied on."),
    ];
    writer.path(
        "/time/status",
        "The drift of the system clock, as an older monitor had it",
        nothing.clone(),
        older,
    );
    let older = vec![writer.json::<DriftHistory>(200, "Entries, oldest first.")];
    let limit = json!([{"name": "limit", "in": "query", "description": "the newest so many entries; 100 without",
        "schema": {"type": "integer", "minimum": 1, "maximum": super::history::MOST}}]);
    writer.path("/time/drift/history", "The drift of the system clock over the last hour", limit, older);
    let ready = vec![
        writer.json::<Ready>(200, "Corrected time can be used."),
        writer.json::<Ready>(503, "It cannot."),
    ];
    writer.path("/ready", "Whether corrected time can be used", nothing.clone(), ready);
    let metrics = text("text/plain", "Metrics for Prometheus; as OpenMetrics if that is accepted.");
    writer.path("/metrics", "Numbers for monitoring", nothing.clone(), vec![metrics]);
    let document =
        Answer { content: Some(("application/json", json!({"type": "object"}))), ..text("", "This.") };
    writer.path("/openapi.json", "This document", nothing.clone(), vec![document]);
    writer.path("/", "The page for people", nothing, vec![text("text/html", "A page.")]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    #[test]
    fn the_published_document_is_the_one_that_is_served() {
        if std::env::var_os("CHRONOTICK_BLESS").is_some() {
            std::fs::write(FILE, DOCUMENT.as_str()).unwrap();
        }
        let published = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            published == *DOCUMENT,
            "run this test with CHRONOTICK_BLESS=1 and look at the change of docs/openapi.json"
        );
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for found in text.split("\"$ref\":\"#").skip(1) {
            let path = found.split('"').next().unwrap();
            assert!(document.pointer(path).is_some(), "{path}");
        }
    }
}
