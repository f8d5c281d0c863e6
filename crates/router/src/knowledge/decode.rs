//! How fast an upstream writes: the time per completion token, and the time that a whole answer should take.
//!
//! The estimate is the ratio of two exponentially weighted sums, of seconds and of tokens, not a mean of ratios: an
//! answer of three tokens that came in one piece would count as much as one of a thousand, and its ratio means nothing.
//! Answers are kept apart by size only as far as they weigh: a long one carries its tokens' worth.
//!
//! A whole answer that takes twelve seconds for 900 tokens is as good as one that takes one second for fifty: it is
//! judged by the time for its length, first token + tokens · time per token.

use std::time::Duration;

use crate::knowledge::{duration, real};

/// Weight of the past after each further answer.
const FORGETTING: f64 = 0.98;
/// What is expected before the first answer: 60 tokens a second, with the weight of one answer of 256 tokens.
const PRIOR_TOKENS: f64 = 256.0;
const PRIOR_SECONDS: f64 = PRIOR_TOKENS / 60.0;
/// Fewest tokens that the weight of the past can fall to, so that a row of tiny answers leaves the ratio defined.
const LEAST_TOKENS: f64 = 1e-3;
/// An answer is taken for at most this many times slower or faster than expected: one stalled stream is no trend.
const MOST_RATIO: f64 = 8.0;

/// How fast an upstream writes.
#[derive(Debug, Clone)]
pub(crate) struct Decode {
    seconds: f64,
    tokens: f64,
}

impl Default for Decode {
    fn default() -> Self {
        Self { seconds: PRIOR_SECONDS, tokens: PRIOR_TOKENS }
    }
}

impl Decode {
    /// An answer was streamed: so many tokens, the first one aside, in the time from the first to the last.
    pub(crate) fn streamed(&mut self, tokens: u64, took: Duration) {
        self.record(real(tokens), took.as_secs_f64());
    }

    /// Seconds per token.
    pub(crate) fn per_token(&self) -> f64 {
        self.seconds / self.tokens
    }

    /// When an answer of so many tokens ends whose first one comes after `first_token`.
    pub(crate) fn answer_time(&self, first_token: Duration, tokens: f64) -> Duration {
        first_token + duration(tokens * self.per_token())
    }

    fn record(&mut self, tokens: f64, seconds: f64) {
        let expected = tokens * self.per_token();
        self.seconds = FORGETTING * self.seconds + seconds.clamp(expected / MOST_RATIO, expected * MOST_RATIO);
        self.tokens = FORGETTING * self.tokens + tokens;
        if self.tokens < LEAST_TOKENS {
            (self.seconds, self.tokens) = (self.per_token() * LEAST_TOKENS, LEAST_TOKENS);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn long_answers_count_by_their_tokens() {
        let mut decode = Decode::default();
        for _ in 0..200 {
            decode.streamed(1_000, seconds(10.0));
            decode.streamed(3, seconds(0.0));
        }
        assert!((decode.per_token() - 0.01).abs() < 0.0005, "{}", decode.per_token());
    }

    #[test]
    fn a_slower_upstream_is_noticed_within_some_dozens_of_answers() {
        let mut decode = Decode::default();
        (0..300).for_each(|_| decode.streamed(200, seconds(2.0)));
        (0..100).for_each(|_| decode.streamed(200, seconds(10.0)));
        assert!(decode.per_token() > 0.04, "{}", decode.per_token());
    }

    #[test]
    fn an_answer_takes_its_first_token_and_the_time_of_each() {
        let mut decode = Decode::default();
        (0..300).for_each(|_| decode.streamed(200, seconds(2.0)));
        assert!((decode.answer_time(seconds(1.0), 900.0).as_secs_f64() - 10.0).abs() < 0.05);
    }

    #[test]
    fn one_stalled_stream_is_no_trend() {
        let mut decode = Decode::default();
        (0..300).for_each(|_| decode.streamed(200, seconds(2.0)));
        decode.streamed(200, seconds(600.0));
        assert!(decode.per_token() < 0.012, "{}", decode.per_token());
    }

    #[test]
    fn empty_answers_for_a_day_leave_the_speed_as_it_was() {
        let mut decode = Decode::default();
        let before = decode.per_token();
        (0..50_000).for_each(|_| decode.streamed(0, seconds(0.1)));
        assert!((decode.per_token() / before - 1.0).abs() < 0.01, "{decode:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_speed_is_always_a_speed(answers in vec((0_u64..100_000, 0.0_f64..1e4), 0..300)) {
            let mut decode = Decode::default();
            for (tokens, took) in answers {
                decode.streamed(tokens, seconds(took));
                let per_token = decode.per_token();
                prop_assert!(per_token.is_finite() && per_token > 0.0, "{:?}", decode);
            }
        }
    }
}
