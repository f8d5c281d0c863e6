//! Another upstream serves what the first one cannot, within one deadline.

use std::time::Duration;

use provider::{ErrorKind, Features, FrameKind, Operation, Phase, Quota};
use router::{BreakerState, Reason, RouterError, StrategyName};
use tokio::time::{Instant, advance};

use crate::{
    fake::{Fake, MS, S, Step, after, error, fail, fail_for, frame, good, streamed, whole},
    rig::{Rig, chat, model, plain, streaming, table, upstream},
};

#[tokio::test(start_paused = true)]
async fn the_other_serves_at_once_what_one_fails() {
    for kind in [
        ErrorKind::Connect,
        ErrorKind::Unavailable,
        ErrorKind::Interrupted,
        ErrorKind::Protocol,
        ErrorKind::Auth,
        ErrorKind::NotFound,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::Unsupported,
        ErrorKind::Timeout(Phase::FirstToken),
    ] {
        for request in [plain(), streaming()] {
            let (rig, a, b) = Rig::pair(StrategyName::Balanced);
            a.always(fail(kind));
            b.does(|request| good(request, Duration::ZERO));
            let got = rig.ask(&request).await.expect("served");
            assert_eq!((got.upstream.as_str(), got.attempts, got.reason), ("b", 2, Reason::Fallback), "{kind}");
            assert_eq!(got.took, Duration::ZERO, "{kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_stream_is_given_up_at_the_first_token_limit() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(vec![Step::Hang]);
    let got = rig.ask(&streaming()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.took), ("b", 5 * S + 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_whole_answer_leaves_the_other_half_of_the_time() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.always(vec![Step::Hang]);
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.took), ("b", 30 * S + 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_an_alternative_gets_all_the_time_there_is() {
    let (a, b) = (Fake::new(), Fake::new());
    let mut other = upstream("b", &b);
    other.0.operations = vec![Operation::Embeddings];
    let rig = Rig::new(
        table(vec![upstream("a", &a), other], model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)])),
        &[&a, &b],
    );
    a.always(after(50 * S, whole()));
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts), ("a", 1));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_everything() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(vec![Step::Hang]);
    b.always(vec![Step::Hang]);
    for request in [plain(), streaming()] {
        let start = Instant::now();
        let refused = rig.ask(&request).await.expect_err("nobody answers");
        assert!(matches!(refused, RouterError::Failed { attempts: 2, .. }), "{refused}");
        assert!(start.elapsed() <= 60 * S, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_final() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.always(fail(ErrorKind::InvalidRequest));
    let refused = rig.ask(&plain()).await.expect_err("bad input");
    let RouterError::Failed { error, attempts: 1, .. } = refused else { panic!("{refused}") };
    assert_eq!(error.message, "says invalid_request");
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_overflow_moves_only_to_a_larger_context() {
    for (context, serves) in [(Some(4_096), false), (Some(8_192), false), (Some(16_384), true), (None, true)] {
        let (a, b) = (Fake::new(), Fake::new());
        let (mut first, mut other) = (upstream("a", &a), upstream("b", &b));
        (first.0.context_tokens, other.0.context_tokens) = (Some(8_192), context);
        let rig =
            Rig::new(table(vec![first, other], model(StrategyName::Balanced, &[("a", 0.8), ("b", 0.2)])), &[&a, &b]);
        a.always(fail(ErrorKind::ContextOverflow));
        let start = Instant::now();
        let answer = rig.ask(&plain()).await;
        assert_eq!(b.calls(), u32::from(serves), "{context:?}");
        match answer {
            Ok(got) => assert!(serves && got.upstream == "b"),
            Err(RouterError::Failed { error, .. }) => {
                assert!(!serves && error.kind == ErrorKind::ContextOverflow);
                assert_eq!(start.elapsed(), Duration::ZERO, "there is nothing to wait for");
            }
            Err(refused) => panic!("{refused}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_target_can_do_is_refused_with_the_reason() {
    let (a, b) = (Fake::new(), Fake::new());
    let (mut first, mut other) = (upstream("a", &a), upstream("b", &b));
    first.0.features = Features { json_schema: true, ..Features::default() };
    other.0.features = Features { json_schema: true, ..Features::default() };
    (first.0.context_tokens, other.0.context_tokens) = (Some(10), Some(12));
    let rig = Rig::new(table(vec![first, other], model(StrategyName::Cost, &[("a", 0.5), ("b", 0.5)])), &[&a, &b]);
    let tools = chat(r#","tools":[{"type":"function","function":{"name":"f"}}]"#);
    let refused = rig.ask(&tools).await.expect_err("no tools");
    assert!(matches!(refused, RouterError::Unsupported { what: "tool calls" }), "{refused}");
    let long = chat(&format!(r#","user":"{}""#, "x".repeat(400)));
    let refused = rig.ask(&long).await.expect_err("too long");
    assert!(matches!(refused, RouterError::ContextOverflow { context_tokens: 12 }), "{refused}");
    assert_eq!((a.calls(), b.calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_upstream_is_left_alone_until_its_time() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    a.next([fail_for(ErrorKind::RateLimited, 20 * S)]);
    for _ in 0..19 {
        assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "b");
        advance(S).await;
    }
    assert_eq!(a.calls(), 1, "no call to it meanwhile");
    assert_eq!(rig.breaker("a"), BreakerState::Closed);
    advance(S).await;
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_quota_in_the_headers_is_honoured() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let mut script = whole();
    script[0] = Step::Head(Quota { exhausted_for: Some(10 * S), ..Quota::default() });
    a.next([script]);
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
    let got = rig.ask(&plain()).await.expect("served");
    assert_eq!((got.upstream.as_str(), got.attempts, got.reason), ("b", 1, Reason::Spill));
    advance(10 * S).await;
    assert_eq!(rig.ask(&plain()).await.expect("served").upstream, "a");
}

/// Kinds of failure of an upstream that is able to serve the request.
const OWN_FAILURES: [ErrorKind; 9] = [
    ErrorKind::Connect,
    ErrorKind::Unavailable,
    ErrorKind::Interrupted,
    ErrorKind::Protocol,
    ErrorKind::Auth,
    ErrorKind::NotFound,
    ErrorKind::RateLimited,
    ErrorKind::Overloaded,
    ErrorKind::Timeout(Phase::FirstToken),
];

/// The kind of error that the client gets when `a` and `b` fail with these kinds.
async fn final_error(a: ErrorKind, b: ErrorKind) -> ErrorKind {
    let (rig, first, other) = Rig::pair(StrategyName::Balanced);
    first.always(fail(a));
    other.always(fail(b));
    let refused = rig.ask(&plain()).await.expect_err("nobody can");
    let RouterError::Failed { error, .. } = refused else { panic!("{refused}") };
    error.kind
}

#[tokio::test(start_paused = true)]
async fn what_one_cannot_do_does_not_hide_that_the_other_failed() {
    for refusal in [ErrorKind::Unsupported, ErrorKind::ContextOverflow, ErrorKind::Refused] {
        for failure in OWN_FAILURES {
            assert_eq!(final_error(refusal, failure).await, failure, "after {refusal}");
            assert_eq!(final_error(failure, refusal).await, failure, "before {refusal}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_refuse_the_refusal_with_the_highest_severity_is_the_answer() {
    let (overflow, unsupported, refused) = (ErrorKind::ContextOverflow, ErrorKind::Unsupported, ErrorKind::Refused);
    assert_eq!(final_error(unsupported, overflow).await, overflow);
    assert_eq!(final_error(refused, unsupported).await, unsupported);
    for failure in OWN_FAILURES {
        assert_eq!(final_error(failure, ErrorKind::InvalidRequest).await, ErrorKind::InvalidRequest, "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_cannot_do_does_not_hide_that_the_other_takes_no_calls() {
    let (rig, a, b) = Rig::pair(StrategyName::Balanced);
    a.next([fail_for(ErrorKind::RateLimited, 20 * S)]);
    b.always(fail(ErrorKind::Unsupported));
    rig.ask(&plain()).await.expect_err("one is out of quota");
    let refused = rig.ask(&plain()).await.expect_err("it still is");
    let RouterError::NoUpstream { retry_after } = refused else { panic!("{refused}") };
    assert!((15 * S..=20 * S).contains(&retry_after), "{retry_after:?}");
    assert_eq!((a.calls(), b.calls()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_content_falls_back() {
    let (rig, a, _) = Rig::pair(StrategyName::Balanced);
    let head = || Step::Head(Quota::default());
    a.next([
        vec![head(), frame(FrameKind::Opening), frame(FrameKind::Done)],
        vec![head(), frame(FrameKind::Opening)],
        vec![head(), Step::Fail(error(ErrorKind::Unavailable))],
    ]);
    for _ in 0..3 {
        let got = rig.ask(&streaming()).await.expect("served");
        assert_eq!((got.upstream.as_str(), got.attempts), ("b", 2));
        assert_eq!(got.frames.len(), streamed().len() - 1);
    }
}
