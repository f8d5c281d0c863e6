//! Mistakes in limits and budgets, of keys, teams and models.

use std::num::NonZeroU32;

use super::*;

/// The batch key with a budget.
fn budget(text: &str) -> String {
    format!("env = \"BATCH_KEY\"\nbudgets = [{{ {text} }}]\n[storage]\nurl = \"sqlite:/a\"")
}

#[test]
fn mistakes_in_budgets_are_reported() {
    let batch = "env = \"BATCH_KEY\"";
    let cases = [
        ("per = \"day\"", "keys[1].budgets[0].usd", "missing", ""),
        ("usd = \"0\", per = \"day\"", "keys[1].budgets[0].usd", "is zero", "needs no key"),
        ("usd = \"$5\", per = \"day\"", "keys[1].budgets[0].usd", "\"$5\" is not a price", ""),
        ("usd = \"5\"", "keys[1].budgets[0].per", "missing", ""),
        ("usd = \"5\", per = \"year\"", "keys[1].budgets[0].per", "\"year\" is not a period", ""),
        (
            "usd = \"5\", per = \"day\", time_zone = \"Mars/Olympus\"",
            "keys[1].budgets[0].time_zone",
            "\"Mars/Olympus\" is no time zone",
            "",
        ),
        (
            "usd = \"5\", per = \"day\", warn_at_percent = [50, 101]",
            "keys[1].budgets[0].warn_at_percent[1]",
            "101 is out of range",
            "",
        ),
        (
            "usd = \"5\", per = \"day\", at_limit = \"stop\"",
            "keys[1].budgets[0].at_limit",
            "\"stop\" is not what can be done",
            "",
        ),
        ("usd = \"5\", per = \"day\", raised = { usd = \"9\" }", "keys[1].budgets[0].raised.until", "missing", ""),
        (
            "usd = \"5\", per = \"day\", raised = { usd = \"9\", until = \"Friday\" }",
            "keys[1].budgets[0].raised.until",
            "\"Friday\" is no moment",
            "",
        ),
        (
            "usd = \"5\", per = \"day\", raised = { until = \"2026-12-01\" }",
            "keys[1].budgets[0].raised.usd",
            "missing",
            "",
        ),
        ("usd = \"5\", per = \"day\", soft = 3", "keys[1].budgets[0].soft", "unknown key", ""),
        (
            "usd = \"5\", per = \"day\" }, { usd = \"6\", per = \"day\"",
            "keys[1].budgets[1].per",
            "is the period of another budget here too",
            "",
        ),
    ];
    for (text, path, said, hint) in cases {
        check(&[(batch, &budget(text), path, said, hint)]);
    }
}

#[test]
fn a_budget_needs_a_ledger_and_prices() {
    let batch = "env = \"BATCH_KEY\"";
    let without = budget("usd = \"5\", per = \"day\"").replace("[storage]\nurl = \"sqlite:/a\"", "");
    check(&[(batch, &without, "storage", "missing", "would begin every budget anew")]);
    let unpriced =
        VALID.replace(batch, &budget("usd = \"5\", per = \"day\"")).replace(", list_usd_per_million = \"0.02\"", "");
    let problems = parse(&unpriced, "x.toml", &env).expect_err("refused").to_string();
    assert!(problems.contains("upstreams.pod.cost") && problems.contains("has no price for chat"), "{problems}");
    // What a recording is thought to use is seconds, and has no price by the token; a tokenizer needs none.
    let supports = |operations: &str| {
        let with = VALID.replace(batch, &budget("usd = \"5\", per = \"day\""));
        parse(&with.replace("supports = [\"chat\"]", &format!("supports = [{operations}]")), "x.toml", &env)
    };
    let problems = supports("\"chat\", \"transcriptions\"").expect_err("refused").to_string();
    assert!(problems.contains("has no price for transcriptions") && problems.contains("audio_seconds"), "{problems}");
    supports("\"chat\", \"tokenize\"").unwrap_or_else(|problems| panic!("{problems}"));
    // A model's budget asks for nothing of an upstream that the model does not use.
    let other = "[[models]]\nname = \"fast-only\"\nstrategy = \"cost\"\ntargets = [{ upstream = \"fast\" }]\n\
                 budgets = [{ usd = \"5\", per = \"week\" }]\n[storage]\nurl = \"sqlite:/a\"\n";
    let text = format!("{}{other}", VALID.replace(", list_usd_per_million = \"0.02\"", ""));
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.models[1].budgets[0].limit, NanoUsd(5_000_000_000));
}

#[test]
fn mistakes_in_teams_and_limits_are_reported() {
    let team = |text: &str| format!("mode = \"keys\"\n[[teams]]\n{text}");
    let mode = "mode = \"keys\"";
    let cases = [
        ("id = \"grwth\"", "teams[0].id", "\"grwth\" is the team of no key", "did you mean \"growth\"?"),
        ("limits = {}", "teams[0].id", "missing", ""),
        ("id = \"growth\"\n[[teams]]\nid = \"growth\"", "teams[1].id", "\"growth\" is the id of another team too", ""),
        ("id = \"growth\"\nlimits = { tokens = 3 }", "teams[0].limits.tokens", "unknown key", ""),
        (
            "id = \"growth\"\nlimits = { tokens_per_minute = 0 }",
            "teams[0].limits.tokens_per_minute",
            "0 is out of range",
            "",
        ),
        (
            "id = \"growth\"\nlimits = { token_burst = 3 }",
            "teams[0].limits.token_burst",
            "stands without tokens_per_minute",
            "",
        ),
    ];
    for (text, path, said, hint) in cases {
        check(&[(mode, &team(text), path, said, hint)]);
    }
}

#[test]
fn limits_of_keys_teams_and_models_are_read() {
    let text = VALID
        .replace(
            "mode = \"keys\"",
            "mode = \"keys\"\n[[teams]]\nid = \"growth\"\nlimits = { tokens_per_minute = 9000 }",
        )
        .replace("slo = {", "limits = { concurrent = 7 }\nslo = {");
    let config = parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    let [team] = &config.teams[..] else { panic!("{:?}", config.teams) };
    let tokens = team.limits.tokens_per_minute.expect("a limit");
    assert_eq!((tokens.get(), team.limits.token_burst_of(tokens).get()), (9_000, 900));
    assert_eq!(config.models[0].limits.concurrent.map(NonZeroU32::get), Some(7));
    assert_eq!(config.keys[0].limits.requests_per_minute.map(NonZeroU32::get), Some(600));
}
