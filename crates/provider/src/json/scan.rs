//! Finds the end of a string of JSON, many bytes at a time.

use wide::u8x16;

use super::{Malformed, Why, text::escape_length};

/// Bytes of a vector, and of the four that are looked at together.
const LANES: usize = 16;
const BLOCK: usize = 64;

/// Where the string that starts at `start`, behind its quote, has its closing quote, and whether it has escapes.
///
/// # Errors
/// What spoils it first: a control character, a bad escape, or the end of `text`.
#[inline]
pub(super) fn string_end(text: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
    if let Some(block) = text[start..].first_chunk() {
        let end = start + marks(block).trailing_zeros() as usize;
        // Most keys and many values are as short as that.
        if end < start + LANES && text[end] == b'"' {
            return Ok((end, false));
        }
    }
    long_string_end(text, start)
}

fn long_string_end(text: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
    let mut is_escaped = false;
    let mut at = start;
    while at < text.len() {
        let mut marks = marks_of_block(&text[at..]);
        let mut next = at + BLOCK;
        while marks != 0 {
            let mark = at + marks.trailing_zeros() as usize;
            match text[mark] {
                b'"' => return Ok((mark, is_escaped)),
                b'\\' => is_escaped = true,
                _ => return Err(Malformed { at: mark, why: Why::ControlCharacter }),
            }
            let Some(length) = escape_length(&text[mark..]) else {
                return Err(Malformed { at: mark, why: Why::BadEscape });
            };
            let behind = mark + length - at;
            if behind >= BLOCK {
                next = at + behind;
                break;
            }
            // What belongs to the escape is no mark.
            marks &= u64::MAX << behind;
        }
        at = next;
    }
    Err(Malformed { at: text.len(), why: Why::Ends })
}

/// The marks of the first [`BLOCK`] bytes of `rest`, or of all if they are fewer.
fn marks_of_block(rest: &[u8]) -> u64 {
    let mut padded = [b' '; BLOCK];
    let block = rest.first_chunk().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    });
    let vectors = block.as_chunks().0.iter().rev();
    vectors.fold(0, |found, vector| found << LANES | u64::from(marks(vector)))
}

/// A bit for each byte, the lowest for the first: whether it is a quote, a backslash or a control character.
#[inline]
fn marks(bytes: &[u8; LANES]) -> u32 {
    let bytes = u8x16::new(*bytes);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    let is_control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (is_control | is(b'"') | is(b'\\')).to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, byte by byte.
    fn expected(text: &[u8], start: usize) -> Result<(usize, bool), Malformed> {
        let mut is_escaped = false;
        let mut at = start;
        loop {
            let why = match text.get(at) {
                Some(b'"') => return Ok((at, is_escaped)),
                Some(b'\\') => match escape_length(&text[at..]) {
                    Some(length) => {
                        is_escaped = true;
                        at += length;
                        continue;
                    }
                    None => Why::BadEscape,
                },
                Some(0..0x20) => Why::ControlCharacter,
                Some(_) => {
                    at += 1;
                    continue;
                }
                None => Why::Ends,
            };
            return Err(Malformed { at, why });
        }
    }

    #[test]
    fn every_byte_is_seen_wherever_it_stands() {
        for length in (0..40).chain([63, 64, 65, 127, 128, 129, 200]) {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    for start in [0, at] {
                        assert_eq!(string_end(&text, start), expected(&text, start), "{byte:#x} at {at} of {length}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn escapes_may_stand_anywhere(
            parts in proptest::collection::vec(
                prop_oneof!["[a-z\u{e9}]{0,40}", r#"(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})"#, r#"["\\\n]|\\u00"#],
                0..40,
            ),
            start in any::<prop::sample::Index>(),
        ) {
            let text = parts.concat();
            let start = start.index(text.len() + 1);
            prop_assert_eq!(string_end(text.as_bytes(), start), expected(text.as_bytes(), start));
        }
    }
}
