//! Texts of a format, a pattern or a length.

use std::iter;

use super::{Keywords, Prompt, pattern, resolve::count};

const REPEATED_WORDS: usize = 6;
const LONGEST_WORD: usize = 32;
/// Most characters, whatever is asked for.
const LONGEST: usize = 65_536;

/// A text; `nth` makes it differ from its neighbours in an array.
pub(super) fn text(keywords: &Keywords, prompt: &Prompt, nth: usize) -> String {
    let keyword = |name: &str| keywords.get(name).and_then(serde_json::Value::as_str);
    let least = count(keywords, "minLength").unwrap_or(0).min(LONGEST);
    let most = count(keywords, "maxLength").unwrap_or(LONGEST).max(least);
    if let Some(text) = keyword("format").and_then(|format| formatted(format, nth)) {
        return text;
    }
    if let Some(text) = keyword("pattern").and_then(|pattern| pattern::matching(pattern, least, most)) {
        return text;
    }
    let words = prompt.text.iter().take(REPEATED_WORDS).map(|word| word.chars().take(LONGEST_WORD).collect::<String>());
    let mut text = words.collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        "text".clone_into(&mut text);
    }
    if nth > 0 {
        text = format!("{} {text}", nth + 1);
    }
    fitted(&text, least, most)
}

/// The text between two lengths, repeated or cut short.
fn fitted(text: &str, least: usize, most: usize) -> String {
    let repeated = text.chars().chain(iter::once(' ')).cycle();
    let count = text.chars().count();
    let mut fitted: String = repeated.take(count.max(least).min(most)).collect();
    // A text ends with a word and not with a blank; the length stays.
    if fitted.ends_with(' ') {
        fitted.pop();
        fitted.push('.');
    }
    fitted
}

fn formatted(format: &str, nth: usize) -> Option<String> {
    let (day, minute, byte) = (nth % 28 + 1, nth % 60, nth % 254 + 1);
    Some(match format {
        "date" => format!("2026-11-{day:02}"),
        "date-time" => format!("2026-11-{day:02}T09:{minute:02}:00Z"),
        "time" => format!("09:{minute:02}:00Z"),
        "duration" => format!("PT{}M", nth + 1),
        "email" | "idn-email" => format!("user{}@example.com", nth + 1),
        "hostname" | "idn-hostname" => format!("host{}.example.com", nth + 1),
        "ipv4" => format!("192.0.2.{byte}"),
        "ipv6" => format!("2001:db8::{byte:x}"),
        "uuid" => format!("00000000-0000-4000-8000-{:012x}", nth + 1),
        "uri" | "url" | "iri" | "uri-reference" => format!("https://example.com/{}", nth + 1),
        _ => return None,
    })
}
