//! A value within a request, with the path that an error names: `messages.0.content.1.source`, or
//! `input[0].content[1].image_url`.
//!
//! The request was read once as a whole before, so that its values are JSON and no key appears twice.

use std::fmt;

use provider::{InvalidRequest, Reader, Text, Value};

/// Most characters of a client's own text that an error or a header repeats.
const MOST_SHOWN: usize = 64;

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    /// A field of the request.
    Field(&'p str, Indexes),
    /// A member of an object.
    Member(&'p Path<'p>, &'static str),
    /// An element of an array.
    Element(&'p Path<'p>, usize),
}

/// How a dialect's errors write the place in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indexes {
    /// As Anthropic does: `messages.0`.
    Dotted,
    /// As OpenAI does: `input[0]`.
    Bracketed,
}

impl Path<'_> {
    fn indexes(&self) -> Indexes {
        match self {
            Self::Field(_, indexes) => *indexes,
            Self::Member(parent, _) | Self::Element(parent, _) => parent.indexes(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name, _) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => match self.indexes() {
                Indexes::Dotted => write!(f, "{parent}.{index}"),
                Indexes::Bracketed => write!(f, "{parent}[{index}]"),
            },
        }
    }
}

/// A value of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'p, 'a> {
    path: Path<'p>,
    raw: &'a str,
}

impl<'p, 'a> Node<'p, 'a> {
    /// The value `raw` of the field `name`.
    pub(crate) fn field(name: &'p str, raw: &'a str) -> Self {
        Self { path: Path::Field(name, Indexes::Dotted), raw }
    }

    /// The same, with a path as OpenAI's errors write it.
    pub(crate) fn openai_field(name: &'p str, raw: &'a str) -> Self {
        Self { path: Path::Field(name, Indexes::Bracketed), raw }
    }

    /// The value as it is written.
    pub(crate) fn raw(&self) -> &'a str {
        self.raw
    }

    /// Whether it is a string, an array, an object, by its first byte.
    pub(crate) fn first(&self) -> u8 {
        self.raw.as_bytes().first().copied().unwrap_or_default()
    }

    /// The value; of arrays and objects, which are read to their end, only how much is in them.
    pub(crate) fn value(&self) -> Value<'a> {
        // What is no JSON was refused before.
        Reader::new(self.raw).value().unwrap_or(Value::Null)
    }

    /// The error that this value `is wrong`: the path comes first.
    pub(crate) fn wrong(&self, message: impl fmt::Display) -> InvalidRequest {
        let path = self.path.to_string();
        let message = format!("'{path}' {message}");
        InvalidRequest::field(path, message)
    }

    /// The error that its element `index` `is wrong`.
    pub(crate) fn wrong_element(&self, index: usize, message: impl fmt::Display) -> InvalidRequest {
        Node { path: Path::Element(&self.path, index), raw: self.raw }.wrong(message)
    }

    /// The error that its member `name` is missing; `what` says what it should be.
    pub(crate) fn lacks(&self, name: &'static str, what: impl fmt::Display) -> InvalidRequest {
        let path = Path::Member(&self.path, name);
        InvalidRequest::field(path.to_string(), format!("'{path}' is required: {what}"))
    }

    /// The string that it is.
    pub(crate) fn text(&self) -> Result<Text<'a>, InvalidRequest> {
        self.value().text().ok_or_else(|| self.wrong("must be a string"))
    }

    /// The string that it is, which must say something.
    pub(crate) fn filled_text(&self) -> Result<Text<'a>, InvalidRequest> {
        let text = self.value().text().filter(|text| !text.raw.is_empty());
        text.ok_or_else(|| self.wrong("must be a non-empty string"))
    }

    /// The flag that it is.
    pub(crate) fn flag(&self) -> Result<bool, InvalidRequest> {
        match self.value() {
            Value::Bool(flag) => Ok(flag),
            _ => Err(self.wrong("must be true or false")),
        }
    }

    /// Fails unless it is an object.
    pub(crate) fn object(&self) -> Result<(), InvalidRequest> {
        if self.first() == b'{' { Ok(()) } else { Err(self.wrong("must be an object")) }
    }

    /// The members called `names` of the object that it is; those that are null are as if they were left out.
    pub(crate) fn members<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<Node<'_, 'a>>; N], InvalidRequest> {
        self.object()?;
        let mut found = [None; N];
        let mut reader = Reader::new(self.raw);
        let mut read = || {
            reader.enter()?;
            while let Some(key) = reader.key()? {
                let raw = reader.raw()?;
                if let Some(at) = names.iter().position(|name| key.says(name)).filter(|_| raw != "null") {
                    found[at] = Some(Node { path: Path::Member(&self.path, names[at]), raw });
                }
            }
            Ok(())
        };
        read().map_err(|malformed: provider::Malformed| self.wrong(malformed))?;
        Ok(found)
    }

    /// Hands the elements of the array that it is to `take`, in order, and returns how many there are.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(Node<'_, 'a>) -> Result<(), InvalidRequest>,
    ) -> Result<usize, InvalidRequest> {
        if self.first() != b'[' {
            return Err(self.wrong("must be an array"));
        }
        let mut reader = Reader::new(self.raw);
        let malformed = |malformed| self.wrong(malformed);
        reader.enter().map_err(malformed)?;
        let mut count = 0;
        while reader.element().map_err(malformed)? {
            let raw = reader.raw().map_err(malformed)?;
            take(Node { path: Path::Element(&self.path, count), raw })?;
            count += 1;
        }
        Ok(count)
    }
}

/// As much of a client's own text as an error or a header repeats.
pub(crate) fn shown(text: &str) -> &str {
    text.char_indices().nth(MOST_SHOWN).map_or(text, |(end, _)| &text[..end])
}
