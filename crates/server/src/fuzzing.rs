//! What fuzz targets reach beyond the public API: the bodies that become chats, and keys.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use bytes::Bytes;
use provider::{InvalidRequest, Limits};

use crate::{
    api::{ParsedBatch, Prompt},
    auth::bearer,
};

const LIMITS: Limits = Limits { max_messages: 64 };

/// The body of the chat that the short form `body` stands for.
///
/// # Errors
/// If it stands for none.
pub fn prompt(body: &[u8], stream: bool) -> Result<Bytes, InvalidRequest> {
    chat(Prompt::parse(body)?, stream)
}

/// The bodies of the chats that the entries of the batch `body` stand for.
///
/// # Errors
/// If it is no batch of at most so many entries.
pub fn batch(body: &Bytes, most: usize) -> Result<Vec<Result<Bytes, InvalidRequest>>, InvalidRequest> {
    let batch = ParsedBatch::parse(body, most)?;
    Ok(batch.entries.iter().map(|entry| chat(batch.defaults.complete(entry)?, false)).collect())
}

/// The key in the value of an `Authorization` header.
pub fn key(value: &[u8]) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(value).ok()?);
    bearer(&headers).map(<[u8]>::to_vec)
}

fn chat(mut prompt: Prompt<'_>, stream: bool) -> Result<Bytes, InvalidRequest> {
    drop((prompt.take_text("model")?, prompt.take_text("task")?));
    Ok(prompt.into_chat("m", stream, LIMITS)?.rewrite().finish())
}
