//! A configuration as a list of settings, to say what changed between two of them.

use std::collections::{BTreeMap, HashMap};

use config::{Value, ValueKind};
use sha2::{Digest, Sha256};

use crate::value::quoted;

/// The keys of a table that name it among others.
const NAMES: [&str; 3] = ["id", "name", "upstream"];
/// The keys whose values are never shown.
const HIDDEN: [&str; 1] = ["sha256"];

/// The settings of a file, overrides included: sections and named entries, each with its keys and values as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(BTreeMap<String, BTreeMap<String, String>>);

impl Listing {
    pub(crate) fn new(entries: &HashMap<String, Value>) -> Self {
        let mut listing = Self::default();
        for (section, value) in entries {
            match &value.kind {
                ValueKind::Array(items) => {
                    for (index, item) in items.iter().enumerate() {
                        listing.add(&format!("{section}[{}]", name(item, index)), item);
                    }
                }
                _ => listing.add(section, value),
            }
        }
        listing
    }

    fn add(&mut self, group: &str, value: &Value) {
        let settings = self.0.entry(group.to_owned()).or_default();
        flatten("", value, settings);
    }

    /// The version of the settings: a hash, so that two listings that differ have different versions.
    pub(crate) fn version(&self) -> String {
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(format!("{:?}", self.0)).into();
        format!("{a:02x}{b:02x}{c:02x}{d:02x}")
    }

    /// Whether one setting differs.
    pub fn differs(&self, other: &Self, group: &str, key: &str) -> bool {
        let setting = |listing: &Self| listing.0.get(group).and_then(|settings| settings.get(key)).cloned();
        setting(self) != setting(other)
    }

    /// What `newer` says differently, a line each.
    pub fn changes(&self, newer: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for group in self.0.keys().filter(|group| !newer.0.contains_key(*group)) {
            lines.push(format!("- {group}"));
        }
        for (group, settings) in &newer.0 {
            match self.0.get(group) {
                None => lines.push(format!("+ {group}")),
                Some(old) => lines.extend(differences(group, old, settings)),
            }
        }
        lines
    }
}

fn differences(group: &str, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
        lines.push(format!("- {group}{key} = {}", shown(key, value)));
    }
    for (key, value) in new {
        match old.get(key) {
            None => lines.push(format!("+ {group}{key} = {}", shown(key, value))),
            Some(before) if before != value => {
                let is_secret = is_hidden(key, value) || is_hidden(key, before);
                let change = if is_secret { "changed".to_owned() } else { format!("{before} -> {value}") };
                lines.push(format!("{group}{key}: {change}"));
            }
            Some(_) => {}
        }
    }
    lines
}

fn is_hidden(key: &str, value: &str) -> bool {
    // A URL with an account in it may have its password as well.
    HIDDEN.iter().any(|hidden| key.ends_with(hidden))
        || value.contains("://") && (value.contains('@') || value.contains("password"))
}

fn shown<'a>(key: &str, value: &'a str) -> &'a str {
    if is_hidden(key, value) { "…" } else { value }
}

/// Adds `value` and all that is in it under `path`.
fn flatten(path: &str, value: &Value, settings: &mut BTreeMap<String, String>) {
    match &value.kind {
        ValueKind::Table(table) => {
            for (key, value) in table {
                flatten(&format!("{path}.{key}"), value, settings);
            }
        }
        ValueKind::Array(items) if items.iter().any(|item| matches!(item.kind, ValueKind::Table(_))) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{}]", name(item, index)), item, settings);
            }
        }
        _ => {
            settings.insert(path.to_owned(), written(&value.kind));
        }
    }
}

/// A text that is shown shortened gets a hash of all of it. Otherwise a change near its end would not show.
fn long_or_short(text: &str) -> String {
    let shown = quoted(text);
    if shown == format!("{text:?}") {
        return shown;
    }
    let [a, b, ..]: [u8; 32] = Sha256::digest(text).into();
    format!("{shown} #{a:02x}{b:02x}")
}

fn written(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => long_or_short(text),
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(|item| written(&item.kind)).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The name of an entry, or its index.
fn name(item: &Value, index: usize) -> String {
    let ValueKind::Table(table) = &item.kind else { return index.to_string() };
    let own = NAMES.iter().find_map(|key| match &table.get(*key)?.kind {
        ValueKind::String(name) => Some(name.clone()),
        _ => None,
    });
    own.unwrap_or_else(|| index.to_string())
}
