//! Which target is the best for a request: the one with the least `cost / mean cost + Z · P(miss) + time − κ ·
//! deficit`.
//!
//! Lyapunov optimisation (Neely, Stochastic Network Optimization, 2010): minimise a cost while long-run constraints
//! hold, by adding to it a virtual queue for each constraint. `Z` is the queue of missed first tokens and adapts; the
//! deficit is the queue of the share. One formula with four sets of weights, because a rule for each case (cheapest
//! unless late unless behind its share …) has an order of precedence that is wrong for some request, while a sum weighs
//! them.
//!
//! Terms are in units of a mean request's cost, so that `Z = 8` means: a certain miss is worth the price of eight
//! requests.

/// The weight of a miss of the SLO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum MissWeight {
    /// Always this one.
    Fixed(f64),
    /// One that grows while more is missed than the SLO allows.
    Adaptive,
}

/// What a strategy weighs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weights {
    /// Of the cost in mean costs.
    pub(crate) cost: f64,
    /// Of the probability to miss the SLO.
    pub(crate) miss: MissWeight,
    /// Of the predicted time: to the first token of a stream, to the end of a whole answer; in units of the SLO.
    pub(crate) time: f64,
    /// Of the deficit in mean requests.
    pub(crate) deficit: f64,
}

impl Weights {
    /// The share in the long run, small requests to the dear target within it, and the SLO above both.
    pub(crate) const BALANCED: Self = Self { cost: 1.0, miss: MissWeight::Adaptive, time: 0.0, deficit: 0.02 };
    /// The cheapest that meets the SLO.
    pub(crate) const COST: Self = Self { cost: 1.0, miss: MissWeight::Adaptive, time: 0.0, deficit: 0.0 };
    /// The fastest; of two that are about as fast, the cheaper.
    pub(crate) const LATENCY: Self = Self { cost: 0.05, miss: MissWeight::Fixed(40.0), time: 40.0, deficit: 0.0 };
}

/// What is known of one target for one request.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Terms {
    /// The marginal cost; `None` if unknown.
    pub(crate) cost: Option<f64>,
    /// The probability to miss the SLO; 0 if there is none, or nothing is known.
    pub(crate) miss: f64,
    /// The predicted time in units of the SLO; 0 if unknown.
    pub(crate) time: f64,
    /// The target's deficit, in mean requests.
    pub(crate) deficit: f64,
    /// What is taken off its cost, in mean costs.
    pub(crate) bonus: f64,
}

impl Weights {
    /// The score of a target; the least is the best. `mean_cost` is what a request costs on average, `dearest` the [`dearest`] of all
    /// targets.
    pub(crate) fn score(&self, terms: &Terms, mean_cost: f64, dearest: f64, z: &Z) -> f64 {
        let miss = match self.miss {
            MissWeight::Fixed(weight) => weight,
            MissWeight::Adaptive => z.weight(),
        };
        let cost = terms.cost.unwrap_or(dearest) / mean_cost.max(f64::MIN_POSITIVE);
        self.cost * (cost - terms.bonus) + miss * terms.miss + self.time * terms.time - self.deficit * terms.deficit
    }
}

/// The dearest known cost, which an unknown one ranks as: a target without a price would otherwise be the cheapest of
/// all. Zero if none is known, so that the cost decides nothing.
pub(crate) fn dearest(costs: impl IntoIterator<Item = Option<f64>>) -> f64 {
    costs.into_iter().flatten().fold(0.0, f64::max)
}

/// The weight of a miss, as a virtual queue: a late first token adds one, and every first token takes off the part that
/// may be late.
#[derive(Debug, Clone)]
pub(crate) struct Z {
    weight: f64,
    /// The part of the first tokens that may be late.
    allowed: f64,
}

impl Z {
    const START: f64 = 8.0;
    const STEP: f64 = 0.2;
    const LEAST: f64 = 4.0;
    const MOST: f64 = 40.0;

    /// For an SLO of which the part `allowed` may be missed.
    pub(crate) fn new(allowed: f64) -> Self {
        Self { weight: Self::START, allowed: allowed.clamp(0.0, 1.0) }
    }

    /// The weight.
    pub(crate) fn weight(&self) -> f64 {
        self.weight
    }

    /// A first token came, in time or too late.
    pub(crate) fn record(&mut self, is_missed: bool) {
        let missed = if is_missed { 1.0 } else { 0.0 };
        self.weight = (self.weight + Self::STEP * (missed - self.allowed)).clamp(Self::LEAST, Self::MOST);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Weights; 3] = [Weights::BALANCED, Weights::COST, Weights::LATENCY];

    /// The better of two targets, as an index, at a mean cost of 3.
    fn best(weights: Weights, targets: [Terms; 2]) -> usize {
        let dearest = dearest(targets.map(|terms| terms.cost));
        let scores = targets.map(|terms| weights.score(&terms, 3.0, dearest, &Z::new(0.01)));
        usize::from(scores[1] < scores[0])
    }

    fn costing(cost: f64) -> Terms {
        Terms { cost: Some(cost), ..Terms::default() }
    }

    #[test]
    fn each_strategy_has_its_own_order() {
        let cheap = Terms { time: 0.6, miss: 0.02, ..costing(1.0) };
        let dear = Terms { time: 0.45, miss: 0.02, deficit: 1.0, ..costing(5.0) };
        let chosen = ALL.map(|weights| best(weights, [cheap, dear]));
        assert_eq!(chosen, [0, 0, 1], "latency takes the faster");
        let late = Terms { miss: 0.9, time: 3.0, ..cheap };
        assert_eq!(ALL.map(|weights| best(weights, [late, dear])), [1, 1, 1], "the SLO is worth the money");
        let behind = Terms { deficit: 100.0, ..dear };
        assert_eq!(best(Weights::BALANCED, [cheap, behind]), 1, "in the long run the share is held");
        assert_eq!(best(Weights::COST, [cheap, behind]), 0, "no share under cost");
    }

    #[test]
    fn within_a_share_the_dear_target_gets_the_small_requests() {
        let request = |size: f64| {
            let behind = Terms { deficit: 40.0, ..costing(5.0 * size) };
            best(Weights::BALANCED, [costing(size), behind])
        };
        assert_eq!((request(0.2), request(3.0)), (1, 0));
    }

    #[test]
    fn an_unknown_cost_ranks_as_the_dearest_known() {
        let unknown = Terms::default();
        assert_eq!(best(Weights::COST, [unknown, costing(1.0)]), 0, "as dear, and the first");
        assert_eq!(best(Weights::COST, [costing(1.0), Terms { miss: 0.001, ..unknown }]), 0);
        assert!((dearest([None, Some(2.0), Some(7.0)]) - 7.0).abs() < 1e-12 && dearest([None, None]).abs() < 1e-12);
        let scores =
            [unknown, costing(2.0), costing(7.0)].map(|terms| Weights::COST.score(&terms, 3.0, 7.0, &Z::new(0.01)));
        assert!(scores[1] < scores[0] && (scores[0] - scores[2]).abs() < 1e-12, "{scores:?}");
        assert_eq!(
            best(Weights::COST, [unknown, Terms { miss: 0.2, ..unknown }]),
            0,
            "where no cost is known, the SLO decides"
        );
    }

    #[test]
    fn a_bonus_yields_to_the_slo() {
        let holds_cache = Terms { bonus: 0.5, ..costing(1.2) };
        assert_eq!(best(Weights::COST, [costing(1.0), holds_cache]), 1);
        assert_eq!(best(Weights::COST, [costing(1.0), Terms { miss: 0.3, ..holds_cache }]), 0);
    }

    #[test]
    fn the_weight_of_a_miss_settles_where_what_is_missed_is_allowed() {
        let mut z = Z::new(0.01);
        (0..20).for_each(|_| z.record(true));
        assert!((z.weight() - (8.0 + 20.0 * 0.2 * 0.99)).abs() < 1e-9);
        (0..1_000).for_each(|_| z.record(true));
        assert!((z.weight() - 40.0).abs() < 1e-9);
        (0..100_000).for_each(|_| z.record(false));
        assert!((z.weight() - 4.0).abs() < 1e-9);
        let before = z.weight();
        (0..10_000).for_each(|call| z.record(call % 100 == 0));
        assert!((z.weight() - before).abs() < 0.3, "one in a hundred is what may be missed: {}", z.weight());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A score is a number that never falls as a target gets dearer or later, or as its deficit shrinks.
        #[test]
        fn scores_are_monotone(
            which in 0_usize..3, cost in 0.0_f64..1e6, miss in 0.0_f64..1.0, time in 0.0_f64..100.0,
            deficit in -1e3_f64..1e3, mean in 0.0_f64..1e6, more in 0.0_f64..10.0,
        ) {
            let (weights, z) = (ALL[which], Z::new(0.05));
            let terms = Terms { cost: Some(cost), miss, time, deficit, bonus: 0.0 };
            let score = |terms: Terms| weights.score(&terms, mean.max(1e-6), cost, &z);
            let worse = [
                Terms { cost: Some(cost + more), ..terms },
                Terms { miss: miss + more, ..terms },
                Terms { time: time + more, ..terms },
                Terms { deficit: deficit - more, ..terms },
            ];
            prop_assert!(score(terms).is_finite());
            for worse in worse {
                prop_assert!(score(worse) >= score(terms), "{:?} is better than {:?}", worse, terms);
            }
        }
    }
}
