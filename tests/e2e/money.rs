//! What the metrics say was used and spent is what the providers say they served.

use e2e::{Rig, chat, streamed, with};
use emulator::{FaceBooks, Settings};
use serde_json::{Value, json};

fn ask(number: usize) -> Value {
    let body =
        with(chat(&"word ".repeat(number % 7 + 1)), json!({"model": "llama-3.1-8b", "max_tokens": number % 5 + 1}));
    if number.is_multiple_of(2) { streamed(body) } else { body }
}

/// Numbers of tokens and requests are whole, sums of prices have rounding in their last digits.
fn assert_same(left: f64, right: f64, what: &str) {
    assert!((left - right).abs() <= 1e-9 + right.abs() * 1e-9, "{what}: {left} is not {right}");
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand tokens")]
fn tokens(books: &FaceBooks) -> [f64; 2] {
    [books.prompt_tokens as f64, books.completion_tokens as f64]
}

#[tokio::test]
async fn tokens_and_costs_equal_the_providers_books() {
    const REQUESTS: usize = 200;
    let rig = Rig::demo(Settings::instant());
    let answers = rig.client.chats(REQUESTS, 16, ask).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    rig.until_idle().await;
    let (metrics, books) = (rig.metrics().await, rig.emulator.books());
    let served = metrics.value("llmrouter_requests_total", &[("outcome", "served")]);
    assert_same(served, 200.0, "requests served");
    let mut total = 0.0;
    // List prices of the demo in dollars per million tokens.
    for (upstream, books, price) in [("runpod-8b", &books.runpod_lb, 0.02), ("cerebras-8b", &books.cerebras, 0.10)] {
        let [prompt, completion] = tokens(books);
        assert!(prompt > 0.0 && completion > 0.0, "{upstream} served nothing");
        let counted = |kind| metrics.value("llmrouter_tokens_total", &[("upstream", upstream), ("type", kind)]);
        assert_same(counted("input"), prompt, upstream);
        assert_same(counted("output"), completion, upstream);
        let cost = metrics.value("llmrouter_cost_usd_total", &[("upstream", upstream), ("kind", "served")]);
        assert_same(cost, (prompt + completion) * price / 1e6, upstream);
        total += prompt + completion;
    }
    let baseline = metrics.value("llmrouter_baseline_cost_usd_total", &[("model", "llama-3.1-8b")]);
    assert_same(baseline, total * 0.10 / 1e6, "all of it at the baseline's price");
    assert_same(metrics.value("llmrouter_cost_usd_total", &[("kind", "wasted")]), 0.0, "nothing was wasted");
    assert_same(metrics.value("llmrouter_usage_missing_total", &[]), 0.0, "all usage is known");
}

/// The header of a whole answer says what the metrics count.
#[tokio::test]
async fn the_cost_of_a_whole_answer_is_in_its_header() {
    let rig = Rig::demo(Settings::instant());
    let answer = rig.client.chat(&with(chat("hello"), json!({"model": "llama-3.1-8b"}))).await;
    let told: f64 = answer.header("x-llm-router-cost-usd").parse().unwrap();
    assert!(told > 0.0, "{:?}", answer.headers);
    assert_same(rig.metrics().await.value("llmrouter_cost_usd_total", &[]), told, "header and metric");
}
