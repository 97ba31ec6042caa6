//! The delay floor of one path, and what a packet's delay above it says of the packet's error.
//!
//! Queues only ever add to a delay, so the error of a packet is at most half of what its round trip took beyond an
//! empty path. The true floor lies below the smallest delay seen, by about as much as the smallest few differ.

use crate::{RawInstant, Span};

/// The floor is that of the last hour or so, in blocks of at least this length and number of packets.
const BLOCK: Span = Span::from_secs(300);
const BLOCK_PACKETS: u32 = 10;
const BLOCKS: usize = 12;
/// Delays vary by so many times the usual excess on one route.
const SLACK: f64 = 6.0;
const SMALLEST: usize = 4;
const RECENT: usize = 63;
/// The usual excess of so many packets is taken for that of calm times; afterwards it follows by these shares.
const FIRST: usize = 16;
const CALMER: f64 = 0.1;
const BUSIER: f64 = 0.01;

/// What the delay of one packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    /// The largest error that queues can explain, s.
    pub(super) most: f64,
    /// The usual size of that, lately.
    pub(super) usual: f64,
    /// The usual size of that when queues are short.
    pub(super) calm: f64,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    begun: RawInstant,
    packets: u32,
    /// In ascending order; infinite where there is none yet.
    smallest: [f64; SMALLEST],
}

/// The delays of a path, in seconds.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    blocks: [Option<Block>; BLOCKS],
    recent: [f64; RECENT],
    seen: usize,
    least: f64,
    gap: f64,
    usual: f64,
    calm: f64,
}

impl Floor {
    pub(super) fn new() -> Floor {
        Floor {
            blocks: [None; BLOCKS],
            recent: [0.0; RECENT],
            seen: 0,
            least: 0.0,
            gap: 0.0,
            usual: 0.0,
            calm: 0.0,
        }
    }

    /// Expects the floor that the path had before a restart, until an hour of packets says otherwise.
    pub(super) fn expect(&mut self, least: f64, now: RawInstant) {
        self.file(least, now);
    }

    /// Takes in a delay, and judges it.
    pub(super) fn observe(&mut self, delay: f64, now: RawInstant) -> Excess {
        self.file(delay, now);
        self.recent[self.seen % RECENT] = delay;
        self.seen += 1;
        let mut recent = self.recent;
        let recent = &mut recent[..self.seen.min(RECENT)];
        let (_, median, _) = recent.select_nth_unstable_by(recent.len() / 2, f64::total_cmp);
        let median = *median;
        let lowest = self.lowest();
        self.least = lowest[0];
        // For a sum of two exponential waits the k-th smallest lies √k above the floor.
        self.gap = if self.seen >= 8 {
            0.84 * (lowest[SMALLEST - 1] - lowest[0])
        } else {
            0.84 * (median - lowest[0]).max(0.0) + 0.1 * self.least.max(0.0) / self.seen as f64
        };
        self.usual = 0.5 * self.above(median).max(0.5 * self.gap) + 0.25 * self.gap;
        let gain = if self.seen <= FIRST {
            1.0
        } else if self.usual < self.calm {
            CALMER
        } else {
            BUSIER
        };
        self.calm += gain * (self.usual - self.calm);
        self.judge(delay)
    }

    /// Judges a delay by what is known.
    pub(super) fn judge(&self, delay: f64) -> Excess {
        Excess { most: self.above(delay), usual: self.usual, calm: self.calm }
    }

    /// The largest error that queues can explain where a packet took so long.
    fn above(&self, delay: f64) -> f64 {
        0.5 * ((delay - self.least).max(0.0) + self.gap)
    }

    /// A delay differs by more than this only on another route, s; `None` while too little is known.
    pub(super) fn slack(&self) -> Option<f64> {
        (self.seen >= 16).then_some((SLACK * self.usual).max(3.0 * self.gap) + 1e-5)
    }

    /// Whether a packet this fast may have come by this route.
    pub(super) fn reaches(&self, delay: f64) -> bool {
        self.slack().is_some_and(|slack| delay < self.least + slack)
    }

    /// The smallest delay of the last hour, s.
    pub(super) fn least(&self) -> f64 {
        self.least
    }

    /// The delay without any excess, s.
    pub(super) fn base(&self) -> f64 {
        self.least - self.gap
    }

    /// How far the true floor may lie below, s.
    pub(super) fn gap(&self) -> f64 {
        self.gap
    }

    fn file(&mut self, delay: f64, now: RawInstant) {
        let full = |b: &Block| now - b.begun >= BLOCK && b.packets >= BLOCK_PACKETS;
        if self.blocks[0].as_ref().is_none_or(full) {
            self.blocks.rotate_right(1);
            self.blocks[0] = Some(Block { begun: now, packets: 0, smallest: [f64::INFINITY; SMALLEST] });
        }
        if let Some(block) = &mut self.blocks[0] {
            block.packets += 1;
            insert(&mut block.smallest, delay);
        }
    }

    fn lowest(&self) -> [f64; SMALLEST] {
        let mut lowest = [f64::INFINITY; SMALLEST];
        for delay in self.blocks.iter().flatten().flat_map(|b| b.smallest) {
            insert(&mut lowest, delay);
        }
        lowest
    }
}

/// Keeps the smallest values in order.
fn insert(smallest: &mut [f64; SMALLEST], value: f64) {
    let place = smallest.partition_point(|s| *s <= value);
    if place < SMALLEST {
        smallest[place..].rotate_right(1);
        smallest[place] = value;
    }
}
