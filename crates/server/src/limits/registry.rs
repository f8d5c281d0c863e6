//! The limiters of a configuration, and the settlement of tokens.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use dispatch::{Event, Observer};
use parking_lot::Mutex;
use settings::{Allowance, Config};

use super::{Limiter, Owner, Sharing};

/// The limiters in force.
#[derive(Default)]
pub(crate) struct Limiters {
    keys: HashMap<Arc<str>, Arc<Limiter>>,
    teams: HashMap<Arc<str>, Arc<Limiter>>,
    models: HashMap<Arc<str>, Arc<Limiter>>,
    /// Whether any of them counts tokens.
    count_tokens: bool,
}

impl Limiters {
    /// Those of `config`. One that `old` had with the same limits keeps its counts.
    fn new(config: &Config, old: &Self, sharing: Option<&Arc<Sharing>>) -> Self {
        let made = |name: &str, allowance: Allowance, owner: fn(Arc<str>) -> Owner, old: &HashMap<_, Arc<Limiter>>| {
            let name = Arc::<str>::from(name);
            let same = old.get(&name).filter(|limiter| limiter.has(allowance)).cloned();
            let limiter =
                same.unwrap_or_else(|| Arc::new(Limiter::new(owner(name.clone()), &name, allowance, sharing)));
            (name, limiter)
        };
        let keys = config.keys.iter().map(|key| made(&key.id, key.limits, |_| Owner::Key, &old.keys));
        let limited = |allowance: Allowance| allowance != Allowance::default();
        let teams = config.teams.iter().filter(|team| limited(team.limits));
        let teams = teams.map(|team| made(&team.id, team.limits, Owner::Team, &old.teams));
        let models = config.models.iter().filter(|model| limited(model.limits));
        let models = models.map(|model| made(model.name.as_str(), model.limits, Owner::Model, &old.models));
        let (keys, teams, models): (HashMap<_, _>, HashMap<_, _>, HashMap<_, _>) =
            (keys.collect(), teams.collect(), models.collect());
        let count_tokens =
            [&keys, &teams, &models].into_iter().flat_map(HashMap::values).any(|limiter| limiter.counts_tokens());
        Self { keys, teams, models, count_tokens }
    }

    fn set_alone(&self, is_alone: bool) {
        let all = [&self.keys, &self.teams, &self.models];
        all.into_iter().flat_map(HashMap::values).for_each(|limiter| limiter.set_alone(is_alone));
    }

    /// Those that count what a key asks for, whatever it is.
    pub(crate) fn of_key(&self, id: &str, team: &str) -> Vec<Arc<Limiter>> {
        [self.keys.get(id), self.teams.get(team)].into_iter().flatten().cloned().collect()
    }

    /// The one of a model, if it has limits.
    pub(crate) fn of_model(&self, name: &str) -> Option<&Arc<Limiter>> {
        self.models.get(name)
    }

    /// Whether any model has limits.
    pub(crate) fn has_models(&self) -> bool {
        !self.models.is_empty()
    }
}

/// The limiters in force; settles the tokens of calls that are over.
#[derive(Default)]
pub(crate) struct Limits {
    in_force: ArcSwap<Limiters>,
    /// The server that counts what replicas have in common, if there is one.
    sharing: Option<Arc<Sharing>>,
    /// Whether that is away. Locked while limiters are replaced, so that all of them know.
    is_alone: Mutex<bool>,
}

impl Limits {
    /// Limits that all replicas have in common, if there is a server that they share.
    pub(crate) fn new(sharing: Option<Arc<Sharing>>) -> Self {
        Self { in_force: ArcSwap::default(), sharing, is_alone: Mutex::new(true) }
    }

    /// Puts those of `config` in force.
    pub(crate) fn set(&self, config: &Config) -> Arc<Limiters> {
        let is_alone = self.is_alone.lock();
        let limiters = Arc::new(Limiters::new(config, &self.in_force.load(), self.sharing.as_ref()));
        limiters.set_alone(*is_alone);
        self.in_force.store(limiters.clone());
        limiters
    }

    /// The server that replicas share is away, or is back.
    pub(crate) fn set_alone(&self, is_alone: bool) {
        let mut before = self.is_alone.lock();
        if std::mem::replace(&mut *before, is_alone) != is_alone {
            self.in_force.load().set_alone(is_alone);
        }
    }
}

impl Observer for Limits {
    fn on(&self, event: &Event<'_>) {
        let Event::AttemptEnded(ended) = event else { return };
        let limiters = self.in_force.load();
        if !limiters.count_tokens {
            return;
        }
        let used = ended.usage.or(ended.estimate.map(|estimate| estimate.usage));
        let tokens = used.map_or(0, |usage| usage.total());
        if tokens == 0 {
            return;
        }
        let info = &ended.info;
        let of = |map: &HashMap<_, Arc<Limiter>>, name: Option<&str>| {
            if let Some(limiter) = name.and_then(|name| map.get(name)) {
                limiter.use_tokens(tokens);
            }
        };
        of(&limiters.keys, info.key.as_deref());
        of(&limiters.teams, info.team.as_deref());
        of(&limiters.models, info.model.as_ref().map(provider::ModelId::as_str));
    }
}

#[cfg(test)]
mod tests;
