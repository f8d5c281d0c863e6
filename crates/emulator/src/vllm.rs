//! The vLLM server inside a RunPod worker: what it refuses, and how it words it. Order and wording follow recorded
//! answers of vLLM 0.27.1; a refusal there is often surprising (a bad schema is a 500), and what is not refused here is
//! accepted there too.

use serde_json::{Value, json};

use crate::{
    inference::{Route, prompt_tokens},
    passed::Passed,
    reply::Reply,
    state::Profile,
};

/// An error in vLLM's shape: `code` is the status as a number.
pub(crate) fn error(status: u16, kind: &str, message: &str, param: Option<&str>) -> Reply {
    Reply::json(status, &json!({"error": {"message": message, "type": kind, "param": param, "code": status}}))
}

fn refusal(message: &str, param: Option<&str>) -> Reply {
    error(400, "BadRequestError", message, param)
}

/// A refusal that ends with the parameter and its value.
fn refusal_of(message: &str, param: &str, value: &str) -> Reply {
    refusal(&format!("{message} (parameter={param}, value={value})"), Some(param))
}

fn invalid(detail: &str, param: Option<&str>) -> Reply {
    error(400, "Bad Request", &format!("1 validation error:\n  {detail}"), param)
}

/// Reads the body or says why it cannot be read.
pub(crate) fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Value, Reply> {
    if body.is_empty() {
        return Err(invalid(
            "{'type': 'missing', 'loc': ('body',), 'msg': 'Field required', 'input': None}",
            Some("body"),
        ));
    }
    if !content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json")) {
        return Err(invalid("Unsupported Media Type: Only 'application/json' is allowed", None));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Array(_)) => Err(error(500, "InternalServerError", "'list' object has no attribute 'get'", None)),
        Ok(value) => Ok(value),
        Err(cause) if cause.to_string().contains("recursion limit") => {
            Err(Reply::detail(400, "There was an error parsing the body"))
        }
        Err(cause) => {
            let at = cause.column().saturating_sub(1);
            let detail = format!(
                "{{'type': 'json_invalid', 'loc': ('body', {at}), 'msg': 'JSON decode error', 'input': {{}}, 'ctx': {{'error': 'Expecting value'}}}}"
            );
            Err(invalid(&detail, Some(&format!("body.{at}"))))
        }
    }
}

/// Checks a request as the server does before it starts to work.
pub(crate) fn check(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    check_types(route, body)?;
    check_model(route, body, profile)?;
    if matches!(route, Route::Embeddings | Route::Passed(_)) {
        return Ok(());
    }
    if body.get("stream_options").is_some_and(|options| !options.is_null()) && body["stream"] != true {
        return Err(refusal(
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            Some("stream_options"),
        ));
    }
    check_tools(body, profile)?;
    check_sampling(body)?;
    check_format(&body["response_format"])?;
    check_conversation(route, body, profile)?;
    check_length(route, body, profile)
}

fn check_types(route: Route, body: &Value) -> Result<(), Reply> {
    if let Some(model) = body.get("model").filter(|model| !model.is_string() && !model.is_null()) {
        return Err(mistyped("string_type", "model", "Input should be a valid string", model));
    }
    let (field, list) = match route {
        Route::Passed(passed) => (passed.field(), false),
        Route::Chat => ("messages", true),
        Route::Completions => ("prompt", false),
        Route::Embeddings => ("input", false),
    };
    let Some(value) = body.get(field) else {
        let detail = format!(
            "{{'type': 'missing', 'loc': ('body', '{field}'), 'msg': 'Field required', 'input': {}}}",
            python(body)
        );
        return Err(invalid(&detail, Some(&format!("body.{field}"))));
    };
    if list && !value.is_array() {
        return Err(mistyped("list_type", field, "Input should be a valid list", value));
    }
    for field in ["max_tokens", "max_completion_tokens", "n"] {
        if let Some(value) = body.get(field).filter(|value| !value.is_i64() && !value.is_null()) {
            return Err(mistyped(
                "int_parsing",
                field,
                "Input should be a valid integer, unable to parse string as an integer",
                value,
            ));
        }
    }
    let format = body["response_format"]["type"].as_str();
    if format.is_some_and(|kind| !matches!(kind, "text" | "json_object" | "json_schema" | "structural_tag")) {
        return Err(mistyped(
            "literal_error",
            "response_format",
            "Input should be 'text', 'json_object' or 'json_schema'",
            &body["response_format"]["type"],
        ));
    }
    Ok(())
}

fn mistyped(kind: &str, field: &str, message: &str, input: &Value) -> Reply {
    let detail =
        format!("{{'type': '{kind}', 'loc': ('body', '{field}'), 'msg': '{message}', 'input': {}}}", python(input));
    invalid(&detail, Some(&format!("body.{field}")))
}

fn check_model(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    let model = body["model"].as_str().unwrap_or_default();
    let transcribes = profile.audio_models.iter().any(|name| name == model);
    let embeds = profile.embedding_models.iter().any(|name| name == model);
    match route {
        // The route does not exist at all on a server of a chat model.
        Route::Embeddings if !embeds && (model.is_empty() || profile.models.iter().any(|name| name == model)) => {
            Err(Reply::detail(404, "Not Found"))
        }
        Route::Embeddings if embeds => Ok(()),
        Route::Passed(passed) => match (passed, profile.models.iter().any(|name| name == model)) {
            (Passed::Tokenize | Passed::Detokenize, is_served) if is_served || embeds || transcribes => Ok(()),
            (Passed::Rerank | Passed::Score, _) if embeds => Ok(()),
            (Passed::Transcriptions, _) if transcribes => Ok(()),
            (_, is_served) if is_served || embeds || transcribes => Err(Reply::detail(404, "Not Found")),
            _ => Err(error(404, "NotFoundError", &format!("The model `{model}` does not exist."), Some("model"))),
        },
        Route::Chat | Route::Completions if model.is_empty() || profile.models.iter().any(|name| name == model) => {
            Ok(())
        }
        Route::Chat | Route::Completions if embeds || transcribes => Err(Reply::detail(404, "Not Found")),
        Route::Chat | Route::Completions | Route::Embeddings => {
            Err(error(404, "NotFoundError", &format!("The model `{model}` does not exist."), Some("model")))
        }
    }
}

fn check_tools(body: &Value, profile: &Profile) -> Result<(), Reply> {
    let choice = body.get("tool_choice").filter(|choice| !choice.is_null());
    let Some(tools) = body.get("tools").filter(|tools| !tools.is_null()) else {
        return match choice {
            Some(choice) if choice != "none" => Err(refusal(
                "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)",
                Some("tool_choice"),
            )),
            _ => Ok(()),
        };
    };
    if tools.as_array().is_some_and(Vec::is_empty) {
        let message = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely. (parameter=tools)";
        return Err(refusal(message, Some("tools")));
    }
    if profile.tool_parser {
        return Ok(());
    }
    match choice.and_then(Value::as_str) {
        Some("none") => Ok(()),
        Some("required") => Err(refusal("tool_choice=\"required\" requires --tool-call-parser to be set", None)),
        _ => Err(refusal(
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
            None,
        )),
    }
}

fn check_sampling(body: &Value) -> Result<(), Reply> {
    if let Some(temperature) = body["temperature"].as_f64() {
        if temperature < 0.0 {
            return Err(refusal_of(
                &format!("temperature must be non-negative, got {temperature:?}."),
                "temperature",
                &format!("{temperature:?}"),
            ));
        }
        if temperature > 2.0 {
            return Err(refusal_of(
                &format!("temperature must be in [0, 2], got {temperature:?}."),
                "temperature",
                &format!("{temperature:?}"),
            ));
        }
    }
    if let Some(top_p) = body["top_p"].as_f64().filter(|top_p| *top_p <= 0.0 || *top_p > 1.0) {
        return Err(refusal_of(&format!("top_p must be in (0, 1], got {top_p:?}."), "top_p", &format!("{top_p:?}")));
    }
    if let Some(n) = body["n"].as_i64().filter(|n| *n > 16_384) {
        let message = format!(
            "n must be at most 16384, got {n}. To increase this limit, set the VLLM_MAX_N_SEQUENCES environment variable."
        );
        return Err(refusal(&message, None));
    }
    if body["n"].as_i64().is_some_and(|n| n > 1) && body["temperature"].as_f64() == Some(0.0) {
        return Err(refusal(&format!("n must be 1 when using greedy sampling, got {}.", body["n"]), None));
    }
    if let Some(top) = body["top_logprobs"].as_i64().filter(|top| *top > 20) {
        return Err(refusal_of(
            &format!("Requested sample logprobs of {top}, which is greater than max allowed: 20"),
            "logprobs",
            &top.to_string(),
        ));
    }
    Ok(())
}

/// A schema that the grammar compiler cannot handle is answered as a fault of the server, as vLLM does.
fn check_format(format: &Value) -> Result<(), Reply> {
    if format["type"] != "json_schema" || schema_is_valid(&format["json_schema"]["schema"]) {
        return Ok(());
    }
    Err(error(500, "InternalServerError", "", None))
}

/// Whether every `type` in a JSON schema is one that exists.
pub(crate) fn schema_is_valid(schema: &Value) -> bool {
    const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];
    let Some(object) = schema.as_object() else { return schema.is_boolean() };
    let known = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    let types_exist = match object.get("type") {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().all(known),
        Some(kind) => known(kind),
    };
    let properties = object.get("properties").and_then(Value::as_object);
    types_exist
        && properties.into_iter().flat_map(serde_json::Map::values).chain(object.get("items")).all(schema_is_valid)
}

/// Parts of a message that are not text.
const MEDIA: [&str; 5] = ["image_url", "input_audio", "audio_url", "video_url", "file"];

fn check_conversation(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    if route != Route::Chat {
        return Ok(());
    }
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        return Err(refusal(
            "Cannot apply chat template to an empty conversation. Provide at least one message.",
            None,
        ));
    }
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    let mut kinds = parts.into_iter().filter_map(|part| part["type"].as_str());
    if kinds.any(|kind| MEDIA.contains(&kind) && !(profile.images && kind == "image_url")) {
        let model = body["model"].as_str().unwrap_or_default();
        return Err(refusal(&format!("{model} is not a multimodal model"), None));
    }
    Ok(())
}

fn check_length(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    let context = profile.context;
    let limit = body["max_completion_tokens"].as_i64().or_else(|| body["max_tokens"].as_i64());
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        return Err(refusal_of(
            &format!("max_tokens must be at least 1, got {limit}."),
            "max_tokens",
            &limit.to_string(),
        ));
    }
    let limit = limit.and_then(|limit| u64::try_from(limit).ok());
    if let Some(limit) = limit.filter(|limit| *limit > context) {
        let message = format!(
            "max_tokens={limit} cannot be greater than max_model_len=max_total_tokens={context}. Please request fewer output tokens."
        );
        return Err(refusal_of(&message, "max_tokens", &limit.to_string()));
    }
    let wanted = limit.unwrap_or(1);
    let prompt = prompt_tokens(route, body);
    if prompt + wanted <= context {
        return Ok(());
    }
    // The server stops counting at the first token too many, so it reports that number and not the prompt's.
    let least = context - wanted + 1;
    let message = format!(
        "This model's maximum context length is {context} tokens. However, you requested {wanted} output tokens and your prompt contains at least {least} input tokens, \
         for a total of at least {} tokens. Please reduce the length of the input prompt or the number of requested output tokens.",
        context + 1
    );
    Err(refusal_of(&message, "input_tokens", &least.to_string()))
}

/// A value as Python prints it; near enough for error text.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("'{name}': {}", python(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Number(number) => number.to_string(),
    }
}
