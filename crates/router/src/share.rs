//! Who is owed how much: the debt behind `weighted` and `balanced`.
//!
//! Every request adds each target's share to its deficit and takes one off the target that is debited, so deficits add up to zero.
//! Serving the target that is owed most is smooth weighted round-robin; letting the debt of an absent target grow, within
//! bounds, makes the share *held*: it is paid back when the target returns.

/// Most requests that a target can be owed. At a share of 0.8 the debt of a long outage is paid back within 250 requests.
pub(crate) const MOST: f64 = 50.0;

/// Which targets earn their share of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accrual {
    /// Those that could serve it: an absent target is owed nothing.
    Available,
    /// All: an absent target is owed its share.
    Held,
}

/// The deficits of a model's targets, in requests.
#[derive(Debug, Clone)]
pub(crate) struct Deficits {
    owed: Vec<f64>,
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
    targets: Vec<usize>,
    scale: f64,
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
    pub(crate) fn new(owed: impl IntoIterator<Item = f64>) -> Self {
        Self { owed: owed.into_iter().collect() }
    }

    /// What a target is owed.
    pub(crate) fn owed(&self, target: usize) -> f64 {
        self.owed[target]
    }

    /// What a target that could serve the next request would be owed with it, before anyone is debited for it.
    pub(crate) fn next_deficit(&self, target: usize, quantum: Quantum<'_>) -> f64 {
        self.owed[target] + quantum.to(target)
    }

    /// A request was decided for `chosen`, one of the `available` targets. Returns what the targets earned with it.
    pub(crate) fn debit(
        &mut self,
        chosen: usize,
        quantum: Quantum<'_>,
        available: impl Iterator<Item = usize>,
    ) -> Earned {
        let targets: Vec<usize> = match quantum.accrual {
            Accrual::Held => (0..self.owed.len()).collect(),
            Accrual::Available => available.collect(),
        };
        for target in &targets {
            self.owed[*target] += quantum.to(*target);
        }
        self.owed[chosen] -= 1.0;
        self.bound(quantum.shares);
        Earned { targets, scale: quantum.scale }
    }

    /// The request that was charged to `from` was no request for anyone: it is as if it had never come.
    pub(crate) fn refund(&mut self, from: usize, earned: &Earned, shares: &[f64]) {
        self.owed[from] += 1.0;
        for target in &earned.targets {
            self.owed[*target] -= shares[*target] * earned.scale;
        }
        self.bound(shares);
    }

    /// The request that was charged to `from` goes to `to`.
    pub(crate) fn shift(&mut self, from: usize, to: usize, shares: &[f64]) {
        self.owed[from] += 1.0;
        self.owed[to] -= 1.0;
        self.bound(shares);
    }

    /// What a target cannot be owed any more goes to the others by their shares. Cutting it off instead would wear down
    /// the shares of those that are still there: all of them would end at the bound.
    fn bound(&mut self, shares: &[f64]) {
        let excess: f64 = self.owed.iter().map(|owed| (owed - MOST).max(0.0)).sum();
        if excess <= 0.0 {
            return;
        }
        let others: f64 = self.owed.iter().zip(shares).filter(|(owed, _)| **owed < MOST).map(|(_, share)| share).sum();
        for (owed, share) in self.owed.iter_mut().zip(shares) {
            if *owed >= MOST {
                *owed = MOST;
            } else if others > 0.0 {
                *owed += excess * share / others;
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
        fn held_debts_are_bounded_and_add_up_to_zero(
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
                    let owed = |target: &&usize| deficits.next_deficit(**target, quantum);
                    let chosen = *available.iter().max_by(|a, b| owed(a).total_cmp(&owed(b))).expect("someone is there");
                    deficits.debit(chosen, quantum, available.iter().copied());
                    if request % 7 == odd % 7 {
                        deficits.shift(chosen, available[odd % available.len()], &shares);
                    }
                    let all: Vec<_> = (0..4).map(|target| deficits.owed(target)).collect();
                    prop_assert!(all.iter().sum::<f64>().abs() < 1e-6, "{all:?}");
                    prop_assert!(all.iter().all(|owed| (-3.0 * MOST - 1.0..=MOST + 1.0).contains(owed)), "{all:?}");
                }
            }
        }
    }
}
