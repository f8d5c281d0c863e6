//! What operators learn of single decisions, while they are in memory.

use e2e::{Answer, CEREBRAS, CLIENT_KEY, Client, Launch, RUNPOD_LB, Rig, chat, eventually, streamed, with};
use emulator::{Face, Fault, Settings};
use serde_json::{Value, json};

use crate::common::Refusal;

const TOKEN: &str = "an-admin-token-for-tests";
const MODELS: &str = r#"
[[keys]]
id = "web"
team = "growth"
env = "CLIENT_KEY"
[[keys]]
id = "night"
team = "batch"
env = "OTHER"
[[models]]
name = "llama"
strategy = "balanced"
slo = { ttft_ms = 2000 }
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
[[models]]
name = "fast"
strategy = "latency"
targets = [{ upstream = "cerebras" }]
"#;
const OTHER: &str = "sk-of-the-night";
const PRICED: &str =
    "cost = { kind = \"tokens\", input_usd_per_million = \"0.10\", output_usd_per_million = \"0.10\" }\n";

fn launch(more: &str) -> Launch {
    let config = format!("{more}{RUNPOD_LB}{CEREBRAS}{PRICED}{MODELS}");
    Launch::new(Settings::instant(), &config).env("OTHER", OTHER).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN)
}

fn admin(rig: &Rig) -> Client {
    rig.admin.with_key(TOKEN)
}

/// The records that a query finds. The end of a request is noted a moment after its client has the answer.
async fn found(rig: &Rig, query: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} records for {query}"), async || {
        let answer = admin(rig).get(&format!("/admin/decisions{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let list = answer.json()["decisions"].as_array().expect("a list").clone();
        (list.len() == count).then_some(list)
    })
    .await
}

#[tokio::test]
async fn an_operator_sees_what_was_decided_on_what_and_what_came_of_it() {
    let rig = launch("").start();
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 500, retry_after: None });
    let body = streamed(with(chat("a secret of ours"), json!({"stream_options": {"include_usage": true}})));
    let transcript = rig.client.stream(&body).await;
    let id = transcript.header("x-request-id").to_owned();
    let records = found(&rig, &format!("?request_id={id}"), 1).await;
    let record = &records[0];
    assert_eq!((&record["team"], &record["key"], &record["route"]), (&json!("growth"), &json!("web"), &json!("chat")));
    assert_eq!((&record["model"], &record["outcome"]), (&json!("llama"), &json!("served")));
    let decision = &record["decision"];
    assert_eq!((&decision["strategy"], &decision["upstream"]), (&json!("balanced"), &json!("runpod")));
    assert_eq!(decision["candidates"].as_array().map(Vec::len), Some(2), "{decision}");
    let cerebras = &decision["candidates"][1];
    assert_eq!(cerebras["price"]["input_usd_per_million"], 0.1, "{decision}");
    for figure in ["score", "miss_probability", "owed_requests", "in_flight", "share"] {
        assert!(cerebras[figure].is_number(), "{figure}: {decision}");
    }
    let attempts = record["attempts"].as_array().expect("calls");
    let told = |call: &Value| (call["upstream"].clone(), call["role"].clone(), call["outcome"].clone());
    assert_eq!(told(&attempts[0]), (json!("runpod"), json!("primary"), json!("unavailable")));
    assert_eq!(told(&attempts[1]), (json!("cerebras"), json!("fallback"), json!("served")));
    assert!(attempts[1]["first_token_ms"].is_number() && attempts[1]["start_ms"].is_number(), "{record}");
    let tokens = attempts[1]["prompt_tokens"].as_u64().zip(attempts[1]["completion_tokens"].as_u64());
    let cost = tokens.map(|(prompt, completion)| (prompt + completion) * 100);
    assert_eq!(attempts[1]["cost_nano_usd"].as_u64(), cost, "{record}");
    let text = record.to_string();
    for secret in ["a secret of ours", CLIENT_KEY, e2e::UPSTREAM_KEY] {
        assert!(!text.contains(secret), "{text}");
    }
    // The explanation has the same shape.
    let explained = rig.client.post("/v1/route/explain", &chat("hello")).await.json();
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&explained), keys(decision));
}

#[tokio::test]
async fn what_a_client_wanted_is_on_record_and_in_the_explanation() {
    let key = "id = \"web\"\nmay_wish = [\"strategy\", \"deadline\", \"max_cost\", \"no_fallback\"]";
    let config = format!("{RUNPOD_LB}{CEREBRAS}{PRICED}{}", MODELS.replace("id = \"web\"", key));
    let rig =
        Launch::new(Settings::instant(), &config).env("OTHER", OTHER).env("LLM_ROUTER_ADMIN_TOKEN", TOKEN).start();
    let all = [
        ("x-llm-router-strategy", "latency", "strategy", json!("latency")),
        ("x-llm-router-deadline-ms", "5000", "deadline_ms", json!(5_000)),
        ("x-llm-router-max-cost-usd", "0.25", "max_cost_usd", json!(0.25)),
        ("x-llm-router-fallback", "false", "fallback", json!(false)),
    ];
    let ask = async |path: &str, count: usize| {
        let request = rig.client.json(path, &chat("hello"));
        let answer = Answer::of(all[..count].iter().fold(request, |request, it| request.header(it.0, it.1))).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    for count in 0..=all.len() {
        let wished: serde_json::Map<_, _> = all[..count].iter().map(|it| (it.2.to_owned(), it.3.clone())).collect();
        let wished = if count == 0 { Value::Null } else { Value::Object(wished) };
        assert_eq!(ask("/v1/route/explain", count).await.json()["wishes"], wished);
        let id = ask("/v1/chat/completions", count).await.header("x-request-id").to_owned();
        let records = found(&rig, &format!("?request_id={id}"), 1).await;
        assert_eq!(records[0]["decision"]["wishes"], wished, "{}", records[0]);
    }
}

#[tokio::test]
async fn the_newest_come_first_and_can_be_asked_for_by_model_and_team() {
    let rig = launch("[decisions]\nring = 5\n").start();
    for n in 0..4 {
        let body = with(chat("hello"), json!({"model": if n % 2 == 0 { "llama" } else { "fast" }}));
        assert_eq!(rig.client.chat(&body).await.status, 200);
    }
    assert_eq!(rig.client.with_key(OTHER).chat(&chat("hello")).await.status, 200);
    let all = found(&rig, "", 5).await;
    let models: Vec<_> = all.iter().map(|record| record["model"].as_str().unwrap_or_default()).collect();
    assert_eq!((&models[..], &all[0]["team"]), (&["llama", "fast", "llama", "fast", "llama"][..], &json!("batch")));
    let ids = |records: &[Value]| records.iter().map(|record| record["request_id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found(&rig, "?limit=2", 2).await), ids(&all[..2]));
    assert_eq!(
        ids(&found(&rig, "?model=fast", 2).await),
        [all[1].clone(), all[3].clone()].map(|r| r["request_id"].clone())
    );
    assert_eq!(ids(&found(&rig, "?team=batch", 1).await), ids(&all[..1]));
    assert_eq!(ids(&found(&rig, "?team=growth&model=llama&limit=1", 1).await), ids(&all[2..3]));
    found(&rig, "?team=nobody", 0).await;
    // The sixth has the place of the first.
    assert_eq!(rig.client.chat(&chat("hello")).await.status, 200);
    eventually("the oldest is gone", async || {
        let now = ids(&found(&rig, "", 5).await);
        (now[1..] == ids(&all[..4])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_answered_says_what_to_do() {
    let rig = launch("").start();
    for (query, says) in [
        ("?limit=0", "limit is not a number from 1 to 1000"),
        ("?limit=many", "the query takes request_id, model, team and limit"),
        ("?teams=growth", "the query takes request_id, model, team and limit"),
    ] {
        let answer = admin(&rig).get(&format!("/admin/decisions{query}")).await;
        Refusal { status: 400, code: "invalid_query", param: None, says }.check(query, &answer);
    }
    let stranger = rig.admin.with_key("not-the-admin-token").get("/admin/decisions").await;
    assert_eq!((stranger.status, stranger.error_code().as_str()), (401, "invalid_admin_token"));
    let off = launch("[decisions]\nring = 0\n").start();
    assert_eq!(off.client.chat(&chat("hello")).await.status, 200, "nothing else depends on it");
    let answer = Answer::of(admin(&off).request(reqwest::Method::GET, "/admin/decisions")).await;
    Refusal { status: 409, code: "decisions_off", param: None, says: "decisions.ring" }.check("off", &answer);
}
