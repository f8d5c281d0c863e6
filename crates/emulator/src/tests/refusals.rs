//! Refusals of one request, as they are on the wire.

use serde_json::{Value, json};

use super::{MODEL, ask, chat, client, read, start, with};
use crate::{Face, Fault, Refusal};

#[tokio::test]
async fn refusals_have_their_status_and_words() {
    let emulator = start();
    let name = || "stream_options".to_owned();
    for (refusal, status, words) in [
        (Refusal::Moderation, 400, "\"code\":\"content_filter\"}}"),
        (Refusal::Moderation403, 403, "{\"error\":{\"message\":\"Your chosen model requires moderation"),
        (Refusal::FirewallPage, 403, "<h1>Sorry, you have been blocked</h1>"),
        (Refusal::FirewallPage400, 400, "<title>400 The plain HTTP request was sent to HTTPS port</title>"),
        (
            Refusal::NoEndpointForTools,
            404,
            "{\"error\":{\"message\":\"No endpoints found that support tool use\",\"code\":404}}",
        ),
        (Refusal::TooLargeForMinute { code: 429 }, 429, "on tokens per min (TPM): Limit 10000, Requested 12000"),
        (Refusal::TooLargeForMinute { code: 413 }, 413, "\"code\":\"rate_limit_exceeded\""),
        (Refusal::EchoedNoWorkers, 400, "'input': 'no workers available'}"),
        (
            Refusal::UnknownArgument { name: name() },
            400,
            "\"message\":\"Unrecognized request argument supplied: stream_options\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null",
        ),
        (
            Refusal::LimitTooLarge { most: 10 },
            400,
            "max_tokens is too large: 11. This model supports at most 10 completion tokens",
        ),
        (Refusal::OperationMissing { code: 404 }, 404, "{\"detail\":\"Not Found\"}"),
        (Refusal::OperationMissing { code: 405 }, 405, "{\"detail\":\"Method Not Allowed\"}"),
        (Refusal::Foreign401, 401, "<h1>401 Authorization Required</h1>"),
        (Refusal::Foreign403, 403, "{\"message\":\"Forbidden\"}"),
    ] {
        emulator.control(Face::RunpodLb, Fault::Refusal(refusal.clone()));
        let body =
            with(ask(MODEL), json!({"stream": true, "stream_options": {"include_usage": true}, "max_tokens": 11}));
        let response = chat(&emulator.runpod_lb_base(), &body).send().await.unwrap();
        let got = response.status().as_u16();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let text = response.text().await.unwrap();
        assert_eq!((got, text.contains(words)), (status, true), "{refusal:?}: {text}");
        assert_eq!(kind, if words.contains('<') { "text/html" } else { "application/json" }, "{refusal:?}");
    }
    assert_eq!(emulator.call_logs().runpod_lb.refused, 14);
}

#[tokio::test]
async fn a_refusal_of_a_member_spares_requests_without_it() {
    let emulator = start();
    for (refusal, more) in [
        (Refusal::UnknownArgument { name: "stream_options".into() }, json!({})),
        (Refusal::LimitTooLarge { most: 10 }, json!({"max_tokens": 10})),
        (Refusal::LimitTooLarge { most: 10 }, json!({})),
    ] {
        emulator.control(Face::RunpodLb, Fault::Refusal(refusal));
        assert_eq!(read(chat(&emulator.runpod_lb_base(), &with(ask(MODEL), more.clone()))).await.0, 200, "{more}");
    }
    emulator.control(Face::RunpodLb, Fault::Refusal(Refusal::LimitTooLarge { most: 10 }));
    let (status, body) =
        read(chat(&emulator.runpod_lb_base(), &with(ask(MODEL), json!({"max_completion_tokens": 12})))).await;
    assert_eq!((status, &body["error"]["param"]), (400, &json!("max_completion_tokens")));
}

#[tokio::test]
async fn cerebras_words_moderation_flat() {
    let emulator = start();
    emulator.control(Face::Cerebras, Fault::Refusal(Refusal::Moderation));
    let (status, body) = read(chat(&emulator.cerebras_base(), &ask("llama3.1-8b"))).await;
    assert_eq!((status, &body["code"]), (400, &json!("content_filter")));
}

#[tokio::test]
async fn a_redirect_names_its_target_and_says_no_more() {
    let emulator = start();
    let order = json!({"face": "runpod_lb", "fault": {"kind": "refusal", "which": "redirect", "code": 308, "location": "/elsewhere"}});
    assert_eq!(read(client().post(format!("{}/_control", emulator.url())).body(order.to_string())).await.0, 200);
    let still = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = still.post(format!("{}/chat/completions", emulator.runpod_lb_base())).bearer_auth("k");
    let response = request.body("{}").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["location"].to_str().unwrap()), (308, "/elsewhere"));
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn statuses_of_the_rarer_kind_can_be_ordered() {
    let emulator = start();
    for code in [407, 409, 424, 498, 499] {
        emulator.control(Face::RunpodLb, Fault::Status { code, retry_after: None });
        let (status, body) = read(chat(&emulator.runpod_lb_base(), &ask(MODEL))).await;
        assert_eq!((status, body["error"]["code"].as_u64()), (code, Some(code.into())), "{}", Value::from(code));
    }
}
