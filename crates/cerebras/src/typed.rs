//! Copies JSON while leaving out what Cerebras does not type.
//!
//! Cerebras refuses an object with a member that it does not know, at every depth, so a request's objects are read
//! member by member and only the known ones are written. Their values are copied as they are written, half surrogates
//! included; their names are written without escapes.

use std::borrow::Cow;

use provider::{Error, ErrorKind, Malformed, Reader, Value};

use crate::exclude::blaming;

/// Most names that are said to be dropped from one field.
const MAX_NAMES: usize = 16;
/// Longest name that is said in full, in bytes.
const MAX_NAME: usize = 64;

/// The members that are read of a kind of object; the others are dropped.
pub(crate) struct Shape {
    /// Their names.
    pub(crate) names: &'static [&'static str],
    /// Those that are left out where Cerebras has just refused a member of that name.
    pub(crate) dispensable: &'static [&'static str],
}

/// A member of an object.
pub(crate) struct Member<'a> {
    pub(crate) name: &'static str,
    /// The value as it is written.
    pub(crate) raw: &'a str,
    pub(crate) value: Value<'a>,
}

impl<'a> Member<'a> {
    /// What the value says, if it is a string.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        self.value.text().map(|text| text.decoded())
    }
}

/// The member called `name`.
pub(crate) fn find<'m, 'a>(members: &'m [Member<'a>], name: &str) -> Option<&'m Member<'a>> {
    members.iter().find(|member| member.name == name)
}

/// Writes one field of a request.
pub(crate) struct Writer<'c> {
    field: &'static str,
    without: Option<&'c str>,
    out: String,
    dropped: Vec<String>,
}

impl<'c> Writer<'c> {
    /// A writer of `field`, whose value has about `room` bytes. The dispensable members called `without` are dropped.
    pub(crate) fn new(field: &'static str, room: usize, without: Option<&'c str>) -> Self {
        Self { field, without, out: String::with_capacity(room), dropped: Vec::new() }
    }

    /// What was written, and the names of what was dropped, such as `messages.refusal`: each once, and not all if there
    /// are very many.
    pub(crate) fn finish(self) -> (String, Vec<String>) {
        (self.out, self.dropped)
    }

    /// The field that is written.
    pub(crate) fn field(&self) -> &'static str {
        self.field
    }

    /// Whether the members called `name` are dropped because Cerebras has just refused one.
    pub(crate) fn is_without(&self, name: &str) -> bool {
        self.without == Some(name)
    }

    /// Reads the object that comes next, in which nothing appears twice: the whole request was checked for that. What is not in
    /// `shape` is dropped, and said unless it holds nothing.
    pub(crate) fn members<'a>(&mut self, reader: &mut Reader<'a>, shape: &Shape) -> Result<Vec<Member<'a>>, Error> {
        if reader.peek() != Some(b'{') {
            return Err(self.unlike("an object"));
        }
        let mut members: Vec<Member<'a>> = Vec::with_capacity(shape.names.len());
        reader.enter().map_err(unreadable)?;
        while let Some(key) = reader.key().map_err(unreadable)? {
            reader.peek();
            let start = reader.position();
            let value = reader.value().map_err(unreadable)?;
            let raw = &reader.text()[start..reader.position()];
            let known = shape.names.iter().copied().find(|name| key.says(name));
            let Some(name) = known.filter(|name| !(self.is_without(name) && shape.dispensable.contains(name))) else {
                self.drop_member(&key.decoded(), &value);
                continue;
            };
            members.push(Member { name, raw, value });
        }
        Ok(members)
    }

    /// Records that a member is left out; an empty one is not mentioned.
    pub(crate) fn drop_member(&mut self, name: &str, value: &Value<'_>) {
        if value.is_empty() || self.dropped.len() == MAX_NAMES {
            return;
        }
        note_dropped(&mut self.dropped, format!("{}.{}", self.field, start_of(name)));
    }

    /// Writes the list that comes next; `each` writes an element, or nothing.
    pub(crate) fn list<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        mut each: impl FnMut(&mut Self, &mut Reader<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if reader.peek() != Some(b'[') {
            return Err(self.unlike("a list"));
        }
        self.open('[');
        reader.enter().map_err(unreadable)?;
        while reader.element().map_err(unreadable)? {
            each(self, reader)?;
        }
        self.close(']');
        Ok(())
    }

    /// Writes an object of those of `members` that are in `typed` and are not null.
    pub(crate) fn object(&mut self, members: &[Member<'_>], typed: &[&str]) {
        self.open('{');
        for member in members {
            self.member(member, typed);
        }
        self.close('}');
    }

    /// Writes `member` if it is in `typed`; null is as if it were not there.
    pub(crate) fn member(&mut self, member: &Member<'_>, typed: &[&str]) {
        if !typed.contains(&member.name) {
            self.drop_member(member.name, &member.value);
        } else if member.value != Value::Null {
            self.key(member.name);
            self.raw(member.raw);
        }
    }

    /// Writes the name of the next member.
    pub(crate) fn key(&mut self, name: &str) {
        self.separate();
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// Writes a value as it came.
    pub(crate) fn raw(&mut self, raw: &str) {
        self.separate();
        self.out.push_str(raw);
    }

    /// Opens an object or a list.
    pub(crate) fn open(&mut self, bracket: char) {
        self.separate();
        self.out.push(bracket);
    }

    /// Closes an object or a list.
    pub(crate) fn close(&mut self, bracket: char) {
        self.out.push(bracket);
    }

    /// Writes an empty text instead of the list that was just written, if nothing is in that.
    pub(crate) fn text_for_empty_list(&mut self) {
        if self.out.ends_with("[]") {
            self.out.truncate(self.out.len() - 2);
            self.out.push_str("\"\"");
        }
    }

    fn separate(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with(['{', '[', ':']) {
            self.out.push(',');
        }
    }

    fn unlike(&self, what: &str) -> Error {
        let field = self.field;
        blaming(field, format!("Cerebras takes {what} where '{field}' holds something else"))
    }
}

/// Records once that `name` is left out.
pub(crate) fn note_dropped(dropped: &mut Vec<String>, name: String) {
    if !dropped.contains(&name) {
        dropped.push(name);
    }
}

/// As much of a name as is said.
pub(crate) fn start_of(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME)]
}

/// The error for a value that cannot be read. It cannot happen, because the whole body was checked before.
pub(crate) fn unreadable(malformed: Malformed) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("the body is not valid JSON: {malformed}"))
}
