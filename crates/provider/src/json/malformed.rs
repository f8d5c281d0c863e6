//! What is wrong with a text that should be JSON, or with a request that is.

use std::fmt;

/// Why a text is not JSON, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The byte at which the text stops being JSON.
    pub at: usize,
    /// What is wrong there.
    pub why: Why,
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It ends too early.
    Ends,
    /// A value should stand there.
    NoValue,
    /// A key in quotes should stand there.
    NoKey,
    /// A colon should stand there.
    NoColon,
    /// A comma or the closing bracket should stand there.
    NoComma,
    /// A number is written in a way that JSON does not have.
    BadNumber,
    /// An escape in a string is none.
    BadEscape,
    /// A control character stands in a string.
    ControlCharacter,
    /// More levels than there may be.
    TooDeep,
    /// Something follows the value.
    Trailing,
    /// A key of a request appears a second time in its object.
    Twice,
    /// An object of a request has more keys than it may.
    TooManyKeys,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Ends => "it ends too early",
            Why::NoValue => "expected a value",
            Why::NoKey => "expected a field name in quotes",
            Why::NoColon => "expected a colon",
            Why::NoComma => "expected a comma or a closing bracket",
            Why::BadNumber => "expected a number",
            Why::BadEscape => "expected an escape such as \\n or \\u00e9 behind the backslash",
            Why::ControlCharacter => "a control character in a string must be written as an escape",
            Why::TooDeep => "it is nested too deeply",
            Why::Trailing => "something follows the closing bracket",
            Why::Twice => "a field appears a second time in its object",
            Why::TooManyKeys => "an object has too many fields",
        };
        write!(f, "{why} at byte {}", self.at)
    }
}

impl std::error::Error for Malformed {}
