//! A cold RunPod endpoint is started by a call of the router's own while Cerebras serves.

use std::time::Duration;

use e2e::{Launch, chat, eventually, within};
use emulator::{Face, RunpodSettings, Settings, Workers};

/// A start takes 20 s of the emulator's time.
const SPEED: f64 = 10.0;

/// A queue whose workers have to be started, and an upstream that serves meanwhile.
pub(crate) const CONFIG: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
base_url = "${EMULATOR}/v2/e/openai/v1"
capacity_url = "${EMULATOR}/v2/e/health"
capacity_poll_s = 0.2
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }

[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "${EMULATOR}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }

[[models]]
name = "llama"
strategy = "balanced"
slo = { ttft_ms = 2000 }
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
"#;

#[tokio::test]
async fn a_cold_endpoint_is_started_without_a_waiting_user_and_then_gets_its_share() {
    let workers =
        Workers { min: 0, max: 1, cold_start_s: 20.0, load_s: 15.0, idle_timeout_s: 600.0, ..Workers::default() };
    let runpod_queue = RunpodSettings { workers, ..RunpodSettings::default() };
    let rig = Launch::new(Settings { speed: SPEED, runpod_queue, ..Settings::default() }, CONFIG).start();
    eventually("the workers are known", async || rig.metrics().await.has("llmrouter_provider_workers").then_some(()))
        .await;
    let mut number = 0;
    let mut ask = async || {
        number += 1;
        let answer = rig.client.chat(&chat(&format!("question {number}"))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.provider().to_owned()
    };
    let mut before = 0;
    within(Duration::from_mins(1), "RunPod serves", async || {
        if ask().await == "runpod" {
            return Some(());
        }
        before += 1;
        None
    })
    .await;
    assert!(before > 10, "Cerebras served {before} requests meanwhile");
    let metrics = rig.metrics().await;
    let calls = |outcome| {
        let labels = [("upstream", "runpod"), ("role", "warm_up"), ("outcome", outcome)];
        metrics.value("llmrouter_upstream_attempts_total", &labels)
    };
    assert!((calls("ok") - 1.0).abs() < 0.1, "one call started the worker, which answered it");
    let wasted = metrics.value("llmrouter_cost_usd_total", &[("upstream", "runpod"), ("kind", "wasted")]);
    assert!(wasted > 0.0, "its cost is wasted");
    assert_eq!(rig.call_log(Face::RunpodQueue).received, 2, "no other call waited for the start");
    let mut from_runpod = 0;
    for _ in 0..50 {
        from_runpod += u32::from(ask().await == "runpod");
    }
    assert!(from_runpod >= 38, "{from_runpod} of 50 from RunPod");
}
