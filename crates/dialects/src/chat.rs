//! What a chat's answer holds, whole or one chunk of a stream, read in one pass and without a copy.
//!
//! As everywhere where answers are read, odd values are no errors: a member of an unexpected type counts as absent, and of
//! one that appears twice the last counts. Only the first choice is read, because no dialect asks for another.

mod calls;
mod effort;
mod event;
pub(crate) mod write;

pub(crate) use calls::Calls;
pub(crate) use effort::{EFFORTS, effort};
pub(crate) use event::{DONE, data};
use provider::{Malformed, Reader, Text, Usage, Value, Why};

/// What an answer says, or what a chunk adds to it.
#[derive(Debug, Default)]
pub(crate) struct Answer<'a> {
    /// What the assistant says.
    pub(crate) content: Texts<'a>,
    /// What it says instead, where it refuses.
    pub(crate) refusal: Texts<'a>,
    /// What it thinks. Upstreams call it `reasoning` or `reasoning_content`; where both are there they say the same, so that
    /// the first counts.
    pub(crate) reasoning: Texts<'a>,
    /// The log probabilities of the content, an array as it is written, which may hold `NaN` and infinities.
    pub(crate) logprobs: Option<&'a str>,
    /// The calls of tools, or pieces of them, in order.
    pub(crate) tool_calls: Vec<ToolCall<'a>>,
    /// Why the answer ends, once it does.
    pub(crate) finish_reason: Option<Text<'a>>,
    /// The stop sequence that ended it, where the upstream says: vLLM's `stop_reason`.
    pub(crate) stop_sequence: Option<Text<'a>>,
    /// What was counted, if it is there.
    pub(crate) usage: Option<Usage>,
}

/// A call of a tool, or a piece of one.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ToolCall<'a> {
    /// Its number among the calls of a stream.
    pub(crate) index: Option<u64>,
    /// Its id, in its first piece.
    pub(crate) id: Option<Text<'a>>,
    /// The name of the tool, in its first piece.
    pub(crate) name: Option<Text<'a>>,
    /// Its arguments, or more of them.
    pub(crate) arguments: Arguments<'a>,
}

/// The arguments of a call.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) enum Arguments<'a> {
    /// There are none.
    #[default]
    None,
    /// JSON, or a piece of it, written as a string.
    Text(Text<'a>),
    /// A JSON object as it is written. OpenAI's API has only the string, and yet there are servers that send this.
    Object(&'a str),
}

/// A text, in as many pieces as it came: most are one string, some are a list of parts.
#[derive(Debug, Default)]
pub(crate) struct Texts<'a> {
    first: Option<Text<'a>>,
    more: Vec<Text<'a>>,
}

impl<'a> Texts<'a> {
    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Appends the pieces as they stand within a JSON string.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|text| write::copied(out, text));
    }

    /// The pieces in order; none of them is empty.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Text<'a>> {
        self.first.iter().chain(&self.more).copied()
    }

    fn bytes(&self) -> usize {
        self.iter().map(|text| text.raw.len()).sum()
    }

    fn push(&mut self, text: Option<Text<'a>>) {
        let Some(text) = text.filter(|text| !text.raw.is_empty()) else { return };
        if self.first.is_none() {
            self.first = Some(text);
        } else {
            self.more.push(text);
        }
    }

    /// Reads the string, or the list of parts, that comes next. Of the parts those that are strings, and the objects of type
    /// `text`, `output_text` or of no type, are its pieces.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut texts = Self::default();
        if reader.peek() != Some(b'[') {
            texts.push(reader.value()?.text());
            return Ok(texts);
        }
        reader.enter()?;
        while reader.element()? {
            let text = if reader.peek() == Some(b'{') { part(reader)? } else { reader.value()?.text() };
            texts.push(text);
        }
        Ok(texts)
    }
}

fn part<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>, Malformed> {
    let (mut kind, mut text) = (None, None);
    reader.enter()?;
    while let Some(key) = reader.key()? {
        let value = reader.value()?;
        if key.says("type") {
            kind = value.text();
        } else if key.says("text") {
            text = value.text();
        }
    }
    let is_text = kind.is_none_or(|kind| kind.says("text") || kind.says("output_text"));
    Ok(text.filter(|_| is_text))
}

impl<'a> Answer<'a> {
    /// Reads a whole answer, or the data of one event of a stream.
    ///
    /// # Errors
    /// If `json` is not JSON.
    pub(crate) fn read(json: &'a str) -> Result<Self, Malformed> {
        let mut reader = Reader::of_answer(json);
        let mut answer = Self::default();
        if reader.peek() == Some(b'{') {
            reader.enter()?;
            while let Some(key) = reader.key()? {
                match &*key.decoded() {
                    "choices" => answer.choices(&mut reader)?,
                    "usage" => answer.usage = Usage::read(reader.raw()?),
                    _ => drop(reader.value()?),
                }
            }
        } else {
            reader.value()?;
        }
        reader.end()?;
        Ok(answer)
    }

    /// Reads the data of one event of a stream; `None` if it is no JSON, which says nothing.
    ///
    /// # Errors
    /// If it is nested deeper than it is read: what it says would be missing in the answer.
    pub(crate) fn read_event(json: &'a str) -> Result<Option<Self>, Malformed> {
        match Self::read(json) {
            Ok(answer) => Ok(Some(answer)),
            Err(malformed) if malformed.why == Why::TooDeep => Err(malformed),
            Err(_) => Ok(None),
        }
    }

    /// Whether it shows that the model is at work, or done.
    pub(crate) fn says_something(&self) -> bool {
        let is_silent = self.content.is_empty() && self.refusal.is_empty() && self.reasoning.is_empty();
        !is_silent || !self.tool_calls.is_empty() || self.finish_reason.is_some()
    }

    /// The length of all that it says, as it is written.
    pub(crate) fn bytes(&self) -> u64 {
        let arguments = |call: &ToolCall<'_>| match call.arguments {
            Arguments::None => 0,
            Arguments::Text(text) => text.raw.len(),
            Arguments::Object(raw) => raw.len(),
        };
        let calls: usize = self.tool_calls.iter().map(arguments).sum();
        (self.content.bytes() + self.refusal.bytes() + self.reasoning.bytes() + calls) as u64
    }

    fn choices(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if reader.peek() != Some(b'[') {
            reader.value()?;
            return Ok(());
        }
        reader.enter()?;
        while reader.element()? {
            if reader.peek() == Some(b'{') {
                self.choice(reader)?;
            } else {
                reader.value()?;
            }
        }
        Ok(())
    }

    fn choice(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        let mut choice = Self::default();
        let mut index = 0;
        reader.enter()?;
        while let Some(key) = reader.key()? {
            match &*key.decoded() {
                "index" => index = reader.value()?.count().unwrap_or_default(),
                "delta" | "message" => choice.message(reader)?,
                "finish_reason" => {
                    choice.finish_reason = reader.value()?.text().filter(|reason| !reason.raw.is_empty());
                }
                "logprobs" => choice.logprobs = logprobs(reader)?,
                "stop_reason" => choice.stop_sequence = reader.value()?.text(),
                _ => drop(reader.value()?),
            }
        }
        if index == 0 {
            *self = Self { usage: self.usage, ..choice };
        }
        Ok(())
    }

    /// Reads the message or delta that comes next.
    fn message(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if reader.peek() != Some(b'{') {
            reader.value()?;
            return Ok(());
        }
        let mut older_reasoning = Texts::default();
        reader.enter()?;
        while let Some(key) = reader.key()? {
            match &*key.decoded() {
                "content" => self.content = Texts::read(reader)?,
                "refusal" => self.refusal = Texts::read(reader)?,
                "reasoning" => self.reasoning = Texts::read(reader)?,
                "reasoning_content" => older_reasoning = Texts::read(reader)?,
                "tool_calls" => self.tool_calls = tool_calls(reader)?,
                _ => drop(reader.value()?),
            }
        }
        if self.reasoning.is_empty() {
            self.reasoning = older_reasoning;
        }
        Ok(())
    }
}

/// The member `content` of the object that comes next, if it is an array.
fn logprobs<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, Malformed> {
    let mut content = None;
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(content);
    }
    reader.enter()?;
    while let Some(key) = reader.key()? {
        let raw = reader.raw()?;
        if key.says("content") {
            content = Some(raw).filter(|raw| raw.starts_with('['));
        }
    }
    Ok(content)
}

fn tool_calls<'a>(reader: &mut Reader<'a>) -> Result<Vec<ToolCall<'a>>, Malformed> {
    let mut calls = Vec::new();
    if reader.peek() != Some(b'[') {
        reader.value()?;
        return Ok(calls);
    }
    reader.enter()?;
    while reader.element()? {
        if reader.peek() == Some(b'{') {
            calls.push(tool_call(reader)?);
        } else {
            reader.value()?;
        }
    }
    Ok(calls)
}

fn tool_call<'a>(reader: &mut Reader<'a>) -> Result<ToolCall<'a>, Malformed> {
    let mut call = ToolCall::default();
    reader.enter()?;
    while let Some(key) = reader.key()? {
        match &*key.decoded() {
            "index" => call.index = reader.value()?.count(),
            "id" => call.id = filled(reader.value()?),
            "function" if reader.peek() == Some(b'{') => {
                reader.enter()?;
                while let Some(key) = reader.key()? {
                    if key.says("name") {
                        call.name = filled(reader.value()?);
                    } else if key.says("arguments") {
                        call.arguments = Arguments::read(reader)?;
                    } else {
                        reader.value()?;
                    }
                }
            }
            _ => drop(reader.value()?),
        }
    }
    Ok(call)
}

impl<'a> Arguments<'a> {
    /// Appends them as they stand within a JSON string.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Text(text) => write::copied(out, text),
            Self::Object(raw) => write::escaped(out, raw),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let is_object = reader.peek() == Some(b'{');
        let start = reader.position();
        let value = reader.value()?;
        let raw = &reader.text()[start..reader.position()];
        Ok(match filled(value) {
            Some(text) => Self::Text(text),
            None if is_object => Self::Object(raw),
            None => Self::None,
        })
    }
}

/// The string that a value is, unless it is empty.
fn filled(value: Value<'_>) -> Option<Text<'_>> {
    value.text().filter(|text| !text.raw.is_empty())
}

#[cfg(test)]
mod tests;
