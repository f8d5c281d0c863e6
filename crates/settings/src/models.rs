//! `[[models]]`: what clients ask for.

use std::time::Duration;

use provider::{ModelId, ReasoningField, UpstreamId};
use router::StrategyName;

use crate::{
    budgets,
    hedge::Hedges,
    limits,
    prices::DatedPrice,
    problem::{Problem, did_you_mean},
    reader::Table,
    types::{Model, Target},
    upstreams::Entry,
    value::{Item, Text, is_model_name},
};

/// The models, and the name of every one, those with problems included: what names one of these is not blamed.
pub(crate) fn read(root: &mut Table<'_>, upstreams: &[Entry]) -> (Vec<Model>, Vec<String>) {
    let context = root.context;
    let Some(tables) = root.tables("models") else { return Default::default() };
    if tables.is_empty() {
        context.report(Problem::new("models", "no model", "at least one [[models]]"));
    }
    let mut models: Vec<Model> = Vec::new();
    let mut names = Vec::new();
    for table in tables {
        let path = table.at("name");
        let (name, model) = model(table, upstreams);
        if let Some(name) = name {
            if names.contains(&name) {
                let problem = Problem::new(path, "is the name of another model too", "a name of its own");
                context.report(problem.value(format!("{name:?}")));
            }
            names.push(name);
        }
        models.extend(model);
    }
    (models, names)
}

fn model(mut table: Table<'_>, upstreams: &[Entry]) -> (Option<String>, Option<Model>) {
    let strategies = StrategyName::ALL.map(|strategy| (strategy.as_str(), strategy));
    let name = table.required("name", "the name that clients ask for");
    let name = name.inspect(|text| check_name(text, upstreams)).map(|text| text.value);
    let strategy = table
        .required("strategy", "weighted, balanced, cost or latency")
        .and_then(|text| text.choice("a strategy", &strategies));
    let slo_ttft = table.table("slo").and_then(|mut slo| {
        let ttft = slo.millis("ttft_ms");
        slo.finish();
        ttft
    });
    let baseline = table.text("baseline").and_then(|text| baseline(&text, upstreams));
    let deadline = table.millis("deadline_ms").unwrap_or(Duration::from_mins(1));
    let early_headers = table.flag("early_headers", false);
    let fields = ReasoningField::ALL.map(|field| (field.as_str(), field));
    let reasoning_field =
        table.text("reasoning_field").and_then(|text| text.choice("where reasoning may stand", &fields));
    let (limits, budgets) = (limits::read(&mut table), budgets::read(&mut table));
    let hedge = Hedges::read(&mut table);
    let before = table.context.problems();
    let targets = targets(&mut table, upstreams);
    if table.context.problems() == before
        && let Some(hedge) = &hedge
    {
        hedge.check((strategy, deadline), &targets, upstreams);
    }
    table.finish();
    let model = name.as_deref().map(ModelId::from).zip(strategy).map(|(name, strategy)| Model {
        name,
        strategy,
        slo_ttft,
        baseline,
        deadline,
        early_headers,
        reasoning_field: reasoning_field.unwrap_or_default(),
        hedge: hedge.and_then(|hedge| hedge.settings),
        limits,
        budgets,
        targets,
    });
    (name, model)
}

/// A name that clients can send and that means one thing only.
fn check_name(text: &Text<'_>, upstreams: &[Entry]) {
    if !is_model_name(&text.value) {
        text.refuse::<()>("is not a model's name", "1 to 128 visible ASCII characters", None);
    } else if let Some((fault, expected)) = reserved(&text.value, upstreams) {
        text.refuse::<()>(fault, expected, None);
    }
}

/// Why a name with a slash means something else already, and what would not.
pub(crate) fn reserved(name: &str, upstreams: &[Entry]) -> Option<(&'static str, String)> {
    let (prefix, _) = name.split_once('/')?;
    if matches!(prefix, "task" | "ensemble") {
        return Some(("is reserved", format!("a name that does not start with {prefix}/, which is reserved")));
    }
    let is_upstream = upstreams.iter().any(|entry| entry.id.as_deref() == Some(prefix));
    let expected = "a name that does not start with an upstream's id and a slash".to_owned();
    is_upstream.then_some(("already means the upstream of that id", expected))
}

fn reference<'a>(text: &Text<'_>, upstreams: &'a [Entry]) -> Option<&'a Entry> {
    let entry = upstreams.iter().find(|entry| entry.id.as_ref() == Some(&text.value));
    if entry.is_some() {
        return entry;
    }
    let ids = upstreams.iter().filter_map(|entry| entry.id.as_deref());
    text.refuse("is not the id of an upstream", "the id of one of [[upstreams]]", did_you_mean(&text.value, ids))
}

fn baseline(text: &Text<'_>, upstreams: &[Entry]) -> Option<UpstreamId> {
    let entry = reference(text, upstreams)?;
    // On every day: a later price without one would leave the comparison without a baseline.
    let is_priced =
        |prices: &[DatedPrice]| !prices.is_empty() && prices.iter().all(|price| price.tariff.list_price().is_some());
    // An upstream with problems of its own is not blamed twice.
    if entry.upstream.as_ref().is_some_and(|upstream| !is_priced(&upstream.prices)) {
        let hint = "add cost to the upstream: kind = \"tokens\", \"requests\" or \"audio_seconds\", or list_usd_per_million for gpu_seconds".to_owned();
        return text.refuse("has no list price", "an upstream that savings can be measured against", Some(hint));
    }
    Some(UpstreamId::from(text.value.as_str()))
}

fn targets(table: &mut Table<'_>, upstreams: &[Entry]) -> Vec<Target> {
    let context = table.context;
    let path = table.at("targets");
    let Some(tables) = table.tables("targets") else { return Vec::new() };
    if tables.is_empty() {
        let expected = "at least one { upstream = \"…\", share = 1.0 }";
        context.report(Problem::new(&path, "no target", expected));
        return Vec::new();
    }
    let count = tables.len();
    let mut targets: Vec<Target> = Vec::new();
    let mut shares = Vec::new();
    let mut wrong = false;
    for mut table in tables {
        let text = table.required("upstream", "the id of one of [[upstreams]]");
        let share = table.take("share");
        let given = share.is_some();
        let share = share.and_then(Item::fraction);
        wrong |= given && share.is_none();
        shares.extend(share);
        if let Some(text) = text
            && reference(&text, upstreams).is_some()
        {
            if targets.iter().any(|target| target.upstream.as_str() == text.value) {
                text.refuse::<()>("is a target twice", "each upstream once", None);
            }
            targets
                .push(Target { upstream: UpstreamId::from(text.value.as_str()), share: share.unwrap_or(equal(count)) });
        }
        table.finish();
    }
    if !wrong && !shares.is_empty() {
        check_shares(&path, &shares, count, |problem| context.report(problem));
    }
    targets
}

#[expect(clippy::cast_precision_loss, reason = "no model has 2^52 targets")]
fn equal(count: usize) -> f64 {
    1.0 / count as f64
}

/// All targets have a share or none, and they sum to 1.
fn check_shares(path: &str, shares: &[f64], count: usize, report: impl Fn(Problem)) {
    if shares.len() < count {
        let fault = "some targets have a share and some have not";
        report(Problem::new(path, fault, "a share for all, or for none and equal parts"));
        return;
    }
    let sum: f64 = shares.iter().sum();
    if (sum - 1.0).abs() <= 1e-6 {
        return;
    }
    let problem = Problem::new(path, format!("shares sum to {}", round(sum)), "shares that sum to 1");
    let hint = if sum > 0.0 {
        let scaled: Vec<String> = shares.iter().map(|share| round(share / sum).to_string()).collect();
        format!("in the same proportion: {}", scaled.join(", "))
    } else {
        "leave all shares out for equal parts".to_owned()
    };
    report(problem.hint(hint));
}

fn round(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}
