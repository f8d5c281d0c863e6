//! Rerank, score, transcriptions and the tokenizer: passed through, with the keys, limits, prices and errors of every other call.

use e2e::{Answer, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, only, with};
use emulator::{Face, Fault, Recorded, Settings};
use ledger::Dimension;
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_record::{Folder, on_record};

/// A model that compares texts at a price by the call, one that listens at a price by the second, and a chat model of two upstreams, of
/// which one has a tokenizer.
const CONFIG: &str = r#"
[[upstreams]]
id = "reranker"
provider = "openai"
base_url = "${EMULATOR}/lb/v1"
api_key_env = "UPSTREAM_KEY"
model = "BAAI/bge-small"
supports = ["rerank", "score"]
cost = { kind = "requests", usd_per_request = "0.002" }

[[upstreams]]
id = "listener"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
capacity_url = "none"
api_key_env = "UPSTREAM_KEY"
model = "openai/whisper-small"
supports = ["transcriptions"]
cost = { kind = "audio_seconds", usd_per_second = "0.0001" }

[[models]]
name = "bge"
strategy = "weighted"
targets = [{ upstream = "reranker" }]

[[models]]
name = "whisper"
strategy = "weighted"
targets = [{ upstream = "listener" }]

[[models]]
name = "llama"
strategy = "balanced"
slo = { ttft_ms = 60000 }                          # the shares alone decide, however busy the machine is
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
"#;

fn config() -> String {
    format!("{RUNPOD_LB}supports = [\"chat\", \"tokenize\", \"detokenize\"]\n{CEREBRAS}{CONFIG}")
}

fn rig() -> Rig {
    Rig::start(Settings::instant(), &config())
}

/// The requests that came to vLLM, in order.
fn received(rig: &Rig) -> Vec<Recorded> {
    rig.call_log(Face::RunpodLb).requests
}

fn rerank() -> Value {
    json!({"model": "bge", "query": "red cat", "documents": ["a dog", "the red cat"], "top_n": 1, "truncate_prompt_tokens": 9})
}

/// So many seconds of noise that is no text: 16,000 samples a second, of two bytes each.
fn recording(seconds: u32) -> Vec<u8> {
    let size = 32_000 * seconds;
    let header = [b"RIFF".as_slice(), &(36 + size).to_le_bytes(), b"WAVEfmt \x10\0\0\0\x01\0\x01\0"].concat();
    let rates = [16_000_u32.to_le_bytes(), 32_000_u32.to_le_bytes()].concat();
    let rest = [b"\x02\0\x10\0data".as_slice(), &size.to_le_bytes(), &vec![0xfe; size as usize]].concat();
    [header, rates, rest].concat()
}

/// A form of these fields and a recording.
fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let start = |name: &str| format!("--b0undary\r\nContent-Disposition: form-data; name=\"{name}\"");
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("{}\r\n\r\n{value}\r\n", start(name)).into_bytes());
    }
    body.extend(format!("{}; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n", start("file")).into_bytes());
    body.extend(file);
    body.extend(b"\r\n--b0undary--\r\n");
    body
}

async fn transcribe(rig: &Rig, body: Vec<u8>, content_type: &str) -> Answer {
    let request = rig.client.request(Method::POST, "/v1/audio/transcriptions").header("content-type", content_type);
    Answer::of(request.body(body)).await
}

const FORM: &str = "multipart/form-data; boundary=b0undary";

fn check_refusal(answer: &Answer, status: u16, code: &str, param: Option<&str>) {
    assert_eq!((answer.status, answer.error_code().as_str()), (status, code), "{}", answer.text);
    assert_eq!(answer.json()["error"]["param"].as_str(), param, "{}", answer.text);
}

#[tokio::test]
async fn each_call_goes_to_an_upstream_that_has_it_and_comes_back_as_it_was_answered() {
    let rig = rig();
    let answer = rig.client.post("/v1/rerank", &rerank()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-llm-router-upstream"), "reranker");
    let results = &answer.json()["results"];
    assert_eq!((results.as_array().map(Vec::len), &results[0]["index"]), (Some(1), &json!(1)), "{results}");

    let score = json!({"model": "bge", "text_1": "red cat", "text_2": ["a dog", "the red cat"], "stream": true});
    let answer = rig.client.post("/v1/score", &score).await;
    assert_eq!((answer.status, &answer.json()["data"][1]["score"]), (200, &json!(1.0)), "{}", answer.text);

    let answer = rig.client.post("/v1/tokenize", &json!({"model": "llama", "prompt": "Hi"})).await;
    assert_eq!((answer.status, &answer.json()["tokens"]), (200, &json!([72, 105])), "{}", answer.text);
    let answer = rig.client.post("/v1/detokenize", &json!({"model": "llama", "tokens": [72, 105]})).await;
    assert_eq!((answer.status, &answer.json()["prompt"]), (200, &json!("Hi")), "{}", answer.text);
    assert_eq!(answer.header("x-llm-router-injected-params"), "", "{:?}", answer.headers);

    let received = received(&rig);
    let paths: Vec<_> = received.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/lb/v1/rerank", "/lb/v1/score", "/lb/tokenize", "/lb/detokenize"]);
    let sent: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(sent, with(rerank(), json!({"model": "BAAI/bge-small"})), "all but the model's name is the client's");
    let metrics = rig.metrics().await;
    for route in ["rerank", "score", "tokenize", "detokenize"] {
        let served = metrics.value("llmrouter_requests_total", &[("route", route), ("outcome", "ok")]);
        assert!((served - 1.0).abs() < 0.1, "{route}: {served}");
    }
}

#[tokio::test]
async fn a_recording_is_passed_on_untouched_and_its_transcript_in_the_format_that_was_asked_for() {
    let rig = rig();
    let file = recording(3);
    for (format, kind, says) in [
        ("json", "application/json", "A recording of 4 seconds."),
        ("verbose_json", "application/json", "A recording of 4 seconds."),
        ("text", "text/plain; charset=utf-8", "A recording of 4 seconds."),
        ("vtt", "text/vtt", "WEBVTT"),
    ] {
        let fields = [("model", "whisper"), ("response_format", format), ("language", "en"), ("x-odd", "\u{e9}")];
        let answer = transcribe(&rig, form(&fields, &file), FORM).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{}", answer.text);
        assert!(answer.text.contains(says), "{}", answer.text);
        let sent = received(&rig).pop().expect("a request");
        let renamed = fields.map(|(name, value)| (name, if name == "model" { "openai/whisper-small" } else { value }));
        assert!(sent.body_bytes == form(&renamed, &file), "{format}: {}", &sent.body[..200]);
        assert_eq!(sent.headers["content-type"], "multipart/form-data; boundary=\"b0undary\"");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said_before_any_upstream_is_asked() {
    let rig = rig();
    for (path, body, code, param) in [
        ("/v1/rerank", json!({"model": "bge", "documents": ["a"]}), "invalid_request", Some("query")),
        ("/v1/rerank", with(rerank(), json!({"documents": "a"})), "invalid_request", Some("documents")),
        ("/v1/score", json!({"model": "bge", "text_1": "a"}), "invalid_request", Some("text_2")),
        ("/v1/tokenize", json!({"model": "llama"}), "invalid_request", Some("prompt")),
        ("/v1/detokenize", json!({"model": "llama", "tokens": ["a"]}), "invalid_request", Some("tokens")),
        ("/v1/rerank", with(rerank(), json!({"model": "llama"})), "unsupported", None),
        ("/v1/tokenize", json!({"model": "bge", "prompt": "x"}), "unsupported", None),
    ] {
        check_refusal(&rig.client.post(path, &body).await, 400, code, param);
    }
    let of_model = [("model", "whisper")];
    let file = recording(1);
    check_refusal(&transcribe(&rig, form(&[], &file), FORM).await, 400, "invalid_request", Some("model"));
    check_refusal(&transcribe(&rig, form(&of_model, b""), FORM).await, 400, "invalid_request", Some("file"));
    let streamed = form(&[("model", "whisper"), ("stream", "true")], &file);
    check_refusal(&transcribe(&rig, streamed, FORM).await, 400, "invalid_request", Some("stream"));
    let other = transcribe(&rig, form(&of_model, &file), "multipart/form-data; boundary=other").await;
    check_refusal(&other, 400, "invalid_request", None);
    let two = form(&[("x\"; name=\"model", "dear"), ("model", "whisper")], &file);
    check_refusal(&transcribe(&rig, two, FORM).await, 400, "invalid_request", None);
    let two = transcribe(&rig, form(&of_model, &file), "multipart/form-data; boundary=b0undary; boundary=other").await;
    check_refusal(&two, 400, "invalid_request", None);
    let json = rig.client.post("/v1/audio/transcriptions", &json!({"model": "whisper"})).await;
    check_refusal(&json, 415, "unsupported_media_type", None);
    assert!(json.error_message().contains("multipart/form-data"), "{}", json.text);
    let chats = rig.client.request(Method::POST, "/v1/chat/completions").header("content-type", FORM);
    check_refusal(&Answer::of(chats.body(form(&of_model, &file))).await, 415, "unsupported_media_type", None);
    let unknown = transcribe(&rig, form(&[("model", "nobody")], &file), FORM).await;
    check_refusal(&unknown, 404, "model_not_found", Some("model"));
    assert_eq!(received(&rig).len(), 0);
}

#[tokio::test]
async fn a_key_uses_only_the_models_that_it_lists() {
    let key = "\n[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\nmodels = [\"whisper\"]\n";
    let launch = Launch::new(Settings::instant(), &format!("{}{key}", config()));
    let rig = launch.env("CLIENT_KEY", CLIENT_KEY).start();
    let file = recording(1);
    assert_eq!(transcribe(&rig, form(&[("model", "whisper")], &file), FORM).await.status, 200);
    let asked = received(&rig).len();
    for (foreign, status, code) in
        [("bge", 404, "model_not_found"), ("listener/openai/whisper-small", 403, "direct_not_allowed")]
    {
        let answer = transcribe(&rig, form(&[("model", foreign)], &file), FORM).await;
        check_refusal(&answer, status, code, Some("model"));
    }
    for (path, body) in [
        ("/v1/rerank", rerank()),
        ("/v1/score", json!({"model": "bge", "text_1": "a", "text_2": "b"})),
        ("/v1/tokenize", json!({"model": "llama", "prompt": "x"})),
        ("/v1/detokenize", json!({"model": "llama", "tokens": [1]})),
    ] {
        check_refusal(&rig.client.post(path, &body).await, 404, "model_not_found", Some("model"));
    }
    assert_eq!(received(&rig).len(), asked);
}

#[tokio::test]
async fn a_call_and_a_second_of_a_recording_cost_what_their_upstream_charges() {
    let folder = Folder::new("passthrough");
    let mut rig = Launch::new(Settings::instant(), &format!("{}{}", config(), folder.storage(""))).start();
    let cost = |answer: &Answer| answer.header("x-llm-router-cost-usd").to_owned();
    assert_eq!(cost(&rig.client.post("/v1/rerank", &rerank()).await), "0.002000000");
    let whole = transcribe(&rig, form(&[("model", "whisper")], &recording(3)), FORM).await;
    assert_eq!(cost(&whole), "0.000400000", "the four seconds that the upstream counted");
    // A text counts nothing: what it costs is estimated by the recording.
    let fields = [("model", "whisper"), ("response_format", "text")];
    let text = transcribe(&rig, form(&fields, &recording(9)), FORM).await;
    assert_eq!((text.status, cost(&text)), (200, String::new()), "{}", text.text);
    assert_eq!(rig.client.post("/v1/tokenize", &json!({"model": "llama", "prompt": "Hi"})).await.status, 200);
    rig.until_idle().await;
    rig.take_running().stop_without_grace();
    let rows = eventually("all calls are on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Upstream, Dimension::UsageSource]);
        (rows.iter().map(|row| row.calls).sum::<u64>() == 4).then_some(rows)
    })
    .await;
    let mut costs: Vec<_> = rows.iter().map(|row| (row.calls, row.cost_nano_usd, row.unpriced_calls)).collect();
    costs.sort_unstable();
    // The recordings are 44 bytes longer than their sound; the tokenizer's upstream has no price.
    assert_eq!(costs, [(1, 0, 1), (1, 400_000, 0), (1, 900_200, 0), (1, 2_000_000, 0)], "{rows:?}");
}

#[tokio::test]
async fn budgets_and_limits_hold() {
    let folder = Folder::new("passthrough-budget");
    let key = "\n[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\n";
    let budget = "budgets = [{ usd = \"0.003\", per = \"month\", time_zone = \"Europe/Berlin\" }]\n";
    // With budgets, every upstream must have a price.
    let priced = CONFIG.split("[[models]]\nname = \"llama\"").next().unwrap_or_default();
    let launch = Launch::new(Settings::instant(), &format!("{priced}{}{key}{budget}", folder.storage("")));
    let rig = launch.env("CLIENT_KEY", CLIENT_KEY).start();
    let first = rig.client.post("/v1/rerank", &rerank()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    check_refusal(&rig.client.post("/v1/rerank", &rerank()).await, 429, "insufficient_quota", None);
    let long = transcribe(&rig, form(&[("model", "whisper")], &recording(20)), FORM).await;
    check_refusal(&long, 429, "insufficient_quota", None);
    let short = transcribe(&rig, form(&[("model", "whisper")], &recording(1)), FORM).await;
    assert_eq!(short.status, 200, "{}", short.text);

    let limits = "limits = { requests_per_minute = 1 }\n";
    let launch = Launch::new(Settings::instant(), &format!("{}{key}{limits}", config()));
    let rig = launch.env("CLIENT_KEY", CLIENT_KEY).start();
    let first = transcribe(&rig, form(&[("model", "whisper")], &recording(1)), FORM).await;
    assert_eq!((first.status, first.header("x-ratelimit-limit-requests")), (200, "1"), "{}", first.text);
    let over = transcribe(&rig, form(&[("model", "whisper")], &recording(1)), FORM).await;
    check_refusal(&over, 429, "rate_limit_exceeded", None);
}

#[tokio::test]
async fn a_failure_is_repeated_and_then_reported_as_every_other_call_s_is() {
    let second = r#"
[[upstreams]]
id = "second"
provider = "openai"
base_url = "${EMULATOR}/v2/endpoint/openai/v1"
api_key_env = "UPSTREAM_KEY"
model = "BAAI/bge-small"
supports = ["rerank"]
"#;
    let models =
        config().replace("[{ upstream = \"reranker\" }]", "[{ upstream = \"second\" }, { upstream = \"reranker\" }]");
    let rig = Rig::start(Settings::instant(), &format!("{second}{models}"));
    // The second one lacks the call: that says nothing about its other calls, and another upstream is asked.
    for _ in 0..8 {
        let answer = rig.client.post("/v1/rerank", &rerank()).await;
        assert_eq!((answer.status, answer.header("x-llm-router-upstream")), (200, "reranker"), "{}", answer.text);
    }
    rig.until_breaker("second", 0.0).await;
    for fault in [Fault::Status { code: 500, retry_after: None }, Fault::Garbage { after_events: 0 }] {
        rig.emulator.control(Face::RunpodLb, fault.clone());
        let answer = rig.client.post("/v1/rerank", &rerank()).await;
        assert!(answer.status >= 500 && answer.header("x-should-retry") == "false", "{fault:?}: {}", answer.text);
        assert!(!answer.error_code().is_empty(), "{fault:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn an_upstream_without_the_call_at_its_address_serves_chats_as_before() {
    let config = format!("{RUNPOD_LB}supports = [\"chat\", \"rerank\"]\n{}", only("runpod"));
    let rig = Rig::start(Settings::instant(), &config);
    for _ in 0..8 {
        let answer = rig.client.post("/v1/rerank", &with(rerank(), json!({"model": "llama"}))).await;
        check_refusal(&answer, 400, "unsupported", None);
    }
    let answer = rig.client.chat(&chat("hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn calls_that_one_upstream_alone_serves_take_nothing_from_its_share_of_chats() {
    let rig = rig();
    for _ in 0..100 {
        let answer = rig.client.post("/v1/tokenize", &json!({"model": "llama", "prompt": "Hi"})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let mut of_runpod = 0;
    for _ in 0..200 {
        of_runpod += usize::from(rig.client.chat(&chat("hello")).await.header("x-llm-router-upstream") == "runpod");
    }
    // What is paid back of a deficit comes little by little: a twentieth of these chats.
    assert!((157..=163).contains(&of_runpod), "{of_runpod} of 200 at a share of 0.8");
}

/// A model `m` and its upstream, which answers every call with this body; `more` are further keys of it.
fn scripted(body: &'static str, more: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            let mut read = vec![0; 1 << 20];
            // The whole request has come once nothing more does for a moment.
            socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("set");
            while std::io::Read::read(&mut socket, &mut read).is_ok_and(|bytes| bytes > 0) {}
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            std::io::Write::write_all(&mut socket, format!("{head}{body}").as_bytes()).expect("sent");
        }
    });
    format!(
        "[[upstreams]]\nid = \"scripted\"\nprovider = \"openai\"\nbase_url = \"{origin}/v1\"\nmodel = \"m\"\n\
         api_key_env = \"UPSTREAM_KEY\"\n{more}\n[[models]]\nname = \"m\"\nstrategy = \"cost\"\n\
         targets = [{{ upstream = \"scripted\" }}]\n"
    )
}

/// What is on record of the one call, in nano-dollars: its cost, of that what was estimated, and its tokens.
async fn one_call(rig: &mut Rig, folder: &Folder) -> (u64, u64, u64) {
    rig.until_idle().await;
    rig.take_running().stop_without_grace();
    let rows = eventually("the call is on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Upstream]);
        (!rows.is_empty()).then_some(rows)
    })
    .await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    (row.cost_nano_usd, row.estimated_nano_usd, row.prompt_tokens + row.completion_tokens)
}

async fn check_metrics(rig: &Rig, values: &[(&str, f64)]) {
    let metrics = rig.metrics().await;
    for (name, value) in values {
        let is = metrics.value(name, &[]);
        assert!((is - value).abs() < 1e-9, "{name} is {is}, not {value}");
    }
}

#[tokio::test]
async fn a_price_by_the_second_holds_where_tokens_are_counted_and_one_by_the_token_saves_nothing() {
    let body = r#"{"text":"Hi.","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59}}"#;
    let cost = "supports = [\"transcriptions\"]\ncost = { kind = \"audio_seconds\", usd_per_second = \"0.0001\" }";
    let folder = Folder::new("passthrough-seconds");
    let mut rig = Launch::new(Settings::instant(), &format!("{}{}", scripted(body, cost), folder.storage(""))).start();
    let answer = transcribe(&rig, form(&[("model", "m")], &recording(9)), FORM).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    rig.until_idle().await;
    check_metrics(
        &rig,
        &[
            ("llmrouter_estimated_cost_usd_total", 0.000_900_2),
            ("llmrouter_cost_usd_total", 0.0),
            ("llmrouter_tokens_total", 59.0),
            // None is counted twice.
            ("llmrouter_estimated_tokens_total", 0.0),
            ("llmrouter_unpriced_requests_total", 0.0),
        ],
    )
    .await;
    assert_eq!(one_call(&mut rig, &folder).await, (900_200, 900_200, 59));

    // The baseline has a price by the token alone: what it would have cost is not known, and not zero.
    let folder = Folder::new("passthrough-baseline");
    let baseline = "name = \"whisper\"\nbaseline = \"priced\"";
    let priced = "[[upstreams]]\nid = \"priced\"\nprovider = \"openai\"\nmodel = \"m\"\napi_key_env = \"UPSTREAM_KEY\"\n\
                  base_url = \"http://127.0.0.1:9/v1\"\ncost = { kind = \"tokens\", input_usd_per_million = \"1\", output_usd_per_million = \"1\" }\n";
    let models = config().replace("name = \"whisper\"", baseline);
    let mut rig = Launch::new(Settings::instant(), &format!("{priced}{models}{}", folder.storage(""))).start();
    let answer = transcribe(&rig, form(&[("model", "whisper")], &recording(3)), FORM).await;
    assert_eq!(answer.header("x-llm-router-cost-usd"), "0.000400000", "{}", answer.text);
    rig.until_idle().await;
    rig.take_running().stop_without_grace();
    let is_there = async || on_record(&folder.ledger(), &[]).iter().any(|row| row.calls == 1).then_some(());
    eventually("the call is on record", is_there).await;
    let query = ledger::Query { by: Vec::new(), since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
    let baselines = ledger::baselines(&ledger::Location::Sqlite(folder.ledger()), &query).expect("a ledger");
    assert!(baselines.iter().all(|baseline| baseline.policy != "configured"), "{baselines:?}");
}

#[tokio::test]
async fn a_price_by_the_call_is_exact_without_usage() {
    let body = r#"{"results":[{"index":1,"relevance_score":0.9}]}"#;
    let cost = "supports = [\"rerank\"]\ncost = { kind = \"requests\", usd_per_request = \"0.002\" }";
    let folder = Folder::new("passthrough-call");
    let mut rig = Launch::new(Settings::instant(), &format!("{}{}", scripted(body, cost), folder.storage(""))).start();
    let answer = rig.client.post("/v1/rerank", &with(rerank(), json!({"model": "m"}))).await;
    assert_eq!((answer.status, answer.header("x-llm-router-cost-usd")), (200, "0.002000000"), "{}", answer.text);
    rig.until_idle().await;
    check_metrics(&rig, &[("llmrouter_cost_usd_total", 0.002), ("llmrouter_estimated_cost_usd_total", 0.0)]).await;
    let (cost, estimated, _) = one_call(&mut rig, &folder).await;
    assert_eq!((cost, estimated), (2_000_000, 0));
}
