//! Bodies and heads that are wrong as HTTP: too large, too slow, cut off, framed twice. None may hang, and none may
//! leave a permit or memory taken.

use std::time::Duration;

use e2e::{Answer, CLIENT_KEY, Rig, chat, eventually};
use futures_util::stream;
use reqwest::{Body, Method};

use crate::common::{Raw, Refusal, launch, received, status, still_serves};

fn head(rest: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\n{rest}\r\n"
    )
}

async fn send(rig: &Rig, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = rig.client.request(Method::POST, "/v1/chat/completions");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.body(body)).await
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn only_plain_json_is_taken() {
    let rig = launch().start();
    let says = "send the header 'Content-Type: application/json'";
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""]
    {
        let answer = send(&rig, &[("content-type", media_type)], chat("x").to_string()).await;
        let refusal = Refusal { status: 415, code: "unsupported_media_type", param: None, says };
        refusal.check(media_type, &answer);
    }
    let answer = send(&rig, &[], chat("x").to_string()).await;
    Refusal { status: 415, code: "unsupported_media_type", param: None, says }.check("none", &answer);
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let answer = send(&rig, &[JSON, ("content-encoding", encoding)], &b"\x1f\x8b\x08\x00"[..]).await;
        let says = "without 'Content-Encoding'";
        Refusal { status: 415, code: "unsupported_encoding", param: None, says }.check(encoding, &answer);
    }
    assert_eq!(received(&rig), 0);
    let answer = send(&rig, &[JSON, ("content-encoding", "identity")], chat("x").to_string()).await;
    assert_eq!(answer.status, 200);
    still_serves(&rig, 2).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_comes() {
    let rig = launch().env("LLM_ROUTER__SERVER__MAX_BODY_BYTES", "4096").start();
    let refusal = Refusal { status: 413, code: "body_too_large", param: None, says: "larger than 4096 bytes: shorten" };
    refusal.check("by length", &send(&rig, &[JSON], chat(&"x".repeat(4096)).to_string()).await);
    let chunks = || stream::iter((0..64).map(|_| Ok::<_, std::io::Error>("x".repeat(1024))));
    refusal.check("by chunks", &send(&rig, &[JSON], Body::wrap_stream(chunks())).await);
    // Refused by its announcement, before a byte of it came.
    let announced = Raw::exchange(&rig, head("content-length: 99999999999\r\n")).await;
    assert_eq!(status(&announced), 413, "{announced}");
    assert_eq!(received(&rig), 0);
    // Up to the limit it is taken, chunked as well.
    let text = chat(&"x".repeat(4000)).to_string();
    let halves = [text[..2000].to_owned(), text[2000..].to_owned()].map(Ok::<_, std::io::Error>);
    let answer = send(&rig, &[JSON], Body::wrap_stream(stream::iter(halves))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    still_serves(&rig, 2).await;
}

#[tokio::test]
async fn a_slow_body_is_cut_off() {
    let rig = launch().env("LLM_ROUTER__SERVER__BODY_READ_S", "1").start();
    for framing in ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"] {
        let mut connection = Raw::connect(&rig).await;
        connection.send(head(framing)).await;
        connection.send("5\r\n{\"mod").await;
        let answer = connection.answer().await;
        assert_eq!(status(&answer), 408, "{answer}");
        assert!(answer.contains("body_timeout") && answer.contains("send it without pauses"), "{answer}");
    }
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let rig = launch().env("LLM_ROUTER__SERVER__HEAD_READ_S", "1").start();
    let mut connection = Raw::connect(&rig).await;
    connection.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
    assert_eq!(status(&connection.answer().await), 408);
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_client_that_goes_amid_its_body_leaves_nothing_behind() {
    let rig = launch().env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "4").start();
    for framing in ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"] {
        for _ in 0..8 {
            let mut connection = Raw::connect(&rig).await;
            connection.send(head(framing)).await;
            connection.send("2\r\n{ ").await;
        }
    }
    // All permits are free again.
    eventually("places are given back", async || {
        let answers = rig.client.chats(4, 4, |_| chat("x")).await;
        answers.iter().all(|answer| answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bad_framing_ends_the_connection_at_most() {
    let rig = launch().start();
    let body = chat("x").to_string();
    let length = body.len();
    let chunk = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let cases = [
        ("two framings", head(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")) + &chunk),
        ("two lengths", head(&format!("content-length: {length}\r\ncontent-length: 1\r\n")) + &body),
        ("a negative length", head("content-length: -1\r\n") + &body),
        ("a length with a sign", head(&format!("content-length: +{length}\r\n")) + &body),
        ("a length that is a word", head("content-length: many\r\n") + &body),
        ("an unknown coding", head("transfer-encoding: cow\r\n") + &body),
        ("a bad chunk size", head("transfer-encoding: chunked\r\n") + "zz\r\n{}\r\n0\r\n\r\n"),
        ("a huge chunk size", head("transfer-encoding: chunked\r\n") + "fffffffffffffffff\r\n{}"),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned()),
        ("no version", "GET /\r\n\r\n".to_owned()),
        ("a space in a name", head("x y: z\r\n")),
        ("a bare line feed", head("a: b\n\n\r\n")),
        ("one huge header", head(&format!("x-huge: {}\r\n", "x".repeat(1 << 20)))),
        ("many headers", head(&"x-many: y\r\n".repeat(5_000))),
        ("a huge path", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(1 << 20))),
    ];
    for (at, (what, bytes)) in cases.iter().enumerate() {
        let answer = Raw::exchange(&rig, bytes).await;
        let status = status(&answer);
        assert!(status == 0 || (400..500).contains(&status), "{what}: {status} {answer}");
        still_serves(&rig, at as u64 + 1).await;
    }
}

#[tokio::test]
async fn a_refusal_does_not_upset_the_next_request_of_its_connection() {
    let rig = launch().start();
    let mut connection = Raw::connect(&rig).await;
    let (bad, good) = (r#"{"model":7}"#, chat("x").to_string());
    for _ in 0..3 {
        connection.send(head(&format!("content-length: {}\r\n", bad.len())) + bad).await;
        assert_eq!(status(&connection.answer().await), 400);
        connection.send(head(&format!("content-length: {}\r\n", good.len())) + &good).await;
        assert_eq!(status(&connection.answer().await), 200);
    }
    assert_eq!(received(&rig), 3);
}

#[tokio::test]
async fn a_body_that_is_waited_for_is_asked_for() {
    let rig = launch().start();
    let body = chat("x").to_string();
    let mut connection = Raw::connect(&rig).await;
    connection.send(head(&format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len()))).await;
    let mut interim = [0; 25];
    let read = tokio::io::AsyncReadExt::read_exact(&mut connection.0, &mut interim);
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("in time").expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    connection.send(body).await;
    assert_eq!(status(&connection.answer().await), 200);
}

/// What follows a request that was framed wrongly is not read as a request: it may be the rest of that one's body.
#[tokio::test]
async fn nothing_is_served_behind_bad_framing() {
    let rig = launch().start();
    let body = chat("x").to_string();
    let length = body.len();
    let good = head(&format!("content-length: {length}\r\n")) + &body;
    let cases = [
        ("two framings", head(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")) + "0\r\n\r\n"),
        ("two lengths", head("content-length: 0\r\ncontent-length: 1\r\n")),
        ("two codings", head("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n") + "0\r\n\r\n"),
        ("a coding with a tail", head("transfer-encoding: chunked, identity\r\n") + "0\r\n\r\n"),
        ("a length with a space", head("content-length: 1 1\r\n")),
        ("a space before the colon", head("transfer-encoding : chunked\r\n") + "0\r\n\r\n"),
        ("a folded line", head("x: y\r\n content-length: 0\r\n")),
        ("a bad chunk", head("transfer-encoding: chunked\r\n") + "zz\r\n"),
        ("two hosts", head("host: y\r\n")),
    ];
    for (what, bad) in cases {
        let mut connection = Raw::connect(&rig).await;
        connection.send(bad + &good).await;
        let answers = connection.rest().await;
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 0, "{what}: {answers}");
    }
    assert_eq!(received(&rig), 0);
    still_serves(&rig, 1).await;
}

/// A request to switch to another protocol is answered in this one.
#[tokio::test]
async fn no_other_protocol_is_spoken() {
    let rig = launch().start();
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rest}\r\n");
    for rest in ["upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n", "upgrade: websocket\r\n"] {
        let answer = Raw::exchange(&rig, get(rest)).await;
        assert_eq!(status(&answer), 200, "{rest}: {answer}");
    }
    for request in ["TRACE /livez", "CONNECT x:443", "CONNECT /livez", "OPTIONS *", "PRI *"] {
        let answer = Raw::exchange(&rig, format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(matches!(status(&answer), 400 | 404 | 405), "{request}: {answer}");
    }
    let answer = Raw::exchange(&rig, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(matches!(status(&answer), 0 | 400 | 404 | 405), "{answer}");
    still_serves(&rig, 1).await;
}
