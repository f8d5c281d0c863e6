//! Requests that Cerebras cannot serve as asked, refused before anything is sent so that another upstream can be tried.

use std::borrow::Cow;

use provider::{Error, ErrorKind, Object, Operation, Reader, Request, Value};

/// Most stop sequences.
const MAX_STOPS: usize = 4;

/// Fails if the request asks for what Cerebras does not do.
pub(crate) fn check(request: &Request, model: &str) -> Result<(), Error> {
    if !request.operation.generates() {
        return Err(unsupported(format!("Cerebras does not serve {}", request.operation.as_str())));
    }
    if request.head.n > 1 {
        return Err(blaming("n", "Cerebras answers with one choice"));
    }
    if request.head.has_media {
        return Err(blaming("messages", "Cerebras takes no audio, video or file parts"));
    }
    if matches!(value(request, "stop"), Some(Value::Array(length)) if length > MAX_STOPS) {
        return Err(blaming("stop", "Cerebras takes at most 4 stop sequences"));
    }
    for name in ["guided_regex", "guided_choice", "guided_grammar"] {
        if given(request, name) {
            return Err(blaming(name, "Cerebras can constrain an answer with a JSON schema only"));
        }
    }
    if request.operation == Operation::Completions {
        return completion(request);
    }
    chat(request, model)
}

fn completion(request: &Request) -> Result<(), Error> {
    for name in ["guided_json", "structured_outputs", "response_format"] {
        if given(request, name) {
            return Err(blaming(name, "Cerebras does not constrain completions: use chat completions"));
        }
    }
    Ok(())
}

fn chat(request: &Request, model: &str) -> Result<(), Error> {
    let has_tools = request.head.features.tools;
    for name in ["functions", "function_call"] {
        let value = value(request, name).filter(|value| !value.is_empty());
        if value.is_some_and(|value| !value.text().is_some_and(|text| text.says("none"))) {
            return Err(blaming(name, format!("Cerebras does not take '{name}': use 'tools' and 'tool_choice'")));
        }
    }
    if is_true(request, "continue_final_message") {
        return Err(blaming("continue_final_message", "Cerebras does not continue a message"));
    }
    if !has_tools && given(request, "tool_choice") && !is_idle_choice(request) {
        return Err(blaming("tool_choice", "Cerebras takes 'tool_choice' only with 'tools'"));
    }
    if given(request, "prediction") && (has_tools || is_true(request, "logprobs")) {
        return Err(blaming("prediction", "Cerebras does not combine a prediction with tools or logprobs"));
    }
    if is_gpt_oss(model) && has_tools && has_format(request) {
        return Err(blaming("response_format", "this model does not combine tools with a response format"));
    }
    Ok(())
}

/// Whether `model` is of the family with rules of its own.
pub(crate) fn is_gpt_oss(model: &str) -> bool {
    model.starts_with("gpt-oss")
}

/// Whether the field is there and is not null.
pub(crate) fn given(request: &Request, name: &str) -> bool {
    request.field(name).is_some_and(|value| value != "null")
}

/// What the field says, if it is a string.
pub(crate) fn text<'a>(request: &'a Request, name: &str) -> Option<Cow<'a, str>> {
    Some(value(request, name)?.text()?.decoded())
}

/// The error for what Cerebras cannot do, blaming the field `name`.
pub(crate) fn blaming(name: &str, message: impl Into<String>) -> Error {
    Error { param: Some(name.to_owned()), ..unsupported(message) }
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn value<'a>(request: &'a Request, name: &str) -> Option<Value<'a>> {
    Reader::new(request.field(name)?).value().ok()
}

fn is_true(request: &Request, name: &str) -> bool {
    request.field(name) == Some("true")
}

/// Whether the choice of a tool means nothing where there are none.
fn is_idle_choice(request: &Request) -> bool {
    matches!(text(request, "tool_choice").as_deref(), Some("none" | "auto"))
}

/// Whether the answer must have a format other than plain text.
fn has_format(request: &Request) -> bool {
    let is_plain = |raw: &str| {
        let kind = Object::parse(raw).ok()?.get(raw.as_bytes(), "type").map(Reader::new)?.value().ok()?;
        Some(kind.text()?.says("text"))
    };
    let is_format = request.field("response_format").and_then(is_plain) == Some(false);
    is_format || given(request, "guided_json") || given(request, "structured_outputs")
}
