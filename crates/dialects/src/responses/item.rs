//! The items of an output: messages, reasoning and calls of tools, as far as they are known.
//!
//! Texts are kept as they are written within a JSON string, so that none is decoded and encoded again.

use provider::{Reader, Text, Value};

use super::asked::{Kind, ToolName};
use crate::chat::write;

/// One item.
pub(super) struct Item {
    pub(super) id: String,
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
    Reasoning(Vec<u8>),
    /// A call of a tool.
    Call(Call),
}

/// A part of a message.
#[derive(Default)]
pub(super) struct Part {
    pub(super) is_refusal: bool,
    pub(super) text: Vec<u8>,
    /// The elements of its log probabilities.
    pub(super) logprobs: Vec<u8>,
}

impl Part {
    /// Writes the part with its text.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.is_refusal {
            out.extend_from_slice(br#"{"type":"refusal","refusal":""#);
            out.extend_from_slice(&self.text);
            out.extend_from_slice(br#""}"#);
        } else {
            out.extend_from_slice(br#"{"type":"output_text","annotations":[],"logprobs":["#);
            out.extend_from_slice(&self.logprobs);
            out.extend_from_slice(br#"],"text":""#);
            out.extend_from_slice(&self.text);
            out.extend_from_slice(br#""}"#);
        }
    }
}

/// Writes a part of reasoning with its `text`.
pub(super) fn write_reasoning_part(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(br#"{"type":"reasoning_text","text":""#);
    out.extend_from_slice(text);
    out.extend_from_slice(br#""}"#);
}

/// A call of a tool.
pub(super) struct Call {
    pub(super) tool: ToolName,
    /// Within a JSON string.
    pub(super) id: Vec<u8>,
    /// The arguments of a function within a JSON string. Of the other kinds of tools the same until the call has ended;
    /// then the input of a custom tool, within a JSON string, or the arguments of a search, a JSON object.
    pub(super) arguments: Vec<u8>,
}

impl Call {
    /// Makes the arguments of the function that a tool became those of the tool itself.
    pub(super) fn end(&mut self) {
        let raw = str::from_utf8(&self.arguments).unwrap_or_default();
        let arguments = Text { raw, at: 0, is_escaped: true }.decoded();
        self.arguments = match self.tool.kind {
            Kind::Function => return,
            Kind::Custom => input(&arguments),
            Kind::Search => search(&arguments),
        };
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
    /// Writes the item. One that has not ended is written as `open` says.
    pub(super) fn write(&self, out: &mut Vec<u8>, open: &'static str) {
        let status = self.status.map_or(open, Status::as_str);
        out.extend_from_slice(br#"{"id":"#);
        write::string(out, &self.id);
        out.extend_from_slice(br#","type":""#);
        out.extend_from_slice(self.kind().as_bytes());
        out.extend_from_slice(br#"","status":""#);
        out.extend_from_slice(status.as_bytes());
        out.push(b'"');
        match &self.body {
            Body::Message(parts) => {
                out.extend_from_slice(br#","role":"assistant","content":["#);
                for (index, part) in parts.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    part.write(out);
                }
                out.push(b']');
            }
            Body::Reasoning(text) => {
                out.extend_from_slice(br#","summary":[],"encrypted_content":null,"content":["#);
                if !text.is_empty() {
                    write_reasoning_part(out, text);
                }
                out.push(b']');
            }
            Body::Call(call) => call.write(out, self.status.is_some()),
        }
        out.push(b'}');
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
    fn write(&self, out: &mut Vec<u8>, has_ended: bool) {
        out.extend_from_slice(br#","call_id":""#);
        out.extend_from_slice(&self.id);
        out.push(b'"');
        let (open, close): (&[u8], &[u8]) = match self.tool.kind {
            Kind::Function => (br#","arguments":""#, b"\""),
            Kind::Custom => (br#","input":""#, b"\""),
            Kind::Search if has_ended => (br#","execution":"client","arguments":"#, b""),
            Kind::Search => (br#","execution":"client","arguments":{}"#, b""),
        };
        if self.tool.kind != Kind::Search {
            out.extend_from_slice(br#","name":"#);
            write::string(out, &self.tool.name);
            if let Some(namespace) = &self.tool.namespace {
                out.extend_from_slice(br#","namespace":"#);
                write::string(out, namespace);
            }
        }
        out.extend_from_slice(open);
        // What a custom tool or a search is called with is known at the end.
        if has_ended || self.tool.kind == Kind::Function {
            out.extend_from_slice(&self.arguments);
        }
        out.extend_from_slice(close);
    }
}
