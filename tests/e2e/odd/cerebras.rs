//! Cerebras takes a part of what OpenAI's API has. What it does not take is left out where that changes nothing, and goes
//! to another upstream where it does.

use e2e::{Answer, Rig};
use emulator::{CallLog, End, Face, Rule};
use serde_json::{Value, json};

use super::setup::{B, JSON, a, answer, pair_of, post, whole};

fn rig() -> Rig {
    pair_of(&a("cerebras"))
}

/// Sends a chat with these members.
async fn ask(rig: &Rig, members: &str) -> Answer {
    post(rig, "/v1/chat/completions", &format!("{{\"model\":\"llama\",{members}}}")).await
}

/// The last body that an upstream got.
fn last(log: &CallLog) -> (String, Value) {
    let body = log.requests.last().expect("a request").body.clone();
    let parsed = serde_json::from_str(&body).expect("JSON");
    (body, parsed)
}

/// A chat whose history has an answer with these members.
fn history(members: &str) -> String {
    format!(
        r#""messages":[{{"role":"user","content":"x"}},{{"role":"assistant","content":"y",{members}}},{{"role":"user","content":"z"}}]"#
    )
}

#[tokio::test]
async fn c15_messages_hold_only_what_cerebras_types() {
    let cases = [
        r#""refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null"#,
        r#""refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":[],"reasoning_content":null"#,
        r#""reasoning":"r","reasoning_content":"r""#,
        r#""reasoning_content":"r""#,
        r#""refusal":"no","parsed":{"a":1},"provider_specific_fields":{"b":null}"#,
    ];
    let rig = rig();
    for members in cases {
        let answered = ask(&rig, &history(members)).await;
        assert_eq!(
            (answered.status, answered.header("x-llm-router-upstream")),
            (200, "a"),
            "{members}: {}",
            answered.text
        );
        let (body, sent) = last(&rig.call_log(Face::Cerebras));
        let message = sent["messages"][1].as_object().expect("a message");
        let expected: &[&str] =
            if members.contains("\"r\"") { &["role", "content", "reasoning"] } else { &["role", "content"] };
        assert!(message.keys().all(|name| expected.contains(&name.as_str())), "{members}: {body}");
        assert_eq!(message.len(), expected.len(), "{members}: {body}");
        assert_eq!(body.matches("\"reasoning").count(), expected.len() - 2, "in one object once: {body}");
    }
}

#[tokio::test]
async fn c16_functions_and_continued_messages_go_to_an_upstream_that_takes_them() {
    let functions = r#""functions":[{"name":"f","parameters":{"type":"object","properties":{}}}]"#;
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let cases = [
        (format!(r#"{messages},{functions},"function_call":{{"name":"f"}}"#), "functions"),
        (format!(r#"{messages},{functions},"function_call":"auto""#), "function_call"),
        (format!("{messages},{functions}"), "functions"),
        (
            format!(r#"{messages},"continue_final_message":true,"add_generation_prompt":false"#),
            "continue_final_message",
        ),
        (history(r#""function_call":{"name":"f","arguments":"{}"}"#), "function_call"),
    ];
    let rig = rig();
    for (members, field) in cases {
        let answered = ask(&rig, &members).await;
        assert_eq!(
            (answered.status, answered.header("x-llm-router-upstream")),
            (200, "b"),
            "{members}: {}",
            answered.text
        );
        assert!(last(&rig.call_log(B)).0.contains(field), "{members}");
        assert_eq!(rig.call_log(Face::Cerebras).received, 0, "{members}");
    }
}

/// A message of the user with a text and this part.
fn with_part(part: &str) -> String {
    format!(r#""messages":[{{"role":"user","content":[{{"type":"text","text":"what is this?"}},{part}]}}]"#)
}

#[tokio::test]
async fn c17_parts_that_cerebras_does_not_take_go_to_another_upstream() {
    let parts = [
        r#"{"type":"input_audio","input_audio":{"data":"eA==","format":"wav"}}"#,
        r#"{"type":"audio_url","audio_url":{"url":"data:audio/wav;base64,eA=="}}"#,
        r#"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,eA=="}}"#,
        r#"{"type":"file","file":{"file_data":"eA==","filename":"a.pdf"}}"#,
        r#"{"type":"image_url","image_url":{"url":"https://images.example/a.png"}}"#,
    ];
    let rig = rig();
    let served = whole(r#"{"role":"assistant","content":"a sound"}"#);
    rig.emulator.control(B, answer(200, JSON, served, End::Complete));
    for part in parts {
        let answered = ask(&rig, &with_part(part)).await;
        assert_eq!(
            (answered.status, answered.header("x-llm-router-upstream")),
            (200, "b"),
            "{part}: {}",
            answered.text
        );
        assert_eq!(rig.call_log(Face::Cerebras).received, 0, "{part}");
    }
}

/// If Cerebras refuses a part that the configuration says it takes, the client gets no error that blames its request.
#[tokio::test]
async fn c17_a_part_that_cerebras_refuses_moves_on() {
    let rig = pair_of(&format!("{}features = {{ images = true }}\n", a("cerebras")));
    let refusal = r#"{"message":"messages.0.user.content.1.type: Input should be 'text'","type":"invalid_request_error","param":"validation_error","code":"wrong_api_format"}"#;
    let fault = answer(400, JSON, refusal, End::Complete);
    rig.emulator.set_rules(Face::Cerebras, vec![Rule { fault, times: Some(1), ..Rule::default() }]);
    let served = whole(r#"{"role":"assistant","content":"a picture"}"#);
    rig.emulator.control(B, answer(200, JSON, served, End::Complete));
    let answered =
        ask(&rig, &with_part(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,eA=="}}"#)).await;
    assert_eq!((answered.status, answered.header("x-llm-router-upstream")), (200, "b"), "{}", answered.text);
    assert_eq!(rig.call_log(Face::Cerebras).received, 1, "it was asked once");
}

#[tokio::test]
async fn c28_escaped_names_mean_the_same() {
    let cases = [
        r#""messages":[{"role":"user","c\u006fntent":"x"}]"#,
        r#""messages":[{"r\u006fle":"user","content":"x"}]"#,
        r#""messages":[{"role":"\u0075ser","content":[{"t\u0079pe":"text","te\u0078t":"x"}]}]"#,
        r#""messages":[{"role":"d\u0065veloper","content":"x"},{"role":"user","content":"x"}]"#,
        r#""messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y","reas\u006fning_content":"r"},{"role":"user","content":"z"}]"#,
    ];
    let rig = rig();
    for members in cases {
        let answered = ask(&rig, members).await;
        assert_eq!(
            (answered.status, answered.header("x-llm-router-upstream")),
            (200, "a"),
            "{members}: {}",
            answered.text
        );
        let (_, sent) = last(&rig.call_log(Face::Cerebras));
        // As Cerebras reads it.
        let sent = sent.to_string();
        assert!(!sent.contains("developer") && !sent.contains("reasoning_content"), "{sent}");
    }
    let wrong = ask(&rig, r#""messages":[{"role":"user","c\u006fntent":7}]"#).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &json!("messages[0].content")), "{}", wrong.text);
}
