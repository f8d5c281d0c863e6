//! What one replica has in flight at an upstream is load for the others.

use std::time::Duration;

use provider::{PicoUsd, Quota, Tariff};
use router::{StrategyName, UpstreamSpec};

use super::cluster::{Cluster, FAST, LONG, Replica};
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

/// `a` alone, whose idle workers are stopped after five seconds, and which is polled once a minute.
fn by_the_second() -> Cluster {
    let tariff =
        Tariff::GpuSeconds { per_second: PicoUsd(190_000_000), idle_timeout: 5 * S, kept_workers: 0, list: None };
    Cluster::new(2, FAST, || {
        let a = UpstreamSpec { tariff: Some(tariff.clone()), capacity_poll: 60 * S, ..upstream("a") };
        (vec![a], vec![model("m", StrategyName::Balanced, &[("a", 1.0)])])
    })
}

fn is_ready(replica: &mut Replica) -> Option<bool> {
    let a = replica.hand.table.upstreams().next().expect("an upstream").clone();
    replica.hand.engine.snapshot(&a, true, replica.hand.now).is_ready
}

#[test]
fn a_start_that_one_sees_end_is_over_for_all() {
    let mut cluster = by_the_second();
    for running in [0, 1] {
        (0..2).for_each(|at| cluster.at(at).hand.has_running(running));
        cluster.pass(S);
    }
    assert_eq!([0, 1].map(|at| is_ready(cluster.at(at))), [Some(false); 2], "it loads its model");
    cluster.at(0).serves();
    cluster.pass(300 * MS);
    assert_eq!([0, 1].map(|at| is_ready(cluster.at(at))), [Some(true); 2]);
}

#[test]
fn a_worker_that_others_keep_busy_is_not_thought_to_be_stopped() {
    for (others, ready) in [(true, Some(true)), (false, Some(false))] {
        let mut cluster = by_the_second();
        (0..2).for_each(|at| cluster.at(at).hand.has_running(1));
        cluster.at(1).serves();
        for _ in 0..20 {
            if others {
                cluster.at(0).serves();
            }
            cluster.pass(S);
        }
        assert_eq!(is_ready(cluster.at(1)), ready, "{others}");
    }
}

/// One call of another replica that lasts, begun before this one's own ended or after.
#[test]
fn a_worker_that_has_a_long_call_of_another_one_is_not_thought_to_be_stopped() {
    for is_first in [true, false] {
        let mut cluster = by_the_second();
        (0..2).for_each(|at| cluster.at(at).hand.has_running(1));
        let mut long = Vec::new();
        if is_first {
            long.push(cluster.at(0).begin());
            cluster.pass(S);
        }
        cluster.at(1).serves();
        cluster.pass(S);
        if !is_first {
            long.push(cluster.at(0).begin());
        }
        cluster.pass(20 * S);
        assert_eq!(is_ready(cluster.at(1)), Some(true), "{is_first}, {} under way", long.len());
    }
}

/// What `a` is thought to take for a prompt without others at the second replica, while the first one has so many there.
fn predicted(cluster: &mut Cluster, prompts: usize) -> Duration {
    for at in [0, 1] {
        let (mut request, _) = cluster.at(at).begin();
        cluster.pass(300 * MS);
        let hand = &mut cluster.at(at).hand;
        hand.engine.first_token(&mut request, Quota::default(), hand.now, &mut hand.rng);
        hand.engine.served(&mut request, Some(40), hand.now);
    }
    let _waiting: Vec<_> = (0..prompts).filter_map(|_| cluster.at(0).asks(LONG)).collect();
    cluster.pass(300 * MS);
    let one = cluster.at(1);
    let a = one.hand.table.upstreams().next().expect("an upstream").clone();
    one.hand.engine.snapshot(&a, true, one.hand.now).first_token.expect("it has answered")
}

#[test]
fn prompts_of_others_that_wait_are_waited_for() {
    let [none, many] = [0, 40].map(|prompts| predicted(&mut by_the_second(), prompts));
    assert!(many > none + S, "{none:?} and {many:?}");
    let unknown = predicted(&mut by_the_second().silent(), 40);
    assert!(unknown < none + 10 * MS, "{none:?} and {unknown:?}");
}

/// A backlog is worked off at the rate at which all replicas' answers end.
#[test]
fn answers_of_others_work_off_what_waits() {
    let wait = |mut cluster: Cluster| {
        let a = cluster.at(1).hand.table.upstreams().next().expect("an upstream").clone();
        let mut calls: Vec<_> = (0..8).map(|_| cluster.at(1).begin().0).collect();
        for _ in 0..50 {
            for _ in 0..4 {
                cluster.at(0).serves();
            }
            cluster.pass(100 * MS);
        }
        let hand = &mut cluster.at(1).hand;
        hand.engine.first_token(&mut calls[0], Quota::default(), hand.now, &mut hand.rng);
        hand.has_running(1);
        hand.engine.snapshot(&a, true, hand.now).first_token.expect("it has answered")
    };
    let cluster = || {
        Cluster::new(2, FAST, || {
            let a = UpstreamSpec { worker_slots: Some(7), ..upstream("a") };
            (vec![a], vec![model("m", StrategyName::Balanced, &[("a", 1.0)])])
        })
    };
    let (together, alone) = (wait(cluster()), wait(cluster().silent()));
    assert!(together < 2 * S && alone > 5 * S, "{together:?} and {alone:?}");
}
