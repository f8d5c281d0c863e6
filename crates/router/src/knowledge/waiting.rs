//! The calls to an upstream that have no first token yet: how many prompt tokens they hold, and since when the oldest
//! waits.
//!
//! Calls begin in the order of time and end in any order. So they are a doubly linked list in a vector whose freed
//! entries are used again: a call is added at the end, removed wherever it is, and the oldest is the first. A heap
//! would need its entries found again to remove them; a search tree allocates.
//!
//! A call that began later and was answered first overtakes the ones before it. A call that was overtaken is no
//! evidence about the upstream any more: its prompt is long, or it alone hangs. [`Waiting::oldest`] is therefore the
//! oldest one that was not overtaken.

use provider::Time;

const NONE: u32 = u32::MAX;

/// A call that waits, as it was when it began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    /// When it began.
    pub(crate) began: Time,
    /// The tokens of its prompt.
    pub(crate) tokens: u64,
    /// Prompt tokens that waited before it.
    pub(crate) ahead: u64,
    /// The time to the first token that was predicted, in seconds.
    pub(crate) expected_s: f64,
}

/// Identifies a call in the [`Waiting`] that it was added to. It is neither copied nor cloned, so that a call ends
/// once.
#[derive(Debug)]
#[must_use = "a call that is never ended waits for ever"]
pub(crate) struct CallHandle {
    at: u32,
    serial: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    call: Call,
    /// Which call it is; entries are used again, serials are not.
    serial: u64,
    before: u32,
    after: u32,
}

/// The calls without a first token.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    entries: Vec<Entry>,
    free: Vec<u32>,
    first: u32,
    last: u32,
    /// The oldest call that no answered one has overtaken.
    oldest: u32,
    next_serial: u64,
    /// The answered call that began last.
    answered: Option<u64>,
    tokens: u64,
    /// The tokens of calls of other replicas.
    elsewhere: u64,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            first: NONE,
            last: NONE,
            oldest: NONE,
            next_serial: 0,
            answered: None,
            tokens: 0,
            elsewhere: 0,
        }
    }
}

impl Waiting {
    /// A call begins.
    pub(crate) fn begin(&mut self, tokens: u64, expected_s: f64, now: Time) -> CallHandle {
        // Threads may pass moments in another order than they read them.
        let began = self.entry(self.last).map_or(now, |last| last.call.began.max(now));
        let serial = self.next_serial;
        self.next_serial += 1;
        let call = Call { began, tokens, ahead: self.all_tokens(), expected_s };
        let at = self.place(Entry { call, serial, before: self.last, after: NONE });
        match self.entry_mut(self.last) {
            Some(last) => last.after = at,
            None => self.first = at,
        }
        self.last = at;
        self.oldest = if self.oldest == NONE { at } else { self.oldest };
        self.tokens += tokens;
        CallHandle { at, serial }
    }

    /// The first token of a call came. A handle of another [`Waiting`] changes nothing.
    pub(crate) fn answer(&mut self, handle: CallHandle) -> Option<Call> {
        let serial = handle.serial;
        let call = self.end(handle)?;
        self.answered = self.answered.max(Some(serial));
        while let Some(entry) = self.entry(self.oldest).filter(|entry| entry.serial < serial) {
            self.oldest = entry.after;
        }
        Some(call)
    }

    /// A call ended without a first token: it failed or was cancelled.
    #[expect(clippy::needless_pass_by_value, reason = "a handle is used up")]
    pub(crate) fn end(&mut self, handle: CallHandle) -> Option<Call> {
        let CallHandle { at, serial } = handle;
        let entry = self.entry(at).filter(|entry| entry.serial == serial)?;
        match self.entry_mut(entry.before) {
            Some(before) => before.after = entry.after,
            None => self.first = entry.after,
        }
        match self.entry_mut(entry.after) {
            Some(after) => after.before = entry.before,
            None => self.last = entry.before,
        }
        if self.oldest == at {
            self.oldest = entry.after;
        }
        // No call has this serial: a handle that is passed twice, or to another list, finds nothing.
        self.entries[at as usize].serial = u64::MAX;
        self.free.push(at);
        self.tokens -= entry.call.tokens;
        Some(entry.call)
    }

    /// Whether a call that began after this one was answered.
    pub(crate) fn is_overtaken(&self, handle: &CallHandle) -> bool {
        self.answered.is_some_and(|answered| answered > handle.serial)
    }

    /// The oldest call that was not overtaken.
    pub(crate) fn oldest(&self) -> Option<Call> {
        self.entry(self.oldest).map(|entry| entry.call)
    }

    /// The prompt tokens of the calls that wait, those of other replicas excepted.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The prompt tokens of all calls that wait, those of other replicas included.
    pub(crate) fn all_tokens(&self) -> u64 {
        self.tokens.saturating_add(self.elsewhere)
    }

    /// So many prompt tokens of other replicas wait.
    pub(crate) fn learn(&mut self, elsewhere: u64) {
        self.elsewhere = elsewhere;
    }

    /// How many calls wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no call waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    fn entry(&self, at: u32) -> Option<Entry> {
        self.entries.get(at as usize).copied()
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at as usize)
    }

    fn place(&mut self, entry: Entry) -> u32 {
        if let Some(at) = self.free.pop() {
            self.entries[at as usize] = entry;
            return at;
        }
        let at = u32::try_from(self.entries.len()).unwrap_or(NONE);
        self.entries.push(entry);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn the_oldest_is_the_first_that_was_not_overtaken() {
        let mut waiting = Waiting::default();
        let [long, hangs, quick, late] = [1, 2, 3, 4].map(|second| waiting.begin(second, 0.5, at(second)));
        assert_eq!(waiting.oldest().map(|call| call.began), Some(at(1)));
        assert!(waiting.answer(quick).is_some_and(|call| (call.tokens, call.ahead) == (3, 3)));
        assert_eq!(waiting.oldest().map(|call| call.began), Some(at(4)), "the first two were overtaken");
        assert!(waiting.is_overtaken(&hangs) && !waiting.is_overtaken(&late));
        assert!(waiting.answer(long).is_some(), "an overtaken call that is answered changes nothing");
        assert_eq!(waiting.oldest().map(|call| call.began), Some(at(4)));
        assert!(waiting.end(late).is_some() && waiting.oldest().is_none());
        assert_eq!((waiting.len(), waiting.tokens()), (1, 2));
        assert!(waiting.end(hangs).is_some() && waiting.is_empty());
    }

    #[test]
    fn a_handle_of_another_list_ends_no_call() {
        let (mut one, mut other) = (Waiting::default(), Waiting::default());
        let (spare, foreign) = (one.begin(1, 0.5, at(0)), other.begin(1, 0.5, at(0)));
        assert!(one.end(spare).is_some());
        assert!(one.end(foreign).is_none() && one.is_empty(), "its number was given here too, and is used up");
        let (mine, foreign) = (one.begin(7, 0.5, at(1)), other.begin(9, 0.5, at(1)));
        assert!(one.end(foreign).is_none());
        assert_eq!(one.tokens(), 7);
        assert!(one.end(mine).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a plain list that is searched.
        #[test]
        fn it_agrees_with_a_list_that_is_searched(steps in vec((0_u8..4, any::<usize>(), 0_u64..100_000), 1..200)) {
            let mut waiting = Waiting::default();
            let mut list: Vec<(u64, CallHandle, u64)> = Vec::new();
            let mut answered = None;
            let mut most = 0;
            for (serial, (what, which, tokens)) in (0_u64..).zip(steps) {
                if what < 2 || list.is_empty() {
                    let handle = waiting.begin(tokens, 0.5, at(serial));
                    list.push((serial, handle, tokens));
                } else {
                    let (began, handle, tokens) = list.remove(which % list.len());
                    let ended = if what == 2 {
                        answered = answered.max(Some(began));
                        waiting.answer(handle)
                    } else {
                        waiting.end(handle)
                    };
                    prop_assert_eq!(ended.map(|call| (call.began, call.tokens)), Some((at(began), tokens)));
                }
                most = most.max(list.len());
                let oldest = list.iter().map(|(began, ..)| *began).filter(|began| Some(*began) > answered).min();
                prop_assert_eq!(waiting.oldest().map(|call| call.began), oldest.map(at));
                for (began, handle, _) in &list {
                    prop_assert_eq!(waiting.is_overtaken(handle), Some(*began) < answered);
                }
                prop_assert_eq!(waiting.tokens(), list.iter().map(|(.., tokens)| tokens).sum::<u64>());
                prop_assert_eq!(waiting.len(), list.len());
                prop_assert_eq!(waiting.entries.len(), most, "entries are used again");
            }
        }
    }
}
