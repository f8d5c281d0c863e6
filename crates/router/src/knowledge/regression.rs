//! Recursive least squares with forgetting, for three features whose coefficients cannot be negative.
//!
//! The recursion is the textbook one (Ljung, System Identification, 1999, chapter 11; Åström and Wittenmark, Adaptive
//! Control, 1995, chapter 2). Gradient descent would need a step size for each unit of each feature; a batch fit needs
//! the samples kept.
//!
//! With forgetting, the covariance grows without bound in directions in which no sample lies, and one sample in such a
//! direction can then move the coefficients to any value. So no variance may pass [`MOST_VARIANCE`]: rows and columns
//! that do are scaled down together, which keeps the matrix positive definite (to cut single elements would not).
//! Coefficients are held within bounds after each sample, because a prediction that falls with the size of a prompt
//! would send the longest ones there.

const FEATURES: usize = 3;
const MOST_VARIANCE: f64 = 10.0;
/// One sample changes a coefficient by at most this factor plus the least step. Otherwise one sample far from all
/// others, such as a prompt of 10,000 tokens among prompts of 50, could move all coefficients to any value.
const MOST_STEP: f64 = 4.0;
const LEAST_STEP: f64 = 0.2;
/// A sample that is this many times below the prediction shows that the fit is wrong: all coefficients are scaled down.
/// An upstream that is predicted to be slow gets few calls, and so few samples to correct it.
const ASTRAY: f64 = 3.0;
const LEAST_VARIANCE: f64 = 1e-9;

/// A fit of `y` to the sum of features times coefficients.
#[derive(Debug, Clone)]
pub(crate) struct Regression {
    coefficients: [f64; FEATURES],
    bounds: [(f64, f64); FEATURES],
    covariance: [[f64; FEATURES]; FEATURES],
}

impl Regression {
    /// A fit that starts from `prior`, each coefficient uncertain by `variance`, and stays within `bounds`.
    pub(crate) fn new(prior: [f64; FEATURES], variance: f64, bounds: [(f64, f64); FEATURES]) -> Self {
        let mut covariance = [[0.0; FEATURES]; FEATURES];
        (0..FEATURES).for_each(|at| covariance[at][at] = variance.clamp(LEAST_VARIANCE, MOST_VARIANCE));
        Self { coefficients: prior, bounds, covariance }
    }

    /// The coefficients.
    pub(crate) fn coefficients(&self) -> [f64; FEATURES] {
        self.coefficients
    }

    /// What `y` is expected to be.
    pub(crate) fn predict(&self, features: [f64; FEATURES]) -> f64 {
        self.coefficients.iter().zip(features).map(|(coefficient, feature)| coefficient * feature).sum()
    }

    /// Takes a sample in. What was learned before keeps `forgetting` of its weight, a number in (0, 1].
    pub(crate) fn learn(&mut self, features: [f64; FEATURES], y: f64, forgetting: f64) {
        let expected = self.predict(features);
        if y * ASTRAY < expected {
            let scale = (y / expected).max(ASTRAY.recip());
            self.coefficients = self.coefficients.map(|coefficient| coefficient * scale);
        }
        let error = y - self.predict(features);
        let along: [f64; FEATURES] =
            std::array::from_fn(|row| self.covariance[row].iter().zip(features).map(|(a, b)| a * b).sum());
        let spread = forgetting + along.iter().zip(features).map(|(a, b)| a * b).sum::<f64>();
        if !error.is_finite() || !spread.is_finite() || spread <= 0.0 {
            return;
        }
        for (at, (least, most)) in self.bounds.into_iter().enumerate() {
            let old = self.coefficients[at];
            let new =
                (old + along[at] / spread * error).clamp(old / MOST_STEP - LEAST_STEP, old * MOST_STEP + LEAST_STEP);
            self.coefficients[at] = new.clamp(least, most);
        }
        for (row, elements) in self.covariance.iter_mut().enumerate() {
            for (column, element) in elements.iter_mut().enumerate() {
                *element = (*element - along[row] * along[column] / spread) / forgetting;
            }
        }
        self.bound();
    }

    fn bound(&mut self) {
        for at in 0..FEATURES {
            let variance = self.covariance[at][at].max(LEAST_VARIANCE);
            self.covariance[at][at] = variance;
            if variance <= MOST_VARIANCE {
                continue;
            }
            let scale = (MOST_VARIANCE / variance).sqrt();
            for other in 0..FEATURES {
                self.covariance[at][other] *= scale;
                self.covariance[other][at] *= scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const BOUNDS: [(f64, f64); 3] = [(0.02, 60.0), (0.0, 10.0), (0.0, 10.0)];

    #[test]
    fn it_finds_the_coefficients_and_follows_when_they_change() {
        let mut fit = Regression::new([0.3, 0.1, 0.1], 1.0, BOUNDS);
        for truth in [[0.5, 0.08, 0.03], [2.5, 0.4, 0.15]] {
            for step in 0_u32..1_000 {
                let features = [1.0, f64::from(step % 7) / 2.0, f64::from(step % 11)];
                let y = truth.iter().zip(features).map(|(a, b)| a * b).sum();
                fit.learn(features, y, 0.99);
            }
            for (found, expected) in fit.coefficients().iter().zip(truth) {
                assert!((found - expected).abs() < 0.02 * expected + 0.002, "{:?}", fit.coefficients());
            }
        }
    }

    /// Samples of one size for a long time leave the other directions unknown; one sample there must not undo the rest.
    #[test]
    fn a_rare_sample_after_a_long_monotony_is_no_shock() {
        let mut fit = Regression::new([0.3, 0.1, 0.1], 1.0, BOUNDS);
        (0..5_000).for_each(|_| fit.learn([1.0, 0.5, 0.0], 0.6, 0.99));
        fit.learn([1.0, 0.0, 30.0], 3.0, 0.99);
        let usual = fit.predict([1.0, 0.5, 0.0]);
        assert!((usual - 0.6).abs() < 0.1, "{usual}, {:?}", fit.coefficients());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_makes_it_negative_or_unbounded(
            samples in vec((0.0_f64..1_000.0, 0.0_f64..1_000.0, -10.0_f64..1e4, 0.5_f64..1.0), 1..300),
        ) {
            let mut fit = Regression::new([0.3, 0.1, 0.1], 1.0, BOUNDS);
            for (own, ahead, y, forgetting) in samples {
                fit.learn([1.0, own, ahead], y, forgetting);
                for (coefficient, (least, most)) in fit.coefficients().iter().zip(BOUNDS) {
                    prop_assert!((least..=most).contains(coefficient), "{:?}", fit);
                }
                for at in 0..FEATURES {
                    let variance = fit.covariance[at][at];
                    prop_assert!((LEAST_VARIANCE..=MOST_VARIANCE * 1.000_001).contains(&variance), "{:?}", fit);
                }
            }
        }
    }

    /// Short prompts, and now and then one that is hundreds of times longer: the time of a short one stays what it is.
    #[test]
    fn a_rare_long_prompt_does_not_throw_the_others_anywhere() {
        let mut regression = Regression::new([0.3, 0.1, 0.1], 1.0, [(0.02, 60.0), (0.0, 10.0), (0.0, 10.0)]);
        for sample in 0_u32..20_000 {
            let own = if sample % 701 == 0 { 11.0 } else { 0.03 + f64::from(sample % 7) * 0.01 };
            let noise = 1.0 + 0.3 * (f64::from(sample * 7 % 13) / 6.0 - 1.0);
            let ahead = f64::from(sample % 5) * 0.05;
            regression.learn([1.0, own, ahead], (0.8 + own / 40.0) * noise, 0.99);
            let short = regression.predict([1.0, 0.03, 0.0]);
            assert!((0.2..2.0).contains(&short), "{short} after {sample}");
        }
    }
}
