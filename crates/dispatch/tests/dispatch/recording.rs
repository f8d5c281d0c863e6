//! What must be on record before a call is made, and what happens if it cannot be.

use dispatch::RequestOutcome;
use provider::{ErrorKind, FrameKind, Usage};
use router::{RouterError, StrategyName};
use tokio::time::Instant;

use crate::{
    fake::{MS, fail},
    rig::{Rig, chat, plain, streaming},
};

#[tokio::test(start_paused = true)]
async fn a_call_is_made_when_its_intent_is_on_record() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    *rig.log.beginning.lock() = Some(300 * MS);
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.took, a.calls()), (310 * MS, 1));
}

/// The most that a call may use is what is asked for: for each choice the limit, or 4096 tokens where there is none.
#[tokio::test(start_paused = true)]
async fn an_intent_reserves_what_the_call_may_use() {
    let (rig, ..) = Rig::pair(StrategyName::Balanced);
    for (fields, completion_tokens) in [("", 4096), (r#","max_tokens":7"#, 7), (r#","max_tokens":7,"n":3"#, 21)] {
        let request = chat(fields);
        let prompt_tokens = request.estimated_prompt_tokens();
        rig.ask(&request).await.expect("served");
        let (_, reserved) = *rig.log.begun.lock().last().expect("begun");
        assert_eq!(reserved, Usage { prompt_tokens, completion_tokens, ..Usage::default() }, "{fields}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_request_has_a_number_of_its_own() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(fail(ErrorKind::Refused));
    rig.ask(&plain()).await.expect("served");
    let numbers: Vec<_> = rig.log.begun.lock().iter().map(|((_, number), _)| *number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_put_on_record_is_not_asked_for_and_no_upstream_is_blamed() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    *rig.log.beginning.lock() = Some(MS);
    *rig.log.fails.lock() = true;
    for _ in 0..20 {
        let error = rig.ask(&plain()).await.expect_err("refused");
        assert!(
            matches!(&error, RouterError::Failed { error, .. } if error.kind == ErrorKind::Unrecorded),
            "{error:?}"
        );
        assert_eq!(rig.log.last_request().outcome, RequestOutcome::Failed(ErrorKind::Unrecorded));
    }
    assert_eq!((a.calls(), b.calls()), (0, 0));
    *rig.log.fails.lock() = false;
    assert_eq!(rig.ask(&plain()).await.expect("served").attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_put_on_record_does_not_end_as_a_complete_one() {
    for request in [plain(), streaming()] {
        let (rig, ..) = Rig::pair(StrategyName::Balanced);
        *rig.log.settling.lock() = Some(MS);
        *rig.log.fails.lock() = true;
        let start = Instant::now();
        let got = crate::rig::read(rig.call(&request).await.expect("begun"), start).await;
        assert_eq!(got.error.expect("an error").kind, ErrorKind::Unrecorded);
        assert!(
            !got.frames.iter().any(|frame| matches!(frame, FrameKind::Whole | FrameKind::Done)),
            "{:?}",
            got.frames
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_used_that_left_before_the_call_was_made_is_nothing() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    *rig.log.beginning.lock() = Some(300 * MS);
    let left = tokio::time::timeout(100 * MS, rig.ask(&plain())).await;
    assert!(left.is_err() && a.calls() + b.calls() == 0);
    let ended = rig.log.attempts.lock().last().cloned().expect("an attempt");
    assert_eq!(ended.outcome, dispatch::Outcome::ClientGone);
    assert!(ended.estimate.is_none());
}
