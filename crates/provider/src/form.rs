//! A body of `multipart/form-data` (RFC 7578), as of a transcription: its parts are found, not copied, and everything but the
//! model's name is forwarded as it came.
//!
//! Keys, limits and prices go by the model that is read here, and the upstream reads the same body once more. Parsers differ in what
//! they make of an odd form: a second `name`, a second header, an escape, text before the first part. Such a form is refused, so that
//! no upstream finds a part that was not found here.

mod audio;
mod parameters;

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use self::parameters::parameters;
use crate::{Head, InvalidRequest, MAX_FIELDS, head::no_model};

/// Longest boundary, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// Longest headers of a part, in bytes.
const MAX_HEADERS: usize = 8 << 10;
/// Longest name of a model, in bytes.
const MAX_MODEL: usize = 1 << 10;
/// What servers read as false, in lower case, and an empty value, which they pass over
/// (<https://docs.pydantic.dev/latest/api/standard_library_types/#booleans>).
const FALSE: [&[u8]; 7] = [b"", b"false", b"0", b"no", b"off", b"f", b"n"];

/// What is kept of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    boundary: String,
    /// Where the body has the model's name.
    model: Range<usize>,
}

/// A part of a form.
struct Part<'a> {
    name: &'a str,
    value: Range<usize>,
}

impl Form {
    /// Finds the parts of `body` and reads what routing needs of them.
    pub(crate) fn parse(body: &[u8], content_type: &str) -> Result<(Head, Self), InvalidRequest> {
        let boundary = boundary(content_type).ok_or_else(|| {
            let message = "the form's Content-Type must name one boundary, of at most 70 letters, digits and '()+_,-./:=? : \
                multipart/form-data; boundary=…";
            InvalidRequest::body(message)
        })?;
        let (mut model, mut file) = (None, None);
        for Part { name, value } in parts(body, boundary)? {
            // Some servers read names in any case.
            let place = match &*name.to_ascii_lowercase() {
                "model" => &mut model,
                "file" => &mut file,
                "stream" if !FALSE.contains(&&*body[value.clone()].to_ascii_lowercase()) => {
                    let message = "'stream' is not served for transcriptions: leave it out, the whole text is answered";
                    return Err(InvalidRequest::field("stream", message));
                }
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(InvalidRequest::field(name, format!("'{name}' appears twice: send it once")));
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
        Ok((head, Self { boundary: boundary.to_owned(), model }))
    }

    /// A content type that every server reads alike, whatever else the client's said.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary=\"{}\"", self.boundary)
    }

    /// `body`, which this is the form of, with `name` for the model.
    pub(crate) fn with_model(&self, body: &[u8], name: &str) -> Bytes {
        [&body[..self.model.start], name.as_bytes(), &body[self.model.end..]].concat().into()
    }
}

/// The one boundary that the content type names, if it is made of what RFC 2046, 5.1.1, allows.
fn boundary(content_type: &str) -> Option<&str> {
    let boundary = parameters(content_type)?.value("boundary")?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(is_allowed);
    (is_boundary && !boundary.ends_with(' ')).then_some(boundary)
}

/// The parts, in order.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, InvalidRequest> {
    let broken = || {
        InvalidRequest::body(
            "the body is not a form as its Content-Type describes it: let the client's library write the form and its boundary",
        )
    };
    let delimiter = format!("--{boundary}");
    let find = memmem::Finder::new(&delimiter);
    // Some clients begin with the line end that is part of every further delimiter.
    let mut at = if body.starts_with(b"\r\n") { 2 } else { 0 };
    if !body[at..].starts_with(delimiter.as_bytes()) {
        return Err(broken());
    }
    at += delimiter.len();
    let mut parts = Vec::new();
    while !body[at..].starts_with(b"--") {
        if parts.len() == MAX_FIELDS {
            return Err(InvalidRequest::body(format!("the form has more than {MAX_FIELDS} parts: send fewer")));
        }
        let window = &body[at..body.len().min(at + MAX_HEADERS)];
        let headers = memmem::find(window, b"\r\n\r\n").ok_or_else(broken)?;
        let start = at + headers + 4;
        // Without a whole line end before it, it is a delimiter for some parsers and part of the value for others.
        let next = start + find.find(&body[start..]).ok_or_else(broken)?;
        let length = body[start..next].strip_suffix(b"\r\n").ok_or_else(broken)?.len();
        let headers = str::from_utf8(&window[..headers]).ok().and_then(|text| text.strip_prefix("\r\n"));
        let name = name(headers.ok_or_else(broken)?).ok_or_else(|| {
            let message = "a part of the form must have one Content-Disposition, form-data; name=\"…\", with a name of letters, digits \
                and _-.[] and, for a file, a filename without \\: let the client's library write the form, and rename the file";
            InvalidRequest::body(message)
        })?;
        parts.push(Part { name, value: start..start + length });
        at = next + delimiter.len();
    }
    if !body[at + 2..].trim_ascii().is_empty() {
        return Err(broken());
    }
    Ok(parts)
}

/// The name of the part that has these headers, if all parsers read the same one.
fn name(headers: &str) -> Option<&str> {
    let mut disposition = None;
    for line in headers.split("\r\n") {
        let (kind, value) = line.split_once(':')?;
        let is_header = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_header || value.contains(|char: char| char.is_control() && char != '\t') {
            return None;
        }
        if kind.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return None;
        }
    }
    let parameters = parameters(disposition?)?;
    let name = parameters.value("name")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    (is_name && parameters.kind.eq_ignore_ascii_case("form-data")).then_some(name)
}

#[cfg(test)]
mod tests;
