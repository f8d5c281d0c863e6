//! Formats that Cerebras refuses and other upstreams serve.

use super::*;

fn format(format: &Value, text: &str) -> Result<(Value, ReplyHead), Error> {
    let messages = json!([{"role": "user", "content": text}]);
    try_sent(Operation::Chat, "qwen-3.8-27b", &json!({"response_format": format, "messages": messages}))
}

fn strict(schema: &Value) -> Result<(Value, ReplyHead), Error> {
    format(&json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": true}}), "x")
}

#[test]
fn a_strict_schema_that_cerebras_refuses_moves_on() {
    let closed = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let cases = [
        ("additionalProperties", json!({"type": "object", "properties": {}})),
        ("additionalProperties", json!({"properties": {"a": {"type": "string"}}})),
        ("additionalProperties", json!({"type": "object", "additionalProperties": true})),
        ("additionalProperties", closed(json!({"a": {"type": "object"}}))),
        ("additionalProperties", closed(json!({"a": {"type": "array", "items": {"type": "object"}}}))),
        ("additionalProperties", closed(json!({"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}}))),
        (
            "additionalProperties",
            json!({"type": "array", "items": {"type": "string"}, "$defs": {"d": {"type": "object"}}}),
        ),
        ("'pattern'", closed(json!({"a": {"type": "string", "pattern": "a+"}}))),
        ("'minItems'", closed(json!({"a": {"type": "array", "minItems": 1, "items": {"type": "string"}}}))),
        ("'maxItems'", closed(json!({"a": {"allOf": [{"type": "array", "maxItems": 9}]}}))),
        ("definitions", json!({"type": "string", "definitions": {"d": {"type": "string"}}})),
        ("$ref", closed(json!({"a": {"$ref": "#/definitions/d"}}))),
        ("$ref", closed(json!({"a": {"$ref": "#"}}))),
        ("anyOf", closed(json!({"a": {"type": ["string", "null"]}}))),
    ];
    for (why, schema) in cases {
        let error = strict(&schema).err().unwrap_or_else(|| panic!("{schema} was sent"));
        assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some("response_format")));
        assert!(error.message.contains(why), "{schema}: {error}");
        let loose = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": false}});
        assert_eq!(format(&loose, "x").expect("sent").0["response_format"], loose);
    }
}

#[test]
fn a_strict_schema_that_cerebras_takes_is_sent_as_it_came() {
    let schema = json!({
        "type": "object",
        "title": "T",
        "properties": {
            // Names of properties, and values, are no keywords.
            "pattern": {"type": "string", "enum": ["minItems"], "default": {"type": "object"}},
            "properties": {"type": "array", "items": {"$ref": "#/$defs/d"}},
            "definitions": {"anyOf": [{"type": "string"}, {"type": "null"}], "const": {"maxItems": 1}},
        },
        "required": ["pattern"],
        "additionalProperties": false,
        "$defs": {"d": {"type": "object", "properties": {}, "additionalProperties": false}},
    });
    let body = strict(&schema).expect("sent").0;
    assert_eq!(body["response_format"]["json_schema"]["schema"], schema);
}

#[test]
fn a_json_object_without_the_word_moves_on() {
    let object = json!({"type": "json_object"});
    let error = format(&object, "an object, please").expect_err("refused");
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some("response_format")));
    for text in ["as JSON", "in json.", "Json"] {
        assert_eq!(format(&object, text).expect("sent").0["response_format"], object);
    }
    let escaped =
        r#"{"model":"m","response_format":{"type":"json_object"},"messages":[{"role":"user","content":"\u004aSON"}]}"#;
    assert!(sent(&parsed(Operation::Chat, escaped.to_owned()), "qwen", None).is_ok());
}

#[test]
fn a_format_that_cerebras_does_not_know_moves_on() {
    let error = format(&json!({"type": "structural_tag", "format": {}}), "x").expect_err("refused");
    assert_eq!((error.kind, error.param.as_deref()), (ErrorKind::Unsupported, Some("response_format")));
}
