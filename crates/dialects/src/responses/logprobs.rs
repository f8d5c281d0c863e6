//! Log probabilities, which both APIs write alike.

use provider::{Malformed, Reader, Value};

/// What stands for the logarithm of zero, as OpenAI's API writes it: JSON has no infinity.
const LEAST: &[u8] = b"-9999.0";

/// Appends the elements of the array `raw`. What Python writes and JSON does not know, infinities and `NaN`, becomes
/// [`LEAST`].
pub(super) fn write_elements(out: &mut Vec<u8>, raw: &str) {
    let start = out.len();
    let mut reader = Reader::of_answer(raw);
    if write(out, &mut reader).is_err() || out.len() < start + 2 {
        out.truncate(start);
        return;
    }
    // Without the brackets.
    out.pop();
    out.remove(start);
}

fn write(out: &mut Vec<u8>, reader: &mut Reader<'_>) -> Result<(), Malformed> {
    match reader.peek() {
        Some(b'[') => {
            out.push(b'[');
            reader.enter()?;
            while reader.element()? {
                write(out, reader)?;
                out.push(b',');
            }
            close(out, b']');
        }
        Some(b'{') => {
            out.push(b'{');
            reader.enter()?;
            while let Some(key) = reader.key()? {
                out.push(b'"');
                out.extend_from_slice(key.raw.as_bytes());
                out.extend_from_slice(b"\":");
                write(out, reader)?;
                out.push(b',');
            }
            close(out, b'}');
        }
        _ => {
            let raw = reader.raw()?;
            let is_finite = !matches!(Reader::of_answer(raw).value()?, Value::Number("NaN" | "Infinity" | "-Infinity"));
            out.extend_from_slice(if is_finite { raw.as_bytes() } else { LEAST });
        }
    }
    Ok(())
}

/// Ends an array or an object, in place of the comma behind its last element.
fn close(out: &mut Vec<u8>, bracket: u8) {
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.push(bracket);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_in_json_becomes_the_least() {
        let written = |raw: &str| {
            let mut out = b"x".to_vec();
            write_elements(&mut out, raw);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(
            written(r#"[ {"token":",]","logprob":-Infinity, "bytes":[44, 93],"top_logprobs":[]},{"a":NaN,"b":{}} ]"#),
            r#"x{"token":",]","logprob":-9999.0,"bytes":[44,93],"top_logprobs":[]},{"a":-9999.0,"b":{}}"#
        );
        for nothing in ["[]", "7", "[", "{}"] {
            assert_eq!(written(nothing), "x", "{nothing}");
        }
    }
}
