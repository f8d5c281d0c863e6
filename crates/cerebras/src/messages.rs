//! Messages as Cerebras types them.
//!
//! A conversation holds what other upstreams have answered: vLLM's own messages come back with members that Cerebras
//! does not know, most of them null. They are left out. What cannot be left out without losing a part of the
//! conversation goes to another upstream.

use provider::{Error, Reader, Value};

use crate::{
    calls::Calls,
    exclude::blaming,
    typed::{Member, Shape, Writer, find, unreadable},
};

/// Members without which the conversation is still what it was.
const DISPENSABLE: [&str; 4] = ["detail", "index", "name", REASONING];
const REASONING: &str = "reasoning";

/// What is read of a message of any role.
const MESSAGE: Shape = Shape {
    names: &[
        "role",
        "content",
        "name",
        "tool_calls",
        "tool_call_id",
        REASONING,
        "reasoning_content",
        "function_call",
        "audio",
    ],
    dispensable: &["name"],
};
const PART: Shape = Shape { names: &["type", "text", "image_url"], dispensable: &[] };
const IMAGE: Shape = Shape { names: &["url", "detail"], dispensable: &["detail"] };
const TOOL_CALL: Shape = Shape { names: &["id", "type", "function", "index"], dispensable: &["index"] };
const FUNCTION: Shape = Shape { names: &["name", "arguments"], dispensable: &[] };
const PREDICTION: Shape = Shape { names: &["type", "content"], dispensable: &[] };

/// Whether the conversation is still what it was without the members called `name`.
pub(crate) fn is_dispensable(name: &str) -> bool {
    DISPENSABLE.contains(&name)
}

/// Writes the messages `raw`.
pub(crate) fn messages(writer: &mut Writer<'_>, raw: &str) -> Result<(), Error> {
    let mut calls = Calls::default();
    writer.list(&mut Reader::new(raw), |writer, reader| message(writer, reader, &mut calls))?;
    calls.all_answered()
}

/// Writes the predicted answer `raw`.
pub(crate) fn prediction(writer: &mut Writer<'_>, raw: &str) -> Result<(), Error> {
    let members = writer.members(&mut Reader::new(raw), &PREDICTION)?;
    writer.open('{');
    for member in &members {
        match member.name {
            "content" => text_or_parts(writer, "content", member, false)?,
            _ => writer.member(member, PREDICTION.names),
        }
    }
    writer.close('}');
    Ok(())
}

fn message<'a>(writer: &mut Writer<'_>, reader: &mut Reader<'a>, calls: &mut Calls<'a>) -> Result<(), Error> {
    let members = writer.members(reader, &MESSAGE)?;
    let role = find(&members, "role").and_then(Member::text).unwrap_or_default();
    let (role, typed): (&str, &[&str]) = match &*role {
        // The two mean the same there.
        "system" | "developer" => ("system", &["role", "content", "name"]),
        "user" => ("user", &["role", "content", "name"]),
        "assistant" => ("assistant", &["role", "content", "name", REASONING, "tool_calls"]),
        "tool" => ("tool", &["role", "content", "name", "tool_call_id"]),
        _ => return Err(blaming("messages", "Cerebras takes no messages of the role 'function': use tools")),
    };
    if role == "tool" {
        calls.answer(find(&members, "tool_call_id").and_then(Member::text))?;
    }
    let mut thoughts = if role == "assistant" { reasoning(writer, &members) } else { None };
    writer.open('{');
    for member in &members {
        match member.name {
            "role" => {
                writer.key("role");
                writer.raw(&format!("\"{role}\""));
            }
            "content" => text_or_parts(writer, "content", member, matches!(role, "system" | "user"))?,
            REASONING | "reasoning_content" if role == "assistant" => {
                if let Some(thoughts) = thoughts.take() {
                    text_or_parts(writer, REASONING, thoughts, false)?;
                }
            }
            "tool_calls" if role == "assistant" => tool_calls(writer, member, calls)?,
            "function_call" if !member.value.is_empty() => {
                return Err(blaming("messages", "Cerebras takes no 'function_call' in a message: use tool calls"));
            }
            "audio" if !member.value.is_empty() => {
                return Err(blaming("messages", "Cerebras takes no audio message"));
            }
            _ => writer.member(member, typed),
        }
    }
    writer.close('}');
    Ok(())
}

/// The reasoning of an answer, which providers call by two names. Where both hold some it is the same, and Cerebras'
/// own name wins.
fn reasoning<'m, 'a>(writer: &mut Writer<'_>, members: &'m [Member<'a>]) -> Option<&'m Member<'a>> {
    let filled = |name| find(members, name).filter(|member| !member.value.is_empty());
    let member = filled(REASONING).or_else(|| filled("reasoning_content"))?;
    if writer.is_without(REASONING) {
        writer.drop_member(REASONING, &member.value);
        return None;
    }
    Some(member)
}

/// Writes `member`, a text, null, or a list of parts, as `name`.
fn text_or_parts(writer: &mut Writer<'_>, name: &str, member: &Member<'_>, takes_images: bool) -> Result<(), Error> {
    writer.key(name);
    let Value::Array(length) = member.value else {
        writer.raw(member.raw);
        return Ok(());
    };
    writer.list(&mut Reader::new(member.raw), |writer, reader| part(writer, reader, takes_images))?;
    if length > 0 {
        writer.text_for_empty_list();
    }
    Ok(())
}

fn part(writer: &mut Writer<'_>, reader: &mut Reader<'_>, takes_images: bool) -> Result<(), Error> {
    if reader.peek() == Some(b'"') {
        return bare_text(writer, reader);
    }
    let members = writer.members(reader, &PART)?;
    match find(&members, "type").and_then(Member::text).as_deref() {
        Some("text") => writer.object(&members, &["type", "text"]),
        Some("image_url") if takes_images => image(writer, &members)?,
        Some("image_url") => return Err(blaming("messages", "Cerebras takes images from the user only")),
        // What an assistant did not say: its words were dropped, and said, as a member that is not known.
        Some("refusal" | "thinking" | "reasoning") => {}
        _ => return Err(blaming("messages", "Cerebras takes parts of the types 'text' and 'image_url' only")),
    }
    Ok(())
}

/// A part that is just its text: vLLM takes such parts.
fn bare_text(writer: &mut Writer<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let text = reader.raw().map_err(unreadable)?;
    writer.open('{');
    writer.key("type");
    writer.raw("\"text\"");
    writer.key("text");
    writer.raw(text);
    writer.close('}');
    Ok(())
}

fn image(writer: &mut Writer<'_>, members: &[Member<'_>]) -> Result<(), Error> {
    writer.open('{');
    for member in members {
        if member.name != "image_url" {
            writer.member(member, &["type"]);
            continue;
        }
        let image = writer.members(&mut Reader::new(member.raw), &IMAGE)?;
        let url = find(&image, "url").and_then(|url| url.value.text());
        let scheme = url.and_then(|url| url.raw.get(..5));
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
            return Err(blaming("messages", "Cerebras fetches no images: send them as base64 in a data URI"));
        }
        writer.key("image_url");
        writer.object(&image, IMAGE.names);
    }
    writer.close('}');
    Ok(())
}

fn tool_calls<'a>(writer: &mut Writer<'_>, member: &Member<'a>, calls: &mut Calls<'a>) -> Result<(), Error> {
    if member.value.is_empty() {
        return Ok(());
    }
    writer.key("tool_calls");
    writer.list(&mut Reader::new(member.raw), |writer, reader| {
        let members = writer.members(reader, &TOOL_CALL)?;
        calls.call(find(&members, "id").and_then(Member::text))?;
        if find(&members, "type").is_some_and(|kind| kind.text().as_deref() != Some("function")) {
            return Err(blaming("messages", "Cerebras takes calls of functions only"));
        }
        writer.open('{');
        for member in &members {
            if member.name == "function" {
                let function = writer.members(&mut Reader::new(member.raw), &FUNCTION)?;
                writer.key("function");
                writer.object(&function, FUNCTION.names);
            } else {
                writer.member(member, TOOL_CALL.names);
            }
        }
        writer.close('}');
        Ok(())
    })
}
