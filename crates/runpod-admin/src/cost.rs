//! What an endpoint costs a month, at list prices and in integers. Unknown is `None`, never zero.

use provider::NanoUsd;

use crate::{Error, PoolPrice, Spec, VolumeTier};

/// A month: a twelfth of a year of 365 days.
pub const HOURS_A_MONTH: u64 = 730;
/// When RunPod's documentation gave the prices of storage, which the API does not give.
pub const STORAGE_PRICES_AS_OF: &str = "August 2026";

/// GB of a volume up to which each costs [`FIRST_GB`] a month; those beyond cost [`FURTHER_GB`].
const FIRST_TERABYTE: u64 = 1000;
const FIRST_GB: NanoUsd = NanoUsd(70_000_000);
const FURTHER_GB: NanoUsd = NanoUsd(50_000_000);

/// What an endpoint costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Its volume, a month.
    pub storage_per_month: Option<NanoUsd>,
    /// A running worker, an hour, for each pool that it may come from.
    pub worker_per_hour: Vec<(String, Option<NanoUsd>)>,
    /// The workers that always run, a month, all of them in the dearest pool.
    pub workers_per_month: Option<NanoUsd>,
}

impl Cost {
    /// The dearest pool's worker, an hour.
    pub fn dearest_per_hour(&self) -> Option<NanoUsd> {
        let prices: Option<Vec<NanoUsd>> = self.worker_per_hour.iter().map(|(_, price)| *price).collect();
        prices?.into_iter().max()
    }

    /// What is paid a month even without requests.
    pub fn fixed_per_month(&self) -> Option<NanoUsd> {
        Some(self.storage_per_month? + self.workers_per_month?)
    }
}

/// What `spec` costs at these prices.
///
/// # Errors
/// If RunPod has no such pool.
pub fn cost(spec: &Spec, prices: &[PoolPrice]) -> Result<Cost, Error> {
    let (mut worker_per_hour, mut unknown) = (Vec::new(), Vec::new());
    for (at, pool) in spec.pools.iter().enumerate() {
        if let Some(price) = prices.iter().find(|price| price.pool == *pool) {
            let worker = price.usd_per_hour.map(|one| times(one, spec.gpu_count.into()));
            worker_per_hour.push((pool.clone(), worker));
        } else {
            let known = list(prices);
            unknown.push(format!("gpu.pools[{at}]: RunPod's catalogue has no pool {pool}; it has {known}"));
        }
    }
    if !unknown.is_empty() {
        return Err(Error::Conflicts(unknown));
    }
    let mut cost = Cost { storage_per_month: storage(spec), worker_per_hour, workers_per_month: None };
    cost.workers_per_month = match spec.workers.min {
        0 => Some(NanoUsd(0)),
        min => cost.dearest_per_hour().map(|hour| times(hour, HOURS_A_MONTH * u64::from(min))),
    };
    Ok(cost)
}

fn storage(spec: &Spec) -> Option<NanoUsd> {
    let Some(volume) = &spec.volume else { return Some(NanoUsd(0)) };
    match volume.tier {
        VolumeTier::Standard => {
            let first = volume.size_gb.min(FIRST_TERABYTE);
            Some(times(FIRST_GB, first) + times(FURTHER_GB, volume.size_gb - first))
        }
        // Dearer, says the documentation, and not by how much.
        VolumeTier::HighPerformance => None,
    }
}

fn times(price: NanoUsd, count: u64) -> NanoUsd {
    NanoUsd(price.0.saturating_mul(count))
}

fn list(prices: &[PoolPrice]) -> String {
    let mut pools: Vec<&str> = prices.iter().map(|price| price.pool.as_str()).collect();
    pools.sort_unstable();
    pools.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Volume, Workers, fixture::spec};

    fn prices() -> Vec<PoolPrice> {
        let price = |pool: &str, usd: Option<&str>| PoolPrice {
            pool: pool.to_owned(),
            usd_per_hour: usd.map(|usd| NanoUsd::from_usd(usd).expect("a price")),
        };
        vec![price("AMPERE_24", Some("0.68")), price("ADA_24", Some("1.12")), price("NEW", None)]
    }

    fn usd(text: &str) -> Option<NanoUsd> {
        NanoUsd::from_usd(text).ok()
    }

    fn with_volume(size_gb: u64, tier: VolumeTier) -> Spec {
        let mut spec = spec();
        spec.volume = spec.volume.map(|volume| Volume { size_gb, tier, ..volume });
        spec
    }

    #[test]
    fn the_first_terabyte_costs_more_than_the_rest() {
        // 100 x 0.07; 1000 x 0.07 + 500 x 0.05 = 70 + 25.
        for (size, month) in [(100, "7"), (1000, "70"), (1500, "95")] {
            let cost = cost(&with_volume(size, VolumeTier::Standard), &prices()).expect("a cost");
            assert_eq!(cost.storage_per_month, usd(month), "{size}");
        }
    }

    #[test]
    fn workers_that_always_run_cost_a_whole_month_in_the_dearest_pool() {
        let spec = Spec { workers: Workers { min: 2, max: 3, idle_timeout_s: None }, gpu_count: 2, ..spec() };
        let cost = cost(&spec, &prices()).expect("a cost");
        // Two GPUs each: 2 x 1.12 = 2.24 and 2 x 0.68 = 1.36 an hour.
        assert_eq!(cost.worker_per_hour, [("ADA_24".to_owned(), usd("2.24")), ("AMPERE_24".to_owned(), usd("1.36"))]);
        // 2 workers x 730 h x 2.24.
        assert_eq!(cost.workers_per_month, usd("3270.4"));
        assert_eq!(cost.fixed_per_month(), usd("3277.4"));
    }

    #[test]
    fn what_is_not_known_is_not_free() {
        let fast = cost(&with_volume(100, VolumeTier::HighPerformance), &prices()).expect("a cost");
        assert_eq!((fast.storage_per_month, fast.workers_per_month, fast.fixed_per_month()), (None, usd("0"), None));
        let workers = Workers { min: 1, max: 1, idle_timeout_s: None };
        let new = Spec { pools: vec!["ADA_24".into(), "NEW".into()], workers, ..spec() };
        let new = cost(&new, &prices()).expect("a cost");
        assert_eq!((new.storage_per_month, new.workers_per_month), (usd("7"), None));
    }

    #[test]
    fn a_pool_that_does_not_exist_is_refused() {
        let spec = Spec { pools: vec!["ADA_25".into()], ..spec() };
        let refused = cost(&spec, &prices()).expect_err("no such pool").to_string();
        assert_eq!(refused, "gpu.pools[0]: RunPod's catalogue has no pool ADA_25; it has ADA_24, AMPERE_24, NEW");
    }
}
