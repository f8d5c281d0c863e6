//! Whole answers: their validation, and their conversion where a stream was asked for.

use bytes::Bytes;
use provider::{Call, Error, Frame, FrameKind, Object, Operation, ReasoningField, Request, Rewrite, tree};
use serde_json::{Map, Value, json};

use crate::{
    blame::{self, Signal, protocol},
    classify::Dialect,
    mark, passthrough,
    peek::Peek,
};

/// What of a request decides how its answer is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    pub(crate) include_usage: bool,
    pub(crate) choices: u64,
    pub(crate) reasoning: ReasoningField,
    /// Whether the answer says of itself that it is plain text.
    pub(crate) is_text: bool,
}

impl Asked {
    pub(crate) fn of(request: &Request, call: &Call) -> Self {
        let head = &request.head;
        let (include_usage, choices) = (head.include_usage, head.choices());
        Self { operation: request.operation, include_usage, choices, reasoning: call.reasoning, is_text: false }
    }
}

/// A whole answer, if the body is one: success is the presence of what was asked for, never the status alone.
pub(crate) fn whole(body: &Bytes, asked: Asked, dialect: &dyn Dialect) -> Result<Frame, Error> {
    let body = body.slice_ref(mark::without(body));
    let text = str::from_utf8(&body).map_err(|_| protocol("the upstream's answer is not UTF-8"))?;
    if asked.operation.is_passthrough() {
        return passthrough::whole(&body, text, asked, dialect);
    }
    let Ok(mut peek) = Peek::at(text, dialect) else { return Err(no_json(&body, text, asked, dialect)) };
    let found = match asked.operation {
        Operation::Chat | Operation::Completions => peek.choices,
        Operation::Embeddings => peek.embeddings,
        Operation::Rerank
        | Operation::Score
        | Operation::Transcriptions
        | Operation::Tokenize
        | Operation::Detokenize => None,
    };
    if peek.is_error || found.is_none_or(|count| count == 0) {
        return Err(dialect.in_band(&body, Some(asked.operation)));
    }
    let usage = peek.usage;
    peek.keep_reasoning(asked.reasoning);
    let bytes = if peek.is_changed() { rewritten(text, &peek) } else { None };
    Ok(Frame { bytes: bytes.unwrap_or(body), kind: FrameKind::Whole, usage })
}

/// What it means that an answer is not JSON.
pub(crate) fn no_json(body: &[u8], text: &str, asked: Asked, dialect: &dyn Dialect) -> Error {
    let start = text.trim_start();
    if start.is_empty() || start.starts_with('<') {
        return dialect.in_band(body, Some(asked.operation));
    }
    if start.starts_with("data:") || start.starts_with("event:") {
        let message = "the upstream answered with a stream where a whole answer was asked for";
        return blame::error(&Signal::OtherKind, message);
    }
    protocol("the upstream's answer is not valid JSON")
}

/// The answer with its finish reasons in OpenAI's words, and its reasoning where it belongs.
fn rewritten(text: &str, peek: &Peek) -> Option<Bytes> {
    let object = Object::of_answer(text).ok()?;
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    peek.write(text, &mut rewrite);
    Some(rewrite.finish())
}

/// The frames of a stream that says what the whole answer `body` says.
///
/// # Errors
/// If it is no answer, or cannot be turned into a stream. The latter says nothing about the upstream's health.
pub(crate) fn as_stream(body: &Bytes, asked: Asked, dialect: &dyn Dialect) -> Result<Vec<Frame>, Error> {
    let frame = whole(body, asked, dialect)?;
    let answer = str::from_utf8(&frame.bytes).ok().and_then(|text| tree(text).ok());
    let pieces = answer.and_then(|answer| pieces(answer, asked));
    let Some(Pieces { content, finish, usage }) = pieces else {
        let message = "the upstream answered a request for a stream with a whole answer that cannot be made into one";
        return Err(blame::error(&Signal::OtherKind, message));
    };
    let mut frames = vec![
        Frame { bytes: event(&content), kind: FrameKind::Content, usage: None },
        Frame { bytes: event(&finish), kind: FrameKind::Finish, usage: None },
    ];
    let bytes = usage.map(|usage| event(&usage)).unwrap_or_default();
    frames.push(Frame { bytes, kind: FrameKind::Usage, usage: frame.usage });
    frames.push(Frame::done());
    Ok(frames)
}

/// The events of a stream made from a whole answer.
struct Pieces {
    content: Value,
    finish: Value,
    usage: Option<Value>,
}

/// The first event has everything, the others only the fields that identify the answer: an answer may have members of many megabytes.
fn pieces(answer: Value, asked: Asked) -> Option<Pieces> {
    const IN_EACH: [&str; 6] = ["id", "object", "created", "model", "system_fingerprint", "service_tier"];
    let Value::Object(mut answer) = answer else { return None };
    let Some(Value::Array(choices)) = answer.remove("choices") else { return None };
    // Named twice, and no client reads the one that had some.
    if choices.is_empty() {
        return None;
    }
    let usage = answer.remove("usage").filter(|_| asked.include_usage);
    if asked.operation == Operation::Chat {
        answer.insert("object".to_owned(), "chat.completion.chunk".into());
    }
    let shared = answer.iter().filter(|(name, _)| IN_EACH.contains(&name.as_str()));
    let shared: Map<String, Value> = shared.map(|(name, value)| (name.clone(), value.clone())).collect();
    let with = |mut chunk: Map<String, Value>, choices: Vec<Value>| {
        chunk.insert("choices".to_owned(), choices.into());
        Value::Object(chunk)
    };
    let (content, finish) = choices
        .into_iter()
        .enumerate()
        .map(|(at, choice)| split(at, choice, asked))
        .collect::<Option<(Vec<_>, Vec<_>)>>()?;
    let usage = usage.map(|usage| {
        let mut chunk = with(shared.clone(), Vec::new());
        chunk["usage"] = usage;
        chunk
    });
    Some(Pieces { content: with(answer, content), finish: with(shared, finish), usage })
}

/// A choice in two: what it says, and how it ends.
fn split(at: usize, choice: Value, asked: Asked) -> Option<(Value, Value)> {
    let Value::Object(mut choice) = choice else { return None };
    choice.entry("index").or_insert_with(|| at.into());
    let reason = choice.insert("finish_reason".to_owned(), Value::Null);
    let reason = reason.filter(|reason| reason.as_str().is_some_and(|reason| !reason.is_empty()));
    let mut end = json!({"index": choice["index"], "finish_reason": reason.unwrap_or_else(|| "stop".into())});
    if asked.operation == Operation::Completions {
        choice.get("text").filter(|text| text.is_string())?;
        end["text"] = "".into();
        return Some((Value::Object(choice), end));
    }
    let Some(Value::Object(mut delta)) = choice.remove("message") else { return None };
    if let Some(Value::Array(calls)) = delta.get_mut("tool_calls") {
        for (at, call) in calls.iter_mut().enumerate() {
            call.as_object_mut()?.entry("index").or_insert_with(|| at.into());
        }
    }
    choice.insert("delta".to_owned(), delta.into());
    end["delta"] = json!({});
    Some((Value::Object(choice), end))
}

fn event(chunk: &Value) -> Bytes {
    Bytes::from(format!("data: {chunk}\n\n"))
}

#[cfg(test)]
mod tests;
