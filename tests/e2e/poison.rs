//! A request that itself makes a provider answer 500 affects no other request. A real vLLM answers so to an invalid
//! JSON schema.

use e2e::{Answer, BALANCED, CEREBRAS, RUNPOD_LB, RUNPOD_QUEUE, Rig, chat, only, streamed, with};
use emulator::Settings;
use serde_json::{Value, json};

/// Fifty of them are poison.
const REQUESTS: usize = 550;

/// Ten in a row, five times: five failures in a row would open a breaker.
fn is_poison(number: usize) -> bool {
    (50..60).contains(&(number % 110))
}

fn ask(number: usize) -> Value {
    let body = with(chat(&format!("question {number}")), json!({"max_tokens": 8}));
    if is_poison(number) {
        let format = json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nonsense"}}});
        return with(body, json!({"response_format": format}));
    }
    // Every other one as a stream: an error before it begins is reported in the same way.
    if number.is_multiple_of(2) { streamed(body) } else { body }
}

async fn send(rig: &Rig) -> (Vec<Answer>, Vec<Answer>) {
    let answers = rig.client.chats(REQUESTS, 50, ask).await;
    let numbered = answers.into_iter().enumerate();
    let (poison, good): (Vec<_>, Vec<_>) = numbered.partition(|(number, _)| is_poison(*number));
    let plain = |answers: Vec<(usize, Answer)>| answers.into_iter().map(|(_, answer)| answer).collect();
    (plain(poison), plain(good))
}

async fn assert_unharmed(rig: &Rig, good: &[Answer], upstreams: &[&str]) {
    assert_eq!(good.len(), 500);
    for answer in good {
        assert_eq!((answer.status, answer.reason()), (200, "share"), "{}", answer.text);
    }
    let metrics = rig.metrics().await;
    for upstream in upstreams {
        let breaker = metrics.value("llmrouter_breaker_state", &[("upstream", upstream)]);
        assert!(breaker.abs() < 0.1, "the breaker of {upstream} is at {breaker}");
    }
}

async fn assert_two_providers_unharmed(runpod: &str) {
    let rig = Rig::start(Settings { speed: 20.0, ..Settings::default() }, &format!("{runpod}{CEREBRAS}{BALANCED}"));
    let (poison, good) = send(&rig).await;
    assert_unharmed(&rig, &good, &["runpod", "cerebras"]).await;
    let runpod = good.iter().filter(|answer| answer.provider() == "runpod").count();
    // 50 poison requests take their turns too, so that the good ones' share moves a little with where they fall.
    assert!((390..=410).contains(&runpod), "{runpod} of the 500 good ones from RunPod");
    for answer in &poison {
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(answer.error_message().contains("schema"), "it says what is wrong: {}", answer.text);
    }
}

#[tokio::test]
async fn poison_hurts_nobody_on_a_load_balancing_endpoint() {
    assert_two_providers_unharmed(RUNPOD_LB).await;
}

#[tokio::test]
async fn poison_hurts_nobody_on_a_queue_endpoint() {
    assert_two_providers_unharmed(RUNPOD_QUEUE).await;
}

/// With RunPod alone no other upstream can show that the request is at fault, but other requests are served all the same.
#[tokio::test]
async fn poison_hurts_nobody_where_there_is_one_upstream() {
    for runpod in [RUNPOD_LB, RUNPOD_QUEUE] {
        let text = format!("{runpod}{}deadline_ms = 4000\n", only("runpod"));
        let rig = Rig::start(Settings { speed: 20.0, ..Settings::default() }, &text);
        let (poison, good) = send(&rig).await;
        assert_unharmed(&rig, &good, &["runpod"]).await;
        for answer in &poison {
            // 504 where the machine is so slow that repeats take all the time there is.
            assert!(matches!(answer.status, 400 | 502 | 504), "{}: {}", answer.status, answer.text);
            assert!(!answer.error_message().is_empty(), "{}", answer.text);
            assert_eq!(answer.header("x-should-retry"), "false", "{}", answer.text);
        }
    }
}
