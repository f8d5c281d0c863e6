//! `llm-router spend --format focus`: charges in the columns of FOCUS 1.2 (<https://focus.finops.org>).
//!
//! A row for each day, kind of tokens, and all that tells calls apart, because a row has one price. Its `BilledCost` is a part of
//! what the ledger has, so that their sum is the ledger's to the nano-dollar; `ListCost` is price times quantity, as the
//! specification wants it, without the rounding of each call.
//!
//! What has no cost yet is no row with a zero: it goes to a second file. That is what has no price, and what upstreams that bill by
//! the second of a GPU served: their invoice has no tokens.

mod charge;
mod columns;
mod service;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use jiff::civil::Date;
use ledger::{Dimension, Query, Spend};
use settings::{Config, recorded_price};

use super::{
    Arguments,
    figures::{Figure, csv},
    note_nothing,
};
use crate::cli::{note, say, simulate::output::write};
use charge::Charge;
use service::Service;

/// What tells calls apart whose tokens are in one charge, in the order of [`Group::of`].
const BY: [Dimension; 8] = [
    Dimension::Day,
    Dimension::Team,
    Dimension::Key,
    Dimension::Model,
    Dimension::Upstream,
    Dimension::UsageSource,
    Dimension::PriceVersion,
    Dimension::Tags,
];

/// Calls that differ in nothing that a charge tells apart.
#[derive(Debug, Clone)]
struct Group {
    day: Date,
    /// `None` for the router's own calls.
    team: Option<String>,
    key: Option<String>,
    model: Option<String>,
    upstream: String,
    /// Where its tokens come from; `None` if nothing was used.
    usage_source: Option<String>,
    price_version: Option<String>,
    tags: Option<String>,
    spend: Spend,
}

impl Group {
    fn of(spend: Spend) -> anyhow::Result<Self> {
        let mut labels = spend.labels.clone().into_iter();
        let mut next = || labels.next().flatten();
        Ok(Self {
            day: next().context("a day")?.parse().context("the ledger has a day that is none")?,
            team: next(),
            key: next(),
            model: next(),
            upstream: next().unwrap_or_default(),
            usage_source: next(),
            price_version: next(),
            tags: next(),
            spend,
        })
    }
}

/// Why calls are in no charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unpriced {
    /// Their tokens have no price.
    NoPrice,
    /// Their upstream bills by the second of a GPU, and not by the token.
    GpuSeconds,
}

impl Unpriced {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NoPrice => "no_price",
            Self::GpuSeconds => "gpu_seconds",
        }
    }
}

/// What the ledger says, as charges and as what has no cost yet.
struct Export<'a> {
    charges: Vec<Charge<'a>>,
    unpriced: Vec<(&'a Group, Unpriced)>,
}

/// Reads the ledger, and writes the charges and what has no cost yet.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.by.is_empty() {
        bail!("--format focus has rows of its own, with all tags: leave out --by");
    }
    let config = arguments.source.configuration()?;
    let config =
        config.context("--format focus needs --config, which says how upstreams bill: give that, not --ledger")?;
    let ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let query = Query { by: BY.to_vec(), of: arguments.selection.of(), ..days.query()? };
    let groups = ledger::spend(&ledger, &query)?.into_iter().map(Group::of).collect::<anyhow::Result<Vec<_>>>()?;
    if groups.is_empty() {
        note_nothing(&arguments.selection, days);
    }
    let services = services(&config, &groups);
    let export = export(&groups, &services);
    write_unpriced(arguments, &export.unpriced)?;
    let text = columns::text(&export.charges);
    match &arguments.out {
        Some(out) => write(out, &format!("{text}\n")),
        None => Ok(say(&text)?),
    }
}

/// How each upstream of the rows bills. One that is not configured any more is said to be unknown.
fn services(config: &Config, groups: &[Group]) -> BTreeMap<String, Service> {
    let names: BTreeSet<_> = groups.iter().map(|group| group.upstream.as_str()).collect();
    let service = |id: &str| {
        let upstream = config.upstreams.iter().find(|upstream| upstream.id.as_str() == id);
        if upstream.is_none() {
            note(&format!(
                "upstream {id:?} is not in the configuration any more: its tokens count as billed by the token"
            ));
        }
        (id.to_owned(), upstream.map_or_else(|| Service::unknown(id), Service::of))
    };
    names.into_iter().map(service).collect()
}

fn export<'a>(groups: &'a [Group], services: &'a BTreeMap<String, Service>) -> Export<'a> {
    let mut export = Export { charges: Vec::new(), unpriced: Vec::new() };
    // What nothing was used for, a refused call for example, is no charge.
    for group in groups.iter().filter(|group| group.usage_source.is_some()) {
        let Some(service) = services.get(&group.upstream) else { continue };
        let price = group.price_version.as_deref();
        match price.and_then(recorded_price) {
            _ if service.bills_gpu_seconds(price) => export.unpriced.push((group, Unpriced::GpuSeconds)),
            Some((since, price)) => export.charges.extend(charge::of_tokens(group, service, since, price)),
            None => export.unpriced.push((group, Unpriced::NoPrice)),
        }
    }
    export
}

/// Writes what has no cost yet, and says how much that is.
fn write_unpriced(arguments: &Arguments, unpriced: &[(&Group, Unpriced)]) -> anyhow::Result<()> {
    if unpriced.is_empty() {
        return Ok(());
    }
    let calls = |reason| -> u64 {
        let of_reason = unpriced.iter().filter(|(_, why)| *why == reason);
        of_reason.map(|(group, _)| group.spend.calls).sum()
    };
    let counts = format!(
        "calls without a price: {}, at upstreams that bill by the second of a GPU: {}",
        calls(Unpriced::NoPrice),
        calls(Unpriced::GpuSeconds)
    );
    let beside = || arguments.out.as_deref().map(beside);
    let Some(file) = arguments.unpriced.clone().or_else(beside) else {
        bail!("what some calls cost is not known yet ({counts}): give --unpriced FILE for them, or --out FILE");
    };
    note(&format!("not in the charges ({counts}): see {}", file.display()));
    write(&file, &format!("{}\n", unpriced_text(unpriced)))
}

/// The second file beside the first: `october.unpriced.csv` for `october.csv`.
fn beside(out: &Path) -> PathBuf {
    out.with_extension("unpriced.csv")
}

const UNPRICED: [&str; 14] = [
    "day",
    "team",
    "key",
    "model",
    "upstream",
    "tags",
    "usage_source",
    "calls",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "list_price_usd",
    "reason",
];

fn unpriced_text(unpriced: &[(&Group, Unpriced)]) -> String {
    let line = |(group, reason): &(&Group, Unpriced)| {
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        let spend = &group.spend;
        let counts =
            [spend.calls, spend.prompt_tokens, spend.cached_tokens, spend.completion_tokens, spend.reasoning_tokens];
        // What has no price has no amount, which is not an amount of zero.
        let list = recorded_price(group.price_version.as_deref().unwrap_or_default());
        let list = list.map(|_| Figure::usd(spend.cost_nano_usd).text()).unwrap_or_default();
        let names = [
            group.day.to_string(),
            some(&group.team),
            some(&group.key),
            some(&group.model),
            group.upstream.clone(),
            some(&group.tags),
            some(&group.usage_source),
        ];
        let counts = counts.map(|count| count.to_string());
        names.into_iter().chain(counts).chain([list, reason.as_str().to_owned()]).collect()
    };
    let header = UNPRICED.map(str::to_owned).to_vec();
    csv(std::iter::once(header).chain(unpriced.iter().map(line)))
}
