//! The events of a streamed answer, made of the events of a chat's stream.
//!
//! The order is that of <https://platform.openai.com/docs/api-reference/responses-streaming>: the response is created,
//! its items are added, filled and done, and one last event holds the whole response. Calls whose pieces come in turns
//! are open at the same time, told apart by their `output_index`. Usage comes after the end of a chat's text, so that
//! the last event waits for the end of the stream.

mod events;

use provider::{Malformed, Usage};

use super::{
    asked::{Asked, Kind, ToolName},
    item::{Body, Call, Item, Part, Status},
};
use crate::{
    Blocks,
    chat::{self, Answer, Calls, Texts, ToolCall, write},
};

/// Memory for an item or a part beside its texts, in bytes.
const ITEM: usize = 512;

/// The events of one streamed answer.
pub struct Stream {
    asked: Asked,
    /// As it is within a JSON string.
    id: Box<str>,
    created_s: u64,
    phase: Phase,
    /// Whether only the response at the end is wanted, and no events.
    is_silent: bool,
    /// How many events there were.
    sequence: u64,
    items: Vec<Item>,
    /// The message or the reasoning that more may be added to.
    open: Option<usize>,
    calls: Calls,
    /// What is known of each of them here.
    open_calls: Vec<OpenCall>,
    outcome: Outcome,
    usage: Option<Usage>,
    /// The bytes of memory that the items take, and what is repeated of the request.
    held_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Begun,
    Ended,
}

/// How the answer has ended, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Completed,
    /// For this reason of OpenAI's.
    Incomplete(&'static str),
}

/// A call that more may be added to.
#[derive(Default)]
struct OpenCall {
    /// Its item, once the tool is known.
    item: Option<usize>,
    /// What came of its arguments before that, as it is within a JSON string.
    early: Vec<u8>,
}

/// Why an answer breaks after it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem<'a> {
    /// OpenAI's code, such as `server_error` or `rate_limit_exceeded`: clients decide by it whether to try again.
    pub code: &'a str,
    /// What happened, for a person.
    pub message: &'a str,
}

impl Stream {
    /// The events of the answer to the request that `asked` comes from. The response's id is `id` behind OpenAI's
    /// `resp_`; `created_s` is the time in seconds since 1970.
    pub fn new(asked: Asked, id: &str, created_s: u64) -> Self {
        let mut escaped = Vec::with_capacity(id.len());
        write::escaped(&mut escaped, id);
        Self {
            held_bytes: asked.held_bytes(),
            asked,
            id: String::from_utf8(escaped).unwrap_or_default().into(),
            created_s,
            phase: Phase::Waiting,
            is_silent: false,
            sequence: 0,
            items: Vec::new(),
            open: None,
            calls: Calls::default(),
            open_calls: Vec::new(),
            outcome: Outcome::Completed,
            usage: None,
        }
    }

    /// Appends the events for one event of the chat's stream, `[DONE]` included. What is no JSON is passed over, and so
    /// is all that comes after the end.
    ///
    /// # Errors
    /// If the event is nested too deeply to be read. The answer would lack what it says, so that it must end with
    /// [`broken`](Self::broken).
    pub fn frame(&mut self, event: &[u8], out: &mut Blocks) -> Result<(), Malformed> {
        let Some(data) = chat::data(event).filter(|_| self.phase != Phase::Ended) else { return Ok(()) };
        if data == chat::DONE {
            self.begin(out);
            self.end(out);
        } else if let Some(answer) = Answer::read_event(&data)? {
            self.begin(out);
            self.take(&answer, out);
        }
        Ok(())
    }

    /// Appends the event that ends an answer which breaks. Nothing follows it.
    pub fn broken(&mut self, problem: &Problem<'_>, out: &mut Blocks) {
        if self.phase == Phase::Ended {
            return;
        }
        self.begin(out);
        self.phase = Phase::Ended;
        self.items.iter_mut().for_each(Item::complete);
        self.failed(problem, out);
    }

    /// Appends an event that shows a silent connection to be alive: `response.in_progress`, with the response so far. Codex counts
    /// events alone, and the SDKs take this one at any time: that of Node makes its response the one so far.
    /// Sources: `process_sse` in <https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/sse/responses.rs>, and
    /// <https://github.com/openai/openai-node/blob/master/src/lib/responses/ResponseAccumulator.ts>.
    pub fn keep_alive(&mut self, out: &mut Blocks) {
        match self.phase {
            Phase::Waiting => self.begin(out),
            Phase::Begun => self.in_progress(out),
            Phase::Ended => {}
        }
    }

    /// The bytes of memory that it takes for the answer so far, and for what it repeats of the request.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes + self.calls.held_bytes()
    }

    fn begin(&mut self, out: &mut Blocks) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Begun;
            self.created(out);
            self.in_progress(out);
        }
    }

    /// The last event, with the whole response.
    fn end(&mut self, out: &mut Blocks) {
        self.close_all(out);
        self.phase = Phase::Ended;
        self.ended(out);
    }

    /// Adds what `answer` says, a whole one or a chunk.
    fn take(&mut self, answer: &Answer<'_>, out: &mut Blocks) {
        if !answer.reasoning.is_empty() {
            self.reasoning(&answer.reasoning, out);
        }
        if !answer.content.is_empty() {
            self.says(false, &answer.content, answer.logprobs, out);
        }
        if !answer.refusal.is_empty() {
            self.says(true, &answer.refusal, None, out);
        }
        for (at, piece) in answer.tool_calls.iter().enumerate() {
            // In a whole answer each is a call of its own.
            let index = if self.is_silent { Some(at as u64) } else { piece.index };
            self.call(&ToolCall { index, ..*piece }, out);
        }
        self.usage = answer.usage.or(self.usage);
        if let Some(reason) = answer.finish_reason {
            self.outcome = match &*reason.decoded() {
                "length" => Outcome::Incomplete("max_output_tokens"),
                "content_filter" => Outcome::Incomplete("content_filter"),
                _ => Outcome::Completed,
            };
            self.close_all(out);
        }
    }

    fn reasoning(&mut self, texts: &Texts<'_>, out: &mut Blocks) {
        let open = self.open.filter(|at| matches!(self.items[*at].body, Body::Reasoning(_)));
        let at = open.unwrap_or_else(|| {
            self.close_open(out);
            let at = self.add("rs", Body::Reasoning(Blocks::default()), out);
            self.open = Some(at);
            self.part_added(at, 0, out);
            at
        });
        self.more(at, 0, None, out, |out| texts.write(out));
    }

    /// A text of the assistant, or a refusal.
    fn says(&mut self, is_refusal: bool, texts: &Texts<'_>, logprobs: Option<&str>, out: &mut Blocks) {
        let open = self.open.filter(|at| matches!(self.items[*at].body, Body::Message(_)));
        let at = open.unwrap_or_else(|| {
            self.close_open(out);
            let at = self.add("msg", Body::Message(Vec::new()), out);
            self.open = Some(at);
            at
        });
        let Body::Message(parts) = &self.items[at].body else { return };
        let count = parts.len();
        if parts.last().is_none_or(|part| part.is_refusal != is_refusal) {
            if count > 0 {
                self.part_done(at, count - 1, out);
            }
            let Body::Message(parts) = &mut self.items[at].body else { return };
            parts.push(Part { is_refusal, ..Part::default() });
            self.held_bytes += ITEM;
            self.part_added(at, count, out);
        }
        let Body::Message(parts) = &mut self.items[at].body else { return };
        let index = parts.len().saturating_sub(1);
        let mut probabilities = Vec::new();
        if let Some(logprobs) = logprobs.filter(|_| self.asked.logprobs) {
            super::logprobs::write_elements(&mut probabilities, logprobs);
            let kept = &mut parts[index].logprobs;
            let before = kept.held_bytes();
            if !probabilities.is_empty() && !kept.is_empty() {
                kept.append(b",");
            }
            kept.append(&probabilities);
            self.held_bytes = self.held_bytes + kept.held_bytes() - before;
        }
        self.more(at, index, Some(&probabilities), out, |out| texts.write(out));
    }

    /// A call of a tool, or a piece of one.
    fn call(&mut self, piece: &ToolCall<'_>, out: &mut Blocks) {
        let at = self.calls.take(piece);
        if at == self.open_calls.len() {
            self.open_calls.push(OpenCall::default());
        }
        if let Some(item) = self.open_calls[at].item {
            self.more(item, 0, None, out, |out| piece.arguments.write(out));
            return;
        }
        let early = &mut self.open_calls[at].early;
        let before = early.capacity();
        piece.arguments.write(early);
        self.held_bytes += early.capacity() - before;
        if !self.calls.name(at).is_empty() && self.calls.is_certain(at) {
            self.call_begins(at, out);
        }
    }

    fn call_begins(&mut self, at: usize, out: &mut Blocks) {
        self.close_open(out);
        let raw = str::from_utf8(self.calls.name(at)).unwrap_or_default();
        let name = provider::Text { raw, at: 0, is_escaped: true }.decoded();
        let plain = || ToolName { kind: Kind::Function, namespace: None, name: name.clone().into_owned() };
        let tool = self.asked.tools.get(&*name).cloned().unwrap_or_else(plain);
        let prefix = match tool.kind {
            Kind::Function => "fc",
            Kind::Custom => "ctc",
            Kind::Search => "tsc",
        };
        let mut id = self.calls.id(at).to_vec();
        if id.is_empty() {
            id = self.item_id("call");
        }
        let early = std::mem::take(&mut self.open_calls[at].early);
        self.held_bytes -= early.capacity();
        let item = self.add(prefix, Body::Call(Call { tool, id, arguments: Blocks::default() }), out);
        self.open_calls[at].item = Some(item);
        self.more(item, 0, None, out, |out| out.extend_from_slice(&early));
    }

    /// Adds what `write` writes, as it is within a JSON string, to the text or the arguments of an item; the part of its content is
    /// `index`. The event has the log probabilities of it.
    fn more(
        &mut self,
        at: usize,
        index: usize,
        logprobs: Option<&[u8]>,
        out: &mut Blocks,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let has_deltas = self.has_deltas(at);
        let before = self.items[at].text(index).map_or(0, |text| text.held_bytes());
        if self.is_silent || !has_deltas {
            if let Some(kept) = self.items[at].text(index) {
                write(kept.end());
            }
        } else {
            let end = out.end();
            let mark = end.len();
            self.begin_delta(at, index, logprobs, end);
            let start = end.len();
            write(end);
            if end.len() == start {
                // Nothing was said, and so there is no event.
                end.truncate(mark);
                return;
            }
            self.sequence += 1;
            if let Some(kept) = self.items[at].text(index) {
                kept.append(&end[start..]);
            }
            end.push(b'"');
            events::end(end);
        }
        let after = self.items[at].text(index).map_or(0, |text| text.held_bytes());
        // What is passed on at its end is read there, and is there twice at that moment.
        let copies = if has_deltas { 1 } else { 2 };
        self.held_bytes = self.held_bytes + copies * after - copies * before;
    }

    /// Whether the arguments of an item, or its text, are passed on as they come.
    fn has_deltas(&self, at: usize) -> bool {
        !matches!(&self.items[at].body, Body::Call(call) if call.tool.kind != Kind::Function)
    }

    /// Adds an item; returns its place in the output.
    fn add(&mut self, prefix: &str, body: Body, out: &mut Blocks) -> usize {
        let id = self.item_id(prefix);
        self.items.push(Item { id, body, status: None });
        self.held_bytes += ITEM;
        let at = self.items.len() - 1;
        self.item_added(at, out);
        at
    }

    /// An id for the item that is added next, as it is within a JSON string.
    fn item_id(&self, prefix: &str) -> Vec<u8> {
        format!("{prefix}_{}_{}", self.id, self.items.len()).into_bytes()
    }

    /// Ends the message or the reasoning that is open: something else comes.
    fn close_open(&mut self, out: &mut Blocks) {
        if let Some(at) = self.open.take() {
            self.close(at, Status::Completed, out);
        }
    }

    /// Ends all that is open.
    fn close_all(&mut self, out: &mut Blocks) {
        let status = match self.outcome {
            Outcome::Completed => Status::Completed,
            Outcome::Incomplete(_) => Status::Incomplete,
        };
        let open = self.open.take();
        self.calls = Calls::default();
        let calls = std::mem::take(&mut self.open_calls);
        let mut all: Vec<usize> = calls.iter().filter_map(|call| call.item).chain(open).collect();
        all.sort_unstable();
        for at in all {
            self.close(at, status, out);
        }
    }

    fn close(&mut self, at: usize, status: Status, out: &mut Blocks) {
        let item = &mut self.items[at];
        let before = item.held_bytes();
        item.end(status);
        self.held_bytes = self.held_bytes + item.held_bytes() - before;
        match &self.items[at].body {
            Body::Call(_) => self.call_done(at, out),
            Body::Reasoning(_) => self.part_done(at, 0, out),
            Body::Message(parts) => {
                if let Some(last) = parts.len().checked_sub(1) {
                    self.part_done(at, last, out);
                }
            }
        }
        self.item_done(at, out);
    }

    /// The response of a stream in which all of `answer` came at once.
    pub(super) fn response_to(mut self, answer: &Answer<'_>) -> Vec<u8> {
        self.is_silent = true;
        let mut out = Blocks::default();
        self.take(answer, &mut out);
        self.close_all(&mut out);
        self.write_response(&mut out);
        out.into_vec()
    }
}

#[cfg(test)]
mod tests;
