//! Mistakes in `[storage]`.

use super::*;
use crate::StorageLocation;

#[test]
fn mistakes_in_the_storage_are_reported() {
    let postgres = "url = \"postgres://router:${DB_PASSWORD}@db/ledger\"";
    let cases = [
        ("url = \"/var/lib/ledger.db\"", "url", "\"/var/lib/ledger.db\" is no ledger", ""),
        ("url = \"sqlite:///a.db\"", "url", "\"sqlite:///a.db\" is no ledger", ""),
        ("url = \"sqlite::memory:\"", "url", "\"sqlite::memory:\" is no ledger", ""),
        ("url = \"sqlite:\"", "url", "\"sqlite:\" is no ledger", ""),
        ("url = \"mysql://db/ledger\"", "url", "\"mysql://db/ledger\" is no ledger", ""),
        ("journal_folder = \"/a\"", "url", "missing", ""),
        (
            "url = \"sqlite:/a\"\ndurability = \"disc\"",
            "durability",
            "\"disc\" is not a durability",
            "did you mean \"disk\"?",
        ),
        (
            "url = \"sqlite:/a\"\ndurability = \"store\"",
            "durability",
            "\"store\" is for Postgres",
            "\"disk\" is as safe",
        ),
        ("url = \"sqlite:/a\"\nkeep_rows_days = 1", "keep_rows_days", "1 is too few", ""),
        (
            "url = \"sqlite:/a\"\nkeep_hours_days = 89",
            "keep_hours_days",
            "sums by hour must be kept as long as rows",
            "",
        ),
        (
            "url = \"sqlite:/a\"\nkeep_rows_days = 0\nkeep_hours_days = 500",
            "keep_hours_days",
            "sums by hour must be kept as long as rows",
            "",
        ),
        (postgres, "journal_folder", "missing", ""),
        (
            "journal_folder = \"/a\"\nurl = \"postgres://router:hunter2@db/ledger\"",
            "url",
            "the value has a password in it",
            "${NAME_OF_A_VARIABLE}",
        ),
        ("url = \"postgresql+x://router:hunter2@db/ledger\"", "url", "the value is no ledger", "no other databases"),
        (
            "journal_folder = \"/a\"\nurl = \"postgres://db/ledger?user=a&password=hunter2\"",
            "url",
            "the value has a password among its parameters",
            "behind the user",
        ),
        (
            "journal_folder = \"/a\"\nurl = \"postgresql://router@/ledger\"",
            "url",
            "the value names no host, or no database",
            "host:5432/database",
        ),
        ("journal_folder = \"/a\"\nurl = \"postgres://db\"", "url", "the value names no host, or no database", ""),
        ("journal_folder = \"/a\"\nurl = \"postgres://db/?a=b\"", "url", "the value names no host, or no database", ""),
    ];
    for (text, key, said, hint) in cases {
        let hint = if said.starts_with("the value names") { "host:5432/database" } else { hint };
        check(&[("[auth]", &format!("[storage]\n{text}\n[auth]"), &format!("storage.{key}"), said, hint)]);
    }
}

#[test]
fn hours_are_kept_as_long_as_rows_unless_the_file_says_otherwise() {
    let cases = [
        ("", (Some(90), Some(400))),
        ("keep_rows_days = 7", (Some(7), Some(400))),
        ("keep_rows_days = 500", (Some(500), Some(500))),
        ("keep_rows_days = 0", (None, None)),
        ("keep_rows_days = 7\nkeep_hours_days = 7", (Some(7), Some(7))),
        ("keep_hours_days = 0", (Some(90), None)),
    ];
    for (keys, kept) in cases {
        let text = VALID.replace("[auth]", &format!("[storage]\nurl = \"sqlite:/a\"\n{keys}\n[auth]"));
        let storage = parse(&text, "test", &env).expect(keys).storage.expect("a storage");
        assert_eq!((storage.keep_rows_days, storage.keep_hours_days), kept, "{keys}");
    }
}

#[test]
fn a_password_comes_from_the_environment_and_is_never_shown() {
    let section = "[storage]\njournal_folder = \"/a\"\nurl = \"postgres://router:${DB_PASSWORD}@db/ledger\"\n[auth]";
    let text = VALID.replace("[auth]", section);
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let storage = config.storage.as_ref().expect("a ledger");
    let StorageLocation::Postgres(url) = &storage.location else { panic!("{storage:?}") };
    assert_eq!(secrecy::ExposeSecret::expose_secret(url), "postgres://router:value-of-DB_PASSWORD@db/ledger");
    let from_environment = |name: &str| match name {
        "LLM_ROUTER__STORAGE__URL" => Some("postgres://router:hunter2@db/ledger".to_owned()),
        name => env(name),
    };
    let other = parse(&text, "x.toml", &from_environment).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!format!("{:?}", other.listing.changes(&valid().listing)).contains("hunter2"));
    let shown = format!("{:?} {:?}", config.listing.changes(&other.listing), other.storage);
    assert!(shown.contains("storage.url: changed") && !shown.contains("hunter2"), "{shown}");
}
