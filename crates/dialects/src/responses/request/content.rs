//! The content of a message or of a tool's output: a string, or parts.

use provider::InvalidRequest;

use super::required;
use crate::node::{Node, shown};

/// A part of a content.
pub(super) enum Part<'a> {
    /// Words of ours, and a text as it is written in JSON, without its quotes.
    Text(&'static str, &'a str),
    /// An image.
    Image(Image<'a>),
}

/// An image by its URL, which may be a data URL.
pub(super) struct Image<'a> {
    /// As it is written in JSON, without its quotes.
    url: &'a str,
    detail: Option<&'static str>,
}

/// A content that was read.
pub(super) struct Content<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// The refusal of a part that no upstream can read, for where it is said now. In a history, and in what a tool has put out, a
    /// note stands in its place: those come again with each request, and would end the conversation for good.
    pub(super) unreadable: Option<InvalidRequest>,
}

/// Reads a content.
pub(super) fn read<'a>(content: &Node<'_, 'a>) -> Result<Content<'a>, InvalidRequest> {
    let (mut parts, mut unreadable) = (Vec::new(), None);
    if content.first() == b'[' {
        content.each(|node| {
            parts.push(part(&node, &mut unreadable)?);
            Ok(())
        })?;
        return Ok(Content { parts, unreadable });
    }
    match content.value().text() {
        Some(text) => Ok(Content { parts: vec![Part::Text("", text.raw)], unreadable }),
        None => Err(content.wrong("must be a string or an array of parts such as {\"type\": \"input_text\"}")),
    }
}

fn part<'a>(part: &Node<'_, 'a>, unreadable: &mut Option<InvalidRequest>) -> Result<Part<'a>, InvalidRequest> {
    let [kind, text, refusal, url, file, detail, name] =
        part.members(["type", "text", "refusal", "image_url", "file_id", "detail", "filename"])?;
    let kind = required(part, kind, "type", "as in {\"type\": \"input_text\"}")?;
    match &*kind.text()?.decoded() {
        "input_text" | "output_text" | "text" => {
            Ok(Part::Text("", required(part, text, "text", "a string")?.text()?.raw))
        }
        // What the model refused it has said nevertheless.
        "refusal" => Ok(Part::Text("", required(part, refusal, "refusal", "a string")?.text()?.raw)),
        "input_image" => {
            if let (None, Some(file)) = (url, file) {
                return Err(
                    file.wrong("names a file, and no files are kept here: send 'image_url' with a URL or a data URL")
                );
            }
            let url = required(part, url, "image_url", "a URL, or a data URL such as \"data:image/png;base64,…\"")?;
            Ok(Part::Image(Image { url: url.filled_text()?.raw, detail: detail_of(detail)? }))
        }
        "input_file" => {
            *unreadable = Some(part.wrong("is a file, and files are not read here: send its text as 'input_text'"));
            let name = name.map_or(Ok(""), |name| name.text().map(|name| name.raw))?;
            Ok(Part::Text("[A file stands here whose content cannot be read.] ", name))
        }
        "input_audio" => {
            let message = "is audio, which is not served here: send a transcript as 'input_text'";
            *unreadable = Some(part.wrong(message));
            Ok(Part::Text("[Audio stands here that cannot be heard.]", ""))
        }
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

/// The texts of `parts`, each in pieces as they are within a JSON string.
pub(super) fn texts<'p, 'a>(parts: &'p [Part<'a>]) -> impl Iterator<Item = [&'a str; 2]> + use<'p, 'a> {
    parts.iter().filter_map(|part| match part {
        Part::Text(words, text) => Some([*words, *text]),
        Part::Image(_) => None,
    })
}

/// Writes the texts of `parts`, `between` any two of them, as they are within a JSON string.
pub(super) fn write_texts(out: &mut Vec<u8>, parts: &[Part<'_>], between: &str) {
    for (at, pieces) in texts(parts).enumerate() {
        if at > 0 {
            out.extend_from_slice(between.as_bytes());
        }
        for piece in pieces {
            out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// Writes `parts` as the content of a user's message: a string if it is one text, else parts.
pub(super) fn write(out: &mut Vec<u8>, parts: &[Part<'_>]) {
    if let [] | [Part::Text(..)] = parts {
        out.push(b'"');
        write_texts(out, parts, "");
        out.push(b'"');
        return;
    }
    for (at, part) in parts.iter().enumerate() {
        out.push(if at == 0 { b'[' } else { b',' });
        match part {
            Part::Text(words, text) => {
                out.extend_from_slice(br#"{"type":"text","text":""#);
                out.extend_from_slice(words.as_bytes());
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(br#""}"#);
            }
            Part::Image(image) => image.write(out),
        }
    }
    out.push(b']');
}

impl Image<'_> {
    /// Writes the image as a part of a chat's message.
    fn write(&self, out: &mut Vec<u8>) {
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
