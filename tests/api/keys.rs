//! Who may call, and what.

use std::{fs, path::Path};

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, chat, eventually, with};
use emulator::Settings;
use reqwest::Method;
use serde_json::json;

use crate::{
    common::{Raw, Refusal, launch, received, status, still_serves},
    doors::check_anthropic,
};

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
        (&[("x-api-key", "")], no_key),
        (&[("x-api-key", "wrong")], unknown),
        (&[("x-api-key", &format!("Bearer {CLIENT_KEY}"))], unknown),
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
async fn a_request_without_a_key_is_refused_before_its_body_is_read() {
    let rig = launch().start();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 1000000\r\n\r\n";
    let answer = Raw::exchange(&rig, head).await;
    assert_eq!(status(&answer), 401, "{answer}");
    still_serves(&rig, 1).await;
}

/// Every path of the public listener that asks for a key.
const GUARDED: [(Method, &str); 18] = [
    (Method::POST, "/v1/chat/completions"),
    (Method::POST, "/v1/completions"),
    (Method::POST, "/v1/embeddings"),
    (Method::POST, "/v1/rerank"),
    (Method::POST, "/v1/score"),
    (Method::POST, "/v1/audio/transcriptions"),
    (Method::POST, "/v1/tokenize"),
    (Method::POST, "/v1/detokenize"),
    (Method::POST, "/v1/messages"),
    (Method::POST, "/v1/messages/count_tokens"),
    (Method::POST, "/v1/responses"),
    (Method::POST, "/v1/generate"),
    (Method::POST, "/v1/generate/stream"),
    (Method::POST, "/v1/chat/stream"),
    (Method::POST, "/v1/generate/batch"),
    (Method::POST, "/v1/route/explain"),
    (Method::GET, "/v1/models"),
    (Method::GET, "/v1/models/llama"),
];

const TOKEN: &str = "an-admin-token-of-the-tests";

#[tokio::test]
async fn failed_authentications_are_counted_on_every_route() {
    let rig = launch().env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    let count = async |credential, reason| {
        let labels = [("credential", credential), ("reason", reason)];
        rig.metrics().await.value("llmrouter_auth_failures_total", &labels)
    };
    let text = rig.admin.get("/metrics").await.text;
    assert_eq!(text.matches("llmrouter_auth_failures_total{").count(), 6, "all series are there from the start");
    let wrong = rig.client.with_key("wrong");
    for (at, (method, path)) in GUARDED.into_iter().enumerate() {
        let at = f64::from(u32::try_from(at).unwrap());
        assert_eq!(Answer::of(wrong.request(method.clone(), path)).await.status, 401, "{path}");
        assert_eq!((count("key", "wrong").await, count("key", "missing").await), (at + 1.0, at), "{path}");
        assert_eq!(Answer::of(rig.client.bare(method, path)).await.status, 401, "{path}");
        assert_eq!((count("key", "wrong").await, count("key", "missing").await), (at + 1.0, at + 1.0), "{path}");
    }
    let reload = async |key: Option<&str>| {
        let request = match key {
            Some(key) => rig.admin.with_key(key).request(Method::POST, "/admin/reload"),
            None => rig.admin.bare(Method::POST, "/admin/reload"),
        };
        Answer::of(request).await.status
    };
    assert_eq!((reload(Some("wrong")).await, reload(None).await, reload(Some(TOKEN)).await), (401, 401, 409));
    assert_eq!((count("admin_token", "wrong").await, count("admin_token", "missing").await), (1.0, 1.0));
    for path in ["/", "/livez", "/readyz", "/openapi.json", "/nowhere"] {
        wrong.get(path).await;
    }
    let both = (count("key", "wrong").await, count("key", "missing").await);
    assert_eq!(both, (18.0, 18.0), "nobody is asked for a key there");
    still_serves(&rig, 1).await;
}

/// The table of addresses and the windows are tested in virtual time, in the server.
#[tokio::test]
async fn an_address_that_guesses_is_slowed_and_a_known_key_never() {
    let rig = launch().env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    let says = "too many like it came from this address";
    let slowed = Refusal { status: 429, code: "too_many_wrong_keys", param: None, says };
    for number in 0..100 {
        let guess = rig.client.with_key(&format!("guess-{number}"));
        let (method, path) = GUARDED[number % GUARDED.len()].clone();
        let answer = Answer::of(guess.request(method, path)).await;
        if number < 30 {
            assert_eq!(answer.status, 401, "{number}");
        } else {
            if path.starts_with("/v1/messages") {
                check_anthropic(path, &answer, 429, "rate_limit_error");
            } else {
                slowed.check(path, &answer);
            }
            let wait: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!((1..=60).contains(&wait), "{wait}");
            assert_eq!(answer.header("x-should-retry"), "false");
        }
        let good = rig.client.get("/v1/models").await;
        assert_eq!(good.status, 200, "{number}");
    }
    let admin = async |key: &str| Answer::of(rig.admin.with_key(key).request(Method::POST, "/admin/reload")).await;
    slowed.check("an operator who guesses", &admin("guess").await);
    assert_eq!(admin(TOKEN).await.error_code(), "nothing_to_reload", "the right token is let in");
    assert_eq!(Answer::of(rig.client.bare(Method::GET, "/v1/models")).await.status, 401, "no key is no guess");
    let metrics = rig.metrics().await;
    let of = |reason| metrics.value("llmrouter_auth_failures_total", &[("reason", reason)]);
    assert_eq!((of("wrong"), of("slowed"), of("missing")), (30.0, 71.0, 1.0));
    still_serves(&rig, 1).await;
}

const NAMED: &str = r#"
[[models]]
name = "other"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]

[[ensembles]]
name = "ensemble/two"
members = ["llama", "other"]
pick = { kind = "first" }

[[ensembles]]
name = "ensemble/rest"
members = ["other", "other"]
pick = { kind = "first" }

[tasks]
code = "other"
hard = "ensemble/two"
plain = "llama"

[[keys]]
id = "all"
team = "t"
env = "CLIENT_KEY"
direct = true

[[keys]]
id = "few"
team = "t"
env = "FEW"
direct = true
models = ["llama", "task/hard"]
"#;

#[tokio::test]
async fn a_key_sees_and_uses_only_what_it_lists() {
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{NAMED}");
    let rig = Launch::new(Settings::instant(), &config).env("FEW", "sk-test-few").start();
    let few = rig.client.with_key("sk-test-few");
    let listed = async |client: &e2e::Client| {
        let list = client.get("/v1/models").await.json();
        let names = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let all =
        ["llama", "other", "task/code", "task/hard", "task/plain", "ensemble/rest", "ensemble/two"].map(str::to_owned);
    assert_eq!(listed(&rig.client).await, all);
    let mine = ["llama", "task/hard", "task/plain"];
    assert_eq!(listed(&few).await, mine, "a task is there too if what it stands for is");
    for name in &all {
        let expected = if mine.contains(&name.as_str()) { 200 } else { 404 };
        assert_eq!(few.get(&format!("/v1/models/{name}")).await.status, expected, "{name}");
    }

    // Whatever way it is asked for.
    let named = |name: &str| with(chat("x"), json!({"model": name}));
    let (model, task) = ("model_not_found", "task_not_found");
    for (name, code) in [
        ("llama", ""),
        ("runpod/llama", ""),
        ("cerebras/llama", ""),
        ("task/hard", ""),
        ("task/plain", ""),
        ("other", model),
        ("cerebras/other", model),
        ("ensemble/two", "ensemble_not_found"),
        ("ensemble/rest", "ensemble_not_found"),
        ("task/code", task),
    ] {
        let prompt = json!({"prompt": "x", "model": name});
        let calls = [("/v1/chat/completions", named(name)), ("/v1/generate", prompt.clone())];
        for (path, body) in calls {
            assert_eq!(rig.client.post(path, &body).await.status, 200, "{path} {name}, for one who may");
            let answer = few.post(path, &body).await;
            if code.is_empty() {
                assert_eq!(answer.status, 200, "{path} {name}: {}", answer.text);
            } else {
                let says = "does not exist";
                let says = if name.starts_with("cerebras/") { "has no such model" } else { says };
                Refusal { status: 404, code, param: Some("model"), says }.check(name, &answer);
                assert!(!answer.text.replace(name, "").contains("other"), "{name}: {}", answer.text);
            }
        }
        let batch = few.post("/v1/generate/batch", &json!({"prompts": ["x"], "model": name})).await;
        let entry = &batch.json()["results"][0];
        assert_eq!(entry["error"]["code"].as_str().unwrap_or_default(), code, "a batch of {name}: {entry}");
        let explained = few.post("/v1/route/explain", &named(name)).await;
        let expected = if name == "task/hard" { "unsupported" } else { code };
        assert_eq!(explained.error_code(), expected, "explain {name}");
    }
    let by_header = few.json("/v1/chat/completions", &chat("x")).header("x-llm-router-task", "code");
    assert_eq!(Answer::of(by_header).await.error_code(), task);
    let by_field = few.post("/v1/generate", &json!({"prompt": "x", "task": "code"})).await;
    assert_eq!(by_field.error_code(), task);
    assert!(by_field.error_message().ends_with("there are hard, plain"), "{}", by_field.error_message());

    // The one model that it may use needs no name.
    assert_eq!(few.post("/v1/generate", &json!({"prompt": "x"})).await.json()["model"], "llama");
    assert_eq!(rig.client.post("/v1/generate", &json!({"prompt": "x"})).await.status, 400);
}

/// No signal and no call: the file is looked at twice a second.
#[tokio::test]
async fn a_key_that_is_taken_out_of_the_file_stops() {
    // The file is read with the environment of this process, which has no keys in it.
    const CLIENT: &str = "35772f339cb7aef33bbae0be438a14b46d56bda32da71269412103048367fa05";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (file, secret) = (folder.join("config.toml"), folder.join("upstream"));
    fs::write(&secret, e2e::UPSTREAM_KEY).unwrap();
    let emulator = emulator::Emulator::start(Settings::instant()).unwrap();
    let upstreams = format!("{RUNPOD_LB}{CEREBRAS}")
        .replace("${EMULATOR}", &emulator.url())
        .replace("api_key_env = \"UPSTREAM_KEY\"", &format!("api_key_file = {secret:?}"));
    let text = |sha256: &str| {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[log]\nlevel = \"off\"\naccess = \"off\"\n\
             {upstreams}{BALANCED}[[keys]]\nid = \"k\"\nteam = \"t\"\nsha256 = {sha256:?}\n"
        )
    };
    fs::write(&file, text(CLIENT)).unwrap();
    let rig = Launch::new(Settings::instant(), &text(CLIENT)).watched(&file).start_with(emulator);
    assert_eq!(rig.client.chat(&chat("x")).await.status, 200);
    fs::write(&file, text(&"1".repeat(64))).unwrap();
    eventually("the key is refused", async || (rig.client.get("/v1/models").await.status == 401).then_some(())).await;
    assert_eq!(rig.client.chat(&chat("x")).await.status, 401);
    drop(fs::remove_dir_all(&folder));
}
