//! The memory budget: whatever clients send and upstreams answer, it is bounded together, refused cheaply as the router's own
//! overload, and all of it is given back.

use e2e::{
    Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, chat, eventually, message, response, streamed, with,
};
use emulator::{Face, Fault, Settings};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use reqwest::Method;
use serde_json::json;

use crate::{
    common::{Raw, Refusal, received, status},
    doors::check_anthropic,
    scripted::Scripted,
};

const OTHER_KEY: &str = "sk-test-other";
/// The budget of these tests; a key may have a quarter of it.
const BUDGET: usize = 4 << 20;
const SHARE: usize = BUDGET / 4;
const SAYS: &str = "no memory for more requests and answers: try again";
const KEYS: &str = "[[keys]]\nid = \"a\"\nteam = \"a\"\nenv = \"CLIENT_KEY\"\n\
                    [[keys]]\nid = \"b\"\nteam = \"b\"\nenv = \"OTHER_KEY\"\n";

fn launch(upstreams: &str) -> Rig {
    let launch = Launch::new(Settings::instant(), &format!("{KEYS}{upstreams}"));
    launch.env("OTHER_KEY", OTHER_KEY).env("LLM_ROUTER__SERVER__MEMORY_BUDGET_BYTES", &BUDGET.to_string()).start()
}

/// A rig with the emulator, and besides it the model `scripted`.
fn beside(upstream: &Scripted) -> Rig {
    let scripted =
        "\n[[models]]\nname = \"scripted\"\nstrategy = \"weighted\"\ntargets = [{ upstream = \"scripted\" }]\n";
    launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}{}{scripted}", upstream.config()))
}

fn check_refused(what: &str, answer: &Answer) {
    Refusal { status: 503, code: "overloaded", param: None, says: SAYS }.check(what, answer);
    assert_eq!(answer.header("retry-after"), "1", "{what}");
    assert_eq!(answer.header("x-should-retry"), "", "{what}: a repeat may find room");
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes are few and not negative")]
async fn gauge(rig: &Rig, name: &str) -> usize {
    rig.metrics().await.value(&format!("llmrouter_memory_{name}"), &[]) as usize
}

async fn until_given_back(rig: &Rig) {
    eventually("all memory is given back", async || (gauge(rig, "used_bytes").await == 0).then_some(())).await;
}

/// Another key's client, which sends little.
async fn assert_others_are_served(rig: &Rig) {
    let answer = rig.client.with_key(OTHER_KEY).chat(&chat("hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn upload_head(framing: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {CLIENT_KEY}\r\n\
         content-type: application/json\r\n{framing}\r\n\r\n"
    )
}

#[tokio::test]
async fn uploads_of_unknown_length_share_one_budget() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    assert_eq!(gauge(&rig, "limit_bytes").await, BUDGET);
    let chunk = format!("{:x}\r\n{}\r\n", SHARE / 8, "x".repeat(SHARE / 8));
    let mut uploads: FuturesUnordered<_> = (0..12)
        .map(|_| async {
            let mut upload = Raw::connect(&rig).await;
            upload.send(upload_head("transfer-encoding: chunked")).await;
            for _ in 0..4 {
                upload.send(&chunk).await;
            }
            upload.answer().await
        })
        .collect();
    // Some have room and are waited for; the others are refused at once.
    let refused = uploads.next().await.expect("an answer");
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("\"overloaded\"") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(gauge(&rig, "used_bytes").await <= SHARE);
    assert!(gauge(&rig, "refusals_total").await > 0);
    assert_others_are_served(&rig).await;
    drop(uploads);
    until_given_back(&rig).await;
}

/// What is sent on is a second copy.
#[tokio::test]
async fn a_body_that_could_never_fit_is_refused_for_good_and_unread() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let answer = Raw::exchange(&rig, upload_head(&format!("content-length: {}", SHARE / 2 + 1))).await;
    assert_eq!(status(&answer), 413, "{answer}");
    assert!(answer.contains(&format!("larger than {} bytes", SHARE / 2)), "{answer}");
    assert_eq!(received(&rig), 0);
}

/// The chat that a body becomes is a copy, and what is sent on is another.
#[tokio::test]
async fn the_largest_bodies_go_through_every_door_and_all_is_given_back() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    // A tool, because a prompt of that length is too long for the emulator.
    let about = "word ".repeat(SHARE / 2 / 5 - 100);
    let schema = json!({"type": "object"});
    let function = json!({"name": "f", "description": about, "parameters": schema});
    let of_chats = json!({"tools": [{"type": "function", "function": function}]});
    let of_messages = json!({"tools": [{"name": "f", "description": about, "input_schema": schema}]});
    let of_responses = json!({"tools": [with(function, json!({"type": "function"}))]});
    for (path, body) in [
        ("/v1/chat/completions", with(chat("x"), of_chats)),
        ("/v1/messages", with(message("x"), of_messages)),
        ("/v1/responses", with(response("x"), of_responses)),
    ] {
        let answer = rig.client.post(path, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", &answer.text[..answer.text.len().min(300)]);
        until_given_back(&rig).await;
        let streamed = rig.client.post(path, &streamed(body)).await;
        assert_eq!(streamed.status, 200, "{path}");
        until_given_back(&rig).await;
    }
    // The arguments of a call become a text, in which each quote is escaped once more.
    let input = json!({"quotes": "\"".repeat(SHARE / 4 - 1_000)});
    let call = json!({"type": "tool_use", "id": "call", "name": "f", "input": input});
    let result = json!({"type": "tool_result", "tool_use_id": "call", "content": "done"});
    let turns = json!([{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]);
    let answer = rig.client.post("/v1/messages", &with(message("x"), json!({"messages": turns}))).await;
    check_anthropic("a chat that is too long", &answer, 413, "request_too_large");
    until_given_back(&rig).await;
}

#[tokio::test]
async fn an_announced_body_without_room_is_refused_unread() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let announcement = upload_head(&format!("content-length: {}", SHARE / 2));
    // What is only announced takes nothing from others.
    let mut announced = Vec::new();
    for _ in 0..12 {
        let mut upload = Raw::connect(&rig).await;
        upload.send(&announcement).await;
        announced.push(upload);
    }
    assert_eq!(rig.client.chat(&chat("hello")).await.status, 200);
    let part = "x".repeat(SHARE / 2 - 1);
    for upload in &mut announced[..2] {
        upload.send(&part).await;
    }
    eventually("the key's part is full", async || (gauge(&rig, "used_bytes").await >= SHARE - 2).then_some(())).await;
    let answer = Raw::exchange(&rig, announcement).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("\"overloaded\"") && answer.contains("retry-after: 1\r\n"), "{answer}");
    assert_others_are_served(&rig).await;
    drop(announced);
    until_given_back(&rig).await;
}

/// The body and the copy that is sent count, as long as a call is under way.
#[tokio::test]
async fn bodies_count_while_their_calls_are_under_way() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
    let long = chat(&"x".repeat(SHARE / 5));
    let mut calls: FuturesUnordered<_> = (0..6).map(|_| rig.client.chat(&long)).collect();
    check_refused("one of six", &calls.next().await.expect("an answer"));
    assert!((SHARE / 5..=SHARE).contains(&gauge(&rig, "used_bytes").await));
    rig.emulator.reset();
    assert_others_are_served(&rig).await;
    drop(calls);
    until_given_back(&rig).await;
    assert_eq!(rig.client.chat(&long).await.status, 200);
    until_given_back(&rig).await;
}

fn completion(length: usize) -> String {
    let message = json!({"role": "assistant", "content": "x".repeat(length)});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}).to_string()
}

/// An answer without room in the budget is the router's failure alone: however often it happens, no upstream counts as
/// broken.
#[tokio::test]
async fn a_whole_answer_without_room_is_the_routers_own_overload() {
    let body = completion(2 * SHARE);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    for upstream in [Scripted::start("application/json", &[&body]).await, Scripted::with_head(head, &[&body]).await] {
        let rig = beside(&upstream);
        let ask = with(chat("hello"), json!({"model": "scripted"}));
        for _ in 0..12 {
            check_refused("a whole answer", &rig.client.chat(&ask).await);
            check_refused("one that comes for a stream", &rig.client.chat(&streamed(ask.clone())).await);
        }
        let metrics = rig.metrics().await;
        assert!(metrics.value("llmrouter_breaker_state", &[("upstream", "scripted")]) < 0.1);
        let errors = metrics.value("llmrouter_upstream_errors_total", &[("upstream", "scripted")]);
        let ours = metrics.value("llmrouter_upstream_errors_total", &[("upstream", "scripted"), ("kind", "no_memory")]);
        assert!((errors - 24.0).abs() < 0.1 && (ours - errors).abs() < 0.1, "{ours} of {errors}");
        assert_others_are_served(&rig).await;
        until_given_back(&rig).await;
    }
}

/// A whole answer keeps its memory until its client has taken it.
#[tokio::test]
async fn an_answer_counts_until_it_is_written() {
    // More than the kernel takes in advance.
    let length = 32 << 20;
    let upstream = Scripted::start("application/json", &[&completion(length)]).await;
    let model = "\n[[models]]\nname = \"scripted\"\nstrategy = \"weighted\"\ntargets = [{ upstream = \"scripted\" }]\n";
    let rig = Launch::new(Settings::instant(), &format!("{}{model}", upstream.config())).start();
    let body = with(chat("hello"), json!({"model": "scripted"})).to_string();
    let mut slow = Raw::connect(&rig).await;
    let framing = format!("connection: close\r\ncontent-length: {}", body.len());
    slow.send(upload_head(&framing) + &body).await;
    eventually("the answer is there", async || (gauge(&rig, "used_bytes").await >= length).then_some(())).await;
    eventually("its upstream is done", async || {
        let served = rig.metrics().await.value("llmrouter_requests_total", &[("outcome", "ok")]);
        (served > 0.5).then_some(())
    })
    .await;
    assert!(gauge(&rig, "used_bytes").await >= length, "nobody has read it yet");
    let answer = slow.rest().await;
    assert!(answer.len() > length && status(&answer) == 200);
    until_given_back(&rig).await;
}

#[tokio::test]
async fn an_endless_event_ends_its_stream_as_the_routers_overload() {
    let content = r#"data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}"#;
    let endless = format!("data: {}", "x".repeat(2 * SHARE));
    let upstream = Scripted::start("text/event-stream", &[content, "\n\n", &endless]).await;
    let rig = beside(&upstream);
    upstream.go_on();
    upstream.go_on();
    let stream = rig.client.stream(&streamed(with(chat("hello"), json!({"model": "scripted"})))).await;
    assert_eq!(stream.status, 200);
    let last = stream.events.last().expect("an event");
    assert!(last.contains("\"overloaded\"") && last.contains(SAYS), "{last}");
    assert!(rig.metrics().await.value("llmrouter_breaker_state", &[("upstream", "scripted")]) < 0.1);
    until_given_back(&rig).await;
}

/// A response says all of itself once more at its end, and so its text is held until then.
#[tokio::test]
async fn a_response_without_room_for_its_text_ends_as_the_routers_overload() {
    let piece = json!({"choices": [{"index": 0, "delta": {"content": "x".repeat(60_000)}, "finish_reason": null}]});
    let pieces = format!("data: {piece}\n\n").repeat(SHARE / 60_000 + 2);
    let upstream = Scripted::start("text/event-stream", &[&pieces, "data: [DONE]\n\n"]).await;
    let rig = beside(&upstream);
    upstream.go_on();
    let answer = rig.client.post("/v1/responses", &streamed(with(response("x"), json!({"model": "scripted"})))).await;
    assert_eq!(answer.status, 200);
    let last = answer.text.rsplit("event: ").next().expect("an event");
    assert!(
        last.starts_with("response.failed\n") && last.contains(SAYS),
        "{}",
        &last[last.len().saturating_sub(900)..]
    );
    let metrics = rig.metrics().await;
    let ended = |outcome| metrics.value("llmrouter_requests_total", &[("outcome", outcome)]);
    assert!(ended("error") > 0.5 && ended("cancelled") < 0.1, "the router broke it off, its client did not leave");
    assert!(metrics.value("llmrouter_breaker_state", &[("upstream", "scripted")]) < 0.1);
    until_given_back(&rig).await;
}

/// Frames are held until one of them says something.
#[tokio::test]
async fn held_frames_count() {
    let delta = json!({"role": "assistant", "content": ""});
    let choices = json!([{"index": 0, "delta": delta, "finish_reason": null}]);
    let role = json!({"choices": choices, "padding": "x".repeat(60_000)});
    let held = format!("data: {role}\n\n");
    let upstream = Scripted::start("text/event-stream", &[&held, "data: [DONE]\n\n"]).await;
    let rig = beside(&upstream);
    let ask = streamed(with(chat("hello"), json!({"model": "scripted"})));
    let mut calls: FuturesUnordered<_> = (0..SHARE / 60_000 + 3).map(|_| rig.client.chat(&ask)).collect();
    check_refused("one more stream", &calls.next().await.expect("an answer"));
    assert!(gauge(&rig, "used_bytes").await > SHARE / 2);
    assert_others_are_served(&rig).await;
    drop(calls);
    until_given_back(&rig).await;
}

/// The results of a batch are held until the last one is there: those that have no room fail alone.
#[tokio::test]
async fn the_results_of_a_batch_count() {
    let upstream = Scripted::start("application/json", &[&completion(SHARE / 10)]).await;
    let rig = beside(&upstream);
    let body = json!({"prompts": vec!["hello"; 12], "model": "scripted", "concurrency": 2});
    let answer = rig.client.post("/v1/generate/batch", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.json()["results"].as_array().cloned().expect("results");
    let refused = results.iter().filter(|result| result["error"]["code"] == "overloaded").count();
    let served = results.iter().filter(|result| result["result"].is_string()).count();
    assert!(served >= 2 && refused >= 2 && served + refused == 12, "{served} served, {refused} refused");
    until_given_back(&rig).await;
    // Line by line nothing has to be held for long.
    let body = with(body, json!({"concurrency": 1}));
    let request = rig.client.json("/v1/generate/batch", &body).header("accept", "application/x-ndjson");
    let answer = Answer::of(request).await;
    assert_eq!(answer.text.lines().filter(|line| line.contains("\"result\"")).count(), 12);
    until_given_back(&rig).await;
}

/// What all entries have in common is copied for each that is under way.
#[tokio::test]
async fn the_entries_of_a_batch_count() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    for face in [Face::RunpodLb, Face::Cerebras] {
        rig.emulator.control(face, Fault::HangBefore);
    }
    let body =
        json!({"prompts": vec!["hello"; 64], "model": "llama", "concurrency": 64, "user": "x".repeat(SHARE / 8)});
    let request = rig.client.json("/v1/generate/batch", &body).header("accept", "application/x-ndjson");
    let mut lines = request.send().await.expect("an answer");
    let line = lines.chunk().await.expect("a body").expect("a line");
    assert!(String::from_utf8_lossy(&line).contains("\"overloaded\""), "{line:?}");
    assert!(gauge(&rig, "used_bytes").await <= SHARE);
    rig.emulator.reset();
    assert_others_are_served(&rig).await;
    drop(lines);
    until_given_back(&rig).await;
}

/// Whatever becomes of requests, nothing stays counted.
#[tokio::test]
async fn every_end_gives_its_memory_back() {
    let rig = launch(&format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}"));
    let long = "x".repeat(20_000);
    let paths = [
        ("/v1/chat/completions", chat(&long)),
        ("/v1/chat/completions", streamed(chat(&long))),
        ("/v1/chat/completions", json!({"model": "nowhere", "messages": [{"role": "user", "content": long}]})),
        ("/v1/chat/completions", json!({"model": 1, "messages": long})),
        ("/v1/generate", json!({"prompt": long, "model": "llama"})),
        ("/v1/generate/stream", json!({"prompt": long, "model": "llama"})),
        ("/v1/generate", json!({"prompts": long})),
        ("/v1/generate/batch", json!({"prompts": vec![long.clone(); 4], "model": "llama"})),
        ("/v1/generate/batch", json!({"prompts": long})),
        ("/v1/route/explain", chat(&long)),
    ];
    for fault in [Fault::None, Fault::Refuse, Fault::Status { code: 400, retry_after: None }] {
        for face in [Face::RunpodLb, Face::Cerebras] {
            rig.emulator.control(face, fault.clone());
        }
        let asked = paths.iter().map(|(path, body)| rig.client.post(path, body));
        let answers = join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.status != 500), "{answers:?}");
        until_given_back(&rig).await;
    }
    let broken = rig.client.request(Method::POST, "/v1/chat/completions").header("content-type", "application/json");
    assert_eq!(Answer::of(broken.body("{")).await.status, 400);
    until_given_back(&rig).await;
}
