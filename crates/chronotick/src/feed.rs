//! What the daemon tells everybody who follows it: the status once a second, every measurement, every event. Followers
//! live on other threads; one that does not keep up misses news and is told how many, and one that dies is forgotten.
//! The measuring thread never waits for any of them.

use crate::snapshot::{EventView, Snapshot};
use chronotick_core::Past;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// One thing that the daemon tells.
#[derive(Clone, Debug)]
pub enum News {
    /// The status, once a second.
    Status(Arc<Snapshot>),
    /// A source answered.
    Measured(Arc<Measured>),
    /// Something happened.
    Happened(Arc<EventView>),
    /// The system clock was corrected, or it was decided not to.
    Steered(Arc<Steered>),
    /// What was measured in the last hours, for whoever wants to know it better than it was known then; every few minutes.
    Past(Arc<Past>),
}

/// One answer of a source that passed every check of its protocol, believed or not. Offsets are true − local.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Measured {
    /// The raw instant that it is about, in ns.
    pub raw_ns: i64,
    /// True time at that instant according to the source, ns since 1970.
    pub utc_ns: i64,
    /// The source's configured name.
    pub server: String,
    /// Its address.
    pub address: String,
    /// What the system clock lacked at that instant according to the source.
    pub system_offset_ns: i64,
    /// What corrected time lacked at that instant according to the source; absent before the first solution.
    pub corrected_offset_ns: Option<i64>,
    /// Round trip.
    pub delay_ns: i64,
    /// The source's own round trip to its reference.
    pub root_delay_ns: i64,
    /// The source's own dispersion, with the precision of both clocks.
    pub root_dispersion_ns: i64,
    /// Distance from a reference clock.
    pub stratum: u8,
    /// Who took the local time stamps: `kernel` or `user`.
    pub stamps: &'static str,
}

/// What was done to the system clock, or why nothing was. Told when it changes, and once a minute.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Steered {
    /// When, on the raw clock, in ns.
    pub raw_ns: i64,
    /// True time then, ns since 1970.
    pub utc_ns: i64,
    /// `step`, `slew`, `stand` (nothing may be done) or `fail` (it could not be done).
    pub action: &'static str,
    /// By how much the clock was set ahead, or what is being slewed.
    pub amount_ns: i64,
    /// How much faster the clock runs than the raw clock.
    pub frequency_ppm: f64,
    /// The same in words, with the reason.
    pub text: String,
}

/// Where the daemon tells its news; clones are the same feed.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    newest: RwLock<Option<Arc<Snapshot>>>,
    followers: Mutex<Vec<(SyncSender<News>, Arc<AtomicU64>)>>,
}

impl Feed {
    /// So many news wait for a follower: a burst of answers and some minutes of status.
    const WAITING: usize = 1024;

    /// The newest status; none before the first.
    pub fn newest(&self) -> Option<Arc<Snapshot>> {
        self.0.newest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything from now on.
    pub fn follow(&self) -> Follower {
        let (sender, news) = sync_channel(Feed::WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        self.followers().push((sender, missed.clone()));
        Follower { news, missed }
    }

    /// Tells everybody, without waiting for anybody.
    pub fn tell(&self, news: News) {
        if let News::Status(snapshot) = &news {
            *self.0.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot.clone());
        }
        self.followers().retain(|(follower, missed)| match follower.try_send(news.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }

    /// Ends the feed for its followers: after what waits for them there is nothing more.
    pub fn end(&self) {
        self.followers().clear();
    }

    fn followers(&self) -> std::sync::MutexGuard<'_, Vec<(SyncSender<News>, Arc<AtomicU64>)>> {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The feed has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// One who follows a feed.
#[derive(Debug)]
pub struct Follower {
    news: Receiver<News>,
    missed: Arc<AtomicU64>,
}

impl Follower {
    /// The next news; none if there is none within `patience`.
    ///
    /// # Errors
    /// If the feed has ended and everything was told.
    pub fn next(&self, patience: Duration) -> Result<Option<News>, Ended> {
        match self.news.recv_timeout(patience) {
            Ok(news) => Ok(Some(news)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }

    /// How many news were lost since the last call because too many waited.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> News {
        let (time, kind) = (String::new(), "state".to_owned());
        News::Happened(Arc::new(EventView { time, utc_ns: 0, kind, source: None, text: text.into() }))
    }

    #[test]
    fn who_does_not_keep_up_misses_news_and_hears_how_many() {
        let feed = Feed::default();
        let (slow, gone) = (feed.follow(), feed.follow());
        drop(gone);
        for i in 0..Feed::WAITING + 3 {
            feed.tell(event(&i.to_string()));
        }
        assert_eq!(feed.followers().len(), 1);
        assert_eq!((slow.missed(), slow.missed()), (3, 0));
        let Ok(Some(News::Happened(first))) = slow.next(Duration::ZERO) else { panic!("nothing waited") };
        assert_eq!(first.text, "0");
    }

    #[test]
    fn an_ended_feed_is_read_to_its_end() {
        let feed = Feed::default();
        let follower = feed.follow();
        feed.tell(event("last"));
        feed.end();
        assert!(matches!(follower.next(Duration::ZERO), Ok(Some(_))));
        assert!(matches!(follower.next(Duration::ZERO), Err(Ended)));
    }
}
