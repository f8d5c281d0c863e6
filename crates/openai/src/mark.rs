//! The byte order mark that some servers put before a body: clients pass it over.

/// The mark.
pub(crate) const MARK: &[u8] = "\u{feff}".as_bytes();

/// What follows the mark, if `body` starts with it.
pub(crate) fn without(body: &[u8]) -> &[u8] {
    body.strip_prefix(MARK).unwrap_or(body)
}

/// Whether more bytes are needed to decide if `start` starts with the mark.
pub(crate) fn may_come(start: &[u8]) -> bool {
    start.len() < MARK.len() && MARK.starts_with(start)
}
