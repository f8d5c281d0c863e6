use std::borrow::Cow;

use serde_json::Value;

/// The text of a message's or a delta's `content`: the string, or the parts that are text, joined. `None` if it has none.
///
/// A part may be a string, or an object of type `text`, `output_text` or of no type; parts of another type, such as
/// `thinking`, say nothing.
#[must_use]
pub fn content_text(content: &Value) -> Option<Cow<'_, str>> {
    match content {
        Value::Array(parts) => Some(Cow::Owned(parts.iter().filter_map(part).collect())),
        other => part(other).map(Cow::Borrowed),
    }
}

fn part(part: &Value) -> Option<&str> {
    let Value::Object(fields) = part else { return part.as_str() };
    let is_text = fields.get("type").and_then(Value::as_str).is_none_or(|kind| matches!(kind, "text" | "output_text"));
    fields.get("text").filter(|_| is_text)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_content_may_have_any_shape() {
        let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
        for (content, said) in [
            (json!("plain"), Some("plain")),
            (json!([thinking, {"type": "text", "text": "hello"}]), Some("hello")),
            (json!([{"text": "a"}, {"type": "output_text", "text": "b"}, "c", {"text": 7}, null, [1]]), Some("abc")),
            (json!([{"type": "refusal", "text": "no"}, {"type": "image_url", "image_url": {"url": "u"}}]), Some("")),
            (json!({"type": "text", "text": "one part"}), Some("one part")),
            (json!([]), Some("")),
            (json!(null), None),
            (json!(7), None),
            (json!({}), None),
        ] {
            assert_eq!(content_text(&content).as_deref(), said, "{content}");
        }
    }
}
