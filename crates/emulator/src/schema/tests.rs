//! Generated values against a small validator of their own.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn prompt(text: &str) -> Prompt {
    Prompt::new(text, 12)
}

fn made(schema: &Value) -> Value {
    fitting(schema, &prompt("Please rate Jason who is 25 years old"))
}

/// Whether the value fits. It follows references and knows the keywords that the tests use; others are an error.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(keywords) = schema.as_object() else { return schema == &json!(true) };
    keywords.iter().all(|(name, keyword)| holds(root, keywords, name, keyword, value))
}

fn holds(root: &Value, all: &Map<String, Value>, name: &str, keyword: &Value, value: &Value) -> bool {
    let list = || keyword.as_array().unwrap().iter();
    let branch = |branch: &&Value| fits(root, branch, value);
    let (number, bound) = (value.as_f64(), keyword.as_f64());
    let float = |count: usize| f64::from(u32::try_from(count).unwrap());
    let length = value.as_str().map(|text| float(text.chars().count()));
    let items = value.as_array();
    let size = items.map(|items| float(items.len()));
    let within = |size: Option<f64>, least: bool| {
        size.is_none_or(|size| if least { size >= bound.unwrap() } else { size <= bound.unwrap() })
    };
    match name {
        "$ref" => fits(root, root.pointer(&keyword.as_str().unwrap()[1..]).unwrap(), value),
        "$defs" | "definitions" | "title" | "description" | "pattern" | "format" | "default" => true,
        "type" if keyword.is_array() => list().any(|kind| is(kind.as_str().unwrap(), value)),
        "type" => is(keyword.as_str().unwrap(), value),
        "enum" => list().any(|member| member == value),
        "const" => keyword == value,
        "anyOf" => list().any(|one| branch(&one)),
        "oneOf" => list().filter(branch).count() == 1,
        "allOf" => list().all(|one| branch(&one)),
        "minimum" => within(number, true),
        "maximum" => within(number, false),
        "exclusiveMinimum" => number.is_none_or(|number| number > bound.unwrap()),
        "exclusiveMaximum" => number.is_none_or(|number| number < bound.unwrap()),
        "multipleOf" => {
            number.is_none_or(|number| ((number / bound.unwrap()).round() * bound.unwrap() - number).abs() < 1e-9)
        }
        "minLength" => within(length, true),
        "maxLength" => within(length, false),
        "minItems" => within(size, true),
        "maxItems" => within(size, false),
        "uniqueItems" => items.is_none_or(|items| (1..items.len()).all(|at| !items[..at].contains(&items[at]))),
        "prefixItems" => {
            items.is_none_or(|items| items.iter().zip(list()).all(|(item, schema)| fits(root, schema, item)))
        }
        "items" => {
            let first = all.get("prefixItems").map_or(0, |first| first.as_array().unwrap().len());
            items.is_none_or(|items| items.iter().skip(first).all(|item| fits(root, keyword, item)))
        }
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(name, value)| keyword.get(name).is_none_or(|schema| fits(root, schema, value)))
        }),
        "required" => {
            value.as_object().is_none_or(|object| list().all(|name| object.contains_key(name.as_str().unwrap())))
        }
        "minProperties" => within(value.as_object().map(|object| float(object.len())), true),
        "maxProperties" => within(value.as_object().map(|object| float(object.len())), false),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let declared = |name: &str| all.get("properties").is_some_and(|properties| properties.get(name).is_some());
            object.iter().filter(|(name, _)| !declared(name)).all(|(_, value)| fits(root, keyword, value))
        }),
        _ => panic!("the validator does not know {name}"),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

#[test]
fn schemas_of_real_clients_are_fitted() {
    let person = json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name", "age"], "additionalProperties": false});
    let schemas = [
        person.clone(),
        // As pydantic writes optional fields, enums, nested models, tuples and maps.
        json!({"$defs": {"Person": person, "Colour": {"enum": ["red", "blue"], "type": "string"}},
            "properties": {"people": {"items": {"$ref": "#/$defs/Person"}, "minItems": 2, "type": "array"},
                "colour": {"$ref": "#/$defs/Colour"}, "nick": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null},
                "pair": {"maxItems": 2, "minItems": 2, "prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"},
                "marks": {"additionalProperties": {"type": "number"}, "type": "object"}},
            "required": ["people", "colour", "pair", "marks"], "title": "Team", "type": "object"}),
        // As zod writes unions that are told apart by a member.
        json!({"anyOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "number"}}, "required": ["kind", "x"], "additionalProperties": false},
            {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]}]}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"type": "number", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 4}, "b": {"type": ["null", "boolean"]}}, "required": ["b"]}]}),
        json!({"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 5}, "minItems": 4, "uniqueItems": true}),
        json!({"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": true}),
        json!({"type": "object", "minProperties": 3, "additionalProperties": {"type": "string", "maxLength": 3}}),
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        json!({"type": "integer", "multipleOf": 7, "exclusiveMinimum": 14}),
        json!({"type": "string", "minLength": 200, "maxLength": 210}),
        json!({"type": "string", "maxLength": 0}),
        json!({}),
        json!(true),
    ];
    for schema in schemas {
        let value = made(&schema);
        assert!(fits(&schema, &schema, &value), "{schema}\n{value}");
    }
}

#[test]
fn recursion_ends_in_what_fits() {
    let node = json!({"type": "object", "properties": {"value": {"type": "string"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#"}}}, "required": ["value", "next", "children"], "additionalProperties": false});
    let expression = json!({"$ref": "#/definitions/expression", "definitions": {
        "expression": {"anyOf": [{"$ref": "#/definitions/sum"}, {"$ref": "#/definitions/literal"}]},
        "sum": {"type": "object", "properties": {"left": {"$ref": "#/definitions/expression"}, "right": {"$ref": "#/definitions/expression"}}, "required": ["left", "right"]},
        "literal": {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}}});
    for schema in [node, expression] {
        let value = made(&schema);
        assert!(fits(&schema, &schema, &value), "{value}");
        assert!(value.to_string().len() < 20_000);
    }
    // Nothing fits these, which must not take forever.
    for endless in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"$ref": "#"}]}),
        json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]}),
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1_000_000}),
        json!({"$ref": "#/nowhere"}),
        json!(false),
    ] {
        made(&endless);
    }
}

#[test]
fn values_come_from_the_prompt_where_it_names_them() {
    let schema = json!({"properties": {"who": {"type": "string"}, "age": {"type": "integer", "minimum": 0}, "mood": {"enum": ["sad", "very happy"]},
        "grade": {"type": "integer", "enum": [1, 2, 25]}}});
    let value = fitting(&schema, &prompt("Jason (25) is very happy."));
    assert_eq!(value, json!({"who": "Jason 25 is very happy", "age": 25, "mood": "very happy", "grade": 25}));
    let marks = json!({"properties": {"score": {"type": "integer", "enum": [0, 1, 2]}, "other": {"type": "integer"}}});
    assert_eq!(fitting(&marks, &prompt("hello")), json!({"score": 1, "other": 1}), "12 tokens modulo 11");
}

#[test]
fn formats_and_patterns_are_kept() {
    for (keyword, name, expected) in [
        ("format", "date", "2026-11-01"),
        ("format", "date-time", "2026-11-01T09:00:00Z"),
        ("format", "email", "user1@example.com"),
        ("format", "uuid", "00000000-0000-4000-8000-000000000001"),
        ("format", "uri", "https://example.com/1"),
        ("format", "ipv4", "192.0.2.1"),
        ("pattern", "^[A-Z]{2}\\d$", "AA1"),
    ] {
        assert_eq!(made(&json!({"type": "string", keyword: name})), json!(expected), "{name}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    let bounded = (-50..50_i32, 0..40_i32, 1..9_i32, 0..4_u8).prop_map(|(low, width, step, which)| {
        let wide = width + 2 * step;
        match which {
            0 => json!({"type": "integer", "minimum": low, "maximum": low + width}),
            1 => {
                json!({"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + wide, "multipleOf": step})
            }
            2 => json!({"type": "number", "minimum": low, "exclusiveMaximum": low + width + 1}),
            _ => json!({"type": "number", "exclusiveMinimum": low, "multipleOf": f64::from(step) / 4.0}),
        }
    });
    let text = (0..30_u8, 0..30_u8)
        .prop_map(|(least, more)| json!({"type": "string", "minLength": least, "maxLength": least + more}));
    let fixed = prop::sample::select(vec![
        json!({"type": "boolean"}),
        json!({"type": ["string", "null"]}),
        json!({"enum": ["a", 1, null]}),
        json!({"const": {"x": [1]}}),
        json!({"type": "string", "format": "uuid"}),
        json!({"$ref": "#/$defs/tree"}),
        json!({}),
    ]);
    prop_oneof![bounded, text, fixed]
}

fn any_schema() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 4, |inner| {
        let object = (prop::collection::vec((inner.clone(), any::<bool>()), 0..4), any::<bool>()).prop_map(|(parts, open)| {
            let name = |at: usize| format!("p{at}");
            let required: Vec<String> =
                parts.iter().enumerate().filter(|(_, part)| part.1).map(|(at, _)| name(at)).collect();
            let properties: Map<String, Value> =
                parts.into_iter().enumerate().map(|(at, (schema, _))| (name(at), schema)).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": open})
        });
        let array = (inner.clone(), 0..4_u8, 0..3_u8)
            .prop_map(|(items, least, more)| json!({"type": "array", "items": items, "minItems": least, "maxItems": least + more}));
        let branches = (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({"anyOf": [one, other]}));
        let nullable = inner.clone().prop_map(|one| json!({"anyOf": [{"type": "null"}, one]}));
        let map = inner.prop_map(|one| json!({"type": "object", "additionalProperties": one}));
        prop_oneof![object, array, branches, nullable, map]
    })
}

proptest! {
    #[test]
    fn every_value_fits_its_schema(mut schema in any_schema(), text in "[a-z0-9 .-]{0,40}", tokens in 0..100_u64) {
        let tree = json!({"type": "object", "properties": {"leaf": {"type": "integer"}, "more": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["leaf", "more"]});
        schema["$defs"] = json!({"tree": tree});
        let prompt = Prompt::new(&text, tokens);
        let value = fitting(&schema, &prompt);
        prop_assert!(fits(&schema, &schema, &value), "{schema}\n{value}");
        prop_assert_eq!(value, fitting(&schema, &prompt));
    }
}
