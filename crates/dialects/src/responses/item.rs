//! The items of an output: messages, reasoning and calls of tools, as far as they are known.
//!
//! Texts are kept as they are written within a JSON string, so that none is decoded and encoded again.

use provider::{Reader, Text, Value};

use super::asked::{Kind, ToolName};
use crate::{Blocks, chat::write};

/// One item.
pub(super) struct Item {
    /// As it is written within a JSON string.
    pub(super) id: Vec<u8>,
    pub(super) body: Body,
    /// `None` as long as more may come.
    pub(super) status: Option<Status>,
}

/// How an item has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It is complete.
    Completed,
    /// It was cut off.
    Incomplete,
}

impl Status {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// What an item holds.
pub(super) enum Body {
    /// What the assistant says, or why it refuses.
    Message(Vec<Part>),
    /// What it thinks.
    Reasoning(Blocks),
    /// A call of a tool.
    Call(Call),
}

/// A part of a message.
#[derive(Default)]
pub(super) struct Part {
    pub(super) is_refusal: bool,
    pub(super) text: Blocks,
    /// The elements of its log probabilities.
    pub(super) logprobs: Blocks,
}

impl Part {
    /// Writes the part with its text.
    pub(super) fn write(&self, out: &mut Blocks) {
        if self.is_refusal {
            out.append(br#"{"type":"refusal","refusal":""#);
        } else {
            out.append(br#"{"type":"output_text","annotations":[],"logprobs":["#);
            out.share(&self.logprobs);
            out.append(br#"],"text":""#);
        }
        out.share(&self.text);
        out.append(br#""}"#);
    }
}

/// Writes a part of reasoning with its `text`.
pub(super) fn write_reasoning_part(out: &mut Blocks, text: &Blocks) {
    out.append(br#"{"type":"reasoning_text","text":""#);
    out.share(text);
    out.append(br#""}"#);
}

/// A call of a tool.
pub(super) struct Call {
    pub(super) tool: ToolName,
    /// Within a JSON string.
    pub(super) id: Vec<u8>,
    /// The arguments of a function within a JSON string. Of the other kinds of tools the same until the call has ended;
    /// then the input of a custom tool, within a JSON string, or the arguments of a search, a JSON object.
    pub(super) arguments: Blocks,
}

impl Call {
    /// Makes the arguments of the function that a tool became those of the tool itself.
    fn end(&mut self) {
        let read = match self.tool.kind {
            Kind::Function => return,
            Kind::Custom => input,
            Kind::Search => search,
        };
        let raw = std::mem::take(&mut self.arguments).into_vec();
        let arguments = Text { raw: str::from_utf8(&raw).unwrap_or_default(), at: 0, is_escaped: true }.decoded();
        let arguments = arguments.into_owned();
        drop(raw);
        self.arguments.append(&read(&arguments));
    }
}

/// The input of a custom tool, as it is within a JSON string: the member `input` of the function's arguments. A model
/// that wrote no such arguments has written the input itself.
fn input(arguments: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(arguments.len());
    match member(arguments, "input") {
        Some(input) => write::copied(&mut out, input),
        None => write::escaped(&mut out, arguments),
    }
    out
}

/// The string that the member `name` of the object `json` is.
fn member<'a>(json: &'a str, name: &str) -> Option<Text<'a>> {
    let mut reader = Reader::new(json);
    let mut found = None;
    if reader.peek()? != b'{' {
        return None;
    }
    reader.enter().ok()?;
    while let Some(key) = reader.key().ok()? {
        let value = reader.value().ok()?;
        if key.says(name) {
            found = value.text();
        }
    }
    reader.end().ok()?;
    found
}

/// The arguments of a search: the object that the model wrote, on one line, or its text as what is searched for.
fn search(arguments: &str) -> Vec<u8> {
    let mut reader = Reader::new(arguments);
    let is_object = matches!(reader.value(), Ok(Value::Object(_))) && reader.end().is_ok();
    if is_object {
        return arguments.replace(['\n', '\r'], " ").into_bytes();
    }
    let mut out = br#"{"query":"#.to_vec();
    write::string(&mut out, arguments);
    out.push(b'}');
    out
}

impl Item {
    /// The text that more is added to: the arguments of a call, or the part `index` of a content.
    pub(super) fn text(&mut self, index: usize) -> Option<&mut Blocks> {
        match &mut self.body {
            Body::Message(parts) => parts.get_mut(index).map(|part| &mut part.text),
            Body::Reasoning(text) => Some(text),
            Body::Call(call) => Some(&mut call.arguments),
        }
    }

    /// The bytes of memory that it takes for its texts. Arguments that are to be read at its end are there twice at that moment.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.body {
            Body::Message(parts) => parts.iter().map(|part| part.text.held_bytes() + part.logprobs.held_bytes()).sum(),
            Body::Reasoning(text) => text.held_bytes(),
            Body::Call(call) if self.status.is_some() || call.tool.kind == Kind::Function => {
                call.arguments.held_bytes()
            }
            Body::Call(call) => 2 * call.arguments.held_bytes(),
        }
    }

    /// Ends it: nothing is added to it any more.
    pub(super) fn end(&mut self, status: Status) {
        if let Body::Call(call) = &mut self.body {
            call.end();
        }
        self.status = Some(status);
        self.complete();
    }

    /// Completes the blocks of what it holds, to which nothing is added any more, so that they are shared.
    pub(super) fn complete(&mut self) {
        match &mut self.body {
            Body::Message(parts) => {
                for part in parts {
                    part.text.complete();
                    part.logprobs.complete();
                }
            }
            Body::Reasoning(text) => text.complete(),
            Body::Call(call) => call.arguments.complete(),
        }
    }

    /// Writes the item. One that has not ended is written as `open` says.
    pub(super) fn write(&self, out: &mut Blocks, open: &'static str) {
        let status = self.status.map_or(open, Status::as_str);
        let start = out.end();
        start.extend_from_slice(br#"{"id":""#);
        start.extend_from_slice(&self.id);
        start.extend_from_slice(br#"","type":""#);
        start.extend_from_slice(self.kind().as_bytes());
        start.extend_from_slice(br#"","status":""#);
        start.extend_from_slice(status.as_bytes());
        start.push(b'"');
        match &self.body {
            Body::Message(parts) => {
                out.append(br#","role":"assistant","content":["#);
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        out.append(b",");
                    }
                    part.write(out);
                }
                out.append(b"]");
            }
            Body::Reasoning(text) => {
                out.append(br#","summary":[],"encrypted_content":null,"content":["#);
                if !text.is_empty() {
                    write_reasoning_part(out, text);
                }
                out.append(b"]");
            }
            Body::Call(call) => call.write(out, self.status.is_some()),
        }
        out.append(b"}");
    }

    const fn kind(&self) -> &'static str {
        match &self.body {
            Body::Message(_) => "message",
            Body::Reasoning(_) => "reasoning",
            Body::Call(call) => match call.tool.kind {
                Kind::Function => "function_call",
                Kind::Custom => "custom_tool_call",
                Kind::Search => "tool_search_call",
            },
        }
    }
}

impl Call {
    fn write(&self, out: &mut Blocks, has_ended: bool) {
        let start = out.end();
        start.extend_from_slice(br#","call_id":""#);
        start.extend_from_slice(&self.id);
        start.push(b'"');
        let (open, close): (&[u8], &[u8]) = match self.tool.kind {
            Kind::Function => (br#","arguments":""#, b"\""),
            Kind::Custom => (br#","input":""#, b"\""),
            Kind::Search if has_ended => (br#","execution":"client","arguments":"#, b""),
            Kind::Search => (br#","execution":"client","arguments":{}"#, b""),
        };
        if self.tool.kind != Kind::Search {
            start.extend_from_slice(br#","name":"#);
            write::string(start, &self.tool.name);
            if let Some(namespace) = &self.tool.namespace {
                start.extend_from_slice(br#","namespace":"#);
                write::string(start, namespace);
            }
        }
        start.extend_from_slice(open);
        // What a custom tool or a search is called with is known at the end.
        if has_ended || self.tool.kind == Kind::Function {
            out.share(&self.arguments);
        }
        out.append(close);
    }
}
