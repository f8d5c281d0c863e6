//! Writes each event.

use provider::Usage;

use super::{Body, Outcome, Problem, Stream};
use crate::{
    Blocks,
    chat::write,
    responses::{
        asked::Kind,
        item::{Part, write_reasoning_part},
    },
};

impl Stream {
    pub(super) fn created(&mut self, out: &mut Blocks) {
        self.event(out, "response.created", |stream, out| stream.response_member(out, "in_progress", None));
    }

    /// That the response is in progress, with what there is of it.
    pub(super) fn in_progress(&mut self, out: &mut Blocks) {
        self.event(out, "response.in_progress", |stream, out| stream.response_member(out, "in_progress", None));
    }

    pub(super) fn ended(&mut self, out: &mut Blocks) {
        let name = match self.outcome {
            Outcome::Completed => "response.completed",
            Outcome::Incomplete(_) => "response.incomplete",
        };
        self.event(out, name, |stream, out| {
            out.append(br#","response":"#);
            stream.write_response(out);
        });
    }

    pub(super) fn failed(&mut self, problem: &Problem<'_>, out: &mut Blocks) {
        self.event(out, "response.failed", |stream, out| stream.response_member(out, "failed", Some(problem)));
    }

    pub(super) fn item_added(&mut self, at: usize, out: &mut Blocks) {
        self.item_event(out, "response.output_item.added", at);
    }

    pub(super) fn item_done(&mut self, at: usize, out: &mut Blocks) {
        self.item_event(out, "response.output_item.done", at);
    }

    fn item_event(&mut self, out: &mut Blocks, name: &str, at: usize) {
        self.event(out, name, |stream, out| {
            let start = out.end();
            start.extend_from_slice(br#","output_index":"#);
            write::number(start, at as u64);
            start.extend_from_slice(br#","item":"#);
            stream.items[at].write(out, "in_progress");
        });
    }

    pub(super) fn part_added(&mut self, at: usize, index: usize, out: &mut Blocks) {
        self.event(out, "response.content_part.added", |stream, out| {
            stream.place(out.end(), at, Some(index));
            out.append(br#","part":"#);
            match &stream.items[at].body {
                Body::Message(parts) => {
                    let is_refusal = parts.get(index).is_some_and(|part| part.is_refusal);
                    Part { is_refusal, ..Part::default() }.write(out);
                }
                Body::Reasoning(_) | Body::Call(_) => write_reasoning_part(out, &Blocks::default()),
            }
        });
    }

    /// Begins the event of what is added to a text or to arguments, up to the quote behind which that follows.
    pub(super) fn begin_delta(&self, at: usize, index: usize, logprobs: Option<&[u8]>, out: &mut Vec<u8>) {
        let (name, index) = match &self.items[at].body {
            Body::Message(parts) if parts.get(index).is_some_and(|part| part.is_refusal) => {
                ("response.refusal.delta", Some(index))
            }
            Body::Message(_) => ("response.output_text.delta", Some(index)),
            Body::Reasoning(_) => ("response.reasoning_text.delta", Some(index)),
            Body::Call(_) => ("response.function_call_arguments.delta", None),
        };
        self.begin_event(out, name);
        self.place(out, at, index);
        if let Some(logprobs) = logprobs.filter(|_| name == "response.output_text.delta") {
            out.extend_from_slice(br#","logprobs":["#);
            out.extend_from_slice(logprobs);
            out.push(b']');
        }
        out.extend_from_slice(br#","delta":""#);
    }

    /// The end of a part: of its text, and of the part itself.
    pub(super) fn part_done(&mut self, at: usize, index: usize, out: &mut Blocks) {
        let name = match &self.items[at].body {
            Body::Message(parts) if parts.get(index).is_some_and(|part| part.is_refusal) => "response.refusal.done",
            Body::Message(_) => "response.output_text.done",
            Body::Reasoning(_) | Body::Call(_) => "response.reasoning_text.done",
        };
        self.event(out, name, |stream, out| {
            stream.place(out.end(), at, Some(index));
            match &stream.items[at].body {
                Body::Message(parts) => match parts.get(index) {
                    Some(part) if part.is_refusal => string_member(out, "refusal", &part.text),
                    Some(part) => {
                        out.append(br#","logprobs":["#);
                        out.share(&part.logprobs);
                        out.append(b"]");
                        string_member(out, "text", &part.text);
                    }
                    None => {}
                },
                Body::Reasoning(text) => string_member(out, "text", text),
                Body::Call(_) => {}
            }
        });
        self.event(out, "response.content_part.done", |stream, out| {
            stream.place(out.end(), at, Some(index));
            out.append(br#","part":"#);
            match &stream.items[at].body {
                Body::Message(parts) => parts.get(index).unwrap_or(&Part::default()).write(out),
                Body::Reasoning(text) => write_reasoning_part(out, text),
                Body::Call(_) => write_reasoning_part(out, &Blocks::default()),
            }
        });
    }

    /// The end of what a tool is called with. That of a custom tool comes as a whole: only at its end is known how much
    /// of the function's arguments it is.
    pub(super) fn call_done(&mut self, at: usize, out: &mut Blocks) {
        let Body::Call(call) = &self.items[at].body else { return };
        match call.tool.kind {
            Kind::Search => {}
            Kind::Function => self.event(out, "response.function_call_arguments.done", |stream, out| {
                let start = out.end();
                stream.place(start, at, None);
                let Body::Call(call) = &stream.items[at].body else { return };
                start.extend_from_slice(br#","name":"#);
                write::string(start, &call.tool.name);
                string_member(out, "arguments", &call.arguments);
            }),
            Kind::Custom => {
                for (name, member) in [
                    ("response.custom_tool_call_input.delta", "delta"),
                    ("response.custom_tool_call_input.done", "input"),
                ] {
                    self.event(out, name, |stream, out| {
                        stream.place(out.end(), at, None);
                        let Body::Call(call) = &stream.items[at].body else { return };
                        string_member(out, member, &call.arguments);
                    });
                }
            }
        }
    }

    /// Writes one event; `members` adds to its data, with a comma in front of each.
    fn event(&mut self, out: &mut Blocks, name: &str, members: impl FnOnce(&Self, &mut Blocks)) {
        if self.is_silent {
            return;
        }
        self.begin_event(out.end(), name);
        self.sequence += 1;
        members(self, out);
        end(out.end());
    }

    fn begin_event(&self, out: &mut Vec<u8>, name: &str) {
        write::event(out, name);
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(br#"","sequence_number":"#);
        write::number(out, self.sequence);
    }

    /// The place of an event in the output: its item, and the part of its content.
    fn place(&self, out: &mut Vec<u8>, at: usize, index: Option<usize>) {
        out.extend_from_slice(br#","item_id":""#);
        out.extend_from_slice(&self.items[at].id);
        out.extend_from_slice(br#"","output_index":"#);
        write::number(out, at as u64);
        if let Some(index) = index {
            out.extend_from_slice(br#","content_index":"#);
            write::number(out, index as u64);
        }
    }

    fn response_member(&self, out: &mut Blocks, status: &'static str, problem: Option<&Problem<'_>>) {
        out.append(br#","response":"#);
        self.response(out, status, problem);
    }

    /// Writes the response as it is at its end.
    pub(super) fn write_response(&self, out: &mut Blocks) {
        let status = match self.outcome {
            Outcome::Completed => "completed",
            Outcome::Incomplete(_) => "incomplete",
        };
        self.response(out, status, None);
    }

    fn response(&self, out: &mut Blocks, status: &'static str, problem: Option<&Problem<'_>>) {
        let is_in_progress = status == "in_progress";
        let start = out.end();
        start.extend_from_slice(br#"{"id":"resp_"#);
        start.extend_from_slice(self.id.as_bytes());
        start.extend_from_slice(br#"","object":"response","created_at":"#);
        write::number(start, self.created_s);
        start.extend_from_slice(br#","status":""#);
        start.extend_from_slice(status.as_bytes());
        start.extend_from_slice(br#"","error":"#);
        match problem {
            None => start.extend_from_slice(b"null"),
            Some(problem) => {
                start.extend_from_slice(br#"{"code":"#);
                write::string(start, problem.code);
                start.extend_from_slice(br#","message":"#);
                write::string(start, problem.message);
                start.push(b'}');
            }
        }
        start.extend_from_slice(br#","incomplete_details":"#);
        match self.outcome {
            Outcome::Incomplete(reason) if status == "incomplete" => {
                start.extend_from_slice(br#"{"reason":"#);
                write::string(start, reason);
                start.push(b'}');
            }
            Outcome::Incomplete(_) | Outcome::Completed => start.extend_from_slice(b"null"),
        }
        start.extend_from_slice(br#","output":["#);
        for (at, item) in self.items.iter().enumerate() {
            if at > 0 {
                out.append(b",");
            }
            item.write(out, if is_in_progress { "in_progress" } else { "incomplete" });
        }
        out.append(br#"],"usage":"#);
        match self.usage.filter(|_| !is_in_progress) {
            Some(usage) => write_usage(out.end(), &usage),
            None => out.append(b"null"),
        }
        out.append(self.asked.repeated.as_bytes());
        out.append(b"}");
    }
}

/// Ends an event and its data.
pub(super) fn end(out: &mut Vec<u8>) {
    out.push(b'}');
    write::end_of_event(out);
}

/// Cached tokens are part of the input here, as they are in a chat's usage.
fn write_usage(out: &mut Vec<u8>, usage: &Usage) {
    let members = [
        (r#"{"input_tokens":"#, usage.prompt_tokens),
        (r#","input_tokens_details":{"cache_write_tokens":0,"cached_tokens":"#, usage.cached_tokens.unwrap_or(0)),
        (r#"},"output_tokens":"#, usage.completion_tokens),
        (r#","output_tokens_details":{"reasoning_tokens":"#, usage.reasoning_tokens.unwrap_or(0)),
        (r#"},"total_tokens":"#, usage.total()),
    ];
    for (before, count) in members {
        out.extend_from_slice(before.as_bytes());
        write::number(out, count);
    }
    out.push(b'}');
}

/// Writes a member whose value stands within a JSON string.
fn string_member(out: &mut Blocks, name: &str, text: &Blocks) {
    let start = out.end();
    start.extend_from_slice(b",\"");
    start.extend_from_slice(name.as_bytes());
    start.extend_from_slice(b"\":\"");
    out.share(text);
    out.append(b"\"");
}
