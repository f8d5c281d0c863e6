//! A request of the Responses API as a chat.
//!
//! The body is read once as a whole, which finds its fields and refuses what is no JSON or says something twice; then
//! each is read again where it is written as a part of the chat. Texts are not decoded.
//! Source of the fields: <https://platform.openai.com/docs/api-reference/responses/create>, and `ResponseCreateParams`
//! in openai-python 3.57.

mod choice;
mod content;
mod dropped;
mod fields;
mod items;
mod messages;
mod names;
mod tools;

use provider::{InvalidRequest, RequestBody, Text};

use self::{dropped::Dropped, fields::Kept, messages::Messages, tools::Tools};
use super::asked::Asked;
use crate::{Chat, chat_bytes, node::Node};

/// A request of `POST /v1/responses` as a chat.
///
/// # Errors
/// If the body is no such request, or asks for what cannot be served. The error names the value to blame by its path, as in
/// `input[0].content[1].image_url`, and says what to change.
pub fn to_chat(text: &str) -> Result<Chat<Asked>, InvalidRequest> {
    let body = Body::read(text)?;
    let mut dropped = Dropped::default();
    fields::check(&body, &mut dropped)?;
    let input = body.get("input");
    let input = input.ok_or_else(|| lacking("input", "a string or an array of items"))?;

    let mut tools = Tools::default();
    let mut kept = Kept::default();
    if let Some(list) = body.get("tools") {
        tools.add(&list, &mut dropped, |raw| kept.add(raw))?;
    }
    items::add_tools(&input, &mut tools, &mut dropped)?;

    let mut out = Vec::with_capacity(chat_bytes(text.as_bytes()));
    fields::write(&mut out, &body)?;
    out.extend_from_slice(br#","messages":["#);
    let mut messages = Messages::new(out);
    messages.system(body.text("instructions")?.iter().map(|text| text.raw));
    items::write(&mut messages, &input, &tools, &mut dropped)?;
    let Some(mut out) = messages.finish() else {
        return Err(
            input.wrong("holds no message: send at least one, such as {\"role\": \"user\", \"content\": \"…\"}")
        );
    };
    out.push(b']');
    choice::write(&mut out, &body, &tools)?;
    out.push(b'}');

    let repeated = fields::repeated(&body, &kept).into();
    let asked = Asked { repeated, tools: tools.into_names(), logprobs: fields::wants_logprobs(&body)? };
    Ok(Chat { body: out, dropped: dropped.into_names(), asked })
}

/// The top-level fields but for those that are null, in order.
struct Body<'a>(Vec<(Text<'a>, &'a str)>);

impl<'a> Body<'a> {
    fn read(text: &'a str) -> Result<Self, InvalidRequest> {
        let mut body = RequestBody::new(text)?;
        let mut fields = Vec::with_capacity(16);
        while let Some(name) = body.next_field()? {
            let raw = body.raw()?;
            if raw != "null" {
                fields.push((name, raw));
            }
        }
        Ok(Self(fields))
    }

    fn get<'p>(&self, name: &'p str) -> Option<Node<'p, 'a>> {
        let found = self.0.iter().find(|(field, _)| field.says(name));
        found.map(|(_, raw)| Node::openai_field(name, raw))
    }

    fn text(&self, name: &str) -> Result<Option<Text<'a>>, InvalidRequest> {
        self.get(name).map(|node| node.text()).transpose()
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, InvalidRequest> {
        self.get(name).map(|node| node.flag()).transpose()
    }
}

/// The error that the field `name` is missing.
fn lacking(name: &str, what: &str) -> InvalidRequest {
    InvalidRequest::field(name, format!("'{name}' is required: {what}"))
}

/// The member `name` of `parent`, which must be there.
fn required<'n, 'a>(
    parent: &Node<'_, 'a>,
    member: Option<Node<'n, 'a>>,
    name: &'static str,
    what: &str,
) -> Result<Node<'n, 'a>, InvalidRequest> {
    member.ok_or_else(|| parent.lacks(name, what))
}

#[cfg(test)]
mod tests;
