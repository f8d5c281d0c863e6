//! The items of an input as the messages of a chat.
//!
//! What a chat says in one message of the assistant (reasoning, text, calls) are items of their own here. So items of the assistant are
//! gathered until another one follows, and become one message.

use provider::{InvalidRequest, Text};

use super::{
    content::{self, Part},
    dropped::Dropped,
    read::{BODY, Members, Place, elements, shown},
    tools::{SEARCH, Tools},
};
use crate::chat::write;

/// Items that a service made or would carry out. They are left out of a history and named.
const HOSTED: [&str; 21] = [
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Adds the tools that items of the input bring: a list of them, or what a search has found.
pub(super) fn add_tools(input: &str, tools: &mut Tools, dropped: &mut Dropped) -> Result<(), InvalidRequest> {
    if !input.starts_with('[') {
        return Ok(());
    }
    let place = BODY.member("input");
    for (index, raw) in elements(input, &place)?.into_iter().enumerate() {
        let place = place.element(index);
        let item = Members::read(raw, &place)?;
        let kind = item.text("type", &place)?;
        if kind.is_some_and(|kind| kind.says("additional_tools") || kind.says("tool_search_output")) {
            let message = "is required: an array of tools";
            let list = item.get("tools").ok_or_else(|| place.member("tools").refuse(message))?;
            tools.add(list.raw, &place.member("tools"), dropped, |_| {})?;
        }
    }
    Ok(())
}

/// The messages of a chat, while they are written.
pub(super) struct Messages<'t> {
    tools: &'t Tools,
    dropped: &'t mut Dropped,
    /// What the system says before anyone else does, as it is within a JSON string.
    system: Vec<u8>,
    /// The other messages, each with a comma in front.
    rest: Vec<u8>,
    turn: Turn,
    /// Images of tools' outputs, as parts of a message, each with a comma in front: a chat takes them from the user alone.
    images: Vec<u8>,
}

/// What the assistant says in one message, as it is written in JSON.
#[derive(Default)]
struct Turn {
    /// Within a string.
    reasoning: Vec<u8>,
    /// Within a string; `None` if it says nothing.
    content: Option<Vec<u8>>,
    /// With a comma in front of each.
    calls: Vec<u8>,
}

impl<'t> Messages<'t> {
    /// No messages yet.
    pub(super) fn new(tools: &'t Tools, dropped: &'t mut Dropped) -> Self {
        let (system, rest, images) = (Vec::new(), Vec::new(), Vec::new());
        Self { tools, dropped, system, rest, turn: Turn::default(), images }
    }

    /// The instructions, which stand first.
    pub(super) fn instructions(&mut self, text: Text<'_>) {
        self.system.extend_from_slice(text.raw.as_bytes());
    }

    /// The input `raw`: a string, or items.
    pub(super) fn input(&mut self, raw: &str) -> Result<(), InvalidRequest> {
        let place = BODY.member("input");
        if raw.starts_with('"') {
            self.message("user", &content::read(raw, &place)?);
            return Ok(());
        }
        if !raw.starts_with('[') {
            return Err(place.refuse("must be a string or an array of items"));
        }
        for (index, raw) in elements(raw, &place)?.into_iter().enumerate() {
            let place = place.element(index);
            self.item(&Members::read(raw, &place)?, &place)?;
        }
        self.end_turn();
        self.end_images();
        if self.system.is_empty() && self.rest.is_empty() {
            return Err(
                place.refuse("holds no message: send at least one, such as {\"role\": \"user\", \"content\": \"…\"}")
            );
        }
        Ok(())
    }

    /// Writes the array of messages.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        if self.system.is_empty() {
            out.extend_from_slice(self.rest.get(1..).unwrap_or_default());
        } else {
            out.extend_from_slice(br#"{"role":"system","content":""#);
            out.extend_from_slice(&self.system);
            out.extend_from_slice(br#""}"#);
            out.extend_from_slice(&self.rest);
        }
        out.push(b']');
    }

    fn item(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let kind = item.text("type", place)?.map(|kind| kind.decoded());
        let kind = match &kind {
            Some(kind) => kind,
            None if item.get("role").is_some() => "message",
            None if item.get("id").is_some() => "item_reference",
            None => return Err(place.member("type").refuse("is required, as in {\"type\": \"message\", …}")),
        };
        match kind {
            "function_call_output" | "custom_tool_call_output" => return self.output(item, place),
            "tool_search_output" if !is_hosted(item, place)? => return self.found(item, place),
            "function_call" => {
                let arguments = item.required_text("arguments", place)?;
                self.call(item, place, None, |out| write::copied(out, arguments))?;
            }
            "custom_tool_call" => {
                let input = item.required_text("input", place)?;
                self.call(item, place, None, |out| {
                    out.extend_from_slice(br#"{\"input\":\""#);
                    write::escaped(out, input.raw);
                    out.extend_from_slice(br#"\"}"#);
                })?;
            }
            "tool_search_call" if !is_hosted(item, place)? => {
                let arguments = item.get("arguments").map_or("{}", |arguments| arguments.raw);
                self.call(item, place, Some(SEARCH), |out| write::escaped(out, arguments))?;
            }
            "message" => self.message_item(item, place)?,
            "agent_message" => self.agent_message(item, place)?,
            "reasoning" => self.reasoning(item, place)?,
            "additional_tools" => {}
            "item_reference" => {
                return Err(place.refuse("refers to an item, and no items are kept here: send the item itself"));
            }
            "compaction" | "compaction_summary" | "context_compaction" => {
                return Err(place.refuse(
                    "is a compacted conversation that only the service that made it can read: send the items themselves, or a summary as a message",
                ));
            }
            "compaction_trigger" => {
                return Err(place.refuse("asks for compaction, which is not served here: let the client summarise"));
            }
            kind if HOSTED.contains(&kind) => self.dropped.name_in(&HOSTED, kind, "input"),
            kind => {
                let types = "message, reasoning, function_call, function_call_output, custom_tool_call, custom_tool_call_output, tool_search_call, tool_search_output, additional_tools, agent_message";
                let kind = shown(kind);
                return Err(place.member("type").refuse(format_args!("is {kind:?}: use one of {types}")));
            }
        }
        Ok(())
    }

    fn message_item(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let role = item.required_text("role", place)?.decoded();
        let Some(content) = item.get("content") else {
            return Err(place.member("content").refuse("is required: a string or an array of parts"));
        };
        let content_place = place.member("content");
        let parts = content::read(content.raw, &content_place)?;
        let image = parts.iter().position(|part| matches!(part, Part::Image(_)));
        if let Some(index) = image.filter(|_| role != "user") {
            return Err(content_place.element(index).refuse("is an image: images come from the user or from tools"));
        }
        match &*role {
            "system" | "developer" if self.is_at_start() => {
                if !self.system.is_empty() {
                    self.system.extend_from_slice(br"\n\n");
                }
                content::write_texts(&mut self.system, &parts, r"\n\n");
            }
            // Many chat templates refuse a system's message anywhere but at the beginning. To move it there would change the beginning
            // of the prompt, and with it what is cached, in the middle of a conversation.
            "user" | "system" | "developer" => self.message("user", &parts),
            "assistant" => self.says(&parts),
            _ => {
                let role = shown(&role);
                let roles = "user, assistant, system, developer";
                return Err(place.member("role").refuse(format_args!("is {role:?}: use one of {roles}")));
            }
        }
        Ok(())
    }

    /// Whether nobody but the system has said anything.
    fn is_at_start(&self) -> bool {
        self.rest.is_empty() && self.turn.is_empty()
    }

    /// A message from another agent of the same client. Codex writes the task of an agent as `encrypted_content`, in clear where the service is
    /// not OpenAI's: <https://github.com/ollama/ollama/issues/18286>.
    fn agent_message(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let place = place.member("content");
        let Some(content) = item.get("content") else {
            return Err(place.refuse("is required: an array of parts"));
        };
        let mut parts = Vec::new();
        for (index, raw) in elements(content.raw, &place)?.into_iter().enumerate() {
            let place = place.element(index);
            let part = Members::read(raw, &place)?;
            let is_encrypted = part.required_text("type", &place)?.says("encrypted_content");
            let name = if is_encrypted { "encrypted_content" } else { "text" };
            parts.push(Part::Text(part.required_text(name, &place)?.raw));
        }
        self.message("user", &parts);
        Ok(())
    }

    fn message(&mut self, role: &str, parts: &[Part<'_>]) {
        self.end_turn();
        self.end_images();
        self.open(role);
        self.rest.extend_from_slice(br#","content":"#);
        content::write(&mut self.rest, parts);
        self.rest.push(b'}');
    }

    /// A text of the assistant.
    fn says(&mut self, parts: &[Part<'_>]) {
        self.end_images();
        if self.turn.content.is_some() || !self.turn.calls.is_empty() {
            self.end_turn();
        }
        content::write_texts(self.turn.content.insert(Vec::new()), parts, "");
    }

    fn reasoning(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let Some(content) = item.get("content") else { return Ok(()) };
        let place = place.member("content");
        self.end_images();
        if self.turn.content.is_some() || !self.turn.calls.is_empty() {
            self.end_turn();
        }
        for (index, raw) in elements(content.raw, &place)?.into_iter().enumerate() {
            let place = place.element(index);
            let part = Members::read(raw, &place)?;
            self.turn.reasoning.extend_from_slice(part.required_text("text", &place)?.raw.as_bytes());
        }
        Ok(())
    }

    /// A call of the tool that `item` names, or of `name`, with what `arguments` writes within a string.
    fn call(
        &mut self,
        item: &Members<'_>,
        place: &Place<'_>,
        name: Option<&str>,
        arguments: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), InvalidRequest> {
        let id = item.required_text("call_id", place)?;
        let given = if let Some(name) = name {
            self.tools.given(None, name)
        } else {
            let namespace = item.text("namespace", place)?.map(|namespace| namespace.decoded());
            let name = item.required_text("name", place)?.decoded();
            self.tools.given(namespace.as_deref(), &name)
        };
        self.end_images();
        let out = &mut self.turn.calls;
        out.extend_from_slice(br#",{"id":""#);
        write::copied(out, id);
        out.extend_from_slice(br#"","type":"function","function":{"name":"#);
        write::string(out, &given);
        out.extend_from_slice(br#","arguments":""#);
        arguments(out);
        out.extend_from_slice(br#""}}"#);
        Ok(())
    }

    /// The output of a call.
    fn output(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let id = item.required_text("call_id", place)?;
        let place = place.member("output");
        let Some(output) = item.get("output") else {
            return Err(place.refuse("is required: a string or an array of parts"));
        };
        let parts = content::read(output.raw, &place)?;
        let has_text = parts.iter().any(|part| matches!(part, Part::Text(_)));
        self.answer(id, |out| {
            if has_text || parts.is_empty() {
                content::write_texts(out, &parts, r"\n");
            } else {
                out.extend_from_slice(b"The output is an image, which the next message of the user shows.");
            }
        });
        for part in &parts {
            if let Part::Image(image) = part {
                self.images.push(b',');
                image.write(&mut self.images);
            }
        }
        Ok(())
    }

    /// What a search for tools has found: their names, since the tools themselves stand with the others.
    fn found(&mut self, item: &Members<'_>, place: &Place<'_>) -> Result<(), InvalidRequest> {
        let id = item.required_text("call_id", place)?;
        let list = item.get("tools").map_or("[]", |tools| tools.raw);
        let names = self.tools.names_in(list, &place.member("tools"))?;
        self.answer(id, |out| {
            if names.is_empty() {
                out.extend_from_slice(b"No tool was found.");
            } else {
                out.extend_from_slice(b"These tools can be called now: ");
                write::escaped(out, &names.join(", "));
            }
        });
        Ok(())
    }

    /// A message of the role `tool` with what `content` writes within a string.
    fn answer(&mut self, id: Text<'_>, content: impl FnOnce(&mut Vec<u8>)) {
        self.end_turn();
        self.open("tool");
        self.rest.extend_from_slice(br#","tool_call_id":""#);
        write::copied(&mut self.rest, id);
        self.rest.extend_from_slice(br#"","content":""#);
        content(&mut self.rest);
        self.rest.extend_from_slice(br#""}"#);
    }

    fn open(&mut self, role: &str) {
        self.rest.extend_from_slice(br#",{"role":""#);
        self.rest.extend_from_slice(role.as_bytes());
        self.rest.push(b'"');
    }

    /// Writes what the assistant has said. Reasoning that led to nothing is left out.
    fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn.content.is_none() && turn.calls.is_empty() {
            return;
        }
        self.open("assistant");
        let out = &mut self.rest;
        if !turn.reasoning.is_empty() {
            out.extend_from_slice(br#","reasoning":""#);
            out.extend_from_slice(&turn.reasoning);
            out.push(b'"');
        }
        if let Some(content) = &turn.content {
            out.extend_from_slice(br#","content":""#);
            out.extend_from_slice(content);
            out.push(b'"');
        } else {
            out.extend_from_slice(br#","content":null"#);
        }
        if let Some(calls) = turn.calls.get(1..) {
            out.extend_from_slice(br#","tool_calls":["#);
            out.extend_from_slice(calls);
            out.push(b']');
        }
        out.push(b'}');
    }

    /// Writes the images that tools have put out, once all outputs of a turn are there.
    fn end_images(&mut self) {
        let images = std::mem::take(&mut self.images);
        if images.is_empty() {
            return;
        }
        self.open("user");
        self.rest.extend_from_slice(br#","content":["#);
        content::write_text(&mut self.rest, "Images that the tools have put out:");
        self.rest.extend_from_slice(&images);
        self.rest.extend_from_slice(b"]}");
    }
}

impl Turn {
    fn is_empty(&self) -> bool {
        self.content.is_none() && self.calls.is_empty() && self.reasoning.is_empty()
    }
}

/// Whether a search for tools was made by a service: only a client's own has a call to answer.
fn is_hosted(item: &Members<'_>, place: &Place<'_>) -> Result<bool, InvalidRequest> {
    let is_servers = item.text("execution", place)?.is_some_and(|by| by.says("server"));
    Ok(is_servers || item.get("call_id").is_none())
}
