//! The top-level fields but for the input and the tools: what each becomes, and what is said of it in the answer.

use std::ops::RangeInclusive;

use provider::{InvalidRequest, Value};

use super::{
    dropped::Dropped,
    read::{BODY, Members, Place, elements, shown},
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
pub(super) fn check(body: &Members<'_>, dropped: &mut Dropped) -> Result<(), InvalidRequest> {
    for member in body.all() {
        let name = member.name.decoded();
        match rule(&name) {
            _ if member.value == Value::Null => {}
            Rule::Drop(name) => dropped.name(name),
            Rule::Refuse(instead) => return Err(BODY.member(&name).refuse(instead)),
            Rule::Read | Rule::Forward | Rule::Ignore => {}
        }
    }
    if body.text("model", &BODY)?.is_none_or(|model| model.raw.is_empty()) {
        let message = "is required: name one of the models listed by GET /v1/models";
        return Err(BODY.member("model").refuse(message));
    }
    if body.flag("background", &BODY)? == Some(true) {
        let message =
            "must be false: no response is kept to be fetched later. Send the request without it, or with 'stream'";
        return Err(BODY.member("background").refuse(message));
    }
    body.flag("store", &BODY)?;
    if let Some(options) = body.get("stream_options") {
        let place = BODY.member("stream_options");
        Members::read(options.raw, &place)?.flag("include_obfuscation", &place)?;
    }
    if let Some(truncation) = body.text("truncation", &BODY)? {
        match &*truncation.decoded() {
            "disabled" => {}
            // A prompt that is too long is refused all the same.
            "auto" => dropped.name("truncation"),
            _ => return Err(BODY.member("truncation").refuse("must be \"disabled\" or \"auto\"")),
        }
    }
    number(body, "temperature", 0.0..=2.0)?;
    number(body, "top_p", 0.0..=1.0)?;
    if body.get("metadata").is_some_and(|metadata| !matches!(metadata.value, Value::Object(_))) {
        return Err(BODY.member("metadata").refuse("must be an object of strings"));
    }
    for name in ["user", "prompt_cache_key", "safety_identifier", "service_tier"] {
        body.text(name, &BODY)?;
    }
    Ok(())
}

/// Writes the beginning of a chat's body, up to its last field but for messages and tools.
pub(super) fn write(out: &mut Vec<u8>, body: &Members<'_>) -> Result<(), InvalidRequest> {
    out.extend_from_slice(br#"{"model":"#);
    out.extend_from_slice(body.get("model").map_or("\"\"", |model| model.raw).as_bytes());
    if body.flag("stream", &BODY)? == Some(true) {
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
        let place = BODY.member("reasoning");
        let reasoning = Members::read(reasoning.raw, &place)?;
        reasoning.text("summary", &place)?;
        if reasoning.text("effort", &place)?.is_some() {
            member(out, "reasoning_effort", reasoning.get("effort").map_or("null", |effort| effort.raw));
        }
    }
    if let Some(text) = body.get("text") {
        let place = BODY.member("text");
        let text = Members::read(text.raw, &place)?;
        if text.text("verbosity", &place)?.is_some() {
            member(out, "verbosity", text.get("verbosity").map_or("null", |verbosity| verbosity.raw));
        }
        if let Some(format) = text.get("format") {
            self::format(out, format.raw, &place.member("format"))?;
        }
    }
    for field in body.all() {
        if matches!(rule(&field.name.decoded()), Rule::Forward) && field.value != Value::Null {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(field.name.raw.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(field.raw.as_bytes());
        }
    }
    Ok(())
}

/// Writes `text.format` as chat's `response_format`.
fn format(out: &mut Vec<u8>, raw: &str, place: &Place<'_>) -> Result<(), InvalidRequest> {
    let format = Members::read(raw, place)?;
    match &*format.required_text("type", place)?.decoded() {
        "text" => {}
        "json_object" => member(out, "response_format", r#"{"type":"json_object"}"#),
        "json_schema" => {
            format.required_text("name", place)?;
            format.text("description", place)?;
            format.flag("strict", place)?;
            if !format.get("schema").is_some_and(|schema| matches!(schema.value, Value::Object(_))) {
                return Err(place.member("schema").refuse("is required: it must be an object, a JSON schema"));
            }
            out.extend_from_slice(br#","response_format":{"type":"json_schema","json_schema":{"#);
            let mut comma = "";
            for name in ["name", "description", "schema", "strict"] {
                let Some(given) = format.get(name) else { continue };
                out.extend_from_slice(comma.as_bytes());
                comma = ",";
                out.extend_from_slice(format!("\"{name}\":").as_bytes());
                out.extend_from_slice(given.raw.as_bytes());
            }
            out.extend_from_slice(b"}}");
        }
        kind => {
            let message = format!("is {:?}: use \"text\", \"json_object\" or \"json_schema\"", shown(kind));
            return Err(place.member("type").refuse(message));
        }
    }
    Ok(())
}

/// Whether log probabilities are wanted.
pub(super) fn wants_logprobs(body: &Members<'_>) -> Result<bool, InvalidRequest> {
    let mut wanted = integer(body, "top_logprobs", 0..=20)?.is_some_and(|count| count != "0");
    let place = BODY.member("include");
    let Some(include) = body.get("include") else { return Ok(wanted) };
    for (index, raw) in elements(include.raw, &place)?.into_iter().enumerate() {
        if !raw.starts_with('"') {
            return Err(place.element(index).refuse("must be a string"));
        }
        wanted |= raw == "\"message.output_text.logprobs\"";
    }
    Ok(wanted)
}

/// The members of a response that repeat the request, with a comma in front of each. `tools` are those that are not left out.
pub(super) fn repeated(body: &Members<'_>, tools: &str) -> String {
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
    let mut out = String::with_capacity(512 + tools.len());
    for (name, default) in REPEATED {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        out.push_str(body.get(name).map_or(default, |given| given.raw));
    }
    out.push_str(",\"tools\":[");
    out.push_str(tools);
    out.push_str(r#"],"truncation":"disabled","store":false,"background":false,"previous_response_id":null"#);
    out.push_str(r#","max_tool_calls":null,"service_tier":null"#);
    // An event's data stands on one line. In JSON line ends are white space between tokens, and never within strings.
    out.replace(['\n', '\r'], " ")
}

fn member(out: &mut Vec<u8>, name: &str, raw: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(raw.as_bytes());
}

/// The whole number that a field is, as it is written.
fn integer<'a>(body: &Members<'a>, name: &str, range: RangeInclusive<u64>) -> Result<Option<&'a str>, InvalidRequest> {
    let Some(field) = body.get(name) else { return Ok(None) };
    if field.value.count().is_some_and(|number| range.contains(&number)) {
        return Ok(Some(field.raw));
    }
    let message = format!("must be a whole number from {} to {}", range.start(), range.end());
    Err(BODY.member(name).refuse(message))
}

fn number(body: &Members<'_>, name: &str, range: RangeInclusive<f64>) -> Result<(), InvalidRequest> {
    let Some(field) = body.get(name) else { return Ok(()) };
    if field.value.number().is_some_and(|number| range.contains(&number)) {
        return Ok(());
    }
    Err(BODY.member(name).refuse(format_args!("must be a number from {} to {}", range.start(), range.end())))
}
