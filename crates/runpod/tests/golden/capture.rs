//! One recorded request with its answer.

use std::{collections::BTreeMap, fs, path::PathBuf};

use bytes::Bytes;
use provider::{InvalidRequest, Limits, Operation, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::Answer;

/// A file of the recording.
#[derive(Deserialize)]
pub(crate) struct Capture {
    request: Recorded,
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    reads: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Recorded {
    path: String,
    body: Value,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../openai/tests/fixtures/vllm-0.27.1")
}

/// The names of all recordings, sorted.
pub(crate) fn names() -> Vec<String> {
    let files = fs::read_dir(folder()).expect("the recordings");
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.expect("a file").file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

impl Capture {
    pub(crate) fn load(name: &str) -> Self {
        let text = fs::read_to_string(folder().join(format!("{name}.json"))).expect("a recording");
        serde_json::from_str(&text).expect("a readable recording")
    }

    pub(crate) fn answer(&self) -> Answer {
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Answer { status: self.status, headers, reads: self.reads() }
    }

    /// The pieces of the answer; a whole answer is one.
    pub(crate) fn reads(&self) -> Vec<String> {
        self.reads.clone().unwrap_or_else(|| vec![self.body()])
    }

    pub(crate) fn body(&self) -> String {
        self.body.clone().unwrap_or_default()
    }

    /// The recorded request, if the router's own checks accept it.
    pub(crate) fn request(&self) -> Result<Request, InvalidRequest> {
        let operation = match self.request.path.as_str() {
            "/v1/completions" => Operation::Completions,
            "/v1/embeddings" => Operation::Embeddings,
            _ => Operation::Chat,
        };
        let body = match &self.request.body {
            Value::String(text) if text.ends_with("bytes)") => uncut(text),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Request::parse(operation, Bytes::from(body), Limits { max_messages: 100 })
    }
}

/// The body that the recorder cut: long because of its nesting, or because of its words.
fn uncut(text: &str) -> String {
    if text.contains("[[[") {
        return format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(2_000), "]".repeat(2_000));
    }
    json!({"model": "m", "messages": [{"role": "user", "content": "word ".repeat(3_000)}]}).to_string()
}

/// A valid request, sent where the recorded one cannot be. It has a limit of its own, so that none is added.
pub(crate) fn harmless(stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": "x"}]);
    let body = json!({"model": "m", "messages": messages, "max_tokens": 9, "stream": stream});
    let body = Bytes::from(body.to_string());
    Request::parse(Operation::Chat, body, Limits { max_messages: 1 }).expect("a valid request")
}
