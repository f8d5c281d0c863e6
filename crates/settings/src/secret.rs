//! Keys of upstreams and the operators' token: found in a variable or a file, never in the configuration itself.

use secrecy::SecretString;

use crate::{env::is_variable_name, problem::Problem, reader::Table, value::Text};

/// The key for an upstream. `None` if it needs none, if it may be missing, or if a problem was reported.
///
/// `usual` is the provider's variable, if the provider is known; `own_address` says that no base URL is given.
pub(crate) fn api_key(table: &mut Table<'_>, usual: Option<&str>, own_address: bool) -> Option<SecretString> {
    let elsewhere = table.has("api_key_env") || table.has("api_key_file");
    let key = match (table.location_text("api_key_env"), table.location_text("api_key_file")) {
        (Some(_), Some(file)) => {
            return file.refuse("stands beside api_key_env", "one of the two", Some("keep one of them".to_owned()));
        }
        (Some(text), None) if text.value == "none" && own_address => {
            let hint = "\"none\" is for a base_url of your own".to_owned();
            return text.refuse("leaves a public API without a key", "the name of a variable", Some(hint));
        }
        (Some(text), None) if text.value == "none" => return None,
        (Some(text), None) => from_variable(&text, table),
        (None, Some(file)) => from_file(&file, table),
        (None, None) if elsewhere => return None,
        (None, None) => from_usual(usual?, table, own_address),
    }?;
    Some(key.trim().to_owned().into())
}

/// The variable with the token of the admin API.
const ADMIN_TOKEN: &str = "LLM_ROUTER_ADMIN_TOKEN";
/// A token that can be guessed opens the admin API to everyone who reaches it.
const SHORTEST_TOKEN: usize = 16;

/// The token of the admin API, if there is one.
pub(crate) fn admin_token(table: &mut Table<'_>) -> Option<SecretString> {
    let (place, token) = match table.location_text("admin_token_file") {
        Some(file) => (table.at("admin_token_file"), from_file(&file, table)?),
        None => (ADMIN_TOKEN.to_owned(), table.context.secret_var(ADMIN_TOKEN)?),
    };
    let token = token.trim();
    if token.len() < SHORTEST_TOKEN || !fits_header(token) {
        let expected = format!("at least {SHORTEST_TOKEN} visible characters without spaces");
        let problem = Problem::new(place, "holds no fit token for the admin API", expected);
        table.context.report(problem.hint("openssl rand -hex 32 makes one"));
        return None;
    }
    Some(token.to_owned().into())
}

fn from_variable(text: &Text<'_>, table: &Table<'_>) -> Option<String> {
    if !is_variable_name(&text.value) {
        let hint = "write the variable's name here, not the key";
        return text.refuse_hidden("is not the name of a variable", "capitals, digits and underscores", hint);
    }
    match table.context.secret_var(&text.value) {
        Some(key) if fits_header(&key) => Some(key),
        Some(_) => text.refuse("holds characters that no header takes", "a variable that holds the key", None),
        None if !table.context.needs_secrets() => None,
        None => {
            let hint = Some(format!("export {}=…", text.value));
            text.refuse("is not set in the environment", "a variable that holds the key", hint)
        }
    }
}

fn from_file(file: &Text<'_>, table: &Table<'_>) -> Option<String> {
    let expected = "a file that holds the key";
    match table.context.read_secret(&file.value)? {
        Ok(key) if key.trim().is_empty() => file.refuse("is empty", expected, None),
        Ok(key) if fits_header(&key) => Some(key),
        Ok(_) => file.refuse("holds characters that no header takes", expected, None),
        Err(_) if !table.context.needs_secrets() => None,
        Err(error) => file.refuse(format!("cannot be read: {error}"), expected, None),
    }
}

fn from_usual(name: &str, table: &Table<'_>, own_address: bool) -> Option<String> {
    let report = |fault: String, hint: String| {
        let expected = format!("the key in {name}, or api_key_env or api_key_file to say where it is");
        table.context.report(Problem::new(table.at("api_key_env"), fault, expected).hint(hint));
        None
    };
    match table.context.secret_var(name) {
        Some(key) if fits_header(&key) => Some(key),
        Some(_) => report(format!("{name} holds characters that no header takes"), format!("export {name}=…")),
        None if !table.context.needs_secrets() => None,
        None => {
            let none = if own_address { "" } else { ", or write api_key_env = \"none\" if the upstream takes no key" };
            report(format!("missing, and {name} is not set in the environment"), format!("export {name}=…{none}"))
        }
    }
}

fn fits_header(key: &str) -> bool {
    key.trim().bytes().all(|byte| byte.is_ascii_graphic())
}
