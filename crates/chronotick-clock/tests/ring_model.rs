//! The protocol of the clock page under every order of memory accesses that the C++11 memory model allows: the same
//! source as in the library, compiled with the atomics of the `loom` model checker.

// The test reads less than the library does.
#[allow(dead_code, unreachable_pub)]
#[path = "../src/ring.rs"]
mod ring;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
}

use loom::sync::Arc;
use loom::thread;
use ring::Ring;

/// A publication whose words follow from its number.
fn words(n: u64) -> [u64; 2] {
    [n, n + 1000]
}

/// A publisher of `publications` and a reader beside it: it never reads a mixture, and the last one is there in the end.
fn check<const SLOTS: usize>(publications: u64) {
    loom::model(move || {
        let ring = Arc::new(Ring::<SLOTS, 2>::new());
        let publisher = thread::spawn({
            let ring = Arc::clone(&ring);
            move || (1..=publications).for_each(|n| ring.publish(n, &words(n)))
        });
        if let Some(read) = ring.read::<2>() {
            assert_eq!(read, words(read[0]), "words of two publications were mixed");
        }
        publisher.join().unwrap();
        assert_eq!(ring.read::<2>(), Some(words(publications)));
    });
}

/// The third publication is the first that can fall upon what the reader is copying.
#[test]
fn two_slots_are_never_torn() {
    check::<2>(3);
}

/// Here it is the fourth, and a reader that is overtaken by one publication still succeeds.
#[test]
fn three_slots_are_never_torn() {
    check::<3>(4);
}
