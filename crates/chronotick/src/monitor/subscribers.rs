//! Who is told about events: callbacks, each on a thread of its own behind a bounded queue, and streams. One that is slow
//! misses events and is told how many; one that panics is heard of in the log; neither delays anybody.

use chronotick_monitor::Event;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everybody who is told; clones tell the same.
#[derive(Clone, Debug)]
pub struct Subscribers<T = Event>(Arc<Mutex<Vec<One<T>>>>);

#[derive(Debug)]
struct One<T> {
    queue: SyncSender<T>,
    missed: Arc<AtomicU64>,
}

/// Events as they come.
#[derive(Debug)]
pub struct Stream<T = Event> {
    queue: Receiver<T>,
    missed: Arc<AtomicU64>,
}

impl<T> Default for Subscribers<T> {
    fn default() -> Subscribers<T> {
        Subscribers(Arc::default())
    }
}

impl<T: Clone + Send + 'static> Subscribers<T> {
    /// So many events wait for one who is slow.
    const WAITING: usize = 256;

    fn add(&self) -> Stream<T> {
        let (sender, queue) = sync_channel(Self::WAITING);
        let missed = Arc::new(AtomicU64::new(0));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(One { queue: sender, missed: missed.clone() });
        Stream { queue, missed }
    }

    /// Everything from now on, to be read at leisure.
    pub fn stream(&self) -> Stream<T> {
        self.add()
    }

    /// Calls `subscriber` for every event from now on, on a thread of its own. After a panic it is called for the next
    /// event as if nothing had happened.
    ///
    /// # Errors
    /// If there is no thread left.
    pub fn call(&self, name: &str, mut subscriber: impl FnMut(&T) + Send + 'static) -> io::Result<()> {
        let (stream, own) = (self.add(), name.to_owned());
        std::thread::Builder::new().name(name.into()).spawn(move || {
            while let Ok(event) = stream.queue.recv() {
                if catch_unwind(AssertUnwindSafe(|| subscriber(&event))).is_err() {
                    log::error!(
                        "subscriber {own} panicked; it is told of the next event as if nothing had happened"
                    );
                }
                match stream.missed() {
                    0 => {}
                    missed => log::warn!("subscriber {own} is too slow and missed {missed} events"),
                }
            }
        })?;
        Ok(())
    }

    /// Tells everybody, without waiting for anybody.
    pub fn tell(&self, event: &T) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| match one.queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                one.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }
}

impl<T> Stream<T> {
    /// The next event; none if there is none within `patience`, or nobody tells any more.
    pub fn next(&self, patience: Duration) -> Option<T> {
        self.queue.recv_timeout(patience).ok()
    }

    /// How many events were lost since the last call because too many waited.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chronotick_monitor::What;
    use std::sync::mpsc::channel;

    fn event(i: i64) -> Event {
        Event { utc_ns: i, simulation: false, what: What::Step { by_ns: i } }
    }

    #[test]
    fn a_panicking_and_a_stuck_subscriber_hurt_nobody() {
        let subscribers = Subscribers::<Event>::default();
        let (told, heard) = channel();
        let (_never, stuck) = channel::<()>();
        let wait = move |_: &Event| assert!(stuck.recv_timeout(Duration::from_secs(600)).is_err());
        subscribers.call("stuck", wait).unwrap();
        subscribers
            .call("panics", move |event| {
                told.send(event.utc_ns).unwrap();
                panic!("this subscriber panics on purpose");
            })
            .unwrap();
        for i in 0..3 {
            subscribers.tell(&event(i));
        }
        let heard: Vec<_> = (0..3).map(|_| heard.recv_timeout(Duration::from_secs(120)).unwrap()).collect();
        assert_eq!(heard, [0, 1, 2]);
    }

    #[test]
    fn who_does_not_keep_up_hears_how_much_was_missed() {
        let subscribers = Subscribers::<Event>::default();
        let (slow, gone) = (subscribers.stream(), subscribers.stream());
        drop(gone);
        for i in 0..Subscribers::<Event>::WAITING as i64 + 5 {
            subscribers.tell(&event(i));
        }
        assert_eq!((slow.missed(), slow.missed()), (5, 0));
        assert_eq!(slow.next(Duration::ZERO).unwrap().utc_ns, 0);
    }
}
