//! What one replica has in flight at an upstream is load for the others.

use router::{StrategyName, UpstreamSpec};

use super::cluster::{Cluster, FAST};
use crate::hand::{MS, S, model, upstream};

/// `a` takes ten calls at a time.
fn narrow() -> Cluster {
    Cluster::new(2, FAST, || {
        let narrow = UpstreamSpec { max_in_flight: 10, ..upstream("a") };
        (vec![narrow, upstream("b")], vec![model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)])])
    })
}

#[test]
fn most_calls_at_a_time_are_those_of_all_replicas() {
    let mut cluster = narrow();
    let calls: Vec<_> = (0..20).map(|_| cluster.at(0).begin()).collect();
    let at_a = calls.iter().filter(|(_, start)| start.attempt.target == 0).count();
    assert_eq!((at_a, cluster.at(0).status("a").in_flight), (10, 10));
    cluster.pass(S);
    for _ in 0..10 {
        let (_, start) = cluster.at(1).begin();
        assert_eq!(start.attempt.target, 1, "the other replica has all permits");
    }
    assert_eq!(cluster.at(1).status("a").in_flight, 0, "a metric that is summed over replicas counts each call once");
}

#[test]
fn what_a_dead_replica_had_in_flight_is_gone_at_once() {
    let mut cluster = narrow();
    let _calls: Vec<_> = (0..20).map(|_| cluster.at(0).begin()).collect();
    cluster.pass(S);
    cluster.at(0).is_live = false;
    cluster.pass(10 * MS);
    let targets: Vec<_> = (0..10).map(|_| cluster.at(1).begin().1.attempt.target).collect();
    assert!(targets.iter().filter(|target| **target == 0).count() >= 8, "{targets:?}");
}

/// A worker that others fill is late, and the request goes elsewhere although its replica sent nothing there.
#[test]
fn calls_of_others_fill_the_slots_of_workers() {
    for is_told in [false, true] {
        let cluster = Cluster::new(2, FAST, || {
            let a = UpstreamSpec { worker_slots: Some(4), capacity_poll: 60 * S, ..upstream("a") };
            let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
            spec.slo_first_token = Some(2 * S);
            (vec![a, upstream("b")], vec![spec])
        });
        let mut cluster = if is_told { cluster } else { cluster.silent() };
        for at in [0, 1] {
            cluster.at(at).hand.has_running(1);
        }
        // As many as `a` takes at once, and what waits for a slot there.
        let calls: Vec<_> = (0..5).map(|_| cluster.at(0).begin()).collect();
        assert!(calls.iter().filter(|(_, start)| start.attempt.target == 0).count() >= 4);
        cluster.pass(S);
        let targets: Vec<_> = (0..4).map(|_| cluster.at(1).begin().1.attempt.target).collect();
        assert_eq!(targets.iter().all(|target| *target == 1), is_told, "{targets:?}");
    }
}
