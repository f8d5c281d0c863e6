//! Finds the end of a string of JSON, or what else may not stand in it as it is, many bytes at a time.

const ONES: u64 = u64::MAX / 255;
/// The highest bit of every byte.
const HIGH: u64 = ONES * 0x80;

/// Bytes that are looked at word by word; a longer stretch without a mark is passed in blocks.
const NEAR: usize = 64;
const BLOCK: usize = 64;

/// Where the next quote, backslash or control character lies, from `at` on: the end of the text if there is none.
#[inline]
pub(super) fn next_mark(text: &[u8], mut at: usize) -> usize {
    let far = at + NEAR;
    while let Some(word) = text[at..].first_chunk() {
        let marks = marks(*word) & HIGH;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += word.len();
        if at == far {
            at = pass_blocks(text, at);
        }
    }
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    text[at..].iter().position(is_mark).map_or(text.len(), |offset| at + offset)
}

/// Where the first block with a mark starts, or the last bytes that fill none.
#[inline(never)]
fn pass_blocks(text: &[u8], mut at: usize) -> usize {
    while let Some(block) = text[at..].first_chunk::<BLOCK>() {
        // Every word is looked at, without an end before the last: only so it is done with vector instructions.
        let found = block.as_chunks().0.iter().fold(0, |found, word| found | marks(*word));
        if found & HIGH != 0 {
            break;
        }
        at += BLOCK;
    }
    at
}

/// Sets the highest bit of each byte that is a mark, and of none before the first; of those behind it perhaps more.
#[inline]
fn marks(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    // Subtracting from a byte that is too small for it sets its highest bit, and borrows from those behind it.
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
    below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_wherever_it_stands() {
        for length in (0..40).chain([127, 128, 129, 200]) {
            let plain = vec![b'a'; length];
            assert_eq!(next_mark(&plain, 0), length);
            for at in 0..length {
                for byte in
                    [0, b'\n', 0x1f, b' ', b'!', b'"', b'#', b'[', b'\\', b']', 0x7f, 0x80, 0x9f, 0xa2, 0xdc, 0xff]
                {
                    let mut text = plain.clone();
                    text[at] = byte;
                    let expected = if matches!(byte, 0..0x20 | b'"' | b'\\') { at } else { length };
                    assert_eq!(next_mark(&text, 0), expected, "{byte:#x} at {at} of {length}");
                    assert_eq!(next_mark(&text, at), expected, "{byte:#x} at {at} of {length}");
                    assert_eq!(next_mark(&text, at + 1), length, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }
}
