//! Single values: their types and ranges.

use std::{cell::Cell, fmt::Display, ops::RangeInclusive, time::Duration};

use config::{Value, ValueKind};

use crate::{
    env::{self, ExpandError},
    problem::{Problem, did_you_mean},
    reader::{Context, Table},
};

/// A value of yet unknown type. Every reader reports a value of another type, or out of its range, and returns `None`.
pub struct Item<'a> {
    context: &'a Context<'a>,
    path: String,
    kind: ValueKind,
}

impl<'a> Item<'a> {
    pub(crate) fn new(context: &'a Context<'a>, path: String, value: Value) -> Self {
        Self { context, path, kind: value.kind }
    }

    /// Reports the value and shows it: `fault` says what is wrong with it, `expected` what would not be, `hint` what to try.
    pub fn refuse<T>(&self, fault: impl Into<String>, expected: impl Display, hint: Option<String>) -> Option<T> {
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

    /// A string, with `${VAR}` replaced.
    pub fn text(self) -> Option<Text<'a>> {
        let context = self.context;
        self.expanded(|name| context.var(name))
    }

    /// A string that says where an upstream or a secret is, or what an upstream calls its model, see
    /// [`Context::location_var`].
    pub(crate) fn location_text(self) -> Option<Text<'a>> {
        let context = self.context;
        let is_complete = Cell::new(true);
        let text = self.expanded(|name| {
            let value = context.var(name);
            is_complete.set(is_complete.get() && value.is_some());
            value.or_else(|| context.location_stand_in(name))
        })?;
        Some(Text { is_complete: is_complete.get(), ..text })
    }

    fn expanded(self, lookup: impl Fn(&str) -> Option<String>) -> Option<Text<'a>> {
        let ValueKind::String(raw) = &self.kind else {
            return self.refuse("is not a string", "a string in quotes", None);
        };
        let value = match env::expand(raw, lookup) {
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
        Some(Text { context: self.context, path: self.path, raw: raw.clone(), value, is_complete: true })
    }

    /// An amount of money, which must be a string to be exact.
    pub fn amount(self) -> Option<Text<'a>> {
        match &self.kind {
            ValueKind::Float(_) | ValueKind::I64(_) => {
                let hint = "put it in quotes: a price is kept exact, and a TOML float is not".to_owned();
                self.refuse("is a number", "a price as a string, such as \"0.10\"", Some(hint))
            }
            _ => self.text(),
        }
    }

    /// A whole number within `range`, which `T` holds.
    pub fn int<T: TryFrom<u64>>(self, range: &RangeInclusive<u64>) -> Option<T> {
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
    pub fn fraction(self) -> Option<f64> {
        let number = self.number();
        if (0.0..=1.0).contains(&number) {
            return Some(number);
        }
        let percent = (2.0..=100.0).contains(&number).then(|| format!("{number} % is {}", number / 100.0));
        self.refuse("is not a share", "a number from 0 to 1", percent)
    }

    /// A number above 0 and at most 100.
    pub fn percent(self) -> Option<f64> {
        let number = self.number();
        if number > 0.0 && number <= 100.0 {
            return Some(number);
        }
        self.refuse("is no such percentage", "a number above 0, and at most 100", None)
    }

    /// Seconds, from a tenth to a day.
    pub fn fine_seconds(self) -> Option<Duration> {
        let number = self.number();
        if (0.1..=86_400.0).contains(&number) {
            return Some(Duration::from_secs_f64(number));
        }
        self.refuse("is no such time", "a number of seconds from 0.1 to 86400", None)
    }

    /// Whole seconds, from none to `most`, which is the value of the key `limit`.
    pub fn seconds_up_to(self, most: Duration, limit: &str) -> Option<Duration> {
        if let ValueKind::I64(number) = self.kind
            && u64::try_from(number).is_ok_and(|seconds| seconds > most.as_secs())
        {
            let expected = format!("at most {}, the value of {limit}", most.as_secs());
            return self.refuse(format!("is longer than {limit}"), expected, None);
        }
        self.int(&(0..=most.as_secs())).map(Duration::from_secs)
    }

    /// A number that is not negative; anything else is -1.
    fn number(&self) -> f64 {
        match self.kind {
            ValueKind::Float(number) => number,
            ValueKind::I64(number) => i32::try_from(number).map_or(-1.0, f64::from),
            _ => -1.0,
        }
    }

    /// `true` or `false`.
    pub fn flag(self) -> Option<bool> {
        match self.kind {
            ValueKind::Boolean(flag) => Some(flag),
            _ => self.refuse("is neither true nor false", "true or false, without quotes", None),
        }
    }

    /// An array; `expected` says of what.
    pub fn list(self, expected: &str) -> Option<Vec<Item<'a>>> {
        let ValueKind::Array(values) = self.kind else {
            return self.refuse("is not an array", expected, None);
        };
        let item = |(index, value)| Self::new(self.context, format!("{}[{index}]", self.path), value);
        Some(values.into_iter().enumerate().map(item).collect())
    }

    /// The strings of an array. One string holds them with commas in between, as a variable does.
    pub fn words(self, expected: &str) -> Option<Vec<Text<'a>>> {
        if !matches!(self.kind, ValueKind::String(_)) {
            return self.list(expected)?.into_iter().map(Item::text).collect();
        }
        let all = self.text()?;
        let word = |value: &str| Text { value: value.to_owned(), ..all.clone() };
        Some(all.value.split(',').map(str::trim).filter(|value| !value.is_empty()).map(word).collect())
    }

    /// A table.
    pub fn table(self) -> Option<Table<'a>> {
        let ValueKind::Table(entries) = self.kind else {
            return self.refuse("is not a table", "a table", None);
        };
        Some(Table::new(self.context, self.path, entries))
    }
}

/// A string. Reports show it as written: what `${VAR}` stands for may be confidential.
#[derive(Clone)]
pub struct Text<'a> {
    context: &'a Context<'a>,
    path: String,
    raw: String,
    /// The string with every `${VAR}` replaced.
    pub value: String,
    /// Whether every variable in it is set; else the name of one stands in the value.
    pub(crate) is_complete: bool,
}

impl Text<'_> {
    /// Whether it comes from the environment instead of the file.
    pub(crate) fn is_override(&self) -> bool {
        self.path.starts_with("LLM_ROUTER__")
    }

    /// The string as written in the file.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Reports the string and shows it as written: `fault` says what is wrong with it, `expected` what would not be, `hint`
    /// what to try.
    pub fn refuse<T>(&self, fault: impl Into<String>, expected: impl Into<String>, hint: Option<String>) -> Option<T> {
        let problem = Problem::new(&self.path, fault, expected).value(quoted(&self.raw));
        self.context.report(Problem { hint, ..problem });
        None
    }

    /// Reports the string without showing it: it may be a secret.
    pub fn refuse_hidden<T>(&self, fault: &str, expected: &str, hint: &str) -> Option<T> {
        self.context.report(Problem::new(&self.path, fault, expected).value("the value").hint(hint));
        None
    }

    /// The choice with this name; `what` completes "is not ".
    pub fn choice<T: Copy>(&self, what: &str, choices: &[(&'static str, T)]) -> Option<T> {
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == self.value) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.refuse(format!("is not {what}"), any_of(&names), did_you_mean(&self.value, names))
    }

    /// A name fit for logs, metric labels and URLs.
    pub fn name(self) -> Option<String> {
        if is_plain_name(&self.value) {
            return Some(self.value);
        }
        self.refuse("is not a plain name", PLAIN_NAME, None)
    }
}

/// What [`is_plain_name`] expects.
const PLAIN_NAME: &str = "1 to 64 letters, digits, dots, dashes and underscores";

/// Whether a configuration takes a text as a name.
pub fn is_plain_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a model could have this name: 1 to 128 visible ASCII characters.
pub(crate) fn is_model_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `a, b or c`
pub(crate) fn any_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `text` in quotes, shortened.
pub(crate) fn quoted(text: &str) -> String {
    if text.chars().count() <= 80 {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(77).collect();
    format!("{:?}", head + "…")
}
