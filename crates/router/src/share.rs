//! The deficits behind `weighted` and `balanced`, as in deficit round-robin: what each target is behind its share.
//!
//! Every request adds each target's share to its deficit and takes one off the target that is debited, so deficits add up to zero.
//! To serve the target with the largest deficit is smooth weighted round-robin.
//!
//! What a target missed because it was away or failed is kept apart, as its *deferred* deficit, and paid back little by little once it
//! takes calls again. If it decided with the rest who is asked, all requests would go to a target that has just recovered. The deferred deficit of
//! an absent target grows, within bounds, where its share is *held*.
//!
//! Several replicas hold a share together: each holds that of its own requests, within a part of the bounds, so that all bounds
//! together are those of one; and counts as deferred an n-th of what the requests of the n − 1 others put a target behind. More
//! than that would be unstable: whatever is known late of what the others pay back would be paid back more than once.

use smallvec::SmallVec;

/// The largest deficit of a target, in requests. At a share of 0.8 it catches up after a long outage within 250
/// requests.
pub(crate) const MOST: f64 = 50.0;
/// How far a target can be ahead, in requests: a target whose share is 0 may have to serve all requests for a long
/// time.
const MOST_AHEAD: f64 = 4.0 * MOST;
/// What is paid back of a deferred deficit with each request, as a part of the share of the target.
const PAID_BACK: f64 = 0.25;
/// Nothing is paid back to a target with at least this deficit: it is asked first anyway.
const MOST_CURRENT: f64 = MOST / 2.0;
/// However many replicas there are, a turn of each target has room within the bounds of one.
const LEAST_BOUND: f64 = 2.0;
/// Targets of a model for which nothing is allocated.
pub(crate) const FEW: usize = 16;

/// Which targets earn their share of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accrual {
    /// Those that could serve it: the deficit of an absent target does not grow.
    Available,
    /// All: the deferred deficit of an absent target grows.
    Held,
}

/// The deficits of a model's targets, in requests.
#[derive(Debug, Clone)]
pub(crate) struct Deficits {
    /// What decides who is asked.
    current: Vec<f64>,
    /// What is paid back later; below zero for targets that served in place of others.
    deferred: Vec<f64>,
    /// How far the requests of this replica put each target behind since the start, whatever was paid back, given away or learned.
    behind: Vec<f64>,
    /// How many replicas there are.
    replicas: f64,
    /// Changes when they begin anew: what was earned before is no part of them.
    epoch: u32,
}

/// What each target earns with one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantum<'a> {
    shares: &'a [f64],
    accrual: Accrual,
    /// Scales the shares of those that could serve it to one.
    scale: f64,
}

/// What one request earned its model's targets.
#[derive(Debug, Clone)]
pub(crate) struct Earned {
    /// Whether each target could serve it.
    available: SmallVec<[bool; FEW]>,
    accrual: Accrual,
    scale: f64,
    /// The epoch of the deficits that it is part of.
    epoch: u32,
}

impl<'a> Quantum<'a> {
    /// The quantum of one request by `shares`, of which `available` is the part of the targets that could serve it.
    pub(crate) fn new(shares: &'a [f64], accrual: Accrual, available: f64) -> Self {
        let scale = if available > 0.0 { available.recip() } else { 0.0 };
        Self { shares, accrual, scale }
    }

    /// What a target that could serve the request earns.
    fn to(self, target: usize) -> f64 {
        self.shares[target] * self.scale
    }
}

impl Deficits {
    /// Those of so many targets, all zero.
    pub(crate) fn new(targets: usize) -> Self {
        let none = || vec![0.0; targets];
        Self { current: none(), deferred: none(), behind: none(), replicas: 1.0, epoch: 0 }
    }

    /// Those of other targets: each has the deficit that the target with this index has here, or none.
    pub(crate) fn carried_over(&self, targets: impl Iterator<Item = Option<usize>>) -> Self {
        let (current, deferred): (Vec<_>, Vec<_>) =
            targets.map(|old| old.map_or((0.0, 0.0), |old| (self.current[old], self.deferred[old]))).unzip();
        let behind = vec![0.0; current.len()];
        Self { current, deferred, behind, replicas: self.replicas, epoch: 0 }
    }

    /// All begin at zero again.
    pub(crate) fn restart(&mut self) {
        self.current.fill(0.0);
        self.deferred.fill(0.0);
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// What decides whether a target is asked that could serve the next request, that request included, before anyone is debited for it.
    pub(crate) fn next_deficit(&self, target: usize, quantum: Quantum<'_>) -> f64 {
        self.current[target] + quantum.to(target)
    }

    /// The same of a request that has been debited already.
    pub(crate) fn current(&self, target: usize) -> f64 {
        self.current[target]
    }

    /// What a target is behind that is paid back later.
    pub(crate) fn deferred(&self, target: usize) -> f64 {
        self.deferred[target]
    }

    /// How far the requests of this replica put each target behind since the start, for the others.
    pub(crate) fn behind(&self) -> &[f64] {
        &self.behind
    }

    /// There are so many replicas, and the requests of the others put each target behind by so much more.
    pub(crate) fn learn(&mut self, behind: &[f64], replicas: u32, shares: &[f64]) {
        self.replicas = f64::from(replicas);
        for (deferred, behind) in self.deferred.iter_mut().zip(behind) {
            *deferred += behind / self.replicas;
        }
        // What one target cannot take may be more than the next one can: it is much at once.
        for _ in shares {
            self.bound(shares);
        }
    }

    /// Of a bound in requests, the part of this replica.
    fn part(&self, bound: f64) -> f64 {
        (bound / self.replicas).max(LEAST_BOUND)
    }

    /// A request was decided for `chosen`, one of the `available` targets. Returns what the targets earned with it.
    pub(crate) fn debit(
        &mut self,
        chosen: usize,
        quantum: Quantum<'_>,
        available: impl Iterator<Item = usize>,
    ) -> Earned {
        let mut is_available = SmallVec::from_elem(false, self.current.len());
        for target in available {
            is_available[target] = true;
        }
        let Quantum { shares, accrual, scale } = quantum;
        let earned = Earned { available: is_available, accrual, scale, epoch: self.epoch };
        self.earn(&earned, shares, 1.0);
        self.current[chosen] -= 1.0;
        self.behind[chosen] -= 1.0;
        self.pay_back(&earned.available, shares);
        self.bound(shares);
        earned
    }

    /// Takes back a request that was debited to `first` and then moved to `last`, and counts for no target: the
    /// deficits become what they would be without it.
    pub(crate) fn refund(&mut self, (first, last): (usize, usize), earned: &Earned, shares: &[f64]) {
        if earned.epoch != self.epoch {
            return;
        }
        self.shift((last, first), earned, shares);
        self.current[first] += 1.0;
        self.behind[first] += 1.0;
        self.earn(earned, shares, -1.0);
        self.bound(shares);
    }

    /// The request that `from` was debited for, with which the targets earned `earned`, goes to `to`.
    pub(crate) fn shift(&mut self, (from, to): (usize, usize), earned: &Earned, shares: &[f64]) {
        if earned.epoch != self.epoch {
            return;
        }
        for deficits in [&mut self.deferred, &mut self.behind] {
            deficits[from] += 1.0;
            deficits[to] -= 1.0;
        }
        self.bound(shares);
    }

    /// Adds the targets' parts of a request, or takes them back.
    fn earn(&mut self, earned: &Earned, shares: &[f64], sign: f64) {
        for (target, share) in shares.iter().enumerate() {
            let own = if earned.available[target] { share * earned.scale } else { 0.0 };
            self.current[target] += sign * own;
            self.behind[target] += sign * own;
            if earned.accrual == Accrual::Held {
                self.deferred[target] += sign * (share - own);
                self.behind[target] += sign * (share - own);
            }
        }
    }

    /// A part of the deferred deficits of those that take calls becomes current, at the expense of those that served in their place.
    fn pay_back(&mut self, available: &[bool], shares: &[f64]) {
        let ahead: f64 = self.deferred.iter().map(|deferred| (-deferred).max(0.0)).sum();
        if ahead <= 0.0 {
            return;
        }
        let most = self.part(MOST_CURRENT);
        let takes = |target: usize| available[target] && self.current[target] < most;
        let due = |target: usize, deferred: f64| {
            if takes(target) { deferred.clamp(0.0, PAID_BACK * shares[target]) } else { 0.0 }
        };
        let all: f64 = self.deferred.iter().enumerate().map(|(target, deferred)| due(target, *deferred)).sum();
        if all <= 0.0 {
            return;
        }
        let part = (ahead / all).min(1.0);
        let paid = |(target, deferred): (usize, &f64)| {
            if *deferred > 0.0 { due(target, *deferred) * part } else { deferred * (all * part / ahead) }
        };
        let paid: SmallVec<[f64; FEW]> = self.deferred.iter().enumerate().map(paid).collect();
        for (target, paid) in paid.into_iter().enumerate() {
            self.current[target] += paid;
            self.deferred[target] -= paid;
        }
    }

    /// A deficit beyond the bound is given to the other targets by their shares. If it were cut off instead, the sum
    /// would no longer be zero, and with time all other targets would end at the bound, whatever their shares.
    fn bound(&mut self, shares: &[f64]) {
        let most = self.part(MOST);
        for target in 0..shares.len() {
            self.current[target] = self.current[target].clamp(-MOST_AHEAD, MOST);
            self.deferred[target] = self.deferred[target].max(-MOST_AHEAD);
        }
        let room =
            |deficits: &Self, target: usize| most - deficits.current[target].max(0.0) - deficits.deferred[target];
        let excess: f64 = (0..shares.len()).map(|target| (-room(self, target)).max(0.0)).sum();
        if excess <= 0.0 {
            return;
        }
        let others: f64 =
            (0..shares.len()).filter(|target| room(self, *target) > 0.0).map(|target| shares[target]).sum();
        for (target, share) in shares.iter().enumerate() {
            let room = room(self, target);
            if room <= 0.0 {
                self.deferred[target] += room;
            } else if others > 0.0 {
                self.deferred[target] += excess * share / others;
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
            let mut deficits = Deficits::new(4);
            for (present, requests, odd) in outages {
                let available: Vec<_> = (0..4).filter(|target| present >> target & 1 == 1).collect();
                for request in 0..requests {
                    let here: f64 = available.iter().map(|target| shares[*target]).sum();
                    let quantum = Quantum::new(&shares, Accrual::Held, here);
                    let deficit = |target: &&usize| deficits.next_deficit(**target, quantum);
                    let chosen = *available.iter().max_by(|a, b| deficit(a).total_cmp(&deficit(b))).expect("someone is there");
                    let earned = deficits.debit(chosen, quantum, available.iter().copied());
                    if request % 7 == odd % 7 {
                        deficits.shift((chosen, available[odd % available.len()]), &earned, &shares);
                    }
                    let all: Vec<_> = (0..4).map(|target| deficits.current(target) + deficits.deferred(target)).collect();
                    prop_assert!(all.iter().sum::<f64>().abs() < 1e-6, "{all:?}");
                    prop_assert!(all.iter().all(|it| (-3.0 * MOST - 1.0..=MOST + 1.0).contains(it)), "{all:?}");
                }
            }
        }

        /// The same of several replicas, at each of which other targets may be away, and which learn of each other now and then:
        /// all together are within the bounds of one.
        #[test]
        fn deficits_of_several_replicas_are_bounded_together(
            shares in vec(0.01_f64..1.0, 4), count in 2_usize..6,
            outages in vec((vec(1_usize..16, 6), 1_usize..300, 1_usize..60), 1..12),
        ) {
            let total: f64 = shares.iter().sum();
            let shares: Vec<_> = shares.into_iter().map(|share| share / total).collect();
            let replicas = u32::try_from(count).expect("a few");
            let mut all = vec![Deficits::new(4); count];
            // What each has learned of each other.
            let mut known = vec![vec![vec![0.0; 4]; count]; count];
            for (present, requests, every) in outages {
                for request in 0..requests {
                    for (deficits, present) in all.iter_mut().zip(&present) {
                        let available: Vec<_> = (0..4).filter(|target| present >> target & 1 == 1).collect();
                        let here: f64 = available.iter().map(|target| shares[*target]).sum();
                        let quantum = Quantum::new(&shares, Accrual::Held, here);
                        let deficit = |target: &&usize| deficits.next_deficit(**target, quantum);
                        let chosen = available.iter().max_by(|a, b| deficit(a).total_cmp(&deficit(b))).expect("someone");
                        deficits.debit(*chosen, quantum, available.iter().copied());
                    }
                    if request % every == 0 {
                        let behind: Vec<Vec<f64>> = all.iter().map(|deficits| deficits.behind().to_vec()).collect();
                        for (to, from) in (0..count).flat_map(|to| (0..count).map(move |from| (to, from))) {
                            let new: Vec<_> = behind[from].iter().zip(&known[to][from]).map(|(now, then)| now - then).collect();
                            if to != from {
                                all[to].learn(&new, replicas, &shares);
                                known[to][from].clone_from(&behind[from]);
                            }
                        }
                    }
                    let of = |target: usize| all.iter().map(|it| it.current(target) + it.deferred(target)).sum::<f64>();
                    let sums: Vec<_> = (0..4).map(of).collect();
                    let turns = f64::from(replicas);
                    prop_assert!(sums.iter().sum::<f64>().abs() < 1e-6, "{sums:?}");
                    prop_assert!(sums.iter().all(|it| (-3.0 * MOST - turns..=MOST + turns).contains(it)), "{sums:?}");
                }
            }
        }
    }
}
