//! The protocol of the page: one publisher, any number of readers, neither of whom ever waits for the other.
//!
//! A seqlock over a ring. The publisher fills the slot after the newest one and then advances the sequence; a reader
//! takes the slot that the sequence names and then looks whether the publisher may have come round to it meanwhile.
//! A single-slot seqlock makes readers wait while a publication is under way, for ever if the publisher is killed in
//! the middle of one; here the newest complete publication stays readable whatever becomes of the publisher, and a
//! reader has to try again only if nearly a full ring is published while it copies a few words.
//!
//! # Why a torn read is impossible
//!
//! All words are atomics, so there is no data race to begin with; what must be shown is that words of two
//! publications are never taken for one. Publication *m* goes to slot *m* mod `SLOTS`. The publisher stores sequence
//! *m* − 1 (end of the publication before), passes a release fence, stores the words of *m*, and stores sequence *m*
//! with release. A reader loads sequence *n* with acquire, so it sees all words of *n* or newer ones in their place;
//! loads the words; passes an acquire fence; loads the sequence again as *n′*. Suppose one of the words was of a newer
//! publication in the same slot: *m* ≥ *n* + `SLOTS`. Then the reader's fence synchronises with the publisher's, and
//! the second load sees at least *m* − 1 ≥ *n* + `SLOTS` − 1. So *n′* ≤ *n* + `SLOTS` − 2 proves that all words are of
//! *n* (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012, doi
//! 10.1145/2247684.2247688, for the fences). Nothing here relies on the order in which a processor happens to
//! store; `tests/ring_model.rs` tries every order that the memory model allows.

use super::atomic::{AtomicU64, Ordering, fence};

/// `SLOTS` publications of `WORDS` words each, and the number of the newest.
#[repr(C)]
pub(crate) struct Ring<const SLOTS: usize, const WORDS: usize> {
    sequence: AtomicU64,
    /// Keeps the slots on cache lines of their own.
    _line: [AtomicU64; 7],
    slots: [[AtomicU64; WORDS]; SLOTS],
}

impl<const SLOTS: usize, const WORDS: usize> Ring<SLOTS, WORDS> {
    /// An empty ring; outside tests it is the zeros of a new mapping.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Ring {
            sequence: AtomicU64::new(0),
            _line: std::array::from_fn(|_| AtomicU64::new(0)),
            slots: std::array::from_fn(|_| zeros()),
        }
    }

    /// How many publications there have been.
    #[inline]
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// Makes `words` publication `number`. There must be but one publisher; it counts from 1 without a gap.
    pub(crate) fn publish(&self, number: u64, words: &[u64; WORDS]) {
        fence(Ordering::Release);
        for (slot, &word) in self.slots[number as usize % SLOTS].iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        self.sequence.store(number, Ordering::Release);
    }

    /// The first `N` words of the newest publication; `None` if nearly a ring was published during the copy, or if
    /// there has been no publication yet.
    #[inline]
    pub(crate) fn read<const N: usize>(&self) -> Option<[u64; N]> {
        const { assert!(N <= WORDS && SLOTS >= 2) };
        let newest = self.sequence.load(Ordering::Acquire);
        let slot = &self.slots[newest as usize % SLOTS];
        let words = std::array::from_fn(|i| slot[i].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let since = self.sequence.load(Ordering::Relaxed).wrapping_sub(newest);
        (since <= SLOTS as u64 - 2 && newest != 0).then_some(words)
    }
}
