//! One replica polls: what it finds decides at all, is billed once, and starts workers once.

use std::time::Duration;

use provider::{Capacity, NanoUsd, PicoUsd, Tariff};
use router::{Polls, StrategyName, UpstreamSpec, WorkerTime};

use super::cluster::{Cluster, EVERY, FAST};
use crate::hand::{MS, S, model, upstream};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(2, FAST, || {
        let tariff =
            Tariff::GpuSeconds { per_second: PicoUsd(190_000_000), idle_timeout: 5 * S, kept_workers: 0, list: None };
        let a = UpstreamSpec {
            worker_slots: Some(30),
            tariff: Some(tariff),
            warm_up_usd_per_hour: NanoUsd(10_000_000),
            ..upstream("a")
        };
        let mut spec = model("m", StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
        spec.slo_first_token = Some(2 * S);
        (vec![a, upstream("b")], vec![spec])
    });
    polls(&mut cluster, 0, Polls::Always);
    polls(&mut cluster, 1, Polls::Never);
    cluster
}

fn polls(cluster: &mut Cluster, at: usize, polls: Polls) {
    let hand = &mut cluster.at(at).hand;
    let a = hand.table.upstreams().next().expect("an upstream").clone();
    hand.engine.set_polls(&a, polls, hand.now);
}

/// The replica has the lease for so many seconds from now on.
fn lease(cluster: &mut Cluster, at: usize, seconds: u32) {
    let until = cluster.now + S * seconds;
    polls(cluster, at, Polls::Until(until));
}

/// Every second the replica at `poller`, if there is one, polls `running` workers, and the others learn what it found, several times.
fn pass(cluster: &mut Cluster, seconds: u32, poller: Option<usize>, running: u32) {
    for _ in 0..seconds {
        if let Some(poller) = poller {
            cluster.at(poller).hand.has_running(running);
        }
        for _ in 0..4 {
            cluster.pass(EVERY);
            let Some(poller) = poller else { continue };
            let a = cluster.at(poller).hand.table.upstreams().next().expect("an upstream").clone();
            let one = &mut cluster.at(poller).hand;
            let report = one.engine.report_capacity(&a, one.now).expect("it polls");
            let other = &mut cluster.at(1 - poller).hand;
            let a = other.table.upstreams().next().expect("an upstream").clone();
            other.engine.learn_capacity(&a, &report, other.now);
            assert_eq!(other.engine.report_capacity(&a, other.now), None, "what is learned is not passed on");
        }
    }
}

fn time(cluster: &mut Cluster, at: usize) -> WorkerTime {
    cluster.at(at).status("a").worker_time.expect("it is billed by the second")
}

#[test]
fn what_another_one_polled_decides_and_is_not_billed() {
    let mut cluster = cluster();
    pass(&mut cluster, 10, Some(0), 2);
    for at in [0, 1] {
        let status = cluster.at(at).status("a");
        assert_eq!(status.capacity, Capacity { running: Some(2), ..Capacity::default() });
        assert_eq!(status.is_capacity_learned, at == 1);
    }
    assert_eq!((time(&mut cluster, 0).billed(), time(&mut cluster, 1)), (20 * S, WorkerTime::default()));
    pass(&mut cluster, 1, Some(0), 0);
    cluster.pass(10 * MS);
    let targets: Vec<_> = (0..10).map(|_| cluster.at(1).begin().1.attempt.target).collect();
    assert!(targets.iter().filter(|target| **target == 1).count() >= 9, "no worker is ready: {targets:?}");
}

/// The poller dies, and four seconds later another one has the lease.
#[test]
fn a_poller_that_dies_leaves_a_gap_and_no_second_is_counted_twice() {
    let mut cluster = cluster();
    pass(&mut cluster, 10, Some(0), 2);
    cluster.at(0).is_live = false;
    let dead = time(&mut cluster, 0);
    pass(&mut cluster, 4, None, 2);
    lease(&mut cluster, 1, 20);
    pass(&mut cluster, 6, Some(1), 2);
    let heir = time(&mut cluster, 1);
    assert_eq!((dead.billed(), heir.billed()), (20 * S, 12 * S), "ten seconds and six");
    let gap = heir.unobserved;
    assert!((4 * S..=5 * S).contains(&gap), "from its last poll on: {gap:?}");
}

/// The report that it has learned is fresh, but its time was counted by the one that polled it.
#[test]
fn an_heir_bills_nothing_before_it_has_polled() {
    let mut cluster = cluster();
    pass(&mut cluster, 10, Some(0), 2);
    cluster.at(0).is_live = false;
    lease(&mut cluster, 1, 20);
    pass(&mut cluster, 1, None, 2);
    let heir = time(&mut cluster, 1);
    assert_eq!((heir.billed(), heir.unobserved >= S), (Duration::ZERO, true));
}

/// A poller that was stopped for a while bills nothing beyond its lease, which another one may have meanwhile.
#[test]
fn a_poller_counts_until_its_lease_ends_and_no_longer() {
    let mut cluster = cluster();
    lease(&mut cluster, 0, 4);
    pass(&mut cluster, 3, Some(0), 2);
    cluster.now += 60 * S;
    cluster.replicas.iter_mut().for_each(|replica| replica.hand.now = cluster.now);
    assert_eq!(time(&mut cluster, 0).billed(), 8 * S, "its last count would hold for five seconds");
    lease(&mut cluster, 0, 5);
    assert_eq!(time(&mut cluster, 0).unobserved, 59 * S, "nobody has reported that it counted");
}

/// How many warm-up calls the replica at `poller` begins in a time in which the other replica's requests ask for them.
fn warm_ups(cluster: &mut Cluster, poller: usize, seconds: u32) -> u32 {
    let mut starts = 0;
    for _ in 0..seconds {
        pass(cluster, 1, Some(poller), 0);
        let other = &mut cluster.at(1 - poller).hand;
        for _ in 0..2 {
            let mut request = other.request("m");
            if let router::Action::Start(start) = other.arrived(&mut request) {
                other.pass(Duration::ZERO);
                if start.attempt.target == 1 {
                    other.serve(request);
                } else {
                    other.engine.left(&mut request, other.now);
                }
            }
        }
        let one = &mut cluster.at(poller).hand;
        let spec = one.model("m");
        if let Some(warm_up) = one.engine.warm_up(&spec, one.now) {
            starts += 1;
            one.engine.warm_up_dropped(warm_up, one.now);
        }
    }
    starts
}

#[test]
fn the_poller_starts_workers_for_the_requests_of_all_and_its_heir_within_the_same_allowance() {
    let mut cluster = cluster();
    let first = warm_ups(&mut cluster, 0, 120);
    assert_eq!(first, 2, "a start is thought to cost some 20 s, at $0.00019 each, and a cent an hour may be spent");
    polls(&mut cluster, 0, Polls::Never);
    polls(&mut cluster, 1, Polls::Always);
    assert_eq!(warm_ups(&mut cluster, 1, 120), 0, "that is spent");
}
