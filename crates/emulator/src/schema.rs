//! Values that fit a JSON schema, as a model with constrained decoding makes them.
//!
//! What is understood: `type`, `enum`, `const`, `anyOf`, `oneOf` (the first branch that is not null), `allOf`, `$ref`
//! into the same document, objects (`properties`, `required`, `additionalProperties`, `minProperties`,
//! `maxProperties`), arrays (`items`, `prefixItems`, `minItems`, `maxItems`, `uniqueItems`), the bounds of numbers and
//! texts, `multipleOf`, the usual values of `format`, and simple patterns. Other keywords (`not`, `if`, `contains`,
//! `dependentRequired`, `patternProperties`, `propertyNames`) are not looked at.
//!
//! A value is made from the prompt alone: a text repeats its first words, a number or a member of an `enum` that the
//! prompt names is taken, and any other whole number is the prompt's tokens modulo 11 where that fits.
//!
//! Recursion ends: below [`DEEP`] levels, or after [`MANY`] values, only what is required is made, in its flattest form.

mod number;
mod pattern;
mod resolve;
mod text;

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::words::{mentions, words};

/// Levels of objects and arrays that are filled generously.
const DEEP: usize = 5;
/// Values that are made generously.
const MANY: usize = 400;
/// Nested calls and values after which the rest is null: schemas get there that no finite or no small value fits.
const DEEPEST: usize = 48;
const MOST: usize = 20_000;
/// Most items of an array, whatever is asked for.
const LONGEST_ARRAY: usize = 256;
/// How far is looked ahead for the flattest branch, in levels and in schemas.
const AHEAD: (usize, usize) = (5, 400);

/// What values are made from.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// The words as they stand there.
    text: Vec<String>,
    /// The words for comparison.
    words: Vec<String>,
    numbers: Vec<f64>,
    /// A whole number from 0 to 10.
    number: u64,
}

impl Prompt {
    pub(crate) fn new(text: &str, tokens: u64) -> Self {
        let bare =
            |word: &str| word.trim_matches(|letter: char| letter.is_ascii_punctuation() && letter != '-').to_owned();
        let text: Vec<String> = text.split_whitespace().take(2000).map(bare).filter(|word| !word.is_empty()).collect();
        let numbers = text.iter().filter(|word| word.ends_with(|end: char| end.is_ascii_digit()));
        Self {
            numbers: numbers.filter_map(|word| word.parse().ok()).filter(|number: &f64| number.is_finite()).collect(),
            words: words(&text.join(" ")),
            number: tokens % 11,
            text,
        }
    }
}

/// A value that fits the schema, as far as its keywords are understood; null where none does.
pub(crate) fn fitting(schema: &Value, prompt: &Prompt) -> Value {
    let maker = Maker { root: schema, prompt, made: Cell::new(0) };
    maker.value(schema, At { depth: 0, calls: 0, nth: 0 })
}

struct Maker<'a> {
    root: &'a Value,
    prompt: &'a Prompt,
    made: Cell<usize>,
}

/// Where in the value the maker is.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
    calls: usize,
    /// Place in the innermost array; items differ by it.
    nth: usize,
}

impl At {
    fn inside(self, nth: usize) -> Self {
        Self { depth: self.depth + 1, calls: self.calls + 1, nth }
    }
}

type Keywords = Map<String, Value>;

impl Maker<'_> {
    fn value(&self, schema: &Value, at: At) -> Value {
        self.made.set(self.made.get() + 1);
        if at.calls > DEEPEST || self.made.get() > MOST {
            return Value::Null;
        }
        let Some(mut keywords) = resolve::resolve(self.root, schema) else { return Value::Null };
        if let Some(value) = keywords.get("const") {
            return value.clone();
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            return self.member(values, &keywords, at);
        }
        for name in ["anyOf", "oneOf"] {
            let Some(Value::Array(branches)) = keywords.remove(name) else { continue };
            let branch = self.branch(&branches, at);
            let both = serde_json::json!({"allOf": [keywords, branch]});
            return self.value(&both, At { calls: at.calls + 1, ..at });
        }
        match self.kind(&keywords, at) {
            "object" => self.object(&keywords, at),
            "array" => self.array(&keywords, at),
            "integer" => number::whole(&keywords, self.prompt, at.nth),
            "number" => number::any(&keywords, self.prompt, at.nth),
            "boolean" => Value::Bool(at.nth.is_multiple_of(2)),
            "null" => Value::Null,
            _ => Value::String(text::text(&keywords, self.prompt, at.nth)),
        }
    }

    /// Whether only the necessary is to be made.
    fn is_tight(&self, at: At) -> bool {
        at.depth >= DEEP || self.made.get() > MANY
    }

    /// A member of an `enum`: one that the prompt names, else the prompt's number, else the first.
    fn member(&self, values: &[Value], keywords: &Keywords, at: At) -> Value {
        let mut values: Vec<&Value> = values.iter().filter(|value| resolve::is_of_type(value, keywords)).collect();
        values.sort_by_key(|value| match value {
            Value::String(text) if mentions(&self.prompt.words, &words(text)) => 0,
            Value::Number(number) if number.as_f64().is_some_and(|number| self.prompt.numbers.contains(&number)) => 0,
            Value::Number(number) if number.as_u64() == Some(self.prompt.number) => 1,
            _ => 2,
        });
        if values.is_empty() { Value::Null } else { values[at.nth % values.len()].clone() }
    }

    fn branch(&self, branches: &[Value], at: At) -> Value {
        let chosen = if self.is_tight(at) {
            let mut left = AHEAD.1;
            branches.iter().min_by_key(|branch| resolve::height(self.root, branch, AHEAD.0, &mut left))
        } else {
            let is_null = |branch: &&Value| branch["type"] == "null" || **branch == Value::Bool(false);
            branches.iter().find(|branch| !is_null(branch)).or(branches.first())
        };
        chosen.cloned().unwrap_or(Value::Bool(true))
    }

    /// The type to make, guessed from the other keywords where it is not said.
    fn kind<'a>(&self, keywords: &'a Keywords, at: At) -> &'a str {
        let kinds = resolve::kinds(keywords);
        if self.is_tight(at) && kinds.contains(&"null") {
            return "null";
        }
        kinds
            .iter()
            .find(|kind| **kind != "null")
            .or(kinds.first())
            .copied()
            .unwrap_or_else(|| resolve::guess(keywords))
    }

    fn object(&self, keywords: &Keywords, at: At) -> Value {
        let required = resolve::required(keywords);
        let rest = keywords.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let mut object = Map::new();
        let declared = keywords.get("properties").and_then(Value::as_object);
        for (name, schema) in declared.into_iter().flatten() {
            if required.contains(&name.as_str()) || !(self.is_tight(at) || *schema == Value::Bool(false)) {
                object.insert(name.clone(), self.value(schema, at.inside(at.nth)));
            }
        }
        for name in required {
            if !object.contains_key(name) {
                object.insert(name.to_owned(), self.value(rest, at.inside(at.nth)));
            }
        }
        self.fill(&mut object, keywords, rest, at);
        Value::Object(object)
    }

    /// Adds properties of free names where some are asked for, and takes optional ones away where there are too many.
    fn fill(&self, object: &mut Map<String, Value>, keywords: &Keywords, rest: &Value, at: At) {
        let bound = |name: &str| resolve::count(keywords, name);
        let is_map = rest.is_object() && object.is_empty() && !self.is_tight(at);
        let restricted = keywords.contains_key("propertyNames") || keywords.contains_key("patternProperties");
        let wanted = bound("minProperties").unwrap_or(usize::from(is_map && !restricted)).min(LONGEST_ARRAY);
        let mut names = self.prompt.words.iter().cloned().chain((1..).map(|number| format!("key{number}")));
        while object.len() < wanted && *rest != Value::Bool(false) {
            let Some(name) = names.find(|name| !object.contains_key(name)) else { break };
            object.insert(name, self.value(rest, at.inside(object.len())));
        }
        let required = resolve::required(keywords);
        while bound("maxProperties").is_some_and(|most| object.len() > most) {
            let Some(name) = object.keys().rfind(|name| !required.contains(&name.as_str())).cloned() else { break };
            object.remove(&name);
        }
    }

    fn array(&self, keywords: &Keywords, at: At) -> Value {
        let items = keywords.get("items");
        let first = keywords.get("prefixItems").or(items).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rest = items.filter(|items| !items.is_array()).unwrap_or(&Value::Bool(true));
        let least = resolve::count(keywords, "minItems").unwrap_or(0);
        let most = resolve::count(keywords, "maxItems").unwrap_or(LONGEST_ARRAY).min(LONGEST_ARRAY);
        let usual = if self.is_tight(at) { 0 } else { first.len().max(1) };
        let room = if *rest == Value::Bool(false) { first.len() } else { most };
        let count = least.max(usual).min(most).min(room);
        let item = |nth: usize| self.value(first.get(nth).unwrap_or(rest), at.inside(nth));
        (0..count).map(item).collect()
    }
}

#[cfg(test)]
mod tests;
