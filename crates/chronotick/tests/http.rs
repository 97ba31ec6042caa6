//! The HTTP server over a daemon in this process, asked over real connections. Its time servers are in this process too.

use chronotick::config::{Config, Http};
use chronotick::daemon::{Daemon, Host, Outlets, Stop};
use chronotick::http::Server;
use chronotick_clock::{ClockPair, Offset, Rate, Span, State, Timestamp, raw_now};
use chronotick_core::Leap;
use chronotick_ntp::{ReferenceId, Responder};
use chronotick_record::{Keep, Row, Run, Sample, Store};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long something may take to come about on a busy machine before the test fails; no test measures time by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The time that is true here: the system clock of the start, carried on by the raw clock, which nobody adjusts.
fn truth() -> Timestamp {
    static START: LazyLock<ClockPair> = LazyLock::new(ClockPair::now);
    START.system + (raw_now() - START.raw)
}

/// Time servers that are right, until they are told to be silent.
fn servers(silent: &Arc<AtomicBool>) -> Vec<String> {
    let server = |silent: Arc<AtomicBool>| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let reference_id = ReferenceId(*b"TEST");
            let responder = Responder {
                leap: Some(Leap::None),
                stratum: 1,
                reference_id,
                reference: truth(),
                ..Responder::default()
            };
            let mut buffer = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut buffer) {
                if let Some(reply) = responder.answer(&buffer[..len], truth())
                    && !silent.load(Ordering::Relaxed)
                {
                    let _ = socket.send_to(&reply.leaving_at(truth()), client);
                }
            }
        });
        address
    };
    (0..3).map(|_| server(silent.clone())).collect()
}

/// A daemon that serves HTTP.
struct Served {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
    stop: Stop,
    threads: Option<(JoinHandle<()>, Server)>,
}

impl Served {
    fn start(http: Http, silent: bool) -> Served {
        Served::with(http, silent, None)
    }

    fn with(http: Http, silent: bool, recorded: Option<PathBuf>) -> Served {
        let silent = Arc::new(AtomicBool::new(silent));
        let mut config = Config::default();
        config.ntp.servers = servers(&silent).iter().map(|server| server.parse().unwrap()).collect();
        config.fusion.enabled = false;
        config.short_term.enabled = false;
        config.long_term.enabled = false;
        let address = http.listen.unwrap_or_else(free_address);
        let http = Http { listen: Some(address), ..http };
        let (outlets, door) = Outlets::within().unwrap();
        let door = match recorded {
            Some(dir) => door.remembering(dir),
            None => door,
        };
        let follower = outlets.feed.follow();
        let server = Server::start(&http, Arc::new(door), follower, axum::Router::new()).unwrap().unwrap();
        let stop = Stop::new().unwrap();
        let daemon = Daemon::new(&config, Box::new(Host), outlets, stop.clone(), None);
        let measuring = std::thread::spawn(move || daemon.run().unwrap());
        let served = Served { address, silent, stop, threads: Some((measuring, server)) };
        wait_for("a server", || TcpStream::connect(served.address).ok());
        served
    }

    fn synced() -> Served {
        let served = Served::start(Http::default(), false);
        served.becomes("synced");
        served
    }

    fn becomes(&self, state: &str) {
        wait_for(state, || (self.json("/v1/time")["state"] == state).then_some(()));
    }

    /// The answer to a request: its status code, its header, its body.
    fn request(&self, request: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        answer(&mut stream)
    }

    fn ask(&self, line: &str, headers: &str) -> (u16, String, String) {
        let host = if headers.to_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
        self.request(&format!("{line} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"))
    }

    fn json(&self, path: &str) -> Value {
        let (_, header, body) = self.ask(&format!("GET {path}"), "");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {header}\n{body}"))
    }

    /// The value of a metric, by its name with its labels.
    fn metric(&self, name: &str) -> Option<f64> {
        let (_, _, text) = self.ask("GET /metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.ask();
        let (measuring, server) = self.threads.take().unwrap();
        measuring.join().unwrap();
        server.join();
    }
}

/// One that is synced, for the tests that only ask.
static SYNCED: LazyLock<Served> = LazyLock::new(Served::synced);

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let (header, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no header: {text:?}"));
    let code = header.split(' ').nth(1).unwrap().parse().unwrap();
    (code, header.to_lowercase(), body.to_owned())
}

fn wait_for<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn ns(value: &Value) -> i128 {
    value.as_str().expect("a decimal string").parse().expect("an integer")
}

#[test]
fn time_is_told_with_its_bound_and_its_intervals() {
    let before = truth().as_nanos();
    let now = SYNCED.json("/v1/time");
    let after = truth().as_nanos();
    assert!(
        ns(&now["earliest_ns"]) <= i128::from(after) && ns(&now["latest_ns"]) >= i128::from(before),
        "{now}"
    );
    assert!(
        ns(&now["earliest_ns"]) < ns(&now["estimate_ns"]) && ns(&now["estimate_ns"]) < ns(&now["latest_ns"])
    );
    let by_words: jiff::Timestamp = now["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(by_words.as_nanosecond(), ns(&now["estimate_ns"]));
    let width = |level: &str| now["intervals_ns"][level].as_i64().unwrap();
    assert!(
        0 < width("50")
            && width("50") < width("90")
            && width("90") < width("95")
            && width("95") < width("99")
    );
    assert_eq!(now["simulation"], false);
    assert!(now["system_offset_ns"].as_i64().unwrap().abs() < 50_000_000, "{now}");
}

#[test]
fn before_anything_is_measured_nothing_is_known_and_nothing_is_healthy() {
    let served = Served::start(Http::default(), true);
    let now = served.json("/v1/time");
    assert_eq!((&now["state"], &now["source"]), (&"warmup".into(), &"system".into()), "{now}");
    for field in ["time", "estimate_ns", "earliest", "latest_ns", "max_error_ns", "narrow", "sigma_ns"] {
        assert!(now[field].is_null(), "{field}: {now}");
    }
    assert!(now["intervals_ns"].is_null() && now["system_offset_ns"].is_null(), "{now}");
    for path in ["/health", "/ready", "/time/status", "/system/health"] {
        let (code, _, body) = served.ask(&format!("GET {path}"), "");
        assert_eq!(code, 503, "{path}: {body}");
    }
    assert_eq!(served.metric("chronotick_system_offset_seconds"), None);
    assert_eq!(served.metric("chronotick_state{state=\"warmup\"}"), Some(1.0));
}

#[test]
fn the_status_and_the_sources_are_the_daemons() {
    let status = wait_for("synced", || Some(SYNCED.json("/v1/status")).filter(|s| s["state"] == "synced"));
    assert_eq!(
        (&status["state"], status["sources"].as_array().unwrap().len()),
        (&"synced".into(), 3),
        "{status}"
    );
    assert!(status["snapshot_age_seconds"].as_f64().unwrap() < 60.0);
    let sources = SYNCED.json("/v1/sources");
    assert_eq!(sources["sources"][0]["reference"], "TEST", "{sources}");
}

#[test]
fn the_past_is_limited_and_since() {
    let all = wait_for("a point", || {
        Some(SYNCED.json("/v1/history")).filter(|h| !h["points"].as_array().unwrap().is_empty())
    });
    let newest = all["points"].as_array().unwrap().last().unwrap()["time"].as_str().unwrap().to_owned();
    assert_eq!(SYNCED.json("/v1/history?limit=1")["points"].as_array().unwrap().len(), 1);
    let none = SYNCED.json(&format!("/v1/history?since={newest}&limit=10"));
    assert!(
        none["points"].as_array().unwrap().iter().all(|point| point["time"].as_str() > Some(&newest)),
        "{none}"
    );
    for wrong in [
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=-1",
        "since=yesterday",
        "since=",
        "what=1",
        "limit=1&limit=2",
    ] {
        let (code, header, body) = SYNCED.ask(&format!("GET /v1/history?{wrong}"), "");
        assert_eq!(code, 400, "{wrong}: {body}");
        assert!(
            header.contains("application/problem+json") && body.contains("\"detail\""),
            "{header} {body}"
        );
    }
    for old in ["0", "-99999999999999999999", "1600-01-01T00:00:00Z", "2026-01-01T00:00:00%2B02:00"] {
        assert_eq!(SYNCED.ask(&format!("GET /v1/history?since={old}"), "").0, 200, "{old}");
    }
}

#[test]
fn whatever_else_is_asked_gets_a_problem_that_says_the_mend() {
    let (code, _, body) = SYNCED.ask("GET /v2/time", "");
    assert!(code == 404 && body.contains("/openapi.json"), "{code} {body}");
    let (code, header, body) = SYNCED.ask("POST /v1/time", "Content-Length: 0\r\n");
    assert!(
        code == 405 && header.contains("allow: get,head") && body.contains("GET"),
        "{code} {header} {body}"
    );
    let (code, header, body) = SYNCED.ask("HEAD /v1/time", "");
    assert!(code == 200 && body.is_empty() && header.contains("application/json"), "{code} {header}");
    assert_eq!(SYNCED.request("GET /v1/time HTTP/1.1\r\nConnection: close\r\n\r\n").0, 400);
}

#[test]
fn strangers_names_and_pages_are_refused() {
    for (headers, code) in [
        ("Host: evil.example\r\n", 403),
        ("Host: 127.0.0.1\r\n", 200),
        ("Origin: http://evil.example\r\n", 403),
        ("Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200),
        ("Origin: null\r\n", 403),
    ] {
        let (got, _, body) = SYNCED.ask("GET /v1/time", headers);
        assert_eq!(got, code, "{headers}: {body}");
    }
}

#[test]
fn a_token_is_asked_for_where_there_is_one_and_other_pages_may_ask_if_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123\n").unwrap();
    let origins = vec!["https://board.example".to_owned()];
    let served =
        Served::start(Http { token_file: Some(file), allowed_origins: origins, ..Http::default() }, false);
    let (code, header, _) = served.ask("GET /v1/time", "");
    assert!(code == 401 && header.contains("www-authenticate: bearer"), "{header}");
    let shown = "Authorization: Bearer 0123456789abcdef0123\r\n";
    assert_eq!(served.ask("GET /v1/time", shown).0, 200);
    assert_ne!(served.ask("GET /health", "").0, 401);
    assert_eq!(served.ask("GET /metrics", "").0, 401);
    let from = format!("{shown}Origin: https://board.example\r\n");
    let (code, header, _) = served.ask("GET /v1/time", &from);
    assert!(code == 200 && header.contains("access-control-allow-origin: https://board.example"), "{header}");
    let (code, header, _) = served.ask("OPTIONS /v1/time", "Origin: https://board.example\r\n");
    assert!(code == 204 && header.contains("access-control-allow-headers"), "{code} {header}");

    let missing =
        Http { listen: Some(free_address()), token_file: Some("/nowhere/token".into()), ..Http::default() };
    let (outlets, door) = Outlets::within().unwrap();
    let refused = Server::start(&missing, Arc::new(door), outlets.feed.follow(), axum::Router::new());
    assert!(refused.unwrap_err().to_string().contains("/nowhere/token"));
}

#[test]
fn bodies_and_headers_are_bounded() {
    let (code, _, body) = SYNCED.ask("GET /v1/time", "Content-Length: 70000\r\n");
    assert!(code == 413 && body.contains("65536"), "{code} {body}");
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    let mut stream = TcpStream::connect(SYNCED.address).unwrap();
    let _ = stream.write_all(format!("GET /v1/time HTTP/1.1\r\nHost: localhost\r\n{long}\r\n").as_bytes());
    let mut start = [0; 12];
    // The answer, or the end of a connection whose caller had not finished.
    if stream.read_exact(&mut start).is_ok() {
        assert_eq!(&start, b"HTTP/1.1 431");
    }
}

#[test]
fn ten_thousand_malformed_requests_leave_it_as_it_was() {
    let mut noise = 1u32;
    for i in 0..10_000 {
        let mut stream = TcpStream::connect(SYNCED.address).unwrap();
        let rubbish: Vec<u8> = (0..1 + i % 97)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 24) as u8
            })
            .collect();
        let begun: &[u8] =
            [&b"GET /v1/time HTTP/1.1\r\nHost: "[..], b"", b"POST ", b"GET / HTTP/9.9\r\n"][i % 4];
        let _ = stream.write_all(begun).and_then(|()| stream.write_all(&rubbish));
    }
    SYNCED.becomes("synced");
    wait_for("rid of them", || SYNCED.metric("chronotick_http_connections").filter(|open| *open < 20.0));
}

#[test]
fn metrics_come_in_both_dialects() {
    let synced = |text: &str| text.contains("\nchronotick_state{state=\"synced\"} 1\n");
    let (code, header, text) =
        wait_for("synced", || Some(SYNCED.ask("GET /metrics", "")).filter(|(.., text)| synced(text)));
    assert!(code == 200 && header.contains("text/plain; version=0.0.4"), "{header}");
    assert!(text.contains("# TYPE chronotick_polls_total counter"), "{text}");
    let (_, header, text) =
        SYNCED.ask("GET /metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
    assert!(header.contains("application/openmetrics-text") && text.ends_with("# EOF\n"), "{header}");
    assert!(SYNCED.metric("chronotick_max_error_seconds").is_some_and(|error| error > 0.0));
    assert!(SYNCED.metric("chronotick_http_requests_total{route=\"/metrics\",code=\"200\"}") >= Some(2.0));
}

/// A listener to the events.
struct Listener(BufReader<TcpStream>);

impl Listener {
    fn start(served: &Served, headers: &str) -> Listener {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").unwrap();
        Listener(BufReader::new(stream))
    }

    /// The next line that begins so; none at the end.
    fn line(&mut self, begins: &str) -> Option<String> {
        let mut line = String::new();
        while self.0.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(begins) {
                return Some(rest.trim().to_owned());
            }
            line.clear();
        }
        None
    }
}

#[test]
fn a_listener_hears_what_happens_and_what_it_missed_and_the_end() {
    let served = Served::synced();
    let mut listener = Listener::start(&served, "");
    assert_eq!(listener.line("event:").as_deref(), Some("status"));
    // The status is up to a second older than the page that said so first.
    while !listener.line("data:").unwrap().contains(r#""state":"synced""#) {}

    // One who heard of another run hears all of this one, in order.
    let mut late = Listener::start(&served, "Last-Event-ID: 1-1\r\n");
    let (kind, id) = (late.line("event:"), late.line("id:").unwrap());
    assert!(kind.as_deref() == Some("happened") && id.ends_with("-1"), "{kind:?} {id}");
    // One who heard the first hears the second.
    let mut back = Listener::start(&served, &format!("Last-Event-ID: {id}\r\n"));
    assert!(back.line("id:").unwrap().ends_with("-2"));

    served.silent.store(true, Ordering::Relaxed);
    while listener.line("event:").unwrap() != "happened" {}
    drop(served);
    while listener.line("event:").is_some() {}
}

#[test]
fn a_taken_address_is_waited_for_while_time_goes_on() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let freeing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        drop(holder);
    });
    let served = Served::start(Http { listen: Some(address), ..Http::default() }, false);
    freeing.join().unwrap();
    wait_for("an answer", || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(())
    });
    drop(served);
}

#[test]
fn health_is_one_document_with_fixed_types_and_a_code_that_follows_the_status() {
    let (code, header, health) = wait_for("synced", || {
        let (code, header, body) = SYNCED.ask("GET /health", "");
        let health: Value = serde_json::from_str(&body).unwrap();
        (health["state"] == "synced").then_some((code, header, health))
    });
    assert!(header.contains("application/json"), "{header}");
    assert_eq!((&health["schema_version"], &health["state"]), (&1.into(), &"synced".into()), "{health}");
    assert!(health["offset_ns"].is_i64() && health["bound_ns"].is_i64(), "{health}");
    assert_eq!(health["sources"]["configured"], 3);
    assert_eq!(code == 200, ["healthy", "warning"].contains(&health["status"].as_str().unwrap()), "{health}");
    for (query, right) in
        [("strict=1", true), ("strict=false", true), ("strict=", false), ("strict=2", false), ("x=1", false)]
    {
        let (code, _, body) = SYNCED.ask(&format!("GET /health?{query}"), "");
        assert_eq!(code != 400, right, "{query}: {body}");
    }
    let (head, _, body) = SYNCED.ask("HEAD /health?strict=0", "");
    assert!(head == code && body.is_empty(), "{head} {code}");
}

#[test]
fn an_older_monitors_paths_answer_in_its_shapes() {
    let time = SYNCED.json("/time/status");
    let (drift, fast) = (time["drift_ms"].as_f64().unwrap(), time["drift_direction"].as_str().unwrap());
    assert_eq!(drift > 0.0, fast == "fast", "{time}");
    assert_eq!((&time["total_servers"], &time["source"]), (&3.into(), &"chronotick".into()));
    let synced = |system: &Value| system["services"]["chronotick"]["state"] == "synced";
    let system = wait_for("synced", || Some(SYNCED.json("/system/health")).filter(synced));
    assert!(system["summary"]["issues"].is_array() && system["last_sync_utc"].is_string(), "{system}");
    let drifts = wait_for("a point", || {
        Some(SYNCED.json("/time/drift/history?limit=5"))
            .filter(|h| !h["entries"].as_array().unwrap().is_empty())
    });
    assert!(drifts["entries"].as_array().unwrap().len() <= 5 && drifts["message"].is_string(), "{drifts}");
    assert_eq!(SYNCED.ask("GET /time/drift/history?limit=0", "").0, 400);
    let statuses = ["healthy", "warning", "unknown", "critical"];
    let sum: f64 = statuses
        .iter()
        .filter_map(|status| {
            SYNCED.metric(&format!("chronotick_health_status{{status=\"{status}\",profile=\"default\"}}"))
        })
        .sum();
    assert_eq!(sum, 1.0);
}

/// A history file with a point per 10 s of the two hours before now, and how many those are.
fn written(dir: &std::path::Path) -> usize {
    let now = ClockPair::now();
    let sample = |i: i64| {
        let system = now.system - Span::from_secs(10 * i);
        Row::Sample(Sample {
            system,
            raw: now.raw - Span::from_secs(10 * i),
            offset: Offset::between(system + Span::from_millis(5), system),
            sigma: Span::from_micros(10),
            early: Span::from_micros(100),
            late: Span::from_micros(200),
            rate: Rate::ZERO,
            growth: Rate::ZERO,
            state: State::Synced,
            source: "bank".into(),
            epoch: 0,
            stepped: false,
        })
    };
    let rows: Vec<Row> = (1..=720).rev().map(sample).collect();
    let began = now.system - Span::from_secs(7_300);
    let run = Run { began, ended: began, boot: u64::MAX, version: "1".into(), configuration: "d".into() };
    let keep = Keep { everything: Span::from_secs(86_400), summaries: Span::from_secs(86_400) };
    Store::new(dir, run, keep).write(&rows, now.system).unwrap();
    rows.len()
}

#[test]
fn the_past_before_memory_comes_from_the_history_file() {
    let folder = tempfile::tempdir().unwrap();
    let all = written(folder.path());
    let served = Served::with(Http::default(), true, Some(folder.path().into()));
    let points =
        |query: &str| served.json(&format!("/v1/history{query}"))["points"].as_array().unwrap().clone();
    assert!(points("").len() < 10, "memory alone, unless it is asked for more");
    let since = (ClockPair::now().system - Span::from_secs(7_250)).as_nanos();
    let past = points(&format!("?since={since}&limit=10000"));
    assert!(past.len() >= all, "{}", past.len());
    assert_eq!((&past[0]["system_offset_ns"], &past[0]["sources_total"]), (&5_000_000.into(), &Value::Null));
    assert!(past.is_sorted_by_key(|point| ns(&point["time_ns"])), "oldest first");
    // What is in memory grows meanwhile.
    let few = points(&format!("?since={since}&limit=50"));
    let later = points(&format!("?since={since}&limit=10000"));
    assert!(few.len() == 50 && later.contains(&few[49]), "{:?}", few[49]);
    assert!(ns(&few[49]["time_ns"]) >= ns(&past[past.len() - 1]["time_ns"]));
    assert!(points("?since=2100-01-01T00:00:00Z").is_empty());
}
