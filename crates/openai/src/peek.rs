//! Reads the few members that the router needs of an answer, whole or one event of a stream: whether it is an error, what it counts, which choices it ends.
//!
//! Odd values are relayed and are no errors: a member of an unexpected type is ignored, and one that appears twice is
//! read each time. Only a text that is not JSON, as Python takes it, is refused: no client could read it.

use std::ops::Range;

use provider::{Malformed, Reader, ReasoningField, Rewrite, Text, Usage, Value, Why};

use crate::{
    body::JOB_STATES,
    classify::{Dialect, Finish},
};

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Peek {
    /// Whether it is an error: beside choices, inside one of them, or instead of any.
    pub(crate) is_error: bool,
    /// How many choices there are; `None` if there is no list of them.
    pub(crate) choices: Option<usize>,
    /// Whether a choice brings anything but a role: content, reasoning, a tool call, whatever comes next.
    pub(crate) has_content: bool,
    /// Where a text that is content stands, without its quotes: the last of them.
    pub(crate) text: Option<Range<usize>>,
    /// The choices that end here, by their index.
    pub(crate) ended: Vec<(u64, Finish)>,
    /// Finish reasons that are to be written in OpenAI's words: where they stand, quotes included, and the word.
    pub(crate) renamed: Vec<(Range<usize>, &'static str)>,
    /// Reasoning that a message has under one name alone.
    pub(crate) reasoning: Vec<Reasoning>,
    /// Whether there is a usage that is not null.
    pub(crate) has_usage: bool,
    /// What that counts, if it is one plain usage.
    pub(crate) usage: Option<Usage>,
    /// How many embeddings there are; `None` if there is no list of them.
    pub(crate) embeddings: Option<usize>,
}

/// The two names of reasoning in a message: that of newer servers (<https://docs.vllm.ai/en/stable/features/reasoning_outputs/>) and the
/// older one.
const REASONING: [&str; 2] = ["reasoning", "reasoning_content"];

/// The reasoning of a message that has it under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reasoning {
    /// Where its text stands, quotes included.
    text: Range<usize>,
    /// The other name.
    other: &'static str,
    /// Where the value of that stands, if it is there and says nothing.
    empty: Option<Range<usize>>,
}

impl Reasoning {
    /// `members` are those of [`REASONING`]: where a value stands, and whether it is a text, or says nothing.
    fn of([new, old]: [Option<Member>; 2]) -> Option<Self> {
        let (text, other, name) = match (new, old) {
            (Some(new), old) if new.is_text => (new, old, REASONING[1]),
            (new, Some(old)) if old.is_text => (old, new, REASONING[0]),
            _ => return None,
        };
        if other.as_ref().is_some_and(|other| !other.is_empty) {
            return None;
        }
        Some(Self { text: text.at, other: name, empty: other.map(|other| other.at) })
    }
}

/// A value of a message.
struct Member {
    at: Range<usize>,
    /// Whether it is a text that is not empty.
    is_text: bool,
    is_empty: bool,
}

impl Peek {
    /// Forgets the reasoning that stays where the upstream has it.
    pub(crate) fn keep_reasoning(&mut self, field: ReasoningField) {
        match field {
            ReasoningField::Upstream => self.reasoning.clear(),
            ReasoningField::Both => {}
        }
    }

    /// Whether [`Self::write`] changes anything.
    pub(crate) fn is_changed(&self) -> bool {
        !self.renamed.is_empty() || !self.reasoning.is_empty()
    }

    /// Writes finish reasons in OpenAI's words, and reasoning under its other name as well. `text` is what was looked at.
    pub(crate) fn write(&self, text: &str, rewrite: &mut Rewrite<'_>) {
        for (range, word) in &self.renamed {
            rewrite.replace(range.clone(), format!("\"{word}\""));
        }
        for Reasoning { text: range, other, empty } in &self.reasoning {
            let raw = &text[range.clone()];
            match empty {
                Some(empty) => rewrite.replace(empty.clone(), raw.to_owned()),
                None => rewrite.replace(range.end..range.end, format!(",\"{other}\":{raw}")),
            };
        }
    }

    /// Looks at a whole answer.
    ///
    /// # Errors
    /// If `text` is not JSON.
    pub(crate) fn at(text: &str, dialect: &dyn Dialect) -> Result<Self, Malformed> {
        Self::read(text, dialect, ErrorSign::OfWhole)
    }

    /// Looks at the data of an event, which may report progress without being an error.
    ///
    /// # Errors
    /// If `text` is not JSON.
    pub(crate) fn at_event(text: &str, dialect: &dyn Dialect) -> Result<Self, Malformed> {
        Self::read(text, dialect, ErrorSign::Always)
    }

    fn read(text: &str, dialect: &dyn Dialect, least: ErrorSign) -> Result<Self, Malformed> {
        match Self::look(text, dialect, least) {
            // A client may accept deeper nesting. Such an answer is relayed, and counts as one choice with content.
            Err(malformed) if malformed.why == Why::TooDeep => {
                Ok(Self { choices: Some(1), embeddings: Some(1), has_content: true, ..Self::default() })
            }
            other => other,
        }
    }

    fn look(text: &str, dialect: &dyn Dialect, least: ErrorSign) -> Result<Self, Malformed> {
        let mut reader = Reader::of_answer(text);
        if reader.peek() != Some(b'{') {
            reader.value()?;
            reader.end()?;
            return Ok(Self::default());
        }
        let mut peek = Self::default();
        let mut flat = Flat::default();
        let mut usages = 0;
        reader.enter()?;
        while let Some(key) = reader.key()? {
            match &*key.decoded() {
                "choices" => peek.choices(&mut reader, dialect)?,
                "usage" => {
                    let raw = reader.raw()?;
                    if raw != "null" {
                        usages += 1;
                        peek.has_usage = true;
                        peek.usage = Usage::read(raw);
                    }
                }
                "error" => peek.is_error |= says_something(&mut reader)?,
                "data" => {
                    if let Value::Array(count) = reader.value()? {
                        peek.embeddings = Some(count);
                    }
                }
                name => flat.see(name, reader.value()?),
            }
        }
        reader.end()?;
        if usages > 1 {
            peek.usage = None;
        }
        peek.is_error |= peek.choices.is_none() && flat.is_error(least);
        Ok(peek)
    }

    fn choices(&mut self, reader: &mut Reader<'_>, dialect: &dyn Dialect) -> Result<(), Malformed> {
        if reader.peek() != Some(b'[') {
            reader.value()?;
            return Ok(());
        }
        reader.enter()?;
        let mut count = 0;
        while reader.element()? {
            count += 1;
            if reader.peek() == Some(b'{') {
                self.choice(reader, dialect)?;
            } else {
                reader.value()?;
            }
        }
        self.choices = Some(self.choices.unwrap_or_default() + count);
        Ok(())
    }

    fn choice(&mut self, reader: &mut Reader<'_>, dialect: &dyn Dialect) -> Result<(), Malformed> {
        let mut index = 0;
        let mut finish = None;
        reader.enter()?;
        while let Some(key) = reader.key()? {
            match &*key.decoded() {
                "index" => index = reader.value()?.count().unwrap_or(0),
                "delta" | "message" => self.message(reader)?,
                "text" => self.content(reader.value()?),
                "finish_reason" => {
                    let value = reader.value()?;
                    finish = self.finish(value, dialect).or(finish);
                }
                _ => drop(reader.value()?),
            }
        }
        if let Some(finish) = finish {
            self.is_error |= finish == Finish::Failed;
            self.ended.push((index, finish));
        }
        Ok(())
    }

    /// Reads the delta or message that comes next.
    fn message(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if reader.peek() != Some(b'{') {
            self.has_content |= !reader.value()?.is_empty();
            return Ok(());
        }
        reader.enter()?;
        let mut reasoning = [None, None];
        while let Some(key) = reader.key()? {
            reader.peek();
            let start = reader.position();
            let value = reader.value()?;
            if let Some(nth) = REASONING.iter().position(|name| key.says(name)) {
                let (is_empty, is_text) = (value.is_empty(), value.text().is_some());
                reasoning[nth] = Some(Member { at: start..reader.position(), is_text: is_text && !is_empty, is_empty });
            }
            if !key.says("role") {
                self.content(value);
            }
        }
        self.reasoning.extend(Reasoning::of(reasoning));
        Ok(())
    }

    fn content(&mut self, value: Value<'_>) {
        self.has_content |= !value.is_empty();
        if let Some(text) = value.text() {
            self.text = Some(text.at..text.at + text.raw.len());
        }
    }

    /// What a finish reason means; `None` if it is empty, which ends nothing.
    fn finish(&mut self, value: Value<'_>, dialect: &dyn Dialect) -> Option<Finish> {
        let Value::Text(reason) = value else {
            return (!value.is_empty() && value != Value::Bool(false)).then_some(Finish::Unknown);
        };
        if reason.raw.is_empty() {
            return None;
        }
        let finish = dialect.finish(&reason.decoded());
        if let Finish::Renamed(word) = finish {
            self.renamed.push((reason.at - 1..reason.at + reason.raw.len() + 1, word));
        }
        Some(finish)
    }
}

/// Whether the `error` that comes next says anything: not if it is empty, false, zero, or an object of such.
fn says_something(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let says = |value: Value<'_>| !value.is_empty() && value != Value::Bool(false) && value.count() != Some(0);
    if reader.peek() != Some(b'{') {
        return Ok(says(reader.value()?));
    }
    let mut something = false;
    reader.enter()?;
    while reader.key()?.is_some() {
        something |= says(reader.value()?);
    }
    Ok(something)
}

/// Whether a member marks an object without choices as an error.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ErrorSign {
    #[default]
    None,
    /// Of a whole answer only: amid events a notice may have a message and a name, and report a job's state.
    OfWhole,
    Always,
}

/// The members of such an object. A ping or a notice has some of them, an error more.
#[derive(Default)]
struct Flat {
    has_message: bool,
    /// What is a sign beside a message.
    cause: ErrorSign,
    /// What is a sign by itself.
    certain: ErrorSign,
}

impl Flat {
    fn see(&mut self, name: &str, value: Value<'_>) {
        let text = value.text();
        let says = |words: &[&str]| text.is_some_and(|text| words.iter().any(|word| text.says(word)));
        let is_filled = text.is_some_and(|text| !text.raw.is_empty());
        let fails = || value.count().is_some_and(|code| code >= 400);
        match name {
            "message" => self.has_message = is_filled,
            "code" | "param" if is_filled => self.cause = self.cause.max(ErrorSign::OfWhole),
            "code" | "status_code" if fails() => self.cause = ErrorSign::Always,
            "type" if text.is_some_and(names_an_error) => self.cause = ErrorSign::Always,
            "object" if says(&["error"]) => self.certain = ErrorSign::Always,
            "err" if !value.is_empty() => self.certain = ErrorSign::Always,
            "detail" if !value.is_empty() => self.certain = self.certain.max(ErrorSign::OfWhole),
            "status" if says(&JOB_STATES) => self.certain = self.certain.max(ErrorSign::OfWhole),
            _ => {}
        }
    }

    fn is_error(&self, least: ErrorSign) -> bool {
        self.certain >= least || (self.has_message && self.cause >= least)
    }
}

fn names_an_error(kind: Text<'_>) -> bool {
    kind.decoded().to_ascii_lowercase().contains("error")
}

#[cfg(test)]
mod tests;
