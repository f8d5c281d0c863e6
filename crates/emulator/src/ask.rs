//! What the emulator takes from a request that has passed its face's checks.
//!
//! Token counts are a rule of thumb that tests can compute: the prompt has a quarter of its bytes, rounded up, plus 8;
//! in the answer one word is one token.

use serde_json::Value;

/// An OpenAI route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    Chat,
    Completions,
    Embeddings,
}

impl Route {
    pub(crate) fn parse(segments: &[&str]) -> Option<Self> {
        match segments {
            ["chat", "completions"] => Some(Self::Chat),
            ["completions"] => Some(Self::Completions),
            ["embeddings"] => Some(Self::Embeddings),
            _ => None,
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

/// A request in the emulator's terms.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) route: Route,
    pub(crate) model: String,
    pub(crate) prompt_tokens: u64,
    /// The text the answer echoes.
    pub(crate) last_text: String,
    pub(crate) limit: Option<u64>,
    pub(crate) stream: bool,
    /// Where a stream reports usage.
    pub(crate) report: Report,
    pub(crate) choices: usize,
    pub(crate) stop: Vec<String>,
    pub(crate) json: bool,
    /// The whole numbers that a JSON schema asks for, by name.
    pub(crate) integers: Vec<String>,
    /// Whether each token is to come with its probability.
    pub(crate) logprobs: bool,
    /// The function that must be called.
    pub(crate) forced_tool: Option<String>,
}

impl Ask {
    pub(crate) fn read(route: Route, body: &Value, default_model: &str) -> Self {
        let prompts = prompts(route, body);
        let bytes: usize = prompts.iter().map(String::len).sum();
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
            prompt_tokens: prompt_tokens(bytes),
            last_text: prompts.last().cloned().unwrap_or_default(),
            limit: body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64()),
            stream: body["stream"] == true,
            report,
            choices: usize::try_from(requested).unwrap_or(1) * per_prompt,
            stop: strings(&body["stop"]),
            json: matches!(body["response_format"]["type"].as_str(), Some("json_object" | "json_schema")),
            integers: integers(&body["response_format"]["json_schema"]["schema"]),
            logprobs: body["logprobs"] == true,
            forced_tool: forced_tool(body),
        }
    }
}

/// Tokens of a prompt with this many bytes of text.
pub(crate) const fn prompt_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64 + 8
}

/// The texts of a request: one a message, prompt or input.
pub(crate) fn prompts(route: Route, body: &Value) -> Vec<String> {
    match route {
        Route::Chat => {
            body["messages"].as_array().into_iter().flatten().map(|message| content(&message["content"])).collect()
        }
        Route::Completions => texts(&body["prompt"]),
        Route::Embeddings => texts(&body["input"]),
    }
}

fn content(content: &Value) -> String {
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

fn integers(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter(|(_, of)| of["type"] == "integer").map(|(name, _)| name.clone()).collect()
}

fn forced_tool(body: &Value) -> Option<String> {
    if let Some(name) = body["tool_choice"]["function"]["name"].as_str() {
        return Some(name.to_owned());
    }
    if body["tool_choice"] != "required" {
        return None;
    }
    body["tools"][0]["function"]["name"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompt_tokens_follow_the_documented_rule() {
        let body = json!({"messages": [{"role": "user", "content": "12345"}, {"role": "user", "content": [{"type": "text", "text": "678"}]}]});
        let ask = Ask::read(Route::Chat, &body, "m");
        assert_eq!((ask.prompt_tokens, ask.last_text.as_str(), ask.model.as_str()), (10, "678", "m"));
    }

    #[test]
    fn every_prompt_of_a_list_gets_its_choices() {
        let ask = Ask::read(Route::Completions, &json!({"prompt": ["a", "b"], "n": 2}), "m");
        assert_eq!(ask.choices, 4);
        assert_eq!(Ask::read(Route::Completions, &json!({"prompt": [1, 2, 3]}), "m").prompt_tokens, 11);
    }
}
