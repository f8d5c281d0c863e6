//! Numbers within bounds.

use serde_json::{Value, json};

use super::{Keywords, Prompt};

/// Bounds of a number.
struct Bounds {
    least: f64,
    above: f64,
    most: f64,
    below: f64,
    step: Option<f64>,
    is_whole: bool,
}

impl Bounds {
    fn read(keywords: &Keywords, is_whole: bool) -> Self {
        let bound = |name: &str, none: f64| keywords.get(name).and_then(Value::as_f64).unwrap_or(none);
        // In drafts before 6 the exclusive bounds are switches beside the others.
        let is_on = |name: &str| keywords.get(name) == Some(&Value::Bool(true));
        let (mut least, mut above) =
            (bound("minimum", f64::NEG_INFINITY), bound("exclusiveMinimum", f64::NEG_INFINITY));
        let (mut most, mut below) = (bound("maximum", f64::INFINITY), bound("exclusiveMaximum", f64::INFINITY));
        if is_on("exclusiveMinimum") {
            (least, above) = (f64::NEG_INFINITY, least);
        }
        if is_on("exclusiveMaximum") {
            (most, below) = (f64::INFINITY, most);
        }
        let step = keywords.get("multipleOf").and_then(Value::as_f64).filter(|step| *step > 0.0);
        Self { least, above, most, below, step, is_whole }
    }

    fn fits(&self, number: f64) -> bool {
        let is_multiple = |step: f64| ((number / step).round() * step - number).abs() < 1e-9 * step.max(1.0);
        number >= self.least
            && number > self.above
            && number <= self.most
            && number < self.below
            && (!self.is_whole || number.fract() == 0.0)
            && self.step.is_none_or(is_multiple)
    }

    /// The distance of two neighbours that fit.
    fn step(&self) -> f64 {
        match self.step {
            // The first multiple of the step that is whole.
            Some(step) if self.is_whole => {
                (1..=1000).map(|times| step * f64::from(times)).find(|product| product.fract() == 0.0).unwrap_or(step)
            }
            Some(step) => step,
            None => 1.0,
        }
    }

    /// The number nearest to one that fits.
    fn near(&self, wanted: f64) -> Option<f64> {
        let step = self.step();
        let low = self.least.max(self.above);
        let high = self.most.min(self.below);
        let up = (low / step).ceil() * step;
        let down = (high / step).floor() * step;
        let middle = f64::midpoint(low, high);
        let aligned = (wanted / step).round() * step;
        let candidates = [wanted, aligned, up, up + step, down, down - step, 0.0, low, high, middle];
        candidates.into_iter().find(|number| number.is_finite() && self.fits(*number))
    }
}

/// A whole number.
pub(super) fn whole(keywords: &Keywords, prompt: &Prompt, nth: usize) -> Value {
    let number = pick(&Bounds::read(keywords, true), prompt, nth);
    #[expect(clippy::cast_possible_truncation, reason = "a number beyond the range becomes the last one in it")]
    let number = number as i64;
    json!(number)
}

/// Any number.
pub(super) fn any(keywords: &Keywords, prompt: &Prompt, nth: usize) -> Value {
    json!(pick(&Bounds::read(keywords, false), prompt, nth))
}

fn pick(bounds: &Bounds, prompt: &Prompt, nth: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "from 0 to 10, and fewer items than 2^52")]
    let (usual, nth) = (prompt.number as f64, nth as f64);
    let named = prompt.numbers.iter().copied().find(|number| bounds.fits(*number));
    let number = named.or_else(|| bounds.near(usual)).unwrap_or(usual);
    let away = nth * bounds.step();
    [number + away, number - away].into_iter().find(|number| bounds.fits(*number)).unwrap_or(number)
}
