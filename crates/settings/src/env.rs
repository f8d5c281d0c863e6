//! The environment: overrides of scalar settings, `${VAR}` in strings, and secrets.

use config::{Map, Value, ValueKind};

use crate::{problem::Problem, problem::did_you_mean, scalars};

/// Looks a variable up; a function, so that tests need no process environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

const PREFIX: &str = "LLM_ROUTER__";

/// The environment of this process.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The names that look like overrides but override nothing, such as `LLM_ROUTER__SERVER__LISTN`.
///
/// Apart from [`parse`](crate::parse) because [`Env`] can be asked but not listed.
pub fn unknown_overrides(names: impl IntoIterator<Item = String>) -> Vec<Problem> {
    let known: Vec<String> = names_of_overrides().map(|(name, ..)| name).collect();
    let mut unknown: Vec<String> =
        names.into_iter().filter(|name| name.starts_with(PREFIX) && !known.contains(name)).collect();
    unknown.sort();
    let problem = |name: String| {
        let hint = did_you_mean(&name, known.iter().map(String::as_str));
        let expected =
            "LLM_ROUTER__SECTION__KEY for a key of [server], [log], [decisions], [storage], [shared] or [auth]";
        Problem { hint, ..Problem::new(name, "overrides no setting", expected) }
    };
    unknown.into_iter().map(problem).collect()
}

/// Whether `name` can name a variable. Capitals only: it keeps a key that was put in a name's place from being one.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(allowed) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Where a value came from, if it came from an override.
pub(crate) fn overridden_by(value: &Value) -> Option<&str> {
    value.origin().filter(|origin| origin.starts_with(PREFIX))
}

/// Why `${…}` could not be replaced.
pub(crate) enum ExpandError {
    /// No closing brace, or not a name between the braces.
    Malformed,
    /// This variable is unset or empty.
    Unset(String),
}

/// Replaces `${VAR}` in `text`; `$${` stands for a literal `${`.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (name, after) = from[2..].split_once('}').ok_or(ExpandError::Malformed)?;
        if !is_variable_name(name) {
            return Err(ExpandError::Malformed);
        }
        out.push_str(&lookup(name).ok_or_else(|| ExpandError::Unset(name.to_owned()))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Puts the overrides that are set into the file's tables. A section that is no table stays, to be reported.
pub(crate) fn override_scalars(entries: &mut Map<String, Value>, env: Env<'_>) {
    for (name, section, key) in names_of_overrides() {
        let Some(text) = env(&name).filter(|text| !text.trim().is_empty()) else { continue };
        let kind = text.parse().map_or(ValueKind::String(text), ValueKind::I64);
        let table = entries.entry(section.to_owned()).or_insert_with(|| Value::from(Map::<String, Value>::new()));
        if let ValueKind::Table(table) = &mut table.kind {
            table.insert(key.to_owned(), Value::new(Some(&name), kind));
        }
    }
}

/// Variable, section and key of everything that can be overridden.
fn names_of_overrides() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    scalars::KEYS.iter().flat_map(|(section, keys)| {
        keys.iter()
            .map(move |key| (format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase()), *section, *key))
    })
}
