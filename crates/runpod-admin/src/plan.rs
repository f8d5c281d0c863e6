//! The difference between the wanted and the existing state. No request is made here.

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Error, Existing, Found, Spec};

/// Stands for the id of a volume that does not exist yet.
const NEW_VOLUME: &str = "(the new volume)";

/// What an action is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A network volume.
    #[serde(rename = "network_volume")]
    Volume,
    /// A serverless endpoint.
    Endpoint,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "network volume",
            Self::Endpoint => "endpoint",
        })
    }
}

/// One field that will have another value; `null` is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The field, in RunPod's words.
    pub field: String,
    /// What it is.
    pub from: Value,
    /// What it should be.
    pub to: Value,
}

impl Change {
    fn new(field: impl Into<String>, from: &Value, to: &Value) -> Self {
        let mut change = Self { field: field.into(), from: from.clone(), to: to.clone() };
        if change.field.strip_prefix("env.").is_some_and(|name| !SHOWN.contains(&name)) {
            for value in [&mut change.from, &mut change.to] {
                if value.as_str().is_some_and(|text| !text.starts_with("{{")) {
                    *value = "(hidden)".into();
                }
            }
        }
        change
    }
}

/// RunPod's own, and those that are made from the rest of the file. What any other one holds may be a secret, whatever it is called.
const SHOWN: [&str; 16] = [
    "RUNPOD_INIT_TIMEOUT",
    "PORT",
    "PORT_HEALTH",
    "HEALTH_CHECK_PATH",
    "HF_HOME",
    "MODEL_NAME",
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE",
    "BASE_PATH",
    "ENABLE_FORCE_INCLUDE_USAGE",
    "ENABLE_PROMPT_TOKENS_DETAILS",
    "MAX_MODEL_LEN",
    "ENABLE_AUTO_TOOL_CHOICE",
    "TOOL_CALL_PARSER",
    "MAX_CONCURRENCY",
    "TENSOR_PARALLEL_SIZE",
    "VLLM_EXTRA_ARGS",
];

/// Whether a variable of this name holds a secret, going by the name.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "KEY", "KEY_ID", "SECRET", "PASSWORD"]
        .iter()
        .any(|end| name == *end || name.ends_with(&format!("_{end}")))
}

/// One call that has to be made.
#[derive(Clone, PartialEq, Serialize)]
pub struct Action {
    /// What it is about.
    pub target: Target,
    /// Its name.
    pub name: String,
    /// Its id if it exists and is changed; without one it is created.
    pub id: Option<String>,
    /// Every field that is set or changed.
    pub changes: Vec<Change>,
    /// What is sent.
    #[serde(skip)]
    pub(super) body: Value,
}

/// Leaves out what is sent, which may hold secrets.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, name, id, changes, body: _ } = self;
        write!(f, "Action {{ {target} {name} {id:?}: {changes:?} }}")
    }
}

/// What has to be done to make `spec` of what exists, in that order; nothing if all is as it should be.
///
/// # Errors
/// If it cannot be made without deleting something, with every reason.
pub fn plan(spec: &Spec, found: &Found) -> Result<Vec<Action>, Error> {
    let mut planner = Planner { found, actions: Vec::new(), conflicts: Vec::new() };
    let volume = spec.volume.as_ref().map(|volume| planner.step(Target::Volume, &volume.name, &volume.body()));
    let volume_id = volume.map(|id| id.unwrap_or_else(|| NEW_VOLUME.to_owned()));
    planner.step(Target::Endpoint, &spec.name, &spec.body(volume_id.as_deref()));
    if planner.conflicts.is_empty() { Ok(planner.actions) } else { Err(Error::Conflicts(planner.conflicts)) }
}

struct Planner<'a> {
    found: &'a Found,
    actions: Vec<Action>,
    conflicts: Vec<String>,
}

impl Planner<'_> {
    /// Plans for the object called `name`, and returns its id if it exists.
    fn step(&mut self, target: Target, name: &str, wanted: &Value) -> Option<String> {
        let mut named = self.found.all(target).iter().filter(|existing| existing.name == name);
        let (first, second) = (named.next(), named.next());
        if let (Some(first), Some(second)) = (first, second) {
            self.conflicts.push(format!(
                "two {target}s are called {name} ({} and {}): rename or delete one of them in RunPod's console",
                first.id, second.id
            ));
            return None;
        }
        let (changes, body) = compare(first.map_or(&Value::Null, |existing| &existing.settings), wanted);
        if let Some(existing) = first {
            self.conflicts.extend(changes.iter().filter_map(|change| refusal(target, existing, change)));
        }
        if !changes.is_empty() {
            // A new object is sent whole.
            let body = if first.is_some() { Value::Object(body) } else { wanted.clone() };
            let id = first.map(|existing| existing.id.clone());
            self.actions.push(Action { target, name: name.to_owned(), id, changes, body });
        }
        first.map(|existing| existing.id.clone())
    }
}

/// Why RunPod cannot make a change to something that exists.
fn refusal(target: Target, existing: &Existing, change: &Change) -> Option<String> {
    let Existing { id, name, .. } = existing;
    let Change { field, from, to } = change;
    match (target, field.as_str()) {
        (Target::Volume, "dataCenter" | "type") | (Target::Endpoint, "type") => Some(format!(
            "{target} {name} ({id}): its {field} is {from} and cannot become {to} any more; give the new one another name"
        )),
        (Target::Volume, "size") if from.as_u64() > to.as_u64() => {
            Some(format!("{target} {name} ({id}): it has {from} GB and cannot shrink to {to} GB"))
        }
        _ => None,
    }
}

/// The fields of `want` that are otherwise in `have`, for people and as the body of a `PATCH`. What `want` does not
/// mention is left alone.
fn compare(have: &Value, want: &Value) -> (Vec<Change>, Map<String, Value>) {
    let (mut changes, mut body) = (Vec::new(), Map::new());
    for (field, want) in want.as_object().into_iter().flatten() {
        // An object does not hold its own name.
        if field == "name" {
            continue;
        }
        let have = &have[field];
        match field.as_str() {
            // May be sent in part.
            "gpu" | "workers" => {
                let mut part = Map::new();
                for (inner, want) in want.as_object().into_iter().flatten() {
                    if !same(&have[inner], want) {
                        changes.push(Change::new(format!("{field}.{inner}"), &have[inner], want));
                        part.insert(inner.clone(), want.clone());
                    }
                }
                if !part.is_empty() {
                    body.insert(field.clone(), part.into());
                }
            }
            // Is replaced as a whole, so a variable that is gone here goes there.
            "env" => {
                let before = changes.len();
                let names: BTreeSet<&String> =
                    [have, want].into_iter().filter_map(Value::as_object).flat_map(Map::keys).collect();
                let differing = names.into_iter().filter(|name| have.get(name) != want.get(name));
                changes.extend(differing.map(|name| Change::new(format!("env.{name}"), &have[name], &want[name])));
                if changes.len() > before {
                    body.insert(field.clone(), want.clone());
                }
            }
            _ if same(have, want) => {}
            _ => {
                changes.push(Change::new(field, have, want));
                body.insert(field.clone(), want.clone());
            }
        }
    }
    (changes, body)
}

/// Whether RunPod would see no difference: lists are sets to it, 4 is 4.0, and what is empty may not be there at all.
fn same(have: &Value, want: &Value) -> bool {
    if is_empty(have) && is_empty(want) {
        return true;
    }
    match (have, want) {
        (Value::Number(have), Value::Number(want)) => have.as_f64() == want.as_f64(),
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && want.iter().all(|item| have.contains(item))
        }
        (Value::Object(have), Value::Object(want)) => {
            have.len() == want.len()
                && want.iter().all(|(key, want)| have.get(key).is_some_and(|have| same(have, want)))
        }
        _ => have == want,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests;
