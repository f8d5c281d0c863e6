//! The messages of a request: their blocks, put into the turns of a chat.

use provider::{InvalidRequest, Text};

use super::{
    document,
    turns::{Call, Part, Role, ToolResult, Turns},
};
use crate::node::{Node, shown};

/// What begins a text of the system that is none of its instructions: Claude Code sends a line for Anthropic's accounting,
/// with a hash that differs from request to request, so that no upstream would find the prompt in its cache.
/// Source: <https://github.com/vllm-project/vllm>, `vllm/entrypoints/anthropic/inline_system.py`.
const BILLING: &str = "x-anthropic-billing-header:";

/// Reads `system`.
pub(super) fn system<'a>(turns: &mut Turns<'a>, system: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
    texts(system, |text| turns.system.push(Part::Text("", text)))
}

/// Hands the text, or the texts of the blocks, that a system says to `take`.
fn texts<'a>(content: &Node<'_, 'a>, mut take: impl FnMut(Text<'a>)) -> Result<(), InvalidRequest> {
    let mut take = |text: Text<'a>| {
        if !text.raw.is_empty() && !text.raw.starts_with(BILLING) {
            take(text);
        }
    };
    match content.first() {
        b'"' => take(content.text()?),
        b'[' => {
            content.each(|block| {
                let block = Block::read(&block)?;
                if !block.kind.says("text") {
                    return Err(block.refused("the system says texts only"));
                }
                take(block.text()?);
                Ok(())
            })?;
        }
        _ => return Err(content.wrong("must be a string or an array of text blocks")),
    }
    Ok(())
}

/// Reads `messages`.
pub(super) fn messages<'a>(turns: &mut Turns<'a>, messages: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
    if messages.first() != b'[' {
        return Err(messages.wrong("must be an array of messages"));
    }
    let mut count = 0;
    let mut empty = None;
    messages.each(|message| {
        if let Some(empty) = empty {
            return Err(messages.wrong_element(empty, EMPTY));
        }
        // A last message of the assistant without anything in it asks to continue nothing.
        if self::message(turns, &message)? {
            empty = Some(count);
        }
        count += 1;
        Ok(())
    })?;
    if count == 0 {
        return Err(messages.wrong("is empty: send at least one message"));
    }
    if let Some(unreadable) = turns.unreadable.take() {
        return Err(unreadable);
    }
    to_continue(turns).map_err(|why| messages.wrong_element(count - 1, why))
}

const EMPTY: &str = "has an empty content: leave the message out";

/// Reads a message. Returns whether it is one of the assistant that says nothing.
fn message<'a>(turns: &mut Turns<'a>, message: &Node<'_, 'a>) -> Result<bool, InvalidRequest> {
    let [role, content] = message.members(["role", "content"])?;
    let role = role.ok_or_else(|| message.lacks("role", "use user, assistant or system"))?;
    let content = content.ok_or_else(|| message.lacks("content", "send a string or an array of content blocks"))?;
    let said = role.text()?.decoded();
    let role = match &*said {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => return texts(&content, |text| turns.note(Part::Text("", text))).map(|()| false),
        other => return Err(role.wrong(format_args!("is {:?}: use user, assistant or system", shown(other)))),
    };
    if role == Role::User {
        turns.unreadable = None;
    }
    let said = match content.first() {
        b'"' => {
            let text = content.text()?;
            if !text.raw.is_empty() {
                turns.turn(role);
                turns.parts.push(Part::Text("", text));
            }
            !text.raw.is_empty()
        }
        b'[' => {
            let count = content.each(|block| {
                turns.turn(role);
                match role {
                    Role::User => users_block(turns, &Block::read(&block)?),
                    Role::Assistant => assistants_block(turns, &Block::read(&block)?),
                }
            })?;
            count > 0
        }
        _ => return Err(content.wrong("must be a string or an array of content blocks")),
    };
    if !said && role == Role::User { Err(message.wrong(EMPTY)) } else { Ok(!said) }
}

/// Why no model could go on where the last message ends, if it is the assistant's.
fn to_continue(turns: &Turns<'_>) -> Result<(), &'static str> {
    if !turns.ends_with_the_assistant() {
        return Ok(());
    }
    if !turns.calls.is_empty() {
        return Err("ends with a tool_use block: send its tool_result in a message of the user");
    }
    match turns.parts.last() {
        None => Err("holds no text that a model could continue: leave the message out"),
        Some(Part::Text(_, text)) if text.decoded().ends_with(char::is_whitespace) => {
            Err("ends with white space, from which a model cannot continue: trim it")
        }
        Some(_) => Ok(()),
    }
}

/// The members of a block that are read.
struct Block<'p, 'a> {
    node: &'p Node<'p, 'a>,
    kind: Text<'a>,
    text: Option<Node<'p, 'a>>,
    source: Option<Node<'p, 'a>>,
    id: Option<Node<'p, 'a>>,
    name: Option<Node<'p, 'a>>,
    input: Option<Node<'p, 'a>>,
    tool_use_id: Option<Node<'p, 'a>>,
    content: Option<Node<'p, 'a>>,
    is_error: Option<Node<'p, 'a>>,
    thinking: Option<Node<'p, 'a>>,
    tool_name: Option<Node<'p, 'a>>,
}

impl<'p, 'a> Block<'p, 'a> {
    fn read(node: &'p Node<'p, 'a>) -> Result<Self, InvalidRequest> {
        let [kind, text, source, id, name, input, tool_use_id, content, is_error, thinking, tool_name] =
            node.members([
                "type",
                "text",
                "source",
                "id",
                "name",
                "input",
                "tool_use_id",
                "content",
                "is_error",
                "thinking",
                "tool_name",
            ])?;
        let kind = kind.ok_or_else(|| node.lacks("type", "say what the block is, for example \"text\""))?.text()?;
        Ok(Self { node, kind, text, source, id, name, input, tool_use_id, content, is_error, thinking, tool_name })
    }

    /// The text of a block that must have one.
    fn text(&self) -> Result<Text<'a>, InvalidRequest> {
        let text = self.text.ok_or_else(|| self.node.lacks("text", "send the text"))?;
        let said = text.text()?;
        if said.raw.is_empty() { Err(text.wrong("is empty: leave the block out")) } else { Ok(said) }
    }

    fn refused(&self, why: &str) -> InvalidRequest {
        self.node.wrong(format_args!("is a block of type {:?}: {why}", shown(&self.kind.decoded())))
    }

    fn unknown(&self) -> InvalidRequest {
        self.refused("no upstream takes it; send what it says as a text block, or as an image block")
    }
}

fn users_block<'a>(turns: &mut Turns<'a>, block: &Block<'_, 'a>) -> Result<(), InvalidRequest> {
    match &*block.kind.decoded() {
        "text" => turns.parts.push(Part::Text("", block.text()?)),
        "image" => turns.parts.push(image(block.node, block.source)?),
        "document" => document::said_by_user(turns, block.node)?,
        "tool_result" => tool_result(turns, block)?,
        "tool_use" | "thinking" | "redacted_thinking" => {
            return Err(block.refused("only an assistant's message holds it"));
        }
        _ => return Err(block.unknown()),
    }
    Ok(())
}

fn assistants_block<'a>(turns: &mut Turns<'a>, block: &Block<'_, 'a>) -> Result<(), InvalidRequest> {
    match &*block.kind.decoded() {
        "text" => turns.parts.push(Part::Text("", block.text()?)),
        "tool_use" => turns.calls.push(tool_use(block)?),
        "thinking" => {
            let thinking = block.thinking.ok_or_else(|| block.node.lacks("thinking", "send the block as it came"))?;
            turns.thoughts.push(thinking.text()?);
        }
        // Only Anthropic could read it.
        "redacted_thinking" => {}
        "tool_result" | "image" | "document" => return Err(block.refused("only a user's message holds it")),
        _ => return Err(block.unknown()),
    }
    Ok(())
}

/// The image that the block `node` is, by its `source`.
pub(super) fn image<'a>(node: &Node<'_, 'a>, source: Option<Node<'_, 'a>>) -> Result<Part<'a>, InvalidRequest> {
    let source = source.ok_or_else(|| node.lacks("source", "send the image in base64, or its URL"))?;
    let [kind, media_type, data, url] = source.members(["type", "media_type", "data", "url"])?;
    let kind = kind.ok_or_else(|| source.lacks("type", "use base64 or url"))?;
    let said = kind.text()?.decoded();
    match &*said {
        "base64" => {
            let media_type = media_type.ok_or_else(|| source.lacks("media_type", "for example \"image/png\""))?;
            let text = media_type.text()?;
            if !is_image(&text.decoded()) {
                return Err(media_type.wrong("must be the media type of an image, for example \"image/png\""));
            }
            let data = data.ok_or_else(|| source.lacks("data", "send the image in base64"))?;
            Ok(Part::Image(text, data.filled_text()?))
        }
        "url" => {
            let url = url.ok_or_else(|| source.lacks("url", "send the URL of the image"))?;
            Ok(Part::ImageUrl(url.filled_text()?))
        }
        other => Err(kind.wrong(format_args!(
            "is {:?}: use base64 or url, because no upstream has files of another API",
            shown(other)
        ))),
    }
}

/// Whether a text is the media type of an image, and nothing else that a data URL could not hold there.
fn is_image(media_type: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    media_type.strip_prefix("image/").is_some_and(|name| !name.is_empty() && name.bytes().all(is_part))
}

fn tool_use<'a>(block: &Block<'_, 'a>) -> Result<Call<'a>, InvalidRequest> {
    let id = block.id.ok_or_else(|| block.node.lacks("id", "send the block as it came"))?;
    let name = block.name.ok_or_else(|| block.node.lacks("name", "send the block as it came"))?;
    let input = block.input.ok_or_else(|| block.node.lacks("input", "send {} for a call without arguments"))?;
    input.object()?;
    Ok(Call { id: id.filled_text()?, name: name.filled_text()?, input: input.raw() })
}

/// The tool's role takes texts alone: its images are said by the user, behind all results.
fn tool_result<'a>(turns: &mut Turns<'a>, block: &Block<'_, 'a>) -> Result<(), InvalidRequest> {
    let id = block.tool_use_id;
    let id = id.ok_or_else(|| block.node.lacks("tool_use_id", "name the tool_use block that it answers"))?;
    let id = id.filled_text()?;
    let is_error = block.is_error.map_or(Ok(false), |is_error| is_error.flag())?;
    let mut said = Vec::new();
    match block.content.map(|content| (content.first(), content)) {
        None => {}
        Some((b'"', content)) => said.push(Part::Text("", content.text()?)),
        Some((b'[', content)) => {
            content.each(|block| part_of_result(turns, &mut said, &Block::read(&block)?))?;
        }
        Some((_, content)) => return Err(content.wrong("must be a string or an array of content blocks")),
    }
    if is_error {
        match said.first_mut() {
            Some(Part::Text(words, _)) => *words = "Error: ",
            _ => said.push(Part::Text("Error", Text::default())),
        }
    }
    turns.results.push(ToolResult { id, content: said });
    turns.unreadable = None;
    Ok(())
}

fn part_of_result<'a>(
    turns: &mut Turns<'a>,
    said: &mut Vec<Part<'a>>,
    block: &Block<'_, 'a>,
) -> Result<(), InvalidRequest> {
    match &*block.kind.decoded() {
        // What a tool says may be empty.
        "text" => {
            let text = block.text.ok_or_else(|| block.node.lacks("text", "send the text"))?;
            said.push(Part::Text("", text.text()?));
        }
        "image" => turns.parts.push(image(block.node, block.source)?),
        "document" => document::said_by_tool(&mut turns.parts, said, block.node)?,
        // A tool that a search of the client's found. It is among `tools`, all of which are sent.
        "tool_reference" => {
            let name = block.tool_name.ok_or_else(|| block.node.lacks("tool_name", "name the tool"))?;
            said.push(Part::Text("Tool: ", name.filled_text()?));
        }
        _ => return Err(block.unknown()),
    }
    Ok(())
}
