//! The body of a request: one JSON object, whose fields are handed out one by one while it is read.
//!
//! A value beyond its bound, or a name that appears twice, is refused where it is read, before anything of it is kept.

use super::{InvalidRequest, shown};
use crate::{
    Malformed, Reader, Text, Value,
    json::{MAX_DEPTH, MAX_KEYS, Why, key_at},
};

/// Most fields of a request.
pub const MAX_FIELDS: usize = 256;

/// Reads a request's body.
pub struct RequestBody<'a> {
    /// Positioned before the value of the field that was returned last, which the caller reads.
    pub reader: Reader<'a>,
    /// The name of that field.
    pub field: Text<'a>,
    count: usize,
}

impl<'a> RequestBody<'a> {
    /// Starts to read `body`.
    ///
    /// # Errors
    /// If it is no text, or no object.
    pub fn parse(body: &'a [u8]) -> Result<Self, InvalidRequest> {
        Self::new(utf8(body)?)
    }

    /// Starts to read `text`.
    ///
    /// # Errors
    /// If it is no object.
    pub fn new(text: &'a str) -> Result<Self, InvalidRequest> {
        if text.trim_ascii().is_empty() {
            return Err(InvalidRequest::body("the body is empty: send a JSON object"));
        }
        let mut body =
            Self { reader: Reader::of_request(text), field: Text { raw: "", at: 0, is_escaped: false }, count: 0 };
        match body.reader.peek() {
            Some(b'{') => body.reader.enter().map_err(|malformed| body.refused(malformed))?,
            Some(b'[') => return Err(no_object()),
            _ => {
                // A body that is not JSON at all gets an error that says so.
                body.reader.value().map_err(|malformed| body.refused(malformed))?;
                return Err(no_object());
            }
        }
        Ok(body)
    }

    /// The name of the next field, whose value the caller reads; `None` at the end of the body.
    ///
    /// # Errors
    /// If the body is broken, or the field is one too many or a second one of its name.
    pub fn next_field(&mut self) -> Result<Option<Text<'a>>, InvalidRequest> {
        let key = self.reader.key().map_err(|malformed| match malformed.why {
            Why::Twice => {
                let name = key_at(self.reader.text(), malformed.at).decoded();
                let name = shown(&name);
                let message = format!("'{name}' appears twice: send it once");
                InvalidRequest::field(name, message)
            }
            _ => self.refused(malformed),
        })?;
        let Some(key) = key else {
            self.reader.end().map_err(|malformed| self.refused(malformed))?;
            return Ok(None);
        };
        self.count += 1;
        if self.count > MAX_FIELDS {
            return Err(InvalidRequest::body(format!("the body has more than {MAX_FIELDS} fields: send fewer")));
        }
        self.field = key;
        self.reader.peek();
        Ok(Some(key))
    }

    /// Reads the value that comes next, as [`Reader::value`] does.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn value(&mut self) -> Result<Value<'a>, InvalidRequest> {
        self.reader.value().map_err(|malformed| self.refused(malformed))
    }

    /// Reads the value that comes next and returns it as it is written.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn raw(&mut self) -> Result<&'a str, InvalidRequest> {
        self.reader.raw().map_err(|malformed| self.refused(malformed))
    }

    /// Enters the object or array that comes next, as [`Reader::enter`] does.
    ///
    /// # Errors
    /// If there are too many levels.
    pub fn enter(&mut self) -> Result<(), InvalidRequest> {
        self.reader.enter().map_err(|malformed| self.refused(malformed))
    }

    /// Whether another element of the array that was entered follows.
    ///
    /// # Errors
    /// If neither an element nor the end of the array can follow.
    pub fn element(&mut self) -> Result<bool, InvalidRequest> {
        self.reader.element().map_err(|malformed| self.refused(malformed))
    }

    /// The error for a value that cannot be read.
    pub fn refused(&self, malformed: Malformed) -> InvalidRequest {
        let field = self.field.decoded();
        let field = shown(&field);
        match malformed.why {
            Why::TooDeep => InvalidRequest::body(format!(
                "the body is nested too deeply: at most {MAX_DEPTH} levels of arrays and objects are accepted"
            )),
            Why::Twice => {
                let key = key_at(self.reader.text(), malformed.at).decoded();
                let key = shown(&key);
                let message = format!("'{key}' within '{field}' appears twice: send it once in each object");
                InvalidRequest::field(field, message)
            }
            Why::TooManyKeys => {
                let message = format!("an object within '{field}' has more than {MAX_KEYS} fields: send fewer");
                InvalidRequest::field(field, message)
            }
            _ => InvalidRequest::body(format!("the body is not valid JSON: {malformed}")),
        }
    }
}

/// The text that a body is. A long prompt is mostly text: validating it with vector instructions is a tenth of what the standard
/// library takes.
///
/// # Errors
/// If it is not UTF-8.
pub fn utf8(body: &[u8]) -> Result<&str, InvalidRequest> {
    simdutf8::basic::from_utf8(body).map_err(|_| InvalidRequest::body("the body is not valid UTF-8"))
}

fn no_object() -> InvalidRequest {
    InvalidRequest::body("expected the body to be a JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_text_is_refused() {
        let error = RequestBody::parse(b"{\"a\":\"\xff\"}").err();
        assert_eq!(error, Some(InvalidRequest::body("the body is not valid UTF-8")));
    }

    #[test]
    fn a_field_is_read_as_it_is_written_as_a_value_or_element_by_element() -> Result<(), InvalidRequest> {
        let mut body = RequestBody::parse(b"{\"a\": [1, {\"b\": 2}] ,\"c\":[3,4],\"d\":true}")?;
        let next =
            |body: &mut RequestBody<'_>| body.next_field().map(|field| field.map(|field| field.decoded().into_owned()));

        assert_eq!(next(&mut body)?.as_deref(), Some("a"));
        assert_eq!(body.raw()?, "[1, {\"b\": 2}]");

        assert_eq!(next(&mut body)?.as_deref(), Some("c"));
        body.enter()?;
        let mut elements = Vec::new();
        while body.element()? {
            elements.push(body.value()?.count());
        }
        assert_eq!(elements, [Some(3), Some(4)]);

        assert_eq!(next(&mut body)?.as_deref(), Some("d"));
        assert_eq!(body.value()?, Value::Bool(true));
        assert_eq!(next(&mut body)?, None);
        Ok(())
    }

    #[test]
    fn what_cannot_be_read_is_explained_however_it_is_read() {
        let read = |text: &'static str, by: fn(&mut RequestBody<'static>) -> Result<(), InvalidRequest>| {
            let mut body = RequestBody::new(text).expect("an object");
            body.next_field().expect("a field");
            by(&mut body).expect_err(text).message
        };
        let wrong = "the body is not valid JSON: expected a value at byte 6";
        assert_eq!(read("{\"a\": !}", |body| body.value().map(drop)), wrong);
        assert_eq!(read("{\"a\": !}", |body| body.raw().map(drop)), wrong);
        let unclosed = "the body is not valid JSON: expected a comma or a closing bracket at byte 8";
        let elements = |body: &mut RequestBody<'static>| {
            body.enter()?;
            while body.element()? {
                body.value()?;
            }
            Ok(())
        };
        assert_eq!(read("{\"a\":[1 2]}", elements), unclosed);
    }
}
