//! What a client wants for one request alone, by headers: what it gets, and what is refused.

use e2e::{Answer, CEREBRAS, Launch, RUNPOD_LB, Rig, chat, eventually, with};
use emulator::{Face, Fault, Settings};
use serde_json::{Value, json};

use crate::common::{Refusal, launch, received};

const STRATEGY: &str = "x-llm-router-strategy";
const DEADLINE: &str = "x-llm-router-deadline-ms";
const MAX_COST: &str = "x-llm-router-max-cost-usd";
const FALLBACK: &str = "x-llm-router-fallback";
const CHATS: &str = "/v1/chat/completions";
const EXPLAIN: &str = "/v1/route/explain";

/// RunPod at two cents a million tokens, Cerebras at a dollar; all by share from RunPod while it answers.
fn priced() -> String {
    let cost = |usd| {
        format!(
            "cost = {{ kind = \"tokens\", input_usd_per_million = \"{usd}\", output_usd_per_million = \"{usd}\" }}\n"
        )
    };
    format!(
        "{RUNPOD_LB}{}{CEREBRAS}{}[[models]]\nname = \"llama\"\nstrategy = \"weighted\"\n\
         targets = [{{ upstream = \"runpod\", share = 1.0 }}, {{ upstream = \"cerebras\", share = 0.0 }}]\n",
        cost("0.02"),
        cost("1"),
    )
}

/// A key with these further settings.
fn with_key(config: &str, more: &str) -> Rig {
    let key = format!("\n[[keys]]\nid = \"k\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\n{more}\n");
    Launch::new(Settings::instant(), &format!("{config}{key}")).start()
}

async fn send(rig: &Rig, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request =
        headers.iter().fold(rig.client.json(path, body), |request, (name, value)| request.header(*name, *value));
    Answer::of(request).await
}

fn invalid<'a>(name: &'a str, says: &'a str) -> Refusal<'a> {
    Refusal { status: 400, code: "invalid_header", param: Some(name), says }
}

fn forbidden<'a>(place: &'a str, says: &'a str) -> Refusal<'a> {
    Refusal { status: 403, code: "wish_not_allowed", param: Some(place), says }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_the_header_takes() {
    let rig = with_key(&priced(), "may_wish = [\"strategy\", \"deadline\", \"max_cost\", \"no_fallback\"]");
    for (name, values, says) in [
        (STRATEGY, &["", "fastest", "cost,latency"][..], "must be weighted, balanced, cost or latency"),
        (DEADLINE, &["", "0", "-1", "1.5", "+5", "3600001", "1s"], "a whole number of milliseconds from 1 to 3600000"),
        (
            MAX_COST,
            &["", "-1", "1e-3", "$1", "0.0000000001", ".5"],
            "US dollars with at most nine decimals, such as 0.002",
        ),
        (FALLBACK, &["", "yes", "1"], "must be true or false"),
    ] {
        for value in values {
            for path in [CHATS, EXPLAIN, "/v1/generate/batch"] {
                let body = if path.ends_with("batch") { json!({"prompts": ["x"]}) } else { chat("x") };
                invalid(name, says)
                    .check(&format!("{name}: {value}"), &send(&rig, path, &[(name, value)], &body).await);
            }
        }
        let twice = send(&rig, CHATS, &[(name, "1"), (name, "1")], &chat("x")).await;
        let says = "send the header";
        Refusal { status: 400, code: "duplicate_header", param: None, says }.check(name, &twice);
    }
    assert_eq!(received(&rig), 0);
}

#[tokio::test]
async fn a_key_may_wish_what_its_setting_says() {
    let all = [(STRATEGY, "cost", "strategy"), (DEADLINE, "5000", "deadline"), (MAX_COST, "1", "max_cost")];
    let all = all.into_iter().chain([(FALLBACK, "false", "no_fallback")]);
    let says = |wish: &str| format!("leave it out, or have {wish:?} added to the key's may_wish");
    let usual = with_key(&priced(), "");
    let nothing = with_key(&priced(), "may_wish = []");
    let anyone = format!("[auth]\nmode = \"none\"\n{}", priced());
    let anyone = Launch::new(Settings::instant(), &anyone).start();
    for (name, value, wish) in all {
        for path in [CHATS, EXPLAIN] {
            let answer = send(&usual, path, &[(name, value)], &chat("x")).await;
            match wish {
                "strategy" => forbidden(name, &says(wish)).check(name, &answer),
                _ => assert_eq!(answer.status, 200, "{name}: {}", answer.text),
            }
            forbidden(name, &says(wish)).check(name, &send(&nothing, path, &[(name, value)], &chat("x")).await);
            assert_eq!(send(&anyone, path, &[(name, value)], &chat("x")).await.status, 200, "{name} without keys");
        }
    }
    assert_eq!(send(&nothing, CHATS, &[(FALLBACK, "True")], &chat("x")).await.status, 200, "that is no wish");
}

#[tokio::test]
async fn a_key_that_may_not_tag_has_its_own_tags() {
    let tags = "\n[[tags]]\nname = \"env\"\n";
    let rig = with_key(&format!("{}{tags}", priced()), "may_wish = [\"deadline\"]\ntags = { env = \"prod\" }");
    let header = "x-llm-router-tags";
    let answer = send(&rig, CHATS, &[(header, "env=test")], &chat("x")).await;
    forbidden(header, "have \"tags\" added").check("a header", &answer);
    let body = |metadata: Value| with(chat("x"), json!({"metadata": metadata}));
    let answer = rig.client.chat(&body(json!({"env": "test"}))).await;
    forbidden("metadata", "may not send tags in 'metadata': leave them out, or have \"tags\" added")
        .check("metadata", &answer);
    assert_eq!(rig.client.chat(&body(json!({"order": "17"}))).await.status, 200, "those are no tags");
}

#[tokio::test]
async fn another_strategy_is_what_ranked_in_the_answer_in_explain_and_on_record() {
    let rig = with_key(&priced(), "may_wish = [\"strategy\"]");
    for (strategy, reason) in [("cost", "cheapest"), ("Latency", "fastest"), ("weighted", "share")] {
        let answer = send(&rig, CHATS, &[(STRATEGY, strategy)], &chat("x")).await;
        assert_eq!((answer.status, answer.reason()), (200, reason), "{}", answer.text);
        let explained = send(&rig, EXPLAIN, &[(STRATEGY, strategy)], &chat("x")).await.json();
        assert_eq!(explained["strategy"], strategy.to_lowercase(), "{explained}");
    }
    let batch =
        send(&rig, "/v1/generate/batch", &[(STRATEGY, "cost")], &json!({"prompts": ["x"], "model": "llama"})).await;
    assert_eq!(batch.json()["succeeded"], 1, "{}", batch.text);
    let says = "leave x-llm-router-strategy out";
    let pointless = Refusal { status: 400, code: "unsupported", param: Some(STRATEGY), says };
    let rig = with_key(&priced(), "may_wish = [\"strategy\", \"no_fallback\"]\ndirect = true");
    let direct = with(chat("x"), json!({"model": "runpod/llama"}));
    for path in [CHATS, EXPLAIN] {
        pointless.check("a direct call", &send(&rig, path, &[(STRATEGY, "cost")], &direct).await);
        let answer = send(&rig, path, &[(STRATEGY, "cost"), (FALLBACK, "true")], &direct).await;
        assert_eq!(answer.status, 200, "it orders the others: {}", answer.text);
    }
}

#[tokio::test]
async fn a_deadline_ends_a_request_sooner_and_is_no_fault_of_the_upstream() {
    let rig = launch().start();
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
    let says = "by the request's deadline";
    let late = Refusal { status: 504, code: "upstream_timeout", param: None, says };
    for _ in 0..12 {
        late.check("a hanging upstream", &send(&rig, CHATS, &[(DEADLINE, "20")], &chat("x")).await);
    }
    let batch = json!({"prompts": ["x"], "model": "llama"});
    let entries = send(&rig, "/v1/generate/batch", &[(DEADLINE, "20")], &batch).await.json();
    assert_eq!(entries["results"][0]["error"]["code"], "upstream_timeout", "{entries}");
    let breakers = rig.metrics().await;
    for upstream in ["runpod", "cerebras"] {
        let state = breakers.value("llmrouter_breaker_state", &[("upstream", upstream)]);
        assert!(state.abs() < 0.1, "the breaker of {upstream} is closed, not at {state}");
    }
}

#[tokio::test]
async fn a_highest_price_leaves_dear_upstreams_out() {
    let rig = with_key(&priced(), "direct = true");
    let ask = with(chat("x"), json!({"max_tokens": 1000}));
    let explained = send(&rig, EXPLAIN, &[(MAX_COST, "0.0005")], &ask).await.json();
    assert_eq!(explained["candidates"].as_array().map(Vec::len), Some(1), "{explained}");
    assert_eq!(explained["excluded"][0]["upstream"], "cerebras", "{explained}");
    assert_eq!(explained["excluded"][0]["why"], "the request may cost more there than it is to", "{explained}");

    let says = "at the cheapest upstream that can serve it, for its prompt and as many tokens as its answer may have, and \
                x-llm-router-max-cost-usd allows $0.00001: lower max_tokens, or allow more";
    let refusal = Refusal { status: 400, code: "max_cost_exceeded", param: Some(MAX_COST), says };
    let answer = send(&rig, CHATS, &[(MAX_COST, "0.00001")], &ask).await;
    refusal.check("too dear", &answer);
    // A thousand tokens at two cents a million are $0.00002, and the prompt is some more.
    assert!(answer.error_message().contains("may cost $0.00002"), "{}", answer.text);
    let fewer = with(chat("x"), json!({"max_tokens": 100}));
    assert_eq!(send(&rig, CHATS, &[(MAX_COST, "0.00001")], &fewer).await.provider(), "runpod");
    let direct = with(ask.clone(), json!({"model": "cerebras/llama"}));
    let answer = send(&rig, CHATS, &[(MAX_COST, "0.0005")], &direct).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (400, "max_cost_exceeded"), "{}", answer.text);

    // Rather an error than a dear answer.
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 503, retry_after: None });
    let answer = send(&rig, CHATS, &[(MAX_COST, "0.0005")], &ask).await;
    assert!(answer.status >= 500, "{}: {}", answer.status, answer.text);
    assert_eq!(send(&rig, CHATS, &[(MAX_COST, "0.005")], &ask).await.provider(), "cerebras");
}

/// The alert about a split compares what the shares decided, and nothing else.
#[tokio::test]
async fn what_goes_by_shares_is_counted_apart() {
    let rig = with_key(&priced(), "may_wish = [\"strategy\", \"max_cost\"]\ndirect = true");
    let ask = with(chat("x"), json!({"max_tokens": 1000}));
    for (headers, counts) in [
        (&[][..], true),
        (&[(STRATEGY, "cost")], false),
        (&[(STRATEGY, "weighted")], true),
        (&[(MAX_COST, "0.0005")], false),
        (&[(MAX_COST, "0.005")], true),
    ] {
        let of_runpod = async |metric: &str| rig.metrics().await.value(metric, &[("upstream", "runpod")]);
        let [split, all] = ["llmrouter_split_requests_total", "llmrouter_requests_total"];
        let before = (of_runpod(split).await, of_runpod(all).await);
        assert_eq!(send(&rig, CHATS, headers, &ask).await.provider(), "runpod");
        eventually("it is counted", async || (of_runpod(all).await > before.1 + 0.5).then_some(())).await;
        let more = of_runpod(split).await - before.0;
        assert!((more - f64::from(u8::from(counts))).abs() < 0.1, "{headers:?}: {more}");
    }
    let direct = with(ask, json!({"model": "cerebras/llama"}));
    assert_eq!(rig.client.chat(&direct).await.provider(), "cerebras");
    rig.until_idle().await;
    let direct = rig.metrics().await.value("llmrouter_split_requests_total", &[("upstream", "cerebras")]);
    assert!(direct < 0.1, "it names its upstream: {direct}");
}

#[tokio::test]
async fn an_upstream_without_a_price_serves_no_request_with_a_highest_one() {
    let rig = launch().start();
    let says = "no upstream that can serve the request has a price";
    let refusal = Refusal { status: 400, code: "max_cost_exceeded", param: Some(MAX_COST), says };
    refusal.check("no price", &send(&rig, CHATS, &[(MAX_COST, "100")], &chat("x")).await);
    assert_eq!(received(&rig), 0);
}

#[tokio::test]
async fn an_ensemble_has_no_highest_price() {
    let two =
        "\n[[ensembles]]\nname = \"ensemble/two\"\nmembers = [\"llama\", \"llama\"]\npick = { kind = \"longest\" }\n";
    let rig = Launch::new(Settings::instant(), &format!("{}{two}", priced())).start();
    let says = "name a model instead, or leave x-llm-router-max-cost-usd out";
    let refusal = Refusal { status: 400, code: "unsupported", param: Some(MAX_COST), says };
    let body = with(chat("x"), json!({"model": "ensemble/two"}));
    refusal.check("an ensemble", &send(&rig, CHATS, &[(MAX_COST, "1")], &body).await);
    assert_eq!(send(&rig, CHATS, &[(FALLBACK, "false"), (DEADLINE, "30000")], &body).await.status, 200);
    rig.emulator.control(Face::RunpodLb, Fault::HangBefore);
    rig.emulator.control(Face::Cerebras, Fault::HangBefore);
    assert_eq!(send(&rig, CHATS, &[(DEADLINE, "20")], &body).await.status, 504, "of every member");
}

#[tokio::test]
async fn without_fallback_the_error_of_the_first_upstream_is_the_answer() {
    let rig = with_key(&priced(), "");
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 404, retry_after: None });
    let answer = send(&rig, CHATS, &[(FALLBACK, "false")], &chat("x")).await;
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_refused"), "{}", answer.text);
    assert_eq!(answer.header("x-llm-router-attempts"), "1");
    assert_eq!(rig.call_log(Face::Cerebras).received, 0);
    let answer = send(&rig, CHATS, &[(FALLBACK, "true")], &chat("x")).await;
    assert_eq!((answer.status, answer.provider()), (200, "cerebras"), "{}", answer.text);
}
