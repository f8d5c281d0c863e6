//! RunPod hangs before the first token, and a second call at Cerebras serves.

use e2e::{CEREBRAS, Launch, RUNPOD_LB, Rig, Samples, Transcript, chat, streamed};
use emulator::{Face, Fault, Rule, Settings};

const RUNPOD_PRICE: &str =
    "cost = { kind = \"tokens\", input_usd_per_million = \"0.02\", output_usd_per_million = \"0.02\" }\n";
const CEREBRAS_PRICE: &str =
    "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", output_usd_per_million = \"0.10\" }\n";
/// The cheapest, which is RunPod. A call that hangs is given up after two seconds.
const CHEAPEST: &str = r#"
[[models]]
name = "llama"
strategy = "cost"
slo = { ttft_ms = 2000 }
targets = [{ upstream = "runpod" }, { upstream = "cerebras" }]
"#;
const TOKEN: &str = "an-admin-token-for-tests";
const HEDGE: &str = "hedge = { max_extra_cost_percent = 100, after_ms = 500 }\n";

/// A router that has served some requests from RunPod; with its next answer RunPod hangs once.
async fn rig(hedge: &str) -> Rig {
    let timeouts = "timeouts = { first_token_ms = 2000 }\n";
    let text = format!("{RUNPOD_LB}{timeouts}{RUNPOD_PRICE}{CEREBRAS}{CEREBRAS_PRICE}{CHEAPEST}{hedge}");
    let rig = Launch::new(Settings::instant(), &text).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    for _ in 0..20 {
        assert_eq!(ask(&rig).await.provider(), "runpod");
    }
    rig.emulator.set_rules(Face::RunpodLb, vec![Rule { times: Some(1), ..Fault::HangBefore.into() }]);
    rig
}

async fn ask(rig: &Rig) -> Transcript {
    let answer = rig.client.stream(&streamed(chat("hello"))).await;
    assert!(answer.status == 200 && answer.is_done(), "{:?}", answer.events);
    answer
}

/// Calls with this role and end at an upstream.
fn calls(metrics: &Samples, upstream: &str, role: &str, outcome: &str) -> f64 {
    let labels = [("upstream", upstream), ("role", role), ("outcome", outcome)];
    metrics.value("llmrouter_upstream_attempts_total", &labels)
}

fn is(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 0.1
}

#[tokio::test]
async fn a_stream_that_hangs_at_runpod_is_served_by_a_second_call_to_cerebras() {
    let rig = rig(HEDGE).await;
    let told = rig.client.post("/v1/route/explain", &streamed(chat("hello"))).await.json();
    assert_eq!((told["upstream"].as_str(), told["hedge_after_ms"].as_f64()), (Some("runpod"), Some(500.0)), "{told}");
    let answer = ask(&rig).await;
    assert_eq!((answer.provider(), answer.header("x-llm-router-reason")), ("cerebras", "hedge"));
    assert_eq!(answer.header("x-llm-router-attempts"), "2");
    rig.until_idle().await;
    assert_eq!(rig.call_log(Face::RunpodLb).in_flight, 0, "the call to RunPod was cancelled");
    let metrics = rig.metrics().await;
    assert!(is(calls(&metrics, "cerebras", "hedge", "ok"), 1.0));
    assert!(is(calls(&metrics, "runpod", "primary", "cancelled"), 1.0));
    let lost = metrics.value("llmrouter_usage_estimated_total", &[("upstream", "runpod"), ("reason", "lost")]);
    assert!(is(lost, 1.0), "what the loser may have used is an estimate");
    let waste = metrics.value("llmrouter_estimated_cost_usd_total", &[("upstream", "runpod")]);
    assert!(waste > 0.0, "{waste}");
    let records = rig.admin.with_key(TOKEN).get("/admin/decisions?limit=1").await.json();
    let attempts = &records["decisions"][0]["attempts"];
    let ends = [0, 1].map(|at| (attempts[at]["role"].as_str(), attempts[at]["outcome"].as_str()));
    assert_eq!(ends, [(Some("primary"), Some("lost")), (Some("hedge"), Some("served"))], "{records}");
    assert_eq!(ask(&rig).await.provider(), "runpod", "it answers again");
}

#[tokio::test]
async fn without_the_setting_nothing_is_called_twice() {
    let rig = rig("").await;
    let answer = ask(&rig).await;
    assert_eq!((answer.provider(), answer.header("x-llm-router-reason")), ("cerebras", "fallback"));
    let metrics = rig.metrics().await;
    assert!(is(metrics.value("llmrouter_upstream_attempts_total", &[("role", "hedge")]), 0.0));
    assert!(is(calls(&metrics, "runpod", "primary", "timeout"), 1.0));
}
