//! A streamed answer as the events of a message.
//!
//! A message's blocks come one after another, each whole before the next begins, while a chat's chunks may mix the calls of
//! tools. So the first call is passed on as it comes, and whatever comes beside it is held until the answer ends.
//! Source of the order: <https://docs.anthropic.com/en/docs/build-with-claude/streaming>.

use std::collections::HashMap;

use provider::{Text, Usage};

use super::{
    Asked, Problem,
    block::{self, SIGNATURE},
    ending::{self, Ending},
    error,
};
use crate::chat::{self, Answer, Arguments, ToolCall, write};

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
    calls: Vec<Call>,
    /// Their positions by the numbers that the chunks give them.
    positions: HashMap<u64, usize>,
    /// What follows the open call.
    held: Vec<Held>,
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

/// A block that waits. A text is as it stands between its quotes.
#[derive(Debug)]
enum Held {
    Said(Kind, Vec<u8>),
    Call(usize),
}

/// A call of a tool. Its texts are as they stand between their quotes.
#[derive(Debug)]
struct Call {
    id: Vec<u8>,
    name: Vec<u8>,
    /// Arguments that were not passed on yet.
    arguments: Vec<u8>,
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
            calls: Vec::new(),
            positions: HashMap::new(),
            held: Vec::new(),
            ending: Ending::default(),
            usage: None,
            said: 0,
        }
    }

    /// Appends to `out` what one event of the chat's stream means: none, one or several whole events. An event that cannot be
    /// read means nothing; what follows the end, or an error, is not looked at.
    pub fn frame(&mut self, event: &[u8], out: &mut Vec<u8>) {
        let Some(data) = chat::data(event).filter(|_| !self.is_over) else { return };
        if data == chat::DONE {
            self.end(out);
            return;
        }
        let Ok(answer) = Answer::read(&data) else { return };
        self.usage = answer.usage.or(self.usage);
        if self.ending.finish.is_some() || !answer.says_something() {
            return;
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
    }

    /// Appends the event for an answer that breaks. Nothing follows it.
    pub fn broken(&mut self, problem: &Problem<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        write::event(out, "error");
        error::write_error(out, problem);
        write::end_of_event(out);
    }

    /// An event that keeps a silent connection open. It may stand between any two others.
    pub const fn ping(&self) -> &'static [u8] {
        b"event: ping\ndata: {\"type\":\"ping\"}\n\n"
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        write::event(out, "message_start");
        out.extend_from_slice(b"{\"type\":\"message_start\",\"message\":{\"id\":");
        block::message_id(out, &self.id);
        out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
        write::string(out, &self.asked.model);
        out.extend_from_slice(b",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
        ending::usage(out, &ending::estimated(self.estimated_input_tokens, 0));
        out.extend_from_slice(b"}}");
        write::end_of_event(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.end_blocks(out);
        write::event(out, "message_delta");
        out.extend_from_slice(b"{\"type\":\"message_delta\",\"delta\":{");
        self.ending.write(out);
        out.extend_from_slice(b"},\"usage\":");
        let estimated = || ending::estimated(self.estimated_input_tokens, self.said);
        ending::usage(out, &self.usage.unwrap_or_else(estimated));
        out.push(b'}');
        write::end_of_event(out);
        write::event(out, "message_stop");
        out.extend_from_slice(b"{\"type\":\"message_stop\"}");
        write::end_of_event(out);
        self.is_over = true;
    }

    /// Passes a piece of text or thinking on, or holds it behind the open call.
    fn text(&mut self, kind: Kind, text: Text<'_>, out: &mut Vec<u8>) {
        if !matches!(self.open, Some(Open::Call(_))) {
            self.open_text(kind, out);
            self.delta(out, |out| write::copied(out, text));
            return;
        }
        match self.held.last_mut() {
            Some(Held::Said(last, said)) if *last == kind => write::copied(said, text),
            _ => {
                let mut said = Vec::new();
                write::copied(&mut said, text);
                self.held.push(Held::Said(kind, said));
            }
        }
    }

    /// Takes in a piece of a call.
    fn call(&mut self, piece: &ToolCall<'_>, out: &mut Vec<u8>) {
        self.ending.has_calls = true;
        let (at, is_new) = self.find_call(piece);
        if let Some(name) = piece.name.filter(|_| self.calls[at].name.is_empty()) {
            write::copied(&mut self.calls[at].name, name);
        }
        let copy = |out: &mut Vec<u8>| match piece.arguments {
            Arguments::None => {}
            Arguments::Text(text) => write::copied(out, text),
            Arguments::Object(raw) => write::escaped(out, raw),
        };
        if self.open == Some(Open::Call(at)) {
            if !matches!(piece.arguments, Arguments::None) {
                self.delta(out, copy);
            }
            return;
        }
        copy(&mut self.calls[at].arguments);
        if !is_new {
            return;
        }
        if matches!(self.open, Some(Open::Call(_))) || self.calls[at].name.is_empty() {
            self.held.push(Held::Call(at));
        } else {
            self.open_call(at, out);
        }
    }

    /// The position of the call that `piece` belongs to, and whether it begins with it. Its number says which; a piece without one
    /// belongs to the last call, unless it has an id of its own. An id does not count beside a number: some versions of vLLM
    /// make up a new one for every piece.
    fn find_call(&mut self, piece: &ToolCall<'_>) -> (usize, bool) {
        let own = piece.id.map(|id| block::call_id(Some(id), "", 0));
        let found = match piece.index {
            Some(index) => self.positions.get(&index).copied(),
            None => {
                self.calls.len().checked_sub(1).filter(|at| own.as_ref().is_none_or(|own| self.calls[*at].id == *own))
            }
        };
        if let Some(at) = found {
            return (at, false);
        }
        let at = self.calls.len();
        let id = own.unwrap_or_else(|| block::call_id(None, &self.id, at));
        self.calls.push(Call { id, name: Vec::new(), arguments: Vec::new() });
        if let Some(index) = piece.index {
            self.positions.insert(index, at);
        }
        (at, true)
    }

    fn open_text(&mut self, kind: Kind, out: &mut Vec<u8>) {
        if self.open == Some(Open::Said(kind)) {
            return;
        }
        self.open(Open::Said(kind), out);
        out.extend_from_slice(match kind {
            Kind::Thinking => b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}".as_slice(),
            Kind::Text => b"{\"type\":\"text\",\"text\":\"\"}}",
        });
        write::end_of_event(out);
    }

    fn open_call(&mut self, at: usize, out: &mut Vec<u8>) {
        self.open(Open::Call(at), out);
        let call = &mut self.calls[at];
        out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":\"");
        out.extend_from_slice(&call.id);
        out.extend_from_slice(b"\",\"name\":\"");
        out.extend_from_slice(&call.name);
        out.extend_from_slice(b"\",\"input\":{}}}");
        write::end_of_event(out);
        let arguments = std::mem::take(&mut call.arguments);
        if !arguments.is_empty() {
            self.delta(out, |out| out.extend_from_slice(&arguments));
        }
    }

    /// Closes what is open and begins the event that opens `block`, which follows.
    fn open(&mut self, block: Open, out: &mut Vec<u8>) {
        self.close(out);
        self.open = Some(block);
        write::event(out, "content_block_start");
        out.extend_from_slice(b"{\"type\":\"content_block_start\",\"index\":");
        write::number(out, self.blocks);
        out.extend_from_slice(b",\"content_block\":");
        self.blocks += 1;
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        if open == Open::Said(Kind::Thinking) {
            self.begin_delta(out);
            out.extend_from_slice(b"\"signature_delta\",\"signature\":");
            write::string(out, SIGNATURE);
            out.extend_from_slice(b"}}");
            write::end_of_event(out);
        }
        write::event(out, "content_block_stop");
        out.extend_from_slice(b"{\"type\":\"content_block_stop\",\"index\":");
        write::number(out, self.blocks - 1);
        out.push(b'}');
        write::end_of_event(out);
    }

    /// Adds what `copy` writes, as it stands between quotes, to the open block.
    fn delta(&self, out: &mut Vec<u8>, copy: impl FnOnce(&mut Vec<u8>)) {
        self.begin_delta(out);
        out.extend_from_slice(match self.open {
            Some(Open::Said(Kind::Thinking)) => b"\"thinking_delta\",\"thinking\":\"".as_slice(),
            Some(Open::Call(_)) => b"\"input_json_delta\",\"partial_json\":\"",
            Some(Open::Said(Kind::Text)) | None => b"\"text_delta\",\"text\":\"",
        });
        copy(out);
        out.extend_from_slice(b"\"}}");
        write::end_of_event(out);
    }

    fn begin_delta(&self, out: &mut Vec<u8>) {
        write::event(out, "content_block_delta");
        out.extend_from_slice(b"{\"type\":\"content_block_delta\",\"index\":");
        write::number(out, self.blocks - 1);
        out.extend_from_slice(b",\"delta\":{\"type\":");
    }

    /// Closes what is open and passes on what was held.
    fn end_blocks(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        for held in std::mem::take(&mut self.held) {
            match held {
                Held::Said(kind, said) => {
                    self.open_text(kind, out);
                    self.delta(out, |out| out.extend_from_slice(&said));
                }
                Held::Call(at) => self.open_call(at, out),
            }
            self.close(out);
        }
    }
}
