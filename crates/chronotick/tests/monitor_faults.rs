//! The faults of two older monitors, each with a test that this one passes. The first system (a…) was a set of scripts and
//! health pages around NTP queries, the second (b…) a time synchroniser with callbacks. What each test says was observed there
//! the other way round. Servers are threads on loopback; a real chronyd is used where it is installed.

use chronotick::TimeSynchronizer;
use chronotick::config::{Config, Overrides, ServerAddress};
use chronotick::monitor::drift::Drift;
use chronotick::monitor::exchange::{Heard, Question, ask};
use chronotick::monitor::service::chrony;
use chronotick::monitor::synchronizer::{Builder, Simulated};
use chronotick_clock::{ClockPair, Leap, RawInstant, Span};
use chronotick_monitor::{
    Answer, Backing, ClockError, Consensus, Decision, Health, Judgement, Level, Monitor, NoConsensus, Policy,
    Profile, Refusal, Sample, Status, What,
};
use chronotick_ntp::{NtpTimestamp, Packet, Responder};
use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(90);

/// A server on loopback whose clock is so many ms ahead of this machine's.
fn server(ahead_ms: i64) -> ServerAddress {
    changed(ahead_ms, Duration::ZERO, |_| ())
}

/// The same, each way taking so long, and with its replies changed.
fn changed(ahead_ms: i64, way: Duration, change: impl Fn(&mut Packet) + Send + 'static) -> ServerAddress {
    served(ahead_ms, way, change, Arc::new(AtomicBool::new(true)))
}

fn served(
    ahead_ms: i64,
    way: Duration,
    change: impl Fn(&mut Packet) + Send + 'static,
    alive: Arc<AtomicBool>,
) -> ServerAddress {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap().to_string().parse().unwrap();
    std::thread::spawn(move || {
        let good = Responder { leap: Some(Leap::None), stratum: 1, precision: -23, ..Responder::default() };
        let mut buffer = [0; 512];
        // Ends with the test's process.
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            std::thread::sleep(way);
            let utc = ClockPair::now().system + Span::from_millis(ahead_ms);
            let Some(reply) = good.answer(&buffer[..len], utc) else { continue };
            let mut packet = Packet::parse(&reply.leaving_at(utc)).unwrap();
            change(&mut packet);
            std::thread::sleep(way);
            if alive.load(Ordering::Relaxed) {
                let _ = socket.send_to(&packet.to_bytes(), client);
            }
        }
    });
    address
}

/// An address that takes requests and never answers.
fn black_hole() -> (UdpSocket, ServerAddress) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap().to_string().parse().unwrap();
    (socket, address)
}

fn heard(servers: &[ServerAddress], samples: u32) -> Heard {
    ask(&Question { servers: servers.to_vec(), samples, timeout: Span::from_secs(5) }).unwrap()
}

fn drift(servers: &[ServerAddress]) -> Drift {
    Drift::of(heard(servers, 3), None, &Profile::default(), ClockPair::now())
}

fn answer(server: &str, offset_us: i64) -> Answer {
    let (span, leap) = (Span::from_micros, Leap::None);
    Answer {
        server: server.into(),
        offset: span(offset_us),
        max_error: span(500),
        delay: span(900),
        stratum: 1,
        leap,
    }
}

fn sample(offset_ms: f64, state: Backing) -> Sample {
    let (offset, early) = (Span::from_secs_f64(offset_ms / 1e3), Span::from_micros(1));
    let error = Some(ClockError { offset, early, late: early });
    Sample { at: RawInstant::from_nanos(0), utc: ClockPair::now().system, state, error, agreeing: 4 }
}

/// The program with directories of its own.
fn program(dirs: &tempfile::TempDir, servers: &[ServerAddress], arguments: &[&str]) -> Output {
    let list: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Command::new(env!("CARGO_BIN_EXE_chronotick"))
        .args(arguments)
        .env("CHRONOTICK_NTP_SERVERS", list.join(","))
        .env("CHRONOTICK_RUNTIME_DIR", dirs.path().join("run"))
        .env("CHRONOTICK_STATE_DIR", dirs.path())
        .env("HOME", dirs.path())
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// A chronyd with a command socket; killed when dropped.
struct Chronyd(Child, tempfile::TempDir);

impl Chronyd {
    fn start(directives: &str) -> Option<Chronyd> {
        let dir = tempfile::tempdir().unwrap();
        // chronyd wants its socket in a directory that is its user's alone.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let (place, port) = (dir.path().display(), chronotick_peers::free_address().port());
        let config = format!(
            "port {port}\ncmdport 0\nbindcmdaddress {place}/chronyd.sock\nbindaddress 127.0.0.1\npidfile {place}/pid\n{directives}\n"
        );
        std::fs::write(dir.path().join("conf"), config).unwrap();
        let conf = dir.path().join("conf").display().to_string();
        let child = chronotick_peers::chronyd(&["-d", "-f", &conf])?.spawn().unwrap();
        let chronyd = Chronyd(child, dir);
        chronyd.until("answers", |word| word.is_ok()).unwrap();
        Some(chronyd)
    }

    fn place(&self) -> chrony::Place {
        chrony::Place::Socket(self.1.path().join("chronyd.sock"))
    }

    fn until(
        &self,
        what: &str,
        condition: impl Fn(&std::io::Result<chronotick::monitor::service::Word>) -> bool,
    ) -> std::io::Result<chronotick::monitor::service::Word> {
        let begun = Instant::now();
        loop {
            let word = chrony::ask(&self.place());
            if condition(&word) {
                return word;
            }
            assert!(begun.elapsed() < SOON, "chronyd never {what}: {word:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Chronyd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a01_a_daemon_that_never_synchronised_is_not_excellent() {
    let Some(chronyd) = Chronyd::start("") else { return };
    let word = chrony::ask(&chronyd.place()).unwrap();
    assert!(!word.synchronised && word.offset_ns.is_none(), "{word:?}");
    let never = Sample { error: None, ..sample(0.0, Backing::Unsynced) };
    assert_eq!(Judgement::of(&never, &Profile::default()).status, Status::Critical);
}

#[test]
fn a02_dead_sources_are_noticed_though_the_daemon_still_names_one() {
    let alive = Arc::new(AtomicBool::new(true));
    let address = served(0, Duration::ZERO, |_| (), alive.clone());
    let source = format!("server 127.0.0.1 port {} minpoll -4 maxpoll -4 iburst", address.port());
    let Some(chronyd) = Chronyd::start(&source) else { return };
    let word = chronyd.until("synchronises", |word| word.as_ref().is_ok_and(|w| w.synchronised)).unwrap();
    assert_eq!(word.stratum, Some(2));
    alive.store(false, Ordering::Relaxed);
    let dead =
        chronyd.until("loses its source", |word| word.as_ref().is_ok_and(|w| !w.synchronised)).unwrap();
    assert!(dead.reason.contains("none of its 1 sources answers"), "{dead:?}");
}

#[test]
fn a03_the_delay_is_no_drift() {
    let slow = || changed(0, Duration::from_millis(200), |_| ());
    let found = drift(&[slow(), slow()]);
    assert!(found.delay_ns.unwrap() >= 400_000_000, "{found:?}");
    // Half of the delay is in the bound, where it belongs, and not in the offset.
    assert!(found.offset_ns.unwrap().abs() < 100_000_000, "{found:?}");
    assert!(found.bound_ns.unwrap() >= 200_000_000, "{found:?}");
}

#[test]
fn a04_the_order_of_servers_and_a_silent_one_change_nothing() {
    let (_kept, silent) = black_hole();
    let found = drift(&[silent, server(0), server(0)]);
    assert!(found.offset_ns.unwrap().abs() < 5_000_000, "{found:?}");
    assert_eq!((found.agreeing.len(), found.silent.len()), (2, 1));
    assert_eq!(found.status, Status::Healthy);
}

#[test]
fn a05_slow_and_fast_have_different_signs() {
    let (behind, ahead) = (drift(&[server(200), server(200)]), drift(&[server(-200), server(-200)]));
    assert!((150_000_000..250_000_000).contains(&behind.offset_ns.unwrap()), "{behind:?}");
    assert!((-250_000_000..-150_000_000).contains(&ahead.offset_ns.unwrap()), "{ahead:?}");
    assert_eq!((behind.direction, ahead.direction), (Some("behind"), Some("ahead")));
}

#[test]
fn a06_and_a07_json_is_one_line_of_plain_integers_and_nothing_else() {
    let dirs = tempfile::tempdir().unwrap();
    let output =
        program(&dirs, &[server(250), server(250)], &["monitor", "time-drift", "--samples", "2", "--json"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true));
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let offset = last["offset_ns"].as_i64().unwrap();
    assert!(
        (200_000_000..300_000_000).contains(&offset) && !text.contains("e+") && !text.contains("e-"),
        "{text}"
    );
    assert_eq!((output.status.code(), last["status"].as_str()), (Some(2), Some("critical")));
}

#[test]
fn a08_a_right_rtc_is_left_alone_and_local_time_is_found() {
    let rtc = |seconds_off: i64| {
        let (dirs, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let reads = ClockPair::now().system.as_nanos() / 1_000_000_000 + seconds_off;
        std::fs::create_dir_all(root.path().join("sys/class/rtc/rtc0")).unwrap();
        std::fs::write(root.path().join("sys/class/rtc/rtc0/since_epoch"), reads.to_string()).unwrap();
        let root = root.path().display().to_string();
        let output = program(&dirs, &[server(0), server(0)], &["monitor", "rtc", "--json", "--root", &root]);
        (output.status.code(), json(&output))
    };
    let (code, right) = rtc(0);
    assert_eq!((code, right["timescale"].as_str()), (Some(0), Some("utc")), "{right}");
    let (code, incident) = rtc(-17 * 3_600);
    assert_eq!((code, incident["timescale"].as_str()), (Some(2), Some("local")), "{incident}");
}

#[test]
fn a09_a_correction_that_was_not_made_is_no_success() {
    let dirs = tempfile::tempdir().unwrap();
    let off = [server(250), server(250)];
    let output = program(&dirs, &off, &["monitor", "sync-time", "--samples", "2", "--json"]);
    let found = json(&output);
    assert_ne!(output.status.code(), Some(0));
    assert_eq!((found["done"].as_bool(), found["action"].as_str()), (Some(false), Some("step")), "{found}");
    assert!(found["refused"].as_str().is_some(), "{found}");
    let alone = program(&dirs, &[server(250)], &["monitor", "sync-time", "--samples", "2", "--json"]);
    assert_eq!((alone.status.code(), json(&alone)["action"].as_str()), (Some(2), Some("refuse")));
}

#[test]
fn a10_a_service_that_lives_is_not_restarted() {
    let Some(chronyd) = Chronyd::start("") else { return };
    let dirs = tempfile::tempdir().unwrap();
    let socket = chronyd.1.path().join("chronyd.sock").display().to_string();
    let arguments = [
        "monitor",
        "service",
        "--json",
        "--no-measurement",
        "--restart",
        "chrony",
        "--chrony-socket",
        &socket,
    ];
    let output = program(&dirs, &[server(0)], &arguments);
    let found = json(&output);
    assert_eq!((output.status.code(), found["restarted"].as_bool()), (Some(2), Some(false)), "{found}");
    assert!(found["restart"].is_null() && found["service"]["name"] == "chronyd", "{found}");
}

#[test]
fn a11_three_answers_of_one_server_are_no_quorum() {
    let found = drift(&[server(0)]);
    assert_eq!((found.answers.len(), found.status), (3, Status::Warning));
    let error = Some(ClockError { offset: Span::from_secs(1), early: Span::ZERO, late: Span::ZERO });
    let decided =
        Policy::default().decide(error, found.agreeing.len() as u32, None, RawInstant::from_nanos(0));
    assert_eq!(decided, Decision::Refuse(Refusal::Quorum { agreeing: 1, wanted: 2 }));
}

#[test]
fn a12_one_gross_value_does_not_poison_the_result() {
    let mut answers: Vec<Answer> = (0..4).map(|i| answer(&format!("s{i}"), i * 10)).collect();
    answers.push(answer("gross", 1_300_000_000_000_000));
    let found = Consensus::of(&answers).unwrap();
    assert!(found.error.offset.abs() < Span::from_millis(1));
    assert_eq!(found.falsetickers, ["gross"]);
}

#[test]
fn a13_replies_that_answer_nothing_or_cannot_be_true_are_not_believed() {
    let forged = changed(0, Duration::ZERO, |p| p.origin = NtpTimestamp::from_bits(7));
    let unsynchronised = changed(0, Duration::ZERO, |p| p.leap = None);
    let kissed = changed(0, Duration::ZERO, |p| p.stratum = 0);
    let far = changed(0, Duration::ZERO, |p| {
        p.root_dispersion = Packet::parse(&[0xff; 48]).unwrap().root_dispersion
    });
    let found = heard(&[forged, unsynchronised, kissed, far], 1);
    assert_eq!((found.answers.len(), found.silent.len()), (0, 4), "{found:?}");
}

#[test]
fn a14_the_worst_faults_are_the_loudest() {
    let days = 3 * 86_400_000;
    let found = drift(&[server(days), server(days)]);
    assert_eq!((found.status, found.quality), (Status::Critical, Some(Level::Critical)));
    assert!((found.offset_ns.unwrap() - days * 1_000_000).abs() < 50_000_000, "{found:?}");
}

#[test]
fn a15_health_is_answered_from_what_is_known_and_asks_nobody() {
    let (_outlets, door) = chronotick::daemon::Outlets::within().unwrap();
    let health = chronotick::monitor::health(&door, &Profile::default(), &Default::default());
    assert_eq!((health.state, health.status), (Backing::Warmup, Status::Unknown));
    assert_eq!(health.offset_ns, None);
}

#[test]
fn a16_one_clock_has_one_answer_and_a_reason_is_given_once() {
    let judged = Judgement::of(&sample(60.0, Backing::Holdover), &Profile::default());
    let mut reasons = judged.reasons.clone();
    reasons.dedup();
    assert_eq!((reasons.len(), judged.status), (judged.reasons.len(), Status::Critical));
}

#[test]
fn a17_the_types_of_the_health_document_do_not_change() {
    let profile = Profile::default();
    let known = Health::new(Judgement::of(&sample(1.0, Backing::Synced), &profile), "default", false);
    let (mut known, unknown) = (known.clone(), serde_json::to_value(known).unwrap());
    known.offset_ns = Some(5);
    known.bound_ns = Some(6);
    let known = serde_json::to_value(known).unwrap();
    assert!(unknown["offset_ns"].is_null() && known["offset_ns"].is_i64() && known["bound_ns"].is_i64());
    assert_eq!(unknown.as_object().unwrap().len(), known.as_object().unwrap().len());
}

#[test]
fn a18_what_is_remembered_is_bounded() {
    let sync = simulated(1).build();
    (0..150).for_each(|_| drop(sync.force()));
    assert_eq!(sync.history().len(), 100);
}

#[test]
fn a19_servers_that_smear_and_servers_that_do_not_are_warned_about() {
    let servers = "time.google.com,time.nist.gov,pool.ntp.org".to_owned();
    let overrides = Overrides { ntp_servers: Some(servers), ..Overrides::default() };
    let loaded = Config::load(&overrides, &|_| None, None).unwrap();
    assert!(loaded.warnings.iter().any(|w| w.to_string().contains("smear")), "{:?}", loaded.warnings);
    let defaults = Config::load(&Overrides::default(), &|_| None, None).unwrap();
    assert!(defaults.warnings.is_empty(), "{:?}", defaults.warnings);
}

#[test]
fn a20_a_correction_has_quorum_cooldown_panic_limit_and_dry_run() {
    let (policy, start) = (Policy::default(), RawInstant::from_nanos(0));
    let off = |ms| Some(ClockError { offset: Span::from_millis(ms), early: Span::ZERO, late: Span::ZERO });
    let refused = |decision| matches!(decision, Decision::Refuse(_));
    assert!(refused(policy.decide(off(150), 1, None, start)));
    assert!(refused(policy.decide(off(150), 2, Some(start), start + Span::from_secs(10))));
    assert!(refused(policy.decide(off(2_000_000), 5, None, start)));
    assert!(!refused(policy.decide(off(150), 2, None, start)));
    let dirs = tempfile::tempdir().unwrap();
    let output =
        program(&dirs, &[server(250), server(250)], &["monitor", "sync-time", "--dry-run", "--json"]);
    let found = json(&output);
    assert_eq!((found["dry_run"].as_bool(), found["done"].as_bool()), (Some(true), Some(false)), "{found}");
}

fn simulated(offset_ms: i64) -> Builder {
    let clock = Simulated { offset: Span::from_millis(offset_ms), drift_ppm: 0.0 };
    TimeSynchronizer::builder().simulated(clock).drift_threshold(Span::from_millis(10))
}

#[test]
fn b01_a_correction_does_not_double_the_error_that_it_reports() {
    let status = simulated(25).build().force();
    assert!(status.residual_ns.unwrap().abs() < 200_000, "{status:?}");
    assert_eq!(status.quality, Some(Level::Excellent));
}

#[test]
fn b02_corrections_go_the_right_way_and_do_not_run_away() {
    let sync = simulated(25).build();
    for _ in 0..4 {
        let applied = sync.force().applied_ns;
        assert!((applied - 25_000_000).abs() < 200_000, "{applied}");
    }
}

#[test]
fn b03_where_nobody_answers_nothing_is_reported_and_nothing_corrected() {
    let (_kept, silent) = black_hole();
    let names = [silent.to_string()];
    let sync =
        TimeSynchronizer::builder().servers(&names).unwrap().timeout(Span::from_millis(100)).tries(1).build();
    for _ in 0..3 {
        let status = sync.force();
        assert_eq!((status.offset_ns, status.applied_ns, status.quality), (None, 0, None));
        assert_eq!(status.status, Status::Unknown);
    }
}

#[test]
fn b04_an_offset_of_exactly_zero_is_an_answer() {
    let found = Consensus::of(&[answer("a", 0), answer("b", 0)]).unwrap();
    assert_eq!(found.error.offset, Span::ZERO);
    assert_eq!(Consensus::of(&[]), Err(NoConsensus::NoAnswer));
}

#[test]
fn b05_the_documented_configuration_loads() {
    let text = r#"{"amg_timer": {"time_synchronization": {"enabled": true, "sync_interval_minutes": 5,
        "drift_threshold_ms": 20, "enable_correction": true, "ntp": {"enabled": true, "servers":
        ["pool.ntp.org", "time.nist.gov", "time.google.com", "time.cloudflare.com"], "timeout_seconds": 10, "max_retries": 3}}}}"#;
    let summary = TimeSynchronizer::from_json(text).unwrap().build().summary();
    assert_eq!(summary.drift_threshold_ns, 20_000_000);
}

#[test]
fn b06_every_callback_is_called_also_when_attached_after_the_start() {
    let sync = simulated(25).interval(Span::from_secs(3_600)).build();
    sync.start().unwrap();
    let (told, heard) = channel();
    let (a, b) = (told.clone(), told);
    sync.on_sync(move |_| a.send("sync").unwrap_or_default()).unwrap();
    sync.on_correction(move |_| b.send("correction").unwrap_or_default()).unwrap();
    sync.reset();
    sync.force();
    let mut names: Vec<_> = (0..2).map(|_| heard.recv_timeout(SOON).unwrap()).collect();
    names.extend(heard.recv_timeout(Duration::from_millis(500)));
    assert!(names.contains(&"sync") && names.contains(&"correction"), "{names:?}");
}

#[test]
fn b07_a_callback_that_panics_stops_nothing() {
    let sync = simulated(25).correction(false).build();
    sync.on_alert(|_| panic!("this callback panics on purpose")).unwrap();
    let (told, heard) = channel();
    sync.on_sync(move |status| told.send(status.checks).unwrap_or_default()).unwrap();
    sync.force();
    sync.force();
    assert_eq!((heard.recv_timeout(SOON), heard.recv_timeout(SOON)), (Ok(1), Ok(2)));
}

#[test]
fn b08_a_large_error_is_corrected_in_steps_and_an_absurd_one_not_at_all() {
    let sync = simulated(37_000).build();
    let first = sync.force();
    assert_eq!(first.applied_ns, 1_000_000_000);
    assert!(first.residual_ns.unwrap() < first.offset_ns.unwrap(), "{first:?}");
    assert_eq!(simulated(2_000_000).build().force().applied_ns, 0);
}

#[test]
fn b09_two_liars_among_five_lose_and_a_split_decides_nothing() {
    let mut answers: Vec<Answer> = (0..3).map(|i| answer(&format!("honest {i}"), i * 50)).collect();
    answers.extend([answer("liar 1", 10_000_000), answer("liar 2", 10_000_000)]);
    assert!(Consensus::of(&answers).unwrap().error.bound() < Span::from_millis(1));
    // Two against two, however well the liars agree: no majority. Two against one cannot be told by anybody.
    assert!(matches!(Consensus::of(&answers[1..]), Err(NoConsensus::NoMajority(_))));
    let strata = [0, 16].map(|stratum| changed(0, Duration::ZERO, move |p| p.stratum = stratum));
    assert!(heard(&strata, 1).answers.is_empty());
}

#[test]
fn b10_levels_are_never_averaged() {
    let judged = |ms, state| Judgement::of(&sample(ms, state), &Profile::named("leadville").unwrap()).status;
    assert_eq!(judged(60.0, Backing::Synced), Status::Critical);
    assert_eq!(judged(4.0, Backing::NoData), Status::Unknown);
}

#[test]
fn b11_what_is_shown_as_corrected_is_what_corrected_time_does() {
    let sync = simulated(40).build();
    let applied = Span::from_nanos(sync.force().applied_ns);
    assert!(applied > Span::from_millis(39), "{applied}");
    let before = ClockPair::now().system;
    let corrected = sync.corrected_time() - applied;
    let after = ClockPair::now().system;
    let little = Span::from_millis(1);
    assert!((before - little..=after + little).contains(&corrected), "{before:?} {corrected:?} {after:?}");
}

#[test]
fn b12_nothing_claims_to_set_the_system_clock_that_does_not() {
    let dirs = tempfile::tempdir().unwrap();
    let output = program(&dirs, &[server(250), server(250)], &["monitor", "sync-time", "--samples", "2"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nothing was done"), "{said}");
}

#[test]
fn b13_errors_of_both_signs_do_not_average_to_nothing() {
    let mut monitor = Monitor::new(Profile::default());
    let raised = (0..4i64).any(|i| {
        let one = Sample {
            at: RawInstant::from_nanos(i),
            ..sample(if i % 2 == 0 { 40.0 } else { -40.0 }, Backing::Synced)
        };
        monitor.take(&one).iter().any(|e| matches!(e.what, What::AlertRaised { .. }))
    });
    assert!(raised);
}

#[test]
fn b14_starting_twice_is_starting_once() {
    let sync = simulated(1).interval(Span::from_secs(3_600)).build();
    assert!(sync.start().unwrap() && !sync.start().unwrap());
    assert!(sync.stop() && !sync.stop());
}

#[test]
fn b15_numbers_are_whole_nanoseconds_in_one_unit() {
    let status = serde_json::to_value(simulated(15).build().force()).unwrap();
    for (key, value) in status.as_object().unwrap() {
        assert!(!value.is_f64(), "{key}: {value}");
        assert!(!key.ends_with("_ms") && !key.ends_with("_s"), "{key}");
    }
}

#[test]
fn b16_signs_edges_and_outcomes_are_asserted() {
    let leadville = Profile::named("leadville").unwrap();
    assert_eq!(leadville.level(Span::from_nanos(4_999_999)), Level::Excellent);
    for (ms, level) in [(5, Level::Good), (10, Level::Fair), (25, Level::Poor), (50, Level::Critical)] {
        assert_eq!(leadville.level(Span::from_millis(ms)), level);
        assert_eq!(leadville.level(Span::from_millis(-ms)), level);
    }
    let sync = simulated(-25).build();
    assert!(sync.force().applied_ns < 0, "a clock that is ahead is set back");
}
