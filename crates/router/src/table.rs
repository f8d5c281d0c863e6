//! The validated routing table: models, their targets, the upstreams behind them. It holds what is configured and no state, and
//! is replaced as a whole; what is known goes on under the same keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use provider::{ModelId, ReasoningField, UpstreamId};

use crate::{
    facts::Facts,
    hedge::Hedge,
    key::Key,
    policy::{Policy, policies},
    strategy::StrategyName,
    upstream::{Upstream, UpstreamSpec},
};

/// What is configured of a model.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Its public name.
    pub name: ModelId,
    /// How a target is chosen.
    pub strategy: StrategyName,
    /// The time to the first token that users should see.
    pub slo_first_token: Option<Duration>,
    /// The upstream that savings are measured against.
    pub baseline: Option<UpstreamId>,
    /// The time limit for all attempts together.
    pub deadline: Duration,
    /// Whether streams get their headers before the first token.
    pub early_headers: bool,
    /// Which members of answers carry reasoning.
    pub reasoning_field: ReasoningField,
    /// When a stream is called a second time elsewhere; `None` for never.
    pub hedge: Option<Hedge>,
    /// The upstreams and the share of each.
    pub targets: Vec<(UpstreamId, f64)>,
}

/// Why specifications make no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A model without targets.
    #[error("model {0} has no targets")]
    NoTargets(ModelId),
    /// A model names an upstream that is not there.
    #[error("model {0} names the unknown upstream {1}")]
    UnknownUpstream(ModelId, UpstreamId),
}

/// A model as a table has it.
#[derive(Debug)]
pub struct Model {
    /// What is configured.
    pub spec: ModelSpec,
    /// The group of upstreams and models that it belongs to.
    pub group: usize,
    targets: Vec<Arc<Upstream>>,
    shares: Vec<f64>,
    policies: Arc<[Policy]>,
    pub(crate) key: Key,
}

impl Model {
    /// The upstreams behind it, in order of configuration.
    pub fn targets(&self) -> &[Arc<Upstream>] {
        &self.targets
    }

    /// The share of each target, all together 1.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// What its tokens would cost under other policies.
    pub fn policies(&self) -> &Arc<[Policy]> {
        &self.policies
    }

    /// What orders the targets for a request.
    pub(crate) fn strategy_for(&self, facts: &Facts) -> StrategyName {
        facts.wishes.strategy.unwrap_or(self.spec.strategy)
    }

    /// The index of an upstream among the targets.
    pub(crate) fn target(&self, id: &str) -> Option<usize> {
        self.targets.iter().position(|upstream| upstream.spec.id.as_str() == id)
    }

    /// Whether its strategy, or the share of any upstream, is not that of `other`.
    pub(crate) fn has_other_shares_than(&self, other: &Self) -> bool {
        let share = |model: &Self, id: &str| model.target(id).map_or(0.0, |target| model.shares[target]);
        let ids = self.targets.iter().chain(&other.targets).map(|target| target.spec.id.as_str());
        let mut differences = ids.map(|id| (share(self, id) - share(other, id)).abs());
        self.spec.strategy != other.spec.strategy || differences.any(|difference| difference > 1e-9)
    }

    /// Whether any of its targets, which are those of `other`, has another price.
    pub(crate) fn has_other_prices_than(&self, other: &Self) -> bool {
        let tariffs = |model: &Self| model.targets.iter().map(|target| target.spec.tariff.clone()).collect::<Vec<_>>();
        tariffs(self) != tariffs(other)
    }

    /// Whether it has the same targets as `other`, in the same order.
    fn has_targets_of(&self, other: &Self) -> bool {
        let ids = |model: &'_ Self| model.targets.iter().map(|target| target.spec.id.clone()).collect::<Vec<_>>();
        ids(self) == ids(other)
    }
}

/// What a name stands for: a model, or one of its targets past the strategy.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The model.
    pub model: Arc<Model>,
    /// The index, among the model's targets, of the one that is named.
    pub target: Option<usize>,
}

impl Choice {
    /// The public name of the model.
    pub fn model(&self) -> &ModelId {
        &self.model.spec.name
    }

    /// Whether the name includes an upstream, which is to serve.
    pub fn is_direct(&self) -> bool {
        self.target.is_some()
    }
}

/// The routing table.
#[derive(Debug)]
pub struct Table {
    /// The version of the configuration that it was made from.
    pub version: Arc<str>,
    models: HashMap<Box<str>, Arc<Model>>,
    names: Vec<ModelId>,
    upstreams: Vec<Arc<Upstream>>,
    groups: usize,
}

impl Table {
    /// Makes a table of the configuration called `version`. Upstreams and models with a name that `predecessor` has
    /// keep their keys, and with them their state in an engine; an upstream with another address or key does not.
    pub fn new(
        version: &str,
        upstreams: Vec<UpstreamSpec>,
        models: Vec<ModelSpec>,
        predecessor: Option<&Self>,
    ) -> Result<Self, TableError> {
        let groups = Groups::of(&upstreams, &models);
        let known = |spec: &UpstreamSpec| {
            let mut old = predecessor?.upstreams();
            old.find(|old| old.spec.id == spec.id && old.spec.account == spec.account)
        };
        let upstreams = upstreams.into_iter().enumerate().map(|(index, spec)| {
            let key = known(&spec).map(|old| old.key.clone()).unwrap_or_default();
            Arc::new(Upstream { spec, index, group: groups.of_upstream(index), key })
        });
        let mut table = Self {
            version: version.into(),
            models: HashMap::new(),
            names: Vec::new(),
            upstreams: upstreams.collect(),
            groups: groups.count,
        };
        for spec in models {
            let mut model = table.link(spec)?;
            // If the targets are others, or in another order, the deficits cannot be kept under the same key.
            let old = predecessor.and_then(|old| old.model(model.spec.name.as_str()));
            if let Some(old) = old.filter(|old| model.has_targets_of(old)) {
                model.key = old.key.clone();
            }
            table.names.push(model.spec.name.clone());
            table.models.insert(model.spec.name.as_str().into(), Arc::new(model));
        }
        Ok(table)
    }

    /// Resolves the names in `spec`.
    fn link(&self, spec: ModelSpec) -> Result<Model, TableError> {
        if spec.targets.is_empty() {
            return Err(TableError::NoTargets(spec.name));
        }
        let find = |id: &UpstreamId| {
            let unknown = || TableError::UnknownUpstream(spec.name.clone(), id.clone());
            self.upstreams().find(|upstream| upstream.spec.id == *id).cloned().ok_or_else(unknown)
        };
        let targets = spec.targets.iter().map(|(id, _)| find(id)).collect::<Result<Vec<_>, _>>()?;
        let baseline = spec.baseline.as_ref().map(find).transpose()?;
        let total: f64 = spec.targets.iter().map(|(_, share)| share).sum();
        let shares: Vec<f64> = spec.targets.iter().map(|(_, share)| share / total).collect();
        let policies = policies(&targets, &shares, baseline.as_deref());
        let group = targets.first().map_or(0, |target| target.group);
        Ok(Model { group, targets, shares, policies, key: Key::default(), spec })
    }

    /// What `name` stands for: a public model, or an upstream's id, a slash, and a model of it by its public name or by the
    /// upstream's own.
    pub fn choose(&self, name: &str) -> Option<Choice> {
        if let Some(model) = self.model(name) {
            return Some(Choice { model: model.clone(), target: None });
        }
        let (id, rest) = name.split_once('/')?;
        self.models().filter_map(|model| Some((model, model.target(id)?))).find_map(|(model, target)| {
            let is_named = model.spec.name.as_str() == rest || model.targets[target].spec.served_model == rest;
            is_named.then(|| Choice { model: model.clone(), target: Some(target) })
        })
    }

    /// The public model of this name.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// The public models, in order of configuration.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.names.iter().filter_map(|name| self.model(name.as_str()))
    }

    /// Whether every upstream of a model can follow a JSON schema.
    pub fn follows_schemas(&self, model: &str) -> bool {
        self.model(model).is_some_and(|model| model.targets.iter().all(|target| target.spec.features.json_schema))
    }

    /// Whether streams of a model get their headers before the first token.
    pub fn has_early_headers(&self, model: &str) -> bool {
        self.choose(model).is_some_and(|choice| choice.model.spec.early_headers)
    }

    /// The upstreams, in order of configuration.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.iter()
    }

    /// How many groups there are. What two groups do depends on nothing in common: each may have an engine of its own.
    pub fn groups(&self) -> usize {
        self.groups
    }
}

/// Upstreams that are targets of one model are in one group, and so are all models that share an upstream.
struct Groups {
    by_upstream: Vec<usize>,
    count: usize,
}

impl Groups {
    fn of(upstreams: &[UpstreamSpec], models: &[ModelSpec]) -> Self {
        let index = |id: &UpstreamId| upstreams.iter().position(|spec| spec.id == *id);
        let mut by_upstream: Vec<usize> = (0..upstreams.len()).collect();
        for model in models {
            let indexes: Vec<usize> = model.targets.iter().filter_map(|(id, _)| index(id)).collect();
            let joined: Vec<usize> = indexes.iter().map(|index| by_upstream[*index]).collect();
            let Some(first) = joined.iter().min().copied() else { continue };
            for group in by_upstream.iter_mut().filter(|group| joined.contains(group)) {
                *group = first;
            }
        }
        // Numbered anew without gaps.
        let mut numbers: Vec<usize> = by_upstream.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let number = |group: &usize| numbers.binary_search(group).unwrap_or_default();
        let by_upstream = by_upstream.iter().map(number).collect();
        Self { by_upstream, count: numbers.len() }
    }

    fn of_upstream(&self, index: usize) -> usize {
        self.by_upstream[index]
    }
}
