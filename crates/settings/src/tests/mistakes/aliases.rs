//! `[aliases]`: what a valid section means, and mistakes in it.

use super::*;

fn with(section: &str) -> String {
    VALID.replace("[auth]", &format!("{section}\n[auth]"))
}

#[test]
fn aliases_stand_for_models_tasks_and_ensembles() {
    let text = with(
        r#"
[tasks]
chat = "llama-3.1-8b"

[[ensembles]]
name = "ensemble/two"
members = ["llama-3.1-8b", "llama-3.1-8b"]
pick = { kind = "first" }

[aliases]
"gpt-4.1" = "llama-3.1-8b"
"GPT-4.1" = "task/chat"
"openai/gpt-4.1" = "llama-3.1-8b"
"claude-*" = "task/chat"
"claude-opus-*" = "ensemble/two"
"*" = "llama-3.1-8b""#,
    );
    // A key may be given them by name.
    let text = text.replace("id = \"web\"", "id = \"web\"\nmodels = [\"gpt-4.1\", \"claude-*\"]");
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let all: Vec<_> = config.aliases.iter().map(|alias| (alias.name.as_str(), alias.target.as_str())).collect();
    assert_eq!(
        all,
        [
            ("GPT-4.1", "task/chat"),
            ("gpt-4.1", "llama-3.1-8b"),
            ("openai/gpt-4.1", "llama-3.1-8b"),
            ("claude-opus-*", "ensemble/two"),
            ("claude-*", "task/chat"),
            ("*", "llama-3.1-8b"),
        ]
    );
    let names = config.names();
    assert!(names.contains(&"claude-*".to_owned()) && !names.contains(&"*".to_owned()), "{names:?}");

    let changed = parse(&text.replace("\"*\" =", "\"x*\" ="), "x.toml", &env).expect("valid as well");
    assert_ne!(config.version, changed.version);
    assert_eq!(
        config.listing.changes(&changed.listing),
        ["- aliases.* = \"llama-3.1-8b\"", "+ aliases.x* = \"llama-3.1-8b\""]
    );
}

#[test]
fn mistakes_in_aliases_are_reported() {
    let long = format!("\"{}\" = \"llama-3.1-8b\"", "m".repeat(129));
    let long_path = format!("aliases.{}", "m".repeat(129));
    let long_said = format!("\"{}…\" is not the name of an alias", "m".repeat(77));
    for (line, path, said, hint) in [
        (
            r#""gpt" = "llama-3.1-8""#,
            "aliases.gpt",
            "\"llama-3.1-8\" is not the name of a model",
            "mean \"llama-3.1-8b\"?",
        ),
        (r#""gpt" = "task/chat""#, "aliases.gpt", "\"task/chat\" is not the name of a model", ""),
        (
            r#""gpt" = "pod/llama-3.1-8b""#,
            "aliases.gpt",
            "\"pod/llama-3.1-8b\" is not the name of a model",
            "llama-3.1-8b",
        ),
        (r#""gpt" = 4"#, "aliases.gpt", "4 is not a string", ""),
        (
            r#""llama-3.1-8b" = "llama-3.1-8b""#,
            "aliases.llama-3.1-8b",
            "\"llama-3.1-8b\" is the name of a model",
            "remove the alias",
        ),
        (r#""task/gpt" = "llama-3.1-8b""#, "aliases.task/gpt", "\"task/gpt\" is reserved", ""),
        (r#""task/*" = "llama-3.1-8b""#, "aliases.task/*", "\"task/*\" is reserved", ""),
        (r#""ensemble/gpt" = "llama-3.1-8b""#, "aliases.ensemble/gpt", "\"ensemble/gpt\" is reserved", ""),
        (r#""pod/gpt" = "llama-3.1-8b""#, "aliases.pod/gpt", "\"pod/gpt\" already means the upstream of that id", ""),
        (r#""gpt 4" = "llama-3.1-8b""#, "aliases.gpt 4", "\"gpt 4\" is not the name of an alias", ""),
        (r#""" = "llama-3.1-8b""#, "aliases.", "\"\" is not the name of an alias", ""),
        (&long, &long_path, &long_said, ""),
        (
            r#""gpt-*-mini" = "llama-3.1-8b""#,
            "aliases.gpt-*-mini",
            "\"gpt-*-mini\" has a * before its end",
            "\"gpt-*\"",
        ),
        (r#""**" = "llama-3.1-8b""#, "aliases.**", "\"**\" has a * before its end", "write \"*\""),
    ] {
        let problems = broken("[auth]", &format!("[aliases]\n{line}\n[auth]"));
        let [problem] = problems.as_slice() else { panic!("{line}: not one problem but {problems:#?}") };
        assert_eq!(problem.path, path, "{line}: {problem}");
        let found = format!("{} {}", problem.value.as_deref().unwrap_or_default(), problem.fault);
        assert_eq!(found, said, "{line}: {problem}");
        let found = problem.hint.as_deref().unwrap_or_default();
        assert!(found.contains(hint) && hint.is_empty() == found.is_empty(), "{line}: {problem}");
        assert!(!problem.message.is_empty(), "{line}: {problem}");
    }
    check(&[("[server]", "aliases = 7\n[server]", "aliases", "7 is not a table", "")]);
}

/// Whichever of them stands first in the file.
#[test]
fn an_alias_of_an_alias_is_refused_and_its_model_is_named() {
    for section in ["\"a\" = \"b\"\n\"b\" = \"llama-3.1-8b\"", "\"b\" = \"llama-3.1-8b\"\n\"c-*\" = \"b\""] {
        let problems = broken("[auth]", &format!("[aliases]\n{section}\n[auth]"));
        let [problem] = problems.as_slice() else { panic!("{section}: {problems:#?}") };
        assert_eq!(problem.fault, "is an alias itself", "{problem}");
        assert_eq!(problem.hint.as_deref(), Some("write \"llama-3.1-8b\""), "{problem}");
    }
    let circle = broken("[auth]", "[aliases]\n\"a\" = \"a\"\n[auth]");
    assert_eq!((circle.len(), circle[0].fault.as_str(), &circle[0].hint), (1, "is an alias itself", &None));
}

#[test]
fn what_is_there_twice_is_no_valid_file() {
    let problems = broken("[auth]", "[aliases]\n\"a\" = \"llama-3.1-8b\"\n\"a\" = \"llama-3.1-8b\"\n[auth]");
    assert!(problems[0].message.contains("valid TOML"), "{}", problems[0]);
}

/// A key that names one with a problem is not blamed for it, and `*` in its list is no name.
#[test]
fn keys_may_name_aliases() {
    let keyed = |models: &str| {
        let text = with("[aliases]\n\"gpt\" = \"llama\"\n\"*\" = \"llama-3.1-8b\"");
        let text = text.replace("id = \"web\"", &format!("id = \"web\"\nmodels = [{models}]"));
        let problems = parse(&text, "x.toml", &env).expect_err("a problem").list;
        problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert_eq!(keyed("\"gpt\""), ["aliases.gpt"]);
    assert_eq!(keyed("\"gpt\", \"*\""), ["aliases.gpt", "keys[0].models[1]"]);
}
