//! Reads what Python's `str()` makes of a dictionary, because that is how a failed job states its error.
//!
//! Strings, numbers, `None`, `True`, `False` and dictionaries within dictionaries are read. Anything else ends the
//! reading, and what was read so far counts: the text may have been cut on its way.

use std::{iter::Peekable, str::Chars};

use serde_json::{Map, Value};

/// Deepest nesting that is followed.
const MAX_DEPTH: usize = 4;

/// The dictionary that `text` is, as far as it can be read.
pub(crate) fn dictionary(text: &str) -> Option<Map<String, Value>> {
    let mut rest = text.trim_start().chars().peekable();
    let read = entries(&mut rest, MAX_DEPTH)?;
    (!read.is_empty()).then_some(read)
}

fn entries(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Map<String, Value>> {
    rest.next_if_eq(&'{')?;
    let mut read = Map::new();
    while let Some((key, value)) = entry(rest, depth) {
        read.insert(key, value);
        skip_space(rest);
        if rest.next_if_eq(&',').is_none() {
            break;
        }
    }
    rest.next_if_eq(&'}');
    Some(read)
}

fn entry(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<(String, Value)> {
    skip_space(rest);
    let key = string(rest)?;
    skip_space(rest);
    rest.next_if_eq(&':')?;
    skip_space(rest);
    Some((key, value(rest, depth)?))
}

fn value(rest: &mut Peekable<Chars<'_>>, depth: usize) -> Option<Value> {
    match rest.peek()? {
        '\'' | '"' => string(rest).map(Value::String),
        '{' => entries(rest, depth.checked_sub(1)?).map(Value::Object),
        _ => word(rest),
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Option<Value> {
    let mut word = String::new();
    while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')) {
        word.push(c);
    }
    match word.as_str() {
        "None" => Some(Value::Null),
        "True" => Some(Value::Bool(true)),
        "False" => Some(Value::Bool(false)),
        number => serde_json::from_str(number).ok().filter(Value::is_number),
    }
}

/// A string in either kind of quotes; one that is cut off counts as far as it goes.
fn string(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quote = rest.next_if(|c| matches!(c, '\'' | '"'))?;
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\\' => text.extend(escape(rest)),
            c if c == quote => break,
            c => text.push(c),
        }
    }
    Some(text)
}

fn escape(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    let digits = match rest.next()? {
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        itself => return Some(itself),
    };
    let hex: String = rest.by_ref().take(digits).collect();
    Some(u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        dictionary(text).map(Value::Object)
    }

    #[test]
    fn a_dictionary_is_read() {
        assert_eq!(
            read(r#"{'message': "it's", 'type': 'x', 'param': None, 'code': 404, 'ok': True, 'n': {'t': 0.5}}"#),
            Some(json!({"message": "it's", "type": "x", "param": null, "code": 404, "ok": true, "n": {"t": 0.5}}))
        );
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(
            read(r"{'m': 'a\'b\\c\n\t\x41\u00e9\U0001f600\ud800'}"),
            Some(json!({"m": "a'b\\c\n\tA\u{e9}\u{1f600}\u{fffd}"}))
        );
    }

    #[test]
    fn what_was_cut_off_counts_as_far_as_it_goes() {
        assert_eq!(read("{'code': 400, 'message': 'too lo"), Some(json!({"code": 400, "message": "too lo"})));
        assert_eq!(read("{'code': 400, 'items': ['a'], 'type': 'x'}"), Some(json!({"code": 400})));
    }

    #[test]
    fn other_text_is_no_dictionary() {
        for text in ["", "{", "{}", "plain", "[1]", "{1: 2}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert_eq!(read(&"{'a': ".repeat(100_000)), Some(json!({"a": {"a": {"a": {"a": {}}}}})));
    }
}
