//! `llm-router spend --format focus`: charges in the columns of FOCUS 1.2 (<https://focus.finops.org>).
//!
//! A row for each day, kind of tokens, and all that calls are grouped by, because a row has one price. Its `BilledCost` is a part of
//! what the ledger has, so that their sum is the ledger's to the nano-dollar; `ListCost` is price times quantity, as the
//! specification wants it, without the rounding of each call.
//!
//! Upstreams that bill by the second of a GPU have no tokens on their invoices: their charges are of seconds, shared out to the calls
//! of each hour, and what these calls used stands in columns of the router's own.
//!
//! What has no cost yet is no row with a zero: it goes to a second file. That is what has no price, and calls whose hour is not over, or
//! in which nobody counted the workers.

mod charge;
mod columns;
mod gpu;
mod service;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::once,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use jiff::civil::Date;
use ledger::{Dimension, GpuReport, Query, Spend};
use settings::{Config, recorded_price};

use super::{
    Arguments,
    figures::{Figure, csv, plain},
    gpu_cost::tariffs,
    note_nothing,
    selection::check_tags,
};
use crate::{
    cli::{note, say, simulate::output::write},
    clock,
};
use charge::Charge;
use service::Service;

/// What calls are grouped by whose tokens are in one charge, in the order of [`Group::of`].
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

/// Calls that differ in nothing that charges are grouped by.
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

    /// Of prompts and answers.
    fn tokens(&self) -> u64 {
        self.spend.prompt_tokens + self.spend.completion_tokens
    }
}

/// Why calls are in no charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unpriced {
    /// Their tokens have no price.
    NoPrice,
    /// Their upstream bills by the second of a GPU, and their seconds are not known.
    GpuSecondsUnknown,
}

impl Unpriced {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NoPrice => "no_price",
            Self::GpuSecondsUnknown => "gpu_seconds_unknown",
        }
    }
}

/// Calls that are in no charge.
struct Missing<'a> {
    group: &'a Group,
    why: Unpriced,
    /// What their tokens cost at list prices, if they have some.
    list_nano_usd: Option<u64>,
}

/// What the ledger says, as charges and as what has no cost yet.
#[derive(Default)]
struct Export<'a> {
    charges: Vec<Charge<'a>>,
    missing: Vec<Missing<'a>>,
}

/// Reads the ledger, and writes the charges and what has no cost yet.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.by.is_empty() {
        bail!("--format focus has rows of its own, with all tags: leave out --by");
    }
    let targets = (arguments.unpriced.as_deref(), arguments.out.as_deref());
    check_targets(targets.0, targets.1)?;
    let config = arguments.source.config()?;
    let config =
        config.context("--format focus needs --config, which says how upstreams bill: give that, not --ledger")?;
    let mut ledger = arguments.source.ledger()?;
    let days = arguments.period.days()?;
    let query = Query { by: BY.to_vec(), of: arguments.selection.of(), ..days.query()? };
    check_tags(&query, Some(&config))?;
    let groups = ledger.spend(&query)?.into_iter().map(Group::of).collect::<anyhow::Result<Vec<_>>>()?;
    let now_ms = clock::now_ms();
    let workers = ledger.gpu(&query, &tariffs(Some(&config)), now_ms)?;
    for text in super::gpu::notes(&workers, &query, now_ms) {
        note(&text);
    }
    let gpu_groups = gpu::groups(&workers)?;
    if groups.is_empty() && gpu_groups.is_empty() {
        note_nothing(&arguments.selection, days);
    }
    let all = groups.iter().chain(gpu_groups.iter().map(|of_gpu| &of_gpu.group));
    let services = services(&config, all);
    let mut export = export(&groups, &workers, &services);
    gpu::export(&gpu_groups, &services, &mut export);
    write_missing(targets, &export.missing)?;
    let text = columns::text(&export.charges);
    match &arguments.out {
        Some(out) => write(out, &format!("{text}\n")),
        None => Ok(say(&text)?),
    }
}

/// How each upstream of the rows bills. One that is not configured any more is said to be unknown.
fn services<'a>(config: &Config, groups: impl Iterator<Item = &'a Group>) -> BTreeMap<String, Service> {
    let names: BTreeSet<_> = groups.map(|group| group.upstream.as_str()).collect();
    let service = |id: &str| {
        let upstream = config.upstreams.iter().find(|upstream| upstream.id.as_str() == id);
        if upstream.is_none() {
            note(&format!(
                "upstream {id:?} is not in the configuration any more: tokens count as billed by the token, unless its workers were counted"
            ));
        }
        (id.to_owned(), upstream.map_or_else(|| Service::unknown(id), Service::of))
    };
    names.into_iter().map(service).collect()
}

/// Charges of tokens. The calls that are billed by the second of workers which were counted are in [`gpu::export`].
fn export<'a>(groups: &'a [Group], workers: &GpuReport, services: &'a BTreeMap<String, Service>) -> Export<'a> {
    let mut export = Export::default();
    let counted = gpu::counted(workers);
    // What nothing was used for, a refused call for example, is no charge.
    for group in groups.iter().filter(|group| group.usage_source.is_some()) {
        let Some(service) = services.get(&group.upstream) else { continue };
        let version = group.price_version.as_deref();
        let price = version.and_then(recorded_price);
        let list_nano_usd = price.map(|_| group.spend.cost_nano_usd);
        match price {
            _ if workers.is_of_workers(&group.upstream, version) && counted.contains(group.upstream.as_str()) => {}
            _ if workers.is_of_workers(&group.upstream, version) => {
                export.missing.push(Missing { group, why: Unpriced::GpuSecondsUnknown, list_nano_usd });
            }
            Some((since, price)) => export.charges.extend(charge::of_tokens(group, service, since, price)),
            None => export.missing.push(Missing { group, why: Unpriced::NoPrice, list_nano_usd }),
        }
    }
    export
}

/// Writes what has no cost yet, and says how much that is. Without any, the file has its header alone, so that none of an earlier
/// export stays beside this one.
fn write_missing((unpriced, out): (Option<&Path>, Option<&Path>), missing: &[Missing<'_>]) -> anyhow::Result<()> {
    let calls = |reason| -> u64 {
        let of_reason = missing.iter().filter(|missing| missing.why == reason);
        of_reason.map(|missing| missing.group.spend.calls).sum()
    };
    let counts = format!(
        "calls without a price: {}, without known GPU seconds: {}",
        calls(Unpriced::NoPrice),
        calls(Unpriced::GpuSecondsUnknown)
    );
    let Some(file) = unpriced.map(Path::to_owned).or_else(|| out.map(beside)) else {
        if missing.is_empty() {
            return Ok(());
        }
        bail!("what some calls cost is not known yet ({counts}): give --unpriced FILE for them, or --out FILE");
    };
    if !missing.is_empty() {
        note(&format!("not in the charges ({counts}): see {}", file.display()));
    }
    write(&file, &format!("{}\n", missing_text(missing)))
}

/// Refuses to write both files to the same place.
fn check_targets(unpriced: Option<&Path>, out: Option<&Path>) -> anyhow::Result<()> {
    let same = |(one, other): &(&Path, &Path)| std::path::absolute(one).ok() == std::path::absolute(other).ok();
    match unpriced.zip(out).filter(same) {
        Some((file, _)) => {
            bail!("--unpriced and --out are both {}: what has no cost yet is a file of its own", file.display())
        }
        None => Ok(()),
    }
}

/// The second file beside the first: `october.unpriced.csv` for `october.csv`.
fn beside(out: &Path) -> PathBuf {
    out.with_extension("unpriced.csv")
}

/// The columns of the second file.
const MISSING: [&str; 11] =
    ["day", "team", "key", "model", "upstream", "tags", "usage_source", "calls", "tokens", "list_price_usd", "reason"];

fn missing_text(missing: &[Missing<'_>]) -> String {
    let line = |Missing { group, why, list_nano_usd }: &Missing<'_>| {
        let some = |text: &Option<String>| plain(text.clone().unwrap_or_default());
        vec![
            group.day.to_string(),
            some(&group.team),
            some(&group.key),
            some(&group.model),
            plain(group.upstream.clone()),
            some(&group.tags),
            some(&group.usage_source),
            group.spend.calls.to_string(),
            group.tokens().to_string(),
            list_nano_usd.map(|nano| Figure::usd(nano).text()).unwrap_or_default(),
            why.as_str().to_owned(),
        ]
    };
    csv(once(MISSING.map(str::to_owned).to_vec()).chain(missing.iter().map(line)))
}
