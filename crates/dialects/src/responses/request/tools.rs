//! Tools of every type as functions of a chat, and the names by which they come back.
//!
//! A chat has functions alone. A `custom` tool becomes a function with the one parameter `input`; the tools of a `namespace` become
//! functions with joined names; `tool_search`, where the client itself searches, becomes a function too. The tools that a service would
//! run, or whose format only a service's own models know, are left out and named.
//!
//! Sources: the types `Tool…Param` of openai-python 3.57, and Codex' `tools/src/tool_spec.rs`
//! (<https://github.com/openai/codex/tree/main/codex-rs>), which sends its tools since 0.144 as an `additional_tools` item.

use std::collections::{BTreeMap, BTreeSet};

use provider::{InvalidRequest, Value};

use super::{
    super::asked::{Kind, ToolName},
    dropped::Dropped,
    read::{Members, Place, elements},
};
use crate::chat::write;

/// The namespace that means none: <https://github.com/openai/codex/blob/main/codex-rs/protocol/src/tool_name.rs>.
const NO_NAMESPACE: &str = "functions";
/// The name of the function that a `tool_search` becomes.
pub(super) const SEARCH: &str = "tool_search";
/// The longest name of a function: <https://platform.openai.com/docs/api-reference/chat/create>.
const LONGEST: usize = 64;
/// Types of tools that are left out. A service runs them, or their calls have a format of their own, which only a service's own models
/// write; a type that is not here is left out as well, and called `tools`.
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

/// A tool's identity to the client: its namespace, if it has one, and its name.
type Key = (Option<String>, String);

/// The tools that the model is told of.
#[derive(Default)]
pub(super) struct Tools {
    list: Vec<Tool>,
    by_key: BTreeMap<Key, usize>,
    /// The names that are given, and the number to try next for another tool of that name.
    given: BTreeMap<String, u32>,
}

struct Tool {
    name: ToolName,
    /// The name that the model knows it by.
    given: String,
    /// The tool as a chat has it, a JSON object.
    json: Vec<u8>,
}

impl Tools {
    /// Adds the array of tools `raw`. `kept` takes those of its elements that are not left out, as they are written.
    pub(super) fn add(
        &mut self,
        raw: &str,
        place: &Place<'_>,
        dropped: &mut Dropped,
        mut kept: impl FnMut(&str),
    ) -> Result<(), InvalidRequest> {
        for (index, raw) in elements(raw, place)?.into_iter().enumerate() {
            if self.add_one(raw, &place.element(index), None, dropped)? {
                kept(raw);
            }
        }
        Ok(())
    }

    /// Adds one tool; returns whether it is one that is not left out.
    fn add_one(
        &mut self,
        raw: &str,
        place: &Place<'_>,
        namespace: Option<&Namespace<'_>>,
        dropped: &mut Dropped,
    ) -> Result<bool, InvalidRequest> {
        let tool = Members::read(raw, place)?;
        let kind = tool.required_text("type", place)?.decoded();
        match &*kind {
            "function" => self.function(&tool, place, namespace)?,
            "custom" => self.custom(&tool, place, namespace)?,
            "namespace" if namespace.is_none() => self.namespace(&tool, place, dropped)?,
            "tool_search" if tool.text("execution", place)?.is_some_and(|by| !by.says("server")) => {
                let parameters = tool.get("parameters").map_or(SEARCH_PARAMETERS, |given| given.raw);
                let description = tool.text("description", place)?.map_or("", |text| text.raw);
                let kind = Kind::Search;
                self.push(&New { kind, namespace: None, name: SEARCH, description, parameters, strict: None });
            }
            kind => {
                dropped.name_in(&HOSTED, kind, "tools");
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn function(
        &mut self,
        tool: &Members<'_>,
        place: &Place<'_>,
        namespace: Option<&Namespace<'_>>,
    ) -> Result<(), InvalidRequest> {
        let name = name_of(tool, place)?;
        let description = tool.text("description", place)?.map_or("", |text| text.raw);
        let parameters = match tool.get("parameters") {
            None => NO_PARAMETERS,
            Some(given) if matches!(given.value, Value::Object(_)) => given.raw,
            Some(_) => return Err(place.member("parameters").refuse("must be an object: a JSON schema")),
        };
        let strict = tool.flag("strict", place)?;
        self.push(&New { kind: Kind::Function, namespace, name: &name, description, parameters, strict });
        Ok(())
    }

    fn custom(
        &mut self,
        tool: &Members<'_>,
        place: &Place<'_>,
        namespace: Option<&Namespace<'_>>,
    ) -> Result<(), InvalidRequest> {
        let name = name_of(tool, place)?;
        let description = tool.text("description", place)?.map_or("", |text| text.raw);
        let mut input = String::from("The whole input, as free text.");
        if let Some(format) = tool.get("format") {
            let place = place.member("format");
            let format = Members::read(format.raw, &place)?;
            match &*format.required_text("type", &place)?.decoded() {
                "text" => {}
                "grammar" => {
                    let syntax = format.required_text("syntax", &place)?;
                    let definition = format.required_text("definition", &place)?;
                    input =
                        format!("The whole input. It must match this grammar ({}):\\n{}", syntax.raw, definition.raw);
                }
                _ => return Err(place.member("type").refuse("must be \"text\" or \"grammar\"")),
            }
        }
        let parameters = format!(
            r#"{{"type":"object","properties":{{"input":{{"type":"string","description":"{input}"}}}},"required":["input"],"additionalProperties":false}}"#
        );
        let kind = Kind::Custom;
        self.push(&New { kind, namespace, name: &name, description, parameters: &parameters, strict: None });
        Ok(())
    }

    fn namespace(
        &mut self,
        tool: &Members<'_>,
        place: &Place<'_>,
        dropped: &mut Dropped,
    ) -> Result<(), InvalidRequest> {
        let name = name_of(tool, place)?;
        let description = tool.text("description", place)?.map_or("", |text| text.raw);
        let Some(tools) = tool.get("tools") else {
            return Err(place.member("tools").refuse("is required: an array of functions and custom tools"));
        };
        let place = place.member("tools");
        for (index, raw) in elements(tools.raw, &place)?.into_iter().enumerate() {
            // The model reads about the group where it meets its first tool.
            let namespace = Namespace { name: &name, description: if index == 0 { description } else { "" } };
            self.add_one(raw, &place.element(index), Some(&namespace), dropped)?;
        }
        Ok(())
    }

    /// Adds a tool, unless there is one of its name.
    fn push(&mut self, tool: &New<'_>) {
        let key = key(tool.namespace.map(|namespace| namespace.name), tool.name);
        if self.by_key.contains_key(&key) {
            return;
        }
        let given = self.unused(joined(key.0.as_deref(), tool.name));
        let json = tool.json(&given);
        let name = ToolName { kind: tool.kind, namespace: key.0.clone(), name: tool.name.to_owned() };
        self.by_key.insert(key, self.list.len());
        self.list.push(Tool { name, given, json });
    }

    /// `name`, or that with a number behind it where another tool has it.
    fn unused(&mut self, name: String) -> String {
        let Some(mut number) = self.given.get(&name).copied() else {
            self.given.insert(name.clone(), 2);
            return name;
        };
        loop {
            let end = format!("_{number}");
            number = number.saturating_add(1);
            let numbered = format!("{}{end}", &name[..name.len().min(LONGEST - end.len())]);
            if !self.given.contains_key(&numbered) {
                self.given.insert(numbered.clone(), 2);
                self.given.insert(name, number);
                return numbered;
            }
        }
    }

    /// The name of the function that a call in the history calls.
    pub(super) fn given(&self, namespace: Option<&str>, name: &str) -> String {
        let key = key(namespace, name);
        match self.by_key.get(&key) {
            Some(at) => self.list[*at].given.clone(),
            None => joined(key.0.as_deref(), &key.1),
        }
    }

    /// The names of the functions that the array of tools `raw` became.
    pub(super) fn names_in(&self, raw: &str, place: &Place<'_>) -> Result<Vec<String>, InvalidRequest> {
        let mut names = Vec::new();
        for (index, raw) in elements(raw, place)?.into_iter().enumerate() {
            let place = place.element(index);
            let tool = Members::read(raw, &place)?;
            let Some(name) = tool.text("name", &place)?.map(|name| name.decoded()) else { continue };
            let Some(inner) = tool.get("tools") else {
                names.push(self.given(None, &name));
                continue;
            };
            let place = place.member("tools");
            for (index, raw) in elements(inner.raw, &place)?.into_iter().enumerate() {
                let place = place.element(index);
                let inner = Members::read(raw, &place)?.text("name", &place)?.map(|name| name.decoded());
                names.extend(inner.map(|inner| self.given(Some(&name), &inner)));
            }
        }
        Ok(names)
    }

    /// The tool that a choice calls `name`: the one without a namespace, or the only one with any.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_key.get(&key(None, name)).copied().or_else(|| {
            let mut others = self.list.iter().enumerate().filter(|(_, tool)| tool.name.name == name);
            others.next().filter(|_| others.next().is_none()).map(|(at, _)| at)
        })
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
            out.extend_from_slice(&tool.json);
            count += 1;
        }
        out.push(b']');
        count
    }

    /// What comes back under which name, of the tools that are not plain functions under their own.
    pub(super) fn into_names(self) -> BTreeMap<String, ToolName> {
        let is_plain = |tool: &Tool| {
            matches!(tool.name.kind, Kind::Function) && tool.name.namespace.is_none() && tool.name.name == tool.given
        };
        self.list.into_iter().filter(|tool| !is_plain(tool)).map(|tool| (tool.given, tool.name)).collect()
    }
}

struct Namespace<'n> {
    name: &'n str,
    /// As it is written in JSON; empty if it has none.
    description: &'n str,
}

/// A tool that is not in the list yet.
struct New<'n> {
    kind: Kind,
    namespace: Option<&'n Namespace<'n>>,
    name: &'n str,
    /// As it is written in JSON; empty if it has none.
    description: &'n str,
    /// A JSON schema.
    parameters: &'n str,
    strict: Option<bool>,
}

impl New<'_> {
    /// The tool as a chat has it, under the name that the model knows it by.
    fn json(&self, given: &str) -> Vec<u8> {
        let mut json = Vec::with_capacity(128 + self.description.len() + self.parameters.len());
        json.extend_from_slice(br#"{"type":"function","function":{"name":"#);
        write::string(&mut json, given);
        let about = self.namespace.filter(|namespace| !namespace.description.is_empty());
        if about.is_some() || !self.description.is_empty() {
            json.extend_from_slice(br#","description":""#);
            json.extend_from_slice(self.description.as_bytes());
            if let Some(about) = about {
                json.extend_from_slice(br"\n\nAbout all tools whose names start with ");
                json.extend_from_slice(sanitised(about.name).as_bytes());
                json.extend_from_slice(b": ");
                json.extend_from_slice(about.description.as_bytes());
            }
            json.push(b'"');
        }
        json.extend_from_slice(br#","parameters":"#);
        json.extend_from_slice(self.parameters.as_bytes());
        if let Some(strict) = self.strict {
            json.extend_from_slice(if strict { br#","strict":true"# } else { br#","strict":false"# });
        }
        json.extend_from_slice(b"}}");
        json
    }
}

fn name_of(tool: &Members<'_>, place: &Place<'_>) -> Result<String, InvalidRequest> {
    let name = tool.required_text("name", place)?;
    if name.raw.is_empty() {
        return Err(place.member("name").refuse("must not be empty"));
    }
    Ok(name.decoded().into_owned())
}

fn key(namespace: Option<&str>, name: &str) -> Key {
    let namespace = namespace.filter(|namespace| !namespace.is_empty() && *namespace != NO_NAMESPACE);
    (namespace.map(str::to_owned), name.to_owned())
}

/// The name of a function for a tool: of the characters and the length that a chat takes. Of a name that is too long the end is kept,
/// where the tool's own name stands.
fn joined(namespace: Option<&str>, name: &str) -> String {
    let name = match namespace {
        Some(namespace) if namespace.ends_with('_') => sanitised(namespace) + &sanitised(name),
        Some(namespace) => sanitised(namespace) + "__" + &sanitised(name),
        None => sanitised(name),
    };
    name[name.len().saturating_sub(LONGEST)..].to_owned()
}

/// ASCII letters, digits, `_` and `-` as they are, `_` for every other character.
fn sanitised(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    name.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}
