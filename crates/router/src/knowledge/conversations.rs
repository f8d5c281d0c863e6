//! Which target holds the prompt cache of a conversation: the one that answered its last turn.
//!
//! A table of fixed size in which each conversation has one place by its hash, and the latest one keeps it: nothing is
//! searched, and nothing is allocated after the first turn. Two conversations that share a place forget each other, at the
//! price of one prompt that is read anew.

use std::time::Duration;

use provider::Time;

/// Conversations that are remembered at most; a power of two.
const PLACES: usize = 4096;
/// How long a prompt cache is thought to last. Under load providers drop what was not used for minutes.
const LASTS: Duration = Duration::from_mins(10);

/// The conversations of a model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversations(Vec<Option<Turn>>);

/// The last turn of a conversation.
#[derive(Debug, Clone, Copy)]
struct Turn {
    conversation: u64,
    target: usize,
    at: Time,
}

fn place(conversation: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits")]
    let low = conversation as usize;
    low % PLACES
}

impl Conversations {
    /// A target answered a turn.
    pub(crate) fn answered(&mut self, conversation: u64, target: usize, now: Time) {
        if self.0.is_empty() {
            self.0.resize(PLACES, None);
        }
        self.0[place(conversation)] = Some(Turn { conversation, target, at: now });
    }

    /// The target that is thought to hold the cache of a conversation.
    pub(crate) fn holder(&self, conversation: u64, now: Time) -> Option<usize> {
        let turn = (*self.0.get(place(conversation))?)?;
        (turn.conversation == conversation && now - turn.at < LASTS).then_some(turn.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_the_last_turn_is_remembered_until_another_conversation_takes_its_place_or_its_cache_is_gone() {
        let mut conversations = Conversations::default();
        let (start, places) = (Time::ZERO, PLACES as u64);
        assert_eq!(conversations.holder(7, start), None);
        conversations.answered(7, 1, start);
        conversations.answered(8, 0, start);
        conversations.answered(7, 2, start + LASTS / 2);
        assert_eq!(conversations.holder(7, start + LASTS), Some(2));
        assert_eq!(conversations.holder(8, start + LASTS), None, "ten minutes are over");
        assert_eq!(conversations.holder(7 + places, start + LASTS), None);
        conversations.answered(7 + places, 1, start + LASTS);
        assert_eq!(conversations.holder(7, start + LASTS), None);
    }
}
