//! The events of a streamed answer, made of the events of a chat's stream.
//!
//! The order is that of <https://platform.openai.com/docs/api-reference/responses-streaming>: the response is created,
//! its items are added, filled and done, and one last event holds the whole response. Calls whose pieces come in turns
//! are open at the same time, told apart by their `output_index`. Usage comes after the end of a chat's text, so that
//! the last event waits for the end of the stream.

use std::collections::BTreeMap;

use provider::{Text, Usage};

use super::{
    asked::{Asked, Kind, ToolName},
    item::{Body, Call, Item, Part, Status},
};
use crate::chat::{self, Answer, Arguments, Texts, ToolCall, write};

mod events;

/// The events of one streamed answer.
pub struct Stream {
    asked: Asked,
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
    calls: Vec<OpenCall>,
    /// The call of each number, the latest if there are several.
    numbered: BTreeMap<u64, usize>,
    outcome: Outcome,
    usage: Option<Usage>,
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
    /// Its id within a JSON string; empty if the chat has none.
    id: Vec<u8>,
    /// Its item, once the tool is known.
    item: Option<usize>,
    /// What came of its arguments before that.
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
        Self {
            asked,
            id: id.into(),
            created_s,
            phase: Phase::Waiting,
            is_silent: false,
            sequence: 0,
            items: Vec::new(),
            open: None,
            calls: Vec::new(),
            numbered: BTreeMap::new(),
            outcome: Outcome::Completed,
            usage: None,
        }
    }

    /// Appends the events for one event of the chat's stream, `[DONE]` included. What is no JSON is passed over, and so
    /// is all that comes after the end.
    pub fn frame(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.phase == Phase::Ended {
            return;
        }
        let Some(data) = chat::data(event) else { return };
        if data == chat::DONE {
            self.begin(out);
            self.end(out);
        } else if let Ok(answer) = Answer::read(&data) {
            self.begin(out);
            self.take(&answer, out);
        }
    }

    /// Appends the event that ends an answer which breaks. Nothing follows it.
    pub fn broken(&mut self, problem: &Problem<'_>, out: &mut Vec<u8>) {
        if self.phase == Phase::Ended {
            return;
        }
        self.begin(out);
        self.phase = Phase::Ended;
        self.failed(problem, out);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if self.phase == Phase::Waiting {
            self.phase = Phase::Begun;
            self.created(out);
        }
    }

    /// The last event, with the whole response.
    fn end(&mut self, out: &mut Vec<u8>) {
        self.close_all(out);
        self.phase = Phase::Ended;
        self.ended(out);
    }

    /// Adds what `answer` says, a whole one or a chunk.
    fn take(&mut self, answer: &Answer<'_>, out: &mut Vec<u8>) {
        if !answer.reasoning.is_empty() {
            self.reasoning(&answer.reasoning, out);
        }
        if !answer.content.is_empty() {
            self.says(false, &answer.content, answer.logprobs, out);
        }
        if !answer.refusal.is_empty() {
            self.says(true, &answer.refusal, None, out);
        }
        for piece in &answer.tool_calls {
            self.call(piece, out);
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

    fn reasoning(&mut self, texts: &Texts<'_>, out: &mut Vec<u8>) {
        let is_open = self.open.is_some_and(|at| matches!(self.items[at].body, Body::Reasoning(_)));
        if !is_open {
            self.close_open(out);
            let at = self.add("rs", Body::Reasoning(Vec::new()), out);
            self.open = Some(at);
            self.part_added(at, 0, out);
        }
        let Some(at) = self.open else { return };
        let Body::Reasoning(all) = &mut self.items[at].body else { return };
        let start = all.len();
        copy(all, texts);
        self.delta(at, 0, start, None, out);
    }

    /// A text of the assistant, or a refusal.
    fn says(&mut self, is_refusal: bool, texts: &Texts<'_>, logprobs: Option<&str>, out: &mut Vec<u8>) {
        if !self.open.is_some_and(|at| matches!(self.items[at].body, Body::Message(_))) {
            self.close_open(out);
            self.open = Some(self.add("msg", Body::Message(Vec::new()), out));
        }
        let Some(at) = self.open else { return };
        let Body::Message(parts) = &self.items[at].body else { return };
        if parts.last().is_none_or(|part| part.is_refusal != is_refusal) {
            let count = parts.len();
            if count > 0 {
                self.part_done(at, count - 1, out);
            }
            let Body::Message(parts) = &mut self.items[at].body else { return };
            parts.push(Part { is_refusal, ..Part::default() });
            self.part_added(at, count, out);
        }
        let Body::Message(parts) = &mut self.items[at].body else { return };
        let index = parts.len().saturating_sub(1);
        let Some(part) = parts.last_mut() else { return };
        let start = part.text.len();
        copy(&mut part.text, texts);
        let mut probabilities = Vec::new();
        if let Some(logprobs) = logprobs.filter(|_| self.asked.logprobs) {
            super::logprobs::write_elements(&mut probabilities, logprobs);
            if !probabilities.is_empty() && !part.logprobs.is_empty() {
                part.logprobs.push(b',');
            }
            part.logprobs.extend_from_slice(&probabilities);
        }
        self.delta(at, index, start, Some(&probabilities), out);
    }

    /// A call of a tool, or a piece of one.
    fn call(&mut self, piece: &ToolCall<'_>, out: &mut Vec<u8>) {
        let known = match piece.index {
            Some(index) => self.numbered.get(&index).copied(),
            None => self.calls.len().checked_sub(1),
        };
        // Some servers give every call the same number, or none.
        let known = known.filter(|at| self.calls.get(*at).is_some_and(|call| !call.is_another(piece)));
        let at = known.unwrap_or_else(|| {
            let mut call = OpenCall::default();
            piece.id.iter().for_each(|id| write::copied(&mut call.id, *id));
            self.calls.push(call);
            let at = self.calls.len() - 1;
            piece.index.and_then(|index| self.numbered.insert(index, at));
            at
        });
        if self.calls[at].item.is_none() {
            arguments(&mut self.calls[at].early, piece.arguments);
            if let Some(name) = piece.name {
                self.call_begins(at, name, out);
            }
        } else if let Some(item) = self.calls[at].item {
            self.arguments(item, piece.arguments, out);
        }
    }

    fn call_begins(&mut self, at: usize, name: Text<'_>, out: &mut Vec<u8>) {
        self.close_open(out);
        let name = name.decoded();
        let plain = || ToolName { kind: Kind::Function, namespace: None, name: name.clone().into_owned() };
        let tool = self.asked.tools.get(&*name).cloned().unwrap_or_else(plain);
        let prefix = match tool.kind {
            Kind::Function => "fc",
            Kind::Custom => "ctc",
            Kind::Search => "tsc",
        };
        let early = std::mem::take(&mut self.calls[at].early);
        let mut id = self.calls[at].id.clone();
        if id.is_empty() {
            id = self.item_id("call").into_bytes();
        }
        let item = self.add(prefix, Body::Call(Call { tool, id, arguments: Vec::new() }), out);
        self.calls[at].item = Some(item);
        self.more_arguments(item, |all| all.extend_from_slice(&early), out);
    }

    fn arguments(&mut self, item: usize, more: Arguments<'_>, out: &mut Vec<u8>) {
        self.more_arguments(item, |all| arguments(all, more), out);
    }

    fn more_arguments(&mut self, item: usize, write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
        let Body::Call(call) = &mut self.items[item].body else { return };
        let start = call.arguments.len();
        write(&mut call.arguments);
        if call.tool.kind == Kind::Function && call.arguments.len() > start {
            self.delta(item, 0, start, None, out);
        }
    }

    /// Adds an item; returns its place in the output.
    fn add(&mut self, prefix: &str, body: Body, out: &mut Vec<u8>) -> usize {
        let id = self.item_id(prefix);
        self.items.push(Item { id, body, status: None });
        let at = self.items.len() - 1;
        self.item_added(at, out);
        at
    }

    /// An id for the item that is added next.
    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.id, self.items.len())
    }

    /// Ends the message or the reasoning that is open: something else comes.
    fn close_open(&mut self, out: &mut Vec<u8>) {
        if let Some(at) = self.open.take() {
            self.close(at, Status::Completed, out);
        }
    }

    /// Ends all that is open.
    fn close_all(&mut self, out: &mut Vec<u8>) {
        let status = match self.outcome {
            Outcome::Completed => Status::Completed,
            Outcome::Incomplete(_) => Status::Incomplete,
        };
        let open = self.open.take();
        let calls = std::mem::take(&mut self.calls);
        self.numbered.clear();
        let mut all: Vec<usize> = calls.iter().filter_map(|call| call.item).chain(open).collect();
        all.sort_unstable();
        for at in all {
            self.close(at, status, out);
        }
    }

    fn close(&mut self, at: usize, status: Status, out: &mut Vec<u8>) {
        let item = &mut self.items[at];
        match &mut item.body {
            Body::Call(call) => {
                call.end();
                self.call_done(at, out);
            }
            Body::Reasoning(_) => self.part_done(at, 0, out),
            Body::Message(parts) => {
                if let Some(last) = parts.len().checked_sub(1) {
                    self.part_done(at, last, out);
                }
            }
        }
        self.items[at].status = Some(status);
        self.item_done(at, out);
    }

    /// The response of a stream in which all of `answer` came at once.
    pub(super) fn response_to(mut self, answer: &Answer<'_>) -> Vec<u8> {
        self.is_silent = true;
        let mut out = Vec::new();
        self.take(answer, &mut out);
        self.close_all(&mut out);
        self.write_response(&mut out);
        out
    }
}

impl OpenCall {
    /// Whether `piece` begins another call.
    fn is_another(&self, piece: &ToolCall<'_>) -> bool {
        if piece.name.is_none() || self.item.is_none() {
            return false;
        }
        let mut id = Vec::new();
        piece.id.iter().for_each(|own| write::copied(&mut id, *own));
        if id.is_empty() { piece.index.is_none() } else { id != self.id }
    }
}

/// Appends `texts` as they are within a JSON string.
fn copy(out: &mut Vec<u8>, texts: &Texts<'_>) {
    texts.iter().for_each(|text| write::copied(out, text));
}

/// Appends `more` as it is within a JSON string.
fn arguments(out: &mut Vec<u8>, more: Arguments<'_>) {
    match more {
        Arguments::None => {}
        Arguments::Text(text) => write::copied(out, text),
        Arguments::Object(raw) => write::escaped(out, raw),
    }
}

#[cfg(test)]
mod tests;
