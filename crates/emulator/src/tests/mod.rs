//! The emulator over HTTP, as the router will meet it.

mod captures;
mod faces;
mod faults;
mod management;
mod odd;
mod pace;
mod refusals;
mod simulated;

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::{CallLog, Emulator, Settings};

const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

fn start() -> Emulator {
    Emulator::start(Settings::instant()).unwrap()
}

fn client() -> Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let build = || {
        // Reqwest is built without a crypto provider and wants one even for plain HTTP.
        rustls::crypto::ring::default_provider().install_default().unwrap();
        // Kept connections would belong to the runtime of another test.
        Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap()
    };
    CLIENT.get_or_init(build).clone()
}

fn chat(base: &str, body: &Value) -> RequestBuilder {
    let request = client().post(format!("{base}/chat/completions")).bearer_auth("key");
    request.header("content-type", "application/json").body(body.to_string())
}

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello there"}]})
}

fn streamed(model: &str) -> Value {
    with(ask(model), json!({"stream": true}))
}

fn with(mut body: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("fields wanted") };
    body.as_object_mut().unwrap().extend(more);
    body
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The `data:` values of a stream.
async fn events(response: Response) -> Vec<String> {
    let text = response.text().await.unwrap();
    text.split("\n\n")
        .filter(|event| !event.is_empty())
        .map(|event| event.strip_prefix("data: ").unwrap().to_owned())
        .collect()
}

fn contents(events: &[String]) -> String {
    let parsed = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    parsed.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

/// Waits until the condition holds for the call log; a disconnect takes a moment to be noticed.
async fn eventually(log: impl Fn() -> CallLog, holds: impl Fn(&CallLog) -> bool) -> CallLog {
    for _ in 0..200 {
        let now = log();
        if holds(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the condition never held: {:?}", log());
}
