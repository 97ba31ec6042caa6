//! Correcting the system clock, where the configuration asks for it: follows the feed on a thread of its own, asks the
//! policy once a second, and tells the feed what was done and what was not.

use crate::config::Config;
use crate::feed::{Ended, Feed, Follower, News, Steered};
use crate::snapshot::{ClockView, Snapshot};
use chronotick_clock::{Leap, Rate, RawInstant, Span, State, Timestamp, raw_now};
use chronotick_core::{Claim, Course};
use chronotick_monitor::{ClockError, Known, Order, Reluctance, Steering};
use chronotick_os::{Steer, SystemClock};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub mod once;

/// Starts to steer the system clock if the configuration says so; otherwise nothing that could is even opened.
///
/// # Errors
/// If the kernel does not tell of its clock, or no thread can be started.
pub fn start(config: &Config, feed: &Feed) -> io::Result<()> {
    let Some(terms) = config.correction.terms(config.discipline) else { return Ok(()) };
    log::info!("the system clock is corrected: discipline is {}", config.discipline);
    let clock = Box::new(SystemClock::open()?);
    let mut hand = Hand::new(Steering::new(terms), clock, feed.clone());
    let follower = feed.follow();
    std::thread::Builder::new().name("discipline".into()).spawn(move || hand.follow(&follower))?;
    Ok(())
}

/// What carries orders out.
#[derive(Debug)]
struct Hand {
    steering: Steering,
    clock: Box<dyn Steer>,
    feed: Feed,
    rival: Option<String>,
    looked: Option<RawInstant>,
    told: Option<(RawInstant, &'static str, String)>,
    /// Whether the kernel was told by us that the clock is synchronised.
    claimed: bool,
}

impl Hand {
    /// An older status says nothing of now.
    const STALE: Span = Span::from_secs(2);
    /// Other programs are looked for this often.
    const LOOK_EVERY: Span = Span::from_secs(10);
    /// What goes on without change is told this often.
    const TELL_EVERY: Span = Span::from_secs(60);

    fn new(steering: Steering, clock: Box<dyn Steer>, feed: Feed) -> Hand {
        Hand { steering, clock, feed, rival: None, looked: None, told: None, claimed: false }
    }

    fn follow(&mut self, follower: &Follower) {
        loop {
            match follower.next(Duration::from_secs(60)) {
                // The feed's newest status: this thread may have been held up.
                Ok(Some(News::Status(_))) => {
                    let Some(snapshot) = self.feed.newest() else { continue };
                    if snapshot.age(raw_now()) <= Hand::STALE && !snapshot.simulation {
                        self.look(RawInstant::from_nanos(snapshot.raw_ns));
                        self.second(&snapshot);
                    }
                }
                Ok(_) => {}
                Err(Ended) => return,
            }
        }
    }

    fn look(&mut self, now: RawInstant) {
        if self.looked.is_none_or(|last| now - last >= Hand::LOOK_EVERY) {
            self.rival = chronotick_os::rival(Path::new("/proc"));
            self.looked = Some(now);
        }
    }

    fn second(&mut self, snapshot: &Snapshot) {
        let Some(known) = snapshot.clock.as_ref().map(|clock| known(snapshot, clock)) else { return };
        let order =
            self.clock.read().map(|kernel| self.steering.decide(&known, &kernel, self.rival.as_deref()));
        let done = order.and_then(|order| self.obey(&order, &known).map(|()| order));
        match done {
            Ok(order) => self.tell(&known, &order),
            Err(e) => {
                self.tell_all(&known, "fail", Span::ZERO, Rate::ZERO, format!("{e}; CAP_SYS_TIME is needed"))
            }
        }
    }

    fn obey(&mut self, order: &Order, known: &Known) -> io::Result<()> {
        let course = match order {
            Order::Stand(why) => return self.withdraw(why, known),
            Order::Run(course) => course,
            Order::Step { by, course, .. } => {
                self.clock.step(*by)?;
                course
            }
        };
        let kernel = self.clock.run(course)?;
        self.claimed = course.claim.synchronised;
        self.steering.done(&kernel);
        Ok(())
    }

    /// What was claimed of the clock no longer holds: it is left at its frequency, and nobody is told that it is synchronised.
    /// Where another program steers, the claim is that program's.
    fn withdraw(&mut self, why: &Reluctance, known: &Known) -> io::Result<()> {
        if !std::mem::take(&mut self.claimed) || matches!(why, Reluctance::Rival(_)) {
            return Ok(());
        }
        let frequency = self.clock.read()?.frequency;
        let unknown = Span::from_secs(16);
        let bound = known.error.map_or(unknown, ClockError::bound).min(unknown);
        let claim = Claim { max_error: bound, estimated_error: bound, synchronised: false, leap: Leap::None };
        self.clock.run(&Course { frequency, slew: Span::ZERO, claim }).map(drop)
    }

    fn tell(&mut self, known: &Known, order: &Order) {
        let text = order.to_string();
        match order {
            Order::Run(course) => self.tell_all(known, "slew", course.slew, course.frequency, text),
            Order::Step { by, course, .. } => self.tell_all(known, "step", *by, course.frequency, text),
            Order::Stand(_) => self.tell_all(known, "stand", Span::ZERO, Rate::ZERO, text),
        }
    }

    /// Tells what is new, and once in a while what is not.
    fn tell_all(&mut self, known: &Known, action: &'static str, amount: Span, frequency: Rate, text: String) {
        let same = |told: &(RawInstant, &'static str, String)| {
            let alike = told.1 == action && (action == "slew" || told.2 == text);
            alike && action != "step" && known.at - told.0 < Hand::TELL_EVERY
        };
        if self.told.as_ref().is_some_and(same) {
            return;
        }
        let changed = self.told.as_ref().is_none_or(|told| told.1 != action);
        match action {
            "step" => log::warn!("{text}"),
            "stand" | "fail" if changed => log::warn!("{text}"),
            _ if changed => log::info!("{text}"),
            _ => log::debug!("{text}"),
        }
        self.told = Some((known.at, action, text.clone()));
        self.feed.tell(News::Steered(Arc::new(Steered {
            raw_ns: known.at.as_nanos(),
            utc_ns: known.utc.as_nanos(),
            action,
            amount_ns: amount.as_nanos(),
            frequency_ppm: frequency.as_ppm(),
            text,
        })));
    }
}

fn known(snapshot: &Snapshot, clock: &ClockView) -> Known {
    let trusted = snapshot.sources.iter().filter(|source| source.is_trusted()).count();
    Known {
        at: RawInstant::from_nanos(snapshot.raw_ns),
        utc: Timestamp::from_nanos(clock.system_ns.saturating_add(clock.system_offset_ns)),
        state: state(&snapshot.state),
        error: Some(ClockError {
            offset: Span::from_nanos(clock.system_offset_ns),
            early: Span::from_nanos(clock.early_ns),
            late: Span::from_nanos(clock.late_ns),
        }),
        sigma: Span::from_nanos(clock.sigma_ns),
        rate: Rate::from_ppm(clock.rate_ppm),
        agreeing: u32::try_from(trusted).unwrap_or(u32::MAX),
        leap: match clock.leap.as_str() {
            "insert" => Leap::Insert,
            "delete" => Leap::Delete,
            _ => Leap::None,
        },
    }
}

/// The state by its name; one that is not known is an error, never healthy.
pub(crate) fn state(name: &str) -> State {
    let all = [State::Warmup, State::Synced, State::Holdover, State::Unsynced];
    all.into_iter().find(|state| state.name() == name).unwrap_or(State::Error)
}

#[cfg(test)]
mod tests;
