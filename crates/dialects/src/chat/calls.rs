//! Which call of a stream a piece of one belongs to. OpenAI numbers its calls and gives each an id in its first piece; others
//! do not keep to that:
//!
//! - All calls have the number 0 and ids of their own, each in one piece (Ollama, <https://github.com/ollama/ollama/issues/15457>;
//!   Dynamo, <https://github.com/ai-dynamo/dynamo/pull/4723>) or in several (`lmdeploy` shows some,
//!   <https://github.com/InternLM/lmdeploy/issues/3412>).
//! - Every piece has an id of its own, and some servers repeat the name in each (vLLM for a forced call and for gpt-oss,
//!   <https://github.com/vllm-project/vllm/pull/23522>; Poolside, <https://github.com/poolsideai/pool/issues/9>).
//! - There are no numbers at all (older Ollama, <https://github.com/ollama/ollama/issues/7881>).
//!
//! So what decides is what all of them have in common: another call has a name, and the one before is complete by then.

use std::collections::BTreeMap;

use provider::Text;

use super::{Arguments, ToolCall, write};

/// Memory for a call beside its texts, in bytes.
const CALL: usize = 256;

/// The calls of a stream, in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    all: Vec<Call>,
    /// The call of each number, the latest if there are several.
    numbered: BTreeMap<u64, usize>,
    held_bytes: usize,
}

/// A call, as far as it has come. Its texts are as they stand between their quotes.
#[derive(Debug, Default)]
struct Call {
    id: Vec<u8>,
    name: Vec<u8>,
    arguments: Progress,
    /// Whether it may be nothing but an empty last piece of the call before, with an id of its own.
    is_doubtful: bool,
}

impl Calls {
    /// Takes in a piece; returns the position of its call, which is one more than the last if it begins another.
    pub(crate) fn take(&mut self, piece: &ToolCall<'_>) -> usize {
        let known = match piece.index {
            Some(index) => self.numbered.get(&index).copied(),
            None => self.all.len().checked_sub(1),
        };
        let at = known.filter(|at| self.all[*at].goes_on_with(piece)).unwrap_or_else(|| self.begin(piece, known));
        let call = &mut self.all[at];
        for (own, given) in [(&mut call.id, piece.id), (&mut call.name, piece.name)] {
            if let Some(given) = given.filter(|_| own.is_empty()) {
                write::copied(own, given);
                self.held_bytes += own.len();
            }
        }
        call.arguments.take(piece.arguments);
        at
    }

    fn begin(&mut self, piece: &ToolCall<'_>, before: Option<usize>) -> usize {
        let is_doubtful = before.is_some_and(|before| self.all[before].is_called(piece.name));
        let at = self.all.len();
        self.all.push(Call { is_doubtful, ..Call::default() });
        self.held_bytes += CALL;
        if let Some(index) = piece.index {
            self.numbered.insert(index, at);
        }
        at
    }

    /// The id of the call at a position; empty if it has none yet.
    pub(crate) fn id(&self, at: usize) -> &[u8] {
        &self.all[at].id
    }

    /// The name of its tool; empty if it has none yet.
    pub(crate) fn name(&self, at: usize) -> &[u8] {
        &self.all[at].name
    }

    /// Whether it is certain that there is such a call.
    pub(crate) fn is_certain(&self, at: usize) -> bool {
        !self.all[at].is_doubtful || self.all[at].arguments.state != State::Empty
    }

    /// Whether its arguments are a whole JSON object: nothing of it is missing.
    pub(crate) fn is_complete(&self, at: usize) -> bool {
        self.all[at].arguments.state == State::Complete
    }

    /// The bytes of memory that they take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }
}

impl Call {
    fn is_called(&self, name: Option<Text<'_>>) -> bool {
        name.is_some_and(|name| written(name) == self.name)
    }

    /// Whether `piece`, which has the number of this call, belongs to it.
    fn goes_on_with(&self, piece: &ToolCall<'_>) -> bool {
        if piece.name.is_none() || self.name.is_empty() {
            return true;
        }
        if piece.id.is_some_and(|id| written(id) == self.id) {
            return true;
        }
        if !self.is_called(piece.name) {
            return false;
        }
        let mut more = Progress::default();
        more.take(piece.arguments);
        self.arguments.state != State::Complete || piece.id.is_none() && more.state == State::Empty
    }
}

fn written(text: Text<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write::copied(&mut out, text);
    out
}

/// How far the arguments of a call have come.
#[derive(Debug, Default)]
struct Progress {
    state: State,
    /// How many arrays and objects are open.
    depth: u32,
    is_in_string: bool,
    is_behind_backslash: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// There is nothing but white space.
    #[default]
    Empty,
    /// They are a JSON object so far.
    Open,
    /// They are a whole one.
    Complete,
    /// They are none.
    Spoilt,
}

impl Progress {
    fn take(&mut self, arguments: Arguments<'_>) {
        match arguments {
            Arguments::None => {}
            Arguments::Object(raw) => raw.bytes().for_each(|byte| self.byte(byte)),
            Arguments::Text(text) if text.is_escaped => unescaped(text.raw).for_each(|byte| self.byte(byte)),
            Arguments::Text(text) => text.raw.bytes().for_each(|byte| self.byte(byte)),
        }
    }

    fn byte(&mut self, byte: u8) {
        if self.is_in_string {
            match byte {
                _ if self.is_behind_backslash => self.is_behind_backslash = false,
                b'\\' => self.is_behind_backslash = true,
                b'"' => self.is_in_string = false,
                _ => {}
            }
            return;
        }
        if byte.is_ascii_whitespace() {
            return;
        }
        self.state = match (self.state, byte) {
            (State::Empty, b'{') | (State::Open, _) => State::Open,
            // Something that begins as no object, or goes on behind one.
            (State::Empty | State::Complete | State::Spoilt, _) => State::Spoilt,
        };
        match byte {
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.state == State::Open && self.depth == 0 {
            self.state = State::Complete;
        }
    }
}

/// The bytes that a string says, by what they mean for the structure of JSON: a character that is written by its number is a
/// letter unless it is a quote, a backslash or a bracket.
fn unescaped(raw: &str) -> impl Iterator<Item = u8> {
    let mut rest = raw.bytes();
    std::iter::from_fn(move || {
        let byte = rest.next()?;
        if byte != b'\\' {
            return Some(byte);
        }
        Some(match rest.next()? {
            b'n' | b'r' | b't' => b' ',
            b'b' | b'f' => b'x',
            b'u' => {
                let digits: Vec<u8> = rest.by_ref().take(4).collect();
                let number = str::from_utf8(&digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok());
                number.filter(u8::is_ascii).unwrap_or(b'x')
            }
            itself => itself,
        })
    })
}

#[cfg(test)]
mod tests;
