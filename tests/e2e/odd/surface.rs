//! Methods, paths and framing that some clients use.

use std::time::Duration;

use e2e::{Answer, CLIENT_KEY, Launch, Rig, only};
use emulator::{End, Settings};
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::setup::{A, EVENTS, a, answer, content, pair, say_hello};

/// A blank line would end an event, and clients that keep the last id hand on an event without data then.
#[tokio::test]
async fn c12_a_comment_of_ours_ends_no_event() {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{}{}", a("openai"), only("a"));
    let rig = Launch::new(Settings::instant(), &text).start();
    let sent = format!("id: 1\n{}", content("hel"));
    rig.emulator.control(A, answer(200, EVENTS, sent.clone(), End::Hang));
    let mut response = rig.client.json("/v1/chat/completions", &say_hello()).send().await.expect("an answer");
    let mut body = String::new();
    while body.matches(": keep-alive").count() < 2 {
        let read = response.chunk().await.expect("a body").expect("the stream stays open");
        body += std::str::from_utf8(&read).expect("text");
    }
    assert_eq!(body.strip_prefix(&sent), Some(": keep-alive\n: keep-alive\n"), "{body}");
}

#[tokio::test]
async fn c20_head_is_answered_as_get_is() {
    let rig = pair();
    let public = ["/livez", "/readyz", "/v1/models", "/v1/models/llama", "/openapi.json"];
    let operators = ["/livez", "/readyz", "/metrics"];
    let all = public.map(|path| (&rig.client, path)).into_iter().chain(operators.map(|path| (&rig.admin, path)));
    for (listener, path) in all {
        let head = Answer::of(listener.request(Method::HEAD, path)).await;
        let get = listener.get(path).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn c21_a_preflight_is_a_405_that_says_why() {
    let rig = pair();
    let request = rig
        .client
        .bare(Method::OPTIONS, "/v1/chat/completions")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let answered = Answer::of(request).await;
    assert_eq!(answered.status, 405, "{}", answered.text);
    assert!(answered.error_message().contains("CORS"), "{}", answered.text);
    assert!(include_str!("../../../docs/api.md").contains("CORS"), "documented as not offered");
}

/// All that a server sends before it closes the connection.
async fn exchange(rig: &Rig, request: &str) -> String {
    let mut socket = TcpStream::connect(rig.running().addr()).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("a server that listens");
    let mut read = String::new();
    let whole = tokio::time::timeout(Duration::from_secs(30), socket.read_to_string(&mut read)).await;
    whole.expect("the server closes").expect("in order");
    read
}

#[tokio::test]
async fn c22_a_stream_to_an_http_1_0_client_is_not_chunked() {
    let rig = pair();
    let body = say_hello().to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answered = exchange(&rig, &request).await;
    let (head, body) = answered.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("data: {") && body.ends_with("data: [DONE]\n\n"), "{body}");
}

#[tokio::test]
async fn c27_a_path_with_an_extra_slash_is_a_404_that_names_the_right_one() {
    let rig = pair();
    for path in [
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions//",
    ] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let answered = exchange(&rig, &request).await;
        assert!(answered.starts_with("HTTP/1.1 404 "), "{path}: {answered}");
        let meant = format!("'{path}' is not a path here: '/v1/chat/completions' is");
        assert!(answered.contains(&meant), "{path}: {answered}");
    }
}
