//! A problem of a configuration, reported as a compiler does: where, what, what was expected, what to try.

use std::{error::Error, fmt};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key to blame, such as `upstreams[1].cost.kind`; an environment variable's name if the value came from there;
    /// empty if the whole file is to blame.
    pub path: String,
    /// The value found, as written in the file. Never a secret.
    pub value: Option<String>,
    /// What is wrong with it, such as `is not a kind of cost` or `missing`.
    pub fault: String,
    /// What was expected.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at `path`, without a value or a hint.
    pub fn new(path: impl Into<String>, fault: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: path.into(), value: None, fault: fault.into(), message: expected.into(), hint: None }
    }

    /// The same with the value found. The caller says that it is no secret.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same with what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value} ")?;
        }
        write!(f, "{}\n  expected: {}", self.fault, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with one configuration, in the order of its sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub origin: String,
    /// What is wrong with it; never empty.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{}: {problem}", self.origin)?;
        }
        Ok(())
    }
}

impl Error for Problems {}

/// Says where a file is not TOML. The parser's own text quotes the line, which may hold a secret, so it is cut out.
pub(crate) fn syntax(error: &config::ConfigError) -> Problem {
    let text = error.to_string();
    let quoted = |line: &&str| line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()).starts_with('|');
    let kept: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !quoted(line)).collect();
    Problem::new("", kept.join(": "), "valid TOML").hint("strings need quotes, and a key may appear once in its table")
}

/// The one of `names` that was probably meant.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    names
        .into_iter()
        .map(|name| (strsim::osa_distance(&wrong, &name.to_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len().max(wrong.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// `did you mean "…"?` if one of `names` is close.
pub(crate) fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, names).map(|name| format!("did you mean \"{name}\"?"))
}
