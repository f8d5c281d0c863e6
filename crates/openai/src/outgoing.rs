//! What every upstream needs changed in a body: the model's name, usage in streams, a token limit.

use provider::{Object, Operation, ReplyHead, Request, Rewrite};

/// How an upstream names and limits what it serves.
#[derive(Debug, Clone)]
pub struct Served {
    model_json: String,
    default_max_tokens: Option<u64>,
    chat_limit_field: &'static str,
    plain_stream_options: bool,
}

impl Served {
    /// Serves `model`. Where the client names no token limit, `default_max_tokens` is sent, in a chat as `chat_limit_field`.
    pub fn new(model: &str, default_max_tokens: Option<u64>, chat_limit_field: &'static str) -> Self {
        let model_json = serde_json::Value::from(model).to_string();
        Self { model_json, default_max_tokens, chat_limit_field, plain_stream_options: false }
    }

    /// Sends no stream option but `include_usage`, for an upstream that refuses what it does not know.
    #[must_use]
    pub fn with_plain_stream_options(self) -> Self {
        Self { plain_stream_options: true, ..self }
    }
}

/// Starts the rewrite of `request` for an upstream and notes in `head` what was added.
///
/// Usage is always asked for, because a stream without it cannot be priced; [`crate::Client::send`] hides it again from a
/// client that did not ask. A limit is always sent, because a provider's own default is a trap (16 tokens in one case, the
/// rest of the context in another).
pub fn prepare<'a>(request: &'a Request, served: &'a Served, head: &mut ReplyHead) -> Rewrite<'a> {
    let mut rewrite = request.rewrite();
    rewrite.set("model", served.model_json.as_str());
    if !request.head.stream {
        // Empty options without a stream mean nothing, and yet a real vLLM refuses them.
        rewrite.remove("stream_options");
    } else if served.plain_stream_options {
        rewrite.set("stream_options", r#"{"include_usage":true}"#);
    } else if !request.head.include_usage {
        rewrite.set("stream_options", with_usage(request.field("stream_options")));
    }
    let (None, Some(limit)) = (request.head.max_tokens, served.default_max_tokens) else { return rewrite };
    let field = match request.operation {
        Operation::Chat => served.chat_limit_field,
        Operation::Completions => "max_tokens",
        Operation::Embeddings => return rewrite,
    };
    rewrite.set(field, limit.to_string());
    head.injected_params.push(format!("{field}={limit}"));
    rewrite
}

/// The client's stream options with usage switched on.
fn with_usage(options: Option<&str>) -> String {
    let text = options.filter(|text| text.starts_with('{')).unwrap_or("{}");
    let Ok(object) = Object::parse(text) else { return r#"{"include_usage":true}"#.to_owned() };
    let mut rewrite = Rewrite::new(text.as_bytes(), &object);
    rewrite.set("include_usage", "true");
    String::from_utf8_lossy(&rewrite.finish()).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use provider::Limits;
    use serde_json::{Value, json};

    use super::*;

    fn prepared(body: &Value) -> (Value, ReplyHead) {
        let request = Request::parse(Operation::Chat, Bytes::from(body.to_string()), Limits { max_messages: 9 });
        let request = request.expect("a valid request");
        let mut head = ReplyHead::default();
        let served = Served::new("served \"name\"", Some(64), "max_tokens");
        let body = prepare(&request, &served, &mut head).finish();
        (serde_json::from_slice(&body).expect("JSON"), head)
    }

    #[test]
    fn the_model_is_renamed_and_a_limit_said() {
        let (body, head) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "seed": 1}));
        assert_eq!(
            body,
            json!({"model": "served \"name\"", "messages": [{"role": "user"}], "seed": 1, "max_tokens": 64})
        );
        assert_eq!(head.injected_params, ["max_tokens=64"]);
    }

    #[test]
    fn a_clients_own_limit_stands() {
        let (body, head) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "max_completion_tokens": 3}));
        assert_eq!((body.get("max_tokens"), body["max_completion_tokens"].as_u64()), (None, Some(3)));
        assert!(head.injected_params.is_empty());
    }

    #[test]
    fn usage_is_forced_on_in_streams_and_other_options_kept() {
        let (body, _) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream": true}));
        assert_eq!(body["stream_options"], json!({"include_usage": true}));
        let options = json!({"include_usage": false, "continuous_usage_stats": true});
        let (body, _) =
            prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream": true, "stream_options": options}));
        assert_eq!(body["stream_options"], json!({"include_usage": true, "continuous_usage_stats": true}));
    }

    #[test]
    fn stream_options_without_a_stream_are_left_out() {
        let (body, _) = prepared(&json!({"model": "m", "messages": [{"role": "user"}], "stream_options": {}}));
        assert_eq!(body.get("stream_options"), None);
    }
}
