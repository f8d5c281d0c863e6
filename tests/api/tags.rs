//! Tags: how requests say what they are for, and what is refused.

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, with};
use emulator::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Refusal, launch, received};

const TAGS: &str = r#"
[[tags]]
name = "feature"

[[tags]]
name = "env"
values = ["prod", "test"]
"#;

fn tagged(more: &str) -> Rig {
    Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{TAGS}{more}")).start()
}

async fn send(rig: &Rig, path: &str, headers: &[&str], body: &Value) -> Answer {
    let mut request = rig.client.request(Method::POST, path).header("content-type", "application/json");
    for value in headers {
        request = request.header("x-llm-router-tags", *value);
    }
    Answer::of(request.body(body.to_string())).await
}

fn refused(says: &str) -> Refusal<'_> {
    Refusal { status: 400, code: "invalid_tags", param: None, says }
}

#[tokio::test]
async fn what_is_wrong_with_a_header_is_said_before_an_upstream_is_asked() {
    let rig = tagged("");
    let chats = "/v1/chat/completions";
    for (value, says) in [
        ("feat=search", "the tag \"feat\" is not declared: there are env, feature"),
        ("feature", "write tags as feature=search,env=prod"),
        ("feature=two words", "1 to 64 letters, digits and . _ - : / @ +"),
        ("env=dev", "it may be prod or test"),
        ("env=prod,env=test", "is given twice"),
        ("feature=\u{e9}", "is no value of the tag"),
    ] {
        refused(says).check(value, &send(&rig, chats, &[value], &chat("x")).await);
    }
    let both = send(&rig, chats, &["env=prod", "env=test"], &chat("x")).await;
    refused("is given twice").check("two headers are one list", &both);
    let batch = send(&rig, "/v1/generate/batch", &["feat=x"], &json!({"prompts": ["a"]})).await;
    refused("is not declared").check("a batch as a whole", &batch);
    assert_eq!(received(&rig), 0);
    for values in [&["feature=search,env=prod"][..], &["feature=search", "env=prod"], &[""], &[]] {
        assert_eq!(send(&rig, chats, values, &chat("x")).await.status, 200, "{values:?}");
    }
}

#[tokio::test]
async fn of_metadata_declared_names_are_tags_and_the_rest_is_left_to_others() {
    let rig = tagged("");
    let metadata = |metadata: Value| with(chat("x"), json!({"metadata": metadata}));
    let others = json!({"user-name": "A. B.", "trace": {"id": 1}, "feature": "search"});
    for body in [others, json!({}), json!(null), json!("text"), json!([1])] {
        let answer = rig.client.chat(&metadata(body.clone())).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
    }
    for (body, says) in [
        (json!({"env": "dev"}), "it may be prod or test"),
        (json!({"feature": 3}), "the tag \"feature\" must be a string"),
        (json!({"feature": "a, b"}), "is no value of the tag \"feature\""),
    ] {
        refused(says).check("metadata", &rig.client.chat(&metadata(body)).await);
    }
    let prompt = json!({"prompt": "x", "model": "llama", "metadata": {"env": "dev"}});
    refused("it may be prod or test").check("the short form", &rig.client.post("/v1/generate", &prompt).await);
}

#[tokio::test]
async fn a_required_tag_comes_from_the_header_from_metadata_or_from_the_key() {
    let required = TAGS.replacen("\"feature\"", "\"feature\"\nrequired = true", 1);
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{required}");
    let rig = Launch::new(Settings::instant(), &config).start();
    let chats = "/v1/chat/completions";
    let missing = rig.client.chat(&chat("x")).await;
    refused("the tag \"feature\" is required: send it in the header x-llm-router-tags").check("none", &missing);
    assert_eq!(send(&rig, chats, &["feature=search"], &chat("x")).await.status, 200);
    let body = with(chat("x"), json!({"metadata": {"feature": "search"}}));
    assert_eq!(rig.client.chat(&body).await.status, 200);
    let entries = rig.client.post("/v1/generate/batch", &json!({"prompts": ["a"], "model": "llama"})).await;
    assert!(entries.json()["results"][0]["error"]["message"].to_string().contains("is required"), "{}", entries.text);

    let key = "\n[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\ntags = { feature = \"search\" }\n";
    let rig = Launch::new(Settings::instant(), &format!("{config}{key}")).start();
    assert_eq!(rig.client.chat(&chat("x")).await.status, 200);
}

#[tokio::test]
async fn where_no_tags_are_declared_a_header_is_refused_and_metadata_is_not_read() {
    let rig = launch().start();
    let answer = send(&rig, "/v1/chat/completions", &["feature=search"], &chat("x")).await;
    refused("is not declared: no tags are").check("a header", &answer);
    let body = with(chat("x"), json!({"metadata": {"feature": "any thing"}}));
    assert_eq!(rig.client.chat(&body).await.status, 200);
}
