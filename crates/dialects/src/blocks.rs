//! Bytes in blocks: they grow at their end, and a long text that was written once is shared from there on.
//!
//! A streamed response says each of its texts four times more at its end. Were they copied, a long answer would take a multiple
//! of its length at that moment.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;

/// Most bytes of a block, but for what is appended in one write: a text that grows is never moved as a whole.
const BLOCK: usize = 64 << 10;
/// Shorter blocks are copied: one that is shared is a piece of its own in what is sent.
const LEAST_SHARED: usize = 1 << 10;

/// Bytes in blocks.
#[derive(Default)]
pub struct Blocks {
    /// The blocks that are complete, in order; none is empty.
    complete: VecDeque<Bytes>,
    /// The bytes of `complete`.
    complete_bytes: usize,
    /// Those of them that are shared with other blocks, which count them.
    shared_bytes: usize,
    /// The block that is written to.
    last: Vec<u8>,
}

impl Blocks {
    /// Whether there is nothing in them.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they are.
    pub fn len(&self) -> usize {
        self.complete_bytes + self.last.len()
    }

    /// The bytes of memory that they take beside what others hold.
    pub fn held_bytes(&self) -> usize {
        self.complete_bytes - self.shared_bytes + self.last.capacity()
    }

    /// Makes room for so many more bytes at the end, so that they are written without moving those before them.
    pub fn reserve(&mut self, bytes: usize) {
        self.last.reserve(bytes);
    }

    /// Appends a copy of `bytes`.
    pub fn append(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((now, later)) = rest.split_at_checked(BLOCK.saturating_sub(self.last.len())) {
            self.extend(now);
            self.complete();
            rest = later;
        }
        self.extend(rest);
    }

    /// Appends to the last block, which may get no longer than a block by that.
    fn extend(&mut self, bytes: &[u8]) {
        let length = self.last.len() + bytes.len();
        if length > self.last.capacity() {
            let room = length.max((2 * self.last.capacity()).min(BLOCK));
            self.last.reserve_exact(room - self.last.len());
        }
        self.last.extend_from_slice(bytes);
    }

    /// Takes off the first bytes, at most so many; empty if there are none.
    pub fn take(&mut self, most: usize) -> Bytes {
        if self.complete.is_empty() {
            self.end_block();
        }
        let Some(first) = self.complete.front_mut() else { return Bytes::new() };
        let taken = first.split_to(most.min(first.len()));
        if first.is_empty() {
            self.complete.pop_front();
        }
        self.complete_bytes -= taken.len();
        self.shared_bytes = self.shared_bytes.min(self.complete_bytes);
        taken
    }

    /// All of them in one piece.
    pub fn into_vec(mut self) -> Vec<u8> {
        if self.complete.is_empty() {
            return self.last;
        }
        let mut all = Vec::with_capacity(self.len());
        while let Some(block) = self.complete.pop_front() {
            all.extend_from_slice(&block);
        }
        all.extend_from_slice(&self.last);
        all
    }

    /// The end, to write to.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        if self.last.len() >= BLOCK {
            self.complete();
        }
        &mut self.last
    }

    /// Completes the last block, so that it is shared: nothing is appended for now.
    pub(crate) fn complete(&mut self) {
        self.last.shrink_to_fit();
        self.end_block();
    }

    fn end_block(&mut self) {
        if self.last.is_empty() {
            return;
        }
        let last = Bytes::from(std::mem::take(&mut self.last));
        self.complete_bytes += last.len();
        self.complete.push_back(last);
    }

    /// Appends what `other` holds, which goes on holding it: its complete blocks are not copied.
    pub(crate) fn share(&mut self, other: &Self) {
        for block in &other.complete {
            if block.len() < LEAST_SHARED {
                self.append(block);
                continue;
            }
            self.end_block();
            self.complete_bytes += block.len();
            self.shared_bytes += block.len();
            self.complete.push_back(block.clone());
        }
        self.append(&other.last);
    }

    /// Appends what `other` has held.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        let shared_bytes = self.shared_bytes + other.shared_bytes;
        other.complete();
        self.share(&other);
        self.shared_bytes = shared_bytes;
    }
}

/// Leaves out what they say.
impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocks").field("bytes", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_long_text_is_shared_and_a_short_one_copied() {
        let mut text = Blocks::default();
        text.append(&vec![b'x'; 3 * BLOCK + 5]);
        text.complete();
        let mut out = Blocks::default();
        for _ in 0..4 {
            out.append(b"<");
            out.share(&text);
            out.append(b">");
        }
        assert_eq!(out.len(), 4 * (text.len() + 2));
        assert!(text.held_bytes() >= text.len() && text.held_bytes() < text.len() + 100);
        assert!(out.held_bytes() < 1000, "{} bytes of its own", out.held_bytes());
        let taken = out.take(1 << 20);
        assert_eq!((&taken[..], out.take(7).len()), (&b"<"[..], 7), "pieces are no longer than asked for");
    }

    proptest! {
        /// However they are written, shared and taken, they are the same bytes in the same order.
        #[test]
        fn blocks_are_what_was_written(
            pieces in vec((0..4_u8, prop_oneof![0..50_usize, 60_000..70_000_usize]), 0..12),
            most in 1..100_000_usize,
        ) {
            let (mut blocks, mut expected) = (Blocks::default(), Vec::new());
            for (at, (how, length)) in pieces.into_iter().enumerate() {
                let bytes = vec![u8::try_from(at).unwrap_or_default(); length];
                expected.extend_from_slice(&bytes);
                let mut other = Blocks::default();
                other.append(&bytes);
                match how {
                    0 => blocks.append(&bytes),
                    1 => blocks.end().extend_from_slice(&bytes),
                    2 => blocks.absorb(other),
                    _ => {
                        other.complete();
                        blocks.share(&other);
                    }
                }
                prop_assert_eq!(blocks.len(), expected.len());
            }
            let mut taken = Vec::new();
            let mut copy = Blocks::default();
            copy.share(&blocks);
            while !copy.is_empty() {
                let piece = copy.take(most);
                prop_assert!(!piece.is_empty() && piece.len() <= most);
                taken.extend_from_slice(&piece);
            }
            prop_assert_eq!(&taken, &expected);
            prop_assert_eq!(blocks.into_vec(), expected);
        }
    }
}
