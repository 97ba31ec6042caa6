//! The door for agents behind the daemon's HTTP server: who may ask, how much, and in which form it is answered.

use crate::machine::{Machine, call, solution, text};
use chronotick::config::{Http, Mcp};
use chronotick::mcp;
use chronotick_clock::{Reason, Solution, Span, State};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server at a free port of loopback; it ends with its machine's feed.
fn serve(machine: &Machine, settings: Http) -> SocketAddr {
    let address = chronotick_peers::free_tcp_address();
    let agents = mcp::Server::new(machine.door.clone(), &Mcp::default()).expect("there is no log to open");
    let settings = Http { listen: Some(address), ..settings };
    let routes = mcp::http::router(&agents);
    chronotick::http::Server::start(&settings, machine.door.clone(), machine.feed.follow(), routes)
        .expect("a thread");
    while TcpStream::connect(address).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    address
}

/// The status, the head and the body of one answer.
fn post(address: SocketAddr, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let usual =
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close";
    let length = body.len();
    write!(stream, "POST /mcp HTTP/1.1\r\n{headers}\r\n{usual}\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head[9..12].parse().expect("a status"), head.to_lowercase(), body.to_owned())
}

const MODERN: &str =
    "Host: localhost\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: get_time";

#[test]
fn a_call_of_either_era_is_answered_in_plain_json() {
    let machine = Machine::new(solution(Span::ZERO));
    let address = serve(&machine, Http::default());
    let old = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "get_time"}})
        .to_string();
    for (headers, body) in [(MODERN, call(1, "get_time", json!({}))), ("Host: localhost", old)] {
        let (status, head, body) = post(address, headers, &body);
        assert!(status == 200 && head.contains("content-type: application/json"), "{status} {head}");
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
        assert_eq!(text(&answer["result"]["structuredContent"], "daemon_status"), "ready");
    }
}

#[test]
fn who_may_not_ask_and_what_is_too_long_is_refused() {
    let machine = Machine::new(solution(Span::ZERO));
    let dir = tempfile::tempdir().expect("a directory");
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "0123456789abcdef\n").expect("it can be written");
    let (open, closed) = (
        serve(&machine, Http::default()),
        serve(&machine, Http { token_file: Some(token_file), ..Http::default() }),
    );
    let question = call(1, "get_time", json!({}));
    let status = |address, headers: &str, body: &str| post(address, headers, body).0;
    assert_eq!(status(open, &MODERN.replace("localhost", "evil.example"), &question), 403);
    assert_eq!(status(open, &format!("{MODERN}\r\nOrigin: http://evil.example"), &question), 403);
    assert_eq!(status(open, MODERN, &call(1, "get_time", json!({"timezone": "x".repeat(65 * 1024)}))), 413);
    assert_eq!(status(closed, MODERN, &question), 401);
    assert_eq!(
        status(closed, &format!("{MODERN}\r\nAuthorization: Bearer 0123456789abcdeF"), &question),
        401
    );
    assert_eq!(
        status(closed, &format!("{MODERN}\r\nAuthorization: Bearer 0123456789abcdef"), &question),
        200
    );
}

#[test]
fn a_subscription_that_could_not_be_pushed_is_refused() {
    let machine = Machine::new(solution(Span::ZERO));
    let address = serve(&machine, Http::default());
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "chronotick://status"}});
    let (_, _, body) =
        post(address, "Host: localhost\r\nMCP-Protocol-Version: 2025-11-25", &subscribe.to_string());
    assert!(body.contains("subscriptions/listen"), "{body}");
}

#[test]
fn a_subscriber_of_the_older_era_is_told_in_its_session() {
    let mut machine = Machine::new(solution(Span::ZERO));
    let address = serve(&machine, Http::default());
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let (status, head, _) = post(address, "Host: localhost", &hello.to_string());
    let named = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: "));
    let session = named.unwrap_or_else(|| panic!("no session: {status} {head}"));
    let headers = format!("Host: localhost\r\nMCP-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: {session}");
    let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(address, &headers, &begun.to_string()).0, 202);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    write!(stream, "GET /mcp HTTP/1.1\r\n{headers}\r\nAccept: text/event-stream\r\n\r\n").expect("it reads");
    let subscribe = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "chronotick://status"}});
    let (status, _, body) = post(address, &headers, &subscribe.to_string());
    assert!(status == 200 && body.contains("\"result\":{}"), "{status} {body}");
    let fallen = Solution { state: State::Holdover, reason: Reason::SourcesSilent, ..solution(Span::ZERO) };
    machine.page.publish(&fallen);
    let (mut heard, mut part) = (String::new(), [0; 4096]);
    while !heard.contains("notifications/resources/updated") {
        let length = stream.read(&mut part).unwrap_or_else(|e| panic!("{e}: {heard}"));
        assert!(length > 0, "{heard}");
        heard += &String::from_utf8_lossy(&part[..length]);
    }
    // A session that is over is not known any more.
    let mut ending = TcpStream::connect(address).expect("it listens");
    write!(ending, "DELETE /mcp HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n").expect("it reads");
    ending.read_to_end(&mut Vec::new()).expect("an answer");
    assert_eq!(post(address, &headers, &subscribe.to_string()).0, 404);
}
