//! The bytes of a streamed answer: what the router writes between an upstream's events, and how HTTP/1.0 clients get them.

use std::fmt::Write as _;

use e2e::{CLIENT_KEY, Launch, Rig, chat, only, streamed, with};
use emulator::Settings;
use serde_json::{Value, json};

use crate::{
    common::{Raw, launch, status},
    scripted::Scripted,
};

const COMMENT: &str = ": keep-alive\n";

fn content(text: &str) -> String {
    let chunk = json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
    });
    format!("data: {chunk}\n\n")
}

const END: &str =
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn impatient(upstream: &Scripted) -> Rig {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{}{}", upstream.config(), only("scripted"));
    Launch::new(Settings::instant(), &text).start()
}

/// The whole body, where the upstream goes on after the first comment of each silence; further ones, which come where the
/// machine is slow, are left out.
async fn read_with_pauses(rig: &Rig, upstream: &Scripted) -> String {
    let mut response = rig.client.json("/v1/chat/completions", &streamed(chat("x"))).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let (mut body, mut resumed_at) = (String::new(), 0);
    while let Some(read) = response.chunk().await.expect("a body to its end") {
        body += std::str::from_utf8(&read).expect("text");
        while body.ends_with(&COMMENT.repeat(2)) {
            body.truncate(body.len() - COMMENT.len());
        }
        if body.ends_with(COMMENT) && body.len() > resumed_at {
            resumed_at = body.len();
            upstream.go_on();
        }
    }
    body
}

/// A blank line ends an event, and SDKs that keep the last id (openai-python) hand on an event without data then.
#[tokio::test]
async fn a_comment_is_one_line_and_ends_no_event() {
    let (first, rest) = (format!("id: 1\n{}", content("hel")), content("lo") + END);
    let upstream = Scripted::start("text/event-stream", &[&first, &rest]).await;
    let rig = impatient(&upstream);
    let body = read_with_pauses(&rig, &upstream).await;
    assert_eq!(body, format!("{first}{COMMENT}{rest}"));
}

/// The upstream falls silent amid an event, and before it sent more events at once than are written at once.
#[tokio::test]
async fn a_comment_comes_between_events_only() {
    let many = (0..2_000).fold(String::new(), |mut text, number| {
        write!(text, "id: {number}\n{}", content(&format!("word {number} "))).unwrap();
        text
    });
    let odd = content("odd").replace("\n\n", "\r\n\r\n");
    let (half, other_half) = odd.split_at(40);
    let (first, second) = (format!("{many}{half}"), format!("{other_half}{many}"));
    let upstream = Scripted::start("text/event-stream", &[&first, &second, END]).await;
    let rig = impatient(&upstream);
    let body = read_with_pauses(&rig, &upstream).await;
    assert!(body == format!("{many}{COMMENT}{odd}{many}{COMMENT}{END}"), "{} bytes", body.len());
}

/// What a client gets that speaks `version`, and whether the server closed the connection after it.
async fn raw(rig: &Rig, version: &str, path: &str, headers: &str, body: &Value) -> (String, String) {
    let body = body.to_string();
    let request = format!(
        "POST {path} {version}\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\ncontent-type: application/json\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = Raw::exchange(rig, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer}"));
    (head.to_ascii_lowercase(), body.to_owned())
}

fn streams() -> [(&'static str, &'static str, Value, &'static str); 6] {
    let prompt = json!({"model": "llama", "prompt": "hello"});
    let early = with(streamed(chat("hello")), json!({"model": "early"}));
    let batch = json!({"model": "llama", "prompts": ["one", "two"]});
    [
        ("/v1/chat/completions", "", streamed(chat("hello")), "data: [DONE]\n\n"),
        ("/v1/chat/completions", "", early, "data: [DONE]\n\n"),
        ("/v1/completions", "", streamed(prompt.clone()), "data: [DONE]\n\n"),
        ("/v1/generate/stream", "", prompt.clone(), "data: [DONE]\n\n"),
        ("/v1/chat/stream", "", prompt, "data: [DONE]\n\n"),
        ("/v1/generate/batch", "accept: application/x-ndjson\r\n", batch, "}\n"),
    ]
}

fn with_early_headers() -> Rig {
    let early = only("runpod").replace("\"llama\"", "\"early\"");
    let text = format!("{}{}{}{early}early_headers = true\n", e2e::RUNPOD_LB, e2e::CEREBRAS, e2e::BALANCED);
    Launch::new(Settings::instant(), &text).start()
}

#[tokio::test]
async fn a_stream_to_an_http_1_0_client_ends_with_the_connection() {
    let rig = with_early_headers();
    for (path, headers, body, end) in streams() {
        for connection in ["", "connection: keep-alive\r\n", "connection: close\r\n", "te: chunked\r\n"] {
            let what = format!("{path} {connection:?}");
            let headers = format!("{headers}{connection}");
            let (head, body) = raw(&rig, "HTTP/1.0", path, &headers, &body).await;
            assert!(head.starts_with("http/1.0 200 "), "{what}: {head}");
            for wrong in ["\r\ntransfer-encoding:", "\r\ncontent-length:", "\r\nconnection: keep-alive"] {
                assert!(!head.contains(wrong), "{what}: {head}");
            }
            assert!(body.starts_with("data: {") || body.starts_with("{\"index\":"), "{what}: {body}");
            assert!(body.ends_with(end), "{what}: {body}");
        }
    }
}

/// A connection that closes is no sign of a cut there, so a stream's must not be announced to end with it.
#[tokio::test]
async fn a_stream_to_an_http_1_1_client_is_chunked_and_its_connection_kept() {
    let rig = with_early_headers();
    for (path, headers, body, end) in streams() {
        let mut request = rig.client.json(path, &body);
        if !headers.is_empty() {
            request = request.header("accept", "application/x-ndjson");
        }
        let response = request.send().await.expect("an answer");
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap_or_default().to_owned());
        assert_eq!(header("transfer-encoding").as_deref(), Some("chunked"), "{path}");
        assert_eq!(header("connection"), None, "{path}");
        assert!(response.text().await.expect("a body to its end").ends_with(end), "{path}");
    }
}

#[tokio::test]
async fn a_whole_answer_to_an_http_1_0_client_has_a_length_and_may_keep_its_connection() {
    let rig = launch().start();
    let mut connection = Raw::connect(&rig).await;
    let body = chat("x").to_string();
    for _ in 0..2 {
        connection
            .send(format!(
                "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {CLIENT_KEY}\r\nconnection: keep-alive\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        let answer = connection.answer().await.to_ascii_lowercase();
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.contains("\r\ncontent-length: ") && answer.contains("\r\nconnection: keep-alive"), "{answer}");
    }
}
