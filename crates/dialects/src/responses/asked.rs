//! What an answer has to know of its request.

use std::{collections::BTreeMap, fmt};

/// What the answer to a request has to know of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// The members of a response that repeat the request, as they are written in JSON, with a comma in front of each.
    pub(super) repeated: Box<str>,
    /// What comes back under which name, of the tools that are not plain functions under their own.
    pub(super) tools: BTreeMap<String, ToolName>,
    /// Whether log probabilities are wanted.
    pub(super) logprobs: bool,
}

/// A tool as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolName {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
}

/// What a call of a tool is to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A `function_call`, with arguments that are JSON.
    Function,
    /// A `custom_tool_call`, with an input that is any text.
    Custom,
    /// A `tool_search_call`, which the client carries out.
    Search,
}

impl Asked {
    /// The bytes of memory that it takes.
    pub fn held_bytes(&self) -> usize {
        let name = |(given, tool): (&String, &ToolName)| {
            TOOL + given.len() + tool.name.len() + tool.namespace.as_ref().map_or(0, String::len)
        };
        self.repeated.len() + self.tools.iter().map(name).sum::<usize>()
    }
}

/// Memory for the names of a tool beside their letters, in bytes.
const TOOL: usize = 128;

/// Leaves the prompt out.
impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("logprobs", &self.logprobs).finish_non_exhaustive()
    }
}
