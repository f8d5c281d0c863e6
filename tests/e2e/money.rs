//! What the metrics say was used and spent is what the providers say they served.

use std::time::Duration;

use e2e::{Answer, Launch, Rig, Samples, chat, streamed, with, within};
use emulator::{CallLog, Face, Fault, Rule, RunpodSettings, Settings, Workers};
use futures_util::future::join_all;
use ledger::{Dimension, Location, Query, Spend};
use serde_json::{Value, json};

use crate::{
    on_record::{Folder, on_record},
    warm_up,
};

/// Two upstreams that answer at once, and one whose answers take minutes, for clients that leave.
const CONFIG: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
capacity_url = "${EMULATOR}/lb/workers"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "gpu_seconds", usd_per_second = "0.00019", list_usd_per_million = "0.02" }

[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "${EMULATOR}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }

[[upstreams]]
id = "slow"
provider = "runpod"
base_url = "${EMULATOR}/v2/slow/openai/v1"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "tokens", input_usd_per_million = "0.30", output_usd_per_million = "0.30" }

[[models]]
name = "llama-3.1-8b"
strategy = "balanced"
baseline = "cerebras"
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]

[[models]]
name = "slow"
strategy = "weighted"
baseline = "slow"
targets = [{ upstream = "slow" }]
"#;

/// List prices in nano-dollars per token.
const PRICES: [(&str, u64); 3] = [("runpod", 20), ("cerebras", 100), ("slow", 300)];

/// Sizes without a rhythm: shares alternate in a fixed pattern, and sizes with a rhythm would follow it.
fn ask(number: usize) -> Value {
    let chance = (number + 1).wrapping_mul(2_654_435_761) >> 7;
    let (words, tokens) = (chance % 7 + 1, chance / 7 % 12 + 4);
    let body = with(chat(&"word ".repeat(words)), json!({"model": "llama-3.1-8b", "max_tokens": tokens}));
    if number.is_multiple_of(2) { streamed(body) } else { body }
}

/// Dollars as whole nano-dollars, which is what they were counted in.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dollars")]
fn nano(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

/// A number of things.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
fn count(metrics: &Samples, name: &str, labels: &[(&str, &str)]) -> u64 {
    metrics.value(name, labels).round() as u64
}

fn tokens(log: &CallLog) -> u64 {
    log.prompt_tokens + log.completion_tokens
}

/// Whether an answer came, and to its end.
fn is_complete(answer: &Answer) -> bool {
    answer.status == 200 && (answer.text.starts_with('{') || answer.text.contains("data: [DONE]"))
}

/// Asks for a long answer and leaves after its first token.
async fn leave(rig: &Rig) {
    let mut stream = rig.client.open(&streamed(with(chat("hello"), json!({"model": "slow"})))).await;
    stream.first_token().await;
}

#[tokio::test]
async fn every_nano_dollar_is_what_the_providers_counted() {
    const REQUESTS: usize = 2_000;
    const LEAVERS: usize = 100;
    let mut settings = Settings { speed: 100.0, ..Settings::default() };
    settings.runpod_queue.latency.tokens_per_s = 0.1;
    let folder = Folder::new("nano");
    let mut rig = Launch::new(settings, &format!("{CONFIG}{}", folder.storage(""))).start();
    // A tenth of RunPod's calls fails at once and a twentieth breaks amid its stream; few enough for the breaker to stay closed.
    let rule = |fault: Fault, share| Rule { share: Some(share), ..Rule::from(fault) };
    let faults = vec![
        rule(Fault::ResetAmid { after_events: 2 }, 0.05),
        rule(Fault::Status { code: 500, retry_after: None }, 0.1),
    ];
    rig.emulator.set_rules(Face::RunpodLb, faults);
    let leavers = async { join_all((0..LEAVERS).map(|_| leave(&rig))).await };
    let (answers, _) = futures_util::future::join(rig.client.chats(REQUESTS - LEAVERS, 16, ask), leavers).await;
    rig.until_idle().await;
    let (metrics, logs) = (rig.metrics().await, rig.emulator.call_logs());

    let whole = answers.iter().filter(|answer| is_complete(answer)).count() as u64;
    assert_eq!(count(&metrics, "llmrouter_requests_total", &[("outcome", "ok")]), whole);
    assert_eq!(count(&metrics, "llmrouter_requests_total", &[]), REQUESTS as u64);
    let faces = [&logs.runpod_lb, &logs.cerebras, &logs.runpod_queue];
    let mut spent = 0;
    for ((upstream, price), log) in PRICES.into_iter().zip(faces) {
        let of = [("upstream", upstream)];
        assert_eq!(count(&metrics, "llmrouter_tokens_total", &of), tokens(log), "tokens of {upstream}");
        let cost = nano(metrics.value("llmrouter_cost_usd_total", &of));
        assert_eq!(cost, tokens(log) * price, "nano-dollars of {upstream}");
        spent += cost;
    }
    let served = tokens(&logs.runpod_lb) + tokens(&logs.cerebras);
    let baseline = |policy| nano(metrics.value("llmrouter_baseline_cost_usd_total", &[("baseline", policy)]));
    assert_eq!(baseline("configured"), served * 100);
    assert_eq!(baseline("all:runpod"), served * 20);
    assert_eq!(baseline("split"), served * 36, "0.8 of it at $0.02, 0.2 at $0.10");

    // Estimated usage is shown apart from reported usage.
    let estimated = |reason| count(&metrics, "llmrouter_usage_estimated_total", &[("reason", reason)]);
    assert_eq!(estimated("client_gone"), LEAVERS as u64);
    assert_eq!(logs.runpod_queue.cancelled, LEAVERS as u64);
    let cut = count(&metrics, "llmrouter_request_errors_total", &[("code", "interrupted")]);
    assert!(cut > 10, "streams were cut: {cut}");
    // Whole answers break, too, and are had elsewhere: what was sent by then may be billed.
    assert!(estimated("broken") >= cut, "{} of {cut} are estimated", estimated("broken"));
    assert_eq!(estimated("missing"), 0);
    let fallbacks = count(&metrics, "llmrouter_fallbacks_total", &[("from", "runpod"), ("to", "cerebras")]);
    assert!(fallbacks > 50, "calls fell back: {fallbacks}");
    let guessed = nano(metrics.value("llmrouter_estimated_cost_usd_total", &[]));
    assert!(guessed > 0);
    assert_eq!(nano(metrics.value("llmrouter_team_cost_usd_total", &[("team", "test")])), spent + guessed);
    let wasted = nano(metrics.value("llmrouter_cost_usd_total", &[("kind", "wasted")]));
    assert_eq!(wasted, 0, "no failed attempt counted tokens");

    // The ledger says the same, and has a row for each call that was received.
    let running = rig.take_running();
    running.stop_without_grace();
    running.join().expect("the server ends in order");
    let rows = on_record(&folder.ledger(), &[Dimension::Upstream]);
    let mut total = Spend::default();
    for ((upstream, price), log) in PRICES.into_iter().zip(faces) {
        let row = rows.iter().find(|row| row.labels[0].as_deref() == Some(upstream)).expect("a row");
        assert_eq!(row.calls, log.received, "calls of {upstream}");
        assert_eq!(row.cost_nano_usd - row.estimated_nano_usd, tokens(log) * price, "nano-dollars of {upstream}");
        total.add(row);
    }
    assert_eq!((total.answers, total.estimated_nano_usd, total.unknown_nano_usd), (whole, guessed, 0));
    assert_eq!(total.unpriced_calls, 0);
}

/// The model whose streams are called a second time, and an ensemble of three whose answers are judged.
const MORE: &str = r#"
[[models]]
name = "hedged"
strategy = "balanced"
hedge = { max_extra_cost_percent = 100, after_ms = 5 }
targets = [{ upstream = "runpod", share = 0.5 }, { upstream = "cerebras", share = 0.5 }]

[[ensembles]]
name = "ensemble/judged"
members = ["llama-3.1-8b", "llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "judge", model = "llama-3.1-8b" }
"#;

/// Stops the router, so that all is in its ledger. Returns the metrics of the end.
async fn stop(rig: &mut Rig) -> Samples {
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    let running = rig.take_running();
    running.stop_without_grace();
    running.join().expect("the server ends in order");
    metrics
}

/// What an upstream's calls cost by its own count and by estimate, in the ledger and in the metrics alike, and how many there were.
fn costs(folder: &Folder, metrics: &Samples, upstream: &str) -> (u64, u64, u64) {
    let rows = on_record(&folder.ledger(), &[Dimension::Upstream]);
    let row = rows.iter().find(|row| row.labels[0].as_deref() == Some(upstream)).expect("a row");
    let counted = row.cost_nano_usd - row.estimated_nano_usd;
    let metric = |name| nano(metrics.value(name, &[("upstream", upstream)]));
    let of_metrics = (metric("llmrouter_cost_usd_total"), metric("llmrouter_estimated_cost_usd_total"));
    assert_eq!(of_metrics, (counted, row.estimated_nano_usd), "{upstream}");
    (counted, row.estimated_nano_usd, row.calls)
}

#[tokio::test]
async fn members_judges_and_entries_of_batches_cost_what_the_providers_counted() {
    let folder = Folder::new("members");
    let text = format!("{CONFIG}{MORE}{}", folder.storage(""));
    let mut rig = Launch::new(Settings::instant(), &text).start();
    let judged = |_: usize| with(chat("which?"), json!({"model": "ensemble/judged", "max_tokens": 8}));
    let answers = rig.client.chats(20, 4, judged).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{}", answers[0].text);
    let batch = json!({"model": "llama-3.1-8b", "prompts": vec!["word"; 60], "max_tokens": 6});
    assert_eq!(rig.client.post("/v1/generate/batch", &batch).await.json()["succeeded"], 60);
    let metrics = stop(&mut rig).await;
    let logs = rig.emulator.call_logs();
    for ((upstream, price), log) in PRICES.into_iter().zip([&logs.runpod_lb, &logs.cerebras]) {
        assert_eq!(costs(&folder, &metrics, upstream), (tokens(log) * price, 0, log.received), "{upstream}");
    }
    let by_route = on_record(&folder.ledger(), &[Dimension::Route]);
    let of = |route: &str| by_route.iter().find(|row| row.labels[0].as_deref() == Some(route)).map(|row| row.answers);
    let expected = (Some(120), Some(60));
    assert_eq!((of("ensemble"), of("batch")), expected, "three members, each of which a judge reads");
}

/// The call that loses is left before it has said what it used, so its cost is estimated; that of the other is counted, once.
#[tokio::test]
async fn of_two_calls_one_is_counted_and_the_other_estimated() {
    let folder = Folder::new("hedged");
    let settings = Settings { speed: 20.0, ..Settings::default() };
    let mut rig = Launch::new(settings, &format!("{CONFIG}{MORE}{}", folder.storage(""))).start();
    let hedged = |number| streamed(with(ask(number), json!({"model": "hedged"})));
    let answers = rig.client.chats(100, 8, hedged).await;
    assert!(answers.iter().all(is_complete));
    let metrics = stop(&mut rig).await;
    let logs = rig.emulator.call_logs();
    let mut calls = 0;
    for ((upstream, price), log) in PRICES.into_iter().zip([&logs.runpod_lb, &logs.cerebras]) {
        let (counted, _, made) = costs(&folder, &metrics, upstream);
        // A provider may count an answer whose last words nobody waited for.
        assert!(counted <= tokens(log) * price && made >= log.received, "{upstream}");
        calls += made;
    }
    let by_outcome = on_record(&folder.ledger(), &[Dimension::Role]);
    let second_calls =
        by_outcome.iter().find(|row| row.labels[0].as_deref() == Some("hedge")).expect("second calls").calls;
    let answers: u64 = by_outcome.iter().map(|row| row.answers).sum();
    assert!(second_calls > 10, "{second_calls} second calls");
    assert_eq!(
        (answers, calls),
        (100, 100 + second_calls),
        "one row for each call, and one that served for each request"
    );
}

/// Nobody asked for the answer to a call that only starts a worker, but it is paid for.
#[tokio::test]
async fn a_call_that_starts_a_worker_costs_what_the_provider_counted() {
    let folder = Folder::new("warm-up");
    let workers =
        Workers { min: 0, max: 1, cold_start_s: 4.0, load_s: 2.0, idle_timeout_s: 600.0, ..Workers::default() };
    let runpod_queue = RunpodSettings { workers, ..RunpodSettings::default() };
    let settings = Settings { speed: 10.0, runpod_queue, ..Settings::default() };
    let mut rig = Launch::new(settings, &format!("{}{}", warm_up::CONFIG, folder.storage(""))).start();
    within(Duration::from_mins(1), "the router's own call is answered", async || {
        let answer = rig.client.chat(&with(chat("hello"), json!({"model": "llama"}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let labels = [("upstream", "runpod"), ("role", "warm_up"), ("outcome", "ok")];
        (rig.metrics().await.value("llmrouter_upstream_attempts_total", &labels) > 0.0).then_some(())
    })
    .await;
    let metrics = stop(&mut rig).await;
    let logs = rig.emulator.call_logs();
    for (upstream, price, log) in [("runpod", 20, &logs.runpod_queue), ("cerebras", 100, &logs.cerebras)] {
        assert_eq!(costs(&folder, &metrics, upstream), (tokens(log) * price, 0, log.received), "{upstream}");
    }
    let by_role = on_record(&folder.ledger(), &[Dimension::Role]);
    let own = by_role.iter().find(|row| row.labels[0].as_deref() == Some("warm_up")).expect("the router's own call");
    assert!(own.cost_nano_usd > 0 && own.answers == 0, "{own:?}");
}

/// A stream that has said what it used before it breaks has cost that, for nothing.
#[tokio::test]
async fn what_a_broken_answer_has_cost_is_wasted() {
    let rig = Launch::new(Settings::instant(), CONFIG).start();
    rig.emulator.control(Face::RunpodLb, Fault::ResetAmid { after_events: 4 });
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let body = with(chat("hello"), json!({"model": "llama-3.1-8b", "stream_options": options}));
    let stream = rig.client.stream(&streamed(body)).await;
    assert!(!stream.is_done() && stream.provider() == "runpod", "{:?}", stream.events);
    let metrics = rig.metrics().await;
    let used = count(&metrics, "llmrouter_tokens_total", &[("upstream", "runpod")]);
    assert!(used > 1, "its usage was heard: {used}");
    assert_eq!(nano(metrics.value("llmrouter_cost_usd_total", &[("kind", "wasted")])), used * 20);
    assert_eq!(nano(metrics.value("llmrouter_cost_usd_total", &[("kind", "served")])), 0);
    assert_eq!(nano(metrics.value("llmrouter_baseline_cost_usd_total", &[])), 0);
}

/// Tokens of an unknown price are shown as such, and are no saving.
#[tokio::test]
async fn an_unknown_price_saves_nothing() {
    let unpriced = CONFIG.replacen(
        "cost = { kind = \"gpu_seconds\", usd_per_second = \"0.00019\", list_usd_per_million = \"0.02\" }",
        "",
        1,
    );
    let folder = Folder::new("unpriced");
    let mut rig = Launch::new(Settings::instant(), &format!("{unpriced}{}", folder.storage(""))).start();
    let answers = rig.client.chats(50, 8, ask).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    let priced = tokens(&rig.call_log(Face::Cerebras));
    let baseline = |name, labels| nano(metrics.value(name, labels));
    assert_eq!(baseline("llmrouter_baseline_cost_usd_total", &[("baseline", "configured")]), priced * 100);
    assert_eq!(baseline("llmrouter_team_baseline_cost_usd_total", &[]), priced * 100);
    let unpriced = rig.call_log(Face::RunpodLb).completed;
    assert_eq!(count(&metrics, "llmrouter_unpriced_requests_total", &[]), unpriced);
    let running = rig.take_running();
    running.stop_without_grace();
    running.join().expect("the server ends in order");
    let query = Query { by: Vec::new(), since_ms: 0, until_ms: i64::MAX / 2, of: Vec::new() };
    let baselines = ledger::baselines(&Location::Sqlite(folder.ledger()), &query).expect("a ledger");
    let configured = baselines.iter().find(|baseline| baseline.policy == "configured").expect("a baseline");
    assert_eq!((configured.cost_nano_usd, configured.answers), (priced * 100, 50 - unpriced));
    let all = &on_record(&folder.ledger(), &[])[0];
    assert_eq!((all.cost_nano_usd, all.unpriced_calls), (priced * 100, unpriced));
}

/// Ten million tokens at two and at ten cents a million; four fifths of them on the cheaper side save 64 %, four fifths of the
/// requests some more, since the small ones go to the dearer side.
#[tokio::test]
async fn the_demo_saves_what_its_own_split_says() {
    let rig = Rig::demo(Settings::instant());
    let answers = rig.client.chats(1_000, 16, ask).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    let tokens = |upstream| count(&metrics, "llmrouter_tokens_total", &[("upstream", upstream)]);
    let (runpod, cerebras) = (tokens("runpod-8b"), tokens("cerebras-8b"));
    let cost = nano(metrics.value("llmrouter_cost_usd_total", &[]));
    let baseline = nano(metrics.value("llmrouter_baseline_cost_usd_total", &[("baseline", "configured")]));
    assert_eq!((cost, baseline), (runpod * 20 + cerebras * 100, (runpod + cerebras) * 100));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let ratio = |part: u64, whole: u64| part as f64 / whole as f64;
    let saved = 1.0 - ratio(cost, baseline);
    let share = ratio(runpod, runpod + cerebras);
    assert!((saved - share * 0.8).abs() < 1e-9, "saved {saved} with {share} of the tokens on RunPod");
    assert!((0.62..0.70).contains(&saved), "an 80/20 split saves 64 % and some more: {saved}");
}

/// The header of a whole answer says what the metrics count.
#[tokio::test]
async fn the_cost_of_a_whole_answer_is_in_its_header() {
    let rig = Rig::demo(Settings::instant());
    let answer = rig.client.chat(&with(chat("hello"), json!({"model": "llama-3.1-8b"}))).await;
    let told: f64 = answer.header("x-llm-router-cost-usd").parse().unwrap();
    assert!(told > 0.0, "{:?}", answer.headers);
    assert_eq!(nano(rig.metrics().await.value("llmrouter_cost_usd_total", &[])), nano(told));
}
