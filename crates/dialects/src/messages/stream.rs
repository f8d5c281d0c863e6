//! A streamed answer as the events of a message.
//!
//! A message's blocks come one after another, each whole before the next begins, while a chat's chunks may mix the calls of
//! tools. So a call is passed on as it comes, and what comes beside it is held until the call is complete: usually nothing is.
//! Source of the order: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

mod events;
mod held;

use provider::{Malformed, Text, Usage};

use self::held::{Held, HeldCall, Stage};
use super::{Asked, ending::Ending};
use crate::{
    Blocks,
    chat::{self, Answer, Calls, ToolCall, write},
};

/// The events of one streamed message.
#[derive(Debug)]
pub struct Stream {
    asked: Asked,
    id: String,
    estimated_input_tokens: u64,
    has_started: bool,
    is_over: bool,
    /// How many blocks have begun.
    blocks: u64,
    open: Option<Open>,
    /// The calls so far, in the order in which they began.
    calls: Calls,
    /// What is known of each of them here.
    held_calls: Vec<HeldCall>,
    /// What follows the open call.
    held: Held,
    ending: Ending,
    usage: Option<Usage>,
    /// The bytes of all that the model said, shown or not.
    said: u64,
}

/// What a block of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

/// The block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Said(Kind),
    /// The call with this position among the calls.
    Call(usize),
}

impl Stream {
    /// The beginning of an answer to what was `asked`. The message's id is `id` behind Anthropic's `msg_`. The estimate is
    /// reported as its usage until the upstream's own count comes, at the end.
    pub fn new(asked: Asked, id: &str, estimated_input_tokens: u64) -> Self {
        Self {
            asked,
            id: id.to_owned(),
            estimated_input_tokens,
            has_started: false,
            is_over: false,
            blocks: 0,
            open: None,
            calls: Calls::default(),
            held_calls: Vec::new(),
            held: Held::default(),
            ending: Ending::default(),
            usage: None,
            said: 0,
        }
    }

    /// Appends to `out` what one event of the chat's stream means: none, one or several whole events. An event that is no JSON
    /// means nothing; what follows the end, or an error, is not looked at.
    ///
    /// # Errors
    /// If the event is nested too deeply to be read. The answer would lack what it says, so that it must end with
    /// [`broken`](Self::broken).
    pub fn frame(&mut self, event: &[u8], out: &mut Blocks) -> Result<(), Malformed> {
        let Some(data) = chat::data(event).filter(|_| !self.is_over) else { return Ok(()) };
        if data == chat::DONE {
            self.end(out);
            return Ok(());
        }
        let Some(answer) = Answer::read_event(&data)? else { return Ok(()) };
        self.usage = answer.usage.or(self.usage);
        if self.ending.finish.is_some() || !answer.says_something() {
            return Ok(());
        }
        self.start(out);
        self.said += answer.bytes();
        if self.asked.shows_thinking {
            answer.reasoning.iter().for_each(|text| self.text(Kind::Thinking, text, out));
        }
        self.ending.is_refusal |= !answer.refusal.is_empty();
        answer.content.iter().chain(answer.refusal.iter()).for_each(|text| self.text(Kind::Text, text, out));
        for call in &answer.tool_calls {
            self.call(call, out);
        }
        self.ending.take(answer.finish_reason, answer.stop_sequence);
        if self.ending.finish.is_some() {
            self.end_blocks(out);
        }
        Ok(())
    }

    /// The bytes of memory that it takes for what it was told and has not passed on yet.
    pub fn held_bytes(&self) -> usize {
        self.held.bytes() + self.calls.held_bytes()
    }

    /// Passes a piece of text or thinking on, or holds it behind a call that is not complete.
    fn text(&mut self, kind: Kind, text: Text<'_>, out: &mut Blocks) {
        if self.held.is_empty() && !self.is_open_for_more() {
            self.open_text(kind, out);
            self.delta(out, |out| write::copied(out.end(), text));
            return;
        }
        self.held.text(kind, text);
    }

    /// Takes in a piece of a call.
    fn call(&mut self, piece: &ToolCall<'_>, out: &mut Blocks) {
        let at = self.calls.take(piece);
        if at == self.held_calls.len() {
            self.held_calls.push(HeldCall::default());
        }
        match self.held_calls[at].stage {
            Stage::Open => {
                if !matches!(piece.arguments, chat::Arguments::None) {
                    self.delta(out, |out| piece.arguments.write(out.end()));
                }
            }
            // What follows a complete object is dropped: it is white space, unless the arguments are not one JSON object.
            Stage::Closed => return,
            // Nothing but white space has come.
            Stage::New if !self.calls.is_certain(at) => return,
            Stage::New | Stage::Held => self.held.arguments(&mut self.held_calls[at], piece.arguments),
        }
        if self.held_calls[at].stage == Stage::New {
            self.ending.has_calls = true;
            self.held_calls[at].stage = Stage::Held;
            self.held.call(at);
        }
        self.go_on(out);
    }

    /// Whether a call is open that is not complete.
    fn is_open_for_more(&self) -> bool {
        matches!(self.open, Some(Open::Call(at)) if !self.calls.is_complete(at))
    }

    /// Passes on what was held as far as it may come now: up to a call that is not complete, or has no name yet.
    fn go_on(&mut self, out: &mut Blocks) {
        while !self.is_open_for_more() {
            match self.held.first_call() {
                Some(at) if self.calls.name(at).is_empty() => return,
                _ => {}
            }
            if !self.pass_on(out) {
                return;
            }
        }
    }

    /// Passes on the first block that was held; returns whether there was one.
    fn pass_on(&mut self, out: &mut Blocks) -> bool {
        match self.held.take() {
            None => false,
            Some(held::Block::Said(kind, said)) => {
                self.open_text(kind, out);
                self.delta(out, |out| out.absorb(said));
                true
            }
            Some(held::Block::Call(at)) => {
                self.open_call(at, out);
                true
            }
        }
    }

    /// Passes on what was held and closes what is open. Nothing is taken in after that.
    fn end_blocks(&mut self, out: &mut Blocks) {
        while self.pass_on(out) {}
        self.close(out);
        self.calls = Calls::default();
        self.held_calls.clear();
    }
}
