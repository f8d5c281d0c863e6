//! The messages of a chat, while they are written.
//!
//! What a chat says in one message of the assistant (reasoning, text, calls) are items of their own in an input. So
//! what the assistant says is gathered until somebody else does.

use provider::Text;

use super::content::{self, Part};
use crate::chat::write;

/// The messages so far.
#[derive(Default)]
pub(super) struct Messages {
    /// What the system says before anyone else does, as it is within a JSON string.
    system: Vec<u8>,
    /// The other messages, each with a comma in front.
    rest: Vec<u8>,
    turn: Turn,
    /// Images of tools' outputs, as parts of a message, each with a comma in front: a chat takes them from the user
    /// alone.
    images: Vec<u8>,
}

/// What the assistant says in one message, as it is written in JSON.
#[derive(Default)]
struct Turn {
    /// Within a string.
    reasoning: Vec<u8>,
    /// Within a string; `None` if it says nothing.
    content: Option<Vec<u8>>,
    /// With a comma in front of each.
    calls: Vec<u8>,
}

impl Messages {
    /// Whether nobody but the system has said anything.
    pub(super) fn are_at_start(&self) -> bool {
        self.rest.is_empty()
            && self.turn.content.is_none()
            && self.turn.calls.is_empty()
            && self.turn.reasoning.is_empty()
    }

    /// What the system says at the beginning: a text as it is within a JSON string.
    pub(super) fn system(&mut self, text: &str) {
        if !self.system.is_empty() {
            self.system.extend_from_slice(br"\n\n");
        }
        self.system.extend_from_slice(text.as_bytes());
    }

    /// A message of the user.
    pub(super) fn user(&mut self, parts: &[Part<'_>]) {
        self.end_turn();
        self.end_images();
        self.open("user");
        self.rest.extend_from_slice(br#","content":"#);
        content::write(&mut self.rest, parts);
        self.rest.push(b'}');
    }

    /// A text of the assistant.
    pub(super) fn assistant(&mut self, parts: &[Part<'_>]) {
        self.begin_turn();
        content::write_texts(self.turn.content.insert(Vec::new()), parts, "");
    }

    /// What the assistant thinks, in pieces as they are within a JSON string.
    pub(super) fn reasoning<'t>(&mut self, texts: impl Iterator<Item = &'t str>) {
        self.begin_turn();
        texts.for_each(|text| self.turn.reasoning.extend_from_slice(text.as_bytes()));
    }

    /// A call of the function `name`, with what `arguments` writes within a JSON string.
    pub(super) fn call(&mut self, id: Text<'_>, name: &str, arguments: impl FnOnce(&mut Vec<u8>)) {
        self.end_images();
        let out = &mut self.turn.calls;
        out.extend_from_slice(br#",{"id":""#);
        write::copied(out, id);
        out.extend_from_slice(br#"","type":"function","function":{"name":"#);
        write::string(out, name);
        out.extend_from_slice(br#","arguments":""#);
        arguments(out);
        out.extend_from_slice(br#""}}"#);
    }

    /// The output of a call.
    pub(super) fn output(&mut self, id: Text<'_>, parts: &[Part<'_>]) {
        let has_text = parts.iter().any(|part| matches!(part, Part::Text(_)));
        self.tool(id, |out| {
            if has_text || parts.is_empty() {
                content::write_texts(out, parts, r"\n");
            } else {
                out.extend_from_slice(b"The output is an image, which the next message of the user shows.");
            }
        });
        for part in parts {
            if let Part::Image(image) = part {
                self.images.push(b',');
                image.write(&mut self.images);
            }
        }
    }

    /// A message of the role `tool` with what `content` writes within a JSON string.
    pub(super) fn tool(&mut self, id: Text<'_>, content: impl FnOnce(&mut Vec<u8>)) {
        self.end_turn();
        self.open("tool");
        self.rest.extend_from_slice(br#","tool_call_id":""#);
        write::copied(&mut self.rest, id);
        self.rest.extend_from_slice(br#"","content":""#);
        content(&mut self.rest);
        self.rest.extend_from_slice(br#""}"#);
    }

    /// Nothing follows. Returns whether there is a message.
    pub(super) fn end(&mut self) -> bool {
        self.end_turn();
        self.end_images();
        !self.system.is_empty() || !self.rest.is_empty()
    }

    /// Writes the array of messages.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        if self.system.is_empty() {
            out.extend_from_slice(self.rest.get(1..).unwrap_or_default());
        } else {
            out.extend_from_slice(br#"{"role":"system","content":""#);
            out.extend_from_slice(&self.system);
            out.extend_from_slice(br#""}"#);
            out.extend_from_slice(&self.rest);
        }
        out.push(b']');
    }

    fn open(&mut self, role: &str) {
        self.rest.extend_from_slice(br#",{"role":""#);
        self.rest.extend_from_slice(role.as_bytes());
        self.rest.push(b'"');
    }

    /// Ends a message of the assistant that a text or reasoning cannot be a part of: one that has said or called
    /// something.
    fn begin_turn(&mut self) {
        self.end_images();
        if self.turn.content.is_some() || !self.turn.calls.is_empty() {
            self.end_turn();
        }
    }

    /// Writes what the assistant has said. Reasoning that led to nothing is left out.
    fn end_turn(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        if turn.content.is_none() && turn.calls.is_empty() {
            return;
        }
        self.open("assistant");
        let out = &mut self.rest;
        if !turn.reasoning.is_empty() {
            out.extend_from_slice(br#","reasoning":""#);
            out.extend_from_slice(&turn.reasoning);
            out.push(b'"');
        }
        if let Some(content) = &turn.content {
            out.extend_from_slice(br#","content":""#);
            out.extend_from_slice(content);
            out.push(b'"');
        } else {
            out.extend_from_slice(br#","content":null"#);
        }
        if let Some(calls) = turn.calls.get(1..) {
            out.extend_from_slice(br#","tool_calls":["#);
            out.extend_from_slice(calls);
            out.push(b']');
        }
        out.push(b'}');
    }

    /// Writes the images that tools have put out, once all outputs of a turn are there.
    fn end_images(&mut self) {
        let images = std::mem::take(&mut self.images);
        if images.is_empty() {
            return;
        }
        self.open("user");
        self.rest.extend_from_slice(br#","content":["#);
        content::write_text(&mut self.rest, "Images that the tools have put out:");
        self.rest.extend_from_slice(&images);
        self.rest.extend_from_slice(b"]}");
    }
}
