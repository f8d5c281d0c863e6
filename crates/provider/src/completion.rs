//! A chat completion, a text completion, or a chunk of either: the members that the router itself reads, of an answer
//! that is relayed unchanged.
//!
//! Odd values elsewhere must not prevent that. So nothing here fails on a value of an unexpected type: it counts as
//! absent. Of a member that appears twice the last one counts, as in most parsers, and half of a surrogate pair becomes
//! U+FFFD.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::{Malformed, tree};

/// An answer, or an event of a stream.
#[derive(Debug, Default)]
pub struct Completion(Map<String, Value>);

/// One choice of an answer, or a piece of it.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a>(&'a Map<String, Value>);

impl Completion {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn read(json: &str) -> Result<Self, Malformed> {
        match tree(json)? {
            Value::Object(members) => Ok(Self(members)),
            _ => Ok(Self::default()),
        }
    }

    /// The choices in their order; what is no object is left out.
    pub fn choices(&self) -> impl Iterator<Item = Choice<'_>> {
        let all = self.0.get("choices").and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|choice| choice.as_object().map(Choice))
    }

    /// Any other member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A member that is an object, such as `usage`: its counts are as they came.
    pub fn object(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| value.is_object())
    }
}

impl<'a> Choice<'a> {
    /// Its number; 0 where it has none.
    pub fn index(self) -> u64 {
        self.0.get("index").and_then(Value::as_u64).unwrap_or_default()
    }

    /// What it says: the content of its message or delta, or the text of a text completion. Empty if nothing.
    pub fn text(self) -> Cow<'a, str> {
        let message = self.0.get("message").or_else(|| self.0.get("delta"));
        let content = message.and_then(|message| content_text(message.get("content")?));
        content.or_else(|| self.word("text").map(Cow::Borrowed)).unwrap_or_default()
    }

    /// Why the text ends; `None` while it does not.
    pub fn finish_reason(self) -> Option<&'a str> {
        self.word("finish_reason").filter(|reason| !reason.is_empty())
    }

    /// The message of a whole answer.
    pub fn message(self) -> Option<&'a Map<String, Value>> {
        self.0.get("message").and_then(Value::as_object)
    }

    /// Any other member.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    fn word(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

/// The text of a content: the string, or the parts that are text, joined. `None` if it has none.
///
/// A part may be a string, or an object of type `text`, `output_text` or of no type; parts of another type, such as
/// `thinking`, say nothing.
fn content_text(content: &Value) -> Option<Cow<'_, str>> {
    match content {
        Value::Array(parts) => Some(Cow::Owned(parts.iter().filter_map(part).collect())),
        other => part(other).map(Cow::Borrowed),
    }
}

fn part(part: &Value) -> Option<&str> {
    let Value::Object(fields) = part else { return part.as_str() };
    let is_text = fields.get("type").and_then(Value::as_str).is_none_or(|kind| matches!(kind, "text" | "output_text"));
    fields.get("text").filter(|_| is_text)?.as_str()
}

#[cfg(test)]
mod tests;
