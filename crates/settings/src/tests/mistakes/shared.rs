//! Mistakes in `[shared]`.

use super::*;
use crate::{BudgetsWhenAway, LimitsWhenAway};

/// The valid file with a `[shared]` of these keys, and of a ledger in Postgres beside it.
fn with(keys: &str) -> String {
    let storage = "[storage]\njournal_folder = \"/a\"\nurl = \"postgres://router:${DB_PASSWORD}@db/ledger\"";
    format!("{storage}\n[shared]\n{keys}\n[auth]")
}

#[test]
fn mistakes_in_what_replicas_share_are_reported() {
    let url = "url = \"redis://default:${REDIS_PASSWORD}@cache:6379/0\"";
    let whole = format!("{url}\nreplicas = 2");
    let no_server = "the value is no address of a Redis server";
    let cases = [
        ("replicas = 2".to_owned(), "url", "missing", ""),
        (url.to_owned(), "replicas", "missing", ""),
        (format!("{url}\nreplicas = 0"), "replicas", "0 is out of range", ""),
        (format!("{url}\nreplicas = \"2\""), "replicas", "\"2\" is not a whole number", "no quotes"),
        ("url = \"cache:6379\"\nreplicas = 2".to_owned(), "url", no_server, "redis://default:${PASSWORD}@host"),
        ("url = \"http://cache:6379\"\nreplicas = 2".to_owned(), "url", no_server, "valkey://"),
        ("url = \"redis:///0\"\nreplicas = 2".to_owned(), "url", no_server, "redis://"),
        ("url = \"cache\"\nreplicas = 2".to_owned(), "url", "the value is no address of a server", "redis://"),
        (
            "url = \"redis://default:hunter2@cache:6379\"\nreplicas = 2".to_owned(),
            "url",
            "the value has a password in it",
            "${NAME_OF_A_VARIABLE}",
        ),
        (
            "url = \"rediss://:hunter2@cache\"\nreplicas = 2".to_owned(),
            "url",
            "the value has a password in it",
            "${NAME_OF_A_VARIABLE}",
        ),
        (format!("{whole}\nprefix = \"a:b\""), "prefix", "\"a:b\" is no prefix", ""),
        (format!("{whole}\nprefix = \"\""), "prefix", "\"\" is no prefix", ""),
        (format!("{whole}\nreplica = 2"), "replica", "unknown key", "did you mean \"replicas\"?"),
        (
            format!("{whole}\nlimits_when_away = \"devide\""),
            "limits_when_away",
            "\"devide\" is not what can be done",
            "did you mean \"divide\"?",
        ),
        // What can be done with the others.
        (format!("{whole}\nlimits_when_away = \"own\""), "limits_when_away", "\"own\" is not what can be done", ""),
        (
            format!("{whole}\nbudgets_when_away = \"refused\""),
            "budgets_when_away",
            "\"refused\" is not what can be done",
            "did you mean \"refuse\"?",
        ),
    ];
    for (keys, key, said, hint) in cases {
        check(&[("[auth]", &with(&keys), &format!("shared.{key}"), said, hint)]);
    }
    let beside_a_file = format!("[storage]\nurl = \"sqlite:/a\"\n[shared]\n{whole}\n[auth]");
    check(&[("[auth]", &beside_a_file, "storage.url", "is a file of one machine", "need one ledger")]);
}

#[test]
fn what_replicas_share_is_read_with_its_defaults() {
    let read = |keys: &str| {
        let text =
            VALID.replace("[auth]", &format!("[shared]\nurl = \"valkeys://cache\"\nreplicas = 3\n{keys}\n[auth]"));
        parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}")).shared.expect(keys)
    };
    let shared = read("");
    assert_eq!((shared.prefix.as_str(), shared.replicas.get()), ("llm-router", 3));
    let when_away = (shared.limits_when_away, shared.budgets_when_away);
    assert_eq!(when_away, (LimitsWhenAway::Divide, BudgetsWhenAway::Refuse));
    let shared = read("prefix = \"blue.1\"\nlimits_when_away = \"refuse\"\nbudgets_when_away = \"own\"");
    let when_away = (shared.limits_when_away, shared.budgets_when_away);
    assert_eq!((shared.prefix.as_str(), when_away), ("blue.1", (LimitsWhenAway::Refuse, BudgetsWhenAway::Own)));
}

#[test]
fn a_user_without_a_password_is_no_password() {
    let text = VALID.replace("[auth]", "[shared]\nurl = \"redis://default@cache:6379\"\nreplicas = 2\n[auth]");
    assert!(parse(&text, "x.toml", &env).is_ok_and(|config| config.shared.is_some()));
}

#[test]
fn a_password_of_the_shared_server_is_never_shown() {
    let text = VALID.replace("[auth]", &with("url = \"redis://default:${REDIS_PASSWORD}@cache\"\nreplicas = 2"));
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let url = &config.shared.as_ref().expect("a shared server").url;
    assert_eq!(secrecy::ExposeSecret::expose_secret(url), "redis://default:value-of-REDIS_PASSWORD@cache");
    // A whole URL may come from the environment, as an override or by a variable.
    let from_environment = |name: &str| match name {
        "LLM_ROUTER__SHARED__URL" | "SHARED_URL" => Some("redis://default:hunter2@cache".to_owned()),
        name => env(name),
    };
    let by_variable = VALID.replace("[auth]", &with("url = \"${SHARED_URL}\"\nreplicas = 2"));
    for text in [&text, &by_variable] {
        let other = parse(text, "x.toml", &from_environment).unwrap_or_else(|problems| panic!("{problems}"));
        let changes = [config.listing.changes(&other.listing), other.listing.changes(&valid().listing)].concat();
        let shown = format!("{changes:?} {:?}", other.shared);
        assert!(!shown.contains("hunter2") && !shown.contains("value-of-REDIS"), "{shown}");
        assert!(shown.contains("shared.url"), "{shown}");
    }
}
