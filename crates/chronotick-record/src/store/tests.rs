use super::*;
use crate::row::{Event, Sample};
use crate::{History, HistoryError, HistoryReader, NotKnown};
use chronotick_clock::{Offset, Rate, RawInstant, Span, State};

const BEGAN: Timestamp = Timestamp::from_nanos(1_790_000_000_000_000_000);

fn at(seconds: i64) -> Timestamp {
    BEGAN + Span::from_secs(seconds)
}

fn run() -> Run {
    Run { began: BEGAN, ended: BEGAN, boot: u64::MAX, version: "1".into(), configuration: "d".into() }
}

fn store(dir: &Path) -> Store {
    Store::new(
        dir,
        run(),
        Keep { everything: Span::from_secs(86_400), summaries: Span::from_secs(10 * 86_400) },
    )
}

/// A clock that is 5 ms behind and loses 10 ppm, `lag` being what it has been set ahead by.
fn sample(seconds: i64, lag: Span) -> Row {
    let truth = at(seconds);
    let system = truth - Span::from_millis(5) - Span::from_micros(10 * seconds) + lag;
    Row::Sample(Sample {
        system,
        raw: RawInstant::from_nanos(seconds * 1_000_000_000),
        offset: Offset::between(truth, system),
        sigma: Span::from_micros(10),
        early: Span::from_micros(100),
        late: Span::from_micros(200),
        rate: Rate::ZERO,
        growth: Rate::from_ppm(1.0),
        state: State::Synced,
        source: "ntp".into(),
        epoch: 0,
        stepped: false,
    })
}

fn event(text: &str) -> Row {
    Row::Event(Event { utc: BEGAN, kind: "state".into(), source: None, text: text.into() })
}

fn offset_at(dir: &Path, reading: Timestamp) -> Result<crate::PastOffset, NotKnown> {
    History::open_read_only(dir).expect("opens").system_offset_at(reading)
}

#[test]
fn what_was_is_between_two_samples() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows: Vec<Row> = (0..20).map(|i| sample(10 * i, Span::ZERO)).collect();
    store(dir.path()).write(&rows, at(200)).expect("written");
    let reading = at(95) - Span::from_millis(5) - Span::from_micros(950);
    let past = offset_at(dir.path(), reading).expect("is known");
    assert!((past.offset.correction() - Span::from_micros(5950)).abs() <= Span::from_nanos(5), "{past:?}");
    assert!((past.early - Span::from_micros(105)).abs() < Span::from_nanos(50), "{past:?}");
    assert_eq!((past.how, past.step, past.times), (crate::How::Interpolated, None, 1));
    assert_eq!(offset_at(dir.path(), at(195)).expect("is known").how, crate::How::Edge);
    assert!(matches!(offset_at(dir.path(), at(-60)), Err(NotKnown::Before { .. })));
    assert!(matches!(offset_at(dir.path(), at(300)), Err(NotKnown::After { .. })));
    assert!(matches!(offset_at(dir.path(), at(30_000)), Err(NotKnown::After { .. })));
}

#[test]
fn a_step_between_samples_is_said_and_the_interval_is_the_hull() {
    let dir = tempfile::tempdir().expect("a directory");
    let set_ahead = |i: i64| if i < 10 { Span::ZERO } else { Span::from_secs(60) };
    let rows: Vec<Row> = (0..20).map(|i| sample(10 * i, set_ahead(i))).collect();
    store(dir.path()).write(&rows, at(200)).expect("written");
    // Between 90 and 100 s: shown before the step, or after it.
    let past = offset_at(dir.path(), at(93)).expect("is known");
    assert!((past.step.expect("is said") - Span::from_secs(60)).abs() < Span::from_millis(1), "{past:?}");
    assert_eq!(past.times, 1);
    // Nobody has ever read these.
    let Err(NotKnown::SteppedOver { by }) = offset_at(dir.path(), at(120)) else {
        panic!("was stepped over")
    };
    assert!((by - Span::from_secs(60)).abs() < Span::from_millis(1));
}

#[test]
fn a_reading_that_was_shown_twice_has_the_hull_of_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let set_back = |i: i64| if i < 30 { Span::ZERO } else { Span::from_secs(-100) };
    let rows: Vec<Row> = (0..60).map(|i| sample(10 * i, set_back(i))).collect();
    store(dir.path()).write(&rows, at(600)).expect("written");
    let past = offset_at(dir.path(), at(255)).expect("is known");
    assert_eq!(past.times, 2);
    let (low, high) = (past.offset.correction() - past.early, past.offset.correction() + past.late);
    assert!(low < Span::from_millis(8) && high > Span::from_secs(100), "{past:?}");
}

#[test]
fn a_full_disk_stops_nothing_and_leaves_a_gap() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut full = store(dir.path());
    full.most_pages = Some(60);
    let long = event(&"x".repeat(100_000));
    let mut failures = 0;
    for i in 0..10 {
        failures += u32::from(full.write(&[long.clone(), event("y")], at(i)).is_err());
    }
    assert_eq!(failures, 1, "the same trouble is told once");
    full.most_pages = None;
    full.write(&[event("again")], at(20)).expect("there is room again");
    let history = History::open_read_only(dir.path()).expect("opens");
    let gaps = history.gaps(BEGAN, at(100)).expect("read");
    assert_eq!((gaps.len(), gaps[0].until), (1, at(20)));
    assert!(gaps[0].lost >= 16 && gaps[0].why.contains("full"), "{gaps:?}");
    assert_eq!(history.events(BEGAN, at(100)).expect("read").last().expect("some").text, "again");
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(
        dir.path().join(FILE),
        b"this is no database, and long enough to be looked at ".repeat(40),
    )
    .expect("written");
    store(dir.path()).write(&[event("anew")], at(5)).expect("written");
    let names: Vec<String> = std::fs::read_dir(dir.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("history.damaged-")), "{names:?}");
    let history = History::open_read_only(dir.path()).expect("opens");
    assert!(history.gaps(BEGAN, at(100)).expect("read")[0].why.contains("damaged"));
    assert_eq!(history.events(BEGAN, at(100)).expect("read").len(), 1);
}

#[test]
fn a_file_that_is_damaged_while_in_use_is_set_aside() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut victim = store(dir.path());
    victim.write(&[event(&"x".repeat(200_000))], at(1)).expect("written");
    drop(victim.open.take());
    let path = dir.path().join(FILE);
    let mut bytes = std::fs::read(&path).expect("read");
    let from = 4096;
    bytes[from..].iter_mut().for_each(|byte| *byte = 0xA5);
    std::fs::write(&path, bytes).expect("written");
    victim.write(&[event("after")], at(2)).expect("goes on");
    let history = History::open_read_only(dir.path()).expect("opens");
    assert_eq!(history.events(BEGAN, at(100)).expect("read")[0].text, "after");
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let newer = Connection::open(dir.path().join(FILE)).expect("opens");
    newer.pragma_update(None, "user_version", schema::VERSION + 1).expect("set");
    drop(newer);
    let refused = store(dir.path()).write(&[event("x")], at(1)).expect_err("is refused");
    assert!(matches!(refused, StoreError::Newer { .. }), "{refused}");
    assert!(matches!(History::open_read_only(dir.path()), Err(HistoryError::Version { .. })));
}

#[test]
fn what_is_old_is_summarised_and_what_is_too_old_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = store(dir.path());
    let hour: Vec<Row> = (0..360).map(|i| sample(10 * i, Span::ZERO)).collect();
    store.write(&hour, at(3600)).expect("written");
    store.forget(at(3600 + 86_400)).expect("summarised");
    let history = History::open_read_only(dir.path()).expect("opens");
    let kept = history.samples(BEGAN - Span::from_secs(10), at(4000)).expect("read");
    assert!((60..=62).contains(&kept.len()), "{}", kept.len());
    let past = history.system_offset_at(at(1234)).expect("is known still");
    assert!(
        (past.offset.correction() - Span::from_micros(5000 + 12_340)).abs() < Span::from_micros(20),
        "{past:?}"
    );
    store.forget(at(3600 + 11 * 86_400)).expect("forgotten");
    assert!(history.samples(BEGAN - Span::from_secs(10), at(4000)).expect("read").is_empty());
}

/// Nothing of what it took lately is old, whatever its readings say.
#[test]
fn a_system_clock_that_is_weeks_behind_loses_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = store(dir.path());
    let lag = Span::from_secs(-20 * 86_400);
    let hour: Vec<Row> = (0..360).map(|i| sample(10 * i, lag)).collect();
    store.write(&hour, at(3600)).expect("written");
    store.forget(at(3600)).expect("nothing is old");
    let history = History::open_read_only(dir.path()).expect("opens");
    let kept = || history.samples(at(0) + lag + lag, at(900_000)).expect("read").len();
    assert_eq!(kept(), 360);
    store.forget(at(3600 + 86_400)).expect("summarised");
    assert!((60..=62).contains(&kept()), "{}", kept());
}

#[test]
fn corrected_time_finds_the_samples_of_a_clock_that_is_minutes_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = store(dir.path());
    for lag in [-600, 600] {
        let rows: Vec<Row> = (0..60).map(|i| sample(10 * i, Span::from_secs(lag))).collect();
        store.write(&rows, at(600)).expect("written");
    }
    let history = History::open_read_only(dir.path()).expect("opens");
    assert_eq!(history.samples_by_utc(at(100), at(200)).expect("read").len(), 20);
    assert!(history.samples(at(100), at(200)).expect("read").is_empty());
    let always = (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
    assert_eq!(history.samples_by_utc(always.0, always.1).expect("read").len(), 120);
}

/// When every sample has become part of a minute, the next samples are still other ones.
#[test]
fn minutes_of_later_samples_are_kept_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = store(dir.path());
    for day in 0..3 {
        let begins = day * 2 * 86_400;
        let hour: Vec<Row> = (0..360).map(|i| sample(begins + 10 * i, Span::ZERO)).collect();
        store.write(&hour, at(begins + 3600)).expect("written");
        store.forget(at(begins + 3600 + 86_400)).expect("summarised");
    }
    let history = History::open_read_only(dir.path()).expect("opens");
    let kept = history.samples(at(-100), at(900_000)).expect("read");
    assert!((180..=186).contains(&kept.len()), "{}", kept.len());
    // Between two of the three hours the record neither begins nor ends.
    assert!(matches!(history.system_offset_at(at(90_000)), Err(NotKnown::Gap { .. })));
    assert!(matches!(history.system_offset_at(at(3600 + 600)), Err(NotKnown::Gap { .. })));
}

#[test]
fn readers_see_what_is_written_while_it_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(matches!(History::open_read_only(dir.path()), Err(HistoryError::Missing { .. })));
    let mut writer = store(dir.path());
    writer.write(&[event("1")], at(1)).expect("written");
    let history = History::open_read_only(dir.path()).expect("opens");
    writer.write(&[event("2")], at(2)).expect("written");
    assert_eq!(history.events(BEGAN, at(9)).expect("read").len(), 2);
    assert_eq!(history.runs(BEGAN, at(9)).expect("read")[0].ended, at(2));
    drop(writer);
    assert_eq!(history.events(BEGAN, at(9)).expect("read").len(), 2);
}

#[test]
fn a_reader_that_stays_sees_what_is_written_and_another_file_in_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let reader = HistoryReader::new(dir.path().to_owned());
    assert!(matches!(reader.system_offset_at(at(5)), Err(NotKnown::Unreadable(_))), "there is none yet");
    let mut store = store(dir.path());
    store.write(&[sample(0, Span::ZERO), sample(10, Span::ZERO)], at(10)).expect("writes");
    assert!(reader.system_offset_at(at(5)).is_ok());
    assert!(matches!(reader.system_offset_at(at(4_005)), Err(NotKnown::After { .. })));
    let later = [sample(4_000, Span::ZERO), sample(4_010, Span::ZERO)];
    store.write(&later, at(4_010)).expect("writes");
    assert!(reader.system_offset_at(at(4_005)).is_ok(), "what was written since");
    drop(store);
    for file in std::fs::read_dir(dir.path()).expect("is read").flatten() {
        std::fs::remove_file(file.path()).expect("is removed");
    }
    assert!(matches!(reader.system_offset_at(at(5)), Err(NotKnown::Unreadable(_))), "it is gone");
}
