//! What a request would take from an upstream.

use crate::knowledge::real;

/// Tokens that a whole answer may have where no limit is known.
pub(crate) const LONGEST_ANSWER_TOKENS: u64 = 4096;

/// What a request would take from an upstream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestNeeds {
    pub(crate) prompt_tokens: u64,
    /// Tokens that count against limits: prompt and limit on the answer together.
    pub(crate) limited_tokens: u64,
    /// Tokens of the answer, as expected.
    pub(crate) completion_tokens: f64,
    /// Most tokens that a choice of the answer may have.
    pub(crate) longest_answer: u64,
    /// Whether it has missed the SLO already: requests that have not go first.
    pub(crate) is_stale: bool,
    /// Whether it is held and room is offered to it: then the permits that are reserved do not count as taken.
    pub(crate) has_offer: bool,
}

impl RequestNeeds {
    /// The needs of a prompt of so many tokens whose answer is limited to `limit`, or is expected to have the `mean`
    /// length.
    pub(crate) fn new(prompt_tokens: u64, limit: Option<u64>, mean: f64, choices: u64) -> Self {
        /// Without a limit, some more than the mean is expected.
        const MARGIN: f64 = 1.1;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an answer's length")]
        let expected = (mean * MARGIN) as u64;
        let longest_answer = limit.unwrap_or(LONGEST_ANSWER_TOKENS);
        let answer = limit.unwrap_or(expected).saturating_mul(choices);
        let completion_tokens = limit.map_or(mean, |limit| mean.min(real(limit)));
        let limited_tokens = prompt_tokens.saturating_add(answer);
        Self { prompt_tokens, limited_tokens, completion_tokens, longest_answer, is_stale: false, has_offer: false }
    }
}
