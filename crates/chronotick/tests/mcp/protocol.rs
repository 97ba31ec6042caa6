//! The protocol itself: lists, eras, limits, errors.

use crate::machine::{Machine, call, exchange, request, solution, text};
use chronotick_clock::Span;
use serde_json::{Value, json};

#[test]
fn bad_arguments_are_answered_in_band_with_the_mend() {
    let machine = Machine::new(solution(Span::ZERO));
    let future = "get_time_with_future_uncertainty";
    for (tool, arguments, mend) in [
        (future, json!({}), "future_seconds is missing"),
        (future, json!({"future_seconds": -1}), "from 0 to 3600"),
        (future, json!({"future_seconds": 3601}), "from 0 to 3600"),
        (future, json!({"future_seconds": "30"}), "from 0 to 3600"),
        ("get_time", json!({"zone": "Europe/Berlin"}), "no argument"),
        ("get_daemon_status", json!({"verbose": true}), "call it with {}"),
    ] {
        let result = machine.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        assert!(text(&result["content"][0], "text").contains(mend), "{result}");
        assert_eq!(result.get("structuredContent"), None);
    }
    let unknown = machine.exchange(&[call(1, "get_tim", json!({}))]);
    assert_eq!(unknown[0]["error"]["code"], -32602);
    // A call may leave its arguments out.
    let bare = request(1, "tools/call", json!({"name": "get_time"}));
    assert_eq!(machine.exchange(&[bare])[0]["result"]["isError"], false);
}

#[test]
fn the_list_of_tools_is_small_portable_and_always_the_same() {
    let machine = Machine::started();
    let lists: Vec<Value> =
        (0..2).map(|_| machine.exchange(&[request(1, "tools/list", json!({}))]).remove(0)).collect();
    assert_eq!(lists[0], lists[1]);
    let result = &lists[0]["result"];
    let tools = result["tools"].as_array().expect("a list");
    let names: Vec<&str> = tools.iter().map(|tool| text(tool, "name")).collect();
    let usual = [
        "get_time",
        "get_daemon_status",
        "get_time_with_future_uncertainty",
        "get_time_with_confidence_interval",
        "convert_time",
        "compare_times",
        "wait_until",
        "correct_timestamp",
        "explain_time",
    ];
    assert_eq!(names, usual);
    for tool in tools {
        let hints = &tool["annotations"];
        assert_eq!([&hints["readOnlyHint"], &hints["openWorldHint"]], [true, false]);
        assert!(tool["title"].is_string() && tool["description"].is_string());
        assert_eq!(
            (&tool["inputSchema"]["type"], &tool["outputSchema"]["type"]),
            (&json!("object"), &json!("object"))
        );
    }
    let size = result["tools"].to_string().len();
    println!("tools/list has {size} bytes");
    assert!(size < 18_000, "every byte costs each agent context: {size}");
    assert!(!result.to_string().contains("\"format\"") && !result.to_string().contains("$"));
    assert!(result["ttlMs"].as_u64() > Some(0));
    assert_eq!(result["cacheScope"], "public");
}

#[test]
fn clients_of_every_era_are_served() {
    let machine = Machine::new(solution(Span::ZERO));
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let hello = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answers = machine.exchange(&[
            json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).to_string(),
            json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string(),
            json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).to_string(),
            json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "get_time"}})
                .to_string(),
            json!({"jsonrpc": "2.0", "id": 4, "method": "ping"}).to_string(),
        ]);
        assert_eq!(answers.len(), 4, "{version}: {answers:?}");
        assert_eq!(answers[0]["result"]["protocolVersion"], version);
        assert_eq!(answers[0]["result"]["serverInfo"]["name"], "chronotick");
        assert_eq!(answers[1]["result"]["tools"].as_array().map(Vec::len), Some(9));
        assert_eq!(answers[2]["result"]["structuredContent"]["daemon_status"], "ready");
        assert_eq!(answers[3]["result"], json!({}));
    }
    let answers = machine.exchange(&[
        request(1, "server/discover", json!({})),
        request(2, "tools/list", json!({})),
        call(3, "get_time", json!({})),
    ]);
    assert!(
        answers[0]["result"]["supportedVersions"].as_array().expect("a list").contains(&json!("2026-07-28"))
    );
    assert!(text(&answers[0]["result"], "instructions").contains("get_time"));
    assert_eq!(answers[1]["result"]["tools"].as_array().map(Vec::len), Some(9));
    assert_eq!(answers[2]["result"]["structuredContent"]["trustworthy"], true);
}

#[test]
fn a_client_that_leaves_without_a_word_is_no_error() {
    let machine = Machine::started();
    assert_eq!(exchange(&machine.door, String::new()).expect("a clean end"), Vec::<Value>::new());
    assert_eq!(exchange(&machine.door, "\n".into()).expect("a clean end"), Vec::<Value>::new());
}

#[test]
fn a_line_beyond_the_limit_is_dropped_and_the_next_is_answered() {
    let machine = Machine::new(solution(Span::ZERO));
    let long = call(1, "get_time", json!({"timezone": "x".repeat(65 * 1024)}));
    let answers = machine.exchange(&[
        call(0, "get_time", json!({})),
        long,
        "{ no json".into(),
        call(2, "get_time", json!({})),
    ]);
    let ids: Vec<_> = answers.iter().filter_map(|answer| answer["id"].as_i64()).collect();
    assert_eq!(ids, [0, 2]);
}

#[test]
fn a_client_that_speaks_something_else_is_told_so() {
    let machine = Machine::started();
    let strange = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string() + "\n";
    let error = exchange(&machine.door, strange).expect_err("no protocol begins with this");
    assert!(error.to_string().contains("did not begin"), "{error}");
}
