//! The format of an answer: OpenAI's `response_format` as Cerebras types it, and vLLM's constraints made into one.

use std::borrow::Cow;

use provider::{Error, Malformed, Reader, ReplyHead, Request, Rewrite, Text, Value};

use crate::{
    exclude::{blaming, given},
    schema,
    typed::{Member, Shape, Writer, find},
};

const FORMAT: Shape = Shape { names: &["type", "json_schema"], dispensable: &[] };
const JSON_SCHEMA: Shape = Shape { names: &["name", "description", "schema", "strict"], dispensable: &[] };

/// Writes the response format `raw` of a chat whose messages are `messages`.
pub(crate) fn response_format(writer: &mut Writer<'_>, raw: &str, messages: &str) -> Result<(), Error> {
    let members = writer.members(&mut Reader::new(raw), &FORMAT)?;
    let kind = find(&members, "type").and_then(Member::text).unwrap_or_default();
    match &*kind {
        "json_object" if !mentions_json(messages) => {
            let message = "Cerebras answers with a JSON object only if a message holds the word 'JSON'";
            return Err(blaming(writer.field(), message));
        }
        "text" | "json_object" => writer.object(&members, &["type"]),
        "json_schema" => json_schema(writer, &members)?,
        _ => {
            let message = "Cerebras takes the formats 'text', 'json_object' and 'json_schema' only";
            return Err(blaming(writer.field(), message));
        }
    }
    Ok(())
}

fn json_schema(writer: &mut Writer<'_>, members: &[Member<'_>]) -> Result<(), Error> {
    writer.open('{');
    for member in members {
        if member.name != "json_schema" {
            writer.member(member, FORMAT.names);
            continue;
        }
        let spec = writer.members(&mut Reader::new(member.raw), &JSON_SCHEMA)?;
        let is_strict = find(&spec, "strict").is_some_and(|strict| strict.value == Value::Bool(true));
        if let Some(schema) = find(&spec, "schema").filter(|_| is_strict) {
            schema::check(writer.field(), schema.raw)?;
        }
        writer.key("json_schema");
        writer.object(&spec, JSON_SCHEMA.names);
    }
    writer.close('}');
    Ok(())
}

/// Whether the messages hold the word, in any case and however it is escaped.
fn mentions_json(messages: &str) -> bool {
    let text = Text { raw: messages, at: 0, is_escaped: messages.contains("\\u") };
    text.decoded().as_bytes().windows(4).any(|four| four.eq_ignore_ascii_case(b"json"))
}

/// Turns vLLM's constraints into a response format, if they are a JSON schema.
pub(crate) fn constraint(request: &Request, rewrite: &mut Rewrite<'_>, head: &mut ReplyHead) -> Result<(), Error> {
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
fn structured(raw: &str) -> Result<Option<Cow<'_, str>>, Error> {
    match only_member(&mut Reader::new(raw)) {
        Ok(Some((key, value))) if key.says("json") => Ok(object(value)),
        _ => Err(blaming("structured_outputs", "Cerebras can constrain an answer with a JSON schema only")),
    }
}

/// The one member that is not null of the object that comes next, and its raw value.
fn only_member<'a>(reader: &mut Reader<'a>) -> Result<Option<(Text<'a>, &'a str)>, Malformed> {
    if reader.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut only = None;
    reader.enter()?;
    while let Some(key) = reader.key()? {
        let raw = reader.raw()?;
        if raw != "null" && only.replace((key, raw)).is_some() {
            return Ok(None);
        }
    }
    Ok(only)
}

/// The object that `raw` is, or that the string `raw` spells.
fn object(raw: &str) -> Option<Cow<'_, str>> {
    match Reader::new(raw).value().ok()? {
        Value::Object(_) => Some(raw.into()),
        Value::Text(spelled) => Some(spelled.decoded()).filter(|text| is_object(text)),
        _ => None,
    }
}

/// Whether a text that is not checked yet is an object in which nothing appears twice.
fn is_object(text: &str) -> bool {
    let mut reader = Reader::of_request(text);
    let value = reader.value();
    matches!(value, Ok(Value::Object(_))) && reader.end().is_ok()
}
