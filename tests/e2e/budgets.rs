//! Budgets of a running server: what they let through, also after a restart, and what a client is told.

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, eventually, with};
use emulator::{Face, Settings};
use ledger::Dimension;
use serde_json::{Value, json};

use crate::on_record::{Folder, on_record};

/// One upstream, whose answers cost $1 a million tokens and whose prompts cost nothing.
const RUNPOD: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "tokens", input_usd_per_million = "0", output_usd_per_million = "1" }

[[models]]
name = "llama"
strategy = "balanced"
targets = [{ upstream = "runpod" }]
"#;

/// A key of the team "test", and this budget for `scope`, which is `[[teams]]` or part of the key.
fn config(folder: &Folder, of_key: &str, of_team: &str) -> String {
    let key = "[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\nlimits = { concurrent = 1000000 }\n";
    let team = "[[teams]]\nid = \"test\"\n";
    format!("{RUNPOD}{}\n{key}{of_key}\n{team}{of_team}\n", folder.storage(""))
}

/// What ten tokens cost, a hundred times.
const HUNDRED_CALLS: &str = "budgets = [{ usd = \"0.001\", per = \"month\", time_zone = \"Europe/Berlin\" }]";

fn ten_tokens() -> Value {
    with(chat("hello"), json!({"model": "llama", "max_tokens": 10}))
}

fn check_refusal(answer: &Answer, of: &str) {
    assert_eq!((answer.status, answer.error_code()), (429, "insufficient_quota".to_owned()), "{}", answer.text);
    assert_eq!(answer.header("x-should-retry"), "false");
    assert!(answer.text.contains(of) && answer.text.contains("begins anew at 20"), "{}", answer.text);
}

/// What was spent, as the emulator counts tokens, in nano-dollars.
fn spent(rig: &Rig) -> u64 {
    rig.call_log(Face::RunpodLb).completion_tokens * 1_000
}

#[tokio::test]
async fn a_thousand_requests_at_once_spend_no_more_than_a_budget_that_pays_for_a_hundred() {
    let folder = Folder::new("budget");
    let text = config(&folder, "", HUNDRED_CALLS);
    let mut rig = Launch::new(Settings::instant(), &text).start();
    let answers = rig.client.chats(1_000, 1_000, |_| ten_tokens()).await;
    rig.until_idle().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    for answer in refused {
        check_refusal(answer, "the team \\\"test\\\", $0.001 a month");
    }
    let spent = spent(&rig);
    assert!(spent <= 1_000_000, "{spent} nano-dollars of a million");
    assert!(spent > 1_000_000 - 10_000, "what is left pays for no further call: {spent}");
    assert_eq!(served as u64, rig.call_log(Face::RunpodLb).received, "what is refused is not called");
    let metrics = rig.metrics().await;
    let labels = [("scope", "team"), ("name", "test"), ("period", "month")];
    let in_metrics = metrics.value("llmrouter_budget_spent_usd", &labels);
    assert_eq!(format!("{:.0}", in_metrics * 1e9), spent.to_string());
    assert!(metrics.value("llmrouter_budget_reserved_usd", &labels).abs() < 1e-12);
    rig.take_running().stop_without_grace();

    // The next process knows it from the ledger.
    let rows = eventually("all is on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Team]);
        rows.first().is_some_and(|row| row.answers == served as u64).then_some(rows)
    })
    .await;
    assert_eq!(rows[0].cost_nano_usd, spent);
    let rig = Launch::new(Settings::instant(), &text).start();
    check_refusal(&rig.client.chat(&ten_tokens()).await, "the team \\\"test\\\"");
    let explained = rig.client.post("/v1/route/explain", &ten_tokens()).await;
    assert_eq!(explained.status, 200, "it costs nothing: {}", explained.text);
    assert_eq!(rig.call_log(Face::RunpodLb).received, 0);
}

#[tokio::test]
async fn a_call_counts_for_the_budgets_of_its_key_its_team_and_its_model() {
    for (of_key, of_team, of_model, scope) in [
        (HUNDRED_CALLS, "", "", "the key \\\"test\\\""),
        ("", HUNDRED_CALLS, "", "the team \\\"test\\\""),
        ("", "", HUNDRED_CALLS, "the model \\\"llama\\\""),
    ] {
        let folder = Folder::new("scopes");
        let text = config(&folder, of_key, of_team)
            .replace("strategy = \"balanced\"", &format!("strategy = \"balanced\"\n{of_model}"));
        let rig = Launch::new(Settings::instant(), &text).start();
        let dear = with(ten_tokens(), json!({"max_tokens": 1_001}));
        check_refusal(&rig.client.chat(&dear).await, scope);
        let answer = rig.client.chat(&ten_tokens()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let lines = rig
            .client
            .post("/v1/generate/batch", &json!({"model": "llama", "prompts": ["a", "b"], "max_tokens": 1_001}))
            .await;
        assert_eq!(lines.status, 200, "{}", lines.text);
        assert!(lines.text.contains("insufficient_quota") && lines.text.contains("\"failed\":2"), "{}", lines.text);
    }
}

/// Both upstreams would serve it; the dear one does not any more.
#[tokio::test]
async fn a_budget_may_leave_the_cheapest_upstream_instead_of_refusing() {
    let folder = Folder::new("cheapest");
    let cost = |usd: &str| {
        format!(
            "cost = {{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}\n"
        )
    };
    let budget = "budgets = [{ usd = \"0.00001\", per = \"day\", at_limit = \"cheapest\" }]";
    let keys = format!("[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\n{budget}\n");
    let text = format!("{RUNPOD_LB}{}{CEREBRAS}{}{BALANCED}{}{keys}", cost("0.1"), cost("1"), folder.storage(""));
    let rig = Launch::new(Settings::instant(), &text).start();
    let ask = async |path: &str, body: Value| {
        let answer = rig.client.post(path, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    eventually("the budget is used up", async || {
        let used = rig.metrics().await.value("llmrouter_budget_spent_usd", &[("name", "test")]);
        ask("/v1/chat/completions", chat("hello")).await;
        (used > 0.00001).then_some(())
    })
    .await;
    let before = rig.call_log(Face::Cerebras).received;
    for _ in 0..20 {
        let answer = ask("/v1/chat/completions", chat("hello")).await;
        assert_eq!(answer.provider(), "runpod");
    }
    let batch = json!({"model": "llama", "prompts": ["a", "b", "c", "d", "e", "f", "g", "h"]});
    ask("/v1/generate/batch", batch).await;
    assert_eq!(rig.call_log(Face::Cerebras).received, before, "the dear one serves nothing any more");
}

/// What is left pays for a call to one upstream and not for one to the other: nobody is refused for the latter.
#[tokio::test]
async fn what_does_not_fit_at_the_dear_upstream_is_served_by_the_cheap_one() {
    let folder = Folder::new("moves-on");
    let cost = |usd: &str| {
        format!(
            "cost = {{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}\n"
        )
    };
    let budget = "budgets = [{ usd = \"0.001\", per = \"day\" }]";
    let keys = format!("[[keys]]\nid = \"test\"\nteam = \"test\"\nenv = \"CLIENT_KEY\"\n{budget}\n");
    let text = format!("{RUNPOD_LB}{}{CEREBRAS}{}{BALANCED}{}{keys}", cost("0.1"), cost("1000"), folder.storage(""));
    let rig = Launch::new(Settings::instant(), &text).start();
    for _ in 0..20 {
        let answer = rig.client.chat(&ten_tokens()).await;
        assert_eq!((answer.status, answer.provider()), (200, "runpod"), "{}", answer.text);
    }
    assert_eq!(rig.call_log(Face::Cerebras).received, 0);
    let metrics = rig.metrics().await;
    assert!(
        metrics.value("llmrouter_upstream_errors_total", &[("upstream", "cerebras")]).abs() < 0.5,
        "nobody is blamed"
    );
}
