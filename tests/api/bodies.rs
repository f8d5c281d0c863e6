//! Bodies that are wrong whatever upstream they go to: refused here, by name of the field, and never sent on.

use std::collections::BTreeSet;

use e2e::{Answer, CLIENT_KEY, Rig, chat, with};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Refusal, launch, received, still_serves};

async fn post(rig: &Rig, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = rig.client.request(Method::POST, path).header("content-type", "application/json").body(body);
    Answer::of(request).await
}

struct Case {
    body: Vec<u8>,
    param: Option<&'static str>,
    says: &'static str,
}

fn text(body: impl Into<Vec<u8>>, says: &'static str) -> Case {
    Case { body: body.into(), param: None, says }
}

/// An ordinary chat but for this.
fn field(more: Value, param: &'static str, says: &'static str) -> Case {
    Case { body: with(chat("x"), more).to_string().into(), param: Some(param), says }
}

fn message(message: &Value, param: &'static str, says: &'static str) -> Case {
    field(json!({"messages": [{"role": "user", "content": "x"}, message]}), param, says)
}

fn no_json() -> Vec<Case> {
    let deep = |open: &str| open.repeat(100_000);
    let inside =
        |value: &str| format!(r#"{{"model":"llama","messages":[{{"role":"user","content":"x"}}],"x":{value}}}"#);
    vec![
        text("", "is empty: send a JSON object"),
        text(" \r\n", "is empty: send a JSON object"),
        text("hello", "not valid JSON"),
        text("{", "not valid JSON"),
        text(r#"{"model":"llama""#, "not valid JSON"),
        text("{'model':'llama'}", "not valid JSON"),
        text("{\"model\":\"ll\u{0}\"}", "not valid JSON"),
        text(b"{\"model\":\"\xff\"}".to_vec(), "not valid UTF-8"),
        text("null", "to be a JSON object"),
        text("7", "to be a JSON object"),
        text(format!("[{}]", chat("x")), "to be a JSON object"),
        text(format!("{} {}", chat("x"), chat("x")), "not valid JSON"),
        text(format!("\u{feff}{}", chat("x")), "not valid JSON"),
        text(deep("["), "to be a JSON object"),
        text(deep("{\"a\":"), "nested too deeply: at most 128 levels"),
        text(inside(&deep("[")), "nested too deeply: at most 128 levels"),
        text(inside(&format!("{}{}", "[".repeat(200), "]".repeat(200))), "nested too deeply: at most 128 levels"),
        Case { body: r#"{"mod\u0065l":"llama"}"#.into(), param: Some("messages"), says: "'messages' is required" },
    ]
}

fn twice() -> Vec<Case> {
    let doubled = |first: &str, param: &'static str| {
        let chat = chat("x").to_string();
        let first = first.trim_end_matches(',');
        Case {
            body: format!("{{{first},{}", &chat[1..]).into(),
            param: Some(param),
            says: "appears twice: send it once",
        }
    };
    vec![
        doubled(r#""model":"llama""#, "model"),
        doubled(r#""messages":[{"role":"user","content":"y"}]"#, "messages"),
        doubled(r#""stream":false,"stream":true"#, "stream"),
        doubled(r#""max_tokens":1,"max_tokens":2"#, "max_tokens"),
        doubled(r#""temperature":1,"temperature":2"#, "temperature"),
        doubled(r#""user":"a","\u0075ser":"b""#, "user"),
        doubled(r#""of_the_future":1,"of_the_future":2"#, "of_the_future"),
        doubled(&r#""x":0,"#.repeat(16_000), "x"),
        doubled(r#""stream_options":{"include_usage":true,"include_usage":false}"#, "stream_options"),
        doubled(r#""response_format":{"type":"text","type":"json_object"}"#, "response_format"),
        doubled(r#""tools":[{"type":"function","function":{"name":"a","name":"b"}}]"#, "tools"),
        doubled(r#""of_the_future":[{"a":{"b":1,"b":2}}]"#, "of_the_future"),
        message_twice(r#""role":"user","role":"system","content":"x""#),
        message_twice(r#""role":"user","content":"x","content":"y""#),
        message_twice(r#""role":"user","content":[{"type":"text","text":"x","text":"y"}]"#),
    ]
}

fn message_twice(members: &str) -> Case {
    Case {
        body: format!(r#"{{"model":"llama","messages":[{{{members}}}]}}"#).into(),
        param: Some("messages"),
        says: "within 'messages' appears twice: send it once",
    }
}

/// What is too much is refused where the bound is met, before anything else is said of it.
fn too_many() -> Vec<Case> {
    let fields = (0..60_000).map(|at| format!(r#","x{at}":0"#)).collect::<Vec<_>>().concat();
    let keys = (0..20_000).map(|at| format!(r#","{at}":0"#)).collect::<Vec<_>>().concat();
    vec![
        text(format!("{{{},{}", &fields[1..], &chat("x").to_string()[1..]), "has more than 256 fields"),
        Case {
            body: format!(r#"{{"model":"llama","logit_bias":{{{}}}}}"#, &keys[1..]).into(),
            param: Some("logit_bias"),
            says: "has more than 16384 fields",
        },
    ]
}

fn fields() -> Vec<Case> {
    let whole = "must be a whole number from 0 to";
    let many = json!({"messages": vec![json!({"role": "user", "content": "x"}); 10_000]});
    let no_model = json!({"messages": [{"role": "user", "content": "x"}]}).to_string();
    vec![
        Case { body: no_model.into(), param: Some("model"), says: "is required: name one of the models listed" },
        Case { body: r#"{"model":"llama"}"#.into(), param: Some("messages"), says: "'messages' is required" },
        field(json!({"model": 7}), "model", "must be a non-empty string"),
        field(json!({"model": ""}), "model", "must be a non-empty string"),
        field(json!({"model": null}), "model", "must be a non-empty string"),
        field(json!({"messages": "hello"}), "messages", "an array of messages"),
        field(json!({"messages": {}}), "messages", "an array of messages"),
        field(json!({"messages": []}), "messages", "send at least one message"),
        field(many, "messages", "more than 2048 entries: shorten or summarise"),
        field(json!({"max_tokens": -1}), "max_tokens", whole),
        field(json!({"max_tokens": "12"}), "max_tokens", whole),
        field(json!({"max_tokens": 1.5}), "max_tokens", whole),
        field(json!({"max_tokens": 1_u64 << 40}), "max_tokens", whole),
        field(json!({"max_completion_tokens": -1}), "max_completion_tokens", whole),
        field(json!({"n": 0}), "n", "must be a whole number from 1 to 128"),
        field(json!({"n": 1_000_000}), "n", "must be a whole number from 1 to 128"),
        field(json!({"top_logprobs": 99}), "top_logprobs", "must be a whole number from 0 to 20"),
        field(json!({"temperature": 99}), "temperature", "must be a number from 0 to 2"),
        field(json!({"temperature": -0.1}), "temperature", "must be a number from 0 to 2"),
        field(json!({"temperature": "hot"}), "temperature", "must be a number from 0 to 2"),
        field(json!({"top_p": 2}), "top_p", "must be a number from 0 to 1"),
        field(json!({"presence_penalty": 3}), "presence_penalty", "must be a number from -2 to 2"),
        field(json!({"stream": "yes"}), "stream", "must be true or false"),
        field(json!({"stream_options": {"include_usage": 3}}), "stream_options", "must be true or false"),
        field(json!({"stream_options": 7}), "stream_options", "must be an object such as"),
        field(json!({"tools": []}), "tools", "leave it out if there are none"),
        field(json!({"tools": "x"}), "tools", "must be a non-empty array"),
        field(json!({"response_format": "json"}), "response_format", "must be an object with a 'type'"),
    ]
}

fn messages() -> Vec<Case> {
    vec![
        message(&json!("hello"), "messages", "'messages[1]' must be an object"),
        message(&json!({"content": "x"}), "messages[1].role", "is missing: use one of system, developer, user"),
        message(&json!({"role": "wizard", "content": "x"}), "messages[1].role", "is \"wizard\": use one of system"),
        message(&json!({"role": 7, "content": "x"}), "messages[1].role", "must be one of system, developer, user"),
        message(&json!({"role": "user", "content": 7}), "messages[1].content", "must be a string, an array of parts"),
        message(
            &json!({"role": "user", "content": [7]}),
            "messages[1].content",
            "must hold parts: objects with a 'type'",
        ),
    ]
}

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_by_name_and_not_sent_on() {
    let rig = launch().start();
    let mut served = 0;
    for Case { body, param, says } in [no_json(), twice(), too_many(), fields(), messages()].into_iter().flatten() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let answer = post(&rig, "/v1/chat/completions", body).await;
        Refusal { status: 400, code: "invalid_request", param, says }.check(&shown, &answer);
        assert_eq!(received(&rig), served, "{shown}: not sent on");
        served += 1;
        still_serves(&rig, served).await;
    }
}

#[tokio::test]
async fn the_other_operations_name_their_own_fields() {
    let rig = launch().start();
    let cases = [
        ("/v1/completions", json!({"model": "llama"}), "prompt", "'prompt' is required"),
        ("/v1/completions", json!({"model": "llama", "prompt": {}}), "prompt", "must be a string or a non-empty array"),
        ("/v1/completions", json!({"model": "llama", "prompt": []}), "prompt", "must be a string or a non-empty array"),
        ("/v1/embeddings", json!({"model": "llama"}), "input", "'input' is required"),
        ("/v1/embeddings", json!({"model": "llama", "input": 7}), "input", "must be a string or a non-empty array"),
        ("/v1/completions", json!({"model": "llama", "prompt": vec!["x"; 2_049]}), "prompt", "more than 2048 entries"),
        ("/v1/completions", json!({"model": "llama", "prompt": vec![[1]; 2_049]}), "prompt", "more than 2048 entries"),
        (
            "/v1/completions",
            json!({"model": "llama", "prompt": vec![1; 1 << 21]}),
            "prompt",
            "more than 1048576 tokens",
        ),
        (
            "/v1/completions",
            json!({"model": "llama", "prompt": vec!["x"; 17], "n": 128}),
            "n",
            "more than 2048 answers",
        ),
        (
            "/v1/completions",
            json!({"model": "llama", "prompt": vec!["x"; 103], "best_of": 20}),
            "best_of",
            "more than 2048 answers",
        ),
        ("/v1/embeddings", json!({"model": "llama", "input": vec!["x"; 2_049]}), "input", "more than 2048 entries"),
    ];
    for (path, body, param, says) in cases {
        let answer = rig.client.post(path, &body).await;
        let refusal = Refusal { status: 400, code: "invalid_request", param: Some(param), says };
        refusal.check(&body.to_string()[..60.min(body.to_string().len())], &answer);
    }
    // No upstream of this model makes embeddings.
    let answer = rig.client.post("/v1/embeddings", &json!({"model": "llama", "input": "x"})).await;
    let says = "choose another model";
    Refusal { status: 400, code: "unsupported", param: None, says }.check("embeddings", &answer);
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_not_found_whatever_its_name() {
    let rig = launch().start();
    still_serves(&rig, 1).await;
    let long = "m".repeat(10_000);
    let names = ["gpt-5", "😀🦙", "../../etc/passwd", "a b", "llama ", "LLAMA", "\u{0}", "x\"y\\z\n", "{llama}", &long];
    for (at, name) in names.iter().enumerate() {
        let body = with(chat("x"), json!({"model": name}));
        let refusal = Refusal {
            status: 404,
            code: "model_not_found",
            param: Some("model"),
            says: "does not exist: GET /v1/models lists those that do",
        };
        refusal.check(name, &rig.client.chat(&body).await);
        still_serves(&rig, at as u64 + 2).await;
    }
    let text = rig.admin.get("/metrics").await.text;
    let labels = text.split("model=\"").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(labels.collect::<BTreeSet<_>>(), BTreeSet::from(["llama", "other"]));
    let unknown = text.lines().filter(|line| line.contains("model=\"other\""));
    assert_eq!(unknown.count(), 2, "one request and one error series for all that do not exist");
}

#[tokio::test]
async fn what_is_unusual_but_right_is_served() {
    let rig = launch().start();
    let unusual = [
        json!({"model": "llama", "messages": [{"role": "user", "content": null}]}),
        with(chat("x"), json!({"temperature": null, "max_tokens": null, "stream": null, "stream_options": null})),
        with(chat("x"), json!({"a_field_of_the_future": {"deep": [[[1]]]}})),
        with(chat("x"), json!({"messages": vec![json!({"role": "user", "content": "x"}); 2048]})),
        chat("\u{0}\u{1f600}\u{202e}"),
    ];
    for body in unusual {
        let answer = rig.client.chat(&body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // The media type may have parameters and any case, and so may the scheme.
    let request = rig
        .client
        .bare(Method::POST, "/v1/chat/completions")
        .header("authorization", format!("bearer  {CLIENT_KEY} "))
        .header("content-type", "Application/JSON; charset=UTF-8")
        .body(chat("x").to_string());
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
