//! The short form of a request, `{"prompt": "…"}`, made into a chat.

use bytes::Bytes;
use provider::{InvalidRequest, Limits, Operation, Request, tree};
use serde_json::{Map, Value, json};

/// Sent where the client names no limit.
const MAX_TOKENS: u64 = 500;
/// Sent where the client names none.
const TEMPERATURE: f64 = 0.7;

/// A prompt, or messages, with their options.
pub(crate) struct Prompt(Map<String, Value>);

impl Prompt {
    /// Reads a body.
    pub(crate) fn parse(body: &Bytes) -> Result<Self, InvalidRequest> {
        if body.trim_ascii().is_empty() {
            return Err(InvalidRequest::body("the body is empty: send a JSON object such as {\"prompt\": \"…\"}"));
        }
        let text = str::from_utf8(body).map_err(|_| InvalidRequest::body("the body is not valid UTF-8"))?;
        match tree(text) {
            Ok(Value::Object(fields)) => Ok(Self::new(fields)),
            Ok(_) => Err(InvalidRequest::body("the body is not a JSON object: send one such as {\"prompt\": \"…\"}")),
            Err(error) => Err(InvalidRequest::body(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// Of fields that were read already. A field of null is as if it were not there.
    pub(crate) fn new(mut fields: Map<String, Value>) -> Self {
        fields.retain(|_, value| !value.is_null());
        Self(fields)
    }

    /// What is left of it.
    pub(crate) fn into_fields(self) -> Map<String, Value> {
        self.0
    }

    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Takes a field out that must be a text.
    pub(crate) fn take_text(&mut self, name: &'static str) -> Result<Option<String>, InvalidRequest> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(InvalidRequest::field(name, format!("'{name}' must be a string"))),
        }
    }

    /// The chat that it stands for; `model` only fills the field that every chat has.
    pub(crate) fn into_chat(mut self, model: &str, stream: bool, limits: Limits) -> Result<Request, InvalidRequest> {
        let messages = match (self.0.remove("prompt"), self.0.remove("messages")) {
            (Some(_), Some(_)) => {
                return Err(InvalidRequest::field("prompt", "'prompt' and 'messages' exclude each other: send one"));
            }
            (None, None) => {
                return Err(InvalidRequest::field(
                    "prompt",
                    "'prompt' is required: a string, or 'messages' in its place",
                ));
            }
            (Some(Value::String(prompt)), None) if prompt.trim().is_empty() => {
                return Err(InvalidRequest::field("prompt", "'prompt' is empty: say what to answer"));
            }
            (Some(Value::String(prompt)), None) => json!([{"role": "user", "content": prompt}]),
            (Some(_), None) => return Err(InvalidRequest::field("prompt", "'prompt' must be a string")),
            (None, Some(messages)) => messages,
        };
        if !stream && self.0.get("stream").is_some_and(|stream| *stream != Value::Bool(false)) {
            let message = "'stream' is not for this path: use /v1/generate/stream, or leave it out";
            return Err(InvalidRequest::field("stream", message));
        }
        if self.0.get("n").is_some_and(|n| n.as_u64() != Some(1)) {
            return Err(InvalidRequest::field("n", "'n' must be 1 here: /v1/chat/completions gives several answers"));
        }
        self.0.insert("messages".to_owned(), messages);
        self.0.insert("model".to_owned(), model.into());
        self.0.remove("stream");
        self.0.remove("stream_options");
        if stream {
            self.0.insert("stream".to_owned(), true.into());
        }
        if !self.0.contains_key("max_tokens") && !self.0.contains_key("max_completion_tokens") {
            self.0.insert("max_tokens".to_owned(), MAX_TOKENS.into());
        }
        self.0.entry("temperature").or_insert_with(|| TEMPERATURE.into());
        let body = Value::Object(self.0).to_string();
        Request::parse(Operation::Chat, body.into(), limits)
    }
}
