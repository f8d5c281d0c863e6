//! The keys of the objects that are open, so that one that appears twice is refused.
//!
//! Readers differ on which of two members of one name counts, so a request with both would mean one thing here and another at its
//! upstream. Most objects have a few keys, which are compared one by one; beyond that a set keeps the work in proportion.

use std::{borrow::Cow, collections::HashSet};

use super::{Reader, Why, text::Text};

/// Most keys of an object that are compared one by one.
const FEW: usize = 16;
/// Most keys of one object.
pub(crate) const MAX_KEYS: usize = 16_384;

/// The keys of an object, and of those around it.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    /// The objects that are open, the innermost last.
    open: Vec<Open>,
    /// Where the first keys of every open object start in the text.
    few: Vec<usize>,
    /// All keys of the open objects that have more than [`FEW`], with the number of objects around.
    many: Vec<(usize, HashSet<Cow<'a, str>>)>,
}

/// An open object.
#[derive(Debug)]
struct Open {
    /// Where its keys start in [`Keys::few`].
    start: usize,
    /// A bit for each of its keys. Two keys that say the same have the same bit, and most others have another.
    bits: u64,
}

fn bit(key: &Text<'_>) -> u64 {
    if key.is_escaped { bit_of(key.decoded().as_bytes()) } else { bit_of(key.raw.as_bytes()) }
}

fn bit_of(key: &[u8]) -> u64 {
    let (first, last) = (key.first().copied().unwrap_or_default(), key.last().copied().unwrap_or_default());
    let mixed = u32::from(first).wrapping_mul(7) ^ u32::from(last).wrapping_mul(3);
    1_u64.rotate_left(mixed.wrapping_add(key.len().to_le_bytes()[0].into()))
}

impl<'a> Keys<'a> {
    /// A state in which no object is open.
    pub(super) fn new() -> Self {
        Self { open: Vec::with_capacity(8), few: Vec::with_capacity(32), many: Vec::new() }
    }

    /// An object is entered.
    pub(super) fn enter(&mut self) {
        self.open.push(Open { start: self.few.len(), bits: 0 });
    }

    /// The innermost object is left.
    pub(super) fn leave(&mut self) {
        let Some(left) = self.open.pop() else { return };
        self.few.truncate(left.start);
        if self.many.last().is_some_and(|(around, _)| *around == self.open.len()) {
            self.many.pop();
        }
    }

    /// Takes in the next key of the innermost object of `text`.
    pub(super) fn add(&mut self, key: Text<'a>, text: &'a str) -> Result<(), Why> {
        let Some(object) = self.open.last_mut() else { return Ok(()) };
        let bit = bit(&key);
        let is_new = object.bits & bit == 0;
        object.bits |= bit;
        if self.few.len() - object.start == FEW {
            return self.add_to_many(key, text);
        }
        if !is_new && self.few[object.start..].iter().any(|at| key_at(text, *at).says_the_same(&key)) {
            return Err(Why::Twice);
        }
        self.few.push(key.at);
        Ok(())
    }

    fn add_to_many(&mut self, key: Text<'a>, text: &'a str) -> Result<(), Why> {
        let around = self.open.len() - 1;
        if self.many.last().is_none_or(|(of, _)| *of != around) {
            let own = self.few[self.few.len() - FEW..].iter();
            self.many.push((around, own.map(|at| key_at(text, *at).decoded()).collect()));
        }
        let Some((_, all)) = self.many.last_mut() else { return Ok(()) };
        if all.len() == MAX_KEYS {
            return Err(Why::TooManyKeys);
        }
        if all.insert(key.decoded()) { Ok(()) } else { Err(Why::Twice) }
    }
}

/// The key that starts at `at`, behind its quote. It was read before.
pub(crate) fn key_at(text: &str, at: usize) -> Text<'_> {
    let key = text.get(at.saturating_sub(1)..).and_then(|rest| Reader::new(rest).value().ok());
    key.and_then(|key| key.text()).unwrap_or_default()
}
