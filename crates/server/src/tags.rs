//! What a request is for: tags from a header, from `metadata` in its body, or from its key, in this order of precedence.

use std::{iter, sync::Arc};

use actix_web::http::header::{HeaderMap, HeaderName};
use provider::{Reader, Request};
use settings::{TagError, TagSet, Tags};

use crate::{auth::ClientKey, error::ApiError};

const TAGS: HeaderName = HeaderName::from_static("x-llm-router-tags");
/// OpenAI's own field for such things: it may have other members, which are no tags.
const METADATA: &str = "metadata";

/// The tags of the header, which may be there several times.
pub(crate) fn of_header(headers: &HeaderMap, declared: &Tags) -> Result<TagSet, ApiError> {
    let mut values = headers.get_all(TAGS);
    let Some(first) = values.next() else { return Ok(TagSet::default()) };
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
) -> Result<Option<Arc<str>>, TagError> {
    if declared.is_empty() {
        return Ok(None);
    }
    declared.resolve([of_header, &of_metadata(request, declared)?, &key.tags])
}

/// The tags in `metadata`, if that is an object.
fn of_metadata(request: &Request, declared: &Tags) -> Result<TagSet, TagError> {
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
    declared.members(iter::from_fn(member))
}
