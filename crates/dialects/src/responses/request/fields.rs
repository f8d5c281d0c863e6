//! The top-level fields but for the input and the tools: what each becomes, and what is said of it in the answer.

use std::ops::RangeInclusive;

use provider::InvalidRequest;

use super::{Body, dropped::Dropped, lacking, required};
use crate::{
    chat::{EFFORTS, effort, write::member},
    node::{Node, shown},
};

/// What becomes of a field.
enum Rule {
    /// It is read, here or elsewhere.
    Read,
    /// It is forwarded as it came, under the same name.
    Forward,
    /// It is accepted and changes nothing.
    Ignore,
    /// It is left out and named.
    Drop(&'static str),
    /// It cannot be served; what to do instead.
    Refuse(&'static str),
}

fn rule(name: &str) -> Rule {
    match name {
        "model"
        | "input"
        | "instructions"
        | "tools"
        | "tool_choice"
        | "parallel_tool_calls"
        | "text"
        | "reasoning"
        | "max_output_tokens"
        | "top_logprobs"
        | "include"
        | "truncation"
        | "stream"
        | "stream_options"
        | "store"
        | "background" => Rule::Read,
        "client_metadata" => Rule::Ignore,
        "access_programs" => Rule::Drop("access_programs"),
        "background_options" => Rule::Drop("background_options"),
        "context_management" => Rule::Drop("context_management"),
        "image" => Rule::Drop("image"),
        // It counts calls of hosted tools, which are left out.
        "max_tool_calls" => Rule::Drop("max_tool_calls"),
        "moderation" => Rule::Drop("moderation"),
        "prompt_cache_options" => Rule::Drop("prompt_cache_options"),
        "prompt_cache_retention" => Rule::Drop("prompt_cache_retention"),
        "previous_response_id" => Rule::Refuse(
            "continues a stored response, and none are stored here: send the whole conversation as 'input'",
        ),
        "conversation" => Rule::Refuse(
            "names a stored conversation, and none are stored here: send the whole conversation as 'input'",
        ),
        "prompt" => {
            Rule::Refuse("names a stored prompt, and none are stored here: send its text as 'instructions' and 'input'")
        }
        "messages" => Rule::Refuse("belongs to /v1/chat/completions: send 'input'"),
        "max_tokens" | "max_completion_tokens" => {
            Rule::Refuse("belongs to /v1/chat/completions: send 'max_output_tokens'")
        }
        "response_format" => Rule::Refuse("belongs to /v1/chat/completions: send 'text.format'"),
        "reasoning_effort" => Rule::Refuse("belongs to /v1/chat/completions: send 'reasoning.effort'"),
        "verbosity" => Rule::Refuse("belongs to /v1/chat/completions: send 'text.verbosity'"),
        "logprobs" => {
            Rule::Refuse("belongs to /v1/chat/completions: send 'include' with \"message.output_text.logprobs\"")
        }
        "functions" | "function_call" => Rule::Refuse("is not served: send 'tools' and 'tool_choice'"),
        "n" | "best_of" => Rule::Refuse("is not served, because a response holds one answer: send the request again"),
        "audio" | "modalities" => Rule::Refuse("is not served: answers are text"),
        _ => Rule::Forward,
    }
}

/// Refuses what cannot be served, and names what is left out.
pub(super) fn check(body: &Body<'_>, dropped: &mut Dropped) -> Result<(), InvalidRequest> {
    for (name, raw) in &body.0 {
        let name = name.decoded();
        match rule(&name) {
            Rule::Drop(name) => dropped.name(name),
            Rule::Refuse(instead) => return Err(Node::openai_field(&name, raw).wrong(instead)),
            Rule::Read | Rule::Forward | Rule::Ignore => {}
        }
    }
    if body.text("model")?.is_none_or(|model| model.raw.is_empty()) {
        return Err(lacking("model", "name one of the models listed by GET /v1/models"));
    }
    if let Some(background) = body.get("background").filter(|node| node.raw() != "false") {
        background.flag()?;
        return Err(background.wrong(
            "must be false: no response is kept to be fetched later. Send the request without it, or with 'stream'",
        ));
    }
    body.flag("store")?;
    if let Some(options) = body.get("stream_options") {
        let [obfuscation] = options.members(["include_obfuscation"])?;
        obfuscation.map(|obfuscation| obfuscation.flag()).transpose()?;
    }
    if let Some(truncation) = body.get("truncation") {
        match &*truncation.text()?.decoded() {
            "disabled" => {}
            // A prompt that is too long is refused all the same.
            "auto" => dropped.name("truncation"),
            _ => return Err(truncation.wrong("must be \"disabled\" or \"auto\"")),
        }
    }
    number(body, "temperature", 0.0..=2.0)?;
    number(body, "top_p", 0.0..=1.0)?;
    if let Some(metadata) = body.get("metadata") {
        metadata.object()?;
    }
    for name in ["user", "prompt_cache_key", "safety_identifier", "service_tier"] {
        body.text(name)?;
    }
    Ok(())
}

/// Writes the beginning of a chat's body, all but messages and tools.
pub(super) fn write(out: &mut Vec<u8>, body: &Body<'_>) -> Result<(), InvalidRequest> {
    out.extend_from_slice(br#"{"model":"#);
    out.extend_from_slice(body.get("model").map_or("\"\"", |model| model.raw()).as_bytes());
    if body.flag("stream")? == Some(true) {
        out.extend_from_slice(br#","stream":true,"stream_options":{"include_usage":true}"#);
    }
    if let Some(limit) = integer(body, "max_output_tokens", 1..=u64::from(u32::MAX))? {
        member(out, "max_completion_tokens", limit);
    }
    if wants_logprobs(body)? {
        out.extend_from_slice(br#","logprobs":true"#);
    }
    if let Some(count) = integer(body, "top_logprobs", 0..=20)?.filter(|count| *count != "0") {
        member(out, "top_logprobs", count);
    }
    if let Some(reasoning) = body.get("reasoning") {
        let [asked, summary] = reasoning.members(["effort", "summary"])?;
        summary.map(|summary| summary.text()).transpose()?;
        if let Some(asked) = asked {
            let said = asked.text()?.decoded();
            let Some(level) = effort(&said) else {
                return Err(asked.wrong(format_args!("is {:?}: use {EFFORTS}", shown(&said))));
            };
            member(out, "reasoning_effort", level);
        }
    }
    if let Some(text) = body.get("text") {
        let [verbosity, format] = text.members(["verbosity", "format"])?;
        if let Some(verbosity) = verbosity {
            verbosity.text()?;
            member(out, "verbosity", verbosity.raw());
        }
        if let Some(format) = format {
            self::format(out, &format)?;
        }
    }
    for (name, raw) in &body.0 {
        if matches!(rule(&name.decoded()), Rule::Forward) {
            member(out, name.raw, raw);
        }
    }
    Ok(())
}

/// Writes `text.format` as chat's `response_format`.
fn format(out: &mut Vec<u8>, format: &Node<'_, '_>) -> Result<(), InvalidRequest> {
    const SCHEMA: &str = "a JSON schema";
    let [kind, name, description, schema, strict] =
        format.members(["type", "name", "description", "schema", "strict"])?;
    let kind = required(format, kind, "type", "\"text\", \"json_object\" or \"json_schema\"")?;
    match &*kind.text()?.decoded() {
        "text" => {}
        "json_object" => member(out, "response_format", r#"{"type":"json_object"}"#),
        "json_schema" => {
            let name = required(format, name, "name", "a name for the schema")?;
            let schema = required(format, schema, "schema", SCHEMA)?;
            name.filled_text()?;
            schema.object()?;
            description.map(|text| text.text()).transpose()?;
            strict.map(|strict| strict.flag()).transpose()?;
            out.extend_from_slice(br#","response_format":{"type":"json_schema","json_schema":{"name":"#);
            out.extend_from_slice(name.raw().as_bytes());
            for (name, given) in [("description", description), ("schema", Some(schema)), ("strict", strict)] {
                if let Some(given) = given {
                    member(out, name, given.raw());
                }
            }
            out.extend_from_slice(b"}}");
        }
        other => {
            let message = format!("is {:?}: use \"text\", \"json_object\" or \"json_schema\"", shown(other));
            return Err(kind.wrong(message));
        }
    }
    Ok(())
}

/// Whether log probabilities are wanted.
pub(super) fn wants_logprobs(body: &Body<'_>) -> Result<bool, InvalidRequest> {
    let mut wanted = integer(body, "top_logprobs", 0..=20)?.is_some_and(|count| count != "0");
    if let Some(include) = body.get("include") {
        include.each(|what| {
            wanted |= what.text()?.says("message.output_text.logprobs");
            Ok(())
        })?;
    }
    Ok(wanted)
}

/// The longest value, in bytes, that a response repeats of its request. Each response of a stream has them all, and who reads
/// slowly would hold a multiple of a long prompt.
const MOST_REPEATED: usize = 64 << 10;

/// The tools that are not left out, as a response repeats them: none if they are longer than [`MOST_REPEATED`] together.
#[derive(Default)]
pub(super) struct Kept {
    written: String,
    is_too_long: bool,
}

impl Kept {
    /// Adds a tool as it is written.
    pub(super) fn add(&mut self, raw: &str) {
        self.is_too_long |= self.written.len() + raw.len() >= MOST_REPEATED;
        if self.is_too_long {
            self.written = String::new();
            return;
        }
        self.written.push_str(if self.written.is_empty() { "" } else { "," });
        self.written.push_str(raw);
    }
}

/// The members of a response that repeat the request, with a comma in front of each. What is longer than [`MOST_REPEATED`] stands
/// there as if it had not been given.
pub(super) fn repeated(body: &Body<'_>, tools: &Kept) -> String {
    // The default is OpenAI's where its API states one, else null.
    const REPEATED: [(&str, &str); 14] = [
        ("instructions", "null"),
        ("max_output_tokens", "null"),
        ("metadata", "{}"),
        ("model", "\"\""),
        ("parallel_tool_calls", "true"),
        ("prompt_cache_key", "null"),
        ("reasoning", r#"{"effort":null,"summary":null}"#),
        ("safety_identifier", "null"),
        ("temperature", "null"),
        ("text", r#"{"format":{"type":"text"}}"#),
        ("tool_choice", "\"auto\""),
        ("top_logprobs", "0"),
        ("top_p", "null"),
        ("user", "null"),
    ];
    const TOOLS: &str = r#","tools":["#;
    const REST: &str = r#"],"truncation":"disabled","store":false,"background":false,"previous_response_id":null,"max_tool_calls":null,"service_tier":null"#;
    let given = |name| body.get(name).map(|given| given.raw()).filter(|raw| raw.len() <= MOST_REPEATED);
    let members = REPEATED.map(|(name, default)| (name, given(name).unwrap_or(default)));
    let length: usize = members.iter().map(|(name, raw)| name.len() + raw.len() + 4).sum();
    // Exactly as long as it gets, so that it is not copied once more.
    let mut out = Vec::with_capacity(length + TOOLS.len() + tools.written.len() + REST.len());
    for (name, raw) in members {
        member(&mut out, name, raw);
    }
    out.extend_from_slice(TOOLS.as_bytes());
    out.extend_from_slice(tools.written.as_bytes());
    out.extend_from_slice(REST.as_bytes());
    // An event's data stands on one line. In JSON line ends are white space between tokens, and never within strings.
    for byte in &mut out {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// The whole number that a field is, as it is written.
fn integer<'a>(body: &Body<'a>, name: &str, range: RangeInclusive<u64>) -> Result<Option<&'a str>, InvalidRequest> {
    let Some(field) = body.get(name) else { return Ok(None) };
    if field.value().count().is_some_and(|number| range.contains(&number)) {
        return Ok(Some(field.raw()));
    }
    Err(field.wrong(format_args!("must be a whole number from {} to {}", range.start(), range.end())))
}

fn number(body: &Body<'_>, name: &str, range: RangeInclusive<f64>) -> Result<(), InvalidRequest> {
    let Some(field) = body.get(name) else { return Ok(()) };
    if field.value().number().is_some_and(|number| range.contains(&number)) {
        return Ok(());
    }
    Err(field.wrong(format_args!("must be a number from {} to {}", range.start(), range.end())))
}
