//! The test matrix: every case has tests that exist, or a reason, and `docs/reliability.md` says which.

mod rows;

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use crate::repository::text;
use rows::{GROUPS, ROWS, Row};

const PAGE: &str = "docs/reliability.md";

const HEAD: &str = "# What is tested against what goes wrong

<!-- Made from tests/tidy/reliability/rows.rs; a test of tests/tidy holds it there, and every test named here to exist. -->

Each case that a router in front of LLM providers must survive, and the tests that show it. They run with `tests/run`, but for
those of `tests/abuse` and `tests/long`, which take minutes: `tests/run abuse long`; their last figures stand below.
";

/// A word of a list of tests.
enum Word<'a> {
    /// A file and what it defines.
    Test(&'a str, &'a str),
    /// A part of the test command.
    Part(&'a str),
}

impl Row {
    fn words(&self) -> Vec<Word<'static>> {
        let mut words = self.tests.split_whitespace();
        let mut found = Vec::new();
        while let Some(word) = words.next() {
            found.push(match word.split_once("::") {
                Some((file, name)) => Word::Test(file, name),
                None if word == "tests/run" => Word::Part(words.next().expect("a part")),
                None => panic!("{}: {word:?} is neither a test nor a command", self.id),
            });
        }
        found
    }

    fn shown(&self) -> String {
        let tests = self.words().into_iter().map(|word| match word {
            Word::Test(file, name) => format!("`{file}::{name}`"),
            Word::Part(part) => format!("`tests/run {part}`"),
        });
        let rest = (!self.rest.is_empty()).then(|| self.rest.to_owned());
        let all: Vec<String> = tests.chain(rest).collect();
        format!("| {} | {} | {} |\n", self.id, self.case, all.join("<br>"))
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (letter, title) in GROUPS {
        let _written = write!(page, "\n## {title}\n\n| | Case | Shown by |\n|---|---|---|\n");
        page.extend(ROWS.iter().filter(|row| row.id.starts_with(letter)).map(Row::shown));
    }
    page + "\n## Last figures\n\n" + &text("tests/long/figures.md")
}

#[test]
fn the_page_says_what_the_table_says() {
    let expected = page();
    if text(PAGE) != expected {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reliability.md");
        fs::write(&made, expected).unwrap();
        panic!("{PAGE} is not what its table says: cp {} {PAGE}", made.display());
    }
}

#[test]
fn every_case_is_there_once_with_tests_or_a_reason() {
    let counts = [('L', 8), ('F', 13), ('C', 2), ('X', 6), ('P', 8), ('B', 5), ('S', 11), ('G', 4)];
    let expected: Vec<String> = counts
        .into_iter()
        .flat_map(|(letter, count)| (1..=count).map(move |number| format!("{letter}{number}")))
        .collect();
    assert_eq!(ROWS.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
    for row in &ROWS {
        assert!(!row.words().is_empty() || !row.rest.is_empty(), "{}", row.id);
        assert!(!row.rest.contains("part"), "{}: a case is shown, or it is said what is not", row.id);
    }
}

#[test]
fn every_test_of_the_table_exists() {
    let command = text("tests/run");
    let mut missing = BTreeSet::new();
    for row in &ROWS {
        for word in row.words() {
            let exists = match word {
                Word::Test(file, name) => defines(file, name),
                Word::Part(part) => command.contains(&format!("\n{}_part() {{", part.replace('-', "_"))),
            };
            if !exists {
                missing.insert(match word {
                    Word::Test(file, name) => format!("{}: {file}::{name}", row.id),
                    Word::Part(part) => format!("{}: tests/run {part}", row.id),
                });
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Whether a file defines a test, or a function of a check, of this name.
fn defines(file: &str, name: &str) -> bool {
    if !crate::repository::root().join(file).exists() {
        return false;
    }
    let text = text(file);
    if Path::new(file).extension().is_some_and(|extension| extension == "py") {
        return text.contains(&format!("\ndef {name}(")) || text.contains(&format!("\nasync def {name}("));
    }
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    // A list makes tests of it, one for each store.
    if text.contains("\non_both! {\n") && text.contains(&format!("\n    {name},\n")) {
        return true;
    }
    // One of the lines before says that it is a test.
    let start = text[..at].rfind('\n').unwrap_or_default();
    text[..start].lines().rev().take(3).any(|line| line.contains("test"))
}
