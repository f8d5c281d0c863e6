//! What a request is for: tags from a header, from `metadata` in its body, or from its key, in this order of precedence.

use std::{iter, sync::Arc};

use actix_web::http::header::{HeaderMap, HeaderName};
use provider::{Reader, Request};
use settings::{TagSet, Tags, Wish};

use crate::{auth::ClientKey, error::ApiError};

const TAGS: HeaderName = HeaderName::from_static("x-llm-router-tags");
/// OpenAI's own field for such things: it may have other members, which are no tags.
const METADATA: &str = "metadata";

/// The tags of the header, which may be there several times, if `key` may send it.
pub(crate) fn of_header(headers: &HeaderMap, key: &ClientKey, declared: &Tags) -> Result<TagSet, ApiError> {
    let mut values = headers.get_all(TAGS);
    let Some(first) = values.next() else { return Ok(TagSet::default()) };
    check_allowed(key)?;
    let mut text = String::from_utf8_lossy(first.as_bytes());
    for value in values {
        text = format!("{text},{}", String::from_utf8_lossy(value.as_bytes())).into();
    }
    Ok(declared.pairs(&text)?)
}

/// All tags of a request, in the form of the ledger.
pub(crate) fn of_request(
    request: &Request,
    of_header: &TagSet,
    key: &ClientKey,
    declared: &Tags,
) -> Result<Option<Arc<str>>, ApiError> {
    if declared.is_empty() {
        return Ok(None);
    }
    let of_metadata = of_metadata(request, declared)?;
    // Its own tags must hold: to drop others in silence would be a surprise as well.
    if !of_metadata.is_empty() && !key.may_wish.contains(Wish::Tags) {
        return Err(ApiError::tags_not_allowed(METADATA));
    }
    // Those of the header were let in with it, and an entry of a batch may begin long after.
    if !of_header.is_empty() {
        check_allowed(key)?;
    }
    Ok(declared.resolve([of_header, &of_metadata, &key.tags])?)
}

/// Fails unless `key` may send the header.
fn check_allowed(key: &ClientKey) -> Result<(), ApiError> {
    if key.may_wish.contains(Wish::Tags) { Ok(()) } else { Err(ApiError::wish_not_allowed(Wish::Tags, TAGS.as_str())) }
}

/// The tags in `metadata`, if that is an object.
fn of_metadata(request: &Request, declared: &Tags) -> Result<TagSet, ApiError> {
    let Some(mut reader) = request.field(METADATA).map(Reader::new) else { return Ok(TagSet::default()) };
    if reader.peek() != Some(b'{') || reader.enter().is_err() {
        return Ok(TagSet::default());
    }
    // It was read with the whole body, so that nothing in it is malformed.
    let member = || {
        let name = reader.key().ok()??;
        let value = reader.value().ok()?;
        Some((name.decoded(), value.text().map(|text| text.decoded())))
    };
    Ok(declared.members(iter::from_fn(member))?)
}
