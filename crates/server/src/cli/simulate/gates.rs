//! `--max-cost-increase`, `--min-slo` and `--share`: the limits that a change must keep.

use std::fmt;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use simulator::{Gates, Providers, Results, ShareGate};

const MAX_COST_INCREASE: &str = "--max-cost-increase";
const MIN_SLO: &str = "--min-slo";
const SHARE: &str = "--share";

/// The demands, as they are written. They are made of every configuration but the first, or of the only one, in every
/// scenario that is run.
#[derive(Args)]
#[command(next_help_heading = "Gates, for your own CI; of the last configurations, in every scenario that is run")]
pub(super) struct GateArguments {
    /// A million tokens may cost so many percent more than with the first configuration; below 0, it must cost less.
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true, value_parser = finite)]
    max_cost_increase: Option<f64>,
    /// So many percent of all requests must be answered with a first token within the SLO.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    min_slo: Option<f64>,
    /// The upstream must serve this part of the answered requests, in percent: 79..81. Without an id it is the simulated
    /// upstream of the greatest share.
    #[arg(long, value_name = "[UPSTREAM=]LO..HI", value_parser = range)]
    share: Option<Range>,
}

/// A part of the answered requests, in percent.
#[derive(Debug, Clone, PartialEq)]
struct Range {
    upstream: Option<String>,
    low: f64,
    high: f64,
}

/// One demand and the option that makes it.
pub(super) struct Gate {
    option: &'static str,
    gates: Gates,
}

/// A demand that was not met.
#[derive(Debug, Serialize)]
pub(super) struct BrokenGate {
    /// The option that makes it.
    gate: &'static str,
    /// Of whom.
    policy: String,
    /// In which scenario; `None` where it is not about one.
    scenario: Option<String>,
    /// What was found and what was demanded.
    message: String,
}

impl fmt::Display for BrokenGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gate, policy, scenario, message } = self;
        let place = scenario.as_ref().map_or_else(String::new, |scenario| format!(" in {scenario}"));
        write!(f, "gate {gate} is broken by {policy}{place}: {message}")
    }
}

impl GateArguments {
    /// The demands, one by one; an error where one cannot be made.
    pub(super) fn resolve(&self, providers: &Providers, configs: usize) -> anyhow::Result<Vec<Gate>> {
        let Self { max_cost_increase, min_slo, share } = self;
        if configs == 0 && (max_cost_increase.is_some() || min_slo.is_some() || share.is_some()) {
            bail!("a gate is a demand on a configuration: give one with --config");
        }
        if max_cost_increase.is_some() && configs < 2 {
            bail!("{MAX_COST_INCREASE} compares two configurations: give the one of today with a first --config");
        }
        let share = share.as_ref().map(|range| range.resolve(providers)).transpose()?;
        let none = Gates::default();
        let cost = max_cost_increase.map(|_| Gates { max_cost_increase: *max_cost_increase, ..none.clone() });
        let slo = min_slo.map(|_| Gates { min_slo: *min_slo, ..none.clone() });
        let share = share.map(|share| Gates { share: Some(share), ..none });
        let all = [(MAX_COST_INCREASE, cost), (MIN_SLO, slo), (SHARE, share)];
        Ok(all.into_iter().filter_map(|(option, gates)| Some(Gate { option, gates: gates? })).collect())
    }
}

impl Range {
    fn resolve(&self, providers: &Providers) -> anyhow::Result<ShareGate> {
        let upstreams = &providers.upstreams;
        let greatest = upstreams.iter().reduce(|a, b| if b.share > a.share { b } else { a });
        let upstream = match &self.upstream {
            Some(id) => upstreams.iter().find(|upstream| upstream.id == *id),
            None => greatest,
        };
        let Some(upstream) = upstream else {
            let ids: Vec<&str> = upstreams.iter().map(|upstream| upstream.id.as_str()).collect();
            let id = self.upstream.as_deref().unwrap_or_default();
            bail!("{SHARE}: there is no simulated upstream {id:?}; there are {}", ids.join(", "));
        };
        let percent = f64::midpoint(self.low, self.high);
        Ok(ShareGate { upstream: upstream.id.clone(), percent, tolerance: self.high - percent })
    }
}

/// The demands that `policy` does not meet.
pub(super) fn broken<'a>(
    gates: &'a [Gate],
    results: &'a Results,
    policy: &'a str,
    before: Option<&'a str>,
) -> impl Iterator<Item = BrokenGate> + 'a {
    gates.iter().flat_map(move |gate| {
        let broken = gate.gates.check(results, policy, before).into_iter();
        broken.map(|broken| BrokenGate {
            gate: gate.option,
            policy: policy.to_owned(),
            scenario: broken.scenario,
            message: broken.message,
        })
    })
}

fn finite(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "a number of percent, such as 5".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let number = finite(text).ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "a number of percent from 0 to 100, such as 99".to_owned())
}

fn range(text: &str) -> Result<Range, String> {
    let form = || "a range of percent from 0 to 100, such as 79..81 or runpod-8b=79..81".to_owned();
    let (upstream, numbers) = text.rsplit_once('=').map_or((None, text), |(id, numbers)| (Some(id), numbers));
    let (low, high) = numbers.split_once("..").ok_or_else(form)?;
    let (low, high) = (percent(low).map_err(|_| form())?, percent(high).map_err(|_| form())?);
    if low > high {
        return Err(form());
    }
    if low > 0.0 && high <= 1.0 {
        return Err(format!("shares are in percent here: {}..{} rather than {numbers}", 100.0 * low, 100.0 * high));
    }
    Ok(Range { upstream: upstream.map(str::to_owned), low, high })
}

#[cfg(test)]
mod tests;
