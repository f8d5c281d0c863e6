//! Sums over the calls of a replica to an upstream.

use serde::{Deserialize, Serialize};

/// Sums over the calls of a replica to an upstream since its start. They are numbers to calculate with, exact up to 2^53.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Calls of requests that began.
    pub calls: f64,
    /// Calls debited to the limit of requests, less those that were given back.
    pub debited_calls: f64,
    /// The same of the limit of tokens, by prompt and limit on the answer.
    pub debited_tokens: f64,
    /// Calls that the provider took.
    pub taken_calls: f64,
    /// Their tokens, prompt and limit together.
    pub taken_tokens: f64,
    /// First tokens, and whole answers.
    pub first_tokens: f64,
    /// Answers that ended after their first token, and calls that ended without one.
    pub completed: f64,
    /// Requests that would have gone there by shares, if all targets worked.
    pub expected: f64,
    /// Requests that went elsewhere only because no worker was ready.
    pub wanted: f64,
    /// Calls of the router's own that were to start a worker.
    pub warm_ups: f64,
    /// What these are taken to cost, in nano-dollars.
    pub warm_up_nano_usd: f64,
    /// How often a probe closed its breaker.
    pub recoveries: f64,
}

impl Totals {
    /// What was added since `before`. If these are less, the replica began anew with this upstream.
    pub(super) fn since(&self, before: &Self) -> Self {
        let began_anew = self.calls < before.calls || self.first_tokens < before.first_tokens;
        let before = if began_anew { Self::default() } else { *before };
        self.combined(&before, |now, before| now - before)
    }

    /// Both together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.combined(other, |one, other| one + other)
    }

    fn combined(&self, other: &Self, by: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            calls: by(self.calls, other.calls),
            debited_calls: by(self.debited_calls, other.debited_calls),
            debited_tokens: by(self.debited_tokens, other.debited_tokens),
            taken_calls: by(self.taken_calls, other.taken_calls),
            taken_tokens: by(self.taken_tokens, other.taken_tokens),
            first_tokens: by(self.first_tokens, other.first_tokens),
            completed: by(self.completed, other.completed),
            expected: by(self.expected, other.expected),
            wanted: by(self.wanted, other.wanted),
            warm_ups: by(self.warm_ups, other.warm_ups),
            warm_up_nano_usd: by(self.warm_up_nano_usd, other.warm_up_nano_usd),
            recoveries: by(self.recoveries, other.recoveries),
        }
    }
}
