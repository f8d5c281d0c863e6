//! A rate limit and how long it lasts: whatever the header says, the upstream is parked for a bounded time, the other
//! one serves, and a client that no upstream can serve gets a `retry-after`.

use std::time::Duration;

use e2e::{Launch, Rig, chat, only};
use emulator::Settings;

use crate::wire::{Reply, Wire, before};

/// What a 429 may say, and the seconds after which the upstream is asked again, if the test is to wait for that.
const FORMS: [(&str, Option<u64>); 13] = [
    ("", None),
    ("retry-after: 1\r\n", Some(1)),
    ("retry-after: 0\r\n", Some(0)),
    ("retry-after-ms: 700\r\n", Some(1)),
    ("retry-after: 0.5\r\n", Some(1)),
    ("retry-after: 9e9\r\n", None),
    ("retry-after: 99999999999999999999\r\n", None),
    ("retry-after: -1\r\n", None),
    ("retry-after: soon\r\n", None),
    ("retry-after: \r\n", None),
    ("date: Sun, 06 Nov 1994 08:49:30 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:31 GMT\r\n", Some(1)),
    ("date: Sun, 06 Nov 1994 08:49:30 GMT\r\nretry-after: Sun, 06 Nov 2094 08:49:30 GMT\r\n", None),
    ("date: Sun, 06 Nov 1994 08:49:30 GMT\r\nretry-after: Sat, 05 Nov 1994 08:49:30 GMT\r\n", Some(0)),
];

const REFUSAL: &str = r#"{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;

async fn limited(headers: &str) -> Wire {
    Wire::start(Reply::whole("429 Too Many Requests", headers, REFUSAL)).await
}

#[tokio::test]
async fn a_limited_upstream_is_left_alone_whatever_its_retry_after_says() {
    for (headers, back_after) in FORMS {
        let wire = limited(headers).await;
        let rig = before(&wire);
        let calls = if back_after == Some(0) { 1 } else { 5 };
        for number in 0..calls {
            let answer = rig.client.chat(&chat(&format!("question {number}"))).await;
            assert_eq!((answer.status, answer.provider()), (200, "cerebras"), "{headers:?}: {}", answer.text);
        }
        if back_after.is_none() {
            assert_eq!(wire.requests().len(), 1, "{headers:?}: not asked while it is limited");
        }
        let Some(seconds) = back_after else { continue };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let before = wire.requests().len();
        e2e::eventually("the upstream is asked again", async || {
            rig.client.chat(&chat("again")).await;
            (wire.requests().len() > before).then_some(())
        })
        .await;
    }
}

/// With no other upstream, the client gets a `retry-after` from 1 to 120 seconds, whatever the upstream sent.
#[tokio::test]
async fn retry_after_is_from_1_to_120_whatever_the_upstream_says() {
    for (headers, _) in FORMS {
        let wire = limited(headers).await;
        let upstream = format!(
            "\n[[upstreams]]\nid = \"first\"\nprovider = \"openai\"\nbase_url = \"http://{}/v1\"\n\
             api_key_env = \"UPSTREAM_KEY\"\nmodel = \"m\"\n",
            wire.addr
        );
        let text = format!("{upstream}{}deadline_ms = 1500\n", only("first"));
        let rig: Rig = Launch::new(Settings::instant(), &text).start();
        for _ in 0..2 {
            let answer = rig.client.chat(&chat("hello")).await;
            assert!(matches!(answer.status, 429 | 503), "{headers:?}: {} {}", answer.status, answer.text);
            let seconds = answer.header("retry-after");
            let is_sensible = seconds.parse().is_ok_and(|seconds: u64| (1..=120).contains(&seconds));
            assert!(is_sensible, "{headers:?}: retry-after is {seconds:?}, {}", answer.text);
        }
    }
}
