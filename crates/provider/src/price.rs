//! Money in integers: rates in pico-dollars, costs in nano-dollars, rounded once per attempt. Unknown is `None`, never 0.

use std::{fmt, iter::Sum, ops::Add, time::Duration};

use crate::Usage;

/// A rate in pico-dollars (10⁻¹² USD) per token or per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PicoUsd(pub u64);

/// An amount in nano-dollars (10⁻⁹ USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct NanoUsd(pub u64);

/// Why a decimal amount was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePriceError {
    /// Not a plain decimal number.
    #[error("expected a decimal number of US dollars such as \"0.10\"")]
    NotDecimal,
    /// Finer than the smallest unit.
    #[error("too fine for a price: use fewer decimals")]
    TooFine,
    /// Larger than any price should be.
    #[error("too large for a price")]
    TooLarge,
}

impl PicoUsd {
    /// Reads US dollars per million tokens, exactly: `"0.10"` is 100,000 pico-dollars per token.
    pub fn from_usd_per_million(text: &str) -> Result<Self, ParsePriceError> {
        decimal(text, 6).map(Self)
    }

    /// Reads US dollars per second or per call, exactly: `"0.00019"` is 190,000,000 pico-dollars.
    pub fn from_usd_per_unit(text: &str) -> Result<Self, ParsePriceError> {
        decimal(text, 12).map(Self)
    }
}

impl PicoUsd {
    /// What a time costs at this rate for a second, rounded half up to a nano-dollar.
    pub fn cost_of(self, time: Duration) -> NanoUsd {
        let pico_nanos = u128::from(self.0) * time.as_nanos();
        NanoUsd(u64::try_from((pico_nanos / 1_000_000_000 + 500) / 1_000).unwrap_or(u64::MAX))
    }
}

impl NanoUsd {
    /// Reads US dollars, exactly: `"0.07"` is 70,000,000 nano-dollars.
    pub fn from_usd(text: &str) -> Result<Self, ParsePriceError> {
        decimal(text, 9).map(Self)
    }
}

/// `text` × 10^`digits` as an integer.
fn decimal(text: &str, digits: usize) -> Result<u64, ParsePriceError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || text.ends_with('.') {
        return Err(ParsePriceError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > digits {
        return Err(ParsePriceError::TooFine);
    }
    format!("{whole}{fraction:0<digits$}").parse().map_err(|_| ParsePriceError::TooLarge)
}

impl NanoUsd {
    /// US dollars, for people and spreadsheets; sums are kept in nano-dollars.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million dollars")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Add for NanoUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// Writes US dollars with nine decimals: `0.000012300`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// What a token costs, or a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    /// Per prompt token.
    pub input: PicoUsd,
    /// Per prompt token that the upstream had in its cache.
    pub cached_input: PicoUsd,
    /// Per completion token.
    pub output: PicoUsd,
    /// Per completion token that the upstream reports as reasoning.
    pub reasoning: PicoUsd,
    /// Per call.
    pub request: PicoUsd,
    /// Per second of a recording.
    pub audio_second: PicoUsd,
}

impl Price {
    /// One by the token, without prices of their own for cached tokens and reasoning.
    pub const fn new(input: PicoUsd, output: PicoUsd) -> Self {
        Self { input, cached_input: input, output, reasoning: output, request: PicoUsd(0), audio_second: PicoUsd(0) }
    }

    /// Whether it is for tokens, and not for calls or seconds of a recording.
    pub const fn is_by_token(&self) -> bool {
        self.request.0 == 0 && self.audio_second.0 == 0
    }

    /// What a call with this usage costs; `None` if the price is for what the upstream did not count: seconds of a recording, or
    /// the tokens of one that was counted in seconds.
    pub fn cost_of_counted(&self, usage: &Usage) -> Option<NanoUsd> {
        let is_counted = match usage.audio_ms {
            None => self.audio_second.0 == 0,
            Some(_) => usage.total() > 0 || !self.is_by_token(),
        };
        is_counted.then(|| self.cost(usage))
    }

    /// What a call costs whose usage is not known; `None` unless the price is for the call alone.
    pub fn cost_of_call(&self) -> Option<NanoUsd> {
        let alone = Self { request: self.request, ..Self::default() };
        (self.request.0 > 0 && *self == alone).then(|| self.cost(&Usage::default()))
    }

    /// What `usage` costs, rounded half to even to a nano-dollar, so that rounding adds nothing in the long run. Tokens that the
    /// upstream does not report as cached or as reasoning have the price of the others.
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        let cached = usage.cached_tokens.unwrap_or(0).min(usage.prompt_tokens);
        let reasoning = usage.reasoning_tokens.unwrap_or(0).min(usage.completion_tokens);
        let pico = u128::from(self.input.0) * u128::from(usage.prompt_tokens - cached)
            + u128::from(self.cached_input.0) * u128::from(cached)
            + u128::from(self.output.0) * u128::from(usage.completion_tokens - reasoning)
            + u128::from(self.reasoning.0) * u128::from(reasoning)
            + u128::from(self.request.0)
            + u128::from(self.audio_second.0) * u128::from(usage.audio_ms.unwrap_or(0)) / 1_000;
        // A sum beyond 64 bits, 18 million dollars, takes a division that is many times as slow.
        let (nano, rest) = match u64::try_from(pico) {
            Ok(pico) => (pico / 1_000, pico % 1_000),
            Err(_) => (u64::try_from(pico / 1_000).unwrap_or(u64::MAX), 0),
        };
        let rounds_up = rest > 500 || rest == 500 && nano % 2 == 1;
        NanoUsd(nano.saturating_add(u64::from(rounds_up)))
    }
}

/// How an upstream charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tariff {
    /// By the token, the call, or the second of a recording.
    Tokens(Price),
    /// By the second of a running GPU, idle tail included.
    GpuSeconds {
        /// Per second of a running worker.
        per_second: PicoUsd,
        /// How long a worker runs on after its last request.
        idle_timeout: Duration,
        /// Workers that run, and are paid for, whether they have work or not.
        kept_workers: u32,
        /// The price per token that comparisons use, if one is given.
        list: Option<Price>,
    },
}

impl Tariff {
    /// The price per token, call or second of a recording, if the tariff has one.
    pub fn list_price(&self) -> Option<Price> {
        match self {
            Self::Tokens(price) => Some(*price),
            Self::GpuSeconds { list, .. } => *list,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_prices_are_read_exactly() {
        assert_eq!(PicoUsd::from_usd_per_million("0.10"), Ok(PicoUsd(100_000)));
        assert_eq!(PicoUsd::from_usd_per_million("0.02"), Ok(PicoUsd(20_000)));
        assert_eq!(PicoUsd::from_usd_per_million("12"), Ok(PicoUsd(12_000_000)));
        assert_eq!(PicoUsd::from_usd_per_unit("0.00019"), Ok(PicoUsd(190_000_000)));
        assert_eq!(NanoUsd::from_usd("4.18"), Ok(NanoUsd(4_180_000_000)));
    }

    #[test]
    fn prices_that_cannot_be_exact_are_refused() {
        for text in ["", ".", "-1", "1e3", "0.1x", "1.", " 1"] {
            assert_eq!(PicoUsd::from_usd_per_million(text), Err(ParsePriceError::NotDecimal), "{text}");
        }
        assert_eq!(PicoUsd::from_usd_per_million("0.0000001"), Err(ParsePriceError::TooFine));
        assert_eq!(PicoUsd::from_usd_per_million("99999999999999999999"), Err(ParsePriceError::TooLarge));
    }

    #[test]
    fn ten_million_tokens_cost_what_the_list_says() {
        let usage = Usage { prompt_tokens: 6_000_000, completion_tokens: 4_000_000, ..Usage::default() };
        let price = |usd| PicoUsd::from_usd_per_million(usd).map(|rate| Price::new(rate, rate));
        assert_eq!(price("0.02").expect("price").cost(&usage).to_string(), "0.200000000");
        assert_eq!(price("0.10").expect("price").cost(&usage).to_string(), "1.000000000");
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = Price { cached_input: PicoUsd(1_000), ..Price::new(PicoUsd(10_000), PicoUsd(20_000)) };
        let usage =
            |cached_tokens| Usage { prompt_tokens: 100, completion_tokens: 10, cached_tokens, ..Usage::default() };
        assert_eq!(price.cost(&usage(None)), NanoUsd(1_200));
        assert_eq!(price.cost(&usage(Some(80))), NanoUsd(480));
        assert_eq!(price.cost(&usage(Some(1_000))), NanoUsd(300), "no more than there are");
    }

    #[test]
    fn reasoning_has_its_own_price() {
        let price = Price { reasoning: PicoUsd(50_000), ..Price::new(PicoUsd(0), PicoUsd(20_000)) };
        let usage = |reasoning_tokens| Usage { completion_tokens: 10, reasoning_tokens, ..Usage::default() };
        assert_eq!(price.cost(&usage(None)), NanoUsd(200));
        assert_eq!(price.cost(&usage(Some(4))), NanoUsd(320));
        assert_eq!(price.cost(&usage(Some(1_000))), NanoUsd(500), "no more than there are");
    }

    #[test]
    fn a_call_and_a_second_of_a_recording_have_prices() {
        let usage = |audio_ms| Usage { prompt_tokens: 100, audio_ms, ..Usage::default() };
        let call = Price { request: PicoUsd(2_000_000_000), ..Price::default() };
        assert_eq!(call.cost_of_counted(&usage(None)), Some(NanoUsd(2_000_000)));
        assert_eq!(call.cost_of_call(), Some(NanoUsd(2_000_000)), "whatever it used");
        let second = Price { audio_second: PicoUsd(100_000_000), ..Price::default() };
        assert_eq!(second.cost_of_counted(&usage(Some(2_500))), Some(NanoUsd(250_000)));
        assert_eq!(second.cost_of_counted(&usage(None)), None, "how long it was is not known");
        let token = Price::new(PicoUsd(1_000), PicoUsd(1_000));
        assert_eq!(token.cost_of_counted(&usage(None)), Some(NanoUsd(100)));
        assert_eq!(token.cost_of_counted(&usage(Some(2_500))), Some(NanoUsd(100)));
        let seconds_alone = Usage { audio_ms: Some(2_500), ..Usage::default() };
        assert_eq!(token.cost_of_counted(&seconds_alone), None, "its tokens are not known");
        assert_eq!([token.cost_of_call(), second.cost_of_call(), Price::default().cost_of_call()], [None; 3]);
    }

    #[test]
    fn a_cost_is_rounded_once_and_half_to_even() {
        for (pico, nano) in [(499, 0), (500, 0), (501, 1), (1_499, 1), (1_500, 2), (2_500, 2), (2_501, 3)] {
            let price = Price::new(PicoUsd(pico), PicoUsd(0));
            assert_eq!(price.cost(&Usage { prompt_tokens: 1, ..Usage::default() }), NanoUsd(nano), "{pico}");
        }
    }
}
