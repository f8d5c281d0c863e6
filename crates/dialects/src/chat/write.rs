//! Writes JSON and server-sent events straight into the bytes that are sent.

use std::io::Write as _;

use provider::{Text, each_whole};

/// A string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// What stands between the quotes of a string that says `text`.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            mark @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', mark]),
            control => formatted(out, format_args!("\\u{control:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What stands between the quotes of `text`, as it is written. Half of a surrogate pair becomes U+FFFD: not every client reads
/// one.
pub(crate) fn copied(out: &mut Vec<u8>, text: Text<'_>) {
    if text.is_escaped {
        each_whole(text.raw, |piece| out.extend_from_slice(piece.as_bytes()));
    } else {
        out.extend_from_slice(text.raw.as_bytes());
    }
}

/// A string with its quotes that says what `text` says.
pub(crate) fn quoted(out: &mut Vec<u8>, text: Text<'_>) {
    out.push(b'"');
    copied(out, text);
    out.push(b'"');
}

/// A member of an object behind others: its `name`, which needs no escapes, and its value as it is written.
pub(crate) fn member(out: &mut Vec<u8>, name: &str, raw: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(raw.as_bytes());
}

/// A number.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The beginning of an event with a name. Its data follows, on one line, and then [`end_of_event`].
pub(crate) fn event(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
}

/// The end of an event.
pub(crate) fn end_of_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}

fn formatted(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(what);
    debug_assert!(written.is_ok(), "a vector takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use provider::Reader;

    use super::*;

    fn read_back(json: &[u8]) -> String {
        serde_json::from_slice(json).expect("a string")
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut out = Vec::new();
        string(&mut out, "\u{0}\u{1f}\u{7f}\"\\/\n\r\t€");
        assert_eq!(str::from_utf8(&out), Ok("\"\\u0000\\u001f\u{7f}\\\"\\\\/\\n\\r\\t€\""));
        assert_eq!(read_back(&out), "\u{0}\u{1f}\u{7f}\"\\/\n\r\t€");
    }

    #[test]
    fn half_a_character_is_not_passed_on() {
        let mut out = vec![b'"'];
        copied(&mut out, Reader::new(r#""a\ud83d\n\ud83d\ude00""#).value().expect("JSON").text().expect("a string"));
        out.push(b'"');
        assert_eq!(read_back(&out), "a\u{fffd}\n\u{1f600}");
    }

    proptest! {
        #[test]
        fn a_number_is_written_in_digits(given in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]) {
            let mut out = Vec::new();
            number(&mut out, given);
            prop_assert_eq!(out, given.to_string().into_bytes());
        }

        #[test]
        fn a_string_says_what_was_written(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(read_back(&out), text);
        }
    }
}
