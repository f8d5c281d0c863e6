//! After its last finish an answer is complete, whatever the connection does next.

use dispatch::{Outcome, RequestOutcome, Unreported};
use futures_util::StreamExt;
use provider::{ErrorKind, FrameKind, Quota};
use router::StrategyName;
use tokio::time::Instant;

use crate::{
    fake::{MS, S, Script, Step, USAGE, counted, error, frame},
    rig::{Got, Rig, streaming},
};

/// A complete answer, and what comes behind it.
fn finished(behind: impl IntoIterator<Item = Step>) -> Script {
    let answer = [Step::Head(Quota::default()), frame(FrameKind::Content), frame(FrameKind::Finish)];
    answer.into_iter().chain(behind).collect()
}

/// What comes of an answer of `a`, which ends well and moves no health.
async fn ends_well(script: Script) -> (Rig, Got) {
    let (rig, a) = Rig::single();
    a.always(script);
    let got = rig.ask(&streaming()).await.expect("served");
    assert!(got.error.is_none());
    assert_eq!(got.frames.last(), Some(&FrameKind::Done));
    assert_eq!(rig.log.last_request().outcome, RequestOutcome::Served);
    assert_eq!(rig.log.attempts.lock().last().map(|ended| ended.outcome), Some(Outcome::Served));
    (rig, got)
}

#[tokio::test(start_paused = true)]
async fn a_cut_an_error_or_an_end_without_a_word_is_a_good_end() {
    for behind in
        [vec![], vec![Step::Fail(error(ErrorKind::Interrupted))], vec![Step::Fail(error(ErrorKind::Unavailable))]]
    {
        let (_, got) = ends_well(finished(behind)).await;
        assert_eq!(got.frames, [FrameKind::Content, FrameKind::Finish, FrameKind::Done]);
    }
}

#[tokio::test(start_paused = true)]
async fn two_seconds_of_silence_are_left_for_usage_and_the_end() {
    let (rig, got) = ends_well(finished([Step::Hang])).await;
    assert_eq!(got.took, 2 * S);
    let ended = rig.log.last_request();
    assert_eq!(ended.estimate.map(|estimate| estimate.reason), Some(Unreported::Missing), "the cost is an estimate");
    let (rig, got) = ends_well(finished([Step::Wait(1_900 * MS), counted(FrameKind::Usage), Step::Hang])).await;
    assert_eq!(got.took, 3_900 * MS, "every event begins the time anew");
    assert_eq!(rig.log.last_request().usage, Some(USAGE));
}

#[tokio::test(start_paused = true)]
async fn later_content_is_still_relayed() {
    let (_, got) = ends_well(finished([Step::Wait(S), frame(FrameKind::Content), frame(FrameKind::Opening)])).await;
    let expected = [FrameKind::Content, FrameKind::Finish, FrameKind::Content, FrameKind::Opening, FrameKind::Done];
    assert_eq!(got.frames, expected);
}

#[tokio::test(start_paused = true)]
async fn keep_alives_do_not_keep_a_complete_answer_open_beyond_the_deadline() {
    let pings = (0..1_000).flat_map(|_| [Step::Wait(S), frame(FrameKind::Opening)]);
    let (_, got) = ends_well(finished(pings)).await;
    assert!(got.took <= 60 * S, "{:?}", got.took);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_complete_answer_was_served() {
    let (rig, a) = Rig::single();
    a.always(finished([Step::Hang]));
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    while let Some(Ok(frame)) = answer.next().await {
        if frame.kind == FrameKind::Finish {
            break;
        }
    }
    drop(answer);
    assert_eq!(rig.log.last_request().outcome, RequestOutcome::Served);
    assert_eq!(rig.in_flight("a"), 0);
}

/// The server cannot translate a frame, or has no memory for it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_its_client_cannot_be_shown_is_broken_and_neither_left_nor_served() {
    for last_shown in [FrameKind::Content, FrameKind::Finish] {
        let (rig, a) = Rig::single();
        a.always(finished([Step::Hang]));
        let mut answer = rig.call(&streaming()).await.expect("served").answer;
        while let Some(Ok(frame)) = answer.next().await {
            if frame.kind == last_shown {
                break;
            }
        }
        answer.break_off(&error(ErrorKind::Protocol));
        assert!(answer.next().await.is_none(), "nothing follows");
        drop(answer);
        assert_eq!(rig.log.last_request().outcome, RequestOutcome::Broken(ErrorKind::Protocol), "{last_shown:?}");
        assert_eq!(rig.log.attempts.lock().len(), 1);
        assert_eq!(rig.in_flight("a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_settled_answer_stays_served() {
    let (rig, a) = Rig::single();
    a.always(finished([frame(FrameKind::Done)]));
    let mut answer = rig.call(&streaming()).await.expect("served").answer;
    while answer.next().await.is_some() {}
    answer.break_off(&error(ErrorKind::NoMemory));
    drop(answer);
    assert_eq!(rig.log.requests.lock().iter().map(|ended| ended.outcome).collect::<Vec<_>>(), [RequestOutcome::Served]);
}

#[tokio::test(start_paused = true)]
async fn before_the_last_finish_a_cut_is_an_error_and_no_end() {
    let (rig, a, _) = Rig::pair(StrategyName::Weighted);
    a.always(vec![Step::Head(Quota::default()), frame(FrameKind::Content), Step::Fail(error(ErrorKind::Interrupted))]);
    let start = Instant::now();
    let got = rig.ask(&streaming()).await.expect("begun");
    assert_eq!(got.frames, [FrameKind::Content]);
    assert_eq!(got.error.map(|error| error.kind), Some(ErrorKind::Interrupted));
    assert_eq!(start.elapsed(), std::time::Duration::ZERO);
}
