//! The part of a request that decisions use: no body, no prompt.

use provider::{Features, Operation};

/// What a request asks for, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is asked for.
    pub operation: Operation,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// What the request needs of an upstream.
    pub features: Features,
    /// The size of the body in bytes.
    pub body_bytes: u64,
    /// The estimated length of the prompt, in tokens.
    pub prompt_tokens: u64,
    /// The client's limit on tokens of the answer, if it names one.
    pub max_tokens: Option<u64>,
    /// How many choices a complete answer has.
    pub choices: u64,
    /// Whether it is one of a batch: nobody waits for its first token.
    pub in_batch: bool,
    /// A hash of the team that asks; `None` for all that ask without one.
    pub team: Option<u64>,
    /// A hash of the conversation that it is part of, and of who sends it; `None` if it is part of none.
    pub conversation: Option<u64>,
}

/// A target that the client named, past the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its index among the model's targets.
    pub target: usize,
    /// Whether others may serve when it fails.
    pub falls_back: bool,
}
