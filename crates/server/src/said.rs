//! What an answer says, read from the JSON that goes to other clients as it came.
//!
//! The text is wanted whatever stands around it, so nothing here fails on a value of an unexpected type: it is left out. Of a
//! member that appears twice the last one counts, as in most parsers, and half of a surrogate pair becomes U+FFFD.

use provider::{Malformed, Reader, Value};
use serde_json::{Map, Number};

/// What is read of a chat completion, a text completion, or a chunk of either.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// In their order; what is no object is left out.
    pub(crate) choices: Vec<Choice>,
    /// Counts of tokens as they came.
    pub(crate) usage: Option<serde_json::Value>,
    /// What an ensemble tells of its members.
    pub(crate) ensemble: Option<serde_json::Value>,
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
        let mut said = Self::default();
        let mut reader = Reader::new(json);
        members(&mut reader, |key, reader| {
            match key {
                "choices" => said.choices = choices(reader)?,
                "usage" => said.usage = object(reader)?,
                "ensemble" => said.ensemble = object(reader)?,
                _ => _ = reader.value()?,
            }
            Ok(())
        })?;
        reader.end()?;
        Ok(said)
    }
}

/// Hands every member of the object that comes next to `each`, which reads the value. Passes over what is no object.
fn members(
    reader: &mut Reader<'_>,
    mut each: impl FnMut(&str, &mut Reader<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if reader.peek() != Some(b'{') {
        reader.value()?;
        return Ok(());
    }
    reader.enter()?;
    while let Some(key) = reader.key()? {
        each(&key.decoded(), reader)?;
    }
    Ok(())
}

fn choices(reader: &mut Reader<'_>) -> Result<Vec<Choice>, Malformed> {
    let mut choices = Vec::new();
    if reader.peek() != Some(b'[') {
        reader.value()?;
        return Ok(choices);
    }
    reader.enter()?;
    while reader.element()? {
        let is_object = reader.peek() == Some(b'{');
        let choice = choice(reader)?;
        if is_object {
            choices.push(choice);
        }
    }
    Ok(choices)
}

fn choice(reader: &mut Reader<'_>) -> Result<Choice, Malformed> {
    let mut choice = Choice::default();
    members(reader, |key, reader| {
        match key {
            "index" => choice.index = reader.value()?.count(),
            "message" | "delta" => choice.content = message(reader)?,
            "text" => choice.text = text(reader)?,
            "finish_reason" => choice.finish_reason = text(reader)?.filter(|reason| !reason.is_empty()),
            _ => _ = reader.value()?,
        }
        Ok(())
    })?;
    Ok(choice)
}

/// The content of a message or a delta.
fn message(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    let mut said = None;
    members(reader, |key, reader| {
        if key == "content" {
            said = content(reader)?;
        } else {
            reader.value()?;
        }
        Ok(())
    })?;
    Ok(said)
}

/// A content: a string, or parts of which those that are text are joined.
fn content(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    if reader.peek() != Some(b'[') {
        return part(reader);
    }
    let mut joined = String::new();
    reader.enter()?;
    while reader.element()? {
        joined += &part(reader)?.unwrap_or_default();
    }
    Ok(Some(joined))
}

/// A string, or the text of a part; `None` for parts of another type, such as thinking.
fn part(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    if reader.peek() != Some(b'{') {
        return text(reader);
    }
    let (mut is_text, mut said) = (true, None);
    members(reader, |key, reader| {
        match key {
            "type" => is_text = text(reader)?.is_none_or(|name| matches!(name.as_str(), "text" | "output_text")),
            "text" => said = text(reader)?,
            _ => _ = reader.value()?,
        }
        Ok(())
    })?;
    Ok(said.filter(|_| is_text))
}

fn text(reader: &mut Reader<'_>) -> Result<Option<String>, Malformed> {
    Ok(reader.value()?.text().map(|text| text.decoded().into_owned()))
}

/// An object as it came; `None` for anything else.
fn object(reader: &mut Reader<'_>) -> Result<Option<serde_json::Value>, Malformed> {
    Ok(Some(value(reader)?).filter(serde_json::Value::is_object))
}

/// Any value. The reader bounds its depth.
fn value(reader: &mut Reader<'_>) -> Result<serde_json::Value, Malformed> {
    match reader.peek() {
        Some(b'{') => {
            let mut fields = Map::new();
            members(reader, |key, reader| {
                fields.insert(key.to_owned(), value(reader)?);
                Ok(())
            })?;
            Ok(fields.into())
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            reader.enter()?;
            while reader.element()? {
                elements.push(value(reader)?);
            }
            Ok(elements.into())
        }
        _ => Ok(match reader.value()? {
            Value::Null | Value::Array(_) | Value::Object(_) => serde_json::Value::Null,
            Value::Bool(is_true) => is_true.into(),
            // A number that is too large for serde_json is kept as it is written.
            Value::Number(digits) => digits.parse::<Number>().map_or_else(|_| digits.into(), Into::into),
            Value::Text(text) => text.decoded().into_owned().into(),
        }),
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
    fn a_content_may_have_any_shape() {
        let parts = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hello"}]"#;
        assert_eq!(said(parts), "hello");
        assert_eq!(
            said(r#"[{"text":"a"},{"type":"output_text","text":"b"},"c",{"type":"text","text":7},null,[1]]"#),
            "abc"
        );
        assert_eq!(said(r#"[{"type":"refusal","text":"no"},{"type":"image_url","image_url":{"url":"u"}}]"#), "");
        assert_eq!(said(r#"{"type":"text","text":"one part"}"#), "one part");
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
