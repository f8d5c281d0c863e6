//! The JSON schema that a prompt shows to the model.
//!
//! Clients that ask for any JSON (`json_object`) say in a message what it must look like: Instructor's JSON mode, Pydantic
//! AI's prompted output. A real model reads the schema there and mostly keeps to it.

use serde_json::{Deserializer, Value};

/// The first schema of an object that stands in these texts, as JSON among other words.
pub(crate) fn find(texts: &[String]) -> Option<Value> {
    texts.iter().find_map(|text| find_in(text))
}

fn find_in(text: &str) -> Option<Value> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        rest = &rest[start..];
        let mut values = Deserializer::from_str(rest).into_iter::<Value>();
        let after = match values.next() {
            Some(Ok(value)) if is_schema(&value) => return Some(value),
            Some(Ok(_)) => values.byte_offset(),
            Some(Err(_)) | None => 1,
        };
        rest = &rest[after..];
    }
    None
}

/// Whether a value describes an object, itself or by reference to a part of itself.
fn is_schema(value: &Value) -> bool {
    value["properties"].is_object() || (value["$ref"].is_string() && value["$defs"].is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(text: &str) -> Option<Value> {
        find(&["Hello".to_owned(), text.to_owned()])
    }

    #[test]
    fn a_schema_is_found_among_words() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        assert_eq!(
            found(&format!("Answer {{so}} with JSON like {{\"a\": 1}}, that fits:\n{schema:#}\n\nOnly that.")),
            Some(schema)
        );
    }

    #[test]
    fn a_schema_may_be_a_reference_into_itself() {
        let schema = json!({"$ref": "#/$defs/City", "$defs": {"City": {"type": "object"}}});
        assert_eq!(found(&schema.to_string()), Some(schema));
    }

    #[test]
    fn other_json_and_braces_are_no_schema() {
        for text in ["", "{", "{{}}", "é{é", "{\"a\": 1}", "{\"properties\": 2}", "{\"properties\": {\"a\""] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
