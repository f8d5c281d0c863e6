//! The table as a page for people.

use std::fmt::Write as _;

use provider::{Error, ErrorKind};

use super::{Example, ROWS, Row, Signal, Whose};

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

/// The page `docs/generated/blame.md`.
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
    let error = Error { status: status(row), ..Error::new(row.kind, "") };
    match (row.kind, row.example) {
        (_, Example::Silent(Signal::Stale)) => "no, unless the repeat fails",
        (ErrorKind::Auth | ErrorKind::NotFound, _) => "opens at once",
        (ErrorKind::RateLimited | ErrorKind::Overloaded, _) => "no; left alone for a while",
        _ if error.may_be_poison() => "once confirmed",
        (kind, _) if kind.counts_against_health() => "yes",
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
