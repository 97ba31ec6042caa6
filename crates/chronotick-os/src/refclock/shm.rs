//! NTP's shared memory clock (driver 28 of the reference implementation, whose page gives the layout): another program
//! writes what a receiver says into a segment of 96 bytes.
//!
//! Other readers take samples away by clearing `valid`. This one only looks (the segment is attached read-only), so a
//! daemon beside it loses nothing: news is noticed by the writer's counter.

use super::sock::leap;
use super::{Correlation, Driver, Sample, Trouble};
use chronotick_core::{Leap, Span, Timestamp};
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};

/// The key of unit 0; unit n has n more.
const KEY: i32 = 0x4e54_5030;
/// The size of a segment whose writer has 64-bit time.
const SIZE: usize = 96;
const WORDS: usize = SIZE / 4;

/// What a segment holds, copied out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    mode: i32,
    /// The writer's counter: it ascends by two with each sample in mode 1, and may stand still in mode 0.
    pub count: i32,
    valid: bool,
    clock: (i64, i32, u32),
    receive: (i64, i32, u32),
    leap: i32,
    precision: i32,
}

/// One sample, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// True time.
    pub clock: Timestamp,
    /// The system clock at the same instant.
    pub receive: Timestamp,
    /// How wrong either may be by the writer's word: 2^precision s, and the resolution.
    pub precision: Span,
    /// What is announced.
    pub leap: Leap,
}

/// Why a segment holds no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A mode that nobody has defined.
    Mode(i32),
    /// A leap that is none of 0, 1 and 2; gpsd writes 3 before its first fix.
    Leap(i32),
    /// A time that is none.
    Stamp,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Mode(mode) => write!(f, "the segment is of mode {mode}, which is none of 0 and 1"),
            Refusal::Leap(3) => f.write_str("the writer is not synchronised (leap 3)"),
            Refusal::Leap(leap) => write!(f, "a leap of {leap} is none of 0, 1 and 2"),
            Refusal::Stamp => {
                f.write_str("a time in the segment has microseconds beyond a second or a year beyond 2262")
            }
        }
    }
}

impl Content {
    /// Reads the 96 bytes of a segment, in the machine's byte order.
    pub fn parse(bytes: &[u8; SIZE]) -> Content {
        let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Content {
            mode: int(0),
            count: int(4),
            clock: (long(8), int(16), int(52) as u32),
            receive: (long(24), int(32), int(56) as u32),
            leap: int(36),
            precision: int(40),
            valid: int(48) != 0,
        }
    }

    /// The sample in it.
    ///
    /// # Errors
    /// If it is none.
    pub fn sample(&self) -> Result<Written, Refusal> {
        if !(0..=1).contains(&self.mode) {
            return Err(Refusal::Mode(self.mode));
        }
        let leap = leap(self.leap).ok_or(Refusal::Leap(self.leap))?;
        let (clock, coarse) = time(self.clock).ok_or(Refusal::Stamp)?;
        let (receive, coarse_too) = time(self.receive).ok_or(Refusal::Stamp)?;
        let resolution = if coarse || coarse_too { Span::from_micros(1) } else { Span::from_nanos(1) };
        let stated = Span::from_secs_f64(f64::from(self.precision.clamp(-30, 8)).exp2());
        Ok(Written { clock, receive, precision: stated + resolution, leap })
    }
}

/// A time of the segment, and whether it has microseconds only. The nanoseconds count if they say the same as the
/// microseconds: writers that do not know of them leave there what was.
fn time((seconds, micros, nanos): (i64, i32, u32)) -> Option<(Timestamp, bool)> {
    if !(0..9_000_000_000).contains(&seconds) || !(0..1_000_000).contains(&micros) {
        return None;
    }
    let agree = i64::from(nanos) / 1_000 == i64::from(micros) && (nanos != 0 || micros == 0);
    let part = if agree { i64::from(nanos) } else { i64::from(micros) * 1_000 };
    Some((Timestamp::from_nanos(seconds * 1_000_000_000 + part), !agree))
}

/// A segment, attached for reading only.
#[derive(Debug)]
struct Segment {
    id: i32,
    words: NonNull<u32>,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only read.
unsafe impl Send for Segment {}

/// Who may write a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ownership {
    owner: libc::uid_t,
    mode: u32,
}

impl Ownership {
    /// Whether it belongs to neither root nor this user.
    fn is_foreign(self) -> bool {
        // SAFETY: no arguments, cannot fail.
        self.owner != 0 && self.owner != unsafe { libc::geteuid() }
    }
}

impl Segment {
    /// The number of the segment that has a unit's key now; negative where none has.
    fn of_unit(unit: u8) -> i32 {
        // SAFETY: no pointers.
        unsafe { libc::shmget(KEY + i32::from(unit), 0, 0) }
    }

    /// Attaches the segment of a unit, and tells whose it is.
    fn attach(unit: u8) -> io::Result<(Segment, Ownership)> {
        let says = |e: io::Error, what: String| io::Error::new(e.kind(), format!("{what}: {e}"));
        let id = Segment::of_unit(unit);
        if id < 0 {
            return Err(says(
                io::Error::last_os_error(),
                format!("SHM {unit} is not there (is its writer running?)"),
            ));
        }
        // SAFETY: a structure of integers, for which zero is a value.
        let mut state: libc::shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is as large as IPC_STAT fills, and outlives the call.
        if unsafe { libc::shmctl(id, libc::IPC_STAT, &mut state) } < 0 {
            return Err(says(io::Error::last_os_error(), format!("SHM {unit} may not be looked at")));
        }
        if state.shm_segsz as usize != SIZE {
            let why = format!(
                "SHM {unit} has {} bytes instead of {SIZE}: its writer has 32-bit time or is none of NTP's",
                state.shm_segsz
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        // SAFETY: the kernel chooses the address; the segment stays attached until it is detached in `drop`.
        let address = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
        let words = NonNull::new(address.cast::<u32>()).filter(|_| address as isize != -1);
        let words =
            words.ok_or_else(|| says(io::Error::last_os_error(), format!("SHM {unit} may not be read")))?;
        let ownership = Ownership { owner: state.shm_perm.uid, mode: u32::from(state.shm_perm.mode) };
        Ok((Segment { id, words }, ownership))
    }

    /// A copy of all words; a writer may have changed some meanwhile.
    fn copy(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (i, part) in bytes.chunks_exact_mut(4).enumerate().take(WORDS) {
            // SAFETY: the segment has 24 aligned words and stays attached as long as `self` lives. Another process may
            // write them, so no reference is formed, and every word is read once.
            let word = unsafe { self.words.as_ptr().add(i).read_volatile() };
            part.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn count(&self) -> i32 {
        // SAFETY: as for `copy`; the counter is the second word.
        unsafe { self.words.as_ptr().add(1).read_volatile() as i32 }
    }

    /// What it holds; `None` while a writer is at it.
    fn read(&self) -> Option<Content> {
        let before = self.count();
        fence(Ordering::Acquire);
        let bytes = self.copy();
        fence(Ordering::Acquire);
        (self.count() == before).then(|| Content::parse(&bytes))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the address is what shmat returned, and nobody reads it any more.
        unsafe { libc::shmdt(self.words.as_ptr().cast()) };
    }
}

/// A unit of NTP's shared memory clock.
#[derive(Debug)]
pub struct Shm {
    unit: u8,
    segment: Segment,
    newest: Option<Content>,
    oldest: Span,
    correlation: Correlation,
    warning: Option<String>,
}

impl Shm {
    /// How often the segment is looked at.
    const LOOK: Span = Span::from_millis(100);
    /// Between two looks at what somebody else has consumed: longer than a writer is at it.
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(2);

    /// Attaches a unit. A sample older than `oldest` is refused; a segment that neither root nor this user owns is as
    /// well, unless `anyone` may feed time.
    ///
    /// # Errors
    /// If there is none, it may not be read, is of another layout, or of another owner.
    pub fn open(unit: u8, anyone: bool, oldest: Span) -> io::Result<Shm> {
        let (segment, ownership) = Segment::attach(unit)?;
        if ownership.is_foreign() && !anyone {
            let why = format!(
                "SHM {unit} belongs to user {}, who is neither root nor who runs this; `anyone` accepts that",
                ownership.owner
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let open = ownership.mode & 0o022 != 0 && !anyone;
        let warning = open.then(|| {
            format!(
                "SHM {unit} may be written by every user (mode {:03o}): any of them can feed time",
                ownership.mode & 0o777
            )
        });
        let mut correlation = Correlation::default();
        correlation.renew();
        Ok(Shm { unit, segment, newest: None, oldest, correlation, warning })
    }

    /// What is new in the segment, if anything is, without taking it away.
    fn news(&mut self) -> Option<Content> {
        let mut content = self.segment.read()?;
        if self.newest.is_some_and(|newest| newest.same_sample(&content)) {
            return None;
        }
        if !content.valid {
            // Either a writer is at it, or another reader has taken it: then it stands still, with an even count.
            std::thread::sleep(Shm::PAUSE);
            let again = self.segment.read()?;
            if again != content || content.mode != 1 || content.count % 2 != 0 || content.count == 0 {
                return None;
            }
            content = again;
        }
        self.newest = Some(content);
        Some(content)
    }
}

impl Content {
    /// Whether both are copies of the same sample, whoever has consumed it meanwhile.
    fn same_sample(&self, other: &Content) -> bool {
        self.count == other.count && self.clock == other.clock && self.receive == other.receive
    }
}

impl Driver for Shm {
    fn next(&mut self, patience: Span) -> Result<Option<Sample>, Trouble> {
        if let Some(warning) = self.warning.take() {
            return Err(Trouble::Rejected(warning));
        }
        let mut waited = Span::ZERO;
        let content = loop {
            if let Some(content) = self.news() {
                break content;
            }
            if waited >= patience {
                return self.still_there().map(|()| None);
            }
            let pause = Shm::LOOK.min(patience - waited);
            std::thread::sleep(std::time::Duration::from_nanos(pause.as_nanos() as u64));
            self.correlation.renew();
            waited += pause;
        };
        self.correlation.renew();
        let rejected = |why: &dyn fmt::Display| Trouble::Rejected(why.to_string());
        let written = content.sample().map_err(|why| rejected(&why))?;
        let (at, error) =
            self.correlation.raw_of(written.receive, self.oldest).map_err(|why| rejected(&why))?;
        Ok(Some(Sample {
            at,
            utc: written.clock,
            precision: written.precision,
            error,
            is_pulse: false,
            leap: Some(written.leap),
        }))
    }
}

impl Shm {
    /// A segment that was removed stays readable, and nobody writes it: a new one has taken its key, or none.
    fn still_there(&self) -> Result<(), Trouble> {
        if Segment::of_unit(self.unit) == self.segment.id {
            return Ok(());
        }
        Err(Trouble::Lost(format!("SHM {} was removed", self.unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClockPair;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A writer, as gpsd is one; its segment is removed with it.
    struct Writer {
        unit: u8,
        id: i32,
        words: *mut u32,
    }

    // SAFETY: the mapping belongs to the process; the tests write from one thread at a time.
    unsafe impl Send for Writer {}

    impl Writer {
        fn new(unit: u8, size: usize, mode: i32) -> Writer {
            // SAFETY: no pointers.
            let id =
                unsafe { libc::shmget(KEY + i32::from(unit), size, libc::IPC_CREAT | libc::IPC_EXCL | mode) };
            assert!(id >= 0, "unit {unit}: {}", io::Error::last_os_error());
            // SAFETY: the kernel chooses the address.
            let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
            assert!(address as isize != -1);
            Writer { unit, id, words: address.cast() }
        }

        fn set(&self, byte: usize, value: i32) {
            // SAFETY: within the segment, aligned; readers use volatile reads too.
            unsafe { self.words.add(byte / 4).write_volatile(value as u32) };
        }

        fn set_long(&self, byte: usize, value: i64) {
            // SAFETY: within the segment and aligned to eight bytes.
            unsafe { self.words.add(byte / 4).cast::<i64>().write_volatile(value) };
        }

        fn write(&self, count: i32, clock: Timestamp, receive: Timestamp) {
            self.set(48, 0);
            self.set(4, count - 1);
            fence(Ordering::SeqCst);
            self.set(0, 1);
            for (long, micro, nano, time) in [(8, 16, 52, clock), (24, 32, 56, receive)] {
                let (seconds, nanos) =
                    (time.as_nanos().div_euclid(1_000_000_000), time.as_nanos().rem_euclid(1_000_000_000));
                self.set_long(long, seconds);
                self.set(micro, (nanos / 1_000) as i32);
                self.set(nano, nanos as i32);
            }
            self.set(36, 0);
            self.set(40, -20);
            fence(Ordering::SeqCst);
            self.set(4, count);
            self.set(48, 1);
        }
    }

    impl Drop for Writer {
        fn drop(&mut self) {
            // SAFETY: what shmat and shmget returned.
            unsafe {
                libc::shmdt(self.words.cast());
                libc::shmctl(self.id, libc::IPC_RMID, std::ptr::null_mut());
            }
        }
    }

    fn open(writer: &Writer) -> Shm {
        let mut shm = Shm::open(writer.unit, false, Span::from_secs(2)).unwrap();
        shm.warning = None;
        shm
    }

    #[test]
    fn a_sample_has_the_sign_of_the_house_and_stays_for_others() {
        let writer = Writer::new(200, SIZE, 0o600);
        let mut shm = open(&writer);
        assert_eq!(shm.next(Span::ZERO), Ok(None));
        let pair = ClockPair::now();
        writer.write(2, pair.system + Span::from_millis(40), pair.system);
        let sample = shm.next(Span::from_secs(5)).unwrap().expect("one was written");
        let offset = (sample.utc - pair.system) - (sample.at - pair.raw);
        assert!((offset - Span::from_millis(40)).abs() < Span::from_millis(20), "{offset}");
        assert_eq!(shm.next(Span::ZERO), Ok(None));
        // Whoever comes next finds it as it was written.
        assert!(shm.segment.read().unwrap().valid);
    }

    #[test]
    fn what_another_reader_has_consumed_is_seen_all_the_same() {
        let writer = Writer::new(201, SIZE, 0o600);
        let mut shm = open(&writer);
        let now = ClockPair::now().system;
        writer.write(2, now, now);
        writer.set(48, 0);
        assert!(shm.next(Span::from_secs(5)).unwrap().is_some());
        // But not what a writer has begun: its count is odd.
        writer.set(4, 3);
        assert_eq!(shm.next(Span::ZERO), Ok(None));
    }

    #[test]
    fn every_rejection_has_its_reason() {
        let writer = Writer::new(202, SIZE, 0o600);
        let mut shm = open(&writer);
        let mut count = 0;
        let mut refused = |change: &dyn Fn(&Writer), ahead: Span| {
            count += 2;
            let now = ClockPair::now().system;
            writer.write(count, now, now + ahead);
            change(&writer);
            match shm.next(Span::from_secs(5)) {
                Err(Trouble::Rejected(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        let nothing = |_: &Writer| {};
        assert!(refused(&|w| w.set(0, 2), Span::ZERO).contains("mode 2"));
        assert!(refused(&|w| w.set(36, 3), Span::ZERO).contains("not synchronised"));
        assert!(refused(&|w| w.set(36, 4), Span::ZERO).contains("leap of 4"));
        assert!(refused(&|w| w.set(32, 1_000_000), Span::ZERO).contains("microseconds"));
        assert!(refused(&nothing, Span::from_secs(30)).contains("ahead"));
        assert!(refused(&nothing, -Span::from_secs(30)).contains("old"));
    }

    #[test]
    fn a_segment_of_another_size_or_none_is_refused_with_the_mend() {
        let writer = Writer::new(203, 80, 0o600);
        let why = Shm::open(203, false, Span::ZERO).unwrap_err().to_string();
        assert!(why.contains("80 bytes instead of 96"), "{why}");
        drop(writer);
        let why = Shm::open(203, false, Span::ZERO).unwrap_err().to_string();
        assert!(why.contains("is its writer running?"), "{why}");
    }

    #[test]
    fn who_may_write_is_watched() {
        let writer = Writer::new(204, SIZE, 0o666);
        let warned = Shm::open(204, false, Span::from_secs(2)).unwrap().next(Span::ZERO);
        assert!(matches!(warned, Err(Trouble::Rejected(why)) if why.contains("every user")));
        assert_eq!(Shm::open(204, true, Span::from_secs(2)).unwrap().next(Span::ZERO), Ok(None));
        assert!(Ownership { owner: 54_321, mode: 0o600 }.is_foreign());
        assert!(!Ownership { owner: 0, mode: 0o600 }.is_foreign());
        drop(writer);
    }

    #[test]
    fn a_removed_segment_is_lost() {
        let writer = Writer::new(205, SIZE, 0o600);
        let mut shm = open(&writer);
        drop(writer);
        assert!(matches!(shm.next(Span::ZERO), Err(Trouble::Lost(_))));
    }

    #[test]
    fn a_segment_whose_key_another_has_taken_is_lost() {
        let writer = Writer::new(207, SIZE, 0o600);
        let mut shm = open(&writer);
        assert_eq!(shm.next(Span::ZERO), Ok(None));
        drop(writer);
        let _another = Writer::new(207, SIZE, 0o600);
        assert!(matches!(shm.next(Span::ZERO), Err(Trouble::Lost(_))));
    }

    /// A writer that never rests: what is read is always one sample, never parts of two.
    #[test]
    fn no_read_is_torn() {
        let writer = Writer::new(206, SIZE, 0o600);
        let (segment, _) = Segment::attach(206).unwrap();
        let done = AtomicBool::new(false);
        let (mut seen, begun) = (0, std::time::Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let writer = writer;
                for i in 1i64.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let time = Timestamp::from_nanos(i * 1_000_001);
                    writer.write((i as i32).wrapping_mul(2), time, time);
                }
            });
            for i in 0.. {
                // The writer may be late on a busy machine.
                if i >= 200_000 && (seen > 0 || begun.elapsed().as_secs() > 60) {
                    break;
                }
                if let Some(content) = segment.read().filter(|c| c.valid && c.count % 2 == 0) {
                    assert_eq!(content.clock, content.receive);
                    seen += 1;
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(seen > 0);
    }

    #[test]
    fn nanoseconds_count_only_where_they_agree() {
        let t = |s: i64, ns: i64| Timestamp::from_nanos(s * 1_000_000_000 + ns);
        assert_eq!(time((5, 123_456, 123_456_789)), Some((t(5, 123_456_789), false)));
        assert_eq!(time((5, 123_456, 999)), Some((t(5, 123_456_000), true)));
        assert_eq!(time((5, 0, 0)), Some((t(5, 0), false)));
        assert_eq!(time((5, -1, 0)), None);
        assert_eq!(time((-5, 1, 0)), None);
    }

    proptest! {
        #[test]
        fn no_segment_panics(bytes in prop::array::uniform32(any::<[u8; 3]>())) {
            let flat: Vec<u8> = bytes.concat();
            let _ = Content::parse(&flat.try_into().unwrap()).sample();
        }
    }
}
