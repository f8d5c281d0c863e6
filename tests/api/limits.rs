//! Limits: a 429 if the key's own limit is exceeded, a 503 if the router's is; both name a time to retry, and every
//! permit is returned.

use std::time::Duration;

use e2e::{Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, streamed, with};
use emulator::{Face, Fault, Settings};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::common::{Raw, Refusal, received, status};

const OTHER_KEY: &str = "sk-test-other";

/// Key `a` with these limits, and key `b` with none.
fn launch(limits: &str) -> Launch {
    let config = format!(
        "{RUNPOD_LB}{CEREBRAS}{BALANCED}
        [[keys]]\nid = \"a\"\nteam = \"a\"\nenv = \"CLIENT_KEY\"\nlimits = {{ {limits} }}
        [[keys]]\nid = \"b\"\nteam = \"b\"\nenv = \"OTHER_KEY\"\n"
    );
    Launch::new(Settings::instant(), &config).env("OTHER_KEY", OTHER_KEY)
}

fn hang(rig: &Rig) {
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
}

fn check_retry_after(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().expect("a number of seconds");
    assert!((1..=120).contains(&seconds), "{seconds}");
}

/// Key A asks for 50 times what it may, key B for 5 requests a second.
#[tokio::test]
async fn a_key_over_its_limit_does_not_hurt_another() {
    const LIMIT: usize = 60;
    let rig = launch("requests_per_minute = 60, burst = 60").start();
    let started = Instant::now();
    let greedy = rig.client.chats(50 * LIMIT, 16, |_| chat("a"));
    let modest = async {
        let client = rig.client.with_key(OTHER_KEY);
        let mut ticks = interval(Duration::from_millis(200));
        let mut answers = Vec::new();
        for _ in 0..15 {
            ticks.tick().await;
            answers.push(client.chat(&chat("b")).await);
        }
        answers
    };
    let (greedy, modest) = tokio::join!(greedy, modest);
    assert!(modest.iter().all(|answer| answer.status == 200), "B never fails");
    let served = greedy.iter().filter(|answer| answer.status == 200).count();
    // One more call is allowed each second.
    let most = LIMIT + usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!((LIMIT..=most).contains(&served), "{served} of at most {most}");
    let says = "this key may make 60 requests per minute: slow down";
    let refusal = Refusal { status: 429, code: "rate_limit_exceeded", param: None, says };
    for answer in greedy.iter().filter(|answer| answer.status != 200) {
        refusal.check("A's excess", answer);
        check_retry_after(answer);
    }
    assert_eq!(received(&rig), (served + modest.len()) as u64, "the excess reaches nobody");
}

/// Opens this many calls that no upstream answers, and returns when all of them are under way.
async fn hanging(rig: &Rig, count: u64) -> Vec<Raw> {
    hang(rig);
    let before = received(rig);
    let mut calls = Vec::new();
    for number in 0..count {
        let body = if number % 2 == 0 { chat("x") } else { streamed(chat("x")) };
        calls.push(sent(rig, CLIENT_KEY, &body).await);
    }
    eventually("the calls are under way", async || (received(rig) >= before + count).then_some(())).await;
    calls
}

/// Opens one call that no upstream answers, and returns when it is under way.
async fn hanging_call(rig: &Rig, key: &str, body: &Value) -> Raw {
    hang(rig);
    let before = received(rig);
    let call = sent(rig, key, body).await;
    eventually("the call is under way", async || (received(rig) > before).then_some(())).await;
    call
}

async fn sent(rig: &Rig, key: &str, body: &Value) -> Raw {
    let body = body.to_string();
    let mut connection = Raw::connect(rig).await;
    connection.send(head(key, body.len()) + &body).await;
    connection
}

fn head(key: &str, length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// Lets go of `held` and waits until a request is served again.
async fn give_back(rig: &Rig, held: Vec<Raw>) {
    drop(held);
    rig.emulator.reset();
    eventually("places are given back", async || (rig.client.chat(&chat("x")).await.status == 200).then_some(())).await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_key_may_only_have_so_many_requests_under_way() {
    let rig = launch("concurrent = 2").start();
    // Three times, so that a permit that is not returned would show.
    for _ in 0..3 {
        let held = hanging(&rig, 2).await;
        let answer = rig.client.chat(&chat("x")).await;
        let says = "may have 2 requests under way at a time: wait for one to end";
        Refusal { status: 429, code: "concurrency_limit_exceeded", param: None, says }.check("a third", &answer);
        check_retry_after(&answer);
        give_back(&rig, held).await;
    }
}

#[tokio::test]
async fn the_router_has_a_ceiling_of_its_own() {
    let rig = launch("concurrent = 100").env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "3").start();
    for _ in 0..3 {
        let held = hanging(&rig, 3).await;
        for key in [CLIENT_KEY, OTHER_KEY] {
            let answer = rig.client.with_key(key).chat(&chat("x")).await;
            let says = "as many requests under way as it may: try again";
            Refusal { status: 503, code: "overloaded", param: None, says }.check("one more", &answer);
            check_retry_after(&answer);
        }
        give_back(&rig, held).await;
    }
}

const ENSEMBLES: &str = r#"
[[ensembles]]
name = "ensemble/first"
members = ["llama", "llama", "llama"]
pick = { kind = "longest" }

[[ensembles]]
name = "ensemble/judged"
members = ["llama", "llama"]
pick = { kind = "judge", model = "llama" }
"#;

/// Key `a` with these limits, and ensembles.
fn launch_ensembles(limits: &str) -> Rig {
    let key = format!("[[keys]]\nid = \"a\"\nteam = \"a\"\nenv = \"CLIENT_KEY\"\nlimits = {{ {limits} }}\n");
    Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{ENSEMBLES}{key}")).start()
}

fn remaining(answer: &Answer) -> u64 {
    answer.header("x-ratelimit-remaining-requests").parse().expect("a number")
}

/// The requests of the tests below, with the calls that come of each.
fn requests() -> [(&'static str, Value, u64); 8] {
    let named = |name: &str, more: Value| with(with(chat("x"), json!({"model": name})), more);
    [
        ("/v1/chat/completions", chat("x"), 1),
        ("/v1/chat/completions", with(chat("x"), json!({"n": 3})), 3),
        ("/v1/completions", json!({"model": "llama", "prompt": ["a", "b"], "n": 2}), 4),
        ("/v1/chat/completions", named("ensemble/first", json!({})), 3),
        ("/v1/chat/completions", named("ensemble/judged", json!({})), 4),
        ("/v1/chat/completions", named("ensemble/first", json!({"n": 2})), 6),
        ("/v1/generate", json!({"prompt": "x", "model": "ensemble/first"}), 3),
        ("/v1/route/explain", with(chat("x"), json!({"n": 3})), 1),
    ]
}

/// One a minute comes back, so that nothing does while the test runs.
#[tokio::test]
async fn a_request_counts_for_the_calls_that_come_of_it() {
    let rig = launch_ensembles("requests_per_minute = 1, burst = 100");
    let mut left = 100;
    for (path, body, calls) in requests() {
        let answer = rig.client.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
        left -= calls;
        assert_eq!(remaining(&answer), left, "{path} {body}");
    }
    let batch = rig.client.post("/v1/generate/batch", &json!({"prompts": ["a", "b"], "model": "ensemble/first"})).await;
    assert_eq!(batch.json()["succeeded"], 2, "{}", batch.text);
    // Each of its entries is three, and the batch itself none besides.
    left -= 6;
    let after = rig.client.post("/v1/route/explain", &chat("x")).await;
    assert_eq!(remaining(&after), left - 1);
}

#[tokio::test]
async fn a_request_above_the_limit_is_a_400_and_reaches_no_upstream() {
    for (limits, setting) in [("concurrent = 2", "concurrent"), ("requests_per_minute = 1000000, burst = 2", "burst")] {
        let rig = launch_ensembles(limits);
        for (path, body, calls) in requests().into_iter().filter(|(.., calls)| *calls > 2) {
            let says =
                format!("makes {calls} calls (n x prompts x members of an ensemble), and this key may make 2 at once");
            let answer = rig.client.post(path, &body).await;
            Refusal { status: 400, code: "too_many_calls", param: None, says: &says }.check(path, &answer);
            assert!(answer.error_message().contains(&format!("limits.{setting}")), "{}", answer.text);
            eventually("a call comes back", async || {
                (rig.client.post("/v1/route/explain", &chat("x")).await.status == 200).then_some(())
            })
            .await;
        }
        let batch = rig.client.post("/v1/generate/batch", &json!({"prompts": ["a"], "model": "ensemble/first"})).await;
        assert_eq!(batch.json()["results"][0]["error"]["code"], "too_many_calls", "{}", batch.text);
        assert_eq!(received(&rig), 0);
    }
}

#[tokio::test]
async fn calls_under_way_are_counted_not_requests() {
    let rig = launch("concurrent = 4").start();
    let three = hanging_call(&rig, CLIENT_KEY, &with(chat("x"), json!({"n": 3}))).await;
    let two = rig.client.chat(&with(chat("x"), json!({"n": 2}))).await;
    let says = "may have 4 requests under way at a time";
    Refusal { status: 429, code: "concurrency_limit_exceeded", param: None, says }.check("two more", &two);
    drop(three);
    rig.emulator.reset();
    eventually("all are given back", async || {
        (rig.client.chat(&with(chat("x"), json!({"n": 4}))).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_without_limits_has_a_quarter_of_the_room() {
    let rig = launch("concurrent = 100").env("LLM_ROUTER__SERVER__MAX_IN_FLIGHT", "8").start();
    let _held = hanging_call(&rig, OTHER_KEY, &with(chat("x"), json!({"n": 2}))).await;
    let answer = rig.client.with_key(OTHER_KEY).chat(&chat("x")).await;
    let says = "may have 2 requests under way at a time";
    Refusal { status: 429, code: "concurrency_limit_exceeded", param: None, says }.check("a third", &answer);
}

/// A bad request counts against the limit, because it takes the router's time; one that is refused for a limit does
/// not.
#[tokio::test]
async fn a_bad_request_counts_as_one_and_a_refused_one_as_none() {
    let rig = launch("requests_per_minute = 1, burst = 5").start();
    let bad = [
        ("/v1/chat/completions", json!({"model": "llama"}), 400),
        ("/v1/chat/completions", with(chat("x"), json!({"model": "nowhere"})), 404),
        ("/v1/generate", json!({}), 400),
    ];
    for (path, body, status) in bad {
        assert_eq!(rig.client.post(path, &body).await.status, status, "{path} {body}");
    }
    for _ in 0..5 {
        let refused = rig.client.chat(&with(chat("x"), json!({"n": 3}))).await;
        assert_eq!((refused.status, remaining(&refused)), (429, 2), "three do not fit, and the two that are left stay");
    }
    assert_eq!(rig.client.chat(&with(chat("x"), json!({"n": 2}))).await.status, 200);
    assert_eq!(rig.client.post("/v1/generate", &json!({})).await.status, 429);
}

/// Of the key's allowance also where another limit was in the way, and of an hour's wait two minutes.
#[tokio::test]
async fn a_429_says_how_the_key_stands_and_when_to_come_again() {
    let rig = launch("requests_per_minute = 1, burst = 3, concurrent = 3").start();
    let held = hanging_call(&rig, CLIENT_KEY, &with(chat("x"), json!({"n": 2}))).await;
    let check = |answer: &Answer, code: &str, left: u64, wait: &str| {
        assert_eq!((answer.status, answer.error_code().as_str()), (429, code));
        assert_eq!(answer.header("x-ratelimit-limit-requests"), "1");
        assert_eq!(remaining(answer), left);
        let reset = answer.header("x-ratelimit-reset-requests").strip_suffix("ms").expect("milliseconds");
        let reset: u64 = reset.parse().expect("a number");
        assert!((60_000 * (2 - left)..=60_000 * (3 - left)).contains(&reset), "{reset}");
        assert_eq!(answer.header("retry-after"), wait);
    };
    check(&rig.client.chat(&with(chat("x"), json!({"n": 2}))).await, "concurrency_limit_exceeded", 1, "1");
    drop(held);
    rig.emulator.reset();
    eventually("the two are given back", async || {
        let answer = rig.client.chat(&with(chat("x"), json!({"n": 3}))).await;
        (answer.error_code() == "rate_limit_exceeded").then(|| check(&answer, "rate_limit_exceeded", 1, "120"))
    })
    .await;
}

#[tokio::test]
async fn a_429_keeps_its_model_and_team_in_the_metrics() {
    let rig = launch("requests_per_minute = 1, burst = 1").start();
    assert_eq!(rig.client.chat(&chat("x")).await.status, 200);
    let refused = [
        ("/v1/chat/completions", chat("x")),
        ("/v1/chat/completions", with(chat("x"), json!({"model": "runpod/llama"}))),
        ("/v1/generate", json!({"prompt": "x", "model": "llama"})),
        ("/v1/chat/completions", with(chat("x"), json!({"model": "nowhere"}))),
    ];
    for (path, body) in refused {
        assert_eq!(rig.client.post(path, &body).await.status, 429, "{path}");
    }
    let metrics = rig.metrics().await;
    let of = |model| {
        let labels = [("code", "rate_limit_exceeded"), ("model", model), ("outcome", "rejected")];
        metrics.value("llmrouter_request_errors_total", &labels)
    };
    // A direct name is not this key's to use, but it is its model that was asked for.
    assert_eq!((of("llama"), of("other")), (3.0, 1.0));
    assert_eq!((metrics.value("llmrouter_team_requests_total", &[("team", "a")]), of("cerebras")), (5.0, 0.0));
}

/// If the connection were closed, the client would need a new one, at a time at which the router has too many requests.
#[tokio::test]
async fn a_429_keeps_the_connection_if_little_of_the_body_is_left() {
    let rig = launch("requests_per_minute = 1, burst = 1").start();
    assert_eq!(rig.client.chat(&chat("x")).await.status, 200);
    let mut connection = Raw::connect(&rig).await;
    for length in [2, 64 << 10, 1000] {
        connection.send(head(CLIENT_KEY, length)).await;
        // In two pieces: the second is on its way while the first is refused.
        let body = " ".repeat(length);
        connection.send(&body[..1]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.send(&body[1..]).await;
        let answer = connection.answer().await;
        assert_eq!(status(&answer), 429, "{length}: {answer}");
        assert!(!answer.to_ascii_lowercase().contains("connection: close"), "{length}: {answer}");
    }
    connection.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(status(&connection.answer().await), 200, "what was dropped is not taken for a request");
    connection.send(head(CLIENT_KEY, (64 << 10) + 1)).await;
    let answer = connection.answer().await;
    assert_eq!(status(&answer), 429, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    connection.rest().await;
    // One that never comes is not waited for.
    let mut stalled = Raw::connect(&rig).await;
    stalled.send(head(CLIENT_KEY, 1000)).await;
    let answer = stalled.answer().await;
    assert_eq!(status(&answer), 429, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
}

/// What a model's answers use is paid for by all its callers, and what a team uses by all its keys.
#[tokio::test]
async fn tokens_a_minute_are_limited_for_keys_teams_and_models() {
    let limits = "limits = { tokens_per_minute = 60, token_burst = 30 }";
    for (of_key, of_team, of_model, says) in [
        (limits, "", "", "this key may use 60 tokens per minute, of prompts and answers: slow down"),
        ("", limits, "", "the keys of the team \"t\" together may use 60 tokens"),
        ("", "", limits, "the callers of the model \"llama\" together may use 60 tokens"),
    ] {
        let models = BALANCED.replace("strategy =", &format!("{of_model}\nstrategy ="));
        let config = format!(
            "{RUNPOD_LB}{CEREBRAS}{models}
            [[keys]]\nid = \"a\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\n{of_key}
            [[keys]]\nid = \"b\"\nteam = \"t\"\nenv = \"OTHER_KEY\"
            [[teams]]\nid = \"t\"\n{of_team}\n"
        );
        let rig = Launch::new(Settings::instant(), &config).env("OTHER_KEY", OTHER_KEY).start();
        let body = with(chat("a prompt of some length"), json!({"max_tokens": 20}));
        let first = rig.client.chat(&body).await;
        assert_eq!(first.status, 200, "{}", first.text);
        assert_eq!(first.header("x-ratelimit-limit-tokens"), "60");
        assert_eq!(first.header("x-ratelimit-remaining-tokens"), "0", "as it was reserved");
        let own = eventually("what is left is used up", async || {
            let answer = rig.client.chat(&body).await;
            (answer.status == 429).then_some(answer)
        })
        .await;
        Refusal { status: 429, code: "rate_limit_exceeded", param: None, says }.check("tokens", &own);
        check_retry_after(&own);
        let other = rig.client.with_key(OTHER_KEY).chat(&body).await;
        assert_eq!(other.status == 429, of_key.is_empty(), "{}", other.text);
    }
}
