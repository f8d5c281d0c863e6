//! `[[keys]]`: what clients authenticate with.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use super::{
    Secrets,
    env::is_variable_name,
    problem::Problem,
    reader::Table,
    types::{AuthMode, Key, KeyLimits},
    value::Text,
};

pub(super) fn read(root: &mut Table<'_>, auth: AuthMode) -> Vec<Key> {
    let context = root.context;
    let Some(tables) = root.tables("keys") else { return Vec::new() };
    if tables.is_empty() && auth == AuthMode::Keys {
        let hint = "add a [[keys]] with id, team and sha256, or set [auth] mode = \"none\" on a loopback address";
        context
            .report(Problem::new("keys", "no client key", "at least one [[keys]] while auth.mode is keys").hint(hint));
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut ids = Vec::new();
    for mut table in tables {
        let id = table.required("id", "a name for logs and metrics").and_then(Text::name);
        if let Some(id) = &id {
            if ids.contains(id) {
                let problem = Problem::new(table.at("id"), "is the id of another key too", "an id of its own");
                context.report(problem.value(format!("{id:?}")));
            }
            ids.push(id.clone());
        }
        let team = table.required("team", "the team that pays").and_then(Text::name);
        let sha256 = secret(&mut table);
        let may_choose_upstream = table.flag("direct", false);
        let limits = table.table("limits").map(limits).unwrap_or_default();
        if let Some(twin) = keys.iter().find(|key| Some(key.sha256) == sha256) {
            let fault = format!("the same key as {:?}", twin.id);
            context.report(Problem::new(&table.path, fault, "a key of its own"));
        }
        table.finish();
        if let (Some(id), Some(team), Some(sha256)) = (id, team, sha256) {
            keys.push(Key { id, team, sha256, limits, may_choose_upstream });
        }
    }
    keys
}

/// The hash of the key, as written or of the key that a variable holds.
fn secret(table: &mut Table<'_>) -> Option<[u8; 32]> {
    let context = table.context;
    let expected = "either sha256 or env";
    let given = table.has("sha256") || table.has("env");
    match (table.text("sha256"), table.text("env")) {
        (Some(_), Some(env)) => env.refuse("stands beside sha256", expected, Some("keep one of them".to_owned())),
        (Some(sha256), None) => hash(&sha256),
        (None, Some(env)) => from_variable(&env, table),
        (None, None) if given => None,
        (None, None) => {
            let hint = "printf %s \"$KEY\" | sha256sum";
            context.report(Problem::new(table.at("sha256"), "missing", expected).hint(hint));
            None
        }
    }
}

fn hash(text: &Text<'_>) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if hex::decode_to_slice(&text.value, &mut hash).is_ok() {
        return Some(hash);
    }
    let hint = "the key itself does not belong here: write what printf %s \"$KEY\" | sha256sum prints";
    text.refuse_hidden("is not a SHA-256 hash", "64 hexadecimal digits", hint)
}

fn from_variable(env: &Text<'_>, table: &Table<'_>) -> Option<[u8; 32]> {
    if !is_variable_name(&env.value) {
        let hint = "write the variable's name here, not the key";
        return env.refuse_hidden("is not the name of a variable", "capitals, digits and underscores", hint);
    }
    match table.context.var(&env.value) {
        Some(key) => Some(Sha256::digest(key.trim()).into()),
        None if table.context.secrets == Secrets::Optional => None,
        None => {
            let hint = Some(format!("export {}=…", env.value));
            env.refuse("is not set in the environment", "a variable that holds the key", hint)
        }
    }
}

fn limits(mut table: Table<'_>) -> KeyLimits {
    let mut limit = |key| table.int::<u32>(key, 1..=1_000_000).and_then(NonZeroU32::new);
    let limits = KeyLimits { requests_per_minute: limit("requests_per_minute"), concurrent: limit("concurrent") };
    table.finish();
    limits
}
