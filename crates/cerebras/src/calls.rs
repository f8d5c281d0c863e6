//! Tool calls of a conversation and their answers: Cerebras refuses a call that is not answered, an answer to no call,
//! and two calls with one id. vLLM takes them all.

use std::{borrow::Cow, collections::HashMap};

use provider::Error;

use crate::exclude::blaming;

/// The calls so far by their ids, and whether each is answered.
#[derive(Default)]
pub(crate) struct Calls<'a>(HashMap<Cow<'a, str>, bool>);

impl<'a> Calls<'a> {
    /// The assistant calls a tool.
    pub(crate) fn call(&mut self, id: Option<Cow<'a, str>>) -> Result<(), Error> {
        let Some(id) = id else {
            return Err(blaming("messages", "Cerebras takes no tool call without an 'id'"));
        };
        match self.0.insert(id, false) {
            None => Ok(()),
            Some(_) => Err(blaming("messages", "Cerebras takes no two tool calls with the same 'id'")),
        }
    }

    /// A tool answers.
    pub(crate) fn answer(&mut self, id: Option<Cow<'a, str>>) -> Result<(), Error> {
        match id.and_then(|id| self.0.get_mut(&id)) {
            Some(is_answered) if !*is_answered => {
                *is_answered = true;
                Ok(())
            }
            Some(_) | None => Err(blaming(
                "messages",
                "Cerebras takes a message of the role 'tool' only as the one answer to a tool call",
            )),
        }
    }

    /// The conversation is over.
    pub(crate) fn all_answered(&self) -> Result<(), Error> {
        if self.0.values().all(|is_answered| *is_answered) {
            return Ok(());
        }
        Err(blaming("messages", "Cerebras takes no tool call that no later message of the role 'tool' answers"))
    }
}
