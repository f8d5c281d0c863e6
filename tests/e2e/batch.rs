//! Many prompts in one call: each is answered or fails by itself, none is lost and none is doubled.

use std::{collections::BTreeMap, fs, time::Duration};

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, eventually};
use emulator::{Face, Fault, Rule, Settings};
use futures_util::future::join;
use reqwest::{Method, Response};
use serde_json::{Value, json};

const PROMPTS: usize = 1_000;

fn prompts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("prompt number {number}")).collect()
}

async fn ask(rig: &Rig, body: Value, as_lines: bool) -> Answer {
    let accept = if as_lines { "application/x-ndjson" } else { "application/json" };
    let request = rig.client.request(Method::POST, "/v1/generate/batch").header("accept", accept);
    Answer::of(request.header("content-type", "application/json").body(body.to_string())).await
}

/// The results by index; each must be there exactly once.
fn results(answer: &Answer, as_lines: bool) -> BTreeMap<u64, Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let lines: Vec<Value> = if as_lines {
        answer.text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    } else {
        answer.json()["results"].as_array().cloned().expect("results")
    };
    let count = lines.len();
    let by_index: BTreeMap<u64, Value> =
        lines.into_iter().map(|line| (line["index"].as_u64().expect("an index"), line)).collect();
    assert_eq!(by_index.len(), count, "an index came twice");
    by_index
}

/// What each request of the access log failed on, by the id of its line.
fn failures(log: &std::path::Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(log).expect("an access log");
    let lines = text.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
    let upstreams = |line: &Value| {
        let failures = line["failures"].as_array().cloned().unwrap_or_default();
        failures.iter().filter_map(|failure| Some(failure["upstream"].as_str()?.to_owned())).collect()
    };
    lines.map(|line| (line["request_id"].as_str().unwrap_or_default().to_owned(), upstreams(&line))).collect()
}

async fn a_thousand(as_lines: bool) {
    let log = std::env::temp_dir().join(format!("llm-router-batch-{as_lines}-{}.log", std::process::id()));
    let settings = Settings { speed: 100.0, ..Settings::default() };
    // Little time to repeat, so that some fail for good.
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}deadline_ms = 2500\n");
    let rig = Launch::new(settings, &config).env("LLM_ROUTER__LOG__ACCESS", log.to_str().expect("UTF-8")).start();
    let fault = |fault: Fault, share| Rule { share: Some(share), ..Rule::from(fault) };
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.set_rules(face, vec![fault(Fault::ResetBefore, 0.05)]);
    }
    let body = json!({"prompts": prompts(PROMPTS), "model": "llama", "max_tokens": 3, "concurrency": 32});
    // Half-way, RunPod dies.
    let dies = async {
        eventually("half of it is served", async || {
            let logs = rig.emulator.call_logs();
            (logs.runpod_lb.completed + logs.cerebras.completed > PROMPTS as u64 / 2).then_some(())
        })
        .await;
        rig.emulator.control(Face::RunpodLb, Fault::Refuse);
    };
    let (answer, ()) = join(ask(&rig, body, as_lines), dies).await;
    rig.until_idle().await;
    drop(rig);
    // The log is written in batches.
    let failures = eventually("every entry is in the access log", async || {
        Some(failures(&log)).filter(|failures| failures.len() >= PROMPTS)
    })
    .await;
    drop(fs::remove_file(&log));
    let results = results(&answer, as_lines);
    assert_eq!(results.keys().copied().collect::<Vec<_>>(), (0..PROMPTS as u64).collect::<Vec<_>>());
    let (mut served, mut failed) = (0, 0);
    for (index, result) in &results {
        if result["error"].is_null() {
            assert!(result["result"].as_str().is_some_and(|text| text.starts_with("You said:")), "{result}");
            served += 1;
            continue;
        }
        failed += 1;
        let id = failures.keys().find(|id| id.ends_with(&format!(".{index}"))).expect("a line of the access log");
        // The one that lived has failed it; the other one has too, or was known to be dead.
        let failed_on = &failures[id];
        assert!(failed_on.iter().any(|upstream| upstream == "cerebras"), "{id} failed on {failed_on:?} only: {result}");
    }
    assert!(served > 900, "{served} of {PROMPTS} were served");
    if !as_lines {
        let body = answer.json();
        assert_eq!((body["succeeded"].as_u64(), body["failed"].as_u64()), (Some(served), Some(failed)));
    }
}

#[tokio::test]
async fn a_thousand_prompts_survive_a_provider_that_dies_as_one_document() {
    a_thousand(false).await;
}

#[tokio::test]
async fn a_thousand_prompts_survive_a_provider_that_dies_line_by_line() {
    a_thousand(true).await;
}

/// One bad entry fails alone, and says why.
#[tokio::test]
async fn entries_fail_alone() {
    let rig = Rig::start(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}\n[tasks]\nchat = \"llama\"\n"));
    let requests = json!([
        {"prompt": "one"},
        {"prompt": ""},
        {"prompt": "three", "model": "nowhere"},
        {"messages": [{"role": "user", "content": "four"}], "max_tokens": 2},
        {"prompt": "five", "temperature": 9},
        {"prompt": "six", "model": "llama"},
    ]);
    let answer = ask(&rig, json!({"requests": requests, "task": "chat", "max_tokens": 4}), false).await;
    let results = results(&answer, false);
    let code = |index: u64| results[&index]["error"]["code"].as_str();
    assert_eq!(
        [0, 1, 2, 3, 4].map(code),
        [None, Some("invalid_request"), Some("model_not_found"), None, Some("invalid_request")]
    );
    assert_eq!(results[&0]["usage"]["completion_tokens"], 4, "the batch's own options are the defaults");
    assert_eq!(results[&3]["usage"]["completion_tokens"], 2, "an entry's options win");
    let refused = rig.metrics().await.value("llmrouter_requests_total", &[("route", "batch"), ("outcome", "rejected")]);
    assert!((refused - 3.0).abs() < 0.1, "refusals are counted: {refused}");
    let costs = [&results[&0]["cost_usd"], &results[&3]["cost_usd"], &answer.json()["cost_usd"]];
    assert!(costs.iter().all(|cost| cost.is_null()), "an unknown price is not zero: {costs:?}");
    assert!(results[&1]["request_id"].as_str().is_some_and(|id| id.ends_with(".1")), "{}", results[&1]);
}

/// A batch waits for the key's allowance where single requests would be refused, and so does the next one.
#[tokio::test]
async fn a_batch_waits_for_the_keys_allowance() {
    let keys =
        "[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { requests_per_minute = 3, burst = 3 }\n";
    let rig = Launch::new(Settings::instant(), &format!("{keys}{RUNPOD_LB}{CEREBRAS}{BALANCED}")).start();
    let body = json!({"prompts": prompts(5), "model": "llama"});
    let asked = tokio::time::timeout(Duration::from_secs(2), ask(&rig, body, false)).await;
    assert!(asked.is_err(), "the fourth has to wait for twenty seconds");
    let logs = rig.emulator.call_logs();
    assert_eq!(logs.runpod_lb.received + logs.cerebras.received, 3);
}

/// Entries wait for permits, and hold none while they wait: batches side by side make progress with as many as there
/// are.
#[tokio::test]
async fn batches_side_by_side_do_not_wait_for_each_other() {
    let keys = "[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\nlimits = { concurrent = 2 }\n";
    let settings = Settings { speed: 20.0, ..Settings::default() };
    let rig = Launch::new(settings, &format!("{keys}{RUNPOD_LB}{CEREBRAS}{BALANCED}")).start();
    let batch = |concurrency| json!({"prompts": prompts(20), "model": "llama", "concurrency": concurrency});
    // The one that would take both of the key's permits comes second.
    let other = async {
        eventually("the first has begun", async || (rig.call_log(Face::RunpodLb).received > 0).then_some(())).await;
        ask(&rig, batch(8), true).await
    };
    let (one, other) = join(ask(&rig, batch(1), false), other).await;
    assert_eq!((results(&one, false).len(), results(&other, true).len()), (20, 20));
    for answer in [&one, &other] {
        assert!(!answer.text.contains("\"error\""), "{}", answer.text);
    }
}

/// A stop amid a batch starts nothing more, and what is there already reaches its client.
#[tokio::test]
async fn a_stop_amid_a_batch_loses_no_answer() {
    let mut settings = Settings::default();
    settings.runpod_lb.latency.first_token_ms = 100.0;
    let config = format!("[server]\ndrain_s = 12\n{RUNPOD_LB}{}", e2e::only("runpod"));
    let rig = Rig::start(settings, &config);
    let body = json!({"prompts": prompts(500), "model": "llama", "concurrency": 4});
    let stop = async {
        eventually("some are served", async || (rig.call_log(Face::RunpodLb).completed > 8).then_some(())).await;
        rig.running().stop();
    };
    let (answer, ()) = join(ask(&rig, body, false), stop).await;
    let results = results(&answer, false);
    let log = rig.call_log(Face::RunpodLb);
    let served = results.values().filter(|result| result["error"].is_null()).count() as u64;
    assert_eq!((results.len(), served), (500, log.completed), "{} calls were made", log.received);
    let stopped = results.values().filter(|result| result["error"]["code"] == "router_shutdown").count() as u64;
    assert_eq!(stopped, 500 - served);
    assert_eq!(log.cancelled, 0, "nothing is begun that cannot be finished");
}

/// What has not started when the client leaves never does.
#[tokio::test]
async fn a_client_that_leaves_takes_the_rest_with_it() {
    let mut settings = Settings::default();
    settings.runpod_lb.latency.first_token_ms = 60_000.0;
    let rig = Rig::start(settings, &format!("{RUNPOD_LB}{}", e2e::only("runpod")));
    let body = json!({"prompts": prompts(100), "model": "llama", "concurrency": 5});
    for as_lines in [false, true] {
        let before = rig.call_log(Face::RunpodLb);
        let asked = tokio::time::timeout(Duration::from_secs(1), ask(&rig, body.clone(), as_lines)).await;
        assert!(asked.is_err(), "nobody waits for that");
        rig.until_idle().await;
        let log = rig.call_log(Face::RunpodLb);
        assert_eq!(log.received - before.received, 5);
        assert_eq!(log.cancelled - before.cancelled, 5);
    }
}

fn hang(rig: &Rig) {
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
}

fn received(rig: &Rig) -> u64 {
    rig.call_log(Face::RunpodLb).received + rig.call_log(Face::Cerebras).received
}

async fn until_received(rig: &Rig, count: u64) {
    eventually(&format!("{count} calls"), async || (received(rig) == count).then_some(())).await;
}

/// Opens a batch, of which nothing is read.
async fn open(rig: &Rig, body: &Value) -> Response {
    let request = rig.client.json("/v1/generate/batch", body).header("accept", "application/x-ndjson");
    request.send().await.expect("an answer")
}

/// Two clients, each with a key of its own.
const KEYS: &str = r#"
[[keys]]
id = "test"
team = "test"
env = "CLIENT_KEY"

[[keys]]
id = "other"
team = "other"
sha256 = "a2702a64e6ba677c16d0d10ecaaf5cac603158ea18941d26ca9dd3b97a8cb8e2"
"#;
const OTHER_CLIENT_KEY: &str = "sk-test-other";

/// One key has its part of them, and all keys together no more than there are.
#[tokio::test]
async fn only_so_many_batches_are_open_at_a_time() {
    let launch = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{KEYS}"));
    let rig = launch.env("LLM_ROUTER__SERVER__MAX_OPEN_BATCHES", "1").start();
    let body = json!({"prompts": prompts(2), "model": "llama"});
    // Twice, so that a permit that is not returned would show.
    for _ in 0..2 {
        hang(&rig);
        let before = received(&rig);
        let first = open(&rig, &body).await;
        until_received(&rig, before + 2).await;
        let second = ask(&rig, body.clone(), false).await;
        let refusal = (429, "concurrency_limit_exceeded".to_owned());
        assert_eq!((second.status, second.error_code()), refusal, "{}", second.text);
        let of_other = rig.client.with_key(OTHER_CLIENT_KEY).post("/v1/generate/batch", &body).await;
        assert_eq!((of_other.status, of_other.error_code()), (503, "overloaded".to_owned()), "{}", of_other.text);
        assert_eq!((second.header("retry-after"), of_other.header("retry-after")), ("1", "1"));
        rig.emulator.reset();
        assert_eq!(rig.client.chat(&e2e::chat("hello")).await.status, 200, "single requests go on");
        drop(first);
        let answer = eventually("the permit is given back", async || {
            Some(ask(&rig, body.clone(), false).await).filter(|answer| answer.status == 200)
        })
        .await;
        assert_eq!(results(&answer, false).len(), 2);
    }
}

/// A batch counts as one of the requests that are under way, and needs no further one to get on.
#[tokio::test]
async fn a_batch_gets_on_under_its_own_permit() {
    let launch = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let rig = launch.env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "1").start();
    hang(&rig);
    let body = json!({"prompts": prompts(5), "model": "llama", "concurrency": 5});
    let lines = open(&rig, &body).await;
    until_received(&rig, 1).await;
    let answer = rig.client.chat(&e2e::chat("hello")).await;
    assert_eq!((answer.status, answer.error_code()), (503, "overloaded".to_owned()));
    drop(lines);
    rig.emulator.reset();
    let answer = eventually("the permit is given back", async || {
        Some(ask(&rig, body.clone(), false).await).filter(|answer| answer.status == 200)
    })
    .await;
    assert!(results(&answer, false).values().all(|result| result["result"].is_string()), "{}", answer.text);
}

/// Entries wait for permits, and would take every one that becomes free. So half of the permits are for single requests
/// alone.
#[tokio::test]
async fn batches_leave_half_of_the_room_to_single_requests() {
    let launch = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let rig = launch.env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "8").start();
    hang(&rig);
    let body = json!({"prompts": prompts(64), "model": "llama", "concurrency": 64});
    let lines = open(&rig, &body).await;
    // Its own permit, and half of all.
    until_received(&rig, 1 + 4).await;
    rig.emulator.reset();
    let answer = rig.client.chat(&e2e::chat("hello")).await;
    // Had the batch taken every permit, this one would be refused.
    assert_eq!(answer.status, 200, "{}", answer.text);
    drop(lines);
    rig.until_idle().await;
}

#[tokio::test]
async fn what_is_left_of_a_batch_at_its_deadline_fails() {
    let launch = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{}", e2e::only("runpod")));
    let rig = launch.env("LLM_ROUTER__SERVER__BATCH_DEADLINE_S", "1").start();
    hang(&rig);
    let body = json!({"prompts": prompts(5), "model": "llama", "concurrency": 2});
    let results = results(&ask(&rig, body, false).await, false);
    let code = |index: u64| results[&index]["error"]["code"].as_str();
    assert_eq!([0, 1].map(code), [Some("upstream_timeout"); 2], "what is under way has no more time than its batch");
    assert_eq!([2, 3, 4].map(code), [Some("batch_timeout"); 3]);
    let says = results[&4]["error"]["message"].as_str().unwrap_or_default();
    assert!(says.contains("after 1 s: send the rest as another one"), "{says}");
    assert_eq!(received(&rig), 2);
    rig.until_idle().await;
}
