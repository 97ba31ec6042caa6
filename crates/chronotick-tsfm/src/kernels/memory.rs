//! Memory for weights: all of a checkpoint side by side, in pages as large as the system gives. Every forecast reads all
//! of it in order, and with pages of 4 KiB that takes half as long again or twice as long.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::Arc;

/// What the pages of the usual systems are at their largest, or a small multiple of it.
const HUGE_PAGE: usize = 2 << 20;
/// Weights begin where a line of the cache does, so that no load crosses two.
const LINE: usize = 64;

/// Hands out memory.
pub(crate) struct Arena {
    block: RefCell<Arc<Block>>,
    used: Cell<usize>,
}

impl Arena {
    /// Room for so many bytes, if the system has it. What is not handed out takes no memory.
    pub(crate) fn new(bytes: usize) -> Self {
        let block = Block::new(bytes).unwrap_or_else(Block::empty);
        Self { block: RefCell::new(Arc::new(block)), used: Cell::new(0) }
    }

    /// So many bytes of zeros; from somewhere else, once the room is used up.
    pub(super) fn take(&self, bytes: usize) -> Piece {
        if bytes > self.block.borrow().layout.size() - self.used.get() {
            let block = Block::new(bytes).unwrap_or_else(|| panic!("no memory for {bytes} bytes of weights"));
            *self.block.borrow_mut() = Arc::new(block);
            self.used.set(0);
        }
        let block = self.block.borrow().clone();
        let from = self.used.get();
        self.used.set((from + bytes.next_multiple_of(LINE)).min(block.layout.size()));
        // SAFETY: the block has so many bytes from there, and nobody else was given them.
        unsafe { block.start.add(from).write_bytes(0, bytes) };
        Piece { block, from, bytes }
    }
}

/// Some of an arena's memory, aligned to a line of the cache and owned by its holder alone.
pub(super) struct Piece {
    block: Arc<Block>,
    from: usize,
    bytes: usize,
}

impl Piece {
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `take` initialised these bytes, and they are this piece's alone.
        unsafe { std::slice::from_raw_parts(self.block.start.add(self.from).as_ptr(), self.bytes) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.block.start.add(self.from).as_ptr(), self.bytes) }
    }
}

/// What a line of the cache holds: its alignment gives an empty block an address.
#[repr(align(64))]
struct Aligned(#[expect(dead_code, reason = "only its alignment counts")] [u8; LINE]);

struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is memory and nothing else; who may touch which part of it is the pieces' affair.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// `None` where there is no such memory.
    fn new(bytes: usize) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::empty());
        }
        let layout = Layout::from_size_align(bytes.checked_next_multiple_of(HUGE_PAGE)?, HUGE_PAGE).ok()?;
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        #[cfg(target_os = "linux")]
        // SAFETY: these are whole pages of this block. It is advice: a system without large pages refuses, and all is well.
        unsafe {
            libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE);
        }
        Some(Self { start, layout })
    }

    fn empty() -> Self {
        let layout = Layout::from_size_align(0, LINE).expect("a power of two");
        Self { start: NonNull::<Aligned>::dangling().cast(), layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: it was allocated so.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_aligned_and_apart_also_beyond_the_room() {
        let arena = Arena::new(100);
        let mut pieces: Vec<Piece> = [1, 64, 65, HUGE_PAGE, 7, 0].map(|bytes| arena.take(bytes)).into();
        for (i, piece) in pieces.iter_mut().enumerate() {
            assert!(piece.as_slice().iter().all(|byte| *byte == 0));
            assert_eq!(piece.as_slice().as_ptr() as usize % LINE, 0);
            piece.as_mut_slice().fill(i as u8 + 1);
        }
        drop(arena);
        for (i, piece) in pieces.iter().enumerate() {
            assert!(piece.as_slice().iter().all(|byte| *byte == i as u8 + 1));
        }
    }
}
