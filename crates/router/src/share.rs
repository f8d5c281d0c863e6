//! The deficits behind `weighted` and `balanced`, as in deficit round-robin: what each target is behind its share.
//!
//! Every request adds each target's share to its deficit and takes one off the target that is debited, so deficits add up to zero.
//! To serve the target with the largest deficit is smooth weighted round-robin. If the deficit of an absent target grows, within
//! bounds, the share is *held*: the target catches up when it returns.

use smallvec::SmallVec;

/// Most requests that a deficit can be. At a share of 0.8 a target catches up after a long outage within 250 requests.
pub(crate) const MOST: f64 = 50.0;
/// Targets of a model for which nothing is allocated.
pub(crate) const FEW: usize = 16;

/// Which targets earn their share of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accrual {
    /// Those that could serve it: the deficit of an absent target stays as it is.
    Available,
    /// All: the deficit of an absent target grows.
    Held,
}

/// The deficits of a model's targets, in requests.
#[derive(Debug, Clone)]
pub(crate) struct Deficits {
    of: Vec<f64>,
    /// Changes when they begin anew: what was earned before is no part of them.
    epoch: u32,
}

/// What each target earns with one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantum<'a> {
    shares: &'a [f64],
    accrual: Accrual,
    /// Scales the shares of those who earn to one.
    scale: f64,
}

/// What one request earned its model's targets.
#[derive(Debug, Clone)]
pub(crate) struct Earned {
    /// Whether each target earned its share.
    targets: SmallVec<[bool; FEW]>,
    scale: f64,
    /// The epoch of the deficits that it is part of.
    epoch: u32,
}

impl<'a> Quantum<'a> {
    /// The quantum of one request by `shares`, of which `available` is the part of the targets that could serve it.
    pub(crate) fn new(shares: &'a [f64], accrual: Accrual, available: f64) -> Self {
        let scale = match accrual {
            Accrual::Held => 1.0,
            Accrual::Available if available > 0.0 => available.recip(),
            Accrual::Available => 0.0,
        };
        Self { shares, accrual, scale }
    }

    /// What a target that could serve the request earns.
    fn to(self, target: usize) -> f64 {
        self.shares[target] * self.scale
    }
}

impl Deficits {
    /// Deficits to start with.
    pub(crate) fn new(deficits: impl IntoIterator<Item = f64>) -> Self {
        Self { of: deficits.into_iter().collect(), epoch: 0 }
    }

    /// All begin at zero again.
    pub(crate) fn restart(&mut self) {
        self.of.fill(0.0);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The deficit of a target.
    pub(crate) fn of(&self, target: usize) -> f64 {
        self.of[target]
    }

    /// The deficit of a target that could serve the next request, that request included, before anyone is debited for it.
    pub(crate) fn next_deficit(&self, target: usize, quantum: Quantum<'_>) -> f64 {
        self.of[target] + quantum.to(target)
    }

    /// A request was decided for `chosen`, one of the `available` targets. Returns what the targets earned with it.
    pub(crate) fn debit(
        &mut self,
        chosen: usize,
        quantum: Quantum<'_>,
        available: impl Iterator<Item = usize>,
    ) -> Earned {
        let mut targets = SmallVec::from_elem(quantum.accrual == Accrual::Held, self.of.len());
        for target in available {
            targets[target] = true;
        }
        for (target, _) in targets.iter().enumerate().filter(|(_, earns)| **earns) {
            self.of[target] += quantum.to(target);
        }
        self.of[chosen] -= 1.0;
        self.bound(quantum.shares);
        Earned { targets, scale: quantum.scale, epoch: self.epoch }
    }

    /// The request that `from` was debited for was no request for anyone: it is as if it had never come.
    pub(crate) fn refund(&mut self, from: usize, earned: &Earned, shares: &[f64]) {
        if earned.epoch != self.epoch {
            return;
        }
        self.of[from] += 1.0;
        for (target, _) in earned.targets.iter().enumerate().filter(|(_, earned)| **earned) {
            self.of[target] -= shares[target] * earned.scale;
        }
        self.bound(shares);
    }

    /// The request that `from` was debited for, with which the targets earned `earned`, goes to `to`.
    pub(crate) fn shift(&mut self, (from, to): (usize, usize), earned: &Earned, shares: &[f64]) {
        if earned.epoch != self.epoch {
            return;
        }
        self.of[from] += 1.0;
        self.of[to] -= 1.0;
        self.bound(shares);
    }

    /// What is beyond a target's largest deficit goes to the others by their shares. Cutting it off instead would wear down
    /// the shares of those that are still there: all of them would end at the bound.
    fn bound(&mut self, shares: &[f64]) {
        let excess: f64 = self.of.iter().map(|deficit| (deficit - MOST).max(0.0)).sum();
        if excess <= 0.0 {
            return;
        }
        let others: f64 =
            self.of.iter().zip(shares).filter(|(deficit, _)| **deficit < MOST).map(|(_, share)| share).sum();
        for (deficit, share) in self.of.iter_mut().zip(shares) {
            if *deficit >= MOST {
                *deficit = MOST;
            } else if others > 0.0 {
                *deficit += excess * share / others;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Outages of any targets, each hundreds of requests long, with fallbacks amid them.
        #[test]
        fn held_deficits_are_bounded_and_add_up_to_zero(
            shares in vec(0.01_f64..1.0, 4),
            outages in vec((1_usize..16, 1_usize..400, any::<usize>()), 1..12),
        ) {
            let total: f64 = shares.iter().sum();
            let shares: Vec<_> = shares.into_iter().map(|share| share / total).collect();
            let mut deficits = Deficits::new([0.0; 4]);
            for (present, requests, odd) in outages {
                let available: Vec<_> = (0..4).filter(|target| present >> target & 1 == 1).collect();
                for request in 0..requests {
                    let quantum = Quantum::new(&shares, Accrual::Held, 1.0);
                    let deficit = |target: &&usize| deficits.next_deficit(**target, quantum);
                    let chosen = *available.iter().max_by(|a, b| deficit(a).total_cmp(&deficit(b))).expect("someone is there");
                    let earned = deficits.debit(chosen, quantum, available.iter().copied());
                    if request % 7 == odd % 7 {
                        deficits.shift((chosen, available[odd % available.len()]), &earned, &shares);
                    }
                    let all: Vec<_> = (0..4).map(|target| deficits.of(target)).collect();
                    prop_assert!(all.iter().sum::<f64>().abs() < 1e-6, "{all:?}");
                    prop_assert!(all.iter().all(|it| (-3.0 * MOST - 1.0..=MOST + 1.0).contains(it)), "{all:?}");
                }
            }
        }
    }
}
