use serde_json::{Map, Number};

use super::{Malformed, Reader, Value};

/// The JSON text of an answer as a tree of values, read as tolerantly as [`Reader`] reads: of a member that appears twice the last one
/// counts, half of a surrogate pair becomes U+FFFD, and a number that no double holds, or that is none, is a text.
///
/// # Errors
/// If it is not JSON, or is nested deeper than [`Reader`] follows.
pub fn tree(text: &str) -> Result<serde_json::Value, Malformed> {
    let mut reader = Reader::of_answer(text);
    let value = value(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Most bytes that the [`tree`] of `text` takes: its strings, and a fixed size for each value and, in an object, for
/// its name.
pub fn tree_bytes(text: &[u8]) -> usize {
    const EACH: usize = 200;
    2 * text.len() + EACH * (1 + text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count())
}

fn value(reader: &mut Reader<'_>) -> Result<serde_json::Value, Malformed> {
    match reader.peek() {
        Some(b'{') => {
            let mut fields = Map::new();
            reader.enter()?;
            while let Some(key) = reader.key()? {
                let key = key.decoded().into_owned();
                fields.insert(key, value(reader)?);
            }
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
            Value::Number(digits) => digits.parse::<Number>().map_or_else(|_| digits.into(), Into::into),
            Value::Text(text) => text.decoded().into_owned().into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ordinary_json_is_the_same_tree_as_elsewhere() {
        let text = r#"{"a":[1,-2,3.5,true,null,"x\n\u00e9"],"b":{"c":{}}}"#;
        assert_eq!(tree(text).expect("JSON"), serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
    }

    #[test]
    fn odd_json_is_read_all_the_same() {
        let odd = r#"{"a":"\ud83d","b":1,"b":[{"c":1e999},-Infinity],"\u0064":7.0}"#;
        assert_eq!(tree(odd).expect("JSON"), json!({"a": "\u{fffd}", "b": [{"c": "1e999"}, "-Infinity"], "d": 7.0}));
        for broken in ["", "Inf", "-NaN", "{", "[1,]", "{} {}", "nonsense"] {
            assert!(tree(broken).is_err(), "{broken}");
        }
    }
}
