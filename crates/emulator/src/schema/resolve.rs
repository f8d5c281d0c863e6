//! What a schema says once its references are followed and its `allOf` is merged.

use serde_json::{Map, Value, json};

use super::Keywords;

/// References that lead to references.
const LONGEST_CHAIN: usize = 16;

/// The keywords of a schema; `None` if nothing fits it or a reference leads nowhere.
pub(super) fn resolve(root: &Value, schema: &Value) -> Option<Keywords> {
    let mut keywords = Map::new();
    gather(root, schema, &mut keywords, LONGEST_CHAIN).then_some(keywords)
}

fn gather(root: &Value, schema: &Value, into: &mut Keywords, chain: usize) -> bool {
    let object = match schema {
        Value::Bool(fits) => return *fits,
        Value::Object(object) => object,
        _ => return true,
    };
    if chain == 0 {
        return false;
    }
    object.iter().all(|(name, value)| match (name.as_str(), value) {
        ("$ref", Value::String(path)) => {
            let target = path.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            target.is_some_and(|target| gather(root, target, into, chain - 1))
        }
        ("allOf", Value::Array(parts)) => parts.iter().all(|part| gather(root, part, into, chain - 1)),
        ("$defs" | "definitions", _) => true,
        _ => {
            merge(into, name, value);
            true
        }
    })
}

/// Adds a keyword to others that hold as well.
fn merge(into: &mut Keywords, name: &str, value: &Value) {
    let Some(present) = into.get_mut(name) else {
        into.insert(name.to_owned(), value.clone());
        return;
    };
    match (name, &mut *present, value) {
        ("properties", Value::Object(present), Value::Object(more)) => {
            for (name, schema) in more {
                let schema = present.get(name).map_or_else(|| schema.clone(), |old| json!({"allOf": [old, schema]}));
                present.insert(name.clone(), schema);
            }
        }
        ("required", Value::Array(present), Value::Array(more)) => present.extend(more.iter().cloned()),
        ("enum", Value::Array(present), Value::Array(more)) => present.retain(|value| more.contains(value)),
        ("type", present, more) => *present = narrower(present, more),
        ("minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties", present, more) => {
            if more.as_f64() > present.as_f64() {
                *present = more.clone();
            }
        }
        ("maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties", present, more) => {
            if more.as_f64() < present.as_f64() {
                *present = more.clone();
            }
        }
        (_, present, more) => *present = more.clone(),
    }
}

/// The types in both lists; a whole number is a number.
fn narrower(one: &Value, other: &Value) -> Value {
    let (one, other) = (names(one), names(other));
    let has = |list: &[&str], kind: &str| list.contains(&kind) || (kind == "integer" && list.contains(&"number"));
    let ours = one.iter().filter(|kind| has(&other, kind));
    let theirs = other.iter().filter(|kind| has(&one, kind) && !one.contains(kind));
    ours.chain(theirs).copied().collect()
}

fn names(kinds: &Value) -> Vec<&str> {
    match kinds {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The types that are allowed; none if nothing is said.
pub(super) fn kinds(keywords: &Keywords) -> Vec<&str> {
    keywords.get("type").map(names).unwrap_or_default()
}

/// The type that the other keywords apply to.
pub(super) fn guess(keywords: &Keywords) -> &'static str {
    const SIGNS: [(&str, &[&str]); 3] = [
        ("object", &["properties", "required", "additionalProperties", "minProperties"]),
        ("array", &["items", "prefixItems", "minItems", "uniqueItems"]),
        ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
    ];
    let sign = SIGNS.iter().find(|(_, names)| names.iter().any(|name| keywords.contains_key(*name)));
    sign.map_or("string", |(kind, _)| kind)
}

/// Whether a value is of one of the types that are allowed.
pub(super) fn is_of_type(value: &Value, keywords: &Keywords) -> bool {
    let kinds = kinds(keywords);
    kinds.is_empty()
        || kinds.iter().any(|kind| match (*kind, value) {
            ("integer", value) => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            ("number", Value::Number(_))
            | ("string", Value::String(_))
            | ("boolean", Value::Bool(_))
            | ("null", Value::Null)
            | ("array", Value::Array(_))
            | ("object", Value::Object(_)) => true,
            _ => false,
        })
}

/// The names of the properties that must be there.
pub(super) fn required(keywords: &Keywords) -> Vec<&str> {
    keywords.get("required").map(names).unwrap_or_default()
}

/// A keyword that is a count.
pub(super) fn count(keywords: &Keywords, name: &str) -> Option<usize> {
    let number = keywords.get(name)?;
    // `5.0` is a count too.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest count")]
    let rounded = || number.as_f64().map(|number| number as usize);
    number.as_u64().and_then(|number| usize::try_from(number).ok()).or_else(rounded)
}

/// Levels that the flattest value of a schema needs; `ahead` at most. `left` bounds the schemas looked at.
pub(super) fn height(root: &Value, schema: &Value, ahead: usize, left: &mut usize) -> usize {
    if ahead == 0 || *left == 0 {
        return ahead;
    }
    *left -= 1;
    let Some(keywords) = resolve(root, schema) else { return usize::MAX };
    for name in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = keywords.get(name) {
            let heights = branches.iter().map(|branch| height(root, branch, ahead - 1, left));
            return heights.min().unwrap_or(0);
        }
    }
    let kinds = kinds(&keywords);
    let is = |kind: &str| kinds.contains(&kind) || (kinds.is_empty() && guess(&keywords) == kind);
    let is_flat = ["const", "enum"].iter().any(|name| keywords.contains_key(*name))
        || kinds.iter().any(|kind| !matches!(*kind, "object" | "array"));
    if is_flat || (is("array") && count(&keywords, "minItems").unwrap_or(0) == 0) {
        return 0;
    }
    let inner: Vec<&Value> = if is("array") {
        keywords.get("items").into_iter().collect()
    } else if is("object") {
        required(&keywords).into_iter().filter_map(|name| keywords.get("properties")?.get(name)).collect()
    } else {
        return 0;
    };
    let deepest = inner.into_iter().map(|schema| height(root, schema, ahead - 1, left)).max();
    deepest.unwrap_or(0).saturating_add(1)
}
