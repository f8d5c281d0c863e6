//! What a request costs on average, or how many tokens it has.

/// A mean of which nothing is kept but itself. Later values count more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mean {
    mean: f64,
    samples: f64,
}

impl Mean {
    /// The weight of a new request.
    const STEP: f64 = 0.01;
    /// The weight of an early request, times the number of requests so far. In a plain mean it would be 1, and what the first
    /// requests were expected to cost, before the length of answers was known, would count for too long.
    const EARLY: f64 = 4.0;

    /// Takes the mean of the known ones of a request's values in, if there is one.
    pub(crate) fn record(&mut self, values: impl IntoIterator<Item = Option<f64>>) {
        let (sum, count) =
            values.into_iter().flatten().fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count <= 0.0 {
            return;
        }
        self.samples += 1.0;
        self.mean += Self::STEP.max((Self::EARLY / self.samples).min(1.0)) * (sum / count - self.mean);
    }

    /// Whether any value was known.
    pub(crate) fn is_known(&self) -> bool {
        self.samples > 0.0
    }

    /// The mean; 1 while nothing is known or all is free, so that a score is a number.
    pub(crate) fn get(&self) -> f64 {
        if self.mean > 0.0 { self.mean } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_mean_of_what_is_known() {
        let mut mean = Mean::default();
        assert!((mean.get() - 1.0).abs() < 1e-12);
        mean.record([None, None]);
        assert!((mean.get() - 1.0).abs() < 1e-12);
        (0..500).for_each(|_| mean.record([Some(1.0), None, Some(5.0)]));
        assert!((mean.get() - 3.0).abs() < 1e-9);
        (0..300).for_each(|_| mean.record([Some(30.0)]));
        assert!(mean.get() > 28.0, "{}", mean.get());
    }
}
