//! The mistakes in a file of settings: all at once, each with its path.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, such as `upstreams[0].workers.max`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Why a file of settings was refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not TOML, or holds an unknown key or a value of the wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Values that cannot be.
    #[error("{}", Lines(.0))]
    Mistakes(Vec<Mistake>),
}

struct Lines<'a>(&'a [Mistake]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            let newline = if number > 0 { "\n" } else { "" };
            write!(f, "{newline}{}: {}", mistake.path, mistake.message)?;
        }
        Ok(())
    }
}

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(crate) fn note(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Mistake { path: path.into(), message: message.into() });
    }

    /// A number above zero.
    pub(crate) fn positive(&mut self, path: &str, value: f64) -> f64 {
        if !(value.is_finite() && value > 0.0) {
            self.note(path, format!("must be a number above 0, not {value}"));
        }
        value
    }

    /// Zero or a number above.
    pub(crate) fn not_negative(&mut self, path: &str, value: f64) -> f64 {
        if !(value.is_finite() && value >= 0.0) {
            self.note(path, format!("must be 0 or more, not {value}"));
        }
        value
    }

    /// `value`, unless there were mistakes.
    pub(crate) fn end<T>(self, value: T) -> Result<T, SettingsError> {
        if self.0.is_empty() { Ok(value) } else { Err(SettingsError::Mistakes(self.0)) }
    }
}
