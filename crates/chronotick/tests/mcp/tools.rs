//! The other tools, the resources, the limits and the log of calls.

use crate::machine::{BEHIND, Machine, call, exchange_with, nanos, number, request, solution, text};
use chronotick::config::Mcp;
use chronotick::mcp::{Server, probe};
use chronotick::snapshot::ClockView;
use chronotick_clock::{ClockPair, Solution, Span, State, Timestamp};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

#[test]
fn a_time_zone_adds_the_local_time() {
    let machine = Machine::new(solution(Span::ZERO));
    let time = machine.ask("get_time", json!({"timezone": "Asia/Kathmandu"}));
    assert_eq!((text(&time, "timezone"), text(&time, "utc_offset")), ("Asia/Kathmandu", "+05:45"));
    assert!(
        text(&time, "local_time").ends_with("+05:45") && text(&time, "weekday").ends_with("day"),
        "{time}"
    );
    assert_eq!(machine.time().get("timezone"), None);
}

#[test]
fn an_interval_is_wider_the_more_it_is_to_hold() {
    let machine = Machine::new(solution(Span::from_millis(300)));
    let at =
        |level: f64| machine.ask("get_time_with_confidence_interval", json!({ "confidence_level": level }));
    let usual = machine.ask("get_time_with_confidence_interval", json!({}));
    assert_eq!(number(&usual, "confidence_level"), 0.9);
    let range = |answer: &Value| number(&answer["confidence_interval"], "range");
    assert!(range(&at(0.5)) < range(&usual) && range(&usual) < range(&at(0.99)));
    // 90 % of a normal distribution lie within 1.645 standard deviations, here of 30 µs and more.
    assert!((range(&usual) / 2.0 / number(&usual, "time_uncertainty") - 1.645).abs() < 0.02);
    let interval = &usual["confidence_interval"];
    assert!(nanos(interval, "lower_ns") < nanos(&usual, "corrected_time_ns"));
    let middle = (number(interval, "offset_lower") + number(interval, "offset_upper")) / 2.0;
    assert!((middle - number(&usual, "offset_correction")).abs() < 1e-8);
    assert!(text(&at(0.999), "note").contains("beyond 0.99"));
    let dead = Machine::new(solution(Span::from_secs(600)));
    assert_eq!(dead.ask("get_time_with_confidence_interval", json!({}))["confidence_interval"], Value::Null);
}

#[test]
fn two_answers_of_one_tool_are_what_another_compares() {
    let machine = Machine::new(solution(Span::ZERO));
    let first = machine.time();
    let same = machine.ask("compare_times", json!({"first": first, "second": first}));
    assert_eq!((text(&same, "relation"), text(&same, "decided_by")), ("indistinguishable", "nothing"));
    assert!((0.0..=1.0).contains(&number(&same, "probability_before")));
    let now = machine.ask("compare_times", json!({"first": first, "second": "now"}));
    assert_ne!(text(&now, "relation"), "after", "{now}");
    let later = machine.ask("compare_times", json!({"first": first, "second": "2100-01-01T00:00:00Z"}));
    assert_eq!((text(&later, "relation"), text(&later, "decided_by")), ("before", "bounds"));
    let nobody = Machine::started().call("compare_times", json!({"first": "now", "second": 0}));
    assert!(
        text(&nobody["content"][0], "text").contains("not known: no source has answered yet"),
        "{nobody}"
    );
}

#[test]
fn a_gap_of_the_calendar_is_reported() {
    let question =
        json!({"time": "2026-03-29T02:30", "source_timezone": "Europe/Berlin", "target_timezone": "UTC"});
    let gap = Machine::started().ask("convert_time", question);
    assert_eq!((text(&gap, "kind"), text(&gap["target"], "datetime")), ("gap", "2026-03-29T01:30:00+00:00"));
    assert!(text(&gap, "note").contains("does not exist"));
}

fn now_ns() -> i64 {
    (ClockPair::now().system + BEHIND).as_nanos()
}

#[test]
fn waiting_ends_when_the_instant_has_come_or_is_certainly_past() {
    let machine = Machine::new(solution(Span::ZERO));
    let until = now_ns() + 30_000_000;
    let waited = machine.ask("wait_until", json!({"time": until.to_string()}));
    assert_eq!((&waited["reached"], &waited["resume_at"]), (&true.into(), &Value::Null));
    assert!(nanos(&waited, "corrected_time_ns") >= until);
    let waited =
        machine.ask("wait_until", json!({"time": (until + 50_000_000).to_string(), "certain": true}));
    assert_eq!((&waited["reached"], &waited["certainly_past"]), (&true.into(), &true.into()));
    assert!(nanos(&waited, "earliest_ns") > until + 50_000_000);
}

#[test]
fn waiting_has_an_end_and_says_when_to_ask_again() {
    let machine = Machine::new(solution(Span::ZERO));
    let until = now_ns() + 3_600_000_000_000;
    let waited = machine.ask("wait_until", json!({"time": until.to_string(), "max_seconds": 0.05}));
    assert_eq!(waited["reached"], false);
    assert!((3590.0..3600.1).contains(&number(&waited, "remaining_seconds")));
    let resume: Timestamp = text(&waited, "resume_at")
        .parse::<jiff::Timestamp>()
        .map(|t| Timestamp::from_nanos(t.as_nanosecond() as i64))
        .unwrap();
    assert!((Timestamp::from_nanos(until) - resume - Span::from_secs(50)).abs() < Span::from_micros(10));
    let refused = Machine::started().call("wait_until", json!({"time": 0}));
    assert_eq!(refused["isError"], true, "{refused}");
}

/// A conversation in which the client does not wait for the end of input.
async fn converse(machine: &Machine, lines: &[String], enough: impl Fn(&Value) -> bool) -> Vec<Value> {
    let (mut client, pipe) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(pipe);
    let server = Server::new(machine.door.clone(), &Mcp::default()).expect("there is no log to open");
    tokio::spawn(server.serve(input, output));
    for line in lines {
        client.write_all(format!("{line}\n").as_bytes()).await.expect("the pipe is large");
    }
    let mut answers = BufReader::new(client).lines();
    let mut heard = Vec::new();
    while let Some(line) = answers.next_line().await.expect("lines of text") {
        heard.push(serde_json::from_str::<Value>(&line).expect("one JSON object a line"));
        if enough(heard.last().expect("just pushed")) {
            break;
        }
    }
    heard
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_waiting_call_shows_progress_and_can_be_cancelled() {
    let machine = Machine::new(solution(Span::ZERO));
    let mut long: Value =
        serde_json::from_str(&call(7, "wait_until", json!({"time": "2100-01-01T00:00:00Z"}))).unwrap();
    long["params"]["_meta"]["progressToken"] = json!("p");
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    let heard = runtime().block_on(converse(&machine, &[long.to_string()], |heard| {
        heard["params"]["progress"].as_f64() > Some(1.5)
    }));
    assert!(heard.iter().all(|heard| heard["method"] == "notifications/progress"), "{heard:?}");
    assert_eq!((heard.len(), &heard[0]["params"]["progressToken"]), (2, &json!("p")));
    let after = [long.to_string(), cancel.to_string(), call(8, "get_time", json!({}))];
    let heard = runtime().block_on(converse(&machine, &after, |heard| heard["id"] == 8));
    assert_eq!(heard.last().unwrap()["result"]["isError"], false, "another call is answered meanwhile");
}

#[test]
fn a_change_of_state_is_pushed_in_both_eras() {
    let old = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
            "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "chronotick://status"}}),
    ];
    let new = [request(
        1,
        "subscriptions/listen",
        json!({"notifications": {"resourceSubscriptions": ["chronotick://status"]}}),
    )];
    for lines in [old.map(|line| line.to_string()).to_vec(), new.to_vec()] {
        // Without a successor this falls into holdover by itself, half a second from now.
        let at = ClockPair::now().raw;
        let short = Solution { holdover_at: at + Span::from_millis(500), ..solution(Span::ZERO) };
        let machine = Machine::new(short);
        let pushed = |heard: &Value| heard["method"] == "notifications/resources/updated";
        let heard = runtime().block_on(converse(&machine, &lines, pushed));
        assert_eq!(heard.last().unwrap()["params"]["uri"], "chronotick://status", "{heard:?}");
    }
}

#[test]
fn resources_are_listed_read_and_completed() {
    let machine = Machine::new(solution(Span::ZERO));
    let complete = json!({"ref": {"type": "ref/resource", "uri": "chronotick://time/{tz}"}, "argument": {"name": "tz", "value": "kath"}});
    let answers = machine.exchange(&[
        request(1, "resources/list", json!({})),
        request(2, "resources/templates/list", json!({})),
        request(3, "resources/read", json!({"uri": "chronotick://status"})),
        request(4, "resources/read", json!({"uri": "chronotick://time/Europe%2FBerlin"})),
        request(5, "resources/read", json!({"uri": "chronotick://time/Nowhere"})),
        request(6, "completion/complete", complete),
    ]);
    assert_eq!(answers[0]["result"]["resources"][0]["uri"], "chronotick://status");
    assert_eq!(answers[1]["result"]["resourceTemplates"][0]["uriTemplate"], "chronotick://time/{tz}");
    let read = |answer: &Value| -> Value {
        serde_json::from_str(text(&answer["result"]["contents"][0], "text")).unwrap()
    };
    assert_eq!(read(&answers[2])["status"], "ready");
    assert_eq!(
        (text(&read(&answers[3]), "timezone"), &answers[3]["result"]["ttlMs"]),
        ("Europe/Berlin", &json!(0))
    );
    assert_eq!(
        (&answers[4]["error"]["code"], &answers[4]["error"]["data"]["uri"]),
        (&json!(-32602), &json!("chronotick://time/Nowhere"))
    );
    assert_eq!(answers[5]["result"]["completion"]["values"], json!(["Asia/Kathmandu"]));
}

#[test]
fn a_past_reading_is_corrected_as_far_as_is_known() {
    let machine = Machine::new(solution(Span::ZERO));
    let system = ClockPair::now().system - Span::from_secs(2);
    let recent = machine.ask("correct_timestamp", json!({"timestamp": system.as_nanos().to_string()}));
    assert_eq!((&recent["known"], text(&recent, "evidence")), (&true.into(), "clock_page"));
    assert!((number(&recent, "offset_correction") - 0.025).abs() < 0.005, "{recent}");
    assert!(text(&recent, "advice").contains("not stepped"));
    let old = machine.ask("correct_timestamp", json!({"timestamp": "2020-01-01T00:00:00Z"}));
    assert_eq!(
        (&old["known"], &old["corrected_time"], text(&old, "evidence")),
        (&false.into(), &Value::Null, "nothing")
    );
    let ahead = machine.call("correct_timestamp", json!({"timestamp": "2100-01-01T00:00:00Z"}));
    assert!(text(&ahead["content"][0], "text").contains("in the future"), "{ahead}");
}

#[test]
fn an_explanation_names_the_sources_and_lets_no_stranger_speak() {
    let machine = Machine::new(solution(Span::ZERO));
    machine.set(|snapshot| {
        snapshot.sources[1].server = "evil\n\u{202e}`rm`".into();
        snapshot.sources[0].best = true;
        let edge = json!({"age_seconds": 1.0, "half_delay_ns": 1, "half_root_delay_ns": 2, "root_dispersion_ns": 3, "ageing_ns": 4});
        let bound = json!({"earliest_ns": -10, "latest_ns": 10, "low": edge, "high": edge});
        snapshot.sources[0].bound = serde_json::from_value(bound).expect("a bound");
        snapshot.clock = Some(ClockView { early_ns: 10, late_ns: 10, ..ClockView::default() });
    });
    let told = machine.ask("explain_time", json!({}));
    assert_eq!(
        (&told["sources"][0]["confines_bound"], text(&told["sources"][1], "name")),
        (&true.into(), "evil???rm?")
    );
    let words = told["explanation"].to_string();
    assert!(
        words
            .contains("At 2026-11-21T00:00:00Z, the instant of the terms that follow, it was -10 ns +10 ns."),
        "{told}"
    );
    assert_eq!(Machine::started().call("explain_time", json!({}))["isError"], true);
}

fn all_tools(machine: &Machine, lines: &[String]) -> Vec<Value> {
    let settings = Mcp { all_tools: true, ..Mcp::default() };
    exchange_with(&settings, &machine.door, lines.join("\n") + "\n").expect("the client spoke the protocol")
}

#[test]
fn stamps_are_behind_a_flag_and_refuse_clocks_that_are_ahead() {
    let machine = Machine::new(solution(Span::ZERO));
    let hidden = machine.exchange(&[call(1, "hlc_now", json!({}))]);
    assert!(text(&hidden[0]["error"], "message").contains("--all-tools"), "{hidden:?}");
    let list = all_tools(&machine, &[request(1, "tools/list", json!({}))]);
    assert_eq!(list[0]["result"]["tools"].as_array().map(Vec::len), Some(11));
    let first =
        all_tools(&machine, &[call(1, "hlc_now", json!({}))]).remove(0)["result"]["structuredContent"].take();
    let stamp = text(&first, "stamp");
    let merged = all_tools(&machine, &[call(1, "hlc_merge", json!({ "stamp": stamp }))]);
    assert!(text(&merged[0]["result"]["structuredContent"], "stamp") > stamp);
    let ahead = all_tools(&machine, &[call(1, "hlc_merge", json!({"stamp": "7fffffffffffffff"}))]);
    assert_eq!(ahead[0]["result"]["isError"], true);
    assert!(text(&ahead[0]["result"]["content"][0], "text").contains("ahead of this clock"), "{ahead:?}");
}

#[test]
fn calls_are_limited_and_written_down() {
    let machine = Machine::new(solution(Span::ZERO));
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("calls.jsonl");
    let settings = Mcp { calls_per_second: 2, audit_file: Some(file.clone()), ..Mcp::default() };
    let mut lines: Vec<String> = (0..20).map(|id| call(id, "get_time", json!({}))).collect();
    lines.push(call(20, "get_time", json!({"timezone": "x\ny"})));
    lines.push(call(21, "no_such_tool", json!({})));
    lines.push(call(22, "get_daemon_status", json!({"x": 1})));
    let answers = exchange_with(&settings, &machine.door, lines.join("\n") + "\n").expect("served");
    let limited = answers.iter().filter(|a| a["result"]["isError"] == true).count();
    assert!(limited > 15, "{limited}");
    assert!(answers[19]["result"]["content"][0]["text"].as_str().unwrap().contains("too often: wait "));
    let log = std::fs::read_to_string(&file).expect("the log is there");
    let entries: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    assert_eq!(entries.len(), 23);
    let outcomes = |outcome: &str| entries.iter().filter(|entry| entry["outcome"] == outcome).count();
    assert!(outcomes("answered") >= 2 && outcomes("limited") > 15);
    assert_eq!((outcomes("unknown"), outcomes("refused")), (1, 1));
    assert_eq!((text(&entries[0], "client"), text(&entries[0], "by")), ("test", "stdio"));
}

#[test]
fn a_probe_of_one_line_is_answered_by_one_line() {
    let machine = Machine::new(solution(Span::ZERO));
    let server = Server::new(machine.door.clone(), &Mcp::default()).expect("there is no log to open");
    let address = probe::start(&server, 0).expect("loopback has a free port");
    let ask = |line: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(line).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it closes after its answer");
        serde_json::from_str::<Value>(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    };
    assert_eq!(ask(b"{\"tool\": \"get_daemon_status\"}\n")["status"], "ready");
    let ahead =
        ask(b"{\"tool\": \"get_time_with_future_uncertainty\", \"arguments\": {\"future_seconds\": 5}}\n");
    assert_eq!(ahead["future_seconds"], 5.0);
    for (line, mend) in [
        (&b"hello\n"[..], "send one line such as"),
        (b"{\"tool\": \"get_tim\"}\n", "no such tool"),
        (b"{\"tool\": \"wait_until\", \"arguments\": {\"time\": 0}}\n", "does not wait"),
        (b"{\"tool\": \"get_time\", \"arguments\": [1]}\n", "must be an object"),
        (b"\xff\xfe\n", "UTF-8"),
    ] {
        let answer = ask(line);
        assert!(text(&answer, "error").contains(mend), "{answer}");
    }
    assert_eq!(ask(b"{\"tool\": \"get_time\"}\n")["state"], State::Synced.name());
}
