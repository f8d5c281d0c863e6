//! A body of `multipart/form-data` (RFC 7578), as of a transcription: its parts are found, not copied, and everything but the
//! model's name is forwarded as it came.

mod audio;

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use memchr::memmem;

use crate::{Head, InvalidRequest, MAX_FIELDS, head::no_model};

/// Longest boundary, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// Longest headers of a part, in bytes.
const MAX_HEADERS: usize = 8 << 10;
/// Longest name of a model, in bytes.
const MAX_MODEL: usize = 1 << 10;

/// What is kept of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    content_type: String,
    /// Where the body has the model's name.
    model: Range<usize>,
}

/// A part of a form.
struct Part<'a> {
    name: Cow<'a, str>,
    value: Range<usize>,
}

impl Form {
    /// Finds the parts of `body` and reads what routing needs of them.
    pub(crate) fn parse(body: &[u8], content_type: &str) -> Result<(Head, Self), InvalidRequest> {
        let boundary = boundary(content_type).ok_or_else(|| {
            InvalidRequest::body("the form's Content-Type names no boundary: multipart/form-data; boundary=…")
        })?;
        let (mut model, mut file) = (None, None);
        for part in parts(body, boundary)? {
            let Part { name, value } = part;
            let place = match &*name {
                "model" => &mut model,
                "file" => &mut file,
                "stream" if body[value.clone()].trim_ascii().eq_ignore_ascii_case(b"true") => {
                    let message = "'stream' is not served for transcriptions: leave it out, the whole text is answered";
                    return Err(InvalidRequest::field("stream", message));
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidRequest::field(&*name, format!("'{name}' appears twice: send it once")));
            }
        }
        let model = model.filter(|model| !model.is_empty()).ok_or_else(no_model)?;
        let name = str::from_utf8(&body[model.clone()]).ok().filter(|name| name.len() <= MAX_MODEL);
        let Some(name) = name else {
            return Err(InvalidRequest::field("model", "'model' must be a name, as listed by GET /v1/models"));
        };
        let Some(file) = file.filter(|file| !file.is_empty()) else {
            return Err(InvalidRequest::field("file", "'file' is required: send the recording as a file of the form"));
        };
        let audio_ms = audio::estimated_ms(&body[file]);
        let head = Head { model: name.to_owned(), n: 1, best_of: 1, prompts: 1, audio_ms, ..Head::default() };
        Ok((head, Self { content_type: content_type.to_owned(), model }))
    }

    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }

    /// `body`, which this is the form of, with `name` for the model.
    pub(crate) fn with_model(&self, body: &[u8], name: &str) -> Bytes {
        [&body[..self.model.start], name.as_bytes(), &body[self.model.end..]].concat().into()
    }
}

/// The boundary that the content type names.
fn boundary(content_type: &str) -> Option<&str> {
    let (_, params) = content_type.split_once(';')?;
    let boundary = params.split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// The parts that have a name, in order.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, InvalidRequest> {
    let broken = || {
        InvalidRequest::body(
            "the body is not a form as its Content-Type describes it: let the client's library write the form and its boundary",
        )
    };
    let delimiter = format!("\r\n--{boundary}");
    let find = memmem::Finder::new(&delimiter);
    // The first delimiter has no line before it, unless something to be passed over is.
    let mut at = if body.starts_with(&delimiter.as_bytes()[2..]) {
        delimiter.len() - 2
    } else {
        find.find(body).ok_or_else(broken)? + delimiter.len()
    };
    let mut parts = Vec::new();
    let mut count = 0;
    while !body[at..].starts_with(b"--") {
        count += 1;
        if count > MAX_FIELDS {
            return Err(InvalidRequest::body(format!("the form has more than {MAX_FIELDS} parts: send fewer")));
        }
        // Blanks may follow a delimiter, and headers follow them.
        at += body[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let window = &body[at..body.len().min(at + MAX_HEADERS)];
        if !window.starts_with(b"\r\n") {
            return Err(broken());
        }
        let headers = memmem::find(window, b"\r\n\r\n").ok_or_else(broken)?;
        let start = at + headers + 4;
        // An empty value's own line end is that of its headers.
        let end = start - 2 + find.find(&body[start - 2..]).ok_or_else(broken)?;
        let headers = str::from_utf8(&window[..headers]).map_err(|_| broken())?;
        if let Some(name) = headers.split("\r\n").find_map(name) {
            parts.push(Part { name, value: start..end.max(start) });
        }
        at = end + delimiter.len();
    }
    Ok(parts)
}

/// The name of the part in a header `Content-Disposition: form-data; name="…"`.
fn name(header: &str) -> Option<Cow<'_, str>> {
    let (kind, value) = header.split_once(':')?;
    if !kind.trim().eq_ignore_ascii_case("content-disposition") {
        return None;
    }
    // A quoted value of another parameter, such as a file's name, may hold anything.
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if key.trim_matches([';', ' ', '\t']).eq_ignore_ascii_case("name") {
            let value = value.trim_end();
            return Some(if value.contains('\\') { value.replace('\\', "").into() } else { value.into() });
        }
        rest = next;
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

#[cfg(test)]
mod tests;
