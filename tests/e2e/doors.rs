//! Messages and Responses through the whole service: streams and whole answers, tools both ways, fallback, breaks, and a client that
//! leaves. The order of events is checked by the state machines of the crate `dialects`.

#[path = "../../crates/dialects/tests/support/message_events.rs"]
mod message_events;
#[path = "../../crates/dialects/tests/support/responses_events.rs"]
mod responses_events;

use std::time::Duration;

use e2e::{
    Answer, BALANCED, CEREBRAS, Launch, NamedEvent, RUNPOD_LB, Rig, eventually, message, named_events, only, response,
    streamed, with, within,
};
use emulator::{Face, Fault, Latency, Rule, Settings};
use ledger::Dimension;
use serde_json::{Value, json};

use crate::on_record::{Folder, on_record};

const MESSAGES: &str = "/v1/messages";
const RESPONSES: &str = "/v1/responses";

/// Both doors, with an ordinary request each.
fn doors(text: &str) -> [(&'static str, Value); 2] {
    [(MESSAGES, message(text)), (RESPONSES, response(text))]
}

fn both() -> Rig {
    Rig::start(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"))
}

async fn stream(rig: &Rig, path: &str, body: Value) -> (Answer, Vec<NamedEvent>) {
    let answer = rig.client.post(path, &streamed(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.header("content-type").starts_with("text/event-stream"), "{:?}", answer.headers);
    let events = named_events(&answer.text);
    (answer, events)
}

/// Fails unless the events of a complete answer stand in the order of their API.
fn check_order(path: &str, text: &str) {
    let events: String = text.split_inclusive('\n').filter(|line| !line.starts_with(':')).collect();
    if path == RESPONSES {
        drop(responses_events::check(&events));
        return;
    }
    let mut order = message_events::Events::new();
    order.take(&events).unwrap_or_else(|why| panic!("{why}: {text}"));
    order.finish().unwrap_or_else(|why| panic!("{why}: {text}"));
}

/// The text that the events add up to.
fn text_of(events: &[NamedEvent]) -> String {
    let added = events.iter().filter_map(|event| match event.name.as_str() {
        "content_block_delta" => event.data["delta"]["text"].as_str(),
        "response.output_text.delta" => event.data["delta"].as_str(),
        _ => None,
    });
    added.collect()
}

/// The text of a whole answer.
fn text_of_whole(path: &str, answer: &Value) -> String {
    let parts = if path == MESSAGES { &answer["content"] } else { &answer["output"][0]["content"] };
    parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test]
async fn a_stream_and_a_whole_answer_say_the_same_as_a_chat() {
    for (upstream, id) in [(RUNPOD_LB, "runpod"), (CEREBRAS, "cerebras")] {
        assert_said_as_in_a_chat(&Rig::start(Settings::instant(), &format!("{upstream}{}", only(id)))).await;
    }
}

async fn assert_said_as_in_a_chat(rig: &Rig) {
    let chat = rig.client.chat(&with(e2e::chat("hello there"), json!({"max_tokens": 64}))).await;
    let usage = &chat.json()["usage"];
    for (path, body) in doors("hello there") {
        let whole = rig.client.post(path, &body).await;
        assert_eq!((whole.status, whole.header("content-type")), (200, "application/json"), "{path}: {}", whole.text);
        for header in ["x-llm-router-provider", "x-llm-router-upstream", "x-llm-router-reason", "x-llm-router-attempts"]
        {
            assert!(!whole.header(header).is_empty(), "{path}: {header}");
        }
        let (streamed, events) = stream(rig, path, body).await;
        check_order(path, &streamed.text);
        assert_eq!(text_of_whole(path, &whole.json()), chat.content(), "{path}");
        assert_eq!(text_of(&events), chat.content(), "{path}");
        assert_eq!(whole.json()["model"], "llama", "the name that was asked for");
        let last =
            if path == MESSAGES { &events[events.len() - 2].data } else { &events.last().unwrap().data["response"] };
        for counted in [&whole.json()["usage"], &last["usage"]] {
            assert_eq!(
                (&counted["input_tokens"], &counted["output_tokens"]),
                (&usage["prompt_tokens"], &usage["completion_tokens"]),
                "{path}"
            );
        }
    }
}

/// Cerebras reports usage together with the finish reason, RunPod apart from it.
#[tokio::test]
async fn an_answer_that_was_cut_short_says_so() {
    for (upstream, id) in [(RUNPOD_LB, "runpod"), (CEREBRAS, "cerebras")] {
        let rig = Rig::start(Settings::instant(), &format!("{upstream}{}", only(id)));
        let short = with(message("hello"), json!({"max_tokens": 3}));
        assert_eq!(rig.client.post(MESSAGES, &short).await.json()["stop_reason"], "max_tokens", "{id}");
        let (_, events) = stream(&rig, MESSAGES, short).await;
        let delta = &events[events.len() - 2].data;
        assert_eq!(
            (&delta["delta"]["stop_reason"], &delta["usage"]["output_tokens"]),
            (&json!("max_tokens"), &json!(3)),
            "{id}"
        );
        let short = with(response("hello"), json!({"max_output_tokens": 3}));
        assert_eq!(rig.client.post(RESPONSES, &short).await.json()["status"], "incomplete", "{id}");
        let (answer, events) = stream(&rig, RESPONSES, short).await;
        check_order(RESPONSES, &answer.text);
        assert_eq!(events.last().unwrap().name, "response.incomplete", "{id}");
    }
}

#[tokio::test]
async fn what_a_model_thinks_is_shown_whole_and_streamed() {
    let cerebras = CEREBRAS.replace("llama3.1-8b", "gpt-oss-120b");
    let rig = Rig::start(Settings::instant(), &format!("{cerebras}{}", only("cerebras")));
    let thinking = json!({"max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let whole = rig.client.post(MESSAGES, &with(message("hello"), thinking.clone())).await.json();
    assert_eq!(
        (&whole["content"][0]["type"], &whole["content"][1]["type"]),
        (&json!("thinking"), &json!("text")),
        "{whole}"
    );
    let (answer, events) = stream(&rig, MESSAGES, with(message("hello"), thinking)).await;
    check_order(MESSAGES, &answer.text);
    let thought: String = events.iter().filter_map(|event| event.data["delta"]["thinking"].as_str()).collect();
    assert_eq!(whole["content"][0]["thinking"], thought);
    let unasked = rig.client.post(MESSAGES, &message("hello")).await.json();
    assert_eq!(unasked["content"][0]["type"], "text", "who does not ask for it gets the text first: {unasked}");

    let whole = rig.client.post(RESPONSES, &response("hello")).await.json();
    assert_eq!(
        (&whole["output"][0]["type"], &whole["output"][1]["type"]),
        (&json!("reasoning"), &json!("message")),
        "{whole}"
    );
    let (answer, events) = stream(&rig, RESPONSES, response("hello")).await;
    check_order(RESPONSES, &answer.text);
    let deltas = events.iter().filter(|event| event.name == "response.reasoning_text.delta");
    let thought: String = deltas.filter_map(|event| event.data["delta"].as_str()).collect();
    assert_eq!(whole["output"][0]["content"][0]["text"], thought);
}

/// The tool's answer comes back in the text of the emulator.
#[tokio::test]
async fn a_tool_is_called_and_its_answer_is_read() {
    let rig = both();
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tool = json!({"name": "get_weather", "description": "The weather of a city", "input_schema": schema});
    let ask = with(message("What is the weather in Paris?"), json!({"tools": [tool]}));
    let whole = rig.client.post(MESSAGES, &ask).await.json();
    assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
    let (answer, events) = stream(&rig, MESSAGES, ask.clone()).await;
    check_order(MESSAGES, &answer.text);
    let call = &whole["content"][0];
    assert_eq!(
        (&call["type"], &call["name"], call["input"]["city"].is_string()),
        (&json!("tool_use"), &json!("get_weather"), true)
    );
    let input: String = events.iter().filter_map(|event| event.data["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&input).unwrap(), call["input"]);
    let result = json!({"type": "tool_result", "tool_use_id": call["id"], "content": "sunny at noon"});
    let turns = json!([
        ask["messages"][0], {"role": "assistant", "content": whole["content"]}, {"role": "user", "content": [result]},
    ]);
    let last = rig.client.post(MESSAGES, &with(ask, json!({"messages": turns}))).await.json();
    assert_eq!(last["stop_reason"], "end_turn", "{last}");
    assert!(text_of_whole(MESSAGES, &last).contains("sunny at noon"), "{last}");

    let tool = json!({"type": "function", "name": "get_weather", "description": "The weather of a city", "parameters": schema});
    let ask = with(response("What is the weather in Paris?"), json!({"tools": [tool]}));
    let whole = rig.client.post(RESPONSES, &ask).await.json();
    let call = &whole["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("get_weather")), "{whole}");
    let (answer, events) = stream(&rig, RESPONSES, ask.clone()).await;
    check_order(RESPONSES, &answer.text);
    let deltas = events.iter().filter(|event| event.name == "response.function_call_arguments.delta");
    let arguments: String = deltas.filter_map(|event| event.data["delta"].as_str()).collect();
    assert_eq!(call["arguments"], arguments);
    let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": "sunny at noon"});
    let items = json!([{"role": "user", "content": "What is the weather in Paris?"}, call, output]);
    let last = rig.client.post(RESPONSES, &with(ask, json!({"input": items}))).await.json();
    assert!(text_of_whole(RESPONSES, &last).contains("sunny at noon"), "{last}");
}

#[tokio::test]
async fn a_task_an_ensemble_and_a_direct_name_work_through_both_doors() {
    let more = r#"
[tasks]
chat = "llama"

[[ensembles]]
name = "ensemble/longest"
members = ["llama", "llama"]
pick = { kind = "longest" }

[[keys]]
id = "test"
team = "test"
env = "CLIENT_KEY"
direct = true
"#;
    let rig = Launch::new(Settings::instant(), &format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{more}")).start();
    for name in ["task/chat", "ensemble/longest", "cerebras/llama"] {
        for (path, body) in doors("hello") {
            let body = with(body, json!({"model": name}));
            let whole = rig.client.post(path, &body).await;
            assert_eq!((whole.status, &whole.json()["model"]), (200, &json!(name)), "{path}: {}", whole.text);
            let (answer, events) = stream(&rig, path, body).await;
            check_order(path, &answer.text);
            assert_eq!(text_of(&events), text_of_whole(path, &whole.json()), "{path} {name}");
        }
    }
}

/// RunPod fails in whatever way, before anything was sent: the agent sees an ordinary answer.
#[tokio::test]
async fn an_upstream_that_fails_before_its_first_token_is_not_noticed() {
    for fault in [
        Fault::Status { code: 500, retry_after: None },
        Fault::ResetBefore,
        Fault::ErrorEvent { after_events: 0 },
        Fault::EndAmid { after_events: 0 },
    ] {
        let rig = both();
        rig.emulator.set_rules(Face::RunpodLb, vec![Rule::from(fault.clone())]);
        for turn in 0..10 {
            for (path, body) in doors(&format!("turn {turn}")) {
                let (answer, events) = stream(&rig, path, body.clone()).await;
                check_order(path, &answer.text);
                assert!(!text_of(&events).is_empty(), "{path} {fault:?}");
                assert_eq!(answer.provider(), "cerebras", "{path} {fault:?}");
                let whole = rig.client.post(path, &body).await;
                assert_eq!((whole.status, whole.provider()), (200, "cerebras"), "{path} {fault:?}: {}", whole.text);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_error_of_its_api() {
    let after_events = 3;
    for (fault, kind) in [
        (Fault::ResetAmid { after_events }, "api_error"),
        (Fault::Garbage { after_events }, "api_error"),
        (Fault::HangAmid { after_events }, "timeout_error"),
    ] {
        let rig =
            Rig::start(Settings::instant(), &format!("{RUNPOD_LB}timeouts = {{ gap_ms = 300 }}\n{}", only("runpod")));
        rig.emulator.control(Face::RunpodLb, fault.clone());
        let (_, events) = stream(&rig, MESSAGES, message("hello")).await;
        assert!(text_of(&events).starts_with("You"), "what came before is delivered: {events:?}");
        let last = events.last().unwrap();
        assert_eq!((last.name.as_str(), &last.data["error"]["type"]), ("error", &json!(kind)), "{fault:?}: {last:?}");
        assert!(says_to_retry(&last.data["error"]["message"]) && last.data["request_id"].is_string(), "{last:?}");
        assert!(events.iter().all(|event| event.name != "message_stop"), "{events:?}");

        let (answer, events) = stream(&rig, RESPONSES, response("hello")).await;
        check_order(RESPONSES, &answer.text);
        let last = events.last().unwrap();
        assert_eq!(
            (last.name.as_str(), &last.data["response"]["error"]["code"]),
            ("response.failed", &json!("server_error"))
        );
        let message = &last.data["response"]["error"]["message"];
        assert!(says_to_retry(message) && message.as_str().unwrap().contains("(upstream_"), "{last:?}");
    }
}

/// In words that agents know, some of which decide by them.
fn says_to_retry(message: &Value) -> bool {
    message.as_str().is_some_and(|says| says.contains("retry your request"))
}

/// A model that answers slowly enough for something to happen in between.
fn paced(first_token_ms: f64, tokens_per_s: f64) -> Settings {
    let latency = Latency { first_token_ms, spread: 0.0, tokens_per_s, crowding: 0.0 };
    let mut settings = Settings::default();
    settings.runpod_lb.latency = latency;
    settings
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_as_its_api_has_it() {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{RUNPOD_LB}{}", only("runpod"));
    let rig = Rig::start(Settings::instant(), &text);
    rig.emulator.control(Face::RunpodLb, Fault::HangAmid { after_events: 3 });
    for (path, body, sign) in
        [(MESSAGES, message("x"), "event: ping"), (RESPONSES, response("x"), "event: response.in_progress")]
    {
        let mut stream = e2e::Stream::of(rig.client.json(path, &streamed(body)).send().await.unwrap());
        let mut signs = 0;
        // One that is in progress is said to be so at its beginning.
        while signs < 3 {
            let event = stream.next().await.unwrap().expect("the stream stays open");
            signs += usize::from(event.starts_with(sign));
        }
    }
}

/// Nothing of the message may come before its start, so that the wait is bridged by a comment. A response is created early.
#[tokio::test]
async fn early_headers_are_followed_by_signs_of_life_and_then_the_whole_order() {
    let text = format!("[server]\nkeep_alive_comment_s = 1\n{RUNPOD_LB}{}early_headers = true\n", only("runpod"));
    let rig = Rig::start(paced(2_500.0, 1_000.0), &text);
    for (path, body) in doors("hello") {
        let (answer, events) = stream(&rig, path, with(body, json!({"top_k": 3}))).await;
        let sign = if path == MESSAGES { ": keep-alive\n" } else { "event: response.created\n" };
        assert!(answer.text.starts_with(sign), "{path}: {}", answer.text);
        check_order(path, &answer.text);
        assert!(!text_of(&events).is_empty(), "{path}");
    }
    rig.emulator.control(Face::RunpodLb, Fault::Status { code: 400, retry_after: None });
    let (_, events) = stream(&rig, MESSAGES, message("hello")).await;
    assert_eq!((events.len(), &events[0].data["error"]["type"]), (1, &json!("invalid_request_error")), "{events:?}");
    let (answer, events) = stream(&rig, RESPONSES, response("hello")).await;
    check_order(RESPONSES, &answer.text);
    assert_eq!(events.last().unwrap().name, "response.failed", "{events:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_upstream() {
    for (path, body) in doors("hello") {
        let rig = Rig::start(paced(1.0, 1.0), &format!("{RUNPOD_LB}{}", only("runpod")));
        for nth in 1..=3 {
            let mut stream = e2e::Stream::of(rig.client.json(path, &streamed(body.clone())).send().await.unwrap());
            while !stream.next().await.unwrap().expect("an event").contains("You") {}
            drop(stream);
            within(Duration::from_secs(1), "the upstream sees the cancellation", async || {
                (rig.call_log(Face::RunpodLb).cancelled == nth).then_some(())
            })
            .await;
        }
        rig.until_idle().await;
        let metrics = rig.metrics().await;
        let route = path.trim_start_matches("/v1/");
        let gone = metrics.value("llmrouter_requests_total", &[("outcome", "cancelled"), ("route", route)]);
        assert!((gone - 3.0).abs() < 0.1, "{path}: {gone} clients gone");
    }
}

/// A stream that is open when the router stops ends with an event that says so.
#[tokio::test]
async fn a_stop_ends_a_stream_with_the_error_of_its_api() {
    for (path, body, says) in
        [(MESSAGES, message("x"), "overloaded_error"), (RESPONSES, response("x"), "response.failed")]
    {
        let mut rig = Rig::start(paced(1.0, 1.0), &format!("[server]\ndrain_s = 1\n{RUNPOD_LB}{}", only("runpod")));
        let mut stream = e2e::Stream::of(rig.client.json(path, &streamed(body)).send().await.unwrap());
        while !stream.next().await.unwrap().expect("an event").contains("You") {}
        let running = rig.take_running();
        running.stop_without_grace();
        let rest = stream.rest().await;
        assert!(rest.is_complete && rest.events.last().unwrap().contains(says), "{path}: {:?}", rest.events);
        assert!(rest.events.last().unwrap().contains("the router is shutting down"), "{path}: {:?}", rest.events);
        tokio::task::spawn_blocking(move || running.join()).await.unwrap().unwrap();
    }
}

/// Metrics and limits as of a chat, under a route of their own.
#[tokio::test]
async fn requests_are_counted_as_chats_are() {
    let rig = both();
    let mut chat = e2e::chat("hello");
    chat["max_tokens"] = 64.into();
    rig.client.chat(&chat).await;
    for (path, body) in doors("hello") {
        rig.client.post(path, &body).await;
        stream(&rig, path, body).await;
    }
    rig.until_idle().await;
    let metrics = rig.metrics().await;
    for (route, requests) in [("chat", 1.0), ("messages", 2.0), ("responses", 2.0)] {
        let counted = metrics.value("llmrouter_requests_total", &[("route", route), ("outcome", "ok")]);
        assert!((counted - requests).abs() < 0.1, "{route}: {counted}");
    }
    let tokens = metrics.value("llmrouter_tokens_total", &[("type", "output")]);
    assert!((tokens - 5.0 * 24.0).abs() < 0.1, "{tokens}");
    eventually("nothing is held", async || {
        (rig.metrics().await.value("llmrouter_inflight_requests", &[]) < 0.5).then_some(())
    })
    .await;
}

/// One upstream, whose tokens have a price.
const PRICED: &str = "cost = { kind = \"tokens\", input_usd_per_million = \"2\", output_usd_per_million = \"3\" }\n";

#[tokio::test]
async fn the_same_conversation_costs_the_same_through_every_door() {
    let folder = Folder::new("doors");
    let config = format!("{RUNPOD_LB}{PRICED}{}{}", only("runpod"), folder.storage(""));
    let mut rig = Launch::new(Settings::instant(), &config).start();
    let chat = with(e2e::chat("hello there"), json!({"max_tokens": 64}));
    let calls = doors("hello there").into_iter().chain([("/v1/chat/completions", chat)]);
    let mut costs = Vec::new();
    for (path, body) in calls {
        let answer = rig.client.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        costs.push(answer.header("x-llm-router-cost-usd").to_owned());
        rig.client.post(path, &streamed(body)).await;
    }
    assert!(!costs[0].is_empty() && costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    rig.until_idle().await;
    rig.take_running().stop_without_grace();
    let rows = eventually("all calls are on record", async || {
        let rows = on_record(&folder.ledger(), &[Dimension::Route, Dimension::Team, Dimension::Key]);
        (rows.iter().map(|row| row.answers).sum::<u64>() == 6).then_some(rows)
    })
    .await;
    let of = |route: &str| {
        let labels = [route, "test", "test"].map(|label| Some(label.to_owned()));
        let row = rows.iter().find(|row| row.labels == labels).unwrap_or_else(|| panic!("{route}: {rows:?}"));
        (row.answers, row.prompt_tokens, row.completion_tokens, row.cost_nano_usd)
    };
    assert_eq!((of("messages"), of("responses")), (of("chat"), of("chat")));
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_told_as_each_api_has_it() {
    let folder = Folder::new("doors-budget");
    let team = "[[teams]]\nid = \"test\"\nbudgets = [{ usd = \"0.0001\", per = \"month\" }]\n";
    let config = format!("{RUNPOD_LB}{PRICED}{}{}\n{team}", only("runpod"), folder.storage(""));
    let rig = Launch::new(Settings::instant(), &config).start();
    let long = json!({"max_tokens": 4_000});
    let refused = rig.client.post(MESSAGES, &with(message("hello"), long)).await;
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (402, &json!("billing_error")), "{}", refused.text);
    assert_eq!(refused.header("x-should-retry"), "false");
    let long = json!({"max_output_tokens": 4_000});
    let refused = rig.client.post(RESPONSES, &with(response("hello"), long)).await;
    assert_eq!((refused.status, refused.error_code().as_str()), (429, "insufficient_quota"), "{}", refused.text);
    assert_eq!(rig.call_log(Face::RunpodLb).received, 0);
}
