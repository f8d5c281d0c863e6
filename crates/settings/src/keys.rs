//! `[[keys]]`: what clients authenticate with.

use std::num::NonZeroU32;

use sha2::{Digest, Sha256};

use crate::{
    budgets,
    env::is_variable_name,
    limits,
    problem::{Problem, did_you_mean},
    reader::Table,
    tags::{self, Tags},
    types::{AuthMode, Key, Server},
    value::{Item, Text},
    wishes,
};

/// A key without limits of its own may take this part of the router's room.
const DEFAULT_PART: u32 = 4;
const MODELS: &str = "an array of names, such as [\"llama-3.1-8b\", \"task/chat\"], or nothing for all";

/// The keys, and every name in their `models`, for [`check_models`]. With a database there may be none in the file.
pub(crate) fn read<'a>(
    root: &mut Table<'a>,
    auth: AuthMode,
    (server, tags): (&Server, &Tags),
    has_storage: bool,
) -> (Vec<Key>, Vec<Text<'a>>) {
    let context = root.context;
    let Some(tables) = root.tables("keys") else { return (Vec::new(), Vec::new()) };
    if tables.is_empty() && auth == AuthMode::Keys && !has_storage {
        let hint = "add a [[keys]] with id, team and sha256, or a [storage] for llm-router keys, or set [auth] mode = \"none\" on a loopback address";
        context
            .report(Problem::new("keys", "no client key", "at least one [[keys]] while auth.mode is keys").hint(hint));
    }
    let mut keys: Vec<Key> = Vec::new();
    let (mut ids, mut all_models) = (Vec::new(), Vec::new());
    let quarter = default_concurrent(server);
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
        let models = models(&mut table);
        let limits = limits::read(&mut table).or_concurrent(quarter);
        let budgets = budgets::read(&mut table);
        let tags = tags::read_defaults(&mut table, Some(tags));
        let may_wish = wishes::read(&mut table);
        if let Some(twin) = keys.iter().find(|key| Some(key.sha256) == sha256) {
            let fault = format!("the same key as {:?}", twin.id);
            context.report(Problem::new(&table.path, fault, "a key of its own"));
        }
        table.finish();
        if let (Some(id), Some(team), Some(sha256)) = (id, team, sha256) {
            let models = models.as_ref().map(|models| models.iter().map(|model| model.value.clone()).collect());
            keys.push(Key { id, team, sha256, limits, budgets, models, may_choose_upstream, tags, may_wish });
        }
        all_models.extend(models.into_iter().flatten());
    }
    (keys, all_models)
}

/// What a key without a limit of its own may have under way.
pub(crate) fn default_concurrent(server: &Server) -> NonZeroU32 {
    let part = u32::try_from(server.max_in_flight).unwrap_or(u32::MAX) / DEFAULT_PART;
    NonZeroU32::new(part).unwrap_or(NonZeroU32::MIN)
}

/// The names in `models`; `None` if there is no such list.
pub(crate) fn models<'a>(table: &mut Table<'a>) -> Option<Vec<Text<'a>>> {
    let items = table.take("models")?.list(MODELS)?;
    if items.is_empty() {
        table.context.report(Problem::new(table.at("models"), "is empty", MODELS));
    }
    Some(items.into_iter().filter_map(Item::text).collect())
}

/// Reports those of the keys' `models` that are none of `names`.
pub(crate) fn check_models(models: &[Text<'_>], names: &[String]) {
    for text in models.iter().filter(|text| !names.contains(&text.value)) {
        let hint = did_you_mean(&text.value, names.iter().map(String::as_str));
        text.refuse::<()>("is no name to ask for", "a model, alias, task/… or ensemble/… of this file", hint);
    }
}

/// The hash of the key, as written or of the key that a variable holds.
fn secret(table: &mut Table<'_>) -> Option<[u8; 32]> {
    let context = table.context;
    let expected = "either sha256 or env";
    let given = table.has("sha256") || table.has("env");
    match (table.text("sha256"), table.location_text("env")) {
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
    match table.context.secret_var(&env.value) {
        Some(key) if key.trim().len() > Key::MAX_BYTES => {
            env.refuse("holds a key that is too long", format!("{} bytes at most", Key::MAX_BYTES), None)
        }
        Some(key) => Some(Sha256::digest(key.trim()).into()),
        None if !table.context.needs_secrets() => None,
        None => {
            let hint = Some(format!("export {}=…", env.value));
            env.refuse("is not set in the environment", "a variable that holds the key", hint)
        }
    }
}
