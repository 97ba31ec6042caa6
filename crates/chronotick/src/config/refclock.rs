//! A reference clock, as it is written: one line in the words of chrony's `refclock` directive, so that a line of a
//! `chrony.conf` can be taken over.

use chronotick_clock::Span;
use chronotick_core::Role;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What kind of clock it is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A unit of NTP's shared memory clock.
    Shm(u8),
    /// A Unix socket to which another program sends samples.
    Sock(PathBuf),
    /// Pulses that the kernel stamps, and whether the falling edge begins the second.
    Pps(PathBuf, bool),
    /// The clock of a network card or a hypervisor.
    Phc(PathBuf),
    /// A gpsd: its address, and the receiver if it is not the only one. The receiver's pulse, or its serial time.
    Gpsd {
        /// Host and TCP port.
        address: String,
        /// Path of the receiver.
        device: Option<String>,
        /// Whether the pulse is meant.
        pulse: bool,
    },
    /// A receiver on a serial line, and the line's speed.
    Nmea(PathBuf, u32),
    /// The clock that a hypervisor shares.
    Vmclock(PathBuf),
    /// The system clock by the word of the machine's own chronyd, at this command socket if not at a usual place: the last
    /// resort.
    Chronyd(Option<PathBuf>),
}

/// A reference clock and what is expected of it.
///
/// ```
/// use chronotick::config::ReferenceClock;
/// let gps: ReferenceClock = "SHM 0 refid GPS precision 1e-1 delay 0.2 noselect".parse()?;
/// assert_eq!(gps.name(), "GPS");
/// assert!(gps.role.noselect);
/// # Ok::<(), chronotick::config::InvalidClock>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceClock {
    /// What and where.
    pub kind: Kind,
    /// The name that it is shown by: up to four letters or digits.
    pub refid: Option<String>,
    /// What its word counts for.
    pub role: Role,
    /// How often its samples become one measurement: 2^poll s, once the warm-up is over.
    pub poll: i8,
    /// How many of the newest samples the median is taken of.
    pub filter: u16,
    /// What has to be added to what the clock says; positive makes its time later.
    pub offset: Span,
    /// The longest that what it says takes to reach this machine: half of it goes into the bound, either way.
    pub delay: Span,
    /// How wrong a sample may be, instead of what the clock itself says.
    pub precision: Option<Span>,
    /// The clock that tells in which second a pulse was, by its refid; without one corrected time does.
    pub lock: Option<String>,
    /// A sample of that clock is good for so many pulses.
    pub maxlockage: u8,
    /// How many steps the clock itself is away from a primary reference.
    pub stratum: u8,
    /// Whether the clock runs on TAI.
    pub tai: bool,
    /// Whether a segment that any user may write is accepted.
    pub anyone: bool,
}

/// Why a text is no reference clock, with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClock {
    /// Nothing is written.
    #[error("nothing is written; begin with the kind of clock, such as `SHM 0 refid GPS`")]
    Empty,
    /// There is no such kind.
    #[error("there is no kind of clock {0:?}; there are {KINDS}")]
    Kind(String),
    /// The kind needs to be told where.
    #[error("{0} needs {1} behind it")]
    Place(&'static str, &'static str),
    /// There is no such option.
    #[error("there is no option {0:?}; there are {OPTIONS}")]
    Option(String),
    /// An option needs a value.
    #[error("{0} needs {1} behind it")]
    Value(&'static str, &'static str),
    /// An option is written twice.
    #[error("{0} is written twice")]
    Repeated(String),
    /// Two options contradict each other.
    #[error("{0} and {1} contradict each other; leave out one")]
    Contradiction(&'static str, &'static str),
}

const KINDS: &str = "SHM, SOCK, PPS, PHC, GPSD, NMEA, VMCLOCK, CHRONYD";
const OPTIONS: &str = "refid, poll, filter, offset, delay, precision, lock, maxlockage, stratum, tai, prefer, trust, \
    require, noselect, anyone, pulse, device";

impl ReferenceClock {
    /// Of this kind, with nothing else said.
    pub fn new(kind: Kind) -> ReferenceClock {
        // What chronyd follows is not asked for: whoever has a better source shall rather follow that.
        let stratum = if matches!(kind, Kind::Chronyd(_)) { 10 } else { 0 };
        ReferenceClock {
            kind,
            refid: None,
            role: Role::default(),
            // Samples cost little, and between two measurements the bound grows.
            poll: 0,
            filter: 64,
            offset: Span::ZERO,
            // chrony's, and about what a pulse and its interrupt take.
            delay: Span::from_nanos(1),
            precision: None,
            lock: None,
            maxlockage: 2,
            stratum,
            tai: false,
            anyone: false,
        }
    }

    /// What it is shown by: its refid, or four letters of its kind and place.
    pub fn name(&self) -> String {
        self.refid.clone().unwrap_or_else(|| match &self.kind {
            Kind::Shm(unit) => format!("SHM{unit}"),
            Kind::Sock(_) => "SOCK".into(),
            Kind::Pps(..) => "PPS".into(),
            Kind::Phc(_) => "PHC".into(),
            Kind::Gpsd { pulse: true, .. } => "PPS".into(),
            Kind::Gpsd { .. } => "GPS".into(),
            Kind::Nmea(..) => "NMEA".into(),
            Kind::Vmclock(_) => "VMC".into(),
            Kind::Chronyd(_) => "CHRD".into(),
        })
    }

    /// Kind and place, without the options.
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::Shm(unit) => format!("SHM {unit}"),
            Kind::Sock(path) => format!("SOCK {}", path.display()),
            Kind::Pps(path, clear) => format!("PPS {}{}", path.display(), if *clear { ":clear" } else { "" }),
            Kind::Phc(path) => format!("PHC {}", path.display()),
            Kind::Gpsd { address, .. } => format!("GPSD {address}"),
            Kind::Nmea(path, baud) => format!("NMEA {}:{baud}", path.display()),
            Kind::Vmclock(path) => format!("VMCLOCK {}", path.display()),
            Kind::Chronyd(None) => "CHRONYD".into(),
            Kind::Chronyd(Some(path)) => format!("CHRONYD {}", path.display()),
        }
    }

    /// Whether it counts only while no other source answers.
    pub fn is_last_resort(&self) -> bool {
        matches!(self.kind, Kind::Chronyd(_))
    }

    /// The widest that a sample may be from truth by what is written here: half the delay, and the precision where that is
    /// written.
    pub fn reach(&self) -> Span {
        self.delay.half() + self.precision.unwrap_or(Span::ZERO)
    }
}

impl FromStr for ReferenceClock {
    type Err = InvalidClock;

    fn from_str(text: &str) -> Result<ReferenceClock, InvalidClock> {
        let mut words = text.split_ascii_whitespace().peekable();
        words.next_if(|word| word.eq_ignore_ascii_case("refclock"));
        let first = words.next();
        let kind = kind(first.ok_or(InvalidClock::Empty)?, &mut words)?;
        let mut clock = ReferenceClock::new(kind);
        let mut seen: Vec<String> = Vec::new();
        while let Some(word) = words.next() {
            let option = word.to_ascii_lowercase();
            clock.take(&option, &mut words)?;
            if seen.contains(&option) {
                return Err(InvalidClock::Repeated(option));
            }
            seen.push(option);
        }
        clock.checked()
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>;

fn kind(word: &str, words: &mut Words<'_>) -> Result<Kind, InvalidClock> {
    let is_path = |word: &&str| word.starts_with('/');
    let mut path = |kind, what| words.next_if(is_path).ok_or(InvalidClock::Place(kind, what));
    // chrony's options of a device follow it behind a colon.
    let split = |word: &str| match word.split_once(':') {
        Some((path, option)) => (PathBuf::from(path), Some(option.to_ascii_lowercase())),
        None => (PathBuf::from(word), None),
    };
    const PPS: InvalidClock =
        InvalidClock::Place("PPS", "/dev/pps0, or /dev/pps0:clear for the falling edge,");
    const NMEA: InvalidClock =
        InvalidClock::Place("NMEA", "a serial line and its speed, such as /dev/ttyS0:9600,");
    Ok(match word.to_ascii_uppercase().as_str() {
        "SHM" => {
            let unit = words.next().and_then(|unit| unit.split(':').next()?.parse().ok());
            Kind::Shm(unit.ok_or(InvalidClock::Place("SHM", "a unit from 0 to 255"))?)
        }
        "SOCK" => Kind::Sock(path("SOCK", "the absolute path of a socket")?.into()),
        "PPS" => match split(path("PPS", "/dev/pps0")?) {
            (path, None) => Kind::Pps(path, false),
            (path, Some(edge)) if edge == "clear" => Kind::Pps(path, true),
            _ => return Err(PPS),
        },
        "PHC" => Kind::Phc(path("PHC", "/dev/ptp0")?.into()),
        "GPSD" => {
            let address = words.next_if(|word| word.contains(':')).unwrap_or("127.0.0.1:2947").to_owned();
            Kind::Gpsd { address, device: None, pulse: false }
        }
        "NMEA" => match split(path("NMEA", "a serial line")?) {
            (path, None) => Kind::Nmea(path, 9_600),
            (path, Some(baud)) => Kind::Nmea(path, baud.parse().map_err(|_| NMEA)?),
        },
        "CHRONYD" => Kind::Chronyd(words.next_if(is_path).map(PathBuf::from)),
        "VMCLOCK" => Kind::Vmclock(words.next_if(is_path).unwrap_or("/dev/vmclock0").into()),
        _ => return Err(InvalidClock::Kind(word.to_owned())),
    })
}

impl ReferenceClock {
    fn take(&mut self, option: &str, words: &mut Words<'_>) -> Result<(), InvalidClock> {
        if let Kind::Gpsd { device, pulse, .. } = &mut self.kind {
            match option {
                "pulse" => {
                    *pulse = true;
                    return Ok(());
                }
                "device" => {
                    let path = words.next_if(|word| word.starts_with('/'));
                    *device =
                        Some(path.ok_or(InvalidClock::Value("device", "the path of a receiver"))?.into());
                    return Ok(());
                }
                _ => {}
            }
        }
        match option {
            "refid" => {
                self.refid = Some(refid(words.next()).ok_or(InvalidClock::Value("refid", FOUR_LETTERS))?)
            }
            "lock" => self.lock = Some(refid(words.next()).ok_or(InvalidClock::Value("lock", FOUR_LETTERS))?),
            "poll" => {
                self.poll = number(words.next(), -4..=12)
                    .ok_or(InvalidClock::Value("poll", "a number from -4 to 12"))?
            }
            // chrony's sampling interval: here every sample is taken.
            "dpoll" => {
                number::<i8>(words.next(), -6..=12)
                    .ok_or(InvalidClock::Value("dpoll", "a number from -6 to 12"))?;
            }
            "filter" => {
                self.filter = number(words.next(), 1..=1024)
                    .ok_or(InvalidClock::Value("filter", "a number from 1 to 1024"))?
            }
            "maxlockage" => {
                self.maxlockage = number(words.next(), 1..=250)
                    .ok_or(InvalidClock::Value("maxlockage", "a number from 1 to 250"))?;
            }
            "stratum" => {
                self.stratum = number(words.next(), 0..=14)
                    .ok_or(InvalidClock::Value("stratum", "a number from 0 to 14"))?
            }
            "offset" => {
                self.offset = seconds(words.next(), -43_200.0)
                    .ok_or(InvalidClock::Value("offset", "seconds, within 12 hours"))?
            }
            "delay" => {
                self.delay = seconds(words.next(), 0.0)
                    .ok_or(InvalidClock::Value("delay", "seconds, not below zero"))?
            }
            "precision" => {
                let precision = seconds(words.next(), 0.0)
                    .ok_or(InvalidClock::Value("precision", "seconds, not below zero"))?;
                self.precision = Some(precision);
            }
            "prefer" => self.role.prefer = true,
            "trust" => self.role.trust = true,
            "require" => self.role.require = true,
            "noselect" => self.role.noselect = true,
            "tai" => self.tai = true,
            "anyone" => self.anyone = true,
            _ => return Err(InvalidClock::Option(option.to_owned())),
        }
        Ok(())
    }

    fn checked(self) -> Result<ReferenceClock, InvalidClock> {
        let said = [("prefer", self.role.prefer), ("trust", self.role.trust), ("require", self.role.require)];
        match said.into_iter().find(|(_, said)| *said && self.role.noselect) {
            Some((option, _)) => Err(InvalidClock::Contradiction("noselect", option)),
            None => Ok(self),
        }
    }
}

const FOUR_LETTERS: &str = "one to four letters or digits";

fn refid(word: Option<&str>) -> Option<String> {
    let is_refid = |w: &&str| (1..=4).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_alphanumeric());
    word.filter(is_refid).map(ToOwned::to_owned)
}

fn number<N: FromStr + PartialOrd>(word: Option<&str>, range: std::ops::RangeInclusive<N>) -> Option<N> {
    word?.parse().ok().filter(|n| range.contains(n))
}

fn seconds(word: Option<&str>, least: f64) -> Option<Span> {
    let seconds: f64 = word?.parse().ok()?;
    (least..=43_200.0).contains(&seconds).then(|| Span::from_secs_f64(seconds))
}

/// As it would be written: what is usual is left out.
impl fmt::Display for ReferenceClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = ReferenceClock::new(self.kind.clone());
        f.write_str(&self.place())?;
        let mut word = |name: &str, said: bool| if said { write!(f, " {name}") } else { Ok(()) };
        if let Kind::Gpsd { device, pulse, .. } = &self.kind {
            word("pulse", *pulse)?;
            if let Some(device) = device {
                word(&format!("device {device}"), true)?;
            }
        }
        if let Some(refid) = &self.refid {
            word(&format!("refid {refid}"), true)?;
        }
        word(&format!("poll {}", self.poll), self.poll != usual.poll)?;
        word(&format!("filter {}", self.filter), self.filter != usual.filter)?;
        word(&format!("offset {}", self.offset.as_secs_f64()), self.offset != usual.offset)?;
        word(&format!("delay {}", self.delay.as_secs_f64()), self.delay != usual.delay)?;
        if let Some(precision) = self.precision {
            word(&format!("precision {}", precision.as_secs_f64()), true)?;
        }
        if let Some(lock) = &self.lock {
            word(&format!("lock {lock}"), true)?;
        }
        word(&format!("maxlockage {}", self.maxlockage), self.maxlockage != usual.maxlockage)?;
        word(&format!("stratum {}", self.stratum), self.stratum != usual.stratum)?;
        let Role { noselect, prefer, trust, require } = self.role;
        for (name, said) in [
            ("prefer", prefer),
            ("trust", trust),
            ("require", require),
            ("noselect", noselect),
            ("tai", self.tai),
            ("anyone", self.anyone),
        ] {
            word(name, said)?;
        }
        Ok(())
    }
}

/// What is worth knowing of clocks that are to work together: why, and what mends it. `servers` says whether time
/// servers are configured as well.
pub(super) fn warnings(clocks: &[ReferenceClock], servers: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    for fine in clocks {
        let a = fine.name();
        let Some(b) = &fine.lock else {
            if fine.is_pulse() && !servers {
                warnings.push(format!(
                    "nothing tells which second the pulses of {a} begin: name a clock that does by `lock`, or configure servers"
                ));
            }
            continue;
        };
        let Some(coarse) = clocks.iter().find(|clock| clock.name() == *b) else {
            warnings.push(format!("{a} is to be numbered by {b}, and no clock has that refid"));
            continue;
        };
        let reach = coarse.reach();
        if reach > LARGEST {
            warnings.push(format!(
                "{b} may be {reach} off, so it cannot tell the second of {a}: that takes {LARGEST} or less; make its `delay` and \
                 `precision` smaller"
            ));
        } else if coarse.is_serial() && !coarse.role.noselect && reach < WANDERS {
            warnings.push(format!(
                "what {b} says may be {reach} off by its `delay` and `precision`, and serial time wanders by {WANDERS}: its \
                 interval need not contain the pulses of {a}, and then no majority agrees; give it `delay 0.2`, or `noselect`"
            ));
        }
    }
    warnings
}

/// A second is told from the next within this.
const LARGEST: Span = Span::from_millis(400);
/// By so much the last byte of a receiver's sentence comes sooner or later from one second to the next.
const WANDERS: Span = Span::from_millis(50);

impl ReferenceClock {
    /// Whether it can only tell where in a second it is.
    fn is_pulse(&self) -> bool {
        matches!(self.kind, Kind::Pps(..))
    }

    /// Whether several programs can read it at a time. What one has to own is left to the daemon.
    pub fn is_shared(&self) -> bool {
        !matches!(self.kind, Kind::Sock(_) | Kind::Nmea(..))
    }

    /// Whether what it says has usually come over a serial line.
    fn is_serial(&self) -> bool {
        matches!(self.kind, Kind::Shm(_) | Kind::Sock(_) | Kind::Nmea(..) | Kind::Gpsd { pulse: false, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<ReferenceClock, InvalidClock> {
        text.parse()
    }

    #[test]
    fn a_line_of_chrony_is_understood() {
        let gps =
            read("refclock SHM 0 refid GPS precision 1e-1 offset 0.0 delay 0.2 poll 8 noselect").unwrap();
        assert_eq!((gps.kind.clone(), gps.poll, gps.role.noselect), (Kind::Shm(0), 8, true));
        assert_eq!(gps.reach(), Span::from_millis(200));
        let sock = read("SOCK /run/chrony.ttyS0.sock refid PPS lock GPS prefer trust").unwrap();
        assert_eq!((sock.name(), sock.lock.as_deref()), ("PPS".to_owned(), Some("GPS")));
        assert_eq!(read("SHM 2:perm=0644").unwrap().name(), "SHM2");
        assert_eq!(read("PPS /dev/pps0:clear lock GPS").unwrap().kind, Kind::Pps("/dev/pps0".into(), true));
        assert!(read("PHC /dev/ptp0 tai poll 0").unwrap().tai);
        assert_eq!(read("NMEA /dev/ttyS0:115200").unwrap().kind, Kind::Nmea("/dev/ttyS0".into(), 115_200));
        assert_eq!(read("VMCLOCK refid VM").unwrap().kind, Kind::Vmclock("/dev/vmclock0".into()));
        let last = read("CHRONYD /run/chrony/chronyd.sock stratum 4").unwrap();
        assert_eq!((last.name(), last.stratum, last.is_last_resort()), ("CHRD".into(), 4, true));
        assert_eq!(
            (read("CHRONYD").unwrap().kind, read("CHRONYD").unwrap().stratum),
            (Kind::Chronyd(None), 10)
        );
        assert!(!read("SHM 0").unwrap().is_last_resort());
        let gpsd = read("GPSD pulse device /dev/ttyS0").unwrap();
        assert_eq!((gpsd.name(), gpsd.place()), ("PPS".to_owned(), "GPSD 127.0.0.1:2947".to_owned()));
    }

    #[test]
    fn every_mistake_has_its_own_words() {
        for (text, word) in [
            ("", "nothing is written"),
            ("refclock", "nothing is written"),
            ("SUNDIAL 0", "no kind of clock \"SUNDIAL\""),
            ("SHM", "SHM needs a unit"),
            ("SHM 256", "SHM needs a unit"),
            ("SOCK clock.sock", "SOCK needs the absolute path"),
            ("SHM 0 refid", "refid needs one to four"),
            ("SHM 0 refid RECEIVER", "refid needs one to four"),
            ("SHM 0 pol 4", "no option \"pol\""),
            ("SHM 0 poll 99", "poll needs"),
            ("SHM 0 offset NaN", "offset needs"),
            ("SHM 0 delay -1", "delay needs"),
            ("SHM 0 prefer prefer", "twice"),
            ("SHM 0 prefer noselect", "contradict"),
            ("SHM 0 pulse", "no option \"pulse\""),
            ("PPS /dev/pps0:rising", "PPS needs"),
            ("NMEA /dev/ttyS0:fast", "NMEA needs"),
            ("GPSD device", "device needs"),
        ] {
            let why = read(text).unwrap_err().to_string();
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn a_coarse_clock_that_cannot_contain_its_fine_partner_is_warned_of() {
        let of = |lines: &[&str]| {
            let clocks: Vec<_> = lines.iter().map(|line| read(line).unwrap()).collect();
            warnings(&clocks, true)
        };
        let fine = "SOCK /run/pps.sock refid PPS lock GPS";
        assert!(of(&["SHM 0 refid GPS delay 0.001", fine])[0].contains("no majority agrees"));
        assert!(of(&["SHM 0 refid GPS delay 1.0", fine])[0].contains("cannot tell the second"));
        assert!(of(&["SHM 0 refid NMEA delay 0.2", fine])[0].contains("no clock has that refid"));
        assert!(of(&["SHM 0 refid GPS delay 0.2", fine]).is_empty());
        assert!(of(&["SHM 0 refid GPS noselect", fine]).is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_shows_as_itself(
            text in "(SHM [0-9]{1,3}|SOCK /[a-z]{1,8}|PPS /dev/pps0(:clear)?|PHC /dev/ptp[0-9]|GPSD( pulse| device /dev/x)?|NMEA /dev/t:[0-9]{1,6}|VMCLOCK|\\PC{0,9})( (refid [A-Z]{1,5}|poll -?[0-9]|delay 0\\.[0-9]{1,9}|offset -?[0-9]\\.[0-9]{1,6}|prefer|tai|noselect|trust|lock GPS)){0,4}",
        ) {
            if let Ok(clock) = read(&text) {
                prop_assert_eq!(read(&clock.to_string()), Ok(clock));
            }
        }
    }
}
