//! Charges of upstreams that bill by the second of a GPU.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context as _;
use ledger::{Dimension, GpuReport, GpuShare, GpuTime, Spend};
use provider::PicoUsd;

use super::{
    Export, Group, Missing, Unpriced,
    charge::{self, Charge},
    service::Service,
};
use crate::gpu::{ROUNDING, rounded_part};

/// What calls are grouped by whose seconds are in one charge, in the order of [`group`].
const BY: [Dimension; 6] =
    [Dimension::Day, Dimension::Team, Dimension::Key, Dimension::Model, Dimension::Upstream, Dimension::Tags];

/// Calls of a day that share worker time at one price, or that have none.
#[derive(Debug, Clone)]
pub(super) struct GpuGroup {
    /// Calls and tokens; the cost is that of the tokens at list prices.
    pub(super) group: Group,
    /// Their share of workers; `None` if that is not known.
    pub(super) seconds: Option<Seconds>,
}

/// Time of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds {
    /// What a second costs at list price.
    pub(super) rate: PicoUsd,
    /// What it cost. That is not price times quantity if the price changed within an hour.
    pub(super) nano_usd: u64,
    /// In nanoseconds.
    pub(super) quantity: u64,
}

/// Values of [`BY`], and what a second costs in pico-dollars, if it is known.
type Key = (Vec<Option<String>>, Option<u64>);

/// The upstreams whose workers were ever counted.
pub(super) fn counted(workers: &GpuReport) -> BTreeSet<&str> {
    workers.upstreams.iter().map(|upstream| upstream.name.as_str()).collect()
}

/// The shares of all hours, by day.
pub(super) fn groups(workers: &GpuReport) -> anyhow::Result<Vec<GpuGroup>> {
    let hours: HashMap<_, _> = workers.hours.iter().map(|time| ((time.upstream.as_str(), time.hour), time)).collect();
    let mut sums: BTreeMap<Key, (Spend, u64, u64)> = BTreeMap::new();
    let counted = counted(workers);
    for share in workers.shares.iter().filter(|share| counted.contains(share.upstream.as_str())) {
        let nano_usd = share.gpu_nano_usd.unwrap_or_default();
        let hour = share.gpu_nano_usd.and_then(|_| hours.get(&(share.upstream.as_str(), share.hour)));
        let key = (share.labels(&BY), hour.map(|time| time.pico_usd_per_second));
        let (spend, sum, quantity) = sums.entry(key).or_default();
        spend.add(&used(share));
        *sum += nano_usd;
        *quantity += hour.map_or(0, |time| rounded_part(billed_ns(time), nano_usd, time.cost_nano_usd));
    }
    let sums = sums.into_iter().map(|((labels, rate), (spend, nano_usd, quantity))| {
        let seconds = rate.map(|rate| Seconds { rate: PicoUsd(rate), nano_usd, quantity });
        Ok(GpuGroup { group: group(labels, spend)?, seconds })
    });
    sums.collect()
}

/// Time of workers that is billed in an hour, with the rounding of starts, in nanoseconds.
fn billed_ns(time: &GpuTime) -> u64 {
    let rounding_ms = time.starts * u64::try_from(ROUNDING.as_millis()).unwrap_or(u64::MAX);
    (time.billed_ms() + rounding_ms) * 1_000_000
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
            Some(seconds) if seconds.nano_usd > 0 || group.tokens() == 0 => {
                export.charges.extend(charge::of_seconds(group, service, *seconds));
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
