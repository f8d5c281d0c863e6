//! The tools of a request and the choice among them.

use std::borrow::Cow;

use provider::{InvalidRequest, Text};

use crate::{
    chat::write::quoted,
    node::{Node, shown},
};

/// Tools that Anthropic runs on its own servers: what their types begin with, and what they are called where they are left out.
/// Source: the tool types of the Python SDK, <https://github.com/anthropics/anthropic-sdk-python>.
const SERVER_TOOLS: [(&str, &str); 7] = [
    ("web_search_", "tools.web_search"),
    ("web_fetch_", "tools.web_fetch"),
    ("code_execution_", "tools.code_execution"),
    ("tool_search_tool_", "tools.tool_search_tool"),
    ("advisor_", "tools.advisor"),
    ("mcp_toolset", "tools.mcp_toolset"),
    ("mcp_tool", "tools.mcp_tool"),
];

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools<'a> {
    /// The names of those that are sent on.
    names: Vec<Cow<'a, str>>,
    /// The names of those that are not.
    left_out: Vec<Cow<'a, str>>,
    /// What the header calls what is left out, each once.
    pub(super) dropped: Vec<&'static str>,
}

impl<'a> Tools<'a> {
    /// Reads `tools`, and writes those that are sent on as a member of a chat's body, if there are any.
    pub(super) fn read(tools: &Node<'_, 'a>, out: &mut Vec<u8>) -> Result<Self, InvalidRequest> {
        let mut read = Self::default();
        tools.each(|tool| read.tool(&tool, out))?;
        if !read.names.is_empty() {
            out.push(b']');
        }
        Ok(read)
    }

    fn tool(&mut self, tool: &Node<'_, 'a>, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
        let [kind, name, description, schema, strict, examples] =
            tool.members(["type", "name", "description", "input_schema", "strict", "input_examples"])?;
        let kind = kind.map(|kind| kind.text()).transpose()?.map(|kind| kind.decoded());
        if let Some(kind) = kind.filter(|kind| kind != "custom") {
            return self.typed(tool, &kind, name.map(|name| name.text()).transpose()?);
        }
        let name = name.ok_or_else(|| tool.lacks("name", "name the tool"))?.filled_text()?;
        let schema = schema.ok_or_else(|| {
            tool.lacks("input_schema", "send a JSON schema, {\"type\":\"object\"} for one without input")
        })?;
        schema.object()?;
        let description = description.map(|description| description.text()).transpose()?;
        if strict.is_some_and(|strict| strict.raw() == "true") {
            self.left_out("tools.strict");
        }
        if examples.is_some() {
            self.left_out("tools.input_examples");
        }
        out.extend_from_slice(if self.names.is_empty() { b",\"tools\":[" } else { b"," });
        out.extend_from_slice(b"{\"type\":\"function\",\"function\":{\"name\":");
        quoted(out, name);
        if let Some(description) = description {
            out.extend_from_slice(b",\"description\":");
            quoted(out, description);
        }
        out.extend_from_slice(b",\"parameters\":");
        out.extend_from_slice(schema.raw().as_bytes());
        out.extend_from_slice(b"}}");
        self.names.push(name.decoded());
        Ok(())
    }

    /// A tool of Anthropic's own, which has no schema: its models were trained on it.
    fn typed(&mut self, tool: &Node<'_, 'a>, kind: &str, name: Option<Text<'a>>) -> Result<(), InvalidRequest> {
        let Some((_, dropped)) = SERVER_TOOLS.into_iter().find(|(start, _)| kind.starts_with(start)) else {
            return Err(tool.wrong(format_args!(
                "is of type {:?}, which only Anthropic's models know: describe it as a tool of type custom, with a name and an input_schema",
                shown(kind)
            )));
        };
        self.left_out.extend(name.map(|name| name.decoded()));
        self.left_out(dropped);
        Ok(())
    }

    fn left_out(&mut self, what: &'static str) {
        if !self.dropped.contains(&what) {
            self.dropped.push(what);
        }
    }

    /// Writes what `choice` means in a chat, as further members of its body.
    pub(super) fn choice(&self, choice: &Node<'_, 'a>, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
        let [kind, name, is_single] = choice.members(["type", "name", "disable_parallel_tool_use"])?;
        let kind = kind.ok_or_else(|| choice.lacks("type", "use auto, any, tool or none"))?;
        let is_single = is_single.map_or(Ok(false), |is_single| is_single.flag())?;
        let said = kind.text()?.decoded();
        match &*said {
            "auto" | "none" if self.names.is_empty() => return Ok(()),
            "auto" => out.extend_from_slice(b",\"tool_choice\":\"auto\""),
            "none" => out.extend_from_slice(b",\"tool_choice\":\"none\""),
            "any" if self.names.is_empty() && self.left_out.is_empty() => {
                return Err(choice.wrong("asks for a call, but there are no 'tools'"));
            }
            "any" if self.names.is_empty() => {
                return Err(choice.wrong("asks for a call, but all of 'tools' run at Anthropic: send one of your own"));
            }
            "any" => out.extend_from_slice(b",\"tool_choice\":\"required\""),
            "tool" => {
                let name = name.ok_or_else(|| choice.lacks("name", "name one of 'tools'"))?;
                let text = name.filled_text()?;
                let asked = text.decoded();
                if !self.names.contains(&asked) {
                    let why = if self.left_out.contains(&asked) {
                        "runs at Anthropic and is not served here: choose one of your own tools"
                    } else {
                        "is none of 'tools'"
                    };
                    return Err(name.wrong(format_args!("is {:?}, which {why}", shown(&asked))));
                }
                out.extend_from_slice(b",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":");
                quoted(out, text);
                out.extend_from_slice(b"}}");
            }
            other => {
                return Err(kind.wrong(format_args!("is {:?}: use auto, any, tool or none", shown(other))));
            }
        }
        if is_single {
            out.extend_from_slice(b",\"parallel_tool_calls\":false");
        }
        Ok(())
    }
}
