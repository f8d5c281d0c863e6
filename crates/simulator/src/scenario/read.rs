//! From TOML to scenarios.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Burst, Fault, FaultKind, Override, Scenario, UpstreamSelector};
use crate::{
    mistakes::{Mistakes, SettingsError},
    providers::{RawLimits, RawScaler, limits, scaler},
    time::from_seconds,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenarios {
    scenarios: Vec<RawScenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    #[serde(default = "one")]
    keep_every: u32,
    #[serde(default = "a_third")]
    window_at: f64,
    burst: Option<RawBurst>,
    #[serde(default)]
    overrides: Vec<RawOverride>,
    #[serde(default)]
    faults: Vec<RawFault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBurst {
    factor: u32,
    for_s: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOverride {
    kind: Option<String>,
    upstream: Option<String>,
    min_workers: Option<u32>,
    max_workers: Option<u32>,
    idle_timeout_s: Option<f64>,
    scaler: Option<RawScaler>,
    limits: Option<RawLimits>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    kind: Option<String>,
    upstream: Option<String>,
    fault: RawFaultKind,
    factor: Option<f64>,
    part: Option<f64>,
    #[serde(default)]
    from_s: f64,
    for_s: Option<f64>,
    #[serde(default = "one")]
    times: u32,
    every_s: Option<f64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawFaultKind {
    Outage,
    Throttle,
    Slowdown,
    Limits,
    Errors,
    Refusals,
}

const fn one() -> u32 {
    1
}

const fn a_third() -> f64 {
    0.35
}

/// Reads and checks a file of scenarios.
pub(super) fn scenarios(text: &str) -> Result<Vec<Scenario>, SettingsError> {
    let raw: RawScenarios = toml::from_str(text)?;
    let mut mistakes = Mistakes::default();
    let mut names = BTreeSet::new();
    let mut scenarios = Vec::new();
    for (number, raw) in raw.scenarios.into_iter().enumerate() {
        let path = format!("scenarios[{number}]");
        if raw.name.is_empty() || !names.insert(raw.name.clone()) {
            mistakes.note(format!("{path}.name"), format!("{:?} is empty or taken: names must differ", raw.name));
        }
        scenarios.push(scenario(raw, &path, &mut mistakes));
    }
    if scenarios.is_empty() {
        mistakes.note("scenarios", "name at least one scenario");
    }
    mistakes.end(scenarios)
}

fn scenario(raw: RawScenario, path: &str, mistakes: &mut Mistakes) -> Scenario {
    if raw.keep_every == 0 {
        mistakes.note(format!("{path}.keep_every"), "must be at least 1: 1 keeps every request");
    }
    if !(0.0..1.0).contains(&raw.window_at) {
        mistakes.note(format!("{path}.window_at"), format!("must be from 0 to below 1, not {}", raw.window_at));
    }
    let burst = raw.burst.map(|burst| {
        if !(2..=1000).contains(&burst.factor) {
            mistakes.note(format!("{path}.burst.factor"), format!("must be from 2 to 1000, not {}", burst.factor));
        }
        let lasts = from_seconds(mistakes.positive(&format!("{path}.burst.for_s"), burst.for_s));
        Burst { factor: burst.factor.max(1), lasts: lasts.max(u64::from(burst.factor)) }
    });
    let overrides = raw.overrides.into_iter().enumerate();
    let overrides = overrides.map(|(number, raw)| overridden(raw, &format!("{path}.overrides[{number}]"), mistakes));
    let overrides = overrides.collect();
    let faults = raw.faults.into_iter().enumerate();
    let faults = faults.map(|(number, raw)| fault(raw, &format!("{path}.faults[{number}]"), mistakes)).collect();
    Scenario { name: raw.name, keep_every: raw.keep_every as usize, window_at: raw.window_at, burst, overrides, faults }
}

fn selector(kind: Option<String>, upstream: Option<String>, path: &str, mistakes: &mut Mistakes) -> UpstreamSelector {
    match (kind, upstream) {
        (Some(kind), None) => UpstreamSelector::Kind(kind),
        (None, Some(id)) => UpstreamSelector::Upstream(id),
        _ => {
            mistakes.note(path, "name the upstreams: either kind = \"runpod\" or upstream = \"an-id\"");
            UpstreamSelector::Kind(String::new())
        }
    }
}

fn overridden(raw: RawOverride, path: &str, mistakes: &mut Mistakes) -> (UpstreamSelector, Override) {
    let idle_timeout_s =
        raw.idle_timeout_s.map(|value| mistakes.not_negative(&format!("{path}.idle_timeout_s"), value));
    let settings = Override {
        min_workers: raw.min_workers,
        max_workers: raw.max_workers,
        idle_timeout: idle_timeout_s.map(from_seconds),
        scaler: raw.scaler.map(|raw| scaler(&raw, &format!("{path}.scaler"), mistakes)),
        limits: raw.limits.map(|raw| limits(&raw, &format!("{path}.limits"), mistakes)),
    };
    (selector(raw.kind, raw.upstream, path, mistakes), settings)
}

/// The fault with the number that it needs, and no other.
fn fault_kind(raw: &RawFault, path: &str, mistakes: &mut Mistakes) -> FaultKind {
    if raw.factor.is_some() && !matches!(raw.fault, RawFaultKind::Slowdown | RawFaultKind::Limits) {
        mistakes.note(format!("{path}.factor"), "means nothing here: only slowdown and limits have one");
    }
    if raw.part.is_some() && !matches!(raw.fault, RawFaultKind::Errors | RawFaultKind::Refusals) {
        mistakes.note(format!("{path}.part"), "means nothing here: only errors and refusals have one");
    }
    let mut factor = || {
        let Some(factor) = raw.factor else {
            mistakes.note(format!("{path}.factor"), "is missing: which part of the speed or of the limits is left?");
            return 1.0;
        };
        mistakes.positive(&format!("{path}.factor"), factor)
    };
    match raw.fault {
        RawFaultKind::Outage => FaultKind::Outage,
        RawFaultKind::Throttle => FaultKind::Throttle,
        RawFaultKind::Slowdown => FaultKind::Slowdown(factor()),
        RawFaultKind::Limits => FaultKind::Limits(factor()),
        RawFaultKind::Errors => FaultKind::Errors(part(raw, path, mistakes)),
        RawFaultKind::Refusals => FaultKind::Refusals(part(raw, path, mistakes)),
    }
}

/// The part of the calls that a fault applies to.
fn part(raw: &RawFault, path: &str, mistakes: &mut Mistakes) -> f64 {
    match raw.part {
        Some(part) if part > 0.0 && part <= 1.0 => part,
        Some(part) => {
            mistakes.note(format!("{path}.part"), format!("must be above 0 and at most 1, not {part}"));
            1.0
        }
        None => {
            mistakes.note(format!("{path}.part"), "is missing: which part of the calls does it apply to?");
            1.0
        }
    }
}

fn fault(raw: RawFault, path: &str, mistakes: &mut Mistakes) -> Fault {
    let kind = fault_kind(&raw, path, mistakes);
    if raw.times == 0 || (raw.times > 1 && raw.every_s.is_none()) {
        mistakes.note(format!("{path}.times"), "must be at least 1, and needs every_s above 1");
    }
    let lasts = raw.for_s.map(|value| from_seconds(mistakes.positive(&format!("{path}.for_s"), value)));
    let every = raw.every_s.map_or(0, |value| from_seconds(mistakes.positive(&format!("{path}.every_s"), value)));
    if raw.times > 1 && lasts.is_none_or(|lasts| lasts >= every) {
        mistakes.note(format!("{path}.every_s"), "must be longer than for_s, or it would never be over");
    }
    Fault {
        upstreams: selector(raw.kind, raw.upstream, path, mistakes),
        kind,
        from: from_seconds(mistakes.not_negative(&format!("{path}.from_s"), raw.from_s)),
        lasts,
        times: raw.times,
        every,
    }
}
