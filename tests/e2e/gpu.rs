//! Worker seconds as the router counts them, and puts them on record, are those that the provider bills.

use std::time::Duration;

use e2e::{Launch, chat, eventually, streamed, with};
use emulator::{Face, RunpodSettings, Settings, Workers};
use ledger::{GpuTime, Location, Query, Tariffs};
use serde_json::json;
use tokio::time::sleep;

use crate::on_record::Folder;

/// Ten minutes pass in thirty seconds.
const SPEED: f64 = 20.0;

const CONFIG: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
base_url = "${EMULATOR}/v2/e/openai/v1"
capacity_url = "${EMULATOR}/v2/e/health"
capacity_poll_s = 0.1
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }

[[models]]
name = "llama-3.1-8b"
strategy = "balanced"
targets = [{ upstream = "runpod" }]
"#;

fn minutes(minutes: f64) -> Duration {
    Duration::from_secs_f64(minutes * 60.0 / SPEED)
}

#[tokio::test]
async fn cold_starts_bursts_and_idle_tails_are_billed_as_the_provider_bills_them() {
    let workers = Workers { min: 0, max: 3, concurrency: 4, cold_start_s: 40.0, load_s: 30.0, ..Workers::default() };
    let runpod_queue = RunpodSettings { workers, ..RunpodSettings::default() };
    let folder = Folder::new("gpu");
    let config = format!("{CONFIG}{}", folder.storage(""));
    let mut rig = Launch::new(Settings { speed: SPEED, runpod_queue, ..Settings::default() }, &config).start();
    eventually("the workers are known", async || rig.metrics().await.has("llmrouter_provider_workers").then_some(()))
        .await;
    // Bursts of one to twelve calls, with pauses in which some workers are scaled down, or all.
    for (calls, pause) in [(1, 1.0), (12, 0.05), (8, 1.5), (3, 0.3), (12, 1.0), (1, 0.5), (6, 1.2), (12, 0.2), (4, 0.6)]
    {
        let ask = |_| streamed(with(chat("hello"), json!({"model": "llama-3.1-8b"})));
        let answers = rig.client.chats(calls, calls, ask).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        sleep(minutes(pause)).await;
    }
    rig.until_idle().await;
    let metrics = eventually("all workers are scaled down", async || {
        let metrics = rig.metrics().await;
        (metrics.value("llmrouter_provider_workers", &[("state", "running")]) == 0.0).then_some(metrics)
    })
    .await;
    let log = rig.call_log(Face::RunpodQueue);
    let seconds = |state| metrics.value("llmrouter_gpu_seconds_total", &[("state", state)]);
    let (start, busy, idle) = (seconds("start"), seconds("busy"), seconds("idle"));
    let billed = start + busy + idle;
    assert!(start > 0.0 && busy > 0.0 && idle > 0.0, "start {start}, busy {busy}, idle {idle}");
    let ratio = billed / log.worker_seconds;
    assert!((0.95..=1.05).contains(&ratio), "{billed} s counted, {} s billed", log.worker_seconds);
    let cost = metrics.value("llmrouter_gpu_cost_usd_total", &[]);
    assert!((cost - billed * 0.00019).abs() < 1e-8, "${cost} for {billed} s");

    rig.take_running().stop_without_grace();
    // The same, with half a second more for each start.
    let usd = |nano: u64| format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    let nano = |hours: &[GpuTime]| hours.iter().map(|time| time.cost_nano_usd - time.starts * 95_000).sum::<u64>();
    let hours = eventually("the workers are on record", async || {
        let query = Query { by: Vec::new(), since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
        let report = ledger::gpu(&Location::Sqlite(folder.ledger()), &query, &Tariffs::default(), 0).expect("a ledger");
        (format!("{cost:.9}") == usd(nano(&report.hours))).then_some(report.hours)
    })
    .await;
    let on_record = Duration::from_millis(hours.iter().map(GpuTime::billed_ms).sum());
    let starts: u64 = hours.iter().map(|time| time.starts).sum();
    assert!((on_record.as_secs_f64() - billed).abs() < 0.01, "{on_record:?} of {billed} s");
    assert!(starts >= 3, "{starts} starts: the first burst takes all workers, and they were scaled down");
}
