//! New text made of an object's old one without re-serialising it.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::Object;

/// Changes to an object, applied in one copy. Of two changes to the same member the later one holds. A key that appears
/// twice is changed as one: readers differ on which of the two counts.
pub struct Rewrite<'a> {
    text: &'a [u8],
    /// What holds the text, if it may be shared.
    shared: Option<&'a Bytes>,
    object: &'a Object,
    /// Whether each member is removed; empty as long as none is.
    removed: Vec<bool>,
    replaced: Vec<(Range<usize>, Cow<'a, str>)>,
    added: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Rewrite<'a> {
    /// No changes yet.
    pub fn new(text: &'a [u8], object: &'a Object) -> Self {
        Self { text, shared: None, object, removed: Vec::new(), replaced: Vec::new(), added: Vec::new() }
    }

    /// No changes yet, and no copy as long as there are none.
    pub fn sharing(text: &'a Bytes, object: &'a Object) -> Self {
        Self { shared: Some(text), ..Self::new(text, object) }
    }

    /// Gives `key` the raw JSON `value`, adding the member if it is missing.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) -> &mut Self {
        let mut found = self.object.find_all(self.text, key);
        if let Some(first) = found.next() {
            let others: Vec<usize> = found.collect();
            for other in others {
                self.mark(other, true);
            }
            self.mark(first, false);
            let range = self.object.members[first].value.clone();
            self.replaced.retain(|(old, _)| old.start < range.start || old.end > range.end);
            let value = value.into();
            if self.text[range.clone()] != *value.as_bytes() {
                self.replaced.push((range, value));
            }
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
        let (object, text) = (self.object, self.text);
        object.find_all(text, key).for_each(|at| self.mark(at, true));
        self.added.retain(|(added, _)| *added != key);
        self
    }

    /// Removes the members of the old text that `keep` does not want, by their names and raw values.
    pub fn retain(&mut self, mut keep: impl FnMut(Cow<'a, str>, &'a [u8]) -> bool) -> &mut Self {
        let (object, text) = (self.object, self.text);
        for (at, member) in object.members.iter().enumerate() {
            if !keep(member.key(text).decoded(), &text[member.value.clone()]) {
                self.mark(at, true);
            }
        }
        self
    }

    /// Replaces a range inside a value.
    pub fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'a, str>>) -> &mut Self {
        self.replaced.push((range, text.into()));
        self
    }

    /// The shared text without what surrounds the object, if nothing is changed.
    fn unchanged(&self) -> Option<Bytes> {
        let is_changed = !self.replaced.is_empty() || !self.added.is_empty() || self.removed.contains(&true);
        let shared = self.shared.filter(|_| !is_changed)?;
        let start = shared.iter().position(|byte| *byte == b'{')?;
        let end = shared.iter().rposition(|byte| *byte == b'}')?;
        Some(shared.slice(start..=end))
    }

    fn mark(&mut self, at: usize, is_removed: bool) {
        if self.removed.is_empty() && is_removed {
            self.removed = vec![false; self.object.members.len()];
        }
        if let Some(removed) = self.removed.get_mut(at) {
            *removed = is_removed;
        }
    }

    /// The new text.
    pub fn finish(mut self) -> Bytes {
        if let Some(unchanged) = self.unchanged() {
            return unchanged;
        }
        self.replaced.sort_unstable_by_key(|(range, _)| range.start);
        let grown: usize = self.replaced.iter().map(|(_, new)| new.len()).sum::<usize>()
            + self.added.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
        let mut out = Vec::with_capacity(self.text.len() + grown + 2);
        out.push(b'{');
        let mut replaced = self.replaced.iter().peekable();
        for (at, member) in self.object.members.iter().enumerate() {
            let end = member.value.end;
            if self.removed.get(at) == Some(&true) {
                continue;
            }
            if out.len() > 1 {
                out.push(b',');
            }
            let mut from = member.key.start - 1;
            while let Some((range, new)) = replaced.next_if(|(range, _)| range.start < end) {
                if range.start < from {
                    // Within a value that was replaced as a whole, or a member that was removed.
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
