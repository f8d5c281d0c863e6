//! `[storage]`: where the ledger is.

use std::path::{Path, PathBuf};

use crate::{
    problem::Problem,
    reader::Table,
    types::{Durability, OnJournalFailure, Storage, StorageLocation},
    value::Text,
};

const EXPECTED: &str = "\"sqlite:/var/lib/llm-router/ledger.db\", or \"postgres://user:${PASSWORD}@host/database\"";

/// Rows of a quarter, and hours of more than a year, so that a month can be compared with that of the year before.
const KEPT_DAYS: (u32, u32) = (90, 400);

pub(crate) fn read(root: &mut Table<'_>) -> Option<Storage> {
    let mut table = root.table("storage")?;
    let url = table.required("url", EXPECTED);
    let location = url.and_then(|text| location(&text));
    let is_postgres = matches!(location, Some(StorageLocation::Postgres(_)));
    let journal = match (table.text("journal_folder"), &location) {
        (Some(text), _) => Some(PathBuf::from(&text.value)),
        (None, Some(StorageLocation::Sqlite(path))) => Some(journals_beside(path)),
        (None, Some(StorageLocation::Postgres(_))) => {
            let expected = "a folder of this machine's own disk, such as \"/var/lib/llm-router/journals\"";
            table.context.report(Problem::new(table.at("journal_folder"), "missing", expected));
            None
        }
        (None, None) => None,
    };
    let max_journal_bytes = table.int("max_journal_bytes", 1 << 20..=1 << 50).unwrap_or(8 << 30);
    let durabilities = [("process", Durability::Process), ("disk", Durability::Disk), ("store", Durability::Store)];
    let text = table.text("durability");
    let durability = text.as_ref().and_then(|text| text.choice("a durability", &durabilities));
    if let Some(text) = text.filter(|_| durability == Some(Durability::Store) && location.is_some() && !is_postgres) {
        text.refuse::<()>(
            "is for Postgres",
            "\"process\" or \"disk\"",
            Some("\"disk\" is as safe on one machine".to_owned()),
        );
    }
    let reactions = [("refuse", OnJournalFailure::Refuse), ("release", OnJournalFailure::Release)];
    let reaction = table.text("on_journal_failure").and_then(|text| text.choice("what can be done", &reactions));
    let (keep_rows_days, keep_hours_days) = retention(&mut table);
    table.finish();
    Some(Storage {
        location: location?,
        journal_folder: journal?,
        max_journal_bytes,
        durability: durability.unwrap_or(Durability::Process),
        on_journal_failure: reaction.unwrap_or(OnJournalFailure::Refuse),
        keep_rows_days,
        keep_hours_days,
    })
}

/// How many days rows and sums by hour are kept, `None` for ever. Yesterday's rows must be there: what a killed process left may come
/// that late.
fn retention(table: &mut Table<'_>) -> (Option<u32>, Option<u32>) {
    let mut days = |key| {
        let days: Option<u32> = table.int(key, 0..=36_500);
        if days == Some(1) {
            let expected = "at least 2 days, or 0 for ever";
            table.context.report(Problem::new(table.at(key), "1 is too few", expected));
        }
        days
    };
    let (rows, hours) = (days("keep_rows_days").unwrap_or(KEPT_DAYS.0), days("keep_hours_days"));
    let default = if rows == 0 { 0 } else { KEPT_DAYS.1.max(rows) };
    let [rows, hours] = [rows, hours.unwrap_or(default)].map(|days| Some(days).filter(|days| *days > 0));
    if hours.is_some_and(|hours| rows.is_none_or(|rows| hours < rows)) {
        let fault = "sums by hour must be kept as long as rows";
        table.context.report(Problem::new(
            table.at("keep_hours_days"),
            fault,
            "at least keep_rows_days, or 0 for ever",
        ));
    }
    (rows, hours)
}

/// Where the journals of a ledger are, unless the configuration says otherwise.
pub fn journals_beside(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push("-journals");
    PathBuf::from(name)
}

fn location(text: &Text<'_>) -> Option<StorageLocation> {
    let rest = |schemes: &[&str]| schemes.iter().find_map(|scheme| text.value.strip_prefix(scheme));
    if let Some(rest) = rest(&["postgres://", "postgresql://"]) {
        return postgres(text, rest);
    }
    match rest(&["sqlite:"]) {
        // Not SQLite's name for a database that is nowhere, and nothing that only looks like a URL or a home folder.
        Some(path) if !path.is_empty() && ![":", "//", "~"].iter().any(|odd| path.starts_with(odd)) => {
            Some(StorageLocation::Sqlite(PathBuf::from(path)))
        }
        // Not shown: a URL of another kind may have a password in it.
        _ if text.value.contains('@') => {
            text.refuse_hidden("is no ledger", EXPECTED, "llm-router knows no other databases")
        }
        _ => text.refuse("is no ledger", EXPECTED, None),
    }
}

/// A URL behind whose scheme `rest` stands. Nothing of it is repeated: there may be a password in it.
fn postgres(text: &Text<'_>, rest: &str) -> Option<StorageLocation> {
    let raw = text.raw().split_once("://").map_or("", |(_, rest)| rest);
    let password = raw.split_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
    if password.is_some_and(|password| !password.starts_with("${")) && !text.is_override() {
        let hint = "write ${NAME_OF_A_VARIABLE} in its stead";
        return text.refuse_hidden("has a password in it", "no secrets in clear", hint);
    }
    if rest.split_once('?').is_some_and(|(_, parameters)| parameters.contains("password")) {
        let hint = "write it behind the user: postgres://user:${PASSWORD}@host/database";
        return text.refuse_hidden("has a password among its parameters", "no secrets in clear", hint);
    }
    let (host, database) = rest.rsplit_once('@').map_or(rest, |(_, host)| host).split_once('/').unwrap_or_default();
    if host.is_empty() || database.split('?').next().is_none_or(str::is_empty) {
        let hint = "as in postgres://user:${PASSWORD}@host:5432/database";
        return text.refuse_hidden("names no host, or no database", EXPECTED, hint);
    }
    Some(StorageLocation::Postgres(text.value.as_str().into()))
}
