//! When an answer is complete, and what the client gets when it is not.

use e2e::{Transcript, chat, with};
use emulator::{End, Fault, OddStream};
use serde_json::{Value, json};

use super::setup::{
    A, B, DONE, EVENTS, JSON, alone, answer, assert_all_served, assert_served, assert_unharmed, chunk, content, ends,
    events, failures, finish, pair, say_hello, says, whole,
};

/// Exactly one error, in-band and last, never a `[DONE]`, and what came before is delivered.
fn assert_broken(stream: &Transcript, text: &str, what: &str) {
    assert_eq!((stream.status, failures(stream)), (200, 1), "{what}: {:?}", stream.events);
    assert_eq!(stream.content(), text, "{what}: {:?}", stream.events);
    let last: Value = serde_json::from_str(stream.events.last().expect("an event")).expect("JSON");
    assert_eq!(last["error"]["type"], "upstream_error", "{what}: {:?}", stream.events);
    assert!(!stream.events.iter().any(|event| event.contains("[DONE]")), "{what}: {:?}", stream.events);
    assert!(stream.is_complete, "the body ends in order: {what}");
}

#[tokio::test]
async fn an_empty_finish_is_none() {
    let empty = says("hel").replace("null", "\"\"");
    let rig = pair();
    for end in [End::Complete, End::Cut] {
        for body in
            [chunk(&empty, "") + &content("lo"), content("hel") + &chunk(&says("lo").replace("null", "\"\""), "")]
        {
            rig.emulator.control(A, answer(200, EVENTS, body.clone(), end));
            assert_broken(&rig.client.stream(&say_hello()).await, "hello", &format!("{end:?}: {body}"));
        }
    }
    let good = chunk(&empty, "") + &content("lo") + &finish() + DONE;
    assert_all_served(&[("an empty finish with the content", good)], "hello").await;
}

#[tokio::test]
async fn an_unknown_finish_ends_where_the_stream_ends_well() {
    let rig = pair();
    for reason in ["\"done\"", "\"end_turn\"", "\"STOP\"", "\"eos\"", "true", "1", "{\"type\":\"stop\"}"] {
        let body = content("hello") + &chunk(&ends(reason), "");
        for behind in [DONE, ""] {
            rig.emulator.control(A, events(body.clone() + behind));
            let stream = rig.client.stream(&say_hello()).await;
            assert_served(&stream, "a", "hello", &format!("{reason}, then {behind:?}"));
        }
        rig.emulator.control(A, answer(200, EVENTS, body, End::Cut));
        assert_broken(&rig.client.stream(&say_hello()).await, "hello", &format!("{reason}, then a cut"));
        rig.emulator.reset();
        rig.client.chat(&chat("hello")).await;
    }
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

/// 2 seconds are left for usage and `[DONE]`.
#[tokio::test]
async fn a_complete_answer_ends_well_whatever_the_connection_does_next() {
    let rig = alone();
    for end in [End::Complete, End::Cut, End::Hang] {
        rig.emulator.control(A, answer(200, EVENTS, content("hello") + &finish(), end));
        assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", &format!("{end:?} behind the finish"));
    }
    rig.emulator.control(A, answer(200, EVENTS, content("hel") + &finish() + &content("lo"), End::Cut));
    assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", "a cut behind late content");
    let unreadable = content("hello") + &finish() + "data: {\"choices\":\n\n";
    rig.emulator.control(A, events(unreadable));
    assert_served(&rig.client.stream(&say_hello()).await, "a", "hello", "no JSON behind the finish");
    for odd in [OddStream::CutAfterFinish, OddStream::NoDone, OddStream::NoUsage] {
        rig.emulator.control(A, Fault::OddStream(odd.clone()));
        let stream = rig.client.stream(&say_hello()).await;
        assert!(stream.is_done() && failures(&stream) == 0, "{odd:?}: {:?}", stream.events);
    }
    let estimated = rig.metrics().await.value("llmrouter_usage_estimated_total", &[("reason", "missing")]);
    assert!(estimated >= 6.0, "without usage the cost is an estimate: {estimated}");
    assert_unharmed(&rig).await;
}

#[tokio::test]
async fn content_behind_the_finish_is_relayed() {
    let inputs = [
        ("late content", content("hel") + &finish() + &content("lo") + DONE),
        ("late content, and no end", content("hel") + &finish() + &content("lo")),
        ("the end without a finish", content("hello") + DONE),
    ];
    assert_all_served(&inputs, "hello").await;
}

#[tokio::test]
async fn a_cut_before_the_finish_is_one_error_and_no_end() {
    let rig = pair();
    for end in [End::Complete, End::Cut] {
        for body in [content("hello"), content("hello") + "data: {\"type\":\"ping\"}\n\n"] {
            rig.emulator.control(A, answer(200, EVENTS, body, end));
            assert_broken(&rig.client.stream(&say_hello()).await, "hello", &format!("{end:?}"));
            rig.emulator.reset();
            rig.client.chat(&chat("hello")).await;
        }
    }
}

#[tokio::test]
async fn every_choice_has_its_own_end() {
    let choice = |index: usize, choice: &str| chunk(&choice.replace("\"index\":0", &format!("\"index\":{index}")), "");
    let both = choice(0, &says("hello")) + &choice(1, &says("hi")) + &choice(0, &ends("\"stop\""));
    let two = with(say_hello(), json!({"n": 2}));
    let rig = alone();
    for end in [End::Complete, End::Cut] {
        rig.emulator.control(A, answer(200, EVENTS, both.clone(), end));
        let stream = rig.client.stream(&two).await;
        assert_eq!((failures(&stream), stream.is_done()), (1, false), "{end:?}: {:?}", stream.events);
        rig.emulator.control(A, answer(200, EVENTS, both.clone() + &choice(1, &ends("\"length\"")), end));
        let stream = rig.client.stream(&two).await;
        assert_eq!((failures(&stream), stream.is_done()), (0, true), "{end:?}: {:?}", stream.events);
    }
    // The upstream's own end is the end of all.
    rig.emulator.control(A, events(both.clone() + DONE));
    let stream = rig.client.stream(&two).await;
    assert_eq!((failures(&stream), stream.is_done()), (0, true), "{:?}", stream.events);
}

/// No choices, an error beside them, a finish reason of error: whole or streamed, another upstream is asked.
#[tokio::test]
async fn an_answer_that_is_none_moves_on_on_every_route() {
    let message = whole(r#"{"role":"assistant","content":"hello"}"#);
    let wholes = [
        message.replace(",\"usage\":", ",\"error\":{\"message\":\"no\",\"code\":500},\"usage\":"),
        message.replace("\"stop\"", "\"error\""),
        r#"{"id":"c1","object":"chat.completion","choices":[]}"#.to_owned(),
        "{}".to_owned(),
        r#"{"err":"api","traceback":"Traceback (most recent call last): …"}"#.to_owned(),
    ];
    for body in wholes {
        // Four failures: a fifth would open the breaker.
        let rig = pair();
        rig.emulator.control(A, answer(200, JSON, body.clone(), End::Complete));
        for (path, request) in [
            ("/v1/chat/completions", chat("Say hello")),
            ("/v1/chat/completions", say_hello()),
            ("/v1/generate", json!({"model": e2e::MODEL, "prompt": "Say hello"})),
            ("/v1/generate/stream", json!({"model": e2e::MODEL, "prompt": "Say hello"})),
        ] {
            let answered = rig.client.post(path, &request).await;
            let by = (answered.status, answered.header("x-llm-router-upstream"));
            assert_eq!(by, (200, "b"), "{path}: {body}: {}", answered.text);
            assert!(!answered.text.contains("served-a"), "{path}: {body}: {}", answered.text);
        }
    }
}
