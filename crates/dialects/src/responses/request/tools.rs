//! Tools of every type as functions of a chat, and the names by which they come back.
//!
//! A chat has functions alone. A `custom` tool becomes a function with the one parameter `input`; the tools of a
//! `namespace` become functions with joined names; `tool_search`, where the client itself searches, becomes a function
//! too. The tools that a service would run, or whose format only a service's own models know, are left out and named.
//!
//! Sources: the types `Tool…Param` of openai-python 3.57, and Codex' `tools/src/tool_spec.rs`
//! (<https://github.com/openai/codex/tree/main/codex-rs>), which sends its tools since 0.144 as an `additional_tools`
//! item.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use provider::InvalidRequest;

use super::{
    super::asked::{Kind, ToolName},
    dropped::Dropped,
    names::{Given, Key, joined, key, sanitised},
    required,
};
use crate::{
    MOST_TOOLS,
    chat::write,
    node::{Node, shown},
};

/// The name of the function that a `tool_search` becomes.
pub(super) const SEARCH: &str = "tool_search";
/// Types of tools that are left out. A service runs them, or their calls have a format of their own, which only a
/// service's own models write; a type that is not here is left out as well, and called `tools`.
const HOSTED: [&str; 17] = [
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
];
/// Parameters of a function that names none, and of a search that names none.
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;
const SEARCH_PARAMETERS: &str =
    r#"{"type":"object","properties":{"query":{"type":"string"}},"required":["query"],"additionalProperties":false}"#;

/// The tools that the model is told of.
#[derive(Default)]
pub(super) struct Tools<'a> {
    list: Vec<Tool<'a>>,
    by_key: BTreeMap<Key, usize>,
    /// The tools of namespaces by their names without it; `None` where several have one.
    by_name: BTreeMap<String, Option<usize>>,
    given: Given,
}

/// A tool. Its texts are as they are written in JSON.
struct Tool<'a> {
    name: ToolName,
    /// The name that the model knows it by.
    given: String,
    /// Empty if it has none.
    description: &'a str,
    /// What is said about its namespace, if the model is to read that here.
    about: &'a str,
    /// A JSON schema.
    parameters: Cow<'a, str>,
    strict: Option<bool>,
}

impl<'a> Tools<'a> {
    /// Adds an array of tools. `kept` takes those of its elements that are not left out, as they are written.
    pub(super) fn add(
        &mut self,
        list: &Node<'_, 'a>,
        dropped: &mut Dropped,
        mut kept: impl FnMut(&str),
    ) -> Result<(), InvalidRequest> {
        list.each(|tool| {
            if self.add_one(&tool, None, dropped)? {
                kept(tool.raw());
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Adds one tool; returns whether it is one that is not left out.
    fn add_one(
        &mut self,
        tool: &Node<'_, 'a>,
        namespace: Option<&Namespace<'_, 'a>>,
        dropped: &mut Dropped,
    ) -> Result<bool, InvalidRequest> {
        if self.list.len() == MOST_TOOLS {
            return Err(tool.wrong(format_args!("is one tool too many: send at most {MOST_TOOLS}")));
        }
        let [kind, name, description, execution] = tool.members(["type", "name", "description", "execution"])?;
        let kind = required(tool, kind, "type", "as in {\"type\": \"function\", …}")?.text()?;
        let description = description.map_or(Ok(""), |text| text.text().map(|text| text.raw))?;
        let name = || -> Result<String, InvalidRequest> {
            Ok(required(tool, name, "name", "the name of the tool")?.filled_text()?.decoded().into_owned())
        };
        match &*kind.decoded() {
            "function" => {
                let [parameters, strict] = tool.members(["parameters", "strict"])?;
                let (name, strict) = (name()?, strict.map(|strict| strict.flag()).transpose()?);
                let parameters = match parameters {
                    None => NO_PARAMETERS,
                    Some(schema) => schema.object().map(|()| schema.raw())?,
                };
                let parameters = parameters.into();
                self.push(namespace, New { kind: Kind::Function, name, description, parameters, strict });
            }
            "custom" => {
                let [format] = tool.members(["format"])?;
                let (kind, name, parameters) = (Kind::Custom, name()?, custom_parameters(format)?.into());
                self.push(namespace, New { kind, name, description, parameters, strict: None });
            }
            "namespace" if namespace.is_none() => {
                let [tools] = tool.members(["tools"])?;
                let tools = required(tool, tools, "tools", "an array of functions and custom tools")?;
                let mut namespace = Namespace { name: &name()?, description };
                tools.each(|tool| {
                    self.add_one(&tool, Some(&namespace), dropped)?;
                    // The model reads about the group where it meets its first tool.
                    namespace.description = "";
                    Ok(())
                })?;
            }
            "tool_search" if is_clients(execution)? => {
                let [parameters] = tool.members(["parameters"])?;
                let parameters = parameters.map_or(SEARCH_PARAMETERS, |given| given.raw()).into();
                let (kind, name) = (Kind::Search, SEARCH.to_owned());
                self.push(None, New { kind, name, description, parameters, strict: None });
            }
            kind => {
                dropped.name_in(&HOSTED, kind, "tools");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds a tool, unless there is one of its name.
    fn push(&mut self, namespace: Option<&Namespace<'_, 'a>>, new: New<'a>) {
        let New { kind, name, description, parameters, strict } = new;
        let key = key(namespace.map(|namespace| namespace.name), &name);
        if self.by_key.contains_key(&key) {
            return;
        }
        let given = self.given.unused(joined(&key));
        let at = self.list.len();
        let about = match (&key.0, namespace) {
            (Some(_), Some(namespace)) => namespace.description,
            _ => "",
        };
        if key.0.is_some() {
            self.by_name.entry(name.clone()).and_modify(|only| *only = None).or_insert(Some(at));
        }
        let name = ToolName { kind, namespace: key.0.clone(), name };
        self.by_key.insert(key, at);
        self.list.push(Tool { name, given, description, about, parameters, strict });
    }

    /// The name of the function that a call in the history calls.
    pub(super) fn given(&self, namespace: Option<&str>, name: &str) -> String {
        let key = key(namespace, name);
        self.by_key.get(&key).map_or_else(|| joined(&key), |at| self.list[*at].given.clone())
    }

    /// The names of the functions that an array of tools became.
    pub(super) fn names_in(&self, list: &Node<'_, '_>) -> Result<Vec<String>, InvalidRequest> {
        let mut names = Vec::new();
        list.each(|tool| {
            let [name, tools] = tool.members(["name", "tools"])?;
            let Some(name) = name else { return Ok(()) };
            let name = name.text()?.decoded();
            let Some(tools) = tools else {
                names.push(self.given(None, &name));
                return Ok(());
            };
            tools.each(|tool| {
                let [inner] = tool.members(["name"])?;
                let inner = inner.map(|inner| inner.text()).transpose()?;
                names.extend(inner.map(|inner| self.given(Some(&name), &inner.decoded())));
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(names)
    }

    /// The tool that a choice calls `name`: the one without a namespace, or the only one with any.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let without_namespace = self.by_key.get(&key(None, name)).copied();
        without_namespace.or_else(|| self.by_name.get(name).copied().flatten())
    }

    /// The name that the model knows the tool `at` by.
    pub(super) fn name_of(&self, at: usize) -> &str {
        self.list.get(at).map_or("", |tool| &tool.given)
    }

    /// Writes the tools as the array of a chat: all, or those that `allowed` lists. Returns how many there are.
    pub(super) fn write(&self, out: &mut Vec<u8>, allowed: Option<&BTreeSet<usize>>) -> usize {
        let mut count = 0;
        out.push(b'[');
        for (_, tool) in self.list.iter().enumerate().filter(|(at, _)| allowed.is_none_or(|all| all.contains(at))) {
            if count > 0 {
                out.push(b',');
            }
            tool.write(out);
            count += 1;
        }
        out.push(b']');
        count
    }

    /// What comes back under which name, of the tools that are not plain functions under their own.
    pub(super) fn into_names(self) -> BTreeMap<String, ToolName> {
        let is_plain = |tool: &Tool<'_>| {
            matches!(tool.name.kind, Kind::Function) && tool.name.namespace.is_none() && tool.name.name == tool.given
        };
        self.list.into_iter().filter(|tool| !is_plain(tool)).map(|tool| (tool.given, tool.name)).collect()
    }
}

/// Whether the client itself carries out a search for tools; without a word of it the service does.
fn is_clients(execution: Option<Node<'_, '_>>) -> Result<bool, InvalidRequest> {
    Ok(execution.map(|by| by.text()).transpose()?.is_some_and(|by| !by.says("server")))
}

/// The schema of the function that a custom tool becomes, which tells the model what its input must be.
fn custom_parameters(format: Option<Node<'_, '_>>) -> Result<String, InvalidRequest> {
    let mut input = String::from("The whole input, as free text.");
    if let Some(format) = format {
        let [kind, syntax, definition] = format.members(["type", "syntax", "definition"])?;
        let kind = required(&format, kind, "type", "\"text\" or \"grammar\"")?;
        match &*kind.text()?.decoded() {
            "text" => {}
            "grammar" => {
                let syntax = required(&format, syntax, "syntax", "\"lark\" or \"regex\"")?.text()?;
                let definition = required(&format, definition, "definition", "the grammar")?.text()?;
                input = format!("The whole input. It must match this grammar ({}):\\n{}", syntax.raw, definition.raw);
            }
            other => {
                let other = shown(other);
                return Err(kind.wrong(format_args!("is {other:?}: use \"text\" or \"grammar\"")));
            }
        }
    }
    Ok(format!(
        r#"{{"type":"object","properties":{{"input":{{"type":"string","description":"{input}"}}}},"required":["input"],"additionalProperties":false}}"#
    ))
}

struct Namespace<'n, 'a> {
    name: &'n str,
    /// As it is written in JSON; empty if it has none.
    description: &'a str,
}

/// A tool that is not in the list yet.
struct New<'a> {
    kind: Kind,
    name: String,
    /// As it is written in JSON; empty if it has none.
    description: &'a str,
    /// A JSON schema.
    parameters: Cow<'a, str>,
    strict: Option<bool>,
}

impl Tool<'_> {
    /// Writes the tool as a chat has it, under the name that the model knows it by.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"function","function":{"name":"#);
        write::string(out, &self.given);
        let about = self.name.namespace.as_ref().filter(|_| !self.about.is_empty());
        if about.is_some() || !self.description.is_empty() {
            out.extend_from_slice(br#","description":""#);
            out.extend_from_slice(self.description.as_bytes());
            if let Some(namespace) = about {
                let gap = if self.description.is_empty() { "" } else { r"\n\n" };
                out.extend_from_slice(gap.as_bytes());
                out.extend_from_slice(b"About all tools whose names start with ");
                out.extend_from_slice(sanitised(namespace).as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.about.as_bytes());
            }
            out.push(b'"');
        }
        write::member(out, "parameters", &self.parameters);
        if let Some(strict) = self.strict {
            write::member(out, "strict", if strict { "true" } else { "false" });
        }
        out.extend_from_slice(b"}}");
    }
}
