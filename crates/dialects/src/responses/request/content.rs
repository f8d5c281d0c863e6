//! The content of a message or of a tool's output: a string, or parts.

use provider::{InvalidRequest, Reader};

use super::read::{Members, Place, elements, shown};

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

/// Reads the content `raw`.
pub(super) fn read<'a>(raw: &'a str, place: &Place<'_>) -> Result<Vec<Part<'a>>, InvalidRequest> {
    if raw.starts_with('[') {
        let parts = elements(raw, place)?.into_iter().enumerate();
        return parts.map(|(index, raw)| part(raw, &place.element(index))).collect();
    }
    match Reader::new(raw).value().ok().and_then(|value| value.text()) {
        Some(text) => Ok(vec![Part::Text(text.raw)]),
        None => Err(place.refuse("must be a string or an array of parts such as {\"type\": \"input_text\"}")),
    }
}

fn part<'a>(raw: &'a str, place: &Place<'_>) -> Result<Part<'a>, InvalidRequest> {
    let part = Members::read(raw, place)?;
    let kind = part.required_text("type", place)?.decoded();
    match &*kind {
        "input_text" | "output_text" | "text" => Ok(Part::Text(part.required_text("text", place)?.raw)),
        // What the model refused it has said nevertheless.
        "refusal" => Ok(Part::Text(part.required_text("refusal", place)?.raw)),
        "input_image" => image(&part, place).map(Part::Image),
        "input_file" => Err(place.refuse("is a file, and files are not read here: send its text as 'input_text'")),
        "input_audio" => Err(place.refuse("is audio, which is not served here: send a transcript as 'input_text'")),
        kind => {
            let kind = shown(kind);
            let types = "input_text, input_image, output_text, refusal";
            Err(place.member("type").refuse(format_args!("is {kind:?}: use one of {types}")))
        }
    }
}

fn image<'a>(part: &Members<'a>, place: &Place<'_>) -> Result<Image<'a>, InvalidRequest> {
    if part.get("file_id").is_some() && part.get("image_url").is_none() {
        let message = "names a file, and no files are kept here: send 'image_url' with a URL or a data URL";
        return Err(place.member("file_id").refuse(message));
    }
    let message = "is required: a URL, or a data URL such as \"data:image/png;base64,…\"";
    let url = part.text("image_url", place)?.filter(|url| !url.raw.is_empty());
    let url = url.ok_or_else(|| place.member("image_url").refuse(message))?;
    let asked = part.text("detail", place)?;
    // Chat's details; of others, such as "original", the upstream's default comes next.
    let detail = ["auto", "low", "high"].into_iter().find(|known| asked.is_some_and(|asked| asked.says(known)));
    Ok(Image { url: url.raw, detail })
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
