//! Wrong input to the calls in the short form: each is refused by name, nothing is sent on, and the next request works.

use e2e::{Answer, chat};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{Refusal, launch, still_serves};

struct Case {
    path: &'static str,
    body: Value,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
    says: &'static str,
}

fn case(path: &'static str, body: Value, param: &'static str, says: &'static str) -> Case {
    Case { path, body, status: 400, code: "invalid_request", param: Some(param), says }
}

const GENERATE: &str = "/v1/generate";
const STREAM: &str = "/v1/generate/stream";
const BATCH: &str = "/v1/generate/batch";
const EXPLAIN: &str = "/v1/route/explain";

fn wrong_prompts() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [GENERATE, STREAM] {
        cases.extend([
            case(path, json!({}), "prompt", "'prompt' is required"),
            case(path, json!({"prompt": ""}), "prompt", "is empty: say what to answer"),
            case(path, json!({"prompt": " \n"}), "prompt", "is empty: say what to answer"),
            case(path, json!({"prompt": ["a"]}), "prompt", "must be a string"),
            case(path, json!({"prompt": "a", "messages": []}), "prompt", "exclude each other: send one"),
            case(path, json!({"messages": []}), "messages", "'messages'"),
            case(path, json!({"messages": "hello"}), "messages", "'messages'"),
            case(path, json!({"messages": [{"role": "pirate", "content": "x"}]}), "messages[0].role", "pirate"),
            case(path, json!({"prompt": "a", "model": 7}), "model", "'model' must be a string"),
            case(path, json!({"prompt": "a", "task": {}}), "task", "'task' must be a string"),
            case(path, json!({"prompt": "a", "max_tokens": -1}), "max_tokens", "max_tokens"),
            case(path, json!({"prompt": "a", "temperature": "hot"}), "temperature", "temperature"),
        ]);
    }
    cases.push(case(GENERATE, json!({"prompt": "a", "stream": true}), "stream", "use /v1/generate/stream"));
    cases
}

fn wrong_batches() -> Vec<Case> {
    let many = |count: usize| vec!["x"; count];
    vec![
        case(BATCH, json!({}), "prompts", "'prompts' is required: an array of strings"),
        case(BATCH, json!({"prompts": []}), "prompts", "is empty: send at least one"),
        case(BATCH, json!({"requests": []}), "requests", "is empty: send at least one"),
        case(BATCH, json!({"prompts": "one"}), "prompts", "must be an array of strings"),
        case(BATCH, json!({"requests": {"prompt": "one"}}), "requests", "must be an array of objects"),
        case(BATCH, json!({"requests": ["one"]}), "requests", "must hold objects"),
        case(BATCH, json!({"prompts": ["a"], "requests": [{"prompt": "a"}]}), "prompts", "exclude each other"),
        case(BATCH, json!({"prompts": many(10_000)}), "prompts", "has more than 2048 entries: split it"),
        case(BATCH, json!({"prompts": ["a"], "concurrency": 0}), "concurrency", "a whole number from 1 to 256"),
        case(BATCH, json!({"prompts": ["a"], "concurrency": "many"}), "concurrency", "a whole number from 1 to 256"),
    ]
}

fn wrong_names() -> Vec<Case> {
    let missing = |path, body, code, says| Case { path, body, status: 404, code, param: Some("model"), says };
    vec![
        missing(GENERATE, json!({"prompt": "a", "model": "nowhere"}), "model_not_found", "does not exist"),
        missing(GENERATE, json!({"prompt": "a", "task": "poetry"}), "task_not_found", "none is configured"),
        missing(STREAM, json!({"prompt": "a", "model": "task/poetry"}), "task_not_found", "none is configured"),
        missing(
            EXPLAIN,
            json!({"model": "nowhere", "messages": [{"role": "user", "content": "x"}]}),
            "model_not_found",
            "does not exist",
        ),
        Case {
            path: GENERATE,
            body: json!({"prompt": "a", "model": "cerebras/llama"}),
            status: 403,
            code: "direct_not_allowed",
            param: Some("model"),
            says: "have direct = true set for the key",
        },
    ]
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_name_and_not_sent_on() {
    let rig = launch().start();
    let cases = wrong_prompts().into_iter().chain(wrong_batches()).chain(wrong_names());
    for (at, case) in cases.enumerate() {
        let Case { path, body, status, code, param, says } = case;
        let what = format!("{path} {}", body.to_string().chars().take(80).collect::<String>());
        Refusal { status, code, param, says }.check(&what, &rig.client.post(path, &body).await);
        still_serves(&rig, at as u64 + 1).await;
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let rig = launch().start();
    for path in [GENERATE, STREAM, "/v1/chat/stream", BATCH, EXPLAIN] {
        for (body, says) in [("", "is empty: send a JSON object"), ("{", "not valid JSON"), ("[1]", "JSON object")] {
            let request = rig.client.request(Method::POST, path).header("content-type", "application/json").body(body);
            let refusal = Refusal { status: 400, code: "invalid_request", param: None, says };
            refusal.check(&format!("{path} {body:?}"), &Answer::of(request).await);
        }
        let get = Answer::of(rig.client.request(Method::GET, path)).await;
        assert_eq!((get.status, get.header("allow")), (405, "POST"), "{path}");
        let nobody = rig.client.with_key("sk-nobody").post(path, &chat("x")).await;
        assert_eq!((nobody.status, nobody.error_code().as_str()), (401, "invalid_api_key"), "{path}");
    }
    still_serves(&rig, 1).await;
}

/// What a tree of values could not hold, or only at many times its size.
#[tokio::test]
async fn what_appears_twice_or_too_often_is_refused_by_name() {
    let rig = launch().start();
    let fields = (0..60_000).map(|at| format!(r#","x{at}":0"#)).collect::<Vec<_>>().concat();
    for path in [GENERATE, STREAM, "/v1/chat/stream"] {
        for (body, param, says) in [
            (r#"{"prompt":"a","prompt":"b"}"#.to_owned(), Some("prompt"), "appears twice: send it once"),
            (r#"{"prompt":"a","x":[{"y":1,"y":2}]}"#.to_owned(), Some("x"), "'y' within 'x' appears twice"),
            (format!(r#"{{"prompt":"a"{fields}}}"#), None, "has more than 256 fields"),
            (format!(r#"{{"messages":[{}1]}}"#, "{},".repeat(1 << 20)), Some("messages[0].role"), "is missing"),
        ] {
            let request = rig.client.request(Method::POST, path).header("content-type", "application/json").body(body);
            let answer = Answer::of(request).await;
            Refusal { status: 400, code: "invalid_request", param, says }.check(path, &answer);
        }
    }
    for (body, param, says) in [
        (r#"{"prompts":["a"],"prompts":["b"]}"#.to_owned(), "prompts", "appears twice: send it once"),
        (
            r#"{"requests":[{"prompt":"a","prompt":"b"}]}"#.to_owned(),
            "requests",
            "'prompt' within 'requests' appears twice",
        ),
        (format!(r#"{{"prompts":[{}1]}}"#, "1,".repeat(4_000_000)), "prompts", "has more than 2048 entries: split it"),
        (
            format!(r#"{{"requests":[{}{{}}]}}"#, "{},".repeat(2_000_000)),
            "requests",
            "has more than 2048 entries: split it",
        ),
    ] {
        let request = rig.client.request(Method::POST, BATCH).header("content-type", "application/json").body(body);
        let answer = Answer::of(request).await;
        Refusal { status: 400, code: "invalid_request", param: Some(param), says }.check(BATCH, &answer);
    }
    still_serves(&rig, 1).await;
}

#[tokio::test]
async fn the_admin_api_wants_its_token() {
    let off = launch().start();
    let answer = off.admin.post("/admin/reload", &json!({})).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (403, "admin_api_off"));
    let rig = launch().env("LLM_ROUTER_ADMIN_TOKEN", "an-admin-token-for-tests").start();
    let reload = |key: &'static str| {
        let admin = rig.admin.with_key(key);
        async move { admin.post("/admin/reload", &json!({})).await }
    };
    for key in ["", "an-admin-token-for-test", "an-admin-token-for-testsX"] {
        let answer = reload(key).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (401, "invalid_admin_token"), "{key}");
    }
    let answer = reload("an-admin-token-for-tests").await;
    assert_eq!((answer.status, answer.error_code().as_str()), (409, "nothing_to_reload"), "it has no file");
    let get = rig.admin.with_key("an-admin-token-for-tests").get("/admin/reload").await;
    assert_eq!(get.status, 405);
    assert_eq!(rig.admin.get("/admin/nothing").await.error_code(), "not_found");
}
