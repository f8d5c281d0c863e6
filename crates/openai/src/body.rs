//! What an error body says, whatever its shape: wrapped, flat, a bare string, `FastAPI`'s `detail`, a job's.

use provider::{Malformed, Reader, Text, Value, Why};

use crate::mark;

/// The states of a job that came back instead of its answer.
pub(crate) const JOB_STATES: [&str; 5] = ["IN_QUEUE", "IN_PROGRESS", "FAILED", "TIMED_OUT", "CANCELLED"];

/// The JSON shape of an error. Some statuses count only in the shape of the provider's own errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {…}}`
    Wrapped,
    /// `{"error": "…"}`
    Bare,
    /// `{"message": …}`
    Flat,
    /// `{"detail": …}`
    Detail,
    /// A web page.
    Page,
    /// No body.
    Empty,
    /// Anything else.
    #[default]
    Other,
}

/// What an error body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorBody {
    /// The form.
    pub shape: Shape,
    /// The message.
    pub message: Option<String>,
    /// The type, such as `BadRequestError`.
    pub kind: Option<String>,
    /// The field to blame.
    pub param: Option<String>,
    /// The code, if it is a text.
    pub code: Option<String>,
    /// The status that the body names, if any.
    pub status: Option<u16>,
    /// The state of a job that came back instead of an answer.
    pub job: Option<String>,
    /// The id of that job.
    pub job_id: Option<String>,
}

impl ErrorBody {
    /// Reads a body of any of the known shapes. Of a body that was cut, or is broken, what stands before the cut counts.
    pub fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(mark::without(body.trim_ascii_start()));
        let start = text.trim_ascii_start();
        match start.as_bytes().first() {
            None => Self { shape: Shape::Empty, ..Self::default() },
            Some(b'<') => Self { shape: Shape::Page, ..Self::default() },
            Some(_) => Self::read(start),
        }
    }

    fn read(text: &str) -> Self {
        let mut reader = Reader::new(text);
        if reader.peek() != Some(b'{') {
            return Self::default();
        }
        let mut outer = Self::default();
        let mut inner = None;
        // Where the reading stops, the body was cut.
        let _is_whole = outer.take_in(&mut reader, &mut inner).and_then(|()| reader.end());
        let Some(mut inner) = inner else { return outer };
        inner.status = inner.status.or(outer.status);
        (inner.job, inner.job_id) = (outer.job, outer.job_id);
        inner
    }

    /// Takes in the members of the object that comes next; its `error` becomes `inner`.
    fn take_in(&mut self, reader: &mut Reader<'_>, inner: &mut Option<Self>) -> Result<(), Malformed> {
        reader.enter()?;
        while let Some(key) = reader.key()? {
            match &*key.decoded() {
                "error" if reader.peek() == Some(b'{') => {
                    let error = inner.insert(Self::default());
                    let members = error.members(reader);
                    error.shape = Shape::Wrapped;
                    members?;
                }
                "error" => {
                    if let Some(text) = filled(reader.value()?) {
                        *inner = Some(Self { shape: Shape::Bare, message: Some(text), ..Self::default() });
                    }
                }
                name => self.see(name, reader)?,
            }
        }
        Ok(())
    }

    /// Takes in the members of the object that comes next.
    fn members(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        reader.enter()?;
        while let Some(key) = reader.key()? {
            self.see(&key.decoded(), reader)?;
        }
        Ok(())
    }

    fn see(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let start = reader.text();
        reader.peek();
        let at = reader.position();
        let value = match reader.value() {
            Ok(value) => value,
            Err(cut) => {
                if name == "message" && cut.why == Why::Ends {
                    self.message = start_of_text(&start[at..]);
                }
                return Err(cut);
            }
        };
        match name {
            "message" => {
                if let Some(message) = filled(value) {
                    (self.message, self.shape) = (Some(message), Shape::Flat);
                }
            }
            "detail" if self.message.is_none() && !value.is_empty() => {
                let detail = filled(value).unwrap_or_else(|| start[at..reader.position()].to_owned());
                (self.message, self.shape) = (Some(detail), Shape::Detail);
            }
            "err" if self.message.is_none() => {
                self.message = filled(value).map(|cause| format!("the upstream's worker failed: {cause}"));
            }
            "type" => self.kind = filled(value),
            "param" => self.param = filled(value).and_then(|path| field(&path)),
            "code" => {
                self.status = status(value).or(self.status);
                self.code = filled(value).filter(|code| code.parse::<u16>().is_err());
            }
            "status_code" => self.status = self.status.or(status(value)),
            "status" => {
                self.status = self.status.or_else(|| value.number().and_then(|_| status(value)));
                self.job = filled(value).filter(|state| JOB_STATES.contains(&state.as_str()));
            }
            "id" => self.job_id = filled(value),
            _ => {}
        }
        Ok(())
    }

    /// Whether the message holds `phrase`.
    pub(crate) fn mentions(&self, phrase: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains(phrase))
    }

    /// Whether the message is `text` and nothing else.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.trim().eq_ignore_ascii_case(text))
    }

    /// Whether the code or the type is one of `words`.
    pub(crate) fn is_called(&self, words: &[&str]) -> bool {
        [&self.code, &self.kind].into_iter().flatten().any(|name| words.contains(&name.as_str()))
    }
}

fn filled(value: Value<'_>) -> Option<String> {
    value.text().filter(|text| !text.raw.is_empty()).map(|text| text.decoded().into_owned())
}

/// What a text says whose end was cut off, marked as such: it is never the whole of a message that is known.
fn start_of_text(raw: &str) -> Option<String> {
    let raw = raw.strip_prefix('"')?;
    let text = Text { raw, at: 0, is_escaped: true };
    Some(format!("{}…", text.decoded()))
}

/// The field in `FastAPI`'s path to it, if the path leads to one and not to an offset in the text.
fn field(path: &str) -> Option<String> {
    let field = path.strip_prefix("body.").unwrap_or(path);
    let is_field = field != "body" && !field.bytes().all(|byte| byte.is_ascii_digit());
    is_field.then(|| field.to_owned())
}

fn status(value: Value<'_>) -> Option<u16> {
    let number = value.count().or_else(|| value.text()?.raw.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}
