//! What happens while a trace is replayed: nothing, a burst, an outage, and whatever else a file describes.

use crate::{
    mistakes::SettingsError,
    providers::{Limit, Model, Providers, Scaler, UpstreamSettings},
    time::{Nanos, SECOND, from_seconds, seconds},
    trace::{Arrival, Trace},
};

mod read;

/// The longest time that an event without a length of its own takes.
const WINDOW: Nanos = 600 * SECOND;

/// The part of a short trace that it takes.
const WINDOW_PART: f64 = 0.35;

/// What happens while a trace is replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Every nth request comes, and no other.
    keep_every: usize,
    /// Where in the trace events begin.
    window_at: f64,
    burst: Option<Burst>,
    overrides: Vec<(UpstreamSelector, Override)>,
    faults: Vec<Fault>,
}

/// More requests for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Burst {
    factor: u32,
    lasts: Nanos,
}

/// The upstreams that an override or a fault applies to.
#[derive(Debug, Clone, PartialEq)]
enum UpstreamSelector {
    Kind(String),
    Upstream(String),
}

/// A setting of an upstream for one scenario.
#[derive(Debug, Clone, Default, PartialEq)]
struct Override {
    min_workers: Option<u32>,
    max_workers: Option<u32>,
    idle_timeout: Option<Nanos>,
    scaler: Option<Scaler>,
    limits: Option<(Limit, Limit)>,
}

/// Something that goes wrong for a while, perhaps several times.
#[derive(Debug, Clone, PartialEq)]
struct Fault {
    upstreams: UpstreamSelector,
    kind: FaultKind,
    from: Nanos,
    lasts: Option<Nanos>,
    times: u32,
    every: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum FaultKind {
    Outage,
    Throttle,
    Slowdown(f64),
    Limits(f64),
    Errors(f64),
    Refusals(f64),
}

impl FaultKind {
    /// As files write it.
    const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Throttle => "throttle",
            Self::Slowdown(_) => "slowdown",
            Self::Limits(_) => "limits",
            Self::Errors(_) => "errors",
            Self::Refusals(_) => "refusals",
        }
    }
}

/// A change of an upstream's state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) at: Nanos,
    pub(crate) upstream: usize,
    pub(crate) what: UpstreamChange,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum UpstreamChange {
    /// Every call fails from now on, or no longer.
    Outage(bool),
    /// There are no workers from now on, or there may be.
    Throttle(bool),
    /// Everything at this part of its speed.
    Speed(f64),
    /// Limits at this part of what they are.
    Limits(f64),
    /// This part of the calls fails.
    Errors(f64),
    /// This part of the calls is refused for a second.
    Refusals(f64),
}

/// A scenario applied to a trace and to upstreams: everything that a run needs, apart from a policy and a seed.
#[derive(Debug, Clone)]
pub struct Case {
    pub(crate) scenario: String,
    pub(crate) trace: Trace,
    pub(crate) providers: Providers,
    /// In order of time.
    pub(crate) changes: Vec<Change>,
}

/// Why a scenario cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScenarioError {
    /// There is no upstream of this id or kind.
    #[error("scenario {scenario}: there is no simulated upstream {selector:?}")]
    NoUpstream {
        /// Which scenario.
        scenario: String,
        /// The id or the kind that it names.
        selector: String,
    },
    /// A setting or fault does not fit the upstream.
    #[error("scenario {scenario}: {what} does not fit {id:?}, which is of kind {kind}")]
    DoesNotFit {
        /// Which scenario.
        scenario: String,
        /// The setting or the fault.
        what: &'static str,
        /// The upstream.
        id: String,
        /// Its kind.
        kind: &'static str,
    },
    /// More workers are kept than there may be.
    #[error("scenario {scenario}: {id:?} would keep more workers than it may have")]
    TooFewWorkers {
        /// Which scenario.
        scenario: String,
        /// The upstream.
        id: String,
    },
    /// Nothing comes.
    #[error("scenario {scenario}: no request is left of the trace")]
    NoRequests {
        /// Which scenario.
        scenario: String,
    },
}

impl Scenario {
    /// The scenarios of `config/simulated-scenarios.toml`.
    pub fn shipped() -> Result<Vec<Self>, SettingsError> {
        Self::parse(include_str!("../../../config/simulated-scenarios.toml"))
    }

    /// Reads a file such as `config/simulated-scenarios.toml`.
    pub fn parse(text: &str) -> Result<Vec<Self>, SettingsError> {
        read::scenarios(text)
    }

    /// What happens to `trace` and to `providers`. Limits that are a part of the load are a part of `trace`'s, as it is without the scenario.
    pub fn apply(&self, trace: &Trace, providers: &Providers) -> Result<Case, ScenarioError> {
        let mut providers = providers.clone();
        for (selector, settings) in &self.overrides {
            for upstream in self.selected(selector, &providers)? {
                self.change(&mut providers.upstreams[upstream], settings)?;
            }
        }
        let (start, lasts) = self.window(trace.span());
        let arrivals = self.arrivals(trace.arrivals(), start);
        let nothing = |_| ScenarioError::NoRequests { scenario: self.name.clone() };
        Ok(Case {
            scenario: self.name.clone(),
            trace: Trace::new(trace.name(), arrivals).map_err(nothing)?,
            changes: self.changes(&providers, start, lasts)?,
            providers: providers.with_limits_of(trace),
        })
    }

    /// When events begin, and how long those take that do not say.
    fn window(&self, span: Nanos) -> (Nanos, Nanos) {
        let half_minutes = (seconds(span) * self.window_at / 30.0).round();
        (from_seconds(half_minutes * 30.0), WINDOW.min(from_seconds(seconds(span) * WINDOW_PART)))
    }

    fn arrivals(&self, all: &[Arrival], start: Nanos) -> Vec<Arrival> {
        let mut kept: Vec<Arrival> = all.iter().step_by(self.keep_every).copied().collect();
        if let Some(burst) = self.burst {
            let within = start..start + burst.lasts;
            let there: Vec<Arrival> = kept.iter().filter(|arrival| within.contains(&arrival.at)).copied().collect();
            for copy in 1..burst.factor {
                kept.extend(copies(&there, start, burst, copy));
            }
        }
        kept
    }

    fn changes(&self, providers: &Providers, start: Nanos, window: Nanos) -> Result<Vec<Change>, ScenarioError> {
        let mut changes = Vec::new();
        for fault in &self.faults {
            let (on, off, fits) = match fault.kind {
                FaultKind::Outage => (UpstreamChange::Outage(true), UpstreamChange::Outage(false), ""),
                FaultKind::Throttle => (UpstreamChange::Throttle(true), UpstreamChange::Throttle(false), "runpod"),
                FaultKind::Slowdown(factor) => (UpstreamChange::Speed(factor), UpstreamChange::Speed(1.0), ""),
                FaultKind::Limits(factor) => (UpstreamChange::Limits(factor), UpstreamChange::Limits(1.0), "cerebras"),
                FaultKind::Errors(part) => (UpstreamChange::Errors(part), UpstreamChange::Errors(0.0), ""),
                FaultKind::Refusals(part) => {
                    (UpstreamChange::Refusals(part), UpstreamChange::Refusals(0.0), "cerebras")
                }
            };
            for upstream in self.selected(&fault.upstreams, providers)? {
                let settings = &providers.upstreams[upstream];
                if !fits.is_empty() && settings.kind() != fits {
                    return Err(self.does_not_fit(fault.kind.name(), settings));
                }
                for time in 0..u64::from(fault.times) {
                    let from = start + fault.from + time * fault.every;
                    let until = from + fault.lasts.unwrap_or(window);
                    changes.push(Change { at: from, upstream, what: on });
                    changes.push(Change { at: until, upstream, what: off });
                }
            }
        }
        changes.sort_by_key(|change| change.at);
        Ok(changes)
    }

    /// The upstreams of this id or kind; at least one.
    fn selected(&self, selector: &UpstreamSelector, providers: &Providers) -> Result<Vec<usize>, ScenarioError> {
        let (UpstreamSelector::Kind(name) | UpstreamSelector::Upstream(name)) = selector;
        let is_meant = |upstream: &UpstreamSettings| match selector {
            UpstreamSelector::Kind(kind) => upstream.kind() == kind,
            UpstreamSelector::Upstream(id) => upstream.id == *id,
        };
        let found: Vec<usize> =
            (0..providers.upstreams.len()).filter(|&number| is_meant(&providers.upstreams[number])).collect();
        if found.is_empty() {
            return Err(ScenarioError::NoUpstream { scenario: self.name.clone(), selector: name.clone() });
        }
        Ok(found)
    }

    fn change(&self, upstream: &mut UpstreamSettings, settings: &Override) -> Result<(), ScenarioError> {
        let misfit = match upstream.model {
            Model::RunPod(_) => settings.limits.is_some().then_some("limits"),
            Model::Cerebras(_) => settings.names_workers().then_some("a setting of workers"),
        };
        if let Some(what) = misfit {
            return Err(self.does_not_fit(what, upstream));
        }
        match &mut upstream.model {
            Model::RunPod(model) => {
                model.min_workers = settings.min_workers.unwrap_or(model.min_workers);
                model.max_workers = settings.max_workers.unwrap_or(model.max_workers);
                model.idle_timeout = settings.idle_timeout.unwrap_or(model.idle_timeout);
                model.scaler = settings.scaler.unwrap_or(model.scaler);
                if model.max_workers == 0 || model.min_workers > model.max_workers {
                    let (scenario, id) = (self.name.clone(), upstream.id.clone());
                    return Err(ScenarioError::TooFewWorkers { scenario, id });
                }
            }
            Model::Cerebras(model) => {
                (model.requests, model.tokens) = settings.limits.unwrap_or((model.requests, model.tokens));
            }
        }
        Ok(())
    }

    fn does_not_fit(&self, what: &'static str, upstream: &UpstreamSettings) -> ScenarioError {
        ScenarioError::DoesNotFit { scenario: self.name.clone(), what, id: upstream.id.clone(), kind: upstream.kind() }
    }
}

impl Override {
    fn names_workers(&self) -> bool {
        self.min_workers.is_some() || self.max_workers.is_some() || self.idle_timeout.is_some() || self.scaler.is_some()
    }
}

/// The requests of a burst once more: moved within it by a part of its length, with each other's lengths, so that the burst
/// has the mix of the trace and no two requests come at one instant because they were copied.
fn copies(there: &[Arrival], start: Nanos, burst: Burst, copy: u32) -> impl Iterator<Item = Arrival> {
    let moved_by = burst.lasts / u64::from(burst.factor) * u64::from(copy);
    there.iter().enumerate().map(move |(number, arrival)| {
        let lengths = there[(number * 7 + copy as usize * 13) % there.len()];
        Arrival { at: start + (arrival.at - start + moved_by) % burst.lasts, ..lengths }
    })
}

impl Case {
    /// The name of its scenario.
    pub fn scenario(&self) -> &str {
        &self.scenario
    }

    /// The requests that come.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The upstreams as they are in it.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }
}

#[cfg(test)]
mod tests;
