//! A new table replaces the configuration and keeps the state.

use dispatch::Table;
use futures_util::future::join_all;
use provider::ErrorKind;
use router::{BreakerState, Reason, StrategyName, TableError};
use tokio::time::Instant;

use crate::{
    fake::{Fake, MS, S, fail, fail_for},
    rig::{Got, Rig, model, plain, read, streaming, upstream},
};

#[tokio::test(start_paused = true)]
async fn health_and_room_carry_over_by_the_upstreams_name() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(fail(ErrorKind::Auth));
    rig.ask(&plain()).await.expect("served");
    b.next([fail_for(ErrorKind::RateLimited, 30 * S)]);
    rig.ask(&plain()).await.expect_err("broken and parked");
    let start = Instant::now();
    b.recovers();
    let old = rig.router.table();
    let (mut first, mut other) = (upstream("a", &a), upstream("b", &b));
    (first.0.max_in_flight, other.0.max_in_flight) = (5, 5);
    // Another order, and one more.
    let upstreams = vec![other, first, upstream("c", &b)];
    let model = model(StrategyName::Balanced, &[("c", 0.1), ("b", 0.2), ("a", 0.7)]);
    rig.router.replace_table(Table::new("test", upstreams, vec![model], Some(&old)).expect("a table"));
    assert_eq!(rig.breaker("a"), BreakerState::Open);
    let served = rig.call(&streaming()).await.expect("served");
    assert_eq!(served.upstream.as_str(), "c", "a is broken, b is parked");
    let table = rig.router.table();
    let again = |spec: &[(&str, f64)]| {
        let upstreams = vec![upstream("a", &a), upstream("b", &b), upstream("c", &b)];
        Table::new("test", upstreams, vec![crate::rig::model(StrategyName::Balanced, spec)], Some(&table))
            .expect("a table")
    };
    rig.router.replace_table(again(&[("a", 0.8), ("c", 0.2)]));
    assert_eq!(rig.in_flight("c"), 1, "requests under way are still counted");
    let got = read(served, start).await;
    assert!(got.error.is_none() && got.frames.len() == 5, "and finish");
    assert_eq!(rig.in_flight("c"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_removed_upstream_finishes_what_it_began() {
    let (rig, _, b) = Rig::pair(StrategyName::Balanced);
    let start = Instant::now();
    let served = rig.call(&streaming()).await.expect("served");
    assert_eq!(served.upstream.as_str(), "a");
    let old = rig.router.table();
    let specs = vec![model(StrategyName::Balanced, &[("b", 1.0)])];
    rig.router.replace_table(Table::new("test", vec![upstream("b", &b)], specs, Some(&old)).expect("a table"));
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
    assert!(read(served, start).await.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_still_looking_looks_in_the_old_table() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.next([crate::fake::after(S, fail(ErrorKind::Connect))]);
    let request = plain();
    let replace = async {
        tokio::time::sleep(S / 2).await;
        let old = rig.router.table();
        let specs = vec![model(StrategyName::Balanced, &[("a", 1.0)])];
        rig.router.replace_table(Table::new("test", vec![upstream("a", &a)], specs, Some(&old)).expect("a table"));
    };
    let (got, ()) = futures_util::future::join(rig.ask(&request), replace).await;
    assert_eq!((got.expect("served").upstream.as_str(), b.calls()), ("b", 1));
}

/// Fifty requests in half a minute, in which `a` refuses the first and is left alone, then a table with these targets.
async fn reloaded_after_an_absence(strategy: StrategyName, targets: &[(&str, f64)]) -> Rig {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.next([fail_for(ErrorKind::RateLimited, 30 * S)]);
    for _ in 0..50 {
        assert_eq!(ask_in_time(&rig).await.upstream, "b");
    }
    let old = rig.router.table();
    let upstreams = vec![upstream("a", &a), upstream("b", &b)];
    let table = Table::new("test", upstreams, vec![model(strategy, targets)], Some(&old)).expect("a table");
    rig.router.replace_table(table);
    // After its absence one call finds out.
    ask_in_time(&rig).await;
    rig
}

/// Waits for as long as usual between two requests, and asks.
async fn ask_in_time(rig: &Rig) -> Got {
    tokio::time::sleep(590 * MS).await;
    rig.ask(&plain()).await.expect("served")
}

#[tokio::test(start_paused = true)]
async fn a_deficit_is_paid_back_also_after_a_reload_that_reorders() {
    let rig = reloaded_after_an_absence(StrategyName::Balanced, &[("b", 0.2), ("a", 0.8)]).await;
    // The deficit is 40 of 50 requests; at one in five, the payback takes 200 requests.
    let mut paid_back = 0;
    for _ in 0..180 {
        let got = ask_in_time(&rig).await;
        paid_back += u32::from(got.upstream == "a" && got.reason == Reason::Share);
    }
    // By a quarter more than its share, which is all requests if they came to the tick.
    assert!(paid_back >= 170, "{paid_back} of 180");
    let request = plain();
    let answers = join_all((0..100).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().flatten().any(|got| got.upstream == "b"));
}

/// Neither the deficit of 50 requests that an outage leaves, nor one that grew under another strategy, outlives a change of the rules.
#[tokio::test(start_paused = true)]
async fn a_changed_share_or_strategy_is_followed_at_once() {
    for (strategy, share) in [(StrategyName::Balanced, 0.6), (StrategyName::Weighted, 0.8)] {
        let rig = reloaded_after_an_absence(strategy, &[("a", share), ("b", 1.0 - share)]).await;
        let mut served_by_a = 0.0;
        for _ in 0..100 {
            served_by_a += f64::from(u8::from(ask_in_time(&rig).await.upstream == "a"));
        }
        assert!((served_by_a - 100.0 * share).abs() <= 10.0, "{strategy:?}: {served_by_a} of 100");
    }
}

#[test]
fn specifications_that_fit_nothing_together_are_refused() {
    let make = |targets: &[(&str, f64)]| {
        Table::new("test", vec![upstream("a", &Fake::new())], vec![model(StrategyName::Cost, targets)], None).err()
    };
    assert_eq!(make(&[("a", 1.0)]), None);
    assert_eq!(make(&[]), Some(TableError::NoTargets("m".into())));
    assert_eq!(make(&[("a", 0.5), ("x", 0.5)]), Some(TableError::UnknownUpstream("m".into(), "x".into())));
}
