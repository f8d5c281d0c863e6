//! The validated routing table: models, their targets, the upstreams behind them. Replaced as a whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use provider::{ModelId, UpstreamId};
use tokio::time::Instant;

use crate::{
    budget::Budget,
    policy::{Policy, policies},
    share::Deficits,
    strategy::{Strategy, StrategyName},
    upstream::{Upstream, UpstreamSpec},
};

/// What is configured of a model.
pub struct ModelSpec {
    /// Its public name.
    pub name: ModelId,
    /// How a target is chosen.
    pub strategy: StrategyName,
    /// The time to the first token that users should see.
    pub slo_first_token: Option<Duration>,
    /// The upstream that savings are measured against.
    pub baseline: Option<UpstreamId>,
    /// The client's patience, attempts together.
    pub deadline: Duration,
    /// Whether streams get their headers before the first token.
    pub early_headers: bool,
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

/// A model at work.
pub(crate) struct Model {
    pub(crate) spec: ModelSpec,
    pub(crate) strategy: &'static dyn Strategy,
    pub(crate) targets: Vec<Arc<Upstream>>,
    pub(crate) shares: Vec<f64>,
    pub(crate) policies: Arc<[Policy]>,
    pub(crate) state: Arc<Mutex<ModelState>>,
}

impl Model {
    /// The place of an upstream among the targets.
    fn target(&self, id: &str) -> Option<usize> {
        self.targets.iter().position(|upstream| upstream.spec.id.as_str() == id)
    }

    fn weights(&self, now: Instant) -> impl Iterator<Item = Weight<'_>> {
        let takes_calls: Vec<bool> = self.targets.iter().map(|upstream| upstream.status(now).takes_calls).collect();
        let available: f64 =
            self.shares.iter().zip(&takes_calls).filter(|(_, takes)| **takes).map(|(share, _)| share).sum();
        self.targets.iter().zip(&self.shares).zip(takes_calls).map(move |((upstream, share), takes)| Weight {
            model: &self.spec,
            upstream,
            configured: *share,
            effective: if takes && available > 0.0 { share / available } else { 0.0 },
        })
    }
}

/// What is known of a model; the lock is held for one decision.
pub(crate) struct ModelState {
    pub(crate) deficits: Deficits,
    pub(crate) budget: Budget,
}

/// What a name stands for: a model, or one of its targets past the strategy.
#[derive(Clone)]
pub struct Choice {
    pub(crate) model: Arc<Model>,
    pub(crate) target: Option<usize>,
}

impl Choice {
    /// The public name of the model.
    pub fn model(&self) -> &ModelId {
        &self.model.spec.name
    }

    /// Whether the name says which upstream is to serve.
    pub fn is_direct(&self) -> bool {
        self.target.is_some()
    }
}

/// A target's part of its model's requests.
pub struct Weight<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// The target.
    pub upstream: &'a Upstream,
    /// What its model's configuration says, 0 to 1.
    pub configured: f64,
    /// What comes of it while some targets take no calls, 0 to 1.
    pub effective: f64,
}

/// The routing table.
pub struct Table {
    /// What the configuration is called that it was made of.
    pub version: Arc<str>,
    models: HashMap<Box<str>, Arc<Model>>,
    names: Vec<ModelId>,
    upstreams: Vec<Arc<Upstream>>,
}

impl Table {
    /// Makes a table of the configuration called `version`. Upstreams and models that `predecessor` knew by name keep their
    /// state.
    pub fn new(
        version: &str,
        upstreams: Vec<UpstreamSpec>,
        models: Vec<ModelSpec>,
        predecessor: Option<&Self>,
    ) -> Result<Self, TableError> {
        let known = |id: &UpstreamId| predecessor?.upstreams().find(|old| old.spec.id == *id);
        let carry = |spec: UpstreamSpec| {
            let old = known(&spec.id).map(|old| &**old);
            Arc::new(Upstream::new(spec, old))
        };
        let upstreams = upstreams.into_iter().map(carry).collect();
        let mut table = Self { version: version.into(), models: HashMap::new(), names: Vec::new(), upstreams };
        for spec in models {
            let old = predecessor.and_then(|old| old.model(spec.name.as_str()));
            let model = table.link(spec, old)?;
            table.names.push(model.spec.name.clone());
            table.models.insert(model.spec.name.as_str().into(), Arc::new(model));
        }
        Ok(table)
    }

    /// Resolves the names in `spec`.
    fn link(&self, spec: ModelSpec, old: Option<&Arc<Model>>) -> Result<Model, TableError> {
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
        let state = carry_over(&spec, old);
        Ok(Model { strategy: spec.strategy.strategy(), targets, shares, policies, state, spec })
    }

    /// What `name` stands for: a public model, or an upstream's id, a slash, and a model of it by its public name or by the
    /// upstream's own.
    pub fn choose(&self, name: &str) -> Option<Choice> {
        if let Some(model) = self.model(name) {
            return Some(Choice { model: model.clone(), target: None });
        }
        let (id, rest) = name.split_once('/')?;
        let models = self.names.iter().filter_map(|name| self.model(name.as_str()));
        models.filter_map(|model| Some((model, model.target(id)?))).find_map(|(model, target)| {
            let is_named = model.spec.name.as_str() == rest || model.targets[target].spec.served_model == rest;
            is_named.then(|| Choice { model: model.clone(), target: Some(target) })
        })
    }

    pub(crate) fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// The public models, in order of configuration.
    pub fn models(&self) -> impl Iterator<Item = &ModelId> {
        self.names.iter()
    }

    /// What is configured of the public models, and what their tokens would cost under other policies.
    pub fn model_specs(&self) -> impl Iterator<Item = (&ModelSpec, &Arc<[Policy]>)> {
        self.names.iter().filter_map(|name| self.model(name.as_str())).map(|model| (&model.spec, &model.policies))
    }

    /// Every target's part of its model's requests at this moment.
    pub fn weights(&self, now: Instant) -> impl Iterator<Item = Weight<'_>> {
        self.names.iter().filter_map(|name| self.model(name.as_str())).flat_map(move |model| model.weights(now))
    }

    /// The public models and the upstreams behind each.
    pub fn targets(&self) -> impl Iterator<Item = (&ModelId, &[Arc<Upstream>])> {
        self.names.iter().filter_map(|name| Some((name, &*self.model(name.as_str())?.targets)))
    }

    /// Whether an upstream of a model can follow a JSON schema.
    pub(crate) fn follows_schemas(&self, model: &str) -> bool {
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
}

/// The state of a model's predecessor: shared where the targets are the same, since requests under way still change it,
/// copied by the names of the targets where they are not.
fn carry_over(spec: &ModelSpec, old: Option<&Arc<Model>>) -> Arc<Mutex<ModelState>> {
    let Some(old) = old else {
        let deficits = Deficits::new(spec.targets.iter().map(|_| 0.0));
        return Arc::new(Mutex::new(ModelState { deficits, budget: Budget::default() }));
    };
    let place = |id: &UpstreamId| old.spec.targets.iter().position(|(known, _)| known == id);
    if spec.targets.len() == old.targets.len()
        && spec.targets.iter().enumerate().all(|(target, (id, _))| place(id) == Some(target))
    {
        return old.state.clone();
    }
    let state = old.state.lock();
    let deficits = spec.targets.iter().map(|(id, _)| place(id).map_or(0.0, |target| state.deficits.owed(target)));
    Arc::new(Mutex::new(ModelState { deficits: Deficits::new(deficits), budget: state.budget.clone() }))
}
