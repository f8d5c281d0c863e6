//! No key and no prompt appears in the access log, in an error or in a metric.

use std::fs;

use e2e::{
    Answer, BALANCED, CEREBRAS, CLIENT_KEY, Launch, RUNPOD_LB, Rig, UPSTREAM_KEY, chat, eventually, message, response,
    streamed, with,
};
use emulator::{Face, Fault, Settings};
use reqwest::Method;
use serde_json::{Value, json};

/// Stands in every prompt.
const PROMPT: &str = "canary-in-the-prompt";
/// Sent as an unknown key.
const WRONG_KEY: &str = "sk-canary-wrong-key";

async fn everything_that_can_be_said(rig: &Rig) -> Vec<String> {
    let mut texts = Vec::new();
    let bodies = [
        chat(PROMPT),
        with(chat(PROMPT), json!({"model": PROMPT})),
        with(chat(PROMPT), json!({"temperature": 99})),
        with(chat(PROMPT), json!({"max_tokens": -1, "user": PROMPT})),
        json!({"model": "llama", "messages": [{"role": "user", "content": PROMPT}, {"role": "user", "content": 7}]}),
        json!({"model": "llama", "messages": PROMPT}),
    ];
    let faults = [
        Fault::None,
        Fault::Refuse,
        Fault::CutHead,
        Fault::ResetAmid { after_events: 2 },
        Fault::EndAmid { after_events: 2 },
        Fault::Garbage { after_events: 2 },
        Fault::Status { code: 401, retry_after: None },
        Fault::Status { code: 404, retry_after: None },
        Fault::Status { code: 500, retry_after: None },
        Fault::FailedJob { inner_status: 500 },
        Fault::Empty200,
    ];
    for body in &bodies {
        texts.extend(errors(rig, body).await);
    }
    for fault in faults {
        for face in [Face::RunpodLb, Face::Cerebras] {
            rig.emulator.control(face, fault.clone());
        }
        texts.extend(errors(rig, &bodies[0]).await);
        rig.emulator.reset();
    }
    texts.push(rig.client.with_key(WRONG_KEY).chat(&chat(PROMPT)).await.text);
    for key in [WRONG_KEY, CLIENT_KEY] {
        for (path, body) in [("/v1/messages", message(PROMPT)), ("/v1/responses", response(PROMPT))] {
            for more in [json!({"model": PROMPT}), json!({"temperature": 99}), json!({"tools": PROMPT})] {
                let request = rig.client.bare(Method::POST, path).header("x-api-key", key);
                let request = request.header("content-type", "application/json");
                let answer = Answer::of(request.body(with(body.clone(), more).to_string())).await;
                texts.extend([format!("{:?}", answer.headers), answer.text]);
            }
        }
    }
    texts
}

/// All that is said of a request but the answer itself, in which the emulator may repeat the prompt.
async fn errors(rig: &Rig, body: &Value) -> Vec<String> {
    let whole = rig.client.chat(body).await;
    let stream = rig.client.stream(&streamed(body.clone())).await;
    let mut texts = vec![format!("{:?}", whole.headers), format!("{:?}", stream.headers)];
    texts.extend((whole.status != 200).then_some(whole.text));
    texts.extend(stream.errors().iter().map(ToString::to_string));
    if stream.status != 200 {
        texts.extend(stream.events);
    }
    texts
}

#[tokio::test]
async fn no_key_and_no_prompt_is_in_any_output() {
    let log = std::env::temp_dir().join(format!("llm-router-access-{}.log", std::process::id()));
    // Too little time to wait for a repeat.
    let config = format!("{RUNPOD_LB}{CEREBRAS}{BALANCED}deadline_ms = 1200\n");
    let rig = Launch::new(Settings::instant(), &config)
        .env("LLM_ROUTER__LOG__ACCESS", log.to_str().expect("a path in UTF-8"))
        .start();
    let mut told = everything_that_can_be_said(&rig).await;
    assert!(told.len() > 50, "there is something to look at");
    let metrics = rig.admin.get("/metrics").await.text;
    let emulator = rig.emulator.addr().to_string();
    drop(rig);
    let lines = eventually("the access log is written", async || {
        fs::read_to_string(&log).ok().filter(|text| text.lines().count() > 30)
    })
    .await;
    drop(fs::remove_file(&log));
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
        assert!(line["request_id"].is_string() && line["outcome"].is_string(), "{line}");
    }
    // An error may repeat the name of a model to its client, but nothing else may.
    for text in &mut told {
        *text = text.replace(&format!("the model \\\"{PROMPT}\\\" does not exist"), "");
    }
    told.extend([metrics, lines]);
    for text in &told {
        for canary in [PROMPT, CLIENT_KEY, UPSTREAM_KEY, WRONG_KEY, emulator.as_str(), "127.0.0.1"] {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
}
