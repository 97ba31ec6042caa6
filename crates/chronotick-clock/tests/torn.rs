//! Readers beside a publisher that never pauses, in threads and across processes: what they read is always one
//! publication, and never an older one than before.

use chronotick_clock::{
    Assumption, Clock, Levels, Narrow, Rate, RawInstant, Reason, Solution, Span, State, Timestamp, Variance,
    Writer,
};
use std::path::PathBuf;

const AT: RawInstant = RawInstant::from_nanos(1 << 40);

/// Every field follows from `n`.
fn publication(n: i64) -> Solution {
    Solution {
        utc: Timestamp::from_nanos(1_000_000_000_000 + n),
        rate: Rate::from_bits(n),
        early: Span::from_nanos(n + 1),
        late: Span::from_nanos(n + 2),
        narrow: Assumption::symmetry_within(n as u8).map(|assumes| Narrow {
            early: Span::from_nanos(n / 2),
            late: Span::from_nanos(n / 3),
            assumes,
        }),
        bound_growth: Rate::from_bits(n + 3),
        variance: Variance([(n * n) as f64, n as f64, n as f64 + 1.0, n as f64 + 2.0]),
        levels: Levels::from_bits(n as u64),
        holdover_at: AT + Span::from_secs(1) + Span::from_nanos(n),
        unsynced_at: AT + Span::from_secs(2) + Span::from_nanos(n),
        disruptions: 0,
        ..Solution::unknown(AT, State::Synced, Reason::Agreement)
    }
}

/// Reads so many times, and on until several publications have been seen.
fn watch(clock: &Clock, reads: usize) {
    let (mut last, mut different) = (0, 0);
    for read in 0.. {
        if read >= reads && different >= 5 {
            break;
        }
        let reading = clock.at(AT);
        let n = reading.estimate.as_nanos() - 1_000_000_000_000;
        assert_eq!((reading.estimate - reading.earliest).as_nanos(), n + 2, "torn: {reading:?}");
        assert_eq!((reading.latest - reading.estimate).as_nanos(), n + 3, "torn: {reading:?}");
        let assumed = reading.narrow.map_or(0, |narrow| narrow.assumes.asymmetry());
        assert_eq!(assumed, n as u8, "torn: {reading:?}");
        if let Some(narrow) = reading.narrow {
            assert_eq!((reading.estimate - narrow.earliest).as_nanos(), n / 2 + 1, "torn: {reading:?}");
            assert_eq!((narrow.latest - reading.estimate).as_nanos(), n / 3 + 1, "torn: {reading:?}");
        }
        assert_eq!((reading.sigma.as_nanos(), reading.levels.to_bits()), (n, n as u64), "torn: {reading:?}");
        assert!(n >= last, "{n} after {last}");
        different += usize::from(n > last);
        last = n;
        let solution = clock.solution();
        let n = solution.rate.to_bits();
        assert_eq!(solution, publication(n), "torn");
        assert!(n >= last, "{n} after {last}");
        last = n;
    }
}

#[test]
fn threads_never_read_a_mixture() {
    let mut writer = Writer::in_memory().unwrap();
    writer.publish(&publication(1));
    let clock = Clock::of(&writer);
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| watch(&clock, 200_000)));
        let publications = (2..).take_while(|_| readers.iter().any(|reader| !reader.is_finished()));
        publications.for_each(|n| writer.publish(&publication(n)));
    });
}

/// The publisher is another process, killed in the middle of its work: what it completed last stays readable.
#[test]
fn processes_never_read_a_mixture_even_of_a_killed_publisher() {
    let dir = scratch("torn");
    let path = chronotick_clock::page_path(&dir);
    for _ in 0..10 {
        let mut writer = Writer::create(&path).unwrap();
        writer.publish(&publication(1));
        let clock = Clock::open_at(&path).unwrap();
        // SAFETY: the child only publishes, which needs no lock and no memory that another thread might hold.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            publish_while_watched(&mut writer);
        }
        watch(&clock, 20_000);
        // SAFETY: the child is ours and has not been waited for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        let last = clock.solution();
        assert_eq!(last, publication(last.rate.to_bits()));
        // This process has a publisher of the same page, which would count on from its own number.
        std::mem::forget(writer);
        std::fs::remove_file(path.with_extension("lock")).unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// Publishes without a pause until the parent is gone, should it fail before it kills us.
fn publish_while_watched(writer: &mut Writer) -> ! {
    // SAFETY: it has no preconditions.
    let parent = || unsafe { libc::getppid() };
    let watcher = parent();
    (2..).take_while(|n| n % 1_000 != 0 || parent() == watcher).for_each(|n| writer.publish(&publication(n)));
    // SAFETY: it runs nothing that belongs to the parent.
    unsafe { libc::_exit(0) }
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("chronotick-test-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
