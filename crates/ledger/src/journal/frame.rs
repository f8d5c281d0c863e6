//! Entries as bytes: the length of the payload and its CRC-32, four bytes each, little-endian, then the payload.

use crate::entry::Entry;

/// Bytes before a payload.
const HEAD: usize = 8;
/// Longer payloads are not written. Texts of an entry are ids and names of bounded length.
const MAX_PAYLOAD: usize = 64 << 10;

/// Appends an entry. Returns `false`, and appends nothing, if it cannot be written.
pub(super) fn encode(entry: &Entry<'_>, bytes: &mut Vec<u8>) -> bool {
    let begin = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    let written = postcard::to_io(entry, &mut *bytes).is_ok();
    let payload = &bytes[begin + HEAD..];
    let length = u32::try_from(payload.len()).ok().filter(|_| written && payload.len() <= MAX_PAYLOAD);
    let Some(length) = length else {
        bytes.truncate(begin);
        return false;
    };
    let sum = crc32fast::hash(payload);
    bytes[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    bytes[begin + 4..begin + HEAD].copy_from_slice(&sum.to_le_bytes());
    true
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A payload, and where the next frame begins.
    Whole(&'a [u8], usize),
    /// The beginning of a frame whose rest is not there.
    Torn,
    /// No frame: the bytes were changed.
    Damaged,
}

/// Reads the first frame.
pub(super) fn first(bytes: &[u8]) -> Frame<'_> {
    let (Some((length, rest)), true) = (bytes.split_first_chunk::<4>(), bytes.len() >= HEAD) else {
        return Frame::Torn;
    };
    let length = u32::from_le_bytes(*length) as usize;
    // A file that was extended and not written before the power went is full of zeros.
    if length == 0 || length > MAX_PAYLOAD {
        return Frame::Damaged;
    }
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else { return Frame::Torn };
    let Some(payload) = rest.get(..length) else { return Frame::Torn };
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return Frame::Damaged;
    }
    Frame::Whole(payload, HEAD + length)
}

/// The entry of a payload.
pub(crate) fn decode(payload: &[u8]) -> Option<Entry<'_>> {
    postcard::from_bytes(payload).ok()
}
