//! How a target is chosen: a pure ranking of a snapshot.
//!
//! Health, quota, room and capability are filtered before, once; walking the ranking is the fallback. A strategy never adds
//! or drops a candidate, never waits, and reads neither clock nor randomness but what it is given.

mod balanced;
mod cost;
mod latency;
mod weighted;

use rand::Rng;

use crate::{candidate::Candidate, decision::Reason, share::Accrual};

/// A way to choose.
pub trait Strategy: Send + Sync {
    /// Orders `candidates` best first.
    fn rank(&self, candidates: &mut [Candidate], rng: &mut dyn Rng);

    /// Why the best one is the best.
    fn reason(&self) -> Reason;
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
            Self::Weighted | Self::Balanced => &[Reason::Share, Reason::Spill, Reason::Fallback, Reason::Direct],
            Self::Cost => &[Reason::Cheapest, Reason::Fallback, Reason::Direct],
            Self::Latency => &[Reason::Fastest, Reason::Fallback, Reason::Direct],
        }
    }

    pub(crate) fn strategy(self) -> &'static dyn Strategy {
        match self {
            Self::Weighted => &weighted::Weighted,
            Self::Balanced => &balanced::Balanced,
            Self::Cost => &cost::Cost,
            Self::Latency => &latency::Latency,
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

#[cfg(test)]
mod tests;
