//! Takes values out of untyped tables and notes everything that does not fit.
//!
//! `None` from a reader means "not there, or wrong and reported": callers put in the default and go on, because a
//! configuration with a single problem is refused as a whole.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fs, io,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use ::config::Value;

use super::{
    Secrets,
    env::{self, Env},
    problem::{Problem, did_you_mean},
    sources,
    value::{Item, Text},
};

/// What lasts as long as one reading.
pub(super) struct Context<'a> {
    env: Env<'a>,
    pub(super) secrets: Secrets,
    problems: RefCell<Vec<Problem>>,
    /// The files with secrets that were looked at.
    files: RefCell<BTreeMap<PathBuf, Option<[u8; 32]>>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(env: Env<'a>, secrets: Secrets) -> Self {
        Self { env, secrets, problems: RefCell::default(), files: RefCell::default() }
    }

    /// The environment.
    pub(super) fn env(&self) -> Env<'a> {
        self.env
    }

    /// What a file with a secret says.
    pub(super) fn read_secret(&self, path: &str) -> io::Result<String> {
        let contents = fs::read_to_string(path);
        self.files.borrow_mut().insert(path.into(), contents.as_ref().ok().map(sources::mark));
        contents
    }

    /// A variable of the environment; an empty one counts as unset.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn report(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// How many problems there are so far.
    pub(super) fn problems(&self) -> usize {
        self.problems.borrow().len()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// All problems, and the files with secrets that were read.
    pub(super) fn finish(self) -> (Vec<Problem>, BTreeMap<PathBuf, Option<[u8; 32]>>) {
        (self.problems.into_inner(), self.files.into_inner())
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
    pub(super) fn new(context: &'a Context<'a>, path: String, entries: HashMap<String, Value>) -> Self {
        Self { context, path, entries, known: Vec::new() }
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
        Some(Item::new(self.context, path, value))
    }

    /// Everything that is left, by key: for tables whose keys are the user's own.
    pub(super) fn take_rest(&mut self) -> Vec<(String, Item<'a>)> {
        let mut rest: Vec<_> = self.entries.drain().collect();
        rest.sort_by(|(one, _), (other, _)| one.cmp(other));
        let item = |(key, value): (String, Value)| {
            let item = Item::new(self.context, self.at(&key), value);
            (key, item)
        };
        rest.into_iter().map(item).collect()
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

    /// A number of seconds, from a tenth to a day; tenths count.
    pub(super) fn fine_seconds(&mut self, key: &'static str) -> Option<Duration> {
        self.take(key)?.fine_seconds()
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(Item::flag).unwrap_or(default)
    }

    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.take(key)?.table()
    }

    /// An array of tables, which is empty if it is absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'a>>> {
        let Some(item) = self.take(key) else { return Some(Vec::new()) };
        let items = item.list("an array of tables")?;
        let empty = items.is_empty();
        let tables: Vec<_> = items.into_iter().filter_map(Item::table).collect();
        (empty || !tables.is_empty()).then_some(tables)
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
