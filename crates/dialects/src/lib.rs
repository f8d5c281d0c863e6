//! The other APIs that clients speak: their requests become chats, and the answers to those become theirs again.
//!
//! Everything here is pure and total: no input panics, nothing reads a clock or draws a random number, and the work is in
//! proportion to the input. What depends on HTTP (statuses, headers, keys) belongs to the server.

mod blocks;
mod chat;
pub mod messages;
mod node;
pub mod responses;

pub use blocks::Blocks;

/// Most bytes of memory that a request of `body` takes while it is made a chat, beside `body` itself and what it takes to read it: the
/// chat, in which each quote, backslash and line end may have got a backslash in front; what is noted of each message, block and
/// tool; and what a response repeats of the request.
pub fn translation_bytes(body: &[u8]) -> usize {
    let objects = objects(body);
    let noted = NOTED * objects + TOOL * objects.min(MOST_TOOLS);
    chat_bytes(body) + noted + body.len().min(MOST_REPEATED) + FIXED
}

/// Most tools of a request of Responses, those of its namespaces included: each is some hundred bytes longer as a function.
pub(crate) const MOST_TOOLS: usize = 1_024;
/// Bytes that are noted of a tool, with all its names.
const TOOL: usize = 1_200;
/// Bytes that are noted of an object of a request while the others are read, in a list that may double as it grows.
const NOTED: usize = 320;
/// Most bytes that are repeated of a request.
const MOST_REPEATED: usize = 1 << 20;
/// Bytes for what does not depend on the request.
const FIXED: usize = 4 << 10;
/// Bytes by which an object may be longer in a chat.
const LONGER: usize = 64;

/// About how many bytes the chat that `body` becomes has at most.
pub(crate) fn chat_bytes(body: &[u8]) -> usize {
    let escaped = body.iter().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count();
    body.len() + escaped + LONGER * objects(body) + 256
}

/// How many objects a JSON text has: a brace within a string, as in source code, begins none.
fn objects(json: &[u8]) -> usize {
    let (mut objects, mut is_in_string, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            b'{' if !is_in_string => objects += 1,
            _ => {}
        }
    }
    objects
}

/// A request of another API as a chat.
#[derive(Clone, PartialEq, Eq)]
pub struct Chat<A> {
    /// The body of `POST /v1/chat/completions`, with the model as the client wrote it. A streamed one asks for usage.
    pub body: Vec<u8>,
    /// Fields and tools that were left out because no upstream has them, by the client's names.
    pub dropped: Vec<String>,
    /// What the answer has to know of the request.
    pub asked: A,
}

/// Leaves the prompt out.
impl<A> std::fmt::Debug for Chat<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat").field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_code_in_a_text_takes_no_memory_for_objects() {
        let body = |text: &str| format!(r#"{{"input":[{{"role":"user","content":"{}"}}]}}"#, text.repeat(60_000));
        for (code, words) in [("fn f() {}", "fn f() ()"), (r#"\"{"#, r#"\"("#), (r"\\{", r"\\(")] {
            assert_eq!(translation_bytes(body(code).as_bytes()), translation_bytes(body(words).as_bytes()), "{code}");
        }
        let several = br#"[{"a":"\\"},{"{":{}},"\"{",{}]"#;
        assert_eq!(objects(several), 4);
    }
}
