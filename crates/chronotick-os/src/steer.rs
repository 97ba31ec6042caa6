//! Steering the system clock: the kernel's own account of it, its frequency, slews and steps (`adjtimex(2)`).
//!
//! | | Linux | elsewhere |
//! |---|---|---|
//! | [`SystemClock`] | `clock_adjtime`; needs `CAP_SYS_TIME` to change anything | cannot be opened |
//! | [`rival`] | names of processes | none is found |

use chronotick_core::{Course, KernelClock, Span};
use std::fmt::Debug;
use std::io;
use std::path::Path;

/// A clock that can be steered: this machine's, or a simulated one.
pub trait Steer: Debug + Send {
    /// What the kernel says of it.
    ///
    /// # Errors
    /// Those of the system call.
    fn read(&mut self) -> io::Result<KernelClock>;

    /// Lets it run like this from now on; what the kernel says of it then.
    ///
    /// # Errors
    /// Those of the system call; without `CAP_SYS_TIME` always.
    fn run(&mut self, course: &Course) -> io::Result<KernelClock>;

    /// Sets it ahead at once; a negative span sets it back.
    ///
    /// # Errors
    /// Those of the system call; without `CAP_SYS_TIME` always.
    fn step(&mut self, by: Span) -> io::Result<()>;
}

/// This machine's system clock (`CLOCK_REALTIME`).
#[derive(Debug)]
pub struct SystemClock(());

impl SystemClock {
    /// The clock of this machine. Nothing is changed by opening it.
    ///
    /// # Errors
    /// If the kernel does not tell of it, and on systems other than Linux.
    pub fn open() -> io::Result<SystemClock> {
        let mut clock = SystemClock(());
        clock.read().map(|_| clock)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Course, KernelClock, Span, Steer, SystemClock, io};
    use chronotick_core::{Leap, Rate};

    /// `ADJ_SETOFFSET` of `linux/timex.h`, which not every C library has.
    const ADJ_SETOFFSET: libc::c_uint = 0x0100;

    /// `ADJ_OFFSET_SS_READ` of the same: tells, and changes nothing.
    const ADJ_OFFSET_SS_READ: libc::c_uint = 0xa001;

    fn adjust(timex: &mut libc::timex) -> io::Result<()> {
        // SAFETY: the kernel reads and writes the one timex that outlives the call.
        let state = unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, timex) };
        // A state above zero says that the clock is not synchronised or that a leap second is near: no failure.
        if state < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn blank() -> libc::timex {
        // SAFETY: a timex is made of integers only, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }

    /// Units of 2⁻¹⁶ ppm.
    pub(super) fn to_kernel(rate: Rate) -> libc::c_long {
        ((i128::from(rate.to_bits()) * 1_000_000 + (1 << 31)) >> 32) as libc::c_long
    }

    pub(super) fn from_kernel(frequency: impl Into<i128>) -> Rate {
        Rate::from_bits(((frequency.into() << 32) / 1_000_000) as i64)
    }

    /// Whole microseconds, rounded up: what is claimed is never too little.
    pub(super) fn microseconds(span: Span) -> libc::c_long {
        (span.abs().as_nanos().saturating_add(999) / 1_000) as libc::c_long
    }

    /// What is left of a slew by adjtime(3), which the kernel counts beside its loop.
    fn adjtime_left() -> io::Result<Span> {
        let mut timex = blank();
        timex.modes = ADJ_OFFSET_SS_READ;
        adjust(&mut timex)?;
        Ok(Span::from_micros(timex.offset))
    }

    /// How many ticks the kernel counts in a second (`USER_HZ`).
    fn ticks() -> libc::c_long {
        // SAFETY: no pointers.
        unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1)
    }

    /// The length of a tick where it is as long as it is meant to be, in µs.
    fn nominal_tick() -> libc::c_long {
        (1_000_000 + ticks() / 2) / ticks()
    }

    /// What a tick that is longer by a microsecond adds to the frequency, in its units.
    fn tick_weight() -> libc::c_long {
        ticks() << 16
    }

    /// The kernel takes no frequency beyond 500 ppm (`MAXFREQ`).
    const MOST: libc::c_long = 500 << 16;

    /// A frequency as a tick and what is left beside it. The tick is as long as it is meant to be, unless somebody has left a
    /// frequency that no other says.
    fn tick_and_frequency(rate: Rate) -> (libc::c_long, libc::c_long) {
        let (whole, weight) = (to_kernel(rate), tick_weight());
        let longer = if whole.abs() > MOST { whole / weight } else { 0 };
        (nominal_tick() + longer, whole - longer * weight)
    }

    pub(super) fn account(timex: &libc::timex) -> KernelClock {
        let nanos = timex.status & libc::STA_NANO != 0;
        let ticking = i128::from(timex.tick - nominal_tick()) * i128::from(tick_weight());
        KernelClock {
            frequency: from_kernel(i128::from(timex.freq) + ticking),
            pending: if nanos { Span::from_nanos(timex.offset) } else { Span::from_micros(timex.offset) },
            max_error: Span::from_micros(timex.maxerror),
            estimated_error: Span::from_micros(timex.esterror),
            synchronised: timex.status & libc::STA_UNSYNC == 0,
        }
    }

    /// What the kernel is told so that the clock runs like this.
    pub(super) fn timex_of(course: &Course) -> libc::timex {
        let claim = &course.claim;
        let leap = match claim.leap {
            Leap::None => 0,
            Leap::Insert => libc::STA_INS,
            Leap::Delete => libc::STA_DEL,
        };
        let unsynchronised = if claim.synchronised { 0 } else { libc::STA_UNSYNC };
        let mut timex = blank();
        // Another daemon may have left any of these as it wanted it.
        timex.modes = libc::ADJ_STATUS
            | libc::ADJ_NANO
            | libc::ADJ_TICK
            | libc::ADJ_FREQUENCY
            | libc::ADJ_MAXERROR
            | libc::ADJ_ESTERROR
            | libc::ADJ_TIMECONST
            | libc::ADJ_OFFSET;
        // The phase-locked loop slews by itself and ends by itself; the frequency is ours.
        timex.status = libc::STA_PLL | libc::STA_FREQHOLD | leap | unsynchronised;
        (timex.tick, timex.freq) = tick_and_frequency(course.frequency);
        timex.maxerror = microseconds(claim.max_error);
        timex.esterror = microseconds(claim.estimated_error);
        timex.constant = 0;
        timex.offset = course.slew.as_nanos() as libc::c_long;
        timex
    }

    impl Steer for SystemClock {
        fn read(&mut self) -> io::Result<KernelClock> {
            let mut timex = blank();
            adjust(&mut timex)?;
            let mut account = account(&timex);
            account.pending += adjtime_left()?;
            Ok(account)
        }

        fn run(&mut self, course: &Course) -> io::Result<KernelClock> {
            adjust(&mut timex_of(course))?;
            self.read()
        }

        fn step(&mut self, by: Span) -> io::Result<()> {
            let mut timex = blank();
            timex.modes = ADJ_SETOFFSET | libc::ADJ_NANO;
            timex.time.tv_sec = by.as_nanos().div_euclid(1_000_000_000) as _;
            // With ADJ_NANO the field holds nanoseconds, and is never negative.
            timex.time.tv_usec = by.as_nanos().rem_euclid(1_000_000_000) as _;
            adjust(&mut timex)
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Steer for SystemClock {
    fn read(&mut self) -> io::Result<KernelClock> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn run(&mut self, _course: &Course) -> io::Result<KernelClock> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn step(&mut self, _by: Span) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What the kernel calls processes that steer the system clock (the first fifteen bytes of their names).
const STEERING: &[&str] =
    &["chronyd", "ntpd", "openntpd", "systemd-timesyn", "ntp-daemon", "phc2sys", "timemaster", "sntpd"];

/// A process that steers the system clock, by name and number; `proc` is where the kernel shows its processes (`/proc`). A
/// chronyd that was told to leave the clock alone (`-x`) is none.
pub fn rival(proc: &Path) -> Option<String> {
    for entry in std::fs::read_dir(proc).ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let Ok(comm) = std::fs::read_to_string(entry.path().join("comm")) else { continue };
        let comm = comm.trim_end();
        let arguments = || std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let lets_be =
            || comm == "chronyd" && arguments().split(|b| *b == 0).any(|argument| argument == b"-x");
        if STEERING.contains(&comm) && !lets_be() {
            return Some(format!("{comm} (pid {pid})"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_daemon_that_steers_is_found_by_its_name() {
        let proc = std::env::temp_dir().join(format!("chronotick-proc-{}", std::process::id()));
        let process = |pid: &str, comm: &str, cmdline: &[u8]| {
            let dir = proc.join(pid);
            fs::create_dir_all(&dir).expect("made");
            fs::write(dir.join("comm"), format!("{comm}\n")).expect("written");
            fs::write(dir.join("cmdline"), cmdline).expect("written");
        };
        process("1", "init", b"init\0");
        process("self", "chronyd", b"chronyd\0");
        process("20", "chronyd", b"chronyd\0-x\0-f\0c\0");
        assert_eq!(rival(&proc), None);
        process("30", "systemd-timesyn", b"/lib/systemd/systemd-timesyncd\0");
        assert_eq!(rival(&proc).as_deref(), Some("systemd-timesyn (pid 30)"));
        fs::remove_dir_all(&proc).expect("removed");
        assert_eq!(rival(&proc), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tick_that_another_daemon_left_is_part_of_the_frequency_and_is_set_right() {
        use chronotick_core::{Claim, Leap, Rate};
        let claim = Claim {
            max_error: Span::ZERO,
            estimated_error: Span::ZERO,
            synchronised: true,
            leap: Leap::None,
        };
        let told = |ppm: f64| {
            let frequency = Rate::from_ppm(ppm);
            let mut timex = linux::timex_of(&Course { frequency, slew: Span::ZERO, claim });
            assert!((linux::account(&timex).frequency.as_ppm() - ppm).abs() < 1e-4, "{ppm}");
            assert_ne!(timex.modes & libc::ADJ_TICK, 0);
            let tick = timex.tick;
            timex.tick += 1;
            assert!(linux::account(&timex).frequency.as_ppm() > ppm + 50.0, "{ppm}");
            (tick, timex.freq)
        };
        let (nominal, _) = told(0.0);
        for ppm in [-500.0, -12.5, 500.0] {
            assert_eq!(told(ppm), (nominal, linux::to_kernel(Rate::from_ppm(ppm))));
        }
        // Whoever corrects the clock by hand leaves its frequency as it was, however it was made.
        for ppm in [-9_990.0, 737.0, 10_300.0] {
            let (tick, freq) = told(ppm);
            assert!(tick != nominal && freq.abs() <= 500 << 16, "{ppm}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn frequencies_survive_the_kernels_units_and_claims_are_rounded_up() {
        use chronotick_core::Rate;
        for ppm in [-500.0, -0.001, 0.0, 37.25, 500.0] {
            let units = linux::to_kernel(Rate::from_ppm(ppm));
            assert_eq!(units, (ppm * 65_536.0).round() as libc::c_long);
            assert_eq!(linux::to_kernel(linux::from_kernel(units)), units);
        }
        assert_eq!(linux::microseconds(Span::from_nanos(1_001)), 2);
        assert_eq!(linux::microseconds(Span::from_nanos(-1_000)), 1);
    }
}
