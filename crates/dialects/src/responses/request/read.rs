//! Members of a request's objects, and refusals that name the place of what is wrong.
//!
//! The body has been read once before, by [`provider::RequestBody`]: it is JSON, not too deep, and no key appears twice. What is read
//! here are its parts, each of them at most once for every level of objects around it.

use std::fmt;

use provider::{InvalidRequest, Malformed, Reader, Text, Value};

/// Where something stands in the request, written as OpenAI's errors write it: `input[0].content[1].image_url`.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    outer: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Body,
    Member(&'p str),
    Element(usize),
}

/// The request as a whole, whose members are the top-level fields.
pub(super) const BODY: Place<'static> = Place { outer: None, step: Step::Body };

impl<'p> Place<'p> {
    /// A member of the object that stands here.
    pub(super) const fn member(&'p self, name: &'p str) -> Self {
        Self { outer: Some(self), step: Step::Member(name) }
    }

    /// An element of the array that stands here.
    pub(super) const fn element(&'p self, index: usize) -> Self {
        Self { outer: Some(self), step: Step::Element(index) }
    }

    /// The error that what stands here is wrong: `message` goes on after the place, as in "must be a string".
    pub(super) fn refuse(&self, message: impl fmt::Display) -> InvalidRequest {
        let place = self.to_string();
        let message = format!("'{place}' {message}");
        InvalidRequest::field(place, message)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            outer.fmt(f)?;
        }
        let is_field = self.outer.is_none_or(|outer| matches!(outer.step, Step::Body));
        match self.step {
            Step::Body => Ok(()),
            Step::Member(name) if is_field => f.write_str(name),
            Step::Member(name) => write!(f, ".{name}"),
            Step::Element(index) => write!(f, "[{index}]"),
        }
    }
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) name: Text<'a>,
    /// The value as it is written.
    pub(super) raw: &'a str,
    pub(super) value: Value<'a>,
}

/// The members of an object.
#[derive(Debug)]
pub(super) struct Members<'a>(Vec<Member<'a>>);

impl<'a> Members<'a> {
    /// The members of the top-level object.
    pub(super) fn of_body(members: Vec<Member<'a>>) -> Self {
        Self(members)
    }

    /// Reads the object `raw` that stands at `place`.
    pub(super) fn read(raw: &'a str, place: &Place<'_>) -> Result<Self, InvalidRequest> {
        let mut reader = Reader::new(raw);
        if reader.peek() != Some(b'{') {
            return Err(place.refuse("must be an object"));
        }
        reader.enter().map_err(unreadable)?;
        let mut members = Vec::with_capacity(8);
        while let Some(name) = reader.key().map_err(unreadable)? {
            reader.peek();
            let start = reader.position();
            let value = reader.value().map_err(unreadable)?;
            members.push(Member { name, raw: &raw[start..reader.position()], value });
        }
        Ok(Self(members))
    }

    /// All members.
    pub(super) fn all(&self) -> &[Member<'a>] {
        &self.0
    }

    /// The member called `name`; one that is null counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.0.iter().find(|member| member.name.says(name)).filter(|member| member.value != Value::Null)
    }

    /// The string that `name` is, if it is there.
    pub(super) fn text(&self, name: &str, place: &Place<'_>) -> Result<Option<Text<'a>>, InvalidRequest> {
        let Some(member) = self.get(name) else { return Ok(None) };
        member.value.text().map(Some).ok_or_else(|| place.member(name).refuse("must be a string"))
    }

    /// The string that `name` must be.
    pub(super) fn required_text(&self, name: &str, place: &Place<'_>) -> Result<Text<'a>, InvalidRequest> {
        self.text(name, place)?.ok_or_else(|| place.member(name).refuse("is required: it must be a string"))
    }

    /// The true or false that `name` is, if it is there.
    pub(super) fn flag(&self, name: &str, place: &Place<'_>) -> Result<Option<bool>, InvalidRequest> {
        match self.get(name).map(|member| member.value) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(place.member(name).refuse("must be true or false")),
        }
    }
}

/// The elements of the array `raw` that stands at `place`, as they are written.
pub(super) fn elements<'a>(raw: &'a str, place: &Place<'_>) -> Result<Vec<&'a str>, InvalidRequest> {
    let mut reader = Reader::new(raw);
    if reader.peek() != Some(b'[') {
        return Err(place.refuse("must be an array"));
    }
    reader.enter().map_err(unreadable)?;
    let mut elements = Vec::new();
    while reader.element().map_err(unreadable)? {
        elements.push(reader.raw().map_err(unreadable)?);
    }
    Ok(elements)
}

/// As much of a client's own text as an error repeats.
pub(super) fn shown(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

fn unreadable(malformed: Malformed) -> InvalidRequest {
    InvalidRequest::body(format!("the body is not valid JSON: {malformed}"))
}
