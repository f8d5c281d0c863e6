//! The changes to a request's body that vLLM needs beside those for every upstream: the constraints of its older versions.

use openai::{Outgoing, Served};
use provider::{Call, Error, ErrorKind, Reader, Request, Value};

/// The old name of each constraint and its key in `structured_outputs`.
const GUIDED: [(&str, &str); 4] =
    [("guided_json", "json"), ("guided_regex", "regex"), ("guided_choice", "choice"), ("guided_grammar", "grammar")];

/// The request as it is sent.
pub(crate) fn outgoing<'a>(request: &'a Request, served: &'a Served, call: &Call) -> Outgoing<'a> {
    let mut outgoing = Outgoing::new(request, served, call);
    if let Some(constraint) = constraint(request) {
        outgoing.rewrite.set("structured_outputs", constraint);
    }
    outgoing
}

/// Fails if the request asks for what vLLM ignores silently, which would change the answer.
pub(crate) fn check(request: &Request) -> Result<(), Error> {
    let functions = request.field("functions").and_then(|raw| Reader::new(raw).value().ok());
    if !matches!(functions, Some(Value::Array(1..))) {
        return Ok(());
    }
    let message = "vLLM does not take 'functions': send them as 'tools'";
    Err(Error { param: Some("functions".to_owned()), ..Error::new(ErrorKind::Unsupported, message) })
}

/// The client's `guided_…` field as newer versions want it: they ignore the old name silently, and the answer
/// would be unconstrained. The old field stays, because older workers know only that one.
fn constraint(request: &Request) -> Option<String> {
    let given = |name: &str| request.field(name).filter(|value| *value != "null");
    if given("structured_outputs").is_some() {
        return None;
    }
    let mut constraints = GUIDED.iter().filter_map(|(name, key)| Some((key, given(name)?)));
    let (key, value) = constraints.next()?;
    // Two at once contradict each other; that is between the client and vLLM.
    constraints.next().is_none().then(|| format!("{{\"{key}\":{value}}}"))
}

#[cfg(test)]
#[path = "../../provider/tests/support/chats.rs"]
mod chats;
#[cfg(test)]
#[path = "../../provider/tests/support/growth.rs"]
mod growth;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use provider::{Limits, MemoryBudget, Operation, steps};
    use serde_json::{Value, json};

    use super::*;

    fn sent(extra: &Value) -> Value {
        let mut asked = json!({"model": "alias", "messages": [{"role": "developer", "content": "x"}]});
        for (name, value) in extra.as_object().expect("fields") {
            asked[name] = value.clone();
        }
        let request = Request::parse(Operation::Chat, asked.to_string().into(), Limits { max_messages: 9 });
        let request = request.expect("valid");
        let served = Served::new("org/model", Some(64), "max_tokens");
        let call = Call {
            request_id: "r".into(),
            adjustment: None,
            reasoning: provider::ReasoningField::default(),
            memory: MemoryBudget::default(),
        };
        let body = outgoing(&request, &served, &call).rewrite.finish();
        let mut body: Value = serde_json::from_slice(&body).expect("JSON");
        let rest = body.as_object_mut().expect("an object");
        assert_eq!(rest.remove("model"), Some(json!("org/model")));
        assert_eq!(rest.remove("messages"), Some(json!([{"role": "developer", "content": "x"}])));
        body
    }

    #[test]
    fn a_rewrite_is_linear_in_the_body() {
        growth::are_linear(chats::CHATS, steps::taken, |text| {
            let body = Bytes::copy_from_slice(text.as_bytes());
            let Ok(request) = Request::parse(Operation::Chat, body, Limits { max_messages: usize::MAX }) else {
                return;
            };
            let served = Served::new("org/model", Some(64), "max_tokens");
            let call = Call {
                request_id: "r".into(),
                adjustment: None,
                reasoning: provider::ReasoningField::default(),
                memory: MemoryBudget::default(),
            };
            drop(check(&request).map(|()| outgoing(&request, &served, &call).rewrite.finish()));
        });
    }

    #[test]
    fn what_vllm_takes_passes_and_so_does_the_unknown() {
        let passed = json!({
            "max_completion_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "seed": 1, "n": 2,
            "repetition_penalty": 1.1, "logit_bias": {"5": 1}, "stop": ["a", "b", "c", "d", "e"], "cache_salt": "s",
            "reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": false}, "user": "u", "future": [{}],
            "tools": [{"type": "function"}], "response_format": {"type": "json_object"}, "store": true,
        });
        assert_eq!(sent(&passed), passed);
    }

    #[test]
    fn a_limit_and_usage_are_added() {
        assert_eq!(sent(&json!({})), json!({"max_tokens": 64}));
        assert_eq!(
            sent(&json!({"stream": true, "max_tokens": 2})),
            json!({"stream": true, "max_tokens": 2, "stream_options": {"include_usage": true}})
        );
    }

    #[test]
    fn an_old_constraint_is_sent_under_its_new_name_too() {
        for (name, key) in GUIDED {
            let given = json!({name: ["a", "b"], "max_tokens": 1});
            assert_eq!(
                sent(&given),
                json!({name: ["a", "b"], "max_tokens": 1, "structured_outputs": {key: ["a", "b"]}})
            );
        }
        let new = json!({"guided_json": {}, "structured_outputs": {"regex": "a"}, "max_tokens": 1});
        assert_eq!(sent(&new), new);
        let two = json!({"guided_json": {}, "guided_regex": "a", "max_tokens": 1});
        assert_eq!(sent(&two), two);
    }
}
