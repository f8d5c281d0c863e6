//! What an image takes of a prompt: tokens by its size in pixels where the request shows that, whatever its bytes.
//!
//! Models cut an image into patches, and count a token for so many pixels. A data URL begins with the file's own header, so
//! that its width and height are found without decoding the image.

use std::borrow::Cow;

use super::{Refused, State};
use crate::{Text, Value};

/// Pixels of a token: 28 × 28 in Qwen's vision models (<https://huggingface.co/Qwen/Qwen2-VL-7B-Instruct/discussions/47>),
/// which are finer than most.
const PIXELS_PER_TOKEN: u64 = 28 * 28;
/// Tokens of the smallest images and of the largest: models enlarge the ones and shrink the others.
const TOKENS: (u64, u64) = (64, 4_096);
/// Tokens of an image whose size is not known: 896 × 896 pixels.
const UNKNOWN_TOKENS: u64 = 1_024;
/// A size is looked for in so many bytes of a data URL. JPEG has it behind previews and colour profiles.
const MOST_READ: usize = 256 << 10;

/// An image in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Image {
    /// What it takes of the body: its URL, which holds the image itself if it is a data URL.
    pub(super) bytes: usize,
    /// What it is thought to take of the prompt.
    pub(super) tokens: u64,
}

impl Image {
    /// One of which nothing is known.
    pub(super) const UNKNOWN: Self = Self { bytes: 0, tokens: UNKNOWN_TOKENS };

    fn at(url: Text<'_>) -> Self {
        let size = url.raw.split_once(";base64,").and_then(|(_, data)| Header::new(data).size());
        let of_size = |(width, height): (u64, u64)| {
            width.saturating_mul(height).div_ceil(PIXELS_PER_TOKEN).clamp(TOKENS.0, TOKENS.1)
        };
        Self { bytes: url.raw.len(), tokens: size.map_or(UNKNOWN_TOKENS, of_size) }
    }
}

impl State<'_> {
    /// Reads an `image_url`: an object with a `url`, or the URL itself.
    pub(super) fn image(&mut self) -> Result<Image, Refused> {
        let reader = &mut self.body.reader;
        let mut url = None;
        if reader.peek() == Some(b'{') {
            reader.enter()?;
            while let Some(key) = reader.key()? {
                let value = reader.value()?;
                if key.says("url") {
                    url = value.text();
                }
            }
        } else if let Value::Text(text) = reader.value()? {
            url = Some(text);
        }
        Ok(url.map_or(Image::UNKNOWN, Image::at))
    }
}

/// The beginning of a file, in base 64.
struct Header<'a>(Cow<'a, str>);

impl<'a> Header<'a> {
    fn new(data: &'a str) -> Self {
        let start = &data[..data.floor_char_boundary(MOST_READ)];
        // Some writers of JSON escape each slash.
        Self(if start.contains('\\') { start.replace("\\/", "/").into() } else { start.into() })
    }

    /// The six bits that a digit stands for.
    fn digit(&self, at: usize) -> Option<u8> {
        match *self.0.as_bytes().get(at)? {
            letter @ b'A'..=b'Z' => Some(letter - b'A'),
            letter @ b'a'..=b'z' => Some(letter - b'a' + 26),
            digit @ b'0'..=b'9' => Some(digit - b'0' + 52),
            b'+' | b'-' => Some(62),
            b'/' | b'_' => Some(63),
            _ => None,
        }
    }

    fn byte(&self, at: usize) -> Option<u64> {
        let first = at / 3 * 4 + at % 3;
        let (left, right) = (self.digit(first)?, self.digit(first + 1)?);
        let byte = match at % 3 {
            0 => left << 2 | right >> 4,
            1 => left << 4 | right >> 2,
            _ => left << 6 | right,
        };
        Some(byte.into())
    }

    fn says(&self, at: usize, expected: &[u8]) -> bool {
        (at..).zip(expected).all(|(at, byte)| self.byte(at) == Some(u64::from(*byte)))
    }

    /// The number in so many bytes, the highest first.
    fn big(&self, at: usize, bytes: usize) -> Option<u64> {
        (at..at + bytes).try_fold(0, |number, at| Some(number << 8 | self.byte(at)?))
    }

    /// The same, the lowest first.
    fn little(&self, at: usize, bytes: usize) -> Option<u64> {
        (at..at + bytes).rev().try_fold(0, |number, at| Some(number << 8 | self.byte(at)?))
    }

    /// Width and height in pixels, of PNG, JPEG, GIF and WebP.
    fn size(&self) -> Option<(u64, u64)> {
        if self.says(0, b"\x89PNG\r\n\x1a\n") {
            return Some((self.big(16, 4)?, self.big(20, 4)?));
        }
        if self.says(0, b"GIF8") {
            return Some((self.little(6, 2)?, self.little(8, 2)?));
        }
        if self.says(0, b"RIFF") && self.says(8, b"WEBP") {
            return self.size_of_webp();
        }
        if self.says(0, b"\xff\xd8") { self.size_of_jpeg() } else { None }
    }

    /// <https://developers.google.com/speed/webp/docs/riff_container>
    fn size_of_webp(&self) -> Option<(u64, u64)> {
        const LOW_14: u64 = (1 << 14) - 1;
        if self.says(12, b"VP8 ") {
            return Some((self.little(26, 2)? & LOW_14, self.little(28, 2)? & LOW_14));
        }
        if self.says(12, b"VP8L") {
            let bits = self.little(21, 4)?;
            return Some((1 + (bits & LOW_14), 1 + (bits >> 14 & LOW_14)));
        }
        if self.says(12, b"VP8X") { Some((1 + self.little(24, 3)?, 1 + self.little(27, 3)?)) } else { None }
    }

    /// Walks the segments up to the frame's header (ITU-T T.81, B.2.2).
    fn size_of_jpeg(&self) -> Option<(u64, u64)> {
        let mut at = 2;
        loop {
            let marker = self.big(at, 2)?;
            match marker {
                0xff_c4 | 0xff_c8 | 0xff_cc => {}
                0xff_c0..=0xff_cf => return Some((self.big(at + 7, 2)?, self.big(at + 5, 2)?)),
                // Filled up with one more byte.
                0xff_ff => {
                    at += 1;
                    continue;
                }
                // The picture begins, or ends, without a size.
                0xff_d8..=0xff_da | ..0xff_01 => return None,
                _ => {}
            }
            at += 2 + usize::try_from(self.big(at + 2, 2)?).ok()?;
        }
    }
}

#[cfg(test)]
mod tests;
