//! The turns of a conversation, written as messages of a chat.
//!
//! Messages in a row of one role are one turn. A user's turn begins with the results of tools, each of which is a message of
//! its own: in a chat they stand right behind the calls.

use provider::{InvalidRequest, Text};

use crate::chat::write;

/// A piece of content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// A text, behind words of ours.
    Text(&'static str, Text<'a>),
    /// An image: its media type and its bytes in base64.
    Image(Text<'a>, Text<'a>),
    /// The address of an image.
    ImageUrl(Text<'a>),
}

/// A call of a tool: id, name, and the arguments as a JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) id: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) input: &'a str,
}

/// What a tool answered.
#[derive(Debug)]
pub(super) struct ToolResult<'a> {
    pub(super) id: Text<'a>,
    /// Texts only.
    pub(super) content: Vec<Part<'a>>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// Writes the messages of a chat, turn by turn, into its body.
#[derive(Debug, Default)]
pub(super) struct Turns<'a> {
    /// The body so far.
    out: Vec<u8>,
    /// Where in it the first message stands.
    start: usize,
    /// What the system says before the first turn.
    pub(super) system: Vec<Part<'a>>,
    /// Whose turn it is; `None` before the first.
    role: Option<Role>,
    /// What is said in this turn.
    pub(super) parts: Vec<Part<'a>>,
    /// What the system says in the midst of it.
    notes: Vec<Part<'a>>,
    pub(super) results: Vec<ToolResult<'a>>,
    pub(super) calls: Vec<Call<'a>>,
    pub(super) thoughts: Vec<Text<'a>>,
    /// The refusal of a document that no upstream can read, if the last message of the user holds one. A model is told in its
    /// place what stands there, so that a conversation that holds one from earlier goes on.
    pub(super) unreadable: Option<InvalidRequest>,
}

impl<'a> Turns<'a> {
    /// Starts behind the opening bracket of the messages, with which `body` ends.
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { start: body.len(), out: body, ..Self::default() }
    }

    /// It is the turn of `role` now.
    pub(super) fn turn(&mut self, role: Role) {
        if self.role == Some(role) {
            return;
        }
        self.end_turn();
        self.role = Some(role);
    }

    /// The system says something amid the conversation. Many chat templates take no system message there, or move it, so that
    /// this becomes part of the user's turn. Where that has nothing but results of tools, it is put to the last of them: a new
    /// message of the user would make templates forget what the model thought since the one before.
    pub(super) fn note(&mut self, text: Part<'a>) {
        if self.role.is_none() {
            self.system.push(text);
            return;
        }
        self.turn(Role::User);
        self.notes.push(text);
    }

    /// Whether the last turn so far is the assistant's.
    pub(super) fn ends_with_the_assistant(&self) -> bool {
        self.role == Some(Role::Assistant)
    }

    /// The body behind the last message; `None` if there is no message.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.end_turn();
        (self.out.len() > self.start).then_some(self.out)
    }

    fn end_turn(&mut self) {
        match self.role {
            None => {
                if !self.system.is_empty() {
                    self.open("system");
                    content(&mut self.out, &self.system);
                    self.out.push(b'}');
                }
            }
            Some(Role::User) => self.end_users_turn(),
            Some(Role::Assistant) => self.end_assistants_turn(),
        }
        self.parts.clear();
    }

    fn end_users_turn(&mut self) {
        match self.results.last_mut() {
            Some(last) if self.parts.is_empty() => last.content.append(&mut self.notes),
            _ => self.parts.append(&mut self.notes),
        }
        for result in std::mem::take(&mut self.results) {
            self.open("tool");
            self.out.extend_from_slice(b"\"tool_call_id\":");
            write::quoted(&mut self.out, result.id);
            self.out.push(b',');
            content(&mut self.out, &result.content);
            self.out.push(b'}');
        }
        if !self.parts.is_empty() {
            self.open("user");
            content(&mut self.out, &self.parts);
            self.out.push(b'}');
        }
    }

    fn end_assistants_turn(&mut self) {
        let (calls, thoughts) = (std::mem::take(&mut self.calls), std::mem::take(&mut self.thoughts));
        if self.parts.is_empty() && calls.is_empty() && thoughts.is_empty() {
            return;
        }
        self.open("assistant");
        if self.parts.is_empty() && !calls.is_empty() {
            self.out.extend_from_slice(b"\"content\":null");
        } else {
            content(&mut self.out, &self.parts);
        }
        if !thoughts.is_empty() {
            self.out.extend_from_slice(b",\"reasoning\":\"");
            for thought in thoughts {
                write::copied(&mut self.out, thought);
            }
            self.out.push(b'"');
        }
        if !calls.is_empty() {
            self.out.extend_from_slice(b",\"tool_calls\":[");
            for (at, call) in calls.iter().enumerate() {
                if at > 0 {
                    self.out.push(b',');
                }
                tool_call(&mut self.out, call);
            }
            self.out.push(b']');
        }
        self.out.push(b'}');
    }

    fn open(&mut self, role: &str) {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        self.out.extend_from_slice(b"{\"role\":\"");
        self.out.extend_from_slice(role.as_bytes());
        self.out.extend_from_slice(b"\",");
    }
}

/// A content of one text is a string, as every server takes it.
fn content(out: &mut Vec<u8>, parts: &[Part<'_>]) {
    out.extend_from_slice(b"\"content\":");
    match parts {
        [] => out.extend_from_slice(b"\"\""),
        [Part::Text(words, text)] => worded(out, words, *text),
        parts => {
            for (at, each) in parts.iter().enumerate() {
                out.push(if at == 0 { b'[' } else { b',' });
                part(out, each);
            }
            out.push(b']');
        }
    }
}

fn part(out: &mut Vec<u8>, part: &Part<'_>) {
    match part {
        Part::Text(words, text) => {
            out.extend_from_slice(b"{\"type\":\"text\",\"text\":");
            worded(out, words, *text);
            out.push(b'}');
        }
        Part::Image(media_type, data) => {
            out.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:");
            write::copied(out, *media_type);
            out.extend_from_slice(b";base64,");
            write::copied(out, *data);
            out.extend_from_slice(b"\"}}");
        }
        Part::ImageUrl(url) => {
            out.extend_from_slice(b"{\"type\":\"image_url\",\"image_url\":{\"url\":");
            write::quoted(out, *url);
            out.extend_from_slice(b"}}");
        }
    }
}

fn tool_call(out: &mut Vec<u8>, call: &Call<'_>) {
    out.extend_from_slice(b"{\"id\":");
    write::quoted(out, call.id);
    out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
    write::quoted(out, call.name);
    out.extend_from_slice(b",\"arguments\":");
    write::string(out, call.input);
    out.extend_from_slice(b"}}");
}

fn worded(out: &mut Vec<u8>, words: &str, text: Text<'_>) {
    out.push(b'"');
    out.extend_from_slice(words.as_bytes());
    write::copied(out, text);
    out.push(b'"');
}
