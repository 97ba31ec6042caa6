//! Noticing what happens to the machine's clocks behind everyone's back, by comparing them with each other.
//!
//! Linux advances real, monotonic and boot time in step: the first differs from the last by steps only, the last two
//! by suspend only. What the clocks cannot show, that they belong to another machine now, is told by files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use chronotick_core::{Disruption, Rate, RawInstant, Span, Timestamp};

use crate::raw_now;

/// Compares the clocks now with the clocks before.
///
/// ```
/// let mut watch = chronotick_os::Watch::new();
/// for disruption in watch.check() {
///     eprintln!("{disruption}");
/// }
/// ```
#[derive(Debug)]
pub struct Watch {
    clocks: Clocks,
    host: Host,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch::new()
    }
}

impl Watch {
    /// Begins to watch.
    pub fn new() -> Watch {
        Watch { clocks: Clocks::now(), host: Host::now() }
    }

    /// What has happened since the last check, or the beginning. It takes some 25 µs; once a second is often enough.
    pub fn check(&mut self) -> Vec<Disruption> {
        let now = Watch::new();
        let before = std::mem::replace(self, now);
        let mut found = self.clocks.disrupted_since(&before.clocks);
        if self.host != before.host {
            found.push(Disruption::Migrated);
        }
        found
    }
}

/// Readings of all clocks at one instant, as nearly as they can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    raw: RawInstant,
    monotonic: Span,
    /// Monotonic time that counts suspend too.
    boot: Span,
    system: Timestamp,
    /// How long reading them took.
    slack: Span,
}

impl Clocks {
    /// The tightest of five attempts.
    fn now() -> Clocks {
        let attempt = |_| {
            let raw = raw_now();
            let monotonic = Span::from_nanos(read(libc::CLOCK_MONOTONIC));
            let boot = Span::from_nanos(read(BOOT));
            let system = Timestamp::from_nanos(read(libc::CLOCK_REALTIME));
            Clocks { raw, monotonic, boot, system, slack: raw_now() - raw }
        };
        [0; 5].map(attempt).into_iter().min_by_key(|clocks| clocks.slack).expect("five attempts were made")
    }

    fn disrupted_since(&self, before: &Clocks) -> Vec<Disruption> {
        let slack = self.slack + before.slack;
        let raw = self.raw - before.raw;
        let monotonic = self.monotonic - before.monotonic;
        let boot = self.boot - before.boot;
        let beyond = |by: Span, tolerance: Span| (by.abs() > tolerance + slack).then_some(by);

        let lasted = beyond(boot - monotonic, Span::from_millis(1));
        let raw_by = beyond(raw - monotonic, Span::from_millis(1) + FASTEST_SLEW.over(monotonic.abs()));
        let step = beyond((self.system - before.system) - boot, STEP_TOLERANCE + SLEW.over(boot.abs()));
        [
            lasted.map(|lasted| Disruption::Suspended { lasted }),
            raw_by.map(|by| Disruption::RawJump { by }),
            step.map(|by| Disruption::SystemStep { by }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The fastest slew that the kernel accepts, a tenth (`adjtimex(2)`, tick), plus its frequency.
const FASTEST_SLEW: Rate = Rate::from_bits((1 << 48) / 9);

/// Boot time runs with real time, except for steps.
#[cfg(target_os = "linux")]
const BOOT: libc::clockid_t = libc::CLOCK_BOOTTIME;
#[cfg(target_os = "linux")]
const STEP_TOLERANCE: Span = Span::from_micros(1);
#[cfg(target_os = "linux")]
const SLEW: Rate = Rate::ZERO;

/// Monotonic time counts suspend here, and real time is slewed against it.
#[cfg(not(target_os = "linux"))]
const BOOT: libc::clockid_t = libc::CLOCK_MONOTONIC;
#[cfg(not(target_os = "linux"))]
const STEP_TOLERANCE: Span = Span::from_millis(1);
#[cfg(not(target_os = "linux"))]
const SLEW: Rate = Rate::from_bits((1 << 48) / 2_000);

fn read(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that outlives the call; nothing else is touched.
    let rc = unsafe { libc::clock_gettime(clock, &mut time) };
    // A clock that the kernel does not have stands still: it shows nothing, rather than something false.
    if rc == 0 { time.tv_sec * 1_000_000_000 + time.tv_nsec } else { 0 }
}

/// What tells one machine, as its clocks are concerned, from another. What a system does not tell stays `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    boot_id: Option<String>,
    clocksource: Option<String>,
    vmclock: Option<u64>,
}

impl Host {
    fn now() -> Host {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        Host {
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            vmclock: disruption_marker(Path::new("/dev/vmclock0")),
        }
    }
}

/// The hypervisor changes this number when it has moved or restored the machine (`linux/vmclock-abi.h`).
fn disruption_marker(path: &Path) -> Option<u64> {
    const MAGIC: [u8; 4] = *b"VCLK";
    let mut head = [0u8; 24];
    File::open(path).ok()?.read_exact_at(&mut head, 0).ok()?;
    let (magic, marker) = (head.first_chunk::<4>()?, head.last_chunk::<8>()?);
    (*magic == MAGIC).then(|| u64::from_le_bytes(*marker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks() -> Clocks {
        Clocks {
            raw: RawInstant::from_nanos(5_000_000_000),
            monotonic: Span::from_secs(7),
            boot: Span::from_secs(9),
            system: Timestamp::from_nanos(1_700_000_000_000_000_000),
            slack: Span::from_nanos(100),
        }
    }

    /// The same clocks a second later, the kernel's time slewed by 500 ppm.
    fn later() -> Clocks {
        let (second, kernel) = (Span::from_secs(1), Span::from_micros(1_000_500));
        let c = clocks();
        Clocks {
            raw: c.raw + second,
            monotonic: c.monotonic + kernel,
            boot: c.boot + kernel,
            system: c.system + kernel,
            slack: c.slack,
        }
    }

    #[test]
    fn slewing_is_no_disruption() {
        assert_eq!(later().disrupted_since(&clocks()), []);
    }

    #[test]
    fn each_clock_shows_its_own_disruption() {
        let minute = Span::from_secs(60);
        let slept = Clocks { boot: later().boot + minute, system: later().system + minute, ..later() };
        assert_eq!(slept.disrupted_since(&clocks()), [Disruption::Suspended { lasted: minute }]);

        for by in [Span::from_micros(-5), Span::from_micros(5), Span::from_secs(-86_400)] {
            let stepped = Clocks { system: later().system + by, ..later() };
            assert_eq!(stepped.disrupted_since(&clocks()), [Disruption::SystemStep { by }]);
        }

        let jumped = Clocks { raw: later().raw - minute, ..later() };
        let found = jumped.disrupted_since(&clocks());
        assert_eq!(found, [Disruption::RawJump { by: -minute - Span::from_micros(500) }]);
    }

    #[test]
    fn what_the_time_of_reading_explains_is_none() {
        let slow = Clocks {
            slack: Span::from_millis(20),
            system: later().system + Span::from_millis(15),
            ..later()
        };
        assert_eq!(slow.disrupted_since(&clocks()), []);
    }

    #[test]
    fn all_at_once_is_told_at_once() {
        let at = |c: Clocks, by| Clocks { boot: c.boot + by, ..c };
        let found = at(later(), Span::from_secs(10)).disrupted_since(&clocks());
        let by = Span::from_secs(-10);
        assert_eq!(
            found,
            [Disruption::Suspended { lasted: Span::from_secs(10) }, Disruption::SystemStep { by }]
        );
    }

    #[test]
    fn another_host_is_a_migration() {
        let mut watch = Watch::new();
        watch.host.clocksource = Some("another".into());
        assert!(watch.check().contains(&Disruption::Migrated));
        assert!(!watch.check().contains(&Disruption::Migrated));
    }

    #[test]
    fn the_marker_is_read_from_its_place() {
        let path = std::env::temp_dir().join(format!("chronotick-vmclock-{}", std::process::id()));
        let mut page = b"VCLK".to_vec();
        page.extend([0; 12]);
        page.extend(0x1122_3344_5566_7788u64.to_le_bytes());
        std::fs::write(&path, &page).unwrap();
        assert_eq!(disruption_marker(&path), Some(0x1122_3344_5566_7788));
        page[0] = b'?';
        std::fs::write(&path, &page).unwrap();
        assert_eq!(disruption_marker(&path), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(disruption_marker(&path), None);
    }
}
