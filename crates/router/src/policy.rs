//! What the same tokens would have cost under other policies: what savings are measured against.
//!
//! Every model has up to three kinds: its configured baseline, its configured shares, and each of its upstreams alone. A
//! policy with a target of unknown price is left out: half a sum would look like a saving.

use std::sync::Arc;

use provider::{PicoUsd, Price, UpstreamId};

use crate::upstream::{Upstream, UpstreamSpec};

/// A hypothetical routing policy, reduced to the average cost of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `configured`, `split`, or `all:` and an upstream.
    pub name: Arc<str>,
    /// The list price of a token under it.
    pub price: Price,
}

impl Policy {
    /// The name of the policy that is the model's configured baseline.
    pub const CONFIGURED: &'static str = "configured";
    /// The name of the policy that splits tokens by the configured shares.
    pub const SPLIT: &'static str = "split";

    /// The name of the policy that sends everything to one upstream.
    pub fn all(upstream: &UpstreamId) -> Arc<str> {
        format!("all:{upstream}").into()
    }
}

fn list_price(upstream: &UpstreamSpec) -> Option<Price> {
    upstream.tariff.as_ref()?.list_price()
}

/// The policies of a model with these targets and shares, which sum to 1.
pub(crate) fn policies(targets: &[Arc<Upstream>], shares: &[f64], baseline: Option<&Upstream>) -> Arc<[Policy]> {
    let configured = baseline
        .and_then(|upstream| list_price(&upstream.spec))
        .map(|price| Policy { name: Policy::CONFIGURED.into(), price });
    let split = split(targets, shares).map(|price| Policy { name: Policy::SPLIT.into(), price });
    let alone = targets.iter().filter_map(|upstream| {
        Some(Policy { name: Policy::all(&upstream.spec.id), price: list_price(&upstream.spec)? })
    });
    configured.into_iter().chain(split).chain(alone).collect()
}

/// The average price of a token that is split by `shares`, rounded to a pico-dollar.
fn split(targets: &[Arc<Upstream>], shares: &[f64]) -> Option<Price> {
    let mut sums = [0.0; 6];
    for (upstream, share) in targets.iter().zip(shares).filter(|(_, share)| **share > 0.0) {
        let price = list_price(&upstream.spec)?;
        let Price { input, cached_input, output, reasoning, request, audio_second } = price;
        for (sum, rate) in sums.iter_mut().zip([input, cached_input, output, reasoning, request, audio_second]) {
            *sum += share * as_float(rate);
        }
    }
    let [input, cached_input, output, reasoning, request, audio_second] = sums.map(rounded);
    Some(Price { input, cached_input, output, reasoning, request, audio_second })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a price per token stays far below 2^53 pico-dollars, nine dollars a token"
)]
fn as_float(rate: PicoUsd) -> f64 {
    rate.0 as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an average of prices is a price")]
fn rounded(pico: f64) -> PicoUsd {
    PicoUsd(pico.round() as u64)
}
