//! Several models answer as one.

use e2e::{Answer, CLIENT_KEY, Launch, Rig, chat, streamed, with};
use emulator::{Face, Fault, Settings};
use serde_json::{Value, json};

/// Two models that charge differently, and an ensemble for each way to pick.
const CONFIG: &str = r#"
[[upstreams]]
id = "runpod"
provider = "runpod"
endpoint_type = "load_balancer"
base_url = "${EMULATOR}/lb/v1"
capacity_url = "none"
api_key_env = "UPSTREAM_KEY"
model = "meta-llama/Llama-3.1-8B-Instruct"
cost = { kind = "tokens", input_usd_per_million = "0.02", output_usd_per_million = "0.02" }

[[upstreams]]
id = "cerebras"
provider = "cerebras"
base_url = "${EMULATOR}/cerebras/v1"
api_key_env = "UPSTREAM_KEY"
model = "llama3.1-8b"
cost = { kind = "tokens", input_usd_per_million = "0.10", output_usd_per_million = "0.10" }

[[models]]
name = "pod"
strategy = "weighted"
targets = [{ upstream = "runpod" }]

[[models]]
name = "fast"
strategy = "weighted"
targets = [{ upstream = "cerebras" }]

[[ensembles]]
name = "ensemble/first"
members = ["pod", "fast"]
pick = { kind = "first" }

[[ensembles]]
name = "ensemble/longest"
members = ["pod", "fast"]
pick = { kind = "longest" }

[[ensembles]]
name = "ensemble/majority"
members = ["fast", "pod", "pod"]
pick = { kind = "majority" }

[[ensembles]]
name = "ensemble/logprob"
members = ["fast", "pod"]
pick = { kind = "logprob" }

[[ensembles]]
name = "ensemble/judge"
members = ["pod", "fast"]
pick = { kind = "judge", model = "pod" }

[tasks]
hard = "ensemble/longest"
"#;

/// Requests to models that each of them makes.
const CALLS: [(&str, u32); 5] = [("first", 2), ("longest", 2), ("majority", 3), ("logprob", 2), ("judge", 4)];

/// Cerebras says more.
fn settings() -> Settings {
    let mut settings = Settings::instant();
    settings.cerebras.answer_tokens = 40;
    settings
}

fn ask(pick: &str) -> Value {
    with(chat("hello"), json!({"model": format!("ensemble/{pick}")}))
}

/// The winner of a whole answer, which the headers name too.
fn winner(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let ensemble = answer.json()["ensemble"].clone();
    let at = usize::try_from(ensemble["winner"].as_u64().unwrap()).unwrap();
    let winner = ensemble["members"][at].clone();
    assert_eq!(
        (&winner["error"], winner["upstream"].as_str()),
        (&Value::Null, Some(answer.header("x-llm-router-upstream")))
    );
    assert_eq!(winner["provider"].as_str(), Some(answer.provider()));
    winner
}

/// Dollars as whole nano-dollars.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dollars")]
fn nano(usd: f64) -> u64 {
    (usd * 1e9).round() as u64
}

fn refuse(rig: &Rig, face: Face, code: u16) {
    rig.emulator.control(face, Fault::Status { code, retry_after: None });
}

#[tokio::test]
async fn each_way_to_pick_picks_and_says_why() {
    let rig = Rig::start(settings(), CONFIG);
    let answer = rig.client.chat(&ask("longest")).await;
    assert_eq!(winner(&answer)["model"], "fast");
    let why = answer.json()["ensemble"]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("the longest of 2 answers"), "{why}");
    assert_eq!((&answer.json()["object"], &answer.json()["model"]), (&json!("chat.completion"), &json!("llama3.1-8b")));

    let answer = rig.client.chat(&ask("majority")).await;
    assert_eq!((winner(&answer)["model"].as_str(), &winner(&answer)["score"]), (Some("pod"), &json!(2)));
    assert_eq!(answer.json()["ensemble"]["winner"], 1, "the earliest of those that agree");

    let answer = rig.client.chat(&ask("logprob")).await;
    assert_eq!(winner(&answer)["model"], "pod");
    assert!(winner(&answer)["score"].as_f64().unwrap() < 0.0);
    assert_eq!(answer.json()["ensemble"]["members"][0]["score"], Value::Null, "Cerebras' face gives none");

    let answer = rig.client.chat(&ask("judge")).await;
    let scores: Vec<u64> =
        (0..2).map(|at| answer.json()["ensemble"]["members"][at]["score"].as_u64().unwrap()).collect();
    assert_eq!(winner(&answer)["score"].as_u64(), scores.iter().max().copied(), "{scores:?}");
    let why = answer.json()["ensemble"]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("pod gave it"), "{why}");

    winner(&rig.client.chat(&ask("first")).await);
}

#[tokio::test]
async fn what_an_ensemble_costs_is_what_the_metrics_say() {
    let rig = Rig::start(settings(), CONFIG);
    let (mut reported, mut calls) = (0, 0);
    // Not `first`: what a cancelled call has cost is not known.
    for (pick, made) in CALLS.into_iter().skip(1) {
        for body in [ask(pick), streamed(ask(pick))] {
            let answer = rig.client.chat(&body).await;
            assert_eq!(answer.header("x-llm-router-attempts"), made.to_string(), "{pick}: {}", answer.text);
            reported += nano(answer.header("x-llm-router-cost-usd").parse().unwrap());
            calls += made;
            if answer.text.starts_with('{') {
                let ensemble = answer.json()["ensemble"].clone();
                let header: f64 = answer.header("x-llm-router-cost-usd").parse().unwrap();
                assert_eq!(nano(ensemble["cost_usd"].as_f64().unwrap()), nano(header));
            }
        }
    }
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    assert!(reported > 0);
    assert_eq!(nano(metrics.value("llmrouter_cost_usd_total", &[])), reported);
    assert_eq!(nano(metrics.value("llmrouter_team_cost_usd_total", &[("team", "test")])), reported);
    let counted = metrics.value("llmrouter_requests_total", &[("route", "ensemble"), ("outcome", "ok")]);
    assert!((counted - f64::from(calls)).abs() < 0.5, "{counted} requests for {calls} calls");
    let all = metrics.value("llmrouter_requests_total", &[]);
    assert!((all - counted).abs() < 0.5, "nothing is counted twice: {all}");
}

#[tokio::test]
async fn the_winner_is_streamed() {
    let rig = Rig::start(settings(), CONFIG);
    for (pick, _) in CALLS {
        let whole = rig.client.chat(&ask(pick)).await;
        let body = with(streamed(ask(pick)), json!({"stream_options": {"include_usage": true}}));
        let stream = rig.client.stream(&body).await;
        assert!(stream.is_done() && stream.errors().is_empty(), "{pick}: {:?}", stream.events);
        let reports: Vec<Value> = stream.parsed().filter_map(|event| event.get("ensemble").cloned()).collect();
        let [ensemble] = reports.as_slice() else { panic!("{pick}: {:?}", stream.events) };
        assert_eq!(ensemble["pick"], pick);
        assert_eq!(stream.usage().len(), 1, "{pick}");
        if pick == "first" {
            assert!(!stream.content().is_empty());
        } else {
            assert_eq!(stream.content(), whole.content(), "{pick}");
            assert_eq!(ensemble["winner"], whole.json()["ensemble"]["winner"], "{pick}");
        }
        let finished = stream.parsed().filter(|event| event["choices"][0]["finish_reason"].is_string()).count();
        assert_eq!(finished, 1, "{pick}");
        let plain = rig.client.stream(&streamed(ask(pick))).await;
        assert!(plain.is_done() && plain.usage().is_empty(), "{pick}: nobody asked for usage");
    }
}

#[tokio::test]
async fn the_short_form_and_batches_take_ensembles_too() {
    let rig = Rig::start(settings(), CONFIG);
    for (pick, _) in CALLS {
        let name = format!("ensemble/{pick}");
        let body = json!({"prompt": "hello", "model": name});
        let answer = rig.client.post("/v1/generate", &body).await.json();
        assert_eq!((&answer["model"], &answer["ensemble"]["pick"]), (&json!(name), &json!(pick)), "{answer}");
        assert_eq!(answer["cost_usd"], answer["ensemble"]["cost_usd"], "{pick}");
        assert!(answer["result"].as_str().is_some_and(|text| text.starts_with("You said: hello")), "{answer}");
        for path in ["/v1/generate/stream", "/v1/chat/stream"] {
            let text = rig.client.post(path, &body).await.text;
            assert!(text.starts_with("data: {\"chunk\":\"You") && text.ends_with("data: [DONE]\n\n"), "{pick}: {text}");
        }
        let batch = rig.client.post("/v1/generate/batch", &json!({"prompts": ["a", "b"], "model": name})).await.json();
        assert_eq!(batch["succeeded"], 2, "{batch}");
        assert_eq!(batch["results"][1]["ensemble"]["name"], name, "{batch}");
    }
}

#[tokio::test]
async fn a_member_that_fails_is_left_out_and_only_all_fail_together() {
    for (pick, made) in CALLS {
        let rig = Rig::start(settings(), CONFIG);
        refuse(&rig, Face::Cerebras, 400);
        for body in [ask(pick), streamed(ask(pick))] {
            let answer = rig.client.chat(&body).await;
            assert_eq!((answer.status, answer.provider()), (200, "runpod"), "{pick}: {}", answer.text);
        }
        let answer = rig.client.chat(&ask(pick)).await;
        assert_eq!(winner(&answer)["model"], "pod");
        let members = answer.json()["ensemble"]["members"].as_array().cloned().unwrap();
        let failed = members.iter().find(|member| member["model"] == "fast").unwrap();
        assert!(failed["error"] == "unsupported" || pick == "first" && failed["error"] == "cancelled", "{failed}");

        refuse(&rig, Face::RunpodLb, 400);
        refuse(&rig, Face::Cerebras, 401);
        let answer = rig.client.chat(&streamed(ask(pick))).await;
        assert_eq!((answer.status, answer.error_code().as_str()), (400, "invalid_request"), "{}", answer.text);
        assert_eq!(answer.header("x-should-retry"), "false");
        let judging = if pick == "judge" { 2 } else { 0 };
        assert_eq!(answer.header("x-llm-router-attempts"), (made - judging).to_string(), "{pick}");
        rig.until_idle().await;
    }
}

#[tokio::test]
async fn a_judge_that_cannot_be_asked_leaves_the_first_good_answer() {
    let judge = "pick = { kind = \"judge\", model = \"gone\" }";
    let gone = "[[upstreams]]\nid = \"gone\"\nprovider = \"openai\"\nbase_url = \"${EMULATOR}/nothing/v1\"\n\
                api_key_env = \"UPSTREAM_KEY\"\nmodel = \"m\"\n[[models]]\nname = \"gone\"\nstrategy = \"weighted\"\n\
                targets = [{ upstream = \"gone\" }]\n";
    let config = CONFIG.replace("pick = { kind = \"judge\", model = \"pod\" }", judge);
    let rig = Rig::start(settings(), &format!("{gone}{config}"));
    let answer = rig.client.chat(&ask("judge")).await;
    assert_eq!(winner(&answer)["model"], "pod");
    let why = answer.json()["ensemble"]["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("the judge gave no verdict that can be read"), "{why}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_every_member() {
    let mut settings = settings();
    (settings.speed, settings.runpod_lb.latency.tokens_per_s, settings.cerebras.latency.tokens_per_s) = (1.0, 0.1, 0.1);
    let rig = Rig::start(settings, CONFIG);
    let body = ask("longest");
    let call = rig.client.chat(&body);
    let under_way = e2e::eventually("both are asked", async || {
        let logs = rig.emulator.call_logs();
        (logs.runpod_lb.in_flight == 1 && logs.cerebras.in_flight == 1).then_some(())
    });
    let mut call = Box::pin(call);
    tokio::select! {
        answer = &mut call => panic!("{}", answer.text),
        () = under_way => {}
    }
    drop(call);
    e2e::eventually("both are cancelled", async || {
        let logs = rig.emulator.call_logs();
        (logs.runpod_lb.cancelled == 1 && logs.cerebras.cancelled == 1).then_some(())
    })
    .await;
    rig.until_idle().await;
}

#[tokio::test]
async fn tasks_lead_to_ensembles_and_one_request_counts_for_its_calls() {
    let keys = "[[keys]]\nid = \"few\"\nteam = \"t\"\nenv = \"CLIENT_KEY\"\n\
                limits = { requests_per_minute = 1, burst = 10, concurrent = 4 }\n";
    let rig = Launch::new(settings(), &format!("{keys}{CONFIG}")).start();
    assert_eq!(rig.client.with_key(CLIENT_KEY).get("/v1/models/ensemble/judge").await.status, 200);
    assert!(rig.client.get("/v1/models").await.text.contains("\"ensemble/majority\""));
    winner(&rig.client.chat(&with(chat("hello"), json!({"model": "task/hard"}))).await);
    let by_header = rig.client.json("/v1/chat/completions", &chat("hello")).header("x-llm-router-task", "hard");
    winner(&Answer::of(by_header).await);
    let answer = rig.client.chat(&ask("judge")).await;
    winner(&answer);
    assert_eq!(
        answer.header("x-ratelimit-remaining-requests"),
        "2",
        "two members twice, and two with an opinion of each"
    );
    assert_eq!(rig.client.chat(&ask("judge")).await.error_code(), "rate_limit_exceeded");
}
