//! Entries as bytes: the length of the payload and its CRC-32, four bytes each, little-endian, then the payload: the entry, and behind
//! it its tags and the name that was asked for. Trailing ones that it does not have are left out; tags before a name are "" then. So an
//! entry ends where an earlier version ends it, unless it has more, which that version does not read.

use crate::entry::Entry;

/// Bytes before a payload.
const HEAD: usize = 8;
/// Longer payloads are not written. Texts of an entry are ids and names of bounded length.
const MAX_PAYLOAD: usize = 64 << 10;

/// Appends an entry. Returns `false`, and appends nothing, if it cannot be written.
pub(super) fn encode(entry: &Entry<'_>, bytes: &mut Vec<u8>) -> bool {
    let begin = bytes.len();
    bytes.extend_from_slice(&[0; HEAD]);
    let (tags, requested) = entry.labels().map_or((None, None), |labels| (labels.tags, labels.requested));
    let tags = tags.or(requested.map(|_| ""));
    let written = postcard::to_io(entry, &mut *bytes).is_ok()
        && [tags, requested].into_iter().flatten().all(|text| postcard::to_io(text, &mut *bytes).is_ok());
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
    let (mut entry, rest) = postcard::take_from_bytes::<Entry<'_>>(payload).ok()?;
    if rest.is_empty() {
        return Some(entry);
    }
    let (tags, rest) = postcard::take_from_bytes::<&str>(rest).ok()?;
    let labels = entry.labels_mut()?;
    labels.tags = Some(tags).filter(|tags| !tags.is_empty());
    if !rest.is_empty() {
        labels.requested = Some(postcard::from_bytes(rest).ok()?);
    }
    Some(entry)
}

/// How many frames there are.
pub(super) fn count(bytes: &[u8]) -> u64 {
    frames(bytes).count() as u64
}

/// Removes intents, whose calls are not made or go on without a record, and of the ends of calls and requests what is beyond
/// so many bytes. Returns how many entries that are.
pub(super) fn keep_ends(bytes: &mut Vec<u8>, most: usize) -> u64 {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut removed = 0;
    for (frame, payload) in frames(bytes) {
        let is_intent = matches!(decode(payload), Some(Entry::Intent(_)));
        if is_intent || kept.len() + frame.len() > most {
            removed += 1;
        } else {
            kept.extend_from_slice(frame);
        }
    }
    *bytes = kept;
    removed
}

/// Each whole frame at the beginning of the bytes, and its payload.
fn frames(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let Frame::Whole(payload, length) = first(rest) else { return None };
        let (frame, after) = rest.split_at(length);
        rest = after;
        Some((frame, payload))
    })
}
