//! A share is held over the requests of all replicas together.

use router::{StrategyName, UpstreamSpec};

use super::cluster::{BAD, Cluster, FAST, Network};
use crate::hand::{MS, S, model, upstream};

fn cluster(replicas: usize, network: Network, strategy: StrategyName) -> Cluster {
    Cluster::new(replicas, network, || {
        (vec![upstream("a"), upstream("b")], vec![model("m", strategy, &[("a", 0.8), ("b", 0.2)])])
    })
}

/// How many requests `b` served beyond its share of `all`.
fn ahead(served_by_b: u32, all: u32) -> f64 {
    f64::from(served_by_b) - 0.2 * f64::from(all)
}

/// However unevenly requests come to replicas, together they are as near to the shares as the bound of one allows.
#[test]
fn a_share_is_exact_over_all_replicas_whatever_comes_to_each() {
    for network in [FAST, BAD] {
        for strategy in [StrategyName::Weighted, StrategyName::Balanced] {
            let mut cluster = cluster(3, network, strategy);
            let (mut by_b, mut all) = (0, 0);
            for round in 0..600_u32 {
                for (at, every) in [1, 3, 40].into_iter().enumerate() {
                    if round % every == 0 {
                        by_b += u32::from(cluster.at(at).serves() == 1);
                        all += 1;
                    }
                }
                let ahead = ahead(by_b, all);
                assert!(ahead.abs() <= 5.0, "{strategy:?}, {network:?}: {ahead} of {all}");
                cluster.pass(50 * MS);
            }
        }
    }
}

/// The first replica gets no answer from `a` for a while, and no requests afterwards. What `a` missed there, it gets from the other
/// one: the half, as there are two.
#[test]
fn what_a_target_missed_at_one_replica_it_gets_from_the_others() {
    for network in [FAST, BAD] {
        let mut cluster = cluster(2, network, StrategyName::Balanced);
        for _ in 0..20 {
            assert!(cluster.at(0).fails_at_a() <= 1);
            cluster.pass(10 * MS);
        }
        let missed = ahead(20, 20);
        cluster.pass(15 * S);
        let mut by_b = 0;
        for _ in 0..800 {
            by_b += u32::from(cluster.at(1).serves() == 1);
            cluster.pass(20 * MS);
        }
        let paid_back = -ahead(by_b, 800);
        assert!((paid_back - missed / 2.0).abs() <= 2.0, "{network:?}: {paid_back} of {missed}");
    }
}

/// What all of them pay back is not paid back by each, and nothing swings, even if each knows of the others only two seconds later.
#[test]
fn what_is_paid_back_together_does_not_swing() {
    for count in [2, 3, 6_u32] {
        let mut cluster = cluster(count as usize, BAD, StrategyName::Balanced);
        let replicas = 0..count as usize;
        for at in replicas.clone() {
            for _ in 0..40 {
                cluster.at(at).fails_at_a();
                cluster.pass(10 * MS);
            }
        }
        cluster.pass(12 * S);
        let windows = (0..60).map(|_| {
            let mut by_b = 0;
            for _ in 0..20 {
                by_b += replicas.clone().map(|at| u32::from(cluster.at(at).serves() == 1)).sum::<u32>();
                cluster.pass(50 * MS);
            }
            by_b
        });
        let windows: Vec<u32> = windows.collect();
        let all = 20 * count;
        let paid_back = -ahead(windows.iter().sum(), 60 * all);
        assert!((0.0..=32.0 * f64::from(count)).contains(&paid_back), "{count}: {paid_back}, {windows:?}");
        let late = windows[20..].iter().map(|by_b| f64::from(*by_b) / f64::from(all));
        assert!(late.into_iter().all(|part| (0.1..=0.3).contains(&part)), "{count}: {windows:?}");
    }
}

/// Of a replica with another configuration, only models and targets that are the same here count.
#[test]
fn other_shares_are_another_model() {
    let mut cluster = cluster(1, FAST, StrategyName::Weighted);
    let mut other = Cluster::new(1, FAST, || {
        let spec = model("m", StrategyName::Weighted, &[("a", 0.1), ("b", 0.9)]);
        (vec![UpstreamSpec { identity: 1, ..upstream("a") }, upstream("b")], vec![spec])
    });
    let mut by_b = 0;
    for _ in 0..200 {
        for _ in 0..10 {
            other.at(0).serves();
        }
        let mut state = other.at(0).state();
        state.start = 2;
        cluster.pass(50 * MS);
        other.pass(50 * MS);
        cluster.at(0).learn(&[("other", &state)]);
        by_b += u32::from(cluster.at(0).serves() == 1);
    }
    assert_eq!(by_b, 40);
}
