//! When to ask a server again: a burst first, then at the interval that is wished; slower once the server asks for
//! that, and ever slower while it is silent.

use chronotick_core::{Rate, RawInstant, Span};

use crate::Settings;

/// The timing of one association's requests.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    settings: Settings,
    /// When the first request is due.
    first: RawInstant,
    last_sent: Option<RawInstant>,
    wish: Span,
    /// The interval that the server asked for, zero if it never did.
    rate_limit: Span,
    burst_left: u8,
    missed: u32,
    backoff: Span,
}

impl Schedule {
    /// Nobody needs more than 128 requests a second.
    const SHORTEST: Span = Span::from_nanos(7_812_500);
    /// A server's wish for fewer requests is followed up to here, the longest interval of the standard's default range.
    const SLOWEST: Span = Span::from_secs(1024);

    pub(crate) fn new(settings: Settings, first: RawInstant) -> Schedule {
        Schedule {
            settings,
            first,
            last_sent: None,
            wish: settings.min_poll,
            rate_limit: Span::ZERO,
            burst_left: settings.burst,
            missed: 0,
            backoff: Span::ZERO,
        }
    }

    pub(crate) fn set_wish(&mut self, wish: Span) {
        self.wish = wish;
    }

    /// The interval between requests, bursts and back-off apart.
    pub(crate) fn interval(&self) -> Span {
        let wish = self.wish.max(self.settings.min_poll).min(self.settings.max_poll);
        wish.max(self.rate_limit).max(Schedule::SHORTEST)
    }

    /// The interval now, back-off apart.
    fn pace(&self) -> Span {
        match self.burst_left {
            0 => self.interval(),
            _ => self.settings.burst_interval.max(Schedule::SHORTEST),
        }
    }

    /// How long a reply is waited for.
    pub(crate) fn deadline(&self) -> Span {
        self.settings.deadline.min(self.pace())
    }

    /// When the request sent last has to be given up.
    pub(crate) fn expiry(&self) -> RawInstant {
        self.last_sent.map_or(self.first, |sent| sent + self.deadline())
    }

    /// When the next request is due.
    pub(crate) fn due(&self) -> RawInstant {
        self.last_sent.map_or(self.first, |sent| sent + self.pace().max(self.backoff))
    }

    /// How many requests in a row were not answered.
    pub(crate) fn missed(&self) -> u32 {
        self.missed
    }

    pub(crate) fn sent(&mut self, now: RawInstant) {
        self.last_sent = Some(now);
    }

    pub(crate) fn answered(&mut self) {
        self.missed = 0;
        self.backoff = Span::ZERO;
        self.burst_left = self.burst_left.saturating_sub(1);
    }

    /// One loss costs no more than a request; each further one doubles the pause, and chance spreads the clients of a
    /// server that comes back.
    pub(crate) fn unanswered(&mut self, random: u64) {
        self.missed = self.missed.saturating_add(1);
        let pace = self.pace();
        let doubled = pace.times(1 << (self.missed - 1).min(20));
        let pause = doubled.min(self.settings.max_backoff.max(pace));
        let up_to_a_quarter = Rate::from_bits((random >> 18) as i64); // of 2⁴⁸ for one
        self.backoff = pause + up_to_a_quarter.over(pause);
    }

    /// The server asks for fewer requests (RFC 5905 §7.4, RATE): half as many for ever, and no more bursts.
    pub(crate) fn slow_down(&mut self) {
        self.burst_left = 0;
        self.rate_limit = self.interval().times(2).min(Schedule::SLOWEST).max(self.rate_limit);
    }

    /// Begins anew with a burst. A server that once asked for fewer requests gets none.
    pub(crate) fn restart(&mut self, now: RawInstant) {
        self.missed = 0;
        self.backoff = Span::ZERO;
        if self.rate_limit == Span::ZERO {
            self.burst_left = self.settings.burst;
            self.first = now;
            self.last_sent = None;
        } else {
            // A raw clock that went back must not keep the server waiting.
            self.last_sent = self.last_sent.map(|sent| sent.min(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(millis: i64) -> RawInstant {
        RawInstant::from_nanos(0) + Span::from_millis(millis)
    }

    fn schedule() -> Schedule {
        Schedule::new(Settings::default(), raw(0))
    }

    /// The instants of so many requests, and what becomes of each.
    fn requests(schedule: &mut Schedule, count: usize, fate: impl Fn(&mut Schedule)) -> Vec<RawInstant> {
        let request = |_| {
            let now = schedule.due();
            schedule.sent(now);
            fate(schedule);
            now
        };
        (0..count).map(request).collect()
    }

    fn gaps(sent: &[RawInstant]) -> Vec<Span> {
        sent.windows(2).map(|w| w[1] - w[0]).collect()
    }

    #[test]
    fn a_burst_comes_first_then_the_interval_that_is_wished() {
        let mut s = schedule();
        s.set_wish(Span::from_secs(32));
        let sent = requests(&mut s, 11, Schedule::answered);
        let expected: Vec<_> =
            [[2; 7].as_slice(), &[32; 3]].concat().into_iter().map(Span::from_secs).collect();
        assert_eq!((sent[0], gaps(&sent)), (raw(0), expected));
    }

    #[test]
    fn a_wish_is_granted_within_the_settings_and_at_once() {
        let mut s = schedule();
        let last = *requests(&mut s, 20, Schedule::answered).last().unwrap();
        for (wish, granted) in [(5_000, 1_024), (100, 100), (0, 16), (-5, 16)] {
            s.set_wish(Span::from_secs(wish));
            assert_eq!((s.interval(), s.due()), (Span::from_secs(granted), last + Span::from_secs(granted)));
        }
        let nothing = Settings { min_poll: Span::ZERO, max_poll: Span::ZERO, ..Settings::default() };
        assert_eq!(Schedule::new(nothing, raw(0)).interval(), Schedule::SHORTEST);
    }

    #[test]
    fn silence_is_answered_by_ever_longer_pauses() {
        let mut s = schedule();
        let sent = requests(&mut s, 20, |s| s.unanswered(1 << 63));
        let gaps = gaps(&sent);
        assert_eq!(gaps[0], Span::from_millis(2_250), "half of the greatest jitter");
        assert!(gaps.windows(2).all(|w| w[0] <= w[1]), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&Span::from_secs(72)));
        assert_eq!(s.missed(), 20);
    }

    #[test]
    fn an_answer_ends_the_pauses_and_the_burst_goes_on() {
        let mut s = schedule();
        requests(&mut s, 20, |s| s.unanswered(0));
        let sent = requests(&mut s, 10, Schedule::answered);
        let expected: Vec<_> =
            [[2; 7].as_slice(), &[16; 2]].concat().into_iter().map(Span::from_secs).collect();
        assert_eq!((s.missed(), gaps(&sent)), (0, expected));
    }

    #[test]
    fn chance_lengthens_pauses_by_up_to_a_quarter() {
        let pause = |random| {
            let mut s = schedule();
            s.unanswered(random);
            s.backoff
        };
        assert_eq!(pause(0), Span::from_secs(2));
        assert_eq!(pause(u64::MAX), Span::from_millis(2_500));
    }

    #[test]
    fn slowing_down_is_for_good_but_has_an_end() {
        let mut s = schedule();
        s.sent(raw(0));
        s.slow_down();
        assert_eq!((s.interval(), s.due()), (Span::from_secs(32), raw(32_000)));
        s.set_wish(Span::from_secs(16));
        s.restart(raw(5_000));
        assert_eq!(s.due(), raw(32_000));
        s.restart(raw(-10_000));
        assert_eq!(s.due(), raw(22_000));
        (0..100).for_each(|_| s.slow_down());
        assert_eq!(s.interval(), Span::from_secs(1_024));
    }

    #[test]
    fn a_restart_bursts_at_once() {
        let mut s = schedule();
        requests(&mut s, 20, Schedule::answered);
        s.unanswered(0);
        s.restart(raw(-7_000));
        assert_eq!((s.due(), s.missed()), (raw(-7_000), 0));
        let sent = requests(&mut s, 3, Schedule::answered);
        assert_eq!(gaps(&sent), [Span::from_secs(2); 2]);
    }
}
