//! The short form of a request, `{"prompt": "…"}`, made into a chat.
//!
//! Values are kept as they are written and copied once, into the chat: no tree is built of what a client sends.

use std::borrow::Cow;

use provider::{InvalidRequest, Limits, Operation, Reader, Request, RequestBody, Value, whole_characters};

/// Sent where the client names no limit.
const MAX_TOKENS: &str = "500";
/// Sent where the client names none.
const TEMPERATURE: &str = "0.7";

/// A prompt, or messages, with their options: names, and values as they are written.
#[derive(Default)]
pub(crate) struct Prompt<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Prompt<'a> {
    /// Reads a body.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        let mut body = RequestBody::parse(body)?;
        let mut prompt = Self::default();
        while body.next_field()?.is_some() {
            let raw = body.raw()?;
            prompt.add(body.field.decoded(), raw);
        }
        Ok(prompt)
    }

    /// Adds a field. One of null is as if it were not there.
    pub(crate) fn add(&mut self, name: impl Into<Cow<'a, str>>, raw: &'a str) {
        if raw != "null" {
            self.0.push((name.into(), raw));
        }
    }

    /// The names of its fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Takes a field out that must be a text.
    pub(crate) fn take_text(&mut self, name: &'static str) -> Result<Option<Cow<'a, str>>, InvalidRequest> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        match Reader::new(raw).value() {
            Ok(Value::Text(text)) => Ok(Some(text.decoded())),
            _ => Err(InvalidRequest::field(name, format!("'{name}' must be a string"))),
        }
    }

    /// The chat that it stands for; `model` only fills the field that every chat has.
    pub(crate) fn into_chat(mut self, model: &str, stream: bool, limits: Limits) -> Result<Request, InvalidRequest> {
        let messages = match (self.take("prompt"), self.take("messages")) {
            (Some(_), Some(_)) => {
                return Err(InvalidRequest::field("prompt", "'prompt' and 'messages' exclude each other: send one"));
            }
            (None, None) => {
                return Err(InvalidRequest::field(
                    "prompt",
                    "'prompt' is required: a string, or 'messages' in its place",
                ));
            }
            (Some(prompt), None) => {
                check_text(prompt)?;
                ["[{\"role\":\"user\",\"content\":", prompt, "}]"]
            }
            (None, Some(messages)) => ["", messages, ""],
        };
        if self.take("stream").is_some_and(|given| !stream && given != "false") {
            let message = "'stream' is not for this path: use /v1/generate/stream, or leave it out";
            return Err(InvalidRequest::field("stream", message));
        }
        let n = self.get("n").map(|raw| Reader::new(raw).value());
        if n.is_some_and(|n| n.ok().and_then(|n| n.count()) != Some(1)) {
            return Err(InvalidRequest::field("n", "'n' must be 1 here: /v1/chat/completions gives several answers"));
        }
        self.take("stream_options");
        if stream {
            self.add("stream", "true");
        }
        if self.get("max_tokens").or_else(|| self.get("max_completion_tokens")).is_none() {
            self.add("max_tokens", MAX_TOKENS);
        }
        if self.get("temperature").is_none() {
            self.add("temperature", TEMPERATURE);
        }
        Request::parse(Operation::Chat, self.written(model, messages).into(), limits)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, raw)| *raw)
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        let at = self.names().position(|own| own == name)?;
        Some(self.0.remove(at).1)
    }

    /// The body of the chat with these messages, given in pieces.
    fn written(&self, model: &str, messages: [&str; 3]) -> String {
        let room = self.0.iter().map(|(name, raw)| name.len() + raw.len() + 8).sum::<usize>();
        let messages_bytes = messages.iter().map(|piece| piece.len()).sum::<usize>();
        let mut out = String::with_capacity(room + messages_bytes + model.len() + 64);
        out.push_str("{\"model\":");
        out.push_str(&quoted(model));
        out.push_str(",\"messages\":");
        for piece in messages {
            out.push_str(&whole_characters(piece));
        }
        for (name, raw) in &self.0 {
            out.push(',');
            out.push_str(&quoted(name));
            out.push(':');
            out.push_str(&whole_characters(raw));
        }
        out.push('}');
        out
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Fails unless `raw` is a string that is not blank.
fn check_text(raw: &str) -> Result<(), InvalidRequest> {
    let Ok(Value::Text(text)) = Reader::new(raw).value() else {
        return Err(InvalidRequest::field("prompt", "'prompt' must be a string"));
    };
    if text.decoded().trim().is_empty() {
        return Err(InvalidRequest::field("prompt", "'prompt' is empty: say what to answer"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
