//! The thread beside each reference clock: it opens the clock, waits for its samples, and opens it anew when it is lost.
//! The measuring thread takes from a channel what is there, and is woken when something is.

use super::chronyd::Chronyd;
use crate::config::{Kind, ReferenceClock};
use chronotick_core::Span;
use chronotick_os::refclock::gpsd::{Gpsd, Report};
use chronotick_os::refclock::{Driver, Sample, Trouble, nmea::Nmea, shm::Shm, sock::Sock};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// What is heard of a clock.
#[derive(Debug)]
pub(super) enum News {
    /// It was opened.
    Opened,
    /// It gave a sample.
    Sample(Sample),
    /// It cannot be opened, is lost, or said what is no sample; in words.
    Trouble(String),
}

/// Where the news of one clock come in. The thread ends soon after this is dropped.
#[derive(Debug)]
pub(super) struct Follow {
    news: Receiver<News>,
    ended: Arc<AtomicBool>,
}

/// Opens a clock.
pub(super) type Open = Box<dyn FnMut() -> io::Result<Box<dyn Driver>> + Send>;

impl Follow {
    /// So much news waits for a measuring thread that is late; what comes then is dropped.
    const WAITING: usize = 64;
    /// How long a driver waits before it looks whether anybody still follows it.
    const PATIENCE: Span = Span::from_millis(500);
    /// Whoever floods a clock is heard no more often than this.
    const REST: Duration = Duration::from_millis(5);
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(16);

    /// Starts the thread; `wake` is called on it when there is news.
    pub(super) fn start(name: &str, open: Open, wake: Arc<dyn Fn() + Send + Sync>) -> io::Result<Follow> {
        let (sender, news) = sync_channel(Follow::WAITING);
        let ended = Arc::new(AtomicBool::new(false));
        let thread = Thread { open, teller: Teller { sender, wake }, ended: ended.clone() };
        std::thread::Builder::new().name(format!("clock {name}")).spawn(move || thread.run())?;
        Ok(Follow { news, ended })
    }

    /// The next news, if there is any.
    pub(super) fn next(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

struct Teller {
    sender: SyncSender<News>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Teller {
    fn tell(&self, news: News) {
        match self.sender.try_send(news) {
            // Whoever is woken for nothing sleeps again.
            Ok(()) | Err(TrySendError::Full(_)) => (self.wake)(),
            // The ended flag is on its way.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

struct Thread {
    open: Open,
    teller: Teller,
    ended: Arc<AtomicBool>,
}

impl Thread {
    fn run(mut self) {
        let mut pause = Follow::FIRST_PAUSE;
        while !self.has_ended() {
            match (self.open)() {
                Ok(driver) => {
                    self.teller.tell(News::Opened);
                    if self.follow(driver) {
                        pause = Follow::FIRST_PAUSE;
                    }
                }
                Err(e) => self.teller.tell(News::Trouble(e.to_string())),
            }
            self.rest(pause);
            pause = (2 * pause).min(Follow::LONGEST_PAUSE);
        }
    }

    /// Until the clock is lost; whether it ever gave a sample.
    fn follow(&self, mut driver: Box<dyn Driver>) -> bool {
        let mut gave = false;
        while !self.has_ended() {
            match driver.next(Follow::PATIENCE) {
                Ok(None) => continue,
                Ok(Some(sample)) => {
                    gave = true;
                    self.teller.tell(News::Sample(sample));
                }
                Err(Trouble::Rejected(why)) => self.teller.tell(News::Trouble(why)),
                Err(Trouble::Lost(why)) => {
                    self.teller.tell(News::Trouble(why));
                    break;
                }
            }
            std::thread::sleep(Follow::REST);
        }
        gave
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn rest(&self, mut pause: Duration) {
        while !pause.is_zero() && !self.has_ended() {
            let part = pause.min(Duration::from_millis(250));
            std::thread::sleep(part);
            pause -= part;
        }
    }
}

/// The driver of a clock, as it is configured.
pub(super) fn driver(clock: &ReferenceClock) -> Open {
    let clock = clock.clone();
    // Samples that a stuck writer or a full queue has kept for longer say little.
    let oldest = Span::from_secs(2);
    Box::new(move || {
        Ok(match &clock.kind {
            Kind::Shm(unit) => Box::new(Shm::open(*unit, clock.anyone, oldest)?),
            Kind::Sock(path) => Box::new(Sock::bind(path, oldest)?),
            Kind::Gpsd { address, device, pulse } => {
                let report = if *pulse { Report::Pulse } else { Report::Serial };
                Box::new(Gpsd::connect(address, report, device.as_deref())?)
            }
            Kind::Nmea(path, baud) => Box::new(Nmea::open(path, *baud)?),
            Kind::Chronyd(socket) => Box::new(Chronyd::new(socket.as_deref())),
            Kind::Pps(..) | Kind::Phc(_) | Kind::Vmclock(_) => return of_the_kernel(&clock),
        })
    })
}

/// The driver of a clock that only Linux has.
#[cfg(target_os = "linux")]
fn of_the_kernel(clock: &ReferenceClock) -> io::Result<Box<dyn Driver>> {
    use chronotick_os::refclock::{phc, phc::Phc, pps::Edge, pps::Pps, vmclock::Vmclock};
    let every = Span::from_secs(1);
    Ok(match &clock.kind {
        Kind::Pps(path, clear) => Box::new(Pps::open(path, if *clear { Edge::Clear } else { Edge::Assert })?),
        Kind::Vmclock(page) => Box::new(Vmclock::open(page, every)?),
        Kind::Phc(path) if clock.tai => {
            let unknown = "the kernel does not know by how much TAI is ahead of UTC; leave out `tai` and set `offset -37`";
            let ahead = phc::kernel_tai().ok_or_else(|| io::Error::other(unknown))?;
            Box::new(Phc::open(path, ahead, every)?)
        }
        Kind::Phc(path) => Box::new(Phc::open(path, Span::ZERO, every)?),
        _ => return Err(io::Error::other("no clock of the kernel's")),
    })
}

#[cfg(not(target_os = "linux"))]
fn of_the_kernel(clock: &ReferenceClock) -> io::Result<Box<dyn Driver>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{}: only Linux has this kind of clock", clock.place()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_core::{RawInstant, Timestamp};
    use std::sync::mpsc;

    /// Gives one sample, refuses one, and is lost.
    struct Scripted(u8);

    impl Driver for Scripted {
        fn next(&mut self, _: Span) -> Result<Option<Sample>, Trouble> {
            self.0 += 1;
            match self.0 {
                1 => Ok(Some(Sample {
                    at: RawInstant::from_nanos(1),
                    utc: Timestamp::from_nanos(2),
                    precision: Span::ZERO,
                    error: Span::ZERO,
                    is_pulse: false,
                    leap: None,
                })),
                2 => Err(Trouble::Rejected("no sample".into())),
                _ => Err(Trouble::Lost("gone".into())),
            }
        }
    }

    #[test]
    fn a_lost_clock_is_opened_anew_and_nobody_waits_for_it() {
        let (woken, wait) = mpsc::channel();
        let mut opened = 0;
        let open: Open = Box::new(move || {
            opened += 1;
            if opened == 1 { Err(io::Error::other("not there yet")) } else { Ok(Box::new(Scripted(0))) }
        });
        let follow = Follow::start("TEST", open, Arc::new(move || woken.send(()).unwrap_or(()))).unwrap();
        let next = || {
            wait.recv_timeout(Duration::from_secs(60)).expect("woken");
            format!("{:?}", follow.next().expect("news"))
        };
        assert_eq!(next(), "Trouble(\"not there yet\")");
        assert_eq!(next(), "Opened");
        assert!(next().starts_with("Sample"));
        assert_eq!(next(), "Trouble(\"no sample\")");
        assert_eq!(next(), "Trouble(\"gone\")");
        assert_eq!(next(), "Opened");
        drop(follow);
        // The thread ends, and with it the waker.
        while wait.recv_timeout(Duration::from_secs(60)).is_ok() {}
    }
}
