//! A stream whose first call is late to begin is called a second time elsewhere.

use std::{sync::Arc, time::Duration};

use dispatch::{AttemptEnded, Outcome, Unreported};
use provider::{ErrorKind, FrameKind, NanoUsd, Phase, UpstreamIds};
use router::{BreakerState, Hedge, Reason, Role, StrategyName};
use tokio::time::timeout;

use crate::{
    fake::{Fake, MS, S, Script, Step, after, fail, frame, good, streamed},
    rig::{Rig, model, plain, price, streaming, table, upstream},
};

const AFTER: Duration = Duration::from_millis(800);
/// Requests that are served before.
const BEFORE: usize = 20;
const HANGS: fn() -> Script = || vec![Step::Hang];

/// A model with the targets `a`, which gets all of the next requests, and `b`. Second calls may cost as much as first
/// ones, of which some were served.
async fn pair() -> (Rig, Arc<Fake>, Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    let mut spec = model(StrategyName::Cost, &[("a", 0.8), ("b", 0.2)]);
    spec.slo_first_token = Some(2 * S);
    spec.hedge = Some(Hedge { most_extra_cost: 1.0, after: Some(AFTER) });
    let mut wired = [upstream("a", &a), upstream("b", &b)];
    wired[0].0.tariff = Some(price("0.02", "0.02"));
    wired[1].0.tariff = Some(price("0.10", "0.10"));
    let rig = Rig::new(table(wired.into(), spec), &[&a, &b]);
    for _ in 0..BEFORE {
        assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "a");
    }
    (rig, a, b)
}

/// The calls since then, in the order of their ends.
fn calls(rig: &Rig) -> Vec<AttemptEnded> {
    rig.log.attempts.lock().iter().skip(BEFORE).cloned().collect()
}

fn ends(rig: &Rig) -> Vec<(String, Role, Outcome)> {
    calls(rig).into_iter().map(|ended| (ended.upstream.to_string(), ended.role, ended.outcome)).collect()
}

fn expected(ends: [(&str, Role, Outcome); 2]) -> Vec<(String, Role, Outcome)> {
    ends.map(|(upstream, role, outcome)| (upstream.to_owned(), role, outcome)).into()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_hangs_is_served_by_the_second_call_and_the_first_is_cancelled() {
    let (rig, a, b) = pair().await;
    a.always(HANGS());
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.reason, got.attempts), ("b", Reason::Hedge, 2));
    assert_eq!(got.took, AFTER + 10 * MS);
    assert_eq!((a.live(), b.live()), (0, 0));
    assert_eq!(ends(&rig), expected([("a", Role::Primary, Outcome::Lost), ("b", Role::Hedge, Outcome::Served)]));
    let attempts = calls(&rig);
    let estimate = attempts[0].estimate.expect("what it may have used");
    assert_eq!((estimate.reason, estimate.usage.completion_tokens), (Unreported::Lost, 0));
    assert!(estimate.cost > Some(NanoUsd(0)) && attempts[0].cost.is_none(), "{estimate:?}");
    assert_eq!((attempts[0].duration, attempts[1].duration), (AFTER + 10 * MS, 10 * MS));
    assert_eq!((attempts[1].first_token, &attempts[1].after), (Some(10 * MS), &None));
    let ended = rig.log.last_request();
    assert_eq!((ended.upstream, ended.reason), (Some("b".into()), Some(Reason::Hedge)));
    assert_eq!((ended.first_token, ended.failures.len()), (Some(AFTER + 10 * MS), 0));
    assert_eq!((ended.upstream_time, ended.wait_time), (AFTER + 10 * MS, Duration::ZERO));
    assert_eq!(rig.breaker("a"), BreakerState::Closed, "that it was cancelled is no failure");
}

#[tokio::test(start_paused = true)]
async fn the_first_call_serves_if_it_begins_first_after_all() {
    let (rig, a, b) = pair().await;
    a.always(after(AFTER + 50 * MS, streamed()));
    b.always(after(S, streamed()));
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts, got.took), ("a", 2, AFTER + 50 * MS));
    assert_eq!(ends(&rig), expected([("b", Role::Hedge, Outcome::Lost), ("a", Role::Primary, Outcome::Served)]));
    assert_eq!(rig.log.last_request().upstream, Some("a".into()));
}

/// The head of an answer alone is no content.
#[tokio::test(start_paused = true)]
async fn a_head_without_content_wins_nothing_and_its_ids_are_kept() {
    let ids = |of: &str| UpstreamIds::new(Some(of.to_owned()), None, None);
    let (rig, a, b) = pair().await;
    a.always(vec![Step::HeadOf(ids("first")), frame(FrameKind::Opening), Step::Hang]);
    b.always([vec![Step::HeadOf(ids("second"))], streamed().split_off(1)].concat());
    assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "b");
    let attempts = calls(&rig);
    assert_eq!((attempts[0].ids.clone(), attempts[1].ids.clone()), (ids("first"), ids("second")));
    assert_eq!(rig.log.last_request().ids, ids("second"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_in_time_is_called_once() {
    let (rig, a, b) = pair().await;
    a.always(after(799 * MS, streamed()));
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts, got.took), ("a", 1, 799 * MS));
    a.always(after(2 * S, crate::fake::whole()));
    assert_eq!(rig.ask(&plain()).await.expect("served").attempts, 1, "a whole answer");
    assert_eq!(b.calls(), 0);
}

/// Whichever fails, the other one goes on, and nothing else is called.
#[tokio::test(start_paused = true)]
async fn a_call_that_fails_beside_the_other_one_ends_alone() {
    let failed = Outcome::Failed(ErrorKind::Unavailable);
    let (rig, a, b) = pair().await;
    a.always(after(S, fail(ErrorKind::Unavailable)));
    b.always(after(S, streamed()));
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.reason, got.took), ("b", Reason::Hedge, AFTER + S));
    assert_eq!(ends(&rig), expected([("a", Role::Primary, failed), ("b", Role::Hedge, Outcome::Served)]));
    let ended = rig.log.last_request();
    assert_eq!((ended.failures.len(), ended.upstream_time), (1, AFTER + S), "the time of both together");

    let (rig, a, b) = pair().await;
    a.always(after(3 * S, streamed()));
    b.always(fail(ErrorKind::Unavailable));
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.reason, got.took), ("a", Reason::Cheapest, 3 * S));
    assert_eq!(ends(&rig), expected([("b", Role::Hedge, failed), ("a", Role::Primary, Outcome::Served)]));
    assert_eq!((a.calls(), b.calls()), (21, 1));
}

/// Each call has its own limit, counted from its own start.
#[tokio::test(start_paused = true)]
async fn each_call_has_a_limit_of_its_own() {
    let (rig, a, b) = pair().await;
    a.always(HANGS());
    b.always(HANGS());
    assert!(timeout(5_799 * MS, rig.ask(&streaming())).await.is_err(), "the second one runs on");
    let late = Outcome::Failed(ErrorKind::Timeout(Phase::FirstToken));
    assert_eq!(ends(&rig), expected([("a", Role::Primary, late), ("b", Role::Hedge, Outcome::ClientGone)]));
    let at = calls(&rig);
    assert_eq!((at[0].duration, at[1].duration), (5 * S, 4_999 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_both_calls() {
    let (rig, a, b) = pair().await;
    a.always(vec![Step::HeadOf(UpstreamIds::new(Some("job".to_owned()), None, None)), Step::Hang]);
    b.always(HANGS());
    assert!(timeout(S, rig.ask(&streaming())).await.is_err(), "both hang");
    let gone = Outcome::ClientGone;
    assert_eq!(ends(&rig), expected([("a", Role::Primary, gone), ("b", Role::Hedge, gone)]));
    let attempts = calls(&rig);
    assert!(attempts.iter().all(|ended| ended.estimate.map(|it| it.reason) == Some(Unreported::ClientGone)));
    assert_eq!(attempts[0].ids.request(), Some("job"));
    assert_eq!((a.live(), b.live()), (0, 0));
}

/// When both have failed, the request is repeated as any that failed.
#[tokio::test(start_paused = true)]
async fn a_request_whose_calls_both_fail_is_repeated() {
    let (rig, a, b) = pair().await;
    a.next([after(S, fail(ErrorKind::Unavailable))]);
    b.next([after(S, fail(ErrorKind::Unavailable))]);
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!(got.attempts, 3);
    let role = rig.log.attempts.lock().last().map(|ended| (ended.role, ended.outcome));
    assert_eq!(role, Some((Role::Retry, Outcome::Served)));
}

/// Two hundred requests at once, of which half hang: every permit is returned, whatever the budget allowed.
#[tokio::test(start_paused = true)]
async fn many_at_once_return_what_they_took() {
    let (rig, a, _) = pair().await;
    let count = std::sync::atomic::AtomicU32::default();
    a.does(move |request| {
        let hangs = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
        if hangs { HANGS() } else { good(request, 500 * MS) }
    });
    let request = streaming();
    let calls = (0..200).map(|_| rig.ask(&request));
    let got = futures_util::future::join_all(calls).await;
    assert!(got.iter().all(Result::is_ok));
    let hedged = ends(&rig).iter().filter(|(_, role, _)| *role == Role::Hedge).count();
    assert!((1..=100).contains(&hedged), "{hedged}");
}
