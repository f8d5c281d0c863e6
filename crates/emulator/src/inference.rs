//! What the emulator takes from a request that has passed its face's checks.
//!
//! Token counts are a rule of thumb that tests can compute: the prompt has a quarter of its bytes, rounded up, plus 8
//! and [`IMAGE_TOKENS`] for each image; in the answer one word is one token.

use serde_json::Value;

use crate::{
    embeddings::Wanted,
    passed::{self, Passed},
    schema::Prompt,
    shown_schema,
    tools::{self, Call},
};

/// Tokens of an image.
pub(crate) const IMAGE_TOKENS: u64 = 85;

/// An OpenAI route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Chat,
    Completions,
    Embeddings,
    /// One without tokens of an answer.
    Passed(Passed),
}

impl Route {
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            ["chat", "completions"] => Some(Self::Chat),
            ["completions"] => Some(Self::Completions),
            ["embeddings"] => Some(Self::Embeddings),
            other => Passed::parse(other).map(Self::Passed),
        }
    }
}

/// Where a stream reports usage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Report {
    Never,
    AtEnd,
    Always,
}

/// What the text of an answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Format {
    Text,
    /// Some JSON object.
    Object,
    /// A JSON value that fits this schema.
    Schema(Value),
    /// One of these texts.
    OneOf(Vec<String>),
}

/// A request in the emulator's terms.
#[derive(Clone, Debug)]
pub(crate) struct InferenceRequest {
    pub(crate) route: Route,
    pub(crate) model: String,
    pub(crate) prompt_tokens: u64,
    /// The text the answer echoes.
    pub(crate) last_text: String,
    /// Whether that text is the answer of a tool.
    pub(crate) is_tool_result: bool,
    /// Images in the conversation.
    pub(crate) images: usize,
    pub(crate) limit: Option<u64>,
    pub(crate) stream: bool,
    /// Where a stream reports usage.
    pub(crate) report: Report,
    pub(crate) choices: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) format: Format,
    /// Whether each token is to come with its probability.
    pub(crate) logprobs: bool,
    /// The function that is called in place of a text.
    pub(crate) call: Option<Call>,
    pub(crate) embeddings: Wanted,
    /// The body of a call that is none of the others.
    pub(crate) passed: Value,
}

impl InferenceRequest {
    pub(crate) fn read(route: Route, body: &Value, default_model: &str) -> Self {
        let prompts = prompts(route, body);
        let last_text = prompts.last().cloned().unwrap_or_default();
        let prompt_tokens = prompt_tokens(route, body);
        let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_chat = route == Route::Chat;
        let options = &body["stream_options"];
        let report = match (options["include_usage"] == true, options["continuous_usage_stats"] == true) {
            (false, _) => Report::Never,
            (true, false) => Report::AtEnd,
            (true, true) => Report::Always,
        };
        let requested = body["n"].as_u64().unwrap_or(1).clamp(1, 16);
        let per_prompt = if route == Route::Completions { prompts.len().max(1) } else { 1 };
        let model = body["model"].as_str().filter(|model| !model.is_empty());
        Self {
            route,
            model: model.unwrap_or(default_model).to_owned(),
            prompt_tokens,
            call: tools::call(body, &Prompt::new(&last_text, prompt_tokens)).filter(|_| is_chat),
            is_tool_result: is_chat && tools::is_answered(messages),
            images: images(messages),
            last_text,
            limit: body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64()),
            stream: body["stream"] == true,
            report,
            choices: usize::try_from(requested).unwrap_or(1) * per_prompt,
            stop: strings(&body["stop"]),
            format: format(body),
            logprobs: body["logprobs"] == true,
            embeddings: Wanted::read(body),
            passed: if matches!(route, Route::Passed(_)) { body.clone() } else { Value::Null },
        }
    }
}

/// Tokens of a request's prompt.
pub(crate) fn prompt_tokens(route: Route, body: &Value) -> u64 {
    let bytes: usize = prompts(route, body).iter().map(String::len).sum();
    let images = images(body["messages"].as_array().map(Vec::as_slice).unwrap_or_default());
    bytes.div_ceil(4) as u64 + 8 + images as u64 * IMAGE_TOKENS
}

fn images(messages: &[Value]) -> usize {
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    parts.filter(|part| part["type"] == "image_url").count()
}

/// The schema may stand in OpenAI's place, in vLLM's, or where vLLM had it before version 0.12; in vLLM's it may be a text.
/// Where any object is asked for, it may stand in a message.
fn format(body: &Value) -> Format {
    let named = &body["response_format"];
    let structured = &body["structured_outputs"];
    let schema = [&named["json_schema"]["schema"], &structured["json"], &body["guided_json"]];
    let parsed = |schema: &Value| match schema {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        schema => schema.clone(),
    };
    if let Some(schema) = schema.into_iter().map(parsed).find(|schema| schema.is_object() || schema.is_boolean()) {
        return Format::Schema(schema);
    }
    if matches!(named["type"].as_str(), Some("json_object" | "json_schema")) || structured["json_object"] == true {
        return shown_schema::find(&prompts(Route::Chat, body)).map_or(Format::Object, Format::Schema);
    }
    let choices = strings(&structured["choice"]);
    if choices.is_empty() { Format::Text } else { Format::OneOf(choices) }
}

/// The texts of a request: one a message, prompt or input.
pub(crate) fn prompts(route: Route, body: &Value) -> Vec<String> {
    match route {
        Route::Chat => {
            body["messages"].as_array().into_iter().flatten().map(|message| content(&message["content"])).collect()
        }
        Route::Completions => texts(&body["prompt"]),
        Route::Embeddings => texts(&body["input"]),
        Route::Passed(passed) => passed::inputs(passed, body).iter().flat_map(|input| texts(input)).collect(),
    }
}

/// The text of a message's content.
pub(crate) fn content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// A prompt may be text, token numbers, or a list of either; a token number weighs as much as four bytes.
fn texts(prompt: &Value) -> Vec<String> {
    match prompt {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => vec!["tok ".repeat(items.len())],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompt_tokens_follow_the_documented_rule() {
        let body = json!({"messages": [{"role": "user", "content": "12345"}, {"role": "user", "content": [{"type": "text", "text": "678"}]}]});
        let request = InferenceRequest::read(Route::Chat, &body, "m");
        assert_eq!((request.prompt_tokens, request.last_text.as_str(), request.model.as_str()), (10, "678", "m"));
    }

    #[test]
    fn every_prompt_of_a_list_gets_its_choices() {
        let request = InferenceRequest::read(Route::Completions, &json!({"prompt": ["a", "b"], "n": 2}), "m");
        assert_eq!(request.choices, 4);
        assert_eq!(InferenceRequest::read(Route::Completions, &json!({"prompt": [1, 2, 3]}), "m").prompt_tokens, 11);
    }
}
