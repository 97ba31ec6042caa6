//! One correction by hand (`monitor sync-time`): whether it may be made, how it is made to a clock, this machine's or a
//! simulated one, and what is kept of it. When it is due, and how large it is, is the policy's to say.

use crate::config::{Config, Discipline};
use crate::utc::rfc3339;
use chronotick_clock::{Leap, Rate, RawInstant, Span, Timestamp, boot};
use chronotick_core::{Claim, Course};
use chronotick_monitor::{ClockError, Decision};
use chronotick_os::Steer;
use chronotick_record::audit::{AuditLog, Record, folder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Why a correction that is due was not made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The configuration forbids it.
    #[error("correcting the system clock is off (discipline: off); --dry-run only says what would be done")]
    Off,
    /// A daemon of this program lives.
    #[error(
        "a ChronoTick daemon runs, and the clock is its to correct (`discipline` in its configuration): leave it to it, or stop it"
    )]
    Daemon,
    /// Another program steers the clock.
    #[error("{0} steers the system clock: stop it first")]
    Rival(String),
    /// The kernel does not allow it.
    #[error("the kernel does not let this process set the clock: it takes CAP_SYS_TIME, which root has")]
    Right,
    /// Another process makes one.
    #[error("another sync-time is at work: wait for its end")]
    Busy,
    /// It could not be kept when the clock was corrected: nothing would hold back the next time.
    #[error("{0}: {1}; what was done is kept there, and nothing is done without")]
    Memory(PathBuf, io::Error),
    /// The audit log cannot be gone on from.
    #[error("the audit log cannot be written: {0}")]
    Audit(io::Error),
    /// The system call failed.
    #[error("the kernel refused: {0}")]
    Kernel(io::Error),
    /// It was begun, and this came between.
    #[error("begun, but not brought to its end (what the kernel was handed it still slews): {0}")]
    Halfway(Box<Denied>),
}

impl From<io::Error> for Denied {
    fn from(e: io::Error) -> Denied {
        if e.kind() == io::ErrorKind::PermissionDenied { Denied::Right } else { Denied::Kernel(e) }
    }
}

/// When this program last corrected the clock by hand, in the state directory. Raw instants mean nothing in another boot.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    boot: String,
    raw_ns: i64,
    utc: String,
    action: String,
    by_ns: i64,
}

const FILE: &str = "corrected.json";

fn this_boot() -> String {
    format!("{:016x}", boot())
}

/// When the clock was last corrected by hand in this boot; none also where nothing of it can be read.
pub fn last(state_dir: &Path) -> Option<RawInstant> {
    let found: Last = serde_json::from_slice(&std::fs::read(state_dir.join(FILE)).ok()?).ok()?;
    (found.boot == this_boot()).then(|| RawInstant::from_nanos(found.raw_ns))
}

/// Whether the configuration and who else runs allow a correction at all.
///
/// # Errors
/// Why not.
pub fn allowed(discipline: Discipline, daemon: bool, rival: Option<String>) -> Result<(), Denied> {
    match (discipline, daemon, rival) {
        (Discipline::Off, ..) => Err(Denied::Off),
        (_, true, _) => Err(Denied::Daemon),
        (.., Some(name)) => Err(Denied::Rival(name)),
        _ => Ok(()),
    }
}

/// What was found, and what the policy makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Correction {
    /// When it was found.
    pub at: RawInstant,
    /// True time then.
    pub utc: Timestamp,
    /// The system clock's error.
    pub error: ClockError,
    /// What is to be done: a step or a slew; nothing else changes a clock.
    pub decision: Decision,
    /// What the sources announce for the end of this day.
    pub leap: Leap,
    /// How fast it is slewed at most.
    pub slew_rate: Rate,
}

impl Correction {
    /// The kernel takes a quarter of what it is handed in each second.
    const SHARES: i64 = 4;

    /// Makes the correction, and keeps in the state directory and in the audit log that it was made. A step is over at once; a
    /// slew is handed to the kernel second by second, and `pause` waits for one, or says why to stop.
    ///
    /// # Errors
    /// Why it was not made, or not to its end. What has been handed over by then the kernel ends by itself.
    pub fn make(
        &self,
        clock: &mut dyn Steer,
        config: &Config,
        pause: &mut dyn FnMut() -> Result<(), Denied>,
    ) -> Result<(), Denied> {
        let (action, by, remaining) = match self.decision {
            Decision::Step { by, remaining } => ("step", by, remaining),
            Decision::Slew { by, remaining } => ("slew", by, remaining),
            Decision::Leave { .. } | Decision::Refuse(_) => return Ok(()),
        };
        let path = config.state_dir.join(FILE);
        let unkept = |e| Denied::Memory(path.clone(), e);
        let mut memory = lock(&path)?;
        let mut audit = match config.audit.enabled {
            true => {
                let log = AuditLog::open(&folder(&config.state_dir), config.audit.rotation(), self.utc);
                Some(log.map_err(Denied::Audit)?)
            }
            false => None,
        };
        let before = read(&mut memory).map_err(unkept)?;
        let last = Last {
            boot: this_boot(),
            raw_ns: self.at.as_nanos(),
            utc: rfc3339(self.utc),
            action: action.into(),
            by_ns: by.as_nanos(),
        };
        write(&mut memory, &serde_json::to_vec(&last).unwrap_or_default()).map_err(unkept)?;
        let begun = self.begin(clock);
        if begun.is_err() {
            // Nothing was done, so nothing has to be waited for.
            write(&mut memory, &before).map_err(unkept)?;
        }
        let (handed, frequency) = begun?;
        if let Some(log) = &mut audit {
            let fields = json!({
                "raw_ns": self.at.as_nanos(),
                "utc_ns": self.utc.as_nanos(),
                "action": action,
                "amount_ns": by.as_nanos(),
                "frequency_ppm": frequency.as_ppm(),
                "text": format!("sync-time: {}", self.decision),
            });
            let record = Record::new("correction", self.utc, fields);
            log.append(&record).map_err(|e| Denied::Halfway(Box::new(Denied::Audit(e))))?;
        }
        match self.decision {
            Decision::Slew { .. } => self
                .slew_on(clock, by, remaining, handed, pause)
                .map_err(|why| Denied::Halfway(Box::new(why))),
            _ => Ok(()),
        }
    }

    /// The step, or the first second of the slew: what was handed over, and the frequency that the clock has and keeps.
    fn begin(&self, clock: &mut dyn Steer) -> Result<(Span, Rate), Denied> {
        let frequency = clock.read()?.frequency;
        let (slew, error, remaining) = match self.decision {
            Decision::Step { by, remaining } => {
                clock.step(by)?;
                (Span::ZERO, ClockError { offset: remaining, ..self.error }, remaining)
            }
            Decision::Slew { by, remaining } => (self.share(by), self.error, remaining),
            Decision::Leave { .. } | Decision::Refuse(_) => (Span::ZERO, self.error, Span::ZERO),
        };
        clock.run(&self.course(frequency, slew, error.bound(), remaining))?;
        Ok((slew, frequency))
    }

    /// The seconds after the first.
    fn slew_on(
        &self,
        clock: &mut dyn Steer,
        by: Span,
        remaining: Span,
        mut handed: Span,
        pause: &mut dyn FnMut() -> Result<(), Denied>,
    ) -> Result<(), Denied> {
        let mut left = by;
        while handed != left {
            pause()?;
            let kernel = clock.read()?;
            let slewed = handed - kernel.pending;
            left = left - slewed;
            handed = self.share(left);
            // The kernel's own account has grown meanwhile, and what was slewed is off by so much less.
            let gained = if remaining == Span::ZERO { slewed.abs() } else { Span::ZERO };
            clock.run(&self.course(kernel.frequency, handed, kernel.max_error - gained, remaining))?;
        }
        Ok(())
    }

    /// What is handed to the kernel of what is left to slew.
    fn share(&self, left: Span) -> Span {
        let most = self.slew_rate.over(Span::from_secs(1)).abs().times(Correction::SHARES);
        left.max(-most).min(most)
    }

    /// Where something remains for another time, nobody is told that the clock is synchronised.
    fn course(&self, frequency: Rate, slew: Span, max_error: Span, remaining: Span) -> Course {
        let synchronised = remaining == Span::ZERO;
        let claim = Claim { max_error, estimated_error: max_error, synchronised, leap: self.leap };
        Course { frequency, slew, claim }
    }
}

/// The memory, to be had by one process at a time.
fn lock(path: &Path) -> Result<File, Denied> {
    let unkept = |e| Denied::Memory(path.to_owned(), e);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = options.map_err(unkept)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Denied::Busy),
        Err(TryLockError::Error(e)) => Err(unkept(e)),
    }
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(65_536).read_to_end(&mut bytes).map(|_| bytes)
}

fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::KernelClock;
    use chronotick_monitor::Policy;
    use chronotick_record::audit::verify;

    /// A clock whose seconds pass when the test says so.
    #[derive(Debug)]
    struct Simulated {
        kernel: KernelClock,
        /// True time minus the clock.
        offset: Span,
        fastest: Span,
        forbidden: bool,
    }

    impl Simulated {
        fn off_by(offset: Span) -> Simulated {
            let wide = Span::from_secs(16);
            let (frequency, pending) = (Rate::from_ppm(12.0), Span::ZERO);
            let kernel = KernelClock {
                frequency,
                pending,
                max_error: wide,
                estimated_error: wide,
                synchronised: false,
            };
            Simulated { kernel, offset, fastest: Span::ZERO, forbidden: false }
        }

        fn second(&mut self) {
            let slewed = Span::from_nanos(self.kernel.pending.as_nanos() / 4);
            self.kernel.pending = self.kernel.pending - slewed;
            self.offset = self.offset - slewed;
            self.fastest = self.fastest.max(slewed.abs());
            self.kernel.max_error += Span::from_micros(500);
        }
    }

    impl Steer for Simulated {
        fn read(&mut self) -> io::Result<KernelClock> {
            Ok(self.kernel)
        }
        fn run(&mut self, course: &Course) -> io::Result<KernelClock> {
            if self.forbidden {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.kernel.frequency = course.frequency;
            self.kernel.pending = course.slew;
            self.kernel.max_error = course.claim.max_error;
            self.kernel.synchronised = course.claim.synchronised;
            Ok(self.kernel)
        }
        fn step(&mut self, by: Span) -> io::Result<()> {
            if self.forbidden {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.offset = self.offset - by;
            Ok(())
        }
    }

    fn correction(millis: i64, policy: &Policy, state_dir: &Path, at: RawInstant) -> Correction {
        let early = Span::from_micros(100);
        let error = ClockError { offset: Span::from_millis(millis), early, late: early };
        Correction {
            at,
            utc: Timestamp::from_nanos(1_790_000_000_000_000_000),
            error,
            decision: policy.decide(Some(error), 3, last(state_dir), at),
            leap: Leap::None,
            slew_rate: Rate::from_ppm(500.0),
        }
    }

    fn config(dir: &tempfile::TempDir) -> Config {
        let mut config = Config { state_dir: dir.path().into(), ..Config::default() };
        config.audit.enabled = true;
        config
    }

    /// Lets seconds pass for as long as the correction asks for them.
    fn make(correction: &Correction, clock: Simulated, config: &Config) -> (Result<(), Denied>, Simulated) {
        #[derive(Debug)]
        struct Shared(std::sync::Arc<std::sync::Mutex<Simulated>>);
        impl Steer for Shared {
            fn read(&mut self) -> io::Result<KernelClock> {
                self.0.lock().expect("is whole").read()
            }
            fn run(&mut self, course: &Course) -> io::Result<KernelClock> {
                self.0.lock().expect("is whole").run(course)
            }
            fn step(&mut self, by: Span) -> io::Result<()> {
                self.0.lock().expect("is whole").step(by)
            }
        }
        let shared = std::sync::Arc::new(std::sync::Mutex::new(clock));
        let mut pause = || {
            shared.lock().expect("is whole").second();
            Ok(())
        };
        let made = correction.make(&mut Shared(shared.clone()), config, &mut pause);
        for _ in 0..60 {
            shared.lock().expect("is whole").second();
        }
        let clock = std::mem::replace(&mut *shared.lock().expect("is whole"), Simulated::off_by(Span::ZERO));
        (made, clock)
    }

    #[test]
    fn it_takes_a_setting_and_that_nobody_else_steers() {
        let rival = || Some("chronyd (pid 7)".to_owned());
        assert!(matches!(allowed(Discipline::Off, false, None), Err(Denied::Off)));
        assert!(matches!(allowed(Discipline::Step, true, None), Err(Denied::Daemon)));
        assert!(
            matches!(allowed(Discipline::Slew, false, rival()), Err(Denied::Rival(name)) if name.contains("chronyd"))
        );
        assert!(allowed(Discipline::Slew, false, None).is_ok());
    }

    #[test]
    fn a_slew_ends_where_it_should_and_is_no_faster_than_allowed() {
        let dir = tempfile::tempdir().expect("a directory");
        let start = RawInstant::from_nanos(0);
        let slew = correction(-25, &Policy::default(), dir.path(), start);
        let (made, clock) = make(&slew, Simulated::off_by(Span::from_millis(-25)), &config(&dir));
        made.expect("is made");
        assert!(clock.offset.abs() < Span::from_micros(1), "{:?}", clock.offset);
        assert!(clock.fastest <= Span::from_micros(500), "{:?}", clock.fastest);
        assert!(clock.kernel.synchronised);
        assert_eq!(clock.kernel.frequency, Rate::from_ppm(12.0), "the frequency is left alone");
        assert!(clock.kernel.max_error > clock.offset.abs() + Span::from_micros(100), "{:?}", clock.kernel);
    }

    #[test]
    fn a_step_is_kept_written_down_and_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (config, policy) = (config(&dir), Policy::default());
        let start = RawInstant::from_nanos(0);
        let step = correction(1_300, &policy, dir.path(), start);
        let (made, clock) = make(&step, Simulated::off_by(Span::from_millis(1_300)), &config);
        made.expect("is made");
        assert_eq!(clock.offset, Span::from_millis(300));
        assert!(!clock.kernel.synchronised, "something remains");
        let soon = correction(300, &policy, dir.path(), start + Span::from_secs(299));
        assert!(matches!(soon.decision, Decision::Refuse(_)), "{}", soon.decision);
        let later = correction(300, &policy, dir.path(), start + Span::from_secs(300));
        assert!(matches!(later.decision, Decision::Step { .. }), "{}", later.decision);
        let once = Policy { step_at_start_only: true, ..policy };
        let later = correction(300, &once, dir.path(), start + Span::from_secs(300));
        assert!(matches!(later.decision, Decision::Slew { .. }), "{}", later.decision);
        let mut kinds = Vec::new();
        let take = &mut |record: &Record| kinds.push((record.kind.clone(), record.fields["action"].clone()));
        assert!(verify(&folder(dir.path()), None, take).expect("read").is_whole());
        assert_eq!(kinds, [("correction".to_owned(), json!("step"))]);
    }

    #[test]
    fn without_the_right_nothing_is_done_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let step = correction(500, &Policy::default(), dir.path(), RawInstant::from_nanos(0));
        let forbidden = Simulated { forbidden: true, ..Simulated::off_by(Span::from_millis(500)) };
        let (made, clock) = make(&step, forbidden, &config(&dir));
        assert!(matches!(made, Err(Denied::Right)), "{made:?}");
        assert_eq!((clock.offset, last(dir.path())), (Span::from_millis(500), None));
    }

    #[test]
    fn two_at_once_are_one_too_many_and_what_was_in_another_boot_does_not_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let other = r#"{"boot":"none","raw_ns":0,"utc":"","action":"step","by_ns":1}"#;
        std::fs::write(dir.path().join(FILE), other).expect("written");
        assert_eq!(last(dir.path()), None);
        let held = lock(&dir.path().join(FILE)).expect("free");
        let step = correction(500, &Policy::default(), dir.path(), RawInstant::from_nanos(0));
        let (made, clock) = make(&step, Simulated::off_by(Span::from_millis(500)), &config(&dir));
        assert!(matches!(made, Err(Denied::Busy)), "{made:?}");
        assert_eq!(clock.offset, Span::from_millis(500));
        drop(held);
    }
}
