//! Whose mistake a refusal is, and what is left out of a second call.

use super::*;
use crate::refusal::{blames, judged};

#[test]
fn a_refused_format_is_the_clients_only_if_the_field_was() {
    let request = request(Operation::Chat, &json!({"temperature": 1, "max_tokens": 5, "n": 1}));
    let refusal = |param: Option<&str>, message: &str| Error {
        param: param.map(str::to_owned),
        code: Some("wrong_api_format".to_owned()),
        ..Error::new(ErrorKind::InvalidRequest, message)
    };
    let cases = [
        (refusal(Some("temperature"), "must be lower"), ErrorKind::InvalidRequest),
        (refusal(Some("messages.0.content"), "field required"), ErrorKind::InvalidRequest),
        (refusal(None, "body.max_completion_tokens: too large"), ErrorKind::InvalidRequest),
        (refusal(None, "messages[0]: the tool call is not answered"), ErrorKind::InvalidRequest),
        (refusal(None, "body.stream_options: property 'x' is unsupported"), ErrorKind::Unsupported),
        (refusal(None, "messages.1.audio: property 'messages.1.audio' is unsupported"), ErrorKind::Unsupported),
        (refusal(None, "an unknown mistake"), ErrorKind::Unsupported),
    ];
    for (error, kind) in cases {
        let message = error.message.clone();
        assert_eq!(judged(error, &request, &call(None)).kind, kind, "{message}");
    }
}

/// A model that reads no images, though the configuration says that it does, says so in these words.
#[test]
fn a_refused_part_beside_an_image_is_for_another_upstream() {
    let part = "messages.0.user.content.1.type: Input should be 'text'";
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}]);
    let cases = [
        (image.clone(), part, ErrorKind::Unsupported),
        (image.clone(), "messages[0].content[1]: Input should be 'text'", ErrorKind::Unsupported),
        (image, "messages.0.user.content: field required", ErrorKind::InvalidRequest),
        (json!("text"), part, ErrorKind::InvalidRequest),
    ];
    for (content, message, kind) in cases {
        let request = request(Operation::Chat, &json!({"messages": [{"role": "user", "content": content}]}));
        let refused = Error::new(ErrorKind::InvalidRequest, message);
        let judged = judged(Error { code: Some("wrong_api_format".to_owned()), ..refused }, &request, &call(None));
        assert_eq!((judged.kind, judged.again), (kind, None), "{content} {message}");
    }
}

#[test]
fn a_field_is_blamed_only_where_it_is_addressed() {
    let says = |message: &str| Error::new(ErrorKind::InvalidRequest, message);
    for message in ["body.logit_bias: property 'logit_bias' is unsupported", "`logit_bias`?", "logit_bias: no"] {
        assert!(blames(&says(message), "logit_bias"), "{message}");
    }
    for message in ["the logit_bias of life", "body.logit_bias_of: no", "stop it"] {
        assert!(!blames(&says(message), "logit_bias"), "{message}");
    }
}

/// What `judged` would leave out of a second call after the refusal `message` of a first one that was changed by
/// `before`.
fn again(message: &str, before: Option<Adjustment>) -> Option<Adjustment> {
    let error = Error {
        code: Some("wrong_api_format".to_owned()),
        param: Some("validation_error".to_owned()),
        ..Error::new(ErrorKind::InvalidRequest, message)
    };
    let request = request(Operation::Chat, &json!({"seed": 1, "tools": [{}], "logit_bias": {"5": 1}}));
    let judged = judged(error, &request, &call(before));
    assert_eq!(judged.kind, ErrorKind::Unsupported, "{message}");
    judged.again
}

#[test]
fn a_named_field_or_member_is_left_out_of_a_second_call_if_the_answer_can_do_without() {
    let refused = |path: &str| format!("body.{path}: property '{path}' is unsupported");
    let cases = [
        ("logit_bias", Some("logit_bias")),
        ("messages.0.assistant.name", Some("messages.name")),
        ("messages[3].reasoning", Some("messages.reasoning")),
        ("messages.2.assistant.tool_calls.0.index", Some("messages.index")),
        ("messages.1.user.content.1.image_url.detail", Some("messages.detail")),
        ("messages.1.tool.tool_call_id", None),
        ("messages.1.user.content", None),
        ("messages", None),
        ("tools", None),
        ("tools.0.function.strict", None),
        ("unheard_of", None),
    ];
    for (path, without) in cases {
        let expected = without.map(|name| Adjustment::Without(name.to_owned()));
        assert_eq!(again(&refused(path), None), expected, "{path}");
    }
    let object_too = "body.messages.0.assistant: property 'messages.0.assistant.name' is unsupported";
    assert_eq!(again(object_too, None), Some(Adjustment::Without("messages.name".to_owned())));
}

#[test]
fn only_one_refusal_is_answered_with_a_second_call() {
    let message = "body.logit_bias: property 'logit_bias' is unsupported";
    assert_eq!(again(message, Some(Adjustment::Without("seed".to_owned()))), None);
    assert_eq!(again(message, Some(Adjustment::Limit(None))), None);
    // A connection that had grown stale was no refusal.
    assert!(again(message, Some(Adjustment::FreshConnection)).is_some());
}
