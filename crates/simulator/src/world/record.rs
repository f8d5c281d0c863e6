//! How a request ended, and what it cost.

use provider::Price;

use crate::{
    policy::AttemptId,
    time::{NEVER, Nanos},
    trace::Arrival,
    upstream::{Consumed, Job},
};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: Nanos,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// Attempts so far.
    pub(crate) attempts: u16,
    /// The attempt whose first token came first.
    pub(super) serving: Option<AttemptId>,
    /// When that was; [`NEVER`] before.
    pub(crate) first_token: Nanos,
    /// `None` while it is not over.
    pub(crate) end: Option<End>,
    pub(crate) ended_at: Nanos,
    /// What the answer cost, in pico-dollars.
    pub(crate) cost: u64,
    /// The cost of attempts that did not serve the request, in pico-dollars.
    pub(crate) waste: u64,
}

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With a whole answer.
    Served { upstream: u16 },
    /// With an answer that broke.
    Broken,
    /// With a refusal.
    GivenUp,
}

impl Record {
    pub(super) const fn new(arrival: Arrival) -> Self {
        Self {
            at: arrival.at,
            prompt_tokens: arrival.prompt_tokens,
            completion_tokens: arrival.completion_tokens,
            attempts: 0,
            serving: None,
            first_token: NEVER,
            end: None,
            ended_at: NEVER,
            cost: 0,
            waste: 0,
        }
    }

    /// What calls of the policy's own count as: a short prompt with an answer of one token, for a request that nobody makes.
    pub(super) const fn of_nobody() -> Self {
        let arrival = Arrival { at: 0, prompt_tokens: 20, completion_tokens: 1 };
        Self { end: Some(End::GivenUp), ..Self::new(arrival) }
    }

    pub(super) fn cost_of(&self, price: Price) -> u64 {
        let Self { prompt_tokens, completion_tokens, .. } = *self;
        Consumed { prompt_tokens, completion_tokens }.cost(price)
    }

    /// All its tokens.
    pub(crate) fn tokens(&self) -> u64 {
        u64::from(self.prompt_tokens) + u64::from(self.completion_tokens)
    }
}

impl Consumed {
    /// In pico-dollars.
    pub(super) fn cost(self, price: Price) -> u64 {
        let (prompt, completion) = (u64::from(self.prompt_tokens), u64::from(self.completion_tokens));
        (price.input.0.saturating_mul(prompt)).saturating_add(price.output.0.saturating_mul(completion))
    }
}

impl Job {
    pub(super) const fn consumed_whole(self) -> Consumed {
        Consumed { prompt_tokens: self.prompt_tokens, completion_tokens: self.completion_tokens }
    }
}
