//! The content of a message or of a tool's output: a string, or parts.

use provider::InvalidRequest;

use super::required;
use crate::node::{Node, shown};

/// A part of a content.
pub(super) enum Part<'a> {
    /// A text as it is written in JSON, without its quotes.
    Text(&'a str),
    /// An image.
    Image(Image<'a>),
}

/// An image by its URL, which may be a data URL.
pub(super) struct Image<'a> {
    /// As it is written in JSON, without its quotes.
    url: &'a str,
    detail: Option<&'static str>,
}

/// Reads a content.
pub(super) fn read<'a>(content: &Node<'_, 'a>) -> Result<Vec<Part<'a>>, InvalidRequest> {
    if content.first() == b'[' {
        let mut parts = Vec::new();
        content.each(|node| {
            parts.push(part(&node)?);
            Ok(())
        })?;
        return Ok(parts);
    }
    match content.value().text() {
        Some(text) => Ok(vec![Part::Text(text.raw)]),
        None => Err(content.wrong("must be a string or an array of parts such as {\"type\": \"input_text\"}")),
    }
}

fn part<'a>(part: &Node<'_, 'a>) -> Result<Part<'a>, InvalidRequest> {
    let [kind, text, refusal, url, file, detail] =
        part.members(["type", "text", "refusal", "image_url", "file_id", "detail"])?;
    let kind = required(part, kind, "type", "as in {\"type\": \"input_text\"}")?;
    match &*kind.text()?.decoded() {
        "input_text" | "output_text" | "text" => Ok(Part::Text(required(part, text, "text", "a string")?.text()?.raw)),
        // What the model refused it has said nevertheless.
        "refusal" => Ok(Part::Text(required(part, refusal, "refusal", "a string")?.text()?.raw)),
        "input_image" => {
            if let (None, Some(file)) = (url, file) {
                return Err(
                    file.wrong("names a file, and no files are kept here: send 'image_url' with a URL or a data URL")
                );
            }
            let url = required(part, url, "image_url", "a URL, or a data URL such as \"data:image/png;base64,…\"")?;
            Ok(Part::Image(Image { url: url.filled_text()?.raw, detail: detail_of(detail)? }))
        }
        "input_file" => Err(part.wrong("is a file, and files are not read here: send its text as 'input_text'")),
        "input_audio" => Err(part.wrong("is audio, which is not served here: send a transcript as 'input_text'")),
        other => {
            let other = shown(other);
            let types = "input_text, input_image, output_text, refusal";
            Err(kind.wrong(format_args!("is {other:?}: use one of {types}")))
        }
    }
}

/// A chat's details; of others, such as "original", the upstream's default comes next.
fn detail_of(detail: Option<Node<'_, '_>>) -> Result<Option<&'static str>, InvalidRequest> {
    let Some(detail) = detail else { return Ok(None) };
    let asked = detail.text()?;
    Ok(["auto", "low", "high"].into_iter().find(|known| asked.says(known)))
}

/// Writes the texts of `parts`, `between` any two of them, as they are within a JSON string.
pub(super) fn write_texts(out: &mut Vec<u8>, parts: &[Part<'_>], between: &str) {
    let mut is_first = true;
    for part in parts {
        let Part::Text(text) = part else { continue };
        if !is_first {
            out.extend_from_slice(between.as_bytes());
        }
        is_first = false;
        out.extend_from_slice(text.as_bytes());
    }
}

/// Writes `parts` as the content of a user's message: a string if it is one text, else parts.
pub(super) fn write(out: &mut Vec<u8>, parts: &[Part<'_>]) {
    if let [] | [Part::Text(_)] = parts {
        out.push(b'"');
        write_texts(out, parts, "");
        out.push(b'"');
        return;
    }
    out.push(b'[');
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match part {
            Part::Text(text) => write_text(out, text),
            Part::Image(image) => image.write(out),
        }
    }
    out.push(b']');
}

/// Writes a text part; `text` is as it is written in JSON.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(br#"{"type":"text","text":""#);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(br#""}"#);
}

impl Image<'_> {
    /// Writes the image as a part of a chat's message.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"image_url","image_url":{"url":""#);
        out.extend_from_slice(self.url.as_bytes());
        out.push(b'"');
        if let Some(detail) = self.detail {
            out.extend_from_slice(br#","detail":""#);
            out.extend_from_slice(detail.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"}}");
    }
}
