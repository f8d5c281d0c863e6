//! A string within a JSON text: found without decoding it, decoded only where its contents matter.

use std::borrow::Cow;

/// A string as it stands in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text<'a> {
    /// What stands between the quotes.
    pub raw: &'a str,
    /// Where that starts in the text.
    pub at: usize,
    /// Whether it is written with escapes.
    pub is_escaped: bool,
}

impl<'a> Text<'a> {
    /// What the string says. Half of a surrogate pair, which is legal JSON but no character, becomes U+FFFD.
    pub fn decoded(&self) -> Cow<'a, str> {
        if self.is_escaped { Cow::Owned(decode(self.raw)) } else { Cow::Borrowed(self.raw) }
    }

    /// Whether the string says `other`. A text that is too long for that is not decoded.
    #[inline]
    pub fn says(&self, other: &str) -> bool {
        if !self.is_escaped {
            return self.raw == other;
        }
        // An escape takes at most six bytes for each one that it stands for.
        self.raw.len() <= other.len() * 6 && decode(self.raw) == other
    }

    /// Whether two strings say the same, however they are written.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        super::step();
        if self.is_escaped || other.is_escaped { self.decoded() == other.decoded() } else { self.raw == other.raw }
    }
}

/// A JSON text with U+FFFD for every half of a surrogate pair that it writes as an escape; the rest stays as it is written.
pub fn whole_characters(raw: &str) -> Cow<'_, str> {
    if !may_have_halves(raw) {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    each_whole(raw, |piece| out.push_str(piece));
    Cow::Owned(out)
}

/// The same, handed to `take` piece by piece, without a copy of all of it.
pub fn each_whole(raw: &str, mut take: impl FnMut(&str)) {
    if !may_have_halves(raw) {
        take(raw);
        return;
    }
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        take(before);
        let (is_half, length) = match escape.as_bytes().get(1) {
            Some(b'u') => {
                let (decoded, length) = code_point(&escape[1..]);
                (decoded == char::REPLACEMENT_CHARACTER, length + 1)
            }
            // A backslash, and the ASCII character that follows it in every JSON text.
            _ => (false, escape.floor_char_boundary(2)),
        };
        let (escape, after) = escape.split_at(length);
        take(if is_half { "\u{fffd}" } else { escape });
        rest = after;
    }
    take(rest);
}

fn may_have_halves(raw: &str) -> bool {
    raw.contains("\\ud") || raw.contains("\\uD")
}

/// How many bytes the escape at the start of `rest`, a backslash, takes; `None` if it is none.
pub(super) fn escape_length(rest: &[u8]) -> Option<usize> {
    match rest.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => rest.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// Decodes a string whose escapes were checked.
fn decode(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else { break };
        let mut taken = escape.len_utf8();
        out.push(match escape {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (decoded, length) = code_point(rest);
                taken = length;
                decoded
            }
            itself => itself,
        });
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

/// The character that `rest`, which starts behind a backslash with `u`, stands for, and its length in bytes.
fn code_point(rest: &str) -> (char, usize) {
    let unit = |digits: Option<&str>| digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(rest.get(1..5)) else { return (char::REPLACEMENT_CHARACTER, rest.len()) };
    if let Some(single) = char::from_u32(first) {
        return (single, 5);
    }
    let second = rest.get(5..7).filter(|start| *start == "\\u").and_then(|_| unit(rest.get(7..11)));
    match second.filter(|low| first < 0xdc00 && (0xdc00..0xe000).contains(low)) {
        Some(low) => {
            let pair = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
        }
        None => (char::REPLACEMENT_CHARACTER, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_of_pairs_are_replaced() {
        for same in [r#""a""#, r#"{"\u00e9":["\\ud83d",1,"\ud83d\ude00","\n\"\uD83D\uDE00"]}"#, r#""\\\\ud83d""#] {
            assert_eq!(whole_characters(same), same);
        }
        assert_eq!(
            whole_characters(r#"["\ud83d","\uDE00\ud83d\u0041\\\udc00x",7]"#),
            "[\"\u{fffd}\",\"\u{fffd}\u{fffd}\\u0041\\\\\u{fffd}x\",7]"
        );
    }
}
