//! Which upstream the strategies `cost` and `latency` choose.

use std::sync::Arc;

use futures_util::future::join_all;
use provider::ErrorKind;
use router::{Reason, StrategyName};
use tokio::time::sleep;

use crate::{
    fake::{Fake, MS, S, fail, good},
    rig::{Rig, Wired, model, plain, price, streaming, table, upstream},
};

fn fleet(strategy: StrategyName, change: impl Fn(usize, &mut Wired)) -> (Rig, [Arc<Fake>; 3]) {
    let fakes = [Fake::new(), Fake::new(), Fake::new()];
    let names = ["a", "b", "c"];
    let specs = (0..3).map(|at| {
        let mut spec = upstream(names[at], &fakes[at]);
        change(at, &mut spec);
        spec
    });
    let mut model = model(strategy, &names.map(|name| (name, 1.0)));
    model.slo_first_token = Some(S);
    let rig = Rig::new(table(specs.collect(), model), &[&fakes[0], &fakes[1], &fakes[2]]);
    (rig, fakes)
}

/// `a` without a price, `b` dear, `c` cheap.
fn priced(at: usize, spec: &mut Wired) {
    spec.0.tariff = [None, Some(price("0.10", "0.10")), Some(price("0.02", "0.02"))][at].clone();
}

#[tokio::test(start_paused = true)]
async fn cost_takes_the_cheapest_and_a_target_without_a_price_last() {
    let (rig, [a, b, c]) = fleet(StrategyName::Cost, priced);
    for request in [plain(), streaming()] {
        let got = rig.ask(&request).await.expect("served");
        assert_eq!((got.upstream.as_str(), got.reason), ("c", Reason::Cheapest));
    }
    c.always(fail(ErrorKind::Auth));
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
    b.always(fail(ErrorKind::Auth));
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
    assert_eq!(a.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn cost_passes_over_the_cheapest_while_it_misses_the_slo() {
    let (rig, [_, _, c]) = fleet(StrategyName::Cost, priced);
    c.next([good(&streaming(), 3 * S)]);
    assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "c");
    assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "b");
    // An estimate that is not fed fades, so that it is tried again.
    sleep(15 * S).await;
    assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "c");
}

#[tokio::test(start_paused = true)]
async fn a_long_whole_answer_is_no_evidence_about_the_first_token() {
    let (rig, [_, _, c]) = fleet(StrategyName::Cost, priced);
    c.does(|request| good(request, if request.head.stream { 10 * MS } else { 20 * S }));
    for request in [plain(), streaming(), plain(), streaming()] {
        assert_eq!(rig.ask(&request).await.expect("served").upstream, "c");
    }
}

#[tokio::test(start_paused = true)]
async fn latency_finds_the_fastest_and_leaves_the_slowest() {
    let (rig, fakes) = fleet(StrategyName::Latency, |_, _| {});
    for (fake, wait) in fakes.iter().zip([10 * MS, 200 * MS, 900 * MS]) {
        fake.does(move |request| good(request, wait));
    }
    for _ in 0..300 {
        let got = rig.ask(&streaming()).await.expect("served");
        assert_eq!(got.reason, Reason::Fastest);
    }
    let calls = fakes.each_ref().map(|fake| fake.calls());
    assert!(calls[0] > 290 && calls[1] > 0 && calls[2] > 0, "each is tried, and the fastest kept: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_fast_does_not_look_fast() {
    let (rig, a, b) = Rig::pair(StrategyName::Latency);
    b.does(|request| good(request, 500 * MS));
    a.does(|request| good(request, 5 * MS));
    for _ in 0..3 {
        rig.ask(&streaming()).await.expect("served");
    }
    assert_eq!((a.calls(), b.calls()), (2, 1), "both are known, and a is faster");
    a.next([fail(ErrorKind::Unavailable)]);
    rig.ask(&streaming()).await.expect("served by the other");
    assert_eq!((a.calls(), b.calls()), (3, 2));
    for _ in 0..10 {
        assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "b");
    }
    assert_eq!(a.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn latency_spreads_requests_that_come_at_once() {
    let (rig, a, b) = Rig::pair(StrategyName::Latency);
    let request = streaming();
    rig.ask(&request).await.expect("served");
    rig.ask(&request).await.expect("served");
    join_all((0..100).map(|_| rig.ask(&request))).await;
    assert!(a.calls().abs_diff(b.calls()) <= 2, "{} and {}", a.calls(), b.calls());
}

#[tokio::test(start_paused = true)]
async fn latency_sends_no_burst_to_an_upstream_without_samples() {
    let (rig, a, b) = Rig::pair(StrategyName::Latency);
    let request = streaming();
    join_all((0..100).map(|_| rig.ask(&request))).await;
    assert!(a.calls().abs_diff(b.calls()) <= 2, "{} and {}", a.calls(), b.calls());
}
