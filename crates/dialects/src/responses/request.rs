//! A request of the Responses API as a chat.
//!
//! The fields are those of `ResponseCreateParams` in openai-python 3.57 and of
//! <https://platform.openai.com/docs/api-reference/responses/create>. A field that is in neither is forwarded as it came, as the chat endpoint forwards
//! it: vLLM's sampling parameters are sent that way.

mod choice;
mod content;
mod dropped;
mod fields;
mod items;
mod read;
mod tools;

use provider::{InvalidRequest, RequestBody};

use super::asked::Asked;
use crate::Chat;
use dropped::Dropped;
use items::Messages;
use read::{BODY, Member, Members};
use tools::Tools;

/// Makes a request of `POST /v1/responses` a chat.
///
/// # Errors
/// If the body is no such request, or asks for what cannot be served. The error names the field by its path, as in
/// `input[0].content[1].image_url`, and says what to change.
pub fn to_chat(text: &str) -> Result<Chat<Asked>, InvalidRequest> {
    let body = read(text)?;
    let mut dropped = Dropped::default();
    fields::check(&body, &mut dropped)?;
    let Some(input) = body.get("input") else {
        return Err(BODY.member("input").refuse("is required: a string or an array of items"));
    };

    let mut tools = Tools::default();
    let mut kept = String::new();
    if let Some(list) = body.get("tools") {
        tools.add(list.raw, &BODY.member("tools"), &mut dropped, |raw| {
            kept.push_str(if kept.is_empty() { "" } else { "," });
            kept.push_str(raw);
        })?;
    }
    items::add_tools(input.raw, &mut tools, &mut dropped)?;

    let mut messages = Messages::new(&tools, &mut dropped);
    if let Some(instructions) = body.text("instructions", &BODY)? {
        messages.instructions(instructions);
    }
    messages.input(input.raw)?;

    let mut out = Vec::with_capacity(text.len() + text.len() / 8 + 256);
    fields::write(&mut out, &body)?;
    out.extend_from_slice(br#","messages":"#);
    messages.write(&mut out);
    choice::write(&mut out, &body, &tools)?;
    out.push(b'}');

    let asked = Asked {
        repeated: fields::repeated(&body, &kept).into(),
        tools: tools.into_names(),
        logprobs: fields::wants_logprobs(&body)?,
    };
    Ok(Chat { body: out, dropped: dropped.into_names(), asked })
}

/// The top-level members.
fn read(text: &str) -> Result<Members<'_>, InvalidRequest> {
    let mut body = RequestBody::new(text)?;
    let mut members = Vec::with_capacity(16);
    while let Some(name) = body.next_field()? {
        let start = body.reader.position();
        let value = body.value()?;
        members.push(Member { name, raw: &text[start..body.reader.position()], value });
    }
    Ok(Members::of_body(members))
}

#[cfg(test)]
mod tests;
