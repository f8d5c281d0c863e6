//! `[shared]`: the Redis server through which several replicas are one.

use std::num::NonZeroU32;

use url::Url;

use crate::{
    problem::Problem,
    reader::Table,
    types::{BudgetsWhenAway, LimitsWhenAway, Shared, Storage, StorageLocation},
    value::Text,
};

const EXPECTED: &str = "\"redis://user:${PASSWORD}@host:6379\", or rediss:// with TLS";

pub(crate) fn read(root: &mut Table<'_>, storage: Option<&Storage>) -> Option<Shared> {
    let mut table = root.table("shared")?;
    let url = table.required("url", EXPECTED).and_then(|text| server(&text));
    let prefix = table.text("prefix").map_or(Some("llm-router".to_owned()), |text| prefix(&text));
    let expected = "how many routers are to run: while Redis is away, each has its part of the limits";
    let replicas = table.required_item("replicas", expected).and_then(|item| item.int(&(1..=1_000)));
    let replicas = replicas.and_then(NonZeroU32::new);
    let limits = [("divide", LimitsWhenAway::Divide), ("refuse", LimitsWhenAway::Refuse)];
    let text = table.text("limits_when_away");
    let limits_when_away = text.map_or(Some(LimitsWhenAway::Divide), |text| text.choice("what can be done", &limits));
    let budgets = [("refuse", BudgetsWhenAway::Refuse), ("own", BudgetsWhenAway::Own)];
    let text = table.text("budgets_when_away");
    let budgets_when_away =
        text.map_or(Some(BudgetsWhenAway::Refuse), |text| text.choice("what can be done", &budgets));
    if let Some(Storage { location: StorageLocation::Sqlite(_), .. }) = storage {
        let problem = Problem::new("storage.url", "is a file of one machine", "postgres://, as there is a [shared]");
        table.context.report(problem.hint("replicas that share limits and budgets need one ledger"));
    }
    table.finish();
    Some(Shared {
        url: url?,
        prefix: prefix?,
        replicas: replicas?,
        limits_when_away: limits_when_away?,
        budgets_when_away: budgets_when_away?,
    })
}

/// The server's URL. Nothing of it is repeated: there may be a password in it.
fn server(text: &Text<'_>) -> Option<secrecy::SecretString> {
    if !text.is_complete {
        return Some(text.value.as_str().into());
    }
    let hint = "as in redis://default:${PASSWORD}@host:6379/0; valkey:// and valkeys:// are known too";
    let Ok(url) = text.value.parse::<Url>() else {
        return text.refuse_hidden("is no address of a server", EXPECTED, hint);
    };
    if !["redis", "rediss", "valkey", "valkeys"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return text.refuse_hidden("is no address of a Redis server", EXPECTED, hint);
    }
    let behind_scheme = text.raw().split_once("://").map_or("", |(_, rest)| rest);
    let raw = behind_scheme.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    if raw.is_some_and(|password| !password.starts_with("${")) && !text.is_override() {
        return text.refuse_hidden(
            "has a password in it",
            "no secrets in clear",
            "write ${NAME_OF_A_VARIABLE} in its stead",
        );
    }
    Some(text.value.as_str().into())
}

fn prefix(text: &Text<'_>) -> Option<String> {
    let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.value.is_empty() || text.value.len() > 64 || !text.value.bytes().all(is_harmless) {
        return text.refuse("is no prefix", "letters, digits, dots, dashes and underscores", None);
    }
    Some(text.value.clone())
}
