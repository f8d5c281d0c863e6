//! Random rows and questions about them, and what the answers must be, without the store.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::super::*;
use crate::{
    report::DAY_MS,
    store::{rollup::HOUR_MS, upkeep::date},
};

/// The first day of the rows in these tests.
pub(super) const FIRST_DAY: i64 = 20_775;
pub(super) const DAYS: i64 = 5;
pub(super) const BEGIN_MS: i64 = FIRST_DAY * DAY_MS;
/// Some days later.
pub(super) const NOW_MS: i64 = BEGIN_MS + 40 * DAY_MS;

/// A call and its request.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) attempt: Attempt<'static>,
    pub(super) request: Request<'static>,
}

pub(super) fn cases() -> impl Strategy<Value = Vec<Case>> {
    let labels = (
        select(vec![None, Some("search"), Some("ads")]),
        select(vec![None, Some("a"), Some("b")]),
        select(vec![Some("m"), Some("n"), None]),
        select(vec![None, Some("env=prod"), Some("env=prod,feature=é'\"")]),
    );
    let labels = labels.prop_map(|(team, key, model, tags)| Labels { team, key, model, tags, ..LABELS });
    let call = (
        select(vec!["primary", "hedge", "warm_up"]),
        select(vec!["served", "refused", "timeout_gap"]),
        select(vec![None, Some(UsageSource::Reported), Some(UsageSource::Estimated), Some(UsageSource::Unknown)]),
        prop::option::of(0..1_000_000_u64),
        select(vec!["u", "v"]),
        0..3_u32,
    );
    let tokens = (0..500_u64, prop::option::of(0..100_u64), 0..500_u64, prop::option::of(0..100_u64));
    // Often at the very edge of an hour.
    let moment = (0..DAYS * DAY_MS, select(vec![None, Some(0), Some(1), Some(HOUR_MS - 1)]))
        .prop_map(|(at_ms, edge)| BEGIN_MS + edge.map_or(at_ms, |edge| at_ms.div_euclid(HOUR_MS) * HOUR_MS + edge));
    let baselines = select(vec![vec![], vec![("split", 7)], vec![("all:u", 5), ("split", 9)]]);
    let case = (labels, call, tokens, moment, baselines, 1..4_u64).prop_map(
        |(labels, call, tokens, ended_at_ms, baselines, writer)| {
            let (role, outcome, usage_source, cost, upstream, other) = call;
            let (prompt, cached, completion, reasoning) = tokens;
            let tokens = Tokens { prompt, cached, completion, reasoning };
            let attempt = Attempt {
                ended_at_ms,
                labels,
                role,
                outcome,
                usage_source,
                upstream,
                tokens: usage_source.map(|_| tokens),
                cost_nano_usd: cost.filter(|_| usage_source.is_some()),
                price_version: cost.map(|cost| if cost % 2 == 0 { ":1,1,1,1" } else { "2026-11-01:2,2,2,2" }),
                ..attempt(AttemptKey { attempt: other + 1, ..key(writer, 0) })
            };
            let request = Request { ended_at_ms, labels, outcome, baselines, ..request(key(writer, 0).request) };
            Case { attempt, request }
        },
    );
    vec(case, 1..50).prop_map(|mut cases| {
        for (case, number) in cases.iter_mut().zip(1..) {
            case.attempt.key.request.number = number;
            case.request.key.number = number;
        }
        cases
    })
}

/// What is asked: by what, from when until when, and of which team.
pub(super) fn queries() -> impl Strategy<Value = Query> {
    let dimensions = vec![
        Dimension::Team,
        Dimension::Key,
        Dimension::Model,
        Dimension::Upstream,
        Dimension::Route,
        Dimension::Role,
        Dimension::Day,
        Dimension::Tag("env".to_owned()),
        Dimension::Tags,
        Dimension::UsageSource,
        Dimension::PriceVersion,
    ];
    let edge = || (-DAY_MS..(DAYS + 1) * DAY_MS, select(vec![1, HOUR_MS, DAY_MS]));
    let team = vec(Just((Dimension::Team, "search".to_owned())), 0..2);
    (subsequence(dimensions, 0..4), edge(), edge(), team).prop_map(|(by, from, until, of)| {
        let at = |(at, unit): (i64, i64)| BEGIN_MS + at.div_euclid(unit) * unit;
        let (from, until) = (at(from), at(until));
        Query { by, since_ms: from.min(until), until_ms: from.max(until), of }
    })
}

/// What the rows say, without the store.
pub(super) fn expected(cases: &[Case], query: &Query) -> Vec<Spend> {
    let mut found: BTreeMap<Vec<Option<String>>, Spend> = BTreeMap::new();
    for row in cases.iter().map(|case| case.attempt) {
        let Attempt { ended_at_ms, labels, role, outcome, usage_source, tokens, cost_nano_usd, .. } = row;
        let is_of = query.of.iter().all(|(_, team)| labels.team == Some(team));
        if !is_of || !(query.since_ms..query.until_ms).contains(&ended_at_ms) {
            continue;
        }
        let labels: Vec<_> = query.by.iter().map(|by| label(by, &row)).collect();
        let is_served = outcome == "served" && role != "warm_up";
        let (tokens, cost) = (tokens.unwrap_or_default(), cost_nano_usd.unwrap_or_default());
        let if_source = |source| if usage_source == Some(source) { cost } else { 0 };
        let spend = found.entry(labels.clone()).or_insert_with(|| Spend { labels, ..Spend::default() });
        spend.add(&Spend {
            labels: Vec::new(),
            calls: 1,
            answers: u64::from(is_served),
            prompt_tokens: tokens.prompt,
            cached_tokens: tokens.cached.unwrap_or_default(),
            completion_tokens: tokens.completion,
            reasoning_tokens: tokens.reasoning.unwrap_or_default(),
            cost_nano_usd: cost,
            wasted_nano_usd: if is_served { 0 } else { cost },
            estimated_nano_usd: if_source(UsageSource::Estimated),
            unknown_nano_usd: if_source(UsageSource::Unknown),
            unpriced_calls: u64::from(usage_source.is_some() && cost_nano_usd.is_none()),
        });
    }
    if query.by.is_empty() && found.is_empty() {
        found.insert(Vec::new(), Spend::default());
    }
    found.into_values().collect()
}

pub(super) fn expected_baselines(cases: &[Case], query: &Query) -> Vec<Baseline> {
    let mut found = BTreeMap::<_, (u64, u64)>::new();
    for Request { ended_at_ms, labels, outcome, baselines, .. } in cases.iter().map(|case| &case.request) {
        let is_of = query.of.iter().all(|(_, team)| labels.team == Some(team));
        if !is_of || *outcome != "served" || !(query.since_ms..query.until_ms).contains(ended_at_ms) {
            continue;
        }
        let as_call = Attempt { labels: *labels, ended_at_ms: *ended_at_ms, ..attempt(key(1, 1)) };
        let labels: Vec<_> = query.by.iter().map(|by| label(by, &as_call)).collect();
        for (policy, cost) in baselines {
            let sum = found.entry((labels.clone(), policy)).or_default();
            *sum = (sum.0 + 1, sum.1 + cost);
        }
    }
    let baseline = |((labels, policy), (answers, cost_nano_usd)): ((_, &&str), _)| Baseline {
        labels,
        policy: (*policy).to_owned(),
        answers,
        cost_nano_usd,
    };
    found.into_iter().map(baseline).collect()
}

fn label(by: &Dimension, row: &Attempt<'_>) -> Option<String> {
    let labels = &row.labels;
    let label = match by {
        Dimension::Team => labels.team,
        Dimension::Key => labels.key,
        Dimension::Model => labels.model,
        Dimension::Upstream => Some(row.upstream),
        Dimension::Route => Some(labels.route),
        Dimension::Role => Some(row.role),
        Dimension::Tags => labels.tags,
        Dimension::Tag(_) => labels.tags.map(|_| "prod"),
        Dimension::UsageSource => row.usage_source.map(UsageSource::as_str),
        Dimension::PriceVersion => row.price_version,
        Dimension::Day => return Some(date(row.ended_at_ms.div_euclid(DAY_MS))),
    };
    label.map(str::to_owned)
}

/// What an answer has as well as a call.
pub(super) const OF_ANSWERS: [Dimension; 6] =
    [Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Route, Dimension::Day, Dimension::Tags];
