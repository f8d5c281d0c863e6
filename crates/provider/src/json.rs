//! Splicing raw JSON objects: where the members of an object lie, and new text made of the old one without re-serialising.
//!
//! Positions come from the addresses of borrowed keys, so one ordinary `serde_json` pass yields them; no second parser.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};

use crate::head::shown;

/// One member of an object, as byte ranges of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    /// The key without its quotes.
    key: Range<usize>,
    /// The value, trimmed.
    value: Range<usize>,
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
    /// If `text` is not one JSON object, or a key of it is written with escapes.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let keys = deserializer.deserialize_map(Keys { text })?;
        deserializer.end()?;
        Ok(Self::from_keys(text, keys))
    }

    /// Completes the members from the ranges of their keys, in order.
    pub(crate) fn from_keys(text: &str, keys: Vec<Range<usize>>) -> Self {
        let close = text.trim_end().len().saturating_sub(1);
        let mut ends = keys.iter().skip(1).map(|next| next.start - 1).collect::<Vec<_>>();
        ends.push(close);
        let is_space = |c: char| c.is_ascii_whitespace();
        let members = keys.into_iter().zip(ends).map(|(key, end)| {
            // The value lies between the colon and the next key, a comma or the closing brace.
            let tail = text[..end].trim_end_matches(is_space);
            let tail = tail.strip_suffix(',').unwrap_or(tail).trim_end_matches(is_space);
            let after_quote = &text[key.end + 1..];
            let after_colon = after_quote.trim_start_matches(is_space).trim_start_matches(':');
            let start = text.len() - after_colon.trim_start_matches(is_space).len();
            Member { key, value: start..tail.len() }
        });
        Self { members: members.collect() }
    }

    /// The keys, in order.
    pub fn keys<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a str> {
        self.members.iter().filter_map(|member| str::from_utf8(&text[member.key.clone()]).ok())
    }

    /// The raw value of `key`.
    pub fn get<'a>(&self, text: &'a [u8], key: &str) -> Option<&'a str> {
        let at = self.find_all(text, key).next()?;
        simdutf8::basic::from_utf8(&text[self.members[at].value.clone()]).ok()
    }

    fn find_all(&self, text: &[u8], key: &str) -> impl Iterator<Item = usize> {
        let matching =
            move |(at, member): (usize, &Member)| (text[member.key.clone()] == *key.as_bytes()).then_some(at);
        self.members.iter().enumerate().filter_map(matching)
    }
}

/// Where `part`, borrowed from `text`, lies in it.
pub(crate) fn range_of(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// Collects the ranges of an object's keys and skips its values.
struct Keys<'a> {
    text: &'a str,
}

impl<'de> Visitor<'de> for Keys<'de> {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::with_capacity(16);
        while let Some(key) = map.next_key::<Text<'de>>()? {
            keys.push(range_of(self.text, borrowed(key)?));
            map.next_value::<IgnoredAny>()?;
        }
        Ok(keys)
    }
}

/// A string that is borrowed from the text if it has no escapes (serde's own `Cow` never borrows here).
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Insists on a key without escapes, whose address tells its place.
pub(crate) fn borrowed<E: de::Error>(key: Text<'_>) -> Result<&str, E> {
    match key.0 {
        Cow::Borrowed(key) => Ok(key),
        Cow::Owned(key) => Err(E::custom(format_args!("write the field name {:?} without escapes", shown(&key)))),
    }
}

/// Changes to an object, applied in one copy. Of two changes to the same member the later one holds. A key that appears
/// twice is changed as one: readers differ on which of the two counts.
pub struct Rewrite<'a> {
    text: &'a [u8],
    object: &'a Object,
    removed: Vec<usize>,
    replaced: Vec<(Range<usize>, Cow<'a, str>)>,
    added: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Rewrite<'a> {
    /// No changes yet.
    pub fn new(text: &'a [u8], object: &'a Object) -> Self {
        Self { text, object, removed: Vec::new(), replaced: Vec::new(), added: Vec::new() }
    }

    /// Gives `key` the raw JSON `value`, adding the member if it is missing.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) -> &mut Self {
        let mut found = self.object.find_all(self.text, key);
        if let Some(first) = found.next() {
            self.removed.retain(|removed| *removed != first);
            self.removed.extend(found);
            let range = self.object.members[first].value.clone();
            self.replaced.retain(|(old, _)| old.start < range.start || old.end > range.end);
            self.replaced.push((range, value.into()));
        } else if let Some((_, old)) = self.added.iter_mut().find(|(added, _)| *added == key) {
            *old = value.into();
        } else {
            self.added.push((key, value.into()));
        }
        self
    }

    /// Renames `key`, if it is there.
    pub fn rename(&mut self, key: &str, name: &'a str) -> &mut Self {
        for at in self.object.find_all(self.text, key) {
            let range = self.object.members[at].key.clone();
            self.replaced.retain(|(old, _)| *old != range);
            self.replaced.push((range, name.into()));
        }
        self
    }

    /// Removes `key`, if it is there.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.removed.extend(self.object.find_all(self.text, key));
        self.added.retain(|(added, _)| *added != key);
        self
    }

    /// Replaces a range inside a value.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'a, str>>) -> &mut Self {
        self.replaced.push((range, text.into()));
        self
    }

    /// The new text.
    pub fn finish(mut self) -> Bytes {
        self.replaced.sort_unstable_by_key(|(range, _)| range.start);
        let grown: usize = self.replaced.iter().map(|(_, new)| new.len()).sum::<usize>()
            + self.added.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
        let mut out = Vec::with_capacity(self.text.len() + grown + 2);
        out.push(b'{');
        let mut replaced = self.replaced.iter().peekable();
        for (at, member) in self.object.members.iter().enumerate() {
            let end = member.value.end;
            if self.removed.contains(&at) {
                while replaced.next_if(|(range, _)| range.start < end).is_some() {}
                continue;
            }
            if out.len() > 1 {
                out.push(b',');
            }
            let mut from = member.key.start - 1;
            while let Some((range, new)) = replaced.next_if(|(range, _)| range.start < end) {
                if range.start < from {
                    // Within a value that was replaced as a whole.
                    continue;
                }
                out.extend_from_slice(&self.text[from..range.start]);
                out.extend_from_slice(new.as_bytes());
                from = range.end;
            }
            out.extend_from_slice(&self.text[from..end]);
        }
        for (key, value) in &self.added {
            if out.len() > 1 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(text: &str, change: impl FnOnce(&mut Rewrite<'_>)) -> String {
        let object = Object::parse(text).expect("an object");
        let mut rewrite = Rewrite::new(text.as_bytes(), &object);
        change(&mut rewrite);
        String::from_utf8(rewrite.finish().to_vec()).expect("text")
    }

    const TEXT: &str = " { \"a\" : [1, {\"a\":2}] ,\n\"b\":\"x,}\" , \"c\" :null } ";

    #[test]
    fn values_are_found_whatever_the_spacing() {
        let object = Object::parse(TEXT).expect("an object");
        assert_eq!(object.keys(TEXT.as_bytes()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(object.get(TEXT.as_bytes(), "a"), Some("[1, {\"a\":2}]"));
        assert_eq!(object.get(TEXT.as_bytes(), "b"), Some("\"x,}\""));
        assert_eq!(object.get(TEXT.as_bytes(), "c"), Some("null"));
        assert_eq!(object.get(TEXT.as_bytes(), "d"), None);
    }

    #[test]
    fn members_are_set_renamed_removed_and_added() {
        let out = rewrite(TEXT, |rewrite| {
            rewrite.set("b", "1").rename("a", "z").remove("c").set("new", "true");
        });
        let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(value, serde_json::json!({"z": [1, {"a": 2}], "b": 1, "new": true}));
    }

    #[test]
    fn the_last_and_the_only_member_can_go() {
        assert_eq!(
            rewrite("{\"a\":1}", |rewrite| {
                rewrite.remove("a");
            }),
            "{}"
        );
        assert_eq!(
            rewrite("{}", |rewrite| {
                rewrite.set("a", "1");
            }),
            "{\"a\":1}"
        );
        assert_eq!(
            rewrite("{\"a\":1,\"b\":2}", |rewrite| {
                rewrite.remove("a").set("a2", "3");
            }),
            "{\"b\":2,\"a2\":3}"
        );
    }

    #[test]
    fn of_two_changes_the_later_one_holds() {
        let out = rewrite(TEXT, |rewrite| {
            rewrite.set("b", "1").set("b", "2").set("new", "1").set("new", "2");
            rewrite.rename("a", "y").rename("a", "z").remove("c").set("c", "3");
            rewrite.set("gone", "1").remove("gone");
        });
        let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(value, serde_json::json!({"z": [1, {"a": 2}], "b": 2, "c": 3, "new": 2}));
    }

    #[test]
    fn a_change_within_a_replaced_value_is_void() {
        let inside = TEXT.find("2}").expect("there");
        for outer_first in [true, false] {
            let out = rewrite(TEXT, |rewrite| {
                if outer_first {
                    rewrite.set("a", "[]").replace(inside..inside + 1, "9");
                } else {
                    rewrite.replace(inside..inside + 1, "9").set("a", "[]");
                }
            });
            assert_eq!(out, "{\"a\" : [],\"b\":\"x,}\",\"c\" :null}");
        }
    }

    #[test]
    fn a_key_that_appears_twice_is_changed_as_one() {
        let twice = "{\"a\":1,\"b\":2,\"a\":3}";
        let set = |rewrite: &mut Rewrite<'_>| _ = rewrite.set("a", "4");
        assert_eq!(rewrite(twice, |rewrite| _ = rewrite.remove("a")), "{\"b\":2}");
        assert_eq!(rewrite(twice, set), "{\"a\":4,\"b\":2}");
        assert_eq!(rewrite(twice, |rewrite| _ = rewrite.rename("a", "c")), "{\"c\":1,\"b\":2,\"c\":3}");
    }

    #[test]
    fn escaped_keys_are_refused() {
        assert!(Object::parse("{\"\\u0061\":1}").is_err());
    }
}
