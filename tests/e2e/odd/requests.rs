//! One reader for all texts of a request.

use super::setup::{A, B, assert_unharmed, pair, post};

/// Half of a surrogate pair, and a pair, which is one character.
const TEXTS: [&str; 4] = [r"a \ud83d b", r"\ude00", r"\ud83d\ud83d", r"\ud83d\ude00"];

/// Places for a text, where `@` stands.
const PLACES: [&str; 12] = [
    r#""messages":[{"role":"user","content":"@"}]"#,
    r#""messages":[{"role":"user","content":[{"type":"text","text":"@"}]}]"#,
    r#""messages":[{"role":"user","content":"x","name":"@"}]"#,
    r#""messages":[{"role":"user","content":"x"},{"role":"assistant","content":"@"},{"role":"user","content":"y"}]"#,
    r#""messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{\"a\":\"@\"}"}}]},{"role":"tool","tool_call_id":"t","content":"y"}]"#,
    r#""messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","description":"@","parameters":{"type":"object","properties":{}}}}]"#,
    r#""messages":[{"role":"user","content":"x"}],"stop":"@""#,
    r#""messages":[{"role":"user","content":"x"}],"stop":["@"]"#,
    r#""messages":[{"role":"user","content":"x"}],"user":"@""#,
    r#""messages":[{"role":"user","content":"x"}],"metadata":{"@":"@"}"#,
    r#""messages":[{"role":"user","content":"x"}],"an_extra":["@"]"#,
    r#""messages":[{"role":"user","content":"x"}],"@":1"#,
];

#[tokio::test]
async fn c19_half_a_surrogate_is_alike_everywhere() {
    let rig = pair();
    let served = super::setup::whole(r#"{"role":"assistant","content":"hello"}"#);
    rig.emulator.control(A, super::setup::answer(200, super::setup::JSON, served, emulator::End::Complete));
    for text in TEXTS {
        for place in PLACES {
            let body = format!("{{\"model\":\"llama\",{}}}", place.replace('@', text));
            let answered = post(&rig, "/v1/chat/completions", &body).await;
            assert_eq!(
                (answered.status, answered.header("x-llm-router-upstream")),
                (200, "a"),
                "{body}: {}",
                answered.text
            );
            let sent = rig.call_log(A).requests.last().expect("a request").body.clone();
            assert!(sent.contains(text), "as it was written: {sent}");
        }
    }
    assert_eq!(rig.call_log(B).received, 0);
    assert_unharmed(&rig).await;
}

/// What the short form makes of it is a chat whose texts are characters.
#[tokio::test]
async fn c19_half_a_surrogate_in_the_short_form_is_no_mistake() {
    let rig = pair();
    let half = r"a \ud83d b";
    for (path, body) in [
        ("/v1/generate", r#""prompt":"@""#),
        ("/v1/generate", r#""messages":[{"role":"user","content":[{"type":"text","text":"@"}]}]"#),
        ("/v1/generate/stream", r#""prompt":"@","user":"@""#),
        ("/v1/chat/stream", r#""messages":[{"role":"user","content":"@"}],"@":"@""#),
        ("/v1/generate/batch", r#""prompts":["@"]"#),
        ("/v1/generate/batch", r#""requests":[{"prompt":"@"}]"#),
        ("/v1/route/explain", r#""messages":[{"role":"user","content":"@"}]"#),
    ] {
        let body = format!("{{\"model\":\"llama\",{}}}", body.replace('@', half));
        let answered = post(&rig, path, &body).await;
        assert!(answered.status == 200 && !answered.text.contains("\"error\":{"), "{path} {body}: {}", answered.text);
        if path != "/v1/route/explain" {
            let sent = rig.call_log(A).requests.last().expect("a request").body.clone();
            assert!(sent.contains("a \u{fffd} b"), "{path}: {sent}");
        }
    }
}

/// Where a text must be one of a few, the field is named.
#[tokio::test]
async fn c19_a_refusal_of_half_a_surrogate_names_the_field() {
    let rig = pair();
    let cases = [
        (r#"{"model":"\ud83d","messages":[{"role":"user","content":"x"}]}"#, "model"),
        (r#"{"model":"llama","messages":[{"role":"\ud83d","content":"x"}]}"#, "messages[0].role"),
    ];
    for (body, param) in cases {
        let refused = post(&rig, "/v1/chat/completions", body).await;
        assert!((400..500).contains(&refused.status), "{body}: {}", refused.text);
        assert_eq!(refused.json()["error"]["param"], param, "{body}: {}", refused.text);
    }
    assert_eq!(rig.call_log(A).received, 0);
}
