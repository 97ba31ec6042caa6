//! What each fuzz target does with its input. The fuzzer calls these, and so does the test that replays the corpora
//! (`crates/chronotick/tests/corpora.rs`), which needs no fuzzer. A target may not panic, whatever it is given; where more is
//! promised, that is asserted.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use chronotick::config::{Config, Http, Inventory, Mcp, Overrides};
use chronotick::daemon::Outlets;
use chronotick::experiment::compare::Run;
use chronotick::experiment::table::{Columns, Table};
use chronotick::mcp::Server;
use chronotick::monitor::rtc;
use chronotick::monitor::service::Word;
use chronotick::snapshot::Snapshot;
use chronotick::{TimeSynchronizer, fuzzing};
use chronotick_clock::{Clock, Leap, RawInstant, Span, Timestamp, Writer};
use chronotick_core::{Exchange, SourceId, Stamps};
use chronotick_ntp::nts::{CookieJar, Keys, SecretKey, Session, ke};
use chronotick_ntp::{Access, Association, KeyRing, Packet, Protection, Rate, Responder, Service, Settings};
use chronotick_os::refclock::{gpsd, nmea, shm, sock};
#[cfg(feature = "models")]
use chronotick_tsfm::{Task, hub::Announced};
use std::cell::OnceCell;
use std::fs;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is done with an input.
pub(crate) type Target = fn(&[u8]);

/// Every target by name; a corpus has the same name.
pub(crate) const ALL: &[(&str, Target)] = &[
    ("ntp_reply", ntp_reply),
    ("ntp_request", ntp_request),
    ("nts_records", nts_records),
    ("refclocks", refclocks),
    ("page", page),
    ("config", config),
    ("probe", probe),
    ("jsonrpc", jsonrpc),
    ("saved_state", saved_state),
    ("tables", tables),
    ("record", record),
    ("answers", answers),
    ("fleet", fleet),
    ("http", http),
    ("files", files),
    #[cfg(feature = "models")]
    ("checkpoint", checkpoint),
];

/// Runs one target.
pub(crate) fn run(name: &str, data: &[u8]) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(data);
}

const UTC: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn keys() -> Keys {
    Keys { client: SecretKey::new([1; 32]), server: SecretKey::new([2; 32]) }
}

fn key_ring() -> KeyRing {
    "1 AES128 HEX:000102030405060708090A0B0C0D0E0F".parse().expect("a key")
}

/// Numbers that are the same each time.
fn random() -> impl FnMut() -> u64 {
    let mut last = 0x5eed;
    move || {
        last = u64::wrapping_mul(last, 0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
        last
    }
}

fn exchange(departed: RawInstant, arrived: RawInstant) -> Exchange {
    let uncertainty = Span::from_nanos(50);
    Exchange { departed, arrived, stamps: Stamps::Kernel, uncertainty, received: arrived, about: UTC }
}

/// A reply, a kiss or rubbish for a client. The first byte says whether the client has cookies or a key, whether a true reply is
/// patched with the rest or replaced by it, whether the request's nonce is in it, and whether interleaved mode was asked for.
fn ntp_reply(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    let start = RawInstant::from_nanos(0);
    let mut association = Association::new(SourceId(0), Settings::default(), start);
    let mut random = random();
    let jar = CookieJar::new(&mut random);
    if how & 1 != 0 {
        association.protect(Protection::Nts(Session::new(keys(), vec![jar.seal(&keys(), &mut random); 8])));
    } else if how & 8 != 0 {
        association.protect(Protection::Key(key_ring().get(1).expect("the only key")));
    }
    if how & 16 != 0 {
        association.interleave();
    }
    for round in 0..3 {
        let Some(now) = association.next_event() else { return };
        let Some(request) = association.poll(now, &mut random) else { return };
        let mut service = service();
        let client = [127, 0, 0, 1].into();
        let drafted = service.receive(&request, client, (now, UTC), Some(&responder()), Some(&jar));
        let true_reply = drafted.map_or_else(|_| Vec::new(), |d| d.leaving_at(UTC, Some(&jar), &mut random));
        let mut datagram = if how & 2 != 0 {
            let patched = true_reply.iter().enumerate().map(|(i, byte)| byte ^ rest.get(i).unwrap_or(&0));
            patched.collect()
        } else {
            rest.to_vec()
        };
        if how & 4 != 0 && datagram.len() >= Packet::LEN {
            // The origin of a reply is what the request had as its time of transmission.
            let (from, to) = (40..48, 24..32);
            datagram[to].copy_from_slice(&request[from]);
        }
        let arrived = now + Span::from_millis(5 + round);
        if let Ok(measurement) = association.receive(&datagram, &exchange(now, arrived)) {
            assert!(measurement.delay >= Span::ZERO && measurement.root_delay >= Span::ZERO);
            assert!(how & 9 == 0 || datagram == true_reply, "a forged reply was taken for authentic");
        }
    }
}

fn responder() -> Responder {
    Responder { leap: Some(Leap::None), stratum: 1, ..Responder::default() }
}

fn service() -> Service<BuildHasherDefault<DefaultHasher>> {
    let rate = Rate { interval: Span::from_millis(1), burst: 8 };
    let everybody = Access::new(vec!["0.0.0.0/0".parse().expect("a network")], Vec::new());
    Service::new(everybody, rate, key_ring(), 64, BuildHasherDefault::default())
}

/// A request to the server, as it is and as the changes that it makes to an authentic one, and what the server answers: never more
/// than it was sent, so that nobody is flooded through it.
fn ntp_request(data: &[u8]) {
    let mut random = random();
    let jar = CookieJar::new(&mut random);
    let at = (RawInstant::from_nanos(0), UTC);
    let mut association = Association::new(SourceId(0), Settings::default(), at.0);
    association.protect(Protection::Nts(Session::new(keys(), vec![jar.seal(&keys(), &mut random); 7])));
    let with_cookie = association.poll(at.0, &mut random).expect("the first request is due at once");
    let mut association = Association::new(SourceId(0), Settings::default(), at.0);
    association.protect(Protection::Key(key_ring().get(1).expect("the only key")));
    let signed = association.poll(at.0, &mut random).expect("the first request is due at once");
    let change = |request: &[u8]| -> Vec<u8> {
        request.iter().enumerate().map(|(i, byte)| byte ^ data.get(i).unwrap_or(&0)).collect()
    };
    let mut service = service();
    for request in [data, &change(&with_cookie), &change(&signed)] {
        for jar in [None, Some(&jar)] {
            let drafted = service.receive(request, [127, 0, 0, 1].into(), at, Some(&responder()), jar);
            if let Ok(draft) = drafted {
                let answer = draft.leaving_at(UTC, jar, &mut random);
                assert!(answer.len() <= request.len(), "{} bytes for {}", answer.len(), request.len());
                assert!(Packet::parse(&answer).is_some());
            }
        }
    }
}

/// The records of a key establishment, read in two parts by both sides.
fn nts_records(data: &[u8]) {
    let Some((&at, rest)) = data.split_first() else { return };
    let mut reader = ke::Reader::default();
    let (first, second) = rest.split_at(usize::from(at).min(rest.len()));
    reader.take(first);
    reader.take(second);
    let mut whole = ke::Reader::default();
    whole.take(rest);
    assert_eq!(reader.finished().is_some(), whole.finished().is_some(), "how it is cut makes a difference");
    if let Some(records) = reader.finished() {
        let _ = ke::offer(records);
        let mut answered = ke::Reader::default();
        answered.take(&ke::answer(records, Some(123), || vec![7; 100]));
        assert!(answered.finished().is_some(), "an answer that nobody can read");
        let _ = ke::is_served(records);
    }
}

/// What reference clocks say: shared memory, datagrams, sentences, gpsd's lines, the hypervisor's page.
fn refclocks(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 5 {
        0 => {
            let mut segment = [0; 96];
            let len = rest.len().min(segment.len());
            segment[..len].copy_from_slice(&rest[..len]);
            let _ = shm::Content::parse(&segment).sample();
        }
        1 => {
            let _ = sock::Datagram::parse(rest).map_err(|why| why.to_string());
        }
        2 => {
            let _ = nmea::read(rest).map_err(|why| why.to_string());
        }
        3 => {
            for report in [gpsd::Report::Serial, gpsd::Report::Pulse] {
                let _ = gpsd::read(rest, report, Some("/dev/ttyS0"));
            }
        }
        _ =>
        {
            #[cfg(target_os = "linux")]
            if let Ok(page) = chronotick_os::refclock::vmclock::Page::parse(rest) {
                let _ = page.ahead(UTC);
            }
        }
    }
}

/// A folder of this thread, for what is read from a path; gone with the thread.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder() -> PathBuf {
    thread_local! {
        static FOLDER: Folder = {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            let thread = std::thread::current().id();
            let folder = parent.join(format!("chronotick-fuzz-{}-{thread:?}", std::process::id()));
            fs::create_dir_all(&folder).expect("a folder can be made there");
            Folder(folder)
        };
    }
    FOLDER.with(|folder| folder.0.clone())
}

fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, data).expect("a file can be written there");
    path
}

/// A clock page with any content: it is refused or answered from. Who may write it is believed, so the answer may be any.
fn page(data: &[u8]) {
    let path = folder().join("clock.page");
    let _ = fs::remove_file(&path);
    drop(Writer::create(&path).expect("a page can be made there"));
    let mut bytes = fs::read(&path).expect("it was just made");
    // Behind a header that is right, or from the first byte on.
    let Some((&how, rest)) = data.split_first() else { return };
    let from = if how & 1 == 0 { 0 } else { usize::from(how) };
    let Some(place) = bytes.get_mut(from..) else { return };
    place.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    fs::write(&path, &bytes).expect("it can be written again");
    let Ok(clock) = Clock::open_at(&path) else { return };
    for raw in [i64::MIN, 0, 1_000_000_000, i64::MAX].map(RawInstant::from_nanos) {
        let _ = clock.at(raw);
    }
    let _ = (clock.now(), clock.now_checked(), clock.solution(), clock.page_status());
}

/// A configuration file, or one of keys: what is refused says why, and what is accepted can be shown.
fn config(data: &[u8]) {
    if let Err(invalid) = String::from_utf8_lossy(data).parse::<KeyRing>() {
        assert!(!invalid.to_string().is_empty());
    }
    let path = file("config.yaml", data);
    match Config::load(&Overrides::default(), &|_| None, Some(&path)) {
        Ok(loaded) => {
            let _ = (loaded.config.digest(), loaded.settings().count());
            loaded.warnings.iter().for_each(|warning| drop(warning.to_string()));
        }
        Err(invalid) => assert!(!invalid.to_string().is_empty()),
    }
}

fn server() -> Server {
    thread_local! {
        static SERVER: OnceCell<(Outlets, Server)> = const { OnceCell::new() };
    }
    SERVER.with(|cell| {
        let (_, server) = cell.get_or_init(|| {
            let (outlets, door) = Outlets::within().expect("there is memory");
            let settings = Mcp { calls_per_second: u32::MAX, all_tools: true, ..Mcp::default() };
            (outlets, Server::new(Arc::new(door), &settings).expect("there is no log to open"))
        });
        server.clone()
    })
}

/// A line for the older system's probe: the answer is one line of JSON.
fn probe(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    let answer = fuzzing::probe(&server(), line);
    assert!(!answer.contains('\n') && serde_json::from_str::<serde_json::Value>(&answer).is_ok());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The body of a request to `/mcp`.
fn jsonrpc(data: &[u8]) {
    // What waits for the clock is right to wait.
    if data.windows(4).any(|w| w == b"wait")
        || data.windows(9).any(|w| w == b"subscribe")
        || data.contains(&b'\\')
    {
        return;
    }
    let request = Request::post("/mcp")
        .header("host", "127.0.0.1")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(Body::from(data.to_vec()))
        .expect("a request");
    let response = runtime().block_on(async {
        let router = chronotick::mcp::http::router(&server());
        tower::ServiceExt::oneshot(router, request).await.expect("it always answers")
    });
    assert!(response.status().as_u16() != 500, "{response:?}");
}

/// What a daemon left for its successor.
fn saved_state(data: &[u8]) {
    if let Some(solution) = fuzzing::saved_state(data) {
        let reading = solution.reading(solution.at + Span::from_secs(60));
        assert!(reading.earliest <= reading.latest);
    }
}

/// Tables of observers, debug traces and recorded exchanges, which people hand in.
fn tables(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => {
            let _ = Run::open(&file("run.csv", rest)).map_err(|e| e.to_string());
        }
        1 => {
            let _ = chronotick::trace::replay(rest).map_err(|e| e.to_string());
        }
        2 => {
            let _ = chronotick_sim::trace::Trace::open(&file("trace.packets.csv", rest))
                .map_err(|e| e.to_string());
        }
        _ => {
            let _ = chronotick_sim::Scenario::load(file("scenario.toml", rest)).map_err(|e| e.to_string());
        }
    }
}

/// A history file and an audit log that somebody has been at.
fn record(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let folder = folder();
    if kind & 1 == 0 {
        let _ = fs::remove_file(folder.join("history.sqlite-wal"));
        file("history.sqlite", rest);
        let Ok(history) = chronotick_record::History::open_read_only(&folder) else { return };
        let (first, last) = (Timestamp::from_nanos(0), Timestamp::from_nanos(i64::MAX));
        let _ = (history.samples(first, last), history.events(first, last), history.runs(first, last));
        let _ = history.system_offset_at(UTC);
    } else {
        let folder = folder.join("audit");
        fs::create_dir_all(&folder).expect("a folder can be made there");
        fs::write(folder.join("audit-000000000001.jsonl"), rest).expect("a file can be written there");
        let _ = chronotick_record::audit::verify(&folder, None, &mut |_| ()).map_err(|e| e.to_string());
    }
}

/// What programs say that were asked: chronyd, ntpd, the system bus, a relay's upstream, an endpoint of models, a hub of them.
fn answers(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let told = |word: std::io::Result<Word>| match word {
        Ok(word) => {
            assert!(word.synchronised || word.offset_ns.is_none() && word.error_ns.is_none(), "{word:?}");
            assert!(!word.reason.contains(char::is_control), "{word:?}");
            assert!(!word.reference.is_some_and(|text| text.contains(char::is_control)));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    };
    match kind % 7 {
        0 => {
            told(fuzzing::chronyd(rest, (3, 2), UTC));
            told(fuzzing::chronyd(rest, (3, 0), UTC));
        }
        1 => told(fuzzing::ntpd(rest)),
        2 => told(fuzzing::timesyncd(rest)),
        3 => {
            let Some((&len, rest)) = rest.split_first() else { return };
            let (request, reply) = rest.split_at(usize::from(len).min(rest.len()));
            if let Some(reply) = fuzzing::relayed(request, reply) {
                assert!(reply.len() <= request.len(), "{} bytes for {}", reply.len(), request.len());
            }
        }
        #[cfg(feature = "models")]
        4 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            match fuzzing::endpoint_description(text) {
                Ok((name, _)) => assert!(!name.contains(char::is_control)),
                Err(why) => assert!(!why.is_empty() && !why.contains(char::is_control)),
            }
        }
        #[cfg(feature = "models")]
        5 => {
            let tasks = [Task::from(vec![1.0, 2.0]), Task::from(vec![3.0])];
            match fuzzing::endpoint_answer(rest, (&tasks, 2, &[0.1, 0.9])) {
                Ok(forecasts) => {
                    assert_eq!(forecasts.len(), tasks.len());
                    for forecast in forecasts.iter().flatten() {
                        assert!(forecast.point.len() == 2 && forecast.quantiles.len() == 2);
                        let numbers = forecast.point.iter().chain(forecast.quantiles.iter().flatten());
                        assert!(numbers.chain(forecast.mean.iter().flatten()).all(|n| n.is_finite()));
                    }
                }
                Err(why) => assert!(!why.contains(char::is_control) && why.chars().count() <= 200),
            }
        }
        #[cfg(feature = "models")]
        6 => {
            let Some((status, headers)) = head(rest) else { return };
            let Ok(status) = StatusCode::from_bytes(status.as_bytes()) else { return };
            if let Ok(announced) = Announced::of(status, &headers) {
                for name in [announced.commit, announced.etag] {
                    assert!(!name.is_empty() && !name.starts_with('.') && !name.contains('/'), "{name}");
                }
            }
        }
        _ => {}
    }
}

/// The first line of a text, and the headers on those that follow.
fn head(data: &[u8]) -> Option<(&str, HeaderMap)> {
    let mut lines = std::str::from_utf8(data).ok()?.lines();
    let first = lines.next()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.append(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
    }
    Some((first, headers))
}

/// The inventory of a fleet, what its hosts say, and what its nodes tell over the bus.
fn fleet(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => {
            file("node.yaml", b"logging:\n  level: INFO\n");
            match Inventory::read(&file("fleet.yaml", rest)) {
                Ok(inventory) => {
                    assert!(!inventory.hosts.is_empty());
                    for host in inventory.hosts {
                        assert!(!host.address.starts_with('-'), "an option for ssh: {}", host.address);
                    }
                }
                Err(invalid) => assert!(!invalid.to_string().is_empty()),
            }
        }
        1 => {
            let said = fuzzing::host(&String::from_utf8_lossy(rest)).unwrap_or_else(|why| why);
            assert!(!said.contains(char::is_control), "{said:?}");
        }
        #[cfg(feature = "nats")]
        2 => {
            let table = fuzzing::heard(&String::from_utf8_lossy(rest));
            assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
        }
        _ => {}
    }
}

/// A request to the HTTP server as hyper hands it over: method and target on the first line, then the headers.
fn http(data: &[u8]) {
    thread_local! {
        static ROUTES: OnceCell<(Outlets, axum::Router)> = const { OnceCell::new() };
    }
    let Some((line, headers)) = head(data) else { return };
    let Some((method, target)) = line.split_once(' ') else { return };
    let Ok(mut request) = Request::builder().method(method).uri(target).body(Body::empty()) else { return };
    *request.headers_mut() = headers;
    let routes = ROUTES.with(|cell| {
        let (_, routes) = cell.get_or_init(|| {
            let (outlets, door) = Outlets::within().expect("there is memory");
            let settings = Http {
                allowed_hosts: vec!["clock.example".into()],
                allowed_origins: vec!["https://page.example".into()],
                ..Http::default()
            };
            (outlets, fuzzing::http(Arc::new(door), &settings))
        });
        routes.clone()
    });
    let response = runtime().block_on(async {
        let answer = tower::ServiceExt::oneshot(routes, request).await.expect("it always answers");
        let (head, body) = answer.into_parts();
        let endless = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if !endless {
            axum::body::to_bytes(body, usize::MAX).await.expect("the whole answer");
        }
        head
    });
    assert!(response.status != StatusCode::INTERNAL_SERVER_ERROR, "{response:?}");
}

/// Small files that others may have written, and that are read beside those of the other targets.
fn files(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let folder = folder();
    match kind % 7 {
        0 => {
            fs::create_dir_all(folder.join("etc")).expect("a folder can be made there");
            file("etc/adjtime", rest);
            let _ = rtc::Rtc::below(&folder).adjtime();
        }
        1 => {
            file("rtc.jsonl", rest);
            let readings = rtc::remembered(&folder);
            assert!(readings.is_sorted_by_key(|reading| reading.utc_secs));
        }
        2 => {
            let settings = TimeSynchronizer::from_json(&String::from_utf8_lossy(rest));
            assert!(settings.err().is_none_or(|why| !why.to_string().is_empty()));
        }
        3 => {
            file("status.json", rest);
            if let Ok(status) = Snapshot::read(&folder) {
                let _ = (status.written_at(), status.age(RawInstant::from_nanos(0)), status.success_rate());
            }
        }
        4 => {
            let Ok(text) = std::str::from_utf8(rest) else { return };
            if let Ok(with) = fuzzing::installed(text) {
                assert_eq!(
                    fuzzing::installed(&with).as_ref(),
                    Ok(&with),
                    "what is there already is left alone"
                );
            }
        }
        5 => {
            let log = chronotick_sim::logged::Log::open(&file("log.csv", rest));
            let _ = log.map(|log| log.judge().json()).map_err(|e| e.to_string());
        }
        _ => {
            let path = file("table.csv", rest);
            let _ = Table::resume(&path, Columns::default()).map_err(|e| e.to_string());
        }
    }
}

/// A checkpoint: its configuration, a zero byte, its weights, or where those begin with a brace the index of them. Weights that
/// end with their header are all zero. What can be opened is asked for a forecast.
#[cfg(feature = "models")]
fn checkpoint(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let weights = data.get(at + 1..).unwrap_or_default();
    file("config.json", &data[..at]);
    if weights.starts_with(b"{") {
        let _ = fs::remove_file(folder().join("model.safetensors"));
        file("model.safetensors.index.json", weights);
    } else {
        let path = file("model.safetensors", weights);
        let header = weights.first_chunk().map(|head| u64::from_le_bytes(*head).saturating_add(8));
        if header == Some(weights.len() as u64) {
            let written = fs::File::options().write(true).open(path).expect("it was just written");
            written.set_len((weights.len() + (1 << 19)) as u64).expect("it can grow there");
        }
    }
    match chronotick_tsfm::Forecaster::open(&folder()) {
        Ok(model) => {
            let task = Task::from((0..40_i32).map(f64::from).collect::<Vec<_>>());
            if let Ok(forecasts) = model.forecast(&[task], 3, &[]) {
                assert_eq!(forecasts[0][0].point.len(), 3);
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
