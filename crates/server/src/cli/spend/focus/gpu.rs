//! Charges of upstreams that bill by the second of a GPU.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use ledger::{Dimension, GpuReport, GpuShare, Spend};
use provider::PicoUsd;

use super::{
    Export, Group, Missing, Unpriced,
    charge::{self, Charge},
    service::Service,
};

/// What tells calls apart whose seconds are in one charge, in the order of [`group`].
const BY: [Dimension; 6] =
    [Dimension::Day, Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Upstream, Dimension::Tags];

/// Calls of a day that share worker time at one price, or that have none.
#[derive(Debug, Clone)]
pub(super) struct GpuGroup {
    /// Calls and tokens; the cost is that of the tokens at list prices.
    pub(super) group: Group,
    /// What a second costs, and their share of what the workers cost; `None` if that is not known.
    pub(super) seconds: Option<(PicoUsd, u64)>,
}

/// Values of [`BY`], and what a second costs in pico-dollars, if it is known.
type Key = (Vec<Option<String>>, Option<u64>);

/// The upstreams whose workers were ever counted.
pub(super) fn counted(workers: &GpuReport) -> BTreeSet<&str> {
    workers.upstreams.iter().map(|upstream| upstream.name.as_str()).collect()
}

/// The shares of all hours, by day.
pub(super) fn groups(workers: &GpuReport) -> anyhow::Result<Vec<GpuGroup>> {
    let rates: HashMap<_, _> =
        workers.hours.iter().map(|time| ((time.upstream.as_str(), time.hour), time.pico_usd_per_second)).collect();
    let mut sums: BTreeMap<Key, (Spend, u64)> = BTreeMap::new();
    let counted = counted(workers);
    for share in workers.shares.iter().filter(|share| counted.contains(share.upstream.as_str())) {
        let rate = share.gpu_nano_usd.and_then(|_| rates.get(&(share.upstream.as_str(), share.hour)).copied());
        let (spend, nano_usd) = sums.entry((share.labels(&BY), rate)).or_default();
        spend.add(&used(share));
        *nano_usd += share.gpu_nano_usd.unwrap_or_default();
    }
    let sums = sums.into_iter().map(|((labels, rate), (spend, nano_usd))| {
        let seconds = rate.map(|rate| (PicoUsd(rate), nano_usd));
        Ok(GpuGroup { group: group(labels, spend)?, seconds })
    });
    sums.collect()
}

/// What the calls of a share used. Their tokens are counted together: all of them stand as tokens of prompts here.
fn used(share: &GpuShare) -> Spend {
    Spend { calls: share.calls, prompt_tokens: share.tokens, cost_nano_usd: share.list_nano_usd, ..Spend::default() }
}

fn group(labels: Vec<Option<String>>, spend: Spend) -> anyhow::Result<Group> {
    let mut labels = labels.into_iter();
    let mut next = || labels.next().flatten();
    Ok(Group {
        day: next().context("a day")?.parse().context("the ledger has a day that is none")?,
        team: next(),
        key: next(),
        model: next(),
        upstream: next().unwrap_or_default(),
        usage_source: None,
        price_version: None,
        tags: next(),
        spend,
    })
}

/// Adds their charges, and what has none.
pub(super) fn export<'a>(groups: &'a [GpuGroup], services: &'a BTreeMap<String, Service>, export: &mut Export<'a>) {
    for GpuGroup { group, seconds } in groups {
        let Some(service) = services.get(&group.upstream) else { continue };
        match seconds {
            Some((rate, nano_usd)) if *nano_usd > 0 || group.tokens() == 0 => {
                export.charges.extend(charge::of_seconds(group, service, *rate, *nano_usd));
            }
            // Tokens of an hour in which no worker was seen came from somewhere: they are not free.
            Some(_) | None => {
                let list_nano_usd = Some(group.spend.cost_nano_usd);
                export.missing.push(Missing { group, why: Unpriced::GpuSecondsUnknown, list_nano_usd });
            }
        }
    }
}

/// What calls used beside the seconds that they are charged for.
pub(super) fn allocated<'a>(charge: &'a Charge<'_>) -> Option<&'a Group> {
    charge.meter.is_time().then_some(charge.group)
}
