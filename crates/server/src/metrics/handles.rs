//! Series whose labels are known beforehand, found by id. They are made when a table comes into force, so that they start at
//! zero, and stay when it goes: requests under way finish under it.

use std::{collections::HashMap, sync::Arc};

use dispatch::{Route, Table, Unreported};
use prometheus::{Histogram, IntCounter};
use provider::{ModelId, UpstreamId};
use router::{ModelSpec, Policy, Reason, Role, StrategyName, Upstream};

use super::{
    Series,
    labels::{AttemptClass, NONE, RequestClass, TOKEN_TYPES},
};

/// Handles by id.
#[derive(Clone, Default)]
pub(super) struct Handles {
    pairs: HashMap<UpstreamId, HashMap<ModelId, Pair>>,
    models: HashMap<ModelId, ModelHandles>,
}

/// The series of one upstream under one model.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) provider: &'static str,
    /// Of the routes that the upstream serves.
    requests_ok: [Option<IntCounter>; Route::ALL.len()],
    pub(super) split_requests: IntCounter,
    pub(super) duration: Histogram,
    pub(super) first_token: Histogram,
    attempts: [[IntCounter; AttemptClass::ALL.len()]; Role::ALL.len()],
    decisions: Vec<(StrategyName, Reason, IntCounter)>,
    pub(super) tokens: [IntCounter; TOKEN_TYPES.len()],
    pub(super) served_nano_usd: IntCounter,
    pub(super) wasted_nano_usd: IntCounter,
    pub(super) estimated_tokens: IntCounter,
    pub(super) estimated_nano_usd: IntCounter,
    pub(super) unpriced: IntCounter,
}

/// The series of one model.
#[derive(Clone)]
pub(super) struct ModelHandles {
    baselines: Vec<(Arc<str>, IntCounter)>,
}

impl Handles {
    /// Adds the series of a table.
    pub(super) fn add(&mut self, table: &Table, series: &Series) {
        for model in table.models() {
            let spec = &model.spec;
            for upstream in model.targets() {
                let pair = Pair::new(series, upstream, spec);
                self.pairs.entry(upstream.spec.id.clone()).or_default().insert(spec.name.clone(), pair);
            }
            let before = self.models.remove(&spec.name);
            self.models.insert(spec.name.clone(), ModelHandles::new(series, &spec.name, model.policies(), before));
        }
        for upstream in table.upstreams() {
            for reason in Unreported::ALL {
                let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name, reason.as_str()];
                series.usage_estimated.with_label_values(&labels);
            }
        }
    }

    pub(super) fn pair(&self, upstream: &UpstreamId, model: &ModelId) -> Option<&Pair> {
        self.pairs.get(upstream)?.get(model)
    }

    pub(super) fn model(&self, model: &ModelId) -> Option<&ModelHandles> {
        self.models.get(model)
    }
}

impl Pair {
    fn new(series: &Series, upstream: &Upstream, model: &ModelSpec) -> Self {
        let labels = [upstream.spec.id.as_str(), upstream.spec.provider_name, model.name.as_str()];
        let [id, provider, name] = labels;
        let with = |last| [id, provider, name, last];
        let ok = RequestClass::Ok.as_str();
        let decision = |reason: &Reason| {
            let strategy = model.strategy;
            let labels = [strategy.as_str(), id, provider, name, reason.as_str()];
            (strategy, *reason, series.decisions.with_label_values(&labels))
        };
        Self {
            provider: upstream.spec.provider_name,
            requests_ok: Route::ALL.map(|route| {
                let labels = [route.as_str(), id, provider, name, ok];
                let is_served = upstream.spec.operations.contains(&route.operation());
                is_served.then(|| series.requests.with_label_values(&labels))
            }),
            split_requests: series.split_requests.with_label_values(&labels),
            duration: series.request_duration.with_label_values(&labels),
            first_token: series.first_token.with_label_values(&labels),
            attempts: Role::ALL.map(|role| {
                AttemptClass::ALL.map(|class| {
                    series.attempts.with_label_values(&[id, provider, name, role.as_str(), class.as_str()])
                })
            }),
            decisions: model.strategy.reasons().iter().map(decision).collect(),
            tokens: TOKEN_TYPES.map(|kind| series.tokens.with_label_values(&with(kind))),
            served_nano_usd: series.cost.0.with_label_values(&with("served")),
            wasted_nano_usd: series.cost.0.with_label_values(&with("wasted")),
            estimated_tokens: series.estimated_tokens.with_label_values(&labels),
            estimated_nano_usd: series.estimated_cost.0.with_label_values(&labels),
            unpriced: series.unpriced.with_label_values(&labels),
        }
    }

    /// The requests of a route that the upstream serves; `None` of another one, by which requests come until a reload that takes it
    /// from the upstream.
    pub(super) fn request_ok(&self, route: Route) -> Option<&IntCounter> {
        self.requests_ok[route as usize].as_ref()
    }

    pub(super) fn attempt(&self, role: Role, class: AttemptClass) -> &IntCounter {
        &self.attempts[role as usize][class as usize]
    }

    /// The decisions of the strategy in force; those of an earlier one have no handle.
    pub(super) fn decision(&self, strategy: StrategyName, reason: Reason) -> Option<&IntCounter> {
        self.decisions.iter().find(|known| (known.0, known.1) == (strategy, reason)).map(|(_, _, counter)| counter)
    }
}

impl ModelHandles {
    /// The series of a model's policies, and of those that it had before.
    fn new(series: &Series, model: &ModelId, policies: &[Policy], before: Option<Self>) -> Self {
        let baseline = |policy: &Policy| {
            let counter = series.baseline_cost.0.with_label_values(&[&policy.name, model.as_str()]);
            (policy.name.clone(), counter)
        };
        // What is refused before any upstream is asked has series as well.
        for class in [RequestClass::Rejected, RequestClass::Error] {
            let route = Route::Chat.as_str();
            series.requests.with_label_values(&[route, NONE, NONE, model.as_str(), class.as_str()]);
        }
        let mut baselines: Vec<_> = policies.iter().map(baseline).collect();
        for old in before.into_iter().flat_map(|before| before.baselines) {
            if baselines.iter().all(|(name, _)| *name != old.0) {
                baselines.push(old);
            }
        }
        Self { baselines }
    }

    pub(super) fn baseline(&self, policy: &str) -> Option<&IntCounter> {
        self.baselines.iter().find(|(name, _)| **name == *policy).map(|(_, counter)| counter)
    }
}
