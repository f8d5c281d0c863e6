//! Requests that Cerebras cannot serve as asked, refused before anything is sent so that another upstream can be tried.

use provider::{Error, ErrorKind, Nested, Operation, Request};
use serde_json::Value;

/// Most stop sequences.
const MAX_STOPS: usize = 4;

/// Fails if the request asks for what Cerebras does not do.
pub(crate) fn check(request: &Request, model: &str) -> Result<(), Error> {
    if request.operation == Operation::Embeddings {
        return Err(unsupported("Cerebras does not serve embeddings"));
    }
    if request.head.choices > 1 {
        return Err(blaming("n", "Cerebras answers with one choice"));
    }
    if request.head.features.images {
        return Err(blaming("messages", "the models at Cerebras do not take images"));
    }
    if request.head.nested.contains(&Nested::FunctionRole) {
        return Err(blaming("messages", "Cerebras does not take messages of the role function"));
    }
    if request.field("stop").and_then(list_length).is_some_and(|length| length > MAX_STOPS) {
        return Err(blaming("stop", "Cerebras takes at most 4 stop sequences"));
    }
    for name in ["guided_regex", "guided_choice", "guided_grammar"] {
        if given(request, name) {
            return Err(blaming(name, "Cerebras can constrain an answer with a JSON schema only"));
        }
    }
    if request.operation == Operation::Completions {
        for name in ["guided_json", "structured_outputs", "response_format"] {
            if given(request, name) {
                return Err(blaming(name, "Cerebras does not constrain completions: use chat completions"));
            }
        }
    }
    if given(request, "prediction") && (request.head.features.tools || is_true(request, "logprobs")) {
        return Err(blaming("prediction", "Cerebras does not combine a prediction with tools or logprobs"));
    }
    if is_gpt_oss(model) && request.head.features.tools && has_format(request) {
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

/// The error for what Cerebras cannot do, blaming the field `name`.
pub(crate) fn blaming(name: &str, message: &str) -> Error {
    Error { param: Some(name.to_owned()), ..unsupported(message) }
}

fn unsupported(message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn is_true(request: &Request, name: &str) -> bool {
    request.field(name) == Some("true")
}

fn list_length(raw: &str) -> Option<usize> {
    serde_json::from_str::<Vec<Value>>(raw).ok().map(|list| list.len())
}

/// Whether the answer must have a format other than plain text.
fn has_format(request: &Request) -> bool {
    let format = request.field("response_format").and_then(|raw| serde_json::from_str::<Value>(raw).ok());
    let is_format = format.is_some_and(|format| format["type"].as_str().is_some_and(|kind| kind != "text"));
    is_format || given(request, "guided_json") || given(request, "structured_outputs")
}
