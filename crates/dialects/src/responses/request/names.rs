//! Names of functions for tools: a chat takes fewer characters, shorter names, and no namespaces.

use std::collections::BTreeMap;

/// The namespace that means none: <https://github.com/openai/codex/blob/main/codex-rs/protocol/src/tool_name.rs>.
const NO_NAMESPACE: &str = "functions";
/// The longest name of a function: <https://platform.openai.com/docs/api-reference/chat/create>.
const LONGEST: usize = 64;

/// A tool's identity to the client: its namespace, if it has one, and its name.
pub(super) type Key = (Option<String>, String);

/// The identity of the tool `name` in `namespace`.
pub(super) fn key(namespace: Option<&str>, name: &str) -> Key {
    let namespace = namespace.filter(|namespace| !namespace.is_empty() && *namespace != NO_NAMESPACE);
    (namespace.map(str::to_owned), name.to_owned())
}

/// The name of a function for a tool. Of a name that is too long the end is kept, where the tool's own name stands.
pub(super) fn joined(key: &Key) -> String {
    let (namespace, name) = key;
    let name = match namespace {
        Some(namespace) if namespace.ends_with('_') => sanitised(namespace) + &sanitised(name),
        Some(namespace) => sanitised(namespace) + "__" + &sanitised(name),
        None => sanitised(name),
    };
    name[name.len().saturating_sub(LONGEST)..].to_owned()
}

/// ASCII letters, digits, `_` and `-` as they are, `_` for every other character.
pub(super) fn sanitised(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    name.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

/// Names that are given, each once.
#[derive(Default)]
pub(super) struct Given {
    /// The number to try next for another tool of a name.
    next: BTreeMap<String, u32>,
}

impl Given {
    /// `name`, or that with a number behind it where another tool has it.
    pub(super) fn unused(&mut self, name: String) -> String {
        let Some(mut number) = self.next.get(&name).copied() else {
            self.next.insert(name.clone(), 2);
            return name;
        };
        loop {
            let end = format!("_{number}");
            number = number.saturating_add(1);
            let numbered = format!("{}{end}", &name[..name.len().min(LONGEST - end.len())]);
            if !self.next.contains_key(&numbered) {
                self.next.insert(numbered.clone(), 2);
                self.next.insert(name, number);
                return numbered;
            }
        }
    }
}
