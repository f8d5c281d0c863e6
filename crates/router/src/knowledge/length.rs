//! How long an answer will be, by the size of its prompt.
//!
//! The mean and the 95th percentile of completion tokens in each class of prompts, where a class is a power of two of
//! prompt tokens. What a decision needs is the order of costs and what a rate limiter will be charged, not the length
//! itself; published predictors of the length (S³, proxy models) cost a model call for each request.
//!
//! The mean is an exponentially weighted one (2 %). The percentile is tracked by stochastic approximation (Robbins and
//! Monro, 1951): up by 0.95 of a step when an answer is longer, down by 0.05 of it when not, which is at rest where one
//! answer in twenty is longer. It needs no sample kept and no distribution assumed: lengths heap up at limits that
//! clients set.
//!
//! A class with few samples is drawn towards all classes together, and those towards a prior, each with the weight of a
//! few samples.

use crate::knowledge::real;

/// Classes of prompts: up to 2^23 tokens.
const CLASSES: usize = 24;
/// The least weight of a new sample.
const STEP: f64 = 0.02;
/// The percentile's step, in means.
const PERCENTILE_STEP: f64 = 0.2;
const PERCENTILE: f64 = 0.95;
/// The weight of what stands behind a class, in samples.
const PRIOR_WEIGHT: f64 = 8.0;
/// After so many answers, half of what is expected of lengths is thought to be certain.
const HALF_CERTAIN: f64 = 50.0;
/// What is expected before the first answer.
const PRIOR: Length = Length { mean: 256.0, p95: 768.0 };

/// Completion tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Length {
    /// On average.
    pub(crate) mean: f64,
    /// What nineteen answers in twenty do not exceed.
    pub p95: f64,
}

impl Length {
    /// The same where answers are cut off at `limit` tokens.
    #[must_use]
    pub(crate) fn limited(self, limit: Option<u64>) -> Self {
        let Some(limit) = limit.map(real) else { return self };
        Self { mean: self.mean.min(limit), p95: self.p95.min(limit) }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Class {
    samples: f64,
    mean: f64,
    p95: f64,
}

impl Class {
    fn record(&mut self, tokens: f64) {
        self.samples += 1.0;
        let weight = STEP.max(self.samples.recip());
        self.mean += weight * (tokens - self.mean);
        if self.samples <= 1.0 {
            self.p95 = tokens;
        }
        let step = PERCENTILE_STEP * self.mean;
        self.p95 += if tokens > self.p95 { PERCENTILE * step } else { (PERCENTILE - 1.0) * step };
        self.p95 = self.p95.max(0.0);
    }

    /// What is expected, given what would be expected without this class.
    fn over(&self, prior: Length) -> Length {
        let weight = self.samples / (self.samples + PRIOR_WEIGHT);
        let mean = prior.mean + weight * (self.mean - prior.mean);
        Length { mean, p95: (prior.p95 + weight * (self.p95 - prior.p95)).max(mean) }
    }
}

/// The lengths of a model's answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lengths {
    classes: [Class; CLASSES],
    all: Class,
}

/// The class of a prompt: the logarithm of its tokens to the base of two.
fn class(prompt_tokens: u64) -> usize {
    let class = prompt_tokens.max(1).ilog2();
    usize::try_from(class).map_or(CLASSES - 1, |class| class.min(CLASSES - 1))
}

impl Lengths {
    /// A complete answer to a prompt had so many tokens. An answer that broke off is no sample.
    pub(crate) fn record(&mut self, prompt_tokens: u64, completion_tokens: u64) {
        let tokens = real(completion_tokens);
        self.classes[class(prompt_tokens)].record(tokens);
        self.all.record(tokens);
    }

    /// How far what is expected rests on answers: 0 before the first one, towards 1 with many.
    pub(crate) fn certainty(&self) -> f64 {
        self.all.samples / (self.all.samples + HALF_CERTAIN)
    }

    /// How long the answer to such a prompt will be.
    pub(crate) fn predict(&self, prompt_tokens: u64) -> Length {
        self.classes[class(prompt_tokens)].over(self.all.over(PRIOR))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    use super::*;

    fn fed(prompt_tokens: u64, lengths: impl IntoIterator<Item = f64>) -> Lengths {
        let mut known = Lengths::default();
        for length in lengths {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
            known.record(prompt_tokens, length as u64);
        }
        known
    }

    #[test]
    fn mean_and_percentile_are_found_whatever_the_distribution() {
        let mut rng = SmallRng::seed_from_u64(5);
        let mut draw =
            |of: fn(f64) -> f64| -> Vec<f64> { (0..3_000).map(|_| of(rng.random_range(0.0..1.0))).collect() };
        let even = draw(|at| 100.0 + 200.0 * at);
        let exponential = draw(|at| -200.0 * (1.0 - at).ln());
        let heaped = draw(|at| (50.0 + 900.0 * at).min(512.0));
        for (name, lengths) in [("even", even), ("exponential", exponential), ("heaped at a limit", heaped)] {
            let (mut known, mut longer) = (fed(1_000, lengths[..1_000].iter().copied()), 0);
            let mean = lengths.iter().sum::<f64>() / 3_000.0;
            for length in &lengths[1_000..] {
                let found = known.predict(1_000);
                assert!((found.mean / mean - 1.0).abs() < 0.4, "{name}: {found:?} for a mean of {mean}");
                longer += u32::from(*length > found.p95);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
                known.record(1_000, *length as u64);
            }
            assert!((60..=140).contains(&longer), "{name}: {longer} of 2,000 were longer than 95 %");
        }
    }

    #[test]
    fn classes_are_kept_apart_and_an_unknown_one_is_like_all() {
        let mut known = fed(100, vec![40.0; 500]);
        (0..500).for_each(|_| known.record(5_000, 400));
        let [short, long, unknown] = [100, 5_000, 1_000_000].map(|prompt| known.predict(prompt).mean);
        assert!((short - 40.0).abs() < 6.0 && (long - 400.0).abs() < 6.0, "{short} {long}");
        assert!(unknown > 200.0 && unknown < 405.0, "{unknown}");
    }

    #[test]
    fn few_samples_move_the_prior_and_many_replace_it() {
        assert_eq!(Lengths::default().predict(500), PRIOR);
        let one = fed(500, [10.0]).predict(500);
        assert!(one.mean > 150.0 && one.mean < PRIOR.mean, "{one:?}");
        let ten = fed(500, [100.0; 10]).predict(500);
        assert!(ten.mean > 100.0 && ten.mean < 150.0, "{ten:?}");
        let many = fed(500, vec![10.0; 200]).predict(500);
        assert!(many.mean < 14.0 && many.p95 < 40.0, "{many:?}");
    }

    #[test]
    fn a_limit_cuts_both_off() {
        assert_eq!(PRIOR.limited(Some(100)), Length { mean: 100.0, p95: 100.0 });
        assert_eq!((PRIOR.limited(Some(500)).mean, PRIOR.limited(Some(500)).p95), (256.0, 500.0));
        assert_eq!(PRIOR.limited(None), PRIOR);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lengths_stay_within_what_was_seen_and_the_prior(answers in vec((any::<u64>(), 0_u64..100_000), 0..200)) {
            let mut known = Lengths::default();
            let longest = answers.iter().map(|(_, tokens)| real(*tokens)).fold(PRIOR.mean, f64::max);
            for (prompt, tokens) in answers {
                known.record(prompt, tokens);
                let length = known.predict(prompt);
                prop_assert!(length.mean >= 0.0 && length.mean <= longest, "{:?} of at most {}", length, longest);
                prop_assert!(length.p95 >= length.mean && length.p95.is_finite(), "{:?}", length);
            }
        }
    }
}
