//! The documents name every strategy, error code and header, no metric that does not exist, and have no broken links.

use std::{collections::BTreeSet, path::Path};

use crate::repository::{files, names, root, shown, text};

/// Most words of `README.md` and the pages in `docs` together, without subfolders and measurements that a program writes.
const MAX_WORDS: usize = 22_000;

/// Every string literal of `source` that consists of these characters and `fits`.
fn literals(source: &str, fits: impl Fn(&str) -> bool) -> BTreeSet<String> {
    source.split('"').filter(|part| fits(part)).map(str::to_owned).collect()
}

fn is_snake_case(word: &str) -> bool {
    word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Fails unless each name stands in the document as code.
fn assert_documented(names: &BTreeSet<String>, document: &str) {
    let text = text(document);
    let missing: Vec<_> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{document} says nothing of {missing:?}");
}

/// That `docs/metrics.md` lists every metric is held by a test of the server; no other document may name one that does not exist.
#[test]
fn no_document_names_a_metric_that_does_not_exist() {
    let names = literals(&text("crates/server/src/metrics/contract.rs"), |word| word.starts_with("llmrouter_"));
    assert!(names.len() > 30, "{names:?}");
    let mut documents = files("docs", &[".md"]);
    documents.push(root().join("README.md"));
    let is_word = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | ':');
    for document in documents {
        let text = text(&document);
        let told = text.split(|c| !is_word(c)).filter(|word| word.starts_with("llmrouter_"));
        let gone: Vec<_> = told
            .filter(|word| {
                !names.iter().any(|name| {
                    name == word || ["_bucket", "_sum", "_count"].iter().any(|end| word.strip_suffix(end) == Some(name))
                })
            })
            .collect();
        assert!(gone.is_empty(), "{} names metrics that do not exist: {gone:?}", shown(&document));
    }
}

#[test]
fn every_error_code_is_documented() {
    let files = ["error.rs", "error/unserved.rs", "error/wishes.rs"];
    let errors: String = files.map(|file| text(format!("crates/server/src/{file}"))).concat();
    let codes = literals(&errors, is_snake_case);
    assert!(codes.len() > 25, "{codes:?}");
    assert_documented(&codes, "docs/api.md");
}

#[test]
fn every_response_header_is_documented() {
    let is_header = |word: &str| word.starts_with("x-");
    let mut headers = BTreeSet::new();
    for path in files("crates/server/src/api", &[".rs"]) {
        headers.extend(literals(&text(shown(&path)), is_header));
    }
    headers.extend(literals(&text("crates/server/src/error.rs"), is_header));
    assert!(headers.len() > 8, "{headers:?}");
    assert_documented(&headers, "docs/api.md");
}

#[test]
fn every_strategy_is_documented() {
    let strategies = files("crates/router/src/strategy", &[".rs"]);
    let names = strategies.iter().filter_map(|path| path.file_stem()?.to_str()).filter(|name| *name != "tests");
    assert_documented(&names.map(str::to_owned).collect(), "docs/configuration.md");
}

/// Where the links of a document lead.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_anchor(document: &Path, wanted: &str) -> bool {
    let text = text(document);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.into_iter().any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

#[test]
fn every_link_leads_somewhere() {
    let mut documents = files("docs", &[".md"]);
    documents.extend(
        ["README.md", "CHANGELOG.md", "deploy/README.md", "deploy/runpod/README.md"].map(|name| root().join(name)),
    );
    let mut followed = 0;
    for document in &documents {
        let folder = document.parent().unwrap();
        for link in links(&text(document)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { folder.join(path) };
            assert!(target.exists(), "{}: {link} leads nowhere", shown(document));
            assert!(anchor.is_empty() || has_anchor(&target, anchor), "{}: {link} leads nowhere", shown(document));
            followed += 1;
        }
    }
    assert!(followed > 10, "there are links to follow");
}

#[test]
fn every_document_is_in_the_readme() {
    let readme = text("README.md");
    for document in files("docs", &[".md"]) {
        let name = shown(&document);
        let listed = name.starts_with("docs/decisions/") || readme.contains(&format!("({name})"));
        assert!(listed, "README.md does not list {name}");
    }
    assert!(readme.contains("(docs/decisions)"), "README.md does not list the decisions");
}

#[test]
fn the_pages_stay_short() {
    let pages = names(&root().join("docs")).into_iter().filter(|name| name.strip_suffix(".md").is_some());
    let pages = pages.map(|name| format!("docs/{name}")).chain(["README.md".to_owned()]);
    let texts = pages.map(text).filter(|text| !text.contains("<!-- Made by "));
    let words: usize = texts.map(|text| text.split_whitespace().count()).sum();
    assert!(
        words <= MAX_WORDS,
        "README.md and docs/*.md have {words} words of at most {MAX_WORDS}: say each thing once"
    );
}
