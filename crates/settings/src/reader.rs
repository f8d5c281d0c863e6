//! Takes values out of untyped tables and records everything that does not fit. [`read_file`] and [`read_text`] read a file
//! of one's own in this way.
//!
//! `None` from a reader means "not there, or wrong and reported": callers put in the default and go on, because a file with
//! a single problem is refused as a whole.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use config::{Source, Value};

pub use crate::value::{Item, Text};
use crate::{
    Problems, Secrets,
    env::{self, Env},
    problem::{self, Problem, did_you_mean},
    sources,
};

/// Reads the TOML file at `path` with `read`, which gets its outermost table, finishes it, and reports a problem if it
/// returns `None`. `env` is asked for the variables in a `${…}`; `hint` says where to find the file if it is missing.
///
/// # Errors
/// With everything that is wrong with the file, or why it cannot be read.
pub fn read_file<T>(
    path: &Path,
    env: Env<'_>,
    hint: &str,
    read: impl FnOnce(Table<'_>) -> Option<T>,
) -> Result<T, Problems> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error, hint))?;
    read_text(&text, &path.display().to_string(), env, read)
}

/// As [`read_file`], for the `text` of a file that reports call `origin`.
///
/// # Errors
/// With everything that is wrong with the text.
pub fn read_text<T>(
    text: &str,
    origin: &str,
    env: Env<'_>,
    read: impl FnOnce(Table<'_>) -> Option<T>,
) -> Result<T, Problems> {
    let fail = |list| Problems { origin: origin.to_owned(), list };
    let context = Context::new(env, Secrets::Required);
    let entries = entries(text).map_err(|problem| fail(vec![problem]))?;
    let value = read(Table::new(&context, String::new(), entries));
    let (problems, _) = context.finish();
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(fail(problems)),
    }
}

/// The outermost table of `text`, which is TOML.
pub(crate) fn entries(text: &str) -> Result<HashMap<String, Value>, Problem> {
    // Not merged by the crate's builder: it takes a quoted key such as "server.listen" or "a[99999999]" for a path.
    let file = config::File::from_str(text, config::FileFormat::Toml);
    file.collect().map_err(|error| problem::syntax(&error))
}

pub(crate) fn unreadable(path: &Path, error: &dyn std::fmt::Display, hint: &str) -> Problems {
    let problem = Problem::new("", format!("cannot be read: {error}"), "a TOML file").hint(hint);
    Problems { origin: path.display().to_string(), list: vec![problem] }
}

/// What lasts as long as one reading: the environment, and the problems found so far.
pub struct Context<'a> {
    env: Env<'a>,
    secrets: Secrets,
    problems: RefCell<Vec<Problem>>,
    /// The files with secrets that were looked at.
    files: RefCell<BTreeMap<PathBuf, Option<[u8; 32]>>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(env: Env<'a>, secrets: Secrets) -> Self {
        Self { env, secrets, problems: RefCell::default(), files: RefCell::default() }
    }

    /// The environment.
    pub(crate) fn env(&self) -> Env<'a> {
        self.env
    }

    /// What a file with a secret says; `None` where secrets are ignored.
    pub(crate) fn read_secret(&self, path: &str) -> Option<io::Result<String>> {
        if self.secrets == Secrets::Ignored {
            return None;
        }
        let contents = fs::read_to_string(path);
        self.files.borrow_mut().insert(path.into(), contents.as_ref().ok().map(sources::mark));
        Some(contents)
    }

    /// A variable of the environment that holds a secret; `None` where secrets are ignored.
    pub(crate) fn secret_var(&self, name: &str) -> Option<String> {
        if self.secrets == Secrets::Ignored { None } else { self.var(name) }
    }

    /// Whether a secret that cannot be found is a problem.
    pub(crate) fn needs_secrets(&self) -> bool {
        self.secrets == Secrets::Required
    }

    /// A variable that says where an upstream or a secret is, or what an upstream calls its model.
    pub(crate) fn location_var(&self, name: &str) -> Option<String> {
        self.var(name).or_else(|| self.location_stand_in(name))
    }

    /// What stands for such a variable that is not set: its own name where secrets are ignored, because nobody is called
    /// then.
    pub(crate) fn location_stand_in(&self, name: &str) -> Option<String> {
        (self.secrets == Secrets::Ignored).then(|| name.to_owned())
    }

    /// A variable of the environment; an empty one counts as unset.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.trim().is_empty())
    }

    /// Notes a problem. They are shown in the order in which they are noted.
    pub fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// How many problems there are so far.
    pub(crate) fn problems(&self) -> usize {
        self.problems.borrow().len()
    }

    /// All problems, and the files with secrets that were read.
    pub(crate) fn finish(self) -> (Vec<Problem>, BTreeMap<PathBuf, Option<[u8; 32]>>) {
        (self.problems.into_inner(), self.files.into_inner())
    }
}

/// A table whose keys are taken out one by one. [`Table::finish`] reports those that nobody took.
pub struct Table<'a> {
    pub(crate) context: &'a Context<'a>,
    /// Its place in the file, such as `upstreams[1]`; empty for the outermost table.
    pub(crate) path: String,
    entries: HashMap<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(context: &'a Context<'a>, path: String, entries: HashMap<String, Value>) -> Self {
        Self { context, path, entries, known: Vec::new() }
    }

    /// Where problems go, for those that no value of this table reports by itself.
    pub fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// The path of a key in this table, as a [`Problem`] names it.
    pub fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the key is there and nobody has taken it.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The value of a key, if it is there. A key that was taken is known, whether it is there or not.
    pub fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        let path = env::overridden_by(&value).map_or_else(|| self.at(key), str::to_owned);
        Some(Item::new(self.context, path, value))
    }

    /// Everything that is left, by key: for tables whose keys are the user's own.
    pub fn take_rest(&mut self) -> Vec<(String, Item<'a>)> {
        let mut rest: Vec<_> = self.entries.drain().collect();
        rest.sort_by(|(one, _), (other, _)| one.cmp(other));
        let item = |(key, value): (String, Value)| {
            let item = Item::new(self.context, self.at(&key), value);
            (key, item)
        };
        rest.into_iter().map(item).collect()
    }

    /// A string, with `${VAR}` replaced.
    pub fn text(&mut self, key: &'static str) -> Option<Text<'a>> {
        self.take(key)?.text()
    }

    /// A string that says where an upstream or a secret is, see [`Context::location_var`].
    pub(crate) fn location_text(&mut self, key: &'static str) -> Option<Text<'a>> {
        self.take(key)?.location_text()
    }

    /// A string that must be there; `expected` completes "expected: ".
    pub fn required(&mut self, key: &'static str, expected: &str) -> Option<Text<'a>> {
        self.required_item(key, expected)?.text()
    }

    /// A value that must be there.
    pub(crate) fn required_item(&mut self, key: &'static str, expected: &str) -> Option<Item<'a>> {
        let item = self.take(key);
        if item.is_none() {
            self.context.report(Problem::new(self.at(key), "missing", expected));
        }
        item
    }

    /// A whole number within `range`.
    pub fn int<T: TryFrom<u64>>(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<T> {
        self.take(key)?.int(&range)
    }

    /// A number of milliseconds, from 1 to an hour.
    pub fn millis(&mut self, key: &'static str) -> Option<Duration> {
        self.int(key, 1..=3_600_000).map(Duration::from_millis)
    }

    /// A number of seconds, from `least` to a day.
    pub fn seconds(&mut self, key: &'static str, least: u64) -> Option<Duration> {
        self.int(key, least..=86_400).map(Duration::from_secs)
    }

    /// A number of seconds, from a tenth to a day; tenths count.
    pub fn fine_seconds(&mut self, key: &'static str) -> Option<Duration> {
        self.take(key)?.fine_seconds()
    }

    /// `true` or `false`; `default` if it is absent or neither.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(Item::flag).unwrap_or(default)
    }

    /// A table within this one.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.take(key)?.table()
    }

    /// An array of tables, which is empty if it is absent; `None` if none of its entries is a table.
    pub fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'a>>> {
        let Some(item) = self.take(key) else { return Some(Vec::new()) };
        let items = item.list("an array of tables")?;
        let empty = items.is_empty();
        let tables: Vec<_> = items.into_iter().filter_map(Item::table).collect();
        (empty || !tables.is_empty()).then_some(tables)
    }

    /// Reports every key that nobody took.
    pub fn finish(mut self) {
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
