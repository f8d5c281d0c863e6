//! Room in flight and the retry budget.

use dispatch::Table;
use futures_util::{StreamExt, future::join_all};
use provider::{ErrorKind, FrameKind, Quota};
use router::{RouterError, StrategyName};
use tokio::time::{Instant, advance, timeout};

use crate::{
    fake::{Fake, MS, S, Step, fail, frame, good, status},
    rig::{Rig, chat_to, is_poison, model, plain, poison, read, streaming, table, upstream},
};

fn narrow(permits: u32) -> (Rig, std::sync::Arc<Fake>) {
    let a = Fake::new();
    let mut spec = upstream("a", &a);
    spec.0.max_in_flight = permits;
    (Rig::new(table(vec![spec], model(StrategyName::Balanced, &[("a", 1.0)])), &[&a]), a)
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_there_is_room_for() {
    let (rig, a) = narrow(10);
    let request = plain();
    let answers = join_all((0..50).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().all(Result::is_ok), "whoever finds no room is held until there is some");
    assert_eq!(a.most_live(), 10);
    // No request is held for ever.
    a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Wait(3600 * S)]);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(rig.call(&streaming()).await.expect("served"));
    }
    let start = Instant::now();
    let refused = rig.ask(&request).await.expect_err("full");
    assert!(matches!(refused, RouterError::NoUpstream { retry_after } if retry_after == S), "{refused}");
    assert!((28 * S..=30 * S).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_goes_to_the_other() {
    let (a, b) = (Fake::new(), Fake::new());
    let mut spec = upstream("a", &a);
    spec.0.max_in_flight = 10;
    let rig = Rig::new(
        table(vec![spec, upstream("b", &b)], model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)])),
        &[&a, &b],
    );
    let request = plain();
    let answers = join_all((0..50).map(|_| rig.ask(&request))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|got| got.attempts == 1)));
    assert_eq!(a.most_live(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_given_back_however_a_call_ends() {
    let (rig, a) = narrow(1);
    // Read to its end.
    rig.ask(&streaming()).await.expect("served");
    assert_eq!(rig.in_flight("a"), 0);
    // Failed before its first frame.
    a.next([fail(ErrorKind::InvalidRequest)]);
    rig.ask(&streaming()).await.expect_err("failed");
    assert_eq!(rig.in_flight("a"), 0);
    // Failed amid the stream, and not read on.
    a.next([vec![Step::Head(Quota::default()), frame(FrameKind::Content)]]);
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    while answer.next().await.expect("an item").is_ok() {}
    assert_eq!(rig.in_flight("a"), 0);
    // Dropped before its first frame.
    a.next([vec![Step::Hang]]);
    timeout(S, rig.call(&streaming())).await.map(|_| ()).expect_err("the client left");
    assert_eq!((rig.in_flight("a"), a.live()), (0, 0));
    // Dropped between head and first frame.
    a.next([vec![Step::Head(Quota::default()), frame(FrameKind::Opening), Step::Hang]]);
    timeout(S, rig.call(&streaming())).await.map(|_| ()).expect_err("the client left");
    assert_eq!((rig.in_flight("a"), a.live()), (0, 0));
    // Dropped amid the stream.
    let served = rig.call(&streaming()).await.expect("served");
    assert_eq!((rig.in_flight("a"), a.live()), (1, 1));
    drop(served);
    assert_eq!((rig.in_flight("a"), a.live()), (0, 0));
    rig.ask(&plain()).await.expect("and the next one finds room");
}

#[tokio::test(start_paused = true)]
async fn a_failed_stream_ends_the_call_upstream_before_the_client_has_read_on() {
    let (rig, a) = narrow(1);
    a.next([vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Hang]]);
    let start = Instant::now();
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    answer.next().await.expect("an item").expect("content");
    answer.next().await.expect("an item").expect_err("the gap");
    assert_eq!((rig.in_flight("a"), a.live(), start.elapsed()), (0, 0, 3 * S));
}

#[tokio::test(start_paused = true)]
async fn repeats_are_a_fraction_of_the_requests_whatever_fails() {
    let (rig, a) = Rig::single();
    // Nine of ten are poison, which no breaker stops: only the budget does.
    a.does(|request| if is_poison(request) { status(500) } else { good(request, MS) });
    let (good, poison) = (plain(), poison());
    let start = Instant::now();
    let ask = async |n: u32| {
        tokio::time::sleep(n * 10 * MS).await;
        rig.ask(if n.is_multiple_of(10) { &good } else { &poison }).await.is_ok()
    };
    let served = join_all((0..1_000).map(ask)).await;
    assert_eq!(served.into_iter().filter(|served| *served).count(), 100);
    let most = 1_000.0 * 1.2 + 3.0 * start.elapsed().as_secs_f64() + 30.0;
    assert!(f64::from(a.calls()) <= most, "{} calls, {most} allowed", a.calls());
    assert!(a.calls() > 1_100, "the budget is used: {}", a.calls());
}

#[tokio::test(start_paused = true)]
async fn a_total_outage_does_not_multiply_load() {
    let (rig, a) = Rig::single();
    a.always(status(503));
    let request = plain();
    let start = Instant::now();
    let ask = async |n: u32| {
        tokio::time::sleep(n / 200 * S).await;
        rig.ask(&request).await.is_ok()
    };
    let served = join_all((0..2_000).map(ask)).await;
    assert!(served.into_iter().all(|served| !served));
    let most = 2_000.0 * 1.2 + 3.0 * start.elapsed().as_secs_f64() + 30.0;
    assert!(f64::from(a.calls()) <= most, "{} calls, {most} allowed", a.calls());
    a.recovers();
    advance(20 * S).await;
    rig.ask(&request).await.expect("served again");
}

#[tokio::test(start_paused = true)]
async fn models_that_share_an_upstream_share_its_room() {
    let a = Fake::new();
    let mut spec = upstream("a", &a);
    spec.0.max_in_flight = 1;
    let (m, mut n) = (model(StrategyName::Weighted, &[("a", 1.0)]), model(StrategyName::Balanced, &[("a", 1.0)]));
    n.name = "n".into();
    let rig = Rig::new(Table::new("test", vec![spec], vec![m, n], None).expect("a table"), &[&a]);
    let start = Instant::now();
    let served = rig.call(&streaming()).await.expect("served");
    let refused = rig.ask(&chat_to("n", "")).await.expect_err("full");
    assert!(matches!(refused, RouterError::NoUpstream { .. }), "{refused}");
    read(served, start).await;
}
