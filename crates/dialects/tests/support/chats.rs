//! Answers of a chat, whole and as a stream, made of the same words.

use serde_json::{Value, json};

/// What an assistant answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub(crate) reasoning: String,
    pub(crate) content: String,
    pub(crate) refusal: String,
    /// Ids, names and arguments.
    pub(crate) calls: Vec<(String, String, String)>,
    pub(crate) finish_reason: &'static str,
    pub(crate) stop_reason: Option<String>,
    /// Tokens of the prompt, those of them from a cache, and of the answer.
    pub(crate) usage: Option<(u64, u64, u64)>,
    /// Whether reasoning goes by its older name too.
    pub(crate) has_both_names: bool,
}

impl Said {
    fn usage(&self) -> Value {
        self.usage.map_or(Value::Null, |(prompt, cached, completion)| {
            json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached},
            })
        })
    }

    fn with_reasoning(&self, mut message: Value, reasoning: &str) -> Value {
        message["reasoning"] = reasoning.into();
        if self.has_both_names {
            message["reasoning_content"] = reasoning.into();
        }
        message
    }

    /// The whole answer.
    pub(crate) fn whole(&self) -> String {
        let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let calls = self.calls.iter().map(|(id, name, arguments)| {
            json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
        });
        let message = json!({
            "role": "assistant", "content": text(&self.content), "refusal": text(&self.refusal),
            "tool_calls": calls.collect::<Vec<_>>(),
        });
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "served", "usage": self.usage(), "choices": [{
                "index": 0, "message": self.with_reasoning(message, &self.reasoning), "finish_reason": self.finish_reason,
                "stop_reason": self.stop_reason,
            }],
        })
        .to_string()
    }

    /// The same as the events of a stream. `order` decides which piece comes next and how long it is; it is used again and again.
    pub(crate) fn stream(&self, order: &[u8]) -> Vec<String> {
        let mut order = order.iter().copied().cycle();
        let mut next = || usize::from(order.next().unwrap_or(1));
        let mut left = Left::new(self);
        let mut events = vec![chunk(&json!({"role": "assistant", "content": ""}), &Value::Null)];
        while let Some(mut delta) = left.piece(&mut next) {
            // Some chunks bring more than one thing.
            if next() % 4 == 0
                && let Some(more) = left.piece(&mut next)
            {
                for (name, value) in more.as_object().expect("a delta") {
                    if delta.get(name).is_none() {
                        delta[name] = value.clone();
                    } else {
                        events.push(self.event(&std::mem::replace(&mut delta, more.clone()), next()));
                        break;
                    }
                }
            }
            events.push(self.event(&delta, next()));
        }
        let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": self.finish_reason,
            "stop_reason": self.stop_reason}]});
        events.push(format!("data: {end}\n\n"));
        if self.usage.is_some() {
            events.push(format!("data: {}\n\n", json!({"choices": [], "usage": self.usage()})));
        }
        events.push("data: [DONE]\n\n".to_owned());
        events
    }

    fn event(&self, delta: &Value, way: usize) -> String {
        let mut delta = delta.clone();
        if let Some(reasoning) = delta["reasoning"].as_str().map(str::to_owned) {
            delta = self.with_reasoning(delta, &reasoning);
        }
        delta.as_object_mut().expect("a delta").retain(|_, value| !value.is_null());
        // Now and then the tokens so far are counted in a chunk.
        let usage =
            if way.is_multiple_of(5) { json!({"prompt_tokens": 1, "completion_tokens": 1}) } else { Value::Null };
        let usage = if self.usage.is_some() { usage } else { Value::Null };
        let event = chunk(&delta, &usage);
        match way % 3 {
            0 => event,
            1 => format!(": ping\r\n{}\r\n\r\n", event.trim_end()),
            _ => event.replacen("data: {", "event: x\ndata: {\ndata:", 1),
        }
    }
}

fn chunk(delta: &Value, usage: &Value) -> String {
    let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "usage": usage,
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]});
    format!("data: {chunk}\n\n")
}

/// What has not come yet.
struct Left<'a> {
    said: &'a Said,
    reasoning: &'a str,
    content: &'a str,
    refusal: &'a str,
    /// The arguments of each call, and whether it has begun.
    calls: Vec<(&'a str, bool)>,
}

impl<'a> Left<'a> {
    fn new(said: &'a Said) -> Self {
        let calls = said.calls.iter().map(|(_, _, arguments)| (arguments.as_str(), false)).collect();
        Self { said, reasoning: &said.reasoning, content: &said.content, refusal: &said.refusal, calls }
    }

    /// The next delta: of anything that is left, but a refusal follows the content, and calls begin in their order.
    fn piece(&mut self, next: &mut impl FnMut() -> usize) -> Option<Value> {
        let mut open: Vec<usize> = Vec::new();
        open.extend((!self.reasoning.is_empty()).then_some(0));
        open.extend((!self.content.is_empty()).then_some(1));
        open.extend((self.content.is_empty() && !self.refusal.is_empty()).then_some(2));
        let first_new = self.calls.iter().position(|(_, has_begun)| !has_begun);
        let callable = self
            .calls
            .iter()
            .enumerate()
            .filter(|(at, (left, has_begun))| Some(*at) == first_new || (*has_begun && !left.is_empty()));
        open.extend(callable.map(|(at, _)| 3 + at));
        let which = *open.get(next() % open.len().max(1))?;
        let length = next() % 9 + 1;
        Some(match which {
            0 => json!({"reasoning": cut(&mut self.reasoning, length)}),
            1 => json!({"content": cut(&mut self.content, length)}),
            2 => json!({"refusal": cut(&mut self.refusal, length)}),
            call => {
                let at = call - 3;
                let (left, has_begun) = &mut self.calls[at];
                if std::mem::replace(has_begun, true) {
                    json!({"tool_calls": [{"index": at, "function": {"arguments": cut(left, length)}}]})
                } else {
                    let (id, name, _) = &self.said.calls[at];
                    let arguments = if length > 6 { cut(left, length) } else { "" };
                    json!({"tool_calls": [{"index": at, "id": id, "type": "function",
                        "function": {"name": name, "arguments": arguments}}]})
                }
            }
        })
    }
}

/// Takes so many characters off the front.
fn cut<'a>(text: &mut &'a str, length: usize) -> &'a str {
    let end = text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
    let (piece, rest) = text.split_at(end);
    *text = rest;
    piece
}
