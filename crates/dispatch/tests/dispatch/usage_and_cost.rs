//! One event per attempt and one per request, right to the nano-dollar. That none is missing is checked after every test.

use dispatch::{Outcome, RequestOutcome};
use futures_util::StreamExt;
use provider::{ErrorKind, FrameKind, NanoUsd, Quota};
use router::{Reason, RouterError, StrategyName};
use tokio::time::timeout;

use crate::{
    fake::{Fake, MS, S, Step, USAGE, after, counted, fail, frame, status, streamed},
    rig::{Rig, chat, model, plain, price, streaming, table, upstream},
};

/// `a` at 0.02 and 0.03, `b` at 0.10 and 0.30 US dollars per million tokens; savings are measured against `b`.
fn priced() -> (Rig, std::sync::Arc<Fake>, std::sync::Arc<Fake>) {
    let (a, b) = (Fake::new(), Fake::new());
    let (mut first, mut other) = (upstream("a", &a), upstream("b", &b));
    (first.0.tariff, other.0.tariff) = (Some(price("0.02", "0.03")), Some(price("0.10", "0.30")));
    let mut model = model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)]);
    model.baseline = Some("b".into());
    (Rig::new(table(vec![first, other], model), &[&a, &b]), a, b)
}

/// 1,000 × 20,000 + 501 × 30,000 pico-dollars, and 1,000 × 100,000 + 501 × 300,000.
const COST_A: NanoUsd = NanoUsd(35_030);
const COST_B: NanoUsd = NanoUsd(250_300);

#[tokio::test(start_paused = true)]
async fn a_served_request_costs_what_the_list_says() {
    for request in [plain(), streaming()] {
        let (rig, _, _) = priced();
        let served = rig.call(&request).await.expect("served");
        assert_eq!(served.cost, (!request.head.stream).then_some(COST_A), "known before the body of a whole answer");
        let frames: Vec<_> = served.answer.collect().await;
        assert!(frames.iter().all(Result::is_ok));
        let ended = rig.log.last_request();
        assert_eq!((ended.outcome, ended.attempts), (RequestOutcome::Served, 1));
        assert_eq!((ended.upstream.clone(), ended.reason), (Some("a".into()), Some(Reason::Share)));
        assert_eq!((ended.usage, ended.cost, ended.baseline_cost()), (Some(USAGE), Some(COST_A), Some(COST_B)));
        assert_eq!((ended.first_token, ended.duration), (Some(10 * MS), 10 * MS));
        let attempts = rig.log.attempts.lock();
        assert_eq!(
            (attempts[0].outcome, attempts[0].usage, attempts[0].cost),
            (Outcome::Served, Some(USAGE), Some(COST_A))
        );
        assert_eq!((attempts[0].first_token, attempts[0].duration), (Some(10 * MS), 10 * MS));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_two_attempts_and_one_request() {
    let (rig, a, b) = priced();
    a.always(after(S, status(503)));
    b.always(after(2 * S, streamed()));
    rig.ask(&streaming()).await.expect("served");
    let ended = rig.log.last_request();
    assert_eq!((ended.attempts, ended.upstream, ended.reason), (2, Some("b".into()), Some(Reason::Fallback)));
    assert_eq!((ended.cost, ended.first_token, ended.duration), (Some(COST_B), Some(3 * S), 3 * S));
    let attempts = rig.log.attempts.lock();
    let ends: Vec<_> = attempts.iter().map(|ended| (ended.upstream.as_str(), ended.reason, ended.outcome)).collect();
    let failed = Outcome::Failed(ErrorKind::Unavailable);
    assert_eq!(ends, [("a", Reason::Share, failed), ("b", Reason::Fallback, Outcome::Served)]);
    assert_eq!(
        (attempts[0].usage, attempts[0].cost, attempts[0].first_token, attempts[0].duration),
        (None, None, None, S)
    );
    assert_eq!((attempts[1].first_token, attempts[1].duration), (Some(2 * S), 2 * S));
}

#[tokio::test(start_paused = true)]
async fn unknown_is_not_zero() {
    // No usage.
    let (rig, a, _) = priced();
    a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Whole)]);
    assert_eq!(rig.call(&plain()).await.expect("served").cost, None);
    rig.ask(&plain()).await.expect("served");
    let ended = rig.log.last_request();
    assert_eq!((ended.usage, ended.cost, ended.baseline_cost()), (None, None, None));
    // No price.
    let (rig, _, _) = Rig::pair(StrategyName::Balanced);
    rig.ask(&plain()).await.expect("served");
    let ended = rig.log.last_request();
    assert_eq!((ended.usage, ended.cost, ended.baseline_cost()), (Some(USAGE), None, None));
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_names_who_failed_last() {
    let (rig, a, b) = priced();
    a.always(fail(ErrorKind::Auth));
    b.always(fail(ErrorKind::NotFound));
    rig.ask(&plain()).await.expect_err("nobody can");
    let ended = rig.log.last_request();
    assert_eq!((ended.outcome, ended.attempts), (RequestOutcome::Failed(ErrorKind::NotFound), 2));
    assert_eq!((ended.upstream, ended.reason, ended.cost), (Some("b".into()), Some(Reason::Fallback), None));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_request_has_an_end_event_as_well() {
    let (rig, a, b) = priced();
    let missing = chat(r#","stream":false"#);
    rig.router.replace_table(dispatch::Table::new("test", Vec::new(), Vec::new(), None).expect("an empty table"));
    let refused = rig.ask(&missing).await.expect_err("no such model");
    assert!(matches!(refused, RouterError::NoSuchModel(name) if name == "m"));
    let ended = rig.log.last_request();
    assert_eq!((ended.outcome, ended.attempts, ended.upstream), (RequestOutcome::Rejected("model_not_found"), 0, None));
    assert_eq!((ended.info.model.clone(), a.calls(), b.calls()), (None, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_answer_is_recorded_with_the_upstream_it_waited_for() {
    let (rig, a, _) = priced();
    a.always(vec![Step::Hang]);
    timeout(S, rig.call(&plain())).await.map(|_| ()).expect_err("the client left");
    let ended = rig.log.last_request();
    assert_eq!((ended.outcome, ended.attempts, ended.duration), (RequestOutcome::ClientGone, 1, S));
    assert_eq!((ended.upstream, ended.usage, ended.first_token), (Some("a".into()), None, None));
    assert_eq!(rig.log.attempts.lock()[0].outcome, Outcome::ClientGone);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_amid_the_stream_is_charged_for_what_was_counted() {
    let (rig, a, _) = priced();
    a.always(vec![Step::Head(Quota::default()), counted(FrameKind::Content), Step::Wait(S), frame(FrameKind::Done)]);
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    answer.next().await.expect("an item").expect("content");
    drop(answer);
    let ended = rig.log.last_request();
    assert_eq!((ended.outcome, ended.upstream.clone()), (RequestOutcome::ClientGone, Some("a".into())));
    assert_eq!((ended.usage, ended.cost, ended.baseline_cost()), (Some(USAGE), Some(COST_A), Some(COST_B)));
    assert_eq!(rig.log.attempts.lock()[0].cost, Some(COST_A));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_waiting_for_a_repeat_has_one_end_event() {
    let (rig, a) = Rig::single();
    a.always(status(503));
    timeout(MS, rig.call(&plain())).await.map(|_| ()).expect_err("the client left");
    let ended = rig.log.last_request();
    assert_eq!((ended.outcome, ended.attempts), (RequestOutcome::ClientGone, 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_stopping_router_drops_was_not_left_by_its_client() {
    let (rig, a, _) = priced();
    a.always(vec![Step::Head(Quota::default()), counted(FrameKind::Content), Step::Hang]);
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    answer.next().await.expect("an item").expect("content");
    a.always(vec![Step::Hang]);
    let request = plain();
    let mut waiting = Box::pin(rig.call(&request));
    timeout(MS, &mut waiting).await.map(|_| ()).expect_err("it waits");
    rig.router.stop();
    drop((answer, waiting));
    assert!(rig.log.requests.lock().iter().all(|ended| ended.outcome == RequestOutcome::Stopped));
    assert!(rig.log.attempts.lock().iter().all(|ended| ended.outcome == Outcome::Stopped));
    assert_eq!(rig.breaker("a"), router::BreakerState::Closed);
}
