//! How Cerebras' adapter changes a request before and after a refusal.

use std::time::Duration;

use bytes::Bytes;
use cerebras::{Cerebras, Settings};
use futures_util::StreamExt as _;
use openai::Client;
use provider::{
    Adjustment, Call, Error, ErrorKind, Frame, FrameKind, Limits, MemoryBudget, Operation, Provider, ReplyHead, Request,
};
use serde_json::{Value, json};

use crate::server::{Answer, Asked, Server};

const ANSWER: &str = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}"#;

fn refusal(field: &str) -> Answer {
    let message = format!("body.{field}: property '{field}' is unsupported");
    let body = json!({"message": message, "param": "validation_error", "code": "wrong_api_format"});
    Answer::json(400, body.to_string())
}

type Received = Result<(ReplyHead, Vec<Frame>), Error>;

/// Calls with `fields`; the server answers with `answer`, if the call is to reach it.
async fn call(fields: Value, answer: Option<Answer>) -> (Received, Option<Asked>) {
    adjusted(fields, None, answer).await
}

/// The same, with `adjustment` to what is sent.
async fn adjusted(fields: Value, adjustment: Option<Adjustment>, answer: Option<Answer>) -> (Received, Option<Asked>) {
    let server = Server::start().await;
    let settings = openai::Settings {
        base_url: server.url("/v1"),
        api_key: Some("csk-key".into()),
        connect_timeout: Duration::from_secs(5),
        headers: cerebras::headers(),
    };
    let client = Client::new(&settings).expect("a client");
    let model = "gpt-oss-120b".to_owned();
    let upstream = Cerebras::new(client, Settings { model, default_max_tokens: Some(64), context_tokens: None });
    let mut body = json!({"model": "alias", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    let body = Bytes::from(body.to_string());
    let request = Request::parse(Operation::Chat, body, Limits { max_messages: 9 }).expect("a valid request");
    let call = Call {
        request_id: "r".into(),
        adjustment,
        reasoning: provider::ReasoningField::default(),
        memory: MemoryBudget::default(),
    };
    let result = async {
        let mut reply = upstream.call(&request, &call).await?;
        let mut frames = Vec::new();
        while let Some(frame) = reply.frames.next().await {
            frames.push(frame?);
        }
        Ok((reply.head, frames))
    };
    let answered = async {
        match &answer {
            Some(answer) => Some(server.answer(answer).await),
            None => None,
        }
    };
    let both = async { tokio::join!(result, answered) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("a call if there is an answer")
}

#[tokio::test]
async fn the_version_and_the_key_are_sent() {
    let mut answer = Answer::json(200, ANSWER);
    answer.headers.push(("x-ratelimit-remaining-tokens-minute".to_owned(), "17".to_owned()));
    let (result, asked) = call(json!({"top_k": 3}), Some(answer)).await;
    let asked = asked.expect("a call");
    let (said, frames) = result.expect("an answer");
    assert_eq!((said.quota.tokens, said.dropped_params), (Some(17), vec!["top_k".to_owned()]));
    assert_eq!(frames.first().map(|frame| &frame.bytes[..]), Some(ANSWER.as_bytes()));
    assert_eq!(asked.path, "/v1/chat/completions");
    for line in ["x-cerebras-version-patch: 2", "authorization: bearer csk-key"] {
        assert!(asked.head.contains(line), "{}", asked.head);
    }
}

#[tokio::test]
async fn a_field_sent_on_suspicion_is_dropped_once() {
    let fields = json!({"logit_bias": {"5": 1}, "seed": 1});
    let (result, asked) = call(fields.clone(), Some(refusal("logit_bias"))).await;
    let error = result.expect_err("a refusal");
    assert_eq!(asked.expect("a call").body["logit_bias"], fields["logit_bias"]);
    let without = Adjustment::Without("logit_bias".to_owned());
    assert_eq!((error.kind, error.again.as_ref()), (ErrorKind::Unsupported, Some(&without)));

    let (result, asked) = adjusted(fields.clone(), error.again, Some(Answer::json(200, ANSWER))).await;
    assert_eq!(result.expect("an answer").0.dropped_params, ["logit_bias"]);
    let asked = asked.expect("a call");
    assert_eq!((asked.body.get("logit_bias"), asked.body["seed"].as_u64()), (None, Some(1)));

    let (result, _) = adjusted(fields, Some(without), Some(refusal("seed"))).await;
    let error = result.expect_err("a refusal");
    assert_eq!((error.kind, error.again), (ErrorKind::Unsupported, None), "no third call");
}

#[tokio::test]
async fn a_member_of_messages_that_is_refused_is_dropped_once() {
    let fields = json!({"messages": [{"role": "user", "content": "x", "name": "n"}]});
    let (result, asked) = call(fields.clone(), Some(refusal("messages.0.user.name"))).await;
    assert_eq!(asked.expect("a call").body["messages"], fields["messages"]);
    let again = result.expect_err("a refusal").again;
    assert_eq!(again, Some(Adjustment::Without("messages.name".to_owned())));
    let (result, asked) = adjusted(fields, again, Some(Answer::json(200, ANSWER))).await;
    assert_eq!(result.expect("an answer").0.dropped_params, ["messages.name"]);
    assert_eq!(asked.expect("a call").body["messages"], json!([{"role": "user", "content": "x"}]));
}

#[tokio::test]
async fn any_other_refusal_stands() {
    let (result, _) = call(json!({"stop": "x"}), Some(refusal("stop"))).await;
    let error = result.expect_err("a refusal");
    assert_eq!((error.kind, error.again), (ErrorKind::Unsupported, None), "an answer needs its stop");
    let wrong = json!({"message": "seed: not an integer", "param": "validation_error", "code": "wrong_api_format"});
    let (result, _) = call(json!({"seed": "x"}), Some(Answer::json(400, wrong.to_string()))).await;
    let error = result.expect_err("a refusal");
    assert_eq!((error.kind, error.again), (ErrorKind::InvalidRequest, None));
}

#[tokio::test]
async fn what_is_excluded_is_never_sent() {
    let (result, asked) = call(json!({"n": 2}), None).await;
    assert_eq!(result.expect_err("excluded").kind, ErrorKind::Unsupported);
    assert!(asked.is_none());
}

#[tokio::test]
async fn usage_on_the_finish_gets_a_chunk_of_its_own() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":2},"time_info":{"total_time":0.1}"#;
    let finish =
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"stop\"}}],{usage}}}\n\n");
    let opening = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let thought = "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"reasoning\":\"hm\"}}]}\n\n";
    let reads = [opening, thought, &finish, "data: [DONE]\n\n"].map(str::to_owned).to_vec();
    let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let (result, _) = call(fields, Some(Answer { status: 200, headers, reads })).await;
    let frames = result.expect("an answer").1;
    let kinds: Vec<FrameKind> = frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [FrameKind::Opening, FrameKind::Content, FrameKind::Finish, FrameKind::Done]);
    assert_eq!(frames[2].usage.map(|usage| usage.total()), Some(5));
    let written = String::from_utf8(frames[2].bytes.to_vec()).expect("text");
    assert_eq!(written.matches("data: ").count(), 2);
    assert!(written.ends_with(&format!("\"choices\":[],{usage}}}\n\n")), "{written}");
}
