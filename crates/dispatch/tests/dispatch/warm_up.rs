//! A cold upstream is started by a call of the router's own, which no user waits for.

use std::time::Duration;

use dispatch::Outcome;
use futures_util::FutureExt as _;
use provider::{NanoUsd, Operation, Request};
use router::{Reason, Role, StrategyName};
use tokio::time::sleep;

use crate::{
    fake::{Fake, MS, S, after, good, whole},
    rig::{Rig, model, price, streaming, table, upstream},
};

const START: Duration = Duration::from_secs(20);

/// A model with the targets `a`, at 0.8 and cold, and `b`. A warm-up call to `a` takes as long as a start.
fn cold() -> (Rig, std::sync::Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    a.has_running(0);
    a.does(|request| if is_warm_up(request) { after(START, whole()) } else { good(request, 10 * MS) });
    let mut spec = model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    let mut wired = [upstream("a", &a), upstream("b", &b)];
    wired[0].0.warm_up_usd_per_hour = NanoUsd(500_000_000);
    wired[0].0.tariff = Some(price("0.02", "0.02"));
    wired[1].0.tariff = Some(price("0.10", "0.10"));
    (Rig::new(table(wired.into(), spec), &[&a, &b]), a)
}

fn is_warm_up(request: &Request) -> bool {
    request.operation == Operation::Chat && request.head.max_tokens == Some(1)
}

/// Counts workers and makes warm-up calls every second, for ever.
async fn watch(rig: &Rig) {
    let poll = async {
        loop {
            rig.router.poll_capacity().await;
            sleep(S).await;
        }
    };
    let warm_up = async {
        loop {
            rig.router.warm_up().await;
            sleep(S).await;
        }
    };
    futures_util::future::join(poll, warm_up).map(|((), ())| ()).await;
}

/// A request a second, whose upstreams are returned.
async fn ask(rig: &Rig, a: &Fake, seconds: u32) -> Vec<String> {
    let mut upstreams = Vec::new();
    for second in 0..seconds {
        sleep(S).await;
        if second == 5 {
            a.has_running(1);
        }
        let got = rig.ask(&streaming()).await.expect("served");
        assert!(got.took < S, "{got:?}");
        upstreams.push(got.upstream);
    }
    upstreams
}

#[tokio::test(start_paused = true)]
async fn a_cold_upstream_is_started_while_others_serve_and_then_gets_its_share() {
    let (rig, a) = cold();
    let upstreams = tokio::select! {
        () = watch(&rig) => unreachable!("for ever"),
        upstreams = ask(&rig, &a, 100) => upstreams,
    };
    let first = upstreams.iter().position(|upstream| upstream == "a").expect("it serves");
    assert!((20..=25).contains(&first), "after {first} requests");
    let share = upstreams[50..].iter().filter(|upstream| *upstream == "a").count();
    assert!((38..=50).contains(&share), "{share} of 50");
    let attempts = rig.log.attempts.lock().clone();
    let calls: Vec<_> = attempts.iter().filter(|ended| ended.role == Role::WarmUp).collect();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((call.upstream.as_str(), call.reason, call.outcome), ("a", Reason::WarmUp, Outcome::Served));
    assert!(!call.has_served(), "it serves no request: its cost is wasted");
    assert_eq!(call.cost, Some(NanoUsd(30_020)), "1,501 tokens at $0.02 a million");
    assert_eq!((call.info.key.clone(), call.info.team.clone(), call.duration), (None, None, START));
    assert_eq!(rig.log.requests.lock().len(), 100, "a warm-up call is no request");
}

/// The task of a call is dropped when the process ends; then and after a stop nothing is left in flight.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_gives_back_what_it_took() {
    let (rig, a) = cold();
    tokio::select! {
        () = watch(&rig) => unreachable!("for ever"),
        _ = ask(&rig, &a, 4) => {}
    }
    let ended = rig.log.attempts.lock().last().cloned().expect("an attempt");
    assert_eq!((ended.role, ended.outcome), (Role::WarmUp, Outcome::Stopped));
    assert_eq!((rig.snapshot("a", true).in_flight, a.live()), (0, 0));
    rig.router.stop();
    for _ in 0..20 {
        rig.ask(&streaming()).await.expect("served");
        rig.router.warm_up().await;
    }
    assert_eq!(a.calls(), 1, "a router that stops starts nothing");
}
