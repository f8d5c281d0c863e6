//! The messages of a chat, while they are written into its body.
//!
//! What a chat says in one message are items of their own in an input: reasoning, text and calls of the assistant, and messages
//! of the user that stand in a row. So what one of them says is gathered until another speaks.

use provider::{InvalidRequest, Text};

use super::content::{self, Part};
use crate::chat::write;

/// What stands between two items of a kind that become one text, as it is within a JSON string.
const GAP: &str = r"\n\n";

/// The messages so far.
#[derive(Default)]
pub(super) struct Messages<'a> {
    /// The body of the chat, up to the last message that is complete.
    out: Vec<u8>,
    /// Where in it the first message stands.
    start: usize,
    /// What the system says before anyone else does, in pieces as they are within a JSON string.
    system: Vec<&'a str>,
    /// Who speaks; `None` before anyone but the system does.
    speaker: Option<Speaker>,
    assistant: Assistant<'a>,
    /// What the user says, the images of tools' outputs first: a chat takes them from the user alone.
    user: Vec<Part<'a>>,
    /// The refusal of a file that no upstream can read, if the user's last turn holds one.
    pub(super) unreadable: Option<InvalidRequest>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    User,
    Assistant,
    Tool,
}

/// What the assistant says in one message, in pieces as they are within a JSON string.
#[derive(Default)]
struct Assistant<'a> {
    reasoning: Vec<&'a str>,
    /// `None` if it says nothing.
    content: Option<Vec<&'a str>>,
    calls: Vec<Call<'a>>,
}

/// A call of a function.
pub(super) struct Call<'a> {
    pub(super) id: Text<'a>,
    pub(super) name: String,
    pub(super) arguments: CallArguments<'a>,
}

/// What a function is called with.
pub(super) enum CallArguments<'a> {
    /// JSON, written as a string.
    Text(Text<'a>),
    /// The input of a custom tool, which becomes a member.
    Input(Text<'a>),
    /// JSON as it is written.
    Json(&'a str),
}

impl<'a> Messages<'a> {
    /// Starts behind the opening bracket of the messages, with which `body` ends.
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { start: body.len(), out: body, ..Self::default() }
    }

    /// Whether nobody but the system has said anything.
    pub(super) fn are_at_start(&self) -> bool {
        self.speaker.is_none()
    }

    /// What the system says at the beginning: a text in pieces as they are within a JSON string.
    pub(super) fn system(&mut self, texts: impl Iterator<Item = &'a str>) {
        for text in texts.filter(|text| !text.is_empty()) {
            if !self.system.is_empty() {
                self.system.push(GAP);
            }
            self.system.push(text);
        }
    }

    /// What the user says.
    pub(super) fn user(&mut self, parts: Vec<Part<'a>>) {
        self.turn(Speaker::User);
        self.user.extend(parts);
    }

    /// A text of the assistant, in pieces.
    pub(super) fn assistant(&mut self, texts: impl Iterator<Item = &'a str>) {
        self.turn(Speaker::Assistant);
        let gap = self.assistant.content.as_ref().filter(|content| !content.is_empty()).map(|_| GAP);
        self.assistant.content.get_or_insert_default().extend(gap.into_iter().chain(texts));
    }

    /// What the assistant thinks, in pieces.
    pub(super) fn reasoning(&mut self, texts: impl Iterator<Item = &'a str>) {
        self.turn(Speaker::Assistant);
        let reasoning = &mut self.assistant.reasoning;
        let gap = (!reasoning.is_empty()).then_some(GAP);
        reasoning.extend(gap.into_iter().chain(texts));
    }

    /// A call of the assistant's.
    pub(super) fn call(&mut self, call: Call<'a>) {
        self.turn(Speaker::Assistant);
        self.assistant.calls.push(call);
    }

    /// The output of a call.
    pub(super) fn output(&mut self, id: Text<'_>, parts: Vec<Part<'a>>) {
        let has_text = parts.iter().any(|part| matches!(part, Part::Text(..)));
        self.tool(id, |out| {
            if has_text || parts.is_empty() {
                content::write_texts(out, &parts, r"\n");
            } else {
                out.extend_from_slice(b"The output is an image, which the next message of the user shows.");
            }
        });
        let images = parts.into_iter().filter(|part| matches!(part, Part::Image(_)));
        for image in images {
            if self.user.is_empty() {
                self.user.push(Part::Text("Images that the tools have put out:", ""));
            }
            self.user.push(image);
        }
    }

    /// A message of the role `tool` with what `content` writes within a JSON string.
    pub(super) fn tool(&mut self, id: Text<'_>, content: impl FnOnce(&mut Vec<u8>)) {
        self.turn(Speaker::Tool);
        self.open("tool");
        self.out.extend_from_slice(br#","tool_call_id":"#);
        write::quoted(&mut self.out, id);
        self.out.extend_from_slice(br#","content":""#);
        content(&mut self.out);
        self.out.extend_from_slice(br#""}"#);
    }

    /// The body behind the last message; `None` if there is no message.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        self.end_turn();
        self.end_user();
        (self.out.len() > self.start).then_some(self.out)
    }

    /// It is the turn of `speaker` now. What the user says behind outputs of tools follows their images.
    fn turn(&mut self, speaker: Speaker) {
        if self.speaker == Some(speaker) {
            return;
        }
        self.end_turn();
        if speaker == Speaker::User {
            self.unreadable = None;
        } else {
            self.end_user();
        }
        self.speaker = Some(speaker);
    }

    /// Writes what the system, or the assistant, has said. Reasoning that led to nothing is left out.
    fn end_turn(&mut self) {
        match self.speaker {
            None => self.end_system(),
            Some(Speaker::User | Speaker::Tool) => {}
            Some(Speaker::Assistant) => self.end_assistant(),
        }
    }

    fn end_system(&mut self) {
        if self.system.is_empty() {
            return;
        }
        self.open("system");
        self.out.extend_from_slice(br#","content":"#);
        string(&mut self.out, &self.system);
        self.out.push(b'}');
        self.system.clear();
    }

    fn end_assistant(&mut self) {
        let Assistant { reasoning, content, calls } = std::mem::take(&mut self.assistant);
        if content.is_none() && calls.is_empty() {
            return;
        }
        self.open("assistant");
        let out = &mut self.out;
        if !reasoning.is_empty() {
            out.extend_from_slice(br#","reasoning":"#);
            string(out, &reasoning);
        }
        out.extend_from_slice(br#","content":"#);
        match &content {
            Some(content) => string(out, content),
            None => out.extend_from_slice(b"null"),
        }
        for (at, call) in calls.iter().enumerate() {
            out.extend_from_slice(if at == 0 { br#","tool_calls":["# } else { b"," });
            call.write(out);
        }
        out.extend_from_slice(if calls.is_empty() { b"}" } else { b"]}" });
    }

    fn end_user(&mut self) {
        let user = std::mem::take(&mut self.user);
        if user.is_empty() && self.speaker != Some(Speaker::User) {
            return;
        }
        self.open("user");
        self.out.extend_from_slice(br#","content":"#);
        content::write(&mut self.out, &user);
        self.out.push(b'}');
    }

    fn open(&mut self, role: &str) {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
        self.out.extend_from_slice(br#"{"role":""#);
        self.out.extend_from_slice(role.as_bytes());
        self.out.push(b'"');
    }
}

impl Call<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"id":"#);
        write::quoted(out, self.id);
        out.extend_from_slice(br#","type":"function","function":{"name":"#);
        write::string(out, &self.name);
        out.extend_from_slice(br#","arguments":""#);
        match self.arguments {
            CallArguments::Text(text) => write::copied(out, text),
            CallArguments::Input(text) => {
                out.extend_from_slice(br#"{\"input\":\""#);
                write::escaped(out, text.raw);
                out.extend_from_slice(br#"\"}"#);
            }
            CallArguments::Json(raw) => write::escaped(out, raw),
        }
        out.extend_from_slice(br#""}}"#);
    }
}

fn string(out: &mut Vec<u8>, pieces: &[&str]) {
    out.push(b'"');
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
    out.push(b'"');
}
