//! Takes values out of untyped tables and notes everything that does not fit.
//!
//! `None` from a reader means "not there, or wrong and reported": callers put in the default and go on, because a
//! configuration with a single problem is refused as a whole.

use std::{cell::RefCell, collections::HashMap, fmt::Display, ops::RangeInclusive, time::Duration};

use ::config::{Value, ValueKind};

use super::{
    Secrets,
    env::{self, Env, ExpandError},
    problem::{Problem, did_you_mean},
};

/// What lasts as long as one reading.
pub(super) struct Context<'a> {
    env: Env<'a>,
    pub(super) secrets: Secrets,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(env: Env<'a>, secrets: Secrets) -> Self {
        Self { env, secrets, problems: RefCell::default() }
    }

    /// A variable of the environment; an empty one counts as unset.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A table whose keys are taken out one by one.
pub(super) struct Table<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) path: String,
    entries: HashMap<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn root(context: &'a Context<'a>, entries: HashMap<String, Value>) -> Self {
        Self { context, path: String::new(), entries, known: Vec::new() }
    }

    /// The path of a key in this table.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        let path = env::overridden_by(&value).map_or_else(|| self.at(key), str::to_owned);
        Some(Item { context: self.context, path, kind: value.kind })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        self.take(key)?.text()
    }

    /// A string that must be there; `expected` completes "expected: ".
    pub(super) fn required(&mut self, key: &'static str, expected: &str) -> Option<Text<'a>> {
        let Some(item) = self.take(key) else {
            self.context.report(Problem::new(self.at(key), "missing", expected));
            return None;
        };
        item.text()
    }

    pub(super) fn int<T: TryFrom<u64>>(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<T> {
        self.take(key)?.int(&range)
    }

    /// A number of milliseconds, from 1 to an hour.
    pub(super) fn millis(&mut self, key: &'static str) -> Option<Duration> {
        self.int(key, 1..=3_600_000).map(Duration::from_millis)
    }

    /// A number of seconds, from `least` to a day.
    pub(super) fn seconds(&mut self, key: &'static str, least: u64) -> Option<Duration> {
        self.int(key, least..=86_400).map(Duration::from_secs)
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(Item::flag).unwrap_or(default)
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.take(key)?.table()
    }

    /// An array of tables; empty if absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let items = self.take(key).and_then(|item| item.list("an array of tables")).unwrap_or_default();
        items.into_iter().filter_map(Item::table).collect()
    }

    /// Reports every key that nobody took.
    pub(super) fn finish(mut self) {
        let mut unknown: Vec<String> = self.entries.drain().map(|(key, _)| key).collect();
        unknown.sort();
        for key in unknown {
            let problem = if looks_secret(&key) {
                Problem::new(self.at(&key), "a secret does not belong in this file", "no secrets in clear")
                    .hint(self.where_secrets_go())
            } else {
                let section = if self.path.is_empty() { "the file" } else { &self.path };
                let expected = format!("a key of {section}: {}", self.known.join(", "));
                let hint = did_you_mean(&key, self.known.iter().copied());
                Problem { hint, ..Problem::new(self.at(&key), "unknown key", expected) }
            };
            self.context.report(problem);
        }
    }

    fn where_secrets_go(&self) -> &'static str {
        if self.path.starts_with("keys") {
            "write sha256 = \"<SHA-256 of the key, in hex>\", or env = \"<name of a variable that holds the key>\""
        } else if self.path.starts_with("upstreams") {
            "put it in the environment and write api_key_env = \"<name of the variable>\", or in a file and write \
             api_key_file = \"<path>\""
        } else {
            "put it in the environment; client keys belong under [[keys]] as sha256 or env, upstream keys under \
             [[upstreams]] as api_key_env or api_key_file"
        }
    }
}

/// Whether a key of this name would hold a secret.
fn looks_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    ["key", "api_key", "apikey", "token", "api_token", "secret", "password", "bearer", "authorization"]
        .contains(&key.as_str())
}

/// A value of yet unknown type.
pub(super) struct Item<'a> {
    context: &'a Context<'a>,
    path: String,
    kind: ValueKind,
}

impl<'a> Item<'a> {
    /// Reports the value and shows it.
    pub(super) fn refuse<T>(
        &self,
        fault: impl Into<String>,
        expected: impl Display,
        hint: Option<String>,
    ) -> Option<T> {
        let value = match &self.kind {
            ValueKind::String(text) => quoted(text),
            ValueKind::Table(_) => "a table".to_owned(),
            ValueKind::Array(_) => "an array".to_owned(),
            ValueKind::Float(number) => format!("{number:?}"),
            other => other.to_string(),
        };
        let problem = Problem::new(&self.path, fault, expected.to_string()).value(value);
        self.context.report(Problem { hint, ..problem });
        None
    }

    /// Reports the key without its value.
    pub(super) fn refuse_hidden(&self, fault: &str, expected: &str, hint: Option<String>) {
        self.context.report(Problem { hint, ..Problem::new(&self.path, fault, expected) });
    }

    /// A string, with `${VAR}` replaced.
    pub(super) fn text(self) -> Option<Text<'a>> {
        let ValueKind::String(raw) = &self.kind else {
            return self.refuse("is not a string", "a string in quotes", None);
        };
        let value = match env::expand(raw, |name| self.context.var(name)) {
            Ok(value) => value,
            Err(ExpandError::Malformed) => {
                let hint = Some("write $${ for a literal ${".to_owned());
                return self.refuse("has a malformed ${VAR}", "${VAR} with the name of a variable in capitals", hint);
            }
            Err(ExpandError::Unset(name)) => {
                let fault = format!("names the environment variable {name}, which is not set");
                return self.refuse(fault, "a variable with a value", Some(format!("export {name}=…")));
            }
        };
        Some(Text { context: self.context, path: self.path, raw: raw.clone(), value })
    }

    /// An amount of money, which must be a string to be exact.
    pub(super) fn amount(self) -> Option<Text<'a>> {
        match &self.kind {
            ValueKind::Float(_) | ValueKind::I64(_) => {
                let hint = "put it in quotes: a price is kept exact, and a TOML float is not".to_owned();
                self.refuse("is a number", "a price as a string, such as \"0.10\"", Some(hint))
            }
            _ => self.text(),
        }
    }

    pub(super) fn int<T: TryFrom<u64>>(self, range: &RangeInclusive<u64>) -> Option<T> {
        let (least, most) = (range.start(), range.end());
        let expected = format!("a whole number from {least} to {most}");
        let ValueKind::I64(number) = self.kind else {
            let hint = matches!(self.kind, ValueKind::String(_)).then(|| "numbers take no quotes".to_owned());
            return self.refuse("is not a whole number", expected, hint);
        };
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => self.refuse("is out of range", expected, None),
        }
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(self) -> Option<f64> {
        let number = match self.kind {
            ValueKind::Float(number) => number,
            ValueKind::I64(0) => 0.0,
            ValueKind::I64(1) => 1.0,
            _ => -1.0,
        };
        if (0.0..=1.0).contains(&number) {
            return Some(number);
        }
        self.refuse("is not a share", "a number from 0 to 1", None)
    }

    pub(super) fn flag(self) -> Option<bool> {
        match self.kind {
            ValueKind::Boolean(flag) => Some(flag),
            _ => self.refuse("is neither true nor false", "true or false, without quotes", None),
        }
    }

    pub(super) fn list(self, expected: &str) -> Option<Vec<Item<'a>>> {
        let ValueKind::Array(values) = self.kind else {
            return self.refuse("is not an array", expected, None);
        };
        let item = |(index, value): (usize, Value)| Item {
            context: self.context,
            path: format!("{}[{index}]", self.path),
            kind: value.kind,
        };
        Some(values.into_iter().enumerate().map(item).collect())
    }

    pub(super) fn table(self) -> Option<Table<'a>> {
        let ValueKind::Table(entries) = self.kind else {
            return self.refuse("is not a table", "a table", None);
        };
        Some(Table { context: self.context, path: self.path, entries, known: Vec::new() })
    }
}

/// A string. Reports show it as written: what `${VAR}` stands for may be confidential.
pub(super) struct Text<'a> {
    context: &'a Context<'a>,
    path: String,
    raw: String,
    pub(super) value: String,
}

impl Text<'_> {
    /// The string as written in the file.
    pub(super) fn raw(&self) -> &str {
        &self.raw
    }

    /// Reports the string and shows it.
    pub(super) fn refuse<T>(
        &self,
        fault: impl Into<String>,
        expected: impl Into<String>,
        hint: Option<String>,
    ) -> Option<T> {
        let problem = Problem::new(&self.path, fault, expected).value(quoted(&self.raw));
        self.context.report(Problem { hint, ..problem });
        None
    }

    /// Reports the string without showing it: it may be a secret.
    pub(super) fn refuse_hidden<T>(&self, fault: &str, expected: &str, hint: &str) -> Option<T> {
        self.context.report(Problem::new(&self.path, fault, expected).value("the value").hint(hint));
        None
    }

    /// The choice with this name; `what` completes "is not ".
    pub(super) fn choice<T: Copy>(&self, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == self.value) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.refuse(format!("is not {what}"), any_of(&names), did_you_mean(&self.value, names))
    }

    /// A name fit for logs, metric labels and URLs.
    pub(super) fn name(self) -> Option<String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&self.value.len()) && self.value.bytes().all(allowed) {
            return Some(self.value);
        }
        self.refuse("is not a plain name", "1 to 64 letters, digits, dots, dashes and underscores", None)
    }
}

/// `a, b or c`
pub(super) fn any_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `text` in quotes, shortened.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= 80 {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(77).collect();
    format!("{:?}", head + "…")
}
