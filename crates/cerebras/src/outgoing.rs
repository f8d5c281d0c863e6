//! The body for Cerebras, made of the client's by the rules of [`crate::fields`].

use bytes::Bytes;
use openai::{Served, prepare};
use provider::{Error, Nested, Operation, ReplyHead, Request, Rewrite};
use serde_json::{Map, Value};

use crate::{
    exclude::{blaming, given, is_gpt_oss},
    fields::{Rule, rule},
};

/// The body to send and what to say of it. The field `without` is left out whatever the rules say.
pub(crate) fn body(
    request: &Request,
    served: &Served,
    model: &str,
    without: Option<&str>,
) -> Result<(Bytes, ReplyHead), Error> {
    let mut head = ReplyHead::default();
    let mut rewrite = prepare(request, served, &mut head);
    for name in request.fields() {
        let is_null = request.field(name) == Some("null");
        match rule(request.operation, name) {
            Rule::Rewritten => {}
            Rule::Pass if without != Some(name) && !is_null => {}
            Rule::Omit => drop(rewrite.remove(name)),
            Rule::Pass | Rule::Drop => {
                rewrite.remove(name);
                if !is_null {
                    head.dropped_params.push(name.to_owned());
                }
            }
        }
    }
    limit(request, &mut rewrite);
    if request.operation == Operation::Chat {
        effort(request, model, &mut rewrite, &mut head);
        schema(request, &mut rewrite, &mut head)?;
        messages(request, &mut rewrite);
    }
    Ok((rewrite.finish(), head))
}

/// Sends one limit, under the one name that is taken: in a chat, the pair is refused.
fn limit(request: &Request, rewrite: &mut Rewrite<'_>) {
    let (taken, other) = match request.operation {
        Operation::Chat => ("max_completion_tokens", "max_tokens"),
        Operation::Completions | Operation::Embeddings => ("max_tokens", "max_completion_tokens"),
    };
    if given(request, taken) || !given(request, other) {
        rewrite.remove(other);
        return;
    }
    rewrite.remove(taken).rename(other, taken);
}

/// Moves an effort that is not known there to the nearest that is.
fn effort(request: &Request, model: &str, rewrite: &mut Rewrite<'_>, head: &mut ReplyHead) {
    let nearest = match request.field("reasoning_effort") {
        Some("null") => {
            rewrite.remove("reasoning_effort");
            return;
        }
        Some("\"none\"") if is_gpt_oss(model) => "low",
        Some("\"minimal\"") => "low",
        Some("\"xhigh\"" | "\"max\"") => "high",
        _ => return,
    };
    rewrite.set("reasoning_effort", format!("\"{nearest}\""));
    head.injected_params.push(format!("reasoning_effort={nearest}"));
}

/// Turns vLLM's constraints into a response format, if they are a JSON schema.
fn schema(request: &Request, rewrite: &mut Rewrite<'_>, head: &mut ReplyHead) -> Result<(), Error> {
    rewrite.remove("guided_json").remove("structured_outputs");
    let (name, schema) = if given(request, "structured_outputs") {
        ("structured_outputs", structured(request.field("structured_outputs").unwrap_or_default())?)
    } else if given(request, "guided_json") {
        ("guided_json", request.field("guided_json").and_then(object))
    } else {
        return Ok(());
    };
    let Some(schema) = schema else { return Err(blaming(name, "Cerebras takes a JSON schema as an object only")) };
    if given(request, "response_format") {
        // Two constraints: the one of OpenAI's API stands.
        head.dropped_params.push(name.to_owned());
        return Ok(());
    }
    rewrite.set(
        "response_format",
        format!("{{\"type\":\"json_schema\",\"json_schema\":{{\"name\":\"answer\",\"schema\":{schema}}}}}"),
    );
    Ok(())
}

/// The schema in `structured_outputs`, if a schema is all that it asks for.
fn structured(raw: &str) -> Result<Option<String>, Error> {
    let constraints: Map<String, Value> = serde_json::from_str(raw).unwrap_or_default();
    let mut asked = constraints.iter().filter(|(_, value)| !value.is_null());
    match (asked.next(), asked.next()) {
        (Some((key, value)), None) if key == "json" => Ok(object(&value.to_string())),
        _ => Err(blaming("structured_outputs", "Cerebras can constrain an answer with a JSON schema only")),
    }
}

/// The object that `raw` is, or that the string `raw` spells.
fn object(raw: &str) -> Option<String> {
    match serde_json::from_str(raw).ok()? {
        Value::Object(_) => Some(raw.to_owned()),
        Value::String(text) => serde_json::from_str::<Map<String, Value>>(&text).ok().map(|_| text),
        _ => None,
    }
}

/// Writes messages as Cerebras wants them.
fn messages(request: &Request, rewrite: &mut Rewrite<'_>) {
    for nested in &request.head.nested {
        match nested {
            Nested::ReasoningContentKey(key) => rewrite.replace(key.clone(), "reasoning"),
            Nested::DeveloperRole(role) => rewrite.replace(role.clone(), "system"),
            // Such requests were refused before.
            Nested::FunctionRole => rewrite,
        };
    }
}
