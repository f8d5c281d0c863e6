//! `[[ensembles]]`: several models that answer as one.

use std::time::Duration;

use router::{Ensemble, Extract, Judge, Pick};

use crate::{
    problem::{Problem, did_you_mean},
    reader::Table,
    value::{Item, Text},
};

/// How every ensemble's name begins.
pub const ENSEMBLE_PREFIX: &str = "ensemble/";
const MOST_MEMBERS: usize = 16;
const LONGEST_RUBRIC: usize = 8_192;

/// The ensembles, and the name of every one, those with problems included: what names one of these is not blamed.
/// `models` are the names of the models.
pub(crate) fn read(root: &mut Table<'_>, models: &[String]) -> (Vec<Ensemble>, Vec<String>) {
    let context = root.context;
    let mut ensembles: Vec<Ensemble> = Vec::new();
    let mut names = Vec::new();
    for table in root.tables("ensembles").unwrap_or_default() {
        let path = table.at("name");
        let (name, ensemble) = ensemble(table, models);
        if let Some(name) = name {
            if names.contains(&name) {
                let problem = Problem::new(path, "is the name of another ensemble too", "a name of its own");
                context.report(problem.value(format!("{name:?}")));
            }
            names.push(name);
        }
        ensembles.extend(ensemble);
    }
    (ensembles, names)
}

fn ensemble(mut table: Table<'_>, models: &[String]) -> (Option<String>, Option<Ensemble>) {
    let name = table.required("name", "the name that clients ask for, such as \"ensemble/best-of-two\"");
    let name = name.inspect(check_name).map(|text| text.value);
    let members = members(&mut table, models);
    let pick = if let Some(item) = table.take("pick") {
        item.table().and_then(|table| pick(table, models))
    } else {
        let expected = "which answer is taken: { kind = \"…\" } with first, longest, majority, logprob or judge";
        table.context.report(Problem::new(table.at("pick"), "missing", expected));
        None
    };
    let deadline = table.millis("deadline_ms").unwrap_or(Duration::from_mins(1));
    table.finish();
    let ensemble = name.clone().zip(members).zip(pick);
    (name, ensemble.map(|((name, members), pick)| Ensemble { name, members, pick, deadline }))
}

fn check_name(text: &Text<'_>) {
    let name = &text.value;
    let expected = "ensemble/ and a name, 128 visible ASCII characters at most";
    match name.strip_prefix(ENSEMBLE_PREFIX) {
        None => {
            let hint = format!("write \"{ENSEMBLE_PREFIX}{name}\"");
            text.refuse::<()>("is not an ensemble's name", expected, Some(hint));
        }
        Some(rest) if rest.is_empty() || name.len() > 128 || !name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            text.refuse::<()>("is not an ensemble's name", expected, None);
        }
        Some(_) => {}
    }
}

fn members(table: &mut Table<'_>, models: &[String]) -> Option<Vec<String>> {
    let expected = format!("an array of the names of 2 to {MOST_MEMBERS} models; one may be named several times");
    let Some(item) = table.take("members") else {
        table.context.report(Problem::new(table.at("members"), "missing", expected));
        return None;
    };
    let items = item.list(&expected)?;
    if !(2..=MOST_MEMBERS).contains(&items.len()) {
        let fault = format!("has {} of them", items.len());
        table.context.report(Problem::new(table.at("members"), fault, expected));
    }
    Some(items.into_iter().filter_map(Item::text).filter_map(|text| model(text, models)).collect())
}

fn model(text: Text<'_>, models: &[String]) -> Option<String> {
    if models.contains(&text.value) {
        return Some(text.value);
    }
    let hint = did_you_mean(&text.value, models.iter().map(String::as_str));
    text.refuse("is not the name of a model", "the name of one of [[models]]", hint)
}

#[derive(Clone, Copy)]
enum Kind {
    First,
    Longest,
    Majority,
    Logprob,
    Judge,
}

fn pick(mut table: Table<'_>, models: &[String]) -> Option<Pick> {
    let kinds = [
        ("first", Kind::First),
        ("longest", Kind::Longest),
        ("majority", Kind::Majority),
        ("logprob", Kind::Logprob),
        ("judge", Kind::Judge),
    ];
    let kind = table.required("kind", "first, longest, majority, logprob or judge");
    // Without a kind it is unknown which other keys are allowed.
    let pick = match kind?.choice("a way to pick", &kinds)? {
        Kind::First => Some(Pick::First),
        Kind::Longest => Some(Pick::Longest),
        Kind::Logprob => Some(Pick::Logprob),
        Kind::Majority => Some(Pick::Majority(extract(&mut table))),
        Kind::Judge => judge(&mut table, models).map(Pick::Judge),
    };
    table.finish();
    pick
}

fn extract(table: &mut Table<'_>) -> Extract {
    let extracts = [("text", Extract::Text), ("number", Extract::Number), ("choice", Extract::Choice)];
    let text = table.text("extract");
    text.and_then(|text| text.choice("a part of an answer", &extracts)).unwrap_or(Extract::Text)
}

fn judge(table: &mut Table<'_>, models: &[String]) -> Option<Judge> {
    let model = table.required("model", "the name of the model that judges").and_then(|text| model(text, models));
    let rubric = match table.text("rubric") {
        None => Judge::RUBRIC.to_owned(),
        Some(text) if text.value.trim().is_empty() || text.value.len() > LONGEST_RUBRIC => {
            let expected = format!("what makes an answer good, in 1 to {LONGEST_RUBRIC} bytes");
            return text.refuse("is no rubric", expected, None);
        }
        Some(text) => text.value,
    };
    Some(Judge { model: model?, rubric })
}
