//! CORS: what browsers are told, where pages may call.

use std::collections::BTreeSet;

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Client, Launch, RUNPOD_LB, Rig, chat, streamed};
use emulator::Settings;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::{
    common::{Refusal, received},
    doors::check_anthropic,
};

const PAGE: &str = "https://app.example";
/// What openai-node asks for in a browser, and some of ours.
const ASKED: &str =
    "authorization,content-type,x-stainless-os,x-stainless-runtime,openai-organization,x-llm-router-tags";

fn rig(origins: &str, more: &str) -> Rig {
    let config = format!("[server.cors]\norigins = {origins}\n{RUNPOD_LB}{CEREBRAS}{BALANCED}{more}");
    Launch::new(Settings::instant(), &config).start()
}

fn preflight(listener: &Client, path: &str, origin: &str, asked: &str) -> RequestBuilder {
    let request = listener.bare(Method::OPTIONS, path).header("origin", origin);
    request.header("access-control-request-method", "POST").header("access-control-request-headers", asked)
}

/// What an answer tells a browser: the origin that may read it, the headers that may be read, and on what that depends.
fn told(answer: &Answer) -> [&str; 3] {
    ["access-control-allow-origin", "access-control-expose-headers", "vary"].map(|name| answer.header(name))
}

fn has_cors_headers(answer: &Answer) -> bool {
    answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn preflights_of_listed_pages_are_answered_on_every_path_without_a_key() {
    let rig = rig("[\"https://other.example\", \"https://app.example\"]", "");
    let document: serde_json::Value = rig.client.get("/openapi.json").await.json();
    let paths: Vec<_> =
        document["paths"].as_object().expect("paths").keys().map(|path| path.replace("{name}", "llama")).collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths.iter().map(String::as_str).chain(["/v1/nowhere"]) {
        let answer = Answer::of(preflight(&rig.client, path, PAGE, ASKED)).await;
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        let names = ["origin", "methods", "headers"].map(|name| answer.header(&format!("access-control-allow-{name}")));
        assert_eq!(names, [PAGE, "GET, HEAD, POST", ASKED], "{path}");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let vary: BTreeSet<_> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(vary, BTreeSet::from(["access-control-request-headers", "origin"]), "{path}");
    }
    let usual = "authorization, content-type";
    for odd in ["", &"x,".repeat(3000), "a b", "x: y"] {
        let answer = Answer::of(preflight(&rig.client, "/v1/models", PAGE, odd)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, usual), "{odd:.20}");
    }
    for origin in ["https://app.example.evil", "http://app.example", "https://app.example:8443", "null", "*", ""] {
        let answer = Answer::of(preflight(&rig.client, "/v1/chat/completions", origin, ASKED)).await;
        let says = "can add the origin to server.cors.origins";
        Refusal { status: 403, code: "origin_not_allowed", param: None, says }.check(origin, &answer);
        assert!(!answer.header("x-request-id").is_empty(), "{origin}");
        let to_messages = Answer::of(preflight(&rig.client, "/v1/messages", origin, ASKED)).await;
        check_anthropic(origin, &to_messages, 403, "permission_error");
        assert!(!has_cors_headers(&answer), "{origin}");
        assert_eq!(answer.header("vary"), "origin");
    }
    assert_eq!(received(&rig), 0);
}

#[tokio::test]
async fn a_page_can_read_answers_streams_and_every_refusal() {
    let key = format!(
        "\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = {{ requests_per_minute = 1, burst = {} }}\n",
        3
    );
    let rig = rig("[\"https://app.example\"]", &key);
    let from_page = |request: RequestBuilder| request.header("origin", PAGE);
    let chat_of = |client: &Client, body| from_page(client.json("/v1/chat/completions", &body));
    let answers = [
        (200, Answer::of(chat_of(&rig.client, chat("x"))).await),
        (200, Answer::of(chat_of(&rig.client, streamed(chat("x")))).await),
        (400, Answer::of(chat_of(&rig.client, json!({"model": "llama"}))).await),
        (429, Answer::of(chat_of(&rig.client, chat("x"))).await),
        (401, Answer::of(chat_of(&rig.client.with_key("wrong"), chat("x"))).await),
        (400, Answer::of(chat_of(&rig.client, chat("x")).header("authorization", "Bearer second")).await),
        (200, Answer::of(from_page(rig.client.request(Method::GET, "/v1/models"))).await),
        (404, Answer::of(from_page(rig.client.request(Method::GET, "/nowhere"))).await),
        (405, Answer::of(from_page(rig.client.request(Method::OPTIONS, "/v1/models"))).await),
    ];
    for (status, answer) in &answers {
        let [origin, exposed, vary] = told(answer);
        assert_eq!((answer.status, origin, vary), (*status, PAGE, "origin"), "{}", answer.text);
        for name in ["retry-after", "x-request-id", "x-ratelimit-reset-requests"] {
            assert!(exposed.split(", ").any(|own| own == name), "{name}: {exposed}");
        }
        assert!(!answer.text.contains("preflights"), "they are answered: {}", answer.text);
    }
    // Every header of ours can be read.
    let exposed: BTreeSet<_> = told(&answers[0].1)[1].split(", ").map(str::to_owned).collect();
    let source = include_str!("../../crates/server/src/api/answer.rs");
    let own: Vec<_> = source.split('"').filter(|word| word.starts_with("x-llm-router-")).collect();
    assert!(own.len() > 5 && own.iter().all(|name| exposed.contains(*name)), "{own:?} {exposed:?}");

    let client = Client::new(&format!("http://{}", rig.running().addr()), CLIENT_KEY);
    let elsewhere = client.request(Method::GET, "/v1/models");
    for (from, request) in
        [("no page", elsewhere.try_clone().unwrap()), ("another", elsewhere.header("origin", "https://b.example"))]
    {
        let answer = Answer::of(request).await;
        assert_eq!((answer.status, told(&answer)), (200, ["", "", "origin"]), "{from}");
    }
}

#[tokio::test]
async fn all_pages_may_call_where_the_list_says_so_and_operators_have_none() {
    let rig = rig("[\"*\"]", "");
    let answer = Answer::of(rig.client.json("/v1/chat/completions", &chat("x")).header("origin", "null")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin"), answer.header("vary")), (200, "*", ""));
    let answer = Answer::of(preflight(&rig.client, "/v1/models", "https://any.example", "authorization")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, "authorization"));
    for path in ["/metrics", "/livez", "/admin/reload"] {
        let answer = Answer::of(preflight(&rig.admin, path, "https://any.example", "authorization")).await;
        assert_eq!(answer.status, 405, "{path}");
        assert!(!has_cors_headers(&answer), "{path}");
    }
    let answer = Answer::of(rig.admin.request(Method::GET, "/metrics").header("origin", PAGE)).await;
    assert!(answer.status == 200 && !has_cors_headers(&answer));
}
