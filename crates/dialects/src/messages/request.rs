//! A request of Anthropic's Messages API as a chat.
//!
//! The body is read once as a whole, which finds its fields and refuses what is no JSON or says something twice; then each
//! field is written into the chat's body, texts as they stand. What an upstream could not know of is left out and named, so
//! that a client that learns a new field still works; what would make the answer another one is refused by name.
//! Source of the fields: <https://docs.anthropic.com/en/api/messages>, and the types of its Python SDK 2.14.0.

mod config;
mod content;
mod document;
mod tools;
mod turns;

use provider::{InvalidRequest, RequestBody};

use self::{config::Config, tools::Tools, turns::Turns};
use super::Asked;
use crate::{
    Chat,
    chat::write,
    chat_bytes,
    node::{Node, shown},
};

/// Fields that change nothing where they are not known.
const WITHOUT_EFFECT: [&str; 2] = ["betas", "cache_control"];
/// Fields of vLLM that are no part of Anthropic's API and are sent on, because clients of vLLM's own `/v1/messages` send them.
const SENT_ON: [&str; 5] = ["chat_template_kwargs", "min_p", "prompt_cache_key", "repetition_penalty", "seed"];

/// Whether a request must say how long its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Required,
    Optional,
}

/// A request of `POST /v1/messages` as a chat.
///
/// # Errors
/// What is wrong with it, or cannot be served, with the path of the value to blame.
pub fn to_chat(text: &str) -> Result<Chat<Asked>, InvalidRequest> {
    translate(text, Limit::Required)
}

/// A request of `POST /v1/messages/count_tokens` as the chat whose prompt is to be counted: it need not say `max_tokens`.
///
/// # Errors
/// As [`to_chat`].
pub fn to_counted_chat(text: &str) -> Result<Chat<Asked>, InvalidRequest> {
    translate(text, Limit::Optional)
}

/// The fields that are read, as they are written.
#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a str>,
    messages: Option<&'a str>,
    system: Option<&'a str>,
    tools: Option<&'a str>,
    tool_choice: Option<&'a str>,
    config: Config<'a>,
    sent_on: Vec<(&'static str, &'a str)>,
    dropped: Vec<String>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, InvalidRequest> {
        let mut fields = Self::default();
        let mut body = RequestBody::new(text)?;
        while let Some(key) = body.next_field()? {
            let raw = body.raw()?;
            if raw == "null" {
                continue;
            }
            match &*key.decoded() {
                "model" => fields.model = Some(raw),
                "messages" => fields.messages = Some(raw),
                "system" => fields.system = Some(raw),
                "tools" => fields.tools = Some(raw),
                "tool_choice" => fields.tool_choice = Some(raw),
                name => fields.other(name, raw)?,
            }
        }
        Ok(fields)
    }

    fn other(&mut self, name: &str, raw: &'a str) -> Result<(), InvalidRequest> {
        if self.config.takes(name, raw) || WITHOUT_EFFECT.contains(&name) {
            return Ok(());
        }
        if let Some(name) = SENT_ON.into_iter().find(|known| *known == name) {
            self.sent_on.push((name, raw));
            return Ok(());
        }
        let node = Node::field(name, raw);
        match name {
            "inference_geo" if raw != "\"global\"" => {
                return Err(
                    node.wrong("cannot be promised here: the operator chooses where upstreams are; leave it out")
                );
            }
            "thread" => return Err(node.wrong("is not served: send the whole conversation in 'messages'")),
            _ => {}
        }
        if !node.value().is_empty() {
            self.dropped.push(shown(name).to_owned());
        }
        Ok(())
    }
}

fn translate(text: &str, limit: Limit) -> Result<Chat<Asked>, InvalidRequest> {
    let fields = Fields::read(text)?;
    let mut dropped = fields.dropped;
    let mut body = Vec::with_capacity(chat_bytes(text.as_bytes()));

    let model = fields.model.map(|raw| Node::field("model", raw));
    let model = model.ok_or_else(|| required("model", "name one of the models listed by GET /v1/models"))?;
    let model = model.filled_text()?;
    body.extend_from_slice(b"{\"model\":");
    write::quoted(&mut body, model);
    body.extend_from_slice(b",\"messages\":[");

    let messages = fields.messages.map(|raw| Node::field("messages", raw));
    let messages = messages.ok_or_else(|| required("messages", "send at least one message of the user"))?;
    let mut turns = Turns::new(body);
    if let Some(raw) = fields.system {
        content::system(&mut turns, &Node::field("system", raw))?;
    }
    content::messages(&mut turns, &messages)?;
    let continues = turns.ends_with_the_assistant();
    let Some(mut body) = turns.finish() else {
        return Err(messages.wrong("holds nothing to answer: send a message of the user"));
    };
    body.push(b']');
    if continues {
        // vLLM goes on where the last message ends; Cerebras cannot, and its adapter sends such a request elsewhere.
        body.extend_from_slice(b",\"add_generation_prompt\":false,\"continue_final_message\":true");
    }

    let tools = fields.tools.map(|raw| Tools::read(&Node::field("tools", raw), &mut body));
    let tools = tools.transpose()?.unwrap_or_default();
    if let Some(raw) = fields.tool_choice {
        tools.choice(&Node::field("tool_choice", raw), &mut body)?;
    }
    dropped.extend(tools.dropped.iter().map(|name| (*name).to_owned()));

    let shows_thinking = fields.config.write(limit == Limit::Required, &mut body, &mut dropped)?;
    for (name, raw) in fields.sent_on {
        write::member(&mut body, name, raw);
    }
    body.push(b'}');
    Ok(Chat { body, dropped, asked: Asked { model: model.decoded().into_owned(), shows_thinking } })
}

fn required(name: &str, what: &str) -> InvalidRequest {
    InvalidRequest::field(name, format!("'{name}' is required: {what}"))
}

#[cfg(test)]
mod tests;
