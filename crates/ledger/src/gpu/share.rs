//! How the cost of an hour is shared out: half of it by tokens, half by time.
//!
//! Tokens alone would charge nothing for a call that held a worker and failed, time alone nothing extra for a long prompt that
//! others wait behind. So a call pays half for its part of the hour's tokens and half for its part of the hour's time. Where the hour
//! has no tokens, time alone counts; where it has no time, tokens alone; without both, each call pays the same.

/// What calls weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weight {
    pub(super) calls: u64,
    pub(super) tokens: u64,
    pub(super) duration_us: u64,
}

/// Shares of a cost, in the order of the weights. They add up to it: what rounding down leaves goes to those who lost the most by it,
/// a nano-dollar each, the first ones where they lost the same.
pub(super) fn out(cost_nano_usd: u64, weights: &[Weight]) -> Vec<u64> {
    if weights.is_empty() {
        return Vec::new();
    }
    let mut weights = combined(weights);
    let cost = u128::from(cost_nano_usd);
    // The product must fit into 128 bits; it does for any hour of this world.
    let bits = |number: u128| u128::BITS - number.leading_zeros();
    let excess = (bits(weights.iter().sum()) + bits(cost)).saturating_sub(u128::BITS);
    for weight in &mut weights {
        *weight >>= excess;
    }
    let total = weights.iter().sum::<u128>().max(1);
    let mut shares: Vec<u128> = weights.iter().map(|weight| cost * weight / total).collect();
    let left = cost - shares.iter().sum::<u128>();
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    by_loss.sort_by_key(|nth| std::cmp::Reverse(cost * weights[*nth] % total));
    for nth in by_loss.into_iter().cycle().take(usize::try_from(left).unwrap_or_default()) {
        shares[nth] += 1;
    }
    shares.into_iter().map(|share| u64::try_from(share).unwrap_or(u64::MAX)).collect()
}

/// The weights as one number each, of which at least one is above zero.
fn combined(weights: &[Weight]) -> Vec<u128> {
    let sum = |of: fn(&Weight) -> u64| weights.iter().map(|weight| u128::from(of(weight))).sum::<u128>();
    let (all_tokens, all_time) = (sum(|weight| weight.tokens), sum(|weight| weight.duration_us));
    let each = |weight: &Weight| match (all_tokens, all_time) {
        (0, 0) => u128::from(weight.calls.max(1)),
        (0, _) => weight.duration_us.into(),
        (_, 0) => weight.tokens.into(),
        _ => u128::from(weight.tokens) * all_time + u128::from(weight.duration_us) * all_tokens,
    };
    weights.iter().map(each).collect()
}
