//! The fields of a request beside its conversation and its tools.

use std::hash::{DefaultHasher, Hash, Hasher};

use provider::InvalidRequest;

use super::required;
use crate::{
    chat::{
        EFFORTS, effort,
        write::{self, member},
    },
    node::{Node, shown},
};

/// Most stop sequences: as in a chat, where each is looked for at every token.
const MAX_STOPS: usize = 64;
/// Most characters of a chat's `user`. OpenAI refuses longer ones, and Claude Code's are.
/// Source: <https://github.com/maximhq/bifrost/pull/1000>.
const MAX_USER: usize = 64;
/// What the schema of an answer is called: a chat's must have a name, Anthropic's has none.
const SCHEMA_NAME: &str = "answer";

/// The fields, as they are written.
#[derive(Default)]
pub(super) struct Config<'a> {
    stream: Option<&'a str>,
    max_tokens: Option<&'a str>,
    stop_sequences: Option<&'a str>,
    temperature: Option<&'a str>,
    top_p: Option<&'a str>,
    top_k: Option<&'a str>,
    metadata: Option<&'a str>,
    thinking: Option<&'a str>,
    output: Option<&'a str>,
    /// The older place of the output's format.
    format: Option<&'a str>,
}

impl<'a> Config<'a> {
    /// Whether the field `name` is one of these; if so, it is kept.
    pub(super) fn takes(&mut self, name: &str, raw: &'a str) -> bool {
        let field = match name {
            "stream" => &mut self.stream,
            "max_tokens" => &mut self.max_tokens,
            "stop_sequences" => &mut self.stop_sequences,
            "temperature" => &mut self.temperature,
            "top_p" => &mut self.top_p,
            "top_k" => &mut self.top_k,
            "metadata" => &mut self.metadata,
            "thinking" => &mut self.thinking,
            "output_config" => &mut self.output,
            "output_format" => &mut self.format,
            _ => return false,
        };
        *field = Some(raw);
        true
    }

    /// Writes them as members of a chat's body. Returns whether the answer shows what the model thinks.
    pub(super) fn write(
        &self,
        needs_limit: bool,
        out: &mut Vec<u8>,
        dropped: &mut Vec<String>,
    ) -> Result<bool, InvalidRequest> {
        if let Some(raw) = self.stream
            && Node::field("stream", raw).flag()?
        {
            out.extend_from_slice(b",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        match self.max_tokens.map(|raw| Node::field("max_tokens", raw)) {
            Some(limit) => whole_number(&limit, "max_tokens", 1, out)?,
            None if needs_limit => {
                return Err(required("max_tokens", "say how many tokens the answer may have at most"));
            }
            None => {}
        }
        if let Some(raw) = self.stop_sequences {
            stops(&Node::field("stop_sequences", raw), out)?;
        }
        for (name, raw, max) in [("temperature", self.temperature, 2.0), ("top_p", self.top_p, 1.0)] {
            let Some(raw) = raw else { continue };
            let node = Node::field(name, raw);
            if !node.value().number().is_some_and(|number| (0.0..=max).contains(&number)) {
                return Err(node.wrong(format_args!("must be a number from 0 to {max}")));
            }
            member(out, name, raw);
        }
        if let Some(raw) = self.top_k {
            whole_number(&Node::field("top_k", raw), "top_k", 0, out)?;
        }
        if let Some(raw) = self.metadata {
            user(&Node::field("metadata", raw), out)?;
        }
        self.output(out, dropped)?;
        self.thinking.map_or(Ok(false), |raw| thinking(&Node::field("thinking", raw), dropped))
    }

    /// How much effort the answer is worth, and its format.
    fn output(&self, out: &mut Vec<u8>, dropped: &mut Vec<String>) -> Result<(), InvalidRequest> {
        let older = self.format.map(|raw| Node::field("output_format", raw));
        let Some(raw) = self.output else {
            return older.map_or(Ok(()), |older| format(&older, out));
        };
        let config = Node::field("output_config", raw);
        let [asked, newer, budget] = config.members(["effort", "format", "task_budget"])?;
        if let Some(asked) = asked {
            let said = asked.text()?.decoded();
            let Some(level) = effort(&said) else {
                return Err(asked.wrong(format_args!("is {:?}: use {EFFORTS}", shown(&said))));
            };
            member(out, "reasoning_effort", level);
        }
        if budget.is_some() {
            dropped.push("output_config.task_budget".to_owned());
        }
        match (newer, older) {
            (Some(_), Some(older)) => Err(older.wrong("is the older name of 'output_config.format': send one of them")),
            (Some(one), None) | (None, Some(one)) => format(&one, out),
            (None, None) => Ok(()),
        }
    }
}

fn whole_number(node: &Node<'_, '_>, name: &str, min: u64, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
    let max = u64::from(u32::MAX);
    if !node.value().count().is_some_and(|number| (min..=max).contains(&number)) {
        return Err(node.wrong(format_args!("must be a whole number from {min} to {max}")));
    }
    member(out, name, node.raw());
    Ok(())
}

fn stops(stops: &Node<'_, '_>, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
    let count = stops.each(|stop| stop.filled_text().map(drop))?;
    if count > MAX_STOPS {
        return Err(stops.wrong(format_args!("has more than {MAX_STOPS} entries: send fewer")));
    }
    if count > 0 {
        member(out, "stop", stops.raw());
    }
    Ok(())
}

/// Who asks, as a chat's `user`: what a conversation's upstream is chosen by. A long one is replaced by a hash of it.
fn user(metadata: &Node<'_, '_>, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
    let [id] = metadata.members(["user_id"])?;
    let Some(id) = id else { return Ok(()) };
    let said = id.text()?.decoded();
    out.extend_from_slice(b",\"user\":");
    if said.chars().count() <= MAX_USER {
        write::string(out, &said);
    } else {
        let mut hasher = DefaultHasher::new();
        said.hash(&mut hasher);
        write::string(out, &format!("{:016x}", hasher.finish()));
    }
    Ok(())
}

fn format(format: &Node<'_, '_>, out: &mut Vec<u8>) -> Result<(), InvalidRequest> {
    let [kind, schema] = format.members(["type", "schema"])?;
    let kind = kind.ok_or_else(|| format.lacks("type", "use json_schema"))?;
    if !kind.text()?.says("json_schema") {
        return Err(kind.wrong("must be json_schema"));
    }
    let schema = schema.ok_or_else(|| format.lacks("schema", "send the JSON schema of the answer"))?;
    schema.object()?;
    out.extend_from_slice(b",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":");
    write::string(out, SCHEMA_NAME);
    member(out, "schema", schema.raw());
    member(out, "strict", "true");
    out.extend_from_slice(b"}}");
    Ok(())
}

/// Whether the answer shows what the model thinks. How much it thinks is its own affair, or that of the effort: no field of a
/// chat says it to every model.
fn thinking(thinking: &Node<'_, '_>, dropped: &mut Vec<String>) -> Result<bool, InvalidRequest> {
    let [kind, budget, display] = thinking.members(["type", "budget_tokens", "display"])?;
    let kind = kind.ok_or_else(|| thinking.lacks("type", "use enabled, adaptive or disabled"))?;
    let said = kind.text()?.decoded();
    let is_hidden = display.map(|display| display.text()).transpose()?.is_some_and(|display| display.says("omitted"));
    match &*said {
        "enabled" | "adaptive" | "between_tools" => {
            if let Some(budget) = budget {
                if budget.value().count().is_none() {
                    return Err(budget.wrong("must be a whole number"));
                }
                dropped.push("thinking.budget_tokens".to_owned());
            }
            Ok(!is_hidden)
        }
        "disabled" => {
            dropped.push("thinking".to_owned());
            Ok(false)
        }
        other => Err(kind.wrong(format_args!("is {:?}: use enabled, adaptive or disabled", shown(other)))),
    }
}
