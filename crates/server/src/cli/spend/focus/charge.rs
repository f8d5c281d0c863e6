//! Charges: what some calls' tokens come to, and what their part of workers' time does.

use jiff::civil::Date;
use provider::{PicoUsd, Price};

use super::{Group, gpu::Seconds, service::Service};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meter {
    /// In ids of SKUs.
    pub(super) id: &'static str,
    /// For people.
    pub(super) name: &'static str,
    /// What one is called, in the plural.
    pub(super) unit: &'static str,
    /// So many are counted for one unit: a power of ten.
    pub(super) per_unit: u64,
    /// A price is for so many units: a power of ten.
    pub(super) priced_units: u64,
}

const fn tokens(id: &'static str, name: &'static str) -> Meter {
    Meter { id, name, unit: "Tokens", per_unit: 1, priced_units: 1_000_000 }
}

const INPUT: Meter = tokens("input-tokens", "Input tokens");
const CACHED_INPUT: Meter = tokens("cached-input-tokens", "Cached input tokens");
const OUTPUT: Meter = tokens("output-tokens", "Output tokens");
const REASONING: Meter = tokens("reasoning-tokens", "Reasoning tokens");
const CALLS: Meter = Meter { id: "requests", name: "Requests", unit: "Requests", per_unit: 1, priced_units: 1 };
/// Milliseconds are counted.
const AUDIO: Meter = Meter { id: "audio-seconds", name: "Audio", unit: "Seconds", per_unit: 1_000, priced_units: 1 };
/// Nanoseconds are counted.
const GPU_TIME: Meter =
    Meter { id: "gpu-seconds", name: "GPU time", unit: "Seconds", per_unit: 1_000_000_000, priced_units: 1 };

impl Meter {
    /// Whether it counts time.
    pub(super) fn is_time(&self) -> bool {
        *self == GPU_TIME
    }

    /// The decimals of a number of units.
    pub(super) fn decimals(&self) -> u32 {
        self.per_unit.ilog10()
    }

    /// The decimals of a number of what a price is for.
    pub(super) fn priced_decimals(&self) -> u32 {
        self.decimals() + self.priced_units.ilog10()
    }
}

/// A row of the export: what was used of one thing at one price on one day.
#[derive(Debug, Clone)]
pub(super) struct Charge<'a> {
    pub(super) group: &'a Group,
    pub(super) service: &'a Service,
    pub(super) meter: Meter,
    /// As the meter counts.
    pub(super) quantity: u64,
    /// For one unit.
    pub(super) rate: PicoUsd,
    /// The day from which that was the price.
    pub(super) price_since: Option<&'a str>,
    /// What it adds to the invoice, in pico-dollars.
    pub(super) billed_pico: i128,
}

impl Charge<'_> {
    pub(super) fn day(&self) -> Date {
        self.group.day
    }

    /// Price times quantity: pico-dollars, of which the meter's count of one unit makes one.
    pub(super) fn list_parts(&self) -> u128 {
        u128::from(self.rate.0) * u128::from(self.quantity)
    }
}

/// The tokens of some calls, by their kinds, or the calls themselves, or the seconds of their recordings, of which the ledger has only what they
/// came to. Each call was rounded to a nano-dollar when it ended: the most expensive charge bears the
/// difference, so that together they are what the ledger has.
pub(super) fn of_tokens<'a>(
    group: &'a Group,
    service: &'a Service,
    price_since: Option<&'a str>,
    price: Price,
) -> Vec<Charge<'a>> {
    let spend = &group.spend;
    let counted = |meter: Meter, rate: PicoUsd| {
        let parts = u128::from(spend.cost_nano_usd) * 1_000 * u128::from(meter.per_unit);
        let units = parts.checked_div(u128::from(rate.0)).unwrap_or_default();
        (meter, u64::try_from(units).unwrap_or(u64::MAX), rate)
    };
    let meters = [
        (INPUT, spend.prompt_tokens.saturating_sub(spend.cached_tokens), price.input),
        (CACHED_INPUT, spend.cached_tokens, price.cached_input),
        (OUTPUT, spend.completion_tokens.saturating_sub(spend.reasoning_tokens), price.output),
        (REASONING, spend.reasoning_tokens, price.reasoning),
        counted(CALLS, price.request),
        counted(AUDIO, price.audio_second),
    ];
    let is_charged = |rate: PicoUsd| rate.0 > 0 || price.is_by_token();
    let used = meters.into_iter().filter(|(_, quantity, rate)| *quantity > 0 && is_charged(*rate));
    let mut charges: Vec<_> = used
        .map(|(meter, quantity, rate)| {
            let billed_pico = i128::from(rate.0) * i128::from(quantity) / i128::from(meter.per_unit);
            Charge { group, service, meter, quantity, rate, price_since, billed_pico }
        })
        .collect();
    let rounded = i128::from(spend.cost_nano_usd) * 1_000;
    let exact: i128 = charges.iter().map(|charge| charge.billed_pico).sum();
    if let Some(highest) = charges.iter_mut().max_by_key(|charge| charge.billed_pico) {
        highest.billed_pico += rounded - exact;
    }
    charges
}

/// A share of workers; none if it costs nothing.
pub(super) fn of_seconds<'a>(group: &'a Group, service: &'a Service, seconds: Seconds) -> Option<Charge<'a>> {
    let Seconds { rate, nano_usd, quantity } = seconds;
    let billed_pico = i128::from(nano_usd) * 1_000;
    let charge = Charge { group, service, meter: GPU_TIME, quantity, rate, price_since: None, billed_pico };
    (nano_usd > 0).then_some(charge)
}
