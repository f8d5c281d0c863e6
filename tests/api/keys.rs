//! Who may call.

use e2e::{Answer, CLIENT_KEY, chat};
use reqwest::Method;

use crate::common::{Raw, Refusal, launch, received, status, still_serves};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn only_a_known_key_is_let_in() {
    let rig = launch().start();
    let no_key = "send the header 'Authorization: Bearer <key>'";
    let unknown = "not known here: check it";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], no_key),
        (&[("authorization", "")], no_key),
        (&[("authorization", "Bearer")], no_key),
        (&[("authorization", CLIENT_KEY)], no_key),
        (&[("authorization", &format!("Basic {CLIENT_KEY}"))], no_key),
        (&[("x-api-key", CLIENT_KEY)], no_key),
        (&[("authorization", "Bearer ")], no_key),
        (&[("authorization", "Bearer wrong")], unknown),
        (&[("authorization", &format!("Bearer {CLIENT_KEY}x"))], unknown),
        (&[("authorization", &format!("Bearer {}", &CLIENT_KEY[1..]))], unknown),
        (&[("authorization", &format!("Bearer {}", "k".repeat(10_000)))], unknown),
    ];
    for (headers, says) in cases {
        for (method, path) in [(Method::POST, CHAT), (Method::GET, "/v1/models"), (Method::GET, "/v1/models/llama")] {
            let mut request = rig.client.bare(method, path).header("content-type", "application/json");
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let answer = Answer::of(request.body(chat("x").to_string())).await;
            let refusal = Refusal { status: 401, code: "invalid_api_key", param: None, says };
            refusal.check(&format!("{path} {headers:?}"), &answer);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    assert_eq!(received(&rig), 0);
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let rig = launch().start();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 1000000\r\n\r\n";
    let answer = Raw::exchange(&rig, head).await;
    assert_eq!(status(&answer), 401, "{answer}");
    still_serves(&rig, 1).await;
}
