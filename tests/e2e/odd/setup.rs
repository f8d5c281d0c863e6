//! Two upstreams of one model, `a` and `b`, which answer what a test writes out. All requests go to `a` unless it
//! fails.

use e2e::{Answer, MODEL, Rig, Transcript, chat, streamed};
use emulator::{End, Face, Fault, Scripted, Settings};
use reqwest::Method;
use serde_json::Value;

/// Plays `a`, unless that is Cerebras.
pub(super) const A: Face = Face::RunpodLb;
/// Plays `b`.
pub(super) const B: Face = Face::RunpodQueue;

/// A content type for each answer that is scripted.
pub(super) const EVENTS: &str = "text/event-stream";
pub(super) const JSON: &str = "application/json";

/// The end of a good stream.
pub(super) const DONE: &str = "data: [DONE]\n\n";

const PATHS: [(&str, &str); 3] = [("openai", "/lb/v1"), ("runpod", "/lb/v1"), ("cerebras", "/cerebras/v1")];

/// An upstream; further keys can be appended.
fn upstream(id: &str, provider: &str, path: &str) -> String {
    let own = match provider {
        "runpod" => "endpoint_type = \"load_balancer\"\ncapacity_url = \"${EMULATOR}/lb/workers\"\n",
        _ => "",
    };
    let model = if provider == "cerebras" { "llama3.1-8b" } else { "meta-llama/Llama-3.1-8B-Instruct" };
    format!(
        "\n[[upstreams]]\nid = {id:?}\nprovider = {provider:?}\nbase_url = \"${{EMULATOR}}{path}\"\n\
         api_key_env = \"UPSTREAM_KEY\"\nmodel = {model:?}\n{own}"
    )
}

/// `a` of this provider; further keys can be appended.
pub(super) fn a(provider: &str) -> String {
    let (_, path) = PATHS.into_iter().find(|(known, _)| *known == provider).expect("a provider");
    upstream("a", provider, path)
}

/// The rig of `a` and an OpenAI-compatible `b`.
pub(super) fn pair_of(a: &str) -> Rig {
    let b = upstream("b", "openai", "/v2/endpoint/openai/v1") + "features = { images = true }\n";
    let model = format!(
        "\n[[models]]\nname = {MODEL:?}\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"a\", share = 1.0 }}, {{ upstream = \"b\", share = 0.0 }}]\n"
    );
    Rig::start(Settings::instant(), &format!("{a}{b}{model}"))
}

/// Two OpenAI-compatible upstreams.
pub(super) fn pair() -> Rig {
    pair_of(&a("openai"))
}

/// `a` alone, which is OpenAI-compatible.
pub(super) fn alone() -> Rig {
    Rig::start(Settings::instant(), &format!("{}{}deadline_ms = 4000\n", a("openai"), e2e::only("a")))
}

/// The streamed request that most reports are about.
pub(super) fn say_hello() -> Value {
    streamed(chat("Say hello"))
}

/// One chunk with this choice and further members, which begin with a comma.
pub(super) fn chunk(choice: &str, more: &str) -> String {
    let head = r#""id":"c1","object":"chat.completion.chunk","created":1,"model":"served-a""#;
    format!("data: {{{head},\"choices\":[{choice}]{more}}}\n\n")
}

/// A choice with this text.
pub(super) fn says(text: &str) -> String {
    format!(r#"{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}"#)
}

/// A choice that ends with this reason.
pub(super) fn ends(reason: &str) -> String {
    format!(r#"{{"index":0,"delta":{{}},"finish_reason":{reason}}}"#)
}

/// A chunk with this text.
pub(super) fn content(text: &str) -> String {
    chunk(&says(text), "")
}

/// A chunk that ends the answer.
pub(super) fn finish() -> String {
    chunk(&ends("\"stop\""), "")
}

/// Any answer; no header where the content type is empty.
pub(super) fn answer(status: u16, content_type: &str, body: impl Into<String>, end: End) -> Fault {
    let label = ("content-type".to_owned(), content_type.to_owned());
    let headers = if content_type.is_empty() { Vec::new() } else { vec![label] };
    Fault::Scripted(Scripted { status, headers, pieces: vec![body.into()], end })
}

/// A stream of these events, which ends in order.
pub(super) fn events(body: impl Into<String>) -> Fault {
    answer(200, EVENTS, body, End::Complete)
}

/// A whole answer with this message.
pub(super) fn whole(message: &str) -> String {
    let head = r#""id":"c1","object":"chat.completion","created":1,"model":"served-a""#;
    let choice = format!(r#"{{"index":0,"message":{message},"finish_reason":"stop"}}"#);
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;
    format!("{{{head},\"choices\":[{choice}],{usage}}}")
}

/// POST with a body that is sent as it is written.
pub(super) async fn post(rig: &Rig, path: &str, body: &str) -> Answer {
    let request = rig.client.request(Method::POST, path).header("content-type", JSON);
    Answer::of(request.body(body.to_owned())).await
}

/// Fails unless the stream was served by `upstream` to a good end, with this text.
pub(super) fn assert_served(stream: &Transcript, upstream: &str, text: &str, what: &str) {
    let seen = shortened(&stream.events);
    assert_eq!((stream.status, stream.header("x-llm-router-upstream")), (200, upstream), "{what}: {seen}");
    assert_eq!(failures(stream), 0, "{what}: {seen}");
    assert!(stream.content() == text, "{what}: {seen}");
    assert!(stream.is_done() && stream.is_complete, "ends well: {what}: {seen}");
    assert_eq!(stream.events.iter().filter(|event| *event == "[DONE]").count(), 1, "{what}: {seen}");
}

/// Errors that came in-band and say something.
pub(super) fn failures(stream: &Transcript) -> usize {
    stream.errors().iter().filter(|error| error["message"].as_str().is_some_and(|said| !said.is_empty())).count()
}

fn shortened(events: &[String]) -> String {
    format!("{events:?}").chars().take(1_500).collect()
}

/// Has `a` answer with each body and fails unless it is served from there with this text, and no health moved by all of
/// them.
pub(super) async fn assert_all_served(inputs: &[(&str, String)], text: &str) {
    let rig = pair();
    for (what, body) in inputs {
        rig.emulator.control(A, events(body.clone()));
        let stream = rig.client.stream(&say_hello()).await;
        assert_served(&stream, "a", text, what);
    }
    assert_unharmed(&rig).await;
    assert_eq!(rig.call_log(B).received, 0, "nobody else was asked");
}

/// Fails unless the next request goes to `a`, which is healthy and not left alone.
pub(super) async fn assert_unharmed(rig: &Rig) {
    rig.emulator.reset();
    let next = rig.client.chat(&chat("hello")).await;
    let by = (next.status, next.header("x-llm-router-upstream"), next.reason());
    assert_eq!(by, (200, "a", "share"), "{}", next.text);
    let breaker = rig.metrics().await.value("llmrouter_breaker_state", &[("upstream", "a")]);
    assert!(breaker.abs() < 0.1, "the breaker is at {breaker}");
}
