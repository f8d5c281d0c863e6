//! The short forms over an upstream whose answers are legal but odd: the text comes through, and nothing fails that a chat
//! would have relayed.

use e2e::{Answer, Launch, Rig, chat, only};
use emulator::Settings;
use serde_json::{Value, json};

use crate::scripted::Scripted;

/// A content as it stands in the JSON, and the text that it is.
const CONTENTS: [(&str, &str); 12] = [
    (r#""hello""#, "hello"),
    (r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]"#, "hello"),
    (r#"[{"type":"text","text":"hel"},{"type":"text","text":"lo"}]"#, "hello"),
    (r#"[{"text":"hel","type":"text"},7,null,{"type":"text","text":{}},{"type":"text","text":"lo"}]"#, "hello"),
    (r#"{"type":"text","text":"hello"}"#, "hello"),
    (r#""half of a pair: \ud83d""#, "half of a pair: \u{fffd}"),
    (r#"[{"type":"text","text":"a \udc00 b"}]"#, "a \u{fffd} b"),
    (r#""a pair: \ud83d\ude00""#, "a pair: \u{1f600}"),
    (r#"null,"content":"hello""#, "hello"),
    (r#""no","c\u006fntent":"hello""#, "hello"),
    (r#""hello","refusal":null,"reasoning":{"odd":[1]},"tool_calls":"none""#, "hello"),
    (r#""hello","role":7,"role":null"#, "hello"),
];

fn rig(upstream: &Scripted) -> Rig {
    let text = format!("{}{}deadline_ms = 2000\n", upstream.config(), only("scripted"));
    Launch::new(Settings::instant(), &text).start()
}

/// The same prompt by each way that answers with a whole text.
async fn ask(rig: &Rig) -> [(&'static str, Answer); 2] {
    let prompt = json!({"model": "llama", "prompt": "x"});
    let batch = json!({"model": "llama", "prompts": ["x"]});
    [
        ("generate", rig.client.post("/v1/generate", &prompt).await),
        ("batch", rig.client.post("/v1/generate/batch", &batch).await),
    ]
}

fn result(way: &str, answer: &Answer) -> Value {
    if way == "batch" { answer.json()["results"][0].clone() } else { answer.json() }
}

#[tokio::test]
async fn a_whole_answer_s_text_comes_through_whatever_its_shape() {
    for (content, text) in CONTENTS {
        let body = format!(
            r#"{{"id":"c1","object":"chat.completion","created":1,"model":"served","choices":[{{"index":0,"message":{{"role":"assistant","content":{content}}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}}}"#
        );
        let upstream = Scripted::start("application/json", &[&body]).await;
        let rig = rig(&upstream);
        for (way, answer) in ask(&rig).await {
            assert_eq!(answer.status, 200, "{way} {content}: {}", answer.text);
            let result = result(way, &answer);
            assert_eq!(result["result"], text, "{way} {content}");
            assert_eq!(
                (&result["finish_reason"], &result["usage"]["total_tokens"]),
                (&"stop".into(), &3.into()),
                "{way}"
            );
        }
    }
}

#[tokio::test]
async fn counts_of_an_odd_type_are_passed_on() {
    let cases = [
        (r#"{"prompt_tokens":null,"completion_tokens":7.0}"#, json!({"prompt_tokens": null, "completion_tokens": 7.0})),
        (r#"{"prompt_tokens":"11","completion_tokens":-7}"#, json!({"prompt_tokens": "11", "completion_tokens": -7})),
        (
            r#"{"prompt_tokens":1},"usage":{"prompt_tokens":2,"cost":{"a":[0.5]}}"#,
            json!({"prompt_tokens": 2, "cost": {"a": [0.5]}}),
        ),
        ("null", Value::Null),
        ("[]", Value::Null),
    ];
    for (usage, expected) in cases {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"hello"}},"finish_reason":"stop","logprobs":7}}],"usage":{usage}}}"#
        );
        let upstream = Scripted::start("application/json", &[&body]).await;
        let rig = rig(&upstream);
        for (way, answer) in ask(&rig).await {
            assert_eq!(answer.status, 200, "{way} {usage}: {}", answer.text);
            let result = result(way, &answer);
            assert_eq!((&result["result"], &result["usage"]), (&"hello".into(), &expected), "{way} {usage}");
        }
    }
}

#[tokio::test]
async fn a_stream_s_text_comes_through_whatever_its_shape() {
    for (content, text) in CONTENTS {
        let event =
            |content: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}}}}]}}\n\n");
        let odd = ["7", "[]", "\"\"", "null"]
            .map(|delta| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n"))
            .concat();
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        let body = [event("\"so: \"").as_str(), &odd, &event(content), &odd, &event("\".\""), end].concat();
        let upstream = Scripted::start("text/event-stream", &[&body]).await;
        let rig = rig(&upstream);
        for path in ["/v1/generate/stream", "/v1/chat/stream"] {
            let answer = rig.client.post(path, &json!({"model": "llama", "prompt": "x"})).await;
            assert_eq!(answer.status, 200, "{content}: {}", answer.text);
            let expected = ["so: ", text, "."].map(|text| format!("data: {}\n\n", json!({"chunk": text}))).concat();
            assert_eq!(answer.text, format!("{expected}data: [DONE]\n\n"), "{content}");
        }
    }
}

/// What ends a whole answer's reading reads alike on every route.
#[tokio::test]
async fn a_failure_of_a_whole_answer_is_reported_as_a_chat_s_is() {
    let head =
        |rest: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n{rest}\r\n");
    let answers = [
        ("cut off", head("content-length: 1000\r\n"), r#"{"choices":[{"message":{"content":"hel"#),
        ("no JSON", head(""), "nonsense"),
        ("half of it", head(""), r#"{"choices":[{"message":{"content":"hel"#),
        ("empty", head(""), ""),
        ("a web page", head(""), "<html>oops</html>"),
        ("no choices", head(""), r#"{"id":"c1"}"#),
        ("an error", head(""), r#"{"error":{"message":"out of memory","type":"server_error"}}"#),
        (
            "a client's mistake",
            head(""),
            r#"{"error":{"message":"no such voice","type":"BadRequestError","param":"voice","code":400}}"#,
        ),
    ];
    for (what, head, body) in answers {
        let upstream = Scripted::with_head(head, &[body]).await;
        let of_chat = rig(&upstream).client.chat(&chat("x")).await;
        assert!(of_chat.status >= 400, "{what}: {}", of_chat.text);
        // A router of its own: the failures of three requests, repeats included, open a breaker.
        for (way, answer) in ask(&rig(&upstream)).await {
            let result = result(way, &answer);
            assert_eq!(result["error"], of_chat.json()["error"], "{what}, {way}: {}", answer.text);
            if way == "generate" {
                assert_eq!(answer.status, of_chat.status, "{what}: {}", answer.text);
                for header in ["x-should-retry", "content-type"] {
                    assert_eq!(answer.header(header), of_chat.header(header), "{what}: {header}");
                }
                assert_ne!(answer.header("x-llm-router-attempts"), "", "{what}");
            }
        }
    }
}
