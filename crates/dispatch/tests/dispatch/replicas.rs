//! Two routers in front of the same upstreams that pass their states to each other.

use std::{sync::Arc, time::Duration};

use provider::{Capacity, NanoUsd, PicoUsd, Tariff};
use router::{BreakerState, Polls, StrategyName};
use tokio::time::{Instant, advance, sleep};

use crate::{
    fake::{Fake, MS, S, Step, error},
    rig::{Rig, Wired, model, read, streaming, table, upstream},
};

/// `a` takes two calls at a time, and starts workers that are paid for by the second.
fn wired(a: &Arc<Fake>, b: &Arc<Fake>) -> Vec<Wired> {
    let mut wired = vec![upstream("a", a), upstream("b", b)];
    let spec = &mut wired[0].0;
    (spec.max_in_flight, spec.warm_up_usd_per_hour) = (2, NanoUsd(1_000_000_000));
    spec.tariff =
        Some(Tariff::GpuSeconds { per_second: PicoUsd(190_000_000), idle_timeout: 5 * S, kept_workers: 0, list: None });
    wired
}

fn pair(targets: &[(&str, f64)]) -> ([Rig; 2], Arc<Fake>, Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    let rig = |seed| Rig::replica(table(wired(&a, &b), model(StrategyName::Balanced, targets)), &[&a, &b], seed);
    ([rig(1), rig(2)], a, b)
}

/// Each learns what the other one knows.
fn exchange([one, two]: &[Rig; 2]) {
    let states = [one.router.peer_state(), two.router.peer_state()];
    one.router.learn_from_peers(&[("two", &states[1])]);
    two.router.learn_from_peers(&[("one", &states[0]), ("two", &states[1])]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_one_is_taken_at_the_other_until_it_is_given_back_or_its_replica_dies() {
    let (rigs, ..) = pair(&[("a", 0.8), ("b", 0.2)]);
    let [one, two] = &rigs;
    let request = streaming();
    let first = [one.call(&request).await.expect("served"), one.call(&request).await.expect("served")];
    assert!(first.iter().all(|served| served.upstream.as_str() == "a"));
    exchange(&rigs);
    assert_eq!(two.ask(&request).await.expect("served").upstream, "b", "full");
    assert_eq!(two.in_flight("a"), 0, "its own calls alone");
    two.router.learn_from_peers(&[]);
    assert_eq!(two.ask(&request).await.expect("served").upstream, "a", "the other one is gone");
    exchange(&rigs);
    assert_eq!(two.ask(&request).await.expect("served").upstream, "b");
    for served in first {
        read(served, Instant::now()).await;
    }
    exchange(&rigs);
    assert_eq!(two.ask(&request).await.expect("served").upstream, "a", "given back");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_goes_on_when_another_replica_has_made_room() {
    let (rigs, ..) = pair(&[("a", 1.0)]);
    let [one, two] = &rigs;
    let request = streaming();
    let first = [one.call(&request).await.expect("served"), one.call(&request).await.expect("served")];
    exchange(&rigs);
    let held = async { two.ask(&request).await.expect("served").took };
    let other = async {
        sleep(2 * S).await;
        assert_eq!(two.in_flight("a"), 0, "it waits");
        for served in first {
            read(served, Instant::now()).await;
        }
        exchange(&rigs);
    };
    let (took, ()) = futures_util::future::join(held, other).await;
    assert!((2 * S..2_300 * MS).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_at_one_is_not_asked_by_the_other() {
    let (rigs, a, _) = pair(&[("a", 0.8), ("b", 0.2)]);
    let [one, two] = &rigs;
    a.always(vec![Step::Fail(error(provider::ErrorKind::Unavailable))]);
    advance(S).await;
    while one.breaker("a") == BreakerState::Closed {
        one.ask(&streaming()).await.expect("served");
    }
    exchange(&rigs);
    let calls = a.calls();
    assert_eq!(two.ask(&streaming()).await.expect("served").attempts, 1);
    assert_eq!((two.breaker("a"), a.calls()), (BreakerState::Open, calls));
}

/// The second one has the lease, then loses it.
#[tokio::test(start_paused = true)]
async fn one_replica_polls_and_the_other_goes_by_what_it_found() {
    let (rigs, a, _) = pair(&[("a", 0.8), ("b", 0.2)]);
    let [one, two] = &rigs;
    one.router.set_polls_capacity(Polls::Never);
    two.router.set_polls_capacity(Polls::Until(two.router.now() + 5 * S));
    a.has_running(3);
    for _ in 0..4 {
        one.router.poll_capacity().await;
        two.router.poll_capacity().await;
        assert!(one.router.capacities().is_empty());
        one.router.learn_capacities(&two.router.capacities());
        advance(S).await;
    }
    let status = |rig: &Rig| rig.router.table().status(&rig.upstream("a"), rig.router.now());
    for (rig, is_learned, billed) in [(one, true, Duration::ZERO), (two, false, 12 * S)] {
        let status = status(rig);
        assert_eq!(status.capacity, Capacity { running: Some(3), ..Capacity::default() });
        let time = status.worker_time.expect("by the second");
        assert_eq!((status.is_capacity_learned, time.billed()), (is_learned, billed));
    }
    advance(4 * S).await;
    two.router.poll_capacity().await;
    assert!(two.router.capacities().is_empty(), "its lease has ended");
    assert!(status(two).worker_time.expect("by the second").billed() <= 15 * S);
}

/// What a reload brings in is polled by nobody else.
#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_poll_does_not_after_a_reload_either() {
    let (rigs, a, b) = pair(&[("b", 1.0)]);
    let [one, _] = &rigs;
    one.router.set_polls_capacity(Polls::Never);
    let mut upstreams = wired(&a, &b);
    upstreams[0].0.id = "new".into();
    let spec = model(StrategyName::Balanced, &[("b", 1.0)]);
    let next = dispatch::Table::new("next", upstreams, vec![spec], Some(&one.router.table())).expect("a table");
    one.router.replace_table(next);
    let new = one.upstream("new");
    let time = |rig: &Rig| rig.router.table().status(&new, rig.router.now()).worker_time.expect("by the second");
    time(one);
    advance(60 * S).await;
    assert_eq!(time(one).unobserved, Duration::ZERO, "the replica that polls counts what nobody saw");
}

/// Each of them is reloaded: the load of the other one stays known, and that of an upstream that is gone there is gone.
#[tokio::test(start_paused = true)]
async fn a_reload_forgets_nothing_of_the_others() {
    let (rigs, a, b) = pair(&[("a", 0.8), ("b", 0.2)]);
    let [one, two] = &rigs;
    let request = streaming();
    let first = [one.call(&request).await.expect("served"), one.call(&request).await.expect("served")];
    exchange(&rigs);
    let reload = |rig: &Rig, upstreams: Vec<Wired>, targets: &[(&str, f64)]| {
        let spec = model(StrategyName::Balanced, targets);
        let next = dispatch::Table::new("next", upstreams, vec![spec], Some(&rig.router.table())).expect("a table");
        rig.router.replace_table(next);
    };
    reload(two, wired(&a, &b), &[("a", 0.5), ("b", 0.5)]);
    for _ in 0..3 {
        assert_eq!(two.ask(&request).await.expect("served").upstream, "b", "still full");
        exchange(&rigs);
    }
    let mut elsewhere = wired(&a, &b);
    elsewhere[0].0.identity = 1;
    reload(one, elsewhere, &[("a", 1.0)]);
    exchange(&rigs);
    assert_eq!(
        two.ask(&request).await.expect("served").upstream,
        "a",
        "what the other one calls `a` is another upstream"
    );
    for served in first {
        read(served, Instant::now()).await;
    }
}

/// Both have requests for a cold upstream. A start costs money: one makes the call.
#[tokio::test(start_paused = true)]
async fn a_worker_is_started_by_the_replica_that_polls() {
    let (a, b) = (Fake::new(), Fake::new());
    a.has_running(0);
    a.always(vec![Step::Hang]);
    let rig = |seed| {
        let mut spec = model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
        spec.slo_first_token = Some(2 * S);
        Rig::replica(table(wired(&a, &b), spec), &[&a, &b], seed)
    };
    let rigs = [rig(1), rig(2)];
    rigs[1].router.set_polls_capacity(Polls::Never);
    let run = async {
        for _ in 0..20 {
            rigs[0].router.poll_capacity().await;
            rigs[1].router.learn_capacities(&rigs[0].router.capacities());
            for rig in &rigs {
                rig.ask(&streaming()).await.expect("served");
            }
            exchange(&rigs);
            sleep(S).await;
        }
    };
    let warm_up = async {
        loop {
            futures_util::future::join(rigs[0].router.warm_up(), rigs[1].router.warm_up()).await;
            sleep(S).await;
        }
    };
    tokio::select! {
        () = run => {}
        () = warm_up => {}
    }
    let warm_ups = rigs.each_ref().map(|rig| {
        let attempts = rig.log.attempts.lock();
        attempts.iter().filter(|ended| ended.role == router::Role::WarmUp).count()
    });
    assert_eq!(warm_ups, [1, 0]);
}
