//! How a target is chosen: a pure ranking of a snapshot.
//!
//! Health, quota, room and capability are filtered before, once; walking the ranking is the fallback. A strategy never adds
//! or drops a candidate, never waits, and reads neither clock nor randomness but what it is given. Each is a set of weights of
//! one formula ([`crate::knowledge::score`]), but for `weighted`, whose shares are exact.

mod balanced;
mod cost;
mod latency;
mod weighted;

use crate::{
    candidate::Candidate,
    decision::Reason,
    knowledge::score::{self, Terms, Weights, Z},
    share::Accrual,
};

/// The value of a call that surely keeps an idle worker from being stopped, in mean costs: otherwise all requests go elsewhere
/// until another worker has started. It is less than the weight of the largest deficit, so that shares are still held.
const KEPT_READY: f64 = 2.5;

/// The value of a target's prompt cache, in mean costs: it need not read the prompt of a mean request again. A deficit of
/// some requests, a price that differs by more, and a late first token outweigh it.
const CACHED_PROMPT: f64 = 0.5;

/// The units of the terms of a score.
#[derive(Debug, Clone)]
pub struct Scale {
    /// What a request costs on average, in nano-dollars.
    pub(crate) mean_cost: f64,
    /// The weight of a late first token.
    pub(crate) z: Z,
    /// How certain it is what an answer will cost, 0 to 1.
    pub(crate) certainty: f64,
}

/// A way to order candidates.
pub trait Strategy: Send + Sync {
    /// Orders `candidates` best first.
    fn rank(&self, candidates: &mut [Candidate], scale: &Scale);

    /// Why the best one is the best.
    fn reason(&self) -> Reason;

    /// Whether it looks ahead: it holds a request rather than sending it to a target that is predicted to be late, and
    /// keeps a reserve of each rate limit for requests that no other target can serve in time.
    fn looks_ahead(&self) -> bool {
        true
    }
}

/// The strategies by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrategyName {
    /// Fixed shares of the requests.
    #[default]
    Weighted,
    /// A held share, with spill and payback.
    Balanced,
    /// The cheapest that is fast enough.
    Cost,
    /// The fastest.
    Latency,
}

impl StrategyName {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Weighted, Self::Balanced, Self::Cost, Self::Latency];

    /// The name used in configuration, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Balanced => "balanced",
            Self::Cost => "cost",
            Self::Latency => "latency",
        }
    }

    /// The reasons that it can have for a target.
    pub const fn reasons(self) -> &'static [Reason] {
        match self {
            Self::Weighted | Self::Balanced => &[
                Reason::Share,
                Reason::Spill,
                Reason::Stay,
                Reason::Hold,
                Reason::Fallback,
                Reason::Direct,
                Reason::WarmUp,
                Reason::Hedge,
            ],
            Self::Cost => &[
                Reason::Cheapest,
                Reason::Stay,
                Reason::Hold,
                Reason::Fallback,
                Reason::Direct,
                Reason::WarmUp,
                Reason::Hedge,
            ],
            Self::Latency => &[
                Reason::Fastest,
                Reason::Stay,
                Reason::Hold,
                Reason::Fallback,
                Reason::Direct,
                Reason::WarmUp,
                Reason::Hedge,
            ],
        }
    }

    /// Whether it predicts when a target would answer, and so can tell when another one is still in time.
    pub fn looks_ahead(self) -> bool {
        self.strategy().looks_ahead()
    }

    pub(crate) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Self::Weighted => &weighted::Weighted,
            Self::Balanced => &balanced::Balanced,
            Self::Cost => &cost::Cost,
            Self::Latency => &latency::Latency,
        }
    }

    /// Whether the shares decide how many requests a target gets.
    pub(crate) const fn has_shares(self) -> bool {
        match self {
            Self::Weighted | Self::Balanced => true,
            Self::Cost | Self::Latency => false,
        }
    }

    /// Whether the deficit of a target that cannot serve grows nonetheless.
    pub(crate) fn accrual(self) -> Accrual {
        match self {
            Self::Balanced => Accrual::Held,
            Self::Weighted | Self::Cost | Self::Latency => Accrual::Available,
        }
    }
}

/// What a candidate puts into its score, in nano-dollars and requests.
struct Account {
    /// What it costs; `None` if unknown.
    cost: Option<f64>,
    /// The part of its cost that does not count.
    usual: f64,
    /// What it is behind.
    deficit: f64,
    /// The probability that its worker is stopped before the next request, where it is worth something to keep it.
    stop_risk: f64,
}

/// Orders candidates by the score that `weights` give to the `account` of each.
fn rank_by(weights: Weights, candidates: &mut [Candidate], scale: &Scale, account: impl Fn(&Candidate) -> Account) {
    let dearest = score::dearest(candidates.iter().map(|candidate| account(candidate).cost));
    for candidate in &mut *candidates {
        let Account { cost, usual, deficit, stop_risk } = account(candidate);
        let stays = CACHED_PROMPT * candidate.cached;
        let mut terms = Terms {
            cost,
            miss: candidate.miss,
            time: candidate.time,
            deficit,
            bonus: usual / scale.mean_cost.max(f64::MIN_POSITIVE) + KEPT_READY * stop_risk + stays,
        };
        candidate.stays = weights.cost * stays;
        candidate.score = weights.score(&terms, scale.mean_cost, dearest, &scale.z);
        (terms.miss, terms.time) = (0.0, 0.0);
        candidate.score_in_time = weights.score(&terms, scale.mean_cost, dearest, &scale.z);
    }
    // Of equals, one whose price is known.
    let is_unknown = |candidate: &Candidate| account(candidate).cost.is_none();
    candidates.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| is_unknown(a).cmp(&is_unknown(b))));
}

#[cfg(test)]
mod tests;
