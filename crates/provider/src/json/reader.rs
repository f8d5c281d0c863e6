//! A JSON text walked once, from front to back, without decoding or copying what is not read.
//!
//! Requests and events are relayed as they came; the router only peeks at them. A typed parser would fail on what it did not
//! expect: a count that is null, a member that appears twice, half of a surrogate pair. This one accepts every text that is
//! JSON by RFC 8259 and leaves it to its caller what a value of an unexpected type means; only in a request, keys that appear
//! twice are refused. It is total: no input makes it panic, recurse deeper than [`MAX_DEPTH`] or look at a byte twice.

use super::{Malformed, Value, Why, keys::Keys, scan::string_end, text::Text};

/// Most levels of arrays and objects in each other.
pub(crate) const MAX_DEPTH: usize = 128;

/// Walks a JSON text.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Whether the innermost open array or object has had nothing yet.
    is_first: bool,
    takes_non_finite: bool,
    /// The keys so far, where none may appear twice.
    keys: Option<Keys<'a>>,
}

type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    /// Starts in front of the value that `text` should be.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, is_first: false, takes_non_finite: false, keys: None }
    }

    /// The same for what an upstream sent: `NaN`, `Infinity` and `-Infinity` are numbers too. Python's `json` writes and reads
    /// them, in logprobs for one.
    pub fn of_answer(text: &'a str) -> Self {
        Self { takes_non_finite: true, ..Self::new(text) }
    }

    /// The same for what a client sent: in no object, however deep, may a key appear twice or be one too many.
    pub fn of_request(text: &'a str) -> Self {
        Self { keys: Some(Keys::new()), ..Self::new(text) }
    }

    /// The text that is read.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where the reader stands: behind what was read last.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The first byte of what comes next; white space is passed over. `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let next = *self.text.as_bytes().get(self.at)?;
        if next > b' ' { Some(next) } else { self.pass_space() }
    }

    fn pass_space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads the value that comes next; arrays and objects are passed over.
    ///
    /// # Errors
    /// If no JSON value stands there.
    pub fn value(&mut self) -> Read<Value<'a>> {
        super::step();
        let first = self.peek();
        if let Some(word) = self.non_finite(first) {
            self.at += word.len();
            return Ok(Value::Number(word));
        }
        match first {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'{') => self.pass_object().map(Value::Object),
            Some(b'[') => self.pass_array().map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'n') => self.word("null", Value::Null),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(_) => self.fail(Why::NoValue),
            None => self.fail(Why::Ends),
        }
    }

    /// Reads the value that comes next and returns it as it is written.
    ///
    /// # Errors
    /// If no JSON value stands there.
    pub fn raw(&mut self) -> Read<&'a str> {
        self.peek();
        let start = self.at;
        self.value()?;
        Ok(&self.text[start..self.at])
    }

    /// Enters the object or array that comes next: the caller has peeked at its bracket.
    ///
    /// # Errors
    /// If there are too many levels.
    pub fn enter(&mut self) -> Read<()> {
        if self.depth == MAX_DEPTH {
            return self.fail(Why::TooDeep);
        }
        if let Some(keys) = self.keys.as_mut().filter(|_| self.text.as_bytes().get(self.at) == Some(&b'{')) {
            keys.enter();
        }
        self.at += 1;
        self.depth += 1;
        self.is_first = true;
        Ok(())
    }

    /// The next key of the object that was entered, its colon passed; `None` once the object is left. The caller reads the
    /// value before it asks for the next key.
    ///
    /// # Errors
    /// If neither a key nor the end of the object stands there, or if the key may not.
    pub fn key(&mut self) -> Read<Option<Text<'a>>> {
        super::step();
        let bytes = self.text.as_bytes();
        match bytes.get(self.at..) {
            // As most programs write it.
            Some([b',', b'"', ..]) if !self.is_first => self.at += 1,
            _ if !self.goes_on(b'}')? => return Ok(None),
            _ => match self.peek() {
                Some(b'"') => {}
                Some(_) => return self.fail(Why::NoKey),
                None => return self.fail(Why::Ends),
            },
        }
        let key = self.string()?;
        if let Some(keys) = &mut self.keys
            && let Err(why) = keys.add(key, self.text)
        {
            return Err(Malformed { at: key.at, why });
        }
        if bytes.get(self.at) == Some(&b':') {
            self.at += 1;
            return Ok(Some(key));
        }
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return self.fail(Why::NoColon),
            None => return self.fail(Why::Ends),
        }
        Ok(Some(key))
    }

    /// Whether another element of the array that was entered follows; the array is left if none does.
    ///
    /// # Errors
    /// If neither an element nor the end of the array can follow.
    pub fn element(&mut self) -> Read<bool> {
        self.goes_on(b']')
    }

    /// Insists that nothing follows.
    ///
    /// # Errors
    /// If something does.
    pub fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail(Why::Trailing),
        }
    }

    fn goes_on(&mut self, close: u8) -> Read<bool> {
        let is_first = std::mem::take(&mut self.is_first);
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                if let Some(keys) = self.keys.as_mut().filter(|_| close == b'}') {
                    keys.leave();
                }
                Ok(false)
            }
            Some(_) if is_first => Ok(true),
            Some(b',') => {
                self.at += 1;
                match self.peek() {
                    Some(byte) if byte == close => self.fail(if close == b'}' { Why::NoKey } else { Why::NoValue }),
                    _ => Ok(true),
                }
            }
            Some(_) => self.fail(Why::NoComma),
            None => self.fail(Why::Ends),
        }
    }

    fn pass_object(&mut self) -> Read<usize> {
        self.enter()?;
        let mut count = 0;
        while self.key()?.is_some() {
            self.value()?;
            count += 1;
        }
        Ok(count)
    }

    fn pass_array(&mut self) -> Read<usize> {
        self.enter()?;
        let mut count = 0;
        while self.element()? {
            self.value()?;
            count += 1;
        }
        Ok(count)
    }

    #[inline]
    fn string(&mut self) -> Read<Text<'a>> {
        let start = self.at + 1;
        let (end, is_escaped) = string_end(self.text.as_bytes(), start)?;
        self.at = end + 1;
        Ok(Text { raw: &self.text[start..end], at: start, is_escaped })
    }

    fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        self.pass(b'-');
        if !self.pass(b'0') && self.digits() == 0 {
            return self.fail(Why::BadNumber);
        }
        if self.pass(b'.') && self.digits() == 0 {
            return self.fail(Why::BadNumber);
        }
        if self.pass(b'e') || self.pass(b'E') {
            let _signed = self.pass(b'+') || self.pass(b'-');
            if self.digits() == 0 {
                return self.fail(Why::BadNumber);
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn non_finite(&self, first: Option<u8>) -> Option<&'static str> {
        if !self.takes_non_finite || !matches!(first, Some(b'N' | b'I' | b'-')) {
            return None;
        }
        let rest = &self.text[self.at..];
        ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word))
    }

    fn pass(&mut self, byte: u8) -> bool {
        let is_there = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn digits(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Read<Value<'a>> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail(Why::NoValue);
        }
        self.at += word.len();
        Ok(value)
    }

    #[cold]
    fn fail<T>(&self, why: Why) -> Read<T> {
        Err(Malformed { at: self.at, why })
    }
}

#[cfg(test)]
mod tests;
