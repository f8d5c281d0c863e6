//! Who is owed how much: the debt behind `weighted` and `balanced`.
//!
//! Every request adds each target's share to its debt and takes one off the target that is charged. Serving the target that is
//! owed most is smooth weighted round-robin; letting the debt of an absent target grow, within bounds, makes the share *held*:
//! it is paid back when the target returns.

/// Most requests that a target can owe or be owed. At a share of 0.8 the debt of a long outage is paid back within 250 requests.
const MOST: f64 = 50.0;

/// Which targets earn their share of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accrual {
    /// Those that could serve it: an absent target is owed nothing.
    Available,
    /// All: an absent target is owed its share.
    Held,
}

/// The debts of a model's targets, in requests.
#[derive(Debug, Clone)]
pub(crate) struct Debts {
    owed: Vec<f64>,
}

impl Debts {
    pub(crate) fn new(targets: usize) -> Self {
        Self { owed: vec![0.0; targets] }
    }

    /// What a target is owed.
    pub(crate) fn owed(&self, target: usize) -> f64 {
        self.owed[target]
    }

    /// What a target would be owed with the next request, before it is charged to anyone.
    pub(crate) fn owed_next(&self, target: usize, shares: &[f64], available: &[bool], accrual: Accrual) -> f64 {
        self.owed[target] + accrued(target, shares, available, accrual)
    }

    /// A request was decided for `chosen`.
    pub(crate) fn charge(&mut self, chosen: usize, shares: &[f64], available: &[bool], accrual: Accrual) {
        for target in 0..self.owed.len() {
            self.owed[target] += accrued(target, shares, available, accrual);
        }
        self.owed[chosen] -= 1.0;
        self.bound();
    }

    /// The request that was charged to `from` goes to `to`.
    pub(crate) fn shift(&mut self, from: usize, to: usize) {
        self.owed[from] += 1.0;
        self.owed[to] -= 1.0;
        self.bound();
    }

    fn bound(&mut self) {
        for owed in &mut self.owed {
            *owed = owed.clamp(-MOST, MOST);
        }
    }
}

fn accrued(target: usize, shares: &[f64], available: &[bool], accrual: Accrual) -> f64 {
    match accrual {
        Accrual::Held => shares[target],
        Accrual::Available if !available[target] => 0.0,
        Accrual::Available => {
            let total: f64 = shares.iter().zip(available).filter(|(_, here)| **here).map(|(share, _)| share).sum();
            if total > 0.0 { shares[target] / total } else { 0.0 }
        }
    }
}
