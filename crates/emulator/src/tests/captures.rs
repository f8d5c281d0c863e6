//! Every recorded request of a real vLLM put to the emulator: the status must be the same, a refusal the same word for
//! word, an answer of the same shape.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{MODEL, client, read};
use crate::{Emulator, RunpodSettings, Settings};

/// Served by the recorded server, but by no face here.
const NOT_SERVED: [&str; 3] = ["responses", "version", "health"];
/// Refused there with a message of the parser, of which only the surrounding text is imitated.
const OTHER_WORDS: [&str; 2] = ["err-not-json", "err-response-format"];

#[tokio::test]
async fn the_emulator_answers_as_the_recorded_server_did() {
    let runpod_lb = RunpodSettings {
        context: 2048,
        models: vec![MODEL.into()],
        embedding_models: Vec::new(),
        audio_models: Vec::new(),
        ..RunpodSettings::default()
    };
    let emulator = Emulator::start(Settings { runpod_lb, ..Settings::instant() }).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let mut replayed = 0;
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let capture: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let Some(body) = body(&name, &capture["request"]["body"]) else { continue };
        let url = format!("{}/lb{}", emulator.url(), capture["request"]["path"].as_str().unwrap());
        let kind =
            if name == "err-form-content-type" { "application/x-www-form-urlencoded" } else { "application/json" };
        let request = match capture["request"]["method"].as_str() {
            Some("GET") => client().get(url),
            _ => client().post(url).header("content-type", kind).body(body),
        };
        let (status, answer) = read(request.bearer_auth("key")).await;
        assert_eq!(status, capture["status"], "{name}: {answer}");
        compare(&name, &answer, &capture);
        replayed += 1;
    }
    assert!(replayed > 55, "{replayed}");
}

/// The request as it was sent. Long ones were cut in the recording and are made again.
fn body(name: &str, recorded: &Value) -> Option<String> {
    if NOT_SERVED.contains(&name) {
        return None;
    }
    let chat = |more: &str| {
        let text = "word ".repeat(3000);
        format!(
            "{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}],\"max_tokens\":12{more}}}"
        )
    };
    Some(match (name, recorded) {
        ("err-context-overflow", _) => chat(""),
        ("err-context-overflow-stream", _) => chat(",\"stream\":true"),
        ("err-deep-nesting", _) => format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(2000), "]".repeat(2000)),
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    })
}

fn compare(name: &str, answer: &Value, capture: &Value) {
    if let Some(reads) = capture["reads"].as_array() {
        return compare_events(name, answer.as_str().unwrap(), reads);
    }
    let text = capture["body"].as_str().unwrap();
    let recorded: Value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    if OTHER_WORDS.contains(&name) {
        assert_eq!(answer["error"]["type"], recorded["error"]["type"], "{name}");
        return;
    }
    if capture["status"] != 200 {
        assert_eq!(*answer, recorded, "{name}");
        return;
    }
    assert_eq!(shape(answer), shape(&recorded), "{name}");
}

/// The first event, the last piece, the finish, the usage and the end are alike; in between are as many pieces as there
/// are words.
fn compare_events(name: &str, answer: &str, reads: &[Value]) {
    let ours: Vec<Value> = answer.split("\n\n").filter(|event| !event.is_empty()).map(parse).collect();
    let theirs: Vec<Value> = reads.iter().map(|read| parse(read.as_str().unwrap().trim_end())).collect();
    assert_eq!(shape(&ours[0]), shape(&theirs[0]), "{name}");
    for (ours, theirs) in ours.iter().rev().zip(theirs.iter().rev()).take(3) {
        if ours["choices"][0]["finish_reason"] == theirs["choices"][0]["finish_reason"] {
            assert_eq!(shape(ours), shape(theirs), "{name}");
        }
    }
    assert_eq!(ours.last(), theirs.last(), "{name}");
}

fn parse(event: &str) -> Value {
    let data = event.strip_prefix("data: ").unwrap();
    serde_json::from_str(data).unwrap_or_else(|_| Value::from(data))
}

/// The paths of all fields, leaving out what only a request for log probabilities adds.
fn shape(value: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    collect(value, "", &mut paths);
    paths
}

fn collect(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                paths.insert(path.clone());
                if name != "logprobs" {
                    collect(value, &path, paths);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(item, path, paths);
            }
        }
        _ => {}
    }
}
