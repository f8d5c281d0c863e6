//! The table as a page for people.

use std::fmt::Write as _;

use provider::ErrorKind;

use super::{Example, ROWS, Row, Signal, Whose};

const INTRODUCTION: &str = "\
# Whose fault a failure is

<!-- Made from crates/openai/src/blame.rs by a test, which says how to write it anew. -->

What an upstream's refusal, or its silence, means. The first row that fits decides. *Health* says whether the breaker counts
it; *next* whether another upstream is asked. A 500 and an error without a status are held back: they count against an upstream
once a different request has failed there as well, and are forgotten once one has gone well.

An upstream's health moves only by what the upstream does, never by what a client sends. The adapter of Cerebras turns a client's
mistake into *unsupported* where the field that Cerebras refuses is none that the client got wrong.

| What came | Kind | Next | Health | Why |
|---|---|---|---|---|
";

/// The page `docs/blame.md`.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for row in ROWS {
        let next = if row.kind.moves_on() { "yes" } else { "no" };
        // Writing to a string does not fail.
        let _written = writeln!(
            page,
            "| **{}**: {}{} | `{}` | {next} | {} | {} |",
            row.name,
            row.came,
            example(row),
            row.kind,
            health(row),
            row.why
        );
    }
    page
}

fn example(row: &Row) -> String {
    match row.example {
        Example::Answer { body: "", .. } | Example::Silent(_) => String::new(),
        Example::Answer { body, status, whose, .. } => {
            let by = match whose {
                Whose::OpenAi => "",
                Whose::RunPod => "RunPod, ",
                Whose::Cerebras => "Cerebras, ",
            };
            format!("; {by}{status} `{}`", body.replace('`', "'").replace('|', "\\|"))
        }
    }
}

fn health(row: &Row) -> &'static str {
    match (row.kind, row.example) {
        (_, Example::Silent(Signal::Stale)) => "no, unless the repeat fails",
        (ErrorKind::Auth | ErrorKind::NotFound, _) => "opens at once",
        (ErrorKind::RateLimited | ErrorKind::Overloaded, _) => "no; left alone for a while",
        (kind, _) if kind.counts_against_health() => "yes",
        _ => "no",
    }
}
