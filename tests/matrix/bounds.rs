//! Numbers that would cost an upstream dearly, or crash it: refused by name, and no upstream is called.

use e2e::{Answer, BALANCED, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, with};
use emulator::Settings;
use serde_json::{Value, json};

fn rig() -> Rig {
    Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}")).start()
}

fn assert_refused(rig: &Rig, answer: &Answer, param: &str, what: &str) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text);
    assert_eq!(answer.json()["error"]["param"], param, "{what}: {}", answer.text);
    let logs = rig.emulator.call_logs();
    assert_eq!(logs.runpod_lb.received + logs.cerebras.received, 0, "{what} is not sent on");
}

#[tokio::test]
async fn a_number_out_of_bounds_is_refused_by_name() {
    let rig = rig();
    let huge = json!(1_u64 << 40);
    let below = [json!(-1), json!("7"), json!(1.5), json!([1]), json!({}), json!(true)];
    let fields: [(&str, &[Value]); 12] = [
        ("n", &[json!(0), json!(129), json!(1_000_000), huge.clone()]),
        ("best_of", &[json!(21), huge.clone()]),
        ("max_tokens", std::slice::from_ref(&huge)),
        ("max_completion_tokens", std::slice::from_ref(&huge)),
        ("top_logprobs", &[json!(21), huge.clone()]),
        ("temperature", &[json!(2.1), json!(-0.1), json!("hot"), json!([])]),
        ("top_p", &[json!(1.1), json!(-0.1), json!("all")]),
        ("presence_penalty", &[json!(2.1), json!(-2.1), json!("x")]),
        ("frequency_penalty", &[json!(2.1), json!(-2.1), json!("x")]),
        ("tools", &[json!([]), json!("x"), json!({}), json!(1)]),
        ("stream", &[json!("yes"), json!(1), json!([])]),
        ("response_format", &[json!("json"), json!([]), json!({}), json!({"type": 1})]),
    ];
    for (field, values) in fields {
        let is_count = matches!(field, "n" | "best_of" | "max_tokens" | "max_completion_tokens" | "top_logprobs");
        let more = if is_count { &below[..] } else { &[] };
        for value in values.iter().chain(more) {
            let mut body = chat("x");
            body[field] = value.clone();
            let answer = rig.client.chat(&body).await;
            assert_refused(&rig, &answer, field, &format!("{field}: {value}"));
        }
    }
    let prompt = with(json!({"model": "llama", "prompt": "x"}), json!({"best_of": 1_000_000}));
    assert_refused(&rig, &rig.client.post("/v1/completions", &prompt).await, "best_of", "best_of of a completion");
}
