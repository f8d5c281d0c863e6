//! What one replica finds out about an upstream's health, the others know.

use provider::{Error, ErrorKind, Quota};
use router::{BreakerState, StrategyName};

use super::cluster::{BAD, Cluster, FAST, Network};
use crate::hand::{MS, S, model, started, upstream};

fn cluster(replicas: usize, network: Network) -> Cluster {
    Cluster::new(replicas, network, || {
        (vec![upstream("a"), upstream("b")], vec![model("m", StrategyName::Weighted, &[("a", 0.8), ("b", 0.2)])])
    })
}

/// `a` fails at the first replica until its breaker opens there.
fn break_a(cluster: &mut Cluster) {
    while cluster.at(0).breaker("a") == BreakerState::Closed {
        cluster.at(0).fails_at_a();
        cluster.now += 10 * MS;
        cluster.replicas.iter_mut().for_each(|replica| replica.hand.now = cluster.now);
    }
}

#[test]
fn a_breaker_that_opens_at_one_opens_at_all() {
    let mut cluster = cluster(3, FAST);
    break_a(&mut cluster);
    assert_eq!(cluster.at(1).breaker("a"), BreakerState::Closed);
    cluster.pass(300 * MS);
    for at in [1, 2] {
        let status = cluster.at(at).status("a");
        assert_eq!((status.breaker, status.is_breaker_learned), (BreakerState::Open, true));
        assert_eq!(cluster.at(at).fails_at_a(), 0, "no request of it finds out for itself");
    }
    assert!(!cluster.at(0).status("a").is_breaker_learned);
}

/// The first replica's probe succeeds: the others need not wait for their own times.
#[test]
fn a_breaker_that_closes_at_one_lets_the_others_probe_at_once() {
    let mut cluster = cluster(3, FAST);
    break_a(&mut cluster);
    cluster.pass(1_200 * MS);
    assert_eq!(cluster.at(1).breaker("a"), BreakerState::Open, "another one goes first");
    while cluster.at(0).breaker("a") != BreakerState::Closed {
        cluster.at(0).serves();
    }
    cluster.pass(300 * MS);
    for at in [1, 2] {
        let targets: Vec<_> = (0..5).map(|_| cluster.at(at).serves()).collect();
        assert!(targets.contains(&0), "{targets:?}");
        assert_eq!(cluster.at(at).breaker("a"), BreakerState::Closed);
    }
}

/// The others have filled `a` when a replica's own breaker closes: it begins with a few calls nonetheless.
#[test]
fn a_replica_that_is_back_late_is_not_kept_out_by_what_others_have_in_flight() {
    let mut cluster = cluster(2, FAST);
    break_a(&mut cluster);
    cluster.pass(1_200 * MS);
    for _ in 0..100 {
        cluster.at(0).serves();
        cluster.pass(50 * MS);
    }
    let mut in_flight = Vec::new();
    while cluster.at(0).status("a").in_flight < 8 {
        in_flight.push(cluster.at(0).begin());
        cluster.pass(500 * MS);
        // Each is answered, and goes on.
        let Some((request, start)) = in_flight.last_mut() else { continue };
        if start.attempt.target == 0 {
            let hand = &mut cluster.replicas[0].hand;
            hand.engine.first_token(request, Quota::default(), hand.now, &mut hand.rng);
        }
    }
    cluster.pass(300 * MS);
    while cluster.at(1).breaker("a") != BreakerState::Closed {
        cluster.at(1).serves();
    }
    cluster.pass(5 * S);
    let at_a = (0..5).map(|_| cluster.at(1).begin()).filter(|(_, start)| start.attempt.target == 0).count();
    assert!(at_a >= 2, "{at_a} of 5, beside {} of the other one", in_flight.len());
}

/// Calls to `a`, which is down for a minute, of replicas that have ten requests a second each.
fn calls_in_an_outage(cluster: &mut Cluster) -> u32 {
    let mut calls = 0;
    for _ in 0..600 {
        for at in 0..cluster.replicas.len() {
            calls += cluster.at(at).fails_at_a();
        }
        cluster.pass(100 * MS);
    }
    calls
}

#[test]
fn three_replicas_probe_an_upstream_that_is_down_not_three_times_as_often() {
    let alone = calls_in_an_outage(&mut cluster(1, FAST));
    let each = calls_in_an_outage(&mut cluster(3, FAST).silent());
    let together = calls_in_an_outage(&mut cluster(3, FAST));
    assert!(each > 5 * alone / 2, "{each} to {alone}");
    // The first one probes as if it was alone. Each other one fails before it is told, and probes every ten seconds at most.
    assert!(together <= alone + 2 * (5 + 6), "{together} to {alone}");
}

#[test]
fn on_a_bad_network_a_breaker_opens_at_all_and_closes_at_all() {
    let mut cluster = cluster(3, BAD);
    for _ in 0..40 {
        cluster.at(0).fails_at_a();
        cluster.pass(100 * MS);
    }
    for at in [1, 2] {
        assert_ne!(cluster.at(at).breaker("a"), BreakerState::Closed);
    }
    for _ in 0..150 {
        for at in 0..3 {
            cluster.at(at).serves();
        }
        cluster.pass(100 * MS);
    }
    for at in 0..3 {
        assert_eq!(cluster.at(at).breaker("a"), BreakerState::Closed);
    }
}

/// The first replica cannot reach `a`, by a fault of its own. It goes first, but takes `a` from nobody whose calls are answered.
#[test]
fn a_replica_with_a_fault_of_its_own_does_not_take_an_upstream_from_the_others() {
    let mut cluster = cluster(2, FAST);
    let mut served_by_a = 0;
    for _ in 0..600 {
        cluster.at(0).fails_at_a();
        served_by_a += u32::from(cluster.at(1).serves() == 0);
        cluster.pass(100 * MS);
    }
    assert!(served_by_a >= 480, "{served_by_a} of 600 at a share of 0.8");
    assert_eq!(cluster.at(1).breaker("a"), BreakerState::Closed);
}

/// `a` was down for all, and is back for all but the first, which goes first and never finds that out.
#[test]
fn whoever_goes_first_does_not_keep_the_others_waiting_for_ever() {
    let mut cluster = cluster(2, FAST);
    for _ in 0..50 {
        for at in 0..2 {
            cluster.at(at).fails_at_a();
        }
        cluster.pass(100 * MS);
    }
    assert_ne!(cluster.at(1).breaker("a"), BreakerState::Closed);
    let mut served_by_a = 0;
    for _ in 0..300 {
        cluster.at(0).fails_at_a();
        served_by_a += u32::from(cluster.at(1).serves() == 0);
        cluster.pass(100 * MS);
    }
    assert!(served_by_a >= 150, "after ten seconds at most: {served_by_a} of 300");
}

/// The same, while the other replica has a request every fifteen seconds alone: its own breaker opens for a while, but the
/// request is always let through.
#[test]
fn a_replica_with_few_requests_keeps_an_upstream_that_another_one_cannot_reach() {
    let mut cluster =
        Cluster::new(2, FAST, || (vec![upstream("a")], vec![model("m", StrategyName::Weighted, &[("a", 1.0)])]));
    for second in 0..300 {
        let mut request = cluster.at(0).hand.request("m");
        let one = &mut cluster.at(0).hand;
        if let router::Action::Start(_) = one.arrived(&mut request) {
            drop(one.failed(&mut request, ErrorKind::Unavailable));
            one.engine.left(&mut request, one.now);
        }
        if second % 15 == 14 {
            let two = &mut cluster.at(1).hand;
            let mut request = two.request("m");
            let action = two.arrived(&mut request);
            assert!(matches!(action, router::Action::Start(_)), "after {second} s: {action:?}");
            two.serve(request);
        }
        cluster.pass(S);
    }
}

#[test]
fn a_park_is_kept_by_all_and_ends_for_all() {
    let mut cluster = cluster(3, FAST);
    cluster.pass(S);
    let one = &mut cluster.at(0).hand;
    let mut request = one.request("m");
    assert_eq!(started(one.arrived(&mut request)).attempt.target, 0);
    let mut refused = Error::new(ErrorKind::RateLimited, "no");
    refused.retry_after = Some(7 * S);
    drop(one.engine.failed(&mut request, refused, one.now, &mut one.rng));
    one.engine.left(&mut request, one.now);
    cluster.pass(300 * MS);
    for at in [1, 2] {
        assert!((0..10).all(|_| cluster.at(at).serves() == 1), "parked");
    }
    // Were it passed on, each exchange would make it a little longer.
    cluster.pass(7 * S);
    for at in 0..3 {
        assert!((0..10).any(|_| cluster.at(at).serves() == 0), "{at}: free again");
    }
}
