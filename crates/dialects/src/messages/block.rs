//! What the blocks of whole and of streamed messages have in common.

use std::borrow::Cow;

use provider::{Reader, Text, Value, each_whole};

use crate::chat::{Arguments, write};

/// What proves to Anthropic that a block of thinking is one of its own. Clients send it back unread, and some leave out a block
/// without one; nothing is read from it here.
pub(super) const SIGNATURE: &str = "llm-router";
/// The member of a call's input that holds what the model wrote where that is no JSON object: the tool's answer to it tells the
/// model what to repair. An empty input would make a tool do what nobody asked for.
const INVALID: &str = "invalid_json";

/// The id of a message. What identifies the request follows Anthropic's prefix.
pub(super) fn message_id(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"\"msg_");
    write::escaped(out, id);
    out.push(b'"');
}

/// The id of call number `at`: the upstream's own, because it has to come back as it is, or one made of the message's.
pub(super) fn call_id(own: Option<Text<'_>>, id: &str, at: usize) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(own) = own {
        write::copied(&mut out, own);
        return out;
    }
    out.extend_from_slice(b"toolu_");
    write::escaped(&mut out, id);
    out.push(b'_');
    write::number(&mut out, at as u64);
    out
}

/// The input of a call: its arguments, if they are a JSON object.
pub(super) fn input(out: &mut Vec<u8>, arguments: Arguments<'_>) {
    let text = match arguments {
        Arguments::None => Cow::Borrowed("{}"),
        Arguments::Text(text) => text.decoded(),
        Arguments::Object(raw) => Cow::Borrowed(raw),
    };
    let text = match text.trim_ascii() {
        "" | "null" => "{}",
        text => text,
    };
    if is_object(text) {
        each_whole(text, |piece| out.extend_from_slice(piece.as_bytes()));
        return;
    }
    out.push(b'{');
    write::string(out, INVALID);
    out.push(b':');
    write::string(out, text);
    out.push(b'}');
}

fn is_object(text: &str) -> bool {
    let mut reader = Reader::new(text);
    matches!(reader.value(), Ok(Value::Object(_))) && reader.end().is_ok()
}
