//! The messages of a chat: their roles are checked, their text is skipped unread.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{InvalidRequest, Nested, ROLES, State, scalar::Scalar, shown};
use crate::json::{Text, range_of};

/// Walks the messages of a chat.
pub(super) struct Messages<'s, 'a>(pub(super) &'s mut State<'a>);

impl<'de> DeserializeSeed<'de> for Messages<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Messages<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut count = 0;
        while seq.next_element_seed(Message { state: self.0, index: count })?.is_some() {
            count += 1;
            if count > self.0.limits.max_messages {
                let max = self.0.limits.max_messages;
                return Err(self
                    .0
                    .fail(format!("'messages' has more than {max} entries: shorten or summarise the conversation")));
            }
        }
        if count == 0 {
            return Err(self.0.fail("'messages' is empty: send at least one message"));
        }
        Ok(())
    }
}

/// One message: its role is checked, its content only looked at for images.
struct Message<'s, 'a> {
    state: &'s mut State<'a>,
    index: usize,
}

impl Message<'_, '_> {
    fn fail<E: de::Error>(&mut self, field: &str, message: impl fmt::Display) -> E {
        let path = format!("messages[{}]{field}", self.index);
        self.state.invalid = Some(InvalidRequest::field(&path, format!("'{path}' {message}")));
        E::custom("invalid message")
    }
}

impl<'de> DeserializeSeed<'de> for Message<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "messages[{}] to be an object with 'role' and 'content'", self.index)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut has_role = false;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            match &*key {
                "role" => {
                    let Scalar::Text(role) = map.next_value()? else {
                        return Err(self.fail(".role", format_args!("must be one of {}", ROLES.join(", "))));
                    };
                    if !ROLES.contains(&&*role) {
                        return Err(
                            self.fail(".role", format_args!("is {:?}: use one of {}", shown(&role), ROLES.join(", ")))
                        );
                    }
                    if let (Cow::Borrowed(role), "developer") = (&role, &*role) {
                        self.state.head.nested.push(Nested::DeveloperRole(range_of(self.state.text, role)));
                    }
                    if role == "function" {
                        self.state.head.nested.push(Nested::FunctionRole);
                    }
                    has_role = true;
                }
                "content" => self.content(&key, &mut map)?,
                "reasoning_content" => {
                    if let Cow::Borrowed(key) = key {
                        self.state.head.nested.push(Nested::ReasoningContentKey(range_of(self.state.text, key)));
                    }
                    map.next_value::<Scalar<'de>>()?;
                }
                _ => drop(map.next_value::<Scalar<'de>>()?),
            }
        }
        if !has_role {
            return Err(self.fail(".role", format_args!("is missing: use one of {}", ROLES.join(", "))));
        }
        Ok(())
    }
}

impl<'de> Message<'_, 'de> {
    /// Skips a text, which is most of any request, without unescaping it; only parts are read. Which of them comes is seen
    /// from the byte behind the key, because a value that was skipped has no type any more.
    fn content<A: MapAccess<'de>>(&mut self, key: &Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let behind_key = match key {
            Cow::Borrowed(key) => self.state.text[range_of(self.state.text, key).end + 1..].trim_ascii_start(),
            Cow::Owned(_) => "",
        };
        let value = behind_key.strip_prefix(':').unwrap_or_default().trim_ascii_start();
        match value.as_bytes().first() {
            Some(b'"' | b'n') => drop(map.next_value::<IgnoredAny>()?),
            Some(b'[') => {
                let parts = map.next_value::<Vec<Part<'de>>>()?;
                self.state.head.features.images |= parts.iter().any(|part| part.kind.as_deref() == Some("image_url"));
            }
            _ => return Err(self.fail(".content", "must be a string, an array of parts or null")),
        }
        Ok(())
    }
}

/// One part of a message's content.
struct Part<'a> {
    kind: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Part<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content part: an object with a 'type'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kind = None;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            if let ("type", Scalar::Text(text)) = (&*key, map.next_value::<Scalar<'de>>()?) {
                kind = Some(text);
            }
        }
        Ok(Part { kind })
    }
}
