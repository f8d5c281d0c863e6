//! Raw JSON: a reader that walks it without decoding it, the places of an object's members, and splices.

mod keys;
mod malformed;
mod reader;
mod rewrite;
mod scan;
#[cfg(any(test, feature = "steps"))]
#[cfg_attr(not(feature = "steps"), expect(unreachable_pub, reason = "other crates see it with the feature only"))]
pub mod steps;
mod text;
mod tree;
mod value;

use std::{borrow::Cow, ops::Range};

pub(crate) use keys::{MAX_KEYS, key_at};
pub use malformed::{Malformed, Why};
pub(crate) use reader::MAX_DEPTH;
pub use reader::Reader;
pub use rewrite::Rewrite;
pub use text::{Text, each_whole, whole_characters};
pub use tree::{tree, tree_bytes};
pub use value::Value;

/// Counts that a key or a value is looked at; nothing outside of tests.
#[inline]
fn step() {
    #[cfg(any(test, feature = "steps"))]
    steps::step();
}

/// One member of an object, as byte ranges of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    /// The key without its quotes.
    key: Range<usize>,
    is_key_escaped: bool,
    /// The value, without the white space around it.
    value: Range<usize>,
}

impl Member {
    fn key<'a>(&self, text: &'a [u8]) -> Text<'a> {
        // The text is the one that the ranges were made of, which was UTF-8.
        let raw = str::from_utf8(&text[self.key.clone()]).unwrap_or_default();
        Text { raw, at: self.key.start, is_escaped: self.is_key_escaped }
    }

    fn is_called(&self, text: &[u8], name: &str) -> bool {
        step();
        if self.is_key_escaped { self.key(text).says(name) } else { text[self.key.clone()] == *name.as_bytes() }
    }
}

/// The members of a JSON object within its text.
///
/// The text is handed in as the bytes that were parsed, so that a long prompt is not validated anew for each look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<Member>,
}

impl Object {
    /// Finds the members of the object that `text` is.
    ///
    /// # Errors
    /// If `text` is not one JSON object.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(Reader::new(text))
    }

    /// The same for what an upstream sent, as [`Reader::of_answer`] reads it.
    ///
    /// # Errors
    /// If `text` is not one JSON object.
    pub fn of_answer(text: &str) -> Result<Self, Malformed> {
        Self::read(Reader::of_answer(text))
    }

    fn read(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        if reader.peek() != Some(b'{') {
            return Err(Malformed { at: reader.position(), why: Why::NoValue });
        }
        let mut object = Self { members: Vec::with_capacity(16) };
        reader.enter()?;
        while let Some(key) = reader.key()? {
            reader.peek();
            let start = reader.position();
            reader.value()?;
            object.push(key, start..reader.position());
        }
        reader.end()?;
        Ok(object)
    }

    /// Room for the members of a usual request.
    pub(crate) fn with_room() -> Self {
        Self { members: Vec::with_capacity(16) }
    }

    /// Adds the member that was read next.
    pub(crate) fn push(&mut self, key: Text<'_>, value: Range<usize>) {
        let range = key.at..key.at + key.raw.len();
        self.members.push(Member { key: range, is_key_escaped: key.is_escaped, value });
    }

    /// The keys, in order.
    pub fn keys<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Cow<'a, str>> {
        self.members.iter().map(|member| member.key(text).decoded())
    }

    /// The raw value of `key`, the first if there are several.
    pub fn get<'a>(&self, text: &'a [u8], key: &str) -> Option<&'a str> {
        let at = self.find_all(text, key).next()?;
        simdutf8::basic::from_utf8(&text[self.members[at].value.clone()]).ok()
    }

    fn find_all(&self, text: &[u8], key: &str) -> impl Iterator<Item = usize> {
        let matching = move |(at, member): (usize, &Member)| member.is_called(text, key).then_some(at);
        self.members.iter().enumerate().filter_map(matching)
    }
}

#[cfg(test)]
mod tests;
