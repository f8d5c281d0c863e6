//! One test a promise.

use std::time::Duration;

use bytes::Bytes;
use cerebras::{Cerebras, Settings};
use futures_util::StreamExt as _;
use openai::Client;
use provider::{Call, Error, ErrorKind, Frame, FrameKind, Limits, Operation, Provider, ReplyHead, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Answer, Asked, Server};

const ANSWER: &str = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}"#;

fn refusal(field: &str) -> Answer {
    let message = format!("body.{field}: property '{field}' is unsupported");
    let body = json!({"message": message, "param": "validation_error", "code": "wrong_api_format"});
    Answer::json(400, body.to_string())
}

/// Calls with `fields` and hears `answers`, one a request.
async fn call(fields: Value, answers: &[Answer]) -> (Result<(ReplyHead, Vec<Frame>), Error>, Vec<Asked>) {
    let server = Server::start().await;
    let settings = openai::Settings {
        base_url: server.url("/v1"),
        api_key: Some("csk-key".into()),
        connect_timeout: Duration::from_secs(5),
        headers: cerebras::headers(),
    };
    let client = Client::new(&settings).expect("a client");
    let upstream = Cerebras::new(client, Settings { model: "gpt-oss-120b".to_owned(), default_max_tokens: Some(64) });
    let mut body = json!({"model": "alias", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    let body = Bytes::from(body.to_string());
    let request = Request::parse(Operation::Chat, body, Limits { max_messages: 9 }).expect("a valid request");
    let call = Call { request_id: "r".into(), deadline: Instant::now() + Duration::from_secs(30) };
    let heard = async {
        let mut reply = upstream.call(&request, &call).await?;
        let mut frames = Vec::new();
        while let Some(frame) = reply.frames.next().await {
            frames.push(frame?);
        }
        Ok((reply.head, frames))
    };
    let answered = async {
        let mut asked = Vec::new();
        for answer in answers {
            asked.push(server.answer(answer).await);
        }
        asked
    };
    let both = async { tokio::join!(heard, answered) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("as many calls as answers")
}

#[tokio::test]
async fn the_version_and_the_key_are_sent() {
    let mut answer = Answer::json(200, ANSWER);
    answer.headers.push(("x-ratelimit-remaining-tokens-minute".to_owned(), "17".to_owned()));
    let (heard, asked) = call(json!({"top_k": 3}), &[answer]).await;
    let (said, frames) = heard.expect("an answer");
    assert_eq!((said.quota.tokens, said.dropped_params), (Some(17), vec!["top_k".to_owned()]));
    assert_eq!(frames.first().map(|frame| &frame.bytes[..]), Some(ANSWER.as_bytes()));
    assert_eq!(asked[0].path, "/v1/chat/completions");
    for line in ["x-cerebras-version-patch: 2", "authorization: bearer csk-key"] {
        assert!(asked[0].head.contains(line), "{}", asked[0].head);
    }
}

#[tokio::test]
async fn a_field_sent_on_suspicion_is_dropped_once() {
    let fields = json!({"logit_bias": {"5": 1}, "seed": 1});
    let (heard, asked) = call(fields.clone(), &[refusal("logit_bias"), Answer::json(200, ANSWER)]).await;
    assert_eq!(heard.expect("an answer").0.dropped_params, ["logit_bias"]);
    assert_eq!((&asked[0].body["logit_bias"], asked[1].body.get("logit_bias")), (&fields["logit_bias"], None));
    assert_eq!(asked[1].body["seed"], 1);

    let twice = json!({"presence_penalty": 1, "frequency_penalty": 1});
    let (heard, asked) = call(twice, &[refusal("presence_penalty"), refusal("frequency_penalty")]).await;
    assert_eq!(heard.expect_err("no second retry").kind, ErrorKind::Unsupported);
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn any_other_refusal_stands() {
    let (heard, _) = call(json!({"seed": 1}), &[refusal("seed")]).await;
    assert_eq!(heard.expect_err("a refusal").kind, ErrorKind::Unsupported);
    let wrong = json!({"message": "seed: not an integer", "param": "validation_error", "code": "wrong_api_format"});
    let (heard, _) = call(json!({"seed": "x"}), &[Answer::json(400, wrong.to_string())]).await;
    assert_eq!(heard.expect_err("a refusal").kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn what_is_excluded_is_never_sent() {
    let (heard, asked) = call(json!({"n": 2}), &[]).await;
    assert_eq!(heard.expect_err("excluded").kind, ErrorKind::Unsupported);
    assert!(asked.is_empty());
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
    let (heard, _) = call(fields, &[Answer { status: 200, headers, reads }]).await;
    let frames = heard.expect("an answer").1;
    let kinds: Vec<FrameKind> = frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [FrameKind::Opening, FrameKind::Content, FrameKind::Finish, FrameKind::Done]);
    assert_eq!(frames[2].usage.map(|usage| usage.total()), Some(5));
    let written = String::from_utf8(frames[2].bytes.to_vec()).expect("text");
    assert_eq!(written.matches("data: ").count(), 2);
    assert!(written.ends_with(&format!("\"choices\":[],{usage}}}\n\n")), "{written}");
}
