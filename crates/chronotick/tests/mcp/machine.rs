//! A machine with a daemon as a test wants it, and a client that speaks to its door for agents.

use chronotick::config::Mcp;
use chronotick::door::Door;
use chronotick::feed::{Feed, News};
use chronotick::mcp::{ServeError, Server};
use chronotick::snapshot::{
    EventView, HorizonView, ModelView, PredictionsView, Snapshot, SourceView, Traffic,
};
use chronotick_clock::{
    Assumption, Clock, ClockPair, Leap, Levels, Narrow, Rate, Reason, Solution, Span, State, Variance,
    Writer, raw_now,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// A machine whose system clock is 25 ms behind, with a daemon that is as the test wants it.
pub(crate) struct Machine {
    pub(crate) page: Writer,
    pub(crate) feed: Feed,
    pub(crate) door: Arc<Door>,
}

/// The system clock is behind by this.
pub(crate) const BEHIND: Span = Span::from_millis(25);

/// True time as it was published `age` ago by a daemon with default settings: sigma 30 µs, growing by 0.5 µs/s.
pub(crate) fn solution(age: Span) -> Solution {
    let pair = ClockPair::now();
    let rate = Rate::from_ppm(10.0);
    let at = pair.raw - age;
    Solution {
        at,
        utc: pair.system + BEHIND - age - rate.over(age),
        rate,
        early: Span::from_millis(2),
        late: Span::from_millis(3),
        narrow: Assumption::symmetry_within(10).map(|assumes| Narrow {
            early: Span::from_micros(200),
            late: Span::from_micros(300),
            assumes,
        }),
        bound_growth: Rate::from_ppm(15.0),
        variance: Variance([9e8, 0.0, 500.0 * 500.0, 0.0]),
        levels: Levels::NORMAL,
        state: State::Synced,
        reason: Reason::Agreement,
        holdover_at: at + Span::from_secs(4),
        unsynced_at: at + Span::from_secs(60),
        disruptions: 0,
        leap: Leap::None,
    }
}

pub(crate) fn source(verdict: &str, trouble: Option<&str>) -> SourceView {
    SourceView {
        mode: "server".into(),
        server: "time.example.org".into(),
        address: "192.0.2.1:123".into(),
        verdict: verdict.into(),
        best: false,
        stratum: Some(2),
        reference: "GPS".into(),
        poll_seconds: 10.0,
        reach: 255,
        last_answer_seconds: Some(3.0),
        offset_ns: Some(1_000),
        delay_ns: Some(4_000_000),
        root_delay_ns: Some(0),
        root_dispersion_ns: Some(0),
        stamps: None,
        sent: 100,
        answers: 99,
        trouble: trouble.map(Into::into),
        ..SourceView::default()
    }
}

/// A model that has earned something at ten minutes.
pub(crate) fn model() -> ModelView {
    let horizon = |horizon_seconds, weight, skill| HorizonView {
        horizon_seconds,
        weight,
        skill,
        error_ns: 100_000,
        stretches: 9,
    };
    ModelView {
        member: "long_term".into(),
        model: "http://127.0.0.1:8000/f".into(),
        family: Some("Chronos-Bolt".into()),
        state: "failing".into(),
        reason: Some("it said \u{202e}`rm`".into()),
        standing: "better".into(),
        weight: 0.25,
        correction_ns: 1_000,
        last_inference_seconds: Some(12.5),
        inference_ms: Some(3.5),
        busy_seconds: None,
        asked: 10,
        answered: 9,
        late: 1,
        cached: 4,
        put_off: 0,
        horizons: vec![horizon(60.0, 0.0, -0.1), horizon(600.0, 0.5, 0.2), horizon(1800.0, 0.0, -3.0)],
    }
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        peers: Vec::new(),
        server: None,
        version: "9.8.7".into(),
        pid: 1,
        simulation: false,
        raw_ns: raw_now().as_nanos(),
        written: "2026-11-21T00:00:00Z".into(),
        uptime_seconds: 3600.0,
        warmup_progress: 0.75,
        warmup_seconds: 180.0,
        state: "synced".into(),
        reason: String::new(),
        clock: None,
        traffic: Traffic { polls: 200, answers: 198, trusted: 190, published: 1523, ..Traffic::default() },
        predictions: PredictionsView { counted: 180, covered_95: 172, ..PredictionsView::default() },
        source: "bank".into(),
        models: vec![model()],
        sources: vec![source("trusted", None), source("falseticker", None)],
        unresolved: vec![],
        events: vec![EventView {
            time: String::new(),
            utc_ns: 0,
            kind: String::new(),
            source: None,
            text: String::new(),
        }],
        memory_bytes: 7_500_000,
        temperature_celsius: None,
    }
}

impl Machine {
    pub(crate) fn new(solution: Solution) -> Machine {
        let mut machine = Machine::started();
        machine.page.publish(&solution);
        machine.set(|_| ());
        machine
    }

    /// Nothing measured, nothing written.
    pub(crate) fn started() -> Machine {
        let page = Writer::in_memory().expect("there is memory");
        let feed = Feed::default();
        let door = Arc::new(Door::within(Clock::of(&page), feed.clone()));
        Machine { page, feed, door }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut newest = self.feed.newest().as_deref().cloned().unwrap_or_else(snapshot);
        change(&mut newest);
        self.feed.tell(News::Status(Arc::new(newest)));
    }

    /// Sends the lines, closes the pipe, and gives the answers in the order of their ids.
    pub(crate) fn exchange(&self, lines: &[String]) -> Vec<Value> {
        exchange(&self.door, lines.join("\n") + "\n").expect("the client spoke the protocol")
    }

    /// The result of one tool call in the newest era.
    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Value {
        let mut answers = self.exchange(&[call(1, tool, arguments)]);
        assert_eq!(answers.len(), 1);
        answers.remove(0)["result"].take()
    }

    /// The structured content of a call that must succeed, held against the tool's own output schema.
    pub(crate) fn ask(&self, tool: &str, arguments: Value) -> Value {
        let mut result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{result}");
        let content = result["structuredContent"].take();
        let text = result["content"][0]["text"].as_str().expect("there is text content");
        assert_eq!(serde_json::from_str::<Value>(text).expect("the text is the same object"), content);
        let tools = self.exchange(&[request(1, "tools/list", json!({}))]).remove(0)["result"]["tools"].take();
        let tools = tools.as_array().expect("a list of tools").clone();
        let named = tools.into_iter().find(|t| t["name"] == tool).expect("the tool is listed");
        conforms(&content, &named["outputSchema"], tool);
        content
    }

    pub(crate) fn time(&self) -> Value {
        self.ask("get_time", json!({}))
    }

    pub(crate) fn status(&self) -> Value {
        self.ask("get_daemon_status", json!({}))
    }

    pub(crate) fn future(&self, seconds: f64) -> Value {
        self.ask("get_time_with_future_uncertainty", json!({ "future_seconds": seconds }))
    }
}

pub(crate) fn exchange(door: &Arc<Door>, input: String) -> Result<Vec<Value>, ServeError> {
    exchange_with(&Mcp::default(), door, input)
}

pub(crate) fn exchange_with(
    settings: &Mcp,
    door: &Arc<Door>,
    input: String,
) -> Result<Vec<Value>, ServeError> {
    let server = Server::new(door.clone(), settings).expect("there is no audit log that could be refused");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, pipe) = tokio::io::duplex(1 << 20);
        let (input_half, output_half) = tokio::io::split(pipe);
        let serving = tokio::spawn(server.serve(input_half, output_half));
        client.write_all(input.as_bytes()).await.expect("the pipe is large");
        client.shutdown().await.expect("the pipe closes");
        let mut lines = BufReader::new(client).lines();
        let mut answers = Vec::new();
        while let Some(line) = lines.next_line().await.expect("lines of text") {
            answers.push(serde_json::from_str::<Value>(&line).expect("every line is one JSON object"));
        }
        serving.await.expect("the server does not panic")?;
        answers.sort_by_key(|answer| answer["id"].as_i64());
        Ok(answers)
    })
}

/// A request of 2026-07-28, which carries its own version.
pub(crate) fn request(id: i64, method: &str, mut params: Value) -> String {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

pub(crate) fn call(id: i64, tool: &str, arguments: Value) -> String {
    request(id, "tools/call", json!({"name": tool, "arguments": arguments}))
}

/// Holds a value against as much of JSON Schema as our schemas use, and fails on anything else they use.
pub(crate) fn conforms(value: &Value, schema: &Value, path: &str) {
    let schema = schema.as_object().expect("a schema is an object");
    if value.is_null() && schema["type"].as_array().is_some_and(|types| types.contains(&json!("null"))) {
        return;
    }
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "type" => {
                let allowed: Vec<&str> = match rule {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                let is = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_u64() && allowed.contains(&"integer") => "integer",
                    Value::Number(_) => "number",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                assert!(allowed.contains(&is), "{path} is {value}, not {allowed:?}");
            }
            "properties" => {
                let properties = rule.as_object().expect("properties are an object");
                for (name, value) in value.as_object().expect("checked by type") {
                    let Some(schema) = properties.get(name) else {
                        assert_eq!(schema["additionalProperties"], true, "{path}.{name} is not described");
                        continue;
                    };
                    conforms(value, schema, &format!("{path}.{name}"));
                }
            }
            "required" => {
                for name in rule.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    assert!(value.get(name).is_some(), "{path}.{name} is missing");
                }
            }
            "items" => {
                for (i, item) in value.as_array().expect("checked by type").iter().enumerate() {
                    conforms(item, rule, &format!("{path}[{i}]"));
                }
            }
            "enum" => assert!(rule.as_array().expect("a list").contains(value), "{path} is {value}"),
            "minimum" => assert!(value.is_null() || value.as_f64() >= rule.as_f64(), "{path} is {value}"),
            "additionalProperties" => assert_eq!(rule, true, "{path}"),
            "description" => assert!(rule.is_string()),
            other => panic!("{path} uses {other}"),
        }
    }
}

pub(crate) fn number(answer: &Value, field: &str) -> f64 {
    answer[field].as_f64().unwrap_or_else(|| panic!("{field} is {}, not a number", answer[field]))
}

pub(crate) fn nanos(answer: &Value, field: &str) -> i64 {
    let text = answer[field].as_str().unwrap_or_else(|| panic!("{field} is {}", answer[field]));
    text.parse().expect("a decimal number of nanoseconds")
}

pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_else(|| panic!("{field} is {}, not text", answer[field]))
}
