//! The Cerebras side: flat errors and a strict reading of the request, where vLLM is lax.

use serde_json::{Value, json};

use crate::{
    fault::Limit,
    inference::{Route, prompt_tokens},
    reply::Reply,
    state::Profile,
    vllm::schema_is_valid,
};

const CHAT_FIELDS: &[&str] = &[
    "clear_thinking",
    "disable_reasoning",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "min_completion_tokens",
    "min_tokens",
    "model",
    "model_parameters",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "reasoning_format",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
];
const COMPLETION_FIELDS: &[&str] = &[
    "best_of",
    "echo",
    "frequency_penalty",
    "grammar_root",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "min_tokens",
    "model",
    "n",
    "presence_penalty",
    "prompt",
    "return_raw_tokens",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];

/// An error in Cerebras' shape: nothing around it.
pub(crate) fn error(status: u16, kind: &str, code: &str, param: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"message": message, "type": kind, "param": param, "code": code}))
}

fn wrong_format(param: &str, message: &str) -> Reply {
    error(400, "invalid_request_error", "wrong_api_format", param, message)
}

/// The answer to a missing or a wrong key.
pub(crate) fn unauthorized(missing: bool) -> Reply {
    if missing {
        return Reply::detail(403, "Not authenticated");
    }
    error(401, "invalid_request_error", "wrong_api_key", "api_key", "Wrong API Key")
}

/// The answer when a quota is used up.
pub(crate) fn rate_limited(limit: Limit) -> Reply {
    match limit {
        Limit::Requests => error(
            429,
            "too_many_requests_error",
            "request_quota_exceeded",
            "quota",
            "Requests per minute limit exceeded - too many requests sent.",
        ),
        Limit::Tokens => error(
            429,
            "too_many_tokens_error",
            "token_quota_exceeded",
            "quota",
            "Tokens per minute limit exceeded - too many tokens processed.",
        ),
        Limit::Queue => error(
            429,
            "too_many_requests_error",
            "queue_exceeded",
            "queue",
            "We're experiencing high traffic right now! Please try again soon.",
        ),
    }
}

/// Reads the body or says why it cannot be read.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Reply> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(wrong_format("validation_error", "body: Input should be a valid dictionary")),
        Err(cause) => Err(wrong_format("validation_error", &format!("body: JSON decode error: {cause}"))),
    }
}

/// Checks a request as Cerebras does.
pub(crate) fn check(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    let fields = if route == Route::Chat { CHAT_FIELDS } else { COMPLETION_FIELDS };
    let unknown = body.as_object().and_then(|object| object.keys().find(|name| !fields.contains(&name.as_str())));
    if let Some(name) = unknown {
        return Err(wrong_format("validation_error", &format!("body.{name}: property '{name}' is unsupported")));
    }
    let Some(model) = body["model"].as_str() else {
        return Err(wrong_format("validation_error", "body.model: Field required"));
    };
    if !profile.models.iter().any(|name| name == model) {
        let message = format!("Model {model} does not exist or you do not have access to it.");
        return Err(error(404, "not_found_error", "model_not_found", "model", &message));
    }
    check_values(body)?;
    if route == Route::Chat {
        check_messages(body, profile)?;
        check_formats(model, body)?;
    }
    check_length(route, body, profile)
}

fn check_values(body: &Value) -> Result<(), Reply> {
    let has = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
    if has("max_tokens") && has("max_completion_tokens") {
        return Err(wrong_format("validation_error", "body: max_tokens and max_completion_tokens cannot both be set"));
    }
    for name in ["max_tokens", "max_completion_tokens", "n"] {
        if has(name) && body[name].as_i64().is_none_or(|value| value < 1) {
            return Err(wrong_format(
                "validation_error",
                &format!("body.{name}: Input should be a valid integer greater than 0"),
            ));
        }
    }
    if body["temperature"].as_f64().is_some_and(|value| !(0.0..=2.0).contains(&value)) {
        return Err(wrong_format("validation_error", "body.temperature: Input should be between 0 and 2"));
    }
    if body["top_p"].as_f64().is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err(wrong_format("validation_error", "body.top_p: Input should be between 0 and 1"));
    }
    if has("stream_options") && body["stream"] != true {
        return Err(wrong_format("stream_options", "stream_options can only be set when stream is true"));
    }
    Ok(())
}

fn check_messages(body: &Value, profile: &Profile) -> Result<(), Reply> {
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Err(wrong_format("validation_error", "body.messages: Input should be a list with at least 1 item"));
    };
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !matches!(role, "system" | "developer" | "user" | "assistant" | "tool") {
            return Err(wrong_format("validation_error", &format!("body.messages.{at}.role: '{role}' is not a role")));
        }
        if message.get("reasoning_content").is_some() {
            let message = format!(
                "body.messages.{at}.{role}.reasoning_content: property 'messages.{at}.{role}.reasoning_content' is unsupported"
            );
            return Err(wrong_format("validation_error", &message));
        }
        check_parts(at, role, &message["content"], profile)?;
    }
    Ok(())
}

/// The wording for parts that are not text is a guess after that for other wrong members.
fn check_parts(at: usize, role: &str, content: &Value, profile: &Profile) -> Result<(), Reply> {
    let kinds = content.as_array().into_iter().flatten().map(|part| part["type"].as_str().unwrap_or_default());
    let is_taken = |kind: &str| kind == "text" || (profile.images && kind == "image_url");
    let Some((part, _)) = kinds.enumerate().find(|(_, kind)| !is_taken(kind)) else { return Ok(()) };
    let message = format!("messages.{at}.{role}.content.{part}.type: Input should be 'text'");
    Err(wrong_format("validation_error", &message))
}

fn check_formats(model: &str, body: &Value) -> Result<(), Reply> {
    let tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    if body.get("tool_choice").is_some_and(|choice| !choice.is_null() && choice != "none") && !tools {
        return Err(wrong_format("tool_choice", "tool_choice can only be set with tools"));
    }
    let oss = model.contains("gpt-oss");
    if oss && matches!(body["reasoning_effort"].as_str(), Some("none" | "minimal")) {
        return Err(wrong_format("reasoning_effort", "reasoning_effort must be one of low, medium, high"));
    }
    let format = &body["response_format"];
    let Some(kind) = format["type"].as_str() else { return Ok(()) };
    if !matches!(kind, "text" | "json_object" | "json_schema") {
        return Err(wrong_format(
            "response_format",
            "response_format.type must be one of text, json_object, json_schema",
        ));
    }
    if oss && tools && kind != "text" {
        return Err(wrong_format(
            "response_format",
            "tools and response_format cannot be used together with this model",
        ));
    }
    if kind == "json_schema" && !schema_is_valid(&format["json_schema"]["schema"]) {
        return Err(wrong_format("response_format", "response_format.json_schema.schema is not a valid schema"));
    }
    Ok(())
}

fn check_length(route: Route, body: &Value, profile: &Profile) -> Result<(), Reply> {
    let prompt = prompt_tokens(route, body);
    let limit = profile.context;
    if prompt <= limit {
        return Ok(());
    }
    let message = format!(
        "Please reduce the length of the messages or completion. Current length is {prompt} while limit is {limit}"
    );
    Err(error(400, "invalid_request_error", "context_length_exceeded", "messages", &message))
}
