//! The part of a request that decisions use: no body, no prompt.

use std::time::Duration;

use provider::{Features, NanoUsd, Operation, Tariff, Usage, limit_within};

use crate::{strategy::StrategyName, upstream::UpstreamSpec};

/// Tokens that are reserved for an answer on which neither the request nor the upstream's configuration sets a limit.
const RESERVED_TOKENS: u64 = 4096;

/// What a request asks for, as far as routing cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is asked for.
    pub operation: Operation,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// What the request needs of an upstream.
    pub features: Features,
    /// The size of the prompt in bytes, with what surrounds it; 0 where there is no prompt that must fit a context.
    pub body_bytes: u64,
    /// The estimated length of the prompt, in tokens.
    pub prompt_tokens: u64,
    /// The estimated length of the recording in milliseconds; 0 without one.
    pub audio_ms: u64,
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
    /// What the client wants to be different from what is configured.
    pub wishes: Wishes,
}

impl Facts {
    /// The most that a call to an upstream is thought to use: the prompt, and as many tokens as every choice may have. Budgets reserve
    /// its price.
    pub fn reserved(&self, upstream: &UpstreamSpec) -> Usage {
        let limit = self.answer_limit().or_else(|| self.default_limit(upstream)).unwrap_or(RESERVED_TOKENS);
        Usage { completion_tokens: limit.saturating_mul(self.choices), ..self.asked() }
    }

    /// The most tokens that the answer may have, if there is such a limit: none where it is not written token by token.
    pub(crate) fn answer_limit(&self) -> Option<u64> {
        if self.operation.generates() { self.max_tokens } else { Some(0) }
    }

    /// What it is thought to use before anything is answered.
    pub fn asked(&self) -> Usage {
        let audio_ms = (self.audio_ms > 0).then_some(self.audio_ms);
        Usage { prompt_tokens: self.prompt_tokens, audio_ms, ..Usage::default() }
    }

    /// The limit on the answer that the router sends to an upstream where the client names none.
    fn default_limit(&self, upstream: &UpstreamSpec) -> Option<u64> {
        Some(limit_within(upstream.default_max_tokens?, upstream.context_tokens, self.prompt_tokens))
    }

    /// The list price of that at an upstream; `None` without a price for such a call.
    pub fn reserved_cost(&self, upstream: &UpstreamSpec) -> Option<NanoUsd> {
        let price = upstream.tariff.as_ref().and_then(Tariff::list_price)?;
        price.cost_of_counted(&self.reserved(upstream))
    }
}

/// What a client wants for its own request alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Orders the targets, in place of the model's own strategy.
    pub strategy: Option<StrategyName>,
    /// The time limit, from the request's arrival, if the model's own is not sooner. The driver has it in the deadline of the request.
    pub deadline: Option<Duration>,
    /// The most that a call may cost, as [`Facts::reserved_cost`] estimates it: a target without a price serves no such request.
    pub max_cost: Option<NanoUsd>,
    /// Whether no other target is asked after the first one.
    pub no_fallback: bool,
}

impl Wishes {
    /// Everything as it is configured.
    pub const NONE: Self = Self { strategy: None, deadline: None, max_cost: None, no_fallback: false };

    /// Whether they leave targets out that other requests may use.
    pub(crate) const fn leaves_targets_out(&self) -> bool {
        self.max_cost.is_some() || self.no_fallback
    }
}

/// A target that the client named, past the strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Its index among the model's targets.
    pub target: usize,
    /// Whether others may serve when it fails.
    pub falls_back: bool,
}
