//! The NTP server: one thread that owns its sockets and what is remembered of clients, and reads the clock page.

use super::clock::{Upstream, told};
use super::nts::Jar;
use super::{CannotServe, Served};
use crate::config::ServeNtp;
use crate::daemon::Outlets;
use crate::feed::{Ended, Follower, News};
use chronotick_clock::{Clock, ClockPair, RawInstant, Span, Timestamp, raw_now};
use chronotick_ntp::{Access, KeyRing, NtpTimestamp, Rate, Service};
use chronotick_os::{Arrival, StampedListener, random_u64, wait};
use std::collections::VecDeque;
use std::hash::RandomState;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::PoisonError;
use std::time::Duration;

/// So many clients are remembered for the rate limit: about 5 MiB.
const CLIENTS: usize = 65_536;
/// Whoever floods one socket gets no more than so many datagrams looked at before others have their turn.
const DATAGRAMS: usize = 64;
/// How often what the daemon tells of its sources is looked at.
const NEWS: Span = Span::from_millis(500);
/// So many replies of a socket wait for the kernel's stamp.
const UNSTAMPED: usize = 64;
/// The longest request that is looked at; nothing in use is longer.
const LONGEST: usize = 2048;

/// Opens the sockets and starts the thread.
pub(super) fn start(
    settings: &ServeNtp,
    outlets: &Outlets,
    jar: Option<Jar>,
    keys: KeyRing,
) -> Result<(), CannotServe> {
    let listen = |&crate::config::Listen(address)| {
        StampedListener::bind(address).map_err(|error| CannotServe::Listen { address, error })
    };
    let listeners: Vec<StampedListener> = settings.listen.iter().map(listen).collect::<Result<_, _>>()?;
    for listener in &listeners {
        let address = listener.local_addr().map_err(CannotServe::Thread)?;
        log::info!("serving NTP on {address} ({})", listener.stamping());
    }
    let listeners = listeners.into_iter().map(|socket| Listener { socket, sent: VecDeque::new() }).collect();
    let rate = Rate { interval: settings.rate_interval, burst: settings.rate_burst };
    let access = Access::new(settings.allow.clone(), settings.deny.clone());
    let server = Server {
        service: Service::new(access, rate, keys, CLIENTS, RandomState::new()),
        listeners,
        jar,
        clock: Clock::of(&outlets.page),
        news: outlets.feed.follow(),
        served: outlets.served.clone(),
        upstream: None,
        limit: settings.max_root_distance,
        precision: precision(),
        before: ClockPair::now(),
    };
    let run = move || match server.run() {
        Ok(()) => {}
        Err(e) => log::error!("NTP is not served any more: {e}"),
    };
    std::thread::Builder::new().name("ntp-server".into()).spawn(run).map_err(CannotServe::Thread)?;
    Ok(())
}

/// A socket, and the replies of which the kernel has not told yet when they left.
struct Listener {
    socket: StampedListener,
    sent: VecDeque<Sent>,
}

/// A reply that is on its way.
struct Sent {
    number: u32,
    client: IpAddr,
    /// When its request arrived, as it tells.
    received: NtpTimestamp,
    /// When it was to leave: on the raw clock, and as it tells.
    leaving: (RawInstant, Timestamp),
}

struct Server {
    service: Service<RandomState>,
    listeners: Vec<Listener>,
    /// What opens the cookies of NTS, where it is served.
    jar: Option<Jar>,
    clock: Clock,
    news: Follower,
    served: Served,
    upstream: Option<Upstream>,
    limit: Span,
    precision: i8,
    /// Both clocks before the wait for what has come now.
    before: ClockPair,
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        let mut next_news = raw_now();
        loop {
            if raw_now() >= next_news {
                if self.take_news().is_err() {
                    return Ok(());
                }
                next_news = raw_now() + NEWS;
            }
            self.before = ClockPair::now();
            let fds: Vec<_> = self.listeners.iter().map(|listener| listener.socket.as_fd()).collect();
            for ready in wait(&fds, Some(NEWS))? {
                self.answer(ready);
            }
        }
    }

    /// Takes in what the daemon has told.
    fn take_news(&mut self) -> Result<(), Ended> {
        while let Some(news) = self.news.next(Duration::ZERO)? {
            if let News::Status(snapshot) = news {
                // Which source is best may be unknown for a moment; the one before is still what the time came from.
                self.upstream = Upstream::of(&snapshot).or(self.upstream);
            }
        }
        let (datagrams, interleaved) = (self.service.counters(), self.service.interleaved());
        let datagrams = datagrams.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        self.served.count(|view| (view.datagrams, view.interleaved) = (datagrams, interleaved));
        Ok(())
    }

    /// Answers what has come to one socket.
    fn answer(&mut self, which: usize) {
        let mut buffer = [0; LONGEST];
        for _ in 0..DATAGRAMS {
            self.note_departures(which);
            match self.listeners[which].socket.recv(&mut buffer) {
                Ok(Some(arrival)) => self.reply(which, &buffer[..arrival.len], &arrival),
                Ok(None) => return,
                // What became of an earlier reply; the next call tells what has come.
                Err(e) => log::debug!("NTP server: {e}"),
            }
        }
    }

    /// Takes in what the kernel says of when replies left: a client in interleaved mode is told so with the next.
    fn note_departures(&mut self, which: usize) {
        let after = ClockPair::now();
        while let Ok(Some((number, stamp))) = self.listeners[which].socket.departure() {
            let sent = &mut self.listeners[which].sent;
            let Some(place) = sent.iter().position(|sent| sent.number == number) else { continue };
            // Those before it have no stamp, or it came out of turn.
            let Some(Sent { client, received, leaving: (raw, told), .. }) = sent.drain(..=place).next_back()
            else {
                continue;
            };
            if let Some(left) = self.at(stamp, after) {
                self.service.left(client, received, told + (left - raw).max(Span::ZERO));
            }
        }
    }

    fn reply(&mut self, which: usize, datagram: &[u8], arrival: &Arrival) {
        let after = ClockPair::now();
        let raw = arrival.stamp.and_then(|stamp| self.at(stamp, after)).unwrap_or(after.raw);
        let (solution, checked) = (self.clock.solution(), self.clock.now_checked());
        let reading = chronotick_clock::Reading {
            state: checked.state,
            reason: checked.reason,
            ..solution.reading(raw)
        };
        let slack = self.before.slack + after.slack;
        let clock = told(&solution, &reading, self.upstream, self.limit, (self.precision, slack));
        let received = (raw, reading.estimate);
        let jar = self.jar.as_ref().map(|jar| jar.read().unwrap_or_else(PoisonError::into_inner));
        let client = arrival.from.ip();
        let Ok(draft) = self.service.receive(datagram, client, received, clock.as_ref(), jar.as_deref())
        else {
            return;
        };
        let received = draft.received();
        let leaving = raw_now();
        let told = solution.utc_at(leaving);
        let reply = draft.leaving_at(told, jar.as_deref(), random_u64);
        drop(jar);
        let Listener { socket, sent } = &mut self.listeners[which];
        match (socket.send(&reply, arrival), received) {
            (Ok(number), Some(received)) => {
                if sent.len() == UNSTAMPED {
                    sent.pop_front();
                }
                sent.push_back(Sent { number, client, received, leaving: (leaving, told) });
                self.service.left(client, received, told);
            }
            (Ok(_), None) => {}
            (Err(e), _) => log::debug!("NTP server: {}: {e}", arrival.from),
        }
    }

    /// When the kernel stamped a datagram, on the raw clock; none if a step of the system clock has come between.
    fn at(&self, stamp: Timestamp, after: ClockPair) -> Option<RawInstant> {
        let before = self.before;
        let elapsed = after.raw - before.raw;
        let apart = ((after.system - before.system) - elapsed).abs();
        // The kernel slews by 500 ppm at most: 1 in 2048 is that.
        let slewed = Span::from_nanos(elapsed.abs().as_nanos() >> 11);
        let waited = after.system - stamp;
        let credible = apart <= before.slack + after.slack + slewed
            && waited >= -after.slack
            && waited <= elapsed + after.slack + Span::from_secs(1);
        credible.then(|| after.raw - waited.max(Span::ZERO))
    }
}

/// How finely the raw clock can be read, log₂ of seconds: the smallest step seen, rounded up.
fn precision() -> i8 {
    let mut least = Span::from_millis(1);
    let mut last = raw_now();
    for _ in 0..1_000 {
        let now = raw_now();
        if now > last {
            least = least.min(now - last);
        }
        last = now;
    }
    (-30..0).find(|&exponent| chronotick_ntp::precision(exponent) >= least).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_is_that_of_a_clock_that_can_be_read() {
        assert!((-30..=-10).contains(&precision()), "{}", precision());
    }
}
