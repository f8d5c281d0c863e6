//! The messages of a chat: their roles are checked, their text is skipped unread.

use std::fmt;

use super::{InvalidRequest, Refused, State, images::Image, shown};
use crate::{Text, Value};

const PLAIN_ROLES: [&str; 3] = ["user", "assistant", "system"];
const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

impl State<'_> {
    /// Reads the array of messages.
    pub(super) fn messages(&mut self) -> Result<(), Refused> {
        if self.body.reader.peek() != Some(b'[') {
            self.body.reader.value()?;
            return Err(self.wrong("'messages' must be an array of messages"));
        }
        self.body.reader.enter()?;
        let start = self.body.reader.position();
        let mut count = 0;
        while self.body.reader.element()? {
            if self.message(count)? && self.head.opening.is_none() {
                self.head.opening = Some(start..self.body.reader.position());
            }
            count += 1;
            if count > self.limits.max_messages {
                let max = self.limits.max_messages;
                let message = format!("'messages' has more than {max} entries: shorten or summarise the conversation");
                return Err(self.wrong(message));
            }
        }
        if count == 0 {
            return Err(self.wrong("'messages' is empty: send at least one message"));
        }
        Ok(())
    }

    /// One message: its role is checked, its content only looked at for parts that not every upstream takes. Returns whether
    /// it is the user's.
    fn message(&mut self, index: usize) -> Result<bool, Refused> {
        if self.body.reader.peek() != Some(b'{') {
            return Err(self.wrong(format!("'messages[{index}]' must be an object with 'role' and 'content'")));
        }
        self.body.reader.enter()?;
        let (mut has_role, mut is_users) = (false, false);
        while let Some(key) = self.body.reader.key()? {
            match &*key.decoded() {
                "role" => {
                    match self.body.reader.value()?.text() {
                        Some(role) if !role.is_escaped && PLAIN_ROLES.contains(&role.raw) => {
                            is_users = role.raw == "user";
                        }
                        role => self.special_role(index, role)?,
                    }
                    has_role = true;
                }
                "content" => self.content(index)?,
                "name" => drop(self.body.reader.value()?),
                _ => {
                    self.body.reader.value()?;
                    self.head.has_special_messages = true;
                }
            }
            self.head.has_special_messages |= key.is_escaped;
        }
        if !has_role {
            return Err(wrong(index, ".role", format_args!("is missing: use one of {}", ROLES.join(", "))));
        }
        Ok(is_users)
    }

    /// Any role but the plain ones as they are usually written.
    fn special_role(&mut self, index: usize, role: Option<Text<'_>>) -> Result<(), Refused> {
        self.head.has_special_messages = true;
        match role.map(|role| role.decoded()) {
            Some(name) if ROLES.contains(&&*name) => Ok(()),
            Some(name) => {
                Err(wrong(index, ".role", format_args!("is {:?}: use one of {}", shown(&name), ROLES.join(", "))))
            }
            None => Err(wrong(index, ".role", format_args!("must be one of {}", ROLES.join(", ")))),
        }
    }

    fn content(&mut self, index: usize) -> Result<(), Refused> {
        if self.body.reader.peek() == Some(b'[') {
            self.head.has_special_messages = true;
            return self.parts(index);
        }
        match self.body.reader.value()? {
            Value::Text(_) | Value::Null => Ok(()),
            _ => Err(wrong(index, ".content", format_args!("must be a string, an array of parts or null"))),
        }
    }

    fn parts(&mut self, index: usize) -> Result<(), Refused> {
        self.body.reader.enter()?;
        while self.body.reader.element()? {
            match self.body.reader.peek() {
                Some(b'{') => {}
                // A part that is just its text, as vLLM takes them.
                Some(b'"') => {
                    self.body.reader.value()?;
                    continue;
                }
                _ => return Err(wrong(index, ".content", format_args!("must hold parts: objects with a 'type'"))),
            }
            self.body.reader.enter()?;
            let (mut image, mut is_image) = (Image::UNKNOWN, false);
            while let Some(key) = self.body.reader.key()? {
                if key.says("image_url") {
                    image = self.image()?;
                    continue;
                }
                let value = self.body.reader.value()?;
                if let Some(kind) = value.text().filter(|_| key.says("type")) {
                    is_image = self.part(&kind.decoded());
                }
            }
            if is_image {
                self.head.image_bytes += image.bytes;
                self.head.image_tokens += image.tokens;
            }
        }
        Ok(())
    }

    /// A part of this type. Returns whether that is an image.
    fn part(&mut self, kind: &str) -> bool {
        let is_image = matches!(kind, "image_url" | "input_image" | "image_embeds");
        match kind {
            "text" | "refusal" | "thinking" | "reasoning" => {}
            _ if is_image => self.head.features.images = true,
            _ => self.head.has_media = true,
        }
        is_image
    }
}

fn wrong(index: usize, member: &str, message: fmt::Arguments<'_>) -> Refused {
    let path = format!("messages[{index}]{member}");
    let message = format!("'{path}' {message}");
    Refused::Invalid(InvalidRequest::field(path, message))
}

#[cfg(test)]
mod tests;
