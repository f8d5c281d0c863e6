//! What of an answer waits until the call before it is complete.

use std::collections::VecDeque;

use provider::Text;

use super::Kind;
use crate::{
    Blocks,
    chat::{Arguments, write},
};

/// Memory for a block that waits beside its text, in bytes.
const BLOCK: usize = 128;

/// The blocks that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Held {
    blocks: VecDeque<Block>,
    bytes: usize,
}

/// A block that waits. Its text is as it stands between its quotes.
#[derive(Debug)]
pub(super) enum Block {
    Said(Kind, Blocks),
    /// The call with this position among the calls.
    Call(usize),
}

/// How far a call has come on its way to the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is known but that there may be one.
    #[default]
    New,
    Held,
    Open,
    Closed,
}

/// A call, with the arguments that were not passed on yet.
#[derive(Debug, Default)]
pub(super) struct HeldCall {
    pub(super) stage: Stage,
    arguments: Blocks,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The bytes of memory that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a piece of text or thinking.
    pub(super) fn text(&mut self, kind: Kind, text: Text<'_>) {
        if !matches!(self.blocks.back(), Some(Block::Said(last, _)) if *last == kind) {
            self.blocks.push_back(Block::Said(kind, Blocks::default()));
            self.bytes += BLOCK;
        }
        let Some(Block::Said(_, said)) = self.blocks.back_mut() else { return };
        let before = said.held_bytes();
        write::copied(said.end(), text);
        self.bytes = self.bytes + said.held_bytes() - before;
    }

    /// Adds the call with the position `at`.
    pub(super) fn call(&mut self, at: usize) {
        self.blocks.push_back(Block::Call(at));
        self.bytes += BLOCK;
    }

    /// Adds arguments to `call`.
    pub(super) fn arguments(&mut self, call: &mut HeldCall, more: Arguments<'_>) {
        let before = call.arguments.held_bytes();
        more.write(call.arguments.end());
        self.bytes = self.bytes + call.arguments.held_bytes() - before;
    }

    /// The call that is first, if a call is.
    pub(super) fn first_call(&self) -> Option<usize> {
        match self.blocks.front() {
            Some(Block::Call(at)) => Some(*at),
            Some(Block::Said(..)) | None => None,
        }
    }

    /// Takes the first block off.
    pub(super) fn take(&mut self) -> Option<Block> {
        let block = self.blocks.pop_front()?;
        self.bytes -= BLOCK;
        if let Block::Said(_, said) = &block {
            self.bytes -= said.held_bytes();
        }
        Some(block)
    }

    /// Takes the arguments of `call` that were not passed on yet.
    pub(super) fn take_arguments(&mut self, call: &mut HeldCall) -> Blocks {
        let arguments = std::mem::take(&mut call.arguments);
        self.bytes -= arguments.held_bytes();
        arguments
    }
}
