//! The table as a page for people.

use std::fmt::Write as _;

use provider::{Error, ErrorKind, Phase};

use super::{ErrorFormat, Example, ROWS, Row, Signal};

const INTRODUCTION: &str = "\
# Whose fault a failure is

<!-- Made from crates/openai/src/blame/rows.rs: cargo run -p openai --example blame > docs/generated/blame.md -->

What an upstream's refusal, or its silence, means. The first row that fits decides. *Next* says whether another upstream is
asked; *health* whether the breaker counts it. *Confirmed* means: it counts once a different request has failed there as well,
and is forgotten once one has gone well. An upstream's health moves only by what the upstream does, never by what a client sends.

Cerebras' adapter makes *unsupported* of a client's mistake where Cerebras refuses what RunPod would take.

| What came | Kind | Next | Health | Why |
|---|---|---|---|---|
";

const CLOSING: &str = "
## Made by the router

What an adapter cannot see: the router holds the clock, and knows whether any content has come.

| What came | Kind | Next | Health | Why |
|---|---|---|---|---|
";

/// What only the router can see: its own errors, in `crates/router/src/fallback.rs`. Their kinds are
/// the router's; what a kind means is the same for all.
const ROUTERS_OWN: [(&str, ErrorKind, &str); 4] = [
    (
        "**slow to begin**: no first token in the time that the upstream has for it",
        ErrorKind::Timeout(Phase::FirstToken),
        "others would wait as long; but a timeout while no worker is up is a cold start and counts nothing",
    ),
    (
        "**silent amid the answer**: no event for longer than the gap that the upstream may make",
        ErrorKind::Timeout(Phase::Gap),
        "the upstream stopped amid its work",
    ),
    (
        "**deadline**: the request's own deadline passed",
        ErrorKind::Timeout(Phase::Deadline),
        "a long answer may just take long: the client's patience says nothing about the upstream",
    ),
    (
        "**no content**: a stream that ended well and said nothing",
        ErrorKind::Protocol,
        "no client asks for nothing; as some input may be the reason, it counts like a 500",
    ),
];

/// The page `docs/generated/blame.md`.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for row in ROWS {
        // Writing to a string does not fail.
        let _written = writeln!(
            page,
            "| **{}**: {}{} | `{}` | {} | {} | {} |",
            row.name,
            row.came,
            example(row),
            row.kind,
            next(row.kind),
            health(row),
            row.why
        );
    }
    page.push_str(CLOSING);
    for (came, kind, why) in ROUTERS_OWN {
        let health = kinds_health(&Error::new(kind, ""));
        let _written = writeln!(page, "| {came} | `{kind}` | {} | {health} | {why} |", next(kind));
    }
    page
}

fn next(kind: ErrorKind) -> &'static str {
    if kind.moves_on() { "yes" } else { "no" }
}

fn example(row: &Row) -> String {
    match row.example {
        Example::Answer { body: "", .. } | Example::Silent(_) => String::new(),
        Example::Answer { body, status, format, .. } => {
            let by = match format {
                ErrorFormat::OpenAi => "",
                ErrorFormat::RunPod => "RunPod, ",
                ErrorFormat::Cerebras => "Cerebras, ",
            };
            format!("; {by}{status} `{}`", body.replace('`', "'").replace('|', "\\|"))
        }
    }
}

fn health(row: &Row) -> &'static str {
    let error = Error { status: status(row), ..Error::new(row.kind, "") };
    match row.example {
        Example::Silent(Signal::Stale) => "no, unless the repeat fails",
        _ => kinds_health(&error),
    }
}

fn kinds_health(error: &Error) -> &'static str {
    match error.kind {
        ErrorKind::Auth | ErrorKind::NotFound => "opens at once",
        ErrorKind::RateLimited | ErrorKind::Overloaded => "no; left alone for a while",
        _ if error.may_be_poison() => "once confirmed",
        kind if kind.counts_against_health() => "yes",
        _ => "no",
    }
}

/// The status that the example has; none under a 200.
fn status(row: &Row) -> Option<u16> {
    match row.example {
        Example::Answer { status, .. } => Some(status).filter(|status| *status >= 300),
        Example::Silent(_) => None,
    }
}
