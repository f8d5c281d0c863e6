//! Resolves the name in a request: a public model, a task, an ensemble, an upstream past the strategy, or an alias of one of the first
//! three.

use std::{collections::BTreeMap, sync::Arc};

use dispatch::Table;
use provider::Head;
use router::{Ensemble, Pick};
use settings::{Alias, Aliases, Config, ENSEMBLE_PREFIX, TASK_PREFIX};

use crate::{auth::ClientKey, error::ApiError};

/// The names that are not the table's own.
pub(crate) struct Names {
    /// Models and ensembles by task, in alphabetical order, the default among them.
    tasks: BTreeMap<String, String>,
    ensembles: BTreeMap<String, Arc<Ensemble>>,
    aliases: Aliases,
}

/// What is to serve a request.
pub(crate) struct Resolved {
    pub(crate) to: ResolvedTo,
    /// The name that it was asked for by, where that is not the model's own, see [`dispatch::RequestInfo::requested`].
    pub(crate) requested: Option<Arc<str>>,
}

/// Which model it is, or which models.
pub(crate) enum ResolvedTo {
    /// What the request's body names.
    Named,
    /// What this name resolves to.
    Other(String),
    /// Several models.
    Ensemble(Arc<Ensemble>),
}

impl Resolved {
    /// What it is called; `named` is what the body names.
    pub(crate) fn name<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        match &self.to {
            ResolvedTo::Named => named.unwrap_or_default(),
            ResolvedTo::Other(name) => name,
            ResolvedTo::Ensemble(ensemble) => &ensemble.name,
        }
    }

    /// How many calls a request with this head leads to: one for each answer, and one for each answer that a judge
    /// reads. Repeats are not counted, because the router decides on them.
    pub(crate) fn calls(&self, head: &Head) -> u32 {
        let calls = match &self.to {
            ResolvedTo::Named | ResolvedTo::Other(_) => head.computed_choices(),
            ResolvedTo::Ensemble(ensemble) => {
                let members = u64::try_from(ensemble.members.len()).unwrap_or(u64::MAX);
                let opinions = if matches!(ensemble.pick, Pick::Judge(_)) { members } else { 0 };
                head.computed_choices().saturating_mul(members).saturating_add(opinions)
            }
        };
        u32::try_from(calls).unwrap_or(u32::MAX).max(1)
    }

    /// The ensemble, if it is one.
    pub(crate) fn ensemble(&self) -> Option<&Ensemble> {
        match &self.to {
            ResolvedTo::Named | ResolvedTo::Other(_) => None,
            ResolvedTo::Ensemble(ensemble) => Some(ensemble),
        }
    }

    /// The same; an ensemble is refused, for the reason that `refusal` gives.
    pub(crate) fn single(self, refusal: fn(&Ensemble) -> ApiError) -> Result<Self, ApiError> {
        match self.ensemble() {
            None => Ok(self),
            Some(ensemble) => Err(refusal(ensemble)),
        }
    }

    /// The same; it was asked for by `name`.
    fn requested_as(self, name: &str) -> Self {
        Self { requested: Some(name.into()), ..self }
    }
}

/// An alias as it is shown to a key.
pub(crate) struct ShownAlias<'a> {
    pub(crate) name: &'a str,
    /// What it stands for; `None` if the key may ask for the alias alone.
    pub(crate) target: Option<&'a str>,
}

/// The model and the task that a request names.
#[derive(Clone, Copy, Default)]
pub(crate) struct Requested<'a> {
    /// The model's name, if there is one.
    pub(crate) model: Option<&'a str>,
    /// The task, if one is named apart from the model; it wins over the model.
    pub(crate) task: Option<&'a str>,
}

impl Names {
    /// The task that stands for those that are not known.
    const DEFAULT: &'static str = "default";

    pub(crate) fn new(config: &Config) -> Self {
        let ensembles = config.ensembles.iter().map(|it| (it.name.clone(), Arc::new(it.clone()))).collect();
        Self { tasks: config.tasks.clone(), ensembles, aliases: config.aliases.clone() }
    }

    /// The names of the tasks and ensembles that `key` may ask for as models.
    pub(crate) fn models(&self, key: &ClientKey) -> impl Iterator<Item = String> {
        let tasks = self.tasks_of(key).map(|task| format!("{TASK_PREFIX}{task}"));
        tasks.chain(self.ensembles_of(key).cloned())
    }

    /// The tasks that `key` may ask for: by their own names, or because it may use what they stand for.
    fn tasks_of(&self, key: &ClientKey) -> impl Iterator<Item = &str> {
        let tasks = self.tasks.iter().filter(|(task, name)| may_use_task(key, task, name));
        tasks.map(|(task, _)| task.as_str())
    }

    fn ensembles_of(&self, key: &ClientKey) -> impl Iterator<Item = &String> {
        self.ensembles.keys().filter(|name| key.may_use(name))
    }

    /// Whether any name stands for several models.
    pub(crate) fn has_ensembles(&self) -> bool {
        !self.ensembles.is_empty()
    }

    /// The aliases that `key` may ask for, without patterns: these are no names.
    pub(crate) fn aliases(&self, key: &ClientKey) -> impl Iterator<Item = ShownAlias<'_>> {
        let aliases = self.aliases.exact().filter(|alias| self.may_use_alias(key, alias));
        aliases.map(|alias| self.shown(&alias.name, alias, key))
    }

    /// The alias for `name`, which is none of a model, a task or an ensemble; `None` if there is none that `key` may ask for.
    pub(crate) fn alias<'a>(&'a self, name: &'a str, table: &Table, key: &ClientKey) -> Option<ShownAlias<'a>> {
        Some(self.shown(name, self.matching(name, table, key)?, key))
    }

    fn shown<'a>(&self, name: &'a str, alias: &'a Alias, key: &ClientKey) -> ShownAlias<'a> {
        let target = Some(alias.target.as_str()).filter(|target| self.may_use_target(key, target));
        ShownAlias { name, target }
    }

    /// The best of the aliases for `name` that the key may ask for. Names of tasks, ensembles and upstreams have none.
    fn matching(&self, name: &str, table: &Table, key: &ClientKey) -> Option<&Alias> {
        if [TASK_PREFIX, ENSEMBLE_PREFIX].iter().any(|prefix| name.starts_with(prefix))
            || Self::mistaken_upstream(name, table, key).is_some()
        {
            return None;
        }
        self.aliases.matching(name).find(|alias| self.may_use_alias(key, alias))
    }

    /// By the alias's own name, or because the key may use what it stands for.
    fn may_use_alias(&self, key: &ClientKey, alias: &Alias) -> bool {
        key.may_use(&alias.name) || self.may_use_target(key, &alias.target)
    }

    fn may_use_target(&self, key: &ClientKey, target: &str) -> bool {
        match target.strip_prefix(TASK_PREFIX).and_then(|task| self.tasks.get_key_value(task)) {
            Some((task, name)) => may_use_task(key, task, name),
            None => key.may_use(target),
        }
    }

    /// What is asked for. To a key, what it may not use does not exist: neither a model or an alias of this name, nor a pattern.
    pub(crate) fn resolve(
        &self,
        requested: Requested<'_>,
        table: &Table,
        key: &ClientKey,
    ) -> Result<Resolved, ApiError> {
        if let Some(task) = requested.task {
            return self.task(task, key);
        }
        let Some(name) = requested.model else { return self.unnamed(table, key) };
        if let Some(ensemble) = self.ensembles.get(name).filter(|_| key.may_use(name)) {
            return Ok(Resolved { to: ResolvedTo::Ensemble(ensemble.clone()), requested: Some(name.into()) });
        }
        match table.choose(name).filter(|choice| key.may_use(choice.model().as_str())) {
            Some(choice) if choice.is_direct() && !key.may_choose_upstream => Err(ApiError::direct_not_allowed()),
            Some(choice) => {
                let requested = choice.is_direct().then(|| name.into());
                Ok(Resolved { to: ResolvedTo::Named, requested })
            }
            None => match name.strip_prefix(TASK_PREFIX) {
                Some(task) => self.task(task, key),
                None if name.starts_with(ENSEMBLE_PREFIX) => {
                    Err(ApiError::no_such_ensemble(name, self.ensembles_of(key)))
                }
                None => match self.matching(name, table, key) {
                    Some(alias) => Ok(self.of_alias(alias).requested_as(name)),
                    None => Err(Self::unknown(name, table, key)),
                },
            },
        }
    }

    /// What an alias stands for.
    fn of_alias(&self, alias: &Alias) -> Resolved {
        let task = alias.target.strip_prefix(TASK_PREFIX).and_then(|task| self.tasks.get(task));
        self.of_name(task.unwrap_or(&alias.target))
    }

    fn task(&self, task: &str, key: &ClientKey) -> Result<Resolved, ApiError> {
        let found = self.tasks.get_key_value(task).or_else(|| self.tasks.get_key_value(Self::DEFAULT));
        match found.filter(|(task, name)| may_use_task(key, task, name)) {
            Some((task, name)) => Ok(self.of_name(name).requested_as(&format!("{TASK_PREFIX}{task}"))),
            None => Err(ApiError::no_such_task(task, self.tasks_of(key))),
        }
    }

    /// The model or ensemble of this name, which a task or an alias stands for.
    fn of_name(&self, name: &str) -> Resolved {
        let to = match self.ensembles.get(name) {
            Some(ensemble) => ResolvedTo::Ensemble(ensemble.clone()),
            None => ResolvedTo::Other(name.to_owned()),
        };
        Resolved { to, requested: None }
    }

    /// What serves a request that names nothing.
    fn unnamed(&self, table: &Table, key: &ClientKey) -> Result<Resolved, ApiError> {
        if let Some(name) = self.tasks.get(Self::DEFAULT).filter(|name| may_use_task(key, Self::DEFAULT, name)) {
            return Ok(self.of_name(name));
        }
        let mut models = table.models().map(|model| &model.spec.name).filter(|model| key.may_use(model.as_str()));
        match (models.next(), models.next()) {
            (Some(only), None) => Ok(self.of_name(only.as_str())),
            _ => Err(ApiError::nothing_named()),
        }
    }

    /// The error for `name`, which names nothing.
    fn unknown(name: &str, table: &Table, key: &ClientKey) -> ApiError {
        match Self::mistaken_upstream(name, table, key) {
            Some((id, models)) => ApiError::no_such_model_there(id, &models),
            None => ApiError::no_such_model(name),
        }
    }

    /// The upstream whose id stands in front of `name`, which suggests a direct call, and its models for this key.
    fn mistaken_upstream<'a>(name: &'a str, table: &'a Table, key: &ClientKey) -> Option<(&'a str, Vec<&'a str>)> {
        let (id, _) = name.split_once('/')?;
        let found = table.upstreams().find(|upstream| upstream.spec.id.as_str() == id)?;
        let public =
            table.models().filter(|model| model.targets().iter().any(|target| target.spec.id == found.spec.id));
        let public: Vec<_> = public.map(|model| model.spec.name.as_str()).filter(|model| key.may_use(model)).collect();
        // Which upstreams there are is not for a key that may use none of their models.
        (!public.is_empty() || key.may_use_all()).then_some((id, public))
    }
}

fn may_use_task(key: &ClientKey, task: &str, stands_for: &str) -> bool {
    key.may_use(stands_for) || key.may_use(&format!("{TASK_PREFIX}{task}"))
}
