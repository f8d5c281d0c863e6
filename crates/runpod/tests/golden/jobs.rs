//! What vLLM refused, as a queue endpoint reports it: the worker states the error as Python writes a dictionary, and
//! the endpoint answers the failed job with HTTP 500 or with HTTP 200.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::server::Answer;

/// All the ways in which a queue endpoint may report the refusal `body` with `status`.
pub(crate) fn presentations(status: u16, body: &str) -> Vec<(&'static str, Answer)> {
    let quoted = format!("vLLM returned HTTP {status}: {body}");
    let stated = python(&[("message", json!(quoted)), ("type", json!("worker_error")), ("code", Value::Null)]);
    let mut all = vec![
        ("500, error only", Answer::json(500, json!({"error": stated}).to_string())),
        ("500, job", Answer::json(500, job(&stated))),
        ("200, job", Answer::json(200, job(&stated))),
        (
            "200, error object",
            Answer::json(200, json!({"error": {"message": quoted, "type": "worker_error"}}).to_string()),
        ),
    ];
    let inner: Value = serde_json::from_str(body).expect("a JSON refusal");
    if let Some(error) = inner["error"].as_object() {
        let fields = ["message", "type", "param", "code"].map(|name| (name, error[name].clone()));
        let stated = python(&fields);
        all.push(("500, older worker", Answer::json(500, json!({"error": stated}).to_string())));
        all.push(("200, older worker", Answer::json(200, job(&stated))));
        all.push(("200, oldest worker", Answer::json(200, error_object(error))));
    }
    all
}

fn job(error: &str) -> String {
    json!({"id": "sync-1-u1", "status": "FAILED", "delayTime": 8, "executionTime": 3, "error": error}).to_string()
}

fn error_object(error: &serde_json::Map<String, Value>) -> String {
    let mut flat = error.clone();
    flat.insert("object".to_owned(), json!("error"));
    Value::Object(flat).to_string()
}

/// `str()` of a dictionary of strings, numbers and nothing.
fn python(fields: &[(&str, Value)]) -> String {
    let entries: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("'{name}': {}", repr(text)),
            Value::Null => format!("'{name}': None"),
            other => format!("'{name}': {other}"),
        })
        .collect();
    format!("{{{}}}", entries.join(", "))
}

/// `repr()` of a string: single quotes, unless that alone avoids escapes.
fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_ascii_control() => {
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}
