//! What an answer says, read from the JSON that goes to other clients as it came.
//!
//! The text is wanted whatever stands around it, so nothing here fails on a value of an unexpected type: it is left out. Of a
//! member that appears twice the last one counts, as in most parsers, and half of a surrogate pair becomes U+FFFD.

use std::borrow::Cow;

use provider::{Malformed, content_text, tree};
use serde_json::Value;

/// What is read of a chat completion, a text completion, or a chunk of either.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// In their order; what is no object is left out.
    pub(crate) choices: Vec<Choice>,
    /// Counts of tokens as they came.
    pub(crate) usage: Option<Value>,
    /// What an ensemble tells of its members.
    pub(crate) ensemble: Option<Value>,
}

/// One answer, or a piece of it.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    index: Option<u64>,
    /// The content of a message or a delta.
    content: Option<String>,
    /// The text of a text completion.
    text: Option<String>,
    /// Why the text ends; `None` while it does not.
    pub(crate) finish_reason: Option<String>,
}

impl Choice {
    /// Whether it belongs to the first answer.
    pub(crate) fn is_first(&self) -> bool {
        self.index.unwrap_or_default() == 0
    }

    /// What it says; empty if nothing.
    pub(crate) fn into_text(self) -> String {
        self.content.or(self.text).unwrap_or_default()
    }
}

impl Said {
    /// Reads one JSON text.
    ///
    /// # Errors
    /// If it is not JSON.
    pub(crate) fn read(json: &str) -> Result<Self, Malformed> {
        let mut whole = tree(json)?;
        let mut object = |key| whole.get_mut(key).map(Value::take).filter(Value::is_object);
        let (usage, ensemble) = (object("usage"), object("ensemble"));
        let choices = whole.get("choices").and_then(Value::as_array).into_iter().flatten();
        Ok(Self { choices: choices.filter(|choice| choice.is_object()).map(Choice::read).collect(), usage, ensemble })
    }
}

impl Choice {
    fn read(choice: &Value) -> Self {
        let text = |key| choice.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = choice.get("message").or_else(|| choice.get("delta"));
        Self {
            index: choice.get("index").and_then(Value::as_u64),
            content: message.and_then(|message| content_text(message.get("content")?)).map(Cow::into_owned),
            text: text("text"),
            finish_reason: text("finish_reason").filter(|reason| !reason.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(json: &str) -> (String, Option<String>) {
        let choice = Said::read(json).expect("JSON").choices.into_iter().next().unwrap_or_default();
        let reason = choice.finish_reason.clone();
        (choice.into_text(), reason)
    }

    fn said(content: &str) -> String {
        let whole = first(&format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":{content}}}}}]}}"#)).0;
        let piece = first(&format!(r#"{{"choices":[{{"delta":{{"content":{content}}}}}]}}"#)).0;
        assert_eq!(whole, piece, "{content}");
        whole
    }

    #[test]
    fn a_content_may_have_parts() {
        let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]"#;
        assert_eq!(said(parts), "hello");
        assert_eq!(
            said(r#""half \ud83d of a pair, a whole \ud83d\ude00""#),
            "half \u{fffd} of a pair, a whole \u{1f600}"
        );
        for nothing in ["null", "7", "true", "{}", "[]", r#""""#, r#"[{"type":"text","text":null}]"#] {
            assert_eq!(said(nothing), "", "{nothing}");
        }
    }

    #[test]
    fn the_last_of_two_members_counts_however_they_are_written() {
        assert_eq!(said(r#""a","content":"b","c\u006fntent":"c""#), "c");
        let twice = r#"{"choices":7,"choices":[{"message":[],"message":{"content":"a"},"finish_reason":"x","finish_reason":"stop"}]}"#;
        assert_eq!(first(twice), ("a".to_owned(), Some("stop".to_owned())));
    }

    #[test]
    fn what_is_of_another_type_is_left_out() {
        let odd = r#"{"choices":[null,7,[{}],{"index":"0","delta":[],"text":" plain","finish_reason":""}]}"#;
        assert_eq!(first(odd), (" plain".to_owned(), None));
        for nothing in ["[]", "7", "{}", r#"{"choices":{}}"#, r#"{"choices":[{"delta":"x","finish_reason":{}}]}"#] {
            assert_eq!(first(nothing), (String::new(), None), "{nothing}");
        }
        assert!(Said::read("{").is_err() && Said::read("nonsense").is_err() && Said::read("{} {}").is_err());
    }

    #[test]
    fn counts_are_passed_on_as_they_are() {
        let usage = |raw: &str| Said::read(&format!(r#"{{"usage":{raw}}}"#)).expect("JSON").usage;
        let odd = r#"{"prompt_tokens":null,"completion_tokens":7.0,"total_tokens":"\ud83d","a":-1,"a":[{"b":1e999}]}"#;
        let expected =
            json!({"prompt_tokens": null, "completion_tokens": 7.0, "total_tokens": "\u{fffd}", "a": [{"b": "1e999"}]});
        assert_eq!(usage(odd), Some(expected));
        assert_eq!((usage("null"), usage("[]"), usage("7")), (None, None, None));
    }
}
