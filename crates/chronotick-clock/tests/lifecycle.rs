//! The life of a page file: who may make it, who finds it, and what readers say when its daemon is gone, comes back,
//! or was never there.

use chronotick_clock::{
    Clock, CreateError, OpenError, Reason, Solution, Span, State, Timestamp, Writer, page_path, raw_now,
};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("chronotick-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
    fn page(&self) -> PathBuf {
        page_path(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A solution of this moment, good for a minute.
fn synced(utc: i64) -> Solution {
    let at = raw_now();
    Solution {
        utc: Timestamp::from_nanos(utc),
        early: Span::from_millis(1),
        late: Span::from_millis(1),
        holdover_at: at + Span::from_secs(60),
        unsynced_at: at + Span::from_secs(120),
        ..Solution::unknown(at, State::Synced, Reason::Agreement)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_page_is_readable_by_all_and_writable_by_its_daemon() {
    let dir = Scratch::new("mode");
    let path = page_path(&dir.0.join("deeper/below"));
    let _writer = Writer::create(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
    assert_eq!(mode(&path.with_extension("lock")), 0o600);
    let clock = Clock::open_at(&path).unwrap();
    assert_eq!((clock.now().state, clock.now().reason), (State::Warmup, Reason::NoMeasurement));
    let status = clock.page_status();
    assert_eq!((status.path, status.writer, status.publications), (Some(path), std::process::id(), 1));
}

#[test]
fn a_second_daemon_is_refused_and_told_of_the_first() {
    let dir = Scratch::new("second");
    let first = Writer::create(&dir.page()).unwrap();
    let error = Writer::create(&dir.page()).unwrap_err();
    assert!(matches!(error, CreateError::Busy { pid, .. } if pid == std::process::id()), "{error}");
    drop(first);
    Writer::create(&dir.page()).unwrap();
}

#[test]
fn what_a_killed_daemon_left_is_no_hindrance() {
    let dir = Scratch::new("left");
    fs::write(dir.page().with_extension("new"), "half a page").unwrap();
    fs::write(dir.page().with_extension("lock"), "").unwrap();
    fs::write(dir.page(), "not a page").unwrap();
    let _writer = Writer::create(&dir.page()).unwrap();
    Clock::open_at(&dir.page()).unwrap();
}

#[test]
fn directories_in_which_others_could_exchange_the_page_are_refused() {
    let dir = Scratch::new("unsafe");
    let open = dir.0.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let link = dir.0.join("link");
    symlink(&dir.0, &link).unwrap();
    for refused in [open, link] {
        let error = Writer::create(&page_path(&refused)).unwrap_err();
        assert!(matches!(error, CreateError::Unsafe { .. }), "{error}");
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let dir = Scratch::new("links");
    let precious = dir.0.join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, dir.page().with_extension("new")).unwrap();
    symlink(&precious, dir.page()).unwrap();
    assert!(matches!(Clock::open_at(&dir.page()), Err(OpenError::Io { .. })));
    let _writer = Writer::create(&dir.page()).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!dir.page().symlink_metadata().unwrap().is_symlink());

    let other = Scratch::new("locklink");
    symlink(&precious, other.page().with_extension("lock")).unwrap();
    assert!(matches!(Writer::create(&other.page()), Err(CreateError::Io { .. })));
}

#[test]
fn a_missing_page_is_told_with_the_way_to_one() {
    let dir = Scratch::new("missing");
    let error = Clock::open_at(&dir.page()).unwrap_err();
    assert!(matches!(&error, OpenError::Missing { looked } if looked == &[dir.page()]), "{error}");
    assert!(
        error.to_string().contains(dir.page().to_str().unwrap())
            && error.to_string().contains("chronotick run")
    );
}

#[test]
fn other_files_and_other_versions_are_refused() {
    let dir = Scratch::new("refused");
    let refusal = |content: &[u8]| {
        fs::write(dir.page(), content).unwrap();
        Clock::open_at(&dir.page()).unwrap_err()
    };
    assert!(matches!(refusal(b""), OpenError::NotAPage { .. }));
    assert!(matches!(refusal(&[7; 5000]), OpenError::NotAPage { .. }));
    let head = |version: u64| [*b"CHRTICK1", version.to_ne_bytes()].concat();
    assert!(matches!(refusal(&head(2)), OpenError::NotAPage { .. }), "cut short");
    let error = refusal(&head(1));
    assert!(matches!(error, OpenError::Version { found: 1, .. }), "{error}");
    fs::remove_file(dir.page()).unwrap();
    fs::create_dir(dir.page()).unwrap();
    assert!(matches!(Clock::open_at(&dir.page()), Err(OpenError::NotAPage { .. })));
}

#[test]
fn a_page_from_another_boot_is_never_fresh() {
    let dir = Scratch::new("boot");
    let mut writer = Writer::create(&dir.page()).unwrap();
    writer.publish(&synced(1_000));
    let mut bytes = fs::read(dir.page()).unwrap();
    bytes[16] ^= 1;
    let copy = Scratch::new("boot-before");
    fs::write(copy.page(), bytes).unwrap();
    let clock = Clock::open_at(&copy.page()).unwrap();
    let reading = clock.now();
    assert_eq!((reading.state, reading.reason), (State::Unsynced, Reason::Rebooted));
    assert!(reading.half_width() > Span::from_secs(1 << 32), "{reading:?}");
    assert_eq!(clock.page_status().writer, std::process::id());
}

#[test]
fn a_stopped_daemon_is_noticed_at_once_and_its_successor_followed() {
    let dir = Scratch::new("restart");
    let mut first = Writer::create(&dir.page()).unwrap();
    first.publish(&synced(1_000_000_000_000));
    let clocks = [(); 2].map(|()| Clock::open_at(&dir.page()).unwrap());
    assert!(clocks.iter().all(|clock| clock.now().state == State::Synced));
    drop(first);
    let reading = clocks[0].now();
    assert_eq!((reading.state, reading.reason), (State::Unsynced, Reason::Stopped));
    assert!(reading.max_error() < Span::from_millis(2), "the bound still holds: {reading:?}");
    let mut second = Writer::create(&dir.page()).unwrap();
    second.publish(&synced(2_000_000_000_000));
    // This one has not looked yet; the other looks again after a second.
    let reading = clocks[1].now();
    assert_eq!(reading.state, State::Synced, "{reading:?}");
    assert!(reading.estimate >= Timestamp::from_nanos(2_000_000_000_000));
}

#[test]
fn a_page_nobody_publishes_any_more_falls_to_holdover_and_unsynced() {
    let mut writer = Writer::in_memory().unwrap();
    let clock = Clock::of(&writer);
    let published = synced(1_000_000_000_000);
    writer.publish(&published);
    let after = |secs| clock.at(published.at + Span::from_secs(secs));
    assert_eq!(after(1).state, State::Synced);
    assert_eq!((after(61).state, after(61).reason), (State::Holdover, Reason::PublisherSilent));
    assert_eq!((after(121).state, after(121).reason), (State::Unsynced, Reason::PublisherDead));
    assert!(after(-1).estimate < published.utc);
}

#[test]
fn the_other_ways_to_read_agree_with_now() {
    let mut writer = Writer::in_memory().unwrap();
    let clock = Clock::of(&writer);
    writer.publish(&synced(1_000_000_000_000));
    let before = clock.now();
    let (between, _system) = clock.now_and_system();
    let checked = clock.now_checked();
    assert!(before.estimate <= between.estimate && between.estimate <= checked.estimate);
    assert_eq!((between.state, checked.state), (State::Synced, State::Synced));
    assert!(between.half_width() >= before.half_width());
    fn shared_by_threads<T: Send + Sync>(_: &T) {}
    shared_by_threads(&clock);
}
