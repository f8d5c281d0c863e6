//! The keys of the objects that are open, so that one that appears twice is refused.
//!
//! Readers differ on which of two members of one name counts, so a request with both would mean one thing here and another at its
//! upstream. Most objects have a few keys, which are compared one by one; beyond that a set keeps the work in proportion.

use std::{borrow::Cow, collections::HashSet};

use super::{Why, text::Text};

/// Most keys of an object that are compared one by one.
const FEW: usize = 16;
/// Most keys of one object.
pub(crate) const MAX_KEYS: usize = 16_384;

/// The keys of an object, and of those around it.
#[derive(Debug, Default)]
pub(super) struct Keys<'a> {
    /// The first keys of every open object, the innermost object's last.
    few: Vec<Text<'a>>,
    /// Where each open object's keys start in `few`.
    starts: Vec<usize>,
    /// All keys of the objects that have more than [`FEW`], with the number of objects around.
    many: Vec<(usize, HashSet<Cow<'a, str>>)>,
}

impl<'a> Keys<'a> {
    /// An object is entered.
    pub(super) fn enter(&mut self) {
        self.starts.push(self.few.len());
    }

    /// The innermost object is left.
    pub(super) fn leave(&mut self) {
        let Some(start) = self.starts.pop() else { return };
        self.few.truncate(start);
        self.many.pop_if(|(around, _)| *around == self.starts.len());
    }

    /// Takes in the next key of the innermost object.
    pub(super) fn add(&mut self, key: Text<'a>) -> Result<(), Why> {
        let start = self.starts.last().copied().unwrap_or_default();
        let own = &self.few[start..];
        if own.len() < FEW {
            if own.iter().any(|earlier| earlier.says_the_same(&key)) {
                return Err(Why::Twice);
            }
            self.few.push(key);
            return Ok(());
        }
        let around = self.starts.len() - 1;
        if self.many.last().is_none_or(|(of, _)| *of != around) {
            self.many.push((around, own.iter().map(Text::decoded).collect()));
        }
        let Some((_, all)) = self.many.last_mut() else { return Ok(()) };
        if all.len() == MAX_KEYS {
            return Err(Why::TooManyKeys);
        }
        if all.insert(key.decoded()) { Ok(()) } else { Err(Why::Twice) }
    }
}
