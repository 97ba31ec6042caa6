use super::*;
use chronotick_clock::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::fs;

const BEGAN: Timestamp = Timestamp::from_nanos(1_790_000_040_000_000_000);

fn at(seconds: i64) -> Timestamp {
    BEGAN + Span::from_secs(seconds)
}

fn quick(bytes: u64) -> Rotation {
    Rotation { bytes, daily: true, fsync: false }
}

fn minute(i: i64, seconds: i64, worst: i64) -> Record {
    let from = at(60 * i).as_nanos();
    let fields = json!({"from_ns": from, "seconds": seconds, "worst_system_ns": worst, "worst_corrected_ns": worst / 2});
    Record::new("minute", at(60 * i + 60), fields)
}

/// A log of some records in files of some 600 bytes.
fn logged(folder: &Path, count: i64) {
    let mut log = AuditLog::open(folder, quick(600), BEGAN).expect("opens");
    log.append(&Record::new("began", BEGAN, json!({"version": "1", "configuration": "d"}))).expect("written");
    for i in 0..count {
        log.append(&minute(i, 60, 1000 * i)).expect("written");
    }
}

fn checked(folder: &Path) -> Verdict {
    verify(folder, None, &mut |_| {}).expect("can be read")
}

#[test]
fn a_log_goes_on_over_files_and_restarts() {
    let dir = tempfile::tempdir().expect("a directory");
    logged(dir.path(), 10);
    logged(dir.path(), 3);
    let verdict = checked(dir.path());
    assert_eq!((verdict.lines, verdict.first_number, verdict.broken.clone()), (15, Some(1), None));
    assert!(verdict.files > 3);
    // Files that were moved elsewhere leave a log that is whole from there on.
    fs::remove_file(&files(dir.path()).expect("read")[0]).expect("removed");
    let rest = checked(dir.path());
    assert!(rest.is_whole() && rest.first_number > Some(1));
    assert_eq!(rest.head, verdict.head);
    // One from the middle is missed.
    fs::remove_file(&files(dir.path()).expect("read")[1]).expect("removed");
    assert!(!checked(dir.path()).is_whole());
}

#[test]
fn a_new_day_begins_a_new_file() {
    let dir = tempfile::tempdir().expect("a directory");
    for day in 0..3 {
        // A daemon that is started anew each morning is no exception.
        let mut log = AuditLog::open(dir.path(), quick(1 << 20), at(86_400 * day)).expect("opens");
        log.append(&Record::new("x", at(86_400 * day), json!(null))).expect("written");
        log.append(&Record::new("x", at(86_400 * day), json!(null))).expect("written");
    }
    assert_eq!(files(dir.path()).expect("read").len(), 3);
    assert!(checked(dir.path()).is_whole());
}

#[test]
fn a_line_that_a_crash_cut_short_is_no_tampering_and_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    logged(dir.path(), 4);
    let last = files(dir.path()).expect("read").pop().expect("some");
    let whole = fs::read(&last).expect("read");
    let line = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    for cut in line + 1..whole.len() {
        fs::write(&last, &whole[..cut]).expect("written");
        let verdict = checked(dir.path());
        assert!(verdict.is_whole() && verdict.torn.is_some(), "{cut}: {verdict:?}");
    }
    fs::write(&last, &whole[..line + 20]).expect("written");
    drop(AuditLog::open(dir.path(), quick(600), at(900)).expect("goes on"));
    let mut torn = None;
    let verdict = verify(dir.path(), None, &mut |record| {
        torn = (record.kind == "torn").then(|| record.fields["bytes"].clone());
    });
    assert!(verdict.expect("read").is_whole());
    assert_eq!(torn, Some(json!(20)));
}

#[test]
fn a_hash_that_was_kept_elsewhere_finds_an_exchanged_end() {
    let dir = tempfile::tempdir().expect("a directory");
    logged(dir.path(), 4);
    let head = checked(dir.path()).head.expect("has one");
    logged(dir.path(), 1);
    let found = |head: &str| verify(dir.path(), Some(head), &mut |_| {}).expect("read");
    assert!(found(&head).is_whole());
    fs::remove_dir_all(dir.path()).expect("removed");
    logged(dir.path(), 9);
    assert!(!found(&"0".repeat(64)).is_whole());
}

#[test]
fn the_share_within_the_limit_is_that_of_monitored_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = AuditLog::open(dir.path(), quick(1 << 20), BEGAN).expect("opens");
    log.append(&Record::new("began", BEGAN, json!({"version": "7", "configuration": "c"}))).expect("written");
    for (i, seconds, worst) in
        [(0, 60, 10), (1, 60, 100), (2, 30, 101), (3, 60, 200), (5, 60, 100), (70, 60, 999)]
    {
        log.append(&minute(i, seconds, worst)).expect("written");
    }
    let asked =
        |until| attest(dir.path(), (BEGAN, at(until)), Clock::System, Span::from_nanos(100)).expect("read");
    let hour = asked(3600);
    assert_eq!((hour.period_seconds, hour.monitored_seconds, hour.within_seconds), (3600, 270, 180));
    assert_eq!((hour.monitored_percent, hour.within_percent), (7.5, Some(66.666)));
    let breach = Breach { from_ns: at(120).as_nanos(), until_ns: at(240).as_nanos(), peak_ns: 200 };
    assert_eq!((hour.breaches, hour.worst_ns), (vec![breach], Some(200)));
    assert_eq!(hour.versions.iter().collect::<Vec<_>>(), ["7"]);
    let corrected =
        attest(dir.path(), (BEGAN, at(3600)), Clock::Corrected, Span::from_nanos(100)).expect("read");
    assert_eq!(corrected.within_percent, Some(100.0));
    let nothing =
        attest(dir.path(), (at(9_000), at(9_600)), Clock::System, Span::from_nanos(100)).expect("read");
    assert_eq!((nothing.within_percent, nothing.monitored_percent), (None, 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_flipped_byte_is_found(place in 0.0f64..1.0, bit in 0u8..8) {
        let dir = tempfile::tempdir().expect("a directory");
        logged(dir.path(), 6);
        let files = files(dir.path()).expect("read");
        let total: u64 = files.iter().map(|f| fs::metadata(f).expect("read").len()).sum();
        let mut at = (place * total as f64) as usize;
        for file in files {
            let mut bytes = fs::read(&file).expect("read");
            if at < bytes.len() {
                bytes[at] ^= 1 << bit;
                fs::write(&file, &bytes).expect("written");
                break;
            }
            at -= bytes.len();
        }
        let verdict = checked(dir.path());
        prop_assert!(!verdict.is_whole(), "{:?}", verdict);
    }

    #[test]
    fn a_line_that_is_removed_doubled_or_moved_is_found(which in 0usize..6, how in 0u8..3) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = AuditLog::open(dir.path(), quick(1 << 20), BEGAN).expect("opens");
        for i in 0..8 {
            log.append(&minute(i, 60, i)).expect("written");
        }
        let file = files(dir.path()).expect("read").remove(0);
        let text = fs::read_to_string(&file).expect("read");
        let mut lines: Vec<&str> = text.lines().collect();
        match how {
            0 => drop(lines.remove(which + 1)),
            1 => lines.insert(which, lines[which]),
            _ => lines.swap(which, which + 1),
        }
        fs::write(&file, lines.join("\n") + "\n").expect("written");
        prop_assert!(!checked(dir.path()).is_whole());
    }

    #[test]
    fn no_content_of_a_file_is_a_panic(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(file_name(1)), content).expect("written");
        let _ = checked(dir.path());
        let _ = AuditLog::open(dir.path(), quick(1), BEGAN);
    }
}
