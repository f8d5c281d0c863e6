//! The items of an input as the messages of a chat.

use provider::InvalidRequest;

use super::{
    content::{self, Content, Part},
    dropped::Dropped,
    messages::{Call, CallArguments, Messages},
    required,
    tools::{SEARCH, Tools},
};
use crate::{
    chat::write,
    node::{Node, shown},
};

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

/// What a call and its output have in common.
const CALL_ID: &str = "a string that is the same for a call and its output";
/// Types of items that are read.
const READ: &str = "message, reasoning, function_call, function_call_output, custom_tool_call, custom_tool_call_output, \
                    tool_search_call, tool_search_output, additional_tools, agent_message";

/// Adds the tools that items of the input bring: a list of them, or what a search has found.
pub(super) fn add_tools<'a>(
    input: &Node<'_, 'a>,
    tools: &mut Tools<'a>,
    dropped: &mut Dropped,
) -> Result<(), InvalidRequest> {
    // Both have them in a member of this name. Most inputs have no such item, and need not be read for it.
    let may_bring_some = input.raw().contains("tools\"") || input.raw().contains("\\u");
    if input.first() != b'[' || !may_bring_some {
        return Ok(());
    }
    input.each(|item| {
        let [kind, list] = item.members(["type", "tools"])?;
        let Some(kind) = kind else { return Ok(()) };
        let kind = kind.text()?;
        if kind.says("additional_tools") || kind.says("tool_search_output") {
            tools.add(&required(&item, list, "tools", "an array of tools")?, dropped, |_| {})?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Adds the input, a string or items, to the messages.
pub(super) fn write<'a>(
    messages: &mut Messages<'a>,
    input: &Node<'_, 'a>,
    tools: &Tools<'_>,
    dropped: &mut Dropped,
) -> Result<(), InvalidRequest> {
    match input.first() {
        b'"' => messages.user(content::read(input)?.parts),
        b'[' => {
            let mut writer = Writer { messages: &mut *messages, tools, dropped };
            input.each(|item| writer.item(&item))?;
        }
        _ => return Err(input.wrong("must be a string or an array of items")),
    }
    messages.unreadable.take().map_or(Ok(()), Err)
}

struct Writer<'w, 'a> {
    messages: &'w mut Messages<'a>,
    tools: &'w Tools<'w>,
    dropped: &'w mut Dropped,
}

impl<'a> Writer<'_, 'a> {
    fn item(&mut self, item: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
        let [kind, role, id, content] = item.members(["type", "role", "id", "content"])?;
        let text = kind.map(|kind| kind.text()).transpose()?.map(|kind| kind.decoded());
        let text = match &text {
            Some(text) => text,
            None if role.is_some() => "message",
            None if id.is_some() => "item_reference",
            None => return Err(item.lacks("type", "as in {\"type\": \"message\", …}")),
        };
        match text {
            "message" => self.message(item, role, content),
            "reasoning" => self.reasoning(item),
            "function_call" | "custom_tool_call" => self.call(item, text == "custom_tool_call"),
            "function_call_output" | "custom_tool_call_output" => self.output(item),
            "tool_search_call" | "tool_search_output" => self.search(item, text),
            "agent_message" => self.agent_message(item),
            "additional_tools" => Ok(()),
            "item_reference" => {
                Err(item.wrong("refers to an item, and no items are kept here: send the item itself, as SDKs do with \"store\": false"))
            }
            "compaction" | "compaction_summary" | "context_compaction" => Err(item.wrong(
                "is a compacted conversation that only the service that made it can read: send the items themselves, or a summary as a message",
            )),
            "compaction_trigger" => {
                Err(item.wrong("asks for compaction, which is not served here: let the client summarise"))
            }
            text if HOSTED.contains(&text) => {
                self.dropped.name_in(&HOSTED, text, "input");
                Ok(())
            }
            text => {
                let message = format!("is {:?}: use one of {READ}", shown(text));
                Err(kind.map_or_else(|| item.wrong(&message), |kind| kind.wrong(&message)))
            }
        }
    }

    fn message(
        &mut self,
        item: &Node<'_, 'a>,
        role: Option<Node<'_, 'a>>,
        content: Option<Node<'_, 'a>>,
    ) -> Result<(), InvalidRequest> {
        let role = required(item, role, "role", "\"user\", \"assistant\", \"system\" or \"developer\"")?;
        let content = required(item, content, "content", "a string or an array of parts")?;
        let Content { parts, unreadable } = content::read(&content)?;
        let named = role.text()?.decoded();
        if named != "user" {
            if let Some(index) = parts.iter().position(|part| matches!(part, Part::Image(_))) {
                return Err(content.wrong_element(index, "is an image: images come from the user or from tools"));
            }
            if let Some(unreadable) = unreadable {
                return Err(unreadable);
            }
        }
        match &*named {
            "system" | "developer" if self.messages.are_at_start() => {
                self.messages.system(content::texts(&parts).map(|[_, text]| text));
            }
            "user" => {
                self.messages.user(parts);
                self.messages.unreadable = self.messages.unreadable.take().or(unreadable);
            }
            // Many chat templates refuse a system's message anywhere but at the beginning. To move it there would
            // change the beginning of the prompt, and with it what is cached, in the middle of a conversation.
            "system" | "developer" => self.messages.user(parts),
            "assistant" => self.messages.assistant(content::texts(&parts).map(|[_, text]| text)),
            other => {
                let other = shown(other);
                return Err(role.wrong(format_args!("is {other:?}: use one of user, assistant, system, developer")));
            }
        }
        Ok(())
    }

    /// A message from another agent of the same client. Codex writes the task of an agent as `encrypted_content`, in
    /// clear where the service is not OpenAI's: <https://github.com/ollama/ollama/issues/18286>.
    fn agent_message(&mut self, item: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
        let [content] = item.members(["content"])?;
        let mut parts = Vec::new();
        required(item, content, "content", "an array of parts")?.each(|part| {
            let [kind, text, encrypted] = part.members(["type", "text", "encrypted_content"])?;
            let is_encrypted = required(&part, kind, "type", "\"input_text\"")?.text()?.says("encrypted_content");
            let text = if is_encrypted {
                required(&part, encrypted, "encrypted_content", "a string")?
            } else {
                required(&part, text, "text", "a string")?
            };
            parts.push(Part::Text("", text.text()?.raw));
            Ok(())
        })?;
        self.messages.user(parts);
        Ok(())
    }

    /// What the assistant thought. A summary of it, or what only OpenAI can decrypt, is not what it thought.
    fn reasoning(&mut self, item: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
        let [content] = item.members(["content"])?;
        let Some(content) = content else { return Ok(()) };
        let mut texts = Vec::new();
        content.each(|part| {
            let [text] = part.members(["text"])?;
            texts.push(required(&part, text, "text", "a string")?.text()?.raw);
            Ok(())
        })?;
        self.messages.reasoning(texts.into_iter());
        Ok(())
    }

    fn call(&mut self, item: &Node<'_, 'a>, is_custom: bool) -> Result<(), InvalidRequest> {
        let [id, name, namespace, arguments, input] =
            item.members(["call_id", "name", "namespace", "arguments", "input"])?;
        let id = required(item, id, "call_id", CALL_ID)?.text()?;
        let name = required(item, name, "name", "the name of the tool")?.text()?.decoded();
        let namespace = namespace.map(|namespace| namespace.text()).transpose()?.map(|text| text.decoded());
        let name = self.tools.given(namespace.as_deref(), &name);
        let arguments = if is_custom {
            CallArguments::Input(required(item, input, "input", "a string")?.text()?)
        } else {
            CallArguments::Text(required(item, arguments, "arguments", "a string of JSON")?.text()?)
        };
        self.messages.call(Call { id, name, arguments });
        Ok(())
    }

    fn output(&mut self, item: &Node<'_, 'a>) -> Result<(), InvalidRequest> {
        let [id, output] = item.members(["call_id", "output"])?;
        let id = required(item, id, "call_id", CALL_ID)?.text()?;
        let output = required(item, output, "output", "a string or an array of parts")?;
        self.messages.output(id, content::read(&output)?.parts);
        Ok(())
    }

    /// A search for tools, or what it has found. Of a search that a service made there is no call that could be
    /// answered.
    fn search(&mut self, item: &Node<'_, 'a>, kind: &str) -> Result<(), InvalidRequest> {
        let [id, execution, arguments, tools] = item.members(["call_id", "execution", "arguments", "tools"])?;
        let is_servers = execution.map(|by| by.text()).transpose()?.is_some_and(|by| by.says("server"));
        let Some(id) = id.filter(|_| !is_servers) else {
            self.dropped.name_in(&HOSTED, kind, "input");
            return Ok(());
        };
        let id = id.text()?;
        if kind == "tool_search_call" {
            let arguments = CallArguments::Json(arguments.map_or("{}", |arguments| arguments.raw()));
            self.messages.call(Call { id, name: self.tools.given(None, SEARCH), arguments });
            return Ok(());
        }
        // The tools themselves stand with the others.
        let names = tools.map_or_else(|| Ok(Vec::new()), |tools| self.tools.names_in(&tools))?;
        self.messages.tool(id, |out| {
            if names.is_empty() {
                out.extend_from_slice(b"No tool was found.");
            } else {
                out.extend_from_slice(b"These tools can be called now: ");
                write::escaped(out, &names.join(", "));
            }
        });
        Ok(())
    }
}
