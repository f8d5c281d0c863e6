//! A value as the reader found it.

use super::Text;

/// A value; of arrays and objects only how much is in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A string.
    Text(Text<'a>),
    /// An array and the number of its elements.
    Array(usize),
    /// An object and the number of its members, repeated ones included.
    Object(usize),
}

impl<'a> Value<'a> {
    /// The whole number from 0 on that it is; `None` for anything else, `1.0` and `1e3` included.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The number that it is.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    /// The string that it is.
    pub fn text(&self) -> Option<Text<'a>> {
        match self {
            Self::Text(text) => Some(*text),
            _ => None,
        }
    }

    /// Whether it holds nothing: null, or an empty string, array or object.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Null | Self::Array(0) | Self::Object(0) => true,
            Self::Text(text) => text.raw.is_empty(),
            Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => false,
        }
    }
}
