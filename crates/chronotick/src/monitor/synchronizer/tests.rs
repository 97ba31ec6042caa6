//! The behaviours that users of an older synchroniser had tests for, numbered as they were there; where the sense of one was
//! changed its name says so. The faults that its tests did not find are in `tests/monitor_faults.rs`.

use super::*;
use crate::monitor::exchange::tests::server;
use chronotick_monitor::Level;
use std::sync::mpsc::channel;

fn simulated(offset_ms: i64) -> Builder {
    let clock = Simulated { offset: Span::from_millis(offset_ms), drift_ppm: 0.0 };
    TimeSynchronizer::builder().simulated(clock).drift_threshold(Span::from_millis(10))
}

const SOON: Duration = Duration::from_secs(60);

/// That corrected time is `ahead` of the system clock, to a millisecond, however long the two readings of it take.
fn assert_ahead(sync: &TimeSynchronizer, ahead: Span) {
    let before = ClockPair::now().system;
    let corrected = sync.corrected_time() - ahead;
    let after = ClockPair::now().system;
    let little = Span::from_millis(1);
    assert!((before - little..=after + little).contains(&corrected), "{before:?} {corrected:?} {after:?}");
}

#[test]
fn b01_defaults_are_five_minutes_twenty_milliseconds_servers_and_correction() {
    let summary = TimeSynchronizer::builder().build().summary();
    assert!(summary.enabled && summary.correction_enabled && summary.status.ntp_enabled);
    assert_eq!((summary.sync_interval_ns, summary.drift_threshold_ns), (300_000_000_000, 20_000_000));
}

#[test]
fn b02_and_b14_every_setting_is_kept_and_shown_in_the_summary() {
    let sync = TimeSynchronizer::builder()
        .enabled(false)
        .ntp(false)
        .interval(Span::from_secs(60))
        .drift_threshold(Span::from_millis(7))
        .correction(false)
        .profile(Profile::named("1ms").unwrap())
        .build();
    let summary = sync.summary();
    assert!(!summary.enabled && !summary.correction_enabled && !summary.status.ntp_enabled);
    assert_eq!((summary.sync_interval_ns, summary.drift_threshold_ns), (60_000_000_000, 7_000_000));
    assert_eq!(summary.profile, "1ms");
    assert!(!sync.start().unwrap(), "what is not enabled does not start");
}

#[test]
fn b03_a_fresh_status_knows_nothing_rather_than_a_drift_of_zero() {
    let status = TimeSynchronizer::builder().build().status();
    assert_eq!((status.checks, status.offset_ns, status.quality), (0, None, None));
    assert_eq!(status.status, chronotick_monitor::Status::Unknown);
}

#[test]
fn b05_it_starts_once_and_stops() {
    let sync = simulated(1).interval(Span::from_secs(3_600)).build();
    let (told, heard) = channel();
    sync.on_sync(move |status| told.send(status.checks).unwrap()).unwrap();
    assert!(sync.start().unwrap());
    assert!(!sync.start().unwrap(), "a second start orphans nothing");
    assert_eq!(heard.recv_timeout(SOON), Ok(1));
    assert!(sync.status().running && sync.stop() && !sync.stop());
    assert!(!sync.status().running && sync.start().unwrap());
    assert_eq!(heard.recv_timeout(SOON), Ok(2));
}

#[test]
fn b06_a_forced_check_without_servers_is_counted_told_once_and_makes_nothing_up() {
    let sync = TimeSynchronizer::builder().ntp(false).build();
    let (told, heard) = channel();
    sync.on_sync(move |status| told.send(status.clone()).unwrap()).unwrap();
    let status = sync.force();
    assert_eq!((status.checks, status.offset_ns, status.last_sync.as_deref()), (1, None, None));
    assert_eq!(heard.recv_timeout(SOON), Ok(status));
    assert!(heard.try_recv().is_err());
    assert_eq!(sync.status().applied_ns, 0);
}

#[test]
fn b07_a_drift_beyond_the_threshold_alerts_once_without_correction() {
    let sync = simulated(15).correction(false).build();
    let (told, heard) = channel();
    sync.on_alert(move |event| told.send(event.clone()).unwrap()).unwrap();
    sync.force();
    sync.force();
    let alert = heard.recv_timeout(SOON).unwrap();
    let What::AlertRaised { value_ns: Some(value), .. } = alert.what else { panic!("{alert:?}") };
    assert!((value - 15_000_000).abs() < 200_000 && alert.simulation, "{alert:?}");
    assert!(heard.recv_timeout(Duration::from_millis(200)).is_err(), "it is raised once");
}

#[test]
fn b08_a_correction_has_the_sign_and_the_size_of_the_offset() {
    for offset in [25, -25] {
        let sync = simulated(offset).build();
        let (told, heard) = channel();
        sync.on_correction(move |by| told.send(by).unwrap()).unwrap();
        let status = sync.force();
        let by = heard.recv_timeout(SOON).unwrap();
        assert!((by - Span::from_millis(offset)).abs() < Span::from_micros(200), "{by}");
        assert_eq!(status.applied_ns, by.as_nanos());
        assert!(status.residual_ns.unwrap().abs() < 200_000 && status.quality == Some(Level::Excellent));
    }
}

#[test]
fn b09_corrected_time_is_ahead_of_a_clock_that_is_behind() {
    let sync = simulated(100).build();
    sync.force();
    assert_ahead(&sync, Span::from_millis(100));
}

#[test]
fn b10_a_reset_forgets_the_correction_and_tells() {
    let sync = simulated(25).build();
    sync.force();
    let (told, heard) = channel();
    sync.on_correction(move |by| told.send(by).unwrap()).unwrap();
    sync.reset();
    let by = heard.recv_timeout(SOON).unwrap();
    assert!((by + Span::from_millis(25)).abs() < Span::from_micros(200), "{by}");
    assert_eq!(sync.status().applied_ns, 0);
    assert_ahead(&sync, Span::ZERO);
}

#[test]
fn b11_to_b13_levels_follow_the_drift_alone() {
    for (offset, level) in [
        (2, Level::Excellent),
        (7, Level::Good),
        (15, Level::Fair),
        (40, Level::Poor),
        (100, Level::Critical),
    ] {
        assert_eq!(simulated(offset).correction(false).build().force().quality, Some(level), "{offset} ms");
    }
}

fn asking(servers: &[crate::config::ServerAddress]) -> Builder {
    let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
    TimeSynchronizer::builder().servers(&names).unwrap().timeout(Span::from_secs(5)).tries(1)
}

#[test]
fn b15_and_b16_bad_servers_are_named_at_once() {
    let why = TimeSynchronizer::builder().servers(["ntp://x"]).unwrap_err();
    assert!(why.to_string().contains("without a scheme"), "{why}");
}

#[test]
fn b17_to_b22_each_server_is_accounted_for() {
    let ahead = |ms| server(Span::from_millis(ms), Duration::ZERO, |_| ());
    let closed = chronotick_peers::free_address().to_string().parse().unwrap();
    let sync = asking(&[ahead(4_800), ahead(4_800), ahead(4_800), closed]).build();
    let status = sync.force();
    assert_eq!((status.ntp.asked, status.ntp.answered, status.ntp.agreeing.len()), (4, 3, 3), "{status:?}");
    assert!(status.ntp.silent[0].why.contains("nobody listens"), "{status:?}");
    let offset = status.offset_ns.unwrap();
    assert!((4_700_000_000..4_900_000_000).contains(&offset), "{offset}");
    assert_eq!(status.ntp.stratum, Some(1));
    assert!(status.last_sync.is_some() && !status.simulation);
}

#[test]
fn b23_it_runs_and_is_forced_against_servers_on_loopback_instead_of_the_internet() {
    let truth = || server(Span::ZERO, Duration::ZERO, |_| ());
    let sync = asking(&[truth(), truth()]).interval(Span::from_secs(3_600)).build();
    let (told, heard) = channel();
    sync.on_sync(move |status| told.send(status.checks).unwrap()).unwrap();
    sync.start().unwrap();
    heard.recv_timeout(SOON).unwrap();
    sync.force();
    assert!(sync.status().checks >= 2 && sync.status().last_sync.is_some());
    assert_eq!(sync.history().len() as u64, sync.status().checks);
}

#[test]
fn the_history_keeps_a_hundred_checks_and_its_statistics_do_not_cancel() {
    let sync = simulated(40).correction(false).build();
    for _ in 0..HISTORY + 5 {
        sync.force();
    }
    let statistics = sync.statistics();
    assert_eq!((sync.history().len(), statistics.known), (HISTORY, HISTORY));
    assert!((statistics.mean_abs_ns.unwrap() - 40_000_000).abs() < 200_000 && statistics.simulation);
}

#[test]
fn the_documented_configuration_loads_and_mistakes_in_it_are_named() {
    let section =
        |inside: &str| format!(r#"{{"amg_timer": {{"time_synchronization": {{{inside}}}, "other": 1}}}}"#);
    let whole = section(
        r#""enabled": true, "sync_interval_minutes": 2.5, "drift_threshold_ms": 20, "enable_correction": false,
           "ntp": {"enabled": true, "servers": ["pool.ntp.org", "time.nist.gov"], "timeout_seconds": 10, "max_retries": 3}"#,
    );
    let summary = TimeSynchronizer::from_json(&whole).unwrap().build().summary();
    assert_eq!((summary.sync_interval_ns, summary.correction_enabled), (150_000_000_000, false));
    let why = |inside: &str| TimeSynchronizer::from_json(&section(inside)).unwrap_err().to_string();
    assert!(why(r#""drift_treshold_ms": 20"#).contains("drift_treshold_ms"));
    assert!(why(r#""sync_interval_minutes": 0"#).contains("must be above 0"));
    assert!(why(r#""ntp": {"servers": ["a b"]}"#).contains("a b"));
    assert!(TimeSynchronizer::from_json("{}").is_err() && TimeSynchronizer::from_json("[").is_err());
}

#[test]
fn devices_are_followed_on_corrected_time() {
    let sync = simulated(1).build();
    let host = sync.corrected_time();
    let device = Timestamp::from_nanos(5);
    let pair = chronotick_monitor::Pair { device, host, round_trip: Span::from_millis(4) };
    sync.devices(|devices| devices.feed("timer", pair)).unwrap();
    let (found, error) = sync.devices(|devices| devices.get("timer").unwrap().to_host(device)).unwrap();
    assert!((found - host).abs() <= error);
}
