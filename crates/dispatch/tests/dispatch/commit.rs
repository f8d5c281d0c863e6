//! Nothing is repeated once content has come; before that, the client sees nothing of a failure.

use std::{sync::atomic::Ordering, time::Duration};

use dispatch::RequestOutcome;
use futures_util::StreamExt;
use provider::{ErrorKind, FrameKind, Phase, Quota};
use router::StrategyName;
use tokio::time::{Instant, timeout};

use crate::{
    fake::{MS, S, Script, Step, error, frame, frame_of},
    rig::{Rig, plain, read, streaming},
};

fn head() -> Step {
    Step::Head(Quota::default())
}

fn after_content(step: Step) -> Script {
    vec![head(), frame(FrameKind::Opening), frame(FrameKind::Content), step]
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_after_its_opening_leaves_no_trace() {
    for step in [Step::Fail(error(ErrorKind::Interrupted)), Step::Hang] {
        let (rig, a, _) = Rig::pair(StrategyName::Balanced);
        a.always(vec![head(), frame_of(FrameKind::Opening, 100), step]);
        let start = Instant::now();
        let served = rig.call(&streaming()).await.expect("served");
        assert_eq!(served.upstream.as_str(), "b");
        let got = read(served, start).await;
        assert_eq!(got.frames.iter().filter(|kind| **kind == FrameKind::Opening).count(), 1, "one opening, not two");
        assert_eq!(got.frames.last(), Some(&FrameKind::Done));
        assert!(got.error.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn openings_are_held_until_content_comes() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(vec![
        head(),
        frame(FrameKind::Opening),
        Step::Wait(2 * S),
        frame(FrameKind::Content),
        Step::Wait(S),
        frame(FrameKind::Finish),
        frame(FrameKind::Done),
    ]);
    let start = Instant::now();
    let served = rig.call(&streaming()).await.expect("served");
    assert_eq!(start.elapsed(), 2 * S);
    let got = read(served, start).await;
    assert_eq!((got.frames.len(), got.took), (4, 3 * S));
}

#[tokio::test(start_paused = true)]
async fn after_content_there_is_an_error_and_nothing_else() {
    for (step, kind, took) in [
        (Step::Fail(error(ErrorKind::Unavailable)), ErrorKind::Unavailable, Duration::ZERO),
        (Step::Hang, ErrorKind::Timeout(Phase::Gap), 3 * S),
        (frame(FrameKind::Content), ErrorKind::Interrupted, Duration::ZERO),
    ] {
        let (rig, a, b) = Rig::pair(StrategyName::Balanced);
        a.always(after_content(step));
        let got = rig.ask(&streaming()).await.expect("begun");
        assert_eq!(got.error.as_ref().map(|error| error.kind), Some(kind));
        assert!(!got.frames.contains(&FrameKind::Done));
        assert_eq!((got.took, a.calls(), b.calls()), (took, 1, 0));
        let ended = rig.log.last_request();
        assert_eq!((ended.outcome, ended.upstream), (RequestOutcome::Broken(kind), Some("a".into())));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_keep_coming_are_never_a_gap() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let mut script = after_content(Step::Wait(2 * S));
    for _ in 0..10 {
        script.extend([frame(FrameKind::Content), Step::Wait(2_900 * MS)]);
    }
    script.push(frame(FrameKind::Done));
    a.always(script);
    let got = rig.ask(&streaming()).await.expect("served");
    assert!(got.error.is_none());
    assert_eq!(got.took, 2 * S + 29 * S);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_also_ends_an_answer_that_never_does() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let mut script = after_content(Step::Wait(S));
    for _ in 0..100 {
        script.extend([frame(FrameKind::Content), Step::Wait(S)]);
    }
    a.always(script);
    let got = rig.ask(&streaming()).await.expect("begun");
    assert_eq!(got.error.map(|error| error.kind), Some(ErrorKind::Timeout(Phase::Deadline)));
    assert_eq!(got.took, 60 * S);
}

#[tokio::test(start_paused = true)]
async fn an_opening_without_end_is_not_held_for_ever() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let mut script = vec![head()];
    script.extend((0..100).map(|_| frame_of(FrameKind::Opening, 1 << 10)));
    script.push(Step::Hang);
    a.always(script);
    // 64 KiB, and the frame that exceeds them.
    let mut answer = rig.call(&streaming()).await.expect("committed by its size").answer;
    let mut frames = 0;
    while answer.next().await.expect("an item").is_ok() {
        frames += 1;
    }
    assert_eq!(frames, 100);
    assert_eq!(a.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn up_to_64_kib_are_held() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let mut script = vec![head()];
    script.extend((0..64).map(|_| frame_of(FrameKind::Opening, 1 << 10)));
    script.push(Step::Fail(error(ErrorKind::Unavailable)));
    a.always(script);
    assert_eq!(rig.ask(&streaming()).await.expect("served").upstream, "b");
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_is_on_record_before_the_client_has_it() {
    for request in [plain(), streaming()] {
        let (rig, _, _) = Rig::pair(StrategyName::Balanced);
        *rig.log.settling.lock() = Some(700 * MS);
        let start = Instant::now();
        let mut answer = rig.call(&request).await.expect("served").answer;
        loop {
            let frame = answer.next().await.expect("an item").expect("a frame");
            if frame.kind.is_last() {
                break;
            }
            assert_eq!(start.elapsed(), 10 * MS, "only the last frame waits");
        }
        assert_eq!(rig.log.settled.load(Ordering::Relaxed), 1);
        assert_eq!(start.elapsed(), 710 * MS);
        assert!(answer.next().await.is_none());
    }
}

/// Whoever settles gives up by itself; if it does not, nobody knows whether the answer is on record.
#[tokio::test(start_paused = true)]
async fn an_answer_whose_settlement_hangs_ends_in_an_error() {
    let (rig, _, _) = Rig::pair(StrategyName::Balanced);
    *rig.log.settling.lock() = Some(100 * S);
    let got = rig.ask(&plain()).await.expect("begun");
    assert_eq!((got.frames, got.took), (vec![], 30 * S + 10 * MS));
    assert_eq!(got.error.expect("an error").kind, ErrorKind::Unrecorded);
}

#[tokio::test(start_paused = true)]
async fn a_broken_answer_has_nothing_to_settle() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    *rig.log.settling.lock() = Some(S);
    a.always(after_content(Step::Fail(error(ErrorKind::Interrupted))));
    let got = rig.ask(&streaming()).await.expect("begun");
    assert_eq!((got.took, rig.log.settled.load(Ordering::Relaxed)), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_its_end_is_recorded_was_served() {
    let (rig, _, _) = Rig::pair(StrategyName::Balanced);
    *rig.log.settling.lock() = Some(S);
    let mut answer = rig.call(&plain()).await.expect("served").answer;
    timeout(100 * MS, answer.next()).await.expect_err("still settling");
    drop(answer);
    assert_eq!(rig.log.last_request().outcome, RequestOutcome::Served);
}

/// A comment is nothing for the client: before content it is not held, however many come.
#[tokio::test(start_paused = true)]
async fn comments_before_content_are_not_held() {
    let (rig, a, _) = Rig::pair(StrategyName::Weighted);
    let mut script = vec![head()];
    script.extend((0..100_000).map(|_| frame_of(FrameKind::Opening, 0)));
    script.extend([frame(FrameKind::Content), frame(FrameKind::Finish), frame(FrameKind::Done)]);
    a.always(script);
    let start = Instant::now();
    let got = read(rig.call(&streaming()).await.expect("served"), start).await;
    assert_eq!(got.frames, [FrameKind::Content, FrameKind::Finish, FrameKind::Done]);
}
