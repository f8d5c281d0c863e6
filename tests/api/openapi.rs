//! The OpenAPI documents against the routes as they are registered, the errors as they are made, and a running demo.

use std::{collections::BTreeSet, fs, path::Path};

use e2e::{Answer, Client, Rig};
use emulator::Settings;
use reqwest::Method;
use serde_json::Value;

/// A method and a path.
type Call = (String, String);

fn demo() -> Rig {
    Rig::demo(Settings::instant())
}

async fn document(listener: &Client) -> Value {
    let answer = Answer::of(listener.bare(Method::GET, "/openapi.json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Every call of a document, with its description.
fn calls(document: &Value) -> Vec<(Call, &Value)> {
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, call) in item.as_object().expect("a path's calls") {
            calls.push(((method.to_uppercase(), path.clone()), call));
        }
    }
    calls
}

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/src").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every call that a table of endpoints registers: the constructor says the method. `HEAD` goes with `GET`, unlisted.
fn registered(source: &str) -> BTreeSet<Call> {
    let read = |endpoint: &str| {
        let method = match endpoint.split('(').next().unwrap_or_default() {
            "get" => "GET",
            "post" => "POST",
            other => panic!("Endpoint::{other}: make an endpoint with get or post, so that it can be read here"),
        };
        let path = endpoint.split('"').nth(1).expect("a path");
        (method.to_owned(), path.replace(":.*}", "}"))
    };
    source.split("Endpoint::").skip(1).map(read).collect()
}

#[tokio::test]
async fn the_documents_list_the_routes_that_are_registered() {
    let rig = demo();
    for (listener, file) in [(&rig.client, "api.rs"), (&rig.admin, "admin.rs")] {
        let document = document(listener).await;
        let documented: BTreeSet<Call> = calls(&document).into_iter().map(|(call, _)| call).collect();
        assert_eq!(documented, registered(&source(file)), "left: /openapi.json, right: {file}");
        assert!(documented.len() > 3, "{documented:?}");
    }
}

#[test]
fn routes_are_registered_in_two_places_only() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/src")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_list = text.contains("const ENDPOINTS: [Endpoint; ");
            seen += usize::from(is_list);
            let other = [".route(\"", "web::scope", "#[get(", "#[post("].into_iter().find(|how| text.contains(how));
            assert_eq!(other, None, "{}: a route that the test above does not see", path.display());
            let is_register = path.ends_with("api/endpoint.rs");
            let others = if is_register { &[][..] } else { &[".service(", "web::resource(", "Endpoint::get("][..] };
            let other = others.iter().find(|how| !is_list && text.contains(**how));
            assert_eq!(other, None, "{}: endpoints belong into the tables of api.rs and admin.rs", path.display());
        }
    }
    assert_eq!(seen, 2, "api.rs and admin.rs");
}

#[tokio::test]
async fn every_documented_call_is_served() {
    let rig = demo();
    for listener in [&rig.client, &rig.admin] {
        for ((method, path), _) in calls(&document(listener).await) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = Answer::of(listener.request(method.clone(), &path.replace("{name}", "task/chat"))).await;
            assert!(![404, 405].contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text);
        }
    }
}

#[tokio::test]
async fn the_examples_work() {
    let rig = demo();
    let document = document(&rig.client).await;
    let mut sent = 0;
    for ((_, path), call) in calls(&document) {
        let Some(examples) = call["requestBody"]["content"]["application/json"]["examples"].as_object() else {
            continue;
        };
        for (name, example) in examples {
            let answer = rig.client.post(&path, &example["value"]).await;
            sent += 1;
            assert_eq!(answer.status, 200, "{path}, {name}: {}", answer.text);
            let content = call["responses"]["200"]["content"].as_object().unwrap();
            let kind = answer.header("content-type").split(';').next().unwrap_or_default();
            assert!(content.contains_key(kind), "{path}, {name}: {kind}");
        }
    }
    assert!(sent > 10, "{sent} examples");
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_documents_are_whole() {
    let rig = demo();
    for listener in [&rig.client, &rig.admin] {
        let document = document(listener).await;
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in &found {
            let target = document.pointer(reference.trim_start_matches('#'));
            assert!(target.is_some(), "{reference} leads nowhere");
        }
        let used: BTreeSet<_> = found.iter().filter_map(|reference| reference.rsplit('/').next()).collect();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let unused: Vec<_> = schemas.keys().filter(|name| !used.contains(name.as_str())).collect();
        assert!(unused.is_empty(), "nothing refers to {unused:?}");
        let calls = calls(&document);
        let ids: BTreeSet<_> = calls.iter().map(|(_, call)| call["operationId"].as_str().expect("an id")).collect();
        assert_eq!(ids.len(), calls.len(), "{ids:?}");
        for ((method, path), call) in calls {
            assert!(call["summary"].is_string() && call["description"].is_string(), "{method} {path}");
            assert!(call["responses"]["200"].is_object(), "{method} {path}");
            let is_open = call["security"].as_array().is_some_and(Vec::is_empty);
            let refuses = ["401", "403"].iter().any(|status| call["responses"][status].is_object());
            assert!(is_open != refuses, "{method} {path}: whoever needs a key may be refused");
        }
    }
}

#[tokio::test]
async fn every_error_code_is_in_the_documents() {
    let rig = demo();
    let told = format!("{}{}", document(&rig.client).await, document(&rig.admin).await);
    let source = source("error.rs") + &source("error/unserved.rs") + &source("error/wishes.rs");
    let is_code =
        |word: &&str| word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let codes: BTreeSet<&str> = source.split('"').filter(is_code).collect();
    assert!(codes.len() > 25, "{codes:?}");
    let is_told = |code: &str| [format!("\"{code}\""), format!("`{code}`")].iter().any(|shown| told.contains(shown));
    let missing: Vec<_> = codes.iter().filter(|code| !is_told(code)).collect();
    assert!(missing.is_empty(), "the documents say nothing of {missing:?}");
}
