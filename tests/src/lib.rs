//! Shared harness of the end-to-end tests: the real server and the emulator in one process, called over real HTTP.
//!
//! Tests wait for events and never for the clock: [`eventually`] gives up only after a time that no healthy run needs.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on fails its test"
)]

mod client;
mod events;
mod metrics;
mod rig;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub use client::{Answer, Client, Stream, Transcript};
pub use events::{NamedEvent, named_events};
pub use metrics::Samples;
pub use rig::{CLIENT_KEY, Launch, Rig, UPSTREAM_KEY};

/// A load-balancing RunPod endpoint; further keys can be appended, as to the others.
pub const RUNPOD_LB: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
capacity_url = "${EMULATOR}/lb/workers"
capacity_poll_s = 1
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
"#;

/// A RunPod endpoint with a queue.
pub const RUNPOD_QUEUE: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "queue"
base_url = "${EMULATOR}/v2/endpoint/openai/v1"
capacity_poll_s = 1
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
"#;

/// Cerebras.
pub const CEREBRAS: &str = r#"
[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "${EMULATOR}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
"#;

/// Another OpenAI-compatible upstream, played by the load-balancing endpoint's vLLM.
pub const OPENAI: &str = r#"
[[upstreams]]
id = "openai"
provider = "openai"
base_url = "${EMULATOR}/lb/v1"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
"#;

/// The model [`MODEL`], 80 % from `runpod` and the rest from `cerebras`; further keys can be appended.
pub const BALANCED: &str = r#"
[[models]]
name = "llama"
strategy = "balanced"
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
"#;

/// The public name of the model that the tests ask for.
pub const MODEL: &str = "llama";

/// The model [`MODEL`] from one upstream alone; further keys can be appended.
pub fn only(upstream: &str) -> String {
    format!("\n[[models]]\nname = {MODEL:?}\nstrategy = \"weighted\"\ntargets = [{{ upstream = {upstream:?} }}]\n")
}

/// A chat of one message to [`MODEL`].
pub fn chat(text: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": text}]})
}

/// The same of Anthropic's Messages API.
pub fn message(text: &str) -> Value {
    json!({"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": text}]})
}

/// The same of OpenAI's Responses API.
pub fn response(text: &str) -> Value {
    json!({"model": MODEL, "max_output_tokens": 64, "input": text})
}

/// The same request with further fields.
pub fn with(mut body: Value, more: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (body.as_object_mut(), more) else { panic!("objects wanted") };
    fields.extend(more);
    body
}

/// The same request as a stream.
pub fn streamed(body: Value) -> Value {
    with(body, json!({"stream": true}))
}

/// Waits for something to come true; fails after a time that no healthy run needs.
pub async fn eventually<T>(what: &str, holds: impl AsyncFnMut() -> Option<T>) -> T {
    within(Duration::from_secs(30), what, holds).await
}

/// Waits that long for something to come true.
pub async fn within<T>(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = holds().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
